/* SPDX-License-Identifier: MIT */
/* What is done now and then: STATUS for the manager, its watchdog, and memory that is given back. */
#include <malloc.h>
#include <stdio.h>

#include "base/clock.h"
#include "daemon/daemon_priv.h"
#include "daemon/manager.h"
#include "report/log.h"

#define STATUS_MS 5000

/* When at least this many connections were open and no more than half are left, memory goes back to the system, and again
 * each time that half of the rest have gone, until there are few. */
#define TRIM_PEAK 1000
#define TRIM_FEW 16

void housekeeping_say_status(struct daemon *d)
{
	char status[512];
	d->status_connections = pool_open(d->pool);
	snprintf(status, sizeof(status), "%u listener%s, %llu connection%s%s%s", d->config->listener_count,
		 d->config->listener_count == 1 ? "" : "s", (unsigned long long)d->status_connections,
		 d->status_connections == 1 ? "" : "s", d->reload_error[0] ? "; the last reload failed: " : "",
		 d->reload_error);
	if (!manager_status(status))
		d->status_connections = UINT64_MAX; /* not heard: said again when it is due */
}

void housekeeping_say_ready(struct daemon *d)
{
	d->ready_unheard = !manager_ready();
}

MAIN_ONLY static void give_memory_back(struct daemon *d, uint64_t open)
{
	uint64_t peak = pool_peak(d->pool);
	if (open > peak / 2 || (peak < TRIM_PEAK && !d->giving_back))
		return;
	malloc_trim(0);
	d->giving_back = open > TRIM_FEW;
	pool_restart_peak(d->pool);
}

MAIN_ONLY static void status_due(struct timer *t, uint64_t now_ms)
{
	struct daemon *d = CONTAINER_OF(t, struct daemon, status_timer);
	uint64_t open = pool_open(d->pool);
	if (open != d->status_connections)
		housekeeping_say_status(d);
	if (d->ready_unheard)
		housekeeping_say_ready(d);
	give_memory_back(d, open);
	timer_start(acceptor_timers(d->acceptor), t, now_ms + STATUS_MS);
}

/* Main is here, so it makes progress; now the workers. */
static void say_stuck(unsigned worker, uint64_t for_ms)
{
	struct log_record r;
	log_begin(&r, LOG_LEVEL_ERROR, LOG_STUCK);
	log_field(&r, "USHER_WORKER", "%u", worker);
	log_field(&r, "USHER_DURATION_MS", "%llu", (unsigned long long)for_ms);
	log_submit(&r, "worker %u has made no progress for %llu ms; the watchdog is not fed until it does", worker,
		   (unsigned long long)for_ms);
}

MAIN_ONLY static void watchdog_due(struct timer *t, uint64_t now_ms)
{
	struct daemon *d = CONTAINER_OF(t, struct daemon, watchdog_timer);
	uint64_t longest_ms = 0;
	unsigned who = 0;
	for (unsigned i = 0; i < pool_workers(d->pool); i++) {
		uint64_t stuck_ms = pool_stuck_ms(d->pool, i, now_ms);
		if (stuck_ms > longest_ms) {
			longest_ms = stuck_ms;
			who = i;
		}
	}
	bool stuck = longest_ms > d->watchdog_ms / 2;
	if (!stuck)
		manager_feed_watchdog();
	else if (!d->stuck)
		say_stuck(who, longest_ms);
	d->stuck = stuck;
	timer_start(acceptor_timers(d->acceptor), t, now_ms + d->watchdog_ms / 4 + 1);
}

void housekeeping_start(struct daemon *d)
{
	uint64_t now_ms = clock_now_ms();
	timer_init(&d->status_timer, status_due);
	timer_start(acceptor_timers(d->acceptor), &d->status_timer, now_ms + STATUS_MS);
	timer_init(&d->watchdog_timer, watchdog_due);
	d->watchdog_ms = manager_watchdog_ms();
	if (d->watchdog_ms > 0)
		timer_start(acceptor_timers(d->acceptor), &d->watchdog_timer, now_ms);
}

/* From here on STATUS says what it was told last; the watchdog is still fed. */
void housekeeping_stop(struct daemon *d)
{
	timer_stop(&d->status_timer);
}

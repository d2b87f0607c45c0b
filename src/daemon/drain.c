/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "config/value.h"
#include "daemon/daemon_priv.h"
#include "daemon/manager.h"
#include "report/log.h"

/* A worker that closes nothing for this long is stuck. */
#define CLOSE_MS 1000

/* Turns the main loop until no connection is open, `until_ms` has come, or more than `stops` signals have. */
MAIN_ONLY static bool wait_for_connections(struct daemon *d, uint64_t until_ms, unsigned stops)
{
	for (;;) {
		/* a worker that closes a connection rings, from here on */
		doorbell_await(pool_doorbell(d->pool));
		if (pool_open(d->pool) == 0)
			return true;
		uint64_t now_ms = clock_now_ms();
		if (now_ms >= until_ms || d->stops_wanted > stops)
			return false;
		acceptor_turn(d->acceptor, (int)(until_ms - now_ms));
	}
}

/* Waits as long as connections are being closed. */
MAIN_ONLY static bool wait_for_closing(struct daemon *d)
{
	uint64_t before;
	do {
		before = pool_open(d->pool);
		if (wait_for_connections(d, clock_now_ms() + CLOSE_MS, UINT32_MAX))
			return true;
	} while (pool_open(d->pool) < before);
	return false;
}

static void say_stopping(uint64_t open, const char *text)
{
	struct log_record r;
	log_begin(&r, LOG_LEVEL_NOTICE, LOG_STOPPING);
	log_field(&r, "USHER_COUNT", "%llu", (unsigned long long)open);
	log_submit(&r, "%s", text);
}

bool drain_run(struct daemon *d)
{
	char status[128];
	char time[32];
	struct text t;
	text_init(&t, time, sizeof(time));
	value_add_duration(&t, d->config->drain_timeout_ms);

	reload_give_up(d);
	reload_requests_answer(&d->reload_requests, "usherd is stopping", NULL);
	acceptor_stop(d->acceptor);
	uint64_t open = pool_open(d->pool);
	text_init(&t, status, sizeof(status));
	text_printf(&t, "stopping: %llu connection%s %s %s to finish", (unsigned long long)open, open == 1 ? "" : "s",
		    open == 1 ? "has" : "have", time);
	say_stopping(open, status);
	manager_stopping(status);
	housekeeping_stop(d);
	door_on_bans(acceptor_door(d->acceptor), NULL, NULL);
	d->bans = bans_stop(d->bans);
	d->certificates = certificates_destroy(d->certificates);
	lists_stop(d->lists);
	store_stop(&d->store);
	listeners_close(d->listeners);

	if (!wait_for_connections(d, clock_now_ms() + d->config->drain_timeout_ms, 1)) {
		open = pool_open(d->pool);
		snprintf(status, sizeof(status), "closing the %llu that are left%s", (unsigned long long)open,
			 d->stops_wanted > 1 ? ": a second signal came" : "");
		say_stopping(open, status);
		pool_command(d->pool, WORKER_CLOSE_ALL, NULL);
		if (!wait_for_closing(d)) {
			log_write(LOG_LEVEL_ERROR, LOG_STUCK,
				  "a worker did not close its connections; they end with the process");
			return false;
		}
	}
	pool_command(d->pool, WORKER_STOP, NULL);
	return true;
}

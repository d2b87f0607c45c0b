/* SPDX-License-Identifier: MIT */
/* Backpressure and pacing: when the acceptor does not accept. */
#include <poll.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/fd.h"
#include "front/acceptor_priv.h"
#include "report/log.h"

/* Looks again after this long when nobody rings: what ran out may be the whole machine's. */
#define RESUME_MS 100

/* An episode of shortage is over when accepting has gone on this long without a pause. */
#define RELIEF_MS 5000

/* Pacing: a wake-up a connection costs more than the connection. From this rate on the acceptor sleeps between
 * batches, for the time that BATCH connections take to arrive, and never so long that a client would notice. */
#define PACE_RATE 4000U
#define PACE_BATCH 8U
#define PACE_MOST_US 500U
#define PACE_WINDOW_US 10000U

/* What ran out, for the log; NULL: only the queues are full, which is as it should be under load. */
MAIN_ONLY static const char *shortage_of(const struct acceptor *a, enum accept_result why, char *to, size_t size)
{
	switch (why) {
	case ACCEPT_BUDGET:
		snprintf(to, size,
			 "descriptors (connections have %u of %u; raise LimitNOFILE= or set limits.connections)",
			 pool_descriptors(a->pool), fd_limit());
		return to;
	case ACCEPT_DESCRIPTORS:
		snprintf(to, size, "descriptors (all of %u are open; raise LimitNOFILE=)", fd_limit());
		return to;
	case ACCEPT_MACHINE:
		return "descriptors (the whole machine's: fs.file-max)";
	case ACCEPT_MEMORY:
		return "memory for sockets";
	default:
		return NULL;
	}
}

MAIN_ONLY static void watch_all(struct acceptor *a)
{
	for (unsigned i = 0; a->set && i < a->set->count; i++)
		if (acceptor_watch(a, a->set->at[i].socket) < 0) {
			acceptor_pause(a, ACCEPT_MEMORY);
			return;
		}
}

MAIN_ONLY static void resume(struct acceptor *a)
{
	if (!a->paused)
		return;
	a->paused = false;
	timer_stop(&a->resume);
	watch_all(a);
}

MAIN_ONLY static void resume_fired(struct timer *t, uint64_t now_ms UNUSED)
{
	resume(CONTAINER_OF(t, struct acceptor, resume));
}

MAIN_ONLY static void relief_fired(struct timer *t, uint64_t now_ms)
{
	struct acceptor *a = CONTAINER_OF(t, struct acceptor, relief);
	if (a->paused) {
		timer_start(&a->timers, t, now_ms + RELIEF_MS);
		return;
	}
	a->short_of = false;
	log_write(LOG_LEVEL_NOTICE, LOG_ACCEPT_RESUMED, "accepting resumed");
}

MAIN_ONLY static void rested_fired(struct timer *t, uint64_t now_ms UNUSED)
{
	struct acceptor *a = CONTAINER_OF(t, struct acceptor, rested);
	for (unsigned i = 0; a->set && i < a->set->count; i++)
		a->set->at[i].socket->resting = false;
	if (!a->paused)
		watch_all(a);
}

MAIN_ONLY static void bell_rang(struct watch *w, unsigned events UNUSED)
{
	struct acceptor *a = CONTAINER_OF(w, struct acceptor, bell);
	doorbell_answer(pool_doorbell(a->pool));
	resume(a);
	acceptor_wait_look(a);
}

int acceptor_pause_init(struct acceptor *a)
{
	a->bell.ready = bell_rang;
	timer_init(&a->resume, resume_fired);
	timer_init(&a->relief, relief_fired);
	timer_init(&a->rested, rested_fired);
	return poller_add(&a->poller, pool_doorbell(a->pool)->fd, &a->bell, POLLER_READ);
}

MAIN_ONLY static void say_shortage(struct acceptor *a, enum accept_result why, uint64_t now_ms)
{
	char bytes[128];
	const char *shortage = shortage_of(a, why, bytes, sizeof(bytes));
	if (!shortage)
		return;
	if (!a->short_of)
		log_write(LOG_LEVEL_WARNING, LOG_ACCEPT_PAUSED,
			  "accepting paused: out of %s; clients wait in the backlog until there is room", shortage);
	a->short_of = true;
	timer_start(&a->timers, &a->relief, now_ms + RELIEF_MS);
}

void acceptor_pause(struct acceptor *a, enum accept_result why)
{
	uint64_t now_ms = clock_now_ms();
	say_shortage(a, why, now_ms);
	if (a->paused)
		return;
	a->paused = true;
	for (unsigned i = 0; a->set && i < a->set->count; i++)
		acceptor_unwatch(a, a->set->at[i].socket);
	doorbell_await(pool_doorbell(a->pool));
	/* the room may have come before the bell was awaited */
	bool ours = why == ACCEPT_QUEUES || why == ACCEPT_BUDGET;
	timer_start(&a->timers, &a->resume, ours && acceptor_has_room(a) ? now_ms : now_ms + RESUME_MS);
}

void acceptor_rest(struct acceptor *a, struct listening *l)
{
	l->resting = true;
	acceptor_unwatch(a, l);
	if (!timer_runs(&a->rested))
		timer_start(&a->timers, &a->rested, clock_now_ms() + RESUME_MS);
}

void acceptor_await_room(struct acceptor *a, bool for_queue, int wait_ms)
{
	struct doorbell *bell = pool_doorbell(a->pool);
	doorbell_await(bell);
	if (for_queue && pool_pick(a->pool) >= 0)
		return;
	struct pollfd p = {.fd = bell->fd, .events = POLLIN};
	if (poll(&p, 1, wait_ms) > 0)
		doorbell_answer(bell);
}

bool acceptor_is_pacing(const struct acceptor *a)
{
	return a->rate >= PACE_RATE;
}

void acceptor_pace(struct acceptor *a, unsigned accepts)
{
	uint64_t now_us = clock_now_us();
	a->window_accepts += accepts;
	uint64_t passed_us = now_us - a->window_began_us;
	if (passed_us >= PACE_WINDOW_US) {
		a->rate = (unsigned)(a->window_accepts * UINT64_C(1000000) / passed_us);
		a->window_began_us = now_us;
		a->window_accepts = 0;
	}
	if (!acceptor_is_pacing(a))
		return;
	unsigned pause_us = PACE_BATCH * 1000000U / a->rate;
	struct timespec pause = {.tv_nsec = 1000L * (pause_us < PACE_MOST_US ? pause_us : PACE_MOST_US)};
	nanosleep(&pause, NULL);
}

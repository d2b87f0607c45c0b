/* SPDX-License-Identifier: MIT */
/* Backpressure and pacing: when the acceptor does not accept. */
#include <time.h>

#include "base/clock.h"
#include "front/acceptor_priv.h"
#include "report/log.h"

/* Looks again after this long when nobody rings: what ran out may be the whole machine's. */
#define RESUME_MS 100

/* An episode of shortage is over when accepting has gone on this long without a pause. */
#define RELIEF_MS 5000

/* Pacing: a wake-up a connection costs more than the connection. From this rate on the acceptor sleeps between batches,
 * for the time that BATCH connections take to arrive, and never so long that a client would notice. */
#define PACE_RATE 4000U
#define PACE_BATCH 8U
#define PACE_MOST_US 500U
#define PACE_WINDOW_US 10000U

MAIN_ONLY static void resume(struct acceptor *a)
{
	if (!a->paused)
		return;
	a->paused = false;
	timer_stop(&a->resume);
	for (unsigned i = 0; a->set && i < a->set->count; i++)
		if (acceptor_watch(a, a->set->at[i].socket) < 0) {
			acceptor_pause(a, "memory for watching sockets");
			return;
		}
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

MAIN_ONLY static void bell_rang(struct watch *w, unsigned events UNUSED)
{
	struct acceptor *a = CONTAINER_OF(w, struct acceptor, bell);
	doorbell_answer(pool_doorbell(a->pool));
	resume(a);
}

int acceptor_pause_init(struct acceptor *a)
{
	a->bell.ready = bell_rang;
	timer_init(&a->resume, resume_fired);
	timer_init(&a->relief, relief_fired);
	return poller_add(&a->poller, pool_doorbell(a->pool)->fd, &a->bell, POLLER_READ);
}

void acceptor_pause(struct acceptor *a, const char *shortage)
{
	uint64_t now_ms = clock_now_ms();
	if (shortage) {
		if (!a->short_of)
			log_write(LOG_LEVEL_WARNING, LOG_ACCEPT_PAUSED,
				  "accepting paused: out of %s; clients wait in the backlog until there is room",
				  shortage);
		a->short_of = true;
		timer_start(&a->timers, &a->relief, now_ms + RELIEF_MS);
	}
	if (a->paused)
		return;
	a->paused = true;
	for (unsigned i = 0; a->set && i < a->set->count; i++)
		acceptor_unwatch(a, a->set->at[i].socket);
	timer_start(&a->timers, &a->resume, now_ms + RESUME_MS);
	doorbell_await(pool_doorbell(a->pool));
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
	if (a->rate < PACE_RATE)
		return;
	unsigned pause_us = PACE_BATCH * 1000000U / a->rate;
	struct timespec pause = {.tv_nsec = 1000L * (pause_us < PACE_MOST_US ? pause_us : PACE_MOST_US)};
	nanosleep(&pause, NULL);
}

/* SPDX-License-Identifier: MIT */
/* Timers: a hierarchical wheel, constant time to start and stop one. Belongs to one thread; time is a parameter. */
#ifndef BASE_TIMER_H
#define BASE_TIMER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"

#define TIMER_TICK_MS 4
#define TIMER_LEVELS 5
#define TIMER_SLOTS 64

/* Embedded in what it is for. */
struct timer {
	struct list node;
	uint64_t deadline_ms;
	void (*fire)(struct timer *t, uint64_t now_ms);
};

struct timer_wheel {
	uint64_t tick;		     /* the last one that was worked off */
	uint64_t used[TIMER_LEVELS]; /* a bit a slot: it may hold something */
	struct list slots[TIMER_LEVELS][TIMER_SLOTS];
};

void timer_wheel_init(struct timer_wheel *w, uint64_t now_ms);

void timer_init(struct timer *t, void (*fire)(struct timer *t, uint64_t now_ms));

/* Fires at `deadline_ms` or up to a tick later, never earlier, however far ahead it is. A timer that runs is set
 * anew. */
void timer_start(struct timer_wheel *w, struct timer *t, uint64_t deadline_ms);

/* Harmless for one that does not run. */
void timer_stop(struct timer *t);

bool timer_runs(const struct timer *t);

/* Fires what is due. A timer is stopped before its function is called, which may start and stop any. Returns how many
 * fired. */
unsigned timer_wheel_run(struct timer_wheel *w, uint64_t now_ms);

/* For how many ms to sleep at most before timer_wheel_run has something to do, or -1 when no timer runs. It may be
 * less than until the next deadline: the wheel has to be turned on the way. */
int timer_wheel_sleep_ms(const struct timer_wheel *w, uint64_t now_ms);

#endif

/* SPDX-License-Identifier: MIT */
#include "base/timer.h"

#include <limits.h>

#include "base/attr.h"
#include "base/must.h"

#define SLOT_BITS 6
#define SLOT_MASK (TIMER_SLOTS - 1)
#define REACH_TICKS ((UINT64_C(1) << (SLOT_BITS * TIMER_LEVELS)) - 1)

_Static_assert(TIMER_SLOTS == 1 << SLOT_BITS, "a level's slots are a power of two");

void timer_wheel_init(struct timer_wheel *w, uint64_t now_ms)
{
	w->tick = now_ms / TIMER_TICK_MS;
	for (int level = 0; level < TIMER_LEVELS; level++) {
		w->used[level] = 0;
		for (int slot = 0; slot < TIMER_SLOTS; slot++)
			list_init(&w->slots[level][slot]);
	}
}

void timer_init(struct timer *t, void (*fire)(struct timer *t, uint64_t now_ms))
{
	list_init(&t->node);
	t->deadline_ms = 0;
	t->fire = fire;
}

static uint64_t tick_of(uint64_t deadline_ms)
{
	return deadline_ms / TIMER_TICK_MS + (deadline_ms % TIMER_TICK_MS != 0);
}

/* Puts a timer into the slot that is reached at tick `due`, which is not before the wheel's. */
static void put(struct timer_wheel *w, struct timer *t, uint64_t due)
{
	uint64_t ahead = due - w->tick;
	if (ahead > REACH_TICKS) {
		ahead = REACH_TICKS;
		due = w->tick + ahead;
	}
	int level = 0;
	while (ahead >> (SLOT_BITS * (level + 1)))
		level++;
	unsigned slot = (due >> (SLOT_BITS * level)) & SLOT_MASK;
	list_append(&w->slots[level][slot], &t->node);
	w->used[level] |= UINT64_C(1) << slot;
}

void timer_start(struct timer_wheel *w, struct timer *t, uint64_t deadline_ms)
{
	list_remove(&t->node);
	t->deadline_ms = deadline_ms;
	uint64_t due = tick_of(deadline_ms);
	put(w, t, due > w->tick ? due : w->tick + 1);
}

void timer_stop(struct timer *t)
{
	list_remove(&t->node);
}

bool timer_runs(const struct timer *t)
{
	return !list_empty(&t->node);
}

/* The next tick at which a slot of this level is reached, or UINT64_MAX. */
static uint64_t next_of_level(const struct timer_wheel *w, int level)
{
	if (!w->used[level])
		return UINT64_MAX;
	uint64_t turn = w->tick >> (SLOT_BITS * level);
	unsigned first = (unsigned)((turn + 1) & SLOT_MASK);
	uint64_t rotated = w->used[level] >> first | (first ? w->used[level] << (TIMER_SLOTS - first) : 0);
	return (turn + 1 + (unsigned)__builtin_ctzll(rotated)) << (SLOT_BITS * level);
}

static uint64_t next_tick(const struct timer_wheel *w)
{
	uint64_t next = UINT64_MAX;
	for (int level = 0; level < TIMER_LEVELS; level++) {
		uint64_t tick = next_of_level(w, level);
		if (tick < next)
			next = tick;
	}
	return next;
}

/* Takes what is in the slot that the wheel's tick has reached. */
static void empty_slot(struct timer_wheel *w, int level, struct list *to)
{
	unsigned slot = (w->tick >> (SLOT_BITS * level)) & SLOT_MASK;
	list_move_all(to, &w->slots[level][slot]);
	w->used[level] &= ~(UINT64_C(1) << slot);
}

/* At the wheel's tick: spreads the coarser levels' slots that begin here over the finer ones. */
static void cascade(struct timer_wheel *w)
{
	for (int level = TIMER_LEVELS - 1; level > 0; level--) {
		if (w->tick & ((UINT64_C(1) << (SLOT_BITS * level)) - 1))
			continue;
		struct list moved;
		list_init(&moved);
		empty_slot(w, level, &moved);
		struct list *first;
		while ((first = list_take_first(&moved))) {
			struct timer *t = CONTAINER_OF(first, struct timer, node);
			uint64_t due = tick_of(t->deadline_ms);
			put(w, t, due > w->tick ? due : w->tick);
		}
	}
}

unsigned timer_wheel_run(struct timer_wheel *w, uint64_t now_ms)
{
	uint64_t target = now_ms / TIMER_TICK_MS;
	struct list due;
	list_init(&due);
	while (w->tick < target) {
		uint64_t next = next_tick(w);
		if (next > target) {
			w->tick = target;
			break;
		}
		w->tick = next;
		cascade(w);
		empty_slot(w, 0, &due);
	}
	unsigned fired = 0;
	struct list *first;
	while ((first = list_take_first(&due))) {
		struct timer *t = CONTAINER_OF(first, struct timer, node);
		t->fire(t, now_ms);
		fired++;
	}
	return fired;
}

int timer_wheel_sleep_ms(const struct timer_wheel *w, uint64_t now_ms)
{
	uint64_t next = next_tick(w);
	if (next == UINT64_MAX)
		return -1;
	uint64_t at_ms = next * TIMER_TICK_MS;
	if (at_ms <= now_ms)
		return 0;
	return at_ms - now_ms > INT_MAX ? INT_MAX : (int)(at_ms - now_ms);
}

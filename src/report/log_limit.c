/* SPDX-License-Identifier: MIT */
/* Places that may log only so often. Any thread counts, without a lock; the log thread says what was held back. */
#include <stdatomic.h>
#include <stddef.h>

#include "report/log_priv.h"

/* Every place that ever held something back. Grows only: places are static. */
static struct log_limit *_Atomic registered_limits;

static void register_once(struct log_limit *limit)
{
	if (atomic_load(&limit->registered) != 0 || atomic_exchange(&limit->registered, 1) != 0)
		return;
	struct log_limit *first = atomic_load(&registered_limits);
	do {
		atomic_store(&limit->next, first);
	} while (!atomic_compare_exchange_weak(&registered_limits, &first, limit));
}

static void hold_back(struct log_limit *limit, uint64_t window_start_ms)
{
	register_once(limit);
	/* the end of the window that the first one fell into: a busy place goes on to its next window before the log
	 * thread looks */
	if (atomic_load(&limit->held) == 0)
		atomic_store(&limit->tell_at_ms, window_start_ms + LOG_LIMIT_WINDOW_MS);
	if (atomic_fetch_add(&limit->held, 1) == 0)
		log_poke();
}

bool log_allowed(struct log_limit *limit, uint64_t now_ms)
{
	uint64_t start = atomic_load(&limit->window_start_ms);
	if (now_ms >= start + LOG_LIMIT_WINDOW_MS) {
		/* one thread begins the new window; the others find it begun */
		if (atomic_compare_exchange_strong(&limit->window_start_ms, &start, now_ms)) {
			atomic_store(&limit->used, 0);
			start = now_ms;
		}
	}
	if (atomic_load(&limit->used) < LOG_LIMIT_BURST && atomic_fetch_add(&limit->used, 1) < LOG_LIMIT_BURST)
		return true;
	hold_back(limit, start);
	return false;
}

uint64_t log_limits_look(uint64_t now_ms, bool all, void (*report)(const char *what, unsigned held))
{
	uint64_t look_at_ms = 0;

	for (struct log_limit *l = atomic_load(&registered_limits); l != NULL; l = atomic_load(&l->next)) {
		if (atomic_load(&l->held) == 0)
			continue;
		uint64_t tell_at_ms = atomic_load(&l->tell_at_ms);
		if (all || now_ms >= tell_at_ms) {
			report(l->what, atomic_exchange(&l->held, 0));
			continue;
		}
		if (look_at_ms == 0 || tell_at_ms < look_at_ms)
			look_at_ms = tell_at_ms;
	}
	return look_at_ms;
}

/* SPDX-License-Identifier: MIT */
#include "worker/deadlines.h"

/* Whether `limit_ms` after `from_ms` is over; if not, it is a time to look again. 0: no limit. */
static bool is_over(uint64_t from_ms, uint64_t limit_ms, uint64_t now_ms, uint64_t *next_ms)
{
	if (limit_ms == 0)
		return false;
	uint64_t end_ms = from_ms + limit_ms;
	if (now_ms >= end_ms)
		return true;
	if (end_ms < *next_ms)
		*next_ms = end_ms;
	return false;
}

enum close_reason deadlines_look(const struct deadline_facts *f, uint64_t now_ms, uint64_t *next_ms)
{
	const struct timeouts_config *limits = f->limits;
	uint64_t next = UINT64_MAX;
	if (is_over(f->opened_ms, limits->lifetime_ms, now_ms, &next))
		return CLOSE_lifetime;
	uint64_t begun_ms = f->is_dialing ? now_ms : f->begun_ms;
	if (!f->has_spoken && is_over(begun_ms, limits->first_byte_ms, now_ms, &next) && !f->is_heard)
		return CLOSE_first_byte_timeout;
	uint64_t active_ms = f->is_dialing || f->is_paced ? now_ms : f->active_ms;
	if (is_over(active_ms, limits->idle_ms, now_ms, &next))
		return CLOSE_idle;
	*next_ms = next;
	return CLOSE_NONE;
}

/* SPDX-License-Identifier: MIT */
#include "worker/owing.h"

static bool took_less(const struct owing_mark *from, uint64_t taken, uint64_t now_ms, const struct rate *least)
{
	unsigned __int128 took = (unsigned __int128)(taken - from->taken) * least->period_ms;
	return took < (unsigned __int128)least->amount * (now_ms - from->at_ms);
}

bool owing_look(struct owing *o, const struct rate *least, uint64_t owed_to, uint64_t taken, uint64_t now_ms)
{
	const struct owing_mark *from = &o->older;
	if (taken < o->newer.taken)
		taken = o->newer.taken;
	bool is_judged = from->at_ms > 0 && now_ms >= from->at_ms + OWING_WINDOW_MS;
	bool is_slow = is_judged && taken < from->owed_to && took_less(from, taken, now_ms, least);
	o->older = o->newer;
	o->newer = (struct owing_mark){.at_ms = now_ms, .owed_to = owed_to, .taken = taken};
	return is_slow;
}

bool owing_nothing(const struct owing *o, uint64_t owed_to)
{
	return o->newer.taken == owed_to;
}

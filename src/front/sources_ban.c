/* SPDX-License-Identifier: MIT */
/* Offences and bans. The bans that run are a heap by their end. */
#include "base/must.h"
#include "front/sources_priv.h"

#define MS_MOST ((UINT64_C(1) << SOURCE_MS_BITS) - 1)
#define COUNT_MOST ((1U << SOURCE_COUNT_BITS) - 1)

static unsigned at_most(unsigned value, unsigned most)
{
	return value < most ? value : most;
}

static uint64_t after(uint64_t now_ms, uint64_t ms)
{
	return now_ms < MS_MOST && ms < MS_MOST - now_ms ? now_ms + ms : MS_MOST;
}

/* ---- the heap ---- */

static uint32_t *place_at(const struct sources *s, uint32_t place)
{
	return &s->chunks[place / SOURCES_CHUNK]->heap[place % SOURCES_CHUNK];
}

static struct source *banned_at(const struct sources *s, uint32_t place)
{
	return source_at(s, *place_at(s, place));
}

static void put_at(struct sources *s, uint32_t place, struct source *e)
{
	*place_at(s, place) = e->self;
	e->prev = place;
}

/* Puts an entry where it belongs, at `place` or above or below it. What is there is overwritten or moves. */
static void settle(struct sources *s, uint32_t place, struct source *e)
{
	while (place > 0) {
		struct source *above = banned_at(s, (place - 1) / 2);
		if (above->until_ms <= e->until_ms)
			break;
		put_at(s, place, above);
		place = (place - 1) / 2;
	}
	for (;;) {
		uint32_t child = 2 * place + 1;
		if (child >= s->ban_count)
			break;
		struct source *below = banned_at(s, child);
		if (child + 1 < s->ban_count && banned_at(s, child + 1)->until_ms < below->until_ms)
			below = banned_at(s, ++child);
		if (e->until_ms <= below->until_ms)
			break;
		put_at(s, place, below);
		place = child;
	}
	put_at(s, place, e);
}

void source_unban(struct sources *s, struct source *e)
{
	must(e->pool == SOURCE_BANNED && s->ban_count > 0);
	struct source *last = banned_at(s, --s->ban_count);
	if (last != e)
		settle(s, e->prev, last);
}

/* Whether it may be banned: for the shared entry, or when there are too many bans, it may not. */
static bool has_room(const struct sources *s, const struct source *e)
{
	return e->pool == SOURCE_BANNED || (e->pool != SOURCE_SHARED && s->ban_count < s->most_bans);
}

/* Begins a ban, or gives the one that runs another end. */
static void ban_until(struct sources *s, struct source *e, uint64_t until_ms)
{
	e->until_ms = until_ms & MS_MOST;
	e->newest = 0;
	e->older = e->oldest = 0;
	if (e->pool != SOURCE_BANNED) {
		source_unlist(s, e);
		e->pool = SOURCE_BANNED;
		e->prev = s->ban_count++;
	}
	settle(s, e->prev, e);
}

/* ---- offences ---- */

/* Offences or bans are to be remembered until then. */
static void remember(struct source *e, uint64_t until_ms)
{
	uint64_t until_s = until_ms / 1000 + 1;
	if (until_s > UINT32_MAX)
		until_s = UINT32_MAX;
	if (e->remember_until_s < until_s)
		e->remember_until_s = (uint32_t)until_s;
}

/* Forgets the offences that are too long ago. */
static void slide(struct source *e, uint64_t third_ms, uint64_t now_ms)
{
	uint64_t passed = now_ms > e->since_ms ? (now_ms - e->since_ms) / third_ms : 0;
	bool none = e->newest == 0 && e->older == 0 && e->oldest == 0;
	if (none || passed > 2) {
		e->since_ms = now_ms & MS_MOST;
		e->newest = 0;
		e->older = e->oldest = 0;
		return;
	}
	e->since_ms = (e->since_ms + passed * third_ms) & MS_MOST;
	for (; passed > 0; passed--) {
		e->oldest = e->older;
		e->older = e->newest;
		e->newest = 0;
	}
}

static uint64_t ban_length(const struct ban_rule *rule, unsigned bans)
{
	uint64_t ms = rule->for_ms;
	for (; bans > 0 && rule->factor > 1 && ms > 0 && ms < rule->max_ms; bans--)
		ms = ms > rule->max_ms / rule->factor ? rule->max_ms : ms * rule->factor;
	return ms < rule->max_ms ? ms : rule->max_ms;
}

uint64_t source_offend(struct sources *s, struct source *e, const struct ban_rule *rule, unsigned n, uint64_t now_ms)
{
	if (rule->after == 0 || n == 0 || e->pool == SOURCE_SHARED || source_banned_ms(e, now_ms) > 0)
		return 0;
	slide(e, rule->within_ms >= 3 ? rule->within_ms / 3 : 1, now_ms);
	e->newest = at_most(e->newest + at_most(n, COUNT_MOST), COUNT_MOST);
	remember(e, after(now_ms, rule->within_ms));

	unsigned counted = (unsigned)(e->newest + e->older + e->oldest);
	if (counted < at_most(rule->after, COUNT_MOST) || !has_room(s, e))
		return 0;
	if (now_ms >= after(e->until_ms, rule->max_ms))
		e->bans = 0;
	uint64_t ms = ban_length(rule, e->bans);
	if (ms == 0)
		return 0;
	e->bans = at_most(e->bans + 1U, COUNT_MOST);
	ban_until(s, e, after(now_ms, ms));
	remember(e, after(e->until_ms, rule->max_ms));
	return ms;
}

/* ---- bans ---- */

bool source_ban(struct sources *s, struct source *e, uint64_t for_ms, uint64_t now_ms)
{
	if (for_ms == 0) {
		if (e->pool != SOURCE_BANNED)
			return true;
		if (e->until_ms > now_ms)
			e->until_ms = now_ms & MS_MOST;
		source_unban(s, e);
		source_enlist(s, e);
		return true;
	}
	if (!has_room(s, e))
		return false;
	if (source_banned_ms(e, now_ms) == 0)
		e->bans = at_most(e->bans + 1U, COUNT_MOST);
	ban_until(s, e, after(now_ms, for_ms));
	return true;
}

uint64_t source_banned_ms(const struct source *e, uint64_t now_ms)
{
	return e->until_ms > now_ms ? e->until_ms - now_ms : 0;
}

uint64_t sources_expire(struct sources *s, uint64_t now_ms, void (*ended)(void *arg, const struct source_key *key),
			void *arg)
{
	for (unsigned i = 0; s->ban_count > 0; i++) {
		struct source *e = banned_at(s, 0);
		if (e->until_ms > now_ms)
			return e->until_ms - now_ms;
		if (i == SOURCES_EXPIRE_AT_ONCE)
			return 0;
		source_unban(s, e);
		source_enlist(s, e);
		struct source_key key = e->key; /* the entry is not safe from what `ended` does */
		ended(arg, &key);
	}
	return UINT64_MAX;
}

unsigned sources_bans(struct sources *s, unsigned from, unsigned most, uint64_t now_ms,
		      void (*each)(void *arg, const struct source_key *key, uint64_t left_ms, unsigned count),
		      void *arg)
{
	for (; from < s->made && most > 0; from++, most--) {
		const struct source *e = source_at(s, from);
		uint64_t left_ms = source_banned_ms(e, now_ms);
		if (left_ms > 0)
			each(arg, &e->key, left_ms, e->bans);
	}
	return from < s->made ? from : 0;
}

bool sources_restore(struct sources *s, const struct source_key *key, uint64_t left_ms, unsigned count, uint64_t now_ms)
{
	if (left_ms == 0)
		return true;
	if (s->ban_count >= s->most_bans && !sources_find(s, key))
		return false;
	struct source *e = sources_get(s, key, now_ms);
	if (!has_room(s, e))
		return false;
	if (source_banned_ms(e, now_ms) < left_ms)
		ban_until(s, e, after(now_ms, left_ms));
	if (e->bans < count)
		e->bans = at_most(count, COUNT_MOST);
	/* no rule is known here: it is remembered for as long again */
	remember(e, after(e->until_ms, left_ms));
	return true;
}

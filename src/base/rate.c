/* SPDX-License-Identifier: MIT */
/* A bucket holds the time at which it will be full, and what is taken moves that time on. Times alone would be rounded with
 * each take. So time is counted as what comes in it, in parts: a token is 2^shift of them, as many as still take a unit
 * of time or longer each. Then each number of parts since zero has a time of its own,
 *
 *	time = ceil(parts * period / amount)	parts = floor(time * amount / period)
 *
 * and no part is lost on the way from one to the other and back, however often.
 *
 * The unit is a nanosecond; for more than one token in a nanosecond, 1/128 of it, and FINE is set. Those times start anew
 * every 833 days, and all are compared by their distance. */
#include "base/rate.h"

#define FINE (UINT64_C(1) << 63)
#define TIME_MASK (FINE - 1)
#define NS_PER_MS 1000000
#define APART_NS (10 * UINT64_C(1000000000))
#define RESERVED_NS (RATE_RESERVE_NS_MOST + APART_NS)
#define PARTS_MOST (UINT64_C(1) << 59) /* of a burst: two of them are no longer than half of what a time can tell */

/* A rate in parts and units. */
struct pace {
	uint64_t amount; /* parts ... */
	uint64_t period; /* ... that come in so many units; at least as many */
	uint64_t burst;	 /* parts */
	unsigned shift;	 /* a token is 1 << shift parts */
	uint64_t fine;	 /* FINE or 0 */
};

/* A bucket in parts. */
struct level {
	uint64_t now;  /* the time; modulo what a time can tell */
	uint64_t came; /* parts until now */
	uint64_t full; /* parts at which it will be full */
	uint64_t most; /* the same for two bursts below full */
	bool is_full;
	bool is_wrong; /* `full` was further away than it can be, and is `most` now */
};

static uint64_t between(uint64_t value, uint64_t least, uint64_t most)
{
	return value < least ? least : value > most ? most : value;
}

static struct pace pace_of(const struct rate *r)
{
	struct pace p = {
		.amount = r->amount,
		.period = between(r->period_ms, 1, RATE_PERIOD_MS_MOST) * NS_PER_MS,
	};
	if (p.amount > p.period) {
		p.fine = FINE;
		p.period *= RATE_NS_MOST;
		p.amount = between(p.amount, 1, p.period);
	}
	p.shift = (unsigned)(__builtin_clzll(p.amount) - __builtin_clzll(p.period));
	if (p.amount << p.shift > p.period)
		p.shift--;
	p.amount <<= p.shift;
	p.burst = between(between(r->burst, 1, RATE_BURST_MOST), 1, PARTS_MOST >> p.shift) << p.shift;
	return p;
}

static uint64_t parts_by(const struct pace *p, uint64_t time)
{
	return (uint64_t)((unsigned __int128)time * p->amount / p->period);
}

static uint64_t time_of(const struct pace *p, uint64_t parts)
{
	return (uint64_t)(((unsigned __int128)parts * p->period + p->amount - 1) / p->amount);
}

static uint64_t time_now(uint64_t now_ns, uint64_t fine)
{
	return (fine ? now_ns * RATE_NS_MOST : now_ns) & TIME_MASK;
}

/* How far a bucket's time is from now, in its own units. */
static int64_t ahead(uint64_t full_at, uint64_t now_ns)
{
	uint64_t distance = full_at - time_now(now_ns, full_at & FINE);
	return (int64_t)(distance << 1) / 2; /* 63 bits with their sign */
}

/* The same in the units of a pace, which may not be those that it was set with. */
static int64_t ahead_in(const struct pace *p, uint64_t full_at, uint64_t now_ns)
{
	int64_t distance = ahead(full_at, now_ns);
	if (distance <= 0 || (full_at & FINE) == p->fine)
		return distance;
	if (!p->fine)
		return distance / RATE_NS_MOST + 1;
	return distance < (INT64_MAX >> 1) / RATE_NS_MOST ? distance * RATE_NS_MOST : INT64_MAX >> 1;
}

/* `ahead_ns`: how much further than two bursts from full the bucket may be. */
static struct level level_of(const struct pace *p, uint64_t full_at, uint64_t ahead_ns, uint64_t now_ns)
{
	struct level l = {.now = time_now(now_ns, p->fine)};
	int64_t distance = ahead_in(p, full_at, now_ns);
	l.came = parts_by(p, l.now);
	l.most = l.came + 2 * p->burst + 1; /* the part that is still coming may be missing as well */
	if (distance <= 0) {
		/* what is taken must not count on the part that is still coming */
		l.is_full = true;
		l.full = l.came + ((unsigned __int128)l.now * p->amount % p->period != 0);
		return l;
	}
	l.full = parts_by(p, l.now + (uint64_t)distance);
	if (l.full > l.most && l.full - l.most > parts_by(p, p->fine ? ahead_ns * RATE_NS_MOST : ahead_ns)) {
		l.full = l.most;
		l.is_wrong = true;
	}
	return l;
}

static bool swap(struct rate_bucket *b, const struct pace *p, uint64_t *seen, uint64_t full)
{
	uint64_t full_at = (time_of(p, full) & TIME_MASK) | p->fine;
	return *seen == full_at || atomic_compare_exchange_weak_explicit(&b->full_at, seen, full_at,
									 memory_order_relaxed, memory_order_relaxed);
}

/* The loops below go round again only when another thread has taken from the same bucket in between: one of them
 * always gets on, and nobody takes more often than it reads, writes or accepts. */

/* How long until so many parts have come. */
static uint64_t wait_for(const struct pace *p, const struct level *l, uint64_t parts)
{
	uint64_t wait = time_of(p, parts) - l->now;
	return p->fine ? (wait + RATE_NS_MOST - 1) / RATE_NS_MOST : wait;
}

uint64_t rate_take(struct rate_bucket *b, const struct rate *r, uint64_t n, uint64_t now_ns)
{
	if (r->amount == 0 || n == 0)
		return 0;
	struct pace p = pace_of(r);
	uint64_t parts = between(n, 1, p.burst >> p.shift) << p.shift;
	uint64_t seen = atomic_load_explicit(&b->full_at, memory_order_relaxed);
	for (;;) {
		struct level l = level_of(&p, seen, APART_NS, now_ns);
		uint64_t wanted = l.full + parts;
		if (l.is_full || wanted - l.came <= p.burst) {
			if (swap(b, &p, &seen, wanted))
				return 0;
			continue;
		}
		if (l.is_wrong && !swap(b, &p, &seen, l.full))
			continue; /* it must not stay so, or the wait began anew with each call */
		return wait_for(&p, &l, wanted - p.burst);
	}
}

uint64_t rate_there(const struct rate_bucket *b, const struct rate *r, uint64_t now_ns)
{
	if (r->amount == 0)
		return UINT64_MAX;
	struct pace p = pace_of(r);
	struct level l = level_of(&p, atomic_load_explicit(&b->full_at, memory_order_relaxed), APART_NS, now_ns);
	uint64_t missing = l.is_full ? 0 : l.full - l.came;
	return missing < p.burst ? (p.burst - missing) >> p.shift : 0;
}

void rate_charge(struct rate_bucket *b, const struct rate *r, uint64_t n, uint64_t now_ns)
{
	if (r->amount == 0 || n == 0)
		return;
	struct pace p = pace_of(r);
	uint64_t parts = between(n, 1, 2 * (p.burst >> p.shift)) << p.shift;
	uint64_t seen = atomic_load_explicit(&b->full_at, memory_order_relaxed);
	for (;;) {
		struct level l = level_of(&p, seen, APART_NS, now_ns);
		if (swap(b, &p, &seen, between(l.most, l.full, l.full + parts)))
			return;
	}
}

uint64_t rate_reserve(struct rate_bucket *b, const struct rate *r, uint64_t n, uint64_t most_ns, uint64_t now_ns)
{
	if (r->amount == 0 || n == 0)
		return 0;
	struct pace p = pace_of(r);
	uint64_t parts = between(n, 1, p.burst >> p.shift) << p.shift;
	uint64_t seen = atomic_load_explicit(&b->full_at, memory_order_relaxed);
	for (;;) {
		struct level l = level_of(&p, seen, RESERVED_NS, now_ns);
		uint64_t wanted = l.full + parts;
		bool is_there = l.is_full || wanted - l.came <= p.burst;
		uint64_t wait_ns = is_there ? 0 : wait_for(&p, &l, wanted - p.burst);
		bool is_too_long = wait_ns > between(most_ns, 0, RATE_RESERVE_NS_MOST);
		if (is_too_long && !l.is_wrong)
			return UINT64_MAX;
		if (swap(b, &p, &seen, is_too_long ? l.full : wanted))
			return is_too_long ? UINT64_MAX : wait_ns;
	}
}

void rate_return(struct rate_bucket *b, const struct rate *r, uint64_t n, uint64_t now_ns)
{
	if (r->amount == 0 || n == 0)
		return;
	struct pace p = pace_of(r);
	uint64_t parts = between(n, 1, p.burst >> p.shift) << p.shift;
	uint64_t seen = atomic_load_explicit(&b->full_at, memory_order_relaxed);
	for (;;) {
		struct level l = level_of(&p, seen, RESERVED_NS, now_ns);
		uint64_t full = l.full - l.came > parts ? l.full - parts : l.came;
		if (l.is_full || swap(b, &p, &seen, full))
			return;
	}
}

bool rate_is_full(const struct rate_bucket *b, uint64_t now_ns)
{
	return ahead(atomic_load_explicit(&b->full_at, memory_order_relaxed), now_ns) <= 0;
}

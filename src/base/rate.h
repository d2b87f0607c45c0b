/* SPDX-License-Identifier: MIT */
/* Token buckets: so many in a time, with a burst. A bucket is one number, the time at which it will be full again: small,
 * and shared between threads without a lock. Time is monotonic, in nanoseconds, and a parameter.
 *
 * What is given out in any stretch of time is never more than the burst and what comes in that time, to the token, and
 * nothing is lost in the long run: it is counted in whole parts of a token, not in rounded times. A bucket that was full
 * starts anew at most two nanoseconds late. When the rate of a bucket changes (after a
 * reload) it keeps its time, within the same bounds.
 *
 * Threads may be ten seconds apart in what they take for now. A clock that jumps ahead fills a bucket; one that goes back
 * makes it wait for as long as two bursts take to come, and those ten seconds, at most; a minute more where it is reserved
 * from. */
#ifndef BASE_RATE_H
#define BASE_RATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* `amount` in each `period_ms`, and up to `burst` at once. amount 0: no limit.
 *
 * What is past these bounds counts as the bound: a period from 1 ms to RATE_PERIOD_MS_MOST, a burst from 1 to
 * RATE_BURST_MOST and no longer than what comes in 18 years (52 days for more than 1 in a ns), and at most
 * RATE_NS_MOST in a ns. */
struct rate {
	uint64_t amount;
	uint64_t period_ms;
	uint64_t burst;
};

#define RATE_PERIOD_MS_MOST (UINT64_C(1) << 33) /* 99 days */
#define RATE_BURST_MOST (UINT64_C(1) << 40)
#define RATE_NS_MOST 128 /* 128 GB/s */

struct rate_bucket {
	_Atomic uint64_t full_at; /* in a form of its own; all zero is a full bucket */
};

/* Takes `n` if they are there; more than the burst count as the burst. Returns 0, or after how many ns they will be: then
 * nothing was taken. Thread: any. */
uint64_t rate_take(struct rate_bucket *b, const struct rate *r, uint64_t n, uint64_t now_ns);

/* How many are there, at most the burst; UINT64_MAX without a limit. Thread: any. */
uint64_t rate_there(const struct rate_bucket *b, const struct rate *r, uint64_t now_ns);

/* Takes `n` whether they are there or not, after the fact: a bucket goes at most one burst below empty. Thread: any. */
void rate_charge(struct rate_bucket *b, const struct rate *r, uint64_t n, uint64_t now_ns);

/* Takes `n` in advance, more than the burst count as the burst. Returns after how many ns they may be used; who comes later
 * waits longer, so that those who share a bucket get their turns in the order in which they came. UINT64_MAX: the wait
 * would be longer than `most_ns` (RATE_RESERVE_NS_MOST at the most), and nothing was taken. Thread: any. */
#define RATE_RESERVE_NS_MOST UINT64_C(60000000000)
uint64_t rate_reserve(struct rate_bucket *b, const struct rate *r, uint64_t n, uint64_t most_ns, uint64_t now_ns);

/* Gives back what was reserved and is not used. Thread: any. */
void rate_return(struct rate_bucket *b, const struct rate *r, uint64_t n, uint64_t now_ns);

/* Whether nothing is missing: the bucket remembers nothing. Thread: any. */
bool rate_is_full(const struct rate_bucket *b, uint64_t now_ns);

#endif

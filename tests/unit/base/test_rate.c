/* SPDX-License-Identifier: MIT */
#include "base/rate.h"

#include <check.h>
#include <pthread.h>
#include <stdlib.h>

#include "../suite.h"
#include "base/attr.h"

#define SECOND UINT64_C(1000000000)
#define DAY_MS UINT64_C(86400000)

static uint64_t state = 88172645463325252;

static uint64_t any(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state * 2685821657736338717U;
}

static uint64_t below(uint64_t most)
{
	return any() % most;
}

/* of any size, small ones as often as large ones */
static uint64_t any_up_to(uint64_t most)
{
	uint64_t value = any() >> below(64);
	return 1 + value % most;
}

START_TEST(a_new_bucket_is_full)
{
	struct rate r = {.amount = 20, .period_ms = 1000, .burst = 50};
	struct rate_bucket b = {0};
	ck_assert(rate_is_full(&b, 0));
	ck_assert_uint_eq(rate_there(&b, &r, 0), 50);
	ck_assert_uint_eq(rate_take(&b, &r, 50, 0), 0);
	ck_assert_uint_eq(rate_there(&b, &r, 0), 0);
	ck_assert(!rate_is_full(&b, 0));
	ck_assert_uint_eq(rate_take(&b, &r, 1, 0), SECOND / 20);
	ck_assert_uint_eq(rate_take(&b, &r, 1, SECOND / 20 - 1), 1);
	ck_assert_uint_eq(rate_take(&b, &r, 1, SECOND / 20), 0);
	ck_assert_uint_eq(rate_take(&b, &r, 2, SECOND / 20), SECOND / 10);
	ck_assert_uint_eq(rate_there(&b, &r, 2 * SECOND), 39);
	ck_assert(!rate_is_full(&b, 2550 * SECOND / 1000 - 1));
	ck_assert(rate_is_full(&b, 2550 * SECOND / 1000));
}
END_TEST

START_TEST(without_a_limit_everything_is_there)
{
	struct rate none = {0};
	struct rate_bucket b = {0};
	ck_assert_uint_eq(rate_take(&b, &none, UINT64_MAX, 0), 0);
	rate_charge(&b, &none, UINT64_MAX, 0);
	ck_assert_uint_eq(rate_there(&b, &none, 0), UINT64_MAX);
	ck_assert(rate_is_full(&b, 0));
}
END_TEST

START_TEST(one_a_day_is_one_a_day)
{
	struct rate r = {.amount = 1, .period_ms = DAY_MS, .burst = 1};
	struct rate_bucket b = {0};
	/* not at midnight: the day begins when it is taken */
	uint64_t now_ns = 7 * DAY_MS * 1000000 - 12345;
	ck_assert_uint_eq(rate_take(&b, &r, 1, now_ns), 0);
	uint64_t wait = rate_take(&b, &r, 1, now_ns + 20000);
	ck_assert_uint_ge(wait, DAY_MS * 1000000 - 20000);
	ck_assert_uint_le(wait, DAY_MS * 1000000 - 20000 + 2);
}
END_TEST

/* as many as may be, as soon as they may be: the count must be exact after a long time */
static void drain(const struct rate *r, uint64_t n, unsigned times, uint64_t start_ns)
{
	struct rate_bucket b = {0};
	uint64_t now_ns = start_ns;
	uint64_t given = 0;
	for (unsigned i = 0; i < times;) {
		uint64_t wait = rate_take(&b, r, n, now_ns);
		now_ns += wait;
		if (wait == 0) {
			given += n;
			i++;
		}
	}
	/* (given - burst) tokens take exactly this long; the last wait is rounded up to a nanosecond, the first may be two */
	unsigned __int128 exact = (unsigned __int128)(given - r->burst) * r->period_ms * 1000000;
	unsigned __int128 took = (unsigned __int128)(now_ns - start_ns) * r->amount;
	ck_assert(took >= exact);
	ck_assert(took <= exact + 4 * (unsigned __int128)r->amount);
}

START_TEST(does_not_drift)
{
	drain(&(struct rate){.amount = 3, .period_ms = 1000, .burst = 2}, 1, 1000000, 17);
	drain(&(struct rate){.amount = 700001, .period_ms = 1000, .burst = 13}, 7, 1000000, 123456789);
	drain(&(struct rate){.amount = 999999937, .period_ms = 1000, .burst = 65536}, 1, 1000000, 999);
	drain(&(struct rate){.amount = 3000000019, .period_ms = 1000, .burst = 10}, 1, 1000000, 40 * DAY_MS * 1000000);
	drain(&(struct rate){.amount = 100000000000, .period_ms = 1000, .burst = 1 << 20}, 1, 3000000, 5);
	drain(&(struct rate){.amount = 100000000000, .period_ms = 1000, .burst = 1 << 20}, 16381, 1000000, 5);
	drain(&(struct rate){.amount = 7, .period_ms = DAY_MS, .burst = 10}, 5, 1000, 3 * SECOND);
	drain(&(struct rate){.amount = 1 << 20, .period_ms = 1000, .burst = UINT64_C(1) << 40}, 1 << 30, 100000, 0);
}
END_TEST

/* A bucket in exact fractions: what is missing, in parts of 1 / (period in ns). */
struct model {
	unsigned __int128 missing;
	uint64_t now_ns;
};

static void model_advance(struct model *m, const struct rate *r, uint64_t now_ns)
{
	unsigned __int128 came = (unsigned __int128)(now_ns - m->now_ns) * r->amount;
	m->missing = came < m->missing ? m->missing - came : 0;
	m->now_ns = now_ns;
}

static struct rate any_rate(void)
{
	static const uint64_t periods[] = {1, 10, 1000, 60000, 3600000, DAY_MS};
	struct rate r = {.period_ms = periods[below(ARRAY_LEN(periods))], .burst = any_up_to(RATE_BURST_MOST)};
	r.amount = any_up_to(r.period_ms * 100000000); /* 100 in a ns */
	/* not longer than 18 years, or 52 days */
	uint64_t longest = r.amount > r.period_ms * 1000000 ? DAY_MS * 50 : DAY_MS * 365 * 17;
	unsigned __int128 most = (unsigned __int128)longest * r.amount / r.period_ms;
	if (most > 0 && r.burst > most)
		r.burst = (uint64_t)most;
	return r;
}

static void compare_with_the_model(void)
{
	struct rate r = any_rate();
	struct rate_bucket b = {0};
	struct model m = {0};
	const unsigned __int128 token = r.period_ms * 1000000;
	const unsigned __int128 burst = r.burst * token;
	const unsigned __int128 slack = 4 * (unsigned __int128)r.amount; /* what comes in 4 ns */
	uint64_t now_ns = below(DAY_MS * 1000000);
	unsigned __int128 fill_ns = burst / r.amount + 1;
	uint64_t step = fill_ns > DAY_MS * 1000000 * 100 ? DAY_MS * 1000000 * 100 : (uint64_t)fill_ns;

	m.now_ns = now_ns;
	for (int i = 0; i < 300; i++) {
		now_ns += below(4) == 0 ? 0 : below(any_up_to(step) + 1);
		model_advance(&m, &r, now_ns);

		uint64_t there = rate_there(&b, &r, now_ns);
		ck_assert(there <= r.burst);
		unsigned __int128 exact = m.missing < burst ? burst - m.missing : 0;
		ck_assert(there * token <= exact);
		ck_assert((there + 1) * token + slack > exact);
		ck_assert(m.missing == 0 || !rate_is_full(&b, now_ns));
		ck_assert(m.missing > slack || rate_is_full(&b, now_ns + 8));

		uint64_t n = below(3) == 0 ? there + below(2) : any_up_to(r.burst);
		if (n == 0 || n > r.burst)
			continue;
		if (below(5) == 0) {
			n = any_up_to(2 * r.burst);
			rate_charge(&b, &r, n, now_ns);
			m.missing = m.missing + n * token < 2 * burst ? m.missing + n * token : 2 * burst;
			continue;
		}
		uint64_t wait = rate_take(&b, &r, n, now_ns);
		ck_assert(wait > 0 || m.missing + n * token <= burst);
		ck_assert(wait > 0 || n <= there);
		ck_assert(wait == 0 || n > there);
		if (wait == 0) {
			m.missing += n * token;
			continue;
		}
		/* it says when, to the nanosecond */
		struct rate_bucket then = {rate_is_full(&b, now_ns) ? 0 : atomic_load(&b.full_at)};
		if (below(2) == 0) {
			ck_assert_uint_gt(rate_take(&then, &r, n, now_ns + wait - 1), 0);
			ck_assert_uint_eq(rate_take(&then, &r, n, now_ns + wait), 0);
		}
	}
}

START_TEST(is_like_the_model)
{
	for (int i = 0; i < 3000; i++)
		compare_with_the_model();
}
END_TEST

START_TEST(a_clock_that_goes_back_does_no_harm)
{
	struct rate r = {.amount = 10, .period_ms = 1000, .burst = 20};
	struct rate_bucket b = {0};
	uint64_t later = DAY_MS * 1000000 * 1000;
	ck_assert_uint_eq(rate_take(&b, &r, 20, later), 0);
	/* a little: nothing is given twice */
	ck_assert_uint_gt(rate_take(&b, &r, 1, later - SECOND), 0);
	/* a lot: no more than two bursts are missing */
	uint64_t wait = rate_take(&b, &r, 1, 5);
	ck_assert_uint_le(wait, 21 * SECOND / 10 + 2);
	ck_assert_uint_eq(rate_take(&b, &r, 1, 5 + wait), 0);
	/* ahead: full, and no more than that */
	ck_assert_uint_eq(rate_there(&b, &r, later * 2), 20);
	ck_assert_uint_eq(rate_take(&b, &r, 20, later * 2), 0);
	ck_assert_uint_gt(rate_take(&b, &r, 1, later * 2), 0);
}
END_TEST

START_TEST(the_end_of_time_does_no_harm)
{
	for (int i = 0; i < 200000; i++) {
		struct rate r = {.amount = any() >> below(64),
				 .period_ms = any() >> below(64),
				 .burst = any() >> below(64)};
		struct rate_bucket b = {any() >> below(64)};
		uint64_t now_ns = any() >> (2 + below(62));
		for (int k = 0; k < 4; k++) {
			uint64_t n = any() >> below(64);
			uint64_t wait = rate_take(&b, &r, n, now_ns);
			rate_charge(&b, &r, any() >> below(64), now_ns);
			if (r.amount > 0)
				ck_assert_uint_le(rate_there(&b, &r, now_ns), RATE_BURST_MOST);
			now_ns = (now_ns + wait) >> 2;
		}
	}
}
END_TEST

START_TEST(a_fine_bucket_lives_on_when_its_times_start_anew)
{
	struct rate r = {.amount = 10000000000, .period_ms = 1000, .burst = 1000000};
	struct rate_bucket b = {0};
	uint64_t turn = UINT64_C(1) << 56; /* 833 days */
	uint64_t now_ns = turn - 50000;
	for (int i = 0; i < 1000; i++, now_ns += 100) {
		/* 1000 come in 100 ns */
		ck_assert_uint_eq(rate_take(&b, &r, i == 0 ? 1000000 : 1000, now_ns), 0);
		ck_assert_uint_gt(rate_take(&b, &r, 2, now_ns), 0);
	}
}
END_TEST

START_TEST(a_bucket_keeps_its_time_when_the_rate_changes)
{
	struct rate slow = {.amount = 10, .period_ms = 1000, .burst = 100};
	struct rate fast = {.amount = 5000000000, .period_ms = 1000, .burst = 5000000000};
	struct rate_bucket b = {0};
	ck_assert_uint_eq(rate_take(&b, &slow, 5, SECOND), 0);
	/* half a second until it is full */
	ck_assert_uint_eq(rate_there(&b, &fast, SECOND), 2500000000);
	ck_assert_uint_eq(rate_take(&b, &fast, 1000000000, SECOND), 0);
	/* 0.7 s: 7 are missing, and the part that was rounded */
	ck_assert_uint_ge(rate_there(&b, &slow, SECOND), 92);
	ck_assert_uint_le(rate_there(&b, &slow, SECOND), 93);
	/* 20 seconds are missing of a burst of one second: two are */
	struct rate_bucket c = {0};
	rate_charge(&c, &slow, 200, SECOND);
	uint64_t wait = rate_take(&c, &fast, 1, SECOND);
	ck_assert_uint_gt(wait, SECOND);
	ck_assert_uint_le(wait, SECOND + 10);
	ck_assert_uint_eq(rate_take(&c, &fast, 1, SECOND + wait), 0);
}
END_TEST

START_TEST(charging_goes_one_burst_below_empty)
{
	struct rate r = {.amount = 10, .period_ms = 1000, .burst = 20};
	struct rate_bucket b = {0};
	rate_charge(&b, &r, 30, SECOND);
	ck_assert_uint_eq(rate_there(&b, &r, SECOND), 0);
	ck_assert_uint_eq(rate_take(&b, &r, 1, SECOND), 11 * SECOND / 10);
	rate_charge(&b, &r, 1000000, SECOND);
	ck_assert_uint_eq(rate_take(&b, &r, 1, SECOND), 21 * SECOND / 10 + 2); /* and a part */
}
END_TEST

START_TEST(what_is_reserved_comes_in_the_order_of_asking)
{
	struct rate r = {.amount = 1000, .period_ms = 1000, .burst = 100};
	struct rate_bucket b = {0};
	ck_assert_uint_eq(rate_reserve(&b, &r, 60, SECOND, SECOND), 0);
	ck_assert_uint_eq(rate_reserve(&b, &r, 40, SECOND, SECOND), 0);
	/* 100 a 100 ms, far below what a charge could take */
	for (uint64_t i = 1; i <= 500; i++) {
		uint64_t wait = rate_reserve(&b, &r, 100, RATE_RESERVE_NS_MOST, SECOND);
		ck_assert_uint_ge(wait, i * SECOND / 10);
		ck_assert_uint_le(wait, i * SECOND / 10 + 2);
	}
	/* a minute later half of a second is there to wait for: the order stays */
	uint64_t wait = rate_reserve(&b, &r, 100, SECOND, 50 * SECOND);
	ck_assert_uint_ge(wait, SECOND + SECOND / 10);
	ck_assert_uint_eq(wait, UINT64_MAX);
	wait = rate_reserve(&b, &r, 100, SECOND, 51 * SECOND);
	ck_assert_uint_ge(wait, SECOND / 10);
	ck_assert_uint_le(wait, SECOND / 10 + 2);
}
END_TEST

START_TEST(a_reservation_waits_no_longer_than_it_may)
{
	struct rate r = {.amount = 1000, .period_ms = 1000, .burst = 1000};
	struct rate_bucket b = {0};
	ck_assert_uint_eq(rate_reserve(&b, &r, 1000, 0, SECOND), 0);
	ck_assert_uint_eq(rate_reserve(&b, &r, 1, 0, SECOND), UINT64_MAX);
	ck_assert_uint_eq(rate_reserve(&b, &r, 1, SECOND / 1000 - 1, SECOND), UINT64_MAX);
	ck_assert_uint_le(rate_reserve(&b, &r, 1, SECOND / 1000 + 2, SECOND), SECOND / 1000 + 2);
	for (int i = 0; i < 1000; i++)
		(void)rate_reserve(&b, &r, 1000, UINT64_MAX, SECOND);
	uint64_t wait = rate_take(&b, &r, 1, SECOND);
	ck_assert_uint_le(wait, RATE_RESERVE_NS_MOST + SECOND);
	/* a clock that went back an hour makes nobody wait for an hour */
	wait = rate_reserve(&b, &r, 1, UINT64_MAX, 0);
	ck_assert(wait == UINT64_MAX || wait <= RATE_RESERVE_NS_MOST);
	ck_assert_uint_le(rate_reserve(&b, &r, 1, UINT64_MAX, 75 * SECOND), 1);
}
END_TEST

START_TEST(what_is_returned_is_there_again)
{
	struct rate r = {.amount = 1000, .period_ms = 1000, .burst = 1000};
	struct rate_bucket b = {0};
	for (int i = 0; i < 100000; i++) {
		ck_assert_uint_eq(rate_reserve(&b, &r, 700, 0, SECOND), 0);
		rate_return(&b, &r, 700, SECOND);
	}
	ck_assert_uint_eq(rate_there(&b, &r, SECOND), 1000);
	rate_return(&b, &r, 700, SECOND);
	ck_assert_uint_eq(rate_there(&b, &r, SECOND), 1000);
	ck_assert_uint_eq(rate_reserve(&b, &r, 700, 0, SECOND), 0);
	rate_return(&b, &r, 300, SECOND);
	ck_assert_uint_eq(rate_there(&b, &r, SECOND), 600);
}
END_TEST

#define THREADS 4
#define ROUNDS 200000

static struct rate_bucket shared_bucket;
static struct rate shared_rate;
static _Atomic uint64_t shared_now;

static void *take_all(void *arg)
{
	uint64_t mine = (uintptr_t)arg;
	uint64_t given = 0;
	for (int i = 0; i < ROUNDS; i++) {
		/* some are behind the others */
		uint64_t now_ns = atomic_fetch_add(&shared_now, 777) - (mine & 1) * 5000;
		uint64_t n = 1 + (uint64_t)i % 5;
		if (rate_take(&shared_bucket, &shared_rate, n, now_ns) == 0)
			given += n;
	}
	return (void *)(uintptr_t)given;
}

START_TEST(threads_never_get_more_than_there_is)
{
	static const uint64_t amounts[] = {1000, 1000000, 3000000, 2000000000};
	shared_rate = (struct rate){.amount = amounts[_i], .period_ms = 1000, .burst = 100};
	uint64_t start_ns = 12345678901;
	atomic_store(&shared_now, start_ns);
	atomic_store(&shared_bucket.full_at, 0);
	pthread_t threads[THREADS];
	for (uintptr_t i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, take_all, (void *)i), 0);
	uint64_t given = 0;
	for (int i = 0; i < THREADS; i++) {
		void *one;
		pthread_join(threads[i], &one);
		given += (uintptr_t)one;
	}
	uint64_t took_ns = atomic_load(&shared_now) - start_ns + 5000;
	unsigned __int128 may = (unsigned __int128)took_ns * shared_rate.amount / SECOND + shared_rate.burst;
	ck_assert_msg(given <= may, "%lu of %lu", (unsigned long)given, (unsigned long)may);
	/* asked for 3 in 777 ns on average: where less than that comes, nothing of it is left over */
	if (shared_rate.amount < 3000000)
		ck_assert_uint_ge(given + 5 + shared_rate.burst, (uint64_t)may);
}
END_TEST

static void *charge_all(void *arg UNUSED)
{
	for (int i = 0; i < ROUNDS; i++)
		rate_charge(&shared_bucket, &shared_rate, 3, SECOND);
	return NULL;
}

START_TEST(no_charge_is_lost_between_threads)
{
	shared_rate = (struct rate){.amount = 1000, .period_ms = 1000, .burst = 4 * THREADS * ROUNDS};
	atomic_store(&shared_bucket.full_at, 0);
	pthread_t threads[THREADS];
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, charge_all, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(rate_there(&shared_bucket, &shared_rate, SECOND), THREADS * ROUNDS);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("rate");
	TCase *c = tcase_create("rate");
	tcase_set_timeout(c, 120);
	tcase_add_test(c, a_new_bucket_is_full);
	tcase_add_test(c, without_a_limit_everything_is_there);
	tcase_add_test(c, one_a_day_is_one_a_day);
	tcase_add_test(c, does_not_drift);
	tcase_add_test(c, is_like_the_model);
	tcase_add_test(c, a_clock_that_goes_back_does_no_harm);
	tcase_add_test(c, the_end_of_time_does_no_harm);
	tcase_add_test(c, a_fine_bucket_lives_on_when_its_times_start_anew);
	tcase_add_test(c, a_bucket_keeps_its_time_when_the_rate_changes);
	tcase_add_test(c, charging_goes_one_burst_below_empty);
	tcase_add_test(c, what_is_reserved_comes_in_the_order_of_asking);
	tcase_add_test(c, a_reservation_waits_no_longer_than_it_may);
	tcase_add_test(c, what_is_returned_is_there_again);
	tcase_add_loop_test(c, threads_never_get_more_than_there_is, 0, 4);
	tcase_add_test(c, no_charge_is_lost_between_threads);
	suite_add_tcase(suite, c);
	return suite_run(suite);
}

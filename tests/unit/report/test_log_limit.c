/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "../suite.h"
#include "base/clock.h"
#include "report/log_priv.h"

#define START_MS 1000000
#define THREADS 4
#define TRIES_PER_THREAD 5000

static struct log_limit limit = LOG_LIMIT_INIT("connects that failed");
static struct log_limit other = LOG_LIMIT_INIT("others");
static unsigned told;	    /* records held back, by the reports */
static unsigned told_times; /* reports */

static void tell(const char *what, unsigned held)
{
	ck_assert_str_eq(what, limit.what);
	told += held;
	told_times++;
}

/* Tries `n` times. Returns how often it was allowed. */
static unsigned try_many(unsigned n, uint64_t now_ms)
{
	unsigned allowed = 0;
	for (unsigned i = 0; i < n; i++)
		allowed += log_allowed(&limit, now_ms) ? 1 : 0;
	return allowed;
}

START_TEST(allows_a_burst_in_a_window)
{
	ck_assert_uint_eq(try_many(25, START_MS), LOG_LIMIT_BURST);
	ck_assert_uint_eq(try_many(5, START_MS + LOG_LIMIT_WINDOW_MS - 1), 0);
	ck_assert_uint_eq(try_many(25, START_MS + LOG_LIMIT_WINDOW_MS), LOG_LIMIT_BURST);
}
END_TEST

START_TEST(each_place_counts_for_itself)
{
	ck_assert_uint_eq(try_many(25, START_MS), LOG_LIMIT_BURST);
	ck_assert(log_allowed(&other, START_MS));
}
END_TEST

START_TEST(a_clock_read_earlier_begins_no_window)
{
	ck_assert_uint_eq(try_many(25, START_MS), LOG_LIMIT_BURST);
	ck_assert_uint_eq(try_many(5, START_MS - 3), 0);
}
END_TEST

START_TEST(tells_at_the_end_of_the_window)
{
	ck_assert_uint_eq(log_limits_look(START_MS, true, tell), 0);
	try_many(LOG_LIMIT_BURST, START_MS);
	ck_assert_uint_eq(log_limits_look(START_MS, false, tell), 0);
	try_many(3, START_MS + 5);
	ck_assert_uint_eq(log_limits_look(START_MS + 5, false, tell), START_MS + LOG_LIMIT_WINDOW_MS);
	ck_assert_uint_eq(told, 0);
	ck_assert_uint_eq(log_limits_look(START_MS + LOG_LIMIT_WINDOW_MS, false, tell), 0);
	ck_assert_uint_eq(told, 3);
	ck_assert_uint_eq(log_limits_look(START_MS + 2 * LOG_LIMIT_WINDOW_MS, true, tell), 0);
	ck_assert_uint_eq(told_times, 1);
}
END_TEST

START_TEST(tells_of_a_place_that_goes_on)
{
	/* it begins its next window before anybody looks */
	try_many(25, START_MS);
	try_many(25, START_MS + LOG_LIMIT_WINDOW_MS);
	log_limits_look(START_MS + LOG_LIMIT_WINDOW_MS + 1, false, tell);
	ck_assert_uint_eq(told, 30);
	try_many(1, START_MS + LOG_LIMIT_WINDOW_MS + 2);
	ck_assert_uint_eq(log_limits_look(START_MS + LOG_LIMIT_WINDOW_MS + 2, false, tell),
			  START_MS + 2 * LOG_LIMIT_WINDOW_MS);
}
END_TEST

START_TEST(tells_all_at_the_end)
{
	try_many(12, START_MS);
	ck_assert_uint_eq(log_limits_look(START_MS, true, tell), 0);
	ck_assert_uint_eq(told, 2);
}
END_TEST

static _Atomic unsigned allowed_in_threads;

static void *try_in_thread(void *unused)
{
	(void)unused;
	atomic_fetch_add(&allowed_in_threads, try_many(TRIES_PER_THREAD, START_MS));
	return NULL;
}

START_TEST(counts_in_many_threads)
{
	pthread_t threads[THREADS];
	/* the window is begun: two threads that begin one may each let a few more through */
	ck_assert(log_allowed(&limit, START_MS));
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, try_in_thread, NULL), 0);
	for (int i = 0; i < 100; i++)
		log_limits_look(START_MS + LOG_LIMIT_WINDOW_MS, false, tell);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	log_limits_look(0, true, tell);
	ck_assert_uint_eq(atomic_load(&allowed_in_threads), LOG_LIMIT_BURST - 1);
	ck_assert_uint_eq(told, THREADS * TRIES_PER_THREAD - (LOG_LIMIT_BURST - 1));
}
END_TEST

static char kept[LOG_MESSAGE_BYTES];
static enum log_kind kept_kind;
static _Atomic bool has_kept;

static unsigned keep(const struct log_entry *e)
{
	memcpy(kept, e->message, (size_t)e->message_bytes + 1);
	kept_kind = e->kind;
	atomic_store(&has_kept, true);
	return 0;
}

static unsigned flush(void)
{
	return 0;
}

static const struct log_sink sink = {.put = keep, .flush = flush};

/* Each report, on its own: the log thread tells though no other record comes */
START_TEST(the_log_thread_tells)
{
	bool at_the_stop = _i == 1;
	ck_assert_int_eq(log_start_sink(&sink), 0);
	/* a window that is over already, or one that is not */
	try_many(15, at_the_stop ? clock_now_ms() : clock_now_ms() - LOG_LIMIT_WINDOW_MS);
	uint64_t until_ms = clock_now_ms() + 20000;
	while (!at_the_stop && !atomic_load(&has_kept))
		ck_assert_uint_lt(clock_now_ms(), until_ms);
	log_stop(10000);
	ck_assert(atomic_load(&has_kept));
	ck_assert_int_eq(kept_kind, LOG_HELD_BACK);
	if (at_the_stop)
		ck_assert_str_eq(kept, "5 more records like \"connects that failed\" were held back in the last 10s");
	else
		ck_assert_ptr_nonnull(strstr(kept, "connects that failed"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("log_limit");
	TCase *c = tcase_create("log_limit");
	tcase_set_timeout(c, 60);
	tcase_add_test(c, allows_a_burst_in_a_window);
	tcase_add_test(c, each_place_counts_for_itself);
	tcase_add_test(c, a_clock_read_earlier_begins_no_window);
	tcase_add_test(c, tells_at_the_end_of_the_window);
	tcase_add_test(c, tells_of_a_place_that_goes_on);
	tcase_add_test(c, tells_all_at_the_end);
	tcase_add_test(c, counts_in_many_threads);
	tcase_add_loop_test(c, the_log_thread_tells, 0, 2);
	suite_add_tcase(s, c);
	return suite_run(s);
}

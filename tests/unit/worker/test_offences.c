/* SPDX-License-Identifier: MIT */
#include "worker/offences.h"

#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "../suite.h"
#include "base/attr.h"

#define SOURCES 8

static struct offences offences;
static struct source_share sources[SOURCES];
static uint64_t seen[SOURCES];

static void setup(void)
{
	role_enter_main();
	ck_assert_int_eq(offences_init(&offences), 0);
	for (int i = 0; i < SOURCES; i++)
		atomic_store(&sources[i].open, 1);
}

static void teardown(void)
{
	offences_fini(&offences);
	role_leave_main();
}

static void count(void *arg, struct source_share *source, unsigned n)
{
	unsigned *calls = arg;
	(*calls)++;
	ck_assert_uint_gt(n, 0);
	/* the connection may have gone; the source may not */
	ck_assert_uint_ge(atomic_load(&source->open), 1);
	seen[source - sources] += n;
}

START_TEST(each_source_comes_once_with_its_sum)
{
	unsigned calls = 0;
	offences_add(&offences, &sources[0], 1);
	offences_add(&offences, &sources[1], 5);
	offences_add(&offences, &sources[0], 2);
	offences_add(&offences, NULL, 3);
	offences_add(&offences, &sources[2], 0);
	ck_assert_uint_eq(atomic_load(&sources[0].open), 2);
	ck_assert(!offences_take(&offences, 100, count, &calls));
	ck_assert_uint_eq(calls, 2);
	ck_assert_uint_eq(seen[0], 3);
	ck_assert_uint_eq(seen[1], 5);
	ck_assert_uint_eq(atomic_load(&sources[0].open), 1);
	ck_assert_uint_eq(atomic_load(&sources[2].open), 1);
	ck_assert(!offences_take(&offences, 100, count, &calls));
	ck_assert_uint_eq(calls, 2);
}
END_TEST

START_TEST(taking_is_bounded)
{
	unsigned calls = 0;
	for (int i = 0; i < SOURCES; i++)
		offences_add(&offences, &sources[i], 1);
	ck_assert(offences_take(&offences, 3, count, &calls));
	ck_assert_uint_eq(calls, 3);
	offences_add(&offences, &sources[0], 1);
	ck_assert(offences_take(&offences, 3, count, &calls));
	while (offences_take(&offences, 3, count, &calls))
		;
	for (int i = 0; i < SOURCES; i++)
		ck_assert_uint_eq(seen[i], i == 0 ? 2 : 1);
}
END_TEST

START_TEST(the_bell_rings_if_it_is_awaited)
{
	struct pollfd p = {.fd = offences.bell.fd, .events = POLLIN};
	offences_add(&offences, &sources[0], 1);
	ck_assert_int_eq(poll(&p, 1, 0), 0);
	doorbell_await(&offences.bell);
	offences_add(&offences, &sources[0], 1); /* it is on its way already */
	offences_add(&offences, &sources[1], 1);
	ck_assert_int_eq(poll(&p, 1, 0), 1);
	doorbell_answer(&offences.bell);
	ck_assert_int_eq(poll(&p, 1, 0), 0);
}
END_TEST

#define THREADS 4
#define ROUNDS 100000

static void *offend(void *arg UNUSED)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		/* as a connection does: counted as open while it notes, and given back after that */
		struct source_share *s = &sources[i % SOURCES];
		atomic_fetch_add(&s->open, 1);
		offences_add(&offences, s, 1 + i % 3);
		atomic_fetch_sub(&s->open, 1);
	}
	return NULL;
}

START_TEST(none_is_lost_between_threads)
{
	pthread_t threads[THREADS];
	unsigned calls = 0;
	for (int i = 0; i < SOURCES; i++)
		atomic_store(&sources[i].open, 0);
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, offend, NULL), 0);
	uint64_t expected = 0;
	for (unsigned i = 0; i < ROUNDS; i++)
		expected += THREADS * (1 + i % 3);
	uint64_t sum = 0;
	while (sum < expected) {
		(void)offences_take(&offences, 5, count, &calls);
		sum = 0;
		for (int i = 0; i < SOURCES; i++)
			sum += seen[i];
		sched_yield();
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ck_assert(!offences_take(&offences, 5, count, &calls));
	ck_assert_uint_eq(sum, expected);
	for (int i = 0; i < SOURCES; i++)
		ck_assert_uint_eq(atomic_load(&sources[i].open), 0);
}
END_TEST

START_TEST(what_nobody_took_is_freed)
{
	unsigned calls = 0;
	for (int i = 0; i < SOURCES; i++)
		offences_add(&offences, &sources[i], 1);
	(void)offences_take(&offences, 2, count, &calls);
	for (int i = 0; i < SOURCES; i++)
		offences_add(&offences, &sources[i], 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("worker/offences");
	TCase *c = tcase_create("offences");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_set_timeout(c, 60);
	tcase_add_test(c, each_source_comes_once_with_its_sum);
	tcase_add_test(c, taking_is_bounded);
	tcase_add_test(c, the_bell_rings_if_it_is_awaited);
	tcase_add_test(c, none_is_lost_between_threads);
	tcase_add_test(c, what_nobody_took_is_freed);
	suite_add_tcase(s, c);
	return suite_run(s);
}

/* SPDX-License-Identifier: MIT */
#include "worker/owing.h"

#include <check.h>
#include <stdlib.h>

#include "../suite.h"

#define START_MS 1000000

static const struct rate least = {.amount = 60000, .period_ms = 60000, .burst = 1}; /* 1000 a second */
static struct owing owing;
static uint64_t now_ms;

static void setup(void)
{
	owing = (struct owing){0};
	now_ms = START_MS;
	ck_assert(!owing_look(&owing, &least, 0, 0, now_ms));
}

static bool look(uint64_t owed_to, uint64_t taken)
{
	now_ms += OWING_LOOK_MS;
	return owing_look(&owing, &least, owed_to, taken, now_ms);
}

START_TEST(who_takes_nothing_has_ten_seconds)
{
	ck_assert(!look(100000, 0)); /* owed since a moment ago */
	ck_assert(!look(100000, 0)); /* since five seconds */
	ck_assert(look(100000, 0));
	ck_assert_uint_eq(now_ms - START_MS, 15000);
}
END_TEST

START_TEST(who_takes_enough_may_owe_for_ever)
{
	uint64_t taken = 0;
	for (int i = 0; i < 1000; i++) {
		ck_assert(!look(1000000000, taken));
		taken += 5000;
	}
	/* and one byte less is less */
	ck_assert(!look(1000000000, taken));
	ck_assert(look(1000000000, taken + 4999));
}
END_TEST

START_TEST(the_past_does_not_count)
{
	ck_assert(!look(50000000, 0));
	ck_assert(!look(60000000, 49000000)); /* fast as anything */
	ck_assert(!look(60000000, 49000000));
	ck_assert(look(60000000, 49000000)); /* and then nothing for ten seconds */
}
END_TEST

START_TEST(who_has_taken_all_is_not_slow_however_little_it_was)
{
	for (uint64_t n = 1; n < 1000; n++)
		ck_assert(!look(n + 1, n)); /* the last byte is always under way */
}
END_TEST

START_TEST(late_looks_are_judged_by_the_time_that_went_by)
{
	ck_assert(!look(1000000, 0));
	now_ms += 35000;
	ck_assert(!look(1000000, 40000));
	now_ms += 35000;
	ck_assert(look(1000000, 79999));
}
END_TEST

START_TEST(what_was_taken_stays_taken)
{
	ck_assert(!look(20000, 9000));
	ck_assert(!look(20000, 1000)); /* the kernel's number has other bytes in it too */
	ck_assert(!look(20000, 19000));
	ck_assert(!look(30000, 19000));
}
END_TEST

START_TEST(it_is_known_when_nothing_is_owed)
{
	ck_assert(owing_nothing(&owing, 0));
	ck_assert(!owing_nothing(&owing, 10));
	ck_assert(!look(10, 10));
	ck_assert(owing_nothing(&owing, 10));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("worker/owing");
	TCase *c = tcase_create("owing");
	tcase_add_checked_fixture(c, setup, NULL);
	tcase_add_test(c, who_takes_nothing_has_ten_seconds);
	tcase_add_test(c, who_takes_enough_may_owe_for_ever);
	tcase_add_test(c, the_past_does_not_count);
	tcase_add_test(c, who_has_taken_all_is_not_slow_however_little_it_was);
	tcase_add_test(c, late_looks_are_judged_by_the_time_that_went_by);
	tcase_add_test(c, what_was_taken_stays_taken);
	tcase_add_test(c, it_is_known_when_nothing_is_owed);
	suite_add_tcase(s, c);
	return suite_run(s);
}

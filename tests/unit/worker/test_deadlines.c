/* SPDX-License-Identifier: MIT */
#include "worker/deadlines.h"

#include <check.h>
#include <stdlib.h>

#include "../suite.h"

#define START_MS 1000000

static const struct timeouts_config all = {.idle_ms = 5000, .first_byte_ms = 1000, .lifetime_ms = 60000};
static struct deadline_facts facts;
static uint64_t next_ms;

static void setup(void)
{
	facts = (struct deadline_facts){
		.limits = &all,
		.opened_ms = START_MS,
		.begun_ms = START_MS,
		.active_ms = START_MS,
	};
	next_ms = 0;
}

static enum close_reason at(uint64_t ms)
{
	return deadlines_look(&facts, START_MS + ms, &next_ms);
}

START_TEST(without_limits_nothing_is_ever_over)
{
	static const struct timeouts_config none;
	facts.limits = &none;
	ck_assert_int_eq(at(UINT32_MAX), CLOSE_NONE);
	ck_assert_uint_eq(next_ms, UINT64_MAX);
}
END_TEST

START_TEST(a_silent_client_has_its_time)
{
	ck_assert_int_eq(at(0), CLOSE_NONE);
	ck_assert_uint_eq(next_ms, START_MS + 1000);
	ck_assert_int_eq(at(999), CLOSE_NONE);
	ck_assert_int_eq(at(1000), CLOSE_first_byte_timeout);
}
END_TEST

START_TEST(one_that_spoke_may_be_idle_for_its_time)
{
	facts.has_spoken = facts.is_heard = true;
	ck_assert_int_eq(at(1000), CLOSE_NONE);
	ck_assert_uint_eq(next_ms, START_MS + 5000);
	facts.active_ms = START_MS + 3000;
	ck_assert_int_eq(at(5000), CLOSE_NONE);
	ck_assert_uint_eq(next_ms, START_MS + 8000);
	ck_assert_int_eq(at(8000), CLOSE_idle);
}
END_TEST

START_TEST(what_nobody_has_read_yet_is_not_silence)
{
	facts.is_heard = true;
	ck_assert_int_eq(at(500), CLOSE_NONE);
	ck_assert_uint_eq(next_ms, START_MS + 1000);
	ck_assert_int_eq(at(1000), CLOSE_NONE);
	ck_assert_uint_eq(next_ms, START_MS + 5000);
}
END_TEST

START_TEST(while_it_dials_the_client_is_neither_silent_nor_idle)
{
	facts.is_dialing = true;
	ck_assert_int_eq(at(30000), CLOSE_NONE);
	ck_assert_uint_eq(next_ms, START_MS + 31000);
	facts.is_dialing = false;
	facts.begun_ms = facts.active_ms = START_MS + 30500;
	ck_assert_int_eq(at(31499), CLOSE_NONE);
	ck_assert_int_eq(at(31500), CLOSE_first_byte_timeout);
}
END_TEST

START_TEST(who_waits_for_bandwidth_is_not_idle_but_may_be_silent)
{
	facts.is_paced = true;
	ck_assert_int_eq(at(1000), CLOSE_first_byte_timeout);
	facts.has_spoken = true;
	ck_assert_int_eq(at(59999), CLOSE_NONE);
	ck_assert_uint_eq(next_ms, START_MS + 60000);
}
END_TEST

START_TEST(lifetime_ends_whatever_goes_on)
{
	facts.has_spoken = true;
	facts.active_ms = START_MS + 59999;
	ck_assert_int_eq(at(59999), CLOSE_NONE);
	ck_assert_uint_eq(next_ms, START_MS + 60000);
	facts.is_dialing = facts.is_paced = true;
	ck_assert_int_eq(at(60000), CLOSE_lifetime);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("worker/deadlines");
	TCase *c = tcase_create("deadlines");
	tcase_add_checked_fixture(c, setup, NULL);
	tcase_add_test(c, without_limits_nothing_is_ever_over);
	tcase_add_test(c, a_silent_client_has_its_time);
	tcase_add_test(c, one_that_spoke_may_be_idle_for_its_time);
	tcase_add_test(c, what_nobody_has_read_yet_is_not_silence);
	tcase_add_test(c, while_it_dials_the_client_is_neither_silent_nor_idle);
	tcase_add_test(c, who_waits_for_bandwidth_is_not_idle_but_may_be_silent);
	tcase_add_test(c, lifetime_ends_whatever_goes_on);
	suite_add_tcase(s, c);
	return suite_run(s);
}

/* SPDX-License-Identifier: MIT */
#include "base/timer.h"

#include <check.h>
#include <stdlib.h>

#include "../suite.h"
#include "base/attr.h"

#define MANY 300

struct alarm {
	struct timer timer;
	uint64_t fired_ms; /* 0: not yet */
	unsigned fired;
};

static struct timer_wheel wheel;
static struct alarm alarms[MANY];

static void ring(struct timer *t, uint64_t now_ms)
{
	struct alarm *a = CONTAINER_OF(t, struct alarm, timer);
	a->fired_ms = now_ms;
	a->fired++;
}

static void start_at(uint64_t now_ms)
{
	timer_wheel_init(&wheel, now_ms);
	for (int i = 0; i < MANY; i++) {
		alarms[i] = (struct alarm){0};
		timer_init(&alarms[i].timer, ring);
	}
}

START_TEST(fires_at_its_time_and_never_before)
{
	start_at(1000);
	timer_start(&wheel, &alarms[0].timer, 1050);
	ck_assert(timer_runs(&alarms[0].timer));
	ck_assert_uint_eq(timer_wheel_run(&wheel, 1049), 0);
	ck_assert_uint_eq(timer_wheel_run(&wheel, 1050 + TIMER_TICK_MS), 1);
	ck_assert(!timer_runs(&alarms[0].timer));
	ck_assert_uint_eq(timer_wheel_run(&wheel, 100000), 0);
}
END_TEST

START_TEST(a_deadline_that_has_passed_fires_with_the_next_tick)
{
	start_at(1000);
	timer_start(&wheel, &alarms[0].timer, 10);
	ck_assert_int_le(timer_wheel_sleep_ms(&wheel, 1000), TIMER_TICK_MS);
	ck_assert_uint_eq(timer_wheel_run(&wheel, 1000 + TIMER_TICK_MS), 1);
}
END_TEST

START_TEST(stopped_timers_do_not_fire)
{
	start_at(0);
	timer_start(&wheel, &alarms[0].timer, 100);
	timer_stop(&alarms[0].timer);
	timer_stop(&alarms[0].timer);
	ck_assert_uint_eq(timer_wheel_run(&wheel, 1000), 0);
}
END_TEST

START_TEST(started_again_means_the_new_deadline)
{
	start_at(0);
	timer_start(&wheel, &alarms[0].timer, 100);
	timer_start(&wheel, &alarms[0].timer, 500);
	ck_assert_uint_eq(timer_wheel_run(&wheel, 400), 0);
	ck_assert_uint_eq(timer_wheel_run(&wheel, 504), 1);
}
END_TEST

static void stop_the_others(struct timer *t UNUSED, uint64_t now_ms UNUSED)
{
	for (int i = 0; i < MANY; i++)
		timer_stop(&alarms[i].timer);
}

START_TEST(one_that_fires_may_stop_others_that_are_due)
{
	start_at(0);
	alarms[0].timer.fire = stop_the_others;
	for (int i = 0; i < 10; i++)
		timer_start(&wheel, &alarms[i].timer, 100);
	ck_assert_uint_eq(timer_wheel_run(&wheel, 200), 1);
	ck_assert_uint_eq(alarms[5].fired, 0);
}
END_TEST

static void start_again(struct timer *t, uint64_t now_ms)
{
	ring(t, now_ms);
	timer_start(&wheel, t, now_ms);
}

START_TEST(one_that_starts_itself_fires_once_a_run)
{
	start_at(0);
	alarms[0].timer.fire = start_again;
	timer_start(&wheel, &alarms[0].timer, 8);
	ck_assert_uint_eq(timer_wheel_run(&wheel, 100), 1);
	ck_assert_uint_eq(timer_wheel_run(&wheel, 104), 1);
}
END_TEST

START_TEST(sleeping_never_oversleeps)
{
	start_at(0);
	ck_assert_int_eq(timer_wheel_sleep_ms(&wheel, 0), -1);
	timer_start(&wheel, &alarms[0].timer, 3600000);
	uint64_t now_ms = 0;
	unsigned turns = 0;
	while (!alarms[0].fired) {
		int sleep_ms = timer_wheel_sleep_ms(&wheel, now_ms);
		ck_assert_int_ge(sleep_ms, 0);
		now_ms += (uint64_t)sleep_ms;
		timer_wheel_run(&wheel, now_ms);
		ck_assert_uint_lt(++turns, 20); /* a wheel of five levels is turned a few times on the way, no more */
	}
	ck_assert_uint_ge(now_ms, 3600000);
	ck_assert_uint_le(now_ms, 3600000 + TIMER_TICK_MS);
}
END_TEST

START_TEST(the_farthest_deadline_is_kept_to)
{
	uint64_t day_ms = 86400000;
	start_at(77);
	timer_start(&wheel, &alarms[0].timer, 77 + 30 * day_ms);
	ck_assert_uint_eq(timer_wheel_run(&wheel, 30 * day_ms), 0);
	ck_assert_uint_eq(timer_wheel_run(&wheel, 77 + 30 * day_ms + TIMER_TICK_MS), 1);
	/* past the wheel's reach of some 48 days: it goes round once more */
	timer_start(&wheel, &alarms[1].timer, 400 * day_ms);
	for (uint64_t day = 31; day < 400; day++)
		ck_assert_uint_eq(timer_wheel_run(&wheel, day * day_ms), 0);
	ck_assert_uint_eq(timer_wheel_run(&wheel, 400 * day_ms + TIMER_TICK_MS), 1);
}
END_TEST

/* Against the naive model: each deadline as a number, looked through one by one. */
START_TEST(agrees_with_a_naive_model)
{
	srand((unsigned)_i + 1);
	uint64_t now_ms = (uint64_t)(rand() % 100000);
	start_at(now_ms);
	uint64_t deadline[MANY] = {0};
	for (int round = 0; round < 2000; round++) {
		int i = rand() % MANY;
		if (rand() % 4 == 0) {
			timer_stop(&alarms[i].timer);
			deadline[i] = 0;
		} else {
			/* from the next tick to several hours, evenly over the magnitudes */
			deadline[i] = now_ms + ((uint64_t)rand() % (UINT64_C(1) << (rand() % 25)));
			alarms[i].fired_ms = 0;
			timer_start(&wheel, &alarms[i].timer, deadline[i]);
		}
		if (rand() % 3)
			continue;
		now_ms += (uint64_t)rand() % (UINT64_C(1) << (rand() % 20));
		timer_wheel_run(&wheel, now_ms);
		for (int k = 0; k < MANY; k++) {
			if (!deadline[k])
				continue;
			if (alarms[k].fired_ms) {
				ck_assert_uint_ge(alarms[k].fired_ms, deadline[k]);
				deadline[k] = 0;
				alarms[k].fired_ms = 0;
			} else {
				ck_assert_uint_lt(now_ms, deadline[k] + 2 * TIMER_TICK_MS);
			}
		}
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("base/timer");
	TCase *c = tcase_create("timer");
	tcase_add_test(c, fires_at_its_time_and_never_before);
	tcase_add_test(c, a_deadline_that_has_passed_fires_with_the_next_tick);
	tcase_add_test(c, stopped_timers_do_not_fire);
	tcase_add_test(c, started_again_means_the_new_deadline);
	tcase_add_test(c, one_that_fires_may_stop_others_that_are_due);
	tcase_add_test(c, one_that_starts_itself_fires_once_a_run);
	tcase_add_test(c, sleeping_never_oversleeps);
	tcase_add_test(c, the_farthest_deadline_is_kept_to);
	tcase_add_loop_test(c, agrees_with_a_naive_model, 0, 20);
	suite_add_tcase(s, c);
	return suite_run(s);
}

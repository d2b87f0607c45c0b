/* SPDX-License-Identifier: MIT */
#include "front/overload.h"

#include <check.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../suite.h"
#include "base/attr.h"

#define MIB (UINT64_C(1) << 20)
#define MUCH (128 * MIB)

static struct timer_wheel timers;
static struct overload overload;
static uint64_t now_ms = 5000;
static char *much;

static void setup(void)
{
	role_enter_main();
	timer_wheel_init(&timers, now_ms);
	overload_init(&overload, &timers);
}

static void teardown(void)
{
	overload_fini(&overload);
	ck_assert(!timer_runs(&overload.look));
	role_leave_main();
}

static void later(uint64_t ms)
{
	now_ms += ms;
	timer_wheel_run(&timers, now_ms);
}

static void hold(void)
{
	much = mmap(NULL, MUCH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(much, MAP_FAILED);
	memset(much, 1, MUCH);
}

static void give_back(void)
{
	ck_assert_int_eq(munmap(much, MUCH), 0);
}

/* What this process holds. */
static uint64_t held(void)
{
	overload_set_limit(&overload, UINT64_MAX, now_ms);
	ck_assert_uint_gt(overload.held_bytes, 0);
	return overload.held_bytes;
}

START_TEST(is_over_while_the_process_holds_too_much)
{
	uint64_t limit = held() + MUCH / 2;
	overload_set_limit(&overload, limit, now_ms);
	ck_assert(!overload_is_over(&overload));
	hold();
	later(OVERLOAD_LOOK_MS / 2);
	ck_assert(!overload_is_over(&overload)); /* nobody looked */
	later(OVERLOAD_LOOK_MS);
	ck_assert(overload_is_over(&overload));
	later(10 * OVERLOAD_LOOK_MS);
	ck_assert(overload_is_over(&overload));
	give_back();
	later(OVERLOAD_LOOK_MS + TIMER_TICK_MS);
	ck_assert(!overload_is_over(&overload));
}
END_TEST

START_TEST(a_limit_is_looked_at_at_once)
{
	uint64_t limit = held();
	overload_set_limit(&overload, limit / 2, now_ms);
	ck_assert(overload_is_over(&overload));
	overload_set_limit(&overload, limit * 2, now_ms);
	ck_assert(!overload_is_over(&overload));
}
END_TEST

START_TEST(without_a_limit_nothing_is_done)
{
	ck_assert(!overload_is_over(&overload));
	overload_set_limit(&overload, 1, now_ms);
	ck_assert(overload_is_over(&overload));
	ck_assert(timer_runs(&overload.look));
	overload_set_limit(&overload, 0, now_ms);
	ck_assert(!overload_is_over(&overload));
	ck_assert(!timer_runs(&overload.look));
	ck_assert_int_eq(overload.statm_fd, -1);
}
END_TEST

START_TEST(what_cannot_be_read_is_no_overload)
{
	overload_set_limit(&overload, 1, now_ms);
	ck_assert(overload_is_over(&overload));
	int zero = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(dup2(zero, overload.statm_fd), 0);
	later(OVERLOAD_LOOK_MS + TIMER_TICK_MS);
	ck_assert(!overload_is_over(&overload));
	ck_assert(timer_runs(&overload.look));
	close(zero);
}
END_TEST

START_TEST(the_further_a_limit_is_exceeded_the_less_room_there_is)
{
	ck_assert_uint_eq(overload_room(0, 0, 0, 16), UINT64_MAX);
	ck_assert_uint_eq(overload_room(UINT64_MAX, 0, 100, 16), UINT64_MAX);
	ck_assert_uint_eq(overload_room(799, 800, 100, 16), UINT64_MAX);
	ck_assert_uint_eq(overload_room(800, 800, 100, 16), 16);
	ck_assert_uint_eq(overload_room(850, 800, 100, 16), 8);
	ck_assert_uint_eq(overload_room(899, 800, 100, 16), 1);
	ck_assert_uint_eq(overload_room(900, 800, 100, 16), 0);
	ck_assert_uint_eq(overload_room(UINT64_MAX, 800, 100, 16), 0);
	/* a part of next to nothing is nothing */
	ck_assert_uint_eq(overload_room(1, 1, 0, 16), 0);
	/* the most that the options let through */
	const uint64_t most = UINT64_C(1) << 40;
	for (uint64_t value = most, last = 16; value < most + most / 4; value += most / 1000) {
		uint64_t room = overload_room(value, most, most / 8, 16);
		ck_assert_uint_le(room, last);
		ck_assert(room > 0 || value >= most + most / 8);
		last = room;
	}
}
END_TEST

static const struct {
	const char *text;
	bool good;
	uint64_t pages;
} lines[] = {
	{"4321 1234 567 8 0 90 0\n", true, 1234},
	{"1 0 ", true, 0},
	{"1 18446744073709551615 0", true, UINT64_MAX},
	{"1 18446744073709551616 0", false, 0},
	{"", false, 0},
	{"4321", false, 0},
	{"4321 ", false, 0},
	{"4321 12", false, 0}, /* cut off */
	{"4321 -12 3", false, 0},
	{"4321  12 3", false, 0},
	{" 4321 12 3", false, 0},
	{"x 12 3", false, 0},
};

START_TEST(statm_is_read_as_it_is)
{
	uint64_t pages = 99;
	ck_assert_int_eq(overload_parse_statm(lines[_i].text, &pages), lines[_i].good);
	ck_assert_uint_eq(pages, lines[_i].good ? lines[_i].pages : 99);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("front/overload");
	TCase *c = tcase_create("overload");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, is_over_while_the_process_holds_too_much);
	tcase_add_test(c, a_limit_is_looked_at_at_once);
	tcase_add_test(c, without_a_limit_nothing_is_done);
	tcase_add_test(c, what_cannot_be_read_is_no_overload);
	tcase_add_test(c, the_further_a_limit_is_exceeded_the_less_room_there_is);
	tcase_add_loop_test(c, statm_is_read_as_it_is, 0, ARRAY_LEN(lines));
	suite_add_tcase(s, c);
	return suite_run(s);
}

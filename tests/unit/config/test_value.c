/* SPDX-License-Identifier: MIT */
#include "config/value.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../suite.h"

static const struct {
	const char *text;
	uint64_t value;
} sizes[] =
	{
		{"0B", 0},
		{"512B", 512},
		{"1KB", 1000},
		{"64KiB", 65536},
		{"10MB", 10000000},
		{"1GiB", 1ULL << 30},
		{"3TB", 3000000000000ULL},
		{"9223372036854775807B", VALUE_MAX},
},
  durations[] = {
	  {"0s", 0},
	  {"0ms", 0},
	  {"500ms", 500},
	  {"10s", 10000},
	  {"5min", 300000},
	  {"2h", 7200000},
	  {"1d", 86400000},
	  {"1h 30min", 5400000},
	  {"1h30min", 5400000},
	  {"90min", 5400000},
	  {"1d 1h 1min 1s 1ms", 90061001},
	  {"9223372036854775807ms", VALUE_MAX},
};

static const char *const bad_sizes[] = {
	"",
	"5",
	"B",
	"-1B",
	"1.5KiB",
	"1,5KiB",
	"64K",
	"64 KiB",
	"64kib",
	"64KiBs",
	"1KiB 1B",
	" 1B",
	"1B ",
	"9223372036854775808B",
	"18446744073709551616B",
	"9999999999999TiB",
	"0x10B",
};

static const char *const bad_durations[] = {
	"",
	"5",
	"s",
	"-1s",
	"1.5s",
	"10 s",
	"90m",
	"1sec",
	"30min 1h",
	"1s 1s",
	"1s ",
	" 1s",
	"1h 30",
	"9223372036854775808ms",
	"99999999999999999999s",
	"9223372036854775807ms 1s",
	"106751991168d",
	"1h,5min",
};

START_TEST(reads_sizes)
{
	const char *why;
	uint64_t to = 1;
	ck_assert_int_eq(value_parse_size(&to, sizes[_i].text, &why), 0);
	ck_assert_uint_eq(to, sizes[_i].value);
}
END_TEST

START_TEST(refuses_what_is_no_size)
{
	const char *why = NULL;
	uint64_t to = 77;
	ck_assert_int_eq(value_parse_size(&to, bad_sizes[_i], &why), -EINVAL);
	ck_assert_ptr_nonnull(why);
	ck_assert_uint_eq(to, 77);
}
END_TEST

START_TEST(reads_durations)
{
	const char *why;
	uint64_t to = 1;
	ck_assert_int_eq(value_parse_duration(&to, durations[_i].text, &why), 0);
	ck_assert_uint_eq(to, durations[_i].value);
}
END_TEST

START_TEST(refuses_what_is_no_duration)
{
	const char *why = NULL;
	uint64_t to = 77;
	ck_assert_int_eq(value_parse_duration(&to, bad_durations[_i], &why), -EINVAL);
	ck_assert_ptr_nonnull(why);
	ck_assert_uint_eq(to, 77);
}
END_TEST

static void round_trip(uint64_t value)
{
	char buffer[128];
	struct text t;
	const char *why;
	uint64_t back = 0;

	text_init(&t, buffer, sizeof(buffer));
	value_add_size(&t, value);
	ck_assert_int_eq(value_parse_size(&back, t.at, &why), 0);
	ck_assert_uint_eq(back, value);

	text_init(&t, buffer, sizeof(buffer));
	value_add_duration(&t, value);
	ck_assert(!t.cut);
	ck_assert_int_eq(value_parse_duration(&back, t.at, &why), 0);
	ck_assert_uint_eq(back, value);
}

START_TEST(what_is_written_reads_the_same)
{
	uint64_t random = 88172645463325252ULL;

	for (int i = 0; i < 20000; i++) {
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		round_trip((random & VALUE_MAX) >> (i % 63));
	}
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
		round_trip(sizes[i].value);
	for (size_t i = 0; i < ARRAY_LEN(durations); i++)
		round_trip(durations[i].value);
}
END_TEST

START_TEST(writes_the_nearest_units)
{
	char buffer[128];
	struct text t;

	text_init(&t, buffer, sizeof(buffer));
	value_add_size(&t, 65536);
	text_add(&t, " ");
	value_add_size(&t, 10000000);
	text_add(&t, " ");
	value_add_size(&t, 1025);
	text_add(&t, " ");
	value_add_size(&t, 0);
	text_add(&t, " ");
	value_add_duration(&t, 0);
	text_add(&t, " ");
	value_add_duration(&t, 5400001);
	ck_assert_str_eq(t.at, "64KiB 10MB 1025B 0B 0s 1h 30min 1ms");
}
END_TEST

START_TEST(modes)
{
	static const char *const bad[] = {"", "66", "0", "06600", "0680", "rw-", "-660", " 660", "0x1b"};
	const char *why;
	int mode = -1;

	ck_assert_int_eq(value_parse_mode(&mode, "0660", &why), 0);
	ck_assert_int_eq(mode, 0660);
	ck_assert_int_eq(value_parse_mode(&mode, "777", &why), 0);
	ck_assert_int_eq(mode, 0777);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_int_eq(value_parse_mode(&mode, bad[i], &why), -EINVAL);
	ck_assert_int_eq(mode, 0777);
}
END_TEST

START_TEST(choices)
{
	char buffer[64];
	const char *why;
	struct text t;
	int index = -1;

	ck_assert_int_eq(value_parse_choice(&index, "b", "a|b|cc", &why), 0);
	ck_assert_int_eq(index, 1);
	ck_assert_int_eq(value_parse_choice(&index, "cc", "a|b|cc", &why), 0);
	ck_assert_int_eq(index, 2);
	ck_assert_int_eq(value_parse_choice(&index, "c", "a|b|cc", &why), -EINVAL);
	ck_assert_int_eq(value_parse_choice(&index, "", "a|b|cc", &why), -EINVAL);
	ck_assert_int_eq(value_parse_choice(&index, "a|b", "a|b|cc", &why), -EINVAL);
	text_init(&t, buffer, sizeof(buffer));
	value_add_choice(&t, 2, "a|b|cc");
	value_add_choices(&t, "a|b|cc");
	ck_assert_str_eq(t.at, "cca, b or cc");
}
END_TEST

START_TEST(ints)
{
	const char *why;
	int to = 7;

	ck_assert_int_eq(value_parse_int(&to, "-2147483647", &why), 0);
	ck_assert_int_eq(to, -2147483647);
	ck_assert_int_eq(value_parse_int(&to, "2147483648", &why), -EINVAL);
	ck_assert_int_eq(value_parse_int(&to, "99999999999999999999", &why), -EINVAL);
	ck_assert_int_eq(value_parse_int(&to, "1x", &why), -EINVAL);
	ck_assert_int_eq(value_parse_int(&to, "", &why), -EINVAL);
	ck_assert_int_eq(value_parse_int(&to, "-", &why), -EINVAL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("config/value");
	TCase *c = tcase_create("value");

	suite_add_tcase(suite, c);
	tcase_add_loop_test(c, reads_sizes, 0, ARRAY_LEN(sizes));
	tcase_add_loop_test(c, refuses_what_is_no_size, 0, ARRAY_LEN(bad_sizes));
	tcase_add_loop_test(c, reads_durations, 0, ARRAY_LEN(durations));
	tcase_add_loop_test(c, refuses_what_is_no_duration, 0, ARRAY_LEN(bad_durations));
	tcase_add_test(c, what_is_written_reads_the_same);
	tcase_add_test(c, writes_the_nearest_units);
	tcase_add_test(c, modes);
	tcase_add_test(c, choices);
	tcase_add_test(c, ints);
	return suite_run(suite);
}

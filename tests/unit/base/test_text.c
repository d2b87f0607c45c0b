/* SPDX-License-Identifier: MIT */
#include "base/text.h"

#include <check.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "../suite.h"

static char memory[128];
static struct text t;

static void setup(void)
{
	memset(memory, 'X', sizeof(memory));
	text_init(&t, memory, sizeof(memory));
}

START_TEST(begins_empty)
{
	ck_assert_str_eq(t.at, "");
	ck_assert_uint_eq(t.length, 0);
	ck_assert(!t.cut);
}
END_TEST

START_TEST(grows)
{
	text_add(&t, "a");
	text_add_bytes(&t, "bcd", 2);
	text_printf(&t, "%d%s", 7, "e");
	ck_assert_str_eq(t.at, "abc7e");
	ck_assert_uint_eq(t.length, 5);
	ck_assert(!t.cut);
}
END_TEST

START_TEST(stays_in_its_memory)
{
	text_init(&t, memory, 6);
	text_add(&t, "abc");
	text_add(&t, "defg");
	ck_assert_str_eq(t.at, "abcde");
	ck_assert(t.cut);
	ck_assert_int_eq(memory[6], 'X');
}
END_TEST

START_TEST(fills_to_the_last_byte)
{
	text_init(&t, memory, 6);
	text_add(&t, "abc");
	text_printf(&t, "%s", "de");
	ck_assert_str_eq(t.at, "abcde");
	ck_assert(!t.cut);
	text_add(&t, "");
	ck_assert(!t.cut);
	text_printf(&t, "%s", "f");
	ck_assert_str_eq(t.at, "abcde");
	ck_assert(t.cut);
}
END_TEST

START_TEST(printf_is_cut)
{
	text_init(&t, memory, 6);
	text_printf(&t, "%s", "abcdefgh");
	ck_assert_str_eq(t.at, "abcde");
	ck_assert_uint_eq(t.length, 5);
	ck_assert(t.cut);
	ck_assert_int_eq(memory[6], 'X');
}
END_TEST

START_TEST(nothing_follows_a_cut)
{
	text_init(&t, memory, 8);
	text_add(&t, "12345");
	text_add_escaped(&t, "\x01", 1);
	ck_assert(t.cut);
	text_add(&t, "a");
	text_printf(&t, "b");
	text_add_escaped(&t, "c", 1);
	text_add_escaped(&t, "\\", 1);
	ck_assert_str_eq(t.at, "12345");
}
END_TEST

START_TEST(one_byte_holds_nothing)
{
	text_init(&t, memory, 1);
	text_printf(&t, "%s", "a");
	text_add(&t, "b");
	text_add_escaped(&t, "\n", 1);
	ck_assert_str_eq(t.at, "");
	ck_assert(t.cut);
}
END_TEST

START_TEST(a_cut_tears_no_character)
{
	/* each size, each way of adding: what is left is whole characters */
	static const char word[] = "a\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80z";
	static const size_t whole[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11};
	for (size_t n = 0; n < ARRAY_LEN(whole); n++) {
		text_init(&t, memory, n + 1);
		text_add(&t, word);
		ck_assert_uint_eq(t.length, whole[n]);
		text_init(&t, memory, n + 1);
		text_printf(&t, "%s", word);
		ck_assert_uint_eq(t.length, whole[n]);
		text_init(&t, memory, n + 1);
		text_add_escaped(&t, word, strlen(word));
		ck_assert_uint_eq(t.length, whole[n]);
		ck_assert_uint_eq(strlen(t.at), t.length);
	}
}
END_TEST

struct escape_case {
	const char *from;
	size_t n;
	const char *to;
};

#define CASE(from, to)                                                                                                 \
	{                                                                                                              \
		(from), sizeof(from) - 1, (to)                                                                         \
	}

static const struct escape_case escape_cases[] = {
	CASE("", ""),
	CASE("plain ~text", "plain ~text"),
	CASE("a\r\nb", "a\\x0d\\x0ab"),
	CASE("\033[2J", "\\x1b[2J"),
	CASE("\0", "\\x00"),
	CASE("\x7f", "\\x7f"),
	CASE("\t", "\\x09"),
	CASE("a\\x41", "a\\\\x41"),
	CASE("gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"),
	CASE("\xe2\x82\xac", "\xe2\x82\xac"),
	CASE("\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"),
	/* C1 controls: the first and the last, and the character after them */
	CASE("\xc2\x80", "\\xc2\\x80"),
	CASE("\xc2\x9f", "\\xc2\\x9f"),
	CASE("\xc2\xa0", "\xc2\xa0"),
	/* line and direction controls, and their neighbours */
	CASE("\xe2\x80\xa7", "\xe2\x80\xa7"),
	CASE("\xe2\x80\xa8", "\\xe2\\x80\\xa8"),
	CASE("\xe2\x80\xa9", "\\xe2\\x80\\xa9"),
	CASE("\xe2\x80\xaa", "\\xe2\\x80\\xaa"),
	CASE("\xe2\x80\xae", "\\xe2\\x80\\xae"),
	CASE("\xe2\x80\xaf", "\xe2\x80\xaf"),
	CASE("\xe2\x81\xa5", "\xe2\x81\xa5"),
	CASE("\xe2\x81\xa6", "\\xe2\\x81\\xa6"),
	CASE("\xe2\x81\xa9", "\\xe2\\x81\\xa9"),
	CASE("\xe2\x81\xaa", "\xe2\x81\xaa"),
	/* not UTF-8: alone, overlong, surrogate, too large, torn */
	CASE("\x80", "\\x80"),
	CASE("\xff", "\\xff"),
	CASE("\xc0\xaf", "\\xc0\\xaf"),
	CASE("\xc1\xbf", "\\xc1\\xbf"),
	CASE("\xe0\x80\xaf", "\\xe0\\x80\\xaf"),
	CASE("\xf0\x80\x80\xaf", "\\xf0\\x80\\x80\\xaf"),
	CASE("\xed\xa0\x80", "\\xed\\xa0\\x80"),
	CASE("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"),
	CASE("\xf5\x80\x80\x80", "\\xf5\\x80\\x80\\x80"),
	CASE("\xc3", "\\xc3"),
	CASE("\xe2\x82", "\\xe2\\x82"),
	CASE("\xe2\x82z", "\\xe2\\x82z"),
	CASE("\xf0\x9f\x98", "\\xf0\\x9f\\x98"),
	CASE("\xc3\033", "\\xc3\\x1b"),
};

START_TEST(escapes)
{
	const struct escape_case *c = &escape_cases[_i];
	text_add_escaped(&t, c->from, c->n);
	ck_assert_str_eq(t.at, c->to);
}
END_TEST

START_TEST(escapes_every_byte_alone)
{
	for (unsigned byte = 0; byte < 256; byte++) {
		unsigned char c = (unsigned char)byte;
		setup();
		text_add_escaped(&t, &c, 1);
		for (size_t i = 0; i < t.length; i++)
			ck_assert(t.at[i] >= 0x20 && t.at[i] < 0x7f);
	}
}
END_TEST

START_TEST(escapes_whole_or_not)
{
	text_init(&t, memory, 7);
	text_add_escaped(&t, "abc\n", 4);
	ck_assert_str_eq(t.at, "abc");
	ck_assert(t.cut);
}
END_TEST

START_TEST(escaped_again_keeps_backslashes)
{
	static const char from[] = "a\\x1b\n\033\xff";
	text_add_escaped_again(&t, from, strlen(from));
	ck_assert_str_eq(t.at, "a\\x1b\\x0a\\x1b\\xff");
}
END_TEST

START_TEST(sizes)
{
	static const struct {
		unsigned long long bytes;
		const char *text;
	} cases[] = {
		{0, "0 B"},
		{512, "512 B"},
		{1023, "1023 B"},
		{1024, "1.0 KiB"},
		{1536, "1.5 KiB"},
		{1048575, "1023.9 KiB"},
		{1048576, "1.0 MiB"},
		{3ULL << 30, "3.0 GiB"},
		{5ULL << 40, "5.0 TiB"},
		{ULLONG_MAX, "15.9 EiB"},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		setup();
		text_add_size(&t, cases[i].bytes);
		ck_assert_str_eq(t.at, cases[i].text);
	}
}
END_TEST

START_TEST(durations)
{
	static const struct {
		unsigned long long ms;
		const char *text;
	} cases[] = {
		{0, "0ms"},
		{12, "12ms"},
		{999, "999ms"},
		{1000, "1.0s"},
		{3456, "3.4s"},
		{59999, "59.9s"},
		{60000, "1min 0s"},
		{303000, "5min 3s"},
		{3599999, "59min 59s"},
		{7800000, "2h 10min"},
		{86399999, "23h 59min"},
		{273600000, "3d 4h"},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		setup();
		text_add_duration_ms(&t, cases[i].ms);
		ck_assert_str_eq(t.at, cases[i].text);
	}
	text_add_duration_ms(&t, ULLONG_MAX);
}
END_TEST

START_TEST(distances)
{
	static const struct {
		const char *a;
		const char *b;
		unsigned distance;
	} cases[] = {
		{"", "", 0},
		{"", "abc", 3},
		{"abc", "", 3},
		{"idle", "idle", 0},
		{"per_sorce", "per_source", 1},
		{"idel", "idle", 1},
		{"timeouts", "timeout", 1},
		{"connect", "cannect", 1},
		{"kitten", "sitting", 3},
		{"ca", "abc", 3},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		ck_assert_uint_eq(text_distance(cases[i].a, cases[i].b), cases[i].distance);
		ck_assert_uint_eq(text_distance(cases[i].b, cases[i].a), cases[i].distance);
	}
}
END_TEST

START_TEST(distance_of_long_names)
{
	char a[300];
	memset(a, 'a', sizeof(a) - 1);
	a[sizeof(a) - 1] = '\0';
	ck_assert_uint_eq(text_distance(a, a + 100), 0);
	ck_assert_uint_eq(text_distance(a, ""), 63);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("text");
	TCase *c = tcase_create("text");
	tcase_add_checked_fixture(c, setup, NULL);
	tcase_add_test(c, begins_empty);
	tcase_add_test(c, grows);
	tcase_add_test(c, stays_in_its_memory);
	tcase_add_test(c, fills_to_the_last_byte);
	tcase_add_test(c, printf_is_cut);
	tcase_add_test(c, nothing_follows_a_cut);
	tcase_add_test(c, one_byte_holds_nothing);
	tcase_add_test(c, a_cut_tears_no_character);
	tcase_add_loop_test(c, escapes, 0, (int)ARRAY_LEN(escape_cases));
	tcase_add_test(c, escapes_every_byte_alone);
	tcase_add_test(c, escapes_whole_or_not);
	tcase_add_test(c, escaped_again_keeps_backslashes);
	tcase_add_test(c, sizes);
	tcase_add_test(c, durations);
	tcase_add_test(c, distances);
	tcase_add_test(c, distance_of_long_names);
	suite_add_tcase(s, c);
	return suite_run(s);
}

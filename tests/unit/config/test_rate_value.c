/* SPDX-License-Identifier: MIT */
#include "config/rate_value.h"

#include <check.h>
#include <errno.h>
#include <string.h>

#include "../suite.h"

#define KIB 1024ULL
#define MIB (1024 * KIB)
#define COUNT_HELP "; write it as in \"20/s\" or \"20/s burst 50\", with s, min, h or d"
#define BYTES_HELP "; write it as in \"1MiB/s\" or \"512KiB/s burst 4MiB\", with s, min, h or d"

static const struct {
	enum rate_kind kind;
	const char *text;
	struct rate rate;
	const char *canonical; /* NULL: the text */
} good[] = {
	{RATE_COUNT, "20/s", {20, 1000, 20}, NULL},
	{RATE_COUNT, "20/s burst 50", {20, 1000, 50}, NULL},
	{RATE_COUNT, "20/s   burst   50", {20, 1000, 50}, "20/s burst 50"},
	{RATE_COUNT, "20/s burst 20", {20, 1000, 20}, "20/s"},
	{RATE_COUNT, "20/s burst 1", {20, 1000, 1}, NULL},
	{RATE_COUNT, "100/min", {100, 60000, 2}, NULL},
	{RATE_COUNT, "120/min", {120, 60000, 2}, NULL},
	{RATE_COUNT, "121/min", {121, 60000, 3}, NULL},
	{RATE_COUNT, "1000/h", {1000, 3600000, 1}, NULL},
	{RATE_COUNT, "10/d", {10, 86400000, 1}, NULL},
	{RATE_COUNT, "10/d burst 3650", {10, 86400000, 3650}, NULL},
	{RATE_COUNT, "007/s", {7, 1000, 7}, "7/s"},
	{RATE_COUNT, "1099511627776/s", {1ULL << 40, 1000, 1ULL << 40}, NULL},
	{RATE_COUNT, "1099511627776/d", {1ULL << 40, 86400000, 12725830}, NULL},
	{RATE_COUNT, "0/s", {0, 1000, 1}, NULL},
	{RATE_COUNT, "0/d", {0, 1000, 1}, "0/s"},
	{RATE_BYTES, "1MiB/s", {MIB, 1000, 104858}, NULL},
	{RATE_BYTES, "512KiB/s burst 4MiB", {512 * KIB, 1000, 4 * MIB}, NULL},
	{RATE_BYTES, "10GB/h", {10000000000, 3600000, 277778}, NULL},
	{RATE_BYTES, "160KiB/s", {160 * KIB, 1000, 16 * KIB}, NULL},
	{RATE_BYTES, "1KiB/s", {KIB, 1000, 16 * KIB}, NULL},
	{RATE_BYTES, "1KiB/s burst 16KiB", {KIB, 1000, 16 * KIB}, "1KiB/s"},
	{RATE_BYTES, "1KiB/s burst 11B", {KIB, 1000, 11}, NULL},
	{RATE_BYTES, "1024B/s", {KIB, 1000, 16 * KIB}, "1KiB/s"},
	{RATE_BYTES, "1B/d", {1, 86400000, 16 * KIB}, NULL},
	{RATE_BYTES, "1TiB/s burst 1TiB", {1ULL << 40, 1000, 1ULL << 40}, NULL},
	{RATE_BYTES, "0/s", {0, 1000, 1}, NULL},
	{RATE_BYTES, "0B/min", {0, 1000, 1}, "0/s"},
};

static const struct {
	enum rate_kind kind;
	const char *text;
	const char *why;
} bad[] = {
	{RATE_COUNT, "", "does not say in what time" COUNT_HELP},
	{RATE_COUNT, "20", "does not say in what time" COUNT_HELP},
	{RATE_COUNT, "20 per s", "does not say in what time" COUNT_HELP},
	{RATE_COUNT, "/s", "has an amount that is no whole number" COUNT_HELP},
	{RATE_COUNT, "-1/s", "has an amount that is no whole number" COUNT_HELP},
	{RATE_COUNT, "+1/s", "has an amount that is no whole number" COUNT_HELP},
	{RATE_COUNT, " 1/s", "has an amount that is no whole number" COUNT_HELP},
	{RATE_COUNT, "1 /s", "has an amount that is no whole number" COUNT_HELP},
	{RATE_COUNT, "1KiB/s", "has an amount that is no whole number" COUNT_HELP},
	{RATE_COUNT, "1.5/s", "has an amount that has a fraction" COUNT_HELP},
	{RATE_COUNT, "20/", "has an unknown time behind the slash" COUNT_HELP},
	{RATE_COUNT, "20/ s", "has an unknown time behind the slash" COUNT_HELP},
	{RATE_COUNT, "20/m", "has an unknown time behind the slash" COUNT_HELP},
	{RATE_COUNT, "20/ms", "has an unknown time behind the slash" COUNT_HELP},
	{RATE_COUNT, "20/10s", "has an unknown time behind the slash" COUNT_HELP},
	{RATE_COUNT, "20/S", "has an unknown time behind the slash" COUNT_HELP},
	{RATE_COUNT, "20/s/s", "has an unknown time behind the slash" COUNT_HELP},
	{RATE_COUNT, "20/s ", "has something behind the rate that is no burst" COUNT_HELP},
	{RATE_COUNT, "20/s 50", "has something behind the rate that is no burst" COUNT_HELP},
	{RATE_COUNT, "20/s Burst 50", "has something behind the rate that is no burst" COUNT_HELP},
	{RATE_COUNT, "20/s burst", "has something behind the rate that is no burst" COUNT_HELP},
	{RATE_COUNT, "20/s burst50", "has something behind the rate that is no burst" COUNT_HELP},
	{RATE_COUNT, "20/s burst ", "has a burst that is no whole number" COUNT_HELP},
	{RATE_COUNT, "20/s burst 50 ", "has a burst that is no whole number" COUNT_HELP},
	{RATE_COUNT, "20/s burst 50/s", "has a burst that is no whole number" COUNT_HELP},
	{RATE_COUNT, "20/s burst 1,5", "has a burst that has a fraction" COUNT_HELP},
	{RATE_COUNT, "20/s burst 0", "has a burst of 0, which would let nothing through" COUNT_HELP},
	{RATE_COUNT, "1099511627777/s", "has an amount that is too large; at most 1099511627776"},
	{RATE_COUNT, "18446744073709551617/s", "has an amount that is too large; at most 1099511627776"},
	{RATE_COUNT, "99999999999999999999999999999999999999999999/s",
	 "has an amount that is too large; at most 1099511627776"},
	{RATE_COUNT, "20/s burst 1099511627777", "has a burst that is too large; at most 1099511627776"},
	{RATE_COUNT, "10/d burst 3651", "has a burst that takes more than a year to come back; at most 3650"},
	{RATE_COUNT, "0/s burst 5", "sets no limit, so that a burst has no effect; leave it out"},
	{RATE_BYTES, "1000/s", "has an amount that has no unit" BYTES_HELP},
	{RATE_BYTES, "1Mb/s", "has an amount that has an unknown unit" BYTES_HELP},
	{RATE_BYTES, "1Mbit/s", "has an amount that has an unknown unit" BYTES_HELP},
	{RATE_BYTES, "1 MiB/s", "has an amount that has an unknown unit" BYTES_HELP},
	{RATE_BYTES, "1.5MiB/s", "has an amount that has a fraction" BYTES_HELP},
	{RATE_BYTES, "MiB/s", "has an amount that is no size" BYTES_HELP},
	{RATE_BYTES, "1MiB", "does not say in what time" BYTES_HELP},
	{RATE_BYTES, "1MiB/sec", "has an unknown time behind the slash" BYTES_HELP},
	{RATE_BYTES, "2TiB/s", "has an amount that is too large; at most 1TiB"},
	{RATE_BYTES, "99999999999TiB/s", "has an amount that is too large" BYTES_HELP},
	{RATE_BYTES, "1MiB/s burst 4", "has a burst that has no unit" BYTES_HELP},
	{RATE_BYTES, "1MiB/s burst 2TiB", "has a burst that is too large; at most 1TiB"},
	{RATE_BYTES, "1MiB/s burst 0", "has a burst of 0, which would let nothing through" BYTES_HELP},
	{RATE_BYTES, "1MiB/s burst 0B", "has a burst of 0, which would let nothing through" BYTES_HELP},
	{RATE_BYTES, "1MiB/s burst 10485B",
	 "has a burst that is smaller than what flows in 10ms, so that the rate would never be reached; at least "
	 "10486B"},
	{RATE_BYTES, "0/s burst 1MiB", "sets no limit, so that a burst has no effect; leave it out"},
};

static char buffer[256];
static struct text t;

static void setup(void)
{
	text_init(&t, buffer, sizeof(buffer));
}

static void same(const struct rate *a, const struct rate *b)
{
	ck_assert_uint_eq(a->amount, b->amount);
	ck_assert_uint_eq(a->period_ms, b->period_ms);
	ck_assert_uint_eq(a->burst, b->burst);
}

START_TEST(reads_rates)
{
	struct rate r = {0};

	ck_assert_msg(rate_value_parse(&r, good[_i].kind, good[_i].text, &t) == 0, "%s: %s", good[_i].text, t.at);
	same(&r, &good[_i].rate);
	rate_value_add(&t, good[_i].kind, &r);
	ck_assert_str_eq(t.at, good[_i].canonical ? good[_i].canonical : good[_i].text);
}
END_TEST

START_TEST(refuses_what_is_no_rate)
{
	const struct rate before = {7, 1000, 7};
	struct rate r = before;

	ck_assert_msg(rate_value_parse(&r, bad[_i].kind, bad[_i].text, &t) == -EINVAL, "%s", bad[_i].text);
	ck_assert_str_eq(t.at, bad[_i].why);
	ck_assert(!t.cut);
	same(&r, &before);
}
END_TEST

/* Any rate that can be parsed is written so that it parses to itself. */
START_TEST(what_is_written_reads_the_same)
{
	static const uint64_t periods[] = {1000, 60000, 3600000, 86400000};
	uint64_t random = 88172645463325252ULL;
	unsigned parsed = 0;

	for (int i = 0; i < 40000; i++) {
		enum rate_kind kind = i % 2 ? RATE_BYTES : RATE_COUNT;
		random ^= random << 13;
		random ^= random >> 7;
		random ^= random << 17;
		struct rate r = {(random >> 24) >> (i % 40), periods[random % 4], (random >> 23) >> (random % 41)};
		struct rate back = {0};
		char text[128];
		struct text written;
		text_init(&written, text, sizeof(text));
		rate_value_add(&written, kind, &r);
		ck_assert(!written.cut);
		setup();
		if (r.amount == 0 || rate_value_parse(&back, kind, text, &t) < 0)
			continue;
		same(&back, &r);
		parsed++;
	}
	ck_assert_uint_gt(parsed, 10000);
}
END_TEST

START_TEST(rates_compare_by_the_day)
{
	struct rate a, b;

	ck_assert_int_eq(rate_value_parse(&a, RATE_COUNT, "60/min burst 3", &t), 0);
	ck_assert_int_eq(rate_value_parse(&b, RATE_COUNT, "1/s", &t), 0);
	ck_assert_uint_eq(rate_value_per_day(&a), 86400);
	ck_assert_uint_eq(rate_value_per_day(&b), 86400);
	ck_assert_int_eq(rate_value_parse(&a, RATE_BYTES, "1TiB/s", &t), 0);
	ck_assert_uint_eq(rate_value_per_day(&a), 86400ULL << 40);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("config/rate_value");
	TCase *c = tcase_create("rate");

	suite_add_tcase(suite, c);
	tcase_add_checked_fixture(c, setup, NULL);
	tcase_add_loop_test(c, reads_rates, 0, ARRAY_LEN(good));
	tcase_add_loop_test(c, refuses_what_is_no_rate, 0, ARRAY_LEN(bad));
	tcase_add_test(c, what_is_written_reads_the_same);
	tcase_add_test(c, rates_compare_by_the_day);
	return suite_run(suite);
}

/* SPDX-License-Identifier: MIT */
#include "front/ban_reports.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "../suite.h"
#include "report/log_priv.h"

#define MESSAGES_MOST 4096

static char messages[MESSAGES_MOST][LOG_MESSAGE_BYTES];
static char fields[MESSAGES_MOST][256]; /* in a line, each with a blank before it */
static enum log_kind kinds[MESSAGES_MOST];
static unsigned message_count;

static struct ban_reports reports;

static unsigned keep(const struct log_entry *e)
{
	ck_assert_uint_lt(message_count, MESSAGES_MOST);
	memcpy(messages[message_count], e->message, (size_t)e->message_bytes + 1);
	fields[message_count][0] = '\0';
	for (const char *at = e->fields; at < e->fields + e->fields_bytes; at += strlen(at) + 1) {
		ck_assert_uint_lt(strlen(fields[message_count]) + strlen(at) + 2, sizeof(fields[0]));
		strcat(strcat(fields[message_count], " "), at);
	}
	kinds[message_count++] = e->kind;
	return 0;
}

static unsigned flush(void)
{
	return 0;
}

static const struct log_sink sink = {.put = keep, .flush = flush, .wants_fields = true};

static void setup(void)
{
	role_enter_main();
	message_count = 0;
	ck_assert_int_eq(log_start_sink(&sink), 0);
}

/* Nothing is logged after this. */
static void stop(void)
{
	log_stop(10000);
}

static void teardown(void)
{
	role_leave_main();
}

static struct source_key who(unsigned number)
{
	struct source_key key = {.bits = 32};
	key.address[0] = 10;
	key.address[2] = (uint8_t)(number >> 8);
	key.address[3] = (uint8_t)number;
	return key;
}

static void begin_some(unsigned count, uint64_t now_ms)
{
	for (unsigned i = 0; i < count; i++) {
		struct source_key key = who(i);
		uint64_t due_ms = ban_reports_begun(&reports, "web", &key, 600000, now_ms);
		ck_assert_uint_gt(due_ms, 0);
		ck_assert_uint_le(due_ms, BAN_REPORTS_PERIOD_MS);
	}
}

static void end_some(unsigned count, uint64_t now_ms)
{
	for (unsigned i = 0; i < count; i++) {
		struct source_key key = who(i);
		(void)ban_reports_ended(&reports, "", &key, now_ms);
	}
}

static unsigned told_kind(enum log_kind kind)
{
	unsigned n = 0;
	for (unsigned i = 0; i < message_count; i++)
		n += kinds[i] == kind;
	return n;
}

START_TEST(each_is_told)
{
	struct source_key key = who(7);
	(void)ban_reports_begun(&reports, "web", &key, 600000, 5);
	(void)ban_reports_begun(&reports, "", &key, 600000, 6);
	(void)ban_reports_ended(&reports, "web", &key, 7);
	(void)ban_reports_ended(&reports, "", &key, 8);
	ck_assert_uint_eq(ban_reports_due(&reports, 5 + BAN_REPORTS_PERIOD_MS), UINT64_MAX);
	stop();
	ck_assert_uint_eq(message_count, 4);
	ck_assert_str_eq(messages[0], "web: 10.0.0.7 is banned for 10min 0s");
	ck_assert_str_eq(fields[0], " USHER_LISTENER=web USHER_PEER=10.0.0.7 USHER_SOURCE=10.0.0.7 USHER_SECONDS=600");
	ck_assert_str_eq(messages[1], "door: 10.0.0.7 is banned for 10min 0s");
	ck_assert_str_eq(fields[1], " USHER_PEER=10.0.0.7 USHER_SOURCE=10.0.0.7 USHER_SECONDS=600");
	ck_assert_str_eq(messages[2], "web: the ban of 10.0.0.7 has ended");
	ck_assert_str_eq(messages[3], "door: the ban of 10.0.0.7 has ended");
}
END_TEST

START_TEST(many_are_told_in_sums_that_are_exact)
{
	begin_some(BAN_REPORTS_MOST - 1, 1000);
	end_some(1, 2000);
	begin_some(1000, 3000);
	end_some(1, 4000);
	ck_assert_uint_eq(ban_reports_due(&reports, 1000 + BAN_REPORTS_PERIOD_MS - 7), 7);
	ck_assert_uint_eq(ban_reports_due(&reports, 1000 + BAN_REPORTS_PERIOD_MS), UINT64_MAX);
	stop();
	ck_assert_uint_eq(message_count, BAN_REPORTS_MOST + 2);
	ck_assert_str_eq(messages[BAN_REPORTS_MOST], "1000 more sources were banned in 60 s");
	ck_assert_str_eq(fields[BAN_REPORTS_MOST], " USHER_COUNT=1000 USHER_SECONDS=60");
	ck_assert_str_eq(messages[BAN_REPORTS_MOST + 1], "1 more ban has ended in 60 s");
	ck_assert_uint_eq(told_kind(LOG_BANNED), BAN_REPORTS_MOST);
	ck_assert_uint_eq(told_kind(LOG_UNBANNED), 2);
}
END_TEST

START_TEST(the_next_minute_tells_by_itself_again)
{
	begin_some(BAN_REPORTS_MOST + 5, 1000);
	/* who comes before the timer does begins another */
	begin_some(3, 1000 + 2 * BAN_REPORTS_PERIOD_MS);
	ck_assert_uint_eq(ban_reports_due(&reports, 1000 + 2 * BAN_REPORTS_PERIOD_MS), BAN_REPORTS_PERIOD_MS);
	stop();
	ck_assert_uint_eq(message_count, BAN_REPORTS_MOST + 4);
	ck_assert_str_eq(messages[BAN_REPORTS_MOST], "5 more sources were banned in 120 s");
	ck_assert_str_eq(messages[BAN_REPORTS_MOST + 3], "web: 10.0.0.2 is banned for 10min 0s");
}
END_TEST

START_TEST(the_end_tells_the_rest)
{
	begin_some(BAN_REPORTS_MOST + 1, 1000);
	end_some(2, 1000);
	ban_reports_flush(&reports, 31000);
	ban_reports_flush(&reports, 31000);
	stop();
	ck_assert_uint_eq(message_count, BAN_REPORTS_MOST + 2);
	ck_assert_str_eq(messages[BAN_REPORTS_MOST], "1 more source was banned in 30 s");
	ck_assert_str_eq(messages[BAN_REPORTS_MOST + 1], "2 more bans have ended in 30 s");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("front/ban_reports");
	TCase *c = tcase_create("ban_reports");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, each_is_told);
	tcase_add_test(c, many_are_told_in_sums_that_are_exact);
	tcase_add_test(c, the_next_minute_tells_by_itself_again);
	tcase_add_test(c, the_end_tells_the_rest);
	suite_add_tcase(s, c);
	return suite_run(s);
}

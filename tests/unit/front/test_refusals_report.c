/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <string.h>

#include "../suite.h"
#include "front/refusals.h"
#include "report/log_priv.h"

static char message[LOG_MESSAGE_BYTES];
static char fields[LOG_RECORD_BYTES]; /* one line each */
static unsigned records;

static unsigned keep(const struct log_entry *e)
{
	ck_assert_int_eq(e->level, LOG_LEVEL_NOTICE);
	ck_assert_int_eq(e->kind, LOG_REFUSED);
	memcpy(message, e->message, (size_t)e->message_bytes + 1);
	for (size_t i = 0; i < e->fields_bytes; i++)
		fields[i] = e->fields[i] == '\0' ? '\n' : e->fields[i];
	fields[e->fields_bytes] = '\0';
	records++;
	return 0;
}

static unsigned flush(void)
{
	return 0;
}

static const struct log_sink sink = {.put = keep, .flush = flush, .wants_fields = true};

static struct who who;
static struct refusal_sum sum;

static void set_up(void)
{
	struct source_key key = {.address = {10, 0, 0, 7}, .bits = 32, .scope = 1};
	who = who_source(&key);
	sum = (struct refusal_sum){
		.listener = "db", .who = &who, .count = 1, .reason_count = 1, .reasons = {{CLOSE_idle, 1}}};
}

static void write_and_stop(void)
{
	ck_assert_int_eq(log_start_sink(&sink), 0);
	refusals_report(NULL, &sum);
	log_stop(10000);
}

START_TEST(tells_of_one)
{
	write_and_stop();
	ck_assert_uint_eq(records, 1);
	ck_assert_str_eq(message, "db: refused 1 connection of 10.0.0.7: nothing was sent either way for timeouts.idle "
				  "(idle)");
	ck_assert_str_eq(fields, "USHER_LISTENER=db\n"
				 "USHER_PEER=10.0.0.7\n"
				 "USHER_SOURCE=10.0.0.7\n"
				 "USHER_REASON=idle\n"
				 "USHER_COUNT=1\n"
				 "USHER_SECONDS=0\n");
}
END_TEST

START_TEST(tells_of_many)
{
	sum.count = sum.reasons[0].count = 12;
	sum.ms = 60004;
	write_and_stop();
	ck_assert_str_eq(message, "db: refused 12 connections of 10.0.0.7 in 60 s: "
				  "nothing was sent either way for timeouts.idle (idle)");
	ck_assert_ptr_nonnull(strstr(fields, "USHER_COUNT=12\nUSHER_SECONDS=60\n"));
}
END_TEST

START_TEST(tells_of_several_reasons)
{
	sum.count = 5312;
	sum.ms = 60000;
	sum.reason_count = 2;
	sum.reasons[0] = (struct refusal_count){CLOSE_limit_connections, 5300};
	sum.reasons[1] = (struct refusal_count){CLOSE_drain, 12};
	write_and_stop();
	ck_assert_str_eq(message, "db: refused 5312 connections of 10.0.0.7 in 60 s: 5300 limit_connections, 12 drain");
	ck_assert_ptr_nonnull(strstr(fields, "USHER_REASON=limit_connections\n"));
}
END_TEST

START_TEST(tells_of_others)
{
	who = who_others(0);
	sum.listener = "";
	sum.count = 7;
	sum.ms = 60000;
	sum.reasons[0].count = 4;
	sum.rest = 3;
	write_and_stop();
	ck_assert_str_eq(message, "refused 7 connections of other sources at other listeners in 60 s: "
				  "4 idle, 3 for other reasons");
	ck_assert_ptr_null(strstr(fields, "USHER_LISTENER"));
	ck_assert_ptr_nonnull(strstr(fields, "USHER_PEER=other sources\n"));
}
END_TEST

START_TEST(every_reason_fits)
{
	sum.count = UINT64_MAX;
	sum.ms = 60000;
	sum.reason_count = REFUSALS_REASONS;
	for (unsigned i = 0; i < REFUSALS_REASONS; i++)
		sum.reasons[i] = (struct refusal_count){CLOSE_upstream_unreachable, UINT64_MAX};
	sum.rest = UINT64_MAX;
	write_and_stop();
	const char *end = "18446744073709551615 for other reasons";
	ck_assert_str_eq(message + strlen(message) - strlen(end), end);
}
END_TEST

START_TEST(is_silent_above_the_level)
{
	log_set_level(LOG_LEVEL_WARNING);
	write_and_stop();
	ck_assert_uint_eq(records, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("refusals_report");
	TCase *c = tcase_create("refusals_report");
	tcase_add_checked_fixture(c, set_up, NULL);
	tcase_add_test(c, tells_of_one);
	tcase_add_test(c, tells_of_many);
	tcase_add_test(c, tells_of_several_reasons);
	tcase_add_test(c, tells_of_others);
	tcase_add_test(c, every_reason_fits);
	tcase_add_test(c, is_silent_above_the_level);
	suite_add_tcase(s, c);
	return suite_run(s);
}

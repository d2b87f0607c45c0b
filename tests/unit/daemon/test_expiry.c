/* SPDX-License-Identifier: MIT */
#include "daemon/expiry.h"

#include <check.h>

#include "../suite.h"

#define DAY 86400
#define NOW ((time_t)1900000000)

static struct expiry said;

static void teardown(void)
{
	expiry_fini(&said);
}

/* A certificate with so many seconds left. */
static struct tls_certificate_facts with_left(const char *serial, long long seconds)
{
	return (struct tls_certificate_facts){.file = "/etc/x.pem",
					      .names = "www.example.org",
					      .serial = serial,
					      .not_before = NOW - 365 * DAY,
					      .not_after = NOW + seconds};
}

START_TEST(stages_begin_with_their_day)
{
	static const struct {
		long long left;
		enum expiry_stage stage;
	} cases[] = {
		{365 * DAY, EXPIRY_FAR},       {30 * DAY + 1, EXPIRY_FAR}, {30 * DAY, EXPIRY_30_DAYS},
		{7 * DAY + 1, EXPIRY_30_DAYS}, {7 * DAY, EXPIRY_7_DAYS},   {DAY + 1, EXPIRY_7_DAYS},
		{DAY, EXPIRY_1_DAY},	       {0, EXPIRY_1_DAY},	   {-1, EXPIRY_OVER},
	};
	for (unsigned i = 0; i < ARRAY_LEN(cases); i++) {
		struct tls_certificate_facts f = with_left("1", cases[i].left);
		ck_assert_int_eq(expiry_stage_of(&f, NOW), cases[i].stage);
	}
	struct tls_certificate_facts f = with_left("1", 365 * DAY);
	f.not_before = NOW + 1;
	ck_assert_int_eq(expiry_stage_of(&f, NOW), EXPIRY_NOT_YET);
	ck_assert_int_eq(expiry_stage_of(&f, NOW + 1), EXPIRY_FAR);
}
END_TEST

/* Asks of one certificate in a look of its own. */
static bool is_news(const struct tls_certificate_facts *f, time_t now)
{
	expiry_begin(&said);
	bool news = expiry_is_news(&said, f, now);
	expiry_end(&said);
	return news;
}

START_TEST(each_stage_is_said_once)
{
	struct tls_certificate_facts f = with_left("1", 40 * DAY);
	unsigned news = 0;
	for (time_t now = NOW; now < NOW + 60 * DAY; now += 3600)
		news += is_news(&f, now);
	ck_assert_uint_eq(news, 4);
}
END_TEST

START_TEST(only_the_latest_stage_is_said)
{
	struct tls_certificate_facts f = with_left("1", 3600);
	ck_assert(is_news(&f, NOW));
	ck_assert(!is_news(&f, NOW));
	ck_assert(!is_news(&f, NOW - 10 * DAY)); /* a clock that was set back */
	ck_assert(is_news(&f, NOW + DAY));
}
END_TEST

START_TEST(another_serial_is_another_certificate)
{
	struct tls_certificate_facts one = with_left("1", 3600);
	struct tls_certificate_facts other = with_left("2", 3600);
	expiry_begin(&said);
	ck_assert(expiry_is_news(&said, &one, NOW));
	ck_assert(expiry_is_news(&said, &other, NOW));
	other.file = "/etc/y.pem";
	ck_assert(expiry_is_news(&said, &other, NOW));
	ck_assert(!expiry_is_news(&said, &one, NOW));
	expiry_end(&said);
	ck_assert_uint_eq(said.count, 3);
}
END_TEST

START_TEST(what_is_gone_is_forgotten)
{
	struct tls_certificate_facts f = with_left("1", 3600);
	struct tls_certificate_facts far = with_left("2", 365 * DAY);
	ck_assert(is_news(&f, NOW));
	ck_assert(!is_news(&far, NOW));
	ck_assert_uint_eq(said.count, 0);
	ck_assert(is_news(&f, NOW));
}
END_TEST

START_TEST(not_yet_valid_is_said_once_and_the_rest_in_its_time)
{
	struct tls_certificate_facts f = with_left("1", 20 * DAY);
	f.not_before = NOW + DAY;
	ck_assert(is_news(&f, NOW));
	ck_assert(!is_news(&f, NOW + 3600));
	ck_assert(is_news(&f, NOW + DAY)); /* 19 days left */
}
END_TEST

static const char *left(long long seconds)
{
	static char bytes[128];
	struct text t;
	struct tls_certificate_facts f = with_left("1", seconds);
	text_init(&t, bytes, sizeof(bytes));
	expiry_add_left(&t, &f, NOW);
	return bytes;
}

START_TEST(in_words)
{
	ck_assert_str_eq(left(12 * DAY + 5), "12 days left");
	ck_assert_str_eq(left(DAY), "1 day left");
	ck_assert_str_eq(left(DAY - 1), "less than a day left");
	ck_assert_str_eq(left(-1), "expired less than a day ago");
	ck_assert_str_eq(left(-3 * DAY), "expired 3 days ago");

	char bytes[128];
	struct text t;
	text_init(&t, bytes, sizeof(bytes));
	struct tls_certificate_facts f = with_left("1", DAY);
	f.not_before = NOW + 60;
	expiry_add_left(&t, &f, NOW);
	ck_assert_str_eq(bytes, "not valid before 2030-03-17 17:47:40 UTC");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("daemon/expiry");
	TCase *c = tcase_create("expiry");
	tcase_add_checked_fixture(c, NULL, teardown);
	tcase_add_test(c, stages_begin_with_their_day);
	tcase_add_test(c, each_stage_is_said_once);
	tcase_add_test(c, only_the_latest_stage_is_said);
	tcase_add_test(c, another_serial_is_another_certificate);
	tcase_add_test(c, what_is_gone_is_forgotten);
	tcase_add_test(c, not_yet_valid_is_said_once_and_the_rest_in_its_time);
	tcase_add_test(c, in_words);
	suite_add_tcase(s, c);
	return suite_run(s);
}

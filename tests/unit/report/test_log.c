/* SPDX-License-Identifier: MIT */
#include "report/log.h"

#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "report/log_priv.h"

#include "../suite.h"
#include "capture.h"

#define STOP_MS 10000
#define THREADS 4
#define RECORDS_PER_THREAD 3000

static void setup(void)
{
	signal(SIGPIPE, SIG_IGN);
	unsetenv("JOURNAL_STREAM");
}

static void teardown(void)
{
	log_stop(0);
	capture_end();
}

static void start(void)
{
	ck_assert_int_eq(log_start(LOG_TARGET_AUTO), 0);
}

static void write_numbered(const char *name, int i)
{
	log_write(LOG_LEVEL_INFO, LOG_GENERAL, "%s %d: %0150d%c", name, i, 0, CAPTURE_MARK);
}

/* Writes to a stderr that nobody reads until records are lost. Returns how many were written. */
static unsigned write_until_lost(void)
{
	unsigned n = 0;
	uint64_t lost = log_lost();
	while (log_lost() < lost + 100) {
		ck_assert_uint_lt(n, 1000000);
		write_numbered("flood", (int)n++);
	}
	return n;
}

START_TEST(levels_have_names)
{
	static const char *const names[] = {"error", "warning", "notice", "info", "debug"};
	for (int i = 0; i < (int)ARRAY_LEN(names); i++) {
		ck_assert_int_eq(log_level_parse(names[i]), i);
		ck_assert_str_eq(log_level_name((enum log_level)i), names[i]);
	}
	ck_assert_int_eq(log_level_parse("Error"), -EINVAL);
	ck_assert_int_eq(log_level_parse(""), -EINVAL);
}
END_TEST

START_TEST(writes_at_once_before_the_start)
{
	capture_begin(0);
	log_write(LOG_LEVEL_NOTICE, LOG_GENERAL, "hello %d", 7);
	const char *text = capture_now();
	int year, month, day, hour, minute, second, ms;
	ck_assert_int_eq(sscanf(text, "%4d-%2d-%2d %2d:%2d:%2d.%3d ", &year, &month, &day, &hour, &minute, &second,
				&ms),
			 7);
	ck_assert_str_eq(text + strlen("2026-11-20 12:34:56.789"), " notice  hello 7\n");
}
END_TEST

START_TEST(writes_through_the_thread)
{
	capture_begin(0);
	start();
	ck_assert_int_eq(log_start(LOG_TARGET_STDERR), -EALREADY);
	for (int i = 0; i < 100; i++)
		log_write(LOG_LEVEL_WARNING, LOG_GENERAL, "number %d.", i);
	capture_until("warning number 99.\n");
	ck_assert_uint_eq(capture_count("\n"), 100);
	ck_assert(strstr(capture_text, "number 7.") < strstr(capture_text, "number 8."));
	log_stop(STOP_MS);
	log_write(LOG_LEVEL_INFO, LOG_GENERAL, "after");
	ck_assert_ptr_nonnull(strstr(capture_now(), "info    after\n"));
	ck_assert_uint_eq(log_lost(), 0);
}
END_TEST

START_TEST(stop_writes_what_is_queued)
{
	capture_begin(0);
	start();
	for (int i = 0; i < 200; i++)
		write_numbered("last", i);
	log_stop(STOP_MS);
	capture_now();
	ck_assert_uint_eq(capture_count("\n"), 200);
}
END_TEST

START_TEST(starts_again)
{
	for (int i = 0; i < 3; i++) {
		capture_begin(0);
		start();
		log_write(LOG_LEVEL_INFO, LOG_GENERAL, "round %d", i);
		log_stop(STOP_MS);
		log_stop(STOP_MS);
		capture_now();
		ck_assert_uint_eq(capture_count("round "), 1);
		capture_hang_up();
	}
}
END_TEST

START_TEST(is_silent_above_the_level)
{
	struct log_record r;
	capture_begin(0);
	ck_assert(log_wants(LOG_LEVEL_INFO));
	ck_assert(!log_wants(LOG_LEVEL_DEBUG));
	log_set_level(LOG_LEVEL_WARNING);
	log_write(LOG_LEVEL_NOTICE, LOG_GENERAL, "no");
	log_begin(&r, LOG_LEVEL_NOTICE, LOG_GENERAL);
	log_field(&r, "USHER_X", "x");
	log_submit(&r, "no");
	ck_assert_str_eq(capture_now(), "");
	log_write(LOG_LEVEL_WARNING, LOG_GENERAL, "yes");
	ck_assert_ptr_nonnull(strstr(capture_now(), "yes"));
}
END_TEST

START_TEST(escapes_what_was_not)
{
	capture_begin(0);
	log_write(LOG_LEVEL_ERROR, LOG_GENERAL, "a\nb\033[2J\xff\\x1b");
	ck_assert_ptr_nonnull(strstr(capture_now(), " error   a\\x0ab\\x1b[2J\\xff\\x1b\n"));
	ck_assert_uint_eq(capture_count("\n"), 1);
}
END_TEST

START_TEST(cuts_a_long_message)
{
	capture_begin(0);
	log_write(LOG_LEVEL_ERROR, LOG_GENERAL, "%0*d", 5000, 0);
	ck_assert_ptr_nonnull(strstr(capture_now(), "000...\n"));
	ck_assert_uint_lt(capture_length, LOG_MESSAGE_BYTES + 64);
}
END_TEST

START_TEST(tells_the_journal_the_level)
{
	struct stat st;
	char stream[64];
	capture_begin(0);
	ck_assert_int_eq(fstat(STDERR_FILENO, &st), 0);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino + 1);
	setenv("JOURNAL_STREAM", stream, 1);
	ck_assert(!log_stderr_is_journal());
	setenv("JOURNAL_STREAM", "nonsense", 1);
	ck_assert(!log_stderr_is_journal());
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	ck_assert(log_stderr_is_journal());
	/* as one who wants lines all the same: what is written at once would look for the machine's own journal */
	ck_assert_int_eq(log_start(LOG_TARGET_STDERR), 0);
	log_write(LOG_LEVEL_ERROR, LOG_GENERAL, "hello");
	capture_until("hello\n");
	ck_assert_str_eq(capture_text, "<3>hello\n");
}
END_TEST

/* _i: stderr's flags, blocking or not */
static const int stderr_flags[] = {0, O_NONBLOCK};

START_TEST(a_stuck_stderr_costs_records_and_says_how_many)
{
	capture_begin(stderr_flags[_i]);
	start();
	unsigned written = write_until_lost();
	unsigned lost = (unsigned)log_lost();

	char news[100];
	snprintf(news, sizeof(news), "warning %u log records were lost: the queue was full\n", lost);
	capture_until(news);
	ck_assert_uint_eq(capture_count("flood "), written - lost);
	ck_assert_uint_eq(capture_count("were lost"), 1);

	log_write(LOG_LEVEL_INFO, LOG_GENERAL, "goes on");
	capture_until("goes on\n");
	log_stop(STOP_MS);
	capture_now();
	ck_assert_uint_eq(capture_count("were lost"), 1);
	ck_assert_uint_eq(log_lost(), lost);
}
END_TEST

START_TEST(stop_leaves_a_stuck_stderr_behind)
{
	capture_begin(stderr_flags[_i]);
	start();
	write_until_lost();
	uint64_t before_ms = clock_now_ms();
	log_stop(50);
	log_write(LOG_LEVEL_INFO, LOG_GENERAL, "nobody hears this");
	ck_assert_uint_lt(clock_now_ms() - before_ms, 5000);
	ck_assert_int_eq(log_start(LOG_TARGET_STDERR), -EALREADY);
	ck_assert_uint_gt(log_lost(), 100);
	capture_forget_stderr();
}
END_TEST

START_TEST(a_stuck_stderr_does_not_hold_up_a_caller)
{
	capture_begin(O_NONBLOCK);
	char page[4096] = {0};
	while (write(STDERR_FILENO, page, sizeof(page)) > 0)
		;
	ck_assert_int_eq(fcntl(STDERR_FILENO, F_SETFL, 0), 0);
	log_write(LOG_LEVEL_INFO, LOG_GENERAL, "nobody hears this");
	ck_assert_uint_eq(log_lost(), 1);
}
END_TEST

START_TEST(a_stderr_that_breaks_does_not_end_the_thread)
{
	capture_begin(0);
	start();
	capture_hang_up();
	log_write(LOG_LEVEL_INFO, LOG_GENERAL, "into the void");
	uint64_t until_ms = clock_now_ms() + CAPTURE_WAIT_MS;
	while (log_lost() == 0)
		ck_assert_uint_lt(clock_now_ms(), until_ms);
	capture_begin(0);
	log_write(LOG_LEVEL_INFO, LOG_GENERAL, "back");
	capture_until("1 log records were lost: they could not be written\n");
	ck_assert_ptr_nonnull(strstr(capture_text, "back\n"));
}
END_TEST

static void *write_many(void *argument)
{
	for (int i = 0; i < RECORDS_PER_THREAD; i++)
		write_numbered(argument, i);
	return NULL;
}

START_TEST(many_threads_write)
{
	static char names[THREADS][2] = {"a", "b", "c", "d"};
	pthread_t threads[THREADS];
	capture_begin(0);
	start();
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, write_many, names[i]), 0);
	uint64_t until_ms = clock_now_ms() + CAPTURE_WAIT_MS;
	while (capture_marks + log_lost() < THREADS * RECORDS_PER_THREAD) {
		ck_assert_uint_lt(clock_now_ms(), until_ms);
		capture_read(100);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	log_stop(STOP_MS);
	ck_assert_uint_eq(capture_marks + log_lost(), THREADS * RECORDS_PER_THREAD);
}
END_TEST

START_TEST(colours_only_a_terminal)
{
	static const struct {
		const char *no_color;
		const char *expected;
	} cases[] = {
		{NULL, " \033[1;31merror  \033[0m hello"},
		{"", " \033[1;31merror  \033[0m hello"},
		{"1", " error   hello"},
	};
	capture_begin(0);
	int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	ck_assert_int_ge(terminal, 0);
	ck_assert_int_eq(grantpt(terminal), 0);
	ck_assert_int_eq(unlockpt(terminal), 0);
	int end = open(ptsname(terminal), O_RDWR | O_NOCTTY | O_CLOEXEC);
	ck_assert_int_ge(end, 0);
	ck_assert_int_eq(dup2(end, STDERR_FILENO), STDERR_FILENO);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char line[200] = "";
		if (cases[i].no_color != NULL)
			setenv("NO_COLOR", cases[i].no_color, 1);
		else
			unsetenv("NO_COLOR");
		log_write(LOG_LEVEL_ERROR, LOG_GENERAL, "hello");
		ck_assert_int_gt(read(terminal, line, sizeof(line) - 1), 0);
		ck_assert_ptr_nonnull(strstr(line, cases[i].expected));
	}
	close(end);
	close(terminal);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("log");
	TCase *c = tcase_create("log");
	tcase_set_timeout(c, 60);
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, levels_have_names);
	tcase_add_test(c, writes_at_once_before_the_start);
	tcase_add_test(c, writes_through_the_thread);
	tcase_add_test(c, stop_writes_what_is_queued);
	tcase_add_test(c, starts_again);
	tcase_add_test(c, is_silent_above_the_level);
	tcase_add_test(c, escapes_what_was_not);
	tcase_add_test(c, cuts_a_long_message);
	tcase_add_test(c, tells_the_journal_the_level);
	tcase_add_loop_test(c, a_stuck_stderr_costs_records_and_says_how_many, 0, (int)ARRAY_LEN(stderr_flags));
	tcase_add_loop_test(c, stop_leaves_a_stuck_stderr_behind, 0, (int)ARRAY_LEN(stderr_flags));
	tcase_add_test(c, a_stuck_stderr_does_not_hold_up_a_caller);
	tcase_add_test(c, a_stderr_that_breaks_does_not_end_the_thread);
	tcase_add_test(c, many_threads_write);
	tcase_add_test(c, colours_only_a_terminal);
	suite_add_tcase(s, c);
	return suite_run(s);
}

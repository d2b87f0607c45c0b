/* SPDX-License-Identifier: MIT */
#include "report/log_queue.h"

#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../suite.h"
#include "base/clock.h"

#define THREADS 4
#define RECORDS_PER_THREAD 2000

static char memory[256];
static char taken[4096];
static struct log_queue q;

static void setup(void)
{
	ck_assert_int_eq(log_queue_init(&q, memory, sizeof(memory)), 0);
}

static void teardown(void)
{
	log_queue_fini(&q);
}

static struct log_entry entry_of(const char *message, const char *fields, size_t fields_bytes)
{
	return (struct log_entry){
		.time_us = 1234567890123456,
		.level = LOG_LEVEL_NOTICE,
		.kind = LOG_CLOSED,
		.message_bytes = (uint16_t)strlen(message),
		.fields_bytes = (uint16_t)fields_bytes,
		.message = message,
		.fields = fields,
	};
}

static int put(const char *message)
{
	struct log_entry e = entry_of(message, "A=1\0B=2", 8);
	return log_queue_put(&q, &e);
}

START_TEST(gives_back_what_was_put)
{
	struct log_entry e;
	ck_assert_int_eq(put("one"), 0);
	ck_assert_int_eq(put(""), 0);
	size_t n = log_queue_take(&q, taken, sizeof(taken));
	size_t first = log_entry_unpack(&e, taken);
	ck_assert_uint_eq(e.time_us, 1234567890123456);
	ck_assert_int_eq(e.level, LOG_LEVEL_NOTICE);
	ck_assert_int_eq(e.kind, LOG_CLOSED);
	ck_assert_uint_eq(e.message_bytes, 3);
	ck_assert_str_eq(e.message, "one");
	ck_assert_uint_eq(e.fields_bytes, 8);
	ck_assert_mem_eq(e.fields, "A=1\0B=2", 8);
	size_t second = log_entry_unpack(&e, taken + first);
	ck_assert_str_eq(e.message, "");
	ck_assert_uint_eq(first + second, n);
	ck_assert_uint_eq(log_queue_take(&q, taken, sizeof(taken)), 0);
}
END_TEST

START_TEST(goes_round)
{
	/* two are always in, of lengths that put the end of the memory at every place of a record */
	char message[64];
	for (int i = 0; i < 500; i++) {
		snprintf(message, sizeof(message), "%d %.*s", i, i % 37, "0123456789012345678901234567890123456789");
		ck_assert_int_eq(put(message), 0);
		if (i == 0)
			continue;
		/* only one at a time */
		struct log_entry e;
		snprintf(message, sizeof(message), "%d %.*s", i - 1, (i - 1) % 37,
			 "0123456789012345678901234567890123456789");
		size_t n = log_queue_take(&q, taken, 24 + strlen(message) + 1 + 8);
		ck_assert_uint_gt(n, 0);
		ck_assert_uint_eq(log_entry_unpack(&e, taken), n);
		ck_assert_str_eq(e.message, message);
		ck_assert_mem_eq(e.fields, "A=1\0B=2", 8);
	}
	ck_assert_uint_eq(log_queue_lost(&q), 0);
}
END_TEST

START_TEST(drops_and_counts_what_does_not_fit)
{
	unsigned in = 0;
	while (put("0123456789") == 0)
		in++;
	ck_assert_uint_gt(in, 2);
	ck_assert_uint_eq(log_queue_lost(&q), 1);
	ck_assert_int_eq(put("0123456789"), -ENOBUFS);
	ck_assert_uint_eq(log_queue_lost(&q), 2);

	unsigned out = 0;
	size_t n = log_queue_take(&q, taken, sizeof(taken));
	for (size_t at = 0; at < n; out++) {
		struct log_entry e;
		at += log_entry_unpack(&e, taken + at);
		ck_assert_str_eq(e.message, "0123456789");
	}
	ck_assert_uint_eq(out, in);
	ck_assert_int_eq(put("0123456789"), 0);
}
END_TEST

START_TEST(never_takes_half_a_record)
{
	ck_assert_int_eq(put("one"), 0);
	ck_assert_uint_eq(log_queue_take(&q, taken, 20), 0);
	ck_assert_uint_gt(log_queue_take(&q, taken, sizeof(taken)), 20);
}
END_TEST

START_TEST(closed_lets_out_but_not_in)
{
	ck_assert_int_eq(put("one"), 0);
	ck_assert(log_queue_wait(&q, 0));
	log_queue_close(&q);
	ck_assert_int_eq(put("two"), -ESHUTDOWN);
	ck_assert_uint_eq(log_queue_lost(&q), 0);
	ck_assert(!log_queue_wait(&q, 0));
	ck_assert_uint_gt(log_queue_take(&q, taken, sizeof(taken)), 0);
	ck_assert(!log_queue_wait(&q, 0));
}
END_TEST

START_TEST(a_wait_ends)
{
	ck_assert(log_queue_wait(&q, 1));
	ck_assert(log_queue_wait(&q, clock_now_ms() + 2));
	log_queue_poke(&q);
	ck_assert(log_queue_wait(&q, 0));
}
END_TEST

static void *put_many(void *argument)
{
	const char *name = argument;
	char message[32];
	for (int i = 0; i < RECORDS_PER_THREAD; i++) {
		snprintf(message, sizeof(message), "%s%d", name, i);
		(void)!put(message);
	}
	return NULL;
}

/* Takes until `threads` have ended and nothing is left; each thread's records must come in its order. */
START_TEST(many_put_one_takes)
{
	static char names[THREADS][2] = {"a", "b", "c", "d"};
	pthread_t threads[THREADS];
	int last[THREADS] = {-1, -1, -1, -1};
	uint64_t got = 0;

	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, put_many, names[i]), 0);
	uint64_t until_ms = clock_now_ms() + 20000;
	while (got + log_queue_lost(&q) < THREADS * RECORDS_PER_THREAD) {
		ck_assert_uint_lt(clock_now_ms(), until_ms);
		ck_assert(log_queue_wait(&q, clock_now_ms() + 100));
		size_t n = log_queue_take(&q, taken, sizeof(taken));
		for (size_t at = 0; at < n; got++) {
			struct log_entry e;
			at += log_entry_unpack(&e, taken + at);
			int thread = e.message[0] - 'a';
			ck_assert(thread >= 0 && thread < THREADS);
			ck_assert_int_gt(atoi(e.message + 1), last[thread]);
			last[thread] = atoi(e.message + 1);
		}
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(got + log_queue_lost(&q), THREADS * RECORDS_PER_THREAD);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("log_queue");
	TCase *c = tcase_create("log_queue");
	tcase_set_timeout(c, 30);
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, gives_back_what_was_put);
	tcase_add_test(c, goes_round);
	tcase_add_test(c, drops_and_counts_what_does_not_fit);
	tcase_add_test(c, never_takes_half_a_record);
	tcase_add_test(c, closed_lets_out_but_not_in);
	tcase_add_test(c, a_wait_ends);
	tcase_add_test(c, many_put_one_takes);
	suite_add_tcase(s, c);
	return suite_run(s);
}

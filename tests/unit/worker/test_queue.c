/* SPDX-License-Identifier: MIT */
#include "worker/queue.h"

#include <check.h>
#include <pthread.h>
#include <stdlib.h>

#include "../suite.h"

static struct queue queue;

static void setup(void)
{
	ck_assert_int_eq(queue_init(&queue), 0);
}

static void teardown(void)
{
	queue_fini(&queue);
}

START_TEST(keeps_the_order)
{
	struct seat seat = {0};
	for (int i = 0; i < 3; i++) {
		seat.fd = i;
		queue_put(&queue, &seat, 0);
	}
	ck_assert_uint_eq(queue_length(&queue), 3);
	for (int i = 0; i < 3; i++) {
		ck_assert(queue_take(&queue, &seat));
		ck_assert_int_eq(seat.fd, i);
	}
	ck_assert(!queue_take(&queue, &seat));
}
END_TEST

START_TEST(is_bounded)
{
	struct seat seat = {0};
	for (int i = 0; i < HANDOFF_QUEUE_LENGTH; i++) {
		ck_assert(!queue_full(&queue));
		queue_put(&queue, &seat, 0);
	}
	ck_assert(queue_full(&queue));
	ck_assert(queue_take(&queue, &seat));
	ck_assert(!queue_full(&queue));
}
END_TEST

START_TEST(knows_how_long_the_first_one_waits)
{
	struct seat seat = {0};
	ck_assert_uint_eq(queue_age_ms(&queue, 1000), 0);
	/* round the end of the ring */
	for (unsigned i = 0; i < 3 * HANDOFF_QUEUE_LENGTH / 2; i++) {
		queue_put(&queue, &seat, 100);
		ck_assert(queue_take(&queue, &seat));
	}
	for (unsigned i = 0; i < HANDOFF_QUEUE_LENGTH; i++)
		queue_put(&queue, &seat, 1000 + i);
	ck_assert_uint_eq(queue_age_ms(&queue, 5000), 4000);
	ck_assert_uint_eq(queue_age_ms(&queue, 900), 0);
	for (unsigned i = 0; i < HANDOFF_QUEUE_LENGTH; i++) {
		ck_assert_uint_eq(queue_age_ms(&queue, 5000), 4000 - i);
		ck_assert(queue_take(&queue, &seat));
	}
	ck_assert_uint_eq(queue_age_ms(&queue, 5000), 0);
}
END_TEST

#define MANY 200000

static void *write_all(void *arg)
{
	struct seat seat = {0};
	for (uint64_t i = 0; i < MANY; i++) {
		while (queue_full(arg))
			sched_yield();
		seat.connection = i;
		seat.serial = ~i;
		queue_put(arg, &seat, 0);
	}
	return NULL;
}

START_TEST(one_thread_writes_while_another_reads)
{
	pthread_t writer;
	ck_assert_int_eq(pthread_create(&writer, NULL, write_all, &queue), 0);
	struct seat seat;
	for (uint64_t i = 0; i < MANY; i++) {
		while (!queue_take(&queue, &seat))
			sched_yield();
		ck_assert_uint_eq(seat.connection, i);
		ck_assert_uint_eq(seat.serial, ~i);
	}
	pthread_join(writer, NULL);
	ck_assert_uint_eq(queue_length(&queue), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("worker/queue");
	TCase *c = tcase_create("queue");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, keeps_the_order);
	tcase_add_test(c, is_bounded);
	tcase_add_test(c, knows_how_long_the_first_one_waits);
	tcase_add_test(c, one_thread_writes_while_another_reads);
	suite_add_tcase(s, c);
	return suite_run(s);
}

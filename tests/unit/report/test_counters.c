/* SPDX-License-Identifier: MIT */
#include "report/counters.h"

#include <check.h>
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>

#include "../suite.h"

#define THREADS 4
#define ROUNDS 10000

START_TEST(counts)
{
	static struct counters c;
	counter_add(&c.bytes_in, 5);
	counter_add(&c.bytes_in, 1ULL << 40);
	ck_assert_uint_eq(counter_read(&c.bytes_in), (1ULL << 40) + 5);
	ck_assert_uint_eq(counter_read(&c.bytes_out), 0);
}
END_TEST

START_TEST(sets_share_no_cache_line)
{
	ck_assert_uint_eq(sizeof(struct counters) % CACHE_LINE_BYTES, 0);
	ck_assert_uint_eq(sizeof(struct account) % CACHE_LINE_BYTES, 0);
	struct account *a = account_create();
	ck_assert_ptr_nonnull(a);
	ck_assert_uint_eq((uintptr_t)a % CACHE_LINE_BYTES, 0);
	account_unref(a);
}
END_TEST

START_TEST(an_account_begins_empty)
{
	/* whatever was in that memory before; a sanitizer's malloc has its own way to see to that */
	(void)mallopt(M_PERTURB, 0x5a);
	struct account *a = account_create();
	ck_assert_uint_eq(atomic_load(&a->open), 0);
	ck_assert_uint_eq(atomic_load(&a->handshakes), 0);
	ck_assert_uint_eq(a->admitted, 0);
	account_unref(a);
}
END_TEST

START_TEST(an_account_lives_as_long_as_its_references)
{
	struct account *a = account_create();
	ck_assert_uint_eq(atomic_load(&a->open), 0);
	ck_assert_ptr_eq(account_ref(a), a);
	ck_assert_ptr_null(account_unref(a));
	atomic_fetch_add(&a->open, 1);
	ck_assert_uint_eq(atomic_load(&a->open), 1);
	ck_assert_ptr_null(account_unref(a));
	ck_assert_ptr_null(account_unref(NULL));
}
END_TEST

static void *take_and_give_back(void *argument)
{
	struct account *a = argument;
	for (int i = 0; i < ROUNDS; i++) {
		account_ref(a);
		atomic_fetch_add(&a->open, 1);
		atomic_fetch_sub(&a->open, 1);
		account_unref(a);
	}
	return account_unref(a);
}

START_TEST(threads_share_an_account)
{
	pthread_t threads[THREADS];
	struct account *a = account_create();
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, take_and_give_back, account_ref(a)), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_uint_eq(atomic_load(&a->open), 0);
	ck_assert_uint_eq(atomic_load(&a->refs), 1);
	account_unref(a);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("counters");
	TCase *c = tcase_create("counters");
	tcase_add_test(c, counts);
	tcase_add_test(c, sets_share_no_cache_line);
	tcase_add_test(c, an_account_begins_empty);
	tcase_add_test(c, an_account_lives_as_long_as_its_references);
	tcase_add_test(c, threads_share_an_account);
	suite_add_tcase(s, c);
	return suite_run(s);
}

/* SPDX-License-Identifier: MIT */
#include "tls/dormant.h"

#include <check.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <string.h>

#include "../suite.h"
#include "pages.h"
#include "pair.h"

/* As in tls/dormant.c: how many free places stay in memory. */
#define WARM_MAX 256

/* Whether there is sleep: not where a sanitizer watches. */
static bool may_sleep;

static SSL_CTX *context;

static void setup(void)
{
	int failed = dormant_init();
	ck_assert_msg(failed == 0 || failed == -ENOTSUP, "%d", failed);
	may_sleep = failed == 0;
	context = SSL_CTX_new(TLS_method());
	ck_assert_ptr_nonnull(context);
}

static void teardown(void)
{
	SSL_CTX_free(context);
}

static SSL *new_ssl(void)
{
	SSL *ssl = dormant_ssl_new(context);
	ck_assert_ptr_nonnull(ssl);
	return ssl;
}

START_TEST(memory_goes_back_while_it_sleeps)
{
	SSL *ssl = new_ssl();
	struct dormant *kept = dormant_sleep(ssl);
	if (may_sleep) {
		ck_assert_ptr_nonnull(kept);
		ck_assert_uint_eq((uintptr_t)ssl % PLACE_BYTES % 4096, 0);
		ck_assert_uint_eq(resident(ssl), 0);
	} else {
		ck_assert_ptr_null(kept);
	}
	kept = dormant_wake(ssl, kept);
	ck_assert_ptr_null(kept);
	if (may_sleep)
		ck_assert_uint_gt(resident(ssl), 0);
	ck_assert_int_eq(SSL_version(ssl), TLS1_3_VERSION);
	SSL_free(ssl);
}
END_TEST

START_TEST(waking_what_is_awake_does_nothing)
{
	SSL *ssl = new_ssl();
	ck_assert_ptr_null(dormant_wake(ssl, NULL));
	SSL_free(ssl);
}
END_TEST

START_TEST(every_byte_comes_back)
{
	static uint8_t before[PLACE_BYTES];
	SSL *ssl = new_ssl();
	if (may_sleep) {
		/* as an SSL would never be: with bytes in all places, and with none */
		uint8_t *at = (uint8_t *)ssl;
		memcpy(before, at, PLACE_BYTES);
		for (unsigned round = 0; round < 3; round++) {
			static uint8_t filled[PLACE_BYTES];
			for (unsigned i = 0; i < PLACE_BYTES; i++)
				filled[i] = round == 0 ? (uint8_t)(i * 7 + 1) : round == 1 ? 0 : (uint8_t)(i % 8 == 5);
			memcpy(at, filled, PLACE_BYTES);
			struct dormant *kept = dormant_sleep(ssl);
			ck_assert_ptr_nonnull(kept);
			ck_assert_uint_eq(resident(ssl), 0);
			dormant_wake(ssl, kept);
			ck_assert_mem_eq(at, filled, PLACE_BYTES);
		}
		memcpy(at, before, PLACE_BYTES);
	}
	SSL_free(ssl);
}
END_TEST

/* Two ends that have shaken hands, and sleep between all that they do. */
static SSL *left;
static SSL *right;

static void nap(SSL *ssl)
{
	static uint8_t before[PLACE_BYTES];
	if (may_sleep)
		memcpy(before, ssl, PLACE_BYTES);
	struct dormant *kept = dormant_sleep(ssl);
	ck_assert(may_sleep == (kept != NULL));
	if (may_sleep)
		ck_assert_uint_eq(resident(ssl), 0);
	dormant_wake(ssl, kept);
	if (may_sleep)
		ck_assert_mem_eq(before, ssl, PLACE_BYTES);
}

static void say(SSL *from, SSL *to, unsigned i)
{
	char got[64];
	char text[64];
	int n = snprintf(text, sizeof(text), "this is number %u", i);
	ck_assert_int_eq(SSL_write(from, text, n), n);
	nap(from);
	nap(to);
	ck_assert_int_eq(SSL_read(to, got, sizeof(got)), n);
	ck_assert_mem_eq(got, text, (size_t)n);
	nap(to);
}

START_TEST(a_connection_goes_on_after_each_sleep)
{
	struct made m = make((struct wish){.cn = "a.example"});
	ck_assert_int_eq(SSL_CTX_use_certificate(context, m.certificate), 1);
	ck_assert_int_eq(SSL_CTX_use_PrivateKey(context, m.key), 1);
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_max_proto_version(context, _i ? TLS1_3_VERSION : TLS1_2_VERSION);
	left = new_ssl();
	right = new_ssl();
	SSL_set_connect_state(left);
	SSL_set_accept_state(right);
	ends_join(left, right);
	for (int a = 0, b = 0, turn = 0; turn < 12 && (a != 1 || b != 1); turn++) {
		a = end_step(left);
		nap(left);
		b = end_step(right);
		nap(right);
		ck_assert(a >= 0 && b >= 0);
	}
	ck_assert(SSL_is_init_finished(left) && SSL_is_init_finished(right));
	ERR_clear_error();
	for (unsigned i = 0; i < 100; i++) {
		say(left, right, i);
		say(right, left, i);
	}
	if (_i) {
		ck_assert_int_eq(SSL_key_update(left, SSL_KEY_UPDATE_REQUESTED), 1);
		say(left, right, 100);
		say(right, left, 101);
	}
	ck_assert_int_eq(SSL_shutdown(left), 0);
	nap(left);
	ck_assert_int_eq(SSL_shutdown(right), 0);
	nap(right);
	ck_assert_int_eq(SSL_shutdown(left), 1);
	nap(left);
	SSL_free(left);
	SSL_free(right);
	made_free(&m);
}
END_TEST

START_TEST(many_sleep_and_keep_apart)
{
	enum { MANY = 2000 };
	static SSL *all[MANY];
	static struct dormant *kept[MANY];
	for (size_t i = 0; i < MANY; i++) {
		all[i] = new_ssl();
		SSL_set_app_data(all[i], &all[i]);
		ck_assert_int_eq(SSL_set_num_tickets(all[i], i), 1);
	}
	for (size_t i = 0; i < MANY; i += 1 + i % 3)
		kept[i] = dormant_sleep(all[i]);
	for (size_t i = MANY; i-- > 0;)
		kept[i] = dormant_wake(all[i], kept[i]);
	for (size_t i = 0; i < MANY; i++) {
		ck_assert_ptr_eq(SSL_get_app_data(all[i]), &all[i]);
		ck_assert_uint_eq(SSL_get_num_tickets(all[i]), i);
	}
	for (size_t i = 0; i < MANY; i++)
		SSL_free(all[i]);
}
END_TEST

static int order(const void *a, const void *b)
{
	const uintptr_t *x = a;
	const uintptr_t *y = b;
	return *x < *y ? -1 : *x > *y;
}

START_TEST(places_are_used_again)
{
	enum { MANY = WARM_MAX + 300 };
	static SSL *all[MANY];
	static uintptr_t places[2][MANY];
	if (!may_sleep)
		return;
	for (int round = 0; round < 4; round++) {
		for (size_t i = 0; i < MANY; i++) {
			all[i] = new_ssl();
			places[round > 0][i] = (uintptr_t)all[i];
		}
		qsort(places[round > 0], MANY, sizeof(uintptr_t), order);
		if (round > 0)
			ck_assert_mem_eq(places[0], places[1], sizeof(places[0]));
		for (size_t i = 0; i < MANY; i++)
			SSL_free(all[i]);
		/* some stay in memory for those who come next; the others do not */
		unsigned pages = 0;
		for (size_t i = 0; i < MANY; i++)
			pages += resident((void *)places[0][i]);
		ck_assert_uint_eq(pages, WARM_MAX * PLACE_BYTES / 4096);
	}
}
END_TEST

START_TEST(a_place_tells_nothing_of_who_had_it)
{
	SSL *ssl = new_ssl();
	uint8_t zeros[PLACE_BYTES] = {0};
	void *place = ssl;
	SSL_free(ssl);
	if (may_sleep)
		ck_assert_mem_eq(place, zeros, PLACE_BYTES);
}
END_TEST

START_TEST(other_memory_is_as_ever)
{
	/* nothing else of OpenSSL's gets a place */
	SSL *ssl = new_ssl();
	char *p = OPENSSL_malloc(6000);
	ck_assert_ptr_nonnull(p);
	memset(p, 7, 6000);
	p = OPENSSL_realloc(p, 60000);
	ck_assert_int_eq(p[5999], 7);
	OPENSSL_free(p);
	/* nor does an SSL that was made without */
	SSL *other = SSL_new(context);
	ck_assert_ptr_null(dormant_sleep(other));
	SSL_free(other);
	SSL_free(ssl);
}
END_TEST

START_TEST(it_comes_too_late_once_openssl_has_memory)
{
	OPENSSL_free(OPENSSL_malloc(1));
	int failed = dormant_init();
	ck_assert(failed == -EBUSY || failed == -ENOTSUP);
}
END_TEST

START_TEST(without_it_nothing_sleeps)
{
	context = SSL_CTX_new(TLS_method());
	SSL *ssl = new_ssl();
	ck_assert_ptr_null(dormant_sleep(ssl));
	ck_assert_ptr_null(dormant_wake(ssl, NULL));
	ck_assert_int_eq(SSL_version(ssl), TLS1_3_VERSION);
	SSL_free(ssl);
	SSL_CTX_free(context);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("tls/dormant");
	TCase *c = tcase_create("dormant");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, memory_goes_back_while_it_sleeps);
	tcase_add_test(c, waking_what_is_awake_does_nothing);
	tcase_add_test(c, every_byte_comes_back);
	tcase_add_loop_test(c, a_connection_goes_on_after_each_sleep, 0, 2);
	tcase_add_test(c, many_sleep_and_keep_apart);
	tcase_add_test(c, places_are_used_again);
	tcase_add_test(c, a_place_tells_nothing_of_who_had_it);
	tcase_add_test(c, other_memory_is_as_ever);
	suite_add_tcase(s, c);
	TCase *without = tcase_create("without");
	tcase_add_test(without, it_comes_too_late_once_openssl_has_memory);
	tcase_add_test(without, without_it_nothing_sleeps);
	suite_add_tcase(s, without);
	return suite_run(s);
}

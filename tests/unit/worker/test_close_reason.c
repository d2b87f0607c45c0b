/* SPDX-License-Identifier: MIT */
#include "worker/close_reason.h"

#include <check.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../suite.h"
#include "worker/conn_priv.h"

START_TEST(each_has_a_name_of_its_own_and_a_text)
{
	const struct close_reason_facts *f = &close_reason_facts[_i];
	ck_assert_str_ne(f->text, "");
	ck_assert(islower((unsigned char)f->text[0]));
	for (const char *c = f->name; *c; c++)
		ck_assert(islower((unsigned char)*c) || *c == '_');
	for (int i = 0; i < _i; i++)
		ck_assert_str_ne(f->name, close_reason_facts[i].name);
}
END_TEST

START_TEST(what_went_wrong_never_looks_complete)
{
	const struct close_reason_facts *f = &close_reason_facts[_i];
	ck_assert_int_eq(f->is_error, f->resets || f->alerts);
	ck_assert(!(f->resets && f->alerts));
}
END_TEST

START_TEST(errors_become_the_reason_of_their_side)
{
	ck_assert_int_eq(conn_reason_of(false, -ECONNRESET), CLOSE_client_reset);
	ck_assert_int_eq(conn_reason_of(true, -EPIPE), CLOSE_upstream_reset);
	ck_assert_int_eq(conn_reason_of(false, -ETIMEDOUT), CLOSE_client_timeout);
	ck_assert_int_eq(conn_reason_of(true, -ETIMEDOUT), CLOSE_upstream_timeout);
	ck_assert_int_eq(conn_reason_of(true, -ENOMEM), CLOSE_no_memory);
	ck_assert_int_eq(conn_reason_of(false, -EHOSTUNREACH), CLOSE_client_timeout);
	ck_assert_int_eq(conn_reason_of(false, -ENODATA), CLOSE_client_truncated);
	ck_assert_int_eq(conn_reason_of(true, -ENODATA), CLOSE_upstream_truncated);
	ck_assert_int_eq(conn_reason_of(false, -EBADMSG), CLOSE_client_tls);
	ck_assert_int_eq(conn_reason_of(true, -EBADMSG), CLOSE_upstream_tls_error);
	ck_assert_int_eq(conn_reason_of(true, -EIO), CLOSE_upstream_error);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("worker/close_reason");
	TCase *c = tcase_create("close_reason");
	tcase_add_loop_test(c, each_has_a_name_of_its_own_and_a_text, 0, CLOSE_REASON_COUNT);
	tcase_add_loop_test(c, what_went_wrong_never_looks_complete, 0, CLOSE_REASON_COUNT);
	tcase_add_test(c, errors_become_the_reason_of_their_side);
	suite_add_tcase(s, c);
	return suite_run(s);
}

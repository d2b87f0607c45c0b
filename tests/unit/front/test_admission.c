/* SPDX-License-Identifier: MIT */
#include "front/admission.h"

#include <check.h>
#include <stdlib.h>

#include "../suite.h"

static enum close_reason decide(int limit, unsigned open)
{
	struct listener_config l = {.limits.connections = limit};
	struct admission_request r = {.listener = &l, .listener_open = open};
	return admission_decide(&r);
}

START_TEST(without_a_limit_all_come_in)
{
	ck_assert_int_eq(decide(0, 0), CLOSE_NONE);
	ck_assert_int_eq(decide(0, 4000000000U), CLOSE_NONE);
}
END_TEST

START_TEST(the_limit_is_the_most_that_are_open)
{
	ck_assert_int_eq(decide(3, 2), CLOSE_NONE);
	ck_assert_int_eq(decide(3, 3), CLOSE_limit_connections);
	ck_assert_int_eq(decide(3, 9), CLOSE_limit_connections); /* after a reload that lowered it */
}
END_TEST

int main(void)
{
	Suite *s = suite_create("front/admission");
	TCase *c = tcase_create("admission");
	tcase_add_test(c, without_a_limit_all_come_in);
	tcase_add_test(c, the_limit_is_the_most_that_are_open);
	suite_add_tcase(s, c);
	return suite_run(s);
}

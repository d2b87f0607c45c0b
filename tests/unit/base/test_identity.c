/* SPDX-License-Identifier: MIT */
#include "base/identity.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>

#include "../suite.h"

START_TEST(users_by_name_and_number)
{
	uid_t uid = 7;
	gid_t gid = 7;
	ck_assert_int_eq(identity_find_user("root", &uid, &gid), 0);
	ck_assert_uint_eq(uid, 0);
	ck_assert_uint_eq(gid, 0);
	uid = 7;
	ck_assert_int_eq(identity_find_user("0", &uid, &gid), 0);
	ck_assert_uint_eq(uid, 0);
	/* one that has no entry */
	ck_assert_int_eq(identity_find_user("3999999999", &uid, &gid), 0);
	ck_assert_uint_eq(uid, 3999999999U);
	ck_assert_uint_eq(gid, (gid_t)-1);
}
END_TEST

START_TEST(groups_by_name_and_number)
{
	gid_t gid = 7;
	ck_assert_int_eq(identity_find_group("root", &gid), 0);
	ck_assert_uint_eq(gid, 0);
	ck_assert_int_eq(identity_find_group("12345", &gid), 0);
	ck_assert_uint_eq(gid, 12345);
}
END_TEST

START_TEST(what_is_neither)
{
	static const char *const wrong[] = {"", "no such one", "-1", "12x", "4294967295", "99999999999999999999", "+1"};
	uid_t uid = 7;
	gid_t gid = 8;
	ck_assert_int_eq(identity_find_user(wrong[_i], &uid, &gid), -ENOENT);
	ck_assert_int_eq(identity_find_group(wrong[_i], &gid), -ENOENT);
	ck_assert_uint_eq(uid, 7);
	ck_assert_uint_eq(gid, 8);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("base/identity");
	TCase *c = tcase_create("identity");
	tcase_add_test(c, users_by_name_and_number);
	tcase_add_test(c, groups_by_name_and_number);
	tcase_add_loop_test(c, what_is_neither, 0, 7);
	suite_add_tcase(s, c);
	return suite_run(s);
}

/* SPDX-License-Identifier: MIT */
#include "config/access_entry.h"

#include <check.h>
#include <errno.h>
#include <string.h>

#include "../suite.h"

#define A85 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define A255 A85 A85 A85

START_TEST(reads_addresses)
{
	static const char *const texts[] = {"10.0.0.1", "10.0.0.0/8", "10.0.0.1-10.0.0.9",	  "fd00::/8",
					    "::1",	"abcd::",     "fade:cafe::-fade:cafe::ff"};
	struct address_range range;
	struct access_entry e;
	const char *why = NULL;

	ck_assert_msg(access_entry_parse(&e, texts[_i], &why) == 0, "%s: %s", texts[_i], why);
	ck_assert_int_eq(e.kind, ACCESS_ADDRESS);
	ck_assert_int_eq(address_range_parse(&range, texts[_i], strlen(texts[_i]), &why), 0);
	ck_assert_int_eq(e.range.family, range.family);
	ck_assert_mem_eq(e.range.first, range.first, range.family == AF_INET ? 4 : 16);
	ck_assert_mem_eq(e.range.last, range.last, range.family == AF_INET ? 4 : 16);
	ck_assert(!access_entry_is_local(&e));
}
END_TEST

static const struct {
	const char *text;
	enum access_kind kind;
	const char *name; /* NULL: it is about a number */
	id_t id;
} good[] = {
	{"file:/etc/usher/x", ACCESS_FILE, "/etc/usher/x", 0},
	{"file:a b:c", ACCESS_FILE, "a b:c", 0},
	{"user:www-data", ACCESS_USER, "www-data", 0},
	{"user:DOMAIN\\jo@example", ACCESS_USER, "DOMAIN\\jo@example", 0},
	{"user:1x", ACCESS_USER, "1x", 0},
	{"group:domain users", ACCESS_GROUP, "domain users", 0},
	{"uid:0", ACCESS_UID, NULL, 0},
	{"uid:0001000", ACCESS_UID, NULL, 1000},
	{"gid:4294967294", ACCESS_GID, NULL, 4294967294U},
	{"unit:nginx.service", ACCESS_UNIT, "nginx.service", 0},
	{"unit:getty@tty1.service", ACCESS_UNIT, "getty@tty1.service", 0},
	{"unit:getty@.x.service", ACCESS_UNIT, "getty@.x.service", 0},
	{"unit:session-3.scope", ACCESS_UNIT, "session-3.scope", 0},
	{"unit:user-1000.slice", ACCESS_UNIT, "user-1000.slice", 0},
	{"unit:-.slice", ACCESS_UNIT, "-.slice", 0},
	{"unit:dev-disk-by\\x2dlabel.service", ACCESS_UNIT, "dev-disk-by\\x2dlabel.service", 0},
};

START_TEST(reads_the_others)
{
	struct access_entry e;
	const char *why = NULL;

	ck_assert_msg(access_entry_parse(&e, good[_i].text, &why) == 0, "%s: %s", good[_i].text, why);
	ck_assert_int_eq(e.kind, good[_i].kind);
	if (good[_i].name)
		ck_assert_str_eq(e.name, good[_i].name);
	else
		ck_assert_ptr_null(e.name);
	ck_assert_uint_eq(e.id, good[_i].id);
	ck_assert(access_entry_is_local(&e) == (good[_i].kind != ACCESS_FILE));
}
END_TEST

#define NO_NUMBER "no number; write \"uid:1000\" or \"gid:1000\", and \"user:NAME\" or \"group:NAME\" for a name"
#define NO_UNIT "no unit that a client can run in; its name ends in .service or .scope, as in \"unit:nginx.service\""
#define NO_UNIT_NAME                                                                                                   \
	"no unit's name; those have letters, digits, \":\", \"-\", \"_\", \".\", \"\\\" and \"@\"; systemd-escape(1) " \
	"writes the others"
#define UNKNOWN "an unknown word before the colon; there are file:, user:, group:, uid:, gid: and unit:"

static const struct {
	const char *text;
	const char *why; /* NULL: what address_range_parse says */
} bad[] = {
	{"", NULL},
	{"localhost", NULL},
	{"10.0.0.1/8", NULL},
	{"fe80::1%eth0", NULL},
	{"dead:beef", NULL},
	{"users:jo", UNKNOWN},
	{"User:jo", UNKNOWN},
	{"net:10.0.0.0/8", UNKNOWN},
	{"file:", "no file; write its path behind the colon"},
	{"user:", "no name; write one behind the colon"},
	{"group:", "no name; write one behind the colon"},
	{"user:1000", "a number; write \"uid:NUMBER\" or \"gid:NUMBER\" for it"},
	{"group:0", "a number; write \"uid:NUMBER\" or \"gid:NUMBER\" for it"},
	{"user:a:b", "a name with a colon, which no user and no group has"},
	{"uid:", NO_NUMBER},
	{"uid:jo", NO_NUMBER},
	{"gid:-1", NO_NUMBER},
	{"gid:1 ", NO_NUMBER},
	{"uid:0x10", NO_NUMBER},
	{"uid:4294967295", "too large a number; 0 to 4294967294 is allowed"},
	{"uid:99999999999999999999999", "too large a number; 0 to 4294967294 is allowed"},
	{"unit:", NO_UNIT},
	{"unit:nginx", NO_UNIT},
	{"unit:.service", NO_UNIT},
	{"unit:x.socket", NO_UNIT},
	{"unit:x.services", NO_UNIT},
	{"unit:a/b.service", NO_UNIT_NAME},
	{"unit:a b.service", NO_UNIT_NAME},
	{"unit:*.service", NO_UNIT_NAME},
	{"unit:@x.service", NO_UNIT_NAME},
	{"unit:getty@.service",
	 "a template, in which nothing runs; name an instance of it, as in \"unit:getty@tty1.service\""},
	{"unit:" A255 ".service", "too long for a unit's name; at most 255 bytes are allowed"},
};

START_TEST(refuses_what_is_none)
{
	struct access_entry e = {.id = 7};
	struct address_range range;
	const char *why = NULL, *wanted = bad[_i].why;

	ck_assert_msg(access_entry_parse(&e, bad[_i].text, &why) == -EINVAL, "%s", bad[_i].text);
	if (!wanted)
		ck_assert_int_eq(address_range_parse(&range, bad[_i].text, strlen(bad[_i].text), &wanted), -EINVAL);
	ck_assert_str_eq(why, wanted);
	ck_assert_uint_eq(e.id, 7);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("config/access_entry");
	TCase *c = tcase_create("entry");

	suite_add_tcase(suite, c);
	tcase_add_loop_test(c, reads_addresses, 0, 7);
	tcase_add_loop_test(c, reads_the_others, 0, ARRAY_LEN(good));
	tcase_add_loop_test(c, refuses_what_is_none, 0, ARRAY_LEN(bad));
	return suite_run(suite);
}

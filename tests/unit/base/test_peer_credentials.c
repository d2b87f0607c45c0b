/* SPDX-License-Identifier: MIT */
#include "base/peer_credentials.h"

#include <check.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "../suite.h"
#include "base/attr.h"

START_TEST(an_id_is_mapped_or_not)
{
	static const struct {
		const char *map;
		unsigned long id;
		bool is_mapped;
	} cases[] = {
		{"         0          0 4294967295\n", 65534, true},
		{"         0       4001          1\n", 65534, false},
		{"         0       4001          1\n", 0, true},
		{"0 100000 65536\n", 65534, true},
		{"0 100000 65534\n", 65534, false},
		{"0 100000 1000\n65534 7 1\n", 65534, true},
		{"65535 100000 1000\n", 65534, false},
		{"", 65534, false},
		{"nonsense\n", 65534, false},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char text[100];
		strcpy(text, cases[i].map);
		FILE *map = cases[i].map[0] ? fmemopen(text, strlen(text), "r") : fopen("/dev/null", "r");
		ck_assert_ptr_nonnull(map);
		ck_assert(peer_credentials_is_mapped(map, cases[i].id) == cases[i].is_mapped);
		fclose(map);
	}
}
END_TEST

START_TEST(tells_who_it_is)
{
	int pair[2];
	struct ucred who;
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	ck_assert(peer_credentials(pair[0], &who));
	ck_assert_int_eq(who.pid, getpid());
	ck_assert_uint_eq(who.uid, getuid());
	close(pair[0]);
	close(pair[1]);
	/* nobody is at the other end */
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert(!peer_credentials(fd, &who));
	close(fd);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("base/peer_credentials");
	TCase *c = tcase_create("peer_credentials");
	tcase_add_test(c, an_id_is_mapped_or_not);
	tcase_add_test(c, tells_who_it_is);
	suite_add_tcase(s, c);
	return suite_run(s);
}

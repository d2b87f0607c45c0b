/* SPDX-License-Identifier: MIT */
#include "base/netaddr.h"

#include <check.h>
#include <errno.h>
#include <net/if.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../suite.h"

#define UNIX_HEAD offsetof(struct sockaddr_un, sun_path)

static char memory[NETADDR_TEXT_BYTES];

static const char *text_of(const struct netaddr *a)
{
	struct text t;
	text_init(&t, memory, sizeof(memory));
	netaddr_add_text(&t, a);
	ck_assert(!t.cut);
	return memory;
}

static const char *peer_text_of(const struct netaddr *a)
{
	struct peer_addr peer;
	struct text t;
	peer_addr_from(&peer, a);
	text_init(&t, memory, sizeof(memory));
	peer_addr_add_text(&t, &peer);
	return memory;
}

static int parse_ip(struct netaddr *to, const char *text)
{
	return netaddr_parse_ip(to, text, strlen(text), 80);
}

static int parse_unix(struct netaddr *to, const char *text)
{
	return netaddr_parse_unix(to, text, strlen(text));
}

START_TEST(reads_ip)
{
	static const struct {
		const char *from;
		const char *to;
		sa_family_t family;
	} cases[] = {
		{"10.0.0.1", "10.0.0.1:80", AF_INET},
		{"0.0.0.0", "0.0.0.0:80", AF_INET},
		{"255.255.255.255", "255.255.255.255:80", AF_INET},
		{"::", "[::]:80", AF_INET6},
		{"::1", "[::1]:80", AF_INET6},
		{"2001:DB8:0:0::1", "[2001:db8::1]:80", AF_INET6},
		{"::ffff:10.0.0.1", "10.0.0.1:80", AF_INET},
		{"::ffff:a00:1", "10.0.0.1:80", AF_INET},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct netaddr a;
		ck_assert_int_eq(parse_ip(&a, cases[i].from), 0);
		ck_assert_uint_eq(a.u.any.sa_family, cases[i].family);
		ck_assert_uint_eq(a.length, cases[i].family == AF_INET ? sizeof(a.u.in4) : sizeof(a.u.in6));
		ck_assert_uint_eq(netaddr_port(&a), 80);
		ck_assert_str_eq(text_of(&a), cases[i].to);
		ck_assert_str_eq(peer_text_of(&a), cases[i].to);
	}
}
END_TEST

START_TEST(refuses_what_is_no_ip)
{
	static const char *const cases[] = {
		"",
		" ",
		"10.0.0",
		"10.0.0.256",
		"10.0.0.1.",
		"10.0.0.01",
		"0x7f.0.0.1",
		" 10.0.0.1",
		"10.0.0.1 ",
		"10.0.0.1:80",
		"[::1]",
		"::1%",
		":::",
		"1::2::3",
		"localhost",
		"127.1",
		"2130706433",
		"10.0.0.1%lo",
		"%lo",
		"::ffff:1.2.3",
		"::/0",
		"10.0.0.1/8",
		"::ffff:10.0.0.1%lo",
	};
	struct netaddr a;
	memset(&a, 'X', sizeof(a));
	struct netaddr before = a;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		ck_assert_int_eq(parse_ip(&a, cases[i]), -EINVAL);
	ck_assert_int_eq(netaddr_parse_ip(&a, "10.0.0.1\0", 9, 80), -EINVAL);
	char huge[2000];
	memset(huge, '1', sizeof(huge));
	ck_assert_int_eq(netaddr_parse_ip(&a, huge, sizeof(huge), 80), -EINVAL);
	ck_assert_mem_eq(&a, &before, sizeof(a));
}
END_TEST

START_TEST(reads_only_n_bytes)
{
	struct netaddr a;
	ck_assert_int_eq(netaddr_parse_ip(&a, "10.0.0.123", 8, 80), 0);
	ck_assert_str_eq(text_of(&a), "10.0.0.1:80");
}
END_TEST

START_TEST(reads_zones)
{
	unsigned index = if_nametoindex("lo");
	struct netaddr a;
	struct netaddr b;
	char with_number[64];

	if (index == 0)
		return; /* a namespace without one */
	ck_assert_int_eq(parse_ip(&a, "fe80::1%lo"), 0);
	ck_assert_uint_eq(a.u.in6.sin6_scope_id, index);
	ck_assert_str_eq(text_of(&a), "[fe80::1%lo]:80");
	snprintf(with_number, sizeof(with_number), "fe80::1%%%u", index);
	ck_assert_int_eq(parse_ip(&b, with_number), 0);
	ck_assert(netaddr_equal(&a, &b));
}
END_TEST

START_TEST(refuses_zones_that_are_not)
{
	struct netaddr a;
	ck_assert_int_eq(parse_ip(&a, "fe80::1%"), -EINVAL);
	ck_assert_int_eq(parse_ip(&a, "fe80::1%no-such-if"), -ENODEV);
	ck_assert_int_eq(parse_ip(&a, "fe80::1%0"), -ENODEV);
	ck_assert_int_eq(parse_ip(&a, "fe80::1%2147483647"), -ENODEV);
	ck_assert_int_eq(parse_ip(&a, "fe80::1%4294967297"), -ENODEV);
	ck_assert_int_eq(parse_ip(&a, "fe80::1%-1"), -ENODEV);
	ck_assert_int_eq(parse_ip(&a, "fe80::1%lo%lo"), -ENODEV);
	ck_assert_int_eq(parse_ip(&a, "fe80::1%a-name-that-is-longer-than-any"), -ENODEV);
}
END_TEST

START_TEST(shows_the_number_of_an_interface_that_went)
{
	struct netaddr a;
	ck_assert_int_eq(parse_ip(&a, "fe80::1"), 0);
	a.u.in6.sin6_scope_id = 2147483000;
	ck_assert_str_eq(text_of(&a), "[fe80::1%2147483000]:80");
}
END_TEST

START_TEST(reads_paths)
{
	struct netaddr a;
	ck_assert_int_eq(parse_unix(&a, "/run/x.sock"), 0);
	ck_assert_uint_eq(a.length, UNIX_HEAD + strlen("/run/x.sock") + 1);
	ck_assert_str_eq(a.u.local.sun_path, "/run/x.sock");
	ck_assert_str_eq(text_of(&a), "unix:/run/x.sock");
	ck_assert_str_eq(peer_text_of(&a), "unix");
	ck_assert_uint_eq(netaddr_port(&a), 0);

	char longest[108];
	memset(longest, 'a', sizeof(longest));
	ck_assert_int_eq(netaddr_parse_unix(&a, longest, 107), 0);
	ck_assert_uint_eq(a.length, sizeof(a.u.local));
	ck_assert_int_eq(netaddr_parse_unix(&a, longest, 108), -ENAMETOOLONG);
	ck_assert_int_eq(netaddr_parse_unix(&a, "", 0), -EINVAL);
	ck_assert_int_eq(netaddr_parse_unix(&a, "/a\0b", 4), -EINVAL);
}
END_TEST

START_TEST(reads_abstract_names)
{
	struct netaddr a;
	ck_assert_int_eq(parse_unix(&a, "@a\\x00b\\\\\\x0A"), 0);
	ck_assert_uint_eq(a.length, UNIX_HEAD + 6);
	ck_assert_mem_eq(a.u.local.sun_path, "\0a\0b\\\n", 6);
	ck_assert_str_eq(text_of(&a), "unix:@a\\x00b\\\\\\x0a");

	static const char *const wrong[] = {"@", "@\\", "@a\\x", "@\\x0", "@\\xg0", "@\\n"};
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		ck_assert_int_eq(parse_unix(&a, wrong[i]), -EINVAL);

	char longest[109] = "@";
	memset(longest + 1, 'a', sizeof(longest) - 1);
	ck_assert_int_eq(netaddr_parse_unix(&a, longest, 108), 0);
	ck_assert_uint_eq(a.length, sizeof(a.u.local));
	ck_assert_int_eq(netaddr_parse_unix(&a, longest, 109), -ENAMETOOLONG);
}
END_TEST

START_TEST(abstract_names_come_back)
{
	/* each byte there is, at each place, and a name as long as can be of bytes that are escaped */
	for (unsigned byte = 0; byte < 256; byte++) {
		struct sockaddr_un local = {.sun_family = AF_UNIX};
		socklen_t length = sizeof(local);
		if (byte % 3 != 0)
			length = UNIX_HEAD + 1 + byte % 64 + 1;
		memset(local.sun_path + 1, (int)byte, sizeof(local.sun_path) - 1);
		struct netaddr a;
		struct netaddr b;
		netaddr_from_kernel(&a, (struct sockaddr *)&local, length);
		const char *text = text_of(&a);
		ck_assert_mem_eq(text, "unix:@", 6);
		ck_assert_int_eq(parse_unix(&b, text + 5), 0);
		ck_assert_uint_eq(b.length, a.length);
		ck_assert(netaddr_equal(&a, &b));
	}
}
END_TEST

START_TEST(shows_strange_paths)
{
	struct netaddr a;
	ck_assert_int_eq(parse_unix(&a, "/run/\033[2J\n"), 0);
	ck_assert_str_eq(text_of(&a), "unix:/run/\\x1b[2J\\x0a");
	/* a path that the kernel hands out and that begins like an abstract name */
	struct sockaddr_un local = {.sun_family = AF_UNIX, .sun_path = "@x"};
	netaddr_from_kernel(&a, (struct sockaddr *)&local, UNIX_HEAD + 3);
	ck_assert_str_eq(text_of(&a), "unix:\\x40x");
}
END_TEST

START_TEST(takes_what_the_kernel_gives)
{
	int fds[2];
	struct sockaddr_storage storage;
	socklen_t length = sizeof(storage);
	struct netaddr a;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	ck_assert_int_eq(getpeername(fds[0], (struct sockaddr *)&storage, &length), 0);
	netaddr_from_kernel(&a, (struct sockaddr *)&storage, length);
	ck_assert_uint_eq(a.length, 2);
	ck_assert_str_eq(text_of(&a), "unix:");
	close(fds[0]);
	close(fds[1]);

	/* a path that fills sun_path: the kernel says one byte more */
	struct sockaddr_un full = {.sun_family = AF_UNIX};
	memset(full.sun_path, 'a', sizeof(full.sun_path));
	memcpy(&storage, &full, sizeof(full));
	netaddr_from_kernel(&a, (struct sockaddr *)&storage, sizeof(full) + 1);
	ck_assert_uint_eq(strlen(text_of(&a)), strlen("unix:") + 108);

	netaddr_from_kernel(&a, (struct sockaddr *)&storage, 0);
	ck_assert_str_eq(text_of(&a), "family 0");
}
END_TEST

START_TEST(canonicalises)
{
	struct sockaddr_in6 mapped = {.sin6_family = AF_INET6, .sin6_port = htons(443)};
	memcpy(&mapped.sin6_addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0\x01", 16);
	struct netaddr a;
	netaddr_from_kernel(&a, (struct sockaddr *)&mapped, sizeof(mapped));
	ck_assert_str_eq(peer_text_of(&a), "10.0.0.1:443");
	netaddr_canonicalise(&a);
	ck_assert_uint_eq(a.u.any.sa_family, AF_INET);
	ck_assert_uint_eq(a.length, sizeof(a.u.in4));
	ck_assert_str_eq(text_of(&a), "10.0.0.1:443");

	struct netaddr b;
	ck_assert_int_eq(parse_ip(&b, "10.0.0.1"), 0);
	ck_assert(!netaddr_equal(&a, &b));
	netaddr_set_port(&b, 443);
	ck_assert(netaddr_equal(&a, &b));
}
END_TEST

START_TEST(tells_apart)
{
	static const char *const names[] = {"/a", "/b", "/a/", "@a", "@a\\x00", "@/a", "@b"};
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		for (size_t j = 0; j < ARRAY_LEN(names); j++) {
			struct netaddr a;
			struct netaddr b;
			ck_assert_int_eq(parse_unix(&a, names[i]), 0);
			ck_assert_int_eq(parse_unix(&b, names[j]), 0);
			ck_assert(netaddr_equal(&a, &b) == (i == j));
		}
	}
	struct netaddr four;
	struct netaddr six;
	ck_assert_int_eq(parse_ip(&four, "0.0.0.0"), 0);
	ck_assert_int_eq(parse_ip(&six, "::"), 0);
	ck_assert(!netaddr_equal(&four, &six));
	struct netaddr zone = six;
	zone.u.in6.sin6_scope_id = 1;
	ck_assert(!netaddr_equal(&zone, &six));
	netaddr_set_port(&six, 81);
	ck_assert_uint_eq(netaddr_port(&six), 81);
}
END_TEST

START_TEST(a_path_is_equal_with_and_without_its_nul)
{
	struct sockaddr_un local = {.sun_family = AF_UNIX, .sun_path = "/a"};
	struct netaddr a;
	struct netaddr b;
	ck_assert_int_eq(parse_unix(&a, "/a"), 0);
	netaddr_from_kernel(&b, (struct sockaddr *)&local, UNIX_HEAD + 2);
	ck_assert(netaddr_equal(&a, &b));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("netaddr");
	TCase *c = tcase_create("netaddr");
	tcase_add_test(c, reads_ip);
	tcase_add_test(c, refuses_what_is_no_ip);
	tcase_add_test(c, reads_only_n_bytes);
	tcase_add_test(c, reads_zones);
	tcase_add_test(c, refuses_zones_that_are_not);
	tcase_add_test(c, shows_the_number_of_an_interface_that_went);
	tcase_add_test(c, reads_paths);
	tcase_add_test(c, reads_abstract_names);
	tcase_add_test(c, abstract_names_come_back);
	tcase_add_test(c, shows_strange_paths);
	tcase_add_test(c, takes_what_the_kernel_gives);
	tcase_add_test(c, canonicalises);
	tcase_add_test(c, tells_apart);
	tcase_add_test(c, a_path_is_equal_with_and_without_its_nul);
	suite_add_tcase(s, c);
	return suite_run(s);
}

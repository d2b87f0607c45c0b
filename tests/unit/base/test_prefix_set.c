/* SPDX-License-Identifier: MIT */
#include "base/prefix_set.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "../suite.h"

union address {
	struct sockaddr any;
	struct sockaddr_in in4;
	struct sockaddr_in6 in6;
};

static union address address_of(const char *text)
{
	union address a;
	memset(&a, 0, sizeof(a));
	if (inet_pton(AF_INET, text, &a.in4.sin_addr) == 1) {
		a.any.sa_family = AF_INET;
	} else {
		ck_assert_int_eq(inet_pton(AF_INET6, text, &a.in6.sin6_addr), 1);
		a.any.sa_family = AF_INET6;
	}
	return a;
}

static int parse(struct address_range *to, const char *text, const char **why)
{
	/* memory of its own, so that a sanitizer sees a read past its end */
	size_t n = strlen(text);
	char *copy = malloc(n > 0 ? n : 1);
	ck_assert_ptr_nonnull(copy);
	memcpy(copy, text, n);
	int r = address_range_parse(to, copy, n, why);
	free(copy);
	return r;
}

static void ends_of(const struct address_range *r, char *to, size_t n)
{
	char first[INET6_ADDRSTRLEN];
	char last[INET6_ADDRSTRLEN];
	snprintf(to, n, "%s-%s", inet_ntop(r->family, r->first, first, sizeof(first)),
		 inet_ntop(r->family, r->last, last, sizeof(last)));
}

START_TEST(reads_addresses_prefixes_and_ranges)
{
	static const char all_ones[] = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
	static const struct {
		const char *from;
		const char *ends; /* NULL: those of all IPv6 */
		int family;
	} cases[] = {
		{"10.0.0.1", "10.0.0.1-10.0.0.1", AF_INET},
		{"10.0.0.1/32", "10.0.0.1-10.0.0.1", AF_INET},
		{"10.0.0.0/31", "10.0.0.0-10.0.0.1", AF_INET},
		{"10.0.0.0/8", "10.0.0.0-10.255.255.255", AF_INET},
		{"128.0.0.0/1", "128.0.0.0-255.255.255.255", AF_INET},
		{"0.0.0.0/0", "0.0.0.0-255.255.255.255", AF_INET},
		{"10.0.0.1-10.0.0.9", "10.0.0.1-10.0.0.9", AF_INET},
		{"10.0.0.1-10.0.0.1", "10.0.0.1-10.0.0.1", AF_INET},
		{"::ffff:10.0.0.1", "10.0.0.1-10.0.0.1", AF_INET},
		{"::ffff:10.0.0.0/104", "10.0.0.0-10.255.255.255", AF_INET},
		{"::ffff:a00:1/128", "10.0.0.1-10.0.0.1", AF_INET},
		{"::ffff:0:0/96", "0.0.0.0-255.255.255.255", AF_INET},
		{"::ffff:10.0.0.1-10.0.0.9", "10.0.0.1-10.0.0.9", AF_INET},
		{"::1", "::1-::1", AF_INET6},
		{"fd00::/8", "fd00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", AF_INET6},
		{"2001:DB8::/33", "2001:db8::-2001:db8:7fff:ffff:ffff:ffff:ffff:ffff", AF_INET6},
		{"2001:db8::1-2001:db8::ff", "2001:db8::1-2001:db8::ff", AF_INET6},
		{"::/0", NULL, AF_INET6},
		{"0000:0000:0000:0000:0000:0000:255.255.255.254-0000:0000:0000:0000:0000:0000:255.255.255.255",
		 "::255.255.255.254-::255.255.255.255", AF_INET6},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct address_range r;
		const char *why = "";
		char ends[128];
		char all[128];
		snprintf(all, sizeof(all), "::-%s", all_ones);
		ck_assert_msg(parse(&r, cases[i].from, &why) == 0, "%s: %s", cases[i].from, why);
		ck_assert_int_eq(r.family, cases[i].family);
		ck_assert_uint_le(strlen(cases[i].from), ADDRESS_RANGE_TEXT_MAX);
		ends_of(&r, ends, sizeof(ends));
		ck_assert_str_eq(ends, cases[i].ends ? cases[i].ends : all);
	}
}
END_TEST

START_TEST(refuses_what_is_no_range)
{
	static const struct {
		const char *text;
		const char *why; /* a part of it */
	} cases[] = {
		{"", "no address"},
		{"/", "no address"},
		{"-", "no address"},
		{"/8", "no address"},
		{"10.0.0.300", "no address"},
		{"10.0.0", "no address"},
		{"010.0.0.1", "no address"},
		{"10.0.0.1 ", "no address"},
		{"10.0.0.1 - 10.0.0.9", "no address"},
		{"10.0.0.1-", "no address"},
		{"-10.0.0.1", "no address"},
		{"10.0.0.0/8-10.0.0.9", "no address"},
		{"10.0.0.1-10.0.0.2-10.0.0.3", "no address"},
		{"10.0.0.1:80", "no address"},
		{"[::1]", "no address"},
		{"localhost", "no address"},
		{"any", "no address"},
		{"1:2:3:4:5:6:7:8:9", "no address"},
		{"10.0.0.1/8", "bits are set"},
		{"10.0.0.0/6", "bits are set"},
		{"0.0.0.1/0", "bits are set"},
		{"fd00::1/8", "bits are set"},
		{"::ffff:10.0.0.1/104", "bits are set"},
		{"::ffff:0:0/95", "bits are set"},
		{"::ffff:0:0/0", "bits are set"},
		{"10.0.0.0/33", "IPv4 prefix; 0 to 32"},
		{"10.0.0.0/", "IPv4 prefix"},
		{"10.0.0.0/-1", "no address"},
		{"10.0.0.0/08", "IPv4 prefix"},
		{"10.0.0.0/+8", "IPv4 prefix"},
		{"10.0.0.0/8/8", "IPv4 prefix"},
		{"10.0.0.0/4294967304", "IPv4 prefix"},
		{"10.0.0.0/255.0.0.0", "IPv4 prefix"},
		{"fd00::/129", "IPv6 prefix; 0 to 128"},
		{"::ffff:10.0.0.0/129", "IPv6 prefix"},
		{"fe80::1%lo", "zone"},
		{"fe80::%lo/10", "zone"},
		{"10.0.0.9-10.0.0.1", "ends before it begins"},
		{"fd00::2-fd00::1", "ends before it begins"},
		{"10.0.0.1-::1", "both IPv4 and IPv6"},
		{"::-10.0.0.1", "both IPv4 and IPv6"},
		{"::1-::ffff:10.0.0.1", "both IPv4 and IPv6"},
	};
	struct address_range r;
	memset(&r, 'X', sizeof(r));
	struct address_range before = r;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *why = NULL;
		ck_assert_msg(parse(&r, cases[i].text, &why) == -EINVAL, "%s", cases[i].text);
		ck_assert_ptr_nonnull(why);
		ck_assert_msg(strstr(why, cases[i].why), "%s: %s", cases[i].text, why);
	}
	const char *why;
	ck_assert_int_eq(address_range_parse(&r, "10.0.0.1\0", 9, &why), -EINVAL);
	ck_assert_int_eq(address_range_parse(&r, "10.0.0.0/8\0", 11, &why), -EINVAL);
	ck_assert_mem_eq(&r, &before, sizeof(r));
}
END_TEST

/* A set of entries that are parted by blanks. */
static struct prefix_set *set_of(const char *text)
{
	struct address_range ranges[32];
	size_t count = 0;
	while (*text != '\0') {
		const char *why;
		size_t n = strcspn(text, " ");
		ck_assert_uint_lt(count, ARRAY_LEN(ranges));
		ck_assert_int_eq(address_range_parse(&ranges[count++], text, n, &why), 0);
		text += n + strspn(text + n, " ");
	}
	struct prefix_set *set = prefix_set_create(ranges, count);
	ck_assert_ptr_nonnull(set);
	return set;
}

static bool set_has(const struct prefix_set *set, const char *address)
{
	union address a = address_of(address);
	return prefix_set_has(set, &a.any);
}

START_TEST(has_the_edges)
{
	struct prefix_set *set = set_of("10.0.0.0/8 192.168.1.7 fd00::/8 ::1 2001:db8::5-2001:db8::9");
	static const char *const in[] = {"10.0.0.0",	"10.255.255.255", "192.168.1.7",
					 "fd00::",	"fdff::ffff",	  "::1",
					 "2001:db8::5", "2001:db8::9",	  "::ffff:10.1.2.3",
					 "2001:db8::7", "::ffff:a00:0"};
	static const char *const out[] = {"9.255.255.255",
					  "11.0.0.0",
					  "192.168.1.6",
					  "192.168.1.8",
					  "0.0.0.0",
					  "fcff::ffff",
					  "fe00::",
					  "::",
					  "::2",
					  "2001:db8::4",
					  "2001:db8::a",
					  "::10.0.0.1",
					  "::ffff:9.0.0.1",
					  "255.255.255.255",
					  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"};
	for (size_t i = 0; i < ARRAY_LEN(in); i++)
		ck_assert_msg(set_has(set, in[i]), "%s", in[i]);
	for (size_t i = 0; i < ARRAY_LEN(out); i++)
		ck_assert_msg(!set_has(set, out[i]), "%s", out[i]);
	ck_assert_uint_eq(prefix_set_count(set), 5);
	prefix_set_unref(set);
}
END_TEST

START_TEST(keeps_families_apart)
{
	struct prefix_set *all4 = set_of("0.0.0.0/0");
	struct prefix_set *all6 = set_of("::/0");
	static const char *const in4[] = {"0.0.0.0", "10.0.0.1", "255.255.255.255", "::ffff:0.0.0.0",
					  "::ffff:255.255.255.255"};
	static const char *const in6[] = {"::", "::1", "::10.0.0.1", "::fffe:10.0.0.1",
					  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"};
	for (size_t i = 0; i < ARRAY_LEN(in4); i++) {
		ck_assert(set_has(all4, in4[i]));
		ck_assert(!set_has(all6, in4[i]));
	}
	for (size_t i = 0; i < ARRAY_LEN(in6); i++) {
		ck_assert(!set_has(all4, in6[i]));
		ck_assert(set_has(all6, in6[i]));
	}
	struct sockaddr_un local = {.sun_family = AF_UNIX};
	struct sockaddr none = {.sa_family = AF_UNSPEC};
	ck_assert(!prefix_set_has(all4, (struct sockaddr *)&local));
	ck_assert(!prefix_set_has(all6, (struct sockaddr *)&local));
	ck_assert(!prefix_set_has(all4, &none));
	ck_assert(!prefix_set_has(all6, &none));
	prefix_set_unref(all4);
	prefix_set_unref(all6);
}
END_TEST

START_TEST(has_nothing_when_empty)
{
	struct prefix_set *set = prefix_set_create(NULL, 0);
	ck_assert_ptr_nonnull(set);
	ck_assert(!set_has(set, "0.0.0.0"));
	ck_assert(!set_has(set, "::"));
	ck_assert_uint_eq(prefix_set_count(set), 0);
	prefix_set_unref(set);
	ck_assert_ptr_null(prefix_set_unref(NULL));
}
END_TEST

START_TEST(ignores_port_and_zone)
{
	struct prefix_set *set = set_of("fe80::/10 10.0.0.1");
	union address a = address_of("fe80::1");
	a.in6.sin6_scope_id = 7;
	a.in6.sin6_port = htons(80);
	ck_assert(prefix_set_has(set, &a.any));
	a = address_of("10.0.0.1");
	a.in4.sin_port = htons(80);
	ck_assert(prefix_set_has(set, &a.any));
	prefix_set_unref(set);
}
END_TEST

START_TEST(joins_what_overlaps_or_touches)
{
	static const struct {
		const char *ranges;
		size_t count;
	} cases[] = {
		{"10.0.0.1 10.0.0.1 10.0.0.1", 1},
		{"10.0.0.2 10.0.0.1", 1},
		{"10.0.0.3 10.0.0.1", 2},
		{"10.0.0.0/24 10.0.1.0/24", 1},
		{"10.0.0.0/8 10.1.0.0/16 10.255.0.0/16 11.0.0.0/8", 1},
		{"10.0.0.0/8 10.1.0.0/16 12.0.0.0/8", 2},
		{"0.0.0.0/1 128.0.0.0/1", 1},
		{"0.0.0.0/0 255.255.255.255 0.0.0.0", 1},
		{"::/0 ::1 ffff::/16", 1},
		{"::/1 8000::/1", 1},
		{"fd00::-fd00::5 fd00::6-fd00::9", 1},
		{"fd00::-fd00::5 fd00::7-fd00::9", 2},
		{"0:0:0:1:ffff:ffff:ffff:ffff 0:0:0:2::", 1},
		/* the last of IPv4 and the first of IPv6 are no neighbours */
		{"255.255.255.255 ::", 2},
		{"::ffff:10.0.0.1 10.0.0.2", 1},
	};
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct prefix_set *set = set_of(cases[i].ranges);
		ck_assert_msg(prefix_set_count(set) == cases[i].count, "%s: %zu", cases[i].ranges,
			      prefix_set_count(set));
		ck_assert_uint_ge(prefix_set_bytes(set), 1);
		prefix_set_unref(set);
	}
}
END_TEST

/* Numbers that are the same in every run. */
static uint64_t seed;

static uint64_t chance(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % below;
}

static void choose_bytes(uint8_t *to, size_t width)
{
	static const uint8_t common[] = {0x00, 0x00, 0xff, 0xff, 0x01, 0x80, 0x0a};
	memset(to, 0, 16);
	for (size_t i = 0; i < width; i++)
		to[i] = chance(3) ? common[chance(ARRAY_LEN(common))] : (uint8_t)chance(256);
}

/* Steps up or down by one; past the end it begins anew. */
static void move(uint8_t *bytes, size_t width, int by)
{
	for (size_t i = width; i-- > 0;) {
		bytes[i] = (uint8_t)(bytes[i] + by);
		if (bytes[i] != (by > 0 ? 0 : 0xff))
			break;
	}
}

static void choose_range(struct address_range *r, const struct address_range *others, size_t count)
{
	memset(r, 0, sizeof(*r));
	r->family = chance(2) ? AF_INET : AF_INET6;
	size_t width = r->family == AF_INET ? 4 : 16;
	choose_bytes(r->first, width);
	memcpy(r->last, r->first, 16);
	uint64_t kind = chance(10);
	if (kind == 0 && count > 0) { /* one that is there */
		*r = others[chance(count)];
	} else if (kind == 1 && count > 0) { /* a neighbour */
		*r = others[chance(count)];
		width = r->family == AF_INET ? 4 : 16;
		memcpy(r->first, r->last, 16);
		move(r->first, width, 1);
		memcpy(r->last, r->first, 16);
	} else if (kind < 6) { /* a prefix; mostly a long one, so that not all is in the set soon */
		unsigned bits = (unsigned)width * 8;
		unsigned length =
			chance(200) == 0 ? (unsigned)chance(bits + 1) : bits - (unsigned)chance(width == 4 ? 12 : 70);
		for (unsigned bit = length; bit < bits; bit++) {
			r->first[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
			r->last[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
		}
	} else if (kind == 6) { /* a range */
		uint8_t other[16];
		choose_bytes(other, width);
		memcpy(other, r->first, width / 2);
		memcpy(memcmp(other, r->first, 16) < 0 ? r->first : r->last, other, 16);
	}
}

static void set_address(union address *a, int family, const uint8_t *bytes)
{
	memset(a, 0, sizeof(*a));
	a->any.sa_family = (sa_family_t)family;
	if (family == AF_INET && chance(2)) {
		a->any.sa_family = AF_INET6;
		a->in6.sin6_addr.s6_addr[10] = 0xff;
		a->in6.sin6_addr.s6_addr[11] = 0xff;
		memcpy(&a->in6.sin6_addr.s6_addr[12], bytes, 4);
	} else if (family == AF_INET) {
		memcpy(&a->in4.sin_addr, bytes, 4);
	} else {
		memcpy(&a->in6.sin6_addr, bytes, 16);
	}
}

/* The naive model: one range after the other, by their bytes. */
static bool model_has(const struct address_range *ranges, size_t count, int family, const uint8_t *bytes)
{
	for (size_t i = 0; i < count; i++) {
		if (ranges[i].family == family && memcmp(ranges[i].first, bytes, 16) <= 0 &&
		    memcmp(bytes, ranges[i].last, 16) <= 0)
			return true;
	}
	return false;
}

static unsigned present;
static unsigned absent;

static void compare(const struct prefix_set *set, const struct address_range *ranges, size_t count, int family,
		    const uint8_t *bytes)
{
	union address a;
	char text[INET6_ADDRSTRLEN];
	bool expected = model_has(ranges, count, family, bytes);
	set_address(&a, family, bytes);
	ck_assert_msg(prefix_set_has(set, &a.any) == expected, "%s, of %zu ranges",
		      inet_ntop(family, bytes, text, sizeof(text)), count);
	bool one = false;
	for (size_t i = 0; i < count && !one; i++)
		one = address_range_has(&ranges[i], &a.any);
	ck_assert(one == expected);
	if (expected)
		present++;
	else
		absent++;
}

static void compare_all(const struct prefix_set *set, const struct address_range *ranges, size_t count)
{
	uint8_t bytes[16];
	for (size_t i = 0; i < count; i++) {
		size_t width = ranges[i].family == AF_INET ? 4 : 16;
		for (int by = -1; by <= 1; by++) {
			memcpy(bytes, ranges[i].first, 16);
			if (by != 0)
				move(bytes, width, by);
			compare(set, ranges, count, ranges[i].family, bytes);
			memcpy(bytes, ranges[i].last, 16);
			if (by != 0)
				move(bytes, width, by);
			compare(set, ranges, count, ranges[i].family, bytes);
		}
	}
	for (unsigned i = 0; i < 200; i++) {
		choose_bytes(bytes, 16);
		compare(set, ranges, count, AF_INET6, bytes);
		choose_bytes(bytes, 4);
		compare(set, ranges, count, AF_INET, bytes);
	}
	memset(bytes, 0, 16);
	compare(set, ranges, count, AF_INET6, bytes);
	compare(set, ranges, count, AF_INET, bytes);
	memset(bytes, 0xff, 16);
	compare(set, ranges, count, AF_INET6, bytes);
	memset(bytes + 4, 0, 12);
	compare(set, ranges, count, AF_INET, bytes);
}

/* `_i`: how many ranges, about; around what a node and a level hold, and many. */
START_TEST(is_as_the_naive_model)
{
	static const size_t sizes[] = {0, 1, 2, 7, 8, 9, 15, 16, 17, 33, 127, 128, 129, 130, 300, 600};
	struct address_range ranges[600];
	struct address_range spent[600];
	seed = 88172645463325252u + (uint64_t)_i;
	for (unsigned round = 0; round < 6; round++) {
		size_t count = sizes[_i];
		for (size_t i = 0; i < count; i++)
			choose_range(&ranges[i], ranges, i);
		memcpy(spent, ranges, sizeof(spent));
		struct prefix_set *set = prefix_set_create(spent, count);
		ck_assert_ptr_nonnull(set);
		ck_assert_uint_le(prefix_set_count(set), count);
		compare_all(set, ranges, count);
		prefix_set_unref(set);
	}
	/* else it would have tested nothing */
	ck_assert_uint_ge(absent, 100);
	if (sizes[_i] >= 7)
		ck_assert_uint_ge(present, 100);
}
END_TEST

/* Every second address of a stretch: no two ranges join, so that levels are full, and their ends can be computed. */
static void check_stretch(int family, size_t count, const uint8_t *last_of_all)
{
	size_t width = family == AF_INET ? 4 : 16;
	struct address_range *ranges = calloc(count, sizeof(*ranges));
	uint8_t bytes[16];
	union address a;
	ck_assert_ptr_nonnull(ranges);
	memcpy(bytes, last_of_all, 16);
	for (size_t i = 0; i < count; i++) {
		ranges[i].family = family;
		memcpy(ranges[i].first, bytes, 16);
		memcpy(ranges[i].last, bytes, 16);
		move(bytes, width, -1);
		move(bytes, width, -1);
	}
	struct prefix_set *set = prefix_set_create(ranges, count);
	ck_assert_ptr_nonnull(set);
	ck_assert_uint_eq(prefix_set_count(set), count);
	memcpy(bytes, last_of_all, 16);
	for (size_t i = 0; i < 2 * count + 4; i++) {
		set_address(&a, family, bytes);
		ck_assert(prefix_set_has(set, &a.any) == (i % 2 == 0 && i < 2 * count));
		move(bytes, width, -1);
	}
	prefix_set_unref(set);
	free(ranges);
}

START_TEST(fills_levels)
{
	static const size_t counts[] = {1, 7, 8, 9, 16, 127, 128, 129, 1000, 2047, 2048, 2049, 40000};
	static const uint8_t last4[16] = {0xff, 0xff, 0xff, 0xff};
	static const uint8_t other4[16] = {11, 0, 1, 3};
	static const uint8_t other6[16] = {0x20, 1, [7] = 1, [14] = 1};
	uint8_t last6[16];
	memset(last6, 0xff, sizeof(last6));
	for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
		check_stretch(AF_INET, counts[i], last4);
		check_stretch(AF_INET, counts[i], other4);
		check_stretch(AF_INET6, counts[i], last6);
		check_stretch(AF_INET6, counts[i], other6);
	}
}
END_TEST

typedef unsigned __int128 wide;

static void put_wide(uint8_t *to, wide number)
{
	for (unsigned i = 16; i-- > 0; number >>= 8)
		to[i] = (uint8_t)number;
}

/* 1 to `most`, which is of at most 127 bits; small and large ones alike where it is `skewed`. */
static wide choose_wide(wide most, bool skewed)
{
	wide number = (wide)chance(UINT64_MAX) << 64 | chance(UINT64_MAX);
	if (skewed)
		number >>= chance(128);
	return number % most + 1;
}

/* How ranges of IPv6 lie: how many, how far apart and how long they are at most, and whether all lengths up to that are alike. */
static const struct walk {
	size_t count;
	unsigned gap_bits;
	unsigned length_bits;
	bool skewed;
} walks[] = {
	{20000, 112, 110, false},			 /* evenly, over all of the space */
	{20000, 112, 110, true},			 /* close together here, far apart there */
	{20000, 100, 127, true},  {20000, 64, 3, false}, /* over a few upper halves */
	{20000, 72, 1, false},				 /* about one in each /56 */
	{20000, 20, 20, true},				 /* in one upper half */
	{20000, 127, 1, true},				 /* single addresses, far apart */
	{3, 126, 126, false},				 /* hardly any, far apart */
	{7, 124, 124, true},
};

/* Walks over the space and notes ranges that do not touch. Returns how many. */
static size_t walk(const struct walk *w, wide (*ranges)[2])
{
	wide at = chance(2) ? 0 : choose_wide((wide)1 << w->gap_bits, w->skewed);
	size_t n = 0;
	for (;;) {
		wide rest = ~at;
		wide more = choose_wide((wide)1 << w->length_bits, w->skewed) - 1;
		ranges[n][0] = at;
		ranges[n++][1] = at + (more < rest ? more : rest);
		wide gap = 1 + choose_wide((wide)1 << w->gap_bits, w->skewed);
		if (n == w->count || more >= rest || gap > ~(at + more))
			return n;
		at += more + gap;
	}
}

/* `_i`: the walk. Each range's own edges, and somewhere in it. */
START_TEST(finds_its_piece)
{
	const struct walk *w = &walks[_i];
	wide(*known)[2] = calloc(w->count, sizeof(*known));
	struct address_range *ranges = calloc(w->count, sizeof(*ranges));
	ck_assert(known && ranges);
	seed = 88172645463325252u + (uint64_t)_i;
	for (unsigned round = 0; round < (w->count < 100 ? 1000 : 5); round++) {
		size_t count = walk(w, known);
		for (size_t i = 0; i < count; i++) {
			ranges[i].family = AF_INET6;
			put_wide(ranges[i].first, known[i][0]);
			put_wide(ranges[i].last, known[i][1]);
		}
		struct prefix_set *set = prefix_set_create(ranges, count);
		ck_assert_ptr_nonnull(set);
		ck_assert_uint_eq(prefix_set_count(set), count);
		for (size_t i = 0; i < count; i++) {
			wide first = known[i][0];
			wide last = known[i][1];
			wide inside = first == last ? first : first + choose_wide((last - first) >> 1 | 1, true);
			const wide asked[] = {first, last, inside, last - (inside - first), first - 1, last + 1};
			for (unsigned k = 0; k < ARRAY_LEN(asked); k++) {
				uint8_t bytes[16];
				union address a;
				/* before the first of all comes the last of all, which only the last range may have */
				bool expected = k < 4 || (k == 4 && first == 0 && known[count - 1][1] == ~(wide)0) ||
						(k == 5 && last == ~(wide)0 && known[0][0] == 0);
				put_wide(bytes, asked[k]);
				set_address(&a, AF_INET6, bytes);
				if (!IN6_IS_ADDR_V4MAPPED(&a.in6.sin6_addr) && prefix_set_has(set, &a.any) != expected)
					ck_abort_msg("range %zu of %zu, address %u", i, count, k);
			}
		}
		prefix_set_unref(set);
	}
	free(known);
	free(ranges);
}
END_TEST

/* What is a prefix, and what is one more or less. */
START_TEST(has_all_sizes)
{
	for (unsigned power = 0; power < 128; power++) {
		for (int by = -1; by <= 1; by++) {
			wide middle = (wide)1 << 126;
			wide steps = ((wide)1 << power) - 1 + (wide)by;
			if (power == 0 && by < 0)
				continue;
			for (unsigned to_the_end = 0; to_the_end < 2; to_the_end++) {
				wide first = to_the_end ? ~steps : middle;
				struct address_range range = {.family = AF_INET6};
				put_wide(range.first, first);
				put_wide(range.last, first + steps);
				struct prefix_set *set = prefix_set_create(&range, 1);
				ck_assert_ptr_nonnull(set);
				const wide asked[] = {first, first + steps, first + steps / 2, first - 1,
						      first + steps + 1};
				for (unsigned k = 0; k < ARRAY_LEN(asked); k++) {
					uint8_t bytes[16];
					union address a;
					put_wide(bytes, asked[k]);
					set_address(&a, AF_INET6, bytes);
					ck_assert(prefix_set_has(set, &a.any) == (k < 3));
				}
				prefix_set_unref(set);
			}
		}
	}
}
END_TEST

/* What it takes follows from its ranges. */
START_TEST(takes_little_memory)
{
	size_t count = 100000;
	struct address_range *ranges = calloc(count, sizeof(*ranges));
	ck_assert_ptr_nonnull(ranges);
	for (size_t i = 0; i < count; i++) {
		ranges[i].family = AF_INET6;
		ranges[i].first[0] = 0x20;
		ranges[i].first[3] = (uint8_t)(i >> 16);
		ranges[i].first[4] = (uint8_t)(i >> 8);
		ranges[i].first[5] = (uint8_t)i;
		memcpy(ranges[i].last, ranges[i].first, 16);
	}
	struct prefix_set *set = prefix_set_create(ranges, count);
	ck_assert_ptr_nonnull(set);
	ck_assert_uint_eq(prefix_set_count(set), count);
	/* 17 bytes each, a fifteenth for the levels above, the table, and up to a large page */
	ck_assert_uint_le(prefix_set_bytes(set), count * 17 * 16 / 15 + count + (2u << 20) + 4096);
	prefix_set_unref(set);

	/* of two bytes each, a table, and up to two large pages */
	for (size_t i = 0; i < count; i++) {
		ranges[i] = (struct address_range){.family = AF_INET};
		ranges[i].first[0] = (uint8_t)(i >> 15);
		ranges[i].first[1] = (uint8_t)(i >> 7);
		ranges[i].first[2] = (uint8_t)(i << 1);
		memcpy(ranges[i].last, ranges[i].first, 16);
	}
	set = prefix_set_create(ranges, count);
	ck_assert_ptr_nonnull(set);
	ck_assert_uint_eq(prefix_set_count(set), count);
	ck_assert_uint_le(prefix_set_bytes(set), count * 4 + (4u << 20) + 4096);
	prefix_set_unref(set);

	/* and a small one is small */
	set = set_of("10.0.0.0/8 192.168.0.0/16 fd00::/8");
	ck_assert_uint_le(prefix_set_bytes(set), 8192);
	prefix_set_unref(set);
	free(ranges);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("prefix_set");
	TCase *ranges = tcase_create("address_range");
	tcase_add_test(ranges, reads_addresses_prefixes_and_ranges);
	tcase_add_test(ranges, refuses_what_is_no_range);
	suite_add_tcase(suite, ranges);
	TCase *sets = tcase_create("prefix_set");
	tcase_set_timeout(sets, 60);
	tcase_add_test(sets, has_the_edges);
	tcase_add_test(sets, keeps_families_apart);
	tcase_add_test(sets, has_nothing_when_empty);
	tcase_add_test(sets, ignores_port_and_zone);
	tcase_add_test(sets, joins_what_overlaps_or_touches);
	tcase_add_loop_test(sets, is_as_the_naive_model, 0, 16);
	tcase_add_test(sets, fills_levels);
	tcase_add_loop_test(sets, finds_its_piece, 0, ARRAY_LEN(walks));
	tcase_add_test(sets, has_all_sizes);
	tcase_add_test(sets, takes_little_memory);
	suite_add_tcase(suite, sets);
	return suite_run(suite);
}

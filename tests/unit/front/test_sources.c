/* SPDX-License-Identifier: MIT */
#include "front/sources.h"

#include <arpa/inet.h>
#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../suite.h"
#include "base/attr.h"
#include "base/netaddr.h"
#include "base/text.h"
#include "front/sources_priv.h"

#define NS 1000000

/* ck_assert where it is asked a million times: that one tells the parent process of each */
#define HOLDS(condition)                                                                                               \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			ck_abort_msg("%s", #condition);                                                                \
	} while (0)

static const struct source_prefixes prefixes = {.ipv4 = 32, .ipv6 = 64};
static const struct ban_rule rule = {
	.after = 20, .within_ms = 60000, .for_ms = 600000, .factor = 2, .max_ms = 86400000};

static uint64_t state = 88172645463325252;

static uint64_t any(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state * 2685821657736338717U >> 11;
}

static struct source_key key_of(uint32_t number)
{
	struct source_key key = {.bits = 32, .scope = (uint16_t)(number >> 24)};
	number = htonl(number & 0xffffff);
	memcpy(key.address, &number, 4);
	return key;
}

static struct source *get(struct sources *s, uint32_t number, uint64_t now_ms)
{
	struct source_key key = key_of(number);
	struct source *e = sources_get(s, &key, now_ms);
	HOLDS(s->looked <= SOURCES_LOOKED_AT_MOST);
	return e;
}

static struct source *find(struct sources *s, uint32_t number)
{
	struct source_key key = key_of(number);
	return sources_find(s, &key);
}

static void no_end(void *arg UNUSED, const struct source_key *key UNUSED)
{
	ck_abort_msg("a ban has ended");
}

static void count_end(void *arg, const struct source_key *key UNUSED)
{
	++*(unsigned *)arg;
}

/* Everything that must hold between two calls. */
static void check(const struct sources *s)
{
	unsigned seen = 0;
	for (int i = 0; i < SOURCE_LISTS; i++) {
		uint32_t before = SOURCE_NONE;
		for (uint32_t at = s->lists[i].first; at != SOURCE_NONE; at = source_at(s, at)->next) {
			const struct source *e = source_at(s, at);
			HOLDS(e->pool == i);
			HOLDS(e->self == at);
			HOLDS(e->prev == before);
			HOLDS(source_open(e) == 0 || i == SOURCE_OPEN);
			before = at;
			seen++;
		}
		HOLDS(s->lists[i].last == before);
	}
	for (uint32_t i = 0; i < s->ban_count; i++) {
		const struct source *e = source_at(s, s->chunks[i / SOURCES_CHUNK]->heap[i % SOURCES_CHUNK]);
		HOLDS(e->pool == SOURCE_BANNED);
		HOLDS(e->prev == i);
		uint32_t above = i > 0 ? (i - 1) / 2 : 0;
		const struct source *a = source_at(s, s->chunks[above / SOURCES_CHUNK]->heap[above % SOURCES_CHUNK]);
		HOLDS(a->until_ms <= e->until_ms);
		seen++;
	}
	HOLDS(seen == s->made);
	HOLDS(s->made <= s->most);
	HOLDS(s->ban_count <= s->most_bans);
	HOLDS(s->hand == SOURCE_NONE || source_at(s, s->hand)->pool == SOURCE_REMEMBERED);
}

/* ---- keys ---- */

static struct netaddr address_at(const char *address)
{
	struct netaddr a = {.length = sizeof(a.u)};
	if (inet_pton(AF_INET, address, &a.u.in4.sin_addr) == 1)
		a.u.any.sa_family = AF_INET;
	else if (inet_pton(AF_INET6, address, &a.u.in6.sin6_addr) == 1)
		a.u.any.sa_family = AF_INET6;
	else
		a.u.any.sa_family = AF_UNIX;
	return a;
}

static struct peer_addr peer_at(const char *address)
{
	struct netaddr a = address_at(address);
	struct peer_addr peer;
	peer_addr_from(&peer, &a);
	return peer;
}

static struct source_key key_at(const char *address, unsigned ipv4, unsigned ipv6)
{
	struct netaddr a = address_at(address);
	struct source_prefixes p = {.ipv4 = ipv4, .ipv6 = ipv6};
	struct source_key key;
	if (!source_key_of(&key, &a.u.any, &p, 7))
		memset(&key, 0, sizeof(key));
	return key;
}

START_TEST(addresses_become_keys)
{
	static const struct {
		const char *address;
		unsigned ipv4, ipv6;
		const char *text;
	} known[] = {
		{"10.1.2.3", 32, 64, "10.1.2.3"},
		{"10.1.2.3", 24, 64, "10.1.2.0/24"},
		{"10.1.2.3", 13, 64, "10.0.0.0/13"},
		{"255.1.2.3", 1, 64, "128.0.0.0/1"},
		{"10.1.2.3", 0, 64, "0.0.0.0/1"},
		{"10.1.2.3", 99, 64, "10.1.2.3"},
		{"::ffff:10.1.2.3", 32, 64, "10.1.2.3"},
		{"2001:db8:1:2:3:4:5:6", 32, 64, "2001:db8:1:2::/64"},
		{"2001:db8:1:2:3:4:5:6", 32, 128, "2001:db8:1:2:3:4:5:6"},
		{"2001:db8:1:2:3:4:5:6", 32, 57, "2001:db8:1::/57"},
		{"2001:db8:1:ffff:3:4:5:6", 32, 57, "2001:db8:1:ff80::/57"},
		{"::1", 32, 128, "::1"},
	};
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		struct source_key key = key_at(known[i].address, known[i].ipv4, known[i].ipv6);
		struct source_key again;
		char memory[SOURCE_KEY_TEXT_BYTES];
		struct text t;
		text_init(&t, memory, sizeof(memory));
		source_key_add_text(&t, &key);
		ck_assert_str_eq(t.at, known[i].text);
		ck_assert_int_eq(source_key_parse(&again, t.at, t.length, 7), 0);
		ck_assert(memcmp(&key, &again, sizeof(key)) == 0);

		/* records of workers have it too, and must call it the same */
		struct peer_addr peer = peer_at(known[i].address);
		text_init(&t, memory, sizeof(memory));
		peer_addr_add_network(&t, &peer, known[i].ipv4 > 0 ? known[i].ipv4 : 1, known[i].ipv6);
		ck_assert_str_eq(t.at, known[i].text);
	}
	ck_assert_uint_eq(key_at("unix", 32, 64).bits, 0);
}
END_TEST

START_TEST(users_have_keys_too)
{
	static const struct {
		uid_t uid;
		const char *text;
	} known[] = {{0, "unix uid 0"},
		     {4001, "unix uid 4001"},
		     {4294967294U, "unix uid 4294967294"},
		     {SOURCE_NO_USER, "unix"}};
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		struct source_key key = source_key_of_user(known[i].uid, 7);
		struct source_key again;
		char memory[SOURCE_KEY_TEXT_BYTES];
		struct text t;
		text_init(&t, memory, sizeof(memory));
		source_key_add_text(&t, &key);
		ck_assert_str_eq(t.at, known[i].text);
		ck_assert(source_key_is_user(&key));
		ck_assert_uint_eq(key.scope, 7);
		ck_assert_int_lt(source_key_parse(&again, t.at, t.length, 7), 0);
	}
	struct source_key zero = key_at("0.0.0.0", 1, 1);
	ck_assert(!source_key_is_user(&zero));
}
END_TEST

START_TEST(other_texts_are_no_keys)
{
	static const char *const wrong[] = {
		"",	      "/",	     "10.0.0.1/",	"10.0.0.1/33", "10.0.0.1/31", "10.0.0",
		"10.0.0.1/0", "::1/64",	     "::/129",		"::/0",	       "::/064",      "fe80::1%lo",
		"x",	      "10.0.0.0/+8", "::ffff:10.0.0.1", "10.0.0.0/8 ", " 10.0.0.0",   "10.0.0.0/256",
		"::/64/64"};
	struct source_key key;
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		ck_assert_msg(source_key_parse(&key, wrong[i], strlen(wrong[i]), 0) < 0, "%s", wrong[i]);
	ck_assert_int_lt(source_key_parse(&key, "10.0.0.1\0", 9, 0), 0);
}
END_TEST

/* ---- the table ---- */

START_TEST(an_entry_is_found_again)
{
	struct sources *s = sources_create(100000);
	HOLDS(!find(s, 1));
	for (uint32_t i = 0; i < 100000; i++)
		atomic_store(&source_arrivals(get(s, i * 7, 5))->full_at, i);
	HOLDS(sources_count(s) == 100000);
	for (uint32_t i = 0; i < 100000; i++)
		ck_assert_uint_eq(atomic_load(&source_arrivals(find(s, i * 7))->full_at), i);
	HOLDS(!find(s, 3));
	check(s);
	HOLDS(sources_bytes(s) - SOURCES_CHUNK * 96 <= 100000 * 97);
	sources_destroy(s);
	HOLDS(!sources_destroy(NULL));
}
END_TEST

START_TEST(scope_and_prefix_tell_sources_apart)
{
	struct sources *s = sources_create(10);
	struct source_key a = key_of(1);
	struct source_key b = a;
	struct source_key c = a;
	b.scope = 9;
	c.bits = 31;
	struct source *e = sources_get(s, &a, 0);
	ck_assert_ptr_ne(e, sources_get(s, &b, 0));
	ck_assert_ptr_ne(e, sources_get(s, &c, 0));
	ck_assert_ptr_eq(e, sources_get(s, &a, 0));
	sources_destroy(s);
}
END_TEST

START_TEST(the_one_seen_longest_ago_is_forgotten)
{
	struct sources *s = sources_create(8);
	for (uint32_t i = 0; i < 8; i++)
		get(s, i, i);
	get(s, 0, 8);
	get(s, 3, 9);
	static const uint32_t order[] = {1, 2, 4, 5, 6, 7, 0, 3, 100, 101};
	for (uint32_t i = 0; i < ARRAY_LEN(order); i++) {
		ck_assert_ptr_nonnull(find(s, order[i]));
		get(s, 100 + i, 10 + i);
		ck_assert_ptr_null(find(s, order[i]));
		check(s);
	}
	sources_destroy(s);
}
END_TEST

START_TEST(those_that_hold_something_are_forgotten_later)
{
	const struct rate rate = {.amount = 1, .period_ms = 10000, .burst = 10};
	struct sources *s = sources_create(8);
	source_opened(s, get(s, 0, 0));
	ck_assert(source_ban(s, get(s, 1, 0), 1000000, 0));
	ck_assert_uint_eq(source_offend(s, get(s, 2, 0), &rule, 1, 0), 0);		      /* for a minute */
	ck_assert_uint_eq(rate_take(&source_share(get(s, 3, 0))->bytes_out, &rate, 5, 0), 0); /* for 50 s */
	for (uint32_t i = 10; i < 1000; i++)
		get(s, i, 1 + i % 10);
	for (uint32_t i = 0; i < 4; i++)
		ck_assert_ptr_nonnull(find(s, i));
	check(s);
	/* the bucket is full, the minute not over */
	for (uint32_t i = 1000; i < 1008; i++)
		get(s, i, 55000);
	ck_assert_ptr_null(find(s, 3));
	ck_assert_ptr_nonnull(find(s, 2));
	for (uint32_t i = 1008; i < 1016; i++)
		get(s, i, 62000);
	ck_assert_ptr_null(find(s, 2));
	/* the others hold for as long as they are */
	source_closed(find(s, 0));
	for (uint32_t i = 2000; i < 2020; i++)
		get(s, i, 900000);
	ck_assert_ptr_null(find(s, 0));
	ck_assert_ptr_nonnull(find(s, 1));
	ck_assert_uint_eq(sources_expire(s, 999999, no_end, NULL), 1);
	unsigned ended = 0;
	ck_assert_uint_eq(sources_expire(s, 1000000, count_end, &ended), UINT64_MAX);
	ck_assert_uint_eq(ended, 1);
	for (uint32_t i = 2000; i < 2020; i++)
		get(s, i, 1000001);
	ck_assert_ptr_null(find(s, 1));
	check(s);
	sources_destroy(s);
}
END_TEST

START_TEST(when_all_remember_the_oldest_goes)
{
	struct sources *s = sources_create(8);
	for (uint32_t i = 0; i < 40; i++) {
		source_offend(s, get(s, i, i), &rule, 1, i);
		check(s);
		if (i >= 8)
			ck_assert_ptr_null(find(s, i - 8));
		if (i >= 7)
			ck_assert_ptr_nonnull(find(s, i - 7));
	}
	sources_destroy(s);
}
END_TEST

START_TEST(one_that_holds_nothing_is_found_among_many)
{
	const struct ban_rule day = {.after = 10, .within_ms = 86400000, .for_ms = 1000, .factor = 1, .max_ms = 1000};
	const struct ban_rule quick = {.after = 10, .within_ms = 5000, .for_ms = 1000, .factor = 1, .max_ms = 1000};
	struct sources *s = sources_create(200);
	for (uint32_t i = 0; i < 200; i++)
		source_offend(s, get(s, i, i), i == 100 ? &quick : &day, 1, i);
	/* all are known to hold something; the one in the middle does for some seconds only */
	uint32_t next = 1000;
	for (; next < 1040; next++)
		source_offend(s, get(s, next, 1000), &day, 1, 1000);
	ck_assert_ptr_nonnull(find(s, 100));
	for (uint32_t most = next + 25; find(s, 100); next++) {
		ck_assert_uint_lt(next, most);
		source_offend(s, get(s, next, 20000), &day, 1, 20000);
		check(s);
	}
	/* entries come and go while the hand is on its way */
	for (int i = 0; i < 20000; i++) {
		uint64_t now_ms = 20000 + (uint64_t)i * 10;
		struct source *e = get(s, (uint32_t)(any() % 400), now_ms);
		source_offend(s, e, any() % 2 == 0 ? &day : &quick, 1, now_ms);
		if (s->hand != SOURCE_NONE && any() % 4 == 0)
			sources_get(s, &source_at(s, s->hand)->key, now_ms);
		check(s);
	}
	sources_destroy(s);
}
END_TEST

START_TEST(without_room_one_entry_is_shared)
{
	struct sources *s = sources_create(8);
	struct source *all[8];
	for (uint32_t i = 0; i < 8; i++) {
		all[i] = get(s, i, 0);
		source_opened(s, all[i]);
	}
	struct source *shared = get(s, 100, 1);
	ck_assert(source_is_shared(shared));
	ck_assert(!source_is_shared(all[0]));
	ck_assert_ptr_eq(get(s, 101, 1), shared);
	ck_assert_ptr_null(find(s, 100));
	source_opened(s, shared);
	source_opened(s, shared);
	ck_assert_uint_eq(source_open(shared), 2);
	/* it is nobody's, and nobody bans it */
	ck_assert_uint_eq(source_offend(s, shared, &rule, 1000, 1), 0);
	ck_assert(!source_ban(s, shared, 1000, 1));
	ck_assert_uint_eq(source_banned_ms(shared, 1), 0);
	/* entries do not move, and are there as soon as one is free */
	for (uint32_t i = 0; i < 8; i++)
		ck_assert_ptr_eq(get(s, i, 1), all[i]);
	source_closed(all[5]);
	ck_assert_ptr_eq(get(s, 102, 2), all[5]);
	ck_assert_uint_eq(source_open(shared), 2);
	check(s);
	sources_destroy(s);
}
END_TEST

START_TEST(what_was_returned_last_stays)
{
	struct sources *s = sources_create(4);
	for (uint32_t i = 0; i < 10; i++)
		source_offend(s, get(s, i, i), &rule, 1, i);
	for (uint32_t i = 10; i < 1000; i++) {
		struct source_key key = key_of(i);
		struct source *e = get(s, i, i);
		get(s, i + 100000, i);
		ck_assert(memcmp(&e->key, &key, sizeof(key)) == 0);
		ck_assert_ptr_eq(find(s, i), e);
	}
	check(s);
	sources_destroy(s);
}
END_TEST

/* ---- bans ---- */

START_TEST(offences_begin_a_ban)
{
	struct sources *s = sources_create(8);
	struct source *e = get(s, 1, 0);
	for (unsigned i = 0; i < 19; i++)
		ck_assert_uint_eq(source_offend(s, e, &rule, 1, i * 2000), 0);
	ck_assert_uint_eq(source_banned_ms(e, 39000), 0);
	ck_assert_uint_eq(source_offend(s, e, &rule, 1, 39000), 600000);
	ck_assert_uint_eq(source_banned_ms(e, 39000), 600000);
	/* what it does while it is banned counts for nothing */
	ck_assert_uint_eq(source_offend(s, e, &rule, 100, 638999), 0);
	ck_assert_uint_eq(source_banned_ms(e, 638999), 1);
	ck_assert_uint_eq(source_banned_ms(e, 639000), 0);
	ck_assert_uint_eq(source_offend(s, e, &rule, 19, 639000), 0);
	/* the second is twice as long, and the third twice that */
	ck_assert_uint_eq(source_offend(s, e, &rule, 1, 640000), 1200000);
	ck_assert_uint_eq(source_offend(s, e, &rule, 20, 1840000), 2400000);
	/* a day without one, and it is as if there had been none */
	ck_assert_uint_eq(source_offend(s, e, &rule, 20, 4240000 + 86400000), 600000);
	ck_assert_uint_eq(sources_ban_count(s), 1);
	sources_destroy(s);
}
END_TEST

START_TEST(offences_that_are_spread_do_not)
{
	struct sources *s = sources_create(8);
	struct source *e = get(s, 1, 0);
	/* one each 3.2 s: 19 in a minute */
	for (unsigned i = 0; i < 10000; i++)
		ck_assert_uint_eq(source_offend(s, e, &rule, 1, i * UINT64_C(3200)), 0);
	/* two bursts of 19, 41 s from the middle of one to the middle of the other */
	e = get(s, 2, 0);
	ck_assert_uint_eq(source_offend(s, e, &rule, 19, 1000), 0);
	ck_assert_uint_eq(source_offend(s, e, &rule, 1, 40999), 600000);
	e = get(s, 3, 0);
	ck_assert_uint_eq(source_offend(s, e, &rule, 19, 1000), 0);
	ck_assert_uint_eq(source_offend(s, e, &rule, 19, 61000), 0);
	sources_destroy(s);
}
END_TEST

START_TEST(no_ban_is_longer_than_the_rule_says)
{
	struct sources *s = sources_create(8);
	struct source *e = get(s, 1, 0);
	uint64_t now_ms = 0;
	for (unsigned i = 0; i < 100; i++) {
		uint64_t ms = source_offend(s, e, &rule, 20, now_ms);
		ck_assert_uint_gt(ms, 0);
		ck_assert_uint_eq(ms, i < 8 ? UINT64_C(600000) << i : 86400000);
		now_ms += ms;
	}
	static const struct ban_rule strange[] = {
		{.after = 1, .within_ms = 0, .for_ms = 5, .factor = 0, .max_ms = 10},
		{.after = 1, .within_ms = 1, .for_ms = UINT64_MAX, .factor = UINT32_MAX, .max_ms = 10},
		{.after = 1, .within_ms = UINT64_MAX, .for_ms = 1, .factor = UINT32_MAX, .max_ms = 10},
		{.after = UINT32_MAX, .within_ms = 1000, .for_ms = 10, .factor = 1, .max_ms = 10},
	};
	for (uint32_t i = 0; i < ARRAY_LEN(strange); i++) {
		e = get(s, 100 + i, now_ms);
		for (int k = 0; k < 5; k++) {
			uint64_t ms = source_offend(s, e, &strange[i], UINT32_MAX, now_ms);
			ck_assert(ms > 0 && ms <= 10);
			ck_assert_uint_eq(source_offend(s, e, &strange[i], 1, now_ms), 0);
			now_ms += ms;
		}
	}
	struct ban_rule none = {.within_ms = 1000, .for_ms = 1000, .factor = 2, .max_ms = 10000};
	ck_assert_uint_eq(source_offend(s, get(s, 50, now_ms), &none, 1000, now_ms), 0);
	sources_destroy(s);
}
END_TEST

START_TEST(a_clock_that_goes_back_does_no_harm)
{
	struct sources *s = sources_create(8);
	struct source *e = get(s, 1, 0);
	source_offend(s, e, &rule, 5, 1000000);
	ck_assert_uint_eq(source_offend(s, e, &rule, 14, 5), 0);
	ck_assert_uint_eq(source_offend(s, e, &rule, 1, 1000), 600000);
	ck_assert_uint_eq(sources_expire(s, 0, no_end, NULL), 601000);
	sources_destroy(s);
}
END_TEST

START_TEST(bans_end_in_their_order_and_once)
{
	struct sources *s = sources_create(4000);
	for (uint32_t i = 0; i < 1000; i++)
		ck_assert(source_ban(s, get(s, i, 0), 1 + i * 7919 % 1000, 0));
	unsigned told = 0;
	for (uint64_t now_ms = 0; now_ms < 1000; now_ms++) {
		ck_assert_uint_eq(sources_expire(s, now_ms, count_end, &told), 1);
		ck_assert_uint_eq(told, now_ms);
		check(s);
	}
	/* many at once: so many a call */
	for (uint32_t i = 0; i < 1000; i++)
		ck_assert(source_ban(s, get(s, i, 2000), 10, 2000));
	told = 0;
	unsigned calls = 0;
	while (sources_expire(s, 5000, count_end, &told) != UINT64_MAX)
		calls++;
	ck_assert_uint_eq(told, 1000);
	ck_assert_uint_eq(calls, 1000 / SOURCES_EXPIRE_AT_ONCE);
	sources_destroy(s);
}
END_TEST

START_TEST(a_ban_can_be_ended_and_changed)
{
	struct sources *s = sources_create(8);
	struct source *e = get(s, 1, 0);
	ck_assert(source_ban(s, e, 0, 0));
	ck_assert(source_ban(s, e, 1000, 0));
	ck_assert(source_ban(s, get(s, 2, 0), 500, 0));
	ck_assert_uint_eq(sources_expire(s, 0, no_end, NULL), 500);
	ck_assert(source_ban(s, e, 100, 0));
	ck_assert_uint_eq(sources_expire(s, 0, no_end, NULL), 100);
	ck_assert_uint_eq(sources_ban_count(s), 2);
	ck_assert(source_ban(s, e, 0, 50));
	ck_assert_uint_eq(source_banned_ms(e, 50), 0);
	ck_assert_uint_eq(sources_ban_count(s), 1);
	ck_assert_uint_eq(sources_expire(s, 499, no_end, NULL), 1);
	check(s);
	sources_destroy(s);
}
END_TEST

static void note_ban(void *arg, const struct source_key *key, uint64_t left_ms, unsigned count)
{
	struct sources *other = arg;
	ck_assert(sources_restore(other, key, left_ms, count, 77));
}

START_TEST(bans_are_put_back)
{
	struct sources *s = sources_create(100);
	struct sources *other = sources_create(100);
	ck_assert_uint_gt(source_offend(s, get(s, 1, 0), &rule, 20, 0), 0);
	ck_assert_uint_gt(source_offend(s, get(s, 1, 600000), &rule, 20, 600000), 0);
	ck_assert(source_ban(s, get(s, 2 | 3U << 24, 600000), 1000, 600000));
	ck_assert(source_ban(s, get(s, 3, 600000), 10, 600000));
	unsigned from = 0;
	unsigned calls = 0;
	do {
		from = sources_bans(s, from, 2, 600100, note_ban, other);
		calls++;
	} while (from > 0);
	ck_assert_uint_eq(calls, 2);
	ck_assert_uint_eq(sources_ban_count(other), 2);
	ck_assert_uint_eq(source_banned_ms(find(other, 1), 77), 1199900);
	ck_assert_uint_eq(source_banned_ms(find(other, 2 | 3U << 24), 77), 900);
	/* the count goes on */
	ck_assert_uint_eq(source_offend(other, find(other, 1), &rule, 20, 77 + 1199900), 2400000);
	/* only longer ones change it */
	struct source_key key = key_of(2 | 3U << 24);
	ck_assert(sources_restore(other, &key, 5, 1, 77));
	ck_assert_uint_eq(source_banned_ms(find(other, 2 | 3U << 24), 77), 900);
	ck_assert(sources_restore(other, &key, 5000, 1, 77));
	ck_assert_uint_eq(source_banned_ms(find(other, 2 | 3U << 24), 77), 5000);
	check(other);
	sources_destroy(s);
	sources_destroy(other);
}
END_TEST

START_TEST(bans_leave_room_for_others)
{
	struct sources *s = sources_create(8);
	for (uint32_t i = 0; i < 20; i++) {
		ck_assert_uint_eq(source_offend(s, get(s, i, 0), &rule, 20, 0), i < 3 ? 600000 : 0);
		struct source_key key = key_of(1000 + i);
		ck_assert(sources_restore(s, &key, 10, 1, 0) == (i < 3));
	}
	check(s);
	sources_destroy(s);
}
END_TEST

/* ---- a naive model ---- */

#define KEYS 24
#define MOST 8

struct known {
	bool is_there;
	struct source *at;
	unsigned open;
	uint64_t until_ms; /* 0: not banned */
	bool is_told;
	uint64_t offences[4096]; /* times, since the last ban began */
	unsigned offence_count;
	uint64_t holds_until_ms;
};

static struct known known[KEYS];

static unsigned end_number(const struct source_key *key)
{
	uint32_t number;
	memcpy(&number, key->address, 4);
	return ntohl(number);
}

static void model_end(void *arg, const struct source_key *key)
{
	struct known *k = &known[end_number(key)];
	HOLDS(k->is_there && k->until_ms > 0 && k->until_ms <= *(uint64_t *)arg);
	k->until_ms = 0;
}

static bool model_holds(const struct known *k, uint64_t now_ms)
{
	return k->open > 0 || k->until_ms > 0 || k->holds_until_ms > now_ms;
}

/* One was looked up: what the table knows now is what the model knows, but for the one that it had to forget. */
static void compare_tables(struct sources *s, unsigned looked_up, uint32_t kept, uint64_t now_ms)
{
	bool idle = false; /* one that holds nothing was there before, and still is */
	struct known *gone = NULL;
	for (unsigned i = 0; i < KEYS; i++) {
		struct known *k = &known[i];
		struct source *e = find(s, i);
		if (i == looked_up || !k->is_there) {
			HOLDS(i == looked_up || !e);
			continue;
		}
		if (!e) {
			HOLDS(!gone);
			gone = k;
			continue;
		}
		HOLDS(k->at == e);
		HOLDS(source_open(e) == k->open);
		HOLDS(source_banned_ms(e, now_ms) == (k->until_ms > now_ms ? k->until_ms - now_ms : 0));
		/* it remembers in whole seconds */
		if (!model_holds(k, now_ms - 2000) && e->self != kept)
			idle = true;
	}
	if (gone) {
		HOLDS(gone->open == 0 && gone->until_ms == 0);
		HOLDS(!known[looked_up].is_there);
		HOLDS(!model_holds(gone, now_ms) || !idle);
		gone->is_there = false;
	}
}

static void model_get(struct sources *s, unsigned i, uint64_t now_ms)
{
	uint32_t kept = s->kept;
	struct source *e = get(s, i, now_ms);
	compare_tables(s, i, kept, now_ms);
	if (known[i].is_there) {
		HOLDS(known[i].at == e);
		return;
	}
	unsigned there = 0;
	unsigned pinned = 0;
	for (unsigned k = 0; k < KEYS; k++) {
		there += known[k].is_there;
		pinned += known[k].is_there && (known[k].open > 0 || known[k].until_ms > 0);
	}
	if (source_is_shared(e)) {
		HOLDS(there == MOST);
		/* the one that was looked up last is not forgotten either */
		HOLDS(pinned + 1 >= MOST);
		return;
	}
	HOLDS(there < MOST);
	known[i] = (struct known){.is_there = true, .at = e};
}

static void model_offend(struct sources *s, unsigned i, const struct ban_rule *r, uint64_t now_ms)
{
	struct known *k = &known[i];
	unsigned banned = 0;
	unsigned n = 1 + (unsigned)(any() % 3);
	for (unsigned b = 0; b < KEYS; b++)
		banned += known[b].is_there && known[b].until_ms > 0;
	uint64_t ms = source_offend(s, k->at, r, n, now_ms);
	if (k->until_ms > now_ms) {
		HOLDS(ms == 0);
		return;
	}
	while (n-- > 0 && k->offence_count < ARRAY_LEN(k->offences))
		k->offences[k->offence_count++] = now_ms;
	if (k->holds_until_ms < now_ms + r->within_ms)
		k->holds_until_ms = now_ms + r->within_ms;
	unsigned surely = 0;
	unsigned perhaps = 0;
	for (unsigned o = 0; o < k->offence_count; o++) {
		uint64_t age_ms = now_ms - k->offences[o];
		surely += age_ms <= r->within_ms / 3 * 2;
		perhaps += age_ms < r->within_ms;
	}
	bool room = k->until_ms > 0 || banned < MOST - MOST / 4;
	HOLDS(ms > 0 || surely < r->after || !room);
	HOLDS(ms == 0 || (perhaps >= r->after && room));
	HOLDS(ms <= r->max_ms);
	HOLDS(ms == 0 || ms >= r->for_ms);
	if (ms > 0) {
		k->until_ms = now_ms + ms;
		k->offence_count = 0;
		k->holds_until_ms = k->until_ms + r->max_ms;
	}
}

START_TEST(is_like_the_model)
{
	static const struct ban_rule quick = {
		.after = 5, .within_ms = 3000, .for_ms = 2000, .factor = 2, .max_ms = 9000};
	const struct rate rate = {.amount = 1, .period_ms = 3000, .burst = 1};
	state += (uint64_t)_i * 0x9e3779b97f4a7c15;
	memset(known, 0, sizeof(known));
	struct sources *s = sources_create(MOST);
	uint64_t now_ms = 2000 + any() % 100000;
	unsigned shift = (unsigned)_i % 8;
	for (int step = 0; step < 20000; step++) {
		now_ms += any() % 3 == 0 ? any() % (50U << shift) : 0;
		unsigned i = (unsigned)(any() % KEYS);
		struct known *k = &known[i];
		switch (any() % 8) {
		case 0:
		case 1:
			model_get(s, i, now_ms);
			break;
		case 2:
			if (k->is_there) {
				source_opened(s, k->at);
				k->open++;
			}
			break;
		case 3:
		case 4:
			if (k->is_there && k->open > 0) {
				source_closed(k->at);
				k->open--;
			}
			break;
		case 5:
			if (k->is_there)
				model_offend(s, i, &quick, now_ms);
			break;
		case 6:
			if (k->is_there && rate_take(source_arrivals(k->at), &rate, 1, now_ms * NS) == 0 &&
			    k->holds_until_ms < now_ms + 3000)
				k->holds_until_ms = now_ms + 3000;
			break;
		default:
			sources_expire(s, now_ms, model_end, &now_ms);
			for (unsigned b = 0; b < KEYS; b++)
				HOLDS(!known[b].is_there || known[b].until_ms == 0 || known[b].until_ms > now_ms);
			break;
		}
		check(s);
	}
	sources_destroy(s);
}
END_TEST

/* ---- an attack ---- */

START_TEST(a_flood_of_addresses_frees_nobody)
{
	const struct rate rate = {.amount = 10, .period_ms = 1000, .burst = 10};
	struct sources *s = sources_create(10000);
	uint64_t now_ms = 1000;
	struct source *open = get(s, 1, now_ms);
	source_opened(s, open);
	for (uint32_t i = 100; i < 200; i++)
		HOLDS(source_offend(s, get(s, i, now_ms), &rule, 20, now_ms) == 600000);
	size_t most_bytes = 0;
	unsigned most_looked = 0;
	for (unsigned i = 0; i < 1000000; i++) {
		struct sockaddr_in6 from = {.sin6_family = AF_INET6};
		uint64_t high = any();
		memcpy(&from.sin6_addr, &high, sizeof(high));
		struct source_key key;
		HOLDS(source_key_of(&key, (struct sockaddr *)&from, &prefixes, 0));
		struct source *e = sources_get(s, &key, now_ms);
		most_looked = s->looked > most_looked ? s->looked : most_looked;
		/* each kind of attack: nothing left behind, a bucket, an offence, connections */
		if (_i == 1)
			rate_take(source_arrivals(e), &rate, 1, now_ms * NS);
		if (_i == 2)
			source_offend(s, e, &rule, 1, now_ms);
		if (_i == 3) {
			source_opened(s, e);
			if (i % 16 != 0)
				source_closed(e);
		}
		if (_i == 4)
			source_offend(s, e, &rule, 20, now_ms);
		now_ms += i % 10 == 0;
		most_bytes = sources_bytes(s) > most_bytes ? sources_bytes(s) : most_bytes;
	}
	HOLDS(most_looked <= SOURCES_LOOKED_AT_MOST);
	HOLDS(most_bytes <= 10 * SOURCES_CHUNK * 97 + 1000);
	HOLDS(sources_count(s) == 10000);
	HOLDS(now_ms == 101000);
	for (uint32_t i = 100; i < 200; i++)
		HOLDS(source_banned_ms(find(s, i), now_ms) == 500000);
	HOLDS(find(s, 1) == open);
	HOLDS(source_open(open) == 1);
	check(s);
	/* and a newcomer has an entry of its own, but where all of them are open */
	HOLDS(source_is_shared(get(s, 5000, now_ms)) == (_i == 3));
	sources_destroy(s);
}
END_TEST

/* ---- memory ---- */

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MEASURED_MOST SIZE_MAX /* what a sanitizer notes about it is far more */
#else
#define MEASURED_MOST 97 /* with the allocator's own for each chunk */
#endif

static size_t resident_bytes(void)
{
	unsigned long pages = 0;
	FILE *statm = fopen("/proc/self/statm", "r");
	HOLDS(statm && fscanf(statm, "%*u %lu", &pages) == 1);
	fclose(statm);
	return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* The default, filled by addresses from everywhere. */
START_TEST(a_million_take_96_bytes_each)
{
	HOLDS(sizeof(struct source_chunk) <= SOURCES_CHUNK * 96);
	size_t before = resident_bytes();
	unsigned most = 1000000;
	struct sources *s = sources_create(most);
	for (unsigned i = 0; sources_count(s) < most; i++) {
		struct sockaddr_in6 from = {.sin6_family = AF_INET6};
		uint64_t high = any();
		memcpy(&from.sin6_addr, &high, sizeof(high));
		struct source_key key;
		HOLDS(i < 2 * most && source_key_of(&key, (struct sockaddr *)&from, &prefixes, 0));
		sources_get(s, &key, 1000);
	}
	/* all is filled but a part of the last chunk */
	HOLDS(sources_bytes(s) <= ((size_t)most + SOURCES_CHUNK) * 96 + most / SOURCES_CHUNK * sizeof(void *) + 4096);
	size_t taken = resident_bytes() - before;
	printf("%.2f bytes each of %u sources\n", (double)taken / most, most);
	ck_assert_msg(taken / most < MEASURED_MOST, "%zu bytes each", taken / most);
	HOLDS(taken / most >= 90);
	sources_destroy(s);
}
END_TEST

/* ---- threads ---- */

#define HANDED 50000

static struct source *_Atomic handed[HANDED];
static const struct rate byte_rate = {.amount = 1000000, .period_ms = 1000, .burst = 1000};

static void *close_all(void *arg UNUSED)
{
	for (int i = 0; i < HANDED; i++) {
		struct source *e;
		while (!(e = atomic_load_explicit(&handed[i], memory_order_acquire)))
			sched_yield();
		rate_charge(&source_share(e)->bytes_in, &byte_rate, 10, (uint64_t)i);
		source_closed(e);
	}
	return NULL;
}

START_TEST(workers_close_while_main_forgets)
{
	struct sources *s = sources_create(64);
	pthread_t worker;
	HOLDS(pthread_create(&worker, NULL, close_all, NULL) == 0);
	for (int i = 0; i < HANDED; i++) {
		struct source *e = get(s, (uint32_t)(any() % 1000), (uint64_t)i);
		source_opened(s, e);
		atomic_store_explicit(&handed[i], e, memory_order_release);
		struct source *other = get(s, (uint32_t)(any() % 100000), (uint64_t)i);
		source_offend(s, other, &rule, 1, (uint64_t)i);
	}
	pthread_join(worker, NULL);
	for (uint32_t i = 0; i < s->made; i++)
		HOLDS(source_open(source_at(s, i)) == 0);
	HOLDS(source_open(&s->shared) == 0);
	check(s);
	sources_destroy(s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("sources");
	TCase *c = tcase_create("sources");
	tcase_set_timeout(c, 120);
	tcase_add_test(c, addresses_become_keys);
	tcase_add_test(c, users_have_keys_too);
	tcase_add_test(c, other_texts_are_no_keys);
	tcase_add_test(c, an_entry_is_found_again);
	tcase_add_test(c, scope_and_prefix_tell_sources_apart);
	tcase_add_test(c, the_one_seen_longest_ago_is_forgotten);
	tcase_add_test(c, those_that_hold_something_are_forgotten_later);
	tcase_add_test(c, when_all_remember_the_oldest_goes);
	tcase_add_test(c, one_that_holds_nothing_is_found_among_many);
	tcase_add_test(c, without_room_one_entry_is_shared);
	tcase_add_test(c, what_was_returned_last_stays);
	tcase_add_test(c, offences_begin_a_ban);
	tcase_add_test(c, offences_that_are_spread_do_not);
	tcase_add_test(c, no_ban_is_longer_than_the_rule_says);
	tcase_add_test(c, a_clock_that_goes_back_does_no_harm);
	tcase_add_test(c, bans_end_in_their_order_and_once);
	tcase_add_test(c, a_ban_can_be_ended_and_changed);
	tcase_add_test(c, bans_are_put_back);
	tcase_add_test(c, bans_leave_room_for_others);
	tcase_add_loop_test(c, is_like_the_model, 0, 16);
	tcase_add_loop_test(c, a_flood_of_addresses_frees_nobody, 0, 5);
	tcase_add_test(c, a_million_take_96_bytes_each);
	tcase_add_test(c, workers_close_while_main_forgets);
	suite_add_tcase(suite, c);
	return suite_run(suite);
}

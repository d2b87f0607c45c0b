/* SPDX-License-Identifier: MIT */
#include "front/refusals.h"

#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../suite.h"
#include "base/attr.h"
#include "base/text.h"

#define MINUTE REFUSALS_PERIOD_MS

static struct refusals *table;
static uint64_t now_ms = 1000000;

static uint64_t state = 88172645463325252;

static unsigned any(unsigned below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (unsigned)((state * 2685821657736338717U >> 11) % below);
}

static struct who who_of(uint16_t listener, uint32_t number)
{
	struct source_key key = {.bits = 32, .scope = listener};
	number = htonl(number);
	memcpy(key.address, &number, 4);
	return who_source(&key);
}

/* ---- what was told ---- */

struct told {
	char listener[80];
	struct who who;
	struct refusal_sum sum; /* its pointers are not looked at */
};

static struct told told[8192];
static unsigned told_count;

static void keep(void *arg, const struct refusal_sum *sum)
{
	ck_assert_ptr_eq(arg, told);
	ck_assert_uint_lt(told_count, ARRAY_LEN(told));
	struct told *t = &told[told_count++];
	snprintf(t->listener, sizeof(t->listener), "%s", sum->listener);
	t->who = *sum->who;
	t->sum = *sum;

	uint64_t all = sum->rest;
	ck_assert_uint_gt(sum->count, 0);
	ck_assert_uint_gt(sum->reason_count, 0);
	for (unsigned i = 0; i < sum->reason_count; i++) {
		all += sum->reasons[i].count;
		ck_assert_uint_gt(sum->reasons[i].count, 0);
		ck_assert(i == 0 || sum->reasons[i - 1].count >= sum->reasons[i].count);
	}
	ck_assert_uint_eq(all, sum->count);
}

static void note(struct who who, enum close_reason reason)
{
	char name[16];
	snprintf(name, sizeof(name), "l%u", who_listener(&who));
	refusals_note(table, name, &who, reason, now_ms, keep, told);
}

static uint64_t due(void)
{
	return refusals_due(table, now_ms, keep, told);
}

/* Takes the oldest of what was told: "listener who: count in ms: reason count, ..." */
static const char *line(void)
{
	static char bytes[512];
	struct text t;
	text_init(&t, bytes, sizeof(bytes));
	if (told_count == 0)
		return "";
	const struct told *first = &told[0];
	text_printf(&t, "%s ", first->listener);
	who_add_text(&t, &first->who);
	text_printf(&t, ": %u in %u:", (unsigned)first->sum.count, (unsigned)first->sum.ms);
	for (unsigned i = 0; i < first->sum.reason_count; i++)
		text_printf(&t, " %s %u", close_reason_facts[first->sum.reasons[i].reason].name,
			    (unsigned)first->sum.reasons[i].count);
	if (first->sum.rest > 0)
		text_printf(&t, " rest %u", (unsigned)first->sum.rest);
	memmove(told, told + 1, --told_count * sizeof(told[0]));
	return bytes;
}

static void set_up(void)
{
	table = refusals_create(REFUSALS_MOST);
	ck_assert_ptr_nonnull(table);
}

static void tear_down(void)
{
	table = refusals_destroy(table);
	ck_assert_ptr_null(table);
}

/* ---- the rules ---- */

START_TEST(the_first_is_told_at_once_then_a_minute)
{
	struct who who = who_of(1, 0x0a000007);
	ck_assert_uint_eq(due(), UINT64_MAX);
	note(who, CLOSE_idle);
	ck_assert_str_eq(line(), "l1 10.0.0.7: 1 in 0: idle 1");
	ck_assert_uint_eq(due(), MINUTE);
	for (int i = 0; i < 5312; i++) {
		now_ms += i % 8 == 0 ? 1 : 0;
		note(who, CLOSE_limit_connections);
	}
	ck_assert_uint_eq(due(), MINUTE - 664);
	now_ms += MINUTE - 664 - 1;
	ck_assert_uint_eq(due(), 1);
	ck_assert_str_eq(line(), "");
	now_ms++;
	ck_assert_uint_eq(due(), MINUTE);
	ck_assert_str_eq(line(), "l1 10.0.0.7: 5312 in 60000: limit_connections 5312");

	/* the next minute has nothing: it goes, silently, and the next is a first one */
	now_ms += MINUTE;
	ck_assert_uint_eq(due(), UINT64_MAX);
	ck_assert_uint_eq(refusals_count(table), 0);
	ck_assert_str_eq(line(), "");
	note(who, CLOSE_drain);
	ck_assert_str_eq(line(), "l1 10.0.0.7: 1 in 0: drain 1");
}
END_TEST

START_TEST(a_late_call_says_how_late)
{
	note(who_of(1, 1), CLOSE_idle);
	note(who_of(1, 1), CLOSE_idle);
	now_ms += MINUTE + 1;
	note(who_of(1, 1), CLOSE_idle); /* over, but not told yet: it counts in with the others */
	now_ms += 5000;
	line();
	ck_assert_str_eq(line(), "");
	ck_assert_uint_eq(due(), MINUTE);
	ck_assert_str_eq(line(), "l1 0.0.0.1: 2 in 65001: idle 2");
}
END_TEST

START_TEST(sources_listeners_and_users_are_told_apart)
{
	for (int i = 0; i < 2; i++) {
		note(who_of(1, 1), CLOSE_idle);
		note(who_of(2, 1), CLOSE_idle);
		note(who_of(1, 2), CLOSE_idle);
		note(who_user(1, 1000), CLOSE_idle);
		note(who_user(1, 0), CLOSE_idle);
		note(who_unknown(1), CLOSE_idle);
	}
	now_ms += MINUTE;
	due();
	static const char *const wanted[] = {"l1 0.0.0.1",	 "l2 0.0.0.1",	  "l1 0.0.0.2",
					     "l1 unix uid 1000", "l1 unix uid 0", "l1 unix"};
	for (unsigned i = 0; i < 2 * ARRAY_LEN(wanted); i++) {
		char whole[64];
		unsigned ms = i < ARRAY_LEN(wanted) ? 0 : MINUTE;
		snprintf(whole, sizeof(whole), "%s: 1 in %u: idle 1", wanted[i % ARRAY_LEN(wanted)], ms);
		ck_assert_str_eq(line(), whole);
	}
	ck_assert_str_eq(line(), "");
}
END_TEST

START_TEST(the_most_frequent_reason_comes_first)
{
	note(who_of(1, 1), CLOSE_idle);
	line();
	static const enum close_reason reasons[] = {CLOSE_drain,  CLOSE_idle,  CLOSE_idle,   CLOSE_internal,
						    CLOSE_linger, CLOSE_drain, CLOSE_linger, CLOSE_linger};
	for (unsigned i = 0; i < ARRAY_LEN(reasons); i++)
		note(who_of(1, 1), reasons[i]);
	now_ms += MINUTE;
	due();
	ck_assert_str_eq(line(), "l1 0.0.0.1: 8 in 60000: linger 3 drain 2 idle 2 internal 1");
	note(who_of(1, 1), CLOSE_no_memory);
	now_ms += MINUTE;
	due();
	ck_assert_str_eq(line(), "l1 0.0.0.1: 1 in 60000: no_memory 1");
}
END_TEST

START_TEST(more_kinds_than_there_is_room_for_are_counted)
{
	note(who_of(1, 1), CLOSE_idle);
	line();
	for (unsigned reason = 0; reason < REFUSALS_REASONS + 2; reason++)
		note(who_of(1, 1), (enum close_reason)reason);
	note(who_of(1, 1), (enum close_reason)2);
	now_ms += MINUTE;
	due();
	ck_assert_uint_eq(told_count, 1);
	ck_assert_uint_eq(told[0].sum.count, REFUSALS_REASONS + 3);
	ck_assert_uint_eq(told[0].sum.reason_count, REFUSALS_REASONS);
	ck_assert_uint_eq(told[0].sum.reasons[0].reason, 2);
	ck_assert_uint_eq(told[0].sum.rest, 2);
}
END_TEST

START_TEST(without_room_there_is_one_sum_for_the_others)
{
	for (unsigned i = 0; i < REFUSALS_MOST; i++)
		note(who_of(1, i), CLOSE_idle);
	ck_assert_uint_eq(told_count, REFUSALS_MOST);
	told_count = 0;
	for (unsigned i = 0; i < 10; i++)
		note(who_of(2, i), CLOSE_idle);
	note(who_of(1, 17), CLOSE_idle); /* has an entry of its own */
	note(who_of(1, REFUSALS_MOST), CLOSE_drain);
	ck_assert_str_eq(line(), "l2 other sources: 1 in 0: idle 1");
	ck_assert_str_eq(line(), "l1 other sources: 1 in 0: drain 1");
	ck_assert_str_eq(line(), "");
	ck_assert_uint_eq(refusals_count(table), REFUSALS_MOST + 2);

	/* at more listeners than have an entry for their others */
	for (uint16_t listener = 3; listener < REFUSALS_OTHERS + 5; listener++)
		note(who_of(listener, 1), CLOSE_idle);
	ck_assert_uint_eq(refusals_count(table), REFUSALS_MOST + REFUSALS_OTHERS + 1);
	ck_assert_uint_eq(told_count, REFUSALS_OTHERS - 2 + 1);
	ck_assert_str_eq(told[told_count - 1].listener, "");
	told_count = 0;

	now_ms += MINUTE;
	for (unsigned calls = 0; due() == 0; calls++)
		ck_assert_uint_lt(calls, (REFUSALS_MOST + REFUSALS_OTHERS + 1) / REFUSALS_AT_ONCE);
	ck_assert_str_eq(line(), "l1 0.0.0.17: 1 in 60000: idle 1");
	ck_assert_str_eq(line(), "l2 other sources: 9 in 60000: idle 9");
	ck_assert_str_eq(line(), " other sources: 3 in 60000: idle 3");
	ck_assert_str_eq(line(), "");
	ck_assert_uint_eq(refusals_count(table), 3);

	/* there is room again */
	note(who_of(2, 5), CLOSE_idle);
	ck_assert_str_eq(line(), "l2 0.0.0.5: 1 in 0: idle 1");
}
END_TEST

START_TEST(a_call_does_its_share)
{
	for (unsigned i = 0; i < 3 * REFUSALS_AT_ONCE; i++) {
		note(who_of(1, i), CLOSE_idle);
		note(who_of(1, i), CLOSE_idle);
	}
	now_ms += MINUTE;
	for (unsigned i = 0; i < 3; i++) {
		told_count = 0;
		ck_assert_uint_eq(due(), i < 2 ? 0 : MINUTE);
		ck_assert_uint_eq(told_count, REFUSALS_AT_ONCE);
	}
}
END_TEST

START_TEST(a_flush_tells_what_is_left)
{
	note(who_of(1, 1), CLOSE_idle);
	note(who_of(1, 2), CLOSE_idle);
	note(who_of(1, 2), CLOSE_drain);
	told_count = 0;
	now_ms += 1500;
	refusals_flush(table, now_ms, keep, told);
	ck_assert_str_eq(line(), "l1 0.0.0.2: 1 in 1500: drain 1");
	ck_assert_str_eq(line(), "");
	ck_assert_uint_eq(refusals_count(table), 0);
	ck_assert_uint_eq(due(), UINT64_MAX);
}
END_TEST

START_TEST(a_name_that_is_too_long_is_cut)
{
	char name[200];
	struct who who = who_of(1, 1);
	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	refusals_note(table, name, &who, CLOSE_idle, now_ms, keep, told);
	ck_assert_uint_eq(strlen(told[0].listener), 63);
}
END_TEST

START_TEST(nobody_is_nothing_to_destroy)
{
	ck_assert_ptr_null(refusals_destroy(NULL));
}
END_TEST

/* ---- the same, as simply as can be ---- */

#define MODEL_SOURCES 5
#define REASONS 12

struct simple {
	struct who who;
	uint64_t since_ms;
	uint64_t count;
	uint64_t reasons[REASONS];
};

/* In the order in which their minute began. */
static struct simple simple[MODEL_SOURCES + REFUSALS_OTHERS + 1];
static unsigned simple_count;

static struct simple *simple_find(const struct who *who)
{
	for (unsigned i = 0; i < simple_count; i++)
		if (who_same(&simple[i].who, who))
			return &simple[i];
	return NULL;
}

static unsigned simple_others(void)
{
	unsigned n = 0;
	for (unsigned i = 0; i < simple_count; i++)
		n += simple[i].who.kind == WHO_OTHERS ? 1 : 0;
	return n;
}

static void simple_remove(unsigned i)
{
	memmove(&simple[i], &simple[i + 1], (--simple_count - i) * sizeof(simple[0]));
}

/* What the table just told, if it told just that. */
static void expect(unsigned at, const struct simple *s, uint64_t ms)
{
	ck_assert_uint_lt(at, told_count);
	const struct refusal_sum *sum = &told[at].sum;
	ck_assert(who_same(&told[at].who, &s->who));
	ck_assert_uint_eq(sum->count, s->count);
	ck_assert_uint_eq(sum->ms, ms);
	unsigned kinds = 0;
	for (unsigned i = 0; i < REASONS; i++)
		kinds += s->reasons[i] > 0 ? 1 : 0;
	ck_assert_uint_eq(sum->reason_count, kinds < REFUSALS_REASONS ? kinds : REFUSALS_REASONS);
	for (unsigned i = 0; i < sum->reason_count; i++)
		ck_assert_uint_eq(sum->reasons[i].count, s->reasons[sum->reasons[i].reason]);
}

static void simple_note(struct who who, unsigned reason)
{
	struct simple *s = simple_find(&who);
	unsigned others = simple_others();
	if (!s && simple_count - others >= MODEL_SOURCES) {
		uint16_t listener = who_listener(&who);
		who = who_others(listener);
		s = simple_find(&who);
		if (!s && others >= REFUSALS_OTHERS) {
			who = who_others(0);
			s = simple_find(&who);
		}
	}
	if (s) {
		s->count++;
		s->reasons[reason]++;
		ck_assert_uint_eq(told_count, 0);
		return;
	}
	s = &simple[simple_count++];
	*s = (struct simple){.who = who, .since_ms = now_ms, .count = 1};
	s->reasons[reason] = 1;
	ck_assert_uint_eq(told_count, 1);
	expect(0, s, 0);
	s->count = 0;
	memset(s->reasons, 0, sizeof(s->reasons));
}

static uint64_t simple_due(void)
{
	unsigned at = 0;
	for (unsigned looked = 0; simple_count > 0 && simple[0].since_ms + MINUTE <= now_ms; looked++) {
		if (looked == REFUSALS_AT_ONCE)
			break;
		struct simple s = simple[0];
		simple_remove(0);
		if (s.count == 0)
			continue;
		expect(at++, &s, now_ms - s.since_ms);
		simple[simple_count++] = (struct simple){.who = s.who, .since_ms = now_ms};
	}
	ck_assert_uint_eq(told_count, at);
	if (simple_count == 0)
		return UINT64_MAX;
	return simple[0].since_ms + MINUTE > now_ms ? simple[0].since_ms + MINUTE - now_ms : 0;
}

START_TEST(does_as_the_simple_one_does)
{
	uint64_t noted = 0;
	uint64_t sums = 0;
	uint64_t most_others = 0;
	refusals_destroy(table);
	table = refusals_create(MODEL_SOURCES);
	for (unsigned i = 0; i < 200000; i++) {
		told_count = 0;
		/* phases of few and of many sources and listeners, and of haste and of rest */
		unsigned many = i / 1000 % 4;
		if (any(many == 3 ? 500 : 20) == 0)
			now_ms += any(any(3) == 0 ? 2 * MINUTE : 500);
		if (any(many == 3 ? 200 : 10) == 0) {
			uint64_t next = due();
			ck_assert_uint_eq(next, simple_due());
		} else {
			uint16_t listener = (uint16_t)(1 + any(many == 3 ? 90 : 2));
			struct who who = any(5) > 0   ? who_of(listener, any(2 + 3 * many))
					 : any(2) > 0 ? who_user(listener, any(3))
						      : who_unknown(listener);
			unsigned reason = any(any(50) == 0 ? REASONS : 3);
			note(who, (enum close_reason)reason);
			noted++;
			simple_note(who, reason);
		}
		ck_assert_uint_eq(refusals_count(table), simple_count);
		if (simple_others() > most_others)
			most_others = simple_others();
		for (unsigned k = 0; k < told_count; k++)
			sums += told[k].sum.count;
	}
	told_count = 0;
	refusals_flush(table, now_ms, keep, told);
	for (unsigned k = 0; k < told_count; k++)
		sums += told[k].sum.count;
	ck_assert_uint_eq(sums, noted);
	ck_assert_uint_eq(most_others, REFUSALS_OTHERS + 1); /* the test reached it */
}
END_TEST

/* Nobody is told of twice within a minute, but the first time and what followed it. */
START_TEST(tells_of_nobody_more_often_than_once_a_minute)
{
	static uint64_t last_ms[50];
	uint64_t call_ms = UINT64_MAX;
	for (unsigned i = 0; i < 100000; i++) {
		told_count = 0;
		now_ms += any(40);
		if (now_ms >= call_ms) {
			due();
			call_ms = UINT64_MAX;
		}
		unsigned number = any(50) * any(50) / 50;
		note(who_of(1, number), CLOSE_idle);
		for (unsigned k = 0; k < told_count; k++) {
			uint32_t source;
			memcpy(&source, told[k].who.source.address, 4);
			uint64_t *last = &last_ms[ntohl(source)];
			ck_assert(*last == 0 || now_ms - *last >= MINUTE);
			*last = now_ms;
		}
		if (call_ms == UINT64_MAX) {
			told_count = 0;
			call_ms = now_ms + due();
			ck_assert_uint_eq(told_count, 0);
		}
	}
	ck_assert_uint_gt(last_ms[0], 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("refusals");
	TCase *c = tcase_create("refusals");
	tcase_add_checked_fixture(c, set_up, tear_down);
	tcase_add_test(c, the_first_is_told_at_once_then_a_minute);
	tcase_add_test(c, a_late_call_says_how_late);
	tcase_add_test(c, sources_listeners_and_users_are_told_apart);
	tcase_add_test(c, the_most_frequent_reason_comes_first);
	tcase_add_test(c, more_kinds_than_there_is_room_for_are_counted);
	tcase_add_test(c, without_room_there_is_one_sum_for_the_others);
	tcase_add_test(c, a_call_does_its_share);
	tcase_add_test(c, a_flush_tells_what_is_left);
	tcase_add_test(c, a_name_that_is_too_long_is_cut);
	tcase_add_test(c, nobody_is_nothing_to_destroy);
	tcase_add_test(c, does_as_the_simple_one_does);
	tcase_add_test(c, tells_of_nobody_more_often_than_once_a_minute);
	tcase_set_timeout(c, 120);
	suite_add_tcase(s, c);
	return suite_run(s);
}

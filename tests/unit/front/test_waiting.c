/* SPDX-License-Identifier: MIT */
#include "front/waiting.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../suite.h"
#include "base/attr.h"

/* Numbers from here on stand for descriptors: none is open. */
#define FIRST 1000000

static struct waiting *room;
static uint64_t now_ms = 1000000;
static int next_fd = FIRST;

static uint64_t state = 88172645463325252;

static unsigned any(unsigned below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (unsigned)((state * 2685821657736338717U >> 11) % below);
}

static struct who who_of(unsigned listener, unsigned number)
{
	struct source_key key = {.bits = 32, .scope = (uint16_t)listener};
	memcpy(key.address, &number, 4);
	return who_source(&key);
}

static unsigned number_of(const struct waiting_client *c)
{
	unsigned number;
	memcpy(&number, c->who.source.address, 4);
	return number;
}

static void create(unsigned in_all, unsigned per_listener, unsigned per_source)
{
	struct waiting_limits limits = {.in_all = in_all,
					.per_listener = per_listener,
					.per_source = per_source,
					.ms = WAITING_MS};
	room = waiting_create(&limits);
	ck_assert_ptr_nonnull(room);
}

static void set_up(void)
{
	create(WAITING_IN_ALL, WAITING_PER_LISTENER, WAITING_PER_SOURCE);
}

static void tear_down(void)
{
	room = waiting_destroy(room);
	ck_assert_ptr_null(room);
}

static struct waiter *waiter_of(int fd)
{
	static char one_each[1 << 20];
	return (struct waiter *)(void *)&one_each[fd - FIRST];
}

static int add_at(struct who who, struct waiting_place **place, struct waiting_client *leaves)
{
	int fd = next_fd++;
	struct waiting_client c = {.who = who, .fd = fd, .waiter = waiter_of(fd)};
	int r = waiting_add(room, &c, now_ms, place, leaves);
	ck_assert_int_eq(c.fd, r == 0 ? -1 : fd);
	return r;
}

/* Returns its number. */
static int add(unsigned listener, unsigned number)
{
	struct waiting_client leaves;
	ck_assert_int_eq(add_at(who_of(listener, number), NULL, &leaves), 0);
	ck_assert_int_eq(leaves.fd, -1);
	return next_fd - 1;
}

static enum waiting_answer all_come(void *arg UNUSED, const struct waiting_client *c UNUSED)
{
	return WAITING_COMES;
}

/* Who comes next, by `ask`; 0: nobody, in this pass. */
static int next(waiting_ask *ask, void *arg)
{
	struct waiting_client c;
	switch (waiting_next(room, ask, arg, &c)) {
	case WAITING_GIVEN:
		ck_assert_ptr_eq(c.waiter, waiter_of(c.fd));
		return c.fd;
	case WAITING_MORE:
		ck_abort_msg("there are more");
	case WAITING_NOBODY:
		break;
	}
	return 0;
}

/* The same in a pass of its own with one place. */
static enum waiting_answer one_comes(void *arg, const struct waiting_client *c UNUSED)
{
	return (*(unsigned *)arg)-- > 0 ? WAITING_COMES : WAITING_FULL;
}

static int next_of_one(void)
{
	unsigned places = 1;
	waiting_begin(room);
	int fd = next(one_comes, &places);
	if (fd != 0)
		ck_assert_int_eq(next(one_comes, &places), 0);
	return fd;
}

/* ---- the order ---- */

START_TEST(nobody_waits_at_first)
{
	struct waiting_client c;
	ck_assert_int_eq(next(all_come, NULL), 0);
	waiting_begin(room);
	ck_assert_int_eq(next(all_come, NULL), 0);
	ck_assert_uint_eq(waiting_expires_at_ms(room), UINT64_MAX);
	ck_assert(!waiting_expire(room, UINT64_MAX, &c));
	ck_assert(!waiting_take(room, 0, &c));
	ck_assert(!waiting_take(room, 1, &c));
	ck_assert_uint_eq(waiting_count(room), 0);
	ck_assert_ptr_null(waiting_destroy(NULL));
}
END_TEST

START_TEST(a_pass_has_to_be_begun)
{
	int fd = add(1, 1);
	ck_assert_int_eq(next(all_come, NULL), 0);
	waiting_begin(room);
	ck_assert_int_eq(next(all_come, NULL), fd);
}
END_TEST

START_TEST(many_of_one_do_not_delay_anothers_first)
{
	int first = add(1, 1);
	for (unsigned i = 1; i < WAITING_PER_SOURCE; i++)
		add(1, 1);
	int other = add(1, 2);
	int third = add(1, 3);
	waiting_begin(room);
	ck_assert_int_eq(next(all_come, NULL), first);
	ck_assert_int_eq(next(all_come, NULL), other);
	ck_assert_int_eq(next(all_come, NULL), third);
	for (unsigned i = 1; i < WAITING_PER_SOURCE; i++)
		ck_assert_int_eq(next(all_come, NULL), first + (int)i);
	ck_assert_int_eq(next(all_come, NULL), 0);
	ck_assert_uint_eq(waiting_count(room), 0);
}
END_TEST

START_TEST(listeners_take_turns)
{
	int a = add(1, 1);
	add(1, 2);
	int b = add(2, 1);
	int c = add(2, 2);
	ck_assert_int_eq(next_of_one(), a);
	ck_assert_int_eq(next_of_one(), b);
	ck_assert_int_eq(next_of_one(), a + 1);
	ck_assert_int_eq(next_of_one(), c);
	ck_assert_int_eq(next_of_one(), 0);
}
END_TEST

/* Places that come one by one are shared, whatever others have against them. */
START_TEST(single_places_go_round)
{
	unsigned served[8] = {0};
	for (unsigned source = 0; source < ARRAY_LEN(served); source++)
		for (unsigned i = 0; i < 20; i++)
			add(1 + source / 4, source);
	for (unsigned i = 0; i < 20 * ARRAY_LEN(served); i++) {
		struct waiting_client c;
		unsigned places = 1;
		waiting_begin(room);
		ck_assert_int_eq(waiting_next(room, one_comes, &places, &c), WAITING_GIVEN);
		ck_assert_int_eq(waiting_next(room, one_comes, &places, &c), WAITING_NOBODY);
		served[number_of(&c)]++;
		for (unsigned k = 0; k < ARRAY_LEN(served); k++)
			ck_assert_uint_le(served[k], i / ARRAY_LEN(served) + 1);
	}
}
END_TEST

struct limits_of_a_test {
	unsigned source; /* this one is full */
	unsigned listener;
	unsigned listener_places;
	unsigned asked;
	int last;
};

static enum waiting_answer ask_limits(void *arg, const struct waiting_client *c)
{
	struct limits_of_a_test *l = arg;
	l->asked++;
	l->last = c->fd;
	if (number_of(c) == l->source)
		return WAITING_SOURCE_FULL;
	if (who_listener(&c->who) == l->listener && l->listener_places-- == 0)
		return WAITING_LISTENER_FULL;
	return WAITING_COMES;
}

/* Its own limit does not keep a source from its turn later, nor others of the listener from theirs now. */
START_TEST(a_full_source_is_passed_by)
{
	struct limits_of_a_test l = {.source = 1};
	int full = add(1, 1);
	add(1, 1);
	int other = add(1, 2);
	add(1, 2);
	waiting_begin(room);
	ck_assert_int_eq(next(ask_limits, &l), other);
	ck_assert_int_eq(next(ask_limits, &l), other + 1);
	ck_assert_int_eq(next(ask_limits, &l), 0);
	ck_assert_uint_eq(l.asked, 3); /* about the full one once */
	ck_assert_int_eq(next(ask_limits, &l), 0);
	ck_assert_uint_eq(l.asked, 3); /* the pass is over */
	l.source = 0;
	waiting_begin(room);
	ck_assert_int_eq(next(ask_limits, &l), full); /* it has kept its place */
	ck_assert_int_eq(next(ask_limits, &l), full + 1);
}
END_TEST

START_TEST(a_full_listener_is_passed_by)
{
	struct limits_of_a_test l = {.listener = 1, .listener_places = 1};
	int a = add(1, 1);
	int b = add(1, 2);
	int c = add(2, 1);
	waiting_begin(room);
	ck_assert_int_eq(next(ask_limits, &l), a);
	ck_assert_int_eq(next(ask_limits, &l), c);
	ck_assert_int_eq(next(ask_limits, &l), 0);
	ck_assert_int_eq(l.last, b);
	ck_assert_uint_eq(l.asked, 3);
	add(1, 3);
	l.listener_places = 1;
	waiting_begin(room);
	ck_assert_int_eq(next(ask_limits, &l), b); /* it has kept its turn */
}
END_TEST

START_TEST(new_ones_are_asked_about_in_the_same_pass)
{
	int a = add(1, 1);
	waiting_begin(room);
	int b = add(1, 2);
	int c = add(2, 2);
	ck_assert_int_eq(next(all_come, NULL), a);
	ck_assert_int_eq(next(all_come, NULL), c);
	ck_assert_int_eq(next(all_come, NULL), b);
	ck_assert_int_eq(next(all_come, NULL), 0);
}
END_TEST

static enum waiting_answer full_but_one(void *arg, const struct waiting_client *c)
{
	++*(unsigned *)arg;
	return number_of(c) == 777 ? WAITING_COMES : WAITING_SOURCE_FULL;
}

/* A call asks about a bounded number; all together ask about each source once. */
START_TEST(a_call_does_its_share)
{
	struct waiting_client c;
	unsigned given = 0;
	unsigned calls = 0;
	unsigned asked = 0;
	for (unsigned i = 0; i < WAITING_PER_LISTENER - 1; i++)
		add(1, i);
	add(1, 777);
	waiting_begin(room);
	for (;;) {
		unsigned before = asked;
		enum waiting_result r = waiting_next(room, full_but_one, &asked, &c);
		ck_assert_uint_le(asked - before, WAITING_ASK_AT_ONCE);
		ck_assert_uint_lt(++calls, 40);
		given += r == WAITING_GIVEN ? 1 : 0;
		if (r == WAITING_NOBODY)
			break;
	}
	ck_assert_uint_eq(given, 2);
	ck_assert_uint_eq(asked, WAITING_PER_LISTENER);
	ck_assert_uint_eq(waiting_count(room), WAITING_PER_LISTENER - 2);
}
END_TEST

/* ---- the bounds ---- */

START_TEST(one_source_has_a_share)
{
	struct waiting_client leaves;
	for (unsigned i = 0; i < WAITING_PER_SOURCE; i++)
		add(1, 1);
	ck_assert_int_eq(add_at(who_of(1, 1), NULL, &leaves), -EDQUOT);
	ck_assert_int_eq(leaves.fd, -1);
	add(2, 1);
	add(1, 2);
	ck_assert_uint_eq(waiting_count(room), WAITING_PER_SOURCE + 2);
	ck_assert_uint_eq(waiting_count_at(room, 1), WAITING_PER_SOURCE + 1);
	struct who who = who_of(1, 1);
	ck_assert_uint_eq(waiting_count_of(room, &who), WAITING_PER_SOURCE);
	who = who_of(2, 2);
	ck_assert_uint_eq(waiting_count_of(room, &who), 0);
	ck_assert_uint_eq(waiting_count_at(room, 3), 0);
}
END_TEST

START_TEST(who_has_the_most_leaves_a_full_room)
{
	struct waiting_client leaves;
	tear_down();
	create(100, 6, 4);
	for (unsigned i = 0; i < 4; i++)
		add(1, 1);
	int last = next_fd - 1;
	add(1, 2);
	add(1, 2);
	ck_assert_int_eq(add_at(who_of(1, 3), NULL, &leaves), 0);
	ck_assert_int_eq(leaves.fd, last);
	ck_assert_ptr_eq(leaves.waiter, waiter_of(last));
	ck_assert_uint_eq(waiting_count(room), 6);
	/* 3, 2, 1: another of the last takes the first one's; then nobody has two more than it */
	ck_assert_int_eq(add_at(who_of(1, 3), NULL, &leaves), 0);
	ck_assert_int_eq(leaves.fd, last - 1);
	ck_assert_int_eq(add_at(who_of(1, 3), NULL, &leaves), -ENOBUFS);
	ck_assert_int_eq(leaves.fd, -1);
	ck_assert_int_eq(add_at(who_of(1, 4), NULL, &leaves), 0);
	ck_assert_int_ne(leaves.fd, -1);
	add(2, 1); /* another listener has its own room */
}
END_TEST

START_TEST(the_whole_is_bounded)
{
	struct waiting_client leaves;
	tear_down();
	create(6, 4, 4);
	for (unsigned i = 0; i < 3; i++)
		add(1, 1);
	for (unsigned i = 0; i < 3; i++)
		add(2, i);
	ck_assert_int_eq(add_at(who_of(1, 2), NULL, &leaves), 0);
	ck_assert_int_eq(leaves.fd, FIRST + 2);
	ck_assert_uint_eq(waiting_count(room), 6);
}
END_TEST

START_TEST(who_has_the_most_leaves_for_anothers_at_any_listener)
{
	struct waiting_client leaves;
	tear_down();
	create(7, 6, 4);
	for (unsigned i = 0; i < 4; i++)
		add(1, 1);
	for (unsigned i = 0; i < 3; i++)
		add(2, i);
	/* a listener at which nobody waits, and one at which nobody has two more */
	ck_assert_int_eq(add_at(who_of(3, 1), NULL, &leaves), 0);
	ck_assert_int_eq(leaves.fd, FIRST + 3);
	ck_assert_uint_eq(who_listener(&leaves.who), 1);
	ck_assert_int_eq(add_at(who_of(2, 3), NULL, &leaves), 0);
	ck_assert_int_eq(leaves.fd, FIRST + 2);
	ck_assert_int_eq(add_at(who_of(2, 3), NULL, &leaves), -ENOBUFS); /* it has one, and nobody more than two */
	ck_assert_int_eq(add_at(who_of(4, 1), NULL, &leaves), 0);
	ck_assert_int_eq(leaves.fd, FIRST + 1);
	ck_assert_int_eq(add_at(who_of(5, 1), NULL, &leaves), -ENOBUFS);
	ck_assert_uint_eq(waiting_count(room), 7);
	ck_assert_uint_eq(waiting_count_at(room, 1), 1);
}
END_TEST

/* ---- leaving ---- */

START_TEST(nobody_waits_for_ever)
{
	struct waiting_client c;
	int a = add(1, 1);
	ck_assert_uint_eq(waiting_expires_at_ms(room), now_ms + WAITING_MS);
	now_ms += 10;
	int b = add(2, 1);
	uint64_t ends_ms = now_ms - 10 + WAITING_MS;
	ck_assert(!waiting_expire(room, ends_ms - 1, &c));
	ck_assert(waiting_expire(room, ends_ms, &c));
	ck_assert_int_eq(c.fd, a);
	ck_assert_uint_eq(c.came_ms, now_ms - 10);
	ck_assert(!waiting_expire(room, ends_ms, &c));
	ck_assert_uint_eq(waiting_expires_at_ms(room), ends_ms + 10);
	ck_assert(waiting_expire(room, ends_ms + 10, &c));
	ck_assert_int_eq(c.fd, b);
	ck_assert_uint_eq(waiting_count(room), 0);
}
END_TEST

START_TEST(one_is_dropped)
{
	struct waiting_client c;
	struct waiting_place *place;
	int a = add(1, 1);
	ck_assert_int_eq(add_at(who_of(1, 1), &place, &c), 0);
	int b = add(1, 1);
	waiting_drop(room, place, &c);
	ck_assert_int_eq(c.fd, a + 1);
	ck_assert_ptr_eq(c.waiter, waiter_of(a + 1));
	waiting_begin(room);
	ck_assert_int_eq(next(all_come, NULL), a);
	ck_assert_int_eq(next(all_come, NULL), b);
	ck_assert_int_eq(next(all_come, NULL), 0);
}
END_TEST

START_TEST(a_listener_is_emptied)
{
	struct waiting_client c;
	add(1, 1);
	add(1, 2);
	int other = add(2, 1);
	ck_assert(waiting_take(room, 1, &c));
	ck_assert_uint_eq(who_listener(&c.who), 1);
	ck_assert(waiting_take(room, 1, &c));
	ck_assert(!waiting_take(room, 1, &c));
	ck_assert(waiting_take(room, 0, &c));
	ck_assert_int_eq(c.fd, other);
	ck_assert(!waiting_take(room, 0, &c));
}
END_TEST

START_TEST(users_and_strangers_have_turns_too)
{
	struct waiting_client leaves;
	ck_assert_int_eq(add_at(who_user(1, 1000), NULL, &leaves), 0);
	ck_assert_int_eq(add_at(who_user(1, 1000), NULL, &leaves), 0);
	ck_assert_int_eq(add_at(who_user(1, 0), NULL, &leaves), 0);
	ck_assert_int_eq(add_at(who_unknown(1), NULL, &leaves), 0);
	waiting_begin(room);
	ck_assert_int_eq(next(all_come, NULL), FIRST);
	ck_assert_int_eq(next(all_come, NULL), FIRST + 2);
	ck_assert_int_eq(next(all_come, NULL), FIRST + 3);
	ck_assert_int_eq(next(all_come, NULL), FIRST + 1);
}
END_TEST

START_TEST(the_end_closes_descriptors)
{
	struct waiting_client leaves;
	struct waiting_client c = {.who = who_of(1, 1), .fd = open("/dev/null", O_RDONLY | O_CLOEXEC)};
	int fd = c.fd;
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(waiting_add(room, &c, now_ms, NULL, &leaves), 0);
	room = waiting_destroy(room);
	ck_assert_int_eq(fcntl(fd, F_GETFD), -1);
}
END_TEST

/* ---- the same, as simply as can be: arrays, in the order of turns ---- */

#define IN_ALL 24
#define PER_LISTENER 12
#define PER_SOURCE 4
#define LISTENERS 4
#define SOURCES 6

struct simple_line {
	unsigned listener, source;
	bool full;
	unsigned count;
	int fds[PER_SOURCE];
	uint64_t came_ms[PER_SOURCE];
};

static struct simple_line lines[LISTENERS * SOURCES];
static unsigned line_count;
static unsigned rooms[LISTENERS];
static bool room_full[LISTENERS + 1];
static unsigned room_count;
static bool under_way;

/* Who is full now. */
static bool source_full[LISTENERS + 1][SOURCES];
static unsigned places[LISTENERS + 1]; /* [0]: in all */
static unsigned asked_in_pass[LISTENERS + 1][SOURCES];

static enum waiting_answer answer(unsigned listener, unsigned source)
{
	if (places[0] == 0)
		return WAITING_FULL;
	if (places[listener] == 0)
		return WAITING_LISTENER_FULL;
	return source_full[listener][source] ? WAITING_SOURCE_FULL : WAITING_COMES;
}

static enum waiting_answer answer_real(void *arg UNUSED, const struct waiting_client *c)
{
	enum waiting_answer a = answer(who_listener(&c->who), number_of(c));
	if (a == WAITING_SOURCE_FULL)
		ck_assert_uint_eq(asked_in_pass[who_listener(&c->who)][number_of(c)]++, 0);
	return a;
}

static struct simple_line *simple_find(unsigned listener, unsigned source)
{
	for (unsigned i = 0; i < line_count; i++)
		if (lines[i].listener == listener && lines[i].source == source)
			return &lines[i];
	return NULL;
}

static unsigned simple_count(unsigned listener)
{
	unsigned n = 0;
	for (unsigned i = 0; i < line_count; i++)
		n += listener == 0 || lines[i].listener == listener ? lines[i].count : 0;
	return n;
}

static unsigned simple_lines(unsigned listener)
{
	unsigned n = 0;
	for (unsigned i = 0; i < line_count; i++)
		n += lines[i].listener == listener ? 1 : 0;
	return n;
}

/* Moves lines[i] behind all others. */
static void rotate_line(unsigned i)
{
	struct simple_line l = lines[i];
	memmove(&lines[i], &lines[i + 1], (line_count - 1 - i) * sizeof(l));
	lines[line_count - 1] = l;
}

static void rotate_room(unsigned listener)
{
	unsigned i = 0;
	while (rooms[i] != listener)
		i++;
	memmove(&rooms[i], &rooms[i + 1], (room_count - 1 - i) * sizeof(rooms[0]));
	rooms[room_count - 1] = listener;
}

/* Removes one, and what is empty then. */
static void simple_remove(struct simple_line *l, unsigned i)
{
	unsigned listener = l->listener;
	l->count--;
	memmove(&l->fds[i], &l->fds[i + 1], (l->count - i) * sizeof(l->fds[0]));
	memmove(&l->came_ms[i], &l->came_ms[i + 1], (l->count - i) * sizeof(l->came_ms[0]));
	if (l->count > 0)
		return;
	rotate_line((unsigned)(l - lines));
	line_count--;
	if (simple_lines(listener) > 0)
		return;
	rotate_room(listener);
	room_count--;
}

static void simple_add(unsigned listener, unsigned source, int fd)
{
	struct simple_line *l = simple_find(listener, source);
	if (!l) {
		if (simple_lines(listener) == 0) {
			rooms[room_count++] = listener;
			room_full[listener] = false;
		}
		l = &lines[line_count++];
		*l = (struct simple_line){.listener = listener, .source = source};
	}
	l->fds[l->count] = fd;
	l->came_ms[l->count++] = now_ms;
}

static struct simple_line *simple_turn(unsigned listener)
{
	for (unsigned i = 0; i < line_count; i++) {
		if (lines[i].listener != listener)
			continue;
		if (!lines[i].full)
			return &lines[i];
		rotate_line(i);
		return simple_turn(listener);
	}
	return NULL;
}

static bool all_full(unsigned listener)
{
	for (unsigned i = 0; i < line_count; i++)
		if (lines[i].listener == listener && !lines[i].full)
			return false;
	return true;
}

static int simple_next(void)
{
	while (under_way) {
		unsigned full = 0;
		for (unsigned i = 0; i < room_count; i++)
			full += room_full[rooms[i]] ? 1 : 0;
		if (full == room_count)
			break;
		unsigned listener = rooms[0];
		if (room_full[listener] || all_full(listener)) {
			room_full[listener] = true;
			rotate_room(listener);
			continue;
		}
		struct simple_line *l = simple_turn(listener);
		ck_assert_ptr_nonnull(l);
		int fd = l->fds[0];
		switch (answer(listener, l->source)) {
		case WAITING_COMES:
			rotate_line((unsigned)(l - lines));
			rotate_room(listener);
			simple_remove(&lines[line_count - 1], 0);
			return fd;
		case WAITING_SOURCE_FULL:
			l->full = true;
			rotate_line((unsigned)(l - lines));
			break;
		case WAITING_LISTENER_FULL:
			room_full[listener] = true;
			rotate_room(listener);
			break;
		case WAITING_FULL:
			under_way = false;
			break;
		}
	}
	under_way = false;
	return 0;
}

static void begin_both(void)
{
	waiting_begin(room);
	under_way = true;
	memset(room_full, 0, sizeof(room_full));
	memset(asked_in_pass, 0, sizeof(asked_in_pass));
	for (unsigned i = 0; i < line_count; i++)
		lines[i].full = false;
}

static void next_both(void)
{
	int fd = next(answer_real, NULL);
	ck_assert_int_eq(fd, simple_next());
	if (fd != 0)
		places[0]--;
}

static struct waiting_place *place_of[1 << 20];

static void add_both(void)
{
	unsigned listener = 1 + any(any(3) + 1) % LISTENERS;
	unsigned source = any(SOURCES);
	struct simple_line *mine = simple_find(listener, source);
	unsigned count = mine ? mine->count : 0;
	if (!mine)
		asked_in_pass[listener][source] = 0;
	struct simple_line *most = NULL;
	bool tie = false;
	int wanted = count >= PER_SOURCE ? -EDQUOT : 0;
	bool is_room_full = simple_count(listener) >= PER_LISTENER;
	if (wanted == 0 && (simple_count(0) >= IN_ALL || is_room_full)) {
		for (unsigned i = 0; i < line_count; i++) {
			if (is_room_full && lines[i].listener != listener)
				continue;
			tie = most && lines[i].count == most->count ? true : tie && lines[i].count <= most->count;
			if (!most || lines[i].count > most->count)
				most = &lines[i];
		}
		if (!most || most->count < count + 2) {
			most = NULL;
			wanted = -ENOBUFS;
		}
	}
	struct waiting_client leaves;
	struct waiting_place *place = NULL;
	ck_assert_int_eq(add_at(who_of(listener, source), &place, &leaves), wanted);
	ck_assert_int_eq(leaves.fd != -1, most != NULL);
	if (wanted != 0)
		return;
	place_of[next_fd - 1 - FIRST] = place;
	if (most) {
		/* of several that have the most it may be any */
		struct simple_line *l = simple_find(who_listener(&leaves.who), number_of(&leaves));
		ck_assert(l && (l == most || tie));
		ck_assert_uint_eq(l->count, most->count);
		ck_assert_int_eq(leaves.fd, l->fds[l->count - 1]);
		simple_remove(l, l->count - 1);
	}
	simple_add(listener, source, next_fd - 1);
}

static void expire_both(void)
{
	uint64_t first_ms = UINT64_MAX;
	int first = 0;
	struct waiting_client c;
	for (unsigned i = 0; i < line_count; i++)
		if (first == 0 || lines[i].fds[0] < first) {
			first = lines[i].fds[0];
			first_ms = lines[i].came_ms[0] + WAITING_MS;
		}
	ck_assert_uint_eq(waiting_expires_at_ms(room), first_ms);
	ck_assert_int_eq(waiting_expire(room, now_ms, &c), first_ms <= now_ms);
	if (first_ms > now_ms)
		return;
	ck_assert_int_eq(c.fd, first);
	simple_remove(simple_find(who_listener(&c.who), number_of(&c)), 0);
}

static void drop_both(void)
{
	if (line_count == 0)
		return;
	struct simple_line *l = &lines[any(line_count)];
	unsigned i = any(l->count);
	struct waiting_client c;
	waiting_drop(room, place_of[l->fds[i] - FIRST], &c);
	ck_assert_int_eq(c.fd, l->fds[i]);
	ck_assert_uint_eq(number_of(&c), l->source);
	simple_remove(l, i);
}

START_TEST(does_as_the_simple_one_does)
{
	unsigned most = 0;
	tear_down();
	create(IN_ALL, PER_LISTENER, PER_SOURCE);
	for (unsigned i = 0; i < 400000; i++) {
		unsigned what = any(16);
		now_ms += any(1000) == 0 ? any(WAITING_MS) : any(3);
		if (what < 6) {
			add_both();
		} else if (what < 11) {
			next_both();
		} else if (what < 13) {
			begin_both();
		} else if (what == 13) {
			expire_both();
		} else if (what == 14) {
			drop_both();
		} else {
			for (unsigned l = 0; l <= LISTENERS; l++)
				places[l] = l == 0 ? any(4) : any(3);
			for (unsigned s = 0; s < SOURCES; s++)
				source_full[1 + any(LISTENERS)][s] = any(2) == 0;
		}
		ck_assert_uint_eq(waiting_count(room), simple_count(0));
		for (unsigned l = 1; l <= LISTENERS; l++)
			ck_assert_uint_eq(waiting_count_at(room, (uint16_t)l), simple_count(l));
		most = simple_count(0) > most ? simple_count(0) : most;
	}
	ck_assert_uint_eq(most, IN_ALL); /* the test reached it */
}
END_TEST

int main(void)
{
	Suite *s = suite_create("waiting");
	TCase *c = tcase_create("waiting");
	tcase_add_checked_fixture(c, set_up, tear_down);
	tcase_add_test(c, nobody_waits_at_first);
	tcase_add_test(c, a_pass_has_to_be_begun);
	tcase_add_test(c, many_of_one_do_not_delay_anothers_first);
	tcase_add_test(c, listeners_take_turns);
	tcase_add_test(c, single_places_go_round);
	tcase_add_test(c, a_full_source_is_passed_by);
	tcase_add_test(c, a_full_listener_is_passed_by);
	tcase_add_test(c, new_ones_are_asked_about_in_the_same_pass);
	tcase_add_test(c, a_call_does_its_share);
	tcase_add_test(c, one_source_has_a_share);
	tcase_add_test(c, who_has_the_most_leaves_a_full_room);
	tcase_add_test(c, the_whole_is_bounded);
	tcase_add_test(c, who_has_the_most_leaves_for_anothers_at_any_listener);
	tcase_add_test(c, nobody_waits_for_ever);
	tcase_add_test(c, one_is_dropped);
	tcase_add_test(c, a_listener_is_emptied);
	tcase_add_test(c, users_and_strangers_have_turns_too);
	tcase_add_test(c, the_end_closes_descriptors);
	tcase_add_test(c, does_as_the_simple_one_does);
	tcase_set_timeout(c, 120);
	suite_add_tcase(s, c);
	return suite_run(s);
}

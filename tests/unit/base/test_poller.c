/* SPDX-License-Identifier: MIT */
#include "base/poller.h"

#include <check.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../suite.h"

struct side {
	struct watch watch;
	unsigned events;
	unsigned calls;
};

static struct poller poller;
static int pair[2];
static struct side side;

static void note(struct watch *w, unsigned events)
{
	struct side *s = CONTAINER_OF(w, struct side, watch);
	s->events = events;
	s->calls++;
}

static void setup(void)
{
	ck_assert_int_eq(poller_init(&poller), 0);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	side = (struct side){.watch.ready = note};
}

static void teardown(void)
{
	poller_fini(&poller);
	close(pair[0]);
	close(pair[1]);
}

/* One wait without patience, and what it found. */
static unsigned turn(void)
{
	side.events = 0;
	poller_wait(&poller, 0);
	poller_dispatch(&poller);
	return side.events;
}

START_TEST(an_edge_is_told_once)
{
	ck_assert_int_eq(poller_add(&poller, pair[0], &side.watch, POLLER_READ | POLLER_WRITE | POLLER_EDGE), 0);
	ck_assert_uint_eq(turn(), POLLER_WRITE);
	ck_assert_uint_eq(turn(), 0);
	ck_assert_int_eq(write(pair[1], "x", 1), 1);
	ck_assert_uint_eq(turn(), POLLER_READ | POLLER_WRITE);
	ck_assert_uint_eq(turn(), 0);
}
END_TEST

START_TEST(a_level_is_told_while_it_lasts)
{
	ck_assert_int_eq(poller_add(&poller, pair[0], &side.watch, POLLER_READ), 0);
	ck_assert_int_eq(write(pair[1], "x", 1), 1);
	ck_assert_uint_eq(turn(), POLLER_READ);
	ck_assert_uint_eq(turn(), POLLER_READ);
	ck_assert_int_eq(poller_change(&poller, pair[0], &side.watch, POLLER_WRITE), 0);
	ck_assert_uint_eq(turn(), POLLER_WRITE);
	poller_remove(&poller, pair[0]);
	poller_remove(&poller, pair[0]); /* harmless */
	ck_assert_uint_eq(turn(), 0);
}
END_TEST

START_TEST(ends_and_hang_ups_are_told_apart)
{
	ck_assert_int_eq(poller_add(&poller, pair[0], &side.watch, POLLER_READ | POLLER_END | POLLER_EDGE), 0);
	ck_assert_int_eq(shutdown(pair[1], SHUT_WR), 0);
	ck_assert_uint_eq(turn(), POLLER_READ | POLLER_END);
	close(pair[1]);
	pair[1] = -1;
	ck_assert_uint_eq(turn(), POLLER_READ | POLLER_END | POLLER_HANGUP);
}
END_TEST

static void close_other(struct watch *w, unsigned events)
{
	note(w, events);
	poller_remove(&poller, pair[0]);
	poller_remove(&poller, pair[1]);
}

START_TEST(what_was_found_before_a_removal_is_still_told)
{
	/* which is why the memory of what is watched must live until the dispatch is over */
	struct side other = {.watch.ready = close_other};
	side.watch.ready = close_other;
	ck_assert_int_eq(poller_add(&poller, pair[0], &side.watch, POLLER_WRITE), 0);
	ck_assert_int_eq(poller_add(&poller, pair[1], &other.watch, POLLER_WRITE), 0);
	ck_assert_int_eq(poller_wait(&poller, 0), 2);
	poller_dispatch(&poller);
	ck_assert_uint_eq(side.calls + other.calls, 2);
	ck_assert_int_eq(poller_wait(&poller, 0), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("base/poller");
	TCase *c = tcase_create("poller");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, an_edge_is_told_once);
	tcase_add_test(c, a_level_is_told_while_it_lasts);
	tcase_add_test(c, ends_and_hang_ups_are_told_apart);
	tcase_add_test(c, what_was_found_before_a_removal_is_still_told);
	suite_add_tcase(s, c);
	return suite_run(s);
}

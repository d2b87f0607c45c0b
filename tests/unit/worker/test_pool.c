/* SPDX-License-Identifier: MIT */
/* The whole of worker/ through its door: seats in, close counters out, with real workers and services. */
#include "worker/handoff.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../suite.h"
#include "base/clock.h"
#include "base/fd.h"
#include "report/log.h"
#include "service/service.h"

/* How long a test waits for what must come; it fails then. */
#define PATIENCE_MS 10000

static struct pool *pool;
static struct config *config;
static struct account *account;

static const char text[] = "drain_timeout = \"1s\";\n"
			   "listeners: {\n"
			   "  e: { listen = \"unix:@e\"; echo: {}; };\n"
			   "  d: { listen = \"unix:@d\"; daytime: {}; timeouts: { linger = \"50ms\"; }; };\n"
			   "  c: { listen = \"unix:@c\"; chargen: {}; };\n"
			   "  x: { listen = \"unix:@x\"; discard: {}; };\n"
			   "  i: { listen = \"unix:@i\"; echo: {}; timeouts: { idle = \"50ms\"; }; };\n"
			   "  p: { listen = \"unix:@p\"; proxy: { to = \"unix:@usher-test-nobody-listens\"; }; };\n"
			   "};\n";

static void setup(void)
{
	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_LEVEL_ERROR);
	struct config_errors *errors = config_errors_create();
	int failed = config_load_text("test", text, strlen(text), service_groups(), &config, errors);
	if (failed)
		config_errors_print(errors, stderr);
	ck_assert_int_eq(failed, 0);
	config_errors_destroy(errors);
	account = account_create();
	ck_assert_ptr_nonnull(account);
	ck_assert_int_eq(pool_create(&pool, 2, config), 0);
}

static void teardown(void)
{
	pool_command(pool, WORKER_CLOSE_ALL, NULL);
	pool_command(pool, WORKER_STOP, NULL);
	pool = pool_destroy(pool);
	account_unref(account);
	config_unref(config);
}

/* Seats one end of a socket pair at the listener of this name. Returns the other end. */
static int visit(const char *name)
{
	int pair[2];
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	ck_assert_int_eq(fd_set_nonblock(pair[1]), 0);
	const struct listener_config *l = config_find_listener(config, name);
	ck_assert_ptr_nonnull(l);
	struct seat seat = {
		.fd = pair[1],
		.peer.u.any.sa_family = AF_UNIX,
		.config = config_ref(config),
		.listener = l,
		.account = account_ref(account),
		.descriptors = pool_descriptors_of(l),
	};
	int worker = pool_pick(pool);
	ck_assert_int_ge(worker, 0);
	atomic_fetch_add(&account->open, 1);
	pool_take_descriptors(pool, seat.descriptors);
	pool_seat(pool, (unsigned)worker, &seat);
	return pair[0];
}

static void await_readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	ck_assert_int_eq(poll(&p, 1, PATIENCE_MS), 1);
}

static uint64_t closed_with(enum close_reason reason)
{
	uint64_t n = 0;
	for (unsigned i = 0; i < pool_workers(pool); i++)
		n += counter_read(&pool_counters(pool, i)->reasons[reason]);
	return n;
}

/* Waits until nothing is open, as a drain does. */
static void await_none_open(void)
{
	uint64_t until_ms = clock_now_ms() + PATIENCE_MS;
	struct doorbell *bell = pool_doorbell(pool);
	for (;;) {
		doorbell_await(bell);
		if (pool_open(pool) == 0)
			return;
		struct pollfd p = {.fd = bell->fd, .events = POLLIN};
		ck_assert_int_gt(poll(&p, 1, PATIENCE_MS), 0);
		doorbell_answer(bell);
		ck_assert_uint_lt(clock_now_ms(), until_ms);
	}
}

START_TEST(echo_sends_back_and_ends_with_the_client)
{
	char got[16];
	int fd = visit("e");
	ck_assert_int_eq(write(fd, "hello", 5), 5);
	await_readable(fd);
	ck_assert_int_eq(read(fd, got, sizeof(got)), 5);
	ck_assert_int_eq(memcmp(got, "hello", 5), 0);
	ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
	await_readable(fd);
	ck_assert_int_eq(read(fd, got, sizeof(got)), 0);
	await_none_open();
	ck_assert_uint_eq(closed_with(CLOSE_client_closed), 1);
	ck_assert_uint_eq(atomic_load(&account->open), 0);
	ck_assert_uint_eq(pool_descriptors(pool), 0);
	close(fd);
}
END_TEST

START_TEST(daytime_ends_by_itself_even_if_the_client_lingers)
{
	char got[64];
	int fd = visit("d");
	await_readable(fd);
	ssize_t n = read(fd, got, sizeof(got));
	ck_assert_int_eq(n, 22);
	ck_assert_int_eq(memcmp(got + n - 3, "Z\r\n", 3), 0);
	/* this client never ends: timeouts.linger does it */
	await_none_open();
	ck_assert_uint_eq(closed_with(CLOSE_service_done), 1);
	close(fd);
}
END_TEST

START_TEST(chargen_goes_on_where_it_was)
{
	enum { LINE = 74, LINES = 2000 };
	static char got[LINE * LINES];
	int fd = visit("c");
	for (size_t n = 0; n < sizeof(got);) {
		ssize_t more = read(fd, got + n, sizeof(got) - n);
		ck_assert_int_gt(more, 0);
		n += (size_t)more;
	}
	for (int line = 0; line < LINES; line++) {
		ck_assert_int_eq(got[line * LINE], ' ' + line % 95);
		ck_assert_int_eq(got[line * LINE + 71], ' ' + (line + 71) % 95);
		ck_assert_int_eq(memcmp(got + line * LINE + 72, "\r\n", 2), 0);
	}
	close(fd);
	await_none_open();
}
END_TEST

START_TEST(discard_counts_what_it_drops)
{
	static char block[100000];
	int fd = visit("x");
	size_t n = 0;
	while (n < sizeof(block)) {
		ssize_t put = write(fd, block + n, sizeof(block) - n);
		ck_assert_int_gt(put, 0);
		n += (size_t)put;
	}
	close(fd);
	await_none_open();
	ck_assert_uint_eq(counter_read(&pool_counters(pool, 0)->bytes_in) +
				  counter_read(&pool_counters(pool, 1)->bytes_in),
			  sizeof(block));
}
END_TEST

START_TEST(idle_connections_are_closed)
{
	int fd = visit("i");
	await_none_open();
	ck_assert_uint_eq(closed_with(CLOSE_idle), 1);
	close(fd);
}
END_TEST

START_TEST(an_upstream_that_is_not_there_is_a_reason)
{
	int fd = visit("p");
	await_none_open();
	ck_assert_uint_eq(closed_with(CLOSE_upstream_refused), 1);
	close(fd);
}
END_TEST

START_TEST(connections_spread_over_the_workers)
{
	int fds[20];
	for (int i = 0; i < 20; i++)
		fds[i] = visit("e");
	char byte;
	for (int i = 0; i < 20; i++) {
		ck_assert_int_eq(write(fds[i], "x", 1), 1);
		await_readable(fds[i]);
		ck_assert_int_eq(read(fds[i], &byte, 1), 1);
	}
	ck_assert_uint_eq(pool_open(pool), 20);
	for (unsigned i = 0; i < 2; i++)
		ck_assert_uint_eq(counter_read(&pool_counters(pool, i)->seated), 10);
	for (int i = 0; i < 20; i++)
		close(fds[i]);
	await_none_open();
}
END_TEST

START_TEST(all_can_be_closed)
{
	int fds[20];
	for (int i = 0; i < 20; i++)
		fds[i] = visit("e");
	pool_command(pool, WORKER_CLOSE_ALL, NULL);
	await_none_open();
	ck_assert_uint_eq(closed_with(CLOSE_drain), 20);
	for (int i = 0; i < 20; i++)
		close(fds[i]);
}
END_TEST

START_TEST(a_new_configuration_reaches_the_workers)
{
	/* the one that counts is the last; none of them is lost or kept twice (the sanitizer's leak check sees to it) */
	for (int i = 0; i < 100; i++)
		pool_command(pool, WORKER_RECONFIGURE, config);
	int fd = visit("e");
	close(fd);
	await_none_open();
}
END_TEST

START_TEST(a_sleeping_pool_is_not_stuck)
{
	uint64_t now_ms = clock_now_ms();
	int fd = visit("e");
	close(fd);
	await_none_open();
	for (unsigned i = 0; i < 2; i++)
		ck_assert_uint_lt(pool_stuck_ms(pool, i, now_ms + 1), PATIENCE_MS);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("worker/pool");
	TCase *c = tcase_create("pool");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_set_timeout(c, 2.0 * PATIENCE_MS / 1000);
	tcase_add_test(c, echo_sends_back_and_ends_with_the_client);
	tcase_add_test(c, daytime_ends_by_itself_even_if_the_client_lingers);
	tcase_add_test(c, chargen_goes_on_where_it_was);
	tcase_add_test(c, discard_counts_what_it_drops);
	tcase_add_test(c, idle_connections_are_closed);
	tcase_add_test(c, an_upstream_that_is_not_there_is_a_reason);
	tcase_add_test(c, connections_spread_over_the_workers);
	tcase_add_test(c, all_can_be_closed);
	tcase_add_test(c, a_new_configuration_reaches_the_workers);
	tcase_add_test(c, a_sleeping_pool_is_not_stuck);
	suite_add_tcase(s, c);
	return suite_run(s);
}

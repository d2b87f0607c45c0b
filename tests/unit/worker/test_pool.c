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
static struct source_share sources[SOURCE_SCOPES];
static bool trusted;

static const char text[] = "drain_timeout = \"1s\";\n"
			   "listeners: {\n"
			   "  e: { listen = \"unix:@e\"; echo: {}; };\n"
			   "  d: { listen = \"unix:@d\"; daytime: {}; timeouts: { linger = \"50ms\"; }; };\n"
			   "  c: { listen = \"unix:@c\"; chargen: {}; };\n"
			   "  x: { listen = \"unix:@x\"; discard: {}; };\n"
			   "  i: { listen = \"unix:@i\"; echo: {}; timeouts: { idle = \"50ms\"; }; };\n"
			   "  f: { listen = \"unix:@f\"; echo: {}; timeouts: { first_byte = \"50ms\"; }; };\n"
			   "  b: { listen = \"unix:@b\"; chargen: {};\n"
			   "       bandwidth: { source_out = \"1B/h burst 1000B\"; }; };\n"
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
		.sources = {&sources[0], &sources[1]},
		.trusted = trusted,
		.descriptors = pool_descriptors_of(l),
	};
	int worker = pool_pick(pool);
	ck_assert_int_ge(worker, 0);
	atomic_fetch_add(&account->open, 1);
	for (int i = 0; i < SOURCE_SCOPES; i++)
		atomic_fetch_add(&sources[i].open, 1);
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

static void count_offences(void *arg, struct source_share *source, unsigned n)
{
	ck_assert(source == &sources[0] || source == &sources[1]);
	*(unsigned *)arg += n;
}

START_TEST(offences_reach_main_and_sources_are_given_back)
{
	int fds[3];
	unsigned n = 0;
	for (int i = 0; i < 3; i++)
		fds[i] = visit("f");
	int good = visit("e");
	await_readable(fds[0]);
	close(good);
	await_none_open();
	ck_assert_uint_eq(closed_with(CLOSE_first_byte_timeout), 3);
	/* what main has not seen holds the source where it is */
	ck_assert_uint_eq(atomic_load(&sources[0].open), 1);
	ck_assert(!pool_offences(pool, 10, count_offences, &n));
	ck_assert_uint_eq(n, 3 * SOURCE_SCOPES);
	for (int i = 0; i < SOURCE_SCOPES; i++)
		ck_assert_uint_eq(atomic_load(&sources[i].open), 0);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
}
END_TEST

START_TEST(trusted_ones_commit_none)
{
	unsigned n = 0;
	trusted = true;
	int fd = visit("f");
	await_none_open();
	ck_assert_uint_eq(closed_with(CLOSE_first_byte_timeout), 1);
	ck_assert(!pool_offences(pool, 10, count_offences, &n));
	ck_assert_uint_eq(n, 0);
	close(fd);
}
END_TEST

/* What comes until nothing has come for a moment: it waits, but only where nothing may come. */
static size_t read_what_comes(int fd, size_t most)
{
	static char got[65536];
	struct pollfd p = {.fd = fd, .events = POLLIN};
	size_t n = 0;
	while (n < most && poll(&p, 1, 100) > 0) {
		ssize_t more = read(fd, got, sizeof(got));
		ck_assert_int_gt(more, 0);
		n += (size_t)more;
	}
	return n;
}

START_TEST(all_of_a_source_share_its_bandwidth)
{
	int fds[4];
	size_t n = 0;
	for (int i = 0; i < 4; i++)
		fds[i] = visit("b");
	for (int i = 0; i < 4; i++)
		n += read_what_comes(fds[i], 1 << 20);
	/* the first of them has all of it: in an hour there will be one byte more */
	ck_assert_uint_eq(n, 1000);
	ck_assert(rate_is_full(&sources[0].bytes_out, clock_now_ns()));
	ck_assert(!rate_is_full(&sources[1].bytes_out, clock_now_ns()));
	for (int i = 0; i < 4; i++)
		close(fds[i]);
	await_none_open();
}
END_TEST

START_TEST(trusted_ones_have_all_bandwidth)
{
	trusted = true;
	int fd = visit("b");
	ck_assert_uint_ge(read_what_comes(fd, 1 << 20), 1 << 20);
	close(fd);
	await_none_open();
}
END_TEST

struct question {
	const char *denied; /* the listener */
	bool waits;	    /* until it may go on */
	atomic_bool go_on;
	atomic_uint asked;
	atomic_uint released;
};

static bool is_denied(void *arg, const struct recheck_visitor *v)
{
	struct question *q = arg;
	atomic_fetch_add(&q->asked, 1);
	while (q->waits && !atomic_load(&q->go_on))
		poll(NULL, 0, 1);
	ck_assert_int_ge(v->fd, 0);
	ck_assert_int_eq(v->peer->u.any.sa_family, AF_UNIX);
	return strcmp(v->listener->name, q->denied) == 0;
}

static void release_question(void *arg)
{
	struct question *q = arg;
	atomic_fetch_add(&q->released, 1);
}

/* Waits until all workers have done with it. */
static void await_released(struct question *q)
{
	uint64_t until_ms = clock_now_ms() + PATIENCE_MS;
	while (!atomic_load(&q->released)) {
		ck_assert_uint_lt(clock_now_ms(), until_ms);
		poll(NULL, 0, 1);
	}
	ck_assert_uint_eq(atomic_load(&q->released), 1);
}

static void ask_all(struct question *q)
{
	struct recheck *r = recheck_create(is_denied, release_question, q);
	ck_assert_ptr_nonnull(r);
	pool_recheck(pool, r);
}

START_TEST(whom_the_rules_do_not_let_in_any_more_is_closed)
{
	enum { EACH = 300 };
	static int fds[2 * EACH];
	struct question q = {.denied = "x"};
	/* some are on their way still: they were let in by the rules of before */
	for (int i = 0; i < 2 * EACH; i++)
		fds[i] = visit(i % 2 ? "x" : "e");
	ask_all(&q);
	await_released(&q);
	ck_assert_uint_eq(atomic_load(&q.asked), 2 * EACH);
	ck_assert_uint_eq(closed_with(CLOSE_no_longer_allowed), EACH);
	ck_assert_uint_eq(pool_open(pool), EACH);
	char byte;
	for (int i = 0; i < 2 * EACH; i += 2) {
		ck_assert_int_eq(write(fds[i], "x", 1), 1);
		await_readable(fds[i]);
		ck_assert_int_eq(read(fds[i], &byte, 1), 1);
	}
	for (int i = 0; i < 2 * EACH; i++)
		close(fds[i]);
	await_none_open();
}
END_TEST

START_TEST(who_comes_after_the_question_is_not_asked)
{
	enum { BEFORE = 300, AFTER = 600 };
	static int fds[BEFORE + AFTER];
	struct question q = {.denied = "e", .waits = true};
	for (int i = 0; i < BEFORE; i++)
		fds[i] = visit("e");
	ask_all(&q);
	uint64_t until_ms = clock_now_ms() + PATIENCE_MS;
	while (atomic_load(&q.asked) < pool_workers(pool)) {
		ck_assert_uint_lt(clock_now_ms(), until_ms);
		poll(NULL, 0, 1);
	}
	for (int i = BEFORE; i < BEFORE + AFTER; i++)
		fds[i] = visit("e");
	atomic_store(&q.go_on, true);
	await_released(&q);
	ck_assert_uint_eq(atomic_load(&q.asked), BEFORE);
	ck_assert_uint_eq(closed_with(CLOSE_no_longer_allowed), BEFORE);
	ck_assert_uint_eq(pool_open(pool), AFTER);
	for (int i = 0; i < BEFORE + AFTER; i++)
		close(fds[i]);
	await_none_open();
}
END_TEST

START_TEST(the_last_question_is_the_one_that_counts)
{
	enum { QUESTIONS = 50, CONNS = 200 };
	static struct question qs[QUESTIONS];
	static int fds[CONNS];
	for (int i = 0; i < CONNS; i++)
		fds[i] = visit("e");
	for (int i = 0; i < QUESTIONS; i++) {
		qs[i].denied = i == QUESTIONS - 1 ? "e" : "nobody";
		ask_all(&qs[i]);
	}
	for (int i = 0; i < QUESTIONS; i++)
		await_released(&qs[i]);
	await_none_open();
	ck_assert_uint_eq(closed_with(CLOSE_no_longer_allowed), CONNS);
	for (int i = 0; i < CONNS; i++)
		close(fds[i]);
}
END_TEST

START_TEST(all_can_be_closed_while_they_are_asked_about)
{
	enum { CONNS = 500 };
	static int fds[CONNS];
	struct question q = {.denied = "nobody"};
	for (int i = 0; i < CONNS; i++)
		fds[i] = visit("e");
	ask_all(&q);
	pool_command(pool, WORKER_CLOSE_ALL, NULL);
	await_none_open();
	await_released(&q);
	for (int i = 0; i < CONNS; i++)
		close(fds[i]);
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
	tcase_add_test(c, offences_reach_main_and_sources_are_given_back);
	tcase_add_test(c, trusted_ones_commit_none);
	tcase_add_test(c, all_of_a_source_share_its_bandwidth);
	tcase_add_test(c, trusted_ones_have_all_bandwidth);
	tcase_add_test(c, whom_the_rules_do_not_let_in_any_more_is_closed);
	tcase_add_test(c, who_comes_after_the_question_is_not_asked);
	tcase_add_test(c, the_last_question_is_the_one_that_counts);
	tcase_add_test(c, all_can_be_closed_while_they_are_asked_about);
	suite_add_tcase(s, c);
	return suite_run(s);
}

/* SPDX-License-Identifier: MIT */
#include "base/socket.h"

#include <check.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../suite.h"

/* A listening socket and a connected pair through it. */
static int listening;
static int client;
static int served;

static void setup(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(at);
	listening = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(listening, (struct sockaddr *)&at, sizeof(at)), 0);
	ck_assert_int_eq(listen(listening, 5), 0);
	ck_assert_int_eq(getsockname(listening, (struct sockaddr *)&at, &length), 0);
	client = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(client, (struct sockaddr *)&at, sizeof(at)), 0);
	served = accept(listening, NULL, NULL);
	ck_assert_int_ge(served, 0);
}

static void teardown(void)
{
	close(listening);
	close(client);
	close(served);
}

static int value_of(int fd, int level, int option)
{
	int value = -1;
	socklen_t length = sizeof(value);
	ck_assert_int_eq(getsockopt(fd, level, option, &value, &length), 0);
	return value;
}

START_TEST(accepted_sockets_inherit_the_options)
{
	struct socket_options o = {
		.nodelay = true,
		.keepalive = true,
		.keepalive_idle_s = 61,
		.keepalive_interval_s = 11,
		.keepalive_count = 7,
		.user_timeout_ms = 12345,
		.receive_buffer_bytes = 65536,
	};
	struct sockaddr_in at;
	socklen_t length = sizeof(at);
	const char *which;
	ck_assert_int_eq(socket_set_options(listening, true, &o, &which), 0);
	ck_assert_int_eq(getsockname(listening, (struct sockaddr *)&at, &length), 0);
	close(client);
	close(served);
	client = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(client, (struct sockaddr *)&at, sizeof(at)), 0);
	served = accept(listening, NULL, NULL);
	ck_assert_int_eq(value_of(served, IPPROTO_TCP, TCP_NODELAY), 1);
	ck_assert_int_eq(value_of(served, SOL_SOCKET, SO_KEEPALIVE), 1);
	ck_assert_int_eq(value_of(served, IPPROTO_TCP, TCP_KEEPIDLE), 61);
	ck_assert_int_eq(value_of(served, IPPROTO_TCP, TCP_KEEPINTVL), 11);
	ck_assert_int_eq(value_of(served, IPPROTO_TCP, TCP_KEEPCNT), 7);
	ck_assert_int_eq(value_of(served, IPPROTO_TCP, TCP_USER_TIMEOUT), 12345);
	ck_assert_int_eq(value_of(served, SOL_SOCKET, SO_RCVBUF), 131072); /* the kernel doubles it */
}
END_TEST

START_TEST(a_new_socket_gets_what_is_to_be_otherwise)
{
	struct socket_options o = {
		.nodelay = true,
		.keepalive = true,
		.keepalive_idle_s = 61,
		.keepalive_interval_s = 11,
		.keepalive_count = 7,
		.user_timeout_ms = 12345,
		.receive_buffer_bytes = 65536,
	};
	struct socket_options none = {0};
	const char *which = NULL;
	ck_assert_int_eq(socket_set_new(client, true, &o, &which), 0);
	ck_assert_int_eq(value_of(client, IPPROTO_TCP, TCP_NODELAY), 1);
	ck_assert_int_eq(value_of(client, SOL_SOCKET, SO_RCVBUF), 131072);
	ck_assert_int_eq(value_of(client, SOL_SOCKET, SO_KEEPALIVE), 0);
	ck_assert_int_eq(value_of(client, IPPROTO_TCP, TCP_USER_TIMEOUT), 0);
	ck_assert_int_eq(socket_set_new_dead_peers(client, &o, &which), 0);
	ck_assert_int_eq(value_of(client, SOL_SOCKET, SO_KEEPALIVE), 1);
	ck_assert_int_eq(value_of(client, IPPROTO_TCP, TCP_KEEPIDLE), 61);
	ck_assert_int_eq(value_of(client, IPPROTO_TCP, TCP_KEEPINTVL), 11);
	ck_assert_int_eq(value_of(client, IPPROTO_TCP, TCP_KEEPCNT), 7);
	ck_assert_int_eq(value_of(client, IPPROTO_TCP, TCP_USER_TIMEOUT), 12345);
	/* what a new socket has already is not set: none of this could be, of no socket */
	ck_assert_int_eq(socket_set_new(-1, true, &none, &which), 0);
	ck_assert_int_eq(socket_set_new_dead_peers(-1, &none, &which), 0);
	ck_assert_ptr_null(which);
}
END_TEST

START_TEST(what_finds_dead_peers_may_wait_if_it_is_slow)
{
	struct socket_options o = {.keepalive = true, .keepalive_idle_s = 10, .user_timeout_ms = 20000};
	ck_assert(socket_dead_peers_can_wait(&o, 10000));
	o.keepalive_idle_s = 9;
	ck_assert(!socket_dead_peers_can_wait(&o, 10000));
	o.keepalive = false;
	ck_assert(socket_dead_peers_can_wait(&o, 10000));
	o.user_timeout_ms = 19999;
	ck_assert(!socket_dead_peers_can_wait(&o, 10000));
	o.user_timeout_ms = 0;
	ck_assert(socket_dead_peers_can_wait(&o, 10000));
}
END_TEST

START_TEST(what_cannot_be_set_is_named)
{
	int pair[2];
	const char *which = NULL;
	struct socket_options o = {.nodelay = true};
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	ck_assert_int_eq(socket_set_options(pair[0], true, &o, &which), -EOPNOTSUPP);
	ck_assert_str_eq(which, "TCP_NODELAY");
	/* without TCP there is nothing to refuse */
	ck_assert_int_eq(socket_set_options(pair[0], false, &o, &which), 0);
	close(pair[0]);
	close(pair[1]);
}
END_TEST

START_TEST(a_reset_is_told_once)
{
	char byte;
	ck_assert_int_eq(socket_take_error(client), 0);
	socket_reset_at_close(served);
	close(served);
	served = -1;
	for (int i = 0; i < 100000 && recv(client, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN; i++)
		;
	ck_assert_int_eq(errno, ECONNRESET);
	ck_assert_int_eq(socket_take_error(client), 0);
	ck_assert_int_eq(socket_take_error(-1), -EBADF);
}
END_TEST

START_TEST(what_is_not_confirmed_is_counted)
{
	static char block[1 << 20];
	ck_assert_uint_eq(socket_unsent(client), 0);
	/* more than the other side's buffers take */
	ssize_t put = 0;
	while (put < (ssize_t)(16 * sizeof(block))) {
		ssize_t n = send(client, block, sizeof(block), MSG_DONTWAIT);
		if (n < 0)
			break;
		put += n;
	}
	ck_assert_uint_gt(socket_unsent(client), 0);
	ck_assert_uint_le(socket_unsent(client), (size_t)put);
	ck_assert_uint_eq(socket_unsent(-1), 0);
}
END_TEST

START_TEST(who_waits_in_a_backlog_is_counted)
{
	struct sockaddr_in at;
	socklen_t length = sizeof(at);
	int clients[3];
	ck_assert_int_eq(getsockname(listening, (struct sockaddr *)&at, &length), 0);
	ck_assert_uint_eq(socket_backlog(listening, true), 0);
	for (int i = 0; i < 3; i++) {
		clients[i] = socket(AF_INET, SOCK_STREAM, 0);
		ck_assert_int_eq(connect(clients[i], (struct sockaddr *)&at, sizeof(at)), 0);
	}
	ck_assert_uint_eq(socket_backlog(listening, true), 3);
	ck_assert_uint_eq(socket_backlog(listening, false), UINT_MAX);
	for (int i = 0; i < 3; i++)
		close(clients[i]);
}
END_TEST

START_TEST(says_who_is_at_the_other_end)
{
	int pair[2];
	char bytes[128];
	char wanted[128];
	struct text t;
	struct peer_addr local = {.u.any.sa_family = AF_UNIX};
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	text_init(&t, bytes, sizeof(bytes));
	socket_add_peer(&t, pair[0], &local);
	snprintf(wanted, sizeof(wanted), "unix pid %d uid %u", (int)getpid(), (unsigned)getuid());
	ck_assert_str_eq(bytes, wanted);
	close(pair[0]);
	close(pair[1]);

	struct netaddr address;
	struct peer_addr peer;
	ck_assert_int_eq(netaddr_parse_ip(&address, "192.0.2.7", 9, 4711), 0);
	peer_addr_from(&peer, &address);
	text_init(&t, bytes, sizeof(bytes));
	socket_add_peer(&t, served, &peer);
	ck_assert_str_eq(bytes, "192.0.2.7:4711");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("base/socket");
	TCase *c = tcase_create("socket");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, accepted_sockets_inherit_the_options);
	tcase_add_test(c, a_new_socket_gets_what_is_to_be_otherwise);
	tcase_add_test(c, what_finds_dead_peers_may_wait_if_it_is_slow);
	tcase_add_test(c, what_cannot_be_set_is_named);
	tcase_add_test(c, a_reset_is_told_once);
	tcase_add_test(c, what_is_not_confirmed_is_counted);
	tcase_add_test(c, who_waits_in_a_backlog_is_counted);
	tcase_add_test(c, says_who_is_at_the_other_end);
	suite_add_tcase(s, c);
	return suite_run(s);
}

/* SPDX-License-Identifier: MIT */
/* What tests of relays share: two streams of real sockets, and what is at their other ends. */
#ifndef TESTS_UNIT_RELAY_ENDS_H
#define TESTS_UNIT_RELAY_ENDS_H

#include <check.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "transport/relay.h"

#define BUDGET (4U * STREAM_HELD_MAX_BYTES)

/* left peer <-> from | to <-> right peer */
static struct stream from;
static struct stream to;
static int left = -1;
static int right = -1;
static uint8_t *scratch;
/* no pipes: test_relay_bulk.c has some */
static struct relay_means means;

/* A connected pair of TCP sockets over loopback: ends and resets are real ones. */
static inline void tcp_pair(int *a, int *b)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&at, &length), 0);
	*a = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(*a, (struct sockaddr *)&at, sizeof(at)), 0);
	*b = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	ck_assert_int_ge(*b, 0);
	close(listener);
}

static inline void setup(void)
{
	int a;
	int b;
	tcp_pair(&left, &a);
	tcp_pair(&right, &b);
	stream_open_take_fd(&from, &transport_plain, &a, true);
	stream_open_take_fd(&to, &transport_plain, &b, true);
	ck_assert_int_eq(fd_set_nonblock(right), 0);
	scratch = malloc(STREAM_HELD_MAX_BYTES);
	ck_assert_ptr_nonnull(scratch);
	means = (struct relay_means){.scratch = scratch};
}

static inline void teardown(void)
{
	stream_close(&from, false);
	stream_close(&to, false);
	fd_close(&left);
	fd_close(&right);
	free(scratch);
}

#endif

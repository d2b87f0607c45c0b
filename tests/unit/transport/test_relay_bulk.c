/* SPDX-License-Identifier: MIT */
/* Bulk: what goes through pipes, arrives as what is copied does. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../suite.h"
#include "base/fd.h"
#include "base/poller.h"
#include "base/socket.h"
#include "relay_ends.h"

#define TOTAL (24U * 1024 * 1024)
#define BLOCK 65536U
#define PIPES 3

static uint64_t written;
static uint64_t taken;
static uint64_t through_pipes;

/* transport_plain, which counts what goes through pipes. */
static struct transport counting;

static ssize_t fill_and_count(struct stream *s, int pipe, size_t n)
{
	ssize_t got = transport_plain.fill(s, pipe, n);
	if (got > 0)
		through_pipes += (uint64_t)got;
	return got;
}

static void setup_bulk(void)
{
	/* as the daemon does */
	signal(SIGPIPE, SIG_IGN);
	setup();
	ck_assert_int_eq(fd_set_nonblock(left), 0);
	means.pipes = pipe_pool_create(PIPES);
	ck_assert_ptr_nonnull(means.pipes);
	written = 0;
	taken = 0;
	through_pipes = 0;
	counting = transport_plain;
	counting.fill = fill_and_count;
	from.transport = &counting;
	to.transport = &counting;
}

static void teardown_bulk(void)
{
	teardown();
	/* which sees that none is taken any more */
	means.pipes = pipe_pool_destroy(means.pipes);
}

/* The bytes from `at` on of what is sent: no two blocks are the same. */
static void pattern(uint8_t *block, uint64_t at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		block[i] = (uint8_t)((at + i) * 2654435761U >> 11);
}

/* Returns whether some of it went. */
static bool send_some(uint64_t total)
{
	static uint8_t block[BLOCK];
	uint64_t left_over = total - written;
	size_t n = left_over < BLOCK ? (size_t)left_over : BLOCK;
	if (n == 0)
		return false;
	pattern(block, written, n);
	ssize_t put = send(left, block, n, MSG_NOSIGNAL);
	if (put > 0)
		written += (uint64_t)put;
	return put > 0;
}

/* Returns what read did; what came is as it was sent. */
static ssize_t take_some(void)
{
	static uint8_t block[BLOCK], wanted[BLOCK];
	ssize_t got = read(right, block, sizeof(block));
	if (got > 0) {
		pattern(wanted, taken, (size_t)got);
		ck_assert_int_eq(memcmp(block, wanted, (size_t)got), 0);
		taken += (uint64_t)got;
	}
	return got;
}

static enum relay_result pump_some(size_t *may, int *error)
{
	stream_note(&from, POLLER_READ);
	stream_note(&to, POLLER_WRITE);
	enum relay_result result = relay_pump(&from, &to, &means, BUDGET, may, error);
	size_t piped = to.pipe ? to.pipe->bytes : 0;
	ck_assert_uint_le(piped, PIPE_MAX_BYTES);
	ck_assert_uint_le(stream_held_in_memory(&to), STREAM_HELD_MAX_BYTES);
	ck_assert_uint_eq(from.bytes_in, to.bytes_out + stream_held(&to));
	return result;
}

/* Sends until something stays in a pipe, because nobody reads. */
static void fill_a_pipe(void)
{
	int error = 0;
	while (!to.pipe) {
		while (send_some(UINT64_MAX))
			;
		/* how much comes at once is the kernel's choice */
		from.in_bulk = true;
		ck_assert_int_lt(pump_some(&(size_t){SIZE_MAX}, &error), RELAY_ENDED);
		if (to.held)
			take_some();
	}
}

/* Takes all that the relay has read. */
static void take_the_rest(void)
{
	while (taken < from.bytes_in) {
		take_some();
		stream_note(&to, POLLER_WRITE);
		int failed = stream_flush(&to);
		ck_assert(failed == 0 || failed == -EAGAIN);
	}
	ck_assert_ptr_null(to.pipe);
}

/* TOTAL bytes and the end from one side to the other; the reader stops now and then. */
static void move_all(void)
{
	int error = 0;
	enum relay_result result = RELAY_WAIT;
	for (unsigned turn = 0; result != RELAY_ENDED; turn++) {
		for (int i = 0; i < 20; i++)
			send_some(TOTAL);
		if (written == TOTAL)
			(void)shutdown(left, SHUT_WR);
		result = pump_some(&(size_t){SIZE_MAX}, &error);
		ck_assert_int_lt(result, RELAY_FROM_FAILED);
		for (int i = 0; turn % 8 > 3 && i < 30; i++)
			take_some();
	}
	while (take_some() != 0)
		;
	ck_assert_uint_eq(taken, TOTAL);
	ck_assert_uint_eq(from.bytes_in, TOTAL);
	ck_assert_uint_eq(to.bytes_out, TOTAL);
	ck_assert_ptr_null(to.pipe);
	ck_assert_ptr_null(to.held);
}

/* Puts UNIX sockets in the place of a stream and what is at its other end. */
static void make_unix(struct stream *s, int *other)
{
	int pair[2];
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
	stream_close(s, false);
	fd_close(other);
	stream_open_take_fd(s, &counting, &pair[0], false);
	*other = pair[1];
}

/* bit 0: the source is a UNIX socket, bit 1: the sink is */
START_TEST(all_of_it_arrives)
{
	if (_i & 1)
		make_unix(&from, &left);
	if (_i & 2)
		make_unix(&to, &right);
	move_all();
	/* a UNIX socket's buffer may be smaller than what is taken for bulk; and from there to TCP it is copied */
	if (!(_i & 1))
		ck_assert_uint_gt(through_pipes, 0);
	else if (!(_i & 2))
		ck_assert_uint_eq(through_pipes, 0);
}
END_TEST

START_TEST(unix_bulk_goes_through_a_pipe_too)
{
	make_unix(&from, &left);
	make_unix(&to, &right);
	from.in_bulk = true;
	for (int i = 0; i < 4; i++)
		send_some(TOTAL);
	while (from.bytes_in < written) {
		from.in_bulk = true;
		stream_note(&from, POLLER_READ);
		struct pipe *pipe = pipe_take(means.pipes);
		ck_assert_ptr_nonnull(pipe);
		ck_assert_int_gt(stream_splice(&from, &to, pipe, PIPE_MAX_BYTES), 0);
		take_the_rest();
	}
	ck_assert_uint_eq(taken, written);
}
END_TEST

START_TEST(what_is_small_takes_no_pipe)
{
	char byte = 'x';
	int error = 0;
	for (int i = 0; i < 1000; i++) {
		ck_assert_int_eq(write(left, &byte, 1), 1);
		ck_assert_int_eq(pump_some(&(size_t){SIZE_MAX}, &error), RELAY_WAIT);
		while (read(right, &byte, 1) != 1)
			pump_some(&(size_t){SIZE_MAX}, &error);
		ck_assert(!from.in_bulk);
	}
	/* none was ever opened */
	struct pipe *pipes[PIPES];
	int before = fd_count_open();
	for (int i = 0; i < PIPES; i++)
		ck_assert_ptr_nonnull(pipes[i] = pipe_take(means.pipes));
	ck_assert_int_eq(fd_count_open() - before, PIPES * PIPE_DESCRIPTORS);
	for (int i = 0; i < PIPES; i++)
		pipe_give_back(pipes[i]);
}
END_TEST

START_TEST(after_bulk_what_is_small_is_copied_again)
{
	char byte = 'x';
	int error = 0;
	fill_a_pipe();
	while (taken < written) {
		take_some();
		pump_some(&(size_t){SIZE_MAX}, &error);
	}
	/* one may still come through a pipe */
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(write(left, &byte, 1), 1);
		while (read(right, &byte, 1) != 1)
			pump_some(&(size_t){SIZE_MAX}, &error);
	}
	ck_assert(!from.in_bulk);
}
END_TEST

START_TEST(a_stopped_reader_stops_the_reading)
{
	int error = 0;
	fill_a_pipe();
	uint64_t before = from.bytes_in;
	for (int i = 0; i < 1000; i++) {
		send_some(UINT64_MAX);
		to.can_write = false;
		stream_note(&from, POLLER_READ);
		ck_assert_int_eq(relay_pump(&from, &to, &means, BUDGET, &(size_t){SIZE_MAX}, &error), RELAY_WAIT);
	}
	ck_assert_uint_eq(from.bytes_in, before);
	ck_assert(!stream_is_out(&to));
	ck_assert_uint_eq(stream_owed_to(&to), before);
	take_the_rest();
}
END_TEST

START_TEST(the_end_comes_after_what_is_in_the_pipe)
{
	int error = 0;
	fill_a_pipe();
	ck_assert_int_eq(shutdown(left, SHUT_WR), 0);
	enum relay_result result = RELAY_WAIT;
	while (result != RELAY_ENDED) {
		ck_assert_int_ne(take_some(), 0);
		result = pump_some(&(size_t){SIZE_MAX}, &error);
		ck_assert_int_lt(result, RELAY_FROM_FAILED);
	}
	while (take_some() != 0)
		;
	ck_assert_uint_eq(taken, written);
}
END_TEST

START_TEST(a_reset_source_leaves_what_is_in_the_pipe)
{
	int error = 0;
	fill_a_pipe();
	socket_reset_at_close(left);
	fd_close(&left);
	enum relay_result result = RELAY_WAIT;
	/* first what is in the pipe goes on, and what waited behind it */
	while (result != RELAY_FROM_FAILED) {
		take_some();
		result = pump_some(&(size_t){SIZE_MAX}, &error);
		ck_assert_int_ne(result, RELAY_TO_FAILED);
		ck_assert_int_ne(result, RELAY_ENDED);
	}
	ck_assert_int_eq(error, -ECONNRESET);
	take_the_rest();
	ck_assert_uint_eq(taken, from.bytes_in);
}
END_TEST

START_TEST(a_reset_sink_is_told_and_the_pipe_is_emptied)
{
	int error = 0;
	fill_a_pipe();
	socket_reset_at_close(right);
	fd_close(&right);
	enum relay_result result = RELAY_WAIT;
	while (result == RELAY_WAIT)
		result = pump_some(&(size_t){SIZE_MAX}, &error);
	ck_assert_int_eq(result, RELAY_TO_FAILED);
	ck_assert(error == -ECONNRESET || error == -EPIPE);
	ck_assert_uint_lt(to.bytes_out, from.bytes_in);
	ck_assert_ptr_nonnull(to.pipe);
	stream_close(&to, true);
	ck_assert_ptr_null(to.pipe);

	/* whoever gets it next finds nothing in it */
	char byte;
	for (int i = 0; i < PIPES; i++) {
		struct pipe *pipe = pipe_take(means.pipes);
		ck_assert_ptr_nonnull(pipe);
		ck_assert_int_eq(read(pipe->out, &byte, 1), -1);
		ck_assert_int_eq(errno, EAGAIN);
		pipe_give_back(pipe);
	}
}
END_TEST

START_TEST(limits_hold_in_pipes)
{
	int error = 0;
	fill_a_pipe();
	take_the_rest();
	uint64_t before = from.bytes_in, before_through = through_pipes;
	while (from.bytes_in < before + 4U * 1024 * 1024) {
		for (int i = 0; i < 20; i++)
			send_some(UINT64_MAX);
		size_t may = 150001;
		from.in_bulk = true;
		uint64_t had = from.bytes_in;
		pump_some(&may, &error);
		ck_assert_uint_le(may, 150001);
		ck_assert_uint_eq(from.bytes_in - had, 150001 - may);
		while (taken < to.bytes_out)
			take_some();
	}
	take_the_rest();
	ck_assert_uint_gt(through_pipes, before_through);
}
END_TEST

START_TEST(an_urgent_byte_does_not_stop_bulk)
{
	int error = 0;
	fill_a_pipe();
	uint64_t before = written;
	while (send(left, "!", 1, MSG_OOB) != 1) {
		take_some();
		pump_some(&(size_t){SIZE_MAX}, &error);
	}
	/* it is not part of what is read */
	while (taken < before) {
		take_some();
		stream_note(&from, POLLER_URGENT);
		pump_some(&(size_t){SIZE_MAX}, &error);
	}
	while (written < before + TOTAL || taken < written) {
		send_some(before + TOTAL);
		pump_some(&(size_t){SIZE_MAX}, &error);
		take_some();
	}
	ck_assert_uint_eq(from.bytes_in, before + TOTAL);
}
END_TEST

START_TEST(without_a_pipe_it_is_copied)
{
	if (_i == 0) {
		/* all are with others */
		struct pipe *pipes[PIPES];
		for (int i = 0; i < PIPES; i++)
			ck_assert_ptr_nonnull(pipes[i] = pipe_take(means.pipes));
		move_all();
		for (int i = 0; i < PIPES; i++)
			pipe_give_back(pipes[i]);
	} else {
		/* there are no descriptors */
		struct rlimit before, none;
		ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
		none = before;
		none.rlim_cur = 3;
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
		move_all();
		/* sanitizers open files at the end */
		ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	}
	ck_assert_uint_eq(through_pipes, 0);
}
END_TEST

static ssize_t cannot_fill(struct stream *s UNUSED, int pipe UNUSED, size_t n UNUSED)
{
	return -EINVAL;
}

START_TEST(where_splice_fails_it_is_copied)
{
	struct transport other = transport_plain;
	other.fill = cannot_fill;
	from.transport = &other;
	move_all();
	ck_assert(from.copy_only);
	ck_assert_uint_eq(through_pipes, 0);
	stream_close(&from, false);
}
END_TEST

static ssize_t cannot_drain(struct stream *s UNUSED, int pipe UNUSED, size_t n UNUSED)
{
	return -EIO;
}

START_TEST(what_cannot_leave_the_pipe_is_no_end)
{
	int error = 0;
	fill_a_pipe();
	struct transport other = transport_plain;
	other.drain = cannot_drain;
	to.transport = &other;
	ck_assert_int_eq(shutdown(left, SHUT_WR), 0);
	ck_assert_int_eq(pump_some(&(size_t){SIZE_MAX}, &error), RELAY_TO_FAILED);
	ck_assert_int_eq(error, -EIO);
	ck_assert(!to.end_sent);
	stream_close(&to, true);
}
END_TEST

START_TEST(what_comes_may_go_back)
{
	/* one stream is both: what left sends comes back to it */
	static uint8_t block[BLOCK], wanted[BLOCK];
	int error = 0;
	uint64_t back = 0;
	while (back < TOTAL) {
		for (int i = 0; i < 40; i++)
			send_some(TOTAL);
		stream_note(&from, POLLER_READ | POLLER_WRITE);
		enum relay_result result = relay_pump(&from, &from, &means, BUDGET, &(size_t){SIZE_MAX}, &error);
		ck_assert_int_lt(result, RELAY_ENDED);
		for (int i = 0; i < 40; i++) {
			ssize_t got = read(left, block, sizeof(block));
			if (got <= 0)
				break;
			pattern(wanted, back, (size_t)got);
			ck_assert_int_eq(memcmp(block, wanted, (size_t)got), 0);
			back += (uint64_t)got;
		}
	}
	ck_assert_uint_eq(back, TOTAL);
	ck_assert_uint_gt(through_pipes, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("transport/relay_bulk");
	TCase *c = tcase_create("relay_bulk");
	tcase_set_timeout(c, 120);
	tcase_add_checked_fixture(c, setup_bulk, teardown_bulk);
	tcase_add_loop_test(c, all_of_it_arrives, 0, 4);
	tcase_add_test(c, unix_bulk_goes_through_a_pipe_too);
	tcase_add_test(c, what_is_small_takes_no_pipe);
	tcase_add_test(c, after_bulk_what_is_small_is_copied_again);
	tcase_add_test(c, a_stopped_reader_stops_the_reading);
	tcase_add_test(c, the_end_comes_after_what_is_in_the_pipe);
	tcase_add_test(c, a_reset_source_leaves_what_is_in_the_pipe);
	tcase_add_test(c, a_reset_sink_is_told_and_the_pipe_is_emptied);
	tcase_add_test(c, limits_hold_in_pipes);
	tcase_add_test(c, an_urgent_byte_does_not_stop_bulk);
	tcase_add_loop_test(c, without_a_pipe_it_is_copied, 0, 2);
	tcase_add_test(c, where_splice_fails_it_is_copied);
	tcase_add_test(c, what_cannot_leave_the_pipe_is_no_end);
	tcase_add_test(c, what_comes_may_go_back);
	suite_add_tcase(s, c);
	return suite_run(s);
}

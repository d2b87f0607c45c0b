/* SPDX-License-Identifier: MIT */
#include "transport/relay.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../suite.h"
#include "base/fd.h"
#include "base/poller.h"
#include "base/socket.h"
#include "relay_ends.h"

/* Waits until the kernel has something to tell of the stream, as the worker's poller would. */
static void await(struct stream *s, short what)
{
	struct poller p;
	struct watch none = {0};
	ck_assert_int_eq(poller_init(&p), 0);
	ck_assert_int_eq(poller_add(&p, s->fd, &none, (unsigned)what), 0);
	poller_fini(&p);
	stream_note(s, (unsigned)what);
}

static enum relay_result pump(void)
{
	int error = 0;
	return relay_pump(&from, &to, &means, BUDGET, &(size_t){SIZE_MAX}, &error);
}

/* Pumps until the result comes: the kernel's loopback delivers in its own time. */
static enum relay_result pump_until(enum relay_result wanted, int *error)
{
	enum relay_result got = RELAY_WAIT;
	for (int i = 0; i < 100000 && got != wanted; i++) {
		stream_note(&from, POLLER_READ | POLLER_END);
		stream_note(&to, POLLER_WRITE);
		got = relay_pump(&from, &to, &means, BUDGET, &(size_t){SIZE_MAX}, error);
	}
	return got;
}

START_TEST(waits_without_a_system_call_while_nothing_is_ready)
{
	ck_assert_int_eq(write(left, "x", 1), 1);
	/* no readiness was told, so nothing is read though it is there */
	ck_assert_int_eq(pump(), RELAY_WAIT);
	ck_assert_uint_eq(from.bytes_in, 0);
	await(&from, POLLER_READ);
	ck_assert_int_eq(pump(), RELAY_WAIT);
	ck_assert_uint_eq(from.bytes_in, 1);
	ck_assert_uint_eq(to.bytes_out, 1);
}
END_TEST

START_TEST(holds_nothing_while_the_reader_keeps_up)
{
	char got[8];
	ck_assert_int_eq(write(left, "hello", 5), 5);
	await(&from, POLLER_READ);
	ck_assert_int_eq(pump(), RELAY_WAIT);
	ck_assert_ptr_null(to.held);
	fcntl(right, F_SETFL, 0);
	ck_assert_int_eq(read(right, got, sizeof(got)), 5);
	ck_assert_int_eq(memcmp(got, "hello", 5), 0);
}
END_TEST

START_TEST(passes_the_end_on_after_the_data)
{
	int error = 0;
	char got[8];
	ck_assert_int_eq(write(left, "end", 3), 3);
	ck_assert_int_eq(shutdown(left, SHUT_WR), 0);
	ck_assert_int_eq(pump_until(RELAY_ENDED, &error), RELAY_ENDED);
	ck_assert(to.end_sent);
	fcntl(right, F_SETFL, 0);
	ck_assert_int_eq(read(right, got, sizeof(got)), 3);
	ck_assert_int_eq(read(right, got, sizeof(got)), 0);
	/* the other direction is still open */
	ck_assert_int_eq(write(right, "back", 4), 4);
	ck_assert_int_eq(pump(), RELAY_ENDED);
}
END_TEST

START_TEST(a_slow_reader_stops_the_reading)
{
	ck_assert_int_eq(fd_set_nonblock(left), 0);
	static uint8_t block[65536];
	uint64_t written = 0;
	/* write until nothing goes any more: the reader reads nothing */
	for (int idle = 0; idle < 1000;) {
		ssize_t n = write(left, block, sizeof(block));
		if (n > 0) {
			written += (uint64_t)n;
			idle = 0;
		} else {
			idle++;
		}
		stream_note(&from, POLLER_READ);
		ck_assert_int_ne(pump(), RELAY_TO_FAILED);
		ck_assert_uint_le(stream_held(&to), STREAM_HELD_MAX_BYTES);
	}
	ck_assert_uint_gt(stream_held(&to), 0);
	uint64_t read_in = from.bytes_in;
	stream_note(&from, POLLER_READ);
	ck_assert_int_eq(pump(), RELAY_WAIT);
	ck_assert_uint_eq(from.bytes_in, read_in);

	/* it reads again: everything arrives, nothing is held in the end */
	uint64_t got = 0;
	int error = 0;
	while (got < written) {
		ssize_t n = read(right, block, sizeof(block));
		if (n > 0)
			got += (uint64_t)n;
		stream_note(&from, POLLER_READ);
		stream_note(&to, POLLER_WRITE);
		ck_assert_int_ne(relay_pump(&from, &to, &means, BUDGET, &(size_t){SIZE_MAX}, &error), RELAY_TO_FAILED);
	}
	ck_assert_uint_eq(got, written);
	ck_assert_ptr_null(to.held);
}
END_TEST

START_TEST(the_budget_ends_a_turn)
{
	static uint8_t block[65536];
	int error = 0;
	ck_assert_int_eq(write(left, block, sizeof(block)), (ssize_t)sizeof(block));
	enum relay_result result = RELAY_WAIT;
	for (int i = 0; i < 100000 && from.bytes_in == 0; i++) {
		stream_note(&from, POLLER_READ);
		result = relay_pump(&from, &to, &means, 1, &(size_t){SIZE_MAX}, &error);
	}
	ck_assert_int_eq(result, RELAY_MORE);
}
END_TEST

START_TEST(a_reset_source_is_told)
{
	int error = 0;
	socket_reset_at_close(left);
	fd_close(&left);
	ck_assert_int_eq(pump_until(RELAY_FROM_FAILED, &error), RELAY_FROM_FAILED);
	ck_assert_int_eq(error, -ECONNRESET);
}
END_TEST

START_TEST(a_reset_sink_is_told)
{
	int error = 0;
	socket_reset_at_close(right);
	fd_close(&right);
	enum relay_result got = RELAY_WAIT;
	for (int i = 0; i < 100000 && got == RELAY_WAIT; i++) {
		ck_assert_int_eq(write(left, "x", 1), 1);
		stream_note(&from, POLLER_READ);
		stream_note(&to, POLLER_WRITE);
		got = relay_pump(&from, &to, &means, BUDGET, &(size_t){SIZE_MAX}, &error);
	}
	ck_assert_int_eq(got, RELAY_TO_FAILED);
	ck_assert(error == -ECONNRESET || error == -EPIPE);
}
END_TEST

START_TEST(closing_with_a_reset_is_one)
{
	char byte;
	stream_close(&to, true);
	fcntl(right, F_SETFL, 0);
	ck_assert_int_eq(read(right, &byte, 1), -1);
	ck_assert_int_eq(errno, ECONNRESET);
	stream_close(&to, true); /* harmless */
}
END_TEST

START_TEST(an_end_that_closes_is_sent_by_closing)
{
	char got[8];
	to.end_closes = true;
	ck_assert_int_eq(stream_end(&to), 0);
	ck_assert(to.end_sent);
	ck_assert_int_eq(recv(right, got, sizeof(got), MSG_DONTWAIT), -1);
	ck_assert_int_eq(errno, EAGAIN);
	stream_close(&to, false);
	fcntl(right, F_SETFL, 0);
	ck_assert_int_eq(recv(right, got, sizeof(got), 0), 0);
}
END_TEST

START_TEST(what_is_kept_back_for_more_can_be_pushed)
{
	char got[8];
	bool kept = false;
	fcntl(right, F_SETFL, 0);
	/* the kernel keeps it back for 200 ms, which may pass while this does not run */
	for (int i = 0; i < 20 && !kept; i++) {
		to.more_comes = true;
		ck_assert_int_eq(stream_send(&to, "more", 4), 0);
		kept = recv(right, got, sizeof(got), MSG_PEEK | MSG_DONTWAIT) < 0;
		stream_push(&to);
		ck_assert(!to.more_comes);
		ck_assert_int_eq(recv(right, got, sizeof(got), 0), 4);
	}
	ck_assert(kept);
}
END_TEST

START_TEST(bytes_with_descriptors_attached_do_not_stop_a_read)
{
	/* over a UNIX socket a read stops behind a descriptor that came along; what follows must not be forgotten */
	int pair[2];
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	char control[CMSG_SPACE(sizeof(int))] = {0};
	char one[] = "one";
	struct iovec part = {.iov_base = one, .iov_len = 3};
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = control,
				 .msg_controllen = sizeof(control)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &pair[0], sizeof(int));
	ck_assert_int_eq(sendmsg(pair[0], &message, 0), 3);
	ck_assert_int_eq(write(pair[0], "two", 3), 3);

	stream_close(&from, false);
	ck_assert_int_eq(fd_set_nonblock(pair[1]), 0);
	stream_open_take_fd(&from, &transport_plain, &pair[1], false);
	stream_note(&from, POLLER_READ);
	ck_assert_int_eq(pump(), RELAY_WAIT);
	ck_assert_uint_eq(from.bytes_in, 6);
	close(pair[0]);
}
END_TEST

START_TEST(reads_no_more_than_it_may)
{
	int error = 0;
	size_t may = 0;
	ck_assert_int_eq(write(left, "hello", 5), 5);
	ck_assert_int_eq(relay_pump(&from, &to, &means, BUDGET, &may, &error), RELAY_WAIT);
	await(&from, POLLER_READ);
	ck_assert_int_eq(relay_pump(&from, &to, &means, BUDGET, &may, &error), RELAY_PACED);
	may = 3;
	ck_assert_int_eq(relay_pump(&from, &to, &means, BUDGET, &may, &error), RELAY_PACED);
	ck_assert_uint_eq(may, 0);
	ck_assert_uint_eq(to.bytes_out, 3);
	may = 3;
	ck_assert_int_eq(relay_pump(&from, &to, &means, BUDGET, &may, &error), RELAY_WAIT);
	ck_assert_uint_eq(may, 1);
	ck_assert_uint_eq(to.bytes_out, 5);
}
END_TEST

/* Waits until the stream's descriptor has hung up or ended, and tells the stream. */
static void await_end(void)
{
	struct poller p;
	struct watch none = {0};
	ck_assert_int_eq(poller_init(&p), 0);
	ck_assert_int_eq(poller_add(&p, from.fd, &none, POLLER_END), 0);
	ck_assert_int_gt(poller_wait(&p, 10000), 0);
	poller_fini(&p);
}

START_TEST(an_end_is_known_before_it_is_read)
{
	ck_assert(!stream_ends_next(&from));
	ck_assert_int_eq(write(left, "hello", 5), 5);
	ck_assert_int_eq(shutdown(left, SHUT_WR), 0);
	await_end();
	stream_note(&from, POLLER_READ | POLLER_END);
	ck_assert(!stream_ends_next(&from));
	ck_assert_int_eq(stream_read(&from, scratch, 4), 4);
	ck_assert(!stream_ends_next(&from));
	ck_assert_int_eq(stream_read(&from, scratch, 4), 1);
	ck_assert(stream_ends_next(&from));
	ck_assert_int_eq(stream_read(&from, scratch, 1), 0);
	ck_assert(stream_ends_next(&from));
}
END_TEST

/* Reads twice, the second time from what is no socket: it fails unless no system call is made. */
static ssize_t read_behind(size_t bytes)
{
	ck_assert_int_eq(stream_read(&from, scratch, STREAM_HELD_MAX_BYTES), (ssize_t)bytes);
	int none = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ck_assert_int_ge(none, 0);
	ck_assert_int_ge(dup3(none, from.fd, O_CLOEXEC), 0);
	close(none);
	return stream_read(&from, scratch, STREAM_HELD_MAX_BYTES);
}

START_TEST(an_end_that_came_with_the_bytes_is_not_read)
{
	ck_assert_int_eq(write(left, "last", 4), 4);
	ck_assert_int_eq(shutdown(left, SHUT_WR), 0);
	await_end();
	stream_note(&from, POLLER_READ | POLLER_END);
	ck_assert_int_eq(read_behind(4), 0);
	ck_assert(from.read_ended);
}
END_TEST

START_TEST(an_end_behind_urgent_data_is_read)
{
	ck_assert_int_eq(write(left, "first", 5), 5);
	ck_assert_int_eq(send(left, "!", 1, MSG_OOB), 1);
	ck_assert_int_eq(write(left, "last", 4), 4);
	ck_assert_int_eq(shutdown(left, SHUT_WR), 0);
	await_end();
	stream_note(&from, POLLER_READ | POLLER_END | POLLER_URGENT);
	ck_assert_int_eq(stream_read(&from, scratch, STREAM_HELD_MAX_BYTES), 5);
	ck_assert_int_eq(stream_read(&from, scratch, STREAM_HELD_MAX_BYTES), 4);
	ck_assert_int_eq(stream_read(&from, scratch, STREAM_HELD_MAX_BYTES), 0);
}
END_TEST

START_TEST(a_reset_behind_bytes_is_read)
{
	ck_assert_int_eq(write(left, "last", 4), 4);
	socket_reset_at_close(left);
	fd_close(&left);
	await_end();
	stream_note(&from, POLLER_READ | POLLER_END | POLLER_HANGUP);
	ck_assert_int_eq(read_behind(4), -ENOTSOCK);
}
END_TEST

START_TEST(looking_for_the_end_takes_no_reset_for_one)
{
	socket_reset_at_close(left);
	fd_close(&left);
	await_end();
	stream_note(&from, POLLER_READ | POLLER_END | POLLER_HANGUP);
	ck_assert(stream_ends_next(&from));
	ck_assert(stream_ends_next(&from));
	ck_assert_int_eq(stream_read(&from, scratch, 1), -ECONNRESET);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("transport/relay");
	TCase *c = tcase_create("relay");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, waits_without_a_system_call_while_nothing_is_ready);
	tcase_add_test(c, holds_nothing_while_the_reader_keeps_up);
	tcase_add_test(c, passes_the_end_on_after_the_data);
	tcase_add_test(c, a_slow_reader_stops_the_reading);
	tcase_add_test(c, the_budget_ends_a_turn);
	tcase_add_test(c, a_reset_source_is_told);
	tcase_add_test(c, a_reset_sink_is_told);
	tcase_add_test(c, closing_with_a_reset_is_one);
	tcase_add_test(c, an_end_that_closes_is_sent_by_closing);
	tcase_add_test(c, what_is_kept_back_for_more_can_be_pushed);
	tcase_add_test(c, bytes_with_descriptors_attached_do_not_stop_a_read);
	tcase_add_test(c, reads_no_more_than_it_may);
	tcase_add_test(c, an_end_is_known_before_it_is_read);
	tcase_add_test(c, an_end_that_came_with_the_bytes_is_not_read);
	tcase_add_test(c, an_end_behind_urgent_data_is_read);
	tcase_add_test(c, a_reset_behind_bytes_is_read);
	tcase_add_test(c, looking_for_the_end_takes_no_reset_for_one);
	suite_add_tcase(s, c);
	return suite_run(s);
}

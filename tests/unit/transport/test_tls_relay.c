/* SPDX-License-Identifier: MIT */
/* What is copied between a stream with TLS and another stream, as the relay does it; and streams that are the client of
 * their peer. */
#include <check.h>
#include <poll.h>
#include <string.h>

#include "../suite.h"
#include "tls_ends.h"
#include "transport/relay.h"

#define BUDGET (4U * STREAM_HELD_MAX_BYTES)
#define TOTAL (2U * 1024 * 1024)

/* client <-> front | back <-> server */
static struct end front;
static struct end back;
static struct peer client = {.fd = -1};
static struct peer server = {.fd = -1};

/* Which sides speak TLS, and how large the sockets' buffers are. */
static const struct {
	int front; /* version; 0: plain */
	int back;
	int buffers;
} ways[] = {
	{TLS1_3_VERSION, 0, 0},
	{0, TLS1_3_VERSION, 0},
	{TLS1_3_VERSION, TLS1_3_VERSION, 0},
	{TLS1_2_VERSION, TLS1_3_VERSION, 0},
	{TLS1_3_VERSION, TLS1_2_VERSION, SMALL_BUFFERS},
	{TLS1_2_VERSION, 0, SMALL_BUFFERS},
};

static void setup(void)
{
	ends_setup();
	stream_init(&front.stream);
	stream_init(&back.stream);
}

static void teardown(void)
{
	stream_close(&front.stream, false);
	stream_close(&back.stream, false);
	peer_close(&client);
	peer_close(&server);
	ends_teardown();
}

static void open_way(int i)
{
	join(&front, &client, ways[i].buffers);
	join(&back, &server, ways[i].buffers);
	if (ways[i].front) {
		accept_tls(&front);
		peer_speak_tls(&client, peer_client, ways[i].front);
		shake(&front, &client);
	}
	if (ways[i].back) {
		connect_tls(&back);
		peer_speak_tls(&server, peer_server, ways[i].back);
		shake(&back, &server);
	}
}

/* Both directions, as the worker has it. Returns whether bytes moved. */
static bool pump(enum relay_result *up, enum relay_result *down)
{
	int error = 0;
	const struct relay_means means = {.scratch = scratch};
	uint64_t before = front.stream.bytes_in + front.stream.bytes_out + back.stream.bytes_in + back.stream.bytes_out;
	*up = relay_pump(&front.stream, &back.stream, &means, BUDGET, &(size_t){SIZE_MAX}, &error);
	*down = relay_pump(&back.stream, &front.stream, &means, BUDGET, &(size_t){SIZE_MAX}, &error);
	ck_assert_msg(*up < RELAY_FROM_FAILED && *down < RELAY_FROM_FAILED, "%d", error);
	ck_assert_uint_le(front.stream.sealed, SEALED_BYTES_MAX);
	ck_assert_uint_le(back.stream.sealed, SEALED_BYTES_MAX);
	return before != front.stream.bytes_in + front.stream.bytes_out + back.stream.bytes_in + back.stream.bytes_out;
}

/* TOTAL bytes each way at once. */
static void exchange(void)
{
	size_t asked = 0, heard = 0, answered = 0, got = 0;
	enum relay_result up, down;
	while (heard < TOTAL || got < TOTAL) {
		bool moved = peer_send_pattern(&client, &asked, TOTAL, 50000);
		moved = peer_send_pattern(&server, &answered, TOTAL, 30000) || moved;
		moved = pump(&up, &down) || moved;
		moved = peer_take_pattern(&server, &heard, TOTAL) || moved;
		moved = peer_take_pattern(&client, &got, TOTAL) || moved;
		if (!moved)
			await();
	}
}

START_TEST(bytes_go_both_ways_at_once)
{
	open_way(_i);
	exchange();
	ck_assert_uint_eq(front.stream.bytes_in, TOTAL);
	ck_assert_uint_eq(front.stream.bytes_out, TOTAL);
	ck_assert_uint_eq(back.stream.bytes_in, TOTAL);
	ck_assert_uint_eq(back.stream.bytes_out, TOTAL);
}
END_TEST

/* Pumps until a peer reads something else than -EAGAIN. */
static ssize_t pump_and_read(struct peer *p, uint8_t *to, size_t n)
{
	enum relay_result up, down;
	ssize_t got;
	for (;;) {
		bool moved = pump(&up, &down);
		if ((got = peer_read(p, to, n)) != -EAGAIN)
			return got;
		if (!moved)
			await();
	}
}

START_TEST(an_end_is_passed_on_and_the_answer_comes_back)
{
	uint8_t bytes[100];
	enum relay_result up, down;
	open_way(_i);
	ck_assert_int_eq(peer_write(&client, (const uint8_t *)"question", 8), 8);
	peer_end(&client);
	ck_assert_int_eq(pump_and_read(&server, bytes, sizeof(bytes)), 8);
	ck_assert_int_eq(pump_and_read(&server, bytes, sizeof(bytes)), 0);
	ck_assert_int_eq(peer_write(&server, (const uint8_t *)"answer", 6), 6);
	ck_assert_int_eq(pump_and_read(&client, bytes, sizeof(bytes)), 6);
	ck_assert_mem_eq(bytes, "answer", 6);
	peer_end(&server);
	ck_assert_int_eq(pump_and_read(&client, bytes, sizeof(bytes)), 0);
	pump(&up, &down);
	ck_assert_int_eq(up, RELAY_ENDED);
	ck_assert_int_eq(down, RELAY_ENDED);
}
END_TEST

START_TEST(the_upstream_may_end_first)
{
	uint8_t bytes[100];
	open_way(_i);
	peer_end(&server);
	ck_assert_int_eq(pump_and_read(&client, bytes, sizeof(bytes)), 0);
	ck_assert_int_eq(peer_write(&client, (const uint8_t *)"still here", 10), 10);
	ck_assert_int_eq(pump_and_read(&server, bytes, sizeof(bytes)), 10);
	peer_end(&client);
	ck_assert_int_eq(pump_and_read(&server, bytes, sizeof(bytes)), 0);
}
END_TEST

START_TEST(sleepers_are_woken_by_what_comes)
{
	open_way(_i);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 3; i++)
			tls_io_sweep(io);
		ck_assert(!tls_io_awake(io));
		exchange();
	}
}
END_TEST

/* A server's tickets, in two records, one of which is on its way. */
static size_t split_tickets(uint8_t *bytes, size_t n, size_t *first)
{
	join(&back, &server, 0);
	connect_tls(&back);
	peer_speak_tls(&server, peer_server, TLS1_3_VERSION);
	/* the ticket holds the certificate of its client */
	SSL_set_verify(server.ssl, SSL_VERIFY_PEER, NULL);
	SSL_set_session_id_context(server.ssl, (const unsigned char *)"x", 1);
	SSL_set_max_send_fragment(server.ssl, 512);
	SSL_set_num_tickets(server.ssl, 1);
	int result;
	while ((result = stream_handshake(&back.stream)) != 0) {
		ck_assert_int_eq(result, -EAGAIN);
		if (!peer_shake(&server))
			await();
	}
	/* the client is done, and the server has not heard of it */
	BIO *memory = BIO_new(BIO_s_mem());
	char *at = NULL;
	SSL_set0_wbio(server.ssl, memory);
	while (!peer_shake(&server))
		await();
	ck_assert_int_eq(peer_write(&server, (const uint8_t *)"data", 4), 4);
	long made = BIO_get_mem_data(memory, &at);
	ck_assert(made > 0 && (size_t)made <= n);
	memcpy(bytes, at, (size_t)made);
	BIO *rbio = SSL_get_rbio(server.ssl);
	BIO_up_ref(rbio);
	SSL_set0_wbio(server.ssl, rbio);
	*first = 5 + ((size_t)bytes[3] << 8 | bytes[4]);
	ck_assert_uint_gt(*first, 512); /* a whole record, and there is more of the ticket */
	return (size_t)made;
}

START_TEST(half_a_ticket_does_not_stop_us_from_sending)
{
	uint8_t bytes[8192];
	uint8_t got[100];
	size_t first = 0;
	size_t n = split_tickets(bytes, sizeof(bytes), &first);
	ck_assert_int_eq(send(server.fd, bytes, first, MSG_NOSIGNAL), (ssize_t)first);
	while (!back.stream.can_read)
		await();
	ck_assert_int_eq(stream_read(&back.stream, scratch, 100), -EAGAIN);
	ck_assert_int_eq(stream_send(&back.stream, "hello", 5), 0);
	ck_assert_int_eq(send(server.fd, bytes + first, n - first, MSG_NOSIGNAL), (ssize_t)(n - first));
	while (!back.stream.can_read)
		await();
	if (_i == 0) { /* the next to come is a read, or a flush */
		ck_assert_int_eq(end_await(&back, scratch, 100), 4);
		ck_assert_int_eq(stream_flush(&back.stream), 0);
	} else {
		ck_assert_int_eq(stream_flush(&back.stream), 0);
		ck_assert_int_eq(stream_read(&back.stream, scratch, 100), 4);
	}
	ck_assert_mem_eq(scratch, "data", 4);
	ck_assert_int_eq(peer_await(&server, got, sizeof(got)), 5);
	ck_assert_mem_eq(got, "hello", 5);
}
END_TEST

START_TEST(tickets_may_come_after_our_end)
{
	uint8_t bytes[8192];
	size_t first = 0;
	size_t n = split_tickets(bytes, sizeof(bytes), &first);
	ck_assert_int_eq(stream_end(&back.stream), 0);
	ck_assert_int_eq(send(server.fd, bytes, n, MSG_NOSIGNAL), (ssize_t)n);
	ck_assert_int_eq(end_await(&back, scratch, 100), 4);
	peer_end(&server);
	ck_assert_int_eq(end_await(&back, scratch, 100), 0);
}
END_TEST

START_TEST(a_plain_upstream_is_told)
{
	join(&back, &server, 0);
	connect_tls(&back);
	ck_assert_int_eq(stream_handshake(&back.stream), -EAGAIN);
	ck_assert_int_eq(peer_write(&server, (const uint8_t *)"220 mail.example ESMTP\r\n", 24), 24);
	int result;
	while ((result = stream_handshake(&back.stream)) == -EAGAIN)
		await();
	ck_assert_int_eq(result, -EBADMSG);
	ck_assert_int_eq(tls_session_failure(stream_tls_session(&back.stream)), TLS_FAILURE_PLAIN);
}
END_TEST

int main(void)
{
	may_sleep = dormant_init();
	Suite *s = suite_create("transport/tls_relay");
	TCase *c = tcase_create("relay");
	tcase_set_timeout(c, TEST_TIMEOUT_S);
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_loop_test(c, bytes_go_both_ways_at_once, 0, ARRAY_LEN(ways));
	tcase_add_loop_test(c, an_end_is_passed_on_and_the_answer_comes_back, 0, ARRAY_LEN(ways));
	tcase_add_loop_test(c, the_upstream_may_end_first, 0, ARRAY_LEN(ways));
	tcase_add_loop_test(c, sleepers_are_woken_by_what_comes, 0, 4);
	tcase_add_loop_test(c, half_a_ticket_does_not_stop_us_from_sending, 0, 2);
	tcase_add_test(c, tickets_may_come_after_our_end);
	tcase_add_test(c, a_plain_upstream_is_told);
	suite_add_tcase(s, c);
	return suite_run(s);
}

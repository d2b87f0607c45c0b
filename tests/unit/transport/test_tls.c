/* SPDX-License-Identifier: MIT */
#include "transport/tls.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../suite.h"
#include "../tls/pair.h"
#include "base/fd.h"
#include "base/poller.h"

/* A stream of ours, and a peer whose bytes go through the test's hands. */
static struct stream own;
static struct tls_io *io;
static SSL_CTX *context;
static SSL *peer;
static int wire = -1; /* the peer's end of the descriptor */
static uint8_t scratch[STREAM_HELD_MAX_BYTES];

/* Opens both, over a UNIX socket: what one sends the other has. Takes the session. */
static void open_pair(struct tls_session **session, SSL_CTX *peers)
{
	int pair[2];
	int few = 4096;

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	ck_assert_int_eq(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &few, sizeof(few)), 0);
	ck_assert_int_eq(fd_set_nonblock(pair[0]), 0);
	ck_assert_int_eq(fd_set_nonblock(pair[1]), 0);
	wire = pair[1];
	io = tls_io_create();
	ck_assert_ptr_nonnull(io);
	stream_open_take_fd(&own, &transport_plain, &pair[0], false);
	ck_assert_int_eq(stream_start_tls(&own, session, io), 0);
	context = peers;
	peer = SSL_new(context);
	SSL_set_bio(peer, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	BIO_set_mem_eof_return(SSL_get_rbio(peer), -1);
}

static void close_pair(void)
{
	stream_close(&own, true);
	io = tls_io_destroy(io);
	SSL_free(peer);
	SSL_CTX_free(context);
	fd_close(&wire);
}

/* Brings the first `n` bytes that the peer has made to the stream, and tells it. */
static void bring(size_t n)
{
	char *bytes = NULL;
	size_t made = (size_t)BIO_get_mem_data(SSL_get_wbio(peer), &bytes);
	size_t sent = n < made ? n : made;

	ck_assert_int_eq(send(wire, bytes, sent, 0), (ssize_t)sent);
	if (sent > 0)
		ck_assert_int_eq(BIO_read(SSL_get_wbio(peer), scratch, (int)sent), (int)sent);
	stream_note(&own, POLLER_READ);
}

/* Takes what the stream has sent to the peer. Returns how many bytes there were. */
static size_t fetch(void)
{
	size_t all = 0;
	ssize_t n;

	while ((n = recv(wire, scratch, sizeof(scratch), 0)) > 0) {
		ck_assert_int_eq(BIO_write(SSL_get_rbio(peer), scratch, (int)n), (int)n);
		all += (size_t)n;
	}
	stream_note(&own, POLLER_WRITE);
	return all;
}

static void shake(void)
{
	int own_done = -EAGAIN;

	for (int turn = 0; turn < 6; turn++) {
		(void)SSL_do_handshake(peer);
		bring(SIZE_MAX);
		own_done = stream_handshake(&own);
		(void)!stream_flush(&own);
		fetch();
	}
	ck_assert_int_eq(own_done, 0);
	ck_assert(SSL_is_init_finished(peer));
}

/* Ours accepts, the peer is a client. */
static void expect_client(void)
{
	struct made m = make((struct wish){.cn = "a.example", .san = "DNS:a.example"});
	struct tls_tickets *tickets = tls_tickets_create();
	struct tls_session *session = NULL;

	made_write(&m, "a.pem");
	struct listener_config l = listener_of("a.pem", NULL);
	struct tls_set *set = set_of(&l, tickets);
	ck_assert_int_eq(tls_session_accept(&session, set), 0);
	tls_set_unref(set);
	tls_tickets_destroy(tickets);
	made_free(&m);
	open_pair(&session, SSL_CTX_new(TLS_client_method()));
	SSL_set_connect_state(peer);
}

static void accept_client(void)
{
	expect_client();
	shake();
}

/* Each asks for an answer, which the peer never takes; the byte behind it makes it look like honest work. */
START_TEST(what_is_kept_for_a_deaf_peer_is_bounded)
{
	accept_client();
	for (int turn = 0; turn < 4000; turn++) {
		for (int i = 0; i < 8 && BIO_ctrl_pending(SSL_get_wbio(peer)) < 4096; i++) {
			ck_assert_int_eq(SSL_key_update(peer, SSL_KEY_UPDATE_REQUESTED), 1);
			ck_assert_int_eq(SSL_write(peer, "x", 1), 1);
		}
		char *bytes = NULL;
		size_t made = (size_t)BIO_get_mem_data(SSL_get_wbio(peer), &bytes);
		ssize_t sent = send(wire, bytes, made, 0);
		if (sent > 0)
			ck_assert_int_eq(BIO_read(SSL_get_wbio(peer), scratch, (int)sent), (int)sent);
		stream_note(&own, POLLER_READ);
		(void)!stream_read(&own, scratch, sizeof(scratch));
	}
	ck_assert_uint_lt(own.sealed, 256U * 1024U);

	/* and it is heard again once it listens */
	uint64_t heard = own.bytes_in;
	for (int turn = 0; turn < 100; turn++) {
		fetch();
		(void)!stream_flush(&own);
	}
	ck_assert(own.can_read);
	ck_assert_int_gt(stream_read(&own, scratch, sizeof(scratch)), 0);
	ck_assert_uint_gt(own.bytes_in, heard);
	close_pair();
}
END_TEST

/* The first ClientHello is an honest one, but for a group that costs another round; the second says that it is as long as
 * OpenSSL takes them. */
START_TEST(a_second_client_hello_is_bounded_too)
{
	static const uint8_t header[] = {22, 3, 3, 0x40, 0, 1, 1, 0xff, 0};
	static uint8_t record[5 + 16384];
	size_t sent = 0;
	int failed = 0;

	expect_client();
	ck_assert_int_eq(SSL_set1_groups_list(peer, "X448:X25519"), 1);
	(void)SSL_do_handshake(peer);
	bring(SIZE_MAX);
	ck_assert_int_eq(stream_handshake(&own), -EAGAIN);
	ck_assert_uint_gt(fetch(), 0);
	memcpy(record, header, sizeof(header));
	while (!failed && sent < 130000) {
		for (size_t at = 0; at < sizeof(record); at += 4096) {
			size_t n = sizeof(record) - at < 4096 ? sizeof(record) - at : 4096;
			ck_assert_int_eq(send(wire, record + at, n, 0), (ssize_t)n);
			sent += n;
			stream_note(&own, POLLER_READ);
			failed = stream_handshake(&own);
			if (failed != -EAGAIN)
				break;
			failed = 0;
		}
		memset(record + 5, 0, 4);
	}
	ck_assert_int_eq(failed, -EBADMSG);
	ck_assert_uint_lt(sent, 64U * 1024U);
	close_pair();
}
END_TEST

/* It answered, ended and closed before it had read all: the answer is worth as much as over a plain stream. */
START_TEST(what_a_deaf_peer_had_said_can_be_read)
{
	accept_client();
	ck_assert_int_eq(SSL_write(peer, "answer", 6), 6);
	ck_assert_int_eq(SSL_shutdown(peer), 0);
	bring(SIZE_MAX);
	fd_close(&wire);
	ck_assert_int_eq(stream_send(&own, "question", 8), -EPIPE);
	ck_assert_int_eq(stream_send(&own, "question", 8), -EPIPE);
	ck_assert_int_eq(stream_read(&own, scratch, sizeof(scratch)), 6);
	ck_assert_mem_eq(scratch, "answer", 6);
	ck_assert_int_eq(stream_read(&own, scratch, sizeof(scratch)), 0);
	close_pair();
}
END_TEST

/* Ours connects, the peer is a server whose records are as short as they may be. Its next ticket takes several. */
static void connect_server(void)
{
	static uint8_t much[1500];
	struct made m = make((struct wish){.cn = "a.example", .san = "DNS:a.example"});
	struct tls_session *session = NULL;
	struct tls_upstream_config u = {.enabled = true, .ca = list_of("a.pem", NULL)};
	struct endpoint e = {.kind = ENDPOINT_NAME, .name = "a.example"};
	struct listener_config l = {.name = "web"};
	struct config_errors *errors = config_errors_create();
	struct tls_set *set = NULL;

	made_write(&m, "a.pem");
	ck_assert_int_eq(tls_set_load(&l, "proxy", &u, NULL, errors, &set), 0);
	config_errors_destroy(errors);
	ck_assert_int_eq(tls_session_connect(&session, set, &e, NULL), 0);
	tls_set_unref(set);
	SSL_CTX *server = SSL_CTX_new(TLS_server_method());
	ck_assert_int_eq(SSL_CTX_use_cert_and_key(server, m.certificate, m.key, NULL, 1), 1);
	SSL_CTX_set_num_tickets(server, 0);
	made_free(&m);
	open_pair(&session, server);
	SSL_set_accept_state(peer);
	shake();
	SSL_set_max_send_fragment(peer, 512);
	ck_assert_int_eq(SSL_SESSION_set1_ticket_appdata(SSL_get_session(peer), much, sizeof(much)), 1);
	ck_assert_int_eq(SSL_new_session_ticket(peer), 1);
	ck_assert_int_eq(SSL_do_handshake(peer), 1);
	ck_assert_uint_gt(BIO_ctrl_pending(SSL_get_wbio(peer)), 1024);
}

/* Between two records of one message OpenSSL does not write: that is a matter of time, and nobody's fault. */
START_TEST(half_a_ticket_does_not_stop_what_is_sent)
{
	char got[16];

	connect_server();
	bring(600);
	ck_assert_int_eq(stream_read(&own, scratch, sizeof(scratch)), -EAGAIN);
	ck_assert_int_eq(stream_send(&own, "hello", 5), 0);
	ck_assert_int_eq(stream_flush(&own), -EAGAIN);
	ck_assert_int_eq(SSL_write(peer, "answer", 6), 6);
	bring(SIZE_MAX);
	ck_assert_int_eq(stream_flush(&own), 0);
	fetch();
	ck_assert_int_eq(SSL_read(peer, got, sizeof(got)), 5);
	ck_assert_int_eq(stream_read(&own, scratch, sizeof(scratch)), 6);
	close_pair();
}
END_TEST

START_TEST(half_a_ticket_does_not_stop_the_end)
{
	char got;

	connect_server();
	bring(600);
	ck_assert_int_eq(stream_read(&own, scratch, sizeof(scratch)), -EAGAIN);
	ck_assert_int_eq(stream_end(&own), -EAGAIN);
	bring(SIZE_MAX);
	ck_assert_int_eq(stream_flush(&own), 0);
	fetch();
	ck_assert_int_eq(SSL_get_error(peer, SSL_read(peer, &got, 1)), SSL_ERROR_ZERO_RETURN);
	close_pair();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("transport/tls");
	TCase *c = tcase_create("tls");
	tcase_add_checked_fixture(c, folder_create, folder_remove);
	tcase_set_timeout(c, 60);
	tcase_add_test(c, what_is_kept_for_a_deaf_peer_is_bounded);
	tcase_add_test(c, a_second_client_hello_is_bounded_too);
	tcase_add_test(c, what_a_deaf_peer_had_said_can_be_read);
	tcase_add_test(c, half_a_ticket_does_not_stop_what_is_sent);
	tcase_add_test(c, half_a_ticket_does_not_stop_the_end);
	suite_add_tcase(s, c);
	return suite_run(s);
}

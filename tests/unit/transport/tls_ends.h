/* SPDX-License-Identifier: MIT */
/* Streams with TLS over real TCP, and whom they talk with: OpenSSL, or plain sockets. Readiness comes from an
 * edge-triggered poller as it does in a worker: what a stream forgets to read or to send is never told again, and its
 * test hangs until Check ends it. */
#ifndef TESTS_UNIT_TRANSPORT_TLS_ENDS_H
#define TESTS_UNIT_TRANSPORT_TLS_ENDS_H

#include <check.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include "../tls/ca.h"
#include "../tls/pair.h"
#include "base/fd.h"
#include "base/list.h"
#include "base/poller.h"
#include "base/socket.h"
#include "tls/dormant.h"
#include "transport/tls.h"

/* As transport/tls.c has it: the most that a stream keeps for sending, with what one more call makes. */
#define SEALED_BYTES_MAX (208U * 1024U)

/* Of a socket: much less than what one write of ours makes. */
#define SMALL_BUFFERS 16384

#define TEST_TIMEOUT_S 60

/* One of ours. */
struct end {
	struct watch watch;
	struct stream stream;
};

/* Somebody else. */
struct peer {
	struct watch watch;
	int fd;
	SSL *ssl; /* NULL: plain */
};

static struct poller poller;
static struct tls_io *io;
static struct tls_set *set;
static struct tls_tickets *tickets;
static struct made ca;
static SSL_CTX *peer_client;
static SSL_CTX *peer_server;
static int may_sleep = -1; /* what dormant_init said */
static uint8_t *scratch;

static inline void end_ready(struct watch *w, unsigned events)
{
	stream_note(&CONTAINER_OF(w, struct end, watch)->stream, events);
}

static inline void peer_ready(struct watch *w, unsigned events)
{
	(void)w;
	(void)events;
}

/* Waits for an edge. */
static inline void await(void)
{
	poller_wait(&poller, -1);
	poller_dispatch(&poller);
}

static inline void set_buffers(int fd, int bytes)
{
	if (bytes > 0) {
		ck_assert_int_eq(socket_set_int(fd, SOL_SOCKET, SO_SNDBUF, bytes), 0);
		ck_assert_int_eq(socket_set_int(fd, SOL_SOCKET, SO_RCVBUF, bytes), 0);
	}
}

/* A connected pair of TCP sockets over loopback, neither of which blocks. `bytes`: of each buffer; 0: the kernel's
 * choice. */
static inline void tcp_pair(int *a, int *b, int bytes)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	set_buffers(listener, bytes);
	ck_assert_int_eq(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
	ck_assert_int_eq(listen(listener, 1), 0);
	ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&at, &length), 0);
	*a = socket(AF_INET, SOCK_STREAM, 0);
	set_buffers(*a, bytes);
	ck_assert_int_eq(connect(*a, (struct sockaddr *)&at, sizeof(at)), 0);
	*b = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
	ck_assert_int_ge(*b, 0);
	ck_assert_int_eq(socket_set_int(*a, IPPROTO_TCP, TCP_NODELAY, 1), 0);
	ck_assert_int_eq(socket_set_int(*b, IPPROTO_TCP, TCP_NODELAY, 1), 0);
	ck_assert_int_eq(fd_set_nonblock(*a), 0);
	close(listener);
}

/* An open end and its peer, both plain so far. */
static inline void join(struct end *e, struct peer *p, int bytes)
{
	int fd;
	tcp_pair(&p->fd, &fd, bytes);
	stream_open_take_fd(&e->stream, &transport_plain, &fd, true);
	e->watch.ready = end_ready;
	p->watch.ready = peer_ready;
	unsigned what = POLLER_READ | POLLER_WRITE | POLLER_END | POLLER_EDGE;
	ck_assert_int_eq(poller_add(&poller, e->stream.fd, &e->watch, what), 0);
	ck_assert_int_eq(poller_add(&poller, p->fd, &p->watch, what), 0);
}

static inline void peer_speak_tls(struct peer *p, SSL_CTX *context, int version)
{
	p->ssl = SSL_new(context);
	ck_assert_ptr_nonnull(p->ssl);
	SSL_set_fd(p->ssl, p->fd);
	if (version) {
		SSL_set_min_proto_version(p->ssl, version);
		SSL_set_max_proto_version(p->ssl, version);
	}
	if (context == peer_client)
		SSL_set_connect_state(p->ssl);
	else
		SSL_set_accept_state(p->ssl);
}

static inline void peer_close(struct peer *p)
{
	SSL_free(p->ssl);
	p->ssl = NULL;
	if (p->fd >= 0)
		fd_close(&p->fd);
}

/* The end takes clients; its peer is one that has not said anything yet. */
static inline void accept_tls(struct end *e)
{
	struct tls_session *session;
	ck_assert_int_eq(tls_session_accept(&session, set), 0);
	ck_assert_int_eq(stream_start_tls(&e->stream, &session, io), 0);
	ck_assert_ptr_null(session);
}

/* The end is a client of its peer. */
static inline void connect_tls(struct end *e)
{
	struct tls_session *session;
	struct endpoint upstream = {.kind = ENDPOINT_NAME};
	strcpy(upstream.name, "a.example");
	ck_assert_int_eq(tls_session_connect(&session, set, &upstream, NULL), 0);
	ck_assert_int_eq(stream_start_tls(&e->stream, &session, io), 0);
}

/* A step of the peer's handshake. Returns whether it is done. */
static inline bool peer_shake(struct peer *p)
{
	ERR_clear_error();
	int done = SSL_do_handshake(p->ssl);
	int error = SSL_get_error(p->ssl, done);
	ck_assert_msg(done == 1 || error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE, "%d: %s", error,
		      ERR_error_string(ERR_peek_error(), NULL));
	return done == 1;
}

static inline void shake(struct end *e, struct peer *p)
{
	bool ours = false;
	bool theirs = false;
	for (;;) {
		theirs = theirs || peer_shake(p);
		if (!ours) {
			int result = stream_handshake(&e->stream);
			ck_assert_msg(result == 0 || result == -EAGAIN, "%d: %s", result,
				      tls_session_failure_text(stream_tls_session(&e->stream)));
			ours = result == 0;
		}
		if (ours && theirs)
			return;
		await();
	}
}

/* Bytes that are written, or -EAGAIN. */
static inline ssize_t peer_write(struct peer *p, const uint8_t *from, size_t n)
{
	size_t put = 0;
	if (!p->ssl) {
		ssize_t sent = send(p->fd, from, n, MSG_NOSIGNAL);
		return sent < 0 ? -errno : sent;
	}
	ERR_clear_error();
	int done = SSL_write_ex(p->ssl, from, n, &put);
	int error = SSL_get_error(p->ssl, done);
	if (done == 1)
		return (ssize_t)put;
	ck_assert_msg(error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE, "%d: %s", error,
		      ERR_error_string(ERR_peek_error(), NULL));
	return -EAGAIN;
}

/* Bytes that are read, 0 at the clean end, -EAGAIN, -EBADMSG for an alert, -errno. */
static inline ssize_t peer_read(struct peer *p, uint8_t *to, size_t n)
{
	size_t got = 0;
	if (!p->ssl) {
		ssize_t came = recv(p->fd, to, n, 0);
		return came < 0 ? -errno : came;
	}
	ERR_clear_error();
	errno = 0;
	int done = SSL_read_ex(p->ssl, to, n, &got);
	if (done == 1)
		return (ssize_t)got;
	switch (SSL_get_error(p->ssl, done)) {
	case SSL_ERROR_WANT_READ:
	case SSL_ERROR_WANT_WRITE:
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		return errno ? -errno : -EPROTO;
	default:
		return ERR_GET_REASON(ERR_peek_error()) >= SSL_AD_REASON_OFFSET ? -EBADMSG : -EPROTO;
	}
}

/* Waits until the peer reads something. */
static inline ssize_t peer_await(struct peer *p, uint8_t *to, size_t n)
{
	ssize_t got;
	while ((got = peer_read(p, to, n)) == -EAGAIN)
		await();
	return got;
}

/* The same of an end. */
static inline ssize_t end_await(struct end *e, uint8_t *to, size_t n)
{
	ssize_t got;
	while ((got = stream_read(&e->stream, to, n)) == -EAGAIN)
		await();
	return got;
}

/* Passes the peer's end on: close_notify, and for a plain one TCP's. */
static inline void peer_end(struct peer *p)
{
	if (p->ssl)
		ck_assert_int_ge(SSL_shutdown(p->ssl), 0);
	else
		ck_assert_int_eq(shutdown(p->fd, SHUT_WR), 0);
}

/* The stream of bytes that tests send: they know what stands where. */
static inline uint8_t pattern_at(size_t at)
{
	return (uint8_t)(at ^ at >> 8 ^ at >> 16 ^ at * 7);
}

static inline void pattern_fill(uint8_t *to, size_t at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] = pattern_at(at + i);
}

static inline void pattern_check(const uint8_t *from, size_t at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (from[i] != pattern_at(at + i))
			ck_abort_msg("byte %zu is wrong", at + i);
}

/* The peer sends its next bytes, at most `chunk`. Returns whether some went. */
static inline bool peer_send_pattern(struct peer *p, size_t *sent, size_t total, size_t chunk)
{
	static uint8_t block[65536];
	size_t n = total - *sent < chunk ? total - *sent : chunk;
	if (n == 0)
		return false;
	ck_assert_uint_le(n, sizeof(block));
	pattern_fill(block, *sent, n);
	ssize_t put = peer_write(p, block, n);
	ck_assert_msg(put > 0 || put == -EAGAIN, "%zd", put);
	*sent += put > 0 ? (size_t)put : 0;
	return put > 0;
}

/* The peer reads what is there. Returns whether something was. */
static inline bool peer_take_pattern(struct peer *p, size_t *got, size_t total)
{
	static uint8_t block[65536];
	ssize_t n = *got < total ? peer_read(p, block, sizeof(block)) : -EAGAIN;
	ck_assert_msg(n > 0 || n == -EAGAIN, "%zd", n);
	if (n < 0)
		return false;
	pattern_check(block, *got, (size_t)n);
	*got += (size_t)n;
	return true;
}

/* `total` bytes from the peer to the stream, written in pieces of `chunk`, read in pieces of `n`. */
static inline void pass_in(struct end *e, struct peer *p, size_t total, size_t chunk, size_t n)
{
	size_t sent = 0;
	size_t got = 0;
	while (got < total) {
		bool moved = peer_send_pattern(p, &sent, total, chunk);
		ssize_t came;
		while ((came = stream_read(&e->stream, scratch, n)) > 0) {
			pattern_check(scratch, got, (size_t)came);
			got += (size_t)came;
			moved = true;
		}
		ck_assert_int_eq(came, -EAGAIN);
		if (!moved)
			await();
	}
	ck_assert_uint_eq(got, total);
}

/* And the other way, sent in pieces of `chunk`. */
static inline void pass_out(struct end *e, struct peer *p, size_t total, size_t chunk)
{
	size_t sent = 0;
	size_t got = 0;
	while (got < total || !stream_is_out(&e->stream)) {
		int failed = stream_flush(&e->stream);
		ck_assert_msg(failed == 0 || failed == -EAGAIN, "%d", failed);
		size_t n = total - sent < chunk ? total - sent : chunk;
		if (n > stream_room(&e->stream))
			n = stream_room(&e->stream);
		if (!failed && n > 0) {
			pattern_fill(scratch, sent, n);
			ck_assert_int_eq(stream_send(&e->stream, scratch, n), 0);
			sent += n;
		}
		ck_assert_uint_le(e->stream.sealed, SEALED_BYTES_MAX);
		if (!peer_take_pattern(p, &got, total) && (failed || n == 0))
			await();
	}
}

static inline int trust_all(X509_STORE_CTX *chain, void *arg)
{
	(void)chain;
	(void)arg;
	return 1;
}

static inline SSL_CTX *peer_context(const SSL_METHOD *method, const struct made *m)
{
	SSL_CTX *context = SSL_CTX_new(method);
	SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	ck_assert_int_eq(SSL_CTX_use_certificate(context, m->certificate), 1);
	ck_assert_int_eq(SSL_CTX_use_PrivateKey(context, m->key), 1);
	SSL_CTX_set_cert_verify_callback(context, trust_all, NULL);
	return context;
}

/* A set for both sides, and contexts for their peers. Clients may come with a certificate. */
static inline void ends_setup(void)
{
	folder_create();
	ca = make((struct wish){.cn = "ca", .is_ca = true});
	struct made own = make((struct wish){.cn = "a.example", .san = "DNS:a.example", .by = &ca});
	made_write(&own, "own.pem");
	made_write_certificate(&ca, "ca.pem", "w");
	struct listener_config l = listener_of("own.pem", NULL);
	l.tls.client = (struct tls_client_config){.enabled = true,
						  .ca = list_of("ca.pem", NULL),
						  .verify = TLS_VERIFY_OPTIONAL};
	struct tls_upstream_config up = {.enabled = true, .ca = list_of("ca.pem", NULL), .certificate = "own.pem"};
	struct config_errors *errors = config_errors_create();
	tickets = tls_tickets_create();
	int failed = tls_set_load(&l, "proxy", &up, tickets, errors, &set);
	if (failed)
		config_errors_print(errors, stderr);
	ck_assert_int_eq(failed, 0);
	config_errors_destroy(errors);
	peer_client = peer_context(TLS_client_method(), &own);
	peer_server = peer_context(TLS_server_method(), &own);
	made_free(&own);
	ck_assert_int_eq(poller_init(&poller), 0);
	io = tls_io_create();
	scratch = malloc(STREAM_HELD_MAX_BYTES);
	ck_assert(io && scratch);
}

static inline void ends_teardown(void)
{
	tls_io_destroy(io);
	tls_set_unref(set);
	tls_tickets_destroy(tickets);
	SSL_CTX_free(peer_client);
	SSL_CTX_free(peer_server);
	made_free(&ca);
	poller_fini(&poller);
	free(scratch);
	folder_remove();
}

#endif

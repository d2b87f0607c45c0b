/* SPDX-License-Identifier: MIT */
/* A client that has shaken hands in good order, and then does what the input says, over a wire that may break: it writes,
 * asks for new keys, ends, is delivered in odd pieces; bytes are changed, added, cut off. What comes out at either end is
 * a beginning of what went in at the other, and an end is told only where one was meant.
 *
 * Input: which version; then pairs of a deed and a number. */
#include <errno.h>
#include <sys/socket.h>

#include "base/poller.h"
#include "tls_set.h"
#include "transport/tls.h"

#define SEALED_BYTES_MAX (280U * 1024U)
#define DATA_BYTES 65536U

static struct tls_set *set;
static struct tls_io *io;
static SSL_CTX *context;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	static struct memory_file a;
	memory_file_open(&a, PEM_A PEM_A_KEY);
	struct tls_tickets *tickets = tls_tickets_create();
	struct listener_config l = fuzz_listener();
	l.tls.certificate = FUZZ_LIST(a.path);
	set = fuzz_load(&l, NULL, tickets);
	tls_tickets_destroy(tickets);
	io = tls_io_create();
	context = SSL_CTX_new(TLS_client_method());
	must(io && context);
	return 0;
}

/* Both ends, and what went through. */
struct scene {
	struct stream stream;
	SSL *client;  /* its bytes go to memory, and from there to the wire when the input says so */
	int wire;     /* the client's end */
	bool broken;  /* bytes were changed: it may fail */
	bool said_so; /* the client has sent its end */
	bool failed;  /* the stream's reading has */
	size_t up_sent, up_got, down_sent, down_got;
};

static uint8_t data_at(size_t at)
{
	return (uint8_t)(at * 7 ^ at >> 8);
}

static void fill(uint8_t *to, size_t at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		to[i] = data_at(at + i);
}

static void check(const uint8_t *from, size_t at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		must(from[i] == data_at(at + i));
}

/* At most `n` bytes of what the client has made go over the wire; the first of them is changed by `change`. */
WORKER_ONLY static void deliver(struct scene *s, size_t n, uint8_t change)
{
	static uint8_t bytes[DATA_BYTES];
	BIO *made = SSL_get_wbio(s->client);
	char *at = NULL;
	long there = BIO_get_mem_data(made, &at);
	size_t wanted = there <= 0 ? 0 : (size_t)there < n ? (size_t)there : n;
	if (wanted > DATA_BYTES)
		wanted = DATA_BYTES;
	if (wanted == 0)
		return;
	memcpy(bytes, at, wanted);
	bytes[0] ^= change;
	ssize_t sent = send(s->wire, bytes, wanted, MSG_NOSIGNAL);
	if (sent > 0)
		must(BIO_read(made, bytes, (int)sent) == sent);
	stream_note(&s->stream, POLLER_READ);
}

/* The client reads what has come. */
WORKER_ONLY static void client_reads(struct scene *s)
{
	static uint8_t bytes[DATA_BYTES];
	ssize_t came;
	int got;
	while ((came = recv(s->wire, bytes, sizeof(bytes), 0)) > 0)
		must(BIO_write(SSL_get_rbio(s->client), bytes, (int)came) == (int)came);
	stream_note(&s->stream, POLLER_WRITE);
	while ((got = SSL_read(s->client, bytes, sizeof(bytes))) > 0) {
		check(bytes, s->down_got, (size_t)got);
		s->down_got += (size_t)got;
		must(s->down_got <= s->down_sent);
	}
	ERR_clear_error();
}

WORKER_ONLY static void client_writes(struct scene *s, size_t n)
{
	static uint8_t bytes[DATA_BYTES];
	if (s->said_so || n == 0 || BIO_ctrl_pending(SSL_get_wbio(s->client)) > 4 * DATA_BYTES)
		return;
	fill(bytes, s->up_sent, n);
	if (SSL_write(s->client, bytes, (int)n) > 0)
		s->up_sent += n;
	ERR_clear_error();
}

WORKER_ONLY static void note_failure(struct scene *s, int error)
{
	must(s->broken);
	must(error == -EBADMSG || error == -ENODATA || error == -EPIPE || error == -ECONNRESET);
	if (error == -EBADMSG)
		must(tls_session_failure(stream_tls_session(&s->stream)) != TLS_FAILURE_NONE);
	s->failed = true;
}

WORKER_ONLY static void stream_reads(struct scene *s, size_t n)
{
	static uint8_t bytes[DATA_BYTES];
	ssize_t got = 1;
	while (!s->failed && (got = stream_read(&s->stream, bytes, n)) > 0) {
		check(bytes, s->up_got, (size_t)got);
		s->up_got += (size_t)got;
		must(s->up_got <= s->up_sent);
	}
	if (got == 0)
		must(s->said_so && (s->up_got == s->up_sent));
	else if (got < 0 && got != -EAGAIN)
		note_failure(s, (int)got);
	must(ERR_peek_error() == 0);
}

WORKER_ONLY static void stream_writes(struct scene *s, size_t n)
{
	static uint8_t bytes[DATA_BYTES];
	if (s->failed || s->stream.end_wanted || n == 0 || n > stream_room(&s->stream))
		return;
	fill(bytes, s->down_sent, n);
	s->down_sent += n;
	int failed = stream_send(&s->stream, bytes, n);
	if (failed)
		note_failure(s, failed);
	must(ERR_peek_error() == 0);
}

WORKER_ONLY static void stream_flushes(struct scene *s, bool ends)
{
	int failed = s->failed ? 0 : ends ? stream_end(&s->stream) : stream_flush(&s->stream);
	if (failed && failed != -EAGAIN)
		note_failure(s, failed);
	must(s->stream.sealed <= SEALED_BYTES_MAX);
	must(ERR_peek_error() == 0);
}

WORKER_ONLY static void act(struct scene *s, uint8_t deed, size_t n)
{
	uint8_t byte = (uint8_t)n;
	switch (deed % 16) {
	case 0:
		client_writes(s, n);
		break;
	case 1:
		client_writes(s, n * 97);
		break;
	case 2:
		client_reads(s);
		break;
	case 3:
		deliver(s, n, 0);
		break;
	case 4:
		deliver(s, n * 256, 0);
		break;
	case 5:
		stream_reads(s, n ? n : 1);
		break;
	case 6:
		stream_reads(s, n ? n * 256 : 1);
		break;
	case 7:
		stream_writes(s, n);
		break;
	case 8:
		stream_writes(s, n * 255);
		break;
	case 9:
		stream_flushes(s, false);
		break;
	case 10:
		stream_flushes(s, n < 64);
		break;
	case 11:
		/* new keys; an older client wants to shake hands anew, and takes it ill that nobody does */
		if (SSL_version(s->client) != TLS1_3_VERSION) {
			s->broken = true;
			(void)SSL_renegotiate(s->client);
		} else if (!s->said_so) {
			(void)SSL_key_update(s->client,
					     n % 2 ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED);
		}
		(void)SSL_do_handshake(s->client);
		ERR_clear_error();
		break;
	case 12:
		s->said_so = s->said_so || n < 64;
		if (s->said_so)
			(void)SSL_shutdown(s->client);
		ERR_clear_error();
		break;
	case 13:
		tls_io_sweep(io);
		break;
	case 14: /* bytes of nobody's */
		if (n % 4 == 0)
			break;
		s->broken = true;
		if (send(s->wire, &byte, 1, MSG_NOSIGNAL) == 1)
			stream_note(&s->stream, POLLER_READ);
		break;
	default: /* bytes that are changed, a wire that ends */
		s->broken = s->broken || n > 0;
		if (n < 128)
			deliver(s, 1, byte);
		else if (shutdown(s->wire, SHUT_WR) == 0)
			stream_note(&s->stream, POLLER_READ | POLLER_END);
		break;
	}
}

/* Returns whether both are done. */
WORKER_ONLY static bool shake(struct scene *s)
{
	int done = -EAGAIN;
	for (int turn = 0; turn < 4 && (done || !SSL_is_init_finished(s->client)); turn++) {
		(void)SSL_do_handshake(s->client);
		deliver(s, DATA_BYTES, 0);
		if (done)
			done = stream_handshake(&s->stream);
		client_reads(s);
	}
	return done == 0 && SSL_is_init_finished(s->client);
}

/* Whether all that was sent has arrived. */
static bool is_over(const struct scene *s)
{
	return s->up_got == s->up_sent && s->down_got == s->down_sent && s->stream.read_ended == s->said_so &&
	       stream_is_out(&s->stream);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct scene s = {0};
	struct tls_session *session = NULL;
	int pair[2];
	if (n < 1 || n > 4096)
		return 0;
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
	stream_open_take_fd(&s.stream, &transport_plain, &pair[0], false);
	s.wire = pair[1];
	must(tls_session_accept(&session, set) == 0);
	must(stream_start_tls(&s.stream, &session, io) == 0);
	s.client = SSL_new(context);
	SSL_set_max_proto_version(s.client, bytes[0] % 4 == 0 ? TLS1_2_VERSION : TLS1_3_VERSION);
	SSL_set_bio(s.client, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	BIO_set_mem_eof_return(SSL_get_rbio(s.client), -1);
	SSL_set_connect_state(s.client);
	must(shake(&s));

	for (size_t i = 1; i + 1 < n; i += 2)
		act(&s, bytes[i], bytes[i + 1]);

	/* nobody is left waiting for what is there */
	for (int turn = 0; !s.broken && turn < 64 && !is_over(&s); turn++) {
		deliver(&s, DATA_BYTES, 0);
		stream_reads(&s, DATA_BYTES);
		stream_flushes(&s, false);
		client_reads(&s);
	}
	must(s.broken || is_over(&s));
	stream_close(&s.stream, bytes[0] & 0x80);
	must(ERR_peek_error() == 0);
	SSL_free(s.client);
	close(s.wire);
	return 0;
}

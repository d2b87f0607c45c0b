/* SPDX-License-Identifier: MIT */
#include "transport/tls.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "base/socket.h"
#include "transport/tls_priv.h"
#include "transport/wire.h"

/* The most that a stream keeps for a peer that takes nothing: then OpenSSL has to wait, and reading with it. */
#define SEALED_MAX_BYTES (OUT_BYTES + 64U * 1024U)

/* Bytes that may come without a byte of data for us: empty records, key updates, a handshake. */
#define BARREN_MAX_BYTES (256U * 1024U)

/* The same in the handshake of a client that is asked for no certificate: two of its longest ClientHellos, and the rest.
 * Until then OpenSSL keeps what comes. */
#define HANDSHAKE_MAX_BYTES (3U * CLIENT_HELLO_MAX_BYTES)

#define ALERT_BYTES 7

/* ---- sending */

/* Appends to what the stream keeps for sending. */
WORKER_ONLY static int keep_sealed(struct stream *s, const uint8_t *from, size_t n)
{
	struct tls_layer *t = s->tls;
	uint8_t *grown = malloc(s->sealed + n);
	if (!grown)
		return -ENOMEM;
	if (s->sealed > 0)
		memcpy(grown, t->sealed + t->sealed_from, s->sealed);
	memcpy(grown + s->sealed, from, n);
	free(t->sealed);
	t->sealed = grown;
	t->sealed_from = 0;
	s->sealed += (uint32_t)n;
	return 0;
}

/* Notes that the descriptor takes nothing more, unless it only has to be waited for. Returns the error. */
WORKER_ONLY static int note_deaf(struct tls_layer *t, ssize_t error)
{
	if (error != -EAGAIN)
		t->deaf = (int)error;
	return (int)error;
}

/* Sends what the stream keeps. Returns 0 when it is out, -EAGAIN, -errno. */
WORKER_ONLY static int send_sealed(struct stream *s)
{
	struct tls_layer *t = s->tls;
	while (s->sealed > 0) {
		if (t->deaf)
			return t->deaf;
		if (!s->can_write)
			return -EAGAIN;
		ssize_t put = wire_write(s, t->sealed + t->sealed_from, s->sealed);
		if (put < 0)
			return note_deaf(t, put);
		t->sealed_from += (uint32_t)put;
		s->sealed -= (uint32_t)put;
	}
	free(t->sealed);
	t->sealed = NULL;
	return 0;
}

/* Sends what OpenSSL has made in this call, behind what is kept; keeps what the kernel does not take. Returns 0 or
 * -errno. */
WORKER_ONLY static int send_made(struct stream *s)
{
	struct tls_layer *t = s->tls;
	struct tls_io *io = t->io;
	size_t from = 0;
	int failed = t->deaf && io->out_to > 0 ? t->deaf : send_sealed(s);
	if (failed == -EAGAIN)
		failed = 0;
	while (!failed && s->sealed == 0 && s->can_write && from < io->out_to) {
		ssize_t put = wire_write(s, io->out + from, io->out_to - from);
		if (put == -EAGAIN)
			break;
		if (put < 0)
			failed = note_deaf(t, put);
		else
			from += (size_t)put;
	}
	if (!failed && from < io->out_to)
		failed = keep_sealed(s, io->out + from, io->out_to - from);
	if (io->out_to > 0)
		t->spoke = true;
	s->talk += (uint32_t)io->out_to;
	io->out_to = 0;
	return failed;
}

/* ---- OpenSSL's side */

WORKER_ONLY static int bio_write(BIO *bio, const char *from, size_t n, size_t *put)
{
	struct stream *s = BIO_get_data(bio);
	struct tls_io *io = s->tls->io;
	BIO_clear_retry_flags(bio);
	if (io->out_to == OUT_BYTES) {
		int failed = send_made(s);
		if (failed) {
			s->tls->wire_error = failed;
			return 0;
		}
		if (s->sealed >= SEALED_MAX_BYTES) {
			BIO_set_retry_write(bio);
			return 0;
		}
	}
	*put = n < OUT_BYTES - io->out_to ? n : OUT_BYTES - io->out_to;
	memcpy(io->out + io->out_to, from, *put);
	io->out_to += *put;
	return 1;
}

/* Receives into the shared memory. Returns true when there is something. */
WORKER_ONLY static bool receive(struct stream *s)
{
	struct tls_layer *t = s->tls;
	struct tls_io *io = t->io;
	if (!s->can_read || t->barren_bytes >= t->barren_most)
		return false;
	ssize_t got = wire_read(s, io->received, io->room < IN_BYTES ? io->room : IN_BYTES);
	if (got > 0) {
		t->barren_bytes += (uint32_t)got;
		io->in = io->received;
		io->in_from = 0;
		io->in_to = (size_t)got;
	} else if (got == 0 && s->was_reset) {
		t->wire_error = -ECONNRESET;
	} else if (got == 0) {
		t->wire_ended = true;
	} else if (got != -EAGAIN) {
		t->wire_error = (int)got;
	}
	return got > 0;
}

WORKER_ONLY static int bio_read(BIO *bio, char *to, size_t n, size_t *got)
{
	struct stream *s = BIO_get_data(bio);
	struct tls_layer *t = s->tls;
	struct tls_io *io = t->io;
	BIO_clear_retry_flags(bio);
	if (io->in_from == io->in_to && !receive(s)) {
		if (!t->wire_ended && !t->wire_error)
			BIO_set_retry_read(bio);
		return 0;
	}
	*got = n < io->in_to - io->in_from ? n : io->in_to - io->in_from;
	t->plain = client_hello_is_plain(&t->hello, io->in + io->in_from, *got);
	if (t->plain)
		return 0;
	if (!client_hello_accepts(&t->hello, io->in + io->in_from, *got)) {
		t->refused = true;
		return 0;
	}
	memcpy(to, io->in + io->in_from, *got);
	io->in_from += *got;
	return 1;
}

static long bio_ctrl(BIO *bio, int command, long n UNUSED, void *p UNUSED)
{
	const struct stream *s = BIO_get_data(bio);
	switch (command) {
	case BIO_CTRL_FLUSH:
		return 1;
	case BIO_CTRL_EOF:
		return s->tls->wire_ended;
	default:
		return 0;
	}
}

struct tls_io *tls_io_create(void)
{
	struct tls_io *io = malloc(sizeof(*io));
	if (!io)
		return NULL;
	io->in_from = 0;
	io->in_to = 0;
	io->out_to = 0;
	io->sweeps = 0;
	io->sweep_goes_on = false;
	list_init(&io->awake);
	/* without an index of its own, of which OpenSSL has fewer than there may be workers: nobody looks for it */
	io->method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "stream");
	if (!io->method || !BIO_meth_set_write_ex(io->method, bio_write) ||
	    !BIO_meth_set_read_ex(io->method, bio_read) || !BIO_meth_set_ctrl(io->method, bio_ctrl))
		return tls_io_destroy(io);
	return io;
}

struct tls_io *tls_io_destroy(struct tls_io *io)
{
	if (!io)
		return NULL;
	BIO_meth_free(io->method);
	free(io);
	return NULL;
}

/* ---- around each call of OpenSSL */

/* What the last call left of what was received is received again by the next one. */
WORKER_ONLY static void begin(struct tls_layer *t)
{
	struct tls_io *io = t->io;
	tls_wake(t);
	io->in = t->kept;
	io->in_from = 0;
	io->in_to = t->kept_bytes;
	io->room = IN_BYTES;
	ERR_clear_error();
}

/* Keeps what is left of what was received, and sends what was made. Returns 0 or -errno. */
WORKER_ONLY static int finish(struct stream *s)
{
	struct tls_layer *t = s->tls;
	struct tls_io *io = t->io;
	size_t left = io->in_to - io->in_from;
	uint8_t *kept = NULL;
	int failed = 0;
	if (left > 0) {
		kept = malloc(left);
		if (kept)
			memcpy(kept, io->in + io->in_from, left);
		else
			failed = -ENOMEM;
	}
	free(t->kept);
	t->kept = kept;
	t->kept_bytes = kept ? (uint32_t)left : 0;
	io->in_from = 0;
	io->in_to = 0;
	int unsent = send_made(s);
	return failed ? failed : unsent;
}

/* Says in the clear why nothing comes of it: OpenSSL says nothing to a peer whose first bytes are not TLS. */
WORKER_ONLY static void add_alert(struct tls_layer *t, uint8_t description)
{
	const uint8_t alert[ALERT_BYTES] = {SSL3_RT_ALERT, TLS1_VERSION_MAJOR, 1, 0, 2, SSL3_AL_FATAL, description};
	struct tls_io *io = t->io;
	if (t->spoke || io->out_to > 0)
		return;
	memcpy(io->out, alert, sizeof(alert));
	io->out_to = sizeof(alert);
}

/* What a call that did not succeed means. Returns -EAGAIN, 0 for the peer's close_notify, or an -errno that stays. */
WORKER_ONLY static int outcome(struct stream *s, int returned)
{
	struct tls_layer *t = s->tls;
	switch (SSL_get_error(t->ssl, returned)) {
	case SSL_ERROR_WANT_READ:
		if (t->barren_bytes < t->barren_most)
			return -EAGAIN;
		tls_session_note(t->session, TLS_FAILURE_PROTOCOL, "too much came without a byte of data");
		return -EBADMSG;
	case SSL_ERROR_WANT_WRITE:
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	case SSL_ERROR_SYSCALL:
		if (t->plain) {
			tls_session_note(t->session, TLS_FAILURE_PLAIN, "the first bytes are not TLS");
			add_alert(t, SSL_AD_UNEXPECTED_MESSAGE);
			return -EBADMSG;
		}
		if (t->refused) {
			tls_session_note(t->session, TLS_FAILURE_PROTOCOL, "the ClientHello is longer than 16 KiB");
			add_alert(t, SSL_AD_ILLEGAL_PARAMETER);
			return -EBADMSG;
		}
		return t->wire_error ? t->wire_error : -ENODATA;
	default:
		break;
	}
	if (t->wire_error) { /* OpenSSL has made an error of its own of it */
		ERR_clear_error();
		return t->wire_error;
	}
	switch (tls_session_note_failure(t->session)) {
	case TLS_FAILURE_TRUNCATED:
		return -ENODATA;
	case TLS_FAILURE_MEMORY:
		return -ENOMEM;
	case TLS_FAILURE_PLAIN:
		add_alert(t, SSL_AD_UNEXPECTED_MESSAGE);
		return -EBADMSG;
	case TLS_FAILURE_VERSION:
		add_alert(t, SSL_AD_PROTOCOL_VERSION);
		return -EBADMSG;
	default:
		return -EBADMSG;
	}
}

/* ---- the stream's side */

int stream_start_tls(struct stream *s, struct tls_session **session, struct tls_io *io)
{
	struct tls_session *taken = *session;
	*session = NULL;
	struct tls_layer *t = calloc(1, sizeof(*t));
	BIO *bio = BIO_new(io->method);
	if (!t || !bio) {
		free(t);
		BIO_free(bio);
		tls_session_destroy(taken);
		return -ENOMEM;
	}
	t->session = taken;
	t->ssl = tls_session_ssl(taken);
	t->io = io;
	list_init(&t->node);
	bool is_short = SSL_is_server(t->ssl) && SSL_get_verify_mode(t->ssl) == SSL_VERIFY_NONE;
	t->barren_most = is_short ? HANDSHAKE_MAX_BYTES : BARREN_MAX_BYTES;
	if (!SSL_is_server(t->ssl))
		client_hello_accept_all(&t->hello);
	BIO_set_data(bio, s);
	BIO_set_init(bio, 1);
	SSL_set_bio(t->ssl, bio, bio);
	must(s->transport == &transport_plain);
	s->transport = &transport_tls;
	s->tls = t;
	return 0;
}

int stream_handshake(struct stream *s)
{
	struct tls_layer *t = s->tls;
	if (t->failed)
		return t->failed;
	begin(t);
	int done = SSL_do_handshake(t->ssl);
	int result = done == 1 ? 0 : outcome(s, done);
	if (done != 1 && result == 0)
		result = -ENODATA; /* a close_notify instead of a handshake */
	if (result && result != -EAGAIN)
		t->failed = result;
	int failed = finish(s);
	if (failed && !t->failed)
		t->failed = failed;
	if (t->failed) {
		list_remove(&t->node);
		t->ssl = NULL;
		tls_session_release(t->session);
		return t->failed;
	}
	if (result == 0) {
		t->shaken = true;
		t->barren_most = BARREN_MAX_BYTES;
		client_hello_accept_all(&t->hello);
		t->barren_bytes = 0;
		/* what came with the handshake's last bytes is data: no edge will tell of it */
		if (t->kept || SSL_has_pending(t->ssl))
			s->can_read = true;
	}
	return result;
}

struct tls_session *stream_tls_session(const struct stream *s)
{
	if (!s->tls)
		return NULL;
	tls_wake(s->tls);
	return s->tls->session;
}

/* The connection is over, and only waits for its peer to see why. Returns 0, -EAGAIN or -errno as wire_read. */
WORKER_ONLY static ssize_t throw_away(struct stream *s)
{
	struct tls_io *io = s->tls->io;
	size_t thrown = 0;
	while (thrown < BARREN_MAX_BYTES) {
		ssize_t got = s->can_read ? wire_read(s, io->received, IN_BYTES) : -EAGAIN;
		if (got <= 0)
			return got;
		thrown += (size_t)got;
	}
	return -EBADMSG;
}

WORKER_ONLY static ssize_t tls_read(struct stream *s, void *to, size_t n)
{
	struct tls_layer *t = s->tls;
	if (!t->ssl)
		return throw_away(s);
	if (t->failed)
		return t->failed;
	/* a peer that makes us answer, by key updates for one, and takes no answer is not heard until it does */
	int unsent = s->sealed >= SEALED_MAX_BYTES ? send_sealed(s) : 0;
	if (unsent == -EAGAIN && s->sealed >= SEALED_MAX_BYTES)
		return unsent;
	begin(t);
	size_t done = 0;
	int result = 1;
	/* a record that is not whole yet, and one that does not fit, are left for the next call */
	while (result == 1 && (done == 0 || n - done >= SSL3_RT_MAX_PLAIN_LENGTH)) {
		size_t got;
		t->io->room = n - done < SSL3_RT_MAX_PLAIN_LENGTH ? SSL3_RT_MAX_PLAIN_LENGTH : n - done;
		int read = SSL_read_ex(t->ssl, (uint8_t *)to + done, n - done, &got);
		if (read == 1) {
			done += got;
			t->barren_bytes = 0;
		} else {
			result = outcome(s, read);
		}
	}
	int failed = finish(s);
	/* who takes nothing more may have said why before */
	if (failed && failed != t->deaf && (result == 1 || result == -EAGAIN))
		result = failed;
	if (result != 1 && result != -EAGAIN && result != 0)
		t->failed = result;
	/* what was not handed out, or not told, yet: no edge will tell of it */
	if (t->kept || result == 1 || (done > 0 && result != -EAGAIN))
		s->can_read = true;
	return done > 0 ? (ssize_t)done : result;
}

WORKER_ONLY static bool tls_ends_next(struct stream *s)
{
	struct tls_layer *t = s->tls;
	if (!t->ssl || t->failed)
		return true;
	tls_wake(t);
	/* while it takes none of our answers it is not heard: as in tls_read */
	if (SSL_pending(t->ssl) > 0 || s->sealed >= SEALED_MAX_BYTES)
		return false;
	begin(t);
	uint8_t byte;
	size_t got;
	int peeked = SSL_peek_ex(t->ssl, &byte, 1, &got);
	int result = peeked == 1 ? 1 : outcome(s, peeked);
	int failed = finish(s);
	if (failed && failed != t->deaf && (result == 1 || result == -EAGAIN))
		result = failed;
	if (result < 0 && result != -EAGAIN)
		t->failed = result;
	/* it is there, in memory of ours: no edge will tell of it */
	if (t->kept || result != -EAGAIN)
		s->can_read = true;
	return result != 1 && result != -EAGAIN;
}

WORKER_ONLY static ssize_t tls_write(struct stream *s, const void *from, size_t n)
{
	struct tls_layer *t = s->tls;
	if (t->failed)
		return t->failed;
	int failed = t->deaf ? t->deaf : send_sealed(s);
	if (failed)
		return failed;
	begin(t);
	size_t put = 0;
	int written = SSL_write_ex(t->ssl, from, n < OUT_PLAIN_BYTES ? n : OUT_PLAIN_BYTES, &put);
	int result = written == 1 ? 0 : outcome(s, written);
	if (result == -EAGAIN && SSL_want_write(t->ssl))
		result = -EBADMSG; /* there was room for all of it */
	failed = finish(s);
	if (!result || (failed && result == -EAGAIN))
		result = failed;
	/* a message of the peer's that had come in part came first: what was received behind it has no further edge */
	if (t->kept)
		s->can_read = true;
	if (result) {
		if (result != -EAGAIN && result != t->deaf)
			t->failed = result;
		return result;
	}
	s->talk = 0;
	return (ssize_t)put;
}

WORKER_ONLY static int tls_flush(struct stream *s)
{
	return send_sealed(s);
}

/* A message of the peer's, a ticket for one, has come in part: OpenSSL says nothing before the rest is there. Returns
 * 0 when it is, -EAGAIN or -errno. */
WORKER_ONLY static int finish_message(struct stream *s)
{
	struct tls_layer *t = s->tls;
	begin(t);
	int done = SSL_do_handshake(t->ssl);
	int result = done == 1 ? 0 : outcome(s, done);
	int failed = finish(s);
	if (t->kept)
		s->can_read = true;
	if (result && result != -EAGAIN)
		t->failed = result;
	return t->failed ? t->failed : failed ? failed : result;
}

/* Makes our close_notify, once. */
WORKER_ONLY static int make_end(struct stream *s)
{
	struct tls_layer *t = s->tls;
	if (t->end_made || !t->shaken || t->failed || t->deaf)
		return 0;
	tls_wake(t);
	int failed = SSL_is_init_finished(t->ssl) ? 0 : finish_message(s);
	if (failed)
		return failed;
	begin(t);
	t->end_made = true;
	(void)SSL_shutdown(t->ssl); /* what it says is whether the peer has ended too */
	return finish(s);
}

WORKER_ONLY static int tls_end(struct stream *s)
{
	struct tls_layer *t = s->tls;
	int failed = send_sealed(s);
	if (!failed)
		failed = make_end(s);
	if (!failed)
		failed = send_sealed(s);
	/* nobody is there to miss a close_notify, which is all that is left */
	if (failed && failed == t->deaf && t->end_made) {
		s->sealed = 0;
		failed = 0;
	}
	return failed ? failed : wire_end(s);
}

WORKER_ONLY static void tls_close(struct stream *s, bool reset)
{
	struct tls_layer *t = s->tls;
	if (reset && s->is_tcp)
		socket_reset_at_close(s->fd);
	else if (!reset)
		(void)!make_end(s); /* as far as the kernel takes it: there is no later */
	tls_wake(t);
	list_remove(&t->node);
	s->sealed = 0;
	s->tls = NULL;
	tls_session_destroy(t->session);
	free(t->kept);
	free(t->sealed);
	free(t);
}

const struct transport transport_tls = {
	.name = "tls",
	.read = tls_read,
	.ends_next = tls_ends_next,
	.write = tls_write,
	.flush = tls_flush,
	.end = tls_end,
	.close = tls_close,
};

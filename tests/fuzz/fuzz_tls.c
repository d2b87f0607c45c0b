/* SPDX-License-Identifier: MIT */
/* Any bytes from a client to a listener with TLS: as they go over the wire, in pieces whose sizes the input chooses. What
 * came is answered, or refused with a reason; nothing of it is data before the handshake is done.
 *
 * Input: who may come in, sizes of two kinds of pieces in turn, how much is read at once; then the client's bytes. */
#include <errno.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/poller.h"
#include "tls_set.h"
#include "transport/client_hello.h"
#include "transport/tls.h"

#define HEADER_BYTES 4
#define SEALED_BYTES_MAX (280U * 1024U)

static struct tls_set *sets[4];
static struct tls_io *io;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	static struct memory_file a, b, ca, crl;
	memory_file_open(&a, PEM_A PEM_A_KEY);
	memory_file_open(&b, PEM_B PEM_B_KEY);
	memory_file_open(&ca, PEM_CA);
	memory_file_open(&crl, PEM_CRL);
	struct tls_tickets *tickets = tls_tickets_create();
	struct listener_config l = fuzz_listener();
	l.tls.certificate = FUZZ_LIST(a.path, b.path);
	l.tls.alpn = FUZZ_LIST("h2", "http/1.1");
	sets[0] = fuzz_load(&l, NULL, tickets);
	l.tls.client =
		(struct tls_client_config){.enabled = true, .ca = FUZZ_LIST(ca.path), .verify = TLS_VERIFY_OPTIONAL};
	sets[1] = fuzz_load(&l, NULL, tickets);
	l.tls.client.verify = TLS_VERIFY_REQUIRED;
	l.tls.client.crl = FUZZ_LIST(crl.path);
	/* the last one lets the recorded client in: all others are tried before */
	l.tls.client.allow = FUZZ_LIST("cn:backup-*-*", "ou:**x", "dns:*.example",
				       "pin:sha256:0000000000000000000000000000000000000000000000000000000000000000",
				       "uri:spiffe://example.org/*/prod/**");
	sets[2] = fuzz_load(&l, NULL, tickets);
	l.tls.client.allow.count = 4;
	l.tls.alpn.count = 0;
	sets[3] = fuzz_load(&l, NULL, tickets);
	tls_tickets_destroy(tickets);
	io = tls_io_create();
	must(io);
	return 0;
}

/* Whether the first message is short enough, as client_hello.h has it, by another way: the records' contents one behind
 * the other. */
static bool hello_is_short(const uint8_t *bytes, size_t n)
{
	uint32_t length = 0;
	unsigned seen = 0;
	for (size_t at = 0; seen < 4 && n - at >= 5 && bytes[at] == 22;) {
		size_t content = (size_t)bytes[at + 3] << 8 | bytes[at + 4];
		at += 5;
		for (; content > 0 && at < n && seen < 4; content--, at++, seen++)
			length = seen == 0 ? 0 : length << 8 | bytes[at];
	}
	return length <= CLIENT_HELLO_MAX_BYTES;
}

/* A listener's side of the connection. */
struct visit {
	struct stream stream;
	int client;
	bool shaken;
	bool failed;
	struct client_hello hello;
};

WORKER_ONLY static void note_failure(struct visit *v, int error)
{
	struct tls_session *session = stream_tls_session(&v->stream);
	struct tls_refused who;
	must(error == -EBADMSG || error == -ENODATA || error == -EPIPE || error == -ECONNRESET);
	if (error == -EBADMSG)
		must(tls_session_failure(session) != TLS_FAILURE_NONE && tls_session_failure_text(session)[0]);
	if (tls_session_refused(session, &who))
		must(who.subject && who.issuer && who.serial[0] && strlen(who.fingerprint) == 64);
	v->failed = true;
	(void)!stream_end(&v->stream);
}

WORKER_ONLY static void note_facts(struct visit *v)
{
	char memory[600];
	struct text subject;
	struct tls_facts f;
	struct tls_session *session = stream_tls_session(&v->stream);
	text_init(&subject, memory, sizeof(memory));
	tls_session_add_subject(session, &subject);
	if (tls_session_facts(session, &f))
		must(f.version && f.cipher && f.sni && f.alpn);
	else
		must(!v->shaken);
}

/* What a worker does when something has come. */
WORKER_ONLY static void go(struct visit *v, size_t n)
{
	static uint8_t data[65536];
	stream_note(&v->stream, POLLER_READ | POLLER_WRITE);
	if (!v->shaken && !v->failed) {
		int failed = stream_handshake(&v->stream);
		v->shaken = !failed;
		if (failed && failed != -EAGAIN)
			note_failure(v, failed);
	}
	for (ssize_t got = 1; got > 0 && (v->shaken || v->failed);) {
		got = stream_read(&v->stream, data, n);
		if (got > 0)
			must(v->shaken && !v->failed);
		if (got < 0 && got != -EAGAIN && !v->failed)
			note_failure(v, (int)got);
	}
	(void)!stream_flush(&v->stream);
	must(v->stream.sealed <= SEALED_BYTES_MAX);
	must(v->shaken || v->stream.bytes_in == 0);
	must(ERR_peek_error() == 0);
	note_facts(v);
	while (recv(v->client, data, sizeof(data), 0) > 0)
		;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct visit v = {0};
	struct tls_session *session = NULL;
	int pair[2];
	if (n < HEADER_BYTES)
		return 0;
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
	stream_open_take_fd(&v.stream, &transport_plain, &pair[0], false);
	v.client = pair[1];
	must(tls_session_accept(&session, sets[bytes[0] % 4]) == 0);
	must(stream_start_tls(&v.stream, &session, io) == 0);

	size_t pieces[2] = {bytes[1] ? bytes[1] * 8U : n, bytes[2] ? bytes[2] : n};
	size_t at_once = bytes[3] ? bytes[3] * 256U : 1;
	const uint8_t *at = bytes + HEADER_BYTES;
	const uint8_t *end = bytes + n;
	for (unsigned i = 0; at < end; i++) {
		size_t piece = pieces[i % 2] < (size_t)(end - at) ? pieces[i % 2] : (size_t)(end - at);
		ssize_t sent = send(v.client, at, piece, MSG_NOSIGNAL);
		if (sent <= 0)
			break;
		bool is_short = client_hello_accepts(&v.hello, at, (size_t)sent);
		at += sent;
		must(is_short == hello_is_short(bytes + HEADER_BYTES, (size_t)(at - bytes) - HEADER_BYTES));
		go(&v, at_once);
		if (i % 16 == 15)
			tls_io_sweep(io);
	}
	shutdown(v.client, SHUT_WR);
	go(&v, at_once);
	must(v.failed || v.stream.read_ended);
	stream_close(&v.stream, bytes[0] & 0x80);
	must(ERR_peek_error() == 0);
	close(v.client);
	return 0;
}

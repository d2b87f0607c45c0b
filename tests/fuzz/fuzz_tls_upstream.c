/* SPDX-License-Identifier: MIT */
/* Any bytes from an upstream to usherd, which greets it and verifies it: as they go over the wire, in pieces whose sizes the
 * input chooses. No upstream that has not shown the right certificate is spoken to.
 *
 * Input: sizes of two kinds of pieces in turn; then the upstream's bytes. */
#include <errno.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/poller.h"
#include "tls_set.h"
#include "transport/tls.h"

#define HEADER_BYTES 2
#define SEALED_BYTES_MAX (280U * 1024U)

static struct tls_set *set;
static struct tls_io *io;
static struct endpoint upstream;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	const char *why;
	static struct memory_file own, ca, crl;
	memory_file_open(&own, PEM_A PEM_A_KEY);
	memory_file_open(&ca, PEM_CA);
	memory_file_open(&crl, PEM_CRL);
	struct listener_config l = fuzz_listener();
	l.tls.enabled = false;
	struct tls_upstream_config up = {
		.enabled = true,
		.place = {.file = "fuzz.conf", .line = 3},
		.ca = FUZZ_LIST(ca.path),
		.crl = FUZZ_LIST(crl.path),
		.certificate = own.path,
		.alpn = FUZZ_LIST("h2", "http/1.1"),
	};
	set = fuzz_load(&l, &up, NULL);
	must(endpoint_parse_upstream(&upstream, "b.example:443", &why) == 0);
	io = tls_io_create();
	must(io);
	return 0;
}

/* What a worker does when something has come. Returns false when it is over. */
WORKER_ONLY static bool go(struct stream *s, int peer)
{
	static uint8_t sink[65536];
	stream_note(s, POLLER_READ | POLLER_WRITE);
	int failed = stream_handshake(s);
	must(failed); /* nobody's bytes are those of one who has the key */
	must(failed == -EAGAIN || failed == -EBADMSG || failed == -ENODATA || failed == -EPIPE ||
	     failed == -ECONNRESET);
	if (failed == -EBADMSG) {
		const struct tls_session *session = stream_tls_session(s);
		must(tls_session_failure(session) != TLS_FAILURE_NONE && tls_session_failure_text(session)[0]);
	}
	must(s->sealed <= SEALED_BYTES_MAX && s->bytes_in == 0);
	must(ERR_peek_error() == 0);
	while (recv(peer, sink, sizeof(sink), 0) > 0)
		;
	return failed == -EAGAIN;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct stream s;
	struct tls_session *session = NULL;
	int pair[2];
	if (n < HEADER_BYTES)
		return 0;
	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
	stream_open_take_fd(&s, &transport_plain, &pair[0], false);
	must(tls_session_connect(&session, set, &upstream, bytes[0] & 1 ? "h2" : NULL) == 0);
	must(stream_start_tls(&s, &session, io) == 0);

	size_t pieces[2] = {bytes[0] ? bytes[0] * 8U : n, bytes[1] ? bytes[1] : n};
	const uint8_t *at = bytes + HEADER_BYTES;
	const uint8_t *end = bytes + n;
	bool goes_on = go(&s, pair[1]);
	for (unsigned i = 0; goes_on && at < end; i++) {
		size_t piece = pieces[i % 2] < (size_t)(end - at) ? pieces[i % 2] : (size_t)(end - at);
		ssize_t sent = send(pair[1], at, piece, MSG_NOSIGNAL);
		if (sent <= 0)
			break;
		at += sent;
		goes_on = go(&s, pair[1]);
		if (i % 16 == 15)
			tls_io_sweep(io);
	}
	shutdown(pair[1], SHUT_WR);
	must(!go(&s, pair[1]));
	(void)!stream_end(&s);
	stream_close(&s, false);
	must(ERR_peek_error() == 0);
	close(pair[1]);
	return 0;
}

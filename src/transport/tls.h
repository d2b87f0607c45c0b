/* SPDX-License-Identifier: MIT */
/* TLS over a stream's descriptor. A read takes what the kernel has into memory that all TLS streams of a worker share, and
 * decrypts from there; a write encrypts into such memory and sends it in one call. What neither side could use at once is
 * kept in memory of the stream's own, which is given back when it is used up: an idle stream has no buffer.
 *
 * The peer's close_notify is its clean end. Errors of a stream with TLS, beside those of its descriptor:
 *   -ENODATA  the descriptor ended without close_notify: what came may be cut off
 *   -EBADMSG  the peer broke the protocol, or ended with an alert; tls_session_failure says how
 *
 * Thread: the worker that the connection is seated on. */
#ifndef TRANSPORT_TLS_H
#define TRANSPORT_TLS_H

#include "tls/session.h"
#include "transport/stream.h"

extern const struct transport transport_tls;

/* The memory that all TLS streams of a worker share. NULL: no memory. */
struct tls_io;
struct tls_io *tls_io_create(void);

/* Puts those streams to sleep that were not used since the call before the last one, a bounded number (tls/dormant.h):
 * they wake by themselves. To be called about once a second while it is wanted. Returns what is left to do. */
enum tls_sweep {
	TLS_SWEEP_NONE,	 /* all sleep */
	TLS_SWEEP_LATER, /* some are awake */
	TLS_SWEEP_SOON,	 /* more could sleep by now */
};
enum tls_sweep tls_io_sweep(struct tls_io *io) WORKER_ONLY;

/* Whether a stream is awake, and a sweep wanted. */
bool tls_io_awake(const struct tls_io *io) WORKER_ONLY;

/* Returns NULL; accepts NULL. All its streams are closed. */
struct tls_io *tls_io_destroy(struct tls_io *io);

/* Makes an open plain stream, through which nothing went yet, one of TLS. Takes *session (and sets it to NULL), on failure
 * too; `io` is borrowed. Returns 0 or -ENOMEM. */
int stream_start_tls(struct stream *s, struct tls_session **session, struct tls_io *io) MUST_CHECK WORKER_ONLY;

/* Goes on with the handshake. Returns 0 when it is done; -EAGAIN; -ENODATA, -EBADMSG, -ENOMEM or an -errno of the
 * descriptor when it has failed. Then an alert is on its way to the peer: stream_end sends it and the end, and reading
 * throws away what the peer still sends. */
int stream_handshake(struct stream *s) MUST_CHECK WORKER_ONLY;

/* Borrowed; NULL: it is a plain stream, or closed. */
struct tls_session *stream_tls_session(const struct stream *s) WORKER_ONLY;

#endif

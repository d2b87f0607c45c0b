/* SPDX-License-Identifier: MIT */
/* What every transport does with the descriptor: one system call and what it tells about the stream. For this folder. */
#ifndef TRANSPORT_WIRE_H
#define TRANSPORT_WIRE_H

#include "transport/stream.h"

/* Receives up to `n` bytes. Returns how many, 0 at the end, -EAGAIN or -errno; clears `can_read` when nothing is left. */
ssize_t wire_read(struct stream *s, void *to, size_t n) MUST_CHECK WORKER_ONLY;

/* Whether the descriptor's end or failure is next: it was told, and no byte lies before it. */
bool wire_ends_next(struct stream *s) WORKER_ONLY;

/* Sends up to `n` bytes. Returns how many were taken, -EAGAIN (`can_write` is cleared) or -errno. */
ssize_t wire_write(struct stream *s, const void *from, size_t n) MUST_CHECK WORKER_ONLY;

/* The same from the descriptor into a pipe, which must be empty (else -EAGAIN would not say which of them is not ready), and
 * from a pipe. */
ssize_t wire_fill(struct stream *s, int pipe, size_t n) MUST_CHECK WORKER_ONLY;
ssize_t wire_drain(struct stream *s, int pipe, size_t n) MUST_CHECK WORKER_ONLY;

/* Sends the end. Returns 0, also when the peer has gone, or -errno. */
int wire_end(struct stream *s) MUST_CHECK WORKER_ONLY;

#endif

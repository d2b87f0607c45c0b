/* SPDX-License-Identifier: MIT */
#include "transport/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include "base/socket.h"

ssize_t wire_read(struct stream *s, void *to, size_t n)
{
	if (s->end_next)
		return 0;
	ssize_t got = recv(s->fd, to, n, 0);
	if (got < 0) {
		if (errno == EAGAIN)
			stream_read_dry_done(s);
		return -errno;
	}
	/* Less than was asked for: TCP's queue is dry, and what comes next brings an edge of its own. */
	bool is_short = got > 0 && (size_t)got < n;
	if (is_short && !s->read_dry)
		s->can_read = false;
	/* And if TCP's end had come before, it is what follows: no read need say so. A reset is no end. */
	s->end_next = is_short && s->end_came && s->is_tcp && !s->hung_up && !s->urgent;
	return got;
}

/* A look with MSG_PEEK would take the failure away, and the next read would take it for a clean end. */
bool wire_ends_next(struct stream *s)
{
	return s->end_near && socket_unread(s->fd) == 0;
}

/* What a write says about the stream. Returns what it returned, or -errno. */
WORKER_ONLY static ssize_t note_write(struct stream *s, ssize_t put)
{
	if (put < 0) {
		s->can_write = errno != EAGAIN;
		/* The kernel tells of a reset once. After an end had come before, the error would be EPIPE. */
		if (errno == ECONNRESET)
			s->was_reset = true;
		return -errno;
	}
	return put;
}

ssize_t wire_write(struct stream *s, const void *from, size_t n)
{
	return note_write(s, send(s->fd, from, n, s->more_comes ? MSG_NOSIGNAL | MSG_MORE : MSG_NOSIGNAL));
}

/* Less than was asked for does not say that TCP's queue is dry: the pipe may have no page left. */
ssize_t wire_fill(struct stream *s, int pipe, size_t n)
{
	if (s->end_next)
		return 0;
	ssize_t got = splice(s->fd, NULL, pipe, NULL, n, SPLICE_F_NONBLOCK);
	if (got < 0) {
		if (errno == EAGAIN)
			stream_read_dry_done(s);
		return -errno;
	}
	return got;
}

/* Without SPLICE_F_MORE, which would save bulk one segment at its end. SIGPIPE, which no flag keeps away, the process
 * ignores. */
ssize_t wire_drain(struct stream *s, int pipe, size_t n)
{
	return note_write(s, splice(pipe, NULL, s->fd, NULL, n, SPLICE_F_NONBLOCK));
}

int wire_end(struct stream *s)
{
	if (!s->end_closes && shutdown(s->fd, SHUT_WR) < 0 && errno != ENOTCONN)
		return -errno;
	return 0;
}

/* SPDX-License-Identifier: MIT */
#include "transport/wire.h"

#include <errno.h>
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

ssize_t wire_write(struct stream *s, const void *from, size_t n)
{
	ssize_t put = send(s->fd, from, n, s->more_comes ? MSG_NOSIGNAL | MSG_MORE : MSG_NOSIGNAL);
	if (put < 0) {
		s->can_write = errno != EAGAIN;
		/* The kernel tells of a reset once. After an end had come before, the error would be EPIPE. */
		if (errno == ECONNRESET)
			s->was_reset = true;
		return -errno;
	}
	return put;
}

int wire_end(struct stream *s)
{
	if (!s->end_closes && shutdown(s->fd, SHUT_WR) < 0 && errno != ENOTCONN)
		return -errno;
	return 0;
}

/* SPDX-License-Identifier: MIT */
#include "transport/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/must.h"
#include "base/poller.h"
#include "base/socket.h"

void stream_init(struct stream *s)
{
	memset(s, 0, sizeof(*s));
	s->fd = -1;
}

void stream_open_take_fd(struct stream *s, const struct transport *transport, int *fd, bool is_tcp)
{
	stream_init(s);
	s->transport = transport;
	s->fd = fd_take(fd);
	s->is_tcp = is_tcp;
	s->can_write = true; /* until the kernel says otherwise; reading waits for an edge */
	/* over a UNIX socket a read stops where a peer attached descriptors, with more behind it */
	s->read_dry = !is_tcp;
}

void stream_note(struct stream *s, unsigned events)
{
	if (events & (POLLER_READ | POLLER_END | POLLER_HANGUP | POLLER_URGENT))
		s->can_read = true;
	if (events & (POLLER_WRITE | POLLER_HANGUP))
		s->can_write = true;
	/* the end's edge may have come with the data's: no further one will tell of it */
	if (events & (POLLER_END | POLLER_HANGUP))
		s->end_near = true;
	if (events & (POLLER_END | POLLER_HANGUP | POLLER_URGENT))
		s->read_dry = true;
	if (events & POLLER_END)
		s->end_came = true;
	if (events & POLLER_URGENT)
		s->urgent = true;
	if (events & POLLER_HANGUP)
		s->hung_up = true;
}

/* What a read brought: its bytes, or the end. */
static ssize_t note_read(struct stream *s, ssize_t got)
{
	if (got > 0)
		s->bytes_in += (uint64_t)got;
	else if (got == 0 && s->was_reset && !s->tls) /* TLS's end is the peer's word for it */
		return -ECONNRESET;
	else if (got == 0)
		s->read_ended = true;
	return got;
}

ssize_t stream_read(struct stream *s, void *to, size_t n)
{
	if (s->read_ended)
		return 0;
	if (!s->can_read)
		return -EAGAIN;
	return note_read(s, s->transport->read(s, to, n));
}

bool stream_can_splice(const struct stream *from, const struct stream *to)
{
	/* From a UNIX socket to TCP a copy costs less, as was measured: see ARCHITECTURE.md. */
	bool is_worth_it = from->is_tcp || !to->is_tcp;
	/* splice stops before an urgent byte, as if nothing were there; a read steps over it */
	return is_worth_it && !from->urgent && !from->copy_only && from->transport->fill && to->transport->drain &&
	       stream_is_out(to);
}

/* Whether a socket of another kind, a filter of system calls, or a want of memory can be why; and a read is none the worse. */
static bool only_splice_fails(ssize_t error)
{
	return error == -EINVAL || error == -ENOSYS || error == -EPERM || error == -EOPNOTSUPP || error == -ENOMEM;
}

ssize_t stream_splice(struct stream *from, struct stream *to, struct pipe *pipe, size_t n)
{
	must(stream_is_out(to) && !to->end_wanted && !to->pipe);
	ssize_t got = -EAGAIN;
	if (from->read_ended)
		got = 0;
	else if (from->can_read)
		got = note_read(from, from->transport->fill(from, pipe->in, n < PIPE_MAX_BYTES ? n : PIPE_MAX_BYTES));
	if (only_splice_fails(got)) {
		from->copy_only = true;
		got = -ENOTSUP;
	}
	if (got <= 0) {
		pipe_give_back(pipe);
		return got;
	}
	pipe->bytes = (size_t)got;
	to->pipe = pipe;
	return got;
}

bool stream_ends_next(struct stream *s)
{
	return s->read_ended || (s->can_read && s->transport->ends_next(s));
}

size_t stream_room(const struct stream *s)
{
	return STREAM_HELD_MAX_BYTES - stream_held_in_memory(s);
}

static void let_go(struct stream *s)
{
	free(s->held);
	s->held = NULL;
	s->held_from = 0;
	s->held_to = 0;
}

/* Writes as much as the kernel takes. Returns how much, or -errno; -EAGAIN never: that is 0. */
static ssize_t write_some(struct stream *s, const uint8_t *from, size_t n)
{
	size_t done = 0;
	while (done < n && s->can_write) {
		ssize_t put = s->transport->write(s, from + done, n - done);
		if (put == -EAGAIN)
			break;
		if (put < 0)
			return put;
		done += (size_t)put;
	}
	s->bytes_out += done;
	return (ssize_t)done;
}

/* Keeps bytes behind those that are held already. */
static int hold(struct stream *s, const uint8_t *from, size_t n)
{
	size_t held = stream_held_in_memory(s);
	must(n <= STREAM_HELD_MAX_BYTES - held);
	uint8_t *grown = malloc(held + n);
	if (!grown)
		return -ENOMEM;
	if (held > 0)
		memcpy(grown, s->held + s->held_from, held);
	memcpy(grown + held, from, n);
	let_go(s);
	s->held = grown;
	s->held_to = (uint32_t)(held + n);
	return 0;
}

int stream_send(struct stream *s, const void *from, size_t n)
{
	must(!s->end_wanted);
	size_t done = 0;
	if (stream_held(s) == 0) {
		ssize_t put = write_some(s, from, n);
		if (put < 0)
			return (int)put;
		done = (size_t)put;
	}
	if (done == n)
		return 0;
	return hold(s, (const uint8_t *)from + done, n - done);
}

size_t stream_unconfirmed(const struct stream *s)
{
	if (!s->is_tcp || !stream_is_open(s))
		return 0;
	size_t n = s->sealed + socket_unsent(s->fd);
	n -= n < s->talk ? n : s->talk;
	/* the end itself takes a place in TCP's sequence of bytes */
	if (n > 0 && s->end_sent)
		n--;
	return n < s->bytes_out ? n : s->bytes_out;
}

uint64_t stream_taken(const struct stream *s)
{
	uint64_t waits = s->sealed + socket_unsent(s->fd);
	return waits < s->bytes_out ? s->bytes_out - waits : 0;
}

/* Sends what is in the pipe, and gives it back when that is all out. */
WORKER_ONLY static int drain(struct stream *s)
{
	while (s->pipe->bytes > 0) {
		if (!s->can_write)
			return -EAGAIN;
		ssize_t put = s->transport->drain(s, s->pipe->out, s->pipe->bytes);
		if (put < 0)
			return (int)put;
		/* it cannot have lost bytes; were it so, the connection must not end as if it were complete */
		if (put == 0)
			return -EIO;
		s->pipe->bytes -= (size_t)put;
		s->bytes_out += (uint64_t)put;
	}
	s->pipe = pipe_give_back(s->pipe);
	return 0;
}

int stream_flush(struct stream *s)
{
	if (s->pipe) {
		int failed = drain(s);
		if (failed)
			return failed;
	}
	if (stream_held(s) > 0) {
		ssize_t put = write_some(s, s->held + s->held_from, stream_held(s));
		if (put < 0)
			return (int)put;
		s->held_from += (uint32_t)put;
		if (stream_held(s) > 0)
			return -EAGAIN;
		let_go(s);
	}
	if (s->sealed > 0) {
		int failed = s->transport->flush(s);
		if (failed)
			return failed;
	}
	if (s->end_wanted && !s->end_sent) {
		int failed = s->transport->end(s);
		if (failed)
			return failed;
		s->end_sent = true;
	}
	return 0;
}

int stream_end(struct stream *s)
{
	s->end_wanted = true;
	return stream_flush(s);
}

void stream_push(struct stream *s)
{
	if (s->more_comes && stream_is_open(s) && s->is_tcp)
		socket_push(s->fd);
	s->more_comes = false;
}

void stream_close(struct stream *s, bool reset)
{
	if (!stream_is_open(s))
		return;
	s->transport->close(s, reset);
	let_go(s);
	s->pipe = pipe_give_back(s->pipe);
	fd_close(&s->fd);
}

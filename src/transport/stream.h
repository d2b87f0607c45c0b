/* SPDX-License-Identifier: MIT */
/* One end of a connection: a descriptor, how bytes go through it (plain, TLS), and the bytes that it has accepted
 * for sending and the kernel has not taken yet.
 *
 * Thread: the worker that the connection is seated on. Nothing here blocks or logs. */
#ifndef TRANSPORT_STREAM_H
#define TRANSPORT_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/role.h"
#include "transport/pipe.h"

/* The most that a stream holds in memory, and the size of a worker's scratch: what one read brings, one stream can hold. */
#define STREAM_HELD_MAX_BYTES (256U * 1024U)

struct stream;
struct tls_layer;

/* How bytes go through a stream's descriptor. All return -errno on failure, -EAGAIN when it is not ready. */
struct transport {
	const char *name;

	/* Reads up to `n` bytes. Returns how many, 0 at the peer's clean end. A transport that has taken bytes
	 * from the descriptor and not handed them out yet keeps `can_read` set. */
	ssize_t (*read)(struct stream *s, void *to, size_t n);

	/* Whether the next read brings the peer's end or a failure, and no bytes. */
	bool (*ends_next)(struct stream *s);

	/* Writes up to `n` bytes. Returns how many were taken, at least 1. */
	ssize_t (*write)(struct stream *s, const void *from, size_t n);

	/* As read and write, from the descriptor into a pipe and from a pipe to the descriptor: where bytes go over the wire
	 * as they are. Both are NULL, or none. */
	ssize_t (*fill)(struct stream *s, int pipe, size_t n);
	ssize_t (*drain)(struct stream *s, int pipe, size_t n);

	/* Sends what the transport itself holds for sending (`sealed`). Returns 0 when all is out. NULL: it never holds
	 * anything. */
	int (*flush)(struct stream *s);

	/* Tells the peer that nothing more will come; called again after -EAGAIN. Returns 0, also when the peer has
	 * gone. */
	int (*end)(struct stream *s);

	/* Gives back what the transport holds, before the descriptor is closed. With `reset` the peer must not take
	 * what it got for complete. */
	void (*close)(struct stream *s, bool reset);
};

extern const struct transport transport_plain;

struct stream {
	const struct transport *transport; /* static */
	struct tls_layer *tls;		   /* owned by the transport; NULL: plain */
	uint8_t *held;			   /* owned; NULL when nothing is held: an idle stream has no buffer */
	uint32_t held_from;		   /* the first byte not yet sent */
	uint32_t held_to;		   /* past the last */
	struct pipe *pipe;		   /* ref of its pool; holds what goes before `held`; NULL: none */
	uint64_t bytes_in;		   /* read */
	uint64_t bytes_out;		   /* taken by the kernel, or by the transport */
	uint32_t sealed;		   /* bytes that the transport holds for sending, as they go over the wire */
	uint32_t talk;			   /* bytes that the transport sent after the last data, on its own account */
	int fd;				   /* owned; -1: closed */

	bool is_tcp : 1;
	bool can_read : 1;   /* a read may bring something: set by readiness, cleared by reading dry */
	bool can_write : 1;  /* likewise */
	bool read_dry : 1;   /* read until EAGAIN: a short read does not mean that nothing is left */
	bool end_near : 1;   /* an end or a hang-up was told: no further edge will */
	bool end_came : 1;   /* the descriptor reported the end, or a hang-up with it */
	bool urgent : 1;     /* it reported urgent data, at which a read stops short of the rest */
	bool end_next : 1;   /* all before the end was read */
	bool hung_up : 1;    /* the descriptor reported a hang-up or an error */
	bool was_reset : 1;  /* a write met the peer's reset: what can still be read does not end cleanly */
	bool read_ended : 1; /* the peer's clean end was read */
	bool end_wanted : 1; /* end when the held bytes are out */
	bool more_comes : 1; /* the kernel may wait for what is sent next, or the end, to put it into one segment */
	bool end_sent : 1;
	bool end_closes : 1; /* it is closed as soon as its end is to be sent, which sends it */
	bool in_bulk : 1;    /* the last read brought so much that the next may go through a pipe */
	bool copy_only : 1;  /* what is read cannot go through a pipe */
};

/* Makes it a closed stream. */
void stream_init(struct stream *s);

/* Opens it over *fd, a non-blocking stream socket. Takes the descriptor. */
void stream_open_take_fd(struct stream *s, const struct transport *transport, int *fd, bool is_tcp) WORKER_ONLY;

static inline bool stream_is_open(const struct stream *s)
{
	return s->fd >= 0;
}

/* After a read that returned -EAGAIN: what made reading to the end necessary is over, unless the end is near. */
static inline void stream_read_dry_done(struct stream *s)
{
	s->can_read = false;
	s->read_dry = !s->is_tcp || s->end_near;
}

/* Notes what the poller said of the descriptor (POLLER_ bits, edge-triggered). */
void stream_note(struct stream *s, unsigned events) WORKER_ONLY;

/* Reads up to `n` bytes. Returns how many; 0 at the peer's clean end (again at each call); -EAGAIN; -errno. */
ssize_t stream_read(struct stream *s, void *to, size_t n) MUST_CHECK WORKER_ONLY;

/* Whether bytes of `from` can go to `to` through a pipe now, and it is of use: nothing is held for `to`. */
bool stream_can_splice(const struct stream *from, const struct stream *to) WORKER_ONLY;

/* Reads up to `n` bytes into a pipe, which `to` has then as long as something is in it: stream_flush sends it. For who
 * stream_can_splice says so. Takes the pipe. Returns as stream_read, and -ENOTSUP when it is splicing that fails: read, now
 * and from then on. */
ssize_t stream_splice(struct stream *from, struct stream *to, struct pipe *pipe, size_t n) MUST_CHECK WORKER_ONLY;

/* Whether the next read is known to bring the peer's end or a failure, and no bytes: for those who may not read bytes now. */
bool stream_ends_next(struct stream *s) MUST_CHECK WORKER_ONLY;

/* What a read counts against a turn's budget at least: a system call is not cheaper for bringing little. */
#define STREAM_READ_COST_BYTES 4096U

static inline size_t stream_read_cost(ssize_t got)
{
	return got > (ssize_t)STREAM_READ_COST_BYTES ? (size_t)got : STREAM_READ_COST_BYTES;
}

/* How many bytes stream_send takes now. */
size_t stream_room(const struct stream *s) WORKER_ONLY;

/* Sends all of `n` bytes: what the kernel does not take is held. `n` is at most stream_room(). Returns 0; -ENOMEM
 * (what it did not take is lost: close the stream); -errno of the write. */
int stream_send(struct stream *s, const void *from, size_t n) MUST_CHECK WORKER_ONLY;

/* Bytes that are held in memory. */
static inline size_t stream_held_in_memory(const struct stream *s)
{
	return s->held_to - s->held_from;
}

/* Bytes that are held, there or in a pipe. */
static inline size_t stream_held(const struct stream *s)
{
	return stream_held_in_memory(s) + (s->pipe ? s->pipe->bytes : 0);
}

/* Whether everything that was accepted for sending is with the kernel. */
static inline bool stream_is_out(const struct stream *s)
{
	return stream_held(s) == 0 && s->sealed == 0;
}

/* Bytes that the kernel has taken and a TCP peer has not confirmed: a reset would take them back. 0 over a UNIX
 * socket, where the peer has them. */
size_t stream_unconfirmed(const struct stream *s) WORKER_ONLY;

/* The sequence of bytes sent so far: how far it goes with what is held, and how far the peer has taken it, as far as the
 * kernel tells. */
static inline uint64_t stream_owed_to(const struct stream *s)
{
	return s->bytes_out + stream_held(s);
}
uint64_t stream_taken(const struct stream *s) WORKER_ONLY;

/* Sends what is held, and the end if it was asked for. Returns 0 when all is out, -EAGAIN, -errno. */
int stream_flush(struct stream *s) MUST_CHECK WORKER_ONLY;

/* Passes the end on, after what is held. Returns as stream_flush. */
int stream_end(struct stream *s) MUST_CHECK WORKER_ONLY;

/* Sends what the kernel keeps back since `more_comes` was set, and clears that. */
void stream_push(struct stream *s) WORKER_ONLY;

/* Closes it; harmless when closed. With `reset` a TCP peer gets a reset. */
void stream_close(struct stream *s, bool reset) WORKER_ONLY;

#endif

/* SPDX-License-Identifier: MIT */
/* Pipes through which bytes go from one socket to another without being copied (splice). There are few of them, as a user
 * may have only so much memory in pipes (64 MiB: /proc/sys/fs/pipe-user-pages-soft); who gets none copies. They are opened
 * when they are wanted first, and stay open.
 *
 * Thread: the worker that the pool belongs to. Nothing here blocks or logs. */
#ifndef TRANSPORT_PIPE_H
#define TRANSPORT_PIPE_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/role.h"

/* The most that a pipe of a pool holds. */
#define PIPE_MAX_BYTES (1024U * 1024U)

/* Descriptors that a pipe has. */
#define PIPE_DESCRIPTORS 2

struct pipe_pool;

struct pipe {
	struct pipe_pool *pool; /* borrowed: where it goes back to */
	int in;			/* owned; -1: not open */
	int out;		/* owned */
	size_t bytes;		/* that are in it: whoever has taken it counts them */
};

/* A pool of up to `most` pipes; 0 is none. Returns NULL without memory. */
struct pipe_pool *pipe_pool_create(unsigned most) MUST_CHECK;

/* Closes all pipes; none may be taken. Accepts NULL, returns NULL. */
struct pipe_pool *pipe_pool_destroy(struct pipe_pool *pool);

/* Takes an empty pipe, for as long as bytes are in it. Returns NULL when there is none: all are taken, or the kernel gives no
 * more, which is asked seldom then. */
struct pipe *pipe_take(struct pipe_pool *pool) MUST_CHECK WORKER_ONLY;

/* Gives it back; what is in it is gone. Accepts NULL, returns NULL. */
struct pipe *pipe_give_back(struct pipe *pipe) WORKER_ONLY;

#endif

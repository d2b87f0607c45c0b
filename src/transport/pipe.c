/* SPDX-License-Identifier: MIT */
#include "transport/pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/must.h"

/* A smaller pipe costs more than copying: what matters is how many pages it has place for, as each piece of a packet takes
 * one. */
#define LEAST_BYTES (256 * 1024)

/* When the kernel gave no pipe, so many are not asked for: a pipe is for 64 KiB at least, so it is a matter of 16 MiB. */
#define TAKES_WITHOUT 256

struct pipe_pool {
	unsigned most;
	unsigned free;	  /* how many of `at` are not taken */
	unsigned without; /* how often yet the kernel is not asked */
	struct pipe **at; /* owned: the free ones first, those that were used last at their end */
	struct pipe *all; /* owned */
};

struct pipe_pool *pipe_pool_create(unsigned most)
{
	struct pipe_pool *pool = calloc(1, sizeof(*pool));
	if (!pool)
		return NULL;
	/* one more, so that none is no special case */
	pool->all = calloc(most + 1, sizeof(*pool->all));
	pool->at = calloc(most + 1, sizeof(struct pipe *));
	if (!pool->all || !pool->at)
		return pipe_pool_destroy(pool);
	for (unsigned i = 0; i < most; i++) {
		pool->all[i] = (struct pipe){.pool = pool, .in = -1, .out = -1};
		pool->at[i] = &pool->all[most - 1 - i];
	}
	pool->most = most;
	pool->free = most;
	return pool;
}

struct pipe_pool *pipe_pool_destroy(struct pipe_pool *pool)
{
	if (!pool)
		return NULL;
	must(pool->free == pool->most);
	for (unsigned i = 0; i < pool->most; i++) {
		fd_close(&pool->all[i].in);
		fd_close(&pool->all[i].out);
	}
	free(pool->all);
	free(pool->at);
	free(pool);
	return NULL;
}

/* Above what a user may have, a pipe comes with two pages and gets no more. */
static bool has_room(int fd)
{
	for (int bytes = PIPE_MAX_BYTES; bytes >= LEAST_BYTES; bytes /= 2)
		if (fcntl(fd, F_SETPIPE_SZ, bytes) >= bytes)
			return true;
	return false;
}

/* Returns false when the kernel gives none that is of use. */
static bool open_pipe(struct pipe *p)
{
	int ends[2];
	if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0)
		return false;
	if (!has_room(ends[1])) {
		fd_close(&ends[0]);
		fd_close(&ends[1]);
		return false;
	}
	p->out = ends[0];
	p->in = ends[1];
	return true;
}

struct pipe *pipe_take(struct pipe_pool *pool)
{
	if (pool->free == 0)
		return NULL;
	struct pipe *p = pool->at[pool->free - 1];
	if (p->in < 0 && pool->without > 0) {
		pool->without--;
		return NULL;
	}
	if (p->in < 0 && !open_pipe(p)) {
		pool->without = TAKES_WITHOUT;
		return NULL;
	}
	pool->free--;
	return p;
}

struct pipe *pipe_give_back(struct pipe *pipe)
{
	if (!pipe)
		return NULL;
	struct pipe_pool *pool = pipe->pool;
	must(pool->free < pool->most);
	/* the only way to empty it without reading it */
	if (pipe->bytes > 0) {
		fd_close(&pipe->in);
		fd_close(&pipe->out);
		pipe->bytes = 0;
	}
	pool->at[pool->free++] = pipe;
	return NULL;
}

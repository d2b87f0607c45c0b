/* SPDX-License-Identifier: MIT */
/* Copying from one stream to another: one direction of a relayed connection.
 *
 * What a read brings goes straight on from the caller's scratch; only what the other side does not take is held, and
 * nothing more is read until it is out. So a direction holds at most one scratch, and only while the reader is slower
 * than the writer.
 *
 * Bulk goes through a pipe, between streams that can, while there is one: it is bulk when reads bring much at once. Then what
 * the other side does not take is held there: at most one pipe, and nothing in memory. */
#ifndef TRANSPORT_RELAY_H
#define TRANSPORT_RELAY_H

#include <stddef.h>
#include <stdint.h>

#include "base/role.h"
#include "transport/stream.h"

enum relay_result {
	RELAY_WAIT,	   /* nothing to do until a stream is ready */
	RELAY_MORE,	   /* the budget is spent: call again in the next turn */
	RELAY_PACED,	   /* there may be something to read, and none of it may be */
	RELAY_ENDED,	   /* the source's end was passed on: this direction is over */
	RELAY_FROM_FAILED, /* the source is broken; *error says how */
	RELAY_TO_FAILED,   /* the sink is broken, or there is no memory to hold (-ENOMEM) */
};

/* What a worker lends to every relay. */
struct relay_means {
	uint8_t *scratch;	 /* borrowed: STREAM_HELD_MAX_BYTES large */
	struct pipe_pool *pipes; /* borrowed; NULL: none */
};

/* Moves at most about `budget` bytes, and reads not more than *may, from which it takes what it reads; SIZE_MAX: no limit.
 * `from` and `to` may be one stream. */
enum relay_result relay_pump(struct stream *from, struct stream *to, const struct relay_means *means, size_t budget,
			     size_t *may, int *error) WORKER_ONLY;

#endif

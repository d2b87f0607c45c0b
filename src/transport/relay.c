/* SPDX-License-Identifier: MIT */
#include "transport/relay.h"

#include <errno.h>

/* Bulk begins with a read that brings so much, and lasts while each brings the least. A pipe takes a few system calls more than a
 * copy, and saves the copying: over loopback the one is as dear as the other at some 200 KiB. */
#define BULK_BEGIN_BYTES (128 * 1024)
#define BULK_LEAST_BYTES (64 * 1024)

/* Brings on what can be read, up to `may` bytes. Returns as stream_read; *failed is what sending it said. */
WORKER_ONLY static ssize_t carry(struct stream *from, struct stream *to, const struct relay_means *means, size_t may,
				 int *failed)
{
	bool in_bulk = from->in_bulk && may >= BULK_LEAST_BYTES && means->pipes && stream_can_splice(from, to);
	struct pipe *pipe = in_bulk ? pipe_take(means->pipes) : NULL;
	ssize_t got = pipe ? stream_splice(from, to, pipe, may) : -ENOTSUP;
	if (got != -ENOTSUP) {
		from->in_bulk = got >= BULK_LEAST_BYTES || got == -EAGAIN;
		return got;
	}
	got = stream_read(from, means->scratch, may < STREAM_HELD_MAX_BYTES ? may : STREAM_HELD_MAX_BYTES);
	if (got > 0) {
		from->in_bulk = got >= BULK_BEGIN_BYTES;
		*failed = stream_send(to, means->scratch, (size_t)got);
	}
	return got;
}

enum relay_result relay_pump(struct stream *from, struct stream *to, const struct relay_means *means, size_t budget,
			     size_t *may, int *error)
{
	size_t moved = 0;
	for (;;) {
		int failed = stream_flush(to);
		if (failed == -EAGAIN)
			return RELAY_WAIT;
		if (failed) {
			*error = failed;
			return RELAY_TO_FAILED;
		}
		if (to->end_sent)
			return RELAY_ENDED;
		if (moved >= budget)
			return RELAY_MORE;

		/* an end that was read already costs nothing */
		if (*may == 0 && !from->read_ended)
			return from->can_read ? RELAY_PACED : RELAY_WAIT;
		ssize_t got = carry(from, to, means, *may, &failed);
		if (got == -EAGAIN)
			return RELAY_WAIT;
		if (got < 0) {
			*error = (int)got;
			return RELAY_FROM_FAILED;
		}
		if (got == 0) {
			to->end_wanted = true;
			continue;
		}
		if (failed) {
			*error = failed;
			return RELAY_TO_FAILED;
		}
		moved += stream_read_cost(got);
		*may -= (size_t)got;
	}
}

/* SPDX-License-Identifier: MIT */
/* Whether a client takes what is owed to it fast enough. Two places in the sequence of bytes are compared, with some seconds
 * between them: a client is slow when something that it was owed at the first is not taken yet at the second, and it took
 * less in between than the rate asks for. So it counts neither whether the sender has pauses, nor who is quick in the end.
 *
 * Thread: the worker that the connection is seated on. Time is a parameter. */
#ifndef WORKER_OWING_H
#define WORKER_OWING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/rate.h"

/* The time between the two places, and how often to look. */
#define OWING_WINDOW_MS 10000
#define OWING_LOOK_MS 5000

struct owing_mark {
	uint64_t at_ms;
	uint64_t owed_to; /* bytes sent and to be sent until then */
	uint64_t taken;	  /* of these, by the client */
};

/* All zero: never looked. */
struct owing {
	struct owing_mark older;
	struct owing_mark newer;
};

/* Looks: OWING_LOOK_MS after the last time, or later. Returns true when the client is too slow. `taken` may go back: then it
 * counts as what it was. */
bool owing_look(struct owing *o, const struct rate *least, uint64_t owed_to, uint64_t taken,
		uint64_t now_ms) MUST_CHECK;

/* Whether all that is sent until now had been taken when it was looked last. */
bool owing_nothing(const struct owing *o, uint64_t owed_to);

#endif

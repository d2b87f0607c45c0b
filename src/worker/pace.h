/* SPDX-License-Identifier: MIT */
/* How fast the bytes of one connection may go, in one direction or the other: within its own rate, its source's and its
 * listener's. They go in quanta: some milliseconds' worth each. A quantum is reserved at one gate after the other, and waits
 * its time at each; it goes when it has passed them all. The gates that connections share see their reservations in the order
 * in which they came, from whatever worker, so that all take turns, and nobody wakes in vain.
 *
 * Thread: the worker that the connection is seated on. Time is a parameter, in ns. */
#ifndef WORKER_PACE_H
#define WORKER_PACE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rate.h"
#include "config/door_config.h"
#include "report/counters.h"

/* What a quantum lasts, and what it is at least where that is more: a system call for less is not worth it, unless the rate
 * is so low that it would take long. */
#define PACE_QUANTUM_MS 16
#define PACE_QUANTUM_BYTES 4096
#define PACE_QUANTUM_MOST_MS 250

/* When a gate has so many reservations that another one has to be asked for again: after this long. */
#define PACE_RETRY_MS 500

/* One gate: a rate, and the bucket that it is counted in. */
struct pace_gate {
	struct rate rate;	    /* its burst is at least one quantum */
	struct rate_bucket *bucket; /* the line's own, or shared: borrowed from the account or the source's share */
	uint64_t waited_ns;	    /* the last reservation */
};

#define PACE_GATES 3

/* One direction. All zero, but for its gates, at the start. */
struct pace_line {
	struct pace_gate gates[PACE_GATES];
	struct rate_bucket own;
	uint64_t bytes;	     /* the quantum that is reserved */
	uint64_t due_ns;     /* when it may pass the last gate that it was reserved at */
	uint8_t gate_count;  /* 0: no limit */
	uint8_t gate_passed; /* at so many it is reserved */
	uint8_t misses;	     /* the next gate had too many reservations, so often in a row */
};

enum pace_way {
	PACE_IN, /* from the client */
	PACE_OUT,
};

/* Sets up a direction: its gates are the rates that are limits. `source` may be NULL: then that rate is none. */
void pace_line_init(struct pace_line *l, enum pace_way way, const struct bandwidth_config *limits,
		    struct account *account, struct source_share *source);

/* How many bytes may go now; UINT64_MAX without a limit. 0: ask again at *at_ns, or at the next occasion. */
uint64_t pace_ask(struct pace_line *l, uint64_t now_ns, uint64_t *at_ns);

/* `n` bytes went. More than pace_ask allowed may have: they count, and what follows waits for them. */
void pace_use(struct pace_line *l, uint64_t n, uint64_t now_ns);

/* Gives back what is reserved and not used: there is nothing to send for now. */
void pace_rest(struct pace_line *l, uint64_t now_ns);

#endif

/* SPDX-License-Identifier: MIT */
/* The handoff queue: bounded, one writer (main), one reader (its worker), no lock. */
#ifndef WORKER_QUEUE_H
#define WORKER_QUEUE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "worker/handoff.h"

struct queue {
	_Alignas(CACHE_LINE_BYTES) atomic_uint head; /* next to take; the reader's */
	_Alignas(CACHE_LINE_BYTES) atomic_uint tail; /* next to fill; the writer's */
	struct seat *seats;			     /* owned; HANDOFF_QUEUE_LENGTH */
	uint64_t *put_ms;			     /* owned; the writer's: when the seat of this place was put */
};

_Static_assert((HANDOFF_QUEUE_LENGTH & (HANDOFF_QUEUE_LENGTH - 1)) == 0, "positions wrap with the unsigned counters");

/* Returns 0 or -ENOMEM. */
int queue_init(struct queue *q) MUST_CHECK;
void queue_fini(struct queue *q);

/* How many wait. Exact for the writer's idea of room and the reader's of work. Thread: main or the worker. */
unsigned queue_length(const struct queue *q);

/* How many were ever taken, modulo 2^32: moves on while the worker takes. Thread: main or the worker. */
static inline unsigned queue_taken(const struct queue *q)
{
	return atomic_load_explicit(&q->head, memory_order_relaxed);
}

/* How many were ever put, modulo 2^32. Thread: main or the worker. */
static inline unsigned queue_put_so_far(const struct queue *q)
{
	return atomic_load_explicit(&q->tail, memory_order_acquire);
}

static inline bool queue_full(const struct queue *q)
{
	return queue_length(q) >= HANDOFF_QUEUE_LENGTH;
}

/* Must not be full. Thread: main. */
void queue_put(struct queue *q, const struct seat *seat, uint64_t now_ms);

/* How long the first one has waited; 0: none waits. Thread: main. */
uint64_t queue_age_ms(const struct queue *q, uint64_t now_ms);

/* Returns false when empty. Thread: the worker. */
bool queue_take(struct queue *q, struct seat *to);

#endif

/* SPDX-License-Identifier: MIT */
#include "worker/queue.h"

#include <errno.h>
#include <stdlib.h>

#include "base/must.h"

int queue_init(struct queue *q)
{
	atomic_init(&q->head, 0);
	atomic_init(&q->tail, 0);
	q->seats = calloc(HANDOFF_QUEUE_LENGTH, sizeof(*q->seats));
	q->put_ms = calloc(HANDOFF_QUEUE_LENGTH, sizeof(*q->put_ms));
	if (q->seats && q->put_ms)
		return 0;
	queue_fini(q);
	return -ENOMEM;
}

void queue_fini(struct queue *q)
{
	free(q->seats);
	q->seats = NULL;
	free(q->put_ms);
	q->put_ms = NULL;
}

unsigned queue_length(const struct queue *q)
{
	unsigned head = atomic_load_explicit(&q->head, memory_order_acquire);
	unsigned tail = atomic_load_explicit(&q->tail, memory_order_acquire);
	return tail - head;
}

void queue_put(struct queue *q, const struct seat *seat, uint64_t now_ms)
{
	must(!queue_full(q));
	unsigned tail = atomic_load_explicit(&q->tail, memory_order_relaxed);
	q->seats[tail % HANDOFF_QUEUE_LENGTH] = *seat;
	q->put_ms[tail % HANDOFF_QUEUE_LENGTH] = now_ms;
	atomic_store_explicit(&q->tail, tail + 1, memory_order_release);
}

uint64_t queue_age_ms(const struct queue *q, uint64_t now_ms)
{
	/* the reader may take it meanwhile, but nobody else writes into its place */
	unsigned head = atomic_load_explicit(&q->head, memory_order_relaxed);
	if (head == atomic_load_explicit(&q->tail, memory_order_relaxed))
		return 0;
	uint64_t put_ms = q->put_ms[head % HANDOFF_QUEUE_LENGTH];
	return now_ms > put_ms ? now_ms - put_ms : 0;
}

bool queue_take(struct queue *q, struct seat *to)
{
	unsigned head = atomic_load_explicit(&q->head, memory_order_relaxed);
	if (head == atomic_load_explicit(&q->tail, memory_order_acquire))
		return false;
	*to = q->seats[head % HANDOFF_QUEUE_LENGTH];
	atomic_store_explicit(&q->head, head + 1, memory_order_release);
	return true;
}

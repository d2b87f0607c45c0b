/* SPDX-License-Identifier: MIT */
#include "report/log_queue.h"

#include <errno.h>
#include <string.h>
#include <time.h>

/* How an entry lies in the queue: this, the message with its NUL, the fields. */
struct packed_head {
	uint64_t time_us;
	uint16_t message_bytes;
	uint16_t fields_bytes;
	uint8_t level;
	uint8_t kind;
};

static size_t packed_bytes(const struct packed_head *head)
{
	return sizeof(*head) + head->message_bytes + 1 + head->fields_bytes;
}

size_t log_entry_unpack(struct log_entry *e, const char *at)
{
	struct packed_head head;
	memcpy(&head, at, sizeof(head));
	e->time_us = head.time_us;
	e->level = head.level;
	e->kind = head.kind;
	e->message_bytes = head.message_bytes;
	e->fields_bytes = head.fields_bytes;
	e->message = at + sizeof(head);
	e->fields = e->message + head.message_bytes + 1;
	return packed_bytes(&head);
}

int log_cond_init(pthread_cond_t *cond)
{
	pthread_condattr_t attr;
	int r = pthread_condattr_init(&attr);
	if (r != 0)
		return -r;
	r = pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	if (r == 0)
		r = pthread_cond_init(cond, &attr);
	pthread_condattr_destroy(&attr);
	return -r;
}

int log_queue_init(struct log_queue *q, char *at, size_t size)
{
	memset(q, 0, sizeof(*q));
	int r = log_cond_init(&q->filled);
	if (r < 0)
		return r;
	pthread_mutex_init(&q->lock, NULL);
	q->at = at;
	q->size = size;
	q->open = true;
	return 0;
}

void log_queue_fini(struct log_queue *q)
{
	pthread_cond_destroy(&q->filled);
	pthread_mutex_destroy(&q->lock);
}

static void copy_in_locked(struct log_queue *q, const void *bytes, size_t n)
{
	size_t tail = (q->head + q->used) % q->size;
	size_t first = n < q->size - tail ? n : q->size - tail;
	memcpy(q->at + tail, bytes, first);
	memcpy(q->at, (const char *)bytes + first, n - first);
	q->used += n;
}

static void copy_out_locked(const struct log_queue *q, void *to, size_t n)
{
	size_t first = n < q->size - q->head ? n : q->size - q->head;
	memcpy(to, q->at + q->head, first);
	memcpy((char *)to + first, q->at, n - first);
}

int log_queue_put(struct log_queue *q, const struct log_entry *e)
{
	struct packed_head head = {
		.time_us = e->time_us,
		.message_bytes = e->message_bytes,
		.fields_bytes = e->fields_bytes,
		.level = (uint8_t)e->level,
		.kind = (uint8_t)e->kind,
	};
	int r = 0;
	bool wake = false;

	pthread_mutex_lock(&q->lock);
	if (!q->open) {
		r = -ESHUTDOWN;
	} else if (packed_bytes(&head) > q->size - q->used) {
		q->lost++;
		r = -ENOBUFS;
	} else {
		copy_in_locked(q, &head, sizeof(head));
		copy_in_locked(q, e->message, (size_t)e->message_bytes + 1);
		copy_in_locked(q, e->fields, e->fields_bytes);
		/* the first to find the taker asleep wakes it; the others need not */
		wake = q->asleep;
		q->asleep = false;
	}
	pthread_mutex_unlock(&q->lock);
	if (wake)
		pthread_cond_signal(&q->filled);
	return r;
}

size_t log_queue_take(struct log_queue *q, char *to, size_t size)
{
	size_t taken = 0;

	pthread_mutex_lock(&q->lock);
	while (q->used > 0) {
		struct packed_head head;
		copy_out_locked(q, &head, sizeof(head));
		size_t n = packed_bytes(&head);
		if (n > size - taken)
			break;
		copy_out_locked(q, to + taken, n);
		taken += n;
		q->head = (q->head + n) % q->size;
		q->used -= n;
	}
	/* begin again at the start, so that a log with little to say touches few pages */
	if (q->used == 0)
		q->head = 0;
	pthread_mutex_unlock(&q->lock);
	return taken;
}

bool log_queue_wait(struct log_queue *q, uint64_t until_ms)
{
	struct timespec until = {
		.tv_sec = (time_t)(until_ms / 1000),
		.tv_nsec = (long)(until_ms % 1000) * 1000000L,
	};
	int r = 0;

	pthread_mutex_lock(&q->lock);
	while (q->used == 0 && q->open && !q->poked && r != ETIMEDOUT) {
		q->asleep = true;
		if (until_ms != 0)
			r = pthread_cond_timedwait(&q->filled, &q->lock, &until);
		else
			pthread_cond_wait(&q->filled, &q->lock);
	}
	q->asleep = false;
	q->poked = false;
	bool open = q->open;
	pthread_mutex_unlock(&q->lock);
	return open;
}

void log_queue_poke(struct log_queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->poked = true;
	pthread_cond_signal(&q->filled);
	pthread_mutex_unlock(&q->lock);
}

void log_queue_close(struct log_queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->open = false;
	pthread_cond_signal(&q->filled);
	pthread_mutex_unlock(&q->lock);
}

bool log_queue_is_open(struct log_queue *q)
{
	pthread_mutex_lock(&q->lock);
	bool open = q->open;
	pthread_mutex_unlock(&q->lock);
	return open;
}

bool log_queue_is_empty(struct log_queue *q)
{
	pthread_mutex_lock(&q->lock);
	bool empty = q->used == 0;
	pthread_mutex_unlock(&q->lock);
	return empty;
}

uint64_t log_queue_lost(struct log_queue *q)
{
	pthread_mutex_lock(&q->lock);
	uint64_t lost = q->lost;
	pthread_mutex_unlock(&q->lock);
	return lost;
}

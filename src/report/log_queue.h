/* SPDX-License-Identifier: MIT */
/* The bounded queue of log records: many threads put, the log thread takes. Records are copied in and out; one that
 * does not fit is dropped and counted. */
#ifndef REPORT_LOG_QUEUE_H
#define REPORT_LOG_QUEUE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "report/log_priv.h"

struct log_queue {
	pthread_mutex_t lock; /* guards all below */
	pthread_cond_t filled;
	char *at; /* borrowed: a ring of `size` bytes */
	size_t size;
	size_t head; /* where the oldest record begins */
	size_t used;
	bool open;
	bool asleep; /* the taker waits for `filled` */
	bool poked;
	uint64_t lost;
};

/* Sets up an open, empty queue in memory of the caller's. Returns 0 or -errno of pthread_cond_init. */
int log_queue_init(struct log_queue *q, char *at, size_t size) MUST_CHECK;
void log_queue_fini(struct log_queue *q);

/* Copies an entry in. Returns 0; -ENOBUFS when it does not fit (it is counted as lost); -ESHUTDOWN after close.
 * Thread: any. */
int log_queue_put(struct log_queue *q, const struct log_entry *e) MUST_CHECK;

/* Moves packed entries, as many whole ones as fit, into `to`. Returns the bytes; 0: none. Thread: the taker. */
size_t log_queue_take(struct log_queue *q, char *to, size_t size);

/* Waits until there is an entry, the queue is closed, somebody pokes, or the monotonic clock is at `until_ms` (0: no
 * such end). Returns false once the queue is closed. Thread: the taker. */
bool log_queue_wait(struct log_queue *q, uint64_t until_ms);

/* Ends the taker's wait. Thread: any. */
void log_queue_poke(struct log_queue *q);

/* From here on nothing gets in; what is in can still be taken. Thread: any. */
void log_queue_close(struct log_queue *q);

/* False after close. Thread: any. */
bool log_queue_is_open(struct log_queue *q);
bool log_queue_is_empty(struct log_queue *q);

/* Entries that did not fit since init. Thread: any. */
uint64_t log_queue_lost(struct log_queue *q);

/* Reads the packed entry at `at`; the text stays there. Returns its bytes. */
size_t log_entry_unpack(struct log_entry *e, const char *at);

/* A condition that measures time with the monotonic clock. Returns 0 or -errno. */
int log_cond_init(pthread_cond_t *cond) MUST_CHECK;

#endif

/* SPDX-License-Identifier: MIT */
/* A worker: a thread and everything it owns. For the files of this folder. */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

#include "base/list.h"
#include "base/poller.h"
#include "base/role.h"
#include "base/timer.h"
#include "config/config.h"
#include "report/counters.h"
#include "worker/doorbell.h"
#include "worker/queue.h"

struct offences;
struct pipe_pool;
struct recheck;
struct resolver;
struct tls_io;

struct worker {
	/* set before the thread starts, then only read */
	unsigned index;
	int wake_fd;		     /* owned: an eventfd */
	struct doorbell *doorbell;   /* borrowed from the pool */
	unsigned pipes_most;	     /* how many it may have open */
	atomic_uint *descriptors;    /* borrowed from the pool: what all connections have taken */
	atomic_uint *all_handshakes; /* likewise: of TLS, under way */
	struct offences *offences;   /* borrowed from the pool */
	pthread_t thread;

	/* shared with main */
	struct queue queue;
	atomic_bool asleep;			/* the worker waits, or is about to: wake it */
	atomic_uint commands;			/* a bit each */
	_Atomic(struct config *) next_config;	/* ref, on its way with WORKER_RECONFIGURE */
	_Atomic(struct recheck *) next_recheck; /* ref, on its way with WORKER_RECHECK */
	_Atomic uint64_t turn_began_ms;		/* 0: it waits for something to do */
	struct counters counters;

	/* main's own */
	uint64_t seated;
	uint64_t lying_since_ms; /* since when its queue lies, and nothing is taken, while it sleeps; 0: it does not */
	unsigned lying_at;	 /* what queue_taken() said then */

	/* the worker's own */
	struct poller poller WORKER_FIELD;
	struct watch wake WORKER_FIELD;
	struct timer_wheel timers WORKER_FIELD;
	uint64_t now_ms WORKER_FIELD;		/* at the beginning of this turn */
	struct list conns WORKER_FIELD;		/* open, but for those that are */
	struct list unchecked WORKER_FIELD;	/* open, and to be looked at by the recheck */
	struct recheck *recheck WORKER_FIELD;	/* ref; NULL: none is under way */
	unsigned recheck_until WORKER_FIELD;	/* it concerns all seats before this one */
	struct list again WORKER_FIELD;		/* to go on with in the next turn */
	struct list dead WORKER_FIELD;		/* closed in this turn; freed at its end */
	uint8_t *scratch WORKER_FIELD;		/* owned: STREAM_HELD_MAX_BYTES */
	struct pipe_pool *pipes WORKER_FIELD;	/* owned */
	struct resolver *resolver WORKER_FIELD; /* owned */
	struct tls_io *tls_io WORKER_FIELD;	/* owned */
	unsigned handshakes WORKER_FIELD;	/* steps of TLS handshakes in this turn */
	struct timer tls_sweep WORKER_FIELD;	/* unused TLS streams go to sleep */
	struct list shakes WORKER_FIELD;	/* connections that wait for theirs, by their `again` */
	struct list *shaker WORKER_FIELD;	/* the one whose turn it is; NULL: none */
	bool stopping WORKER_FIELD;
};

/* The time of this turn of the loop. */
uint64_t worker_now_ms(const struct worker *w) WORKER_ONLY;

/* Makes a worker and starts its thread. Returns 0 or -errno. Thread: main. */
int worker_start(struct worker *w, struct config *config) MUST_CHECK;

/* Waits for the thread, which WORKER_STOP has ended, and frees what the worker owns. Thread: main. */
void worker_join(struct worker *w);

/* Wakes it if it sleeps. Thread: main. */
void worker_wake(struct worker *w);

#endif

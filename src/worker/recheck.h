/* SPDX-License-Identifier: MIT */
/* Asking about each open connection whether it would still be let in: the worker's side of pool_recheck. */
#ifndef WORKER_RECHECK_H
#define WORKER_RECHECK_H

#include "worker/worker.h"

/* Thread: any. */
struct recheck *recheck_ref(struct recheck *r);

/* Begins with the question that main has posted, in place of one that is not done. */
void recheck_begin(struct worker *w) WORKER_ONLY;

/* Goes on with some of the connections. */
void recheck_go_on(struct worker *w) WORKER_ONLY;

/* Where the connection of the seat that was taken last belongs. Borrowed. */
struct list *recheck_conns(struct worker *w) WORKER_ONLY;

/* Leaves it: all connections are in the worker's conns again. */
void recheck_end(struct worker *w) WORKER_ONLY;

#endif

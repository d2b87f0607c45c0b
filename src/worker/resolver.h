/* SPDX-License-Identifier: MIT */
/* Host names to addresses, without blocking (c-ares), one resolver a worker. Answers are kept for their TTL. When one
 * cannot be renewed the old addresses go on being used: after a moment while it is tried, then at once until it is
 * renewed. */
#ifndef WORKER_RESOLVER_H
#define WORKER_RESOLVER_H

#include "base/attr.h"
#include "base/list.h"
#include "base/netaddr.h"
#include "base/role.h"
#include "config/config.h"

struct worker;
struct resolver;
struct name;

/* The most addresses of one name that are used. */
#define RESOLVER_ADDRESSES_MAX 64

/* Somebody who waits for an answer; embedded. */
struct name_waiter {
	struct list node;
	struct name *name; /* borrowed: what it waits for */
	/* The answer: port 0 in each address, borrowed for the call; count 0: the name did not resolve. */
	void (*done)(struct name_waiter *w, const struct peer_addr *addresses, unsigned count);
};

void name_waiter_init(struct name_waiter *w,
		      void (*done)(struct name_waiter *w, const struct peer_addr *addresses, unsigned count));

/* Costs no descriptor until the first name is asked for. NULL: no memory. */
struct resolver *resolver_create(struct worker *worker, struct config *config);
struct resolver *resolver_destroy(struct resolver *r) WORKER_ONLY;

/* New settings, and /etc/resolv.conf as it is now, count at once: who waits is asked for anew. What is known is
 * old. */
void resolver_reconfigure(struct resolver *r, struct config *config) WORKER_ONLY;

/* Frees what was closed in this turn. For the worker, at the end of a turn. */
void resolver_sweep(struct resolver *r) WORKER_ONLY;

/* Asks for a name. `done` is called once: before this returns if the answer is known, else later, unless the
 * waiter is cancelled. */
void resolver_lookup(struct resolver *r, const char *name_text, struct name_waiter *waiter) WORKER_ONLY;

/* For one that waits: whether there are addresses from before. */
bool resolver_has_old(const struct name_waiter *waiter) WORKER_ONLY;

/* Answers it with those. */
void resolver_use_old(struct name_waiter *waiter) WORKER_ONLY;

/* Harmless for one that does not wait. */
void resolver_cancel(struct name_waiter *waiter) WORKER_ONLY;

#endif

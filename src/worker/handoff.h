/* SPDX-License-Identifier: MIT */
/* The way from the acceptor to the workers: a fixed pool of workers, each with a bounded queue. What front/ and
 * daemon/ know of workers is here. */
#ifndef WORKER_HANDOFF_H
#define WORKER_HANDOFF_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/netaddr.h"
#include "base/role.h"
#include "config/config.h"
#include "report/counters.h"
#include "tls/set.h"
#include "worker/close_reason.h"
#include "worker/doorbell.h"

/* A connection on its way to a worker. */
struct seat {
	int fd; /* owned, non-blocking */
	bool is_tcp;
	struct peer_addr peer;			     /* canonical */
	uint64_t connection;			     /* its number, unique since the start */
	uint64_t serial;			     /* its number on its listener: what a service takes turns by */
	struct config *config;			     /* ref */
	const struct listener_config *listener;	     /* borrowed from config */
	struct account *account;		     /* ref; counts this connection already */
	struct tls_set *tls;			     /* ref; NULL: no TLS on either side */
	struct source_share *sources[SOURCE_SCOPES]; /* counted as open; NULL: none */
	bool trusted;				     /* exempt from limits */
	unsigned descriptors;			     /* what was taken of the pool's for it */
};

/* What main can ask of a worker; each is answered by what it does. */
enum worker_command {
	WORKER_RECONFIGURE, /* the configuration has changed: `config` is the new one */
	WORKER_CLOSE_ALL,   /* close what is still open, because usherd stops */
	WORKER_RECHECK,	    /* by pool_recheck: close whom the rules of today do not let in */
	WORKER_STOP,	    /* end the thread once nothing is open */
};

#define POOL_WORKERS_MAX 256
#define HANDOFF_QUEUE_LENGTH 1024

struct pool;

/* Makes `n` workers and starts their threads. Takes nothing; `config` is what the workers' own settings come from.
 * Returns 0 or -errno (nothing is left running then). */
int pool_create(struct pool **to, unsigned n, struct config *config) MUST_CHECK MAIN_ONLY;

/* Descriptors that so many workers may open, which are no connection's: for bulk. */
unsigned pool_own_descriptors(unsigned workers);

/* After WORKER_STOP: waits for the threads and frees everything. Returns NULL; accepts NULL. */
struct pool *pool_destroy(struct pool *p) MAIN_ONLY;

/* The worker with the fewest connections that has room in its queue, or -EAGAIN when none has. */
int pool_pick(struct pool *p) MUST_CHECK MAIN_ONLY;

/* Hands a connection to the worker that pool_pick named. Takes all that the seat owns. */
void pool_seat(struct pool *p, unsigned worker, const struct seat *seat) MAIN_ONLY;

/* Posts a command to every worker. There is always room for these. */
void pool_command(struct pool *p, enum worker_command command, struct config *config) MAIN_ONLY;

/* Who is on a connection that is open. Borrowed. */
struct recheck_visitor {
	const struct listener_config *listener; /* of the snapshot that it came in under */
	const struct peer_addr *peer;
	int fd; /* for what the kernel knows of a UNIX peer */
	bool is_trusted;
};

/* A question that main asks about each open connection. It is reference-counted, and goes when the last worker has asked
 * it. */
struct recheck;

/* Makes one, with one reference. `denied` is called by the workers, all at the same time, so what it looks at in `arg` does
 * not change; it does not block. `release` (may be NULL) is called with `arg` at the end, by any thread. NULL: no memory. */
struct recheck *recheck_create(bool (*denied)(void *arg, const struct recheck_visitor *v), void (*release)(void *arg),
			       void *arg) MUST_CHECK;

/* Returns NULL; accepts NULL. Thread: any. */
struct recheck *recheck_unref(struct recheck *r);

/* Closes those connections that `denied` names, with the reason `no_longer_allowed`: all that were handed over until now, some in each
 * turn of a worker's loop. A later question takes the place of one that is not answered to the end. Takes the caller's
 * reference. */
void pool_recheck(struct pool *p, struct recheck *r) MAIN_ONLY;

/* Calls `each` for up to `most` sources that workers noted offences of, with how many; the source is counted as open until
 * it returns. Returns whether there are more. */
bool pool_offences(struct pool *p, unsigned most, void (*each)(void *arg, struct source_share *source, unsigned n),
		   void *arg) MAIN_ONLY;

/* Rung when there are offences, if it is awaited. */
struct doorbell *pool_offence_bell(struct pool *p);

/* Rung when a connection has ended, a queue has room again, or there is room for some more TLS handshakes, if it is awaited. */
struct doorbell *pool_doorbell(struct pool *p);

/* Descriptors that connections have, or will have: the acceptor takes before it seats, the worker that closes gives
 * back. */
void pool_take_descriptors(struct pool *p, unsigned n) MAIN_ONLY;
unsigned pool_descriptors(const struct pool *p);

/* TLS handshakes with clients that are under way, of all listeners: the acceptor takes one before it seats, the worker on
 * which it ends gives it back. */
void pool_take_handshake(struct pool *p) MAIN_ONLY;
unsigned pool_handshakes(const struct pool *p);

/* What one connection of this listener may take at the most, and its service's name. */
unsigned pool_descriptors_of(const struct listener_config *l);
const char *pool_service_of(const struct listener_config *l);

/* Connections that are on a worker or on their way to one. */
uint64_t pool_open(const struct pool *p) MAIN_ONLY;

/* The most that these were since pool_restart_peak. */
uint64_t pool_peak(const struct pool *p) MAIN_ONLY;
void pool_restart_peak(struct pool *p) MAIN_ONLY;

unsigned pool_workers(const struct pool *p);

/* A worker's counters. Thread: any. */
const struct counters *pool_counters(const struct pool *p, unsigned worker);

/* How long the connection that waits longest for its worker has waited; 0: none waits. */
uint64_t pool_queue_age_ms(struct pool *p, uint64_t now_ms) MAIN_ONLY;

/* How long worker `i` has been in one turn of its loop, or has left its queue lying while it sleeps, in ms; 0 when it
 * is fine. */
uint64_t pool_stuck_ms(struct pool *p, unsigned worker, uint64_t now_ms) MAIN_ONLY;

#endif

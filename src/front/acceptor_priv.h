/* SPDX-License-Identifier: MIT */
/* The acceptor's inside, shared by its files: acceptor.c (which sockets), accept.c (one connection), acceptor_pause.c
 * (when not to accept). */
#ifndef FRONT_ACCEPTOR_PRIV_H
#define FRONT_ACCEPTOR_PRIV_H

#include "front/acceptor.h"

struct acceptor {
	struct poller poller;
	struct timer_wheel timers;
	struct pool *pool;	  /* borrowed */
	struct listener_set *set; /* borrowed; NULL: none */
	struct watch bell;	  /* the workers': there is room again */
	unsigned descriptors;	  /* that connections and listening sockets may have */
	struct counters refused;  /* what never came to a worker */
	uint64_t next_connection;
	unsigned turn_accepts; /* in this turn */

	/* pausing: nothing is accepted until there is room */
	bool paused;
	struct timer resume; /* when nobody rings */
	bool short_of;	     /* an episode of shortage was logged and is not over */
	struct timer relief; /* the episode is over when no pause came until then */
	struct timer rested; /* sockets that rest are tried again */

	/* pacing: arrivals in a row are taken in batches */
	uint64_t window_began_us;
	unsigned window_accepts;
	unsigned rate; /* a second, of the last window */
};

/* What came of an attempt to accept. */
enum accept_result {
	ACCEPT_ONE,	    /* a connection was taken, or was gone before it could be */
	ACCEPT_NONE,	    /* the backlog is empty */
	ACCEPT_BROKEN,	    /* the socket fails, and may not in a moment */
	ACCEPT_LOST,	    /* the socket fails for good */
	ACCEPT_HANDSHAKES,  /* the listener has all TLS handshakes under way that it may have */
	ACCEPT_QUEUES,	    /* every worker's queue is full */
	ACCEPT_BUDGET,	    /* connections have all the descriptors that they may have */
	ACCEPT_DESCRIPTORS, /* the process has no descriptor left */
	ACCEPT_MACHINE,	    /* the machine has none */
	ACCEPT_MEMORY,	    /* the kernel has no memory */
};

/* accept.c: takes one connection from the socket's backlog, asks admission, seats or refuses it. Logs what is wrong
 * with the socket itself. */
enum accept_result acceptor_accept(struct acceptor *a, struct listening *l) MUST_CHECK MAIN_ONLY;

/* accept.c: whether the listener may begin another TLS handshake. */
bool acceptor_may_shake(const struct listening *l) MUST_CHECK MAIN_ONLY;

/* accept.c: whether a worker's queue and the budget of descriptors have room for a connection. */
bool acceptor_has_room(const struct acceptor *a) MUST_CHECK MAIN_ONLY;

/* acceptor_pause.c: sets up what pausing needs. Returns 0 or -errno. */
int acceptor_pause_init(struct acceptor *a) MUST_CHECK MAIN_ONLY;

/* acceptor_pause.c: stops accepting, because of `why` (ACCEPT_QUEUES and what follows it), until a worker rings or a
 * moment has passed. */
void acceptor_pause(struct acceptor *a, enum accept_result why) MAIN_ONLY;

/* acceptor_pause.c: leaves one socket alone for a moment. */
void acceptor_rest(struct acceptor *a, struct listening *l) MAIN_ONLY;

/* acceptor_pause.c: leaves one socket alone until a TLS handshake of its listener is over. */
void acceptor_await_handshake(struct acceptor *a, struct listening *l) MAIN_ONLY;

/* acceptor_pause.c: waits up to `wait_ms` for a worker to ring, unless there is room for one of `l` already. */
void acceptor_await_room(struct acceptor *a, const struct listening *l, int wait_ms) MAIN_ONLY;

/* acceptor_pause.c: when `accepts` come fast, sleeps for a moment so that the next turn finds several. */
void acceptor_pace(struct acceptor *a, unsigned accepts) MAIN_ONLY;

/* acceptor.c: watches a socket, unless it rests or is lost; or no longer. */
int acceptor_watch(struct acceptor *a, struct listening *l) MUST_CHECK MAIN_ONLY;
void acceptor_unwatch(struct acceptor *a, struct listening *l) MAIN_ONLY;

#endif

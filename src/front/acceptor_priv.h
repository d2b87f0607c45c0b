/* SPDX-License-Identifier: MIT */
/* The acceptor's inside, shared by its files. */
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

	/* pacing: arrivals in a row are taken in batches */
	uint64_t window_began_us;
	unsigned window_accepts;
	unsigned rate; /* a second, of the last window */
};

/* Refuses a connection that was accepted: a reset and a close record. Takes the descriptor. */
void acceptor_refuse_take_fd(struct acceptor *a, int *fd, const struct listening *l, const struct peer_addr *peer,
			     enum close_reason reason) MAIN_ONLY;

/* Stops accepting until a worker rings or a moment has passed. `shortage` is what ran out, for the log; NULL: only a
 * queue is full. */
void acceptor_pause(struct acceptor *a, const char *shortage) MAIN_ONLY;

/* Sets up what pausing needs. Returns 0 or -errno. */
int acceptor_pause_init(struct acceptor *a) MUST_CHECK MAIN_ONLY;

/* Watches a socket, or no longer. */
int acceptor_watch(struct acceptor *a, struct listening *l) MUST_CHECK MAIN_ONLY;
void acceptor_unwatch(struct acceptor *a, struct listening *l) MAIN_ONLY;

/* Counts `accepts` and, when they come fast, sleeps for a moment so that the next turn finds several. */
void acceptor_pace(struct acceptor *a, unsigned accepts) MAIN_ONLY;

#endif

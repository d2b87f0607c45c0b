/* SPDX-License-Identifier: MIT */
/* The acceptor's inside, shared by its files: acceptor.c (which sockets), accept.c (one connection), acceptor_pause.c
 * (when not to accept), acceptor_wait.c (who waits for room under a limit). */
#ifndef FRONT_ACCEPTOR_PRIV_H
#define FRONT_ACCEPTOR_PRIV_H

#include "front/acceptor.h"
#include "front/door.h"
#include "front/waiting.h"

/* Those that at_limit = "wait" makes wait. */
struct acceptor_wait {
	struct waiting *room; /* owned */
	struct timer due;     /* somebody may come in by a rate, or has waited too long */
	unsigned descriptors; /* what those who wait have, and will take when they come in */
	unsigned generation;  /* of the configuration */
	uint64_t pass;	      /* counts passes, from 1 */
	uint64_t full_in;     /* in this one nobody could come in; an account says so of its listener */
	uint64_t again_ms;    /* when one who was asked about may come in without a ring; UINT64_MAX: nobody may */
	bool wanted;	      /* there may be room: a pass is to begin */
	bool under_way;	      /* one is */
};

struct acceptor {
	struct poller poller;
	struct timer_wheel timers;
	struct pool *pool;	   /* borrowed */
	struct listener_set *set;  /* borrowed; NULL: none */
	const struct rules *rules; /* borrowed; of the same configuration */
	struct door *door;	   /* owned */
	struct watch bell;	   /* the workers': there is room again */
	unsigned descriptors;	   /* that connections and listening sockets may have */
	unsigned wanted;	   /* of them, by the last that was to be accepted */
	struct counters refused;   /* what never came to a worker */
	uint64_t next_connection;
	unsigned turn_accepts;	/* in this turn */
	uint64_t turn_ended_us; /* the one before */

	/* pausing: nothing is accepted until there is room */
	bool paused;
	struct timer resume; /* when nobody rings */
	bool short_of;	     /* an episode of shortage was logged and is not over */
	struct timer relief; /* the episode is over when no pause came until then */
	struct timer rested; /* sockets that rest are tried again */

	struct acceptor_wait wait;

	/* pacing: arrivals in a row are taken in batches */
	uint64_t window_began_us;
	unsigned window_accepts;
	unsigned rate; /* a second, of the last window */
};

/* One that asks to come in. */
struct arrival {
	const struct listening *listening; /* borrowed */
	const struct peer_addr *peer;	   /* borrowed; canonical */
	bool is_tcp;
	uint64_t now_us;
	struct visitor visitor;
	struct verdict verdict;
};

/* What came of an attempt to accept. */
enum accept_result {
	ACCEPT_ONE,	    /* a connection was taken, or was gone before it could be */
	ACCEPT_NONE,	    /* the backlog is empty */
	ACCEPT_BROKEN,	    /* the socket fails, and may not in a moment */
	ACCEPT_LOST,	    /* the socket fails for good */
	ACCEPT_QUEUES,	    /* every worker's queue is full */
	ACCEPT_BUDGET,	    /* connections have all the descriptors that they may have */
	ACCEPT_DESCRIPTORS, /* the process has no descriptor left */
	ACCEPT_MACHINE,	    /* the machine has none */
	ACCEPT_MEMORY,	    /* the kernel has no memory */
};

/* accept.c: takes one connection from the socket's backlog, asks admission, seats or refuses it. Logs what is wrong
 * with the socket itself. */
enum accept_result acceptor_accept(struct acceptor *a, struct listening *l) MUST_CHECK MAIN_ONLY;

/* accept.c: asks the door about a connection: fills in the visitor and the verdict of what `v` has of it. `held`: how many
 * descriptors are counted for it already. */
void acceptor_ask(struct acceptor *a, struct arrival *v, int fd, unsigned held) MAIN_ONLY;

/* accept.c: hands one that was let in to a worker; or turns one away, as its verdict says. Both take the descriptor. */
void acceptor_seat_take_fd(struct acceptor *a, int worker, int *fd, const struct arrival *v) MAIN_ONLY;
void acceptor_refuse_take_fd(struct acceptor *a, int *fd, const struct arrival *v) MAIN_ONLY;

/* accept.c: turns one away for what is not its fault: a wait that came to nothing. Takes the descriptor. */
void acceptor_turn_away_take_fd(struct acceptor *a, int *fd, bool is_tcp, const struct listening *l,
				const struct who *who, enum close_reason reason, uint64_t now_ms) MAIN_ONLY;

/* accept.c: whether the budget has `more` descriptors. */
bool acceptor_within_budget(const struct acceptor *a, unsigned more) MUST_CHECK MAIN_ONLY;

/* accept.c: the same, without those that are kept for trusted clients. */
bool acceptor_has_room_for_strangers(const struct acceptor *a, unsigned more) MUST_CHECK MAIN_ONLY;

/* accept.c: whether a worker's queue and the budget of descriptors have room for such a connection as the last that was to be
 * accepted. */
bool acceptor_has_room(const struct acceptor *a) MUST_CHECK MAIN_ONLY;

/* acceptor_pause.c: sets up what pausing needs. Returns 0 or -errno. */
int acceptor_pause_init(struct acceptor *a) MUST_CHECK MAIN_ONLY;

/* acceptor_pause.c: stops accepting, because of `why` (ACCEPT_QUEUES and what follows it), until a worker rings or a
 * moment has passed. */
void acceptor_pause(struct acceptor *a, enum accept_result why) MAIN_ONLY;

/* acceptor_pause.c: leaves one socket alone for a moment. */
void acceptor_rest(struct acceptor *a, struct listening *l) MAIN_ONLY;

/* While who waits in a backlog or for a limit is taken in: how long one wait for room in the workers' queues lasts, and after
 * how long without any the workers are given up. */
#define TAKE_OUT_WAIT_MS 10
#define TAKE_OUT_PATIENCE_MS 1000

/* acceptor_pause.c: waits up to `wait_ms` for a worker to ring; `for_queue`: unless a queue has room already. */
void acceptor_await_room(struct acceptor *a, bool for_queue, int wait_ms) MAIN_ONLY;

/* acceptor_pause.c: when `accepts` come fast, sleeps for a moment so that the next turn finds several. */
void acceptor_pace(struct acceptor *a, unsigned accepts) MAIN_ONLY;

/* acceptor_pause.c: whether it does, because they come fast. */
bool acceptor_is_pacing(const struct acceptor *a) MUST_CHECK MAIN_ONLY;

/* acceptor_wait.c: sets up what waiting needs. Returns 0 or -ENOMEM. */
int acceptor_wait_init(struct acceptor *a) MUST_CHECK MAIN_ONLY;

/* acceptor_wait.c: closes what still waits. */
void acceptor_wait_fini(struct acceptor *a) MAIN_ONLY;

/* acceptor_wait.c: whether one that was decided about has to wait: at a limit that says so, or behind others. */
bool acceptor_must_wait(const struct acceptor *a, const struct arrival *v) MUST_CHECK MAIN_ONLY;

/* acceptor_wait.c: lets it wait, or turns it away if there is no room for it. Takes the descriptor. */
void acceptor_wait_take_fd(struct acceptor *a, int *fd, struct arrival *v) MAIN_ONLY;

/* acceptor_wait.c: there may be room again, or the configuration is another. */
void acceptor_wait_look(struct acceptor *a) MAIN_ONLY;
void acceptor_wait_renew(struct acceptor *a) MAIN_ONLY;

/* acceptor_wait.c: what is to do in each turn. acceptor_wait_busy: the next turn is not to sleep before it. */
void acceptor_wait_turn(struct acceptor *a, uint64_t now_us) MAIN_ONLY;
bool acceptor_wait_busy(const struct acceptor *a) MUST_CHECK MAIN_ONLY;

/* acceptor_wait.c: nobody waits any longer at the listener of this number (0: at any): who may come in does, the others
 * are turned away. *patient is as for acceptor_take_out. */
void acceptor_wait_clear(struct acceptor *a, uint16_t scope, bool *patient) MAIN_ONLY;

/* acceptor.c: watches a socket, unless it rests or is lost; or no longer. */
int acceptor_watch(struct acceptor *a, struct listening *l) MUST_CHECK MAIN_ONLY;
void acceptor_unwatch(struct acceptor *a, struct listening *l) MAIN_ONLY;

#endif

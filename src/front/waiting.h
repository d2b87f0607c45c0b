/* SPDX-License-Identifier: MIT */
/* The waiting room: connections that were accepted while a limit that says at_limit = "wait" had no room, and that wait for
 * it. Fair: listeners take turns, at a listener its sources do, and of one source who came first goes first. So one who has
 * many waiting does not delay another's first.
 *
 * Who may come in is the caller's to know. When there may be room again it begins a pass, in which each source is asked
 * about once, and again after each one of it that came in; a limit that is not its own does not cost anybody the turn.
 *
 * A newcomer that would be let in at once has to wait all the same when others of its source do (waiting_count_of), or when
 * the last pass ended because its listener, or everything, was full.
 *
 * The room is bounded, in all, by listener, and by source. When it is full for a listener, and another source has at least
 * two more waiting there than the newcomer's, the last of the one that has the most leaves instead of the newcomer. When it
 * is full in all, the same goes for who has the most at any one listener: so a listener that is flooded does not take the
 * others their places.
 *
 * Each call takes constant time, but for waiting_next, which has a bound of its own, and waiting_add when it is full in all,
 * which looks at each listener at which somebody waits; the hash is one that nobody can foresee. A client that goes meanwhile is found out when it comes in, or by the caller's own watch, for waiting_drop.
 *
 * Times are those of clock_now_ms, and never go back. Thread: main. */
#ifndef FRONT_WAITING_H
#define FRONT_WAITING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/role.h"
#include "front/who.h"

struct waiting_limits {
	unsigned in_all;
	unsigned per_listener;
	unsigned per_source; /* at one listener; at most WAITING_PER_SOURCE */
	uint64_t ms;	     /* nobody waits longer */
};

/* What it has in usherd. */
#define WAITING_IN_ALL 4096
#define WAITING_PER_LISTENER 1024
#define WAITING_PER_SOURCE 64
#define WAITING_MS 30000

/* What the acceptor knows of one that waits. */
struct waiter;

/* One that waits, or comes out. */
struct waiting_client {
	struct who who;	       /* whose, and at which listener */
	int fd;		       /* owned; -1: none */
	struct waiter *waiter; /* owned by who has the descriptor; never looked at here */
	uint64_t came_ms;      /* set by waiting_add */
};

/* Where one waits: good until the client has come out. */
struct waiting_place;

struct waiting;

/* NULL: no memory. */
struct waiting *waiting_create(const struct waiting_limits *limits);

/* Who still waits has its descriptor closed, but its waiter is lost: waiting_take them before. Returns NULL; accepts
 * NULL. */
struct waiting *waiting_destroy(struct waiting *w);

/* Lets one wait, behind the others of its source. Takes c->fd and c->waiter, and *place (may be NULL) is where they are;
 * if another had to leave for it, that is *leaves, else leaves->fd is -1. On failure nothing is taken:
 *   -EDQUOT   as many of its source wait as may
 *   -ENOBUFS  as many wait as may
 *   -ENOMEM */
int waiting_add(struct waiting *w, struct waiting_client *c, uint64_t now_ms, struct waiting_place **place,
		struct waiting_client *leaves) MUST_CHECK MAIN_ONLY;

/* What the caller says of one that it is asked about. */
enum waiting_answer {
	WAITING_COMES,	       /* it comes out: to be let in, or to be refused for good */
	WAITING_SOURCE_FULL,   /* a limit of its source: others may */
	WAITING_LISTENER_FULL, /* a limit of its listener: nobody of it may */
	WAITING_FULL,	       /* nobody may */
};

/* Does not call anything of the waiting room. */
typedef enum waiting_answer waiting_ask(void *arg, const struct waiting_client *c);

enum waiting_result {
	WAITING_GIVEN,	/* *to is one that comes */
	WAITING_MORE,	/* the call has done enough: go on with it in the next turn of the loop */
	WAITING_NOBODY, /* the pass is over: nobody (else) may come; or none was begun */
};

/* Begins a pass: there may be room again. A pass that is under way begins anew, with those that it has not come to. */
void waiting_begin(struct waiting *w) MAIN_ONLY;

/* Goes on with the pass until one comes. It asks about WAITING_ASK_AT_ONCE at most. */
#define WAITING_ASK_AT_ONCE 64
enum waiting_result waiting_next(struct waiting *w, waiting_ask *ask, void *arg,
				 struct waiting_client *to) MUST_CHECK MAIN_ONLY;

/* Takes out the one that waits longest if it is to wait no longer. Returns false if there is none such. */
bool waiting_expire(struct waiting *w, uint64_t now_ms, struct waiting_client *to) MUST_CHECK MAIN_ONLY;

/* When waiting_expire has the next; UINT64_MAX: nobody waits. */
uint64_t waiting_expires_at_ms(const struct waiting *w) MAIN_ONLY;

/* Takes out the one in this place. */
void waiting_drop(struct waiting *w, struct waiting_place *place, struct waiting_client *to) MAIN_ONLY;

/* Takes out somebody who waits at a listener (0: at any), for one that goes, or at a stop. Returns false if there is
 * nobody. */
bool waiting_take(struct waiting *w, uint16_t listener, struct waiting_client *to) MUST_CHECK MAIN_ONLY;

/* How many wait: in all, at a listener, of one source there. */
unsigned waiting_count(const struct waiting *w);
unsigned waiting_count_at(const struct waiting *w, uint16_t listener);
unsigned waiting_count_of(const struct waiting *w, const struct who *who);

#endif

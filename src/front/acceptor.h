/* SPDX-License-Identifier: MIT */
/* The acceptor: the main thread's loop. Takes every connection from the kernel, asks admission, and seats it. */
#ifndef FRONT_ACCEPTOR_H
#define FRONT_ACCEPTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/poller.h"
#include "base/role.h"
#include "base/timer.h"
#include "front/door.h"
#include "front/listener.h"
#include "front/rules.h"
#include "worker/handoff.h"

struct acceptor;

/* `pool` is borrowed; the door is made as `config` says. Connections and listening sockets may have `descriptors` descriptors in all. Returns 0 or
 * -errno. */
int acceptor_create(struct acceptor **to, struct pool *pool, unsigned descriptors,
		    const struct config *config) MUST_CHECK MAIN_ONLY;
struct acceptor *acceptor_destroy(struct acceptor *a) MAIN_ONLY; /* returns NULL; accepts NULL */

/* Accepts from the sockets of `set` from here on, by `rules`. Both are borrowed until the next call. Returns 0, or -errno when
 * some socket is not accepted from, which was logged. */
int acceptor_set_listeners(struct acceptor *a, struct listener_set *set,
			   const struct rules *rules) MUST_CHECK MAIN_ONLY;

/* Takes out the sockets that are not in `next` (kept ones are). Before listeners_commit: both sets must be whole. */
void acceptor_leave(struct acceptor *a, const struct listener_set *next) MAIN_ONLY;

/* Accepts from a socket no longer: takes in who waits in its backlog at this moment, as far as there are descriptors,
 * then leaves it. Harmless for one that is not accepted from. While the workers' queues are full it waits for room;
 * when there was none for a second *patient becomes false, and nobody is waited for at this and the following
 * sockets. */
void acceptor_take_out(struct listening *l, bool *patient) MAIN_ONLY;

/* Takes out all sockets: accepts no more. Who waits at one that was passed, or is kept for the next usherd, waits for it. */
void acceptor_stop(struct acceptor *a) MAIN_ONLY;

/* One turn of the main loop: waits for at most `wait_ms` (-1: for ever), calls whoever is ready, fires timers. */
void acceptor_turn(struct acceptor *a, int wait_ms) MAIN_ONLY;

/* Counts of the connections that were refused at the door: `closed` and `reasons`. Thread: any. */
const struct counters *acceptor_refused(const struct acceptor *a);

/* Borrowed. */
struct door *acceptor_door(struct acceptor *a) MAIN_ONLY;

/* The loop's poller and timers, for what else the main thread waits for. */
struct poller *acceptor_poller(struct acceptor *a) MAIN_ONLY;
struct timer_wheel *acceptor_timers(struct acceptor *a) MAIN_ONLY;

#endif

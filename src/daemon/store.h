/* SPDX-License-Identifier: MIT */
/* The service manager's descriptor store: listening sockets in it outlive usherd, so that a restart refuses nobody.
 *
 * Each has a name of its own, by which it is removed, and which says nothing of where it listens: that is asked of the socket.
 * The name is "usherd-stored-" with the socket's cookie, a number that no other socket has; of a UNIX socket with the file's
 * device and inode behind it, which the socket itself does not tell. Thread: main. */
#ifndef DAEMON_STORE_H
#define DAEMON_STORE_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/role.h"
#include "base/timer.h"
#include "config/config.h"
#include "front/inherited.h"
#include "front/listener.h"

/* Names of passed descriptors that begin so are the store's. */
#define STORE_PREFIX "usherd-stored-"

struct store {
	struct listening_keeper keeper;
	struct inherited_sockets inherited; /* what came out of it */
	char **names;			    /* owned: theirs */
	unsigned size;			    /* how many it takes; 0: there is none */
	struct timer_wheel *timers;	    /* borrowed; NULL: before store_start */
	struct timer again;
	struct listener_set *set; /* borrowed: what is to be in it */
	char **leaving;		  /* owned: names that the manager was too busy to forget */
	unsigned leaving_count;
	bool said_full;
};

/* Takes out of `passed` what comes from the store. Returns 0 or -ENOMEM. */
int store_take(struct store *s, struct passed_sockets *passed) MUST_CHECK MAIN_ONLY;

/* Matches what came with the configuration. What that has no place for is closed, and leaves the store, so that its
 * addresses are free. */
void store_match(struct store *s, const struct config *config) MAIN_ONLY;

/* From here on `store_keep` tries again by a timer what the manager had no time for. */
void store_start(struct store *s, struct timer_wheel *timers) MAIN_ONLY;

/* Puts the sockets of `set` into the store that are not in it yet; `set` is borrowed until the next call. Waits up to
 * `wait_ms`. */
void store_keep(struct store *s, struct listener_set *set, int wait_ms) MAIN_ONLY;

/* Takes the sockets of `set` out of it, which are to be closed for good; what the manager had no time for is told it later.
 * To be followed by `store_keep`. */
void store_forget(struct listener_set *set) MAIN_ONLY;

/* What is in it stays; nothing more is put there. */
void store_stop(struct store *s) MAIN_ONLY;

void store_fini(struct store *s) MAIN_ONLY;

#endif

/* SPDX-License-Identifier: MIT */
/* The thread that watches list files and reads those that change (list_watch.h): main never touches them while it runs. */
#ifndef DAEMON_LIST_KEEPER_H
#define DAEMON_LIST_KEEPER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/poller.h"
#include "base/role.h"
#include "daemon/aside.h"
#include "daemon/list_watch.h"

struct list_keeper;

/* Starts it. `told` (borrowed) is called by the poller when there is something to take, or when list_keeper_trouble has
 * changed. Returns 0, or aside_start's -errno. */
int list_keeper_start(struct list_keeper **to, struct poller *poller, struct watch *told) MUST_CHECK MAIN_ONLY;

/* It keeps these from here on (takes `files` and what is in it). */
void list_keeper_set(struct list_keeper *k, struct list_known *files, unsigned count) MAIN_ONLY;

/* Takes what came of one. `*is_old`: it was read before the last list_keeper_set; if it was read well it is not to be taken
 * up, for it may be older than what is in effect: it is read once more. False: there is nothing. */
bool list_keeper_take(struct list_keeper *k, struct list_event *to, bool *is_old) MAIN_ONLY;

/* What keeps it from watching: an -errno of inotify, and one of watching at all; 0: nothing. */
struct list_trouble {
	int inotify;
	int unset;
};
struct list_trouble list_keeper_trouble(struct list_keeper *k) MAIN_ONLY;

/* Where it is. Borrowed. */
struct aside *list_keeper_aside(struct list_keeper *k) MAIN_ONLY;

/* Ends it; `told` is not called any more. Waits `wait_ms` at the most, then leaves it to itself. Returns NULL; accepts
 * NULL. */
struct list_keeper *list_keeper_end(struct list_keeper *k, int wait_ms) MAIN_ONLY;

#endif

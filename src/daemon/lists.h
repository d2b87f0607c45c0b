/* SPDX-License-Identifier: MIT */
/* Takes up list files that change ("file:PATH" in allow, deny, trusted): has a thread watch and read them, puts what is good
 * into effect, and says so. What is wrong is said once; what was read before stays. */
#ifndef DAEMON_LISTS_H
#define DAEMON_LISTS_H

#include <stdint.h>

#include "base/attr.h"
#include "base/poller.h"
#include "base/role.h"
#include "base/timer.h"
#include "daemon/list_watch.h"
#include "front/rules.h"

struct lists;

/* NULL: no memory. */
struct lists *lists_create(void) MAIN_ONLY;

/* From here on a thread watches files, and tells of them by `poller`; what is due is done by `timers` (both borrowed).
 * Signals are blocked. `changed` (may be NULL) is called when the rules have another content of a file. Once, before the
 * first lists_commit. Without a poller (NULL) nothing is watched: who calls hears of files by lists_hear alone. */
void lists_start(struct lists *l, struct poller *poller, struct timer_wheel *timers, void (*changed)(void *arg),
		 void *arg) MAIN_ONLY;

/* `rules` (borrowed until the next call, or the end) are in effect from here on. */
void lists_commit(struct lists *l, struct rules *rules, uint64_t now_ms) MAIN_ONLY;

/* What came of reading a file (takes what is in it). `is_old`: see list_keeper_take. */
void lists_hear(struct lists *l, struct list_event *e, bool is_old) MAIN_ONLY;

/* After root was given up, before anything is accepted: says which files can no longer be read. */
void lists_say_unreadable(struct lists *l) MAIN_ONLY;

/* Takes up nothing any more, and has no use for the rules. */
void lists_stop(struct lists *l) MAIN_ONLY;

/* Ends it all, before the poller and the timers. Waits a second at most for a file that is being read: a disk that does
 * not answer keeps its thread, which has its memory to itself then. Returns NULL; accepts NULL. */
struct lists *lists_destroy(struct lists *l) MAIN_ONLY;

#endif

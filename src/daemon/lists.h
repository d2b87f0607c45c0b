/* SPDX-License-Identifier: MIT */
/* Takes up list files that change ("file:PATH" in allow, deny, trusted): watches them, reads one at a time in a thread of
 * its own, puts what is good into effect, and says so. What is wrong is said once; what was read before stays. */
#ifndef DAEMON_LISTS_H
#define DAEMON_LISTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/poller.h"
#include "base/role.h"
#include "base/timer.h"
#include "front/rules.h"

struct lists;

/* NULL: no memory. */
struct lists *lists_create(void) MAIN_ONLY;

/* From here on files are watched by `poller`, and what is due is done by `timers` (both borrowed). Signals are blocked.
 * `changed` (may be NULL) is called when the rules have another content of a file. Once, before the first lists_commit. */
void lists_start(struct lists *l, struct poller *poller, struct timer_wheel *timers, void (*changed)(void *arg),
		 void *arg) MAIN_ONLY;

/* `rules` (borrowed until the next call, or the end) are in effect from here on. */
void lists_commit(struct lists *l, struct rules *rules, uint64_t now_ms) MAIN_ONLY;

/* After root was given up: says which files can no longer be read. */
void lists_say_unreadable(struct lists *l) MAIN_ONLY;

/* Whether a file is being read at this moment. */
bool lists_are_reading(const struct lists *l) MAIN_ONLY;

/* Takes up nothing any more, and has no use for the rules. What is being read is read to its end, and dropped. */
void lists_stop(struct lists *l) MAIN_ONLY;

/* Ends it all, before the poller and the timers. Waits a second at most for a file that is being read: a disk that does
 * not answer keeps its thread, which has its memory to itself then. Returns NULL; accepts NULL. */
struct lists *lists_destroy(struct lists *l) MAIN_ONLY;

#endif

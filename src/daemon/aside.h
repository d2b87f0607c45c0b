/* SPDX-License-Identifier: MIT */
/* A thread beside main for work with files. A disk, or a network's file system, may not answer for as long as it likes: then
 * this thread hangs, and nothing else does. Main learns which file it is at, when that takes long, and can leave it behind.
 *
 * The two share `arg`, and what both touch in it has a lock of its own, or a time for each: the thread's until aside_tell,
 * main's after that. */
#ifndef DAEMON_ASIDE_H
#define DAEMON_ASIDE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/poller.h"
#include "base/role.h"

/* From here on a file takes long. */
#define ASIDE_SLOW_MS 10000

/* How many that were left behind may hang at one time. */
#define ASIDE_LEFT_MOST 8

struct aside;

struct aside_work {
	const char *name; /* as a thread list shows it, 15 bytes at the most */
	void (*run)(struct aside *a, void *arg);
	/* Frees `arg` when both are through with it, in the thread of who is last. */
	void (*release)(void *arg);
};

/* Starts it. `told` (borrowed) is called by the poller after each aside_tell, and when `run` has returned; several may come
 * to one call. Takes `arg`, unless it fails: -EAGAIN (no thread to be had, or too many hang), -EMFILE, -ENOMEM, ... */
int aside_start(struct aside **to, const struct aside_work *work, void *arg, struct poller *poller,
		struct watch *told) MUST_CHECK MAIN_ONLY;

/* ---- the thread's ---- */

/* What it is at: a file (copied), until the next call; NULL: nothing that may hang. */
void aside_touch(struct aside *a, const char *path);

/* Has `told` called. */
void aside_tell(struct aside *a);

/* Whether main has left it: nobody wants what it does. */
bool aside_is_left(const struct aside *a);

/* ---- main's ---- */

/* Whether `run` has returned. */
bool aside_is_over(const struct aside *a) MAIN_ONLY;

/* What is to be told of the file that it is at. */
enum aside_news {
	ASIDE_NO_NEWS,
	ASIDE_IS_SLOW, /* it has taken ASIDE_SLOW_MS, or more; once a file */
	ASIDE_GOES_ON, /* that has an end */
};
struct aside_slow {
	char path[PATH_MAX]; /* cut off if need be */
	uint64_t ms;	     /* how long it has taken so far, or took */
};

/* To be called now and then; `to` is set where there is news. */
enum aside_news aside_look(struct aside *a, uint64_t now_ms, struct aside_slow *to) MAIN_ONLY;

/* The file that it is at now, and for how long. False: none. */
bool aside_where(struct aside *a, uint64_t now_ms, struct aside_slow *to) MAIN_ONLY;

/* Waits until `run` has returned, `wait_ms` at the most. Returns whether it has. */
bool aside_wait(struct aside *a, int wait_ms) MAIN_ONLY;

/* Ends it: `told` is not called any more. If `run` has not returned the thread is left behind; `arg` is not touched after
 * this. Returns NULL; accepts NULL. */
struct aside *aside_end(struct aside *a) MAIN_ONLY;

#endif

/* SPDX-License-Identifier: MIT */
/* Watches list files, and reads those that change: one at a time, each again if it may be half written, or if it was not the
 * file's fault that it failed. It touches files, and so may take as long as a disk does.
 *
 * Thread: the one that turns the poller and the timer wheel. */
#ifndef DAEMON_LIST_WATCH_H
#define DAEMON_LIST_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/file_watch.h"
#include "base/poller.h"
#include "base/timer.h"
#include "front/list_file.h"

/* How soon a file is tried again though it did not change, if it may not have been its fault (no descriptors, no
 * memory). */
#define LIST_WATCH_RETRY_MS 30000

/* For how long a file may be half written until that is told. */
#define LIST_WATCH_RESTLESS_MS 60000

/* A file, and the state (list_file_state) of what is in effect of it. */
struct list_known {
	char *path; /* owned */
	uint64_t state;
};

/* What came of reading one. */
struct list_event {
	char *path;	/* owned */
	uint64_t state; /* before it was read */
	int failed;	/* of list_file_read; -EAGAIN: it has been half written for `restless_ms` */
	struct list_content content;
	struct address_list_problems problems;
	uint64_t restless_ms;
};

void list_event_fini(struct list_event *e);

struct list_watched;

struct list_watch {
	struct timer_wheel *timers; /* borrowed */
	struct file_watch files;
	struct timer due; /* of the first file that is to be read */
	struct timer rewatch;
	struct list_watched *at; /* owned */
	unsigned count;
	unsigned next; /* who is asked first whether it is due */
	bool waits;    /* what was told is not taken yet */
	int unset;     /* why the files are not watched at all: it is tried again; 0: they are */

	/* Tells what came of one (takes what is in it). The next one is read after list_watch_go_on. */
	void (*tell)(struct list_watch *w, struct list_event *e);
	/* Before it touches a file, and with NULL when it is through. */
	void (*touch)(struct list_watch *w, const char *path);
};

/* Watches nothing yet; set `tell` and `touch` after it. `poller` and `timers` are borrowed. */
void list_watch_init(struct list_watch *w, struct poller *poller, struct timer_wheel *timers);

/* Watches these from here on; what is known of a file goes on. One whose state in effect is not that of when it was read
 * last is read again. Returns 0, or -ENOMEM with those before. */
int list_watch_set(struct list_watch *w, const struct list_known *files, unsigned count, uint64_t now_ms) MUST_CHECK;

/* What was told was taken. */
void list_watch_go_on(struct list_watch *w, uint64_t now_ms);

/* Why inotify does not do its work; 0: it does. */
int list_watch_failure(const struct list_watch *w);

/* Ends it. */
void list_watch_fini(struct list_watch *w);

#endif

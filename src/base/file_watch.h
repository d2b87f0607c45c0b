/* SPDX-License-Identifier: MIT */
/* Tells when what a path leads to may have changed: a file written in place, replaced by rename, removed or made; a
 * symbolic link or a folder on the way that leads elsewhere now; a mode or an owner.
 *
 * It listens to inotify. Where that is out of order, or says nothing about a folder (one that may be searched but not
 * read), it looks at the files instead, twice a second. It looks at all of them once a minute anyway: a network's file
 * system tells nothing of what another machine does.
 *
 * Thread: the one that turns the poller and the timer wheel. */
#ifndef BASE_FILE_WATCH_H
#define BASE_FILE_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/poller.h"
#include "base/timer.h"

/* Changes are put together: they are told when there were none for FILE_WATCH_QUIET_MS, and FILE_WATCH_LATEST_MS after
 * the first at the latest. */
#define FILE_WATCH_QUIET_MS 200
#define FILE_WATCH_LATEST_MS 1000

/* How often files are looked at that inotify tells nothing of, and how often all are. */
#define FILE_WATCH_BLIND_MS 500
#define FILE_WATCH_LOOK_MS 60000

/* Folders and files that inotify is asked about, at the most; what goes past it is looked at. */
#define FILE_WATCH_MOST 32768

struct file_watch_path;
struct file_watch_place;

struct file_watch {
	struct poller *poller;	    /* borrowed */
	struct timer_wheel *timers; /* borrowed */
	void (*changed)(struct file_watch *w, uint64_t now_ms);
	/* May be set after file_watch_init: is called before it touches what is on the way to a path, which may take as long
	 * as a disk does, and with NULL when it is through. */
	void (*touches)(struct file_watch *w, const char *path);

	int fd; /* owned: inotify's; -1: nothing is watched, or it could not be had */
	struct watch watch;
	int failure; /* why inotify is out of order, -errno; 0: it is not */

	struct file_watch_path *paths; /* owned, path_count of them */
	unsigned path_count;
	struct file_watch_place *places; /* owned, sorted: what inotify was asked about */
	unsigned place_count;

	bool touched;	    /* something came since the settle timer ran */
	bool settling;	    /* a change waits to be told */
	uint64_t first_ms;  /* of that change */
	uint64_t last_ms;   /* likewise */
	uint64_t looked_ms; /* when all paths were looked at last; 0: not since they were set */
	struct timer settle;
	struct timer look;
};

/* Watches nothing yet, and takes no descriptor until it does. `changed` is called by the timer wheel; it may set other
 * paths. */
void file_watch_init(struct file_watch *w, struct poller *poller, struct timer_wheel *timers,
		     void (*changed)(struct file_watch *w, uint64_t now_ms));

/* Watches these paths (copied) instead of those before; relative ones from the folder that the process is in. When they
 * are others than before `changed` is called once, soon: what the caller had read of them may have changed before they
 * were watched. Returns 0, or -errno with the paths as they were. */
int file_watch_set(struct file_watch *w, const char *const *paths, unsigned n) MUST_CHECK;

/* Why inotify does not do its work, and files are looked at instead: -EMFILE (fs.inotify.max_user_instances, or no
 * descriptors), -ENOSPC (fs.inotify.max_user_watches), -ENOMEM, ...; 0: it does. */
int file_watch_failure(const struct file_watch *w);

/* Ends it. Harmless for one that was never set, or is all zeros. */
void file_watch_fini(struct file_watch *w);

#endif

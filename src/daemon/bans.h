/* SPDX-License-Identifier: MIT */
/* Bans outlive a restart: they are restored from a file at the start, and saved to it when they change and at the end.
 *
 * While usherd runs a change is in the file within SAVE_MS (bans.c), or twice that, or later where there are so many that
 * gathering them takes longer, or the disk does: each turn of the loop gathers some, and a thread writes them all. So is the
 * wall clock's being set, which their ends are written by. Thread: main. */
#ifndef DAEMON_BANS_H
#define DAEMON_BANS_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/poller.h"
#include "base/role.h"
#include "base/text.h"
#include "base/timer.h"
#include "config/config.h"
#include "front/ban_file.h"
#include "front/listener.h"
#include "front/sources.h"

/* Where they are kept: in state_directory, else where systemd says ($STATE_DIRECTORY). False: nowhere. */
bool bans_add_path(struct text *to, const struct config *config);

/* Whether anybody can be banned at all. */
bool bans_are_possible(const struct config *config);

struct bans_loaded {
	struct ban_file_tally tally;
	unsigned no_room; /* of those taken: the table was full */
};

/* Puts the bans of a file into `sources`, for the listeners of `set` that have the same names. Returns as ban_file_load;
 * *to is always set. */
int bans_load(const char *path, const struct listener_set *set, struct sources *sources,
	      struct bans_loaded *to) MUST_CHECK MAIN_ONLY;

struct bans;

/* Restores what was saved, and says so. `set` is borrowed until bans_set or bans_stop, the others until that. Returns NULL
 * where none are kept, or without memory; that was said. */
struct bans *bans_start(const struct config *config, const struct listener_set *set, struct sources *sources,
			struct poller *poller, struct timer_wheel *timers) MAIN_ONLY;

/* Listeners by another configuration. Accepts NULL for `b`. */
void bans_set(struct bans *b, const struct listener_set *set) MAIN_ONLY;

/* A ban has begun or ended: they are saved soon. `bans` is a struct bans *, or NULL. */
void bans_changed(void *bans) MAIN_ONLY;

/* Saves what there is, waits until the disk has it, but not for ever, and ends. Returns NULL; accepts NULL. */
struct bans *bans_stop(struct bans *b) MAIN_ONLY;

#endif

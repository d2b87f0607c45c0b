/* SPDX-License-Identifier: MIT */
/* The file in which bans outlive a restart: a first line, then one ban a line.
 *
 *	usher-bans 1 SAVED
 *	LISTENER PREFIX UNTIL COUNT
 *
 * SAVED and UNTIL are seconds of the wall clock, as the monotonic one begins anew with the machine; LISTENER is "*" for a ban
 * from all of them; COUNT is how many bans the source has had. A line that is not like this is skipped and counted.
 *
 * The wall clock may have been set in between. A ban that is read is never longer than it was when it was saved, to the second, nor
 * longer than its rule allows now: set back, the time that the daemon was not there does not count; set ahead, bans end early.
 *
 * Nothing is logged here. Thread: main, but for ban_file_write. */
#ifndef FRONT_BAN_FILE_H
#define FRONT_BAN_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "front/sources.h"

/* What goes past these is not written, and not read. */
#define BAN_FILE_LINES_MOST 1000000
#define BAN_FILE_BYTES_MOST (64 * 1024 * 1024)

/* The longest line, without its end. */
#define BAN_FILE_LINE_MOST 256

/* ---- reading ---- */

/* What the caller does with what is read. `listener` is NULL for a ban from all; borrowed for the call. */
struct ban_file_use {
	/* How long a ban of this listener may last; 0: there is no such listener, or it bans nobody. */
	uint64_t (*longest_ms)(void *arg, const char *listener);
	/* A ban that runs. The key's scope is 0: the caller knows the listener's number. */
	void (*ban)(void *arg, const char *listener, const struct source_key *key, uint64_t left_ms, unsigned count);
	void *arg;
};

/* What became of the lines after the first one. */
struct ban_file_tally {
	unsigned taken;	  /* given to `ban` */
	unsigned over;	  /* the ban has ended */
	unsigned unknown; /* longest_ms was 0 */
	unsigned damaged;
	bool cut; /* there was more than is read */
};

/* A file that is read piece by piece. */
struct ban_file_reader {
	const struct ban_file_use *use; /* borrowed */
	struct ban_file_tally tally;
	uint64_t now_s;
	uint64_t saved_s;
	size_t bytes;
	unsigned lines; /* the first one too */
	int failed;
	size_t line_length; /* may be more than is kept */
	char line[BAN_FILE_LINE_MOST];
};

void ban_file_read_begin(struct ban_file_reader *r, const struct ban_file_use *use, uint64_t wall_ms);
void ban_file_read(struct ban_file_reader *r, const char *bytes, size_t n);

/* A last line without an end is damaged. Returns what ban_file_load returns. */
int ban_file_read_end(struct ban_file_reader *r) MUST_CHECK;

/* Reads a whole file. Returns 0; -ENOENT and other errors of reading; -EINVAL when it is no such file or no regular one;
 * -ENOTSUP when it is of another version. Bans that were read before an error stand. *tally is always set. */
int ban_file_load(const char *path, const struct ban_file_use *use, uint64_t wall_ms,
		  struct ban_file_tally *tally) MUST_CHECK;

/* ---- writing ---- */

/* What will be in a file, in memory: it can be made over many turns of the loop, and be written by another thread. It takes
 * as much memory as the file will take on the disk. */
struct ban_draft;

/* Returns NULL without memory. */
struct ban_draft *ban_draft_create(uint64_t wall_ms) MUST_CHECK;

/* Returns NULL; accepts NULL. */
struct ban_draft *ban_draft_destroy(struct ban_draft *d);

/* Adds one ban, that ends at `until_ms` of the wall clock; `listener` NULL for all. False: there is no room for it, or its
 * listener's name cannot be written. A lack of memory is told by ban_file_write. */
bool ban_draft_add(struct ban_draft *d, const char *listener, const struct source_key *key, uint64_t until_ms,
		   unsigned count);

/* Writes a new file beside the old one (its name and ".new", mode 0600), waits until the disk has it, and puts it in the old
 * one's place, which stays when something fails. Returns 0 or -errno. Thread: any, but not two at the same path; one that
 * may wait for a disk. */
int ban_file_write(const struct ban_draft *d, const char *path) MUST_CHECK;

#endif

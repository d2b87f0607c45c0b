/* SPDX-License-Identifier: MIT */
/* The inside of file_watch, shared by its two files. */
#ifndef BASE_FILE_WATCH_PRIV_H
#define BASE_FILE_WATCH_PRIV_H

#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

#include "base/file_watch.h"

/* What a path leads to, as stat says it. */
struct fingerprint {
	int error; /* of stat; 0: the rest counts */
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec modified;
	struct timespec changed; /* its mode and owner too */
};

struct file_watch_path {
	char *path;  /* owned, absolute: what is walked */
	char *given; /* owned: what is opened, and looked at; the folder that it counts from may lie beyond others */
	struct fingerprint now;
	bool blind; /* inotify does not tell all of it */
};

/* A thing that inotify was asked about. Several may have one descriptor: names in one folder. */
struct file_watch_place {
	int descriptor; /* inotify's */
	char *name;	/* owned: that matters in this folder; NULL: the thing itself does */
};

/* Walks all paths as the kernel does, and asks inotify for what is on their ways now and for nothing else. Sets what is
 * blind, and `failure`. Returns true if the ways lead through other folders, or other names in them, than before. */
bool file_watch_walk(struct file_watch *w);

/* Says what is touched. */
static inline void file_watch_touch(struct file_watch *w, const char *path)
{
	if (w->touches)
		w->touches(w, path);
}

void file_watch_forget_places(struct file_watch *w);

/* The order that places are in: less than, equal to or greater than 0. `name` may be NULL. */
int file_watch_compare_place(const struct file_watch_place *p, int descriptor, const char *name);

#endif

/* SPDX-License-Identifier: MIT */
/* The reading of one list file, in a thread of its own: a million entries take a second, and main accepts. */
#ifndef DAEMON_LIST_READING_H
#define DAEMON_LIST_READING_H

#include "base/attr.h"
#include "base/poller.h"
#include "base/role.h"
#include "front/list_file.h"

struct list_reading;

/* What came of it. */
struct list_result {
	char *path;	/* owned by the reading */
	uint64_t state; /* list_file_state before it was read */
	int failed;	/* of list_file_read */
	struct list_content content;
	struct address_list_problems problems;
};

/* Begins to read. `done` (borrowed) is called by the poller when the thread has its result. Returns 0 or -errno. */
int list_reading_start(struct list_reading **to, const char *path, struct poller *poller,
		       struct watch *done) MUST_CHECK MAIN_ONLY;

/* Once `done` was called. Borrowed; the content may be taken out of it. */
struct list_result *list_reading_result(struct list_reading *r) MAIN_ONLY;

/* What list_reading_start saw at the path. */
uint64_t list_reading_state(const struct list_reading *r) MAIN_ONLY;
const char *list_reading_path(const struct list_reading *r) MAIN_ONLY;

/* Ends it; `done` is not called any more. Waits up to `wait_ms` for the thread, and then leaves it to itself. Returns NULL;
 * accepts NULL. */
struct list_reading *list_reading_end(struct list_reading *r, int wait_ms) MAIN_ONLY;

#endif

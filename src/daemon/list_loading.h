/* SPDX-License-Identifier: MIT */
/* Reads the list files that a reload names anew, in a thread: main accepts meanwhile. One that may be half written is
 * waited for, LIST_LOADING_REST_MS at the most. */
#ifndef DAEMON_LIST_LOADING_H
#define DAEMON_LIST_LOADING_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/poller.h"
#include "base/role.h"
#include "daemon/aside.h"
#include "front/list_file.h"

#define LIST_LOADING_REST_MS 10000

struct list_loading;

/* Begins to read (takes what is in `files`, also when it fails). `told` (borrowed) is called by the poller when all are
 * read. Returns 0, or aside_start's -errno. */
int list_loading_start(struct list_loading **to, struct list_reads *files, struct poller *poller,
		       struct watch *told) MUST_CHECK MAIN_ONLY;

/* NULL: they are still being read. Borrowed. */
const struct list_reads *list_loading_result(const struct list_loading *l) MAIN_ONLY;

/* Where it is, for what is to be told of that. Borrowed. */
struct aside *list_loading_aside(struct list_loading *l) MAIN_ONLY;

/* Ends it; `told` is not called any more. A thread that has not come to its end is left to itself. Returns NULL; accepts
 * NULL. */
struct list_loading *list_loading_end(struct list_loading *l) MAIN_ONLY;

#endif

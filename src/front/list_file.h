/* SPDX-License-Identifier: MIT */
/* A file of addresses that lists name, as it was when it was read. */
#ifndef FRONT_LIST_FILE_H
#define FRONT_LIST_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/address_list.h"
#include "base/attr.h"
#include "base/prefix_set.h"
#include "base/role.h"

/* What was in a file. All zeros: nothing was read. */
struct list_content {
	struct prefix_set *set; /* ref */
	size_t entries;		/* lines that have one */
	uint64_t digest;	/* of the entries, in their order: another one says that there is something new */
	uint64_t state;		/* list_file_state before it was read */
};

/* A number for what is at a path now, as stat(2) tells it; never 0. Thread: any. */
uint64_t list_file_state(const char *path);

/* Reads a file; `wall_ms`, errors and problems are address_list_read's. Returns 0, or its -errno, or -ENOMEM without a
 * problem; *to is untouched on failure. Thread: any; a million entries take a second. */
int list_file_read(const char *path, uint64_t wall_ms, struct list_content *to,
		   struct address_list_problems *problems) MUST_CHECK;

/* Gives back its memory; nothing was read then. */
void list_content_fini(struct list_content *c);

/* A file that was read, or not, for rules that are to come. */
struct list_read {
	char *path; /* owned */
	int failed; /* of list_file_read; 0: the content is there */
	struct list_content content;
	struct address_list_problems problems;
};

/* Several: each path is there once. All zeros: none. Thread: any, one at a time. */
struct list_reads {
	struct list_read *at; /* owned */
	unsigned count;
};

/* Adds a path (copied), unless it is there. Returns 0 or -ENOMEM. */
int list_reads_add(struct list_reads *r, const char *path) MUST_CHECK;

/* NULL: it is not there. */
const struct list_read *list_reads_find(const struct list_reads *r, const char *path);

/* Gives back its memory; there are none then. */
void list_reads_fini(struct list_reads *r);

/* A file that the rules of one configuration share with those of the next. Thread: main. */
struct list_file {
	char *path; /* owned */
	struct list_content content;
	unsigned references;
};

/* With one reference, nothing read. NULL: no memory. */
struct list_file *list_file_create(const char *path) MAIN_ONLY;

struct list_file *list_file_ref(struct list_file *f) MAIN_ONLY;

/* Returns NULL; accepts NULL. */
struct list_file *list_file_unref(struct list_file *f) MAIN_ONLY;

#endif

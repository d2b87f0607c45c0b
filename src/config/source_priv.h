/* SPDX-License-Identifier: MIT */
/* What source.c (files and the text that is made of them) and scan.c (what stands in them) share. */
#ifndef CONFIG_SOURCE_PRIV_H
#define CONFIG_SOURCE_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "config/source.h"

#define SOURCE_DEPTH_MAX 10 /* includes inside includes */
#define SOURCE_FILES_MAX 1000
#define SOURCE_BYTES_MAX (16UL << 20) /* all files together */
#define SOURCE_LINES_MAX 1000000U
#define SOURCE_NESTING_MAX 32	  /* groups and lists inside each other */
#define SOURCE_SETTINGS_MAX 4096U /* of one group: libconfig compares each with all before it */
#define SOURCE_TOKENS_MAX 200000U /* settings and list elements in all */

/* A place in few bytes: there is one for every line. */
struct source_mark {
	unsigned file; /* index into source.files */
	unsigned line;
};

struct source_marks {
	struct source_mark *at; /* owned */
	size_t count;
	size_t size;
};

/* A bracket that is open. */
struct source_nest {
	char opened_by;
	unsigned line;
	unsigned settings;
	const char *name; /* of the setting in hand; borrowed from the file's bytes, which are there while it is open */
	size_t name_length;
};

struct source {
	char *text; /* owned */
	size_t length;
	size_t size;
	struct source_marks lines;
	struct source_marks strings;
	char **files; /* owned, and so are the names */
	unsigned file_count;

	struct config_errors *errors;			 /* borrowed while reading */
	struct source_nest nest[SOURCE_NESTING_MAX + 1]; /* [0] is the file itself */
	unsigned depth;
	unsigned tokens;
	size_t bytes_read;
	char last_token;	      /* '"' for a string, else its first byte; NUL before the first */
	struct source_mark last_mark; /* where that token ended */
	bool in_setting;	      /* that token was a setting's name, or what stands between it and its value */
};

/* One file that is being scanned. */
struct scan {
	struct source *source;
	const struct scan *includer; /* NULL for the first */
	unsigned include_depth;
	unsigned file;
	bool may_include;
	dev_t device;
	ino_t inode;

	const char *bytes; /* borrowed; a newline is at [n - 1] when n > 0 */
	size_t n;
	size_t at;
	unsigned line;
	bool any_token;
};

/* Scans one file into its source. Returns 0, -EINVAL when what is wrong makes the rest unreadable (it is in the errors
 * then), -ENOMEM. */
int scan_run(struct scan *s) MUST_CHECK;

/* Scans what the `n` bytes at `name`, found at `s`, include. Returns as scan_run. */
int source_include(const struct scan *s, const char *name, size_t n) MUST_CHECK;

/* Appends bytes of whole lines to the text, the first of which has the number `line`. Returns 0, -EINVAL, -ENOMEM. */
int source_append(const struct scan *s, const char *bytes, size_t n, unsigned line) MUST_CHECK;

/* Returns 0 or -ENOMEM. */
int source_mark(struct source_marks *marks, unsigned file, unsigned line) MUST_CHECK;

/* Where the scan is. */
struct config_place scan_place(const struct scan *s);

#endif

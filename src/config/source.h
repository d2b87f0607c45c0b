/* SPDX-License-Identifier: MIT */
/* The text of a configuration: one file with all that it includes, as one text for libconfig, and the way back from a
 * line of that text to the file and line where it stands.
 *
 * It also stops what libconfig 1.5 takes without a word or does badly: integers that wrap, strings and comments that
 * have no end, NUL bytes, nesting and lists without bound, include cycles. */
#ifndef CONFIG_SOURCE_H
#define CONFIG_SOURCE_H

#include <stddef.h>

#include "base/attr.h"
#include "config/errors.h"

struct source;

struct source *source_create(void);		      /* NULL: no memory */
struct source *source_destroy(struct source *source); /* returns NULL; accepts NULL */

/* Reads `path` and what it includes. Returns 0; -EINVAL when something was added to `errors`; -ENOMEM. Once a
 * source. */
int source_read_file(struct source *source, const char *path, struct config_errors *errors) MUST_CHECK;

/* The same for text in memory, which may include nothing. `name` stands for its file name; it is copied. */
int source_read_text(struct source *source, const char *name, const char *bytes, size_t n,
		     struct config_errors *errors) MUST_CHECK;

/* The whole text, ended by a NUL. Borrowed from `source`. */
const char *source_text(const struct source *source);

/* Where a line of the whole text stands. The file name is borrowed from `source`. */
struct config_place source_place(const struct source *source, unsigned line);

/* Where the i-th quoted string of the whole text stands; strings that libconfig joins into one count once. */
struct config_place source_string_place(const struct source *source, size_t i);

/* The line of the whole text on which the last token ends, comments not counted; 0 when there is none. */
unsigned source_last_line(const struct source *source);

/* Borrows the line of the whole text and returns its length, without the newline and the white space around it. */
size_t source_line(const struct source *source, unsigned line, const char **at);

#endif

/* SPDX-License-Identifier: MIT */
/* What is wrong with a configuration: collected, so that a user sees all of it at once. */
#ifndef CONFIG_ERRORS_H
#define CONFIG_ERRORS_H

#include <stdbool.h>
#include <stdio.h>

#include "base/attr.h"

#define CONFIG_ERRORS_MAX 20

/* Where something stands in the configuration. `file` is borrowed and outlives the errors' use of it: it is copied. */
struct config_place {
	const char *file; /* may be NULL: no file is known */
	unsigned line;	  /* from 1; 0 when unknown */
};

/* One line each, "FILE:LINE: PATH: what is wrong; what is allowed". The first CONFIG_ERRORS_MAX are kept in the order
 * of their arrival, the others are counted. Thread: whoever created it. */
struct config_errors;

struct config_errors *config_errors_create(void);		      /* NULL: no memory */
struct config_errors *config_errors_destroy(struct config_errors *e); /* returns NULL; accepts NULL */

/* Adds an error. `path` ("listeners.web.backlog") may be NULL or empty. Control characters in the message are
 * escaped. */
void config_errors_add(struct config_errors *e, struct config_place place, const char *path, const char *format, ...)
	PRINTF_LIKE(4, 5);

/* How many were added, those past the maximum included. */
unsigned config_errors_count(const struct config_errors *e);

/* The i-th line that was kept, without a newline, or NULL past the last. Borrowed from `e`. */
const char *config_errors_line(const struct config_errors *e, unsigned i);

/* Where it stands; no file past the last, or when none is known. Borrowed from `e`. */
struct config_place config_errors_place(const struct config_errors *e, unsigned i) MUST_CHECK;

/* Prints all lines, and "... and N more" when some were not kept. */
void config_errors_print(const struct config_errors *e, FILE *to);

#endif

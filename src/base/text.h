/* SPDX-License-Identifier: MIT */
/* Building text in memory of a fixed size. Thread: any. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"

/* A text that grows in the caller's memory and never past it. What does not fit is cut off and `cut` says so; the
 * text is always ended by a NUL. */
struct text {
	char *at;      /* borrowed from the caller */
	size_t size;   /* bytes at `at`, the NUL included; at least 1 */
	size_t length; /* bytes used, without the NUL */
	bool cut;
};

void text_init(struct text *t, char *at, size_t size);

void text_add(struct text *t, const char *string);
void text_add_bytes(struct text *t, const void *bytes, size_t n);
void text_printf(struct text *t, const char *format, ...) PRINTF_LIKE(2, 3);
void text_vprintf(struct text *t, const char *format, va_list args) PRINTF_LIKE(2, 0);

/* Adds bytes that a stranger chose, so that a terminal or a line-based reader is safe: control characters, a
 * backslash, DEL and what is not valid UTF-8 become \xNN (a backslash \\); C1 controls and the Unicode line and
 * direction controls too. */
void text_add_escaped(struct text *t, const void *bytes, size_t n);

/* The same, but a backslash stays: for text whose strange parts were escaped when they were added to it. */
void text_add_escaped_again(struct text *t, const void *bytes, size_t n);

/* "512 B", "1.5 KiB", "3.0 GiB". */
void text_add_size(struct text *t, unsigned long long bytes);

/* "12ms", "3.4s", "5min 3s", "2h 10min", "3d 4h". */
void text_add_duration_ms(struct text *t, unsigned long long ms);

/* How many single-character edits (insert, delete, replace, swap of neighbours) lie between two names. Names over 63
 * bytes are cut there. */
unsigned text_distance(const char *a, const char *b);

#endif

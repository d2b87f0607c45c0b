/* SPDX-License-Identifier: MIT */
/* Single values of the configuration: their text forms, both ways. Thread: any. */
#ifndef CONFIG_VALUE_H
#define CONFIG_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/text.h"

/* The greatest size and duration: option tables hold their bounds as int64_t. */
#define VALUE_MAX ((uint64_t)INT64_MAX)

/* Each of these reads the whole of `text`. Returns 0, or -EINVAL with *why (static text: what is wrong, what is
 * allowed); `to` is untouched on failure. */

/* "512B" "64KiB" "10MB": KB, MB, GB, TB count in thousands, KiB, MiB, GiB, TiB in 1024. Units: bytes. */
int value_parse_size(uint64_t *to, const char *text, const char **why) MUST_CHECK;

/* "500ms" "10s" "5min" "2h" "1d", and sums from the largest unit to the smallest: "1h 30min". Units: milliseconds. */
int value_parse_duration(uint64_t *to, const char *text, const char **why) MUST_CHECK;

/* A file mode as octal digits: "0660", "660"; up to 07777. */
int value_parse_mode(int *to, const char *text, const char **why) MUST_CHECK;

/* A decimal integer that an int holds. */
int value_parse_int(int *to, const char *text, const char **why) MUST_CHECK;

/* One of `choices` ("a|b|c") by its index. */
int value_parse_choice(int *to, const char *text, const char *choices, const char **why) MUST_CHECK;

/* Each of these adds the canonical text, which parses to the same value again. Sizes come in the unit that needs the
 * smallest number, durations as a sum of the largest units. */
void value_add_size(struct text *t, uint64_t bytes);
void value_add_duration(struct text *t, uint64_t ms);
void value_add_mode(struct text *t, int mode);
void value_add_choice(struct text *t, int index, const char *choices);

/* Adds `choices` for people: "a, b or c". */
void value_add_choices(struct text *t, const char *choices);

/* How many bytes of `c`, written inside a quoted string of libconfig, `to` needs: 1 to 4. */
size_t value_escape(char to[4], unsigned char c);

#endif

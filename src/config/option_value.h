/* SPDX-License-Identifier: MIT */
/* One option's value in its group's struct: set from text, compared, written. Not for groups. Thread: any. */
#ifndef CONFIG_OPTION_VALUE_H
#define CONFIG_OPTION_VALUE_H

#include <stdio.h>

#include "base/text.h"
#include "config/option.h"

/* The memory of the option's field in the struct `values`. */
void *option_field(const struct option_row *o, void *values);
const void *option_field_const(const struct option_row *o, const void *values);

/* Sets a field from text as a user would write it, without quotes. Neither for groups nor for lists. Returns 0, or
 * -EINVAL with what is wrong in `why` ("is out of range; 1 to 256"); the field is untouched then. A string is
 * borrowed from `text`. */
int option_set(const struct option_row *o, void *values, const char *text, struct text *why) MUST_CHECK;

/* Whether a list of `count`, or the value of a number, is within the option's bounds; if not, says what is allowed in
 * `why`. */
bool option_in_range(const struct option_row *o, int64_t value, struct text *why);

bool option_equal(const struct option_row *o, const void *a, const void *b);

/* Whether the group of an OPTION_GROUP stands in the file, or is none that may be left out. */
bool option_group_is_there(const struct option_row *o, const void *values);

/* Whether it has no value: a string that was not given, an empty list. */
bool option_is_unset(const struct option_row *o, const void *values);

/* Adds the value for people: texts in quotes, "not set" when there is none. May be cut. */
void option_add_text(struct text *t, const struct option_row *o, const void *values);

/* Adds the allowed range ("1s to 1h"), the choices, or nothing when there is none to tell. */
void option_add_range(struct text *t, const struct option_row *o);

/* Writes the value as it stands in a file: quoted where that is needed. */
void option_write(const struct option_row *o, const void *values, FILE *to);

/* What a value of the type is: "a duration as text, \"10s\"". */
const char *option_type_expected(enum option_type type);

#endif

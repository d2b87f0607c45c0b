/* SPDX-License-Identifier: MIT */
/* The option table: one row an option. It feeds the parser, the defaults, the check for unknown names, --dump-config,
 * the difference that a reload logs, and the OPTIONS part of usherd.conf(5). */
#ifndef CONFIG_OPTION_H
#define CONFIG_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "config/errors.h"

/* The type of an option's value, and of the field at its offset. */
enum option_type {
	OPTION_BOOL,	  /* bool: true, false */
	OPTION_INT,	  /* int: a bare integer */
	OPTION_SIZE,	  /* uint64_t bytes: "64KiB", "10MB", "512B" */
	OPTION_DURATION,  /* uint64_t milliseconds: "500ms", "10s", "5min", "2h", "1d", and sums: "1h 30min" */
	OPTION_RATE,	  /* struct rate: "20/s", "100/min burst 50"; "0/s" is no limit */
	OPTION_BYTE_RATE, /* struct rate of bytes: "1MiB/s", "512KiB/s burst 4MiB"; "0/s" is no limit */
	OPTION_STRING,	  /* const char *: text; NULL when not set and without a default */
	OPTION_MODE,	  /* int: a file mode as octal text, "0660" */
	OPTION_CHOICE,	  /* int: one of `choices` ("a|b|c"), by index */
	OPTION_LIST,	  /* struct option_list: strings; one string alone is a list of one */
	OPTION_GROUP,	  /* a struct of its own at the offset, described by `group` */
};

/* What it takes for a changed value to count. */
enum option_change {
	CHANGE_RELOAD,	/* a reload; connections that are open keep the old value */
	CHANGE_REOPEN,	/* a reload, when the socket is opened anew: usherd keeps one whose address stays */
	CHANGE_RESTART, /* a restart */
};

/* Strings of one option, and where each stands, for the errors of whoever reads them further. All borrowed from the
 * snapshot. */
struct option_list {
	const char **at;
	struct config_place *places;
	unsigned count;
};

struct option_group;

struct option_row {
	const char *name;
	enum option_type type;
	size_t offset;	 /* of the field in the group's struct */
	int64_t minimum; /* numbers, sizes (bytes), durations (ms); lists: the least count */
	int64_t maximum; /* the same; lists: the greatest count; 0 for strings */
	const char *
		fallback; /* the default as a user would write it, without quotes; NULL: none (a string stays NULL, a list
				 empty); "!" : the option must be given */
	const char *unit; /* for the manual: "connections"; NULL when the value says it itself */
	enum option_change change;
	const char *help;		  /* for the manual: full sentences */
	const char *choices;		  /* OPTION_CHOICE: "a|b|c" */
	const struct option_group *group; /* OPTION_GROUP */

	/* OPTION_GROUP: it may be left out. Its struct begins with a bool, `enabled`: the group is there. Left out, that
	 * is false, none of its options has a default or must be given, and its check does not run. */
	bool optional;

	bool may_be_empty; /* OPTION_STRING: "" is a value */
};

/* A group of options and the struct that holds their values. */
struct option_group {
	const char *name; /* as it stands in the file: "limits"; for a listener "NAME" */
	const char *help; /* for the manual: what the group is for */
	const struct option_row *options;
	size_t option_count;
	size_t struct_bytes; /* of a group that is allocated by itself (a service's); else 0 */

	/* Reads the parsed values further (addresses out of strings) and checks how they go together. Adds to `errors`
	 * what is wrong; `path` is the group's ("listeners.web.proxy"), `place` where it stands; its file's name is
	 * borrowed from the snapshot. The groups in it were checked before. May be NULL. */
	void (*check)(void *values, const char *path, struct config_place place, struct config_errors *errors);

	/* A service's: gives back what `check` allocated. Accepts values that were never checked. May be NULL. */
	void (*release)(void *values);
};

#endif

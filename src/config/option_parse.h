/* SPDX-License-Identifier: MIT */
/* From a group of libconfig's tree to the struct that its option table describes. For this folder. Thread: main. */
#ifndef CONFIG_OPTION_PARSE_H
#define CONFIG_OPTION_PARSE_H

#include "config/config_priv.h"

/* The longest path ("listeners.web.limits.connections") that errors show whole. */
#define OPTION_PATH_BYTES 256

struct option_parse {
	struct snapshot *snapshot;    /* borrowed */
	struct config_errors *errors; /* borrowed */
	struct text path;	      /* of the group that is being read */
	bool no_memory;		      /* something is missing for want of memory: the caller gives up at the end */
	char path_bytes[OPTION_PATH_BYTES];
};

/* Groups that may stand in a group beside its options and that the caller reads. */
struct option_others {
	const struct option_group *const *groups; /* borrowed */
	unsigned count;
};

void option_parse_init(struct option_parse *p, struct snapshot *snapshot, struct config_errors *errors);

/* Goes into the group `name` and back out with what the first returned. */
size_t option_parse_enter(struct option_parse *p, const char *name);
void option_parse_leave(struct option_parse *p, size_t where);

/* Adds an error about `name` in the group that is being read; NULL: about the group. */
void option_parse_error(struct option_parse *p, struct config_place place, const char *name, const char *format, ...)
	PRINTF_LIKE(4, 5);

/* Where a setting stands. */
struct config_place option_parse_place(const struct option_parse *p, const config_setting_t *setting);

/* Whether a setting is a group; if not, adds the error that says what was found. */
bool option_parse_is_group(struct option_parse *p, const config_setting_t *setting);

/* Fills `values` with the defaults of `group` and then with what `setting` says, which may be NULL when the group
 * does not stand in the file; `place` is then blamed for what is missing. All that is wrong is added to the errors;
 * the fields that it concerns keep their defaults. Calls the group's check if nothing was wrong. */
void option_parse_group(struct option_parse *p, const struct option_group *group, void *values,
			const config_setting_t *setting, struct config_place place, const struct option_others *others);

#endif

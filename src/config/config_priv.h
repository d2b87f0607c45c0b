/* SPDX-License-Identifier: MIT */
/* What stands behind a struct config: the owners of its memory, and the steps of its making. For this folder. */
#ifndef CONFIG_CONFIG_PRIV_H
#define CONFIG_CONFIG_PRIV_H

#include <libconfig.h>
#include <stdatomic.h>
#include <stddef.h>

#include "config/config.h"
#include "config/source.h"

/* Memory that is freed all at once. */
struct config_memory {
	struct config_memory *next; /* owned */
	max_align_t at[];
};

struct snapshot {
	struct config values; /* first: a struct config * is a struct snapshot * */
	atomic_uint references;
	const struct config_services *services; /* borrowed; static */
	struct source *source;			/* owned; file names */
	config_t tree;				/* owned; strings */
	struct config_memory *memory;		/* owned; arrays of lists */
};

/* One reference, nothing in it. NULL: no memory. */
struct snapshot *snapshot_create(const struct config_services *services);

/* Zeroed memory that lives as long as the snapshot. NULL: no memory. */
void *snapshot_memory(struct snapshot *snapshot, size_t count, size_t size);

/* Puts the tree and all values into a snapshot whose source has been read.
 * Returns 0, -EINVAL (it is in `errors`), -ENOMEM. */
int snapshot_fill(struct snapshot *snapshot, struct config_errors *errors) MUST_CHECK;

#endif

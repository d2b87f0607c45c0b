/* SPDX-License-Identifier: MIT */
/* The inside of rules, shared by their files: rules.c makes and changes them, rules_snapshot.c holds on to them. */
#ifndef FRONT_RULES_PRIV_H
#define FRONT_RULES_PRIV_H

#include <stdatomic.h>

#include "front/rule_entry_priv.h"
#include "front/rules.h"

struct list {
	const struct option_list *from; /* borrowed from the snapshot */
	struct rule_entry *entries;	/* owned; from->count of them, in its order */

	/* the same, as they are looked up */
	struct prefix_set *set; /* owned: of the entries that are addresses; NULL: none are */
	unsigned *files;	/* owned: each file that is named, once */
	unsigned file_count;
	unsigned *identities; /* owned: which entries are about UNIX peers */
	unsigned identity_count;
};

struct scope {
	struct list lists[RULE_LISTS];
	bool wants_unit;
};

/* All but what is in the files: never changed once it is loaded. */
struct rule_scopes {
	atomic_uint references;
	struct config *config; /* ref */
	struct scope *at;      /* owned */
	unsigned count;
};

struct rules {
	struct rule_scopes *scopes; /* ref */
	struct list_file **files;   /* owned array of refs */
	unsigned file_count;
	struct address_list_entry *found; /* owned: what rules_find has of a file */
};

/* Thread: any. */
struct rule_scopes *rule_scopes_ref(struct rule_scopes *s);
struct rule_scopes *rule_scopes_unref(struct rule_scopes *s); /* returns NULL; accepts NULL and what is half-built */

/* Whether a visitor is on a list, with these files. Thread: any, if they do not change meanwhile. */
bool rule_list_has(const struct list *list, struct list_file *const *files, const struct visitor *v);

#endif

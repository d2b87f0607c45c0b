/* SPDX-License-Identifier: MIT */
/* One entry of a list, with its names looked up. For this folder. Thread: main. */
#ifndef FRONT_RULE_ENTRY_PRIV_H
#define FRONT_RULE_ENTRY_PRIV_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/role.h"
#include "config/access_entry.h"
#include "front/visitor.h"

struct rule_entry {
	struct access_entry is; /* with the id of a user or group that is named */
	unsigned file;		/* ACCESS_FILE: for whoever made it, which one it is */
};

/* Reads an entry and looks its name up. Returns 0, or -EINVAL with *why (static text: what is wrong; what is allowed);
 * `to` is untouched then. */
int rule_entry_load(struct rule_entry *to, const char *text, const char **why) MUST_CHECK MAIN_ONLY;

/* Whether an entry is about this UNIX peer. One without credentials is never meant. */
bool rule_entry_means(const struct rule_entry *e, const struct visitor *v);

#endif

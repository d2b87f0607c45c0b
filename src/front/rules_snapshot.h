/* SPDX-License-Identifier: MIT */
/* The rules as they were at one moment, lists and files: it never changes, whatever becomes of the rules, and shares
 * everything that takes memory with them. */
#ifndef FRONT_RULES_SNAPSHOT_H
#define FRONT_RULES_SNAPSHOT_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/role.h"
#include "config/config.h"
#include "front/rules.h"
#include "front/visitor.h"

struct rules_snapshot;

/* NULL: no memory. Thread: main. */
struct rules_snapshot *rules_snapshot_create(const struct rules *r) MUST_CHECK MAIN_ONLY;

/* Returns NULL; accepts NULL. Thread: any. */
struct rules_snapshot *rules_snapshot_destroy(struct rules_snapshot *s);

/* The configuration that they are of. Borrowed. Thread: any. */
const struct config *rules_snapshot_config(const struct rules_snapshot *s);

/* Whether deny of a scope has the visitor, or allow, if there is one, does not. Thread: any. */
bool rules_snapshot_refuses(const struct rules_snapshot *s, unsigned scope, const struct visitor *v);

/* As rules_want_unit. Thread: any. */
bool rules_snapshot_wants_unit(const struct rules_snapshot *s, unsigned scope);

#endif

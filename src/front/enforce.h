/* SPDX-License-Identifier: MIT */
/* `enforce`: connections that are open, and that allow or deny would refuse now, are closed. */
#ifndef FRONT_ENFORCE_H
#define FRONT_ENFORCE_H

#include "base/attr.h"
#include "base/role.h"
#include "front/rules.h"
#include "worker/handoff.h"

/* Has the workers look at all connections that are open now, where `door` or a listener of `rules` has enforce: by deny and
 * allow of that group, of the listener that has the same name now. Returns 0, or -ENOMEM: nobody looks. Thread: main. */
int enforce_begin(struct pool *pool, const struct rules *rules) MUST_CHECK MAIN_ONLY;

#endif

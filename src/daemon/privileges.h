/* SPDX-License-Identifier: MIT */
/* Giving up root. Before the first thread is started: some of it counts for one thread only. */
#ifndef DAEMON_PRIVILEGES_H
#define DAEMON_PRIVILEGES_H

#include "base/attr.h"
#include "base/text.h"

/* As root: becomes `user` with `group` (NULL: the user's own), without supplementary groups other than that user's,
 * capabilities, or a way to get any. Otherwise only the latter. Returns 0, or -errno with *why: what is wrong and
 * what to do. */
int privileges_drop(const char *user, const char *group, struct text *why) MUST_CHECK;

#endif

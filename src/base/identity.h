/* SPDX-License-Identifier: MIT */
/* Users and groups by name or number. Thread: main (the system's databases are not read by others). */
#ifndef BASE_IDENTITY_H
#define BASE_IDENTITY_H

#include <sys/types.h>

#include "base/attr.h"

/* A user's number and primary group; a number needs no entry in the database: the group is then (gid_t)-1.
 * Returns 0 or -ENOENT. */
int identity_find_user(const char *text, uid_t *uid, gid_t *gid) MUST_CHECK;

/* Returns 0 or -ENOENT. */
int identity_find_group(const char *text, gid_t *gid) MUST_CHECK;

#endif

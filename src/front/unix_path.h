/* SPDX-License-Identifier: MIT */
/* The file of a UNIX socket: making room for it, and whose it is. Thread: main. */
#ifndef FRONT_UNIX_PATH_H
#define FRONT_UNIX_PATH_H

#include "base/attr.h"
#include "base/netaddr.h"
#include "base/role.h"
#include "base/text.h"
#include "config/config.h"

/* Binds `fd` to the path of `address`: replaces a file that nobody listens on, under a lock on its folder, and gives
 * the file its mode and owner before anybody can connect. Returns 0, or -errno with *why: what is wrong and what to
 * do. */
int unix_path_bind(int fd, const struct netaddr *address, const struct unix_config *owner,
		   struct text *why) MUST_CHECK MAIN_ONLY;

/* Sets the file's mode and owner. Returns as above. */
int unix_path_set_owner(const char *path, const struct unix_config *owner, struct text *why) MUST_CHECK MAIN_ONLY;

#endif

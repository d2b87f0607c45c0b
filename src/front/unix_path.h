/* SPDX-License-Identifier: MIT */
/* The file of a UNIX socket: making room for it, and whose it is. */
#ifndef FRONT_UNIX_PATH_H
#define FRONT_UNIX_PATH_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/netaddr.h"
#include "base/role.h"
#include "base/text.h"
#include "config/config.h"

/* Which file it is: another may stand at its path later. */
struct unix_path_id {
	dev_t device;
	ino_t inode;
};

/* Binds `fd` to the path of `address`: replaces a file that nobody listens on, under a lock on its folder if that is
 * to be had, and gives the file its mode and owner before anybody can connect. Returns 0 with *id, or -errno with
 * *why: what is wrong and what to do. */
int unix_path_bind(int fd, const struct netaddr *address, const struct unix_config *owner, struct unix_path_id *id,
		   struct text *why) MUST_CHECK MAIN_ONLY;

/* Whether the socket is still at its path. */
bool unix_path_is(const char *path, const struct unix_path_id *id) MAIN_ONLY;

/* Removes the file, unless another stands there now. Logs why it stays. */
void unix_path_remove(const char *path, const struct unix_path_id *id) MAIN_ONLY;

/* Sets the file's mode and owner where they differ. Returns as above; -ESTALE when another file is there. */
int unix_path_set_owner(const char *path, const struct unix_path_id *id, const struct unix_config *owner,
			struct text *why) MUST_CHECK MAIN_ONLY;

#endif

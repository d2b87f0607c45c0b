/* SPDX-License-Identifier: MIT */
/* Whose process is at the other end of a UNIX socket. Thread: any. */
#ifndef BASE_PEER_CREDENTIALS_H
#define BASE_PEER_CREDENTIALS_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/attr.h"

/* Asks the kernel. Returns false where it cannot name the user: of another process or user namespace, which has no number for
 * us, or nobody at all. */
bool peer_credentials(int fd, struct ucred *to) MUST_CHECK;

/* The number that the kernel tells of a group that has none in our user namespace; (gid_t)-1: each has one. */
gid_t peer_credentials_nameless_gid(void);

/* Whether a user namespace has an id of its own for somebody: `map` is its /proc/PID/uid_map or gid_map. One for whom it has
 * none is told as the overflow id (65534), which anybody may be then: such a peer has no credentials. */
bool peer_credentials_is_mapped(FILE *map, unsigned long id);

#endif

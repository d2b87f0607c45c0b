/* SPDX-License-Identifier: MIT */
/* Listening sockets that an earlier usherd had, and that somebody kept for this one: which of them the configuration still
 * wants. They are found by their address, not by a name: who renames a listener keeps its clients. Thread: main. */
#ifndef FRONT_INHERITED_H
#define FRONT_INHERITED_H

#include <net/if.h>
#include <stdbool.h>

#include "base/attr.h"
#include "base/netaddr.h"
#include "base/role.h"
#include "config/config.h"
#include "front/unix_path.h"

struct listening_keeper;

struct inherited_socket {
	int fd; /* owned; -1: somebody has taken it */
	bool usable;
	bool elsewhere; /* in another network namespace */
	bool wanted;	/* by an endpoint of the configuration that was matched */
	struct netaddr address;
	char interface[IF_NAMESIZE]; /* bound to this one; empty: none */
	unsigned fixed_buffers;	     /* SOCK_SNDBUF_LOCK, SOCK_RCVBUF_LOCK: sizes that were set */
	struct unix_path_id path_id; /* of a UNIX socket that has a file: which one that was */
};

struct inherited_sockets {
	struct inherited_socket *at; /* owned */
	unsigned count;
	struct listening_keeper *keeper; /* borrowed: has copies of them all */
};

/* Looks at a descriptor; whether it is a socket that usher could have opened, and still listens, is in `usable`. */
void inherited_init(struct inherited_socket *s, int fd, const struct unix_path_id *path_id) MAIN_ONLY;

/* Marks those that `config` wants: one for each endpoint, where it can be made what a new one would be. */
void inherited_match(struct inherited_sockets *set, const struct config *config) MAIN_ONLY;

/* Whether it is a UNIX socket that has a file; `path_id` says which. */
bool inherited_has_file(const struct inherited_socket *s) MAIN_ONLY;

/* The one that was matched for this address; NULL: none. `set` may be NULL. */
struct inherited_socket *inherited_find(struct inherited_sockets *set, const struct netaddr *address,
					const char *interface, const struct listener_config *config) MAIN_ONLY;

#endif

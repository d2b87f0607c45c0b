/* SPDX-License-Identifier: MIT */
/* Who stands at the door: what the kernel knows of the other end of a connection. Thread: any. */
#ifndef FRONT_VISITOR_H
#define FRONT_VISITOR_H

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/netaddr.h"

/* The most supplementary groups that are looked at; who is in more counts as in these, and perhaps in others. */
#define VISITOR_GROUPS_MAX 256

/* systemd's names of units are at most 255 bytes. */
#define VISITOR_UNIT_BYTES 256

struct visitor {
	const struct sockaddr *address; /* borrowed; canonical: AF_INET, AF_INET6, or AF_UNIX */

	/* of a UNIX peer */
	bool has_credentials; /* false: the kernel tells none (a peer in another namespace, a socket that nobody holds) */
	uid_t uid;
	gid_t gid;
	unsigned group_count;
	bool groups_hidden; /* it is, or may be, in more than these */
	gid_t groups[VISITOR_GROUPS_MAX];
	bool unit_hidden; /* it was asked for, and could not be had: the process has ended, or may not be looked at */
	char unit[VISITOR_UNIT_BYTES]; /* "backup.service"; "": none, or not asked for */
};

/* Fills in what a peer's address alone tells. */
void visitor_from_address(struct visitor *v, const struct sockaddr *address);

/* Asks the kernel for the credentials of a UNIX peer (SO_PEERCRED, SO_PEERGROUPS), and with `wants_unit` for the systemd
 * unit that it belongs to: by its pidfd (SO_PEERPIDFD, Linux 6.5), so that no other process can have taken its place,
 * else by its process id. What cannot be had is left out: such a peer matches no rule that needs it, and is not let past a
 * deny that does. */
void visitor_ask(struct visitor *v, int fd, bool wants_unit);

/* The system's unit of a cgroup's path, "/system.slice/backup.service", "/user.slice/user-1000.slice/user@1000.service/
 * app.slice/x.service": what comes after the slices, and ends in .service or .scope ("user@1000.service"). What stands
 * below it is named by the unit itself, or by the user whose it is, as they like. False: none, or too long. */
bool visitor_unit_of(const char *cgroup, char to[VISITOR_UNIT_BYTES]);

/* Whether a cgroup's path tells the unit at all. It does not where the cgroup was removed (a process that has ended, and was
 * not waited for, can be in it still), or is outside of the cgroup namespace that usherd is in: "/../backup.service". */
bool visitor_tells_unit(const char *cgroup);

#endif

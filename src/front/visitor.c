/* SPDX-License-Identifier: MIT */
#include "front/visitor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/peer_credentials.h"
#include "base/socket.h"

void visitor_from_address(struct visitor *v, const struct sockaddr *address)
{
	memset(v, 0, offsetof(struct visitor, groups));
	v->address = address;
	v->unit_hidden = false;
	v->unit[0] = '\0';
}

static bool ends_in(const char *s, size_t n, const char *end)
{
	size_t length = strlen(end);
	return n > length && memcmp(s + n - length, end, length) == 0;
}

bool visitor_unit_of(const char *cgroup, char to[VISITOR_UNIT_BYTES])
{
	size_t n;
	do {
		if (*cgroup != '/')
			return false;
		cgroup++;
		n = strcspn(cgroup, "/\n");
		cgroup += n;
	} while (ends_in(cgroup - n, n, ".slice"));
	const char *name = cgroup - n;
	/* systemd puts this before a name that would be one of the kernel's ("memory.service"), or begins so itself */
	if (*name == '_') {
		name++;
		n--;
	}
	if (n >= VISITOR_UNIT_BYTES || (!ends_in(name, n, ".service") && !ends_in(name, n, ".scope")))
		return false;
	memcpy(to, name, n);
	to[n] = '\0';
	return true;
}

bool visitor_tells_unit(const char *cgroup)
{
	size_t n = strcspn(cgroup, "\n");
	bool is_outside = strncmp(cgroup, "/..", 3) == 0 && (cgroup[3] == '/' || n == 3);
	return !is_outside && !ends_in(cgroup, n, " (deleted)");
}

/* The cgroup of the unified hierarchy, "0::/system.slice/x.service" in /proc/PID/cgroup. */
static bool read_cgroup(pid_t pid, char *to, size_t size)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t n = read(fd, to, size - 1);
	fd_close(&fd);
	if (n <= 0)
		return false;
	to[n] = '\0';
	const char *line = to;
	while (line && strncmp(line, "0::", 3) != 0) {
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	if (!line)
		return false;
	memmove(to, line + 3, strlen(line + 3) + 1);
	return true;
}

/* Whether the process of a pidfd is still there. */
static bool is_there(int pidfd)
{
	return syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0) == 0 || errno == EPERM;
}

static void ask_unit(struct visitor *v, int fd, pid_t pid)
{
	char cgroup[4096];
	int pidfd = -1;
	socklen_t length = sizeof(pidfd);
	v->unit_hidden = true;
	/* a kernel that has no such option leaves the process id; any other failure says that the peer is gone */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &length) < 0 && errno != ENOPROTOOPT)
		return;
	/* without that what was read may be another process's */
	if (read_cgroup(pid, cgroup, sizeof(cgroup)) && visitor_tells_unit(cgroup) && (pidfd < 0 || is_there(pidfd))) {
		v->unit_hidden = false;
		(void)visitor_unit_of(cgroup, v->unit);
	}
	fd_close(&pidfd);
}

/* Those of a peer that is in more groups than there is room for: the first of them. */
static void ask_many_groups(struct visitor *v, int fd, socklen_t length)
{
	gid_t *all = malloc(length);
	if (all && getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, all, &length) == 0) {
		v->group_count = length / (unsigned)sizeof(*all);
		v->groups_hidden = v->group_count > VISITOR_GROUPS_MAX;
		if (v->groups_hidden)
			v->group_count = VISITOR_GROUPS_MAX;
		memcpy(v->groups, all, v->group_count * sizeof(*all));
	}
	free(all);
}

/* Of the groups those that have no id here are in none that a rule could mean, but may be meant. */
static void drop_nameless(struct visitor *v)
{
	const gid_t nameless_gid = peer_credentials_nameless_gid();
	unsigned kept = 0;
	for (unsigned i = 0; i < v->group_count; i++) {
		if (v->groups[i] != nameless_gid)
			v->groups[kept++] = v->groups[i];
	}
	v->groups_hidden |= kept < v->group_count;
	v->group_count = kept;
}

void visitor_ask(struct visitor *v, int fd, bool wants_unit)
{
	struct ucred who;
	if (!peer_credentials(fd, &who))
		return;
	v->has_credentials = true;
	v->uid = who.uid;
	v->gid = who.gid;
	socklen_t length = sizeof(v->groups);
	bool has_all = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, v->groups, &length) == 0;
	v->groups_hidden = !has_all;
	if (has_all)
		v->group_count = length / (unsigned)sizeof(*v->groups);
	else if (errno == ERANGE)
		ask_many_groups(v, fd, length); /* the kernel said how many bytes they take */
	drop_nameless(v);
	if (wants_unit)
		ask_unit(v, fd, who.pid);
}

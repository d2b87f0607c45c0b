/* SPDX-License-Identifier: MIT */
#include "front/unix_path.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/identity.h"
#include "report/log.h"

/* How often and how long apart the folder's lock is tried: whoever else has it only looks and binds. */
#define LOCK_TRIES 10
#define LOCK_PAUSE_NS 10000000L

/* After a lock that was not to be had, none is waited for again for so long. */
#define LOCK_AGAIN_MS 1000

/* "already in use by pid 4711 (nginx)". */
MAIN_ONLY static void say_who(int connected, struct text *why)
{
	struct ucred who;
	socklen_t length = sizeof(who);
	text_add(why, "already in use");
	if (getsockopt(connected, SOL_SOCKET, SO_PEERCRED, &who, &length) < 0 || who.pid <= 0)
		return;
	text_printf(why, " by pid %d", (int)who.pid);
	char path[64];
	char name[32];
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)who.pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, name, sizeof(name));
	fd_close(&fd);
	if (n <= 1)
		return;
	text_add(why, " (");
	text_add_escaped(why, name, (size_t)n - (name[n - 1] == '\n'));
	text_add(why, ")");
}

/* Removes the file if it is a socket that nobody listens on. Returns 0 when the path is free. */
MAIN_ONLY static int make_room(const struct netaddr *address, struct text *why)
{
	const char *path = address->u.local.sun_path;
	struct stat st;
	if (lstat(path, &st) < 0) {
		if (errno == ENOENT)
			return 0;
		int failed = -errno;
		text_add(why, strerror(-failed));
		return failed;
	}
	if (!S_ISSOCK(st.st_mode)) {
		text_add(why, "the file exists and is not a socket; remove it or choose another path");
		return -EEXIST;
	}
	int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (probe < 0) {
		int failed = -errno;
		text_add(why, strerror(-failed));
		return failed;
	}
	int failed = connect(probe, &address->u.any, address->length) < 0 ? errno : 0;
	if (failed == ECONNREFUSED || failed == ENOENT) {
		fd_close(&probe);
		if (unlink(path) == 0 || errno == ENOENT)
			return 0;
		failed = -errno;
		text_printf(why, "nobody listens on the file, but it cannot be removed: %s", strerror(-failed));
		return failed;
	}
	if (failed == 0)
		say_who(probe, why);
	else if (failed == EAGAIN || failed == EPROTOTYPE)
		text_add(why, "already in use");
	else
		text_printf(why, "cannot find out whether the file is in use: %s", strerror(failed));
	fd_close(&probe);
	return -EADDRINUSE;
}

/* Locks the socket's folder, so that two who find the same stale file do not both replace it. Returns the lock's
 * descriptor; -1 when there is none to be had: the folder cannot be read, or somebody holds its lock, which anybody
 * may who can read it, and who is not waited for longer than a moment. */
MAIN_ONLY static int lock_folder(const char *path)
{
	static uint64_t waited_ms; /* one wait counts for all sockets that are opened together */
	char copy[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
	snprintf(copy, sizeof(copy), "%s", path);
	int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; fd >= 0 && i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return fd;
		if (waited_ms && clock_now_ms() - waited_ms < LOCK_AGAIN_MS)
			break;
		struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};
		nanosleep(&pause, NULL);
	}
	if (fd >= 0)
		waited_ms = clock_now_ms();
	fd_close(&fd);
	return -1;
}

MAIN_ONLY static int find_owner(const struct unix_config *owner, uid_t *uid, gid_t *gid, struct text *why)
{
	gid_t primary;
	*uid = (uid_t)-1;
	*gid = (gid_t)-1;
	if (owner->user && identity_find_user(owner->user, uid, &primary) < 0) {
		text_printf(why, "unix.user: there is no user \"%s\"", owner->user);
		return -EINVAL;
	}
	if (owner->group && identity_find_group(owner->group, gid) < 0) {
		text_printf(why, "unix.group: there is no group \"%s\"", owner->group);
		return -EINVAL;
	}
	return 0;
}

/* Sets what differs: after root was given up even the same again would be refused. `file` is an O_PATH descriptor: a
 * link or another file put at the path in the meantime is out of reach. */
MAIN_ONLY static int set_owner_of(int file, const struct stat *st, const struct unix_config *owner, struct text *why)
{
	uid_t uid;
	gid_t gid;
	int failed = find_owner(owner, &uid, &gid, why);
	if (failed)
		return failed;
	bool other_owner = (uid != (uid_t)-1 && uid != st->st_uid) || (gid != (gid_t)-1 && gid != st->st_gid);
	if (other_owner && fchownat(file, "", uid, gid, AT_EMPTY_PATH) < 0) {
		failed = -errno;
		text_printf(why, "cannot give the file to user %s, group %s: %s",
			    owner->user ? owner->user : "(as it is)", owner->group ? owner->group : "(as it is)",
			    strerror(-failed));
		if (failed == -EPERM)
			text_add(why,
				 "; unless it starts as root usherd can give it to a group that it is in, and under "
				 "systemd the unit must let it (usherd(8), SYSTEMD)");
		return failed;
	}
	char itself[64];
	snprintf(itself, sizeof(itself), "/proc/self/fd/%d", file);
	if ((other_owner || (st->st_mode & 07777) != (mode_t)owner->mode) && chmod(itself, (mode_t)owner->mode) < 0) {
		failed = -errno;
		text_printf(why, "cannot set the file's mode: %s", strerror(-failed));
	}
	return failed;
}

/* Opens the file at the path as O_PATH. Returns the descriptor with *st, or -errno with *why. */
MAIN_ONLY static int open_file(const char *path, struct stat *st, struct text *why)
{
	int file = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (file >= 0 && fstat(file, st) == 0)
		return file;
	int failed = -errno;
	fd_close(&file);
	text_add(why, strerror(-failed));
	return failed;
}

bool unix_path_is(const char *path, const struct unix_path_id *id)
{
	struct stat st = {0};
	return lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) && st.st_dev == id->device && st.st_ino == id->inode;
}

void unix_path_remove(const char *path, const struct unix_path_id *id)
{
	if (unix_path_is(path, id) && unlink(path) < 0)
		log_write_errno(LOG_LEVEL_NOTICE, LOG_GENERAL, errno, "remove %s: %s; the next start replaces it", path,
				strerror(errno));
}

int unix_path_set_owner(const char *path, const struct unix_path_id *id, const struct unix_config *owner,
			struct text *why)
{
	struct stat st = {0};
	int file = open_file(path, &st, why);
	if (file < 0)
		return file;
	int failed = -ESTALE;
	if (st.st_dev == id->device && st.st_ino == id->inode)
		failed = set_owner_of(file, &st, owner, why);
	else
		text_add(why, "another file stands at its path");
	fd_close(&file);
	return failed;
}

/* The file is made with the socket's mode: closed to all others until it has its owner. */
MAIN_ONLY static int bind_closed(int fd, const struct netaddr *address)
{
	if (fchmod(fd, 0600) < 0)
		return -errno;
	return bind(fd, &address->u.any, address->length) < 0 ? -errno : 0;
}

MAIN_ONLY static int bind_or_replace(int fd, const struct netaddr *address, struct text *why)
{
	int failed = bind_closed(fd, address);
	if (failed == -EADDRINUSE) {
		int lock = lock_folder(address->u.local.sun_path);
		failed = make_room(address, why);
		if (!failed)
			failed = bind_closed(fd, address);
		fd_close(&lock);
	}
	if (failed && why->length == 0)
		text_add(why, strerror(-failed));
	return failed;
}

int unix_path_bind(int fd, const struct netaddr *address, const struct unix_config *owner, struct unix_path_id *id,
		   struct text *why)
{
	const char *path = address->u.local.sun_path;
	int failed = bind_or_replace(fd, address, why);
	if (failed)
		return failed;
	struct stat st = {0};
	int file = open_file(path, &st, why);
	if (file < 0)
		return file;
	failed = S_ISSOCK(st.st_mode) ? set_owner_of(file, &st, owner, why) : -ESTALE;
	if (failed == -ESTALE)
		text_add(why, "another file was put at its path");
	else if (failed)
		unlink(path);
	*id = (struct unix_path_id){.device = st.st_dev, .inode = st.st_ino};
	fd_close(&file);
	return failed;
}

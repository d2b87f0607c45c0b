/* SPDX-License-Identifier: MIT */
#include "base/peer_credentials.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

bool peer_credentials_is_mapped(FILE *map, unsigned long id)
{
	/* each line: the first id inside, the first outside, how many */
	char line[64];
	while (fgets(line, sizeof(line), map)) {
		char *at = line;
		unsigned long inside = strtoul(at, &at, 10);
		(void)strtoul(at, &at, 10);
		if (id >= inside && id - inside < strtoul(at, NULL, 10))
			return true;
	}
	return false;
}

/* The id that the kernel tells for all those that our user namespace has none for, unless it is somebody's there too. */
static uint32_t nameless_id(const char *overflow_path, const char *map_path)
{
	char line[64];
	unsigned long id = UINT32_MAX;
	FILE *overflow = fopen(overflow_path, "re");
	FILE *map = fopen(map_path, "re");
	if (overflow && map && fgets(line, sizeof(line), overflow))
		id = strtoul(line, NULL, 10);
	if (map && peer_credentials_is_mapped(map, id))
		id = UINT32_MAX;
	if (overflow)
		(void)fclose(overflow);
	if (map)
		(void)fclose(map);
	return (uint32_t)id;
}

static pthread_once_t asked = PTHREAD_ONCE_INIT;
static uint32_t nameless_uid;
static uint32_t nameless_gid;

static void ask_nameless(void)
{
	nameless_uid = nameless_id("/proc/sys/kernel/overflowuid", "/proc/self/uid_map");
	nameless_gid = nameless_id("/proc/sys/kernel/overflowgid", "/proc/self/gid_map");
}

gid_t peer_credentials_nameless_gid(void)
{
	(void)pthread_once(&asked, ask_nameless);
	return nameless_gid;
}

bool peer_credentials(int fd, struct ucred *to)
{
	struct ucred who;
	socklen_t length = sizeof(who);
	/* one of another process namespace has process 0, one of another user namespace ids that stand for all of these */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &length) < 0 || who.pid <= 0 || who.uid == (uid_t)-1)
		return false;
	(void)pthread_once(&asked, ask_nameless);
	if (who.uid == nameless_uid || who.gid == nameless_gid)
		return false;
	*to = who;
	return true;
}

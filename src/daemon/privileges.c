/* SPDX-License-Identifier: MIT */
#include "daemon/privileges.h"

#include <cap-ng.h>
#include <errno.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/identity.h"

static int find(const char *user, const char *group, uid_t *uid, gid_t *gid, struct text *why)
{
	if (identity_find_user(user, uid, gid) < 0) {
		text_printf(
			why,
			"user: there is no user \"%s\": make one (useradd --system %s), name another, or start as one",
			user, user);
		return -ENOENT;
	}
	if (group && identity_find_group(group, gid) < 0) {
		text_printf(why, "group: there is no group \"%s\": make one, or leave it out for the user's own",
			    group);
		return -ENOENT;
	}
	if (*gid == (gid_t)-1) {
		text_printf(why, "user: %s has no group of its own: set group", user);
		return -ENOENT;
	}
	return 0;
}

static int become(uid_t uid, gid_t gid, struct text *why)
{
	/* main alone asks, before there are threads; a number without an entry has no supplementary groups */
	// cppcheck-suppress getpwuidCalled
	capng_flags_t groups = getpwuid(uid) ? CAPNG_INIT_SUPP_GRP : CAPNG_DROP_SUPP_GRP;
	capng_clear(CAPNG_SELECT_BOTH);
	errno = 0;
	int failed = capng_change_id((int)uid, (int)gid, groups | CAPNG_CLEAR_BOUNDING);
	if (failed) {
		text_printf(why, "cannot become uid %u, gid %u: %s", (unsigned)uid, (unsigned)gid,
			    errno ? strerror(errno) : "libcap-ng refused");
		return -EPERM;
	}
	/* believed only when seen: there must be no way back */
	if (getuid() != uid || geteuid() != uid || getgid() != gid || getegid() != gid ||
	    (uid != 0 && setuid(0) == 0)) {
		text_add(why, "root was not given up, though the kernel said so");
		return -EPERM;
	}
	return 0;
}

int privileges_drop(const char *user, const char *group, struct text *why)
{
	if (geteuid() == 0) {
		uid_t uid;
		gid_t gid;
		int failed = find(user, group, &uid, &gid, why);
		if (!failed)
			failed = become(uid, gid, why);
		if (failed)
			return failed;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
		int failed = -errno;
		text_printf(why, "PR_SET_NO_NEW_PRIVS: %s", strerror(errno));
		return failed;
	}
	return 0;
}

/* SPDX-License-Identifier: MIT */
#include "base/identity.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdint.h>

/* A whole number below (uid_t)-1, which means "none". */
static bool parse_number(const char *text, uint32_t *to)
{
	uint64_t n = 0;
	if (!*text)
		return false;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return false;
		n = n * 10 + (uint64_t)(*text - '0');
		if (n >= UINT32_MAX)
			return false;
	}
	*to = (uint32_t)n;
	return true;
}

int identity_find_user(const char *text, uid_t *uid, gid_t *gid)
{
	uint32_t number;
	/* main alone asks, so what the calls keep for themselves is nobody else's */
	// cppcheck-suppress getpwnamCalled
	const struct passwd *user = getpwnam(text);
	if (!user && parse_number(text, &number)) {
		// cppcheck-suppress getpwuidCalled
		user = getpwuid(number);
		if (!user) {
			*uid = number;
			*gid = (gid_t)-1;
			return 0;
		}
	}
	if (!user)
		return -ENOENT;
	*uid = user->pw_uid;
	*gid = user->pw_gid;
	return 0;
}

int identity_find_group(const char *text, gid_t *gid)
{
	uint32_t number;
	// cppcheck-suppress getgrnamCalled
	const struct group *group = getgrnam(text);
	if (group)
		*gid = group->gr_gid;
	else if (parse_number(text, &number))
		*gid = number;
	else
		return -ENOENT;
	return 0;
}

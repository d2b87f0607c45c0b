/* SPDX-License-Identifier: MIT */
#include "front/rule_entry_priv.h"

#include <errno.h>
#include <string.h>

#include "base/identity.h"

MAIN_ONLY static int look_up_user(struct access_entry *e, const char **why)
{
	uid_t uid;
	gid_t gid;
	*why = "there is no such user; uid:NUMBER needs none";
	if (identity_find_user(e->name, &uid, &gid) < 0)
		return -EINVAL;
	e->id = uid;
	return 0;
}

MAIN_ONLY static int look_up_group(struct access_entry *e, const char **why)
{
	gid_t gid;
	*why = "there is no such group; gid:NUMBER needs none";
	if (identity_find_group(e->name, &gid) < 0)
		return -EINVAL;
	e->id = gid;
	return 0;
}

/* Of a client's units only the one that its process runs in is known: an entry for a slice would be one in vain. */
static int check_unit(const struct access_entry *e, const char **why)
{
	const char *end = strrchr(e->name, '.');
	*why = "a slice, which clients are not looked up by; name the services in it, as in \"unit:nginx.service\"";
	return end && strcmp(end, ".slice") == 0 ? -EINVAL : 0;
}

int rule_entry_load(struct rule_entry *to, const char *text, const char **why)
{
	struct access_entry e;
	int failed = access_entry_parse(&e, text, why);
	if (!failed && e.kind == ACCESS_USER)
		failed = look_up_user(&e, why);
	else if (!failed && e.kind == ACCESS_GROUP)
		failed = look_up_group(&e, why);
	else if (!failed && e.kind == ACCESS_UNIT)
		failed = check_unit(&e, why);
	if (!failed)
		*to = (struct rule_entry){.is = e};
	return failed;
}

static bool is_in_group(const struct visitor *v, gid_t gid)
{
	if (v->gid == gid)
		return true;
	for (unsigned i = 0; i < v->group_count; i++)
		if (v->groups[i] == gid)
			return true;
	return false;
}

bool rule_entry_means(const struct rule_entry *e, const struct visitor *v)
{
	if (!v->has_credentials)
		return false;
	switch (e->is.kind) {
	case ACCESS_USER:
	case ACCESS_UID:
		return v->uid == e->is.id;
	case ACCESS_GROUP:
	case ACCESS_GID:
		return is_in_group(v, e->is.id);
	case ACCESS_UNIT:
		return strcmp(v->unit, e->is.name) == 0;
	case ACCESS_ADDRESS:
	case ACCESS_FILE:
		break;
	}
	return false;
}

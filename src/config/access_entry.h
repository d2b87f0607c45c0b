/* SPDX-License-Identifier: MIT */
/* One entry of allow, deny or trusted. Only its form is read here: nothing is looked up and no file is opened. Thread:
 * any. */
#ifndef CONFIG_ACCESS_ENTRY_H
#define CONFIG_ACCESS_ENTRY_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/prefix_set.h"

/* The longest name of a systemd unit, as systemd has it. */
#define ACCESS_UNIT_NAME_MAX 255

enum access_kind {
	ACCESS_ADDRESS, /* "10.0.0.1", "fd00::/8", "10.0.0.1-10.0.0.9" */
	ACCESS_FILE,	/* "file:PATH": a file of addresses */
	ACCESS_USER,	/* "user:NAME" and all below: of clients of UNIX sockets */
	ACCESS_GROUP,	/* "group:NAME" */
	ACCESS_UID,	/* "uid:1000" */
	ACCESS_GID,	/* "gid:1000" */
	ACCESS_UNIT,	/* "unit:NAME.service", also .scope and .slice */
};

struct access_entry {
	enum access_kind kind;
	struct address_range range; /* ACCESS_ADDRESS */
	id_t id;		    /* ACCESS_UID, ACCESS_GID */
	const char *name;	    /* the others: a path, or a name; borrowed from the text; never empty */
};

/* Reads an entry. A unit is a service, scope or slice; of a template an instance. Returns 0, or -EINVAL with *why (static
 * text: what is wrong; what is allowed); `to` is untouched then. */
int access_entry_parse(struct access_entry *to, const char *text, const char **why) MUST_CHECK;

/* Whether it is about clients of UNIX sockets; else it is about addresses. */
bool access_entry_is_local(const struct access_entry *e);

#endif

/* SPDX-License-Identifier: MIT */
#include "config/access_entry.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

static const struct {
	const char *prefix;
	enum access_kind kind;
} kinds[] = {
	{"file:", ACCESS_FILE}, {"user:", ACCESS_USER}, {"group:", ACCESS_GROUP},
	{"uid:", ACCESS_UID},	{"gid:", ACCESS_GID},	{"unit:", ACCESS_UNIT},
};

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_number(const char *text)
{
	return text[0] != '\0' && text[strspn(text, "0123456789")] == '\0';
}

/* The kind that an entry begins with, moved past; ACCESS_ADDRESS when it begins with none. */
static enum access_kind take_kind(const char **at)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		size_t n = strlen(kinds[i].prefix);
		if (strncmp(*at, kinds[i].prefix, n) == 0) {
			*at += n;
			return kinds[i].kind;
		}
	}
	return ACCESS_ADDRESS;
}

/* "users:x", "User:x", "net:x": letters and a colon, but not the beginning of an IPv6 address. */
static bool has_unknown_kind(const char *text)
{
	size_t n = 0;

	while (is_letter(text[n]))
		n++;
	return n > 0 && text[n] == ':' && strspn(text, "0123456789abcdefABCDEF") < n;
}

static int parse_id(id_t *to, const char *text, const char **why)
{
	uint64_t number = 0;

	*why = "no number; write \"uid:1000\" or \"gid:1000\", and \"user:NAME\" or \"group:NAME\" for a name";
	if (!is_number(text))
		return -EINVAL;
	for (const char *p = text; *p && number < UINT32_MAX; p++)
		number = number * 10 + (uint64_t)(*p - '0');
	if (number >= UINT32_MAX) { /* (uid_t)-1 stands for none */
		*why = "too large a number; 0 to 4294967294 is allowed";
		return -EINVAL;
	}
	*to = (id_t)number;
	return 0;
}

static int check_account(const char *text, const char **why)
{
	*why = "no name; write one behind the colon";
	if (text[0] == '\0')
		return -EINVAL;
	*why = "a number; write \"uid:NUMBER\" or \"gid:NUMBER\" for it";
	if (is_number(text))
		return -EINVAL;
	*why = "a name with a colon, which no user and no group has";
	return strchr(text, ':') ? -EINVAL : 0;
}

static bool ends_with(const char *text, size_t n, const char *end)
{
	size_t length = strlen(end);

	return n > length && memcmp(text + n - length, end, length) == 0;
}

static int check_unit(const char *text, const char **why)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@";
	size_t n = strlen(text);

	*why = "no unit that a client can run in; its name ends in .service or .scope, as in "
	       "\"unit:nginx.service\"";
	if (!ends_with(text, n, ".service") && !ends_with(text, n, ".scope") && !ends_with(text, n, ".slice"))
		return -EINVAL;
	*why = "too long for a unit's name; at most 255 bytes are allowed";
	if (n > ACCESS_UNIT_NAME_MAX)
		return -EINVAL;
	*why = "no unit's name; those have letters, digits, \":\", \"-\", \"_\", \".\", \"\\\" and \"@\"; "
	       "systemd-escape(1) writes the others";
	if (strspn(text, allowed) < n || text[0] == '@')
		return -EINVAL;
	*why = "a template, in which nothing runs; name an instance of it, as in \"unit:getty@tty1.service\"";
	return strrchr(text, '.')[-1] == '@' ? -EINVAL : 0;
}

static int parse_address(struct address_range *to, const char *text, const char **why)
{
	if (!has_unknown_kind(text))
		return address_range_parse(to, text, strlen(text), why);
	*why = "an unknown word before the colon; there are file:, user:, group:, uid:, gid: and unit:";
	return -EINVAL;
}

int access_entry_parse(struct access_entry *to, const char *text, const char **why)
{
	struct access_entry e = {.name = text};
	int rc = 0;

	e.kind = take_kind(&e.name);
	switch (e.kind) {
	case ACCESS_ADDRESS:
		e.name = NULL;
		rc = parse_address(&e.range, text, why);
		break;
	case ACCESS_FILE:
		*why = "no file; write its path behind the colon";
		rc = e.name[0] == '\0' ? -EINVAL : 0;
		break;
	case ACCESS_USER:
	case ACCESS_GROUP:
		rc = check_account(e.name, why);
		break;
	case ACCESS_UID:
	case ACCESS_GID:
		rc = parse_id(&e.id, e.name, why);
		e.name = NULL;
		break;
	case ACCESS_UNIT:
		rc = check_unit(e.name, why);
		break;
	}
	if (rc == 0)
		*to = e;
	return rc;
}

bool access_entry_is_local(const struct access_entry *e)
{
	return e->kind != ACCESS_ADDRESS && e->kind != ACCESS_FILE;
}

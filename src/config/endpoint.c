/* SPDX-License-Identifier: MIT */
#include "config/endpoint.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define LISTEN_FORMS "write ADDRESS:PORT, [IPV6]:PORT, *:PORT, unix:/PATH, unix:@NAME or systemd:NAME"
#define UPSTREAM_FORMS "write HOST:PORT, ADDRESS:PORT, [IPV6]:PORT, unix:/PATH or unix:@NAME"
#define LISTEN_KINDS                                                                                                   \
	"the kind before the first colon is not known: only unix: and systemd: are, and TCP is written without one; "
#define UPSTREAM_KINDS "the kind before the first colon is not known: only unix: is, and TCP is written without one; "
#define UNIX_TEXT_MAX 4095 /* a path before it is collapsed */
#define LABEL_MAX 63
#define HOST_MAX 253

/* An address taken apart; the pieces are borrowed from the text. */
struct parts {
	const char *host;
	size_t host_n;
	bool brackets;
	const char *interface; /* after a '%' outside of the brackets; NULL: none */
	size_t interface_n;
	uint16_t port;
};

static int wrong(const char **why, const char *text)
{
	*why = text;
	return -EINVAL;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static int parse_port(uint16_t *to, const char *text, const char **why)
{
	size_t n = strlen(text);
	unsigned port = 0;

	if (n == 0)
		return wrong(why, "the port is missing after the colon; a number up to 65535 is needed");
	for (size_t i = 0; i < n; i++) {
		if (!is_digit(text[i]))
			return wrong(why, "the port is no number; a number up to 65535 is needed");
		if (port <= 65535)
			port = port * 10 + (unsigned)(text[i] - '0');
	}
	if (text[0] == '0' && n > 1)
		return wrong(why, "the port begins with a 0; write it without");
	if (port > 65535)
		return wrong(why, "the port is too large; a number up to 65535 is needed");
	*to = (uint16_t)port;
	return 0;
}

/* Takes "HOST:PORT", "HOST%IF:PORT", "[HOST]:PORT" or "[HOST]%IF:PORT" apart. `forms` is the text for what is none. */
static int split(struct parts *to, const char *text, const char *forms, const char **why)
{
	const char *rest;

	memset(to, 0, sizeof(*to));
	if (text[0] == '[') {
		const char *end = strchr(text, ']');
		if (!end)
			return wrong(why, "the ] after the IPv6 address is missing; write [IPV6]:PORT");
		to->brackets = true;
		to->host = text + 1;
		to->host_n = (size_t)(end - to->host);
		rest = end + 1;
	} else {
		to->host = text;
		to->host_n = strcspn(text, "%:");
		rest = text + to->host_n;
	}
	if (*rest == '%') {
		to->interface = rest + 1;
		to->interface_n = strcspn(rest + 1, ":");
		rest = to->interface + to->interface_n;
	}
	if (*rest == '\0' && to->host_n > 0)
		return wrong(why, to->brackets || !strpbrk(text, "/@") ? "the port is missing; write it after a colon"
								       : forms);
	if (*rest != ':')
		return wrong(why, forms);
	if (!to->brackets && strchr(rest + 1, ':'))
		return wrong(why, "too many colons; an IPv6 address stands in brackets: [IPV6]:PORT");
	if (to->host_n == 0)
		return wrong(why, forms);
	return parse_port(&to->port, rest + 1, why);
}

/* Whether the text begins with a word and a colon as other programs' addresses do: "udp:*:53", "http://x". A host
 * with a port, or with two by mistake, does not, and an IPv6 address without brackets neither. */
static bool has_unknown_kind(const char *text)
{
	const char *colon = strchr(text, ':');
	bool all_hex = true;

	if (!colon || colon == text)
		return false;
	for (const char *c = text; c < colon; c++) {
		bool letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z');
		if (!letter && (c == text || (!is_digit(*c) && *c != '+' && *c != '-')))
			return false;
		all_hex = all_hex && (is_digit(*c) || strchr("abcdefABCDEF", *c));
	}
	if (all_hex)
		return false;
	const char *rest = colon + 1;
	size_t digits = strspn(rest, "0123456789");
	return rest[0] == '/' || rest[0] == '@' || (strchr(rest, ':') && rest[digits] != ':');
}

/* Makes one text of all that name the same file: "//" and "/./" become "/", one at the end goes. Links and ".." stay,
 * which only the file system knows. `to` has room for one byte more than `from` needs. Returns the length. */
static size_t collapse_path(char *to, const char *from)
{
	size_t n = 0;

	while (*from) {
		size_t part = strcspn(from, "/");
		if (part > 0 && !(part == 1 && from[0] == '.')) {
			to[n++] = '/';
			memcpy(to + n, from, part);
			n += part;
		}
		from += part + (from[part] == '/');
	}
	to[n] = '\0';
	return n;
}

/* An address that can be written back: what would have to be escaped in a path is a slip, or worse. */
static int parse_unix(struct endpoint *to, const char *name, const char **why)
{
	char path[UNIX_TEXT_MAX + 2];
	size_t n = strlen(name);

	if (name[0] != '/' && name[0] != '@')
		return wrong(why, "a UNIX address is a path that begins with /, or @ and a name");
	if (name[0] == '/' && n > UNIX_TEXT_MAX)
		return wrong(why, "the UNIX address is too long; 107 bytes are allowed");
	if (name[0] == '/') {
		n = collapse_path(path, name);
		name = path;
		if (n == 0)
			return wrong(why, "the path names no file");
	}
	int rc = netaddr_parse_unix(&to->address, name, n);
	if (rc == -ENAMETOOLONG)
		return wrong(why, "the UNIX address is too long; 107 bytes are allowed");
	if (rc < 0)
		return wrong(why, "the abstract name is empty, or has a backslash that is neither \\\\ nor \\xNN");
	if (name[0] == '/') {
		char buffer[NETADDR_TEXT_BYTES];
		struct text t;
		text_init(&t, buffer, sizeof(buffer));
		text_add_escaped(&t, name, n);
		if (strcmp(t.at, name) != 0)
			return wrong(why, "the path holds a backslash, a control character or invalid UTF-8");
	}
	to->kind = ENDPOINT_ADDRESS;
	return 0;
}

static int set_interface(struct endpoint *to, const struct parts *parts, const char **why)
{
	if (parts->interface_n == 0 || parts->interface_n >= sizeof(to->interface))
		return wrong(why, "the interface's name after % is empty or longer than 15 bytes");
	for (size_t i = 0; i < parts->interface_n; i++) {
		char c = parts->interface[i];
		if (c <= ' ' || c >= 0x7f || strchr("/%[]\\\"", c))
			return wrong(why, "the interface's name after % has a byte that no interface's name has");
	}
	memcpy(to->interface, parts->interface, parts->interface_n);
	to->interface[parts->interface_n] = '\0';
	return 0;
}

static bool is_link_local(const struct netaddr *a)
{
	return a->u.any.sa_family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&a->u.in6.sin6_addr);
}

/* A numeric address. Returns 0, -EINVAL with *why, or -ENOENT when an unbracketed host is none. */
static int parse_ip(struct netaddr *to, const struct parts *parts, const char **why)
{
	int rc = netaddr_parse_ip(to, parts->host, parts->host_n, parts->port);

	if (rc == -ENODEV)
		return wrong(why,
			     "there is no interface of the name after %; a link-local address needs the one it is on");
	if (rc < 0)
		return parts->brackets ? wrong(why, "what stands in the brackets is no IPv6 address") : -ENOENT;
	if (parts->brackets && !memchr(parts->host, ':', parts->host_n))
		return wrong(why, "an IPv4 address stands without brackets: ADDRESS:PORT");
	if (memchr(parts->host, '%', parts->host_n) && !is_link_local(to))
		return wrong(
			why,
			"an interface inside the brackets is for link-local addresses; otherwise write [IPV6]%IF:PORT");
	if (is_link_local(to) && to->u.in6.sin6_scope_id == 0)
		return wrong(why, "a link-local address needs its interface: [fe80::1%IF]:PORT");
	return 0;
}

static int parse_systemd(struct endpoint *to, const char *name, const char **why)
{
	size_t n = strlen(name);

	if (n == 0 || n >= sizeof(to->name))
		return wrong(why, "the name after systemd: is empty or longer than 255 bytes");
	for (size_t i = 0; i < n; i++) {
		if (name[i] < ' ' || name[i] >= 0x7f || name[i] == ':')
			return wrong(why, "the name after systemd: has a byte that FileDescriptorName= does not allow");
	}
	memcpy(to->name, name, n + 1);
	to->kind = ENDPOINT_SYSTEMD;
	return 0;
}

int endpoint_parse_listen(struct endpoint *to, const char *text, const char **why)
{
	struct endpoint e = {0};
	struct parts parts;
	int rc;

	if (strncmp(text, "unix:", 5) == 0) {
		rc = parse_unix(&e, text + 5, why);
	} else if (strncmp(text, "systemd:", 8) == 0) {
		rc = parse_systemd(&e, text + 8, why);
	} else if (has_unknown_kind(text)) {
		rc = wrong(why, LISTEN_KINDS LISTEN_FORMS);
	} else {
		rc = split(&parts, text, LISTEN_FORMS, why);
		if (rc == 0 && parts.interface)
			rc = set_interface(&e, &parts, why);
		if (rc == 0 && !parts.brackets && parts.host_n == 1 && parts.host[0] == '*') {
			e.kind = ENDPOINT_ANY;
			rc = netaddr_parse_ip(&e.address, "::", 2, parts.port);
		} else if (rc == 0) {
			rc = parse_ip(&e.address, &parts, why);
		}
		if (rc == -ENOENT)
			*why = "a listener needs a numeric address; " LISTEN_FORMS;
	}
	if (rc < 0)
		return -EINVAL;
	*to = e;
	return 0;
}

/* Whether getaddrinfo's relatives would take the last label for a number: "1.2.3", "300.1.1.1", "10.0x1". */
static bool ends_in_number(const char *label, size_t n)
{
	if (n > 2 && label[0] == '0' && (label[1] == 'x' || label[1] == 'X'))
		return strspn(label + 2, "0123456789abcdefABCDEF") >= n - 2;
	return strspn(label, "0123456789") >= n;
}

/* One label of a host name. */
static int check_label(const char *label, size_t n, const char **why)
{
	if (n == 0)
		return wrong(why, "the host name has an empty part between dots");
	if (n > LABEL_MAX)
		return wrong(why, "the host name has a part of more than 63 bytes");
	if (label[0] == '-' || label[n - 1] == '-')
		return wrong(why, "the host name has a part that begins or ends with a hyphen");
	for (size_t i = 0; i < n; i++) {
		char c = label[i];
		if (!(c >= 'a' && c <= 'z') && !is_digit(c) && c != '-' && c != '_')
			return wrong(why,
				     "the host name has a byte that is no letter, digit, hyphen, dot or underscore");
	}
	return 0;
}

static int parse_name(struct endpoint *to, const struct parts *parts, const char **why)
{
	size_t n = parts->host_n;
	size_t without_dot = n - (parts->host[n - 1] == '.');

	if (without_dot > HOST_MAX)
		return wrong(why, "the host name is too long; 253 bytes are allowed");
	for (size_t i = 0; i < n; i++) {
		char c = parts->host[i];
		to->name[i] = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
	}
	to->name[n] = '\0';
	for (size_t begin = 0; begin <= without_dot;) {
		size_t length = 0;
		while (begin + length < without_dot && to->name[begin + length] != '.')
			length++;
		int rc = check_label(to->name + begin, length, why);
		if (rc < 0)
			return rc;
		bool last = begin + length == without_dot;
		if (last && ends_in_number(to->name + begin, length))
			return wrong(
				why,
				"this is neither an IPv4 address nor a host name: a name's last part is no number");
		begin += length + 1;
	}
	to->kind = ENDPOINT_NAME;
	to->port = parts->port;
	return 0;
}

static int parse_upstream_name(struct endpoint *to, const struct parts *parts, const char **why)
{
	int rc = parse_name(to, parts, why);

	if (rc == 0 && strcmp(to->name, "unix") == 0)
		return wrong(why, "unix: begins a UNIX address; write a host of this name as unix.:PORT");
	return rc;
}

int endpoint_check_host(const char *text, const char **why)
{
	struct parts parts = {.host = text, .host_n = strlen(text)};
	struct endpoint e = {0};

	if (parts.host_n == 0)
		return wrong(why, "the host name is empty");
	if (strpbrk(text, ":[]"))
		return wrong(why, "the host name stands here without a port and without brackets");
	if (text[parts.host_n - 1] == '.')
		return wrong(why, "the host name ends in a dot; write it without");
	return parse_name(&e, &parts, why);
}

static bool is_unspecified(const struct netaddr *a)
{
	return a->u.any.sa_family == AF_INET ? a->u.in4.sin_addr.s_addr == htonl(INADDR_ANY)
					     : IN6_IS_ADDR_UNSPECIFIED(&a->u.in6.sin6_addr);
}

int endpoint_parse_upstream(struct endpoint *to, const char *text, const char **why)
{
	struct endpoint e = {0};
	struct parts parts;
	int rc;

	if (strncmp(text, "unix:", 5) == 0) {
		rc = parse_unix(&e, text + 5, why);
	} else if (has_unknown_kind(text)) {
		rc = wrong(why, UPSTREAM_KINDS UPSTREAM_FORMS);
	} else {
		rc = split(&parts, text, UPSTREAM_FORMS, why);
		if (rc == 0 && parts.interface)
			rc = wrong(why,
				   "an upstream has no interface; only a link-local address has, inside the brackets");
		if (rc == 0 && parts.port == 0)
			rc = wrong(why, "an upstream's port is 1 to 65535");
		if (rc == 0)
			rc = parse_ip(&e.address, &parts, why);
		if (rc == -ENOENT)
			rc = parse_upstream_name(&e, &parts, why);
		else if (rc == 0 && is_unspecified(&e.address))
			rc = wrong(why, "the unspecified address is no place to connect to; write 127.0.0.1 or [::1] "
					"for this machine");
	}
	if (rc < 0)
		return -EINVAL;
	*to = e;
	return 0;
}

int endpoint_parse_server(struct netaddr *to, const char *text, const char **why)
{
	const char *forms =
		"a DNS server is an address, with a port or not; write 10.0.0.53, 10.0.0.53:5353, ::1 or [::1]:5353";
	const char *no_zone = "a name server needs an address without a zone, which a link-local one cannot do without";
	struct parts parts = {.host = text, .host_n = strlen(text), .port = 53};
	const char *colon = strchr(text, ':');
	struct netaddr address;
	int rc;

	if (text[0] == '[' || (colon && !strchr(colon + 1, ':'))) {
		rc = split(&parts, text, forms, why);
		if (rc < 0)
			return rc;
		if (parts.interface || parts.port == 0)
			return wrong(why, forms);
	}
	if (memchr(parts.host, '%', parts.host_n) ||
	    (netaddr_parse_ip(&address, parts.host, parts.host_n, 0) == 0 && is_link_local(&address)))
		return wrong(why, no_zone);
	rc = parse_ip(to, &parts, why);
	return rc == -ENOENT ? wrong(why, forms) : rc;
}

/* Adds "ADDRESS%IF:PORT" or "[IPV6]%IF:PORT". */
static void add_bound(struct text *t, const struct endpoint *e)
{
	char buffer[NETADDR_TEXT_BYTES];
	struct text address;

	text_init(&address, buffer, sizeof(buffer));
	netaddr_add_text(&address, &e->address);
	const char *colon = strrchr(address.at, ':');
	if (!colon || !e->interface[0] || e->address.u.any.sa_family == AF_UNIX) {
		text_add(t, address.at);
		return;
	}
	text_add_bytes(t, address.at, (size_t)(colon - address.at));
	text_printf(t, "%%%s%s", e->interface, colon);
}

void endpoint_add_text(struct text *t, const struct endpoint *e)
{
	switch (e->kind) {
	case ENDPOINT_ADDRESS:
		add_bound(t, e);
		break;
	case ENDPOINT_ANY:
		text_printf(t, "*%s%s:%u", e->interface[0] ? "%" : "", e->interface, netaddr_port(&e->address));
		break;
	case ENDPOINT_SYSTEMD:
		text_printf(t, "systemd:%s", e->name);
		break;
	case ENDPOINT_NAME:
		text_printf(t, "%s:%u", e->name, e->port);
		break;
	}
}

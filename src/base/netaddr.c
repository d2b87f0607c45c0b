/* SPDX-License-Identifier: MIT */
#include "base/netaddr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define UNIX_HEAD offsetof(struct sockaddr_un, sun_path)
#define UNIX_PATH_BYTES sizeof(((struct sockaddr_un *)0)->sun_path)

static void set_in4(struct netaddr *to, struct in_addr address, uint16_t port)
{
	memset(to, 0, sizeof(*to));
	to->length = sizeof(to->u.in4);
	to->u.in4.sin_family = AF_INET;
	to->u.in4.sin_addr = address;
	to->u.in4.sin_port = htons(port);
}

/* Reads an interface's index from its name or number, ended by a NUL. Returns 0, -EINVAL or -ENODEV. */
static int parse_zone(uint32_t *to, const char *zone)
{
	if (zone[0] == '\0')
		return -EINVAL;
	if (strlen(zone) >= IF_NAMESIZE)
		return -ENODEV;
	unsigned index = if_nametoindex(zone);
	if (index == 0) {
		uint64_t number = 0;
		for (const char *at = zone; *at != '\0'; at++) {
			if (*at < '0' || *at > '9')
				return -ENODEV;
			number = number * 10 + (uint64_t)(*at - '0');
		}
		char name[IF_NAMESIZE];
		if (number > INT32_MAX || if_indextoname((unsigned)number, name) == NULL)
			return -ENODEV;
		index = (unsigned)number;
	}
	*to = index;
	return 0;
}

int netaddr_parse_ip(struct netaddr *to, const char *text, size_t n, uint16_t port)
{
	char copy[INET6_ADDRSTRLEN + 1 + IF_NAMESIZE];
	struct in_addr in4;

	if (n == 0 || n >= sizeof(copy) || memchr(text, '\0', n) != NULL)
		return -EINVAL;
	memcpy(copy, text, n);
	copy[n] = '\0';
	if (inet_pton(AF_INET, copy, &in4) == 1) {
		set_in4(to, in4, port);
		return 0;
	}

	struct netaddr a;
	memset(&a, 0, sizeof(a));
	a.length = sizeof(a.u.in6);
	a.u.in6.sin6_family = AF_INET6;
	a.u.in6.sin6_port = htons(port);
	char *zone = strchr(copy, '%');
	if (zone != NULL)
		*zone++ = '\0';
	if (inet_pton(AF_INET6, copy, &a.u.in6.sin6_addr) != 1)
		return -EINVAL;
	if (zone != NULL) {
		if (IN6_IS_ADDR_V4MAPPED(&a.u.in6.sin6_addr))
			return -EINVAL;
		int r = parse_zone(&a.u.in6.sin6_scope_id, zone);
		if (r < 0)
			return r;
	}
	netaddr_canonicalise(&a);
	*to = a;
	return 0;
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Reads one byte of an abstract name, escaped or not, and moves *at past it. Returns it or -EINVAL. */
static int parse_abstract_byte(const char **at, const char *end)
{
	const char *s = *at;
	if (*s != '\\') {
		*at = s + 1;
		return (unsigned char)*s;
	}
	if (end - s >= 2 && s[1] == '\\') {
		*at = s + 2;
		return '\\';
	}
	if (end - s < 4 || s[1] != 'x' || hex_digit(s[2]) < 0 || hex_digit(s[3]) < 0)
		return -EINVAL;
	*at = s + 4;
	return hex_digit(s[2]) << 4 | hex_digit(s[3]);
}

int netaddr_parse_unix(struct netaddr *to, const char *text, size_t n)
{
	struct netaddr a;
	memset(&a, 0, sizeof(a));
	a.u.local.sun_family = AF_UNIX;
	if (n == 0)
		return -EINVAL;

	if (text[0] != '@') {
		if (memchr(text, '\0', n) != NULL)
			return -EINVAL;
		if (n >= UNIX_PATH_BYTES)
			return -ENAMETOOLONG;
		memcpy(a.u.local.sun_path, text, n);
		a.length = (socklen_t)(UNIX_HEAD + n + 1);
		*to = a;
		return 0;
	}

	size_t used = 1; /* the NUL that makes a name abstract */
	const char *end = text + n;
	for (const char *at = text + 1; at < end;) {
		int byte = parse_abstract_byte(&at, end);
		if (byte < 0)
			return byte;
		if (used == UNIX_PATH_BYTES)
			return -ENAMETOOLONG;
		a.u.local.sun_path[used++] = (char)byte;
	}
	if (used == 1)
		return -EINVAL;
	a.length = (socklen_t)(UNIX_HEAD + used);
	*to = a;
	return 0;
}

void netaddr_from_kernel(struct netaddr *to, const struct sockaddr *from, socklen_t length)
{
	/* the kernel says 1 more than there is for a path that fills sun_path */
	if (length > sizeof(to->u))
		length = sizeof(to->u);
	struct netaddr a;
	memset(&a, 0, sizeof(a));
	memcpy(&a.u, from, length);
	a.length = length;
	*to = a;
}

void netaddr_canonicalise(struct netaddr *a)
{
	if (a->u.any.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&a->u.in6.sin6_addr))
		return;
	struct in_addr in4;
	memcpy(&in4, &a->u.in6.sin6_addr.s6_addr[12], sizeof(in4));
	set_in4(a, in4, ntohs(a->u.in6.sin6_port));
}

uint16_t netaddr_port(const struct netaddr *a)
{
	if (a->u.any.sa_family == AF_INET)
		return ntohs(a->u.in4.sin_port);
	if (a->u.any.sa_family == AF_INET6)
		return ntohs(a->u.in6.sin6_port);
	return 0;
}

void netaddr_set_port(struct netaddr *a, uint16_t port)
{
	if (a->u.any.sa_family == AF_INET)
		a->u.in4.sin_port = htons(port);
	else if (a->u.any.sa_family == AF_INET6)
		a->u.in6.sin6_port = htons(port);
}

/* The bytes of sun_path that count: of a path those before its NUL, of an abstract name all, the leading NUL too. */
static size_t unix_name_bytes(const struct netaddr *a)
{
	if (a->length <= UNIX_HEAD)
		return 0;
	size_t n = a->length - UNIX_HEAD;
	return a->u.local.sun_path[0] == '\0' ? n : strnlen(a->u.local.sun_path, n);
}

void netaddr_any(struct netaddr *to, int family, uint16_t port)
{
	memset(to, 0, sizeof(*to));
	to->u.any.sa_family = (sa_family_t)family;
	to->length = family == AF_INET ? sizeof(to->u.in4) : sizeof(to->u.in6);
	netaddr_set_port(to, port);
}

bool netaddr_equal(const struct netaddr *a, const struct netaddr *b)
{
	if (a->u.any.sa_family != b->u.any.sa_family)
		return false;
	switch (a->u.any.sa_family) {
	case AF_INET:
		return a->u.in4.sin_port == b->u.in4.sin_port && a->u.in4.sin_addr.s_addr == b->u.in4.sin_addr.s_addr;
	case AF_INET6:
		return a->u.in6.sin6_port == b->u.in6.sin6_port && a->u.in6.sin6_scope_id == b->u.in6.sin6_scope_id &&
		       IN6_ARE_ADDR_EQUAL(&a->u.in6.sin6_addr, &b->u.in6.sin6_addr);
	case AF_UNIX: {
		size_t n = unix_name_bytes(a);
		return n == unix_name_bytes(b) && memcmp(a->u.local.sun_path, b->u.local.sun_path, n) == 0;
	}
	default:
		return a->length == b->length && memcmp(&a->u, &b->u, a->length) == 0;
	}
}

static void add_in4_host(struct text *t, const struct sockaddr_in *in4)
{
	char host[INET_ADDRSTRLEN];
	inet_ntop(AF_INET, &in4->sin_addr, host, sizeof(host));
	text_add(t, host);
}

static void add_in6_host(struct text *t, const struct sockaddr_in6 *in6)
{
	char host[INET6_ADDRSTRLEN];
	inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
	text_add(t, host);
	if (in6->sin6_scope_id != 0) {
		char name[IF_NAMESIZE];
		text_add(t, "%");
		if (if_indextoname(in6->sin6_scope_id, name) != NULL)
			text_add_escaped(t, name, strlen(name));
		else
			text_printf(t, "%u", in6->sin6_scope_id);
	}
}

static void add_in4(struct text *t, const struct sockaddr_in *in4)
{
	add_in4_host(t, in4);
	text_printf(t, ":%u", ntohs(in4->sin_port));
}

static void add_in6(struct text *t, const struct sockaddr_in6 *in6)
{
	text_add(t, "[");
	add_in6_host(t, in6);
	text_printf(t, "]:%u", ntohs(in6->sin6_port));
}

static void add_unix(struct text *t, const struct netaddr *a)
{
	size_t n = unix_name_bytes(a);
	const char *name = a->u.local.sun_path;

	text_add(t, "unix:");
	if (n > 0 && name[0] == '\0') {
		text_add(t, "@");
		name++;
		n--;
	} else if (n > 0 && name[0] == '@') {
		/* a path that would pass for an abstract name */
		text_add(t, "\\x40");
		name++;
		n--;
	}
	text_add_escaped(t, name, n);
}

void netaddr_add_text(struct text *t, const struct netaddr *a)
{
	switch (a->u.any.sa_family) {
	case AF_INET:
		add_in4(t, &a->u.in4);
		break;
	case AF_INET6:
		add_in6(t, &a->u.in6);
		break;
	case AF_UNIX:
		add_unix(t, a);
		break;
	default:
		text_printf(t, "family %u", a->u.any.sa_family);
		break;
	}
}

void peer_addr_from(struct peer_addr *to, const struct netaddr *from)
{
	struct netaddr a = *from;
	netaddr_canonicalise(&a);
	memset(to, 0, sizeof(*to));
	if (a.u.any.sa_family == AF_INET)
		to->u.in4 = a.u.in4;
	else if (a.u.any.sa_family == AF_INET6)
		to->u.in6 = a.u.in6;
	else
		to->u.any.sa_family = a.u.any.sa_family;
}

void peer_addr_add_text(struct text *t, const struct peer_addr *a)
{
	if (a->u.any.sa_family == AF_INET)
		add_in4(t, &a->u.in4);
	else if (a->u.any.sa_family == AF_INET6)
		add_in6(t, &a->u.in6);
	else
		text_add(t, "unix");
}

void peer_addr_add_host(struct text *t, const struct peer_addr *a)
{
	if (a->u.any.sa_family == AF_INET)
		add_in4_host(t, &a->u.in4);
	else if (a->u.any.sa_family == AF_INET6)
		add_in6_host(t, &a->u.in6);
	else
		text_add(t, "unix");
}

static void add_network(struct text *t, int family, const void *address, unsigned bits, unsigned most)
{
	uint8_t bytes[sizeof(struct in6_addr)] = {0};
	char name[INET6_ADDRSTRLEN];
	bits = bits < most ? bits : most;
	memcpy(bytes, address, (bits + 7) / 8);
	if (bits % 8)
		bytes[bits / 8] &= (uint8_t) ~(0xffU >> bits % 8);
	if (!inet_ntop(family, bytes, name, sizeof(name)))
		return;
	text_add(t, name);
	if (bits < most)
		text_printf(t, "/%u", bits);
}

void peer_addr_add_network(struct text *t, const struct peer_addr *a, unsigned ipv4_bits, unsigned ipv6_bits)
{
	if (a->u.any.sa_family == AF_INET)
		add_network(t, AF_INET, &a->u.in4.sin_addr, ipv4_bits, 32);
	else if (a->u.any.sa_family == AF_INET6)
		add_network(t, AF_INET6, &a->u.in6.sin6_addr, ipv6_bits, 128);
	else
		text_add(t, "unix");
}

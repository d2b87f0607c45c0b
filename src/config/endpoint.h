/* SPDX-License-Identifier: MIT */
/* Where a listener listens and where an upstream is: the text forms of the configuration. Thread: any. */
#ifndef CONFIG_ENDPOINT_H
#define CONFIG_ENDPOINT_H

#include <net/if.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/netaddr.h"

enum endpoint_kind {
	ENDPOINT_ADDRESS, /* one socket address: TCP over IPv4 or IPv6, or UNIX */
	ENDPOINT_ANY, /* "*:PORT": one socket of each family; `address` holds the port in an IPv6 wildcard address */
	ENDPOINT_SYSTEMD, /* "systemd:NAME": sockets that systemd passes under this name */
	ENDPOINT_NAME,	  /* "example.org:80": a host name, for upstreams only */
};

/* The longest host name in text (RFC 1035), NUL included; systemd's FDNAME is at most 255 bytes too. */
#define ENDPOINT_NAME_BYTES 256

struct endpoint {
	enum endpoint_kind kind;
	struct netaddr address;		/* ENDPOINT_ADDRESS and ENDPOINT_ANY */
	char interface[IF_NAMESIZE];	/* bind to this interface; empty: none */
	char name[ENDPOINT_NAME_BYTES]; /* ENDPOINT_SYSTEMD: the FDNAME; ENDPOINT_NAME: the host name */
	uint16_t port;			/* ENDPOINT_NAME: host order */
};

/* Reads where to listen:
 *   "10.0.0.1:80" "[::1]:80" "[fe80::1%eth0]:80"   TCP, port 0 to 65535 (0: the kernel chooses)
 *   "[::]:80" "0.0.0.0:80"                          all addresses of one family; "[::]" is IPv6 only
 *   "*:80"                                          one socket of each family
 *   "0.0.0.0%eth0:80" "[::]%eth0:80" "*%eth0:80"    bound to an interface
 *   "unix:/run/x.sock" "unix:@name"                 UNIX stream; @ is the abstract namespace. Of a path's "//", "/./"
 *                                                   and "/" at the end one "/" or nothing is left
 *   "systemd:web"                                   sockets passed by systemd under this name
 * Returns 0, or -EINVAL with *why (static text: what is wrong; what is allowed). `to` is untouched on failure. */
int endpoint_parse_listen(struct endpoint *to, const char *text, const char **why) MUST_CHECK;

/* Reads an upstream: "10.0.0.1:80", "[::1]:80", "host.example:80", "unix:/run/x.sock", "unix:@name". A port is
 * needed, 1 to 65535. Returns as above. */
int endpoint_parse_upstream(struct endpoint *to, const char *text, const char **why) MUST_CHECK;

/* Reads the address of a DNS server: "10.0.0.53", "10.0.0.53:5353", "::1", "[::1]:5353"; the port is 53 when there is
 * none. A link-local address is none, since c-ares takes no zone ("%eth0"). Returns as above. */
int endpoint_parse_server(struct netaddr *to, const char *text, const char **why) MUST_CHECK;

/* Checks a host name alone, without a port and a dot at its end: "db.example". Returns as above. */
int endpoint_check_host(const char *text, const char **why) MUST_CHECK;

/* The canonical text: what parses to the same endpoint again. Two endpoints are the same if their texts are. */
void endpoint_add_text(struct text *t, const struct endpoint *e);

#endif

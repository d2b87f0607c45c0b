/* SPDX-License-Identifier: MIT */
/* Socket addresses: a value that holds an IPv4, IPv6 or UNIX one, with its text form. Thread: any. */
#ifndef BASE_NETADDR_H
#define BASE_NETADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/attr.h"
#include "base/text.h"

/* Any address that usher listens on or connects to. `length` is the number of bytes that count, as for bind(2):
 * abstract UNIX names are told apart by it. */
struct netaddr {
	socklen_t length;
	union {
		struct sockaddr any;
		struct sockaddr_in in4;
		struct sockaddr_in6 in6;
		struct sockaddr_un local;
	} u;
};

/* A peer's address in as few bytes as it takes: IPv4 and IPv6 whole; of a UNIX peer only that it is one. */
struct peer_addr {
	union {
		struct sockaddr any;
		struct sockaddr_in in4;
		struct sockaddr_in6 in6;
	} u;
};

/* The longest text that netaddr_add_text makes, NUL included: an escaped abstract name. */
#define NETADDR_TEXT_BYTES 512

/* Reads a numeric IPv4 or IPv6 address of `n` bytes without brackets and port: "10.0.0.1", "::1", "fe80::1%eth0",
 * "fe80::1%2". An IPv4-mapped IPv6 address becomes the IPv4 one. The port is set to `port`.
 * Returns 0; -EINVAL when it is no such address; -ENODEV when the interface after % does not exist. `to` is untouched
 * on failure. */
int netaddr_parse_ip(struct netaddr *to, const char *text, size_t n, uint16_t port) MUST_CHECK;

/* Reads a UNIX address: a path, or "@NAME" for an abstract name ("\xNN" in it is that byte, "\\" a backslash).
 * Returns 0; -EINVAL when empty, or a path that has a NUL; -ENAMETOOLONG. */
int netaddr_parse_unix(struct netaddr *to, const char *text, size_t n) MUST_CHECK;

/* An address as accept4, getsockname or getpeername filled it in. */
void netaddr_from_kernel(struct netaddr *to, const struct sockaddr *from, socklen_t length);

/* Turns an IPv4-mapped IPv6 address into the IPv4 one. Called once, where an address enters. */
void netaddr_canonicalise(struct netaddr *a);

/* All addresses of a family: "0.0.0.0" for AF_INET, "[::]" for AF_INET6. */
void netaddr_any(struct netaddr *to, int family, uint16_t port);

/* The port in host order; 0 for UNIX. */
uint16_t netaddr_port(const struct netaddr *a);
void netaddr_set_port(struct netaddr *a, uint16_t port);

bool netaddr_equal(const struct netaddr *a, const struct netaddr *b);

/* "10.0.0.1:80", "[::1]:80", "[fe80::1%eth0]:80", "unix:/run/x.sock", "unix:@name", "unix:" for an unnamed one.
 * Bytes that a stranger could have chosen are escaped. */
void netaddr_add_text(struct text *t, const struct netaddr *a);

/* The same, canonical, as a peer. */
void peer_addr_from(struct peer_addr *to, const struct netaddr *from);

/* "10.0.0.1:4711", "[::1]:4711", "unix". */
void peer_addr_add_text(struct text *t, const struct peer_addr *a);

/* The same without the port: "10.0.0.1", "::1", "fe80::1%eth0", "unix". */
void peer_addr_add_host(struct text *t, const struct peer_addr *a);

/* The network that it is in, of so many bits: "10.0.0.1" with 32, "10.0.0.0/24", "2001:db8::/64"; without a zone. "unix". */
void peer_addr_add_network(struct text *t, const struct peer_addr *a, unsigned ipv4_bits, unsigned ipv6_bits);

#endif

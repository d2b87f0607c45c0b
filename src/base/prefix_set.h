/* SPDX-License-Identifier: MIT */
/* A set of IPv4 and IPv6 addresses, made of prefixes and ranges: a million of them in well under 100 MiB. To ask it takes
 * some 30 ns while it is in the processor's cache, and about one read of memory more when it is not. Immutable once made.
 * Thread: any. */
#ifndef BASE_PREFIX_SET_H
#define BASE_PREFIX_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/attr.h"

/* Addresses from `first` to `last`, both included, of one family. IPv4-mapped IPv6 ones are IPv4 here. */
struct address_range {
	int family;	   /* AF_INET, AF_INET6 */
	uint8_t first[16]; /* in network order; IPv4 in the first four bytes, the others are 0 */
	uint8_t last[16];
};

/* The longest text that address_range_parse takes: two addresses and what stands between them. */
#define ADDRESS_RANGE_TEXT_MAX 91

/* Reads "10.0.0.1", "10.0.0.0/8", "10.0.0.1-10.0.0.9", "fd00::/8", "::1", "2001:db8::1-2001:db8::ff", of `n` bytes. A
 * prefix with bits behind its length is an error, and so is a zone. "::ffff:10.0.0.0/104" is "10.0.0.0/8".
 * Returns 0, or -EINVAL with *why (static text: what is wrong; what is allowed). `to` is untouched on failure. */
int address_range_parse(struct address_range *to, const char *text, size_t n, const char **why) MUST_CHECK;

/* Whether an address is in it, as prefix_set_has. */
bool address_range_has(const struct address_range *r, const struct sockaddr *address);

struct prefix_set;

/* Makes a set of `count` ranges, in any order, that may overlap. `ranges` is the caller's still, but what it holds is
 * spent: it is sorted and joined in place. With one reference. NULL: no memory. */
struct prefix_set *prefix_set_create(struct address_range *ranges, size_t count);

/* A set is counted by references; prefix_set_create makes one. NULL is accepted. */
struct prefix_set *prefix_set_ref(struct prefix_set *s);
struct prefix_set *prefix_set_unref(struct prefix_set *s); /* returns NULL */

/* Whether an address is in it: IPv4 or IPv6, whatever its port and zone are. An IPv4-mapped one is IPv4: "::/0" does not
 * have it, "0.0.0.0/0" does. Every other family is not in it. */
bool prefix_set_has(const struct prefix_set *s, const struct sockaddr *address);

/* How many ranges are left after those that overlap or touch were joined, and what the set takes. */
size_t prefix_set_count(const struct prefix_set *s);
size_t prefix_set_bytes(const struct prefix_set *s);

#endif

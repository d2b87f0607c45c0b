/* SPDX-License-Identifier: MIT */
/* What is remembered of where connections come from: how many are open, how fast they came, what offences there were, and
 * bans. A source is an IPv4 address or an IPv6 /64 (both prefixes are configurable); it is remembered per scope, which is a
 * listener, or all of them. Users of UNIX clients have entries too, which count what they have open and nothing else.
 *
 * The table is bounded. When it is full, the one that was seen longest ago of those that hold nothing (no open connection,
 * no ban, no offence that counts, full buckets) is forgotten, as far as a bounded look finds one; else the one that was seen
 * longest ago of those without open connections and bans. When a source's connections have closed it counts as seen again
 * once that is noticed. A source for which there is no room at all shares one entry with all others of this kind: it has
 * their limits, and they have its, but that entry is never banned. At most three quarters of the entries can be banned at
 * one time; while they are, no further ban begins. So a flood from random addresses neither grows memory nor frees
 * anybody's ban, nor leaves a newcomer without an entry.
 *
 * Each call looks at a bounded number of entries: SOURCES_LOOKED_AT_MOST where the hash, which nobody can foresee, spreads
 * them as chance does.
 *
 * Times are those of clock_now_ms; the buckets of an entry count nanoseconds of the same clock.
 *
 * Thread: main, except where a function says otherwise. */
#ifndef FRONT_SOURCES_H
#define FRONT_SOURCES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/rate.h"
#include "base/role.h"
#include "report/counters.h"

/* Which addresses count as one. */
struct source_prefixes {
	unsigned ipv4; /* bits, 1 to 32 */
	unsigned ipv6; /* bits, 1 to 128 */
};

/* Who, and in which scope. */
struct source_key {
	uint8_t address[16]; /* in network order, bits behind the prefix zero; IPv4 in the first four bytes */
	uint8_t bits;	     /* of the prefix; 0: a UNIX client's user, whose number is in the first four bytes */
	uint8_t is_ipv6;
	uint16_t scope; /* 0: all listeners; else a listener's number, which stays over reloads */
};

struct text;

/* Room for source_key_add_text. */
#define SOURCE_KEY_TEXT_BYTES 52

/* An entry: 88 bytes, and 8 for the table. `open` and the byte buckets are shared with workers, which hold a reference while they have
 * a connection of it; the rest is main's. */
struct source;

struct sources;

/* Entries: fewer count as the least, more as the most. */
#define SOURCES_LEAST 4
#define SOURCES_MOST (1U << 28)
#define SOURCES_LOOKED_AT_MOST 64

/* NULL: no memory. `most` entries; memory is taken as they come, 1024 of them at a time, and kept. */
struct sources *sources_create(unsigned most);

/* Nobody uses an entry any more. Returns NULL; accepts NULL. */
struct sources *sources_destroy(struct sources *s);

/* False for what has no address (UNIX). An IPv4-mapped address is the IPv4 one; a zone does not count. Thread: any. */
bool source_key_of(struct source_key *to, const struct sockaddr *peer, const struct source_prefixes *p, uint16_t scope);

/* That of a user, of UNIX clients. SOURCE_NO_USER: all whom the kernel cannot name. Thread: any. */
#define SOURCE_NO_USER ((uid_t)-1)
struct source_key source_key_of_user(uid_t uid, uint16_t scope);

static inline bool source_key_is_user(const struct source_key *key)
{
	return key->bits == 0;
}

/* "10.0.0.1", "10.0.0.0/24", "2001:db8::/64", "unix uid 1000", "unix", without the scope. Thread: any. */
void source_key_add_text(struct text *t, const struct source_key *key);

/* Reads that text of an address. Returns 0 or -EINVAL: not this form, bits behind the prefix, an IPv4-mapped address. Thread: any. */
int source_key_parse(struct source_key *to, const char *text, size_t n, uint16_t scope) MUST_CHECK;

/* The entry of a key, made when there is none: never NULL (see above). The pointer stays good while at most one other is
 * looked up, and as long as it is counted as open or banned. */
struct source *sources_get(struct sources *s, const struct source_key *key, uint64_t now_ms) MAIN_ONLY;

/* The same without making one. NULL: nothing is remembered. */
struct source *sources_find(struct sources *s, const struct source_key *key) MAIN_ONLY;

/* The one that sources_get would give as far as its limits matter, without making one: the entry of a key; the one that is
 * shared, if there is no room for another; NULL: nothing is remembered, and there is room. */
struct source *sources_look(struct sources *s, const struct source_key *key) MAIN_ONLY;

/* Whether it is the one that those share for whom there was no room. */
bool source_is_shared(const struct source *e) MAIN_ONLY;

/* Connections that are open. After source_closed the caller does not touch the entry any more. Thread: any, but for
 * source_opened. */
unsigned source_open(const struct source *e);
void source_opened(struct sources *s, struct source *e) MAIN_ONLY;
void source_closed(struct source *e);

/* Who it is. */
const struct source_key *source_key(const struct source *e);

/* Its bucket of new connections. */
struct rate_bucket *source_arrivals(struct source *e) MAIN_ONLY;

/* What workers see of it, and back. */
struct source_share *source_share(struct source *e);
struct source *source_of(struct source_share *share);

/* The values of `ban`. after 0: nobody is banned, and nothing noted; above 4095 it counts as that.
 *
 * The time in which offences count slides on in thirds of `within`: `after` of them in two thirds of it always begin a ban,
 * and if they are spread over more than all of it they never do. */
struct ban_rule {
	unsigned after;	    /* offences ... */
	uint64_t within_ms; /* ... in this time begin a ban ... */
	uint64_t for_ms;    /* ... of this length, */
	unsigned factor;    /* each further one so many times longer, */
	uint64_t max_ms; /* but not more than this; the count of bans is forgotten when so long went by without one */
};

/* Notes `n` offences. Those of a banned source do not count. Returns how long the ban that they begin lasts; 0: none
 * begins. */
uint64_t source_offend(struct sources *s, struct source *e, const struct ban_rule *rule, unsigned n,
		       uint64_t now_ms) MAIN_ONLY;

/* Bans outright, for so long from now, whatever ban there was; 0 ends one, and `ended` is not called for it. False: there
 * is no room for a further ban. */
bool source_ban(struct sources *s, struct source *e, uint64_t for_ms, uint64_t now_ms) MAIN_ONLY;

/* How long it stays banned; 0: it is not. */
uint64_t source_banned_ms(const struct source *e, uint64_t now_ms) MAIN_ONLY;

/* Calls `ended` for each ban that has run out since the last call, once, at most SOURCES_EXPIRE_AT_ONCE of them a call. A
 * ban that begins before the end of the one before it was told goes on from it. Returns when to call again, in ms from
 * now; UINT64_MAX: no ban runs. */
#define SOURCES_EXPIRE_AT_ONCE 64
uint64_t sources_expire(struct sources *s, uint64_t now_ms, void (*ended)(void *arg, const struct source_key *key),
			void *arg) MAIN_ONLY;

/* Calls `each` for every ban that runs, in no order, with what is left of it and how many bans it has had. To keep each call
 * short it looks at `most` entries from the number `from`, 0 to begin with, and returns where to go on; 0: that was all. A
 * ban that begins between two calls may be missed. `each` does not change any. */
unsigned sources_bans(struct sources *s, unsigned from, unsigned most, uint64_t now_ms,
		      void (*each)(void *arg, const struct source_key *key, uint64_t left_ms, unsigned count),
		      void *arg) MAIN_ONLY;

/* Puts a ban back that was saved before a restart; one that runs and is longer stays. False: there is no room for it. */
bool sources_restore(struct sources *s, const struct source_key *key, uint64_t left_ms, unsigned count,
		     uint64_t now_ms) MAIN_ONLY;

/* Entries in use, bans, and the memory that all of it takes. */
unsigned sources_count(const struct sources *s);
unsigned sources_ban_count(const struct sources *s);
size_t sources_bytes(const struct sources *s);

#endif

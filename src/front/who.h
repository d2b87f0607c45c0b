/* SPDX-License-Identifier: MIT */
/* As whose a connection counts at a listener, also when it has no address: a source's, a UNIX user's, or of all of whom
 * nothing is known. Thread: any. */
#ifndef FRONT_WHO_H
#define FRONT_WHO_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#include "front/sources.h"

enum who_kind {
	WHO_SOURCE,  /* `source` */
	WHO_USER,    /* a UNIX peer's user, `uid` */
	WHO_UNKNOWN, /* a UNIX peer that the kernel cannot name */
	WHO_OTHERS,  /* those for whom a table had no room */
};

/* It has no gaps: tables hash and compare it as bytes. What a kind does not use is zero. */
struct who {
	struct source_key source; /* its scope is the listener's number, for all kinds */
	uint32_t kind;		  /* enum who_kind */
	uint32_t uid;
};

_Static_assert(sizeof(struct who) == 28, "hashed as bytes");

/* Room for who_add_text. */
#define WHO_TEXT_BYTES SOURCE_KEY_TEXT_BYTES

struct who who_source(const struct source_key *key);
struct who who_user(uint16_t listener, uid_t uid);
struct who who_unknown(uint16_t listener);
struct who who_others(uint16_t listener); /* 0: of all listeners */

/* The listener's number. */
static inline uint16_t who_listener(const struct who *w)
{
	return w->source.scope;
}

static inline bool who_same(const struct who *a, const struct who *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

/* "10.0.0.7", "2001:db8::/64", "unix uid 1000", "unix", "other sources". */
void who_add_text(struct text *t, const struct who *w);

#endif

/* SPDX-License-Identifier: MIT */
/* Refused connections, told in sums: of each source at each listener the first at once, and from then on once a minute
 * what came in it, if anything did. All that is told, together, is exactly what was noted, once it was flushed.
 *
 * The table is bounded. Those for whom it has no room are summed up as "other sources" of their listener; when more than
 * REFUSALS_OTHERS listeners have such, as those of all listeners. An entry goes when nothing came in its minute.
 *
 * Noting takes constant time: the hash is one that nobody can foresee. refusals_due looks at REFUSALS_AT_ONCE entries at
 * most.
 *
 * Times are those of clock_now_ms, and never go back. Thread: main. */
#ifndef FRONT_REFUSALS_H
#define FRONT_REFUSALS_H

#include <stdint.h>

#include "base/attr.h"
#include "base/role.h"
#include "front/who.h"
#include "worker/close_reason.h"

#define REFUSALS_MOST 4096
#define REFUSALS_OTHERS 64
#define REFUSALS_PERIOD_MS 60000
#define REFUSALS_AT_ONCE 64

/* The kinds of reasons that are told apart within one sum: the first ones that came. */
#define REFUSALS_REASONS 8

struct refusal_count {
	enum close_reason reason;
	uint64_t count;
};

/* What is told. All borrowed, for the call. */
struct refusal_sum {
	const char *listener; /* its name; "": those of several listeners */
	const struct who *who;
	uint64_t count; /* connections */
	uint64_t ms;	/* in this time; 0: it is the first */
	unsigned reason_count;
	struct refusal_count reasons[REFUSALS_REASONS]; /* the most frequent first */
	uint64_t rest;					/* for yet other reasons */
};

/* Does not call anything of the table. */
typedef void refusals_tell(void *arg, const struct refusal_sum *sum);

struct refusals;

/* NULL: no memory. `most` entries, REFUSALS_MOST; it takes 1 MiB when they are all in use. */
struct refusals *refusals_create(unsigned most);

/* What was not told is lost: refusals_flush before. Returns NULL; accepts NULL. */
struct refusals *refusals_destroy(struct refusals *r);

/* Notes a refused connection. The name is copied, as far as a listener's may be long. When refusals_due is not waited
 * for, the next call is due in REFUSALS_PERIOD_MS. */
void refusals_note(struct refusals *r, const char *listener, const struct who *who, enum close_reason reason,
		   uint64_t now_ms, refusals_tell *tell, void *arg) MAIN_ONLY;

/* Tells of those whose minute is over. Returns when to call again, in ms from now (0: there are more); UINT64_MAX: when
 * another was noted. */
uint64_t refusals_due(struct refusals *r, uint64_t now_ms, refusals_tell *tell, void *arg) MAIN_ONLY;

/* Tells everything that was not told yet, and forgets all entries. */
void refusals_flush(struct refusals *r, uint64_t now_ms, refusals_tell *tell, void *arg) MAIN_ONLY;

/* Entries in use. */
unsigned refusals_count(const struct refusals *r);

/* refusals_report.c, a refusals_tell: writes a log record (REFUSED). `arg` is not used. */
void refusals_report(void *arg, const struct refusal_sum *sum);

#endif

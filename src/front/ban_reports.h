/* SPDX-License-Identifier: MIT */
/* What the log is told of bans: each one when it begins and when it ends, up to BAN_REPORTS_MOST records in
 * BAN_REPORTS_PERIOD_MS, and then one record for those that begin, and one for those that end, of how many more there were.
 * All that is told, together, is exactly what was noted, once it was flushed: an attack from a million sources does not
 * push everything else out of the journal.
 *
 * Times are those of clock_now_ms. Thread: main. */
#ifndef FRONT_BAN_REPORTS_H
#define FRONT_BAN_REPORTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/role.h"
#include "front/sources.h"

#define BAN_REPORTS_MOST 200
#define BAN_REPORTS_PERIOD_MS 60000

/* All zeros: nothing was told yet. */
struct ban_reports {
	bool runs;	   /* a period does */
	uint64_t since_ms; /* when it began */
	unsigned told;	   /* of bans by themselves, in it */
	uint64_t begun;	   /* and not told */
	uint64_t ended;
};

/* A ban has begun, and lasts so long; `listener` is "" for all of them. Returns when ban_reports_due is due, in ms from
 * now. */
uint64_t ban_reports_begun(struct ban_reports *r, const char *listener, const struct source_key *who, uint64_t for_ms,
			   uint64_t now_ms) MAIN_ONLY;

/* One has ended. Likewise. */
uint64_t ban_reports_ended(struct ban_reports *r, const char *listener, const struct source_key *who,
			   uint64_t now_ms) MAIN_ONLY;

/* Tells how many more there were when the period is over. Returns when to call again, in ms from now; UINT64_MAX: when
 * another was noted. */
uint64_t ban_reports_due(struct ban_reports *r, uint64_t now_ms) MAIN_ONLY;

/* Tells it at once. */
void ban_reports_flush(struct ban_reports *r, uint64_t now_ms) MAIN_ONLY;

#endif

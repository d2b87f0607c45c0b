/* SPDX-License-Identifier: MIT */
/* The way of offences from the workers to main: a stack without a lock, that main takes whole. A source is on it once at the
 * most, however many there are, and is counted as having one connection more open until main has seen it: so it stays
 * where it is. */
#ifndef WORKER_OFFENCES_H
#define WORKER_OFFENCES_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/attr.h"
#include "base/role.h"
#include "report/counters.h"
#include "worker/doorbell.h"

struct offence_note;

struct offences {
	struct doorbell bell;
	_Atomic(struct offence_note *) noted;
	struct offence_note *taken; /* main's own: what it has taken and not looked at */
};

/* Returns 0 or -errno. */
int offences_init(struct offences *o) MUST_CHECK;
void offences_fini(struct offences *o);

/* Notes `n` offences of a source, which the caller has counted as open. NULL: nothing. Thread: any. */
void offences_add(struct offences *o, struct source_share *source, unsigned n);

/* Calls `each` for up to `most` sources with what was noted of them. Returns whether there are more. */
bool offences_take(struct offences *o, unsigned most, void (*each)(void *arg, struct source_share *source, unsigned n),
		   void *arg) MAIN_ONLY;

#endif

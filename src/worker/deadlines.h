/* SPDX-License-Identifier: MIT */
/* How long a connection that is served may last, be idle, or be silent: which of `timeouts` ends it, and when to look again.
 * Thread: any. Time is a parameter. */
#ifndef WORKER_DEADLINES_H
#define WORKER_DEADLINES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "config/config.h"
#include "worker/close_reason.h"

struct deadline_facts {
	const struct timeouts_config *limits; /* borrowed */
	uint64_t opened_ms;		      /* it came in */
	uint64_t begun_ms;  /* its service, or the upstream behind it, could first have heard of the client */
	uint64_t active_ms; /* something happened last */
	bool is_dialing;    /* timeouts.connect is what counts for it now */
	bool is_paced;	    /* bytes wait for their time: it is not idle */
	bool has_spoken;    /* bytes or the end came from the client */
	bool is_heard;	    /* likewise, or something is there to be read */
};

/* Returns the reason to close it with, or CLOSE_NONE and in *next_ms when to look again (UINT64_MAX: never). */
enum close_reason deadlines_look(const struct deadline_facts *f, uint64_t now_ms, uint64_t *next_ms) MUST_CHECK;

#endif

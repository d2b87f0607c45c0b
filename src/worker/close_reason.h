/* SPDX-License-Identifier: MIT */
/* Why a connection ended, as an enum with its facts. Made from close_reasons.def. */
#ifndef WORKER_CLOSE_REASON_H
#define WORKER_CLOSE_REASON_H

#include <stdbool.h>

enum close_reason {
#define CLOSE_REASON(name, error, ending, offence, text) CLOSE_##name,
#include "worker/close_reasons.def"
#undef CLOSE_REASON
	CLOSE_REASON_COUNT,
	CLOSE_NONE = CLOSE_REASON_COUNT, /* no reason to close */
};

struct close_reason_facts {
	const char *name; /* "client_closed" */
	const char *text;
	bool is_error;
	bool resets;	 /* both sides */
	bool alerts;	 /* the client gets an alert, and an end */
	bool is_offence; /* counted towards a ban of the source */
};

/* By reason, CLOSE_REASON_COUNT of them. */
extern const struct close_reason_facts close_reason_facts[];

#endif

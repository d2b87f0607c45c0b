/* SPDX-License-Identifier: MIT */
/* How long certificates are still good for, and what was said of it. Thread: main. */
#ifndef DAEMON_EXPIRY_H
#define DAEMON_EXPIRY_H

#include <stdbool.h>
#include <time.h>

#include "base/text.h"
#include "tls/set.h"

/* Each later one is worth a word of its own. */
enum expiry_stage {
	EXPIRY_FAR,
	EXPIRY_30_DAYS, /* at most so many are left */
	EXPIRY_7_DAYS,
	EXPIRY_1_DAY,
	EXPIRY_OVER,
	EXPIRY_NOT_YET, /* it is not valid before a time to come */
};

enum expiry_stage expiry_stage_of(const struct tls_certificate_facts *f, time_t now);

/* "2031-05-01 12:00:00 UTC". */
void expiry_add_time(struct text *to, time_t at);

/* "12 days left", "expired 3 days ago", "not valid before 2031-05-01 12:00:00 UTC". */
void expiry_add_left(struct text *to, const struct tls_certificate_facts *f, time_t now);

/* What was said, by file and serial number. All zeros: nothing. */
struct expiry {
	struct expiry_known *at; /* owned */
	unsigned count;
};

/* A look at all certificates: begin, ask of each, end. What was said of those that were not asked for is forgotten. */
void expiry_begin(struct expiry *e);

/* True if the certificate's stage is worth saying and was not said before. */
bool expiry_is_news(struct expiry *e, const struct tls_certificate_facts *f, time_t now);
void expiry_end(struct expiry *e);

void expiry_fini(struct expiry *e);

#endif

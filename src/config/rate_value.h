/* SPDX-License-Identifier: MIT */
/* Rates as the configuration writes them, both ways: "20/s", "100/min burst 50", and of bytes "1MiB/s", "10GB/h".
 * Thread: any. */
#ifndef CONFIG_RATE_VALUE_H
#define CONFIG_RATE_VALUE_H

#include "base/attr.h"
#include "base/rate.h"
#include "base/text.h"

/* The greatest amount and burst. */
#define RATE_VALUE_MAX (1ULL << 40)

/* What is counted. */
enum rate_kind {
	RATE_COUNT, /* connections and the like: whole numbers */
	RATE_BYTES, /* amount and burst are sizes: "64KiB" */
};

/* Reads "AMOUNT/TIME" and "AMOUNT/TIME burst AMOUNT", all of `text`; TIME is s, min, h or d. An amount of 0 is no limit,
 * whatever the time, and takes no burst. Amounts and bursts end at RATE_VALUE_MAX; a burst that is named comes back
 * within a year, and one of bytes holds at least what flows in 10 ms, since no timer is much finer.
 * Returns 0, or -EINVAL with what is wrong in `why`; `to` is untouched then. */
int rate_value_parse(struct rate *to, enum rate_kind kind, const char *text, struct text *why) MUST_CHECK;

/* The burst of a rate that names none: the amount of one second, rounded up; of bytes that of 100 ms, at least 16 KiB.
 * Units: as the amount's. */
uint64_t rate_value_default_burst(enum rate_kind kind, uint64_t amount, uint64_t period_ms);

/* Adds the canonical text, which parses to the same rate again: a burst that is the default is left out. */
void rate_value_add(struct text *t, enum rate_kind kind, const struct rate *r);

/* The amount of a day, to compare rates by. */
uint64_t rate_value_per_day(const struct rate *r);

#endif

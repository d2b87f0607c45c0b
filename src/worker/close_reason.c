/* SPDX-License-Identifier: MIT */
#include "worker/close_reason.h"

#include "report/counters.h"

_Static_assert((int)CLOSE_REASON_COUNT <= COUNTERS_REASONS_MAX, "a counter for each close reason");

#define ENDING_END false, false
#define ENDING_RESET true, false
#define ENDING_ALERT false, true

const struct close_reason_facts close_reason_facts[] = {
#define CLOSE_REASON(name, error, ending, offence, text) {#name, text, (error) != 0, ENDING_##ending, (offence) != 0},
#include "worker/close_reasons.def"
#undef CLOSE_REASON
};

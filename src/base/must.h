/* SPDX-License-Identifier: MIT */
/* An assertion that stays on. */
#ifndef BASE_MUST_H
#define BASE_MUST_H

#include "base/attr.h"

/* Ends the process with a message on stderr. Called by must() only. */
NORETURN void must_fail(const char *condition, const char *file, int line, const char *function);

/* For bugs of our own that would corrupt memory if the program went on. Never for input, the kernel or an
 * allocation. */
#define must(condition) ((condition) ? (void)0 : must_fail(#condition, __FILE__, __LINE__, __func__))

#endif

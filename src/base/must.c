/* SPDX-License-Identifier: MIT */
#include "base/must.h"

#include <stdio.h>
#include <stdlib.h>

void must_fail(const char *condition, const char *file, int line, const char *function)
{
	fprintf(stderr, "usherd: bug: %s does not hold (%s:%d, %s)\n", condition, file, line, function);
	abort();
}

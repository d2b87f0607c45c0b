/* SPDX-License-Identifier: MIT */
#include "base/test_hook.h"

#ifdef USHER_TEST_HOOKS
#include <stdlib.h>
#include <unistd.h>

void test_hook_stick(void)
{
	const char *path = getenv("USHER_TEST_STUCK");
	/* one thread removes it: one sticks */
	if (!path || unlink(path) < 0)
		return;
	for (;;)
		pause();
}
#endif

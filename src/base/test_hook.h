/* SPDX-License-Identifier: MIT */
/* What tests can do to a daemon that was built for them (`make hooks`). The normal build has none of it. Thread: any. */
#ifndef BASE_TEST_HOOK_H
#define BASE_TEST_HOOK_H

#ifdef USHER_TEST_HOOKS
/* If there is the file that the environment's USHER_TEST_STUCK names: removes it, and never returns. */
void test_hook_stick(void);
#else
static inline void test_hook_stick(void)
{
}
#endif

#endif

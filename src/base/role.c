/* SPDX-License-Identifier: MIT */
#include "base/role.h"

struct thread_role role_main;
struct thread_role role_worker;

#if defined(__clang__)
#define NOT_ANALYSED __attribute__((no_thread_safety_analysis))
#else
#define NOT_ANALYSED
#endif

NOT_ANALYSED void role_enter_main(void)
{
}

NOT_ANALYSED void role_enter_worker(void)
{
}

NOT_ANALYSED void role_leave_main(void)
{
}

NOT_ANALYSED void role_leave_worker(void)
{
}

/* SPDX-License-Identifier: MIT */
/* The clock that timeouts and durations are measured with: monotonic, untouched by setting the machine's time. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/* Now, in milliseconds, microseconds or nanoseconds of CLOCK_MONOTONIC. Thread: any. */
uint64_t clock_now_ms(void);
uint64_t clock_now_us(void);
uint64_t clock_now_ns(void);

/* The wall clock, which can be set: milliseconds since 1970, 0 before. For what outlives the process. Thread: any. */
uint64_t clock_wall_ms(void);

#endif

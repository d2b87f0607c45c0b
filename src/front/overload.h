/* SPDX-License-Identifier: MIT */
/* What overload by memory and CPUs comes to. How much memory the process holds, for door.overload.memory, is looked at once a
 * second, while somebody asks for it.
 * Thread: main. */
#ifndef FRONT_OVERLOAD_H
#define FRONT_OVERLOAD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/role.h"
#include "base/timer.h"

#define OVERLOAD_LOOK_MS 1000

/* Memory that the process has given back to malloc goes back to the system before anybody is shed for it, but not more
 * often than this: it takes a while. */
#define OVERLOAD_TRIM_MS 10000

struct overload {
	struct timer_wheel *timers; /* borrowed */
	struct timer look;
	int statm_fd;	      /* owned; -1: not open */
	uint64_t limit_bytes; /* 0: it is not looked at */
	uint64_t held_bytes;  /* at the last look */
	uint64_t trim_ms;     /* not before */
	bool said;	      /* that it cannot be looked at */
};

void overload_init(struct overload *o, struct timer_wheel *timers) MAIN_ONLY;
void overload_fini(struct overload *o) MAIN_ONLY;

/* Looks now, and from now on; 0: no longer. What cannot be looked at is no overload, and said once. */
void overload_set_limit(struct overload *o, uint64_t limit_bytes, uint64_t now_ms) MAIN_ONLY;

/* Whether the process held as much as the limit, or more. */
bool overload_is_over(const struct overload *o) MAIN_ONLY;

/* What there is room for when `value` is at or above `limit`: `room` at the limit, less the further it is exceeded, and nothing
 * from `limit` and `span` on. UINT64_MAX: it is below, or the limit is 0, which is none. */
uint64_t overload_room(uint64_t value, uint64_t limit, uint64_t span, uint64_t room);

/* The resident pages of a process as /proc/PID/statm has them, "size resident shared ...". False: it is something else. */
bool overload_parse_statm(const char *text, uint64_t *pages);

#endif

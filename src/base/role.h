/* SPDX-License-Identifier: MIT */
/* Which thread may call a function or touch a field, held by clang's thread-safety analysis in `make lint`.
 *
 * A role is a capability that a thread takes once, at its entry, and keeps. The analysis does not follow function
 * pointers: annotate the functions that they point to. */
#ifndef BASE_ROLE_H
#define BASE_ROLE_H

#if defined(__clang__)
#define ROLE_ATTRIBUTE(x) __attribute__((x))
#else
#define ROLE_ATTRIBUTE(x)
#endif

struct ROLE_ATTRIBUTE(capability("thread role")) thread_role {
	char unused;
};

extern struct thread_role role_main;   /* the main thread: life cycle and accepting */
extern struct thread_role role_worker; /* one worker's thread */

#define MAIN_ONLY ROLE_ATTRIBUTE(requires_capability(role_main))
#define WORKER_ONLY ROLE_ATTRIBUTE(requires_capability(role_worker))
#define WORKER_FIELD ROLE_ATTRIBUTE(guarded_by(role_worker))

/* Called once at a thread's entry: from here on the thread has the role. */
void role_enter_main(void) ROLE_ATTRIBUTE(acquire_capability(role_main));
void role_enter_worker(void) ROLE_ATTRIBUTE(acquire_capability(role_worker));

/* Called once at a thread's end. */
void role_leave_main(void) ROLE_ATTRIBUTE(release_capability(role_main));
void role_leave_worker(void) ROLE_ATTRIBUTE(release_capability(role_worker));

#endif

/* SPDX-License-Identifier: MIT */
/* Asking a running usherd to reload, and hearing how it went: `usherd --reload PID`.
 *
 * Who asks listens at an abstract UNIX address that has its process's number and a number of its own choice, and sends
 * SIGHUP with that number. When the reload is over the daemon connects there and tells. Both look whose process is at the
 * other end: nobody else can answer, or hear the answer. No file is needed, and no address that others could occupy. */
#ifndef DAEMON_RELOAD_REQUEST_H
#define DAEMON_RELOAD_REQUEST_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/role.h"
#include "config/errors.h"

/* Asked at one time; more ask again by themselves. */
#define RELOAD_REQUESTS_MAX 16

struct reload_request {
	pid_t pid;
	int number;
};

struct reload_requests {
	struct reload_request at[RELOAD_REQUESTS_MAX];
	unsigned count;
};

/* Remembers who sent a SIGHUP with a number. */
void reload_requests_add(struct reload_requests *r, pid_t pid, int number) MAIN_ONLY;

/* Whether it is remembered. */
bool reload_requests_have(const struct reload_requests *r, pid_t pid, int number) MAIN_ONLY;

/* Tells all who asked how it went, and forgets them: `failure` is why it failed in a line, NULL when it did not; `errors`
 * (may be NULL) has more lines. Never waits. */
void reload_requests_answer(struct reload_requests *r, const char *failure,
			    const struct config_errors *errors) MAIN_ONLY;

/* `usherd --reload PID`: asks, waits, prints what went wrong on standard error. Returns the exit code. */
int reload_request_run(const char *pid);

#endif

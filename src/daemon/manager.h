/* SPDX-License-Identifier: MIT */
/* The service manager: systemd, or none. Everything is harmless without one.
 *
 * What is told to it goes out without waiting, or for a moment at most: a manager that hangs must not hang the main thread,
 * as sd_notify would. Thread: main. */
#ifndef DAEMON_MANAGER_H
#define DAEMON_MANAGER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "front/listener.h"

/* Takes the sockets that were passed (LISTEN_FDS, LISTEN_FDNAMES). Returns 0 or -errno. */
int manager_take_sockets(struct passed_sockets *to) MUST_CHECK;
void manager_free_sockets(struct passed_sockets *s);

/* READY=1, also at the end of a reload. Returns false when it is to be said again: the manager is too busy to hear. */
bool manager_ready(void) MUST_CHECK;

/* RELOADING=1 with its time. */
void manager_reloading(void);
void manager_stopping(const char *status);

/* STATUS of a start that failed. It is seen until the next one, also when the journal's last lines are systemd's own. */
void manager_not_starting(const char *why);

/* Returns as above. */
bool manager_status(const char *status) MUST_CHECK;

/* The watchdog's interval in ms; 0: none is wanted. */
uint64_t manager_watchdog_ms(void);
void manager_feed_watchdog(void);

/* How many descriptors the manager keeps over a restart ($FDSTORE); 0: none. */
unsigned manager_store_size(void);

/* Gives it a copy of a descriptor, under a name of its own (FDSTORE=1). Waits up to `wait_ms`. Returns 0; -EAGAIN: it is too
 * busy; or -errno. */
int manager_store(int fd, const char *name, int wait_ms) MUST_CHECK;

/* It closes the copies that it has under this name. Returns as above. */
int manager_unstore(const char *name, int wait_ms) MUST_CHECK;

/* Waits up to `wait_ms` until the manager has done all that it was told. */
void manager_settle(int wait_ms);

#endif

/* SPDX-License-Identifier: MIT */
/* The service manager: systemd, or none. Everything is harmless without one. Thread: main. */
#ifndef DAEMON_MANAGER_H
#define DAEMON_MANAGER_H

#include <stdint.h>

#include "base/attr.h"
#include "front/listener.h"

/* Takes the sockets that were passed (LISTEN_FDS, LISTEN_FDNAMES). Returns 0 or -errno. */
int manager_take_sockets(struct passed_sockets *to) MUST_CHECK;
void manager_free_sockets(struct passed_sockets *s);

/* READY=1, also at the end of a reload. */
void manager_ready(void);

/* RELOADING=1 with its time. */
void manager_reloading(void);
void manager_stopping(const char *status);
void manager_status(const char *status);

/* The watchdog's interval in ms; 0: none is wanted. */
uint64_t manager_watchdog_ms(void);
void manager_feed_watchdog(void);

#endif

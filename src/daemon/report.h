/* SPDX-License-Identifier: MIT */
/* What start and reload say in the log. */
#ifndef DAEMON_REPORT_H
#define DAEMON_REPORT_H

#include "config/errors.h"
#include "front/listener.h"

/* One record an error. */
void report_config_errors(const struct config_errors *errors);

/* "listening on ADDRESS (NAME)" for the sockets that `old` (may be NULL) does not have. Before listeners_commit. */
void report_listening(const struct listener_set *set, const struct listener_set *old);

/* "no longer listening on ADDRESS (NAME)" for what is left in a set after another took its own. */
void report_no_longer_listening(const struct listener_set *old);

#endif

/* SPDX-License-Identifier: MIT */
/* What start and reload say in the log. */
#ifndef DAEMON_REPORT_H
#define DAEMON_REPORT_H

#include "base/role.h"
#include "config/config.h"
#include "config/errors.h"
#include "front/listener.h"
#include "front/rules.h"

/* One record an error. */
void report_config_errors(const struct config_errors *errors);

/* "listening on ADDRESS (NAME)" for the sockets that `old` (may be NULL) does not have. Before listeners_commit. */
void report_listening(const struct listener_set *set, const struct listener_set *old);

/* "no longer listening on ADDRESS (NAME)" for what is left in a set after another took its own. */
void report_no_longer_listening(const struct listener_set *old);

/* What is left to be done by whoever has installed usher, where nothing is configured but what shows that it works; `path`
 * is the configuration's. */
void report_next_step(const struct config *config, const char *path);

/* A warning, where a rule asks for systemd units, and /proc hides to which one a process belongs. */
void report_hidden_units(const struct rules *rules) MAIN_ONLY;

#endif

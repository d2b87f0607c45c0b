/* SPDX-License-Identifier: MIT */
/* Looking at a configuration without running it. */
#ifndef DAEMON_INSPECT_H
#define DAEMON_INSPECT_H

#include "base/attr.h"
#include "config/config.h"

/* --check: prints what is wrong on stderr, or what usherd would listen on, with which certificates and list files. Returns
 * the exit code. */
int inspect_check(const char *config_path);

/* --dump-config: prints the configuration in effect, or what is wrong. Returns the exit code. */
int inspect_dump(const char *config_path);

/* Reads a configuration. NULL: what is wrong was printed, and the exit code is in *code. */
struct config *inspect_load(const char *path, int *code) MUST_CHECK;

/* Makes sure that what was printed has arrived. Returns the exit code. */
int inspect_finish_output(void);

#endif

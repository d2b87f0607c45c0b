/* SPDX-License-Identifier: MIT */
/* Looking at a configuration without running it. */
#ifndef DAEMON_INSPECT_H
#define DAEMON_INSPECT_H

/* --check: prints what is wrong on stderr, or what usherd would listen on and with which certificates. Returns the exit code. */
int inspect_check(const char *config_path);

/* --dump-config: prints the configuration in effect, or what is wrong. Returns the exit code. */
int inspect_dump(const char *config_path);

/* Makes sure that what was printed has arrived. Returns the exit code. */
int inspect_finish_output(void);

#endif

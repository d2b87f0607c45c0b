/* SPDX-License-Identifier: MIT */
/* The daemon's life: start, run, reload, drain, end. */
#ifndef DAEMON_DAEMON_H
#define DAEMON_DAEMON_H

#include "base/attr.h"

/* What the command line says. Borrowed. */
struct daemon_options {
	const char *config_path;
	int log_level; /* instead of the configuration's, reloads included; -1: the configuration's */
};

/* Exit codes. */
enum {
	DAEMON_EXIT_OK = 0,
	DAEMON_EXIT_FAILED = 1,
	DAEMON_EXIT_CONFIG = 2, /* the configuration is wrong */
	DAEMON_EXIT_USAGE = 64, /* --explain or --reload was asked wrongly */
};

/* Runs until a signal ends it. Returns the exit code. Thread: main, which becomes the acceptor. */
int daemon_run(const struct daemon_options *options);

#endif

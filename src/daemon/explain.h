/* SPDX-License-Identifier: MIT */
/* Who would be let in, and why: asked of the files, without traffic. */
#ifndef DAEMON_EXPLAIN_H
#define DAEMON_EXPLAIN_H

/* As on the command line; borrowed. NULL: not given. */
struct explain_request {
	const char *listener;
	const char *source; /* an address, or "unix" */
	const char *uid;    /* of a UNIX peer: a number or name */
	const char *gid;
	const char *unit;
	const char *sni;
};

/* --explain: prints each rule that led to the verdict with its place, and at last the verdict. Returns the exit code: 0 it
 * would be let in, 1 refused, 2 the configuration is wrong, or it cannot be told; 64 the request is wrong. */
int explain_run(const char *config_path, const struct explain_request *request);

#endif

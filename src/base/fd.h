/* SPDX-License-Identifier: MIT */
/* File descriptors. Thread: any. */
#ifndef BASE_FD_H
#define BASE_FD_H

#include "base/attr.h"

/* Closes *fd if it is one and sets it to -1. errno is kept. */
void fd_close(int *fd);

/* Gives *fd away: returns it and sets it to -1. */
int fd_take(int *fd);

/* Sets O_NONBLOCK. Returns 0 or -errno. */
int fd_set_nonblock(int fd) MUST_CHECK;

/* Opens /dev/null for each of the descriptors 0, 1 and 2 that is not open, so that no socket becomes one of them and
 * gets what is written there. Returns 0 or -errno. */
int fd_fill_standard(void) MUST_CHECK;

/* How many descriptors this process may have open (RLIMIT_NOFILE's soft limit). */
unsigned fd_limit(void);

/* Raises the soft limit to the hard one. Returns 0 or -errno. */
int fd_raise_limit(void) MUST_CHECK;

/* How many descriptors are open now, or -errno. */
int fd_count_open(void);

#endif

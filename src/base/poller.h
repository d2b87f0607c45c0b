/* SPDX-License-Identifier: MIT */
/* Waiting for many descriptors at once (epoll). A poller belongs to one thread. */
#ifndef BASE_POLLER_H
#define BASE_POLLER_H

#include <stdint.h>

#include "base/attr.h"

struct epoll_event;

/* What a descriptor is ready for, and how it is watched. */
enum {
	POLLER_READ = 1 << 0,
	POLLER_WRITE = 1 << 1,
	POLLER_END = 1 << 2,	/* the peer ended its direction */
	POLLER_HANGUP = 1 << 3, /* both directions are over, or an error is pending; cannot be switched off */
	POLLER_URGENT = 1 << 4, /* TCP urgent data: a read may stop short of what is there */
	POLLER_EDGE = 1 << 8,	/* tell changes only, once each */
};

/* Embedded in whatever is watched. `ready` is called with the POLLER_ bits; it may remove and close anything, but the
 * memory of what is watched must live until poller_dispatch has returned. */
struct watch {
	void (*ready)(struct watch *w, unsigned events);
};

struct poller {
	int fd;			    /* owned */
	int ready;		    /* how many of `events` the last wait filled */
	struct epoll_event *events; /* owned */
};

/* Returns 0 or -errno. */
int poller_init(struct poller *p) MUST_CHECK;
void poller_fini(struct poller *p);

/* Watches `fd` for the POLLER_ bits in `what`. Closing the descriptor ends it. Returns 0, -ENOMEM, -ENOSPC. */
int poller_add(struct poller *p, int fd, struct watch *w, unsigned what) MUST_CHECK;
int poller_change(struct poller *p, int fd, struct watch *w, unsigned what) MUST_CHECK;
void poller_remove(struct poller *p, int fd);

/* Waits up to `timeout_ms` (-1: for ever) until descriptors are ready. Returns how many, at most 256; an interrupted
 * wait is 0. */
int poller_wait(struct poller *p, int timeout_ms);

/* Calls `ready` of each descriptor that the last wait found. */
void poller_dispatch(struct poller *p);

#endif

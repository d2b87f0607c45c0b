/* SPDX-License-Identifier: MIT */
/* What a service is to the rest of usher: a row in service_table.c. */
#ifndef SERVICE_SERVICE_H
#define SERVICE_SERVICE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/role.h"
#include "config/config.h"

struct conn;

/* All callbacks run on the worker that the connection is seated on, and must not block. What they may call is in
 * worker/conn.h. A callback may close the connection; `c` stays readable until it returns, and no further callback
 * but `closed` follows. */
struct service {
	const struct option_group *group; /* its name in a listener and its options */
	size_t state_bytes;		  /* its own memory a connection, zeroed: conn_state() */
	unsigned descriptors;		  /* the most that one connection takes, its own included */
	bool is_trial;			  /* there to see that usherd works, and for nothing else */

	/* The TLS towards the upstreams that `values` (the checked group's) ask for; it may be not enabled. Borrowed from
	 * `values`. NULL: there is none. Thread: any. */
	const struct tls_upstream_config *(*upstream_tls)(const void *values);

	/* The connection was seated. */
	void (*open)(struct conn *c);

	/* Bytes or the end can be read. Called again only after conn_read has returned -EAGAIN and more has come, or
	 * after conn_again. May be NULL for a service that relays from `open` on. */
	void (*readable)(struct conn *c);

	/* All that conn_send held has gone out. May be NULL. */
	void (*writable)(struct conn *c);

	/* conn_dial has connected. NULL only for a service that never dials. If it fails the core closes the
	 * connection. */
	void (*connected)(struct conn *c);

	/* The last call: give back what the state owns. May be NULL. */
	void (*closed)(struct conn *c);
};

/* All services, in the order of their listener_config.service index; ended by NULL. */
extern const struct service *const services[];

/* How many there are, and their groups for config_load. */
const struct config_services *service_groups(void);

#endif

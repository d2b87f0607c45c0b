/* SPDX-License-Identifier: MIT */
/* Connecting a connection to one of its upstreams: each in turn, every address of a name, within timeouts.connect. Where
 * the listener has TLS towards its upstreams, that is agreed on too. */
#ifndef WORKER_DIAL_H
#define WORKER_DIAL_H

#include <stdint.h>

#include "base/role.h"
#include "config/endpoint.h"

struct conn;
struct dial;

/* Begins, and owns c->dial until it ends: with conn_dialed(), perhaps before this returns, or with conn_close() and
 * the reason of the last failure. */
void dial_start(struct conn *c, const struct endpoint *upstreams, unsigned count, uint64_t first) WORKER_ONLY;

/* The upstream's descriptor, which is being connected, is ready (POLLER_ bits). */
void dial_ready(struct dial *d, unsigned events) WORKER_ONLY;

/* Goes on with a handshake that had to wait for its turn. */
void dial_go_on(struct dial *d) WORKER_ONLY;

/* Gives up. Returns NULL; accepts NULL. */
struct dial *dial_destroy(struct dial *d) WORKER_ONLY;

#endif

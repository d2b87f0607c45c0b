/* SPDX-License-Identifier: MIT */
/* A connection, as a service sees it. The core owns its descriptors, timers, counting and logging.
 *
 * Thread: all of it on the worker that the connection is seated on. */
#ifndef WORKER_CONN_H
#define WORKER_CONN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/role.h"
#include "config/endpoint.h"
#include "worker/close_reason.h"

struct conn;

/* The service's memory of this connection: state_bytes, zeroed at the start. */
void *conn_state(struct conn *c) WORKER_ONLY;

/* The values of the service's option group, as its `check` left them. Borrowed; immutable. */
const void *conn_values(const struct conn *c) WORKER_ONLY;

/* The connection's number on its listener, from 0: what takes turns between upstreams. */
uint64_t conn_serial(const struct conn *c) WORKER_ONLY;

/* Memory that all connections of the worker share, STREAM_HELD_MAX_BYTES large: whatever is in it is gone when the
 * callback returns. */
uint8_t *conn_scratch(struct conn *c) WORKER_ONLY;

/* Reads up to `n` bytes from the client. Returns how many; 0 at its end (it sends nothing more, but may read on);
 * -EAGAIN, also while the bandwidth is used up: `readable` is called again in either case; another -errno when the client is gone: give it to conn_fail. */
ssize_t conn_read(struct conn *c, void *to, size_t n) MUST_CHECK WORKER_ONLY;

/* Throws away what the client sends; closes with client_closed at its end. A `readable` for services that do not
 * listen. */
void conn_discard(struct conn *c) WORKER_ONLY;

/* How many bytes conn_send takes now; conn_pending: how many it holds. If there is no room although nothing is held, the
 * bandwidth is used up: `writable` is called when there is some. */
size_t conn_room(struct conn *c) WORKER_ONLY;
size_t conn_pending(const struct conn *c) WORKER_ONLY;

/* Sends `n` bytes, at most conn_room(), to the client; what it does not take at once is held. Returns 0 or -errno:
 * give it to conn_fail. */
int conn_send(struct conn *c, const void *from, size_t n) MUST_CHECK WORKER_ONLY;

/* Calls `readable`, and `writable` if nothing is held, again in the next turn of the loop. For a service that stops
 * in the middle to let others have their turn. */
void conn_again(struct conn *c) WORKER_ONLY;

/* Connects to one of `count` upstreams, beginning with number `first` (modulo count): each in turn, every address of
 * a name, until timeouts.connect is over. Then `connected` is called, or the connection is closed with the reason of
 * the last failure. `upstreams` is borrowed from the service's values. */
void conn_dial(struct conn *c, const struct endpoint *upstreams, unsigned count, uint64_t first) WORKER_ONLY;

/* From here on the core copies between client and upstream (after `connected`), and closes. */
void conn_relay(struct conn *c) WORKER_ONLY;

/* From here on the core sends the client what it sends, and closes. */
void conn_relay_back(struct conn *c) WORKER_ONLY;

/* Notes `n` offences of the client's source, which count towards a ban: it broke the service's protocol, gave a wrong
 * password, or the like. The connection goes on. */
void conn_offence(struct conn *c, unsigned n) WORKER_ONLY;

/* Sends what is held, then the end, throws away what the client still sends, for up to timeouts.linger, and closes
 * with `reason`. */
void conn_finish(struct conn *c, enum close_reason reason) WORKER_ONLY;

/* Closes at once. */
void conn_close(struct conn *c, enum close_reason reason) WORKER_ONLY;

/* Closes at once because the client's stream failed with this -errno. */
void conn_fail(struct conn *c, int error) WORKER_ONLY;

#endif

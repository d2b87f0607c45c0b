/* SPDX-License-Identifier: MIT */
/* What main holds for TLS: of each listener the set in effect and the secrets of its tickets. It takes up changed
 * files, makes new ticket keys, and says in time what expires. */
#ifndef DAEMON_CERTIFICATES_H
#define DAEMON_CERTIFICATES_H

#include "base/attr.h"
#include "base/poller.h"
#include "base/role.h"
#include "base/timer.h"
#include "config/config.h"
#include "front/listener.h"
#include "tls/set.h"

struct certificates;

/* NULL: no memory. */
struct certificates *certificates_create(void) MAIN_ONLY;

/* From here on files are watched by `poller`, and what is due is done by `timers` (both borrowed). Once, before the
 * first certificates_commit. */
void certificates_start(struct certificates *c, struct poller *poller, struct timer_wheel *timers) MAIN_ONLY;

/* Loads a set for every listener of `config` that has TLS on either side. What is in effect stays. Returns 0, or
 * -EINVAL with what is wrong in `errors`, all listeners' together. */
int certificates_prepare(struct certificates *c, const struct config *config,
			 struct config_errors *errors) MUST_CHECK MAIN_ONLY;

/* What was prepared, if anything, is not wanted. */
void certificates_discard(struct certificates *c) MAIN_ONLY;

/* Puts what was prepared into effect: every socket of `set` (committed; borrowed until the next call) has the set of its
 * listener when this returns. Nothing may be accepted between listeners_commit and this. */
void certificates_commit(struct certificates *c, struct listener_set *set, uint64_t now_ms) MAIN_ONLY;

/* After root was given up: says which files can no longer be read. */
void certificates_say_unreadable(struct certificates *c) MAIN_ONLY;

/* Ends it all, before the poller and the timers. Connections keep the sets that they came in under. Returns NULL;
 * accepts NULL. */
struct certificates *certificates_destroy(struct certificates *c) MAIN_ONLY;

/* The TLS towards a listener's upstreams, or NULL when it has none. Borrowed from the snapshot. */
const struct tls_upstream_config *certificates_upstream(const struct listener_config *l);

/* The set of one listener; NULL when it has no TLS. Returns 0, or -errno with what is wrong in `errors`. */
int certificates_load(const struct listener_config *l, const struct tls_tickets *tickets, struct config_errors *errors,
		      struct tls_set **to) MUST_CHECK;

#endif

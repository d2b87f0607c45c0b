/* SPDX-License-Identifier: MIT */
/* All sockets that usher listens on: opened, taken over from systemd, kept over a reload, closed. Thread: main. */
#ifndef FRONT_LISTENER_H
#define FRONT_LISTENER_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/role.h"
#include "config/config.h"
#include "front/inherited.h"
#include "front/listening.h"
#include "report/counters.h"

/* A socket that systemd passed. The array is owned by daemon/ and lives as long as the process. */
struct passed_socket {
	int fd;
	char *name;
};

struct passed_sockets {
	struct passed_socket *at;
	unsigned count;
};

struct listener_entry {
	struct listening *socket;	      /* owned, unless kept; NULL once another set has it */
	bool kept;			      /* the old set still owns it */
	const struct listener_config *config; /* borrowed from the set's snapshot */
	struct account *account;	      /* ref */
};

struct listener_set {
	struct config *config;	   /* ref */
	struct listener_entry *at; /* owned */
	unsigned count;
};

/* Opens all sockets of `config`; those that `old` (may be NULL) has already are kept, and those that were matched in
 * `inherited` (may be NULL) taken up. Every failure is added to
 * `errors`: "listen ADDRESS: what; what to do". A socket of `old` that goes, and is in the way of a new one ("*:80"
 * of "127.0.0.1:80"), makes way for it when all others are open. Returns 0, or -EINVAL with nothing opened and `old`
 * listening as it was: acceptor_set_listeners once more, since a socket that made way has another descriptor. */
int listeners_open(struct listener_set *to, struct config *config, struct listener_set *old,
		   const struct passed_sockets *passed, struct inherited_sockets *inherited,
		   struct config_errors *errors) MUST_CHECK MAIN_ONLY;

/* Makes the kept sockets `set`'s own and gives all their new snapshot. What is left in `old` is no longer configured:
 * close it. */
void listeners_commit(struct listener_set *set, struct listener_set *old) MAIN_ONLY;

/* Connections that come in at the listener of this name from now on use `tls` (NULL: none); each of its sockets takes a
 * reference of its own. Only of a set that was committed. */
void listeners_set_tls(struct listener_set *set, const char *name, struct tls_set *tls) MAIN_ONLY;

/* Closes the sockets, removes their files, empties the set. Of those that a keeper has, the files stay too. */
void listeners_close(struct listener_set *set) MAIN_ONLY;

#endif

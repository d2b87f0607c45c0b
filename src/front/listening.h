/* SPDX-License-Identifier: MIT */
/* One socket that usher listens on. Thread: main. */
#ifndef FRONT_LISTENING_H
#define FRONT_LISTENING_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/netaddr.h"
#include "base/poller.h"
#include "base/role.h"
#include "base/text.h"
#include "config/config.h"
#include "front/unix_path.h"
#include "report/counters.h"
#include "report/log.h"
#include "tls/set.h"

struct acceptor;
struct inherited_socket;
struct listening;

/* Who keeps copies of listening sockets for the next usherd. Thread: main. */
struct listening_keeper {
	/* Forgets its copy, which may last until `settle`. */
	void (*let_go)(struct listening_keeper *k, struct listening *l);

	/* Waits, for a moment at most, until no copy is left of what it was told to forget. */
	void (*settle)(struct listening_keeper *k);
};

struct listening {
	struct watch watch;	   /* the acceptor's */
	struct acceptor *acceptor; /* borrowed; NULL: not accepted from */
	bool lost;		   /* it fails for good: never watched again */
	bool resting;		   /* it failed: not watched for a moment */
	unsigned left_some;	   /* the acceptor's: how many it took, and left others; 0: it left none */
	char *key;		   /* owned: what it is found by at a reload */
	char *address;		   /* owned: where it really listens, as text: with the port that the kernel chose */
	int fd;			   /* owned, unless passed; -1: vacated */
	bool is_tcp;
	bool any_port;	/* "any free port": another one at the next start */
	bool inherited; /* from an earlier usherd */
	bool passed;	/* by systemd, which keeps it: never closed or unlinked */
	char *path;	/* owned: the UNIX socket's file, to be removed; NULL: none */
	struct unix_path_id path_id;
	char interface[IF_NAMESIZE];	 /* bound to this one; empty: none */
	struct listening_keeper *keeper; /* borrowed: has a copy for the next usherd; NULL: nobody has */
	struct netaddr vacated;		 /* where it listened, after listening_vacate */

	const struct listener_config *config; /* borrowed from the set's snapshot; NULL until it is committed */
	struct account *account;	      /* ref; likewise */
	struct tls_set *tls;		      /* ref: what connections come in under; NULL: no TLS */
};

/* Opens a socket at `address` (the endpoint's, or one of its families') and listens.
 * Returns 0 with *to, or -errno with *why: what is wrong and what to do. */
int listening_open(struct listening **to, const char *key, const struct endpoint *e, const struct netaddr *address,
		   const struct listener_config *config, struct text *why) MUST_CHECK MAIN_ONLY;

/* Takes up a socket that systemd passed. Returns as above. */
int listening_take_passed(struct listening **to, const char *key, int fd, const struct listener_config *config,
			  struct text *why) MUST_CHECK MAIN_ONLY;

/* Takes up a socket of an earlier usherd, of which `keeper` has a copy. Returns as above. */
int listening_take_inherited(struct listening **to, const char *key, struct inherited_socket *s,
			     struct listening_keeper *keeper, const struct listener_config *config,
			     struct text *why) MUST_CHECK MAIN_ONLY;

/* It is not for the next usherd: its keeper forgets it, and who connects from here on is refused. Harmless for one that
 * has no keeper. */
void listening_let_go(struct listening *l) MAIN_ONLY;

/* Sets what a reload may change; accepted sockets inherit it. Returns 0, or -errno with *why. */
int listening_apply(const struct listening *l, const struct listener_config *config,
		    struct text *why) MUST_CHECK MAIN_ONLY;

/* Closes a TCP socket for a while, so that another can have its address. */
void listening_vacate(struct listening *l) MAIN_ONLY;

/* Listens again after listening_vacate, with the settings of `config`. Returns 0, or -errno with *why. */
int listening_return(struct listening *l, const struct listener_config *config, struct text *why) MUST_CHECK MAIN_ONLY;

/* The port it listens on, in host order; 0: none. */
uint16_t listening_port(const struct listening *l) MAIN_ONLY;

/* Closes it and removes its file if that is still its own; not the file if a keeper has the socket, which is for the next
 * usherd. Returns NULL; accepts NULL. */
struct listening *listening_destroy(struct listening *l) MAIN_ONLY;

/* Begins a record about a socket: with USHER_LISTENER, USHER_ADDRESS and, if `error` is not 0, ERRNO. */
#define listening_log_begin(r, l, config, level, kind, error)                                                          \
	do {                                                                                                           \
		log_begin(r, level, kind);                                                                             \
		listening_log_fields(r, l, config, error);                                                             \
	} while (0)
void listening_log_fields(struct log_record *r, const struct listening *l, const struct listener_config *config,
			  int error);

#endif

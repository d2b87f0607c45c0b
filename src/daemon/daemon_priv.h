/* SPDX-License-Identifier: MIT */
/* The daemon's inside, shared by the files of this folder. */
#ifndef DAEMON_DAEMON_PRIV_H
#define DAEMON_DAEMON_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/poller.h"
#include "base/role.h"
#include "base/timer.h"
#include "config/config.h"
#include "daemon/bans.h"
#include "daemon/certificates.h"
#include "daemon/daemon.h"
#include "daemon/list_loading.h"
#include "daemon/lists.h"
#include "daemon/reload_request.h"
#include "daemon/store.h"
#include "front/acceptor.h"
#include "front/listener.h"
#include "worker/handoff.h"

/* A reload that waits for the list files that it names anew. */
struct reloading {
	struct list_loading *loading; /* owned; NULL: no reload is under way */
	struct config *config;	      /* ref */
	struct config_errors *errors; /* owned */
	uint64_t began_ms;
	bool read; /* all files are, or will not be in time: it is finished when the turn is over */
	struct watch told;
	struct timer look;
	struct reload_requests requests; /* who is to be told of it */
};

struct daemon {
	const struct daemon_options *options; /* borrowed */
	struct config *config;		      /* ref: the one in effect */
	struct passed_sockets passed;	      /* owned */
	struct store store;
	struct listener_set *listeners;	   /* owned */
	struct pool *pool;		   /* owned */
	struct acceptor *acceptor;	   /* owned */
	struct certificates *certificates; /* owned */
	struct rules *rules;		   /* owned: those of `config` */
	struct lists *lists;		   /* owned: their files */
	struct bans *bans;		   /* owned; NULL: none are kept */

	/* signals: noted when they come, acted upon when the turn is over */
	int signal_fd; /* owned; -1: none */
	struct watch signal_watch;
	bool reload_wanted;
	struct reload_requests reload_requests; /* who is to be told of the next reload */
	struct reloading reloading;
	unsigned stops_wanted;

	/* housekeeping */
	struct timer status_timer;
	uint64_t status_connections; /* as STATUS says it */
	bool ready_unheard;	     /* the manager was too busy for READY */
	char reload_error[256];	     /* of the last reload, for STATUS; empty: it was fine */
	bool giving_back;	     /* memory went back to the system, and there is more to come */
	struct timer watchdog_timer;
	uint64_t watchdog_ms; /* the manager's interval; 0: none */
	bool stuck;	      /* a worker makes no progress, and it was said */
};

/* signals.c: blocks what is handled, for all threads to come, and reads it from a descriptor. Returns 0 or -errno. */
int signals_init(struct daemon *d) MUST_CHECK;
int signals_watch(struct daemon *d) MUST_CHECK MAIN_ONLY;

/* reload.c: to be called after each turn of the loop. Begins a reload if one is wanted and none is under way: loads what the
 * file says now, then opens it and puts it into effect, or logs why not and keeps what there is. List files that it names
 * anew are read beside main first, for many turns if need be. */
void reload_turn(struct daemon *d) MAIN_ONLY;

/* reload.c: gives up the one that is under way: usherd stops. */
void reload_give_up(struct daemon *d) MAIN_ONLY;

/* reload.c: has open connections looked at, where the configuration says enforce. `daemon` is a struct daemon *. */
void reload_enforce(void *daemon) MAIN_ONLY;

/* drain.c: stops accepting, lets connections finish, closes the rest. Returns true when every worker has ended. */
bool drain_run(struct daemon *d) MAIN_ONLY;

/* housekeeping.c: STATUS, the watchdog, memory. */
void housekeeping_start(struct daemon *d) MAIN_ONLY;
void housekeeping_say_status(struct daemon *d) MAIN_ONLY;
void housekeeping_say_ready(struct daemon *d) MAIN_ONLY;
void housekeeping_stop(struct daemon *d) MAIN_ONLY;

#endif

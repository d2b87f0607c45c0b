/* SPDX-License-Identifier: MIT */
/* A connection, as the files of this folder see it. */
#ifndef WORKER_CONN_PRIV_H
#define WORKER_CONN_PRIV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/netaddr.h"
#include "base/poller.h"
#include "base/timer.h"
#include "report/log.h"
#include "service/service.h"
#include "transport/stream.h"
#include "worker/conn.h"
#include "worker/handoff.h"
#include "worker/owing.h"
#include "worker/pace.h"

struct worker;
struct dial;

/* How both sides are watched: once, for everything, by edges. */
#define CONN_WATCHED (POLLER_READ | POLLER_WRITE | POLLER_END | POLLER_URGENT | POLLER_EDGE)

/* After this long the upstream's socket gets what only connections that last need. */
#define CONN_OPTIONS_MS 10000U

enum conn_phase {
	CONN_HANDSHAKE,	 /* TLS with the client is being agreed on */
	CONN_SERVICE,	 /* the service reads and sends */
	CONN_DIAL,	 /* connecting to an upstream */
	CONN_RELAY,	 /* copying between client and upstream */
	CONN_RELAY_BACK, /* copying from the client to itself */
	CONN_FINISH,	 /* sending what is left, waiting for the client's end */
	CONN_CLOSED,	 /* over: freed at the end of this turn */
};

struct conn_side {
	struct watch watch;
	struct stream stream;
};

/* What a connection has only if its bytes are limited, or its client must take them fast enough. */
struct conn_pace {
	struct conn *conn;	   /* borrowed */
	struct timer timer;	   /* bytes may go on; while it runs some wait */
	struct pace_line lines[2]; /* by enum pace_way */
	struct owing owing;
};

/* One connection: about 400 bytes, and nothing else while it is idle. */
struct conn {
	struct list node;      /* in the worker's conns, or dead */
	struct list again;     /* in the worker's again, or shakes */
	struct worker *worker; /* borrowed */
	struct conn_side client;
	struct conn_side upstream;
	struct timer timer; /* the next of the timeouts; in CONN_HANDSHAKE and CONN_FINISH the end of that */

	const struct service *service;		     /* static */
	struct config *config;			     /* ref */
	const struct listener_config *listener;	     /* borrowed from config */
	struct account *account;		     /* ref */
	struct tls_set *tls;			     /* ref; NULL: no TLS on either side */
	struct source_share *sources[SOURCE_SCOPES]; /* counted as open; NULL: none */
	struct conn_pace *pace;			     /* owned; NULL: nothing is limited */
	struct dial *dial;			     /* owned; in CONN_DIAL */
	const struct endpoint *upstream_at;	     /* borrowed from config; NULL: never connected */
	char *upstream_error;			     /* owned: why TLS with the upstream failed; NULL: it did not */
	struct peer_addr upstream_peer;		     /* the address of it that answered */

	struct peer_addr peer;
	uint64_t number;
	uint64_t serial;
	uint64_t opened_ms;
	uint64_t begun_ms;  /* the service, or the upstream behind it, was there */
	uint64_t active_ms; /* something happened last */
	uint64_t finish_ms; /* CONN_FINISH: when timeouts.linger is over */
	unsigned descriptors;

	enum conn_phase phase : 8;
	enum close_reason finish_reason : 8;
	bool cut : 1;		 /* CONN_FINISH: ends with a reset, without an end before it */
	bool upstream_first : 1; /* the upstream ended first */
	bool upstream_deaf : 1;	 /* it takes nothing more, but may still send */
	bool shaking : 1;	 /* the account counts its handshake */
	bool served : 1;	 /* the service has it */
	bool trusted : 1;	 /* exempt from limits */
	bool options_due : 1;	 /* the upstream's socket lacks what finds a dead peer, for CONN_OPTIONS_MS */

	_Alignas(max_align_t) unsigned char state[]; /* the service's */
};

/* Seats a connection: takes all that the seat owns, on failure too. */
void conn_open(struct worker *w, struct seat *seat) WORKER_ONLY;

/* Goes on with the connection whose `again` this is. */
void conn_go_on(struct list *again) WORKER_ONLY;

/* What to do next, as its phase says. */
void conn_go(struct conn *c) WORKER_ONLY;

/* The client's TLS, or none, is agreed on: the service takes over. */
void conn_begin(struct conn *c) WORKER_ONLY;

/* conn_timer.c: starts the timer for the next of the timeouts, from CONN_SERVICE on. */
void conn_timer_start(struct conn *c) WORKER_ONLY;

/* conn_timer.c: it is due. */
void conn_timer_due(struct timer *t, uint64_t now_ms) WORKER_ONLY;

/* conn_pace.c: sets up what limits the connection's bytes. Returns 0 or -ENOMEM. */
int conn_pace_start(struct conn *c) MUST_CHECK WORKER_ONLY;

/* conn_pace.c: how many bytes may go now; SIZE_MAX without a limit. 0: conn_go is called when some may. */
size_t conn_pace_ask(struct conn *c, enum pace_way way) WORKER_ONLY;

/* conn_pace.c: so many bytes went. */
void conn_pace_use(struct conn *c, enum pace_way way, size_t n) WORKER_ONLY;

/* conn_pace.c: nothing is there that could go now: others may have its turn. */
void conn_pace_rest(struct conn *c, enum pace_way way) WORKER_ONLY;

/* conn_pace.c: at the end. */
void conn_pace_stop(struct conn *c) WORKER_ONLY;

/* Whether bytes wait for their time. */
static inline bool conn_pace_waits(const struct conn *c)
{
	return c->pace && timer_runs(&c->pace->timer);
}

/* The client's failure, when its descriptor has hung up: where its bytes wait no read tells of it. Over a UNIX socket a
 * hang-up is no error: the client has closed, and what it sent still goes on. Returns false when the connection was
 * closed. */
bool conn_look_hung_up(struct conn *c) WORKER_ONLY;

/* conn_tls.c: begins TLS with the client, and goes on with it. */
void conn_handshake_start(struct conn *c) WORKER_ONLY;
void conn_handshake_go(struct conn *c) WORKER_ONLY;

/* conn_tls.c: the handshake is no longer under way, however it went. */
void conn_handshake_over(struct conn *c) WORKER_ONLY;

/* conn_tls.c: whether this connection may do a step of a handshake in this turn, which costs up to a millisecond. If
 * not, it is gone on with in the next. */
bool conn_may_shake(struct conn *c) MUST_CHECK WORKER_ONLY;

/* conn_tls.c: goes on with those that wait for their step, as far as this turn allows. */
void conn_shake_all(struct worker *w) WORKER_ONLY;

/* What the client's hang-up says, before all that it sent is read: 0 (nothing, or nothing yet), or -errno. */
int conn_take_error(struct conn *c) MUST_CHECK WORKER_ONLY;

/* CONN_RELAY, CONN_RELAY_BACK. */
void conn_relay_go(struct conn *c) WORKER_ONLY;

/* CONN_FINISH: goes on with what is left; and what its timer is for: the end of timeouts.linger, or a look before
 * it. */
void conn_finish_go(struct conn *c) WORKER_ONLY;
void conn_finish_due(struct conn *c, uint64_t now_ms) WORKER_ONLY;

/* Sends the client what is held for it, then resets it: what it got was cut off. For up to timeouts.linger. */
void conn_cut(struct conn *c, enum close_reason reason) WORKER_ONLY;

/* conn_dial's outcome: the upstream's stream is open, or why not. */
void conn_dialed(struct conn *c) WORKER_ONLY;

void conn_close_all(struct worker *w, enum close_reason reason) WORKER_ONLY;
void conn_free_dead(struct worker *w) WORKER_ONLY;

/* Adds whose connection a record is about: USHER_CONNECTION, USHER_LISTENER, USHER_PEER, USHER_SOURCE. */
void conn_report_add(struct log_record *r, const struct conn *c) WORKER_ONLY;

/* At level debug: who came in. */
void conn_report_open(const struct conn *c) WORKER_ONLY;

/* Writes the close record of a connection whose streams are still open. */
void conn_report_close(struct conn *c, enum close_reason reason, uint64_t bytes_out) WORKER_ONLY;

/* Writes that of one that never became a connection. */
void conn_report_refused(const struct seat *seat, enum close_reason reason) WORKER_ONLY;

/* What the -errno of an established stream means for the connection. */
enum close_reason conn_reason_of(bool upstream, int error);

#endif

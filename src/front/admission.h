/* SPDX-License-Identifier: MIT */
/* Whether a connection may come in: a pure function of the configuration, the lists, the tables and the clock. It changes
 * nothing; what a connection that comes in takes, admission_take takes.
 *
 * What is asked, in this order; the first that refuses decides:
 *   deny and allow of `door`, then of the listener; then, unless one of them trusts the client, of `door` and of the
 *   listener each: bans; limits.connections, handshakes (where the listener has tls), per_source, rate_per_source, rate; and at
 *   last overload
 *
 * Thread: main. */
#ifndef FRONT_ADMISSION_H
#define FRONT_ADMISSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/role.h"
#include "config/config.h"
#include "front/rules.h"
#include "front/sources.h"
#include "front/visitor.h"
#include "report/counters.h"
#include "worker/close_reason.h"

/* The scopes that are asked: `door`, and the listener. */
enum admission_scope {
	ADMISSION_DOOR,
	ADMISSION_LISTENER,
};
#define ADMISSION_SCOPES 2

/* What stands behind a decision. All borrowed. */
struct admission {
	const struct config *config;
	const struct rules *rules;
	struct sources *sources;
	uint64_t open;		      /* connections of all listeners */
	uint64_t handshakes;	      /* of TLS under way, of all listeners */
	struct rate_bucket *arrivals; /* of all listeners; not changed by admission_decide */
	uint64_t room;		      /* connections that there is still room for; less than `tight`: usherd sheds */
	uint64_t tight;		      /* 0: it does not shed */
};

/* One that asks. */
struct admission_request {
	const struct listener_config *listener; /* borrowed from the configuration */
	unsigned number;			/* of it in the configuration: its rules' scope, less one */
	const struct account *account;		/* borrowed: the listener's */
	const struct visitor *visitor;		/* borrowed */
	uint64_t now_ms;
	uint64_t now_ns; /* the same moment */
};

/* The answer. */
struct verdict {
	enum close_reason reason;   /* CLOSE_NONE: come in */
	enum admission_scope scope; /* whose rule it was */
	enum at_limit action;	    /* what a limit asks for; AT_LIMIT_RESET for all else */
	uint64_t wait_ns;	    /* of a rate: in how long it would be let in; 0: not known */
	bool trusted;
	bool has_source;
	bool has_user; /* source[ADMISSION_DOOR] is a UNIX client's user: for overload alone */
	struct source_key source[ADMISSION_SCOPES]; /* if has_source */
};

/* A step of a decision, for an explanation: `rule` is the option ("limits.per_source", "deny"), `words` what came of it,
 * and `found`, if a list had the visitor, where. */
typedef void admission_step(void *arg, enum admission_scope scope, const char *rule, bool refuses, const char *words,
			    const struct rule_found *found);

/* Decides. `step` may be NULL. */
void admission_decide(const struct admission *a, const struct admission_request *r, struct verdict *to,
		      admission_step *step, void *arg) MAIN_ONLY;

/* Takes what a connection that was let in takes: a place with its sources, whose shares go to `shares` (NULL: none), and of
 * the rates. `account` is the request's, to be written. */
void admission_take(const struct admission *a, const struct admission_request *r, const struct verdict *v,
		    struct account *account, struct source_share *shares[SOURCE_SCOPES]) MAIN_ONLY;

#endif

/* SPDX-License-Identifier: MIT */
#include "front/admission.h"

#include <stdio.h>
#include <string.h>

/* A decision on its way. */
struct decision {
	const struct admission *a;
	const struct admission_request *r;
	struct verdict *to;
	admission_step *step;
	void *arg;
	struct source *sources[ADMISSION_SCOPES]; /* NULL: nothing is remembered */
};

/* What one check asks of one scope. Returns true when it refuses. */
typedef bool check(struct decision *d, enum admission_scope scope);

static const struct access_config *access_of(const struct decision *d, enum admission_scope scope)
{
	return scope == ADMISSION_DOOR ? &d->a->config->door.access : &d->r->listener->access;
}

static const struct limits_config *limits_of(const struct decision *d, enum admission_scope scope)
{
	return scope == ADMISSION_DOOR ? &d->a->config->door.limits : &d->r->listener->limits;
}

static uint64_t open_at(const struct decision *d, enum admission_scope scope)
{
	return scope == ADMISSION_DOOR ? d->a->open : atomic_load_explicit(&d->r->account->open, memory_order_relaxed);
}

static uint64_t handshakes_at(const struct decision *d, enum admission_scope scope)
{
	return scope == ADMISSION_DOOR ? d->a->handshakes
				       : atomic_load_explicit(&d->r->account->handshakes, memory_order_relaxed);
}

static const struct rate_bucket *arrivals_at(const struct decision *d, enum admission_scope scope)
{
	return scope == ADMISSION_DOOR ? d->a->arrivals : &d->r->account->arrivals;
}

static unsigned rules_scope(const struct decision *d, enum admission_scope scope)
{
	return scope == ADMISSION_DOOR ? 0 : d->r->number + 1;
}

MAIN_ONLY static void say(struct decision *d, enum admission_scope scope, const char *rule, bool refuses,
			  const char *words, const struct rule_found *found)
{
	if (d->step)
		d->step(d->arg, scope, rule, refuses, words, found);
}

/* Whether the visitor is on a list; says so. */
MAIN_ONLY static bool is_on(struct decision *d, enum admission_scope scope, enum rule_list list, const char *name)
{
	bool on = rules_match(d->a->rules, rules_scope(d, scope), list, d->r->visitor);
	if (!d->step)
		return on;
	struct rule_found found;
	bool known = on && rules_find(d->a->rules, rules_scope(d, scope), list, d->r->visitor, &found);
	bool refuses = list == RULE_DENY ? on : list == RULE_ALLOW && !on;
	say(d, scope, name, refuses, on ? "has the client" : "does not have the client", known ? &found : NULL);
	return on;
}

MAIN_ONLY static bool refuse(struct decision *d, enum admission_scope scope, enum close_reason reason)
{
	d->to->reason = reason;
	d->to->scope = scope;
	return true;
}

MAIN_ONLY static bool refuse_at_limit(struct decision *d, enum admission_scope scope, enum close_reason reason)
{
	d->to->action = (enum at_limit)limits_of(d, scope)->at_limit;
	return refuse(d, scope, reason);
}

MAIN_ONLY static bool is_denied(struct decision *d, enum admission_scope scope)
{
	if (!rules_has(d->a->rules, rules_scope(d, scope), RULE_DENY))
		return false;
	if (is_on(d, scope, RULE_DENY, "deny"))
		return refuse(d, scope, CLOSE_denied);
	if (!rules_may_match(d->a->rules, rules_scope(d, scope), RULE_DENY, d->r->visitor))
		return false;
	say(d, scope, "deny", true, "may have the client: the kernel does not tell who it is", NULL);
	return refuse(d, scope, CLOSE_denied);
}

MAIN_ONLY static bool is_not_allowed(struct decision *d, enum admission_scope scope)
{
	if (!rules_has(d->a->rules, rules_scope(d, scope), RULE_ALLOW)) {
		if (access_of(d, scope)->allow.count == 0)
			say(d, scope, "allow", false, "is empty: it lets everybody in", NULL);
		return false;
	}
	return !is_on(d, scope, RULE_ALLOW, "allow") && refuse(d, scope, CLOSE_not_allowed);
}

MAIN_ONLY static bool is_banned(struct decision *d, enum admission_scope scope)
{
	uint64_t left_ms = d->sources[scope] ? source_banned_ms(d->sources[scope], d->r->now_ms) : 0;
	if (left_ms == 0)
		return false;
	char words[64];
	snprintf(words, sizeof(words), "for another %llu s", (unsigned long long)(left_ms + 999) / 1000);
	say(d, scope, "ban", true, words, NULL);
	return refuse(d, scope, CLOSE_banned);
}

static unsigned open_of(const struct decision *d, enum admission_scope scope)
{
	return d->sources[scope] ? source_open(d->sources[scope]) : 0;
}

/* The less room is left, the fewer a source may have to get one more: those who hold the most go without first. */
MAIN_ONLY static bool is_shed(struct decision *d, enum admission_scope scope)
{
	const struct admission *a = d->a;
	if (scope != ADMISSION_DOOR || a->room >= a->tight)
		return false;
	uint64_t share = a->room / 8;
	bool refuses = open_of(d, scope) > share || a->room == 0;
	say(d, scope, "overload", refuses,
	    !refuses	   ? "there is room left"
	    : a->room == 0 ? "there is no room left"
			   : "its source holds more than is left for one",
	    NULL);
	return refuses && refuse(d, scope, CLOSE_overload);
}

/* A limit that is a number: says what there is of it. */
MAIN_ONLY static bool is_over(struct decision *d, enum admission_scope scope, const char *name, int most,
			      uint64_t there, const char *are)
{
	if (most == 0)
		return false;
	char words[96];
	bool refuses = there >= (unsigned)most;
	snprintf(words, sizeof(words), "%llu of %d are %s", (unsigned long long)there, most, are);
	say(d, scope, name, refuses, words, NULL);
	return refuses;
}

MAIN_ONLY static bool is_over_connections(struct decision *d, enum admission_scope scope)
{
	return is_over(d, scope, "limits.connections", limits_of(d, scope)->connections, open_at(d, scope), "open") &&
	       refuse_at_limit(d, scope, CLOSE_limit_connections);
}

/* Who comes with TLS begins with a handshake, which holds memory before anybody knows who it is. */
MAIN_ONLY static bool is_over_handshakes(struct decision *d, enum admission_scope scope)
{
	return d->r->listener->tls.enabled &&
	       is_over(d, scope, "limits.handshakes", limits_of(d, scope)->handshakes, handshakes_at(d, scope),
		       "under way") &&
	       refuse_at_limit(d, scope, CLOSE_limit_handshakes);
}

MAIN_ONLY static bool is_over_per_source(struct decision *d, enum admission_scope scope)
{
	return d->to->has_source &&
	       is_over(d, scope, "limits.per_source", limits_of(d, scope)->per_source, open_of(d, scope), "open") &&
	       refuse_at_limit(d, scope, CLOSE_limit_per_source);
}

/* When the bucket has a token, from now; 0: it has one. Nothing is taken of it. */
static uint64_t time_to_token(const struct rate_bucket *bucket, const struct rate *rate, uint64_t now_ns)
{
	struct rate_bucket copy;
	atomic_init(&copy.full_at, atomic_load_explicit(&bucket->full_at, memory_order_relaxed));
	return rate_take(&copy, rate, 1, now_ns);
}

/* A limit that is a rate. */
MAIN_ONLY static bool is_too_fast(struct decision *d, enum admission_scope scope, const char *name,
				  const struct rate *rate, const struct rate_bucket *bucket)
{
	if (rate->amount == 0)
		return false;
	uint64_t wait_ns = bucket ? time_to_token(bucket, rate, d->r->now_ns) : 0;
	bool refuses = wait_ns > 0;
	if (refuses)
		d->to->wait_ns = wait_ns;
	say(d, scope, name, refuses, refuses ? "the bucket is empty" : "the bucket has enough", NULL);
	return refuses;
}

MAIN_ONLY static bool is_rate_per_source_over(struct decision *d, enum admission_scope scope)
{
	struct source *e = d->sources[scope];
	return d->to->has_source &&
	       is_too_fast(d, scope, "limits.rate_per_source", &limits_of(d, scope)->rate_per_source,
			   e ? source_arrivals(e) : NULL) &&
	       refuse_at_limit(d, scope, CLOSE_limit_rate_per_source);
}

MAIN_ONLY static bool is_rate_over(struct decision *d, enum admission_scope scope)
{
	return is_too_fast(d, scope, "limits.rate", &limits_of(d, scope)->rate, arrivals_at(d, scope)) &&
	       refuse_at_limit(d, scope, CLOSE_limit_rate);
}

/* Each check asks `door` first, then the listener. */
MAIN_ONLY static bool refuses(struct decision *d, check *const *checks, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		for (unsigned scope = 0; scope < ADMISSION_SCOPES; scope++) {
			if (checks[i](d, (enum admission_scope)scope))
				return true;
		}
	}
	return false;
}

MAIN_ONLY static bool is_trusted(struct decision *d)
{
	for (unsigned scope = 0; scope < ADMISSION_SCOPES; scope++) {
		if (rules_has(d->a->rules, rules_scope(d, (enum admission_scope)scope), RULE_TRUSTED) &&
		    is_on(d, (enum admission_scope)scope, RULE_TRUSTED, "trusted"))
			return true;
	}
	return false;
}

MAIN_ONLY static void find_sources(struct decision *d)
{
	const struct sources_config *config = &d->a->config->door.sources;
	const struct source_prefixes prefixes = {.ipv4 = (unsigned)config->ipv4_prefix,
						 .ipv6 = (unsigned)config->ipv6_prefix};
	const struct sockaddr *address = d->r->visitor->address;
	d->to->has_source = source_key_of(&d->to->source[ADMISSION_DOOR], address, &prefixes, 0) &&
			    source_key_of(&d->to->source[ADMISSION_LISTENER], address, &prefixes, d->r->account->scope);
	for (unsigned i = 0; d->to->has_source && i < ADMISSION_SCOPES; i++)
		d->sources[i] = sources_look(d->a->sources, &d->to->source[i]);
	if (d->to->has_source)
		return;
	/* it has no limits of a source and no bans, but one user must not take all the room there is */
	uid_t uid = d->r->visitor->has_credentials ? d->r->visitor->uid : SOURCE_NO_USER;
	d->to->has_user = true;
	d->to->source[ADMISSION_DOOR] = source_key_of_user(uid, 0);
	d->sources[ADMISSION_DOOR] = sources_look(d->a->sources, &d->to->source[ADMISSION_DOOR]);
}

void admission_decide(const struct admission *a, const struct admission_request *r, struct verdict *to,
		      admission_step *step, void *arg)
{
	static check *const limits[] = {
		is_banned,
		is_over_connections,
		is_over_handshakes,
		is_over_per_source,
		is_rate_per_source_over,
		is_rate_over,
		is_shed,
	};
	struct decision d = {.a = a, .r = r, .to = to, .step = step, .arg = arg};
	memset(to, 0, sizeof(*to));
	to->reason = CLOSE_NONE;
	find_sources(&d);
	for (unsigned scope = 0; scope < ADMISSION_SCOPES; scope++) {
		if (is_denied(&d, (enum admission_scope)scope) || is_not_allowed(&d, (enum admission_scope)scope))
			return;
	}
	to->trusted = is_trusted(&d);
	if (!to->trusted)
		(void)refuses(&d, limits, ARRAY_LEN(limits));
}

void admission_take(const struct admission *a, const struct admission_request *r, const struct verdict *v,
		    struct account *account, struct source_share *shares[SOURCE_SCOPES])
{
	const struct limits_config *limits[ADMISSION_SCOPES] = {&a->config->door.limits, &r->listener->limits};
	struct rate_bucket *arrivals[ADMISSION_SCOPES] = {a->arrivals, &account->arrivals};
	for (unsigned i = 0; i < ADMISSION_SCOPES; i++) {
		shares[i] = NULL;
		if (!v->trusted)
			(void)rate_take(arrivals[i], &limits[i]->rate, 1, r->now_ns);
		if (!v->has_source && !(v->has_user && i == ADMISSION_DOOR))
			continue;
		struct source *e = sources_get(a->sources, &v->source[i], r->now_ms);
		source_opened(a->sources, e);
		if (v->has_source && !v->trusted)
			(void)rate_take(source_arrivals(e), &limits[i]->rate_per_source, 1, r->now_ns);
		shares[i] = source_share(e);
	}
}

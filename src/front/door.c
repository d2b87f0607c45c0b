/* SPDX-License-Identifier: MIT */
#include "front/door.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "front/ban_reports.h"
#include "front/overload.h"
#include "front/refusals.h"
#include "report/log.h"

/* Sources whose offences are looked at in one turn. */
#define OFFENDERS_A_TURN 64

/* An overload is over when nobody was shed for this long. */
#define RELIEF_MS 5000

/* Below this many, shares are too small to tell sources apart; but where there is not much in all, an eighth is enough. */
#define TIGHT_LEAST 16
#define TIGHT_PART 8

/* A part of the descriptors is kept for trusted clients; of few descriptors as many as this, or an eighth. */
#define RESERVE_PART 32
#define RESERVE_LEAST 4
#define RESERVE_LEAST_PART 8

/* Of memory and CPUs nobody knows how many more connections there is room for: at the limit it counts as so few, and the
 * further it is exceeded as the fewer, to none: of memory, at this part more than the limit, of a queue's age at twice as much. */
#define PRESSED_ROOM 16
#define PRESSED_MEMORY_PART 8

struct door {
	struct pool *pool;	    /* borrowed */
	struct poller *poller;	    /* borrowed */
	struct timer_wheel *timers; /* borrowed */
	struct sources *sources;    /* owned */
	struct refusals *refusals;  /* owned */
	const struct listener_set *set;
	const struct rules *rules;
	struct rate_bucket arrivals;
	uint64_t room;
	uint64_t tight;
	struct overload overload;
	uint64_t pressed; /* the room that memory and CPUs left at the last decision; UINT64_MAX: they are not short */

	struct watch offences; /* the workers': they have noted some */
	struct timer refusals_timer;
	struct timer bans_timer;
	uint64_t expiring_ms; /* of the call that has them expire */
	struct ban_reports ban_reports;
	struct timer ban_reports_timer;
	void (*bans_changed)(void *arg);
	void *bans_arg; /* borrowed */
	bool sheds;	/* it was said */
	struct timer relief;
};

static const struct ban_config no_bans;

/* The name of a scope's listener and its rule; "" for all listeners. NULL: it is listened at no more. */
MAIN_ONLY static const char *scope_of(const struct door *d, uint16_t scope, const struct ban_config **ban)
{
	*ban = &no_bans;
	if (!d->set)
		return NULL;
	if (scope == 0) {
		*ban = &d->set->config->door.ban;
		return "";
	}
	for (unsigned i = 0; i < d->set->count; i++) {
		if (d->set->at[i].account->scope == scope) {
			*ban = &d->set->at[i].config->ban;
			return d->set->at[i].config->name;
		}
	}
	return NULL;
}

/* What is told of bans, and who else wants to know. */
MAIN_ONLY static void note_ban(struct door *d, uint64_t report_ms, uint64_t now_ms)
{
	if (d->bans_changed)
		d->bans_changed(d->bans_arg);
	if (!timer_runs(&d->ban_reports_timer))
		timer_start(d->timers, &d->ban_reports_timer, now_ms + report_ms);
}

MAIN_ONLY static void ban_reports_due_now(struct timer *t, uint64_t now_ms)
{
	struct door *d = CONTAINER_OF(t, struct door, ban_reports_timer);
	uint64_t again_ms = ban_reports_due(&d->ban_reports, now_ms);
	if (again_ms != UINT64_MAX)
		timer_start(d->timers, t, now_ms + again_ms);
}

MAIN_ONLY static void ban_ended(void *arg, const struct source_key *key)
{
	struct door *d = arg;
	const struct ban_config *ban;
	const char *listener = scope_of(d, key->scope, &ban);
	if (listener)
		note_ban(d, ban_reports_ended(&d->ban_reports, listener, key, d->expiring_ms), d->expiring_ms);
}

/* Looks again when the next ban ends. */
MAIN_ONLY static void bans_due(struct timer *t, uint64_t now_ms)
{
	struct door *d = CONTAINER_OF(t, struct door, bans_timer);
	d->expiring_ms = now_ms;
	uint64_t again_ms = sources_expire(d->sources, now_ms, ban_ended, d);
	if (again_ms != UINT64_MAX)
		timer_start(d->timers, t, now_ms + again_ms);
}

/* Counts offences of an entry, and bans it when they are enough. */
MAIN_ONLY static void offend(struct door *d, struct source *e, unsigned n, uint64_t now_ms)
{
	const struct ban_config *ban;
	const struct source_key *key = source_key(e);
	const char *listener = scope_of(d, key->scope, &ban);
	if (!listener || !ban->enabled || source_key_is_user(key))
		return;
	const struct ban_rule rule = {.after = (unsigned)ban->after,
				      .within_ms = ban->within_ms,
				      .for_ms = ban->for_ms,
				      .factor = (unsigned)ban->factor,
				      .max_ms = ban->max_ms};
	uint64_t for_ms = source_offend(d->sources, e, &rule, n, now_ms);
	if (for_ms == 0)
		return;
	note_ban(d, ban_reports_begun(&d->ban_reports, listener, key, for_ms, now_ms), now_ms);
	bans_due(&d->bans_timer, now_ms);
}

MAIN_ONLY static void offended(void *arg, struct source_share *share, unsigned n)
{
	offend(arg, source_of(share), n, clock_now_ms());
}

MAIN_ONLY static void look_at_offences(struct door *d)
{
	struct doorbell *bell = pool_offence_bell(d->pool);
	doorbell_await(bell);
	/* what came before it was awaited did not ring; the rest is for the next turn, however fast workers note more */
	if (pool_offences(d->pool, OFFENDERS_A_TURN, offended, d))
		doorbell_ring(bell);
}

MAIN_ONLY static void offences_ready(struct watch *w, unsigned events UNUSED)
{
	struct door *d = CONTAINER_OF(w, struct door, offences);
	doorbell_answer(pool_offence_bell(d->pool));
	look_at_offences(d);
}

MAIN_ONLY static void refusals_due_now(struct timer *t, uint64_t now_ms)
{
	struct door *d = CONTAINER_OF(t, struct door, refusals_timer);
	uint64_t again_ms = refusals_due(d->refusals, now_ms, refusals_report, NULL);
	if (again_ms != UINT64_MAX)
		timer_start(d->timers, t, now_ms + (again_ms > 0 ? again_ms : 1));
}

MAIN_ONLY static void relieved(struct timer *t, uint64_t now_ms UNUSED)
{
	struct door *d = CONTAINER_OF(t, struct door, relief);
	d->sheds = false;
	log_write(LOG_LEVEL_NOTICE, LOG_OVERLOAD, "there is room again: no connection is shed any more");
}

/* What is short, and what helps. */
MAIN_ONLY static void add_shortage(const struct door *d, struct text *t, uint64_t now_ms)
{
	const struct overload_config *config = &d->set->config->door.overload;
	if (overload_is_over(&d->overload)) {
		text_add(t, "of memory, of which usherd holds ");
		text_add_size(t, d->overload.held_bytes);
		text_add(t, "): those whose source holds the most are refused first; raise door.overload.memory, or "
			    "set limits.connections");
	} else if (d->pressed != UINT64_MAX) {
		text_add(t, "on the CPUs, where a connection has waited ");
		text_add_duration_ms(t, pool_queue_age_ms(d->pool, now_ms));
		text_printf(t,
			    " for its worker thread, and door.overload.queue_age is %llums): those whose source "
			    "holds the most are refused first; raise workers, or set limits.rate",
			    (unsigned long long)config->queue_age_ms);
	} else {
		text_printf(t,
			    "for %llu more connections): those whose source holds the most are refused first; "
			    "raise LimitNOFILE= or door.limits, or set limits.per_source",
			    (unsigned long long)d->room);
	}
}

MAIN_ONLY static void say_overload(struct door *d, uint64_t now_ms)
{
	char bytes[320];
	struct text shortage;
	text_init(&shortage, bytes, sizeof(bytes));
	if (!d->sheds) {
		add_shortage(d, &shortage, now_ms);
		log_write(LOG_LEVEL_WARNING, LOG_OVERLOAD, "room is short (%s", shortage.at);
	}
	d->sheds = true;
	timer_start(d->timers, &d->relief, now_ms + RELIEF_MS);
}

int door_create(struct door **to, struct pool *pool, struct poller *poller, struct timer_wheel *timers,
		const struct config *config)
{
	struct door *d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->pool = pool;
	d->poller = poller;
	d->timers = timers;
	d->pressed = UINT64_MAX;
	d->offences.ready = offences_ready;
	timer_init(&d->refusals_timer, refusals_due_now);
	timer_init(&d->bans_timer, bans_due);
	timer_init(&d->ban_reports_timer, ban_reports_due_now);
	timer_init(&d->relief, relieved);
	overload_init(&d->overload, timers);
	d->sources = sources_create((unsigned)config->door.sources.entries);
	d->refusals = refusals_create(REFUSALS_MOST);
	int failed = d->sources && d->refusals ? 0 : -ENOMEM;
	if (!failed)
		failed = poller_add(poller, pool_offence_bell(pool)->fd, &d->offences, POLLER_READ);
	if (failed) {
		door_destroy(d);
		return failed;
	}
	doorbell_await(pool_offence_bell(pool));
	*to = d;
	return 0;
}

struct door *door_destroy(struct door *d)
{
	if (!d)
		return NULL;
	if (d->refusals)
		refusals_flush(d->refusals, clock_now_ms(), refusals_report, NULL);
	ban_reports_flush(&d->ban_reports, clock_now_ms());
	refusals_destroy(d->refusals);
	sources_destroy(d->sources);
	overload_fini(&d->overload);
	free(d);
	return NULL;
}

void door_set(struct door *d, const struct listener_set *set, const struct rules *rules, uint64_t now_ms)
{
	d->set = set;
	d->rules = rules;
	overload_set_limit(&d->overload, set ? set->config->door.overload.memory_bytes : 0, now_ms);
	if (set)
		bans_due(&d->bans_timer, now_ms); /* some may have been restored */
}

void door_on_bans(struct door *d, void (*changed)(void *arg), void *arg)
{
	d->bans_changed = changed;
	d->bans_arg = arg;
}

unsigned door_reserve(const struct door *d, unsigned descriptors)
{
	/* who does not shed has nobody refused: all wait for a descriptor alike */
	if (!d->set || d->set->config->door.overload.percent == 0)
		return 0;
	unsigned most = descriptors / RESERVE_PART;
	unsigned least = descriptors / RESERVE_LEAST_PART;
	if (least > RESERVE_LEAST)
		least = RESERVE_LEAST;
	return most > DOOR_RESERVE_MOST ? DOOR_RESERVE_MOST : most > least ? most : least;
}

void door_set_room(struct door *d, uint64_t room, uint64_t of)
{
	unsigned percent = (unsigned)d->set->config->door.overload.percent;
	uint64_t tight = (of * (100 - percent) + 99) / 100;
	uint64_t least = of / TIGHT_PART < TIGHT_LEAST ? of / TIGHT_PART : TIGHT_LEAST;
	if (least == 0)
		least = 1; /* with no room at all */
	d->room = room;
	d->tight = percent == 0 ? 0 : tight < least ? least : tight;
}

MAIN_ONLY static uint64_t pressed_room(const struct door *d, uint64_t now_ms)
{
	uint64_t bytes = d->overload.limit_bytes;
	uint64_t age_ms = d->set->config->door.overload.queue_age_ms;
	uint64_t room = overload_room(d->overload.held_bytes, bytes, bytes / PRESSED_MEMORY_PART, PRESSED_ROOM);
	if (age_ms == 0)
		return room;
	uint64_t by_age = overload_room(pool_queue_age_ms(d->pool, now_ms), age_ms, age_ms, PRESSED_ROOM);
	return by_age < room ? by_age : room;
}

MAIN_ONLY static struct admission tables(struct door *d)
{
	return (struct admission){
		.config = d->set->config,
		.rules = d->rules,
		.sources = d->sources,
		.open = pool_open(d->pool),
		.handshakes = pool_handshakes(d->pool),
		.arrivals = &d->arrivals,
		.room = d->pressed < d->room ? d->pressed : d->room,
		.tight = d->pressed != UINT64_MAX ? UINT64_MAX : d->tight,
	};
}

MAIN_ONLY static struct admission_request request(const struct door *d, const struct listening *l,
						  const struct visitor *v, uint64_t now_us)
{
	return (struct admission_request){
		.listener = l->config,
		.number = (unsigned)(l->config - d->set->config->listeners),
		.account = l->account,
		.visitor = v,
		.now_ms = now_us / 1000,
		.now_ns = now_us * 1000,
	};
}

void door_decide(struct door *d, const struct listening *l, const struct visitor *v, uint64_t now_us,
		 struct verdict *to)
{
	struct admission_request r = request(d, l, v, now_us);
	d->pressed = pressed_room(d, r.now_ms);
	struct admission a = tables(d);
	admission_decide(&a, &r, to, NULL, NULL);
}

void door_let_in(struct door *d, const struct listening *l, const struct visitor *v, const struct verdict *verdict,
		 uint64_t now_us, struct source_share *shares[SOURCE_SCOPES])
{
	struct admission a = tables(d);
	struct admission_request r = request(d, l, v, now_us);
	admission_take(&a, &r, verdict, l->account, shares);
}

struct who door_who(const struct listening *l, const struct visitor *v, const struct verdict *verdict)
{
	if (verdict->has_source)
		return who_source(&verdict->source[ADMISSION_LISTENER]);
	return v->has_credentials ? who_user(l->account->scope, v->uid) : who_unknown(l->account->scope);
}

MAIN_ONLY static void tell(struct door *d, const struct listening *l, const struct who *who, enum close_reason reason,
			   uint64_t now_ms)
{
	refusals_note(d->refusals, l->config->name, who, reason, now_ms, refusals_report, NULL);
	if (!timer_runs(&d->refusals_timer))
		timer_start(d->timers, &d->refusals_timer, now_ms + REFUSALS_PERIOD_MS);
}

void door_turn_away(struct door *d, const struct listening *l, const struct who *who, enum close_reason reason,
		    uint64_t now_ms)
{
	tell(d, l, who, reason, now_ms);
}

/* What others have filled is not: else who fills it would have all others banned, and for longer than it takes. */
static bool is_its_fault(enum close_reason reason)
{
	return reason != CLOSE_overload && reason != CLOSE_banned && reason != CLOSE_limit_connections &&
	       reason != CLOSE_limit_handshakes && reason != CLOSE_limit_rate;
}

void door_refuse(struct door *d, const struct listening *l, const struct visitor *v, const struct verdict *verdict,
		 uint64_t now_ms)
{
	struct who who = door_who(l, v, verdict);
	tell(d, l, &who, verdict->reason, now_ms);
	if (verdict->reason == CLOSE_overload)
		say_overload(d, now_ms);
	if (!verdict->has_source || !is_its_fault(verdict->reason))
		return;
	/* who is not banned by anybody need not be remembered for it */
	if (d->set->config->door.ban.enabled)
		offend(d, sources_get(d->sources, &verdict->source[ADMISSION_DOOR], now_ms), 1, now_ms);
	if (l->config->ban.enabled)
		offend(d, sources_get(d->sources, &verdict->source[ADMISSION_LISTENER], now_ms), 1, now_ms);
}

struct sources *door_sources(struct door *d)
{
	return d->sources;
}

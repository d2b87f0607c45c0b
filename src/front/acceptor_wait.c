/* SPDX-License-Identifier: MIT */
/* Those who wait for room under a limit that says at_limit = "wait": who has to, when they are asked about again, and how
 * they come in or leave.
 *
 * A pass over them begins when a worker rings, which it does when a connection has ended or some TLS handshakes have, and
 * when a rate has a token for one that was asked about in the last pass, or a moment after TLS handshakes were in the way.
 * In between nothing is done.
 * Those of a listener come in under what the configuration says of it by then.
 *
 * What a client does while it waits is not looked at: one that has gone comes in like the others, and ends at once. */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/must.h"
#include "front/acceptor_priv.h"

/* What one turn does at most. */
#define ASKS_A_TURN WAITING_ASK_AT_ONCE
#define EXPIRIES_A_TURN 64

/* How long those of a listener that goes, or all at a stop, may take to come in, while main does nothing else. */
#define CLEAR_MS 5000

/* Those who wait have at most this part of the descriptors (a connection has one or two), so that connections have the
 * most of them. */
#define DESCRIPTORS_SHARE 4

/* Those who end a TLS handshake ring for several at once: in between it is looked at this often whether another may begin. */
#define HANDSHAKES_AGAIN_MS 100

#define NS_PER_MS 1000000
#define US_PER_MS UINT64_C(1000)

struct waiter {
	struct peer_addr peer;
	bool is_tcp;
	unsigned descriptors;		   /* counted for it */
	unsigned generation;		   /* of the configuration that these are of: */
	const struct listening *listening; /* borrowed; a socket of its listener */
	uint64_t not_before_ms;		   /* a rate of its source's own has nothing for it until then; 0: not known */
};

/* What the asking works on. */
struct asking {
	struct acceptor *a;
	uint64_t now_us;
	unsigned asked;
	int worker;		/* for the one that comes */
	struct arrival arrival; /* the one that was asked about last */
};

MAIN_ONLY static void due(struct timer *t UNUSED, uint64_t now_ms UNUSED)
{
	/* it ended the poller's sleep: acceptor_wait_turn does the rest */
}

int acceptor_wait_init(struct acceptor *a)
{
	struct waiting_limits limits = {
		.in_all = WAITING_IN_ALL,
		.per_listener = WAITING_PER_LISTENER,
		.per_source = WAITING_PER_SOURCE,
		.ms = WAITING_MS,
	};
	if (limits.in_all > a->descriptors / DESCRIPTORS_SHARE)
		limits.in_all = a->descriptors / DESCRIPTORS_SHARE;
	timer_init(&a->wait.due, due);
	a->wait.pass = 1;
	a->wait.again_ms = UINT64_MAX;
	a->wait.room = waiting_create(&limits);
	return a->wait.room ? 0 : -ENOMEM;
}

/* What was counted for one that has come out. */
MAIN_ONLY static void release(struct acceptor *a, struct waiting_client *c)
{
	a->wait.descriptors -= c->waiter->descriptors;
	free(c->waiter);
	c->waiter = NULL;
}

void acceptor_wait_fini(struct acceptor *a)
{
	struct waiting_client c;
	while (a->wait.room && waiting_take(a->wait.room, 0, &c)) {
		release(a, &c);
		fd_close(&c.fd);
	}
	a->wait.room = waiting_destroy(a->wait.room);
}

/* A socket of the listener that has this number. Those who wait at one that goes were cleared before. */
MAIN_ONLY static const struct listening *find_listening(const struct acceptor *a, uint16_t scope)
{
	for (unsigned i = 0; i < a->set->count; i++)
		if (a->set->at[i].account->scope == scope)
			return a->set->at[i].socket;
	must(!"somebody waits at a listener that is gone");
	return NULL;
}

MAIN_ONLY static void turn_away(struct acceptor *a, struct waiting_client *c, enum close_reason reason, uint64_t now_ms)
{
	bool is_tcp = c->waiter->is_tcp;
	release(a, c);
	acceptor_turn_away_take_fd(a, &c->fd, is_tcp, find_listening(a, who_listener(&c->who)), &c->who, reason,
				   now_ms);
}

/* ---- asking ---- */

/* There is to be another pass then, if not before. */
MAIN_ONLY static void ask_again(struct acceptor *a, uint64_t at_ms)
{
	if (at_ms < a->wait.again_ms)
		a->wait.again_ms = at_ms;
}

/* Remembers when a rate lets somebody in, or a handshake may have ended. Returns it, or 0. */
MAIN_ONLY static uint64_t note_time(struct acceptor *a, const struct verdict *v, uint64_t now_ms)
{
	if (v->reason == CLOSE_limit_handshakes)
		ask_again(a, now_ms + HANDSHAKES_AGAIN_MS);
	if (v->wait_ns == 0)
		return 0;
	uint64_t at_ms = now_ms + v->wait_ns / NS_PER_MS + 1;
	ask_again(a, at_ms);
	return at_ms;
}

MAIN_ONLY static enum waiting_answer listener_is_full(const struct acceptor *a, const struct listening *l)
{
	l->account->full_in = a->wait.pass;
	return WAITING_LISTENER_FULL;
}

MAIN_ONLY static enum waiting_answer all_is_full(struct acceptor *a)
{
	a->wait.full_in = a->wait.pass;
	return WAITING_FULL;
}

/* Whom a limit that was reached is about. */
MAIN_ONLY static enum waiting_answer answer_of(struct acceptor *a, const struct arrival *v)
{
	if (v->verdict.reason == CLOSE_limit_per_source || v->verdict.reason == CLOSE_limit_rate_per_source)
		return WAITING_SOURCE_FULL;
	/* there may be listeners without TLS: for these there is room */
	bool is_all = v->verdict.scope == ADMISSION_DOOR && v->verdict.reason != CLOSE_limit_handshakes;
	return is_all ? all_is_full(a) : listener_is_full(a, v->listening);
}

MAIN_ONLY static void begin_asking(struct asking *q, struct acceptor *a, uint64_t now_us)
{
	q->a = a;
	q->now_us = now_us;
	q->asked = 0;
	q->worker = 0;
	q->arrival.verdict.reason = CLOSE_NONE;
}

/* A waiting_ask. */
MAIN_ONLY static enum waiting_answer ask(void *arg, const struct waiting_client *c)
{
	struct asking *q = arg;
	struct acceptor *a = q->a;
	struct waiter *w = c->waiter;
	q->asked++;
	if (w->generation != a->wait.generation) {
		w->generation = a->wait.generation;
		w->listening = find_listening(a, who_listener(&c->who));
		w->not_before_ms = 0;
	}
	if (w->not_before_ms > q->now_us / 1000) {
		ask_again(a, w->not_before_ms);
		return WAITING_SOURCE_FULL;
	}
	unsigned takes = pool_descriptors_of(w->listening->config);
	q->worker = pool_pick(a->pool);
	if (q->worker < 0)
		return all_is_full(a);
	if (takes > w->descriptors && !acceptor_within_budget(a, takes - w->descriptors))
		return all_is_full(a);

	q->arrival.listening = w->listening;
	q->arrival.peer = &w->peer;
	q->arrival.is_tcp = w->is_tcp;
	q->arrival.now_us = q->now_us;
	acceptor_ask(a, &q->arrival, c->fd, w->descriptors);
	if (q->arrival.verdict.reason == CLOSE_NONE || q->arrival.verdict.action != AT_LIMIT_WAIT)
		return WAITING_COMES;
	uint64_t at_ms = note_time(a, &q->arrival.verdict, q->now_us / 1000);
	enum waiting_answer answer = answer_of(a, &q->arrival);
	if (answer == WAITING_SOURCE_FULL)
		w->not_before_ms = at_ms;
	return answer;
}

/* One that was asked about last, and comes: let in, or refused after all. */
MAIN_ONLY static void come(const struct asking *q, struct waiting_client *c)
{
	struct acceptor *a = q->a;
	a->wait.descriptors -= c->waiter->descriptors;
	if (q->arrival.verdict.reason == CLOSE_NONE)
		acceptor_seat_take_fd(a, q->worker, &c->fd, &q->arrival);
	else
		acceptor_refuse_take_fd(a, &c->fd, &q->arrival);
	free(c->waiter);
}

/* ---- coming ---- */

bool acceptor_must_wait(const struct acceptor *a, const struct arrival *v)
{
	const struct acceptor_wait *wait = &a->wait;
	const struct account *account = v->listening->account;
	if (v->verdict.reason != CLOSE_NONE)
		return v->verdict.action == AT_LIMIT_WAIT;
	if (v->verdict.trusted || waiting_count(wait->room) == 0)
		return false;
	/* nobody goes past those who came before: of its source, or if it was not their source that kept them out */
	if (wait->full_in == wait->pass)
		return true;
	if (waiting_count_at(wait->room, account->scope) == 0)
		return false;
	struct who who = door_who(v->listening, &v->visitor, &v->verdict);
	return wait->under_way || account->full_in == wait->pass || waiting_count_of(wait->room, &who) > 0;
}

MAIN_ONLY static struct waiter *waiter_create(const struct acceptor *a, const struct arrival *v)
{
	struct waiter *w = malloc(sizeof(*w));
	if (!w)
		return NULL;
	*w = (struct waiter){
		.peer = *v->peer,
		.is_tcp = v->is_tcp,
		.descriptors = pool_descriptors_of(v->listening->config),
		.generation = a->wait.generation,
		.listening = v->listening,
	};
	return w;
}

/* What is to be known of one that waits from here on. */
MAIN_ONLY static void note_waiting(struct acceptor *a, const struct arrival *v, const struct waiter *w, uint64_t now_ms)
{
	a->wait.descriptors += w->descriptors;
	if (v->verdict.reason == CLOSE_NONE) {
		a->wait.wanted = true;
		return;
	}
	(void)note_time(a, &v->verdict, now_ms);
	(void)answer_of(a, v);
	/* room that came since it was asked about rings only if it was awaited by then */
	if (!atomic_load_explicit(&pool_doorbell(a->pool)->awaited, memory_order_relaxed))
		a->wait.wanted = true;
}

void acceptor_wait_take_fd(struct acceptor *a, int *fd, struct arrival *v)
{
	uint64_t now_ms = v->now_us / 1000;
	struct waiter *w = waiter_create(a, v);
	struct waiting_client c = {
		.who = door_who(v->listening, &v->visitor, &v->verdict),
		.fd = *fd,
		.waiter = w,
	};
	struct waiting_client leaves;
	int failed = w ? -ENOBUFS : -ENOMEM;
	/* who is trusted does not wait, and finds what is kept for it */
	if (w && acceptor_has_room_for_strangers(a, w->descriptors))
		failed = waiting_add(a->wait.room, &c, now_ms, NULL, &leaves);
	if (failed) {
		free(w);
		acceptor_turn_away_take_fd(a, fd, v->is_tcp, v->listening, &c.who,
					   failed == -ENOMEM ? CLOSE_no_memory : CLOSE_wait_full, now_ms);
		return;
	}
	*fd = -1;
	note_waiting(a, v, w, now_ms);
	if (leaves.fd >= 0)
		turn_away(a, &leaves, CLOSE_wait_full, now_ms);
}

/* ---- the loop ---- */

void acceptor_wait_look(struct acceptor *a)
{
	if (waiting_count(a->wait.room) > 0)
		a->wait.wanted = true;
}

void acceptor_wait_renew(struct acceptor *a)
{
	a->wait.generation++;
	acceptor_wait_look(a);
}

bool acceptor_wait_busy(const struct acceptor *a)
{
	return a->wait.wanted || a->wait.under_way;
}

MAIN_ONLY static void begin_pass(struct acceptor *a)
{
	/* before anything is looked at: what becomes free from here on rings */
	doorbell_await(pool_doorbell(a->pool));
	a->wait.wanted = false;
	a->wait.under_way = true;
	a->wait.pass++;
	a->wait.again_ms = UINT64_MAX;
	waiting_begin(a->wait.room);
}

MAIN_ONLY static void go_on(struct acceptor *a, uint64_t now_us)
{
	struct asking q;
	begin_asking(&q, a, now_us);
	while (q.asked < ASKS_A_TURN) {
		struct waiting_client c;
		enum waiting_result result = waiting_next(a->wait.room, ask, &q, &c);
		if (result == WAITING_GIVEN)
			come(&q, &c);
		if (result == WAITING_NOBODY)
			a->wait.under_way = false;
		if (result != WAITING_GIVEN)
			return;
	}
}

MAIN_ONLY static void expire(struct acceptor *a, uint64_t now_ms)
{
	struct waiting_client c;
	for (unsigned i = 0; i < EXPIRIES_A_TURN && waiting_expire(a->wait.room, now_ms, &c); i++)
		turn_away(a, &c, CLOSE_wait_timeout, now_ms);
}

/* Sets the timer for what comes first, if it is not set so. */
MAIN_ONLY static void set_due(struct acceptor *a)
{
	uint64_t at_ms = waiting_expires_at_ms(a->wait.room);
	if (at_ms == UINT64_MAX)
		a->wait.again_ms = UINT64_MAX;
	if (a->wait.again_ms < at_ms)
		at_ms = a->wait.again_ms;
	if (at_ms == UINT64_MAX)
		timer_stop(&a->wait.due);
	else if (!timer_runs(&a->wait.due) || a->wait.due.deadline_ms != at_ms)
		timer_start(&a->timers, &a->wait.due, at_ms);
}

void acceptor_wait_turn(struct acceptor *a, uint64_t now_us)
{
	uint64_t now_ms = now_us / 1000;
	if (!a->set)
		return;
	if (waiting_count(a->wait.room) > 0) {
		expire(a, now_ms);
		if (a->wait.wanted || a->wait.again_ms <= now_ms)
			begin_pass(a);
	}
	a->wait.wanted = false;
	if (a->wait.under_way)
		go_on(a, now_us);
	set_due(a);
}

void acceptor_wait_clear(struct acceptor *a, uint16_t scope, bool *patient)
{
	struct waiting_client c;
	uint64_t now_us = clock_now_us();
	uint64_t last_us = now_us;
	const uint64_t until_us = now_us + CLEAR_MS * US_PER_MS;
	while (waiting_take(a->wait.room, scope, &c)) {
		struct asking q;
		begin_asking(&q, a, now_us);
		enum waiting_answer answer = ask(&q, &c);
		while (answer != WAITING_COMES && *patient &&
		       (q.worker < 0 || q.arrival.verdict.reason == CLOSE_limit_handshakes)) {
			acceptor_await_room(a, q.worker < 0, TAKE_OUT_WAIT_MS);
			now_us = clock_now_us();
			*patient = now_us - last_us < TAKE_OUT_PATIENCE_MS * US_PER_MS && now_us < until_us;
			begin_asking(&q, a, now_us);
			answer = ask(&q, &c);
		}
		if (answer == WAITING_COMES) {
			come(&q, &c);
			last_us = now_us;
		} else {
			turn_away(a, &c, CLOSE_drain, now_us / 1000);
		}
	}
	if (waiting_count(a->wait.room) == 0) {
		a->wait.wanted = false;
		a->wait.under_way = false;
	}
	set_due(a);
}

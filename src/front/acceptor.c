/* SPDX-License-Identifier: MIT */
#include "front/acceptor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/socket.h"
#include "front/acceptor_priv.h"
#include "report/log.h"

/* Connections taken from one socket in one turn, so that a flooded one leaves the others theirs. */
#define ACCEPTS_A_TURN 64U

/* A wait that was no shorter has slept. */
#define AT_ONCE_US 20U

/* While a socket is taken out: how many connections are taken where the kernel does not tell how many wait. */
#define TAKE_OUT_MOST 65536U

/* How many are taken in this turn, if they are there. Where they come one by one it is one, which saves the accept4 that
 * would find no other. Those who are still there wake epoll at once, and then it is twice as many. */
MAIN_ONLY static unsigned most_at_once(const struct acceptor *a, const struct listening *l)
{
	if (acceptor_is_pacing(a))
		return ACCEPTS_A_TURN;
	if (l->left_some == 0 || clock_now_us() - a->turn_ended_us > AT_ONCE_US)
		return 1;
	return l->left_some < ACCEPTS_A_TURN / 2 ? 2 * l->left_some : ACCEPTS_A_TURN;
}

MAIN_ONLY static void socket_ready(struct watch *w, unsigned events UNUSED)
{
	struct listening *l = CONTAINER_OF(w, struct listening, watch);
	struct acceptor *a = l->acceptor;
	/* an event that came before accepting was paused or the socket taken out */
	if (!a || a->paused)
		return;
	enum accept_result result = ACCEPT_ONE;
	unsigned accepts = 0;
	unsigned most = most_at_once(a, l);
	for (; accepts < most && result == ACCEPT_ONE; accepts++)
		result = acceptor_accept(a, l);
	a->turn_accepts += accepts;
	l->left_some = result == ACCEPT_ONE ? most : 0;
	switch (result) {
	case ACCEPT_ONE:
	case ACCEPT_NONE:
		break;
	case ACCEPT_BROKEN:
		acceptor_rest(a, l);
		break;
	case ACCEPT_LOST:
		l->lost = true;
		acceptor_unwatch(a, l);
		break;
	default:
		acceptor_pause(a, result);
		break;
	}
}

int acceptor_watch(struct acceptor *a, struct listening *l)
{
	l->watch.ready = socket_ready;
	l->acceptor = a;
	if (l->fd < 0 || l->lost || l->resting)
		return 0;
	int failed = poller_add(&a->poller, l->fd, &l->watch, POLLER_READ);
	return failed == -EEXIST ? 0 : failed;
}

void acceptor_unwatch(struct acceptor *a, struct listening *l)
{
	poller_remove(&a->poller, l->fd);
}

int acceptor_create(struct acceptor **to, struct pool *pool, unsigned descriptors, const struct config *config)
{
	struct acceptor *a = aligned_alloc(_Alignof(struct acceptor), sizeof(*a));
	if (!a)
		return -ENOMEM;
	memset(a, 0, sizeof(*a));
	a->pool = pool;
	a->descriptors = descriptors;
	a->next_connection = 1;
	timer_wheel_init(&a->timers, clock_now_ms());
	int failed = poller_init(&a->poller);
	if (!failed)
		failed = acceptor_pause_init(a);
	if (!failed)
		failed = acceptor_wait_init(a);
	if (!failed)
		failed = door_create(&a->door, pool, &a->poller, &a->timers, config);
	if (failed) {
		acceptor_destroy(a);
		return failed;
	}
	*to = a;
	return 0;
}

struct acceptor *acceptor_destroy(struct acceptor *a)
{
	if (!a)
		return NULL;
	acceptor_wait_fini(a);
	a->door = door_destroy(a->door);
	poller_fini(&a->poller);
	free(a);
	return NULL;
}

void acceptor_take_out(struct listening *l, bool *patient)
{
	struct acceptor *a = l->acceptor;
	if (!a)
		return;
	unsigned waiting = socket_backlog(l->fd, l->is_tcp);
	if (waiting > TAKE_OUT_MOST)
		waiting = TAKE_OUT_MOST;
	uint64_t last_ms = clock_now_ms();
	enum accept_result result = ACCEPT_ONE;
	for (unsigned taken = 0; taken < waiting && l->fd >= 0 && !l->lost;) {
		result = acceptor_accept(a, l);
		if (result == ACCEPT_ONE) {
			taken++;
			last_ms = clock_now_ms();
		} else if (result == ACCEPT_QUEUES && *patient) {
			acceptor_await_room(a, true, TAKE_OUT_WAIT_MS);
			*patient = clock_now_ms() - last_ms < TAKE_OUT_PATIENCE_MS;
		} else {
			break;
		}
	}
	acceptor_unwatch(a, l);
	l->acceptor = NULL;
}

MAIN_ONLY static bool has(const struct listener_set *set, const struct listening *l)
{
	for (unsigned i = 0; i < set->count; i++)
		if (set->at[i].socket == l)
			return true;
	return false;
}

/* Whether it still has the listener of this name, which may listen elsewhere. */
MAIN_ONLY static bool has_account(const struct listener_set *set, const struct account *account)
{
	for (unsigned i = 0; i < set->count; i++)
		if (set->at[i].account == account)
			return true;
	return false;
}

void acceptor_leave(struct acceptor *a, const struct listener_set *next)
{
	bool patient = true;
	for (unsigned i = 0; a->set && i < a->set->count; i++)
		if (!has(next, a->set->at[i].socket))
			acceptor_take_out(a->set->at[i].socket, &patient);
	for (unsigned i = 0; a->set && i < a->set->count; i++)
		if (!has_account(next, a->set->at[i].account))
			acceptor_wait_clear(a, a->set->at[i].account->scope, &patient);
}

int acceptor_set_listeners(struct acceptor *a, struct listener_set *set, const struct rules *rules)
{
	int result = 0;
	a->set = set;
	a->rules = rules;
	door_set(a->door, set, rules, clock_now_ms());
	acceptor_wait_renew(a);
	for (unsigned i = 0; i < set->count && !a->paused; i++) {
		struct listening *l = set->at[i].socket;
		int failed = acceptor_watch(a, l);
		if (!failed)
			continue;
		struct log_record r;
		listening_log_begin(&r, l, set->at[i].config, LOG_LEVEL_ERROR, LOG_LISTENER_LOST, failed);
		log_submit(&r, "watch %s (%s): %s: nothing is accepted from it", l->address, set->at[i].config->name,
			   strerror(-failed));
		result = failed;
	}
	return result;
}

void acceptor_stop(struct acceptor *a)
{
	bool patient = true;
	for (unsigned i = 0; a->set && i < a->set->count; i++) {
		struct listening *l = a->set->at[i].socket;
		/* who waits at a socket that others have too waits for the next start */
		if (l->passed || l->keeper)
			acceptor_unwatch(a, l);
		else
			acceptor_take_out(l, &patient);
	}
	if (a->set)
		acceptor_wait_clear(a, 0, &patient);
	a->set = NULL;
	door_set(a->door, NULL, NULL, clock_now_ms());
	timer_stop(&a->resume);
	timer_stop(&a->relief);
	timer_stop(&a->rested);
}

void acceptor_turn(struct acceptor *a, int wait_ms)
{
	int timers_ms = timer_wheel_sleep_ms(&a->timers, clock_now_ms());
	if (wait_ms < 0 || (timers_ms >= 0 && timers_ms < wait_ms))
		wait_ms = timers_ms;
	if (acceptor_wait_busy(a))
		wait_ms = 0;
	a->turn_accepts = 0;
	poller_wait(&a->poller, wait_ms);
	poller_dispatch(&a->poller);
	uint64_t now_us = clock_now_us();
	timer_wheel_run(&a->timers, now_us / 1000);
	acceptor_wait_turn(a, now_us);
	a->turn_ended_us = now_us;
	if (a->turn_accepts > 0)
		acceptor_pace(a, a->turn_accepts);
}

struct door *acceptor_door(struct acceptor *a)
{
	return a->door;
}

struct poller *acceptor_poller(struct acceptor *a)
{
	return &a->poller;
}

struct timer_wheel *acceptor_timers(struct acceptor *a)
{
	return &a->timers;
}

const struct counters *acceptor_refused(const struct acceptor *a)
{
	return &a->refused;
}

/* SPDX-License-Identifier: MIT */
#include "front/acceptor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/socket.h"
#include "front/acceptor_priv.h"
#include "front/admission.h"
#include "report/close_record.h"
#include "report/log.h"

/* Connections taken from one socket in one turn, so that a flooded one leaves the others theirs. */
#define ACCEPTS_A_TURN 64

/* The most that is still taken from the backlog of a socket that is about to be closed. */
#define LAST_ACCEPTS 65536

static struct log_limit accept_errors = LOG_LIMIT_INIT("errors of accept");

enum accept_result {
	ACCEPT_ONE,  /* a connection was taken, or was gone before it could be */
	ACCEPT_NONE, /* the backlog is empty */
	ACCEPT_WAIT, /* there is no room: accepting is paused */
};

void acceptor_refuse_take_fd(struct acceptor *a, int *fd, const struct listening *l, const struct peer_addr *peer,
			     enum close_reason reason)
{
	char bytes[NETADDR_TEXT_BYTES];
	struct text who;
	text_init(&who, bytes, sizeof(bytes));
	peer_addr_add_text(&who, peer);
	struct close_facts facts = {
		.connection = a->next_connection++,
		.listener = l->config->name,
		.service = pool_service_of(l->config),
		.peer = who.at,
		.local = l->address,
		.reason = close_reason_facts[reason].name,
		.reason_text = close_reason_facts[reason].text,
		.is_error = close_reason_facts[reason].is_error,
	};
	close_record_write(&facts);
	counter_add(&a->refused.reasons[reason], 1);
	counter_add(&a->refused.closed, 1);
	if (l->is_tcp)
		socket_reset_at_close(*fd);
	fd_close(fd);
}

/* What a failed accept4 means. */
MAIN_ONLY static enum accept_result accept_failed(struct acceptor *a, struct listening *l, int error)
{
	char shortage[96];
	switch (error) {
	case EAGAIN:
		return ACCEPT_NONE;
	case EMFILE:
		snprintf(shortage, sizeof(shortage),
			 "descriptors (all of %u are open; raise LimitNOFILE= or limits.connections)", fd_limit());
		acceptor_pause(a, shortage);
		return ACCEPT_WAIT;
	case ENFILE:
		acceptor_pause(a, "descriptors (the whole machine's: fs.file-max)");
		return ACCEPT_WAIT;
	case ENOBUFS:
	case ENOMEM:
		acceptor_pause(a, "memory for sockets");
		return ACCEPT_WAIT;
	case EBADF:
	case EINVAL:
	case ENOTSOCK:
	case EOPNOTSUPP:
		/* it would be ready, and fail, for ever: somebody who has the socket too has shut it down */
		acceptor_unwatch(a, l);
		log_write(LOG_LEVEL_ERROR, LOG_UNLISTENING,
			  "accept %s (%s): %s: no longer accepting from it; restart usherd, or its socket unit",
			  l->address, l->config->name, strerror(error));
		return ACCEPT_NONE;
	default:
		/* the client was gone, the network had an error of its own, or a firewall refused: the next one may
		 * be fine */
		if (error != ECONNABORTED && error != EINTR && log_allowed(&accept_errors, clock_now_ms()))
			log_write(LOG_LEVEL_WARNING, LOG_GENERAL, "accept %s (%s): %s", l->address, l->config->name,
				  strerror(error));
		return ACCEPT_ONE;
	}
}

MAIN_ONLY static void seat(struct acceptor *a, int worker, int *fd, struct listening *l, const struct peer_addr *peer)
{
	struct seat s = {
		.fd = fd_take(fd),
		.is_tcp = l->is_tcp,
		.peer = *peer,
		.connection = a->next_connection++,
		.serial = l->account->admitted++,
		.config = config_ref(a->set->config),
		.listener = l->config,
		.account = account_ref(l->account),
		.descriptors = pool_descriptors_of(l->config),
	};
	atomic_fetch_add_explicit(&l->account->open, 1, memory_order_relaxed);
	pool_take_descriptors(a->pool, s.descriptors);
	pool_seat(a->pool, (unsigned)worker, &s);
}

MAIN_ONLY static enum accept_result accept_one(struct acceptor *a, struct listening *l)
{
	int worker = pool_pick(a->pool);
	if (worker < 0) {
		acceptor_pause(a, NULL);
		return ACCEPT_WAIT;
	}
	if (pool_descriptors(a->pool) + pool_descriptors_of(l->config) + a->set->count > a->descriptors)
		return accept_failed(a, l, EMFILE);

	struct netaddr from;
	from.length = sizeof(from.u);
	int fd = accept4(l->fd, &from.u.any, &from.length, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return accept_failed(a, l, errno);
	struct netaddr address;
	netaddr_from_kernel(&address, &from.u.any, from.length);
	netaddr_canonicalise(&address);
	struct peer_addr peer;
	peer_addr_from(&peer, &address);

	struct admission_request request = {
		.listener = l->config,
		.listener_open = atomic_load_explicit(&l->account->open, memory_order_relaxed),
	};
	enum close_reason refused = admission_decide(&request);
	if (refused == CLOSE_NONE)
		seat(a, worker, &fd, l, &peer);
	else
		acceptor_refuse_take_fd(a, &fd, l, &peer, refused);
	return ACCEPT_ONE;
}

MAIN_ONLY static void socket_ready(struct watch *w, unsigned events UNUSED)
{
	struct listening *l = CONTAINER_OF(w, struct listening, watch);
	struct acceptor *a = l->acceptor;
	/* an event that came before accepting was paused or the socket taken out */
	if (!a || a->paused)
		return;
	unsigned accepts = 0;
	while (accepts < ACCEPTS_A_TURN && accept_one(a, l) == ACCEPT_ONE)
		accepts++;
	a->turn_accepts += accepts;
}

int acceptor_watch(struct acceptor *a, struct listening *l)
{
	if (l->fd < 0)
		return 0; /* lost in a failed reload, which was logged */
	l->watch.ready = socket_ready;
	l->acceptor = a;
	int failed = poller_add(&a->poller, l->fd, &l->watch, POLLER_READ);
	return failed == -EEXIST ? 0 : failed;
}

void acceptor_unwatch(struct acceptor *a, struct listening *l)
{
	poller_remove(&a->poller, l->fd);
}

int acceptor_create(struct acceptor **to, struct pool *pool, unsigned descriptors)
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
	poller_fini(&a->poller);
	free(a);
	return NULL;
}

MAIN_ONLY static bool has(const struct listener_set *set, const struct listening *l)
{
	for (unsigned i = 0; i < set->count; i++)
		if (set->at[i].socket == l)
			return true;
	return false;
}

/* Accepts from it no longer. Those who wait in its backlog still come in. */
MAIN_ONLY static void take_out(struct acceptor *a, struct listening *l)
{
	for (unsigned n = 0; n < LAST_ACCEPTS && l->fd >= 0 && !a->paused && accept_one(a, l) == ACCEPT_ONE; n++)
		;
	acceptor_unwatch(a, l);
	l->acceptor = NULL;
}

int acceptor_set_listeners(struct acceptor *a, struct listener_set *set)
{
	for (unsigned i = 0; a->set && i < a->set->count; i++) {
		struct listening *l = a->set->at[i].socket;
		if (!l || has(set, l))
			continue;
		take_out(a, l);
	}
	a->set = set;
	if (a->paused)
		return 0;
	for (unsigned i = 0; i < set->count; i++) {
		int failed = acceptor_watch(a, set->at[i].socket);
		if (failed)
			return failed;
	}
	return 0;
}

void acceptor_stop(struct acceptor *a)
{
	for (unsigned i = 0; a->set && i < a->set->count; i++)
		take_out(a, a->set->at[i].socket);
	a->set = NULL;
	timer_stop(&a->resume);
	timer_stop(&a->relief);
}

void acceptor_turn(struct acceptor *a, int wait_ms)
{
	int timers_ms = timer_wheel_sleep_ms(&a->timers, clock_now_ms());
	if (wait_ms < 0 || (timers_ms >= 0 && timers_ms < wait_ms))
		wait_ms = timers_ms;
	a->turn_accepts = 0;
	poller_wait(&a->poller, wait_ms);
	poller_dispatch(&a->poller);
	timer_wheel_run(&a->timers, clock_now_ms());
	if (a->turn_accepts > 0)
		acceptor_pace(a, a->turn_accepts);
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

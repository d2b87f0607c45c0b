/* SPDX-License-Identifier: MIT */
/* One connection at the door: taken, asked about, seated or refused. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/socket.h"
#include "front/acceptor_priv.h"
#include "report/log.h"

static struct log_limit accept_errors = LOG_LIMIT_INIT("errors of accept");

/* Counts and closes one that does not come in. */
MAIN_ONLY static void drop_take_fd(struct acceptor *a, int *fd, bool with_reset, enum close_reason reason)
{
	counter_add(&a->refused.reasons[reason], 1);
	counter_add(&a->refused.closed, 1);
	if (with_reset)
		socket_reset_at_close(*fd);
	fd_close(fd);
}

void acceptor_refuse_take_fd(struct acceptor *a, int *fd, const struct arrival *v)
{
	door_refuse(a->door, v->listening, &v->visitor, &v->verdict, v->now_us / 1000);
	drop_take_fd(a, fd, v->is_tcp && v->verdict.action != AT_LIMIT_CLOSE, v->verdict.reason);
}

void acceptor_turn_away_take_fd(struct acceptor *a, int *fd, bool is_tcp, const struct listening *l,
				const struct who *who, enum close_reason reason, uint64_t now_ms)
{
	door_turn_away(a->door, l, who, reason, now_ms);
	drop_take_fd(a, fd, is_tcp, reason);
}

/* What a failed accept4 means. */
MAIN_ONLY static enum accept_result accept_failed(const struct listening *l, int error)
{
	struct log_record r;
	switch (error) {
	case EAGAIN:
		return ACCEPT_NONE;
	case ECONNABORTED:
	case EINTR:
		return ACCEPT_ONE;
	case EMFILE:
		return ACCEPT_DESCRIPTORS;
	case ENFILE:
		return ACCEPT_MACHINE;
	case ENOBUFS:
	case ENOMEM:
		return ACCEPT_MEMORY;
	case EBADF:
	case EINVAL:
	case ENOTSOCK:
	case EOPNOTSUPP:
		/* it would be ready, and fail, for ever: somebody who has the socket too has shut it down */
		listening_log_begin(&r, l, l->config, LOG_LEVEL_ERROR, LOG_LISTENER_LOST, error);
		log_submit(&r, "accept %s (%s): %s: no longer accepting from it; restart usherd, or its socket unit",
			   l->address, l->config->name, strerror(error));
		return ACCEPT_LOST;
	default:
		/* the connection had an error of the network's, and is gone; or a firewall or security module refuses,
		 * and it stays: one cannot know, so none is waited for without a pause */
		if (!log_allowed(&accept_errors, clock_now_ms()))
			return ACCEPT_BROKEN;
		listening_log_begin(&r, l, l->config, LOG_LEVEL_WARNING, LOG_ACCEPT_FAILED, error);
		log_submit(&r, "accept %s (%s): %s", l->address, l->config->name, strerror(error));
		return ACCEPT_BROKEN;
	}
}

void acceptor_seat_take_fd(struct acceptor *a, int worker, int *fd, const struct arrival *v)
{
	const struct listening *l = v->listening;
	struct seat s = {
		.fd = fd_take(fd),
		.is_tcp = v->is_tcp,
		.peer = *v->peer,
		.connection = a->next_connection++,
		.serial = l->account->admitted++,
		.config = config_ref(a->set->config),
		.listener = l->config,
		.account = account_ref(l->account),
		.tls = tls_set_ref(l->tls),
		.trusted = v->verdict.trusted,
		.descriptors = pool_descriptors_of(l->config),
	};
	door_let_in(a->door, l, &v->visitor, &v->verdict, v->now_us, s.sources);
	atomic_fetch_add_explicit(&l->account->open, 1, memory_order_relaxed);
	if (l->config->tls.enabled) {
		atomic_fetch_add_explicit(&l->account->handshakes, 1, memory_order_relaxed);
		pool_take_handshake(a->pool);
	}
	pool_take_descriptors(a->pool, s.descriptors);
	pool_seat(a->pool, (unsigned)worker, &s);
}

/* Descriptors that are taken: what connections have, listening sockets, and those who wait. */
MAIN_ONLY static unsigned used_descriptors(const struct acceptor *a)
{
	return pool_descriptors(a->pool) + a->set->count + a->wait.descriptors;
}

bool acceptor_within_budget(const struct acceptor *a, unsigned more)
{
	return used_descriptors(a) + more <= a->descriptors;
}

bool acceptor_has_room(const struct acceptor *a)
{
	return pool_pick(a->pool) >= 0 && a->set && acceptor_within_budget(a, a->wanted);
}

bool acceptor_has_room_for_strangers(const struct acceptor *a, unsigned more)
{
	return acceptor_within_budget(a, more + door_reserve(a->door, a->descriptors));
}

/* Its number in the configuration. */
MAIN_ONLY static unsigned listener_number(const struct acceptor *a, const struct listening *l)
{
	return (unsigned)(l->config - a->set->config->listeners);
}

/* Tells the door how many more connections of strangers there is room for. One of them takes `takes` descriptors, and
 * `held` it has already: who waits can come in by these. */
MAIN_ONLY static void note_room(struct acceptor *a, unsigned takes, unsigned held)
{
	uint64_t used = used_descriptors(a) - held;
	uint64_t of = a->descriptors - door_reserve(a->door, a->descriptors);
	uint64_t room = of > used && of - used >= takes ? of - used : held >= takes;
	const struct limits_config *limits = &a->set->config->door.limits;
	/* who is to wait at the limit is not shed before it */
	uint64_t most = limits->at_limit == AT_LIMIT_WAIT ? 0 : (uint64_t)limits->connections;
	uint64_t open = most > 0 ? pool_open(a->pool) : 0;
	if (most > 0 && most - (open < most ? open : most) < room) {
		room = most - (open < most ? open : most);
		of = most;
	}
	door_set_room(a->door, room, of);
}

void acceptor_ask(struct acceptor *a, struct arrival *v, int fd, unsigned held)
{
	visitor_from_address(&v->visitor, &v->peer->u.any);
	if (!v->is_tcp)
		visitor_ask(&v->visitor, fd, rules_want_unit(a->rules, listener_number(a, v->listening) + 1));
	note_room(a, pool_descriptors_of(v->listening->config), held);
	door_decide(a->door, v->listening, &v->visitor, v->now_us, &v->verdict);
}

enum accept_result acceptor_accept(struct acceptor *a, struct listening *l)
{
	int worker = pool_pick(a->pool);
	if (worker < 0)
		return ACCEPT_QUEUES;
	a->wanted = pool_descriptors_of(l->config);
	if (!acceptor_within_budget(a, a->wanted))
		return ACCEPT_BUDGET;

	struct netaddr from;
	from.length = sizeof(from.u);
	int fd = accept4(l->fd, &from.u.any, &from.length, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return accept_failed(l, errno);
	struct netaddr address;
	netaddr_from_kernel(&address, &from.u.any, from.length);
	netaddr_canonicalise(&address);
	struct peer_addr peer;
	peer_addr_from(&peer, &address);

	struct arrival v; /* not cleared: a visitor is large */
	v.listening = l;
	v.peer = &peer;
	v.is_tcp = l->is_tcp;
	v.now_us = clock_now_us();
	acceptor_ask(a, &v, fd, 0);
	if (acceptor_must_wait(a, &v))
		acceptor_wait_take_fd(a, &fd, &v);
	else if (v.verdict.reason == CLOSE_NONE)
		acceptor_seat_take_fd(a, worker, &fd, &v);
	else
		acceptor_refuse_take_fd(a, &fd, &v);
	return ACCEPT_ONE;
}

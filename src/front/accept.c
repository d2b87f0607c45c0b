/* SPDX-License-Identifier: MIT */
/* One connection at the door: taken, asked about, seated or refused. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/socket.h"
#include "front/acceptor_priv.h"
#include "front/admission.h"
#include "report/close_record.h"
#include "report/log.h"

static struct log_limit accept_errors = LOG_LIMIT_INIT("errors of accept");

/* Refuses a connection: a reset and a close record. Takes the descriptor. */
MAIN_ONLY static void refuse_take_fd(struct acceptor *a, int *fd, const struct listening *l,
				     const struct peer_addr *peer, enum close_reason reason)
{
	char bytes[NETADDR_TEXT_BYTES];
	struct text who;
	text_init(&who, bytes, sizeof(bytes));
	socket_add_peer(&who, *fd, peer);
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
MAIN_ONLY static enum accept_result accept_failed(const struct listening *l, int error)
{
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
		log_write(LOG_LEVEL_ERROR, LOG_UNLISTENING,
			  "accept %s (%s): %s: no longer accepting from it; restart usherd, or its socket unit",
			  l->address, l->config->name, strerror(error));
		return ACCEPT_LOST;
	default:
		/* the connection had an error of the network's, and is gone; or a firewall or security module refuses,
		 * and it stays: one cannot know, so none is waited for without a pause */
		if (log_allowed(&accept_errors, clock_now_ms()))
			log_write(LOG_LEVEL_WARNING, LOG_GENERAL, "accept %s (%s): %s", l->address, l->config->name,
				  strerror(error));
		return ACCEPT_BROKEN;
	}
}

MAIN_ONLY static void seat_take_fd(struct acceptor *a, int worker, int *fd, const struct listening *l,
				   const struct peer_addr *peer)
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
		.tls = tls_set_ref(l->tls),
		.descriptors = pool_descriptors_of(l->config),
	};
	atomic_fetch_add_explicit(&l->account->open, 1, memory_order_relaxed);
	if (l->config->tls.enabled)
		atomic_fetch_add_explicit(&l->account->handshakes, 1, memory_order_relaxed);
	pool_take_descriptors(a->pool, s.descriptors);
	pool_seat(a->pool, (unsigned)worker, &s);
}

/* Whether the budget has `more` descriptors. */
MAIN_ONLY static bool within_budget(const struct acceptor *a, unsigned more)
{
	return pool_descriptors(a->pool) + a->set->count + more <= a->descriptors;
}

bool acceptor_has_room(const struct acceptor *a)
{
	/* the least that a connection takes: one that takes more pauses again */
	return pool_pick(a->pool) >= 0 && a->set && within_budget(a, 1);
}

bool acceptor_may_shake(const struct listening *l)
{
	int most = l->config->limits.handshakes;
	return !l->config->tls.enabled || most == 0 ||
	       atomic_load_explicit(&l->account->handshakes, memory_order_relaxed) < (unsigned)most;
}

enum accept_result acceptor_accept(struct acceptor *a, struct listening *l)
{
	if (!acceptor_may_shake(l))
		return ACCEPT_HANDSHAKES;
	int worker = pool_pick(a->pool);
	if (worker < 0)
		return ACCEPT_QUEUES;
	if (!within_budget(a, pool_descriptors_of(l->config)))
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

	struct admission_request request = {
		.listener = l->config,
		.listener_open = atomic_load_explicit(&l->account->open, memory_order_relaxed),
	};
	enum close_reason refused = admission_decide(&request);
	if (refused == CLOSE_NONE)
		seat_take_fd(a, worker, &fd, l, &peer);
	else
		refuse_take_fd(a, &fd, l, &peer, refused);
	return ACCEPT_ONE;
}

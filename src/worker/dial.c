/* SPDX-License-Identifier: MIT */
#include "worker/dial.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/must.h"
#include "base/socket.h"
#include "config/socket_options.h"
#include "report/log.h"
#include "transport/tls.h"
#include "worker/conn_priv.h"
#include "worker/resolver.h"
#include "worker/worker.h"

/* How long to wait before a UNIX upstream whose backlog was full is tried again: the kernel tells nobody when it has
 * room. */
#define BACKLOG_RETRY_MS 10

/* However many there are, each attempt gets enough for a distant upstream: the last ones may not be reached then. */
#define ATTEMPT_LEAST_MS 250

/* How long a name's renewal may take before its old addresses are used. */
#define OLD_ADDRESSES_MS 1000

enum dial_wait {
	WAIT_NOTHING,
	WAIT_NAME,    /* the resolver's answer */
	WAIT_CONNECT, /* the kernel's */
	WAIT_TLS,     /* the upstream's handshake */
	WAIT_BACKLOG, /* a moment, then the same address again */
};

struct dial {
	struct conn *conn;		  /* borrowed */
	const struct endpoint *upstreams; /* borrowed from the configuration */
	unsigned count;
	unsigned first;
	unsigned begun; /* upstreams that were begun with */

	const struct endpoint *at; /* the upstream that is being tried */
	unsigned address_count;	   /* of `at` */
	unsigned address;	   /* the one that is being tried */

	enum dial_wait wait;
	struct name_waiter waiter;
	bool in_lookup; /* an answer now comes at once: its asker goes on, not the answer */
	struct timer timer;
	uint64_t deadline_ms; /* of the whole */
	uint64_t attempt_ms;  /* until when this attempt may last */
	enum close_reason last;

	struct peer_addr addresses[]; /* of `at`, if it is a name: RESOLVER_ADDRESSES_MAX, where there are names */
};

static struct log_limit connect_failures = LOG_LIMIT_INIT("connects to upstreams that failed");

WORKER_ONLY static void dial_next(struct dial *d);
WORKER_ONLY static void timer_fired(struct timer *t, uint64_t now_ms);
WORKER_ONLY static void name_answered(struct name_waiter *w, const struct peer_addr *addresses, unsigned count);

static bool has_names(const struct endpoint *upstreams, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (upstreams[i].kind == ENDPOINT_NAME)
			return true;
	return false;
}

void dial_start(struct conn *c, const struct endpoint *upstreams, unsigned count, uint64_t first)
{
	must(count > 0);
	size_t room = has_names(upstreams, count) ? RESOLVER_ADDRESSES_MAX : 0;
	struct dial *d = calloc(1, sizeof(*d) + room * sizeof(d->addresses[0]));
	if (!d) {
		conn_close(c, CLOSE_no_memory);
		return;
	}
	c->dial = d;
	d->conn = c;
	d->upstreams = upstreams;
	d->count = count;
	d->first = (unsigned)(first % count);
	d->last = CLOSE_connect_timeout;
	d->deadline_ms = worker_now_ms(c->worker) + c->listener->timeouts.connect_ms;
	name_waiter_init(&d->waiter, name_answered);
	timer_init(&d->timer, timer_fired);
	dial_next(d);
}

struct dial *dial_destroy(struct dial *d)
{
	if (!d)
		return NULL;
	resolver_cancel(&d->waiter);
	timer_stop(&d->timer);
	free(d);
	return NULL;
}

/* An attempt gets its share of the time that is left: one that hangs leaves some for those behind it. */
WORKER_ONLY static void start_attempt(struct dial *d)
{
	uint64_t now_ms = worker_now_ms(d->conn->worker);
	uint64_t left_ms = d->deadline_ms > now_ms ? d->deadline_ms - now_ms : 0;
	unsigned behind = d->count - d->begun;
	if (d->address < d->address_count)
		behind += d->address_count - d->address - 1;
	uint64_t share_ms = left_ms / (behind + 1);
	if (share_ms < ATTEMPT_LEAST_MS)
		share_ms = left_ms < ATTEMPT_LEAST_MS ? left_ms : ATTEMPT_LEAST_MS;
	d->attempt_ms = now_ms + share_ms;
}

WORKER_ONLY static void wait_for(struct dial *d, enum dial_wait wait, uint64_t until_ms)
{
	d->wait = wait;
	timer_start(&d->conn->worker->timers, &d->timer, until_ms);
}

static enum close_reason reason_of(int error)
{
	switch (-error) {
	case ECONNREFUSED:
	case ECONNRESET:
	case ENOENT:
	case EAGAIN:
		return CLOSE_upstream_refused;
	case ETIMEDOUT:
		return CLOSE_connect_timeout;
	case EMFILE:
	case ENFILE:
		return CLOSE_no_descriptors;
	case ENOMEM:
	case ENOBUFS:
	case ENOSPC:
		return CLOSE_no_memory;
	default:
		return CLOSE_upstream_unreachable;
	}
}

/* The socket address that is being tried. */
static void current_address(const struct dial *d, struct netaddr *to)
{
	if (d->at->kind == ENDPOINT_NAME) {
		const struct peer_addr *a = &d->addresses[d->address];
		netaddr_from_kernel(to, &a->u.any, sizeof(a->u));
		netaddr_set_port(to, d->at->port);
	} else {
		*to = d->at->address;
	}
}

/* Logs why the attempt failed, at most so often. */
WORKER_ONLY static void report_failure(const struct dial *d, const char *what)
{
	const struct conn *c = d->conn;
	if (!log_allowed(&connect_failures, worker_now_ms(c->worker)))
		return;
	struct netaddr address;
	current_address(d, &address);
	char bytes[NETADDR_TEXT_BYTES];
	struct text where;
	text_init(&where, bytes, sizeof(bytes));
	netaddr_add_text(&where, &address);
	struct log_record r;
	log_begin(&r, LOG_LEVEL_WARNING, LOG_UPSTREAM_FAILED);
	conn_report_add(&r, c);
	log_field(&r, "USHER_UPSTREAM", "%s", where.at);
	log_submit(&r, "%s: connect %s: %s", c->listener->name, where.at, what);
}

/* What the close record says of the last attempt: who the upstream was, if it was connected, and what was wrong with its
 * TLS; NULL: nothing. */
WORKER_ONLY static void note_upstream(struct dial *d, const char *tls_error)
{
	struct conn *c = d->conn;
	free(c->upstream_error);
	c->upstream_error = tls_error ? strdup(tls_error) : NULL;
	c->upstream_at = NULL;
	if (!tls_error)
		return;
	struct netaddr address;
	current_address(d, &address);
	c->upstream_at = d->at;
	peer_addr_from(&c->upstream_peer, &address);
}

WORKER_ONLY static void attempt_failed(struct dial *d, int error)
{
	note_upstream(d, NULL);
	stream_close(&d->conn->upstream.stream, true);
	d->last = reason_of(error);
	report_failure(d, error == -EAGAIN ? "its backlog is full" : strerror(-error));
}

/* Its TLS handshake failed, or did not end in time (-ETIMEDOUT). */
WORKER_ONLY static void handshake_failed(struct dial *d, int error)
{
	struct conn *c = d->conn;
	const struct tls_session *session = stream_tls_session(&c->upstream.stream);
	const char *why = strerror(-error);
	if (error == -EBADMSG)
		why = tls_session_failure_text(session);
	else if (error == -ENODATA)
		why = "it ended the connection";
	char bytes[256];
	struct text what;
	text_init(&what, bytes, sizeof(bytes));
	text_printf(&what, "TLS: %s", why);
	d->last = CLOSE_upstream_tls;
	if (error == -ENOMEM)
		d->last = CLOSE_no_memory;
	else if (error == -EBADMSG && tls_session_failure(session) == TLS_FAILURE_UNTRUSTED)
		d->last = CLOSE_upstream_untrusted;
	report_failure(d, what.at);
	note_upstream(d, why);
	/* the alert that says why goes before the end, as far as the kernel takes it now */
	(void)!stream_end(&c->upstream.stream);
	stream_close(&c->upstream.stream, false);
}

WORKER_ONLY static void say_attempt(const struct dial *d, const struct netaddr *address)
{
	if (!log_wants(LOG_LEVEL_DEBUG))
		return;
	char bytes[NETADDR_TEXT_BYTES];
	struct text where;
	text_init(&where, bytes, sizeof(bytes));
	netaddr_add_text(&where, address);
	struct log_record r;
	log_begin(&r, LOG_LEVEL_DEBUG, LOG_CONNECTING);
	conn_report_add(&r, d->conn);
	log_field(&r, "USHER_UPSTREAM", "%s", where.at);
	log_submit(&r, "%s: connection %llu: connecting to %s", d->conn->listener->name,
		   (unsigned long long)d->conn->number, where.at);
}

WORKER_ONLY static int open_socket(struct dial *d, const struct netaddr *address)
{
	struct conn *c = d->conn;
	bool is_tcp = address->u.any.sa_family != AF_UNIX;
	int fd = socket(address->u.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	struct socket_options options = config_socket_options(c->listener);
	const char *which;
	int failed = socket_set_new(fd, is_tcp, &options, &which);
	c->options_due = is_tcp && socket_dead_peers_can_wait(&options, CONN_OPTIONS_MS);
	if (!failed && is_tcp && !c->options_due)
		failed = socket_set_new_dead_peers(fd, &options, &which);
	if (failed) {
		fd_close(&fd);
		return failed;
	}
	stream_open_take_fd(&c->upstream.stream, &transport_plain, &fd, is_tcp);
	return 0;
}

/* Whether the upstream is sent something as soon as it is connected: its TLS's first message, or what the client has said by
 * now. Where bytes wait for their time, or a client's TLS may hold none, that is not known. */
WORKER_ONLY static bool begins_with_bytes(const struct conn *c)
{
	if (c->tls && tls_set_connects(c->tls))
		return true;
	return !c->pace && !c->client.stream.tls && socket_unread(c->client.stream.fd) > 0;
}

/* Returns 0 when it is connected, -EINPROGRESS, or -errno. */
WORKER_ONLY static int try_address(struct dial *d)
{
	struct conn *c = d->conn;
	struct netaddr address;
	current_address(d, &address);
	say_attempt(d, &address);
	int failed = open_socket(d, &address);
	if (failed)
		return failed;
	if (c->upstream.stream.is_tcp && begins_with_bytes(c))
		socket_connect_with_bytes(c->upstream.stream.fd);
	int result = connect(c->upstream.stream.fd, &address.u.any, address.length) < 0 ? -errno : 0;
	if (result && result != -EINPROGRESS)
		return result;
	failed = poller_add(&c->worker->poller, c->upstream.stream.fd, &c->upstream.watch, CONN_WATCHED);
	return failed ? failed : result;
}

WORKER_ONLY static void succeed(struct dial *d)
{
	struct conn *c = d->conn;
	note_upstream(d, NULL);
	struct netaddr address;
	current_address(d, &address);
	c->upstream_at = d->at;
	peer_addr_from(&c->upstream_peer, &address);
	c->dial = dial_destroy(d);
	conn_dialed(c);
}

/* It is connected: what is left is TLS, if there is any. Returns 0, -EINPROGRESS while the handshake lasts, or -errno of
 * it. */
WORKER_ONLY static int start_tls(struct dial *d)
{
	struct conn *c = d->conn;
	if (!c->tls || !tls_set_connects(c->tls))
		return 0;
	struct tls_session *session;
	struct tls_session *client = stream_tls_session(&c->client.stream);
	struct tls_facts facts;
	bool agreed = client && tls_session_facts(client, &facts);
	int failed = tls_session_connect(&session, c->tls, d->at, agreed ? facts.alpn : NULL);
	if (!failed)
		failed = stream_start_tls(&c->upstream.stream, &session, c->worker->tls_io);
	if (failed)
		return failed;
	wait_for(d, WAIT_TLS, d->attempt_ms);
	return -EINPROGRESS;
}

/* A step of the handshake. */
WORKER_ONLY static void shake(struct dial *d)
{
	if (!conn_may_shake(d->conn))
		return;
	int failed = stream_handshake(&d->conn->upstream.stream);
	if (failed == -EAGAIN)
		return;
	timer_stop(&d->timer);
	d->wait = WAIT_NOTHING;
	if (!failed) {
		succeed(d);
		return;
	}
	handshake_failed(d, failed);
	d->address++;
	dial_next(d);
}

/* The kernel has connected it. */
WORKER_ONLY static void connected(struct dial *d)
{
	int failed = start_tls(d);
	if (!failed) {
		succeed(d);
		return;
	}
	if (failed == -EINPROGRESS) {
		shake(d);
		return;
	}
	timer_stop(&d->timer);
	d->wait = WAIT_NOTHING;
	handshake_failed(d, failed);
	d->address++;
	dial_next(d);
}

/* Begins with the next upstream. Returns false when it has to wait for the name. */
WORKER_ONLY static bool begin_upstream(struct dial *d)
{
	d->at = &d->upstreams[(d->first + d->begun) % d->count];
	d->begun++;
	d->address = 0;
	d->address_count = 1;
	if (d->at->kind != ENDPOINT_NAME)
		return true;
	d->address_count = 0;
	start_attempt(d);
	wait_for(d, WAIT_NAME, d->attempt_ms);
	d->in_lookup = true;
	resolver_lookup(d->conn->worker->resolver, d->at->name, &d->waiter);
	d->in_lookup = false;
	uint64_t enough_ms = worker_now_ms(d->conn->worker) + OLD_ADDRESSES_MS;
	if (d->wait == WAIT_NAME && enough_ms < d->attempt_ms && resolver_has_old(&d->waiter))
		wait_for(d, WAIT_NAME, enough_ms);
	return d->wait == WAIT_NOTHING;
}

/* Tries what there is to try until something has to be waited for, one has answered, or none is left. */
WORKER_ONLY static void dial_next(struct dial *d)
{
	for (;;) {
		if (worker_now_ms(d->conn->worker) >= d->deadline_ms) {
			conn_close(d->conn, d->last);
			return;
		}
		if (d->address >= d->address_count) {
			if (d->begun == d->count || d->last == CLOSE_no_descriptors) {
				conn_close(d->conn, d->last);
				return;
			}
			if (!begin_upstream(d))
				return;
			continue;
		}
		if (d->wait != WAIT_BACKLOG)
			start_attempt(d);
		d->wait = WAIT_NOTHING;
		int result = try_address(d);
		if (result == 0) {
			connected(d);
			return;
		}
		if (result == -EINPROGRESS) {
			wait_for(d, WAIT_CONNECT, d->attempt_ms);
			return;
		}
		if (result == -EAGAIN && worker_now_ms(d->conn->worker) + BACKLOG_RETRY_MS < d->attempt_ms) {
			stream_close(&d->conn->upstream.stream, false);
			wait_for(d, WAIT_BACKLOG, worker_now_ms(d->conn->worker) + BACKLOG_RETRY_MS);
			return;
		}
		attempt_failed(d, result);
		d->address++;
	}
}

WORKER_ONLY static void name_answered(struct name_waiter *w, const struct peer_addr *addresses, unsigned count)
{
	struct dial *d = CONTAINER_OF(w, struct dial, waiter);
	timer_stop(&d->timer);
	if (count > 0)
		memcpy(d->addresses, addresses, count * sizeof(*addresses));
	else
		d->last = CLOSE_upstream_unresolved;
	d->address_count = count;
	d->wait = WAIT_NOTHING;
	if (!d->in_lookup)
		dial_next(d);
}

WORKER_ONLY static void timer_fired(struct timer *t, uint64_t now_ms UNUSED)
{
	struct dial *d = CONTAINER_OF(t, struct dial, timer);
	switch (d->wait) {
	case WAIT_NAME:
		if (resolver_has_old(&d->waiter)) {
			resolver_use_old(&d->waiter);
			return;
		}
		resolver_cancel(&d->waiter);
		d->last = CLOSE_upstream_unresolved;
		d->wait = WAIT_NOTHING;
		break;
	case WAIT_CONNECT:
		attempt_failed(d, -ETIMEDOUT);
		d->address++;
		d->wait = WAIT_NOTHING;
		break;
	case WAIT_TLS:
		handshake_failed(d, -ETIMEDOUT);
		d->address++;
		d->wait = WAIT_NOTHING;
		break;
	case WAIT_BACKLOG:
	case WAIT_NOTHING:
		break;
	}
	dial_next(d);
}

void dial_ready(struct dial *d, unsigned events)
{
	if (d->wait == WAIT_TLS) {
		stream_note(&d->conn->upstream.stream, events);
		shake(d);
		return;
	}
	if (d->wait != WAIT_CONNECT)
		return;
	int failed = events & POLLER_HANGUP ? socket_take_error(d->conn->upstream.stream.fd) : 0;
	if (failed) {
		timer_stop(&d->timer);
		attempt_failed(d, failed);
		d->address++;
		d->wait = WAIT_NOTHING;
		dial_next(d);
	} else if (events & (POLLER_WRITE | POLLER_HANGUP)) {
		stream_note(&d->conn->upstream.stream, events);
		connected(d);
	}
}

void dial_go_on(struct dial *d)
{
	if (d->wait == WAIT_TLS)
		shake(d);
}

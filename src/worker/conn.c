/* SPDX-License-Identifier: MIT */
/* A connection's life: seated, served, finished, closed. */
#include <errno.h>
#include <stdlib.h>

#include "base/fd.h"
#include "base/must.h"
#include "base/socket.h"
#include "worker/conn_priv.h"
#include "worker/dial.h"
#include "worker/offences.h"
#include "worker/recheck.h"
#include "worker/worker.h"

/* Whether TLS is all there where it is configured: never is it left out for want of something. */
static bool has_its_tls(const struct seat *seat)
{
	return !seat->listener->tls.enabled || (seat->tls && tls_set_accepts(seat->tls));
}

/* What every connection gives back at its end, and counts. */
WORKER_ONLY static void give_back(struct worker *w, struct account *account, struct source_share *const sources[],
				  unsigned descriptors, enum close_reason reason)
{
	for (unsigned i = 0; i < SOURCE_SCOPES; i++)
		if (sources[i])
			atomic_fetch_sub_explicit(&sources[i]->open, 1, memory_order_release);
	counter_add(&w->counters.reasons[reason], 1);
	counter_add(&w->counters.closed, 1);
	atomic_fetch_sub_explicit(&account->open, 1, memory_order_relaxed);
	atomic_fetch_sub_explicit(w->descriptors, descriptors, memory_order_relaxed);
	doorbell_ring(w->doorbell);
}

/* A connection that never came to be. */
WORKER_ONLY static void refuse(struct worker *w, struct seat *seat, enum close_reason reason)
{
	conn_report_refused(seat, reason);
	if (seat->is_tcp)
		socket_reset_at_close(seat->fd);
	fd_close(&seat->fd);
	if (seat->listener->tls.enabled) {
		atomic_fetch_sub_explicit(&seat->account->handshakes, 1, memory_order_relaxed);
		atomic_fetch_sub_explicit(w->all_handshakes, 1, memory_order_relaxed);
	}
	give_back(w, seat->account, seat->sources, seat->descriptors, reason);
	account_unref(seat->account);
	tls_set_unref(seat->tls);
	config_unref(seat->config);
}

WORKER_ONLY static void client_ready(struct watch *watch, unsigned events)
{
	struct conn *c = CONTAINER_OF(watch, struct conn, client.watch);
	if (c->phase == CONN_CLOSED)
		return;
	c->active_ms = worker_now_ms(c->worker);
	stream_note(&c->client.stream, events);
	conn_go(c);
}

WORKER_ONLY static void upstream_ready(struct watch *watch, unsigned events)
{
	struct conn *c = CONTAINER_OF(watch, struct conn, upstream.watch);
	if (c->phase == CONN_CLOSED)
		return;
	c->active_ms = worker_now_ms(c->worker);
	if (c->phase == CONN_DIAL) {
		dial_ready(c->dial, events);
		return;
	}
	stream_note(&c->upstream.stream, events);
	conn_go(c);
}

void conn_open(struct worker *w, struct seat *seat)
{
	counter_add(&w->counters.seated, 1);
	if (!has_its_tls(seat)) {
		refuse(w, seat, CLOSE_internal);
		return;
	}
	const struct service *service = services[seat->listener->service];
	struct conn *c = calloc(1, sizeof(*c) + service->state_bytes);
	if (!c) {
		refuse(w, seat, CLOSE_no_memory);
		return;
	}
	int failed = poller_add(&w->poller, seat->fd, &c->client.watch, CONN_WATCHED);
	if (failed) {
		free(c);
		refuse(w, seat, CLOSE_no_memory);
		return;
	}
	c->worker = w;
	c->service = service;
	c->config = seat->config;
	c->listener = seat->listener;
	c->account = seat->account;
	c->tls = seat->tls;
	for (unsigned i = 0; i < SOURCE_SCOPES; i++)
		c->sources[i] = seat->sources[i];
	c->trusted = seat->trusted;
	c->descriptors = seat->descriptors;
	c->peer = seat->peer;
	c->number = seat->connection;
	c->serial = seat->serial;
	c->opened_ms = worker_now_ms(w);
	c->active_ms = c->opened_ms;
	c->phase = c->listener->tls.enabled ? CONN_HANDSHAKE : CONN_SERVICE;
	c->shaking = c->listener->tls.enabled;
	c->finish_reason = CLOSE_NONE;
	c->client.watch.ready = client_ready;
	c->upstream.watch.ready = upstream_ready;
	stream_open_take_fd(&c->client.stream, &transport_plain, &seat->fd, seat->is_tcp);
	stream_init(&c->upstream.stream);
	timer_init(&c->timer, conn_timer_due);
	list_init(&c->again);
	list_append(recheck_conns(w), &c->node);
	conn_report_open(c);
	if (c->listener->tls.enabled)
		conn_handshake_start(c);
	else
		conn_begin(c);
}

void conn_begin(struct conn *c)
{
	c->phase = CONN_SERVICE;
	c->begun_ms = worker_now_ms(c->worker);
	if (conn_pace_start(c) < 0) {
		conn_close(c, CLOSE_no_memory);
		return;
	}
	c->served = true;
	conn_timer_start(c);
	c->service->open(c);
}

WORKER_ONLY static void service_go(struct conn *c)
{
	int failed = stream_flush(&c->client.stream);
	if (failed && failed != -EAGAIN) {
		conn_fail(c, failed);
		return;
	}
	if (c->service->readable && c->client.stream.can_read)
		c->service->readable(c);
	if (c->phase == CONN_SERVICE && c->service->writable && stream_is_out(&c->client.stream))
		c->service->writable(c);
	if (c->phase == CONN_SERVICE && c->pace)
		conn_look_hung_up(c);
}

/* Over TLS a client that has said all and closes resets the connection, because of tickets that it has not read. While
 * they are all that was sent to it a reset says nothing: what came before it is there to be read, and whether that is
 * all its close_notify says. */
int conn_take_error(struct conn *c)
{
	struct stream *s = &c->client.stream;
	int error = s->hung_up ? socket_take_error(s->fd) : 0;
	bool may_be_tickets = s->tls && s->bytes_out == 0;
	if (!may_be_tickets || (error != -ECONNRESET && error != -EPIPE))
		return error;
	if (error == -ECONNRESET)
		s->was_reset = true;
	return 0;
}

/* While the upstream is dialed the client may only go away: what it sends waits in the kernel. */
WORKER_ONLY static void dial_go(struct conn *c)
{
	int failed = conn_take_error(c);
	if (failed)
		conn_fail(c, failed);
	else
		dial_go_on(c->dial);
}

void conn_go(struct conn *c)
{
	switch (c->phase) {
	case CONN_HANDSHAKE:
		conn_handshake_go(c);
		break;
	case CONN_SERVICE:
		service_go(c);
		break;
	case CONN_DIAL:
		dial_go(c);
		break;
	case CONN_RELAY:
	case CONN_RELAY_BACK:
		conn_relay_go(c);
		break;
	case CONN_FINISH:
		conn_finish_go(c);
		break;
	case CONN_CLOSED:
		break;
	}
}

void conn_go_on(struct list *again)
{
	struct conn *c = CONTAINER_OF(again, struct conn, again);
	c->active_ms = worker_now_ms(c->worker);
	conn_go(c);
}

void *conn_state(struct conn *c)
{
	return c->state;
}

const void *conn_values(const struct conn *c)
{
	return c->listener->service_values;
}

uint64_t conn_serial(const struct conn *c)
{
	return c->serial;
}

uint8_t *conn_scratch(struct conn *c)
{
	return c->worker->scratch;
}

ssize_t conn_read(struct conn *c, void *to, size_t n)
{
	struct stream *s = &c->client.stream;
	if (c->phase == CONN_CLOSED)
		return -EPIPE;
	/* what comes after the service is done is thrown away, and does not wait */
	if (!c->pace || c->phase == CONN_FINISH || !s->can_read)
		return stream_read(s, to, n);
	size_t may = conn_pace_ask(c, PACE_IN);
	if (may == 0 && !stream_ends_next(s))
		return -EAGAIN;
	/* an end, or a failure, needs room for nothing */
	size_t most = may > 0 ? may : 1;
	ssize_t got = stream_read(s, to, n < most ? n : most);
	if (got > 0)
		conn_pace_use(c, PACE_IN, (size_t)got);
	if (!s->can_read)
		conn_pace_rest(c, PACE_IN);
	return got;
}

size_t conn_room(struct conn *c)
{
	size_t room = c->phase == CONN_CLOSED ? 0 : stream_room(&c->client.stream);
	size_t may = room > 0 ? conn_pace_ask(c, PACE_OUT) : 0;
	return room < may ? room : may;
}

size_t conn_pending(const struct conn *c)
{
	return stream_held(&c->client.stream);
}

int conn_send(struct conn *c, const void *from, size_t n)
{
	if (c->phase == CONN_CLOSED)
		return -EPIPE;
	conn_pace_use(c, PACE_OUT, n);
	return stream_send(&c->client.stream, from, n);
}

void conn_again(struct conn *c)
{
	if (c->phase != CONN_CLOSED && list_empty(&c->again))
		list_append(&c->worker->again, &c->again);
}

void conn_dial(struct conn *c, const struct endpoint *upstreams, unsigned count, uint64_t first)
{
	must(c->phase == CONN_SERVICE && c->service->connected);
	c->phase = CONN_DIAL;
	dial_start(c, upstreams, count, first);
}

void conn_dialed(struct conn *c)
{
	c->phase = CONN_SERVICE;
	c->active_ms = worker_now_ms(c->worker);
	c->begun_ms = c->active_ms;
	if (c->options_due)
		conn_timer_start(c);
	c->service->connected(c);
}

void conn_relay(struct conn *c)
{
	must(c->phase == CONN_SERVICE && stream_is_open(&c->upstream.stream));
	c->phase = CONN_RELAY;
	conn_relay_go(c);
}

void conn_relay_back(struct conn *c)
{
	must(c->phase == CONN_SERVICE);
	c->phase = CONN_RELAY_BACK;
	conn_relay_go(c);
}

enum close_reason conn_reason_of(bool upstream, int error)
{
	switch (-error) {
	case ECONNRESET:
	case EPIPE:
		return upstream ? CLOSE_upstream_reset : CLOSE_client_reset;
	case ETIMEDOUT:
	case EHOSTUNREACH: /* the network said so meanwhile; TCP has waited all the same before it gave up */
	case ENETUNREACH:
		return upstream ? CLOSE_upstream_timeout : CLOSE_client_timeout;
	case ENODATA:
		return upstream ? CLOSE_upstream_truncated : CLOSE_client_truncated;
	case EBADMSG:
		return upstream ? CLOSE_upstream_tls_error : CLOSE_client_tls;
	case ENOMEM:
	case ENOBUFS:
		return CLOSE_no_memory;
	default:
		return upstream ? CLOSE_upstream_error : CLOSE_client_error;
	}
}

void conn_offence(struct conn *c, unsigned n)
{
	/* the source is not this connection's any more after its end */
	if (c->phase == CONN_CLOSED || c->trusted)
		return;
	for (unsigned i = 0; i < SOURCE_SCOPES; i++)
		offences_add(c->worker->offences, c->sources[i], n);
}

void conn_fail(struct conn *c, int error)
{
	conn_close(c, conn_reason_of(false, error));
}

/* Whether an offence is the client's own. A handshake whose next bytes are there, and have not been read, has run out of time
 * because this worker was busy with others: who keeps it busy must not have them banned by that. */
WORKER_ONLY static bool is_its_fault(const struct conn *c, enum close_reason reason)
{
	return reason != CLOSE_handshake_timeout || socket_unread(c->client.stream.fd) == 0;
}

void conn_close(struct conn *c, enum close_reason reason)
{
	if (c->phase == CONN_CLOSED)
		return;
	must(reason < CLOSE_REASON_COUNT);
	struct worker *w = c->worker;
	if (close_reason_facts[reason].is_offence && is_its_fault(c, reason))
		conn_offence(c, 1);
	c->phase = CONN_CLOSED;
	c->dial = dial_destroy(c->dial);
	timer_stop(&c->timer);
	conn_pace_stop(c);
	list_remove(&c->again);
	conn_handshake_over(c);
	if (c->served && c->service->closed)
		c->service->closed(c);

	bool reset = close_reason_facts[reason].resets;
	/* what the client got: a reset takes back what it has not confirmed */
	uint64_t bytes_out = c->client.stream.bytes_out - (reset ? stream_unconfirmed(&c->client.stream) : 0);
	conn_report_close(c, reason, bytes_out);
	stream_close(&c->upstream.stream, reset);
	stream_close(&c->client.stream, reset);

	counter_add(&w->counters.bytes_in, c->client.stream.bytes_in);
	counter_add(&w->counters.bytes_out, bytes_out);
	give_back(w, c->account, c->sources, c->descriptors, reason);

	list_remove(&c->node);
	list_append(&w->dead, &c->node);
}

void conn_close_all(struct worker *w, enum close_reason reason)
{
	struct seat seat;
	while (queue_take(&w->queue, &seat))
		conn_open(w, &seat);
	recheck_end(w);
	while (!list_empty(&w->conns))
		conn_close(CONTAINER_OF(w->conns.next, struct conn, node), reason);
}

void conn_free_dead(struct worker *w)
{
	struct list *first;
	while ((first = list_take_first(&w->dead))) {
		struct conn *c = CONTAINER_OF(first, struct conn, node);
		account_unref(c->account);
		tls_set_unref(c->tls);
		config_unref(c->config);
		free(c->pace);
		free(c->upstream_error);
		free(c);
	}
}

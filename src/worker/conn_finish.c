/* SPDX-License-Identifier: MIT */
/* A connection's last phase: what is left goes out, what still comes in is thrown away. */
#include <errno.h>

#include "base/must.h"
#include "base/socket.h"
#include "worker/conn_priv.h"
#include "worker/worker.h"

/* Bytes thrown away in one turn. */
#define DISCARD_A_TURN (4U * STREAM_HELD_MAX_BYTES)

/* The kernel tells nobody when the last byte was confirmed: looked at again after this long. */
#define CONFIRMED_POLL_MS 20

/* When the connection was cut already, or its handshake had failed, that stays the reason. */
WORKER_ONLY static void client_failed(struct conn *c, int error)
{
	bool has_reason = c->cut || (c->phase == CONN_FINISH && close_reason_facts[c->finish_reason].alerts);
	if (has_reason)
		conn_close(c, c->finish_reason);
	else
		conn_fail(c, error);
}

/* Reads what the client sends and drops it. Returns true at the client's end. */
WORKER_ONLY static bool throw_away(struct conn *c)
{
	size_t thrown = 0;
	while (thrown < DISCARD_A_TURN) {
		ssize_t got = conn_read(c, c->worker->scratch, STREAM_HELD_MAX_BYTES);
		/* what it sends is thrown away here: whether TLS's close_notify was behind it is all the same */
		if (got == 0 || (got == -ENODATA && c->phase == CONN_FINISH))
			return true;
		if (got == -EAGAIN)
			return false;
		if (got < 0) {
			client_failed(c, (int)got);
			return false;
		}
		thrown += stream_read_cost(got);
	}
	conn_again(c);
	return false;
}

void conn_discard(struct conn *c)
{
	if (throw_away(c))
		conn_close(c, CLOSE_client_closed);
}

/* A reset overtakes what the client has not got yet: it waits until that is out. */
WORKER_ONLY static bool may_close(const struct conn *c)
{
	return !close_reason_facts[c->finish_reason].resets || stream_unconfirmed(&c->client.stream) == 0;
}

void conn_finish_go(struct conn *c)
{
	struct stream *s = &c->client.stream;
	int failed = stream_flush(s);
	if (failed && failed != -EAGAIN) {
		client_failed(c, failed);
		return;
	}
	/* after its end a reset of the client's shows nowhere else */
	int error = s->hung_up ? socket_take_error(s->fd) : 0;
	if (error) {
		client_failed(c, error);
		return;
	}
	bool client_ended = throw_away(c);
	if (c->phase != CONN_FINISH || failed || !(client_ended || c->cut))
		return;
	if (may_close(c)) {
		conn_close(c, c->finish_reason);
		return;
	}
	uint64_t look_ms = worker_now_ms(c->worker) + CONFIRMED_POLL_MS;
	timer_start(&c->worker->timers, &c->timer, look_ms < c->finish_ms ? look_ms : c->finish_ms);
}

void conn_finish_due(struct conn *c, uint64_t now_ms)
{
	bool unsent = !stream_is_out(&c->client.stream);
	if (now_ms < c->finish_ms)
		conn_finish_go(c);
	else
		conn_close(c,
			   unsent && !close_reason_facts[c->finish_reason].is_error ? CLOSE_linger : c->finish_reason);
}

WORKER_ONLY static void start_finish(struct conn *c, enum close_reason reason)
{
	c->phase = CONN_FINISH;
	c->finish_reason = reason;
	c->finish_ms = worker_now_ms(c->worker) + c->listener->timeouts.linger_ms;
	timer_start(&c->worker->timers, &c->timer, c->finish_ms);
}

void conn_finish(struct conn *c, enum close_reason reason)
{
	if (c->phase == CONN_CLOSED)
		return;
	start_finish(c, reason);
	int failed = stream_end(&c->client.stream);
	if (failed && failed != -EAGAIN)
		client_failed(c, failed);
	else
		conn_finish_go(c);
}

void conn_cut(struct conn *c, enum close_reason reason)
{
	must(close_reason_facts[reason].resets);
	start_finish(c, reason);
	c->cut = true;
	conn_finish_go(c);
}

/* SPDX-License-Identifier: MIT */
/* A connection that is copied: between client and upstream, or back to the client. */
#include <errno.h>

#include "transport/relay.h"
#include "worker/conn_priv.h"
#include "worker/worker.h"

/* Bytes a direction in one turn, so that a fast pair leaves the others their turn. */
#define RELAY_A_TURN (4U * STREAM_HELD_MAX_BYTES)

/* The same for bytes that are limited: these come in quanta, of which a burst has many. */
#define QUANTA_A_TURN 16

/* Both sides are in order and one of them has ended: which was first is what the close record says. */
WORKER_ONLY static void note_end(struct conn *c)
{
	if (c->upstream.stream.read_ended && !c->client.stream.read_ended)
		c->upstream_first = true;
}

/* The client takes nothing more. What it sent has been passed on; what the upstream still sends has nowhere to go. */
WORKER_ONLY static void client_deaf(struct conn *c, int error)
{
	if (error == -EPIPE && c->client.stream.read_ended)
		conn_close(c, CLOSE_client_unread);
	else
		conn_fail(c, error);
}

/* The upstream takes nothing more. What it has sent, perhaps why, still goes to the client. */
WORKER_ONLY static void upstream_deaf(struct conn *c, int error)
{
	if (conn_reason_of(true, error) != CLOSE_upstream_reset) {
		conn_cut(c, conn_reason_of(true, error));
		return;
	}
	c->upstream_deaf = true;
}

/* The upstream's answer is with the client, and it took less than the client sent. */
WORKER_ONLY static void finish_deaf(struct conn *c)
{
	struct stream *up = &c->upstream.stream;
	bool lost = !stream_is_out(up) || up->bytes_out < c->client.stream.bytes_in || c->client.stream.can_read;
	conn_finish(c, lost ? CLOSE_upstream_unread : CLOSE_upstream_closed);
}

/* How many bytes may go in all of these ways. */
WORKER_ONLY static size_t ask(struct conn *c, const bool ways[2])
{
	size_t may = SIZE_MAX;
	for (enum pace_way way = PACE_IN; way <= PACE_OUT && may > 0; way++) {
		size_t n = ways[way] ? conn_pace_ask(c, way) : may;
		if (n < may)
			may = n;
	}
	return may;
}

WORKER_ONLY static struct relay_means means_of(const struct conn *c)
{
	return (struct relay_means){.scratch = c->worker->scratch, .pipes = c->worker->pipes};
}

/* relay_pump with what may go. RELAY_PACED: conn_go is called when more may. */
WORKER_ONLY static enum relay_result pump_paced(struct conn *c, struct stream *from, struct stream *to,
						const bool ways[2], int *error)
{
	const struct relay_means means = means_of(c);
	size_t may = 0;
	for (int quanta = 0;; quanta++) {
		size_t had = may;
		enum relay_result result = relay_pump(from, to, &means, RELAY_A_TURN, &may, error);
		for (enum pace_way way = PACE_IN; way <= PACE_OUT; way++) {
			if (ways[way])
				conn_pace_use(c, way, had - may);
			if (ways[way] && result == RELAY_WAIT)
				conn_pace_rest(c, way);
		}
		if (result != RELAY_PACED)
			return result;
		if (quanta == QUANTA_A_TURN)
			return RELAY_MORE;
		may = ask(c, ways);
		if (may == 0 && !stream_ends_next(from))
			return RELAY_PACED;
		/* an end, or a failure, needs room for nothing */
		if (may == 0)
			may = 1;
	}
}

WORKER_ONLY static enum relay_result pump(struct conn *c, struct stream *from, struct stream *to, const bool ways[2],
					  int *error)
{
	/* what is left is this end: after it both have ended, and both are closed */
	to->end_closes = to == from || (to->read_ended && from->end_sent);
	if (c->pace)
		return pump_paced(c, from, to, ways, error);
	const struct relay_means means = means_of(c);
	size_t may = SIZE_MAX;
	/* its end is behind the bytes that it has: the last of them go into one segment with the end */
	to->more_comes = from->end_near && !from->tls && !to->tls;
	enum relay_result result = relay_pump(from, to, &means, RELAY_A_TURN, &may, error);
	bool ends = result == RELAY_ENDED || result == RELAY_MORE;
	if (to->more_comes && !ends && stream_is_out(to))
		stream_push(to);
	to->more_comes = false;
	return result;
}

/* The upstream has ended, the client has all of it and our end, and closes without a word of its own, as many do. It is no
 * error; but whether it had more to say is not known, so the upstream does not see a clean end. */
WORKER_ONLY static bool left_in_silence(const struct conn *c, int error)
{
	return error == -ENODATA && c->upstream.stream.read_ended && c->client.stream.end_sent &&
	       stream_is_out(&c->client.stream) && stream_unconfirmed(&c->client.stream) == 0;
}

/* client -> upstream. Returns false when the connection was closed. */
WORKER_ONLY static bool pump_up(struct conn *c, enum relay_result *result)
{
	static const bool in[2] = {[PACE_IN] = true};
	int error = 0;
	*result = pump(c, &c->client.stream, &c->upstream.stream, in, &error);
	if (*result == RELAY_FROM_FAILED && left_in_silence(c, error)) {
		stream_close(&c->upstream.stream, true);
		conn_close(c, CLOSE_upstream_closed);
		return false;
	}
	if (*result == RELAY_FROM_FAILED) {
		conn_fail(c, error);
		return false;
	}
	if (*result == RELAY_TO_FAILED)
		upstream_deaf(c, error);
	return c->phase == CONN_RELAY;
}

/* upstream -> client. Returns false when the connection was closed. */
WORKER_ONLY static bool pump_down(struct conn *c, enum relay_result *result)
{
	static const bool out[2] = {[PACE_OUT] = true};
	int error = 0;
	*result = pump(c, &c->upstream.stream, &c->client.stream, out, &error);
	if (*result == RELAY_FROM_FAILED) {
		/* what it had sent before is still the client's, as it would be without a proxy */
		conn_cut(c, conn_reason_of(true, error));
		return false;
	}
	if (*result == RELAY_TO_FAILED)
		client_deaf(c, error);
	return c->phase == CONN_RELAY;
}

WORKER_ONLY static void relay_both(struct conn *c)
{
	enum relay_result up = RELAY_WAIT;
	enum relay_result down = RELAY_WAIT;
	if (!c->upstream_deaf && !pump_up(c, &up))
		return;
	if (!pump_down(c, &down))
		return;
	note_end(c);

	/* it has ended and hung up: nobody is there to take what the client may still send */
	if (down == RELAY_ENDED && up != RELAY_ENDED && c->upstream.stream.hung_up)
		c->upstream_deaf = true;
	if (down == RELAY_ENDED && c->upstream_deaf)
		finish_deaf(c);
	else if (c->upstream_deaf && c->client.stream.hung_up)
		conn_close(c, CLOSE_upstream_unread); /* and nobody is left to send the rest to */
	else if (down == RELAY_ENDED && up == RELAY_ENDED)
		conn_close(c, c->upstream_first ? CLOSE_upstream_closed : CLOSE_client_closed);
	else if (up == RELAY_MORE || down == RELAY_MORE)
		conn_again(c);
	else
		conn_look_hung_up(c); /* what it sent may wait for the upstream, or for its time */
}

WORKER_ONLY static void relay_back(struct conn *c)
{
	static const bool both[2] = {true, true};
	struct stream *s = &c->client.stream;
	int error = 0;
	switch (pump(c, s, s, both, &error)) {
	case RELAY_WAIT:
		break;
	case RELAY_PACED:
		conn_look_hung_up(c);
		break;
	case RELAY_MORE:
		conn_again(c);
		break;
	case RELAY_ENDED:
		conn_close(c, CLOSE_client_closed);
		break;
	case RELAY_FROM_FAILED:
	case RELAY_TO_FAILED:
		conn_fail(c, error);
		break;
	}
}

void conn_relay_go(struct conn *c)
{
	if (c->phase == CONN_RELAY)
		relay_both(c);
	else
		relay_back(c);
}

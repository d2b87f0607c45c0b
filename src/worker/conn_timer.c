/* SPDX-License-Identifier: MIT */
/* A connection's one timer, set anew only when it fires: activity just notes the time. */
#include "config/socket_options.h"
#include "worker/conn_priv.h"
#include "worker/deadlines.h"
#include "worker/worker.h"

WORKER_ONLY static enum close_reason look(const struct conn *c, uint64_t now_ms, uint64_t *next_ms)
{
	const struct stream *s = &c->client.stream;
	bool has_spoken = s->bytes_in > 0 || s->read_ended;
	struct deadline_facts facts = {
		.limits = &c->listener->timeouts,
		.opened_ms = c->opened_ms,
		.begun_ms = c->begun_ms,
		.active_ms = c->active_ms,
		.is_dialing = c->phase == CONN_DIAL,
		.is_paced = conn_pace_waits(c),
		.has_spoken = has_spoken,
		.is_heard = has_spoken || s->can_read,
	};
	return deadlines_look(&facts, now_ms, next_ms);
}

/* Whether the client takes too slowly what it is owed. */
WORKER_ONLY static bool is_slow(struct conn *c, uint64_t now_ms, uint64_t *next_ms)
{
	const struct rate *least = &c->listener->timeouts.minimum_rate;
	if (!c->pace || least->amount == 0)
		return false;
	struct owing *o = &c->pace->owing;
	bool slow = false;
	if (now_ms >= o->newer.at_ms + OWING_LOOK_MS) {
		const struct stream *s = &c->client.stream;
		uint64_t owed_to = stream_owed_to(s);
		uint64_t taken = owing_nothing(o, owed_to) ? owed_to : stream_taken(s);
		slow = owing_look(o, least, owed_to, taken, now_ms);
	}
	if (o->newer.at_ms + OWING_LOOK_MS < *next_ms)
		*next_ms = o->newer.at_ms + OWING_LOOK_MS;
	return slow;
}

/* Most connections end before their upstream's socket needs these options, and save their system calls. Returns 0 or
 * -errno. */
WORKER_ONLY static int set_options(struct conn *c, uint64_t now_ms, uint64_t *next_ms)
{
	uint64_t due_ms = c->begun_ms + CONN_OPTIONS_MS;
	if (!c->options_due || c->phase == CONN_DIAL || !stream_is_open(&c->upstream.stream))
		return 0;
	if (now_ms < due_ms) {
		*next_ms = due_ms < *next_ms ? due_ms : *next_ms;
		return 0;
	}
	struct socket_options options = config_socket_options(c->listener);
	const char *which;
	c->options_due = false;
	return socket_set_new_dead_peers(c->upstream.stream.fd, &options, &which);
}

/* Looks what is over, and sets the timer for what comes next. Returns why to close. */
WORKER_ONLY static enum close_reason look_and_start(struct conn *c, uint64_t now_ms)
{
	uint64_t next_ms;
	enum close_reason reason = look(c, now_ms, &next_ms);
	if (reason != CLOSE_NONE)
		return reason;
	if (is_slow(c, now_ms, &next_ms))
		return CLOSE_slow_client;
	int failed = set_options(c, now_ms, &next_ms);
	if (failed)
		return conn_reason_of(true, failed);
	if (next_ms != UINT64_MAX)
		timer_start(&c->worker->timers, &c->timer, next_ms);
	return CLOSE_NONE;
}

void conn_timer_start(struct conn *c)
{
	uint64_t now_ms = worker_now_ms(c->worker);
	timer_stop(&c->timer);
	/* what is over already is so a moment later too */
	if (look_and_start(c, now_ms) != CLOSE_NONE)
		timer_start(&c->worker->timers, &c->timer, now_ms);
}

void conn_timer_due(struct timer *t, uint64_t now_ms)
{
	struct conn *c = CONTAINER_OF(t, struct conn, timer);
	if (c->phase == CONN_FINISH) {
		conn_finish_due(c, now_ms);
		return;
	}
	if (c->phase == CONN_HANDSHAKE) {
		conn_close(c, CLOSE_handshake_timeout);
		return;
	}
	enum close_reason reason = look_and_start(c, now_ms);
	if (reason != CLOSE_NONE)
		conn_close(c, reason);
}

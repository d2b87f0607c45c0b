/* SPDX-License-Identifier: MIT */
/* Holding a connection's bytes back: it is the reading that waits, so that the sender does too. */
#include <errno.h>
#include <stdlib.h>

#include "worker/conn_priv.h"
#include "worker/worker.h"

/* bandwidth.source_* counts in what the listener's own scope knows of the source; the other scope is all listeners. */
#define OWN_SCOPE 1

_Static_assert(OWN_SCOPE < SOURCE_SCOPES, "the scope is one of a seat's");

WORKER_ONLY static uint64_t now_ns(const struct conn *c)
{
	return worker_now_ms(c->worker) * 1000000;
}

WORKER_ONLY static void bytes_due(struct timer *t, uint64_t now_ms)
{
	struct conn_pace *p = CONTAINER_OF(t, struct conn_pace, timer);
	p->conn->active_ms = now_ms;
	conn_go(p->conn);
}

static bool is_limited(const struct bandwidth_config *b)
{
	return b->in.amount > 0 || b->out.amount > 0 || b->source_in.amount > 0 || b->source_out.amount > 0 ||
	       b->listener_in.amount > 0 || b->listener_out.amount > 0;
}

int conn_pace_start(struct conn *c)
{
	const struct bandwidth_config *limits = &c->listener->bandwidth;
	bool limited = !c->trusted && is_limited(limits);
	if (!limited && c->listener->timeouts.minimum_rate.amount == 0)
		return 0;
	struct conn_pace *p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->conn = c;
	timer_init(&p->timer, bytes_due);
	if (limited) {
		pace_line_init(&p->lines[PACE_IN], PACE_IN, limits, c->account, c->sources[OWN_SCOPE]);
		pace_line_init(&p->lines[PACE_OUT], PACE_OUT, limits, c->account, c->sources[OWN_SCOPE]);
	}
	c->pace = p;
	return 0;
}

size_t conn_pace_ask(struct conn *c, enum pace_way way)
{
	if (!c->pace)
		return SIZE_MAX;
	uint64_t at_ns;
	struct conn_pace *p = c->pace;
	uint64_t n = pace_ask(&p->lines[way], now_ns(c), &at_ns);
	if (n > 0)
		return n < SIZE_MAX ? (size_t)n : SIZE_MAX;
	uint64_t at_ms = at_ns / 1000000 + (at_ns % 1000000 != 0);
	if (!timer_runs(&p->timer) || at_ms < p->timer.deadline_ms)
		timer_start(&c->worker->timers, &p->timer, at_ms);
	return 0;
}

void conn_pace_use(struct conn *c, enum pace_way way, size_t n)
{
	if (c->pace)
		pace_use(&c->pace->lines[way], n, now_ns(c));
}

void conn_pace_rest(struct conn *c, enum pace_way way)
{
	if (c->pace)
		pace_rest(&c->pace->lines[way], now_ns(c));
}

void conn_pace_stop(struct conn *c)
{
	if (!c->pace)
		return;
	timer_stop(&c->pace->timer);
	conn_pace_rest(c, PACE_IN);
	conn_pace_rest(c, PACE_OUT);
}

bool conn_look_hung_up(struct conn *c)
{
	int error = conn_take_error(c);
	if (error)
		conn_fail(c, error);
	return !error;
}

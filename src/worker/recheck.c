/* SPDX-License-Identifier: MIT */
#include "worker/recheck.h"

#include <stdlib.h>

#include "base/must.h"
#include "worker/conn_priv.h"

/* Connections that are asked about in one turn: for one over a UNIX socket it may take some system calls. */
#define RECHECKS_A_TURN 64

struct recheck {
	atomic_uint refs;
	bool (*denied)(void *arg, const struct recheck_visitor *v);
	void (*release)(void *arg);
	void *arg;
};

struct recheck *recheck_create(bool (*denied)(void *arg, const struct recheck_visitor *v), void (*release)(void *arg),
			       void *arg)
{
	struct recheck *r = malloc(sizeof(*r));
	if (!r)
		return NULL;
	atomic_init(&r->refs, 1);
	r->denied = denied;
	r->release = release;
	r->arg = arg;
	return r;
}

struct recheck *recheck_ref(struct recheck *r)
{
	atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
	return r;
}

struct recheck *recheck_unref(struct recheck *r)
{
	if (!r)
		return NULL;
	unsigned before = atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel);
	must(before > 0);
	if (before > 1)
		return NULL;
	if (r->release)
		r->release(r->arg);
	free(r);
	return NULL;
}

void recheck_end(struct worker *w)
{
	list_move_all(&w->conns, &w->unchecked);
	w->recheck = recheck_unref(w->recheck);
}

void recheck_begin(struct worker *w)
{
	struct recheck *next = atomic_exchange(&w->next_recheck, NULL);
	if (!next)
		return;
	recheck_end(w);
	w->recheck = next;
	/* those in the queue may have been let in by the rules of before; what is put there from here on was let in by those
	 * of now, which are in effect before main asks: it is not looked at, so this ends, however many come */
	w->recheck_until = queue_put_so_far(&w->queue);
	list_move_all(&w->unchecked, &w->conns);
}

struct list *recheck_conns(struct worker *w)
{
	return w->recheck && (int)(queue_taken(&w->queue) - w->recheck_until) <= 0 ? &w->unchecked : &w->conns;
}

void recheck_go_on(struct worker *w)
{
	if (!w->recheck)
		return;
	struct list *first;
	for (unsigned i = 0; i < RECHECKS_A_TURN && (first = list_take_first(&w->unchecked)); i++) {
		struct conn *c = CONTAINER_OF(first, struct conn, node);
		list_append(&w->conns, &c->node);
		struct recheck_visitor v = {
			.listener = c->listener,
			.peer = &c->peer,
			.fd = c->client.stream.fd,
			.is_trusted = c->trusted,
		};
		if (w->recheck->denied(w->recheck->arg, &v))
			conn_close(c, CLOSE_no_longer_allowed);
	}
	bool has_all_seats = (int)(queue_taken(&w->queue) - w->recheck_until) >= 0;
	if (list_empty(&w->unchecked) && has_all_seats)
		recheck_end(w);
}

/* SPDX-License-Identifier: MIT */
/* Counters: one set a worker, written by that worker alone and summed by readers; and one account a listener, which
 * the acceptor takes from and the worker that closes gives back to. */
#ifndef REPORT_COUNTERS_H
#define REPORT_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/rate.h"

#define COUNTERS_REASONS_MAX 64
#define CACHE_LINE_BYTES 64

/* Only its owner writes; anybody reads. All since the start. */
struct counters {
	_Alignas(CACHE_LINE_BYTES) _Atomic uint64_t seated; /* connections that the worker took over */
	_Atomic uint64_t closed;
	_Atomic uint64_t bytes_in;			/* from clients */
	_Atomic uint64_t bytes_out;			/* to clients */
	_Atomic uint64_t reasons[COUNTERS_REASONS_MAX]; /* closed, by close reason */
};

/* Thread: the owner. A plain load and store: there is one writer. */
static inline void counter_add(_Atomic uint64_t *counter, uint64_t n)
{
	uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);
	atomic_store_explicit(counter, value + n, memory_order_relaxed);
}

/* Thread: any. */
static inline uint64_t counter_read(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

/* What a listener's name has open, kept over reloads. Shared: the acceptor takes, workers give back. */
struct account {
	_Alignas(CACHE_LINE_BYTES) atomic_uint open; /* connections */
	atomic_uint handshakes;			     /* of TLS, under way */
	atomic_uint refs;
	struct rate_bucket arrivals; /* of new connections */
	struct rate_bucket bytes_in; /* of all its connections, if bandwidth says so */
	struct rate_bucket bytes_out;
	uint16_t scope;	   /* the number of its name, from 1: what its sources are remembered by; main's own */
	uint64_t admitted; /* main's own: connections since the start, which services take turns by */
	uint64_t full_in;  /* main's own: in this pass over those who wait, a limit of the listener was reached */
};

/* What workers see of a source (front/sources.h has the rest): it stays where it is while it is counted as open. */
struct source_share {
	atomic_uint open;	      /* connections: the acceptor takes, the worker that closes gives back */
	atomic_uint offences;	      /* noted by workers, not seen by the acceptor yet */
	struct rate_bucket bytes_in;  /* from its clients */
	struct rate_bucket bytes_out; /* to them */
};

/* The scopes that a connection's source is remembered in: all listeners, and its own. */
#define SOURCE_SCOPES 2

struct account *account_create(void); /* one reference; NULL: no memory */
struct account *account_ref(struct account *a);
struct account *account_unref(struct account *a); /* returns NULL; accepts NULL */

#endif

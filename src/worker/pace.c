/* SPDX-License-Identifier: MIT */
#include "worker/pace.h"

#define NS_PER_MS UINT64_C(1000000)

/* How long the wait at a gate may be for a quantum to be reserved there, and how much longer for each time that it was too
 * long: so those who have waited come before those who have just come. */
#define QUEUE_NS (40000 * NS_PER_MS)
#define QUEUE_NS_A_MISS (1250 * NS_PER_MS)
#define MISSES_MOST 16

_Static_assert(QUEUE_NS + MISSES_MOST * QUEUE_NS_A_MISS <= RATE_RESERVE_NS_MOST, "a bucket takes such waits");

static uint64_t bytes_in(const struct rate *r, uint64_t ms)
{
	unsigned __int128 bytes = (unsigned __int128)r->amount * ms / (r->period_ms > 0 ? r->period_ms : 1);
	return bytes < RATE_BURST_MOST ? (uint64_t)bytes : RATE_BURST_MOST;
}

/* Bytes that a quantum has at least. */
static uint64_t quantum_least(const struct rate *r)
{
	uint64_t n = bytes_in(r, PACE_QUANTUM_MOST_MS);
	if (n > PACE_QUANTUM_BYTES)
		n = PACE_QUANTUM_BYTES;
	return n > 0 ? n : 1;
}

static uint64_t quantum_most(const struct rate *r)
{
	uint64_t n = bytes_in(r, PACE_QUANTUM_MS);
	uint64_t least = quantum_least(r);
	return n > least ? n : least;
}

/* The longer the wait, the smaller: with n connections at a gate it settles at a time of about sqrt(n) quanta between the
 * turns of each. And what is there goes, rather than wait for a little more. */
static uint64_t quantum_of(const struct pace_gate *g, uint64_t now_ns)
{
	uint64_t there = rate_there(g->bucket, &g->rate, now_ns);
	uint64_t n = quantum_most(&g->rate);
	uint64_t least = quantum_least(&g->rate);
	n /= 1 + g->waited_ns / (PACE_QUANTUM_MS * NS_PER_MS);
	if (there < n && there >= least)
		return there;
	return n > least ? n : least;
}

static void add_gate(struct pace_line *l, const struct rate *r, struct rate_bucket *bucket)
{
	if (r->amount == 0)
		return;
	struct pace_gate *g = &l->gates[l->gate_count++];
	uint64_t quantum = quantum_most(r);
	g->rate = *r;
	if (g->rate.burst < quantum)
		g->rate.burst = quantum;
	g->bucket = bucket;
}

void pace_line_init(struct pace_line *l, enum pace_way way, const struct bandwidth_config *limits,
		    struct account *account, struct source_share *source)
{
	bool in = way == PACE_IN;
	*l = (struct pace_line){0};
	/* its own first: nobody holds a place in a shared queue while it has to wait for itself */
	add_gate(l, in ? &limits->in : &limits->out, &l->own);
	if (source)
		add_gate(l, in ? &limits->source_in : &limits->source_out, in ? &source->bytes_in : &source->bytes_out);
	add_gate(l, in ? &limits->listener_in : &limits->listener_out, in ? &account->bytes_in : &account->bytes_out);
}

static uint64_t next_quantum(const struct pace_line *l, uint64_t now_ns)
{
	uint64_t n = UINT64_MAX;
	for (unsigned i = 0; i < l->gate_count; i++) {
		uint64_t of_gate = quantum_of(&l->gates[i], now_ns);
		if (of_gate < n)
			n = of_gate;
	}
	return n;
}

uint64_t pace_ask(struct pace_line *l, uint64_t now_ns, uint64_t *at_ns)
{
	if (l->gate_count == 0)
		return UINT64_MAX;
	for (;;) {
		if (now_ns < l->due_ns) {
			*at_ns = l->due_ns;
			return 0;
		}
		if (l->gate_passed == 0)
			l->bytes = next_quantum(l, now_ns);
		if (l->gate_passed == l->gate_count)
			return l->bytes;
		struct pace_gate *g = &l->gates[l->gate_passed];
		uint64_t most_ns = QUEUE_NS + l->misses * QUEUE_NS_A_MISS;
		uint64_t wait_ns = rate_reserve(g->bucket, &g->rate, l->bytes, most_ns, now_ns);
		if (wait_ns == UINT64_MAX) {
			if (l->misses < MISSES_MOST)
				l->misses++;
			l->due_ns = now_ns + PACE_RETRY_MS * NS_PER_MS;
			continue;
		}
		l->misses = 0;
		g->waited_ns = wait_ns;
		l->due_ns = now_ns + wait_ns;
		l->gate_passed++;
	}
}

/* What was not foreseen: nobody waits for it now, but all for its time. */
static void charge(struct pace_line *l, uint64_t n, uint64_t now_ns)
{
	for (unsigned i = 0; i < l->gate_count; i++) {
		struct pace_gate *g = &l->gates[i];
		uint64_t wait_ns = 0;
		/* what would take longer than a bucket remembers is let go */
		for (uint64_t left = n; left > 0 && wait_ns != UINT64_MAX;) {
			uint64_t part = left < g->rate.burst ? left : g->rate.burst;
			wait_ns = rate_reserve(g->bucket, &g->rate, part, RATE_RESERVE_NS_MOST, now_ns);
			if (wait_ns != UINT64_MAX && now_ns + wait_ns > l->due_ns)
				l->due_ns = now_ns + wait_ns;
			left -= part;
		}
	}
}

void pace_use(struct pace_line *l, uint64_t n, uint64_t now_ns)
{
	if (l->gate_count == 0 || n == 0)
		return;
	if (l->gate_passed == l->gate_count && n < l->bytes) {
		l->bytes -= n;
		return;
	}
	uint64_t reserved = l->gate_passed == l->gate_count ? l->bytes : 0;
	if (reserved > 0) {
		l->gate_passed = 0;
		l->bytes = 0;
	}
	if (n > reserved)
		charge(l, n - reserved, now_ns);
}

void pace_rest(struct pace_line *l, uint64_t now_ns)
{
	for (unsigned i = 0; i < l->gate_passed; i++)
		rate_return(l->gates[i].bucket, &l->gates[i].rate, l->bytes, now_ns);
	l->gate_passed = 0;
	l->bytes = 0;
}

/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/must.h"
#include "service/service.h"
#include "transport/pipe.h"
#include "worker/handoff.h"
#include "worker/offences.h"
#include "worker/recheck.h"
#include "worker/worker.h"

struct pool {
	struct doorbell doorbell;
	struct offences offences;
	atomic_uint descriptors; /* that connections have, or will have */
	atomic_uint handshakes;	 /* of TLS, under way */
	unsigned count;
	uint64_t peak;		/* connections, since pool_restart_peak */
	struct worker *workers; /* owned */
};

/* Pipes that bulk goes through, of all workers, of one, and of how many descriptors one. They hold 1 MiB each: a user who is not
 * privileged may have 64 MiB in pipes. */
#define PIPES 32U
#define PIPES_A_WORKER 16U
#define PIPES_PART 256U

static unsigned pipes_a_worker(unsigned workers)
{
	unsigned by_limit = fd_limit() / PIPES_PART;
	unsigned of_all = workers > PIPES ? workers : PIPES;
	unsigned n = (by_limit < of_all ? by_limit : of_all) / workers;
	return n < PIPES_A_WORKER ? n : PIPES_A_WORKER;
}

unsigned pool_own_descriptors(unsigned workers)
{
	return workers * pipes_a_worker(workers) * PIPE_DESCRIPTORS;
}

int pool_create(struct pool **to, unsigned n, struct config *config)
{
	must(n > 0 && n <= POOL_WORKERS_MAX);
	struct pool *p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	int failed = doorbell_init(&p->doorbell);
	if (failed) {
		free(p);
		return failed;
	}
	failed = offences_init(&p->offences);
	if (failed) {
		doorbell_fini(&p->doorbell);
		free(p);
		return failed;
	}
	atomic_init(&p->descriptors, 0);
	atomic_init(&p->handshakes, 0);
	/* workers hold cache-line-aligned counters */
	p->workers = aligned_alloc(CACHE_LINE_BYTES, n * sizeof(*p->workers));
	if (!p->workers) {
		failed = -ENOMEM;
		goto fail;
	}
	for (; p->count < n; p->count++) {
		struct worker *w = &p->workers[p->count];
		*w = (struct worker){.index = p->count, .wake_fd = -1, .doorbell = &p->doorbell};
		w->pipes_most = pipes_a_worker(n);
		w->descriptors = &p->descriptors;
		w->all_handshakes = &p->handshakes;
		w->offences = &p->offences;
		failed = worker_start(w, config);
		if (failed)
			goto fail;
	}
	*to = p;
	return 0;

fail:
	if (p->workers)
		pool_command(p, WORKER_STOP, NULL);
	pool_destroy(p);
	return failed;
}

struct pool *pool_destroy(struct pool *p)
{
	if (!p)
		return NULL;
	for (unsigned i = 0; i < p->count; i++)
		worker_join(&p->workers[i]);
	free(p->workers);
	offences_fini(&p->offences);
	doorbell_fini(&p->doorbell);
	free(p);
	return NULL;
}

int pool_pick(struct pool *p)
{
	int best = -EAGAIN;
	uint64_t fewest = UINT64_MAX;
	for (unsigned i = 0; i < p->count; i++) {
		struct worker *w = &p->workers[i];
		if (queue_full(&w->queue))
			continue;
		uint64_t open = w->seated - counter_read(&w->counters.closed);
		if (open < fewest) {
			fewest = open;
			best = (int)i;
		}
	}
	return best;
}

void pool_seat(struct pool *p, unsigned worker, const struct seat *seat)
{
	must(worker < p->count);
	struct worker *w = &p->workers[worker];
	w->seated++;
	uint64_t open = pool_open(p);
	if (open > p->peak)
		p->peak = open;
	queue_put(&w->queue, seat, clock_now_ms());
	worker_wake(w);
}

void pool_command(struct pool *p, enum worker_command command, struct config *config)
{
	for (unsigned i = 0; i < p->count; i++) {
		struct worker *w = &p->workers[i];
		if (command == WORKER_RECONFIGURE)
			config_unref(atomic_exchange(&w->next_config, config_ref(config)));
		atomic_fetch_or(&w->commands, 1U << command);
		worker_wake(w);
	}
}

void pool_recheck(struct pool *p, struct recheck *r)
{
	for (unsigned i = 0; i < p->count; i++)
		recheck_unref(atomic_exchange(&p->workers[i].next_recheck, recheck_ref(r)));
	recheck_unref(r);
	pool_command(p, WORKER_RECHECK, NULL);
}

bool pool_offences(struct pool *p, unsigned most, void (*each)(void *arg, struct source_share *source, unsigned n),
		   void *arg)
{
	return offences_take(&p->offences, most, each, arg);
}

struct doorbell *pool_offence_bell(struct pool *p)
{
	return &p->offences.bell;
}

struct doorbell *pool_doorbell(struct pool *p)
{
	return &p->doorbell;
}

void pool_take_descriptors(struct pool *p, unsigned n)
{
	atomic_fetch_add_explicit(&p->descriptors, n, memory_order_relaxed);
}

unsigned pool_descriptors(const struct pool *p)
{
	return atomic_load_explicit(&p->descriptors, memory_order_relaxed);
}

void pool_take_handshake(struct pool *p)
{
	atomic_fetch_add_explicit(&p->handshakes, 1, memory_order_relaxed);
}

unsigned pool_handshakes(const struct pool *p)
{
	return atomic_load_explicit(&p->handshakes, memory_order_relaxed);
}

unsigned pool_descriptors_of(const struct listener_config *l)
{
	return services[l->service]->descriptors;
}

const char *pool_service_of(const struct listener_config *l)
{
	return services[l->service]->group->name;
}

uint64_t pool_open(const struct pool *p)
{
	uint64_t open = 0;
	for (unsigned i = 0; i < p->count; i++)
		open += p->workers[i].seated - counter_read(&p->workers[i].counters.closed);
	return open;
}

uint64_t pool_peak(const struct pool *p)
{
	return p->peak;
}

void pool_restart_peak(struct pool *p)
{
	p->peak = pool_open(p);
}

unsigned pool_workers(const struct pool *p)
{
	return p->count;
}

const struct counters *pool_counters(const struct pool *p, unsigned worker)
{
	must(worker < p->count);
	return &p->workers[worker].counters;
}

uint64_t pool_queue_age_ms(struct pool *p, uint64_t now_ms)
{
	uint64_t oldest_ms = 0;
	for (unsigned i = 0; i < p->count; i++) {
		uint64_t age_ms = queue_age_ms(&p->workers[i].queue, now_ms);
		oldest_ms = age_ms > oldest_ms ? age_ms : oldest_ms;
	}
	return oldest_ms;
}

uint64_t pool_stuck_ms(struct pool *p, unsigned worker, uint64_t now_ms)
{
	must(worker < p->count);
	struct worker *w = &p->workers[worker];
	uint64_t began = atomic_load(&w->turn_began_ms);
	if (began) {
		w->lying_since_ms = 0;
		return now_ms > began ? now_ms - began : 0;
	}
	/* A look in between may find work that came just now, each time: it lies only if it is the same. */
	unsigned taken = queue_taken(&w->queue);
	if (queue_length(&w->queue) == 0 && atomic_load(&w->commands) == 0) {
		w->lying_since_ms = 0;
	} else if (!w->lying_since_ms || w->lying_at != taken) {
		w->lying_since_ms = now_ms;
		w->lying_at = taken;
	}
	return w->lying_since_ms ? now_ms - w->lying_since_ms : 0;
}

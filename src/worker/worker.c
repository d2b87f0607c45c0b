/* SPDX-License-Identifier: MIT */
#include "worker/worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/test_hook.h"
#include "transport/pipe.h"
#include "transport/stream.h"
#include "transport/tls.h"
#include "worker/conn_priv.h"
#include "worker/recheck.h"
#include "worker/resolver.h"

/* Connections taken from the queue in one turn, so that those that are seated get theirs. */
#define SEATS_A_TURN 128

/* How often unused TLS streams are looked for, and while many are to be put to sleep. */
#define TLS_SWEEP_MS 1000
#define TLS_SWEEP_SOON_MS 8

/* The worker's own parts are touched here by main, before the thread is there and after it has gone. */
#if defined(__clang__)
#define OUTSIDE_THE_THREAD __attribute__((no_thread_safety_analysis))
#else
#define OUTSIDE_THE_THREAD
#endif

void worker_wake(struct worker *w)
{
	/* pairs with the worker's own order: says that it sleeps, then looks at queue and commands */
	atomic_thread_fence(memory_order_seq_cst);
	if (!atomic_load(&w->asleep) || !atomic_exchange(&w->asleep, false))
		return;
	uint64_t once = 1;
	/* it fails only when the count is full, and then the worker wakes anyway */
	if (write(w->wake_fd, &once, sizeof(once)) < 0)
		return;
}

/* The eventfd is watched by edges: every write is one, so it need not be read. */
static void woken(struct watch *watch UNUSED, unsigned events UNUSED)
{
}

WORKER_ONLY static void take_commands(struct worker *w)
{
	if (!atomic_load_explicit(&w->commands, memory_order_relaxed))
		return;
	unsigned commands = atomic_exchange(&w->commands, 0);
	if (commands & 1U << WORKER_RECONFIGURE) {
		struct config *config = atomic_exchange(&w->next_config, NULL);
		if (config)
			resolver_reconfigure(w->resolver, config);
		config_unref(config);
	}
	if (commands & 1U << WORKER_RECHECK)
		recheck_begin(w);
	if (commands & 1U << WORKER_CLOSE_ALL)
		conn_close_all(w, CLOSE_drain);
	if (commands & 1U << WORKER_STOP)
		w->stopping = true;
}

WORKER_ONLY static void take_seats(struct worker *w)
{
	struct seat seat;
	unsigned taken = 0;
	while (taken < SEATS_A_TURN && queue_take(&w->queue, &seat)) {
		conn_open(w, &seat);
		taken++;
	}
	if (taken > 0)
		doorbell_ring(w->doorbell);
}

WORKER_ONLY static void go_on(struct list *again)
{
	struct list *first;
	while ((first = list_take_first(again)))
		conn_go_on(first);
}

/* How long the next wait may last; says to main that it begins. */
WORKER_ONLY static int prepare_to_wait(struct worker *w)
{
	if (!list_empty(&w->again) || !list_empty(&w->shakes) || w->recheck)
		return 0;
	int sleep_ms = timer_wheel_sleep_ms(&w->timers, clock_now_ms());
	if (sleep_ms == 0)
		return 0;
	atomic_store(&w->asleep, true);
	atomic_thread_fence(memory_order_seq_cst);
	if (queue_length(&w->queue) > 0 || atomic_load(&w->commands)) {
		atomic_store(&w->asleep, false);
		return 0;
	}
	atomic_store_explicit(&w->turn_began_ms, 0, memory_order_relaxed);
	return sleep_ms;
}

WORKER_ONLY static void sweep_tls(struct timer *t, uint64_t now_ms)
{
	struct worker *w = CONTAINER_OF(t, struct worker, tls_sweep);
	switch (tls_io_sweep(w->tls_io)) {
	case TLS_SWEEP_NONE:
		break;
	case TLS_SWEEP_LATER:
		timer_start(&w->timers, t, now_ms + TLS_SWEEP_MS);
		break;
	case TLS_SWEEP_SOON:
		timer_start(&w->timers, t, now_ms + TLS_SWEEP_SOON_MS);
		break;
	}
}

WORKER_ONLY static void turn(struct worker *w)
{
	int sleep_ms = prepare_to_wait(w);
	poller_wait(&w->poller, sleep_ms);
	w->now_ms = clock_now_ms();
	w->handshakes = 0;
	atomic_store_explicit(&w->turn_began_ms, w->now_ms, memory_order_relaxed);
	if (sleep_ms != 0)
		atomic_store_explicit(&w->asleep, false, memory_order_relaxed);

	test_hook_stick();

	/* those who stopped in the turn before; who stops in this one goes on in the next */
	struct list again;
	list_init(&again);
	list_move_all(&again, &w->again);

	poller_dispatch(&w->poller);
	go_on(&again);
	conn_shake_all(w);
	take_commands(w);
	take_seats(w);
	recheck_go_on(w);
	if (tls_io_awake(w->tls_io) && !timer_runs(&w->tls_sweep))
		timer_start(&w->timers, &w->tls_sweep, w->now_ms + TLS_SWEEP_MS);
	timer_wheel_run(&w->timers, w->now_ms);
	conn_free_dead(w);
	resolver_sweep(w->resolver);
}

uint64_t worker_now_ms(const struct worker *w)
{
	return w->now_ms;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	char name[16];
	snprintf(name, sizeof(name), "usherd-w%u", w->index);
	/* a name is for the reader of a thread list; without it nothing is lost */
	(void)pthread_setname_np(pthread_self(), name);

	role_enter_worker();
	while (!w->stopping || !list_empty(&w->conns) || !list_empty(&w->unchecked) || queue_length(&w->queue) > 0)
		turn(w);
	recheck_end(w);
	w->resolver = resolver_destroy(w->resolver);
	role_leave_worker();
	return NULL;
}

OUTSIDE_THE_THREAD static void release(struct worker *w)
{
	queue_fini(&w->queue);
	fd_close(&w->wake_fd);
	poller_fini(&w->poller);
	free(w->scratch);
	w->scratch = NULL;
	w->pipes = pipe_pool_destroy(w->pipes);
	w->tls_io = tls_io_destroy(w->tls_io);
	w->resolver = resolver_destroy(w->resolver);
	config_unref(atomic_exchange(&w->next_config, NULL));
	recheck_unref(atomic_exchange(&w->next_recheck, NULL));
}

OUTSIDE_THE_THREAD int worker_start(struct worker *w, struct config *config)
{
	w->poller.fd = -1;
	w->wake.ready = woken;
	list_init(&w->conns);
	list_init(&w->unchecked);
	list_init(&w->again);
	list_init(&w->shakes);
	list_init(&w->dead);
	w->now_ms = clock_now_ms();
	timer_wheel_init(&w->timers, clock_now_ms());
	timer_init(&w->tls_sweep, sweep_tls);

	int failed = queue_init(&w->queue);
	if (failed)
		goto fail;
	failed = poller_init(&w->poller);
	if (failed)
		goto fail;
	w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->wake_fd < 0) {
		failed = -errno;
		goto fail;
	}
	failed = poller_add(&w->poller, w->wake_fd, &w->wake, POLLER_READ | POLLER_EDGE);
	if (failed)
		goto fail;
	failed = -ENOMEM;
	w->scratch = malloc(STREAM_HELD_MAX_BYTES);
	w->pipes = pipe_pool_create(w->pipes_most);
	w->tls_io = tls_io_create();
	if (!w->scratch || !w->pipes || !w->tls_io)
		goto fail;
	w->resolver = resolver_create(w, config);
	if (!w->resolver)
		goto fail;
	failed = -pthread_create(&w->thread, NULL, worker_main, w);
	if (failed)
		goto fail;
	return 0;

fail:
	release(w);
	return failed;
}

void worker_join(struct worker *w)
{
	pthread_join(w->thread, NULL);
	release(w);
}

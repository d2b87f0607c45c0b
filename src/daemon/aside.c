/* SPDX-License-Identifier: MIT */
#include "daemon/aside.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/text.h"

enum {
	ASIDE_RUNS,
	ASIDE_LEFT, /* by main: nobody waits for its end */
	ASIDE_OVER, /* its work has returned */
};

struct aside {
	const struct aside_work *work; /* borrowed */
	void *arg;		       /* owned by both */
	int told_fd;		       /* owned by both: an eventfd */
	atomic_int state;
	atomic_uint holders; /* who is last frees it */

	/* where the thread is */
	pthread_mutex_t lock;
	char path[PATH_MAX]; /* "": at none */
	uint64_t serial;     /* of this file */
	uint64_t since_ms;

	/* main's */
	struct poller *poller; /* borrowed */
	pthread_t thread;
	bool joined;
	uint64_t slow_serial; /* of the file that was told to be slow; 0: none is */
	struct aside_slow slow;
	uint64_t slow_since_ms;
};

/* Threads that were left and have not come to their end. */
static atomic_uint left_behind;

static void drop(struct aside *a)
{
	if (atomic_fetch_sub_explicit(&a->holders, 1, memory_order_acq_rel) != 1)
		return;
	if (a->work->release)
		a->work->release(a->arg);
	fd_close(&a->told_fd);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

/* ---- the thread's ---- */

void aside_touch(struct aside *a, const char *path)
{
	struct text t;
	pthread_mutex_lock(&a->lock);
	text_init(&t, a->path, sizeof(a->path));
	text_add(&t, path ? path : "");
	a->serial++;
	a->since_ms = clock_now_ms();
	pthread_mutex_unlock(&a->lock);
}

void aside_tell(struct aside *a)
{
	uint64_t once = 1;
	/* it fails only when the count is full, and main has not heard of the others yet then */
	(void)!write(a->told_fd, &once, sizeof(once));
}

bool aside_is_left(const struct aside *a)
{
	return atomic_load(&a->state) == ASIDE_LEFT;
}

static void *run(void *arg)
{
	struct aside *a = arg;
	(void)pthread_setname_np(pthread_self(), a->work->name);
	a->work->run(a, a->arg);
	aside_touch(a, NULL);
	if (atomic_exchange(&a->state, ASIDE_OVER) == ASIDE_LEFT)
		atomic_fetch_sub(&left_behind, 1);
	aside_tell(a);
	drop(a);
	return NULL;
}

/* ---- main's ---- */

MAIN_ONLY static int start_thread(struct aside *a)
{
	sigset_t all;
	sigset_t before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int failed = -pthread_create(&a->thread, NULL, run, a);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return failed;
}

int aside_start(struct aside **to, const struct aside_work *work, void *arg, struct poller *poller, struct watch *told)
{
	if (atomic_load(&left_behind) >= ASIDE_LEFT_MOST)
		return -EAGAIN;
	struct aside *a = calloc(1, sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->work = work;
	a->arg = arg;
	a->poller = poller;
	atomic_init(&a->holders, 2);
	pthread_mutex_init(&a->lock, NULL);
	a->told_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int failed = a->told_fd < 0 ? -errno : poller_add(poller, a->told_fd, told, POLLER_READ | POLLER_EDGE);
	if (!failed) {
		failed = start_thread(a);
		if (failed)
			poller_remove(poller, a->told_fd);
	}
	if (!failed) {
		*to = a;
		return 0;
	}
	fd_close(&a->told_fd);
	pthread_mutex_destroy(&a->lock);
	free(a);
	return failed;
}

bool aside_is_over(const struct aside *a)
{
	return atomic_load(&a->state) == ASIDE_OVER;
}

enum aside_news aside_look(struct aside *a, uint64_t now_ms, struct aside_slow *to)
{
	enum aside_news news = ASIDE_NO_NEWS;
	pthread_mutex_lock(&a->lock);
	bool is_same = a->slow_serial == a->serial;
	if (a->slow_serial != 0 && !is_same) {
		news = ASIDE_GOES_ON;
	} else if (!is_same && a->path[0] && now_ms >= a->since_ms + ASIDE_SLOW_MS) {
		news = ASIDE_IS_SLOW;
		a->slow_serial = a->serial;
		a->slow_since_ms = a->since_ms;
		memcpy(a->slow.path, a->path, sizeof(a->path));
	}
	pthread_mutex_unlock(&a->lock);
	if (news == ASIDE_NO_NEWS)
		return news;
	a->slow.ms = now_ms - a->slow_since_ms;
	*to = a->slow;
	if (news == ASIDE_GOES_ON)
		a->slow_serial = 0;
	return news;
}

bool aside_where(struct aside *a, uint64_t now_ms, struct aside_slow *to)
{
	pthread_mutex_lock(&a->lock);
	memcpy(to->path, a->path, sizeof(a->path));
	to->ms = now_ms > a->since_ms ? now_ms - a->since_ms : 0;
	pthread_mutex_unlock(&a->lock);
	return to->path[0] != '\0';
}

/* The thread is at its end: this does not wait. */
MAIN_ONLY static void join(struct aside *a)
{
	if (!a->joined)
		pthread_join(a->thread, NULL);
	a->joined = true;
}

bool aside_wait(struct aside *a, int wait_ms)
{
	uint64_t until_ms = clock_now_ms() + (uint64_t)wait_ms;
	while (!aside_is_over(a)) {
		struct pollfd told = {.fd = a->told_fd, .events = POLLIN};
		uint64_t count;
		uint64_t now_ms = clock_now_ms();
		if (now_ms >= until_ms)
			return false;
		/* what was told before is not what is waited for; the poller has its edge */
		(void)!read(a->told_fd, &count, sizeof(count));
		if (!aside_is_over(a))
			(void)poll(&told, 1, (int)(until_ms - now_ms));
	}
	join(a);
	return true;
}

struct aside *aside_end(struct aside *a)
{
	if (!a)
		return NULL;
	poller_remove(a->poller, a->told_fd);
	int runs = ASIDE_RUNS;
	atomic_fetch_add(&left_behind, 1);
	if (atomic_compare_exchange_strong(&a->state, &runs, ASIDE_LEFT)) {
		pthread_detach(a->thread);
	} else {
		atomic_fetch_sub(&left_behind, 1);
		join(a);
	}
	drop(a);
	return NULL;
}

/* SPDX-License-Identifier: MIT */
#include "daemon/list_reading.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

/* Who is through with a reading first leaves it to the other, who frees it. */
enum {
	READING_SHARED,
	READING_LEFT,
};

struct list_reading {
	struct list_result result; /* the thread's until it has written to done_fd; path and state never change */
	int done_fd;		   /* owned: an eventfd */
	atomic_int held;

	/* main's */
	struct poller *poller; /* borrowed */
	pthread_t thread;
	bool joined;
};

static void reading_free(struct list_reading *r)
{
	list_content_fini(&r->result.content);
	fd_close(&r->done_fd);
	free(r->result.path);
	free(r);
}

static void leave(struct list_reading *r)
{
	if (atomic_exchange_explicit(&r->held, READING_LEFT, memory_order_acq_rel) == READING_LEFT)
		reading_free(r);
}

static void *read_file(void *arg)
{
	struct list_reading *r = arg;
	uint64_t once = 1;
	/* as a thread list shows it */
	(void)pthread_setname_np(pthread_self(), "usherd-lists");
	r->result.failed = list_file_read(r->result.path, clock_wall_ms(), &r->result.content, &r->result.problems);
	/* it fails only when the count is full, which one does not fill */
	(void)!write(r->done_fd, &once, sizeof(once));
	leave(r);
	return NULL;
}

MAIN_ONLY static int start_thread(struct list_reading *r)
{
	sigset_t all;
	sigset_t before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int failed = -pthread_create(&r->thread, NULL, read_file, r);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return failed;
}

int list_reading_start(struct list_reading **to, const char *path, struct poller *poller, struct watch *done)
{
	struct list_reading *r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->poller = poller;
	r->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	int failed = r->done_fd < 0 ? -errno : 0;
	if (!failed) {
		r->result.path = strdup(path);
		failed = r->result.path ? 0 : -ENOMEM;
	}
	if (failed)
		goto fail;
	r->result.state = list_file_state(path);
	failed = poller_add(poller, r->done_fd, done, POLLER_READ | POLLER_EDGE);
	if (failed)
		goto fail;
	failed = start_thread(r);
	if (failed)
		goto fail;
	*to = r;
	return 0;

fail:
	reading_free(r);
	return failed;
}

/* The thread is at its end: this does not wait. */
MAIN_ONLY static void join(struct list_reading *r)
{
	if (!r->joined)
		pthread_join(r->thread, NULL);
	r->joined = true;
}

struct list_result *list_reading_result(struct list_reading *r)
{
	join(r);
	return &r->result;
}

uint64_t list_reading_state(const struct list_reading *r)
{
	return r->result.state;
}

const char *list_reading_path(const struct list_reading *r)
{
	return r->result.path;
}

struct list_reading *list_reading_end(struct list_reading *r, int wait_ms)
{
	if (!r)
		return NULL;
	struct pollfd done = {.fd = r->done_fd, .events = POLLIN};
	poller_remove(r->poller, r->done_fd);
	if (r->joined || poll(&done, 1, wait_ms) == 1)
		join(r);
	else
		pthread_detach(r->thread);
	leave(r);
	return NULL;
}

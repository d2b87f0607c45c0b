/* SPDX-License-Identifier: MIT */
#include "daemon/list_keeper.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"

/* What main and the thread share. */
struct desk {
	pthread_mutex_t lock; /* for all but the thread's: held over no system call */

	/* main's, for the thread */
	struct list_known *files; /* owned; of the last list_keeper_set that the thread has not seen */
	unsigned count;
	bool has_files;
	bool is_taken; /* what the thread had for main */
	bool stops;
	unsigned serial; /* of the last list_keeper_set */

	/* the thread's, for main */
	struct list_event event;
	bool has_event;
	unsigned event_serial;
	struct list_trouble trouble;

	/* the thread's */
	int wake_fd; /* owned: main writes to it */
	struct watch wake;
	struct poller poller;
	struct timer_wheel timers;
	struct list_watch watch;
	struct aside *aside; /* borrowed: itself */
	unsigned seen;	     /* serial of the files that it has */
};

struct list_keeper {
	struct desk *desk;   /* shared with the thread */
	struct aside *aside; /* owned */
};

/* ---- the thread's ---- */

static void tell(struct list_watch *w, struct list_event *e)
{
	struct desk *d = CONTAINER_OF(w, struct desk, watch);
	pthread_mutex_lock(&d->lock);
	d->event = *e;
	d->event_serial = d->seen;
	d->has_event = true;
	pthread_mutex_unlock(&d->lock);
	aside_tell(d->aside);
}

static void touch(struct list_watch *w, const char *path)
{
	struct desk *d = CONTAINER_OF(w, struct desk, watch);
	aside_touch(d->aside, path);
}

static void say_trouble(struct desk *d)
{
	struct list_trouble now = {.inotify = list_watch_failure(&d->watch), .unset = d->watch.unset};
	pthread_mutex_lock(&d->lock);
	bool is_news = d->trouble.inotify != now.inotify || d->trouble.unset != now.unset;
	d->trouble = now;
	pthread_mutex_unlock(&d->lock);
	if (is_news)
		aside_tell(d->aside);
}

static void woken(struct watch *w, unsigned events UNUSED)
{
	const struct desk *d = CONTAINER_OF(w, struct desk, wake);
	uint64_t count;
	(void)!read(d->wake_fd, &count, sizeof(count));
}

static void free_files(struct list_known *files, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		free(files[i].path);
	free(files);
}

/* Does what main wants. Returns false when it is to end. */
static bool take_wishes(struct desk *d, uint64_t now_ms)
{
	pthread_mutex_lock(&d->lock);
	struct list_known *files = d->files;
	unsigned count = d->count;
	bool has_files = d->has_files;
	bool is_taken = d->is_taken;
	bool stops = d->stops;
	if (has_files)
		d->seen = d->serial;
	d->files = NULL;
	d->has_files = false;
	d->is_taken = false;
	pthread_mutex_unlock(&d->lock);
	if (has_files && !stops) {
		/* those before stay watched; the next reload tries again */
		int failed = list_watch_set(&d->watch, files, count, now_ms);
		if (failed)
			d->watch.unset = failed;
	}
	if (has_files)
		free_files(files, count);
	if (is_taken && !stops)
		list_watch_go_on(&d->watch, now_ms);
	return !stops;
}

static void run(struct aside *a, void *arg)
{
	struct desk *d = arg;
	d->aside = a;
	timer_wheel_init(&d->timers, clock_now_ms());
	list_watch_init(&d->watch, &d->poller, &d->timers);
	d->watch.tell = tell;
	d->watch.touch = touch;
	while (take_wishes(d, clock_now_ms()) && !aside_is_left(a)) {
		say_trouble(d);
		poller_wait(&d->poller, timer_wheel_sleep_ms(&d->timers, clock_now_ms()));
		poller_dispatch(&d->poller);
		timer_wheel_run(&d->timers, clock_now_ms());
	}
	list_watch_fini(&d->watch);
}

static void release(void *arg)
{
	struct desk *d = arg;
	free_files(d->files, d->has_files ? d->count : 0);
	if (d->has_event)
		list_event_fini(&d->event);
	poller_fini(&d->poller);
	fd_close(&d->wake_fd);
	pthread_mutex_destroy(&d->lock);
	free(d);
}

static const struct aside_work work = {.name = "usherd-lists", .run = run, .release = release};

/* ---- main's ---- */

static struct desk *desk_create(int *failed)
{
	struct desk *d = calloc(1, sizeof(*d));
	*failed = -ENOMEM;
	if (!d)
		return NULL;
	pthread_mutex_init(&d->lock, NULL);
	d->poller.fd = -1;
	d->wake.ready = woken;
	d->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	*failed = d->wake_fd < 0 ? -errno : poller_init(&d->poller);
	if (!*failed)
		*failed = poller_add(&d->poller, d->wake_fd, &d->wake, POLLER_READ);
	if (!*failed)
		return d;
	release(d);
	return NULL;
}

int list_keeper_start(struct list_keeper **to, struct poller *poller, struct watch *told)
{
	int failed;
	struct desk *d = desk_create(&failed);
	struct list_keeper *k = d ? calloc(1, sizeof(*k)) : NULL;
	if (!k) {
		if (!d)
			return failed;
		release(d);
		return -ENOMEM;
	}
	k->desk = d;
	failed = aside_start(&k->aside, &work, d, poller, told);
	if (failed) {
		release(d);
		free(k);
		return failed;
	}
	*to = k;
	return 0;
}

static void wake(const struct desk *d)
{
	uint64_t once = 1;
	/* it fails only when the count is full, and then it wakes anyway */
	(void)!write(d->wake_fd, &once, sizeof(once));
}

void list_keeper_set(struct list_keeper *k, struct list_known *files, unsigned count)
{
	struct desk *d = k->desk;
	pthread_mutex_lock(&d->lock);
	if (d->has_files)
		free_files(d->files, d->count);
	d->files = files;
	d->count = count;
	d->has_files = true;
	d->serial++;
	pthread_mutex_unlock(&d->lock);
	wake(d);
}

bool list_keeper_take(struct list_keeper *k, struct list_event *to, bool *is_old)
{
	struct desk *d = k->desk;
	pthread_mutex_lock(&d->lock);
	bool some = d->has_event;
	if (some) {
		*to = d->event;
		*is_old = d->event_serial != d->serial;
		d->event = (struct list_event){0};
		d->has_event = false;
		d->is_taken = true;
	}
	pthread_mutex_unlock(&d->lock);
	if (some)
		wake(d);
	return some;
}

struct list_trouble list_keeper_trouble(struct list_keeper *k)
{
	pthread_mutex_lock(&k->desk->lock);
	struct list_trouble trouble = k->desk->trouble;
	pthread_mutex_unlock(&k->desk->lock);
	return trouble;
}

struct aside *list_keeper_aside(struct list_keeper *k)
{
	return k->aside;
}

struct list_keeper *list_keeper_end(struct list_keeper *k, int wait_ms)
{
	if (!k)
		return NULL;
	pthread_mutex_lock(&k->desk->lock);
	k->desk->stops = true;
	pthread_mutex_unlock(&k->desk->lock);
	wake(k->desk);
	if (wait_ms > 0)
		(void)aside_wait(k->aside, wait_ms);
	aside_end(k->aside);
	free(k);
	return NULL;
}

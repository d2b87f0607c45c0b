/* SPDX-License-Identifier: MIT */
#include "daemon/list_watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

/* How soon one that may be half written is read again: the first time, and at the most. */
#define AGAIN_MS 250
#define AGAIN_MOST_MS 2000

struct list_watched {
	char *path;	      /* owned */
	uint64_t due_ms;      /* when it is to be read; 0: it is not */
	uint64_t state;	      /* list_file_state of the last read, well or not */
	uint64_t again_ms;    /* pause before it is read again; 0: it is not thought to be half written */
	uint64_t restless_ms; /* since when it is thought to be */
	bool restless_told;
};

void list_event_fini(struct list_event *e)
{
	list_content_fini(&e->content);
	free(e->path);
	*e = (struct list_event){0};
}

static uint64_t earlier(uint64_t a_ms, uint64_t b_ms)
{
	return a_ms == 0 ? b_ms : b_ms == 0 || a_ms < b_ms ? a_ms : b_ms;
}

static struct list_watched *find(const struct list_watch *w, const char *path)
{
	for (unsigned i = 0; i < w->count; i++)
		if (strcmp(w->at[i].path, path) == 0)
			return &w->at[i];
	return NULL;
}

/* Reading. */

/* It was not the file's fault, as far as one can tell. */
static bool is_passing(int error)
{
	return error != -EINVAL && error != -E2BIG && error != -EFBIG && error != -EISDIR && error != -ENXIO;
}

/* Returns whether it is to be told now. */
static bool note_half_written(struct list_watched *f, struct list_event *e, uint64_t now_ms)
{
	if (f->again_ms == 0) {
		f->restless_ms = now_ms;
		f->restless_told = false;
	}
	f->again_ms = f->again_ms == 0 ? AGAIN_MS : 2 * f->again_ms;
	if (f->again_ms > AGAIN_MOST_MS)
		f->again_ms = AGAIN_MOST_MS;
	f->due_ms = earlier(f->due_ms, now_ms + f->again_ms);
	e->restless_ms = now_ms - f->restless_ms;
	if (f->restless_told || e->restless_ms < LIST_WATCH_RESTLESS_MS)
		return false;
	f->restless_told = true;
	return true;
}

static void note_end(struct list_watched *f, const struct list_event *e, uint64_t now_ms)
{
	f->again_ms = 0;
	if (e->failed && is_passing(e->failed))
		f->due_ms = earlier(f->due_ms, now_ms + LIST_WATCH_RETRY_MS);
}

static void read_file(struct list_watch *w, struct list_watched *f, uint64_t now_ms)
{
	struct list_event e = {.path = strdup(f->path)};
	f->due_ms = 0;
	if (!e.path) {
		f->due_ms = now_ms + LIST_WATCH_RETRY_MS;
		return;
	}
	w->touch(w, f->path);
	e.state = list_file_state(f->path);
	e.failed = list_file_read(f->path, clock_wall_ms(), &e.content, &e.problems);
	w->touch(w, NULL);
	f->state = e.state;
	bool is_told = e.failed != -EAGAIN || note_half_written(f, &e, now_ms);
	if (e.failed != -EAGAIN)
		note_end(f, &e, now_ms);
	if (is_told) {
		w->waits = true;
		w->tell(w, &e);
	} else {
		list_event_fini(&e);
	}
}

static struct list_watched *find_due(struct list_watch *w, uint64_t now_ms)
{
	for (unsigned n = 0; n < w->count; n++) {
		struct list_watched *f = &w->at[(w->next + n) % w->count];
		if (f->due_ms != 0 && f->due_ms <= now_ms) {
			w->next = (unsigned)(f - w->at) + 1;
			return f;
		}
	}
	return NULL;
}

static void set_timer(struct list_watch *w)
{
	uint64_t first_ms = 0;
	for (unsigned i = 0; i < w->count; i++)
		first_ms = earlier(first_ms, w->at[i].due_ms);
	if (first_ms != 0 && !w->waits)
		timer_start(w->timers, &w->due, first_ms);
	else
		timer_stop(&w->due);
}

/* Reads one that is due. */
static void work_off(struct list_watch *w, uint64_t now_ms)
{
	struct list_watched *f = w->waits ? NULL : find_due(w, now_ms);
	if (f)
		read_file(w, f, now_ms);
	set_timer(w);
}

static void due(struct timer *t, uint64_t now_ms)
{
	work_off(CONTAINER_OF(t, struct list_watch, due), now_ms);
}

void list_watch_go_on(struct list_watch *w, uint64_t now_ms)
{
	w->waits = false;
	work_off(w, now_ms);
}

/* Watching. */

static void files_changed(struct file_watch *files, uint64_t now_ms)
{
	struct list_watch *w = CONTAINER_OF(files, struct list_watch, files);
	for (unsigned i = 0; i < w->count; i++) {
		struct list_watched *f = &w->at[i];
		w->touch(w, f->path);
		if (list_file_state(f->path) != f->state)
			f->due_ms = earlier(f->due_ms, now_ms);
	}
	w->touch(w, NULL);
	work_off(w, now_ms);
}

static void touches(struct file_watch *files, const char *path)
{
	struct list_watch *w = CONTAINER_OF(files, struct list_watch, files);
	w->touch(w, path);
}

static int watch_files(struct list_watch *w)
{
	const char **paths = calloc(w->count ? w->count : 1, sizeof(*paths));
	if (!paths)
		return -ENOMEM;
	for (unsigned i = 0; i < w->count; i++)
		paths[i] = w->at[i].path;
	int failed = file_watch_set(&w->files, paths, w->count);
	free(paths);
	return failed;
}

static void watch_or_retry(struct list_watch *w, uint64_t now_ms)
{
	w->unset = watch_files(w);
	if (w->unset)
		timer_start(w->timers, &w->rewatch, now_ms + LIST_WATCH_RETRY_MS);
	else
		timer_stop(&w->rewatch);
}

static void rewatch_due(struct timer *t, uint64_t now_ms)
{
	watch_or_retry(CONTAINER_OF(t, struct list_watch, rewatch), now_ms);
}

int list_watch_failure(const struct list_watch *w)
{
	return file_watch_failure(&w->files);
}

/* Its files come and go. */

void list_watch_init(struct list_watch *w, struct poller *poller, struct timer_wheel *timers)
{
	*w = (struct list_watch){.timers = timers};
	timer_init(&w->due, due);
	timer_init(&w->rewatch, rewatch_due);
	file_watch_init(&w->files, poller, timers, files_changed);
	w->files.touches = touches;
}

static void forget(struct list_watched *all, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		free(all[i].path);
	free(all);
}

int list_watch_set(struct list_watch *w, const struct list_known *files, unsigned count, uint64_t now_ms)
{
	struct list_watched *all = calloc(count ? count : 1, sizeof(*all));
	if (!all)
		return -ENOMEM;
	for (unsigned i = 0; i < count; i++) {
		const struct list_watched *old = find(w, files[i].path);
		if (old)
			all[i] = *old;
		all[i].path = strdup(files[i].path);
		if (!all[i].path) {
			forget(all, i);
			return -ENOMEM;
		}
		/* what was read of it last did not come into effect, or is not what is in effect since */
		if (old && old->state != files[i].state)
			all[i].due_ms = earlier(all[i].due_ms, now_ms);
		all[i].state = files[i].state;
	}
	forget(w->at, w->count);
	w->at = all;
	w->count = count;
	w->next = 0;
	watch_or_retry(w, now_ms);
	work_off(w, now_ms);
	return 0;
}

void list_watch_fini(struct list_watch *w)
{
	file_watch_fini(&w->files);
	timer_stop(&w->due);
	timer_stop(&w->rewatch);
	forget(w->at, w->count);
	w->at = NULL;
	w->count = 0;
}

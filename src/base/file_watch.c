/* SPDX-License-Identifier: MIT */
#include "base/file_watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/file_watch_priv.h"

#define EVENT_BYTES 16384

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* Looks at what a path leads to. Returns true if it is not what it was. */
static bool look_at(struct file_watch_path *p)
{
	struct stat at;
	struct fingerprint was = p->now;
	if (stat(p->given, &at) < 0)
		p->now = (struct fingerprint){.error = errno};
	else
		p->now = (struct fingerprint){.device = at.st_dev,
					      .inode = at.st_ino,
					      .size = at.st_size,
					      .modified = at.st_mtim,
					      .changed = at.st_ctim};
	return was.error != p->now.error || was.device != p->now.device || was.inode != p->now.inode ||
	       was.size != p->now.size || !same_time(was.modified, p->now.modified) ||
	       !same_time(was.changed, p->now.changed);
}

static bool any_blind(const struct file_watch *w)
{
	for (unsigned i = 0; i < w->path_count; i++)
		if (w->paths[i].blind)
			return true;
	return false;
}

static void forget_inotify(struct file_watch *w)
{
	if (w->fd >= 0)
		poller_remove(w->poller, w->fd);
	fd_close(&w->fd);
	file_watch_forget_places(w);
}

static void open_inotify(struct file_watch *w)
{
	w->failure = 0;
	if (w->fd >= 0)
		return;
	w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	w->failure = w->fd < 0 ? -errno : poller_add(w->poller, w->fd, &w->watch, POLLER_READ);
	if (w->failure)
		fd_close(&w->fd);
}

/* Walks all paths, and looks at what they lead to. Returns true if something was found that inotify had not told, or
 * could not have. */
static bool look_everywhere(struct file_watch *w, uint64_t now_ms)
{
	open_inotify(w);
	bool differs = file_watch_walk(w);
	for (unsigned i = 0; i < w->path_count; i++) {
		file_watch_touch(w, w->paths[i].given);
		/* a change that waits to be told is no news, but where nobody tells when the last one was */
		if (look_at(&w->paths[i]) && (w->paths[i].blind || !w->settling))
			differs = true;
	}
	file_watch_touch(w, NULL);
	w->looked_ms = now_ms;
	return differs;
}

static bool look_at_blind(struct file_watch *w)
{
	bool differs = false;
	for (unsigned i = 0; i < w->path_count; i++) {
		if (!w->paths[i].blind)
			continue;
		file_watch_touch(w, w->paths[i].given);
		differs = look_at(&w->paths[i]) || differs;
	}
	file_watch_touch(w, NULL);
	return differs;
}

static void touch(struct file_watch *w)
{
	w->touched = true;
	timer_start(w->timers, &w->settle, 0);
}

static void plan_look(struct file_watch *w, uint64_t now_ms)
{
	uint64_t at_ms = w->looked_ms + FILE_WATCH_LOOK_MS;
	if (any_blind(w) && at_ms > now_ms + FILE_WATCH_BLIND_MS)
		at_ms = now_ms + FILE_WATCH_BLIND_MS;
	timer_start(w->timers, &w->look, at_ms);
}

static void look_due(struct timer *t, uint64_t now_ms)
{
	struct file_watch *w = CONTAINER_OF(t, struct file_watch, look);
	bool all = now_ms >= w->looked_ms + FILE_WATCH_LOOK_MS;
	if (all ? look_everywhere(w, now_ms) : look_at_blind(w))
		touch(w);
	plan_look(w, now_ms);
}

static uint64_t settled_at_ms(const struct file_watch *w)
{
	uint64_t quiet_ms = w->last_ms + FILE_WATCH_QUIET_MS;
	uint64_t latest_ms = w->first_ms + FILE_WATCH_LATEST_MS;
	return quiet_ms < latest_ms ? quiet_ms : latest_ms;
}

static void settle_due(struct timer *t, uint64_t now_ms)
{
	struct file_watch *w = CONTAINER_OF(t, struct file_watch, settle);
	if (w->touched) {
		w->touched = false;
		w->last_ms = now_ms;
		if (!w->settling) {
			w->settling = true;
			w->first_ms = now_ms;
			(void)look_everywhere(w, now_ms);
		}
	}
	/* where nobody listened until now there may be more under way */
	if (now_ms >= settled_at_ms(w) && look_everywhere(w, now_ms))
		w->last_ms = now_ms;
	if (now_ms < settled_at_ms(w)) {
		timer_start(w->timers, &w->settle, settled_at_ms(w));
		return;
	}
	w->settling = false;
	plan_look(w, now_ms);
	w->changed(w, now_ms);
}

/* True if an event is about something that matters. */
static bool matters(const struct file_watch *w, const struct inotify_event *e)
{
	if (e->mask & IN_Q_OVERFLOW)
		return true;
	/* of a folder itself there is no place, but of a name in it */
	unsigned low = 0;
	unsigned high = w->place_count;
	while (low < high) {
		unsigned middle = low + (high - low) / 2;
		const struct file_watch_place *p = &w->places[middle];
		if (p->descriptor == e->wd && e->len == 0)
			return true;
		int order = file_watch_compare_place(p, e->wd, e->len > 0 ? e->name : NULL);
		if (order == 0)
			return true;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

static void told(struct watch *watch, unsigned events UNUSED)
{
	struct file_watch *w = CONTAINER_OF(watch, struct file_watch, watch);
	_Alignas(struct inotify_event) char bytes[EVENT_BYTES];
	/* the poller asks again for what is left, so that a flood leaves others their turn */
	ssize_t n = read(w->fd, bytes, sizeof(bytes));
	bool matter = false;
	for (ssize_t i = 0; i < n && !matter;) {
		const struct inotify_event *e = (const struct inotify_event *)(const void *)(bytes + i);
		matter = matters(w, e);
		i += (ssize_t)(sizeof(*e) + e->len);
	}
	if (matter)
		touch(w);
}

void file_watch_init(struct file_watch *w, struct poller *poller, struct timer_wheel *timers,
		     void (*changed)(struct file_watch *w, uint64_t now_ms))
{
	*w = (struct file_watch){.poller = poller, .timers = timers, .changed = changed, .fd = -1, .watch.ready = told};
	timer_init(&w->settle, settle_due);
	timer_init(&w->look, look_due);
}

static void free_paths(struct file_watch_path *paths, unsigned n)
{
	for (unsigned i = 0; paths && i < n; i++) {
		free(paths[i].path);
		free(paths[i].given);
	}
	free(paths);
}

/* The absolute path, owned, or NULL with errno. */
static char *make_absolute(const char *path)
{
	if (path[0] == '/')
		return strdup(path);
	char *folder = getcwd(NULL, 0);
	char *whole = NULL;
	if (folder && asprintf(&whole, "%s/%s", folder, path) < 0)
		whole = NULL;
	free(folder);
	return whole;
}

static bool has_paths(const struct file_watch *w, const struct file_watch_path *paths, unsigned n)
{
	if (w->path_count != n)
		return false;
	for (unsigned i = 0; i < n; i++)
		if (strcmp(w->paths[i].path, paths[i].path) != 0)
			return false;
	return true;
}

int file_watch_set(struct file_watch *w, const char *const *paths, unsigned n)
{
	struct file_watch_path *copies = n > 0 ? calloc(n, sizeof(*copies)) : NULL;
	if (n > 0 && !copies)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++) {
		copies[i].path = make_absolute(paths[i]);
		copies[i].given = strdup(paths[i]);
		if (!copies[i].path || !copies[i].given) {
			int failed = errno ? -errno : -ENOMEM;
			free_paths(copies, n);
			return failed;
		}
	}
	if (has_paths(w, copies, n)) {
		free_paths(copies, n);
		return 0;
	}
	free_paths(w->paths, w->path_count);
	w->paths = copies;
	w->path_count = n;
	w->settling = false;
	w->looked_ms = 0;
	if (n > 0) {
		touch(w);
		return 0;
	}
	timer_stop(&w->settle);
	timer_stop(&w->look);
	forget_inotify(w);
	w->failure = 0;
	return 0;
}

int file_watch_failure(const struct file_watch *w)
{
	return w->failure;
}

void file_watch_fini(struct file_watch *w)
{
	if (!w->poller)
		return;
	timer_stop(&w->settle);
	timer_stop(&w->look);
	forget_inotify(w);
	free_paths(w->paths, w->path_count);
	/* an event of it may have been waited for, and not be dispatched yet */
	*w = (struct file_watch){.fd = -1, .watch.ready = told};
}

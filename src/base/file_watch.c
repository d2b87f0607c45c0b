/* SPDX-License-Identifier: MIT */
#include "base/file_watch.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/text.h"

/* What matters of the names in a folder, and of the folder itself. Bytes written into its files do not: those that are
 * watched tell that themselves, and others would wake us for nothing. */
#define FOLDER_EVENTS (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF)

/* What matters of the file at the end of the way. It is watched by itself, not by its folder, because another name or a
 * bind mount of it may be what is written to. */
#define FILE_EVENTS (IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF)

/* As many symbolic links as the kernel follows. */
#define LINKS_MOST 40

#define EVENT_BYTES 16384

/* What a path leads to, as stat says it. */
struct fingerprint {
	int error; /* of stat; 0: the rest counts */
	dev_t device;
	ino_t inode;
	off_t size;
	struct timespec modified;
	struct timespec changed; /* its mode and owner too */
};

struct file_watch_path {
	char *path; /* owned, absolute */
	struct fingerprint now;
	bool blind; /* inotify does not tell all of it */
};

/* A thing that inotify was asked about. Several may have one descriptor: names in one folder. */
struct file_watch_place {
	int descriptor; /* inotify's */
	char *name;	/* owned: that matters in this folder; NULL: the thing itself does */
};

/* The places of one walk. */
struct survey {
	struct file_watch *w;
	struct file_watch_place *at;
	unsigned count;
	unsigned room;
	struct file_watch_path *path; /* the one in hand */
};

/* What is still to be walked of a path. A link's target goes before the rest. */
struct walk {
	char at[PATH_MAX];	 /* where it has come to: no links in it */
	char rest[2 * PATH_MAX]; /* from there on */
	unsigned links;
};

static void free_places(struct file_watch_place *at, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		free(at[i].name);
	free(at);
}

static int compare_with(const struct file_watch_place *p, int descriptor, const char *name)
{
	if (p->descriptor != descriptor)
		return p->descriptor < descriptor ? -1 : 1;
	if (!p->name || !name)
		return (p->name != NULL) - (name != NULL);
	return strcmp(p->name, name);
}

static int compare_places(const void *a, const void *b)
{
	const struct file_watch_place *other = b;
	return compare_with(a, other->descriptor, other->name);
}

/* Remembers a place. Takes nothing. */
static int add_place(struct survey *s, int descriptor, const char *name)
{
	if (s->count == s->room) {
		unsigned room = s->room ? 2 * s->room : 64;
		struct file_watch_place *at = realloc(s->at, room * sizeof(*at));
		if (!at)
			return -ENOMEM;
		s->at = at;
		s->room = room;
	}
	char *copy = name ? strdup(name) : NULL;
	if (name && !copy)
		return -ENOMEM;
	s->at[s->count++] = (struct file_watch_place){.descriptor = descriptor, .name = copy};
	return 0;
}

/* Inotify is out of order, as far as the path in hand goes. */
static void fail(struct survey *s, int error)
{
	s->path->blind = true;
	s->w->failure = error;
}

/* Asks for what becomes of `name` in the folder `at`; NULL: of the file `at` itself. */
static void ask(struct survey *s, const char *at, const char *name)
{
	if (s->w->fd < 0) {
		s->path->blind = true;
		return;
	}
	if (s->count >= FILE_WATCH_MOST) {
		fail(s, -ENOSPC);
		return;
	}
	uint32_t events = name ? FOLDER_EVENTS | IN_ONLYDIR : FILE_EVENTS;
	/* one thing may be both, by two paths: what it was asked for before stays */
	int descriptor = inotify_add_watch(s->w->fd, at, events | IN_DONT_FOLLOW | IN_MASK_ADD);
	int failed = descriptor < 0 ? -errno : add_place(s, descriptor, name);
	switch (failed) {
	case 0:
	case -ENOENT: /* it went a moment ago, which the folder that it was in tells */
	case -ENOTDIR:
		break;
	case -EACCES: /* a file that may be read again tells it by its folder; a folder has nobody to tell it */
		s->path->blind = s->path->blind || name;
		break;
	default:
		fail(s, failed);
		break;
	}
}

/* Takes the next component out of the rest. Returns false when there is none. */
static bool take_component(struct walk *walk, char name[NAME_MAX + 1])
{
	const char *begin = walk->rest + strspn(walk->rest, "/");
	size_t n = strcspn(begin, "/");
	if (n == 0 || n > NAME_MAX)
		return false;
	memcpy(name, begin, n);
	name[n] = '\0';
	memmove(walk->rest, begin + n, strlen(begin + n) + 1);
	return true;
}

static void go_up(struct walk *walk)
{
	char *slash = strrchr(walk->at, '/');
	if (slash)
		slash[slash == walk->at] = '\0';
}

/* A link leads to `target`. Returns false when it leads nowhere: to itself, or too far for the kernel. */
static bool follow(struct walk *walk, const char *target)
{
	char rest[sizeof(walk->rest)];
	struct text t;
	text_init(&t, rest, sizeof(rest));
	text_add(&t, target);
	text_add(&t, "/");
	text_add(&t, walk->rest);
	if (t.cut || ++walk->links > LINKS_MOST)
		return false;
	memcpy(walk->rest, rest, t.length + 1);
	if (target[0] == '/')
		memcpy(walk->at, "/", 2);
	return true;
}

/* Goes on by one component. Returns false at the end of the way. */
static bool step(struct survey *s, struct walk *walk)
{
	char name[NAME_MAX + 1];
	if (!take_component(walk, name))
		return false;
	if (strcmp(name, ".") == 0)
		return true;
	if (strcmp(name, "..") == 0) {
		go_up(walk);
		return true;
	}
	/* first watched, then looked at: what changes after the look is told */
	ask(s, walk->at, name);
	char next[PATH_MAX];
	struct text t;
	text_init(&t, next, sizeof(next));
	text_printf(&t, "%s/%s", walk->at[1] ? walk->at : "", name);
	if (t.cut) {
		s->path->blind = true;
		return false;
	}
	char target[PATH_MAX];
	ssize_t n = readlink(next, target, sizeof(target) - 1);
	if (n >= 0) {
		target[n] = '\0';
		return follow(walk, target);
	}
	if (errno != EINVAL)
		return false;
	memcpy(walk->at, next, t.length + 1);
	if (walk->rest[strspn(walk->rest, "/")])
		return true;
	ask(s, walk->at, NULL);
	return false;
}

static void walk_path(struct survey *s, struct file_watch_path *path)
{
	struct walk walk = {.at = "/"};
	struct text t;
	text_init(&t, walk.rest, sizeof(walk.rest));
	text_add(&t, path->path);
	s->path = path;
	path->blind = false;
	while (step(s, &walk))
		;
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* Looks at what a path leads to. Returns true if it is not what it was. */
static bool look_at(struct file_watch_path *p)
{
	struct stat at;
	struct fingerprint was = p->now;
	if (stat(p->path, &at) < 0)
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

/* The next place from *i on that is a name in a folder; NULL: none. */
static const struct file_watch_place *next_name(const struct file_watch_place *at, unsigned count, unsigned *i)
{
	while (*i < count && !at[*i].name)
		(*i)++;
	return *i < count ? &at[(*i)++] : NULL;
}

/* True if the ways lead through the same folders by the same names. */
static bool same_ways(const struct file_watch *w, const struct survey *s)
{
	unsigned i = 0;
	unsigned k = 0;
	for (;;) {
		const struct file_watch_place *was = next_name(w->places, w->place_count, &i);
		const struct file_watch_place *is = next_name(s->at, s->count, &k);
		if (!was || !is)
			return was == is;
		if (compare_places(was, is) != 0)
			return false;
	}
}

/* Sorts the places that were found, each once, and puts them into the place of those before. Returns true if the ways
 * are others. */
static bool take_over(struct file_watch *w, struct survey *s)
{
	unsigned kept = 0;
	if (s->count > 0)
		qsort(s->at, s->count, sizeof(*s->at), compare_places);
	for (unsigned i = 0; i < s->count; i++) {
		if (kept > 0 && compare_places(&s->at[kept - 1], &s->at[i]) == 0)
			free(s->at[i].name);
		else
			s->at[kept++] = s->at[i];
	}
	s->count = kept;
	bool differs = !same_ways(w, s);
	unsigned k = 0;
	for (unsigned i = 0; i < w->place_count; i++) {
		int old = w->places[i].descriptor;
		if (i > 0 && old == w->places[i - 1].descriptor)
			continue;
		while (k < s->count && s->at[k].descriptor < old)
			k++;
		/* it fails for what the kernel has forgotten itself, because it was removed */
		if (k == s->count || s->at[k].descriptor != old)
			(void)inotify_rm_watch(w->fd, old);
	}
	free_places(w->places, w->place_count);
	w->places = s->at;
	w->place_count = s->count;
	return differs;
}

static void forget_inotify(struct file_watch *w)
{
	if (w->fd >= 0)
		poller_remove(w->poller, w->fd);
	fd_close(&w->fd);
	free_places(w->places, w->place_count);
	w->places = NULL;
	w->place_count = 0;
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

/* Walks all paths, watches what is on their ways now and nothing else, and looks at what they lead to. Returns true
 * if something was found that inotify had not told, or could not have. */
static bool look_everywhere(struct file_watch *w, uint64_t now_ms)
{
	struct survey s = {.w = w};
	bool differs = false;
	open_inotify(w);
	for (unsigned i = 0; i < w->path_count; i++) {
		walk_path(&s, &w->paths[i]);
		/* a change is told by inotify, after the look, where it tells something */
		if (look_at(&w->paths[i]) && (w->paths[i].blind || !w->settling))
			differs = true;
	}
	w->looked_ms = now_ms;
	return take_over(w, &s) || differs;
}

static bool look_at_blind(struct file_watch *w)
{
	bool differs = false;
	for (unsigned i = 0; i < w->path_count; i++)
		if (w->paths[i].blind && look_at(&w->paths[i]))
			differs = true;
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
	w->changed(w);
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
		int order = compare_with(p, e->wd, e->len > 0 ? e->name : NULL);
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
		     void (*changed)(struct file_watch *w))
{
	*w = (struct file_watch){.poller = poller, .timers = timers, .changed = changed, .fd = -1, .watch.ready = told};
	timer_init(&w->settle, settle_due);
	timer_init(&w->look, look_due);
}

static void free_paths(struct file_watch_path *paths, unsigned n)
{
	for (unsigned i = 0; paths && i < n; i++)
		free(paths[i].path);
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
		if (!copies[i].path) {
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
	*w = (struct file_watch){.fd = -1};
}

/* SPDX-License-Identifier: MIT */
/* The ways that paths take through folders and links, and what inotify is asked about them. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/file_watch_priv.h"
#include "base/text.h"

/* What matters of the names in a folder, and of the folder itself. Bytes written into its files do not: those that are
 * watched tell that themselves, and others would wake us for nothing. */
#define FOLDER_EVENTS (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF)

/* What matters of the file at the end of the way. It is watched by itself, not by its folder, because another name or a
 * bind mount of it may be what is written to. */
#define FILE_EVENTS (IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF)

/* As many symbolic links as the kernel follows. */
#define LINKS_MOST 40

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

int file_watch_compare_place(const struct file_watch_place *p, int descriptor, const char *name)
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
	return file_watch_compare_place(a, other->descriptor, other->name);
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

bool file_watch_walk(struct file_watch *w)
{
	struct survey s = {.w = w};
	for (unsigned i = 0; i < w->path_count; i++) {
		file_watch_touch(w, w->paths[i].given);
		walk_path(&s, &w->paths[i]);
	}
	file_watch_touch(w, NULL);
	return take_over(w, &s);
}

void file_watch_forget_places(struct file_watch *w)
{
	free_places(w->places, w->place_count);
	w->places = NULL;
	w->place_count = 0;
}

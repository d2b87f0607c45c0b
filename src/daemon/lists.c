/* SPDX-License-Identifier: MIT */
#include "daemon/lists.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/file_watch.h"
#include "daemon/list_reading.h"
#include "daemon/list_report.h"
#include "report/log.h"

/* How soon a file is tried again though it did not change, if it may not have been its fault (no descriptors, no
 * memory). */
#define RETRY_MS 30000

/* How soon one that may be half written is read again: the first time, and at the most. */
#define AGAIN_MS 250
#define AGAIN_MOST_MS 2000

/* For how long a file may be half written until it is said. */
#define RESTLESS_MS 60000

/* How long the end waits for a file that is being read. */
#define END_MS 1000

/* A file of the rules in effect. */
struct watched {
	char *path;	       /* owned */
	uint64_t due_ms;       /* when it is to be read; 0: it is not */
	uint64_t state;	       /* list_file_state of the last read, taken up or not */
	uint64_t failed_state; /* of the last one that failed, and it was said; 0: none */
	bool troubled;	       /* something was said since it was taken up */
	uint64_t again_ms;     /* pause before it is read again; 0: it is not thought to be half written */
	uint64_t restless_ms;  /* since when it is thought to be */
	bool restless_said;
};

struct lists {
	struct rules *rules; /* borrowed; NULL: nothing is in effect */
	struct watched *at;  /* owned, in the order of the rules' files */
	unsigned count;

	void (*changed)(void *arg);
	void *arg; /* borrowed */

	struct poller *poller;	    /* borrowed */
	struct timer_wheel *timers; /* borrowed */
	struct file_watch watch;
	bool trouble_said;    /* that inotify is out of order */
	struct timer due;     /* the first that is to be read */
	struct timer rewatch; /* watching failed */

	struct list_reading *reading; /* owned; NULL: none */
	struct watch done;
	bool finished; /* done was called */
	unsigned next; /* who is asked first whether it is due */
};

static uint64_t earlier(uint64_t a_ms, uint64_t b_ms)
{
	return a_ms == 0 ? b_ms : b_ms == 0 || a_ms < b_ms ? a_ms : b_ms;
}

static struct watched *find(struct watched *all, unsigned count, const char *path)
{
	for (unsigned i = 0; i < count; i++)
		if (strcmp(all[i].path, path) == 0)
			return &all[i];
	return NULL;
}

/* Reading. */

/* It was not the file's fault, as far as one can tell. */
static bool is_passing(int error)
{
	return error != -EINVAL && error != -E2BIG && error != -EFBIG && error != -EISDIR && error != -ENXIO;
}

MAIN_ONLY static void note_half_written(struct lists *l, struct watched *w, uint64_t now_ms)
{
	if (w->again_ms == 0) {
		w->restless_ms = now_ms;
		w->restless_said = false;
	}
	w->again_ms = w->again_ms == 0 ? AGAIN_MS : 2 * w->again_ms;
	if (w->again_ms > AGAIN_MOST_MS)
		w->again_ms = AGAIN_MOST_MS;
	w->due_ms = earlier(w->due_ms, now_ms + w->again_ms);
	if (w->restless_said || now_ms - w->restless_ms < RESTLESS_MS)
		return;
	list_report_restless(l->rules, (unsigned)(w - l->at), now_ms - w->restless_ms);
	w->restless_said = true;
	w->troubled = true;
}

MAIN_ONLY static void note_failure(struct lists *l, struct watched *w, const struct list_result *r, uint64_t now_ms)
{
	if (w->failed_state != r->state)
		list_report_failed(l->rules, (unsigned)(w - l->at), r->failed, &r->problems);
	w->failed_state = r->state;
	w->troubled = true;
	w->again_ms = 0;
	if (is_passing(r->failed))
		w->due_ms = earlier(w->due_ms, now_ms + RETRY_MS);
}

MAIN_ONLY static void take_up(struct lists *l, struct watched *w, struct list_content *content)
{
	unsigned i = (unsigned)(w - l->at);
	bool is_news = content->digest != rules_file_content(l->rules, i)->digest;
	rules_take(l->rules, i, content);
	if (is_news || w->troubled)
		list_report_renewed(l->rules, i);
	w->troubled = false;
	w->failed_state = 0;
	w->again_ms = 0;
	if (is_news && l->changed)
		l->changed(l->arg);
}

/* The thread has its result: `due` sees to it. */
MAIN_ONLY static void reading_done(struct watch *watch, unsigned events UNUSED)
{
	struct lists *l = CONTAINER_OF(watch, struct lists, done);
	l->finished = true;
	if (l->rules)
		timer_start(l->timers, &l->due, 0);
}

MAIN_ONLY static void take_result(struct lists *l, uint64_t now_ms)
{
	struct list_result *r = list_reading_result(l->reading);
	/* a reload may have done away with the file meanwhile */
	struct watched *w = find(l->at, l->count, r->path);
	if (w) {
		w->state = r->state;
		if (!r->failed)
			take_up(l, w, &r->content);
		else if (r->failed == -EAGAIN)
			note_half_written(l, w, now_ms);
		else
			note_failure(l, w, r, now_ms);
	}
	l->reading = list_reading_end(l->reading, 0);
	l->finished = false;
}

MAIN_ONLY static struct watched *find_due(struct lists *l, uint64_t now_ms)
{
	for (unsigned n = 0; n < l->count; n++) {
		struct watched *w = &l->at[(l->next + n) % l->count];
		if (w->due_ms != 0 && w->due_ms <= now_ms) {
			l->next = (unsigned)(w - l->at) + 1;
			return w;
		}
	}
	return NULL;
}

MAIN_ONLY static void set_timer(struct lists *l)
{
	uint64_t first_ms = 0;
	for (unsigned i = 0; i < l->count; i++)
		first_ms = earlier(first_ms, l->at[i].due_ms);
	if (first_ms != 0)
		timer_start(l->timers, &l->due, first_ms);
	else
		timer_stop(&l->due);
}

/* Reads what is due, one at a time. */
MAIN_ONLY static void work_off(struct lists *l, uint64_t now_ms)
{
	struct watched *w;
	if (l->reading)
		return; /* it goes on when that is done */
	while ((w = find_due(l, now_ms)) != NULL) {
		w->due_ms = 0;
		int failed = list_reading_start(&l->reading, w->path, l->poller, &l->done);
		if (!failed)
			break;
		if (!w->troubled)
			list_report_untried(l->rules, (unsigned)(w - l->at), failed);
		w->troubled = true;
		w->due_ms = now_ms + RETRY_MS;
	}
	timer_stop(&l->due);
	if (!l->reading)
		set_timer(l);
}

MAIN_ONLY static void due(struct timer *timer, uint64_t now_ms)
{
	struct lists *l = CONTAINER_OF(timer, struct lists, due);
	if (l->finished)
		take_result(l, now_ms);
	work_off(l, now_ms);
}

/* Watching. */

/* The state of what is known of a file, or will be when its reading is done. */
MAIN_ONLY static uint64_t known_state(const struct lists *l, const struct watched *w)
{
	if (l->reading && strcmp(list_reading_path(l->reading), w->path) == 0)
		return list_reading_state(l->reading);
	return w->state;
}

MAIN_ONLY static void say_trouble(struct lists *l)
{
	int failure = file_watch_failure(&l->watch);
	if (failure && !l->trouble_said)
		log_write_errno(LOG_LEVEL_WARNING, LOG_FILES_UNWATCHED, failure,
				"inotify: %s: list files are looked at twice a second instead; raise the sysctl %s",
				strerror(-failure),
				failure == -ENOSPC ? "fs.inotify.max_user_watches" : "fs.inotify.max_user_instances");
	l->trouble_said = failure != 0;
}

MAIN_ONLY static void files_changed(struct file_watch *watch, uint64_t now_ms)
{
	struct lists *l = CONTAINER_OF(watch, struct lists, watch);
	say_trouble(l);
	for (unsigned i = 0; i < l->count; i++) {
		struct watched *w = &l->at[i];
		if (list_file_state(w->path) != known_state(l, w))
			w->due_ms = earlier(w->due_ms, now_ms);
	}
	work_off(l, now_ms);
}

MAIN_ONLY static int watch_files(struct lists *l)
{
	const char **paths = calloc(l->count ? l->count : 1, sizeof(*paths));
	if (!paths)
		return -ENOMEM;
	for (unsigned i = 0; i < l->count; i++)
		paths[i] = l->at[i].path;
	int failed = file_watch_set(&l->watch, paths, l->count);
	free(paths);
	return failed;
}

MAIN_ONLY static void watch_or_retry(struct lists *l, uint64_t now_ms)
{
	int failed = watch_files(l);
	if (!failed)
		return;
	log_write_errno(LOG_LEVEL_ERROR, LOG_LIST_FAILED, failed, "watch list files: %s: changes are taken up later",
			strerror(-failed));
	timer_start(l->timers, &l->rewatch, now_ms + RETRY_MS);
}

MAIN_ONLY static void rewatch_due(struct timer *timer, uint64_t now_ms)
{
	watch_or_retry(CONTAINER_OF(timer, struct lists, rewatch), now_ms);
}

/* A configuration comes and goes. */

struct lists *lists_create(void)
{
	struct lists *l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	l->done.ready = reading_done;
	timer_init(&l->due, due);
	timer_init(&l->rewatch, rewatch_due);
	return l;
}

void lists_start(struct lists *l, struct poller *poller, struct timer_wheel *timers, void (*changed)(void *arg),
		 void *arg)
{
	l->poller = poller;
	l->timers = timers;
	l->changed = changed;
	l->arg = arg;
	file_watch_init(&l->watch, poller, timers, files_changed);
}

MAIN_ONLY static void forget(struct watched *all, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		free(all[i].path);
	free(all);
}

/* Those of the rules; what is known of a file goes on. Returns its count, or -ENOMEM. */
MAIN_ONLY static int list_files(struct lists *l, const struct rules *rules, struct watched **to)
{
	unsigned n = rules_file_count(rules);
	struct watched *all = calloc(n ? n : 1, sizeof(*all));
	unsigned i = 0;
	for (; all && i < n; i++) {
		const struct watched *old = find(l->at, l->count, rules_file(rules, i));
		if (old)
			all[i] = *old;
		else
			all[i].state = rules_file_content(rules, i)->state;
		all[i].path = strdup(rules_file(rules, i));
		if (!all[i].path)
			break;
	}
	if (all && i == n) {
		*to = all;
		return 0;
	}
	if (all)
		forget(all, i);
	return -ENOMEM;
}

void lists_commit(struct lists *l, struct rules *rules, uint64_t now_ms)
{
	struct watched *all = NULL;
	int failed = list_files(l, rules, &all);
	forget(l->at, l->count);
	l->rules = rules;
	l->at = all;
	l->count = failed ? 0 : rules_file_count(rules);
	l->next = 0;
	timer_stop(&l->rewatch);
	if (failed)
		log_write_errno(LOG_LEVEL_ERROR, LOG_LIST_FAILED, failed,
				"watch list files: %s: changes are taken up after the next reload", strerror(-failed));
	watch_or_retry(l, now_ms);
	work_off(l, now_ms);
}

MAIN_ONLY static int try_to_read(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int failed = fd < 0 ? -errno : 0;
	fd_close(&fd);
	return failed;
}

void lists_say_unreadable(struct lists *l)
{
	for (unsigned i = 0; i < l->count; i++) {
		int failed = try_to_read(l->at[i].path);
		if (!failed)
			continue;
		list_report_unreadable(l->rules, i, -failed);
		/* that says it all, until the file changes */
		l->at[i].state = list_file_state(l->at[i].path);
		l->at[i].troubled = true;
	}
}

bool lists_are_reading(const struct lists *l)
{
	return l->reading != NULL;
}

void lists_stop(struct lists *l)
{
	if (!l)
		return;
	file_watch_fini(&l->watch);
	timer_stop(&l->due);
	timer_stop(&l->rewatch);
	forget(l->at, l->count);
	l->at = NULL;
	l->count = 0;
	l->rules = NULL;
}

struct lists *lists_destroy(struct lists *l)
{
	if (!l)
		return NULL;
	lists_stop(l);
	l->reading = list_reading_end(l->reading, END_MS);
	free(l);
	return NULL;
}

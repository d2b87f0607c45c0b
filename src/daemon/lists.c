/* SPDX-License-Identifier: MIT */
#include "daemon/lists.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"
#include "daemon/list_keeper.h"
#include "daemon/list_report.h"
#include "report/log.h"

/* How soon it is tried again to start the thread. */
#define RETRY_MS 30000

/* How often is looked where the thread is. */
#define LOOK_MS 5000

/* How long the end waits for a file that is being read. */
#define END_MS 1000

/* A file of the rules in effect. */
struct watched {
	char *path;	       /* owned */
	uint64_t failed_state; /* of the last one that failed, and it was said; 0: none */
	bool troubled;	       /* something was said since it was taken up */
};

struct lists {
	struct rules *rules; /* borrowed; NULL: nothing is in effect */
	struct watched *at;  /* owned, in the order of the rules' files */
	unsigned count;

	void (*changed)(void *arg);
	void *arg; /* borrowed */

	struct poller *poller;	    /* borrowed */
	struct timer_wheel *timers; /* borrowed */
	struct list_keeper *keeper; /* owned; NULL: there are no files, or no thread was to be had */
	struct watch told;
	struct timer look;
	struct timer restart;
	bool start_failed;	  /* it was said that there is no thread */
	struct list_trouble said; /* what is out of order, and was said */
};

static struct watched *find(struct watched *all, unsigned count, const char *path)
{
	for (unsigned i = 0; i < count; i++)
		if (strcmp(all[i].path, path) == 0)
			return &all[i];
	return NULL;
}

/* What came of reading a file. */

MAIN_ONLY static void note_failure(struct lists *l, struct watched *w, const struct list_event *e)
{
	unsigned i = (unsigned)(w - l->at);
	w->troubled = true;
	if (e->failed == -EAGAIN)
		list_report_restless(l->rules, i, e->restless_ms);
	else if (w->failed_state != e->state)
		list_report_failed(l->rules, i, e->failed, &e->problems);
	if (e->failed != -EAGAIN)
		w->failed_state = e->state;
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
	if (is_news && l->changed)
		l->changed(l->arg);
}

void lists_hear(struct lists *l, struct list_event *e, bool is_old)
{
	/* a reload may have done away with the file meanwhile */
	struct watched *w = find(l->at, l->count, e->path);
	if (w && e->failed)
		note_failure(l, w, e);
	else if (w && !is_old)
		take_up(l, w, &e->content);
	list_event_fini(e);
}

/* The thread. */

MAIN_ONLY static void say_trouble(struct lists *l)
{
	struct list_trouble now = list_keeper_trouble(l->keeper);
	if (now.inotify && !l->said.inotify)
		log_write_errno(LOG_LEVEL_WARNING, LOG_FILES_UNWATCHED, now.inotify,
				"inotify: %s: list files are looked at twice a second instead; raise the sysctl %s",
				strerror(-now.inotify),
				now.inotify == -ENOSPC ? "fs.inotify.max_user_watches"
						       : "fs.inotify.max_user_instances");
	if (now.unset && !l->said.unset)
		log_write_errno(LOG_LEVEL_ERROR, LOG_LIST_FAILED, now.unset,
				"watch list files: %s: changes are taken up later", strerror(-now.unset));
	l->said = now;
}

MAIN_ONLY static void say_slow(struct lists *l, uint64_t now_ms)
{
	list_report_slow(list_keeper_aside(l->keeper), now_ms, "what changes in list files is not taken up");
}

MAIN_ONLY static void told(struct watch *watch, unsigned events UNUSED)
{
	struct lists *l = CONTAINER_OF(watch, struct lists, told);
	struct list_event e;
	bool is_old;
	if (!l->keeper)
		return;
	say_trouble(l);
	say_slow(l, clock_now_ms());
	while (list_keeper_take(l->keeper, &e, &is_old))
		lists_hear(l, &e, is_old);
}

MAIN_ONLY static void look_due(struct timer *t, uint64_t now_ms)
{
	struct lists *l = CONTAINER_OF(t, struct lists, look);
	if (!l->keeper)
		return;
	say_slow(l, now_ms);
	timer_start(l->timers, t, now_ms + LOOK_MS);
}

static void free_known(struct list_known *all, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		free(all[i].path);
	free(all);
}

/* Tells the thread which files there are, and what is in effect of them. */
MAIN_ONLY static int hand_over(struct lists *l)
{
	struct list_known *all = calloc(l->count, sizeof(*all));
	for (unsigned i = 0; all && i < l->count; i++) {
		all[i].path = strdup(l->at[i].path);
		all[i].state = rules_file_content(l->rules, i)->state;
		if (!all[i].path) {
			free_known(all, i);
			all = NULL;
		}
	}
	if (!all)
		return -ENOMEM;
	list_keeper_set(l->keeper, all, l->count);
	return 0;
}

/* It hangs at a file that is not named any more: another one sees to those that are. */
MAIN_ONLY static bool hangs_for_nothing(struct lists *l, uint64_t now_ms)
{
	struct aside_slow at;
	return l->keeper && aside_where(list_keeper_aside(l->keeper), now_ms, &at) && at.ms >= ASIDE_SLOW_MS &&
	       !find(l->at, l->count, at.path);
}

/* Has the files kept that there are now. */
MAIN_ONLY static void keep(struct lists *l, uint64_t now_ms)
{
	int failed = 0;
	timer_stop(&l->restart);
	if (!l->poller)
		return;
	if (l->count == 0 || hangs_for_nothing(l, now_ms)) {
		l->keeper = list_keeper_end(l->keeper, 0);
		l->said = (struct list_trouble){0};
		timer_stop(&l->look);
	}
	if (l->count == 0)
		return;
	if (!l->keeper) {
		failed = list_keeper_start(&l->keeper, l->poller, &l->told);
		if (!failed)
			timer_start(l->timers, &l->look, now_ms + LOOK_MS);
	}
	if (!failed)
		failed = hand_over(l);
	if (failed && !l->start_failed)
		log_write_errno(LOG_LEVEL_ERROR, LOG_LIST_FAILED, failed,
				"start a thread to watch list files: %s: changes are taken up later",
				strerror(-failed));
	l->start_failed = failed != 0;
	if (failed)
		timer_start(l->timers, &l->restart, now_ms + RETRY_MS);
}

MAIN_ONLY static void restart_due(struct timer *timer, uint64_t now_ms)
{
	keep(CONTAINER_OF(timer, struct lists, restart), now_ms);
}

/* A configuration comes and goes. */

struct lists *lists_create(void)
{
	struct lists *l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	l->told.ready = told;
	timer_init(&l->look, look_due);
	timer_init(&l->restart, restart_due);
	return l;
}

void lists_start(struct lists *l, struct poller *poller, struct timer_wheel *timers, void (*changed)(void *arg),
		 void *arg)
{
	l->poller = poller;
	l->timers = timers;
	l->changed = changed;
	l->arg = arg;
}

MAIN_ONLY static void forget(struct watched *all, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		free(all[i].path);
	free(all);
}

/* Those of the rules; what is known of a file goes on. Returns 0 or -ENOMEM. */
MAIN_ONLY static int list_files(struct lists *l, const struct rules *rules, struct watched **to)
{
	unsigned n = rules_file_count(rules);
	struct watched *all = calloc(n ? n : 1, sizeof(*all));
	unsigned i = 0;
	for (; all && i < n; i++) {
		const struct watched *old = find(l->at, l->count, rules_file(rules, i));
		if (old)
			all[i] = *old;
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
	if (failed)
		log_write_errno(LOG_LEVEL_ERROR, LOG_LIST_FAILED, failed,
				"watch list files: %s: changes are taken up after the next reload", strerror(-failed));
	keep(l, now_ms);
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
		l->at[i].failed_state = list_file_state(l->at[i].path);
		l->at[i].troubled = true;
	}
}

void lists_stop(struct lists *l)
{
	if (!l)
		return;
	timer_stop(&l->look);
	timer_stop(&l->restart);
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
	l->keeper = list_keeper_end(l->keeper, END_MS);
	free(l);
	return NULL;
}

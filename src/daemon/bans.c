/* SPDX-License-Identifier: MIT */
#include "daemon/bans.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "daemon/aside.h"
#include "report/log.h"

/* From the end of one saving to the begin of the next. */
#define SAVE_MS 10000

/* How often is looked whether the disk answers, and whether the wall clock was set; by how much, at the least. */
#define LOOK_MS 5000
#define CLOCK_STEP_MS 2000

/* For how long a stop waits for the disk. */
#define STOP_MS 15000

/* What is done in one turn of the loop: bans that are gathered, and sources that are looked at for them. */
#define BANS_A_TURN 256U
#define SOURCES_A_TURN 16384U
#define SOURCES_A_LOOK 64U

bool bans_add_path(struct text *to, const struct config *config)
{
	const char *folder = config->state_directory;
	size_t n = folder ? strlen(folder) : 0;
	if (n == 0) {
		folder = getenv("STATE_DIRECTORY");
		n = folder ? strcspn(folder, ":") : 0; /* a unit may have several */
	}
	if (n == 0)
		return false;
	text_add_bytes(to, folder, n);
	text_add(to, "/bans");
	return !to->cut;
}

bool bans_are_possible(const struct config *config)
{
	bool some = config->door.ban.enabled;
	for (unsigned i = 0; i < config->listener_count; i++)
		some = some || config->listeners[i].ban.enabled;
	return some;
}

/* Restoring. */

struct load {
	const struct listener_set *set;
	struct sources *sources;
	const struct listener_entry *last;
	unsigned no_room;
	uint64_t now_ms;
};

static const struct listener_entry *find_entry(struct load *l, const char *listener)
{
	if (l->last && strcmp(l->last->config->name, listener) == 0)
		return l->last;
	for (unsigned i = 0; i < l->set->count; i++) {
		if (strcmp(l->set->at[i].config->name, listener) == 0) {
			l->last = &l->set->at[i];
			return l->last;
		}
	}
	return NULL;
}

static uint64_t longest_ms(void *arg, const char *listener)
{
	struct load *l = arg;
	const struct listener_entry *e = listener ? find_entry(l, listener) : NULL;
	if (listener && !e)
		return 0;
	const struct ban_config *ban = e ? &e->config->ban : &l->set->config->door.ban;
	return ban->enabled ? ban->max_ms : 0;
}

MAIN_ONLY static void restore(void *arg, const char *listener, const struct source_key *key, uint64_t left_ms,
			      unsigned count)
{
	struct load *l = arg;
	struct source_key scoped = *key;
	scoped.scope = listener ? find_entry(l, listener)->account->scope : 0;
	if (!sources_restore(l->sources, &scoped, left_ms, count, l->now_ms))
		l->no_room++;
}

int bans_load(const char *path, const struct listener_set *set, struct sources *sources, struct bans_loaded *to)
{
	struct load l = {.set = set, .sources = sources, .now_ms = clock_now_ms()};
	const struct ban_file_use use = {.longest_ms = longest_ms, .ban = restore, .arg = &l};
	int failed = ban_file_load(path, &use, clock_wall_ms(), &to->tally);
	to->no_room = l.no_room;
	return failed;
}

static void add_part(struct text *t, unsigned n, const char *what)
{
	if (n > 0)
		text_printf(t, "%s%u %s", t->length > 0 ? ", " : "; not restored: ", n, what);
}

static void say_restored(const char *path, int failed, const struct bans_loaded *l)
{
	char bytes[256];
	struct text rest;
	unsigned restored = l->tally.taken - l->no_room;
	bool is_bad = l->tally.damaged > 0 || l->no_room > 0 || l->tally.cut || failed;
	text_init(&rest, bytes, sizeof(bytes));
	add_part(&rest, l->tally.over, "that had ended");
	add_part(&rest, l->tally.unknown, "of listeners that are gone or ban nobody");
	add_part(&rest, l->tally.damaged, "damaged lines");
	add_part(&rest, l->no_room, "for which door.sources.entries had no room");
	if (l->tally.cut)
		text_add(&rest, "; the file is too long, and was not read to its end");
	if (failed)
		log_write_errno(LOG_LEVEL_WARNING, LOG_BANS_RESTORED, failed,
				"restore bans from %s: %s%s; the next ban overwrites it", path,
				failed == -EINVAL    ? "it is no file of bans"
				: failed == -ENOTSUP ? "it is of another version of usherd"
						     : strerror(-failed),
				l->tally.taken > 0 ? ", after some of them" : "");
	if (failed && restored == 0)
		return;
	struct log_record r;
	log_begin(&r, is_bad ? LOG_LEVEL_WARNING : LOG_LEVEL_NOTICE, LOG_BANS_RESTORED);
	log_field(&r, "USHER_COUNT", "%u", restored);
	log_submit(&r, "%u ban%s restored from %s%s", restored, restored == 1 ? "" : "s", path, rest.at);
}

/* Saving: main gathers the bans, some in each turn of its loop, and a thread writes them. */

/* What the thread has. */
struct save {
	struct ban_draft *draft; /* owned */
	int failed;		 /* of ban_file_write, when it is over */
	char path[];
};

struct bans {
	char *path;			/* owned */
	const struct listener_set *set; /* borrowed */
	struct sources *sources;	/* borrowed */
	struct poller *poller;		/* borrowed */
	struct timer_wheel *timers;	/* borrowed */
	struct timer due;
	struct timer look;
	uint64_t next_ms;  /* not before */
	bool changed;	   /* since what is being saved was begun */
	bool unsaved;	   /* what was begun last is not in the file */
	bool said;	   /* that saving fails */
	uint64_t ahead_ms; /* by how much the wall clock was ahead of the monotonic one then, modulo 2^64 */

	struct ban_draft *draft; /* owned; NULL: nothing is being gathered */
	unsigned from;		 /* where it goes on */
	unsigned gathered;	 /* in this turn */
	uint64_t wall_ms;	 /* of this turn */
	const struct listener_entry *last;

	struct aside *writing; /* owned; NULL: nothing is being written */
	struct save *save;     /* shared with it */
	struct watch told;
};

/* NULL: it is listened at no more. */
static const char *name_of(struct bans *b, uint16_t scope)
{
	if (b->last && b->last->account->scope == scope)
		return b->last->config->name;
	for (unsigned i = 0; i < b->set->count; i++) {
		if (b->set->at[i].account->scope == scope) {
			b->last = &b->set->at[i];
			return b->last->config->name;
		}
	}
	return NULL;
}

static void gather_one(void *arg, const struct source_key *key, uint64_t left_ms, unsigned count)
{
	struct bans *b = arg;
	const char *listener = key->scope ? name_of(b, key->scope) : NULL;
	if (key->scope && !listener)
		return;
	/* what does not fit into the largest of files is left out */
	(void)ban_draft_add(b->draft, listener, key, b->wall_ms + left_ms, count);
	b->gathered++;
}

MAIN_ONLY static int gather_begin(struct bans *b, uint64_t now_ms)
{
	b->draft = ban_draft_create(clock_wall_ms());
	if (!b->draft)
		return -ENOMEM;
	b->changed = false;
	b->unsaved = true;
	b->ahead_ms = clock_wall_ms() - now_ms;
	b->from = 0;
	b->last = NULL;
	return 0;
}

/* Gathers some more. Returns whether there is still more. */
MAIN_ONLY static bool gather_some(struct bans *b, uint64_t now_ms)
{
	b->gathered = 0;
	b->wall_ms = clock_wall_ms();
	for (unsigned looked = 0; looked < SOURCES_A_TURN && b->gathered < BANS_A_TURN; looked += SOURCES_A_LOOK) {
		b->from = sources_bans(b->sources, b->from, SOURCES_A_LOOK, now_ms, gather_one, b);
		if (b->from == 0)
			return false;
	}
	return true;
}

static void say_unsaved(struct bans *b, int failed)
{
	if (!b->said)
		log_write_errno(
			LOG_LEVEL_WARNING, LOG_BANS_UNSAVED, failed,
			"save bans to %s: %s: those that are not there end with usherd; it tries again when one "
			"begins or ends%s",
			b->path, strerror(-failed),
			failed == -EACCES || failed == -EROFS || failed == -ENOENT
				? "; its folder must be there, and belong to the user that usherd runs as"
				: "");
	b->said = true;
}

static void save_run(struct aside *a, void *arg)
{
	struct save *save = arg;
	aside_touch(a, save->path);
	save->failed = ban_file_write(save->draft, save->path);
}

static void save_release(void *arg)
{
	struct save *save = arg;
	ban_draft_destroy(save->draft);
	free(save);
}

static const struct aside_work save_work = {.name = "usherd-bans", .run = save_run, .release = save_release};

/* What was gathered goes to a thread. */
MAIN_ONLY static int write_begin(struct bans *b)
{
	size_t n = strlen(b->path) + 1;
	struct save *save = calloc(1, sizeof(*save) + n);
	if (!save)
		return -ENOMEM;
	memcpy(save->path, b->path, n);
	save->draft = b->draft;
	int failed = aside_start(&b->writing, &save_work, save, b->poller, &b->told);
	if (failed) {
		free(save);
		return failed;
	}
	b->draft = NULL;
	b->save = save;
	return 0;
}

MAIN_ONLY static void say_slow(struct bans *b, uint64_t now_ms)
{
	struct aside_slow slow;
	char bytes[48];
	struct text time;
	enum aside_news news = b->writing ? aside_look(b->writing, now_ms, &slow) : ASIDE_NO_NEWS;
	if (news == ASIDE_NO_NEWS)
		return;
	text_init(&time, bytes, sizeof(bytes));
	text_add_duration_ms(&time, slow.ms);
	if (news == ASIDE_IS_SLOW)
		log_write(LOG_LEVEL_WARNING, LOG_BANS_UNSAVED,
			  "save bans to %s: the disk has not answered for %s: until it does, those that are not there "
			  "end with usherd",
			  b->path, time.at);
	else
		log_write(LOG_LEVEL_NOTICE, LOG_BANS_UNSAVED, "save bans to %s: the disk has answered, after %s",
			  b->path, time.at);
}

/* The thread has written, or failed. */
MAIN_ONLY static void write_end(struct bans *b, uint64_t now_ms)
{
	say_slow(b, now_ms);
	int failed = b->save->failed;
	b->writing = aside_end(b->writing);
	b->save = NULL;
	b->unsaved = failed != 0;
	if (failed)
		say_unsaved(b, failed);
	else
		b->said = false;
	b->next_ms = now_ms + SAVE_MS;
}

MAIN_ONLY static void written(struct watch *w, unsigned events UNUSED)
{
	struct bans *b = CONTAINER_OF(w, struct bans, told);
	if (!b->writing || !aside_is_over(b->writing))
		return;
	write_end(b, clock_now_ms());
	if (b->changed)
		timer_start(b->timers, &b->due, b->next_ms);
}

MAIN_ONLY static void save_due(struct timer *t, uint64_t now_ms)
{
	struct bans *b = CONTAINER_OF(t, struct bans, due);
	if (b->writing)
		return; /* its end sees to what has changed */
	int failed = b->draft ? 0 : gather_begin(b, now_ms);
	if (!failed && gather_some(b, now_ms)) {
		timer_start(b->timers, &b->due, now_ms + TIMER_TICK_MS);
		return;
	}
	if (!failed)
		failed = write_begin(b);
	if (!failed)
		return;
	b->draft = ban_draft_destroy(b->draft);
	say_unsaved(b, failed);
	b->next_ms = now_ms + SAVE_MS;
	if (b->changed)
		timer_start(b->timers, &b->due, b->next_ms);
}

void bans_changed(void *bans)
{
	struct bans *b = bans;
	if (!b)
		return;
	b->changed = true;
	if (!timer_runs(&b->due) && !b->writing)
		timer_start(b->timers, &b->due, b->next_ms);
}

/* The wall clock is not where it was when the bans were saved that are in the file: it was set, or the machine slept. */
MAIN_ONLY static bool clock_was_set(const struct bans *b, uint64_t now_ms)
{
	int64_t step_ms = (int64_t)(clock_wall_ms() - now_ms - b->ahead_ms);
	return step_ms > CLOCK_STEP_MS || step_ms < -CLOCK_STEP_MS;
}

MAIN_ONLY static void look_due(struct timer *t, uint64_t now_ms)
{
	struct bans *b = CONTAINER_OF(t, struct bans, look);
	say_slow(b, now_ms);
	if (!b->draft && sources_ban_count(b->sources) > 0 && clock_was_set(b, now_ms))
		bans_changed(b);
	timer_start(b->timers, t, now_ms + LOOK_MS);
}

void bans_set(struct bans *b, const struct listener_set *set)
{
	if (!b)
		return;
	b->set = set;
	b->last = NULL;
}

/* What cannot be kept is said at once, not when the first ban is. */
static void try_folder(struct bans *b)
{
	char *end = strrchr(b->path, '/');
	*end = '\0';
	int failed = access(b->path, W_OK | X_OK) < 0 ? -errno : 0;
	*end = '/';
	if (failed)
		say_unsaved(b, failed);
}

MAIN_ONLY static struct bans *create(const char *path, const struct listener_set *set, struct sources *sources,
				     struct poller *poller, struct timer_wheel *timers)
{
	struct bans *b = calloc(1, sizeof(*b));
	if (!b)
		return NULL;
	b->path = strdup(path);
	b->set = set;
	b->sources = sources;
	b->poller = poller;
	b->timers = timers;
	b->told.ready = written;
	b->ahead_ms = clock_wall_ms() - clock_now_ms();
	timer_init(&b->due, save_due);
	timer_init(&b->look, look_due);
	if (b->path)
		return b;
	free(b);
	return NULL;
}

struct bans *bans_start(const struct config *config, const struct listener_set *set, struct sources *sources,
			struct poller *poller, struct timer_wheel *timers)
{
	char bytes[PATH_MAX];
	struct text path;
	struct bans_loaded loaded;
	text_init(&path, bytes, sizeof(bytes));
	if (!bans_add_path(&path, config)) {
		log_write(LOG_LEVEL_DEBUG, LOG_BANS_UNSAVED,
			  "bans end with usherd: neither state_directory nor systemd's StateDirectory= is set");
		return NULL;
	}
	struct bans *b = create(path.at, set, sources, poller, timers);
	if (!b) {
		log_write(LOG_LEVEL_WARNING, LOG_BANS_UNSAVED, "bans end with usherd: %s", strerror(ENOMEM));
		return NULL;
	}
	int failed = bans_load(b->path, set, sources, &loaded);
	if (failed == -ENOENT)
		log_write(LOG_LEVEL_DEBUG, LOG_BANS_RESTORED, "no bans are saved in %s", b->path);
	else if (failed || loaded.tally.taken > 0 || loaded.tally.damaged > 0 || loaded.tally.cut)
		say_restored(b->path, failed, &loaded);
	if (bans_are_possible(config))
		try_folder(b);
	timer_start(timers, &b->look, clock_now_ms() + LOOK_MS);
	return b;
}

/* Waits for what is being written, until a time. Returns false when that does not come to an end. */
MAIN_ONLY static bool wait_for_write(struct bans *b, uint64_t until_ms)
{
	uint64_t now_ms = clock_now_ms();
	if (!b->writing)
		return true;
	if (!aside_wait(b->writing, until_ms > now_ms ? (int)(until_ms - now_ms) : 0))
		return false;
	write_end(b, clock_now_ms());
	return true;
}

/* All in one go: nobody is waited for any more. */
MAIN_ONLY static bool save_now(struct bans *b, uint64_t until_ms)
{
	b->draft = ban_draft_destroy(b->draft);
	b->said = false;
	int failed = gather_begin(b, clock_now_ms());
	while (!failed && gather_some(b, clock_now_ms()))
		;
	if (!failed)
		failed = write_begin(b);
	if (!failed)
		return wait_for_write(b, until_ms);
	say_unsaved(b, failed);
	return true;
}

struct bans *bans_stop(struct bans *b)
{
	if (!b)
		return NULL;
	uint64_t until_ms = clock_now_ms() + STOP_MS;
	bool answers = wait_for_write(b, until_ms);
	/* who is banned still is written down by the clock of this moment, whatever it was set to since */
	if (answers && (b->changed || b->draft || b->unsaved || sources_ban_count(b->sources) > 0))
		answers = save_now(b, until_ms);
	if (!answers)
		log_write(LOG_LEVEL_WARNING, LOG_BANS_UNSAVED,
			  "save bans to %s: the disk does not answer: those that are not there end here", b->path);
	b->writing = aside_end(b->writing);
	timer_stop(&b->due);
	timer_stop(&b->look);
	ban_draft_destroy(b->draft);
	free(b->path);
	free(b);
	return NULL;
}

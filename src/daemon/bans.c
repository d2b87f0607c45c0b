/* SPDX-License-Identifier: MIT */
#include "daemon/bans.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "report/log.h"

/* From the end of one saving to the begin of the next. */
#define SAVE_MS 10000

/* What is done in one turn of the loop: bans that are written, and sources that are looked at for them. */
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

/* Saving. */

struct bans {
	char *path;			/* owned */
	const struct listener_set *set; /* borrowed */
	struct sources *sources;	/* borrowed */
	struct timer_wheel *timers;	/* borrowed */
	struct timer due;
	uint64_t next_ms; /* not before */
	bool changed;	  /* since what is being saved was begun */
	bool unsynced;	  /* saved, but the disk may not have it */
	bool said;	  /* that saving fails */

	struct ban_file_writer *writer; /* owned; NULL: nothing is being saved */
	unsigned from;			/* where it goes on */
	unsigned written;		/* in this turn */
	uint64_t wall_ms;		/* of this turn */
	const struct listener_entry *last;
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

static void save_one(void *arg, const struct source_key *key, uint64_t left_ms, unsigned count)
{
	struct bans *b = arg;
	const char *listener = key->scope ? name_of(b, key->scope) : NULL;
	if (key->scope && !listener)
		return;
	/* what does not fit into the largest of files is left out */
	(void)ban_file_save(b->writer, listener, key, b->wall_ms + left_ms, count);
	b->written++;
}

/* Writes some more. Returns whether there is still more. */
MAIN_ONLY static bool save_some(struct bans *b, uint64_t now_ms)
{
	b->written = 0;
	b->wall_ms = clock_wall_ms();
	for (unsigned looked = 0; looked < SOURCES_A_TURN && b->written < BANS_A_TURN; looked += SOURCES_A_LOOK) {
		b->from = sources_bans(b->sources, b->from, SOURCES_A_LOOK, now_ms, save_one, b);
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

static int save_begin(struct bans *b)
{
	b->changed = false;
	b->from = 0;
	b->last = NULL;
	return ban_file_save_begin(&b->writer, b->path, clock_wall_ms());
}

static int save_end(struct bans *b, bool sync)
{
	int failed = ban_file_save_end(b->writer, sync);
	b->writer = NULL;
	b->unsynced = !sync;
	return failed;
}

MAIN_ONLY static void save_due(struct timer *t, uint64_t now_ms)
{
	struct bans *b = CONTAINER_OF(t, struct bans, due);
	int failed = b->writer ? 0 : save_begin(b);
	if (!failed && save_some(b, now_ms)) {
		timer_start(b->timers, &b->due, now_ms + TIMER_TICK_MS);
		return;
	}
	if (!failed)
		failed = save_end(b, false);
	if (failed)
		say_unsaved(b, failed);
	else
		b->said = false;
	b->unsynced = b->unsynced || failed;
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
	if (!timer_runs(&b->due))
		timer_start(b->timers, &b->due, b->next_ms);
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
				     struct timer_wheel *timers)
{
	struct bans *b = calloc(1, sizeof(*b));
	if (!b)
		return NULL;
	b->path = strdup(path);
	b->set = set;
	b->sources = sources;
	b->timers = timers;
	timer_init(&b->due, save_due);
	if (b->path)
		return b;
	free(b);
	return NULL;
}

struct bans *bans_start(const struct config *config, const struct listener_set *set, struct sources *sources,
			struct timer_wheel *timers)
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
	struct bans *b = create(path.at, set, sources, timers);
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
	return b;
}

/* All in one go: nobody is waited for any more. */
MAIN_ONLY static void save_now(struct bans *b)
{
	b->writer = ban_file_save_abort(b->writer);
	int failed = save_begin(b);
	if (!failed) {
		while (save_some(b, clock_now_ms()))
			;
		failed = save_end(b, true);
	}
	if (failed) {
		b->said = false;
		say_unsaved(b, failed);
	}
}

struct bans *bans_stop(struct bans *b)
{
	if (!b)
		return NULL;
	if (b->changed || b->writer || b->unsynced)
		save_now(b);
	timer_stop(&b->due);
	free(b->path);
	free(b);
	return NULL;
}

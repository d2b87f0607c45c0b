/* SPDX-License-Identifier: MIT */
#include "daemon/list_report.h"

#include <pwd.h>
#include <string.h>
#include <unistd.h>

#include "report/log.h"

/* Of the lists that name a file. */
#define USERS_BYTES 256

struct users {
	struct text text;
	char bytes[USERS_BYTES];
};

static const char *find_users(struct users *u, const struct rules *r, unsigned i)
{
	text_init(&u->text, u->bytes, sizeof(u->bytes));
	rules_add_file_users(r, i, &u->text);
	return u->text.at;
}

/* "1000 entries", or "1000 entries in 998 ranges" when some are part of another or touch it. */
static void add_size(struct text *t, const struct list_content *c)
{
	size_t ranges = prefix_set_count(c->set);
	text_printf(t, "%zu entr%s", c->entries, c->entries == 1 ? "y" : "ies");
	if (ranges != c->entries)
		text_printf(t, " in %zu range%s", ranges, ranges == 1 ? "" : "s");
}

void list_report_print(const struct rules *r, FILE *to)
{
	for (unsigned i = 0; i < rules_file_count(r); i++) {
		struct users users;
		char bytes[96];
		struct text size;
		text_init(&size, bytes, sizeof(bytes));
		add_size(&size, rules_file_content(r, i));
		fprintf(to, "list %s (%s): %s\n", rules_file(r, i), find_users(&users, r, i), size.at);
	}
}

static void begin(struct log_record *record, enum log_level level, enum log_kind kind, const char *file,
		  const char *users)
{
	log_begin(record, level, kind);
	log_field(record, "USHER_LIST", "%s", file);
	log_field(record, "USHER_LIST_OF", "%s", users);
}

void list_report_renewed(const struct rules *r, unsigned i)
{
	struct log_record record;
	struct users users;
	char bytes[96];
	struct text size;
	text_init(&size, bytes, sizeof(bytes));
	add_size(&size, rules_file_content(r, i));
	begin(&record, LOG_LEVEL_NOTICE, LOG_LIST_RENEWED, rules_file(r, i), find_users(&users, r, i));
	log_submit(&record, "list renewed: %s (%s): %s", rules_file(r, i), users.text.at, size.at);
}

static void say_failed(const struct rules *r, unsigned i, unsigned line, const char *what)
{
	struct log_record record;
	struct users users;
	char place[16] = "";
	begin(&record, LOG_LEVEL_ERROR, LOG_LIST_FAILED, rules_file(r, i), find_users(&users, r, i));
	if (line > 0)
		snprintf(place, sizeof(place), "%u: ", line);
	log_submit(&record, "changed list is not taken up (%s); what was read before stays: %s: %s%s", users.text.at,
		   rules_file(r, i), place, what);
}

void list_report_failed(const struct rules *r, unsigned i, int error, const struct address_list_problems *problems)
{
	char more[64];
	if (problems->count == 0)
		say_failed(r, i, 0, strerror(-error));
	for (unsigned k = 0; k < problems->count; k++)
		say_failed(r, i, problems->at[k].line, problems->at[k].text);
	if (problems->more == 0)
		return;
	snprintf(more, sizeof(more), "and %u more lines of it are wrong", problems->more);
	say_failed(r, i, 0, more);
}

void list_report_restless(const struct rules *r, unsigned i, uint64_t for_ms)
{
	char bytes[160];
	struct text t;
	text_init(&t, bytes, sizeof(bytes));
	text_add(&t, "it has changed again and again for ");
	text_add_duration_ms(&t, for_ms);
	text_add(&t, ", and may be half written; write another file and rename it to this one");
	say_failed(r, i, 0, t.at);
}

void list_report_unreadable(const struct rules *r, unsigned i, int error)
{
	/* main alone asks */
	// cppcheck-suppress getpwuidCalled
	const struct passwd *user = getpwuid(geteuid());
	struct log_record record;
	struct users users;
	begin(&record, LOG_LEVEL_WARNING, LOG_LIST_FAILED, rules_file(r, i), find_users(&users, r, i));
	log_field_errno(&record, error);
	log_submit(
		&record,
		"%s (%s) was read as root, but user %s (uid %u) cannot open it: %s: when it changes that is not taken "
		"up, and a reload that names it anew fails; make it readable for this user (chmod o+r, or chgrp it to "
		"a "
		"group of that user)",
		rules_file(r, i), users.text.at, user ? user->pw_name : "without a name", (unsigned)geteuid(),
		strerror(error));
}

void list_report_slow(struct aside *a, uint64_t now_ms, const char *meanwhile)
{
	struct log_record record;
	struct aside_slow slow;
	char bytes[48];
	struct text time;
	enum aside_news news = aside_look(a, now_ms, &slow);
	if (news == ASIDE_NO_NEWS)
		return;
	bool is_slow = news == ASIDE_IS_SLOW;
	text_init(&time, bytes, sizeof(bytes));
	text_add_duration_ms(&time, slow.ms);
	log_begin(&record, is_slow ? LOG_LEVEL_WARNING : LOG_LEVEL_NOTICE, LOG_LIST_SLOW);
	log_field(&record, "USHER_LIST", "%s", slow.path);
	if (is_slow)
		log_submit(&record, "list file %s: the disk that it is on has not answered for %s: until it does, %s",
			   slow.path, time.at, meanwhile);
	else
		log_submit(&record, "list file %s: the disk has answered, after %s", slow.path, time.at);
}

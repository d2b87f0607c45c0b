/* SPDX-License-Identifier: MIT */
#include "front/rules.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"
#include "front/rules_priv.h"

static const char *const list_names[RULE_LISTS] = {"allow", "deny", "trusted"};

/* On the way to rules. */
struct loader {
	struct rules *rules;
	const struct rules *old;       /* borrowed; may be NULL */
	const struct list_reads *read; /* borrowed; NULL: files are read here */
	struct config_errors *errors;
	bool failed;
};

/* An entry of the configuration. */
struct spot {
	const char *path; /* "door.deny" */
	const char *text;
	struct config_place place;
};

static void add_scope_name(struct text *t, const struct rules *r, unsigned scope, enum rule_list list)
{
	if (scope == 0)
		text_printf(t, "door.%s", list_names[list]);
	else
		text_printf(t, "listeners.%s.%s", r->scopes->config->listeners[scope - 1].name, list_names[list]);
}

static const struct option_list *list_of(const struct config *config, unsigned scope, enum rule_list list)
{
	const struct access_config *access = scope == 0 ? &config->door.access : &config->listeners[scope - 1].access;
	return list == RULE_ALLOW ? &access->allow : list == RULE_DENY ? &access->deny : &access->trusted;
}

/* What does not change. */

static struct rule_scopes *scopes_create(struct config *config)
{
	struct rule_scopes *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	atomic_init(&s->references, 1);
	s->config = config_ref(config);
	s->at = calloc(config->listener_count + 1, sizeof(*s->at));
	s->count = s->at ? config->listener_count + 1 : 0;
	return s->at ? s : rule_scopes_unref(s);
}

static void list_fini(struct list *list)
{
	prefix_set_unref(list->set);
	free(list->entries);
	free(list->files);
	free(list->identities);
}

struct rule_scopes *rule_scopes_ref(struct rule_scopes *s)
{
	atomic_fetch_add_explicit(&s->references, 1, memory_order_relaxed);
	return s;
}

struct rule_scopes *rule_scopes_unref(struct rule_scopes *s)
{
	if (!s || atomic_fetch_sub_explicit(&s->references, 1, memory_order_acq_rel) != 1)
		return NULL;
	for (unsigned scope = 0; scope < s->count; scope++)
		for (unsigned list = 0; list < RULE_LISTS; list++)
			list_fini(&s->at[scope].lists[list]);
	free(s->at);
	config_unref(s->config);
	free(s);
	return NULL;
}

/* Files. */

MAIN_ONLY static void report_problem(struct loader *l, const struct spot *spot, const char *file,
				     const struct address_list_problem *p)
{
	if (p->line > 0)
		config_errors_add(l->errors, spot->place, spot->path, "%s: %u: %s", file, p->line, p->text);
	else
		config_errors_add(l->errors, spot->place, spot->path, "%s: %s", file, p->text);
}

MAIN_ONLY static void report_file(struct loader *l, const struct spot *spot, const char *file, int error,
				  const struct address_list_problems *problems)
{
	l->failed = true;
	if (error == -EACCES || error == -EPERM) {
		/* main asks, and only when something is wrong anyway */
		// cppcheck-suppress getpwuidCalled
		const struct passwd *user = getpwuid(geteuid());
		config_errors_add(
			l->errors, spot->place, spot->path,
			"%s: the user %s, which usherd runs as, may not read it: make it readable for this user "
			"(chmod o+r, or chgrp it to a group of that user)",
			file, user ? user->pw_name : "(without a name)");
		return;
	}
	if (problems->count == 0)
		config_errors_add(l->errors, spot->place, spot->path, "%s: %s", file, strerror(-error));
	for (unsigned i = 0; i < problems->count; i++)
		report_problem(l, spot, file, &problems->at[i]);
	if (problems->more > 0)
		config_errors_add(l->errors, spot->place, spot->path, "%s: and %u more lines of it are wrong", file,
				  problems->more);
}

/* Adds a file to the rules. Takes the reference; NULL is no memory. */
MAIN_ONLY static int append_file(struct loader *l, struct list_file *file, unsigned *index)
{
	struct rules *r = l->rules;
	struct list_file **more = file ? reallocarray(r->files, r->file_count + 1, sizeof(struct list_file *)) : NULL;
	if (!more) {
		list_file_unref(file);
		return -ENOMEM;
	}
	r->files = more;
	*index = r->file_count;
	more[r->file_count++] = file;
	return 0;
}

static int find_file(const struct rules *r, const char *path, unsigned *index)
{
	for (unsigned i = 0; r && i < r->file_count; i++) {
		if (strcmp(r->files[i]->path, path) == 0) {
			*index = i;
			return 0;
		}
	}
	return -ENOENT;
}

/* What is in a file, read by somebody else or here. */
MAIN_ONLY static int get_content(const struct loader *l, const char *path, struct list_content *to,
				 struct address_list_problems *problems)
{
	if (!l->read)
		return list_file_read(path, 0, to, problems);
	const struct list_read *r = list_reads_find(l->read, path);
	if (!r)
		return -EAGAIN; /* somebody forgot it: it is not read here in any case */
	*problems = r->problems;
	if (r->failed)
		return r->failed;
	*to = r->content;
	prefix_set_ref(to->set);
	return 0;
}

/* The file that an entry names, read if nobody has yet. What is wrong with one is said where it is named first. */
MAIN_ONLY static int take_file(struct loader *l, const struct spot *spot, const char *path, unsigned *index)
{
	struct address_list_problems problems = {0};
	unsigned known;
	if (find_file(l->rules, path, index) == 0)
		return 0;
	if (find_file(l->old, path, &known) == 0)
		return append_file(l, list_file_ref(l->old->files[known]), index);
	int failed = append_file(l, list_file_create(path), index);
	if (failed)
		return failed;
	failed = get_content(l, path, &l->rules->files[*index]->content, &problems);
	if (failed)
		report_file(l, spot, path, failed, &problems);
	return 0;
}

/* Lists. */

/* Adds `number` to an array with room for it, unless it is there. */
static void add_number(unsigned *to, unsigned *count, unsigned number)
{
	for (unsigned i = 0; i < *count; i++)
		if (to[i] == number)
			return;
	to[(*count)++] = number;
}

MAIN_ONLY static int load_entry(struct loader *l, struct rule_entry *to, const struct spot *spot)
{
	const char *why = NULL;
	if (rule_entry_load(to, spot->text, &why) < 0) {
		l->failed = true;
		config_errors_add(l->errors, spot->place, spot->path, "\"%s\": %s", spot->text, why);
		return 0;
	}
	return to->is.kind == ACCESS_FILE ? take_file(l, spot, to->is.name, &to->file) : 0;
}

/* Makes what is looked up of the entries. */
MAIN_ONLY static int compile(struct list *list, struct scope *scope)
{
	unsigned n = list->from->count;
	struct address_list addresses = {0};
	int failed = 0;
	list->files = calloc(n, sizeof(*list->files));
	list->identities = calloc(n, sizeof(*list->identities));
	if (!list->files || !list->identities)
		return -ENOMEM;
	for (unsigned i = 0; i < n && !failed; i++) {
		const struct rule_entry *e = &list->entries[i];
		if (e->is.kind == ACCESS_ADDRESS)
			failed = address_list_add(&addresses, &e->is.range);
		else if (e->is.kind == ACCESS_FILE)
			add_number(list->files, &list->file_count, e->file);
		else
			list->identities[list->identity_count++] = i;
		scope->wants_unit = scope->wants_unit || e->is.kind == ACCESS_UNIT;
	}
	if (!failed && addresses.count > 0) {
		list->set = prefix_set_create(addresses.ranges, addresses.count);
		failed = list->set ? 0 : -ENOMEM;
	}
	address_list_fini(&addresses);
	return failed;
}

MAIN_ONLY static int load_list(struct loader *l, unsigned scope, enum rule_list which)
{
	struct rule_scopes *scopes = l->rules->scopes;
	struct list *list = &scopes->at[scope].lists[which];
	char bytes[256];
	struct text path;
	list->from = list_of(scopes->config, scope, which);
	if (list->from->count == 0)
		return 0;
	list->entries = calloc(list->from->count, sizeof(*list->entries));
	if (!list->entries)
		return -ENOMEM;
	text_init(&path, bytes, sizeof(bytes));
	add_scope_name(&path, l->rules, scope, which);
	for (unsigned i = 0; i < list->from->count; i++) {
		struct spot spot = {.path = path.at, .text = list->from->at[i], .place = list->from->places[i]};
		int failed = load_entry(l, &list->entries[i], &spot);
		if (failed)
			return failed;
	}
	return l->failed ? 0 : compile(list, &scopes->at[scope]);
}

/* Goes on after an error: the user sees all that is wrong. */
MAIN_ONLY static int load_all(struct loader *l)
{
	for (unsigned scope = 0; scope < l->rules->scopes->count; scope++) {
		for (unsigned list = 0; list < RULE_LISTS; list++) {
			int failed = load_list(l, scope, (enum rule_list)list);
			if (failed)
				return failed;
		}
	}
	return l->failed ? -EINVAL : 0;
}

int rules_load_read(struct config *config, const struct rules *old, const struct list_reads *read,
		    struct config_errors *errors, struct rules **to)
{
	struct rules *r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	struct loader l = {.rules = r, .old = old, .read = read, .errors = errors};
	r->scopes = scopes_create(config);
	r->found = calloc(1, sizeof(*r->found));
	int failed = r->scopes && r->found ? load_all(&l) : -ENOMEM;
	if (failed)
		rules_destroy(r);
	else
		*to = r;
	return failed;
}

int rules_load(struct config *config, const struct rules *old, struct config_errors *errors, struct rules **to)
{
	return rules_load_read(config, old, NULL, errors, to);
}

MAIN_ONLY static int add_missing_of(const struct option_list *from, const struct rules *old, struct list_reads *to)
{
	for (unsigned i = 0; i < from->count; i++) {
		struct access_entry e;
		const char *why;
		unsigned known;
		/* what is wrong is said when it is loaded */
		if (access_entry_parse(&e, from->at[i], &why) < 0 || e.kind != ACCESS_FILE ||
		    find_file(old, e.name, &known) == 0)
			continue;
		int failed = list_reads_add(to, e.name);
		if (failed)
			return failed;
	}
	return 0;
}

int rules_add_missing(const struct config *config, const struct rules *old, struct list_reads *to)
{
	for (unsigned scope = 0; scope <= config->listener_count; scope++) {
		for (unsigned list = 0; list < RULE_LISTS; list++) {
			int failed = add_missing_of(list_of(config, scope, (enum rule_list)list), old, to);
			if (failed)
				return failed;
		}
	}
	return 0;
}

struct rules *rules_destroy(struct rules *r)
{
	if (!r)
		return NULL;
	for (unsigned i = 0; i < r->file_count; i++)
		list_file_unref(r->files[i]);
	free(r->files);
	free(r->found);
	rule_scopes_unref(r->scopes);
	free(r);
	return NULL;
}

/* Who is on a list. */

static const struct list *get_list(const struct rules *r, unsigned scope, enum rule_list list)
{
	must(scope < r->scopes->count);
	return &r->scopes->at[scope].lists[list];
}

bool rules_has(const struct rules *r, unsigned scope, enum rule_list list)
{
	return get_list(r, scope, list)->from->count > 0;
}

bool rule_list_has(const struct list *list, struct list_file *const *files, const struct visitor *v)
{
	if (v->address->sa_family == AF_UNIX) {
		for (unsigned i = 0; i < list->identity_count; i++)
			if (rule_entry_means(&list->entries[list->identities[i]], v))
				return true;
		return false;
	}
	if (list->set && prefix_set_has(list->set, v->address))
		return true;
	for (unsigned i = 0; i < list->file_count; i++)
		if (prefix_set_has(files[list->files[i]]->content.set, v->address))
			return true;
	return false;
}

bool rules_match(const struct rules *r, unsigned scope, enum rule_list which, const struct visitor *v)
{
	return rule_list_has(get_list(r, scope, which), r->files, v);
}

bool rules_may_match(const struct rules *r, unsigned scope, enum rule_list which, const struct visitor *v)
{
	const struct list *list = get_list(r, scope, which);
	if (v->address->sa_family != AF_UNIX)
		return false;
	for (unsigned i = 0; i < list->identity_count; i++) {
		enum access_kind kind = list->entries[list->identities[i]].is.kind;
		bool is_hidden = kind == ACCESS_UNIT			      ? v->unit_hidden
				 : kind == ACCESS_GROUP || kind == ACCESS_GID ? v->groups_hidden
									      : false;
		if (!v->has_credentials || is_hidden)
			return true;
	}
	return false;
}

bool rules_want_unit(const struct rules *r, unsigned scope)
{
	must(scope < r->scopes->count);
	return r->scopes->at[0].wants_unit || r->scopes->at[scope].wants_unit;
}

bool rules_ask_units(const struct rules *r)
{
	for (unsigned i = 0; i < r->scopes->count; i++)
		if (r->scopes->at[i].wants_unit)
			return true;
	return false;
}

/* The entry of a file that has the visitor. What counts is the content in effect. */
MAIN_ONLY static bool find_in_file(const struct rules *r, unsigned i, const struct visitor *v, struct rule_found *to)
{
	const struct list_file *f = r->files[i];
	if (v->address->sa_family == AF_UNIX || !prefix_set_has(f->content.set, v->address))
		return false;
	to->file = f->path;
	if (address_list_find(f->path, v->address, r->found) != 1)
		*r->found = (struct address_list_entry){0};
	to->line = r->found->line;
	to->file_entry = r->found->text;
	return true;
}

bool rules_find(const struct rules *r, unsigned scope, enum rule_list which, const struct visitor *v,
		struct rule_found *to)
{
	const struct list *list = get_list(r, scope, which);
	for (unsigned i = 0; i < list->from->count; i++) {
		const struct rule_entry *e = &list->entries[i];
		struct rule_found found = {.entry = list->from->at[i], .place = list->from->places[i]};
		bool has = e->is.kind == ACCESS_ADDRESS ? address_range_has(&e->is.range, v->address)
			   : e->is.kind == ACCESS_FILE	? find_in_file(r, e->file, v, &found)
							: v->address->sa_family == AF_UNIX && rule_entry_means(e, v);
		if (has) {
			*to = found;
			return true;
		}
	}
	return false;
}

/* The files. */

unsigned rules_file_count(const struct rules *r)
{
	return r->file_count;
}

const char *rules_file(const struct rules *r, unsigned i)
{
	must(i < r->file_count);
	return r->files[i]->path;
}

const struct list_content *rules_file_content(const struct rules *r, unsigned i)
{
	must(i < r->file_count);
	return &r->files[i]->content;
}

static bool names(const struct list *list, unsigned file)
{
	for (unsigned i = 0; i < list->file_count; i++)
		if (list->files[i] == file)
			return true;
	return false;
}

void rules_add_file_users(const struct rules *r, unsigned i, struct text *t)
{
	bool first = true;
	for (unsigned scope = 0; scope < r->scopes->count; scope++) {
		for (unsigned list = 0; list < RULE_LISTS; list++) {
			if (!names(&r->scopes->at[scope].lists[list], i))
				continue;
			text_add(t, first ? "" : ", ");
			add_scope_name(t, r, scope, (enum rule_list)list);
			first = false;
		}
	}
}

void rules_take(struct rules *r, unsigned i, struct list_content *content)
{
	must(i < r->file_count && content->set);
	list_content_fini(&r->files[i]->content);
	r->files[i]->content = *content;
	*content = (struct list_content){0};
}

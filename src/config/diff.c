/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <string.h>

#include "config/config.h"
#include "config/option_value.h"
#include "config/schema.h"

#define LINE_BYTES 1024
#define VALUE_BYTES 320

/* A comparison on its way through the groups. */
struct diff {
	void (*line)(void *arg, const char *text, bool needs_restart);
	void *arg;
	unsigned count;
	struct text where; /* "listener web: timeouts." */
	char where_bytes[256];
};

static void say(struct diff *d, const char *what, const char *more, bool needs_restart)
{
	char buffer[LINE_BYTES];
	struct text t;

	text_init(&t, buffer, sizeof(buffer));
	text_printf(&t, "%s%s%s", d->where.at, what, more);
	d->line(d->arg, t.at, needs_restart);
	d->count++;
}

static void enter(struct diff *d, const char *before, const char *name, const char *after)
{
	text_printf(&d->where, "%s%s%s", before, name, after);
}

static void leave(struct diff *d, size_t length)
{
	d->where.length = length;
	d->where.at[length] = '\0';
	d->where.cut = false;
}

/* Adds a value, cut with "..." when it is long. */
static void add_value(struct text *t, const struct option_row *o, const void *values)
{
	char buffer[VALUE_BYTES];
	struct text value;

	text_init(&value, buffer, sizeof(buffer));
	option_add_text(&value, o, values);
	text_add(t, value.at);
	if (value.cut)
		text_add(t, "...");
}

static void diff_option(struct diff *d, const struct option_row *o, const void *from, const void *to)
{
	char buffer[LINE_BYTES];
	struct text t;

	if (option_equal(o, from, to))
		return;
	text_init(&t, buffer, sizeof(buffer));
	text_add(&t, ": ");
	add_value(&t, o, from);
	text_add(&t, " -> ");
	add_value(&t, o, to);
	if (o->change == CHANGE_RESTART)
		text_add(&t, " (needs a restart)");
	else if (o->change == CHANGE_REOPEN)
		text_add(&t, " (counts for sockets that are opened from now on)");
	say(d, o->name, t.at, o->change == CHANGE_RESTART);
}

/* A group that came or went is told as one thing: its options had no values without it. */
static void diff_group(struct diff *d, const struct option_group *group, const void *from, const void *to)
{
	for (size_t i = 0; i < group->option_count; i++) {
		const struct option_row *o = &group->options[i];
		if (o->type != OPTION_GROUP) {
			diff_option(d, o, from, to);
			continue;
		}
		bool was_there = option_group_is_there(o, from);
		bool is_there = option_group_is_there(o, to);
		if (was_there != is_there)
			say(d, o->name, is_there ? ": added" : ": removed", false);
		if (!was_there || !is_there)
			continue;
		size_t length = d->where.length;
		enter(d, "", o->name, ".");
		diff_group(d, o->group, option_field_const(o, from), option_field_const(o, to));
		leave(d, length);
	}
}

static void diff_listener(struct diff *d, const struct listener_config *from, const struct listener_config *to,
			  const struct config_services *services)
{
	const struct option_group *old_service = services->groups[from->service];
	const struct option_group *service = services->groups[to->service];

	diff_group(d, &schema_listener, from, to);
	if (service == old_service) {
		size_t length = d->where.length;
		enter(d, "", service->name, ".");
		diff_group(d, service, from->service_values, to->service_values);
		leave(d, length);
	} else {
		char buffer[LINE_BYTES];
		struct text t;
		text_init(&t, buffer, sizeof(buffer));
		text_printf(&t, ": %s -> %s", old_service->name, service->name);
		say(d, "service", t.at, false);
	}
}

unsigned config_diff(const struct config *from, const struct config *to, const struct config_services *services,
		     void (*line)(void *arg, const char *text, bool needs_restart), void *arg)
{
	struct diff d = {.line = line, .arg = arg};

	text_init(&d.where, d.where_bytes, sizeof(d.where_bytes));
	diff_group(&d, &schema_global, from, to);
	for (unsigned i = 0; i < from->listener_count; i++) {
		if (!config_find_listener(to, from->listeners[i].name)) {
			enter(&d, "listener ", from->listeners[i].name, ": ");
			say(&d, "removed", "", false);
			leave(&d, 0);
		}
	}
	for (unsigned i = 0; i < to->listener_count; i++) {
		const struct listener_config *old = config_find_listener(from, to->listeners[i].name);
		enter(&d, "listener ", to->listeners[i].name, ": ");
		if (old)
			diff_listener(&d, old, &to->listeners[i], services);
		else
			say(&d, "added", "", false);
		leave(&d, 0);
	}
	return d.count;
}

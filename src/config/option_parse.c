/* SPDX-License-Identifier: MIT */
#include "config/option_parse.h"

#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include "base/must.h"
#include "config/option_value.h"
#include "config/value.h"

/* A name that is further than this from an option's is no slip of the finger. */
#define SUGGEST_DISTANCE 2

void option_parse_init(struct option_parse *p, struct snapshot *snapshot, struct config_errors *errors)
{
	memset(p, 0, sizeof(*p));
	p->snapshot = snapshot;
	p->errors = errors;
	text_init(&p->path, p->path_bytes, sizeof(p->path_bytes));
}

size_t option_parse_enter(struct option_parse *p, const char *name)
{
	size_t where = p->path.length;

	if (where > 0)
		text_add(&p->path, ".");
	text_add(&p->path, name);
	return where;
}

void option_parse_leave(struct option_parse *p, size_t where)
{
	p->path.length = where;
	p->path.at[where] = '\0';
	p->path.cut = false;
}

void option_parse_error(struct option_parse *p, struct config_place place, const char *name, const char *format, ...)
{
	char buffer[512];
	struct text message;
	va_list args;

	text_init(&message, buffer, sizeof(buffer));
	va_start(args, format);
	text_vprintf(&message, format, args);
	va_end(args);

	size_t where = name ? option_parse_enter(p, name) : p->path.length;
	config_errors_add(p->errors, place, p->path.at, "%s", message.at);
	option_parse_leave(p, where);
}

struct config_place option_parse_place(const struct option_parse *p, const config_setting_t *setting)
{
	/* libconfig gives a string in a list the line of whatever follows it; load.c left the string's number here */
	uintptr_t string = (uintptr_t)config_setting_get_hook(setting);

	if (string > 0 && config_setting_name(setting) == NULL)
		return source_string_place(p->snapshot->source, string - 1);
	return source_place(p->snapshot->source, config_setting_source_line(setting));
}

/* Adds what a setting is, for "expected ..., found ...". */
static void add_found(struct text *t, const config_setting_t *setting)
{
	switch (config_setting_type(setting)) {
	case CONFIG_TYPE_INT:
	case CONFIG_TYPE_INT64:
		text_printf(t, "the number %lld", config_setting_get_int64(setting));
		break;
	case CONFIG_TYPE_FLOAT:
		text_printf(t, "the fraction %g", config_setting_get_float(setting));
		break;
	case CONFIG_TYPE_BOOL:
		text_add(t, config_setting_get_bool(setting) ? "true" : "false");
		break;
	case CONFIG_TYPE_STRING:
		text_printf(t, "the text \"%.60s\"", config_setting_get_string(setting));
		break;
	case CONFIG_TYPE_GROUP:
		text_add(t, "a group");
		break;
	case CONFIG_TYPE_ARRAY:
	case CONFIG_TYPE_LIST:
		text_add(t, "a list");
		break;
	default:
		text_add(t, "nothing");
		break;
	}
}

static void add_expected(struct text *t, const struct option_row *o)
{
	text_add(t, option_type_expected(o->type));
	if (o->type == OPTION_CHOICE || o->type == OPTION_INT) {
		text_add(t, ", ");
		option_add_range(t, o);
	}
}

/* The unit that a bare number most likely stands for; NULL when the type has none. */
static const char *unit_of(enum option_type type)
{
	switch (type) {
	case OPTION_SIZE:
		return "B";
	case OPTION_DURATION:
		return "s";
	case OPTION_RATE:
		return "/s";
	case OPTION_BYTE_RATE:
		return "B/s";
	default:
		return NULL;
	}
}

static void wrong_type(struct option_parse *p, const struct option_row *o, const config_setting_t *setting)
{
	struct config_place place = option_parse_place(p, setting);
	char buffer[256];
	struct text t;

	text_init(&t, buffer, sizeof(buffer));
	if (config_setting_type(setting) == CONFIG_TYPE_INT && config_setting_get_int(setting) >= 0) {
		int number = config_setting_get_int(setting);
		if (o->type == OPTION_MODE)
			text_printf(&t, "%d is a number; a mode is text: write \"%04d\"", number, number);
		else if (unit_of(o->type))
			text_printf(&t, "%d has no unit; write \"%d%s\"", number, number, unit_of(o->type));
		if (t.length > 0) {
			option_parse_error(p, place, o->name, "%s", t.at);
			return;
		}
	}
	text_add(&t, "expected ");
	add_expected(&t, o);
	text_add(&t, "; found ");
	add_found(&t, setting);
	option_parse_error(p, place, o->name, "%s", t.at);
}

static void parse_text(struct option_parse *p, const struct option_row *o, void *values,
		       const config_setting_t *setting, const char *string)
{
	char buffer[256];
	struct text why;

	text_init(&why, buffer, sizeof(buffer));
	if (option_set(o, values, string, &why) < 0)
		option_parse_error(p, option_parse_place(p, setting), o->name, "\"%.60s\" %s", string, why.at);
}

static void parse_int(struct option_parse *p, const struct option_row *o, void *values, const config_setting_t *setting)
{
	int number = config_setting_get_int(setting);
	char buffer[256];
	struct text why;

	text_init(&why, buffer, sizeof(buffer));
	if (option_in_range(o, number, &why))
		*(int *)option_field(o, values) = number;
	else
		option_parse_error(p, option_parse_place(p, setting), o->name, "%d %s", number, why.at);
}

/* Gives a list room for `count` strings. */
static bool list_alloc(struct option_parse *p, struct option_list *list, unsigned count)
{
	list->at = snapshot_memory(p->snapshot, count, sizeof(*list->at));
	list->places = snapshot_memory(p->snapshot, count, sizeof(*list->places));
	if (!list->at || !list->places) {
		p->no_memory = true;
		return false;
	}
	return true;
}

static void parse_list(struct option_parse *p, const struct option_row *o, void *values,
		       const config_setting_t *setting)
{
	bool alone = config_setting_type(setting) == CONFIG_TYPE_STRING;
	unsigned count = alone ? 1 : (unsigned)config_setting_length(setting);
	struct option_list list = {0};
	char buffer[256];
	struct text why;

	text_init(&why, buffer, sizeof(buffer));
	if (!option_in_range(o, count, &why)) {
		option_parse_error(p, option_parse_place(p, setting), o->name, "a list of %u %s", count, why.at);
		return;
	}
	if (count == 0) {
		*(struct option_list *)option_field(o, values) = list;
		return;
	}
	if (!list_alloc(p, &list, count))
		return;
	for (unsigned i = 0; i < count; i++) {
		const config_setting_t *element = alone ? setting : config_setting_get_elem(setting, i);
		if (config_setting_type(element) != CONFIG_TYPE_STRING) {
			add_found(&why, element);
			option_parse_error(p, option_parse_place(p, element), o->name,
					   "element %u: expected text in quotes; found %s", i + 1, why.at);
			return;
		}
		list.at[i] = config_setting_get_string(element);
		list.places[i] = option_parse_place(p, element);
		if (list.at[i][0] == '\0') {
			option_parse_error(p, list.places[i], o->name, "element %u is empty", i + 1);
			return;
		}
	}
	list.count = count;
	*(struct option_list *)option_field(o, values) = list;
}

/* Everything but a group. */
static void parse_value(struct option_parse *p, const struct option_row *o, void *values,
			const config_setting_t *setting)
{
	int type = config_setting_type(setting);

	switch (o->type) {
	case OPTION_BOOL:
		if (type == CONFIG_TYPE_BOOL)
			*(bool *)option_field(o, values) = config_setting_get_bool(setting);
		else
			wrong_type(p, o, setting);
		break;
	case OPTION_INT:
		if (type == CONFIG_TYPE_INT)
			parse_int(p, o, values, setting);
		else
			wrong_type(p, o, setting);
		break;
	case OPTION_LIST:
		if (type == CONFIG_TYPE_STRING || type == CONFIG_TYPE_ARRAY || type == CONFIG_TYPE_LIST)
			parse_list(p, o, values, setting);
		else
			wrong_type(p, o, setting);
		break;
	case OPTION_SIZE:
	case OPTION_DURATION:
	case OPTION_RATE:
	case OPTION_BYTE_RATE:
	case OPTION_STRING:
	case OPTION_MODE:
	case OPTION_CHOICE:
		if (type == CONFIG_TYPE_STRING)
			parse_text(p, o, values, setting, config_setting_get_string(setting));
		else
			wrong_type(p, o, setting);
		break;
	case OPTION_GROUP:
		break;
	}
}

bool option_parse_is_group(struct option_parse *p, const config_setting_t *setting)
{
	char buffer[128];
	struct text found;

	if (config_setting_is_group(setting))
		return true;
	text_init(&found, buffer, sizeof(buffer));
	add_found(&found, setting);
	option_parse_error(p, option_parse_place(p, setting), config_setting_name(setting),
			   "expected a group, { ... }; found %s", found.at);
	return false;
}

/* An option's default, through the same parser. */
static void set_default(struct option_parse *p, const struct option_row *o, void *values)
{
	char buffer[256];
	struct text why;

	if (o->type == OPTION_GROUP || !o->fallback || strcmp(o->fallback, "!") == 0)
		return;
	if (o->type == OPTION_LIST) {
		struct option_list *list = option_field(o, values);
		if (list_alloc(p, list, 1)) {
			list->at[0] = o->fallback;
			list->count = 1;
		}
		return;
	}
	text_init(&why, buffer, sizeof(buffer));
	must(option_set(o, values, o->fallback, &why) == 0);
}

/* A candidate for the suggestion: keeps the nearest name. */
static void consider(const char *name, const char *candidate, const char **best, unsigned *distance)
{
	unsigned d = text_distance(name, candidate);

	if (d < *distance && d < strlen(candidate)) {
		*distance = d;
		*best = candidate;
	}
}

static void unknown_name(struct option_parse *p, const struct option_group *group, const config_setting_t *setting,
			 const struct option_others *others)
{
	const char *name = config_setting_name(setting);
	struct config_place place = option_parse_place(p, setting);
	unsigned distance = SUGGEST_DISTANCE + 1;
	const char *best = NULL;
	char buffer[400];
	struct text t;

	if (config_errors_count(p->errors) >= CONFIG_ERRORS_MAX) {
		option_parse_error(p, place, name, "no such option");
		return;
	}
	text_init(&t, buffer, sizeof(buffer));
	for (size_t i = 0; i < group->option_count; i++) {
		const struct option_row *o = &group->options[i];
		consider(name, o->name, &best, &distance);
		for (size_t k = 0; o->group && k < o->group->option_count; k++) {
			if (strcmp(o->group->options[k].name, name) == 0)
				text_printf(&t, "%s%s", t.length > 0 ? " or " : "it belongs into the group ", o->name);
		}
	}
	for (unsigned i = 0; others && i < others->count; i++)
		consider(name, others->groups[i]->name, &best, &distance);

	if (best) {
		option_parse_error(p, place, name, "no such option; did you mean %s?", best);
		return;
	}
	if (t.length == 0) {
		const char *comma = "";
		text_add(&t, "allowed here: ");
		for (size_t i = 0; i < group->option_count; i++, comma = ", ")
			text_printf(&t, "%s%s", comma, group->options[i].name);
		for (unsigned i = 0; others && i < others->count; i++, comma = ", ")
			text_printf(&t, "%s%s", comma, others->groups[i]->name);
		if (!comma[0])
			text_add(&t, "nothing");
	}
	option_parse_error(p, place, name, "no such option; %s", t.at);
}

static const struct option_row *find_option(const struct option_group *group, const char *name)
{
	for (size_t i = 0; i < group->option_count; i++) {
		if (strcmp(group->options[i].name, name) == 0)
			return &group->options[i];
	}
	return NULL;
}

static bool is_other(const struct option_others *others, const char *name)
{
	for (unsigned i = 0; others && i < others->count; i++) {
		if (strcmp(others->groups[i]->name, name) == 0)
			return true;
	}
	return false;
}

/* An option that is a group; `member` is NULL when it does not stand in the file, and `place` then its group's. */
static void parse_inner(struct option_parse *p, const struct option_row *o, void *values,
			const config_setting_t *member, struct config_place place)
{
	if (member) {
		place = option_parse_place(p, member);
		if (!option_parse_is_group(p, member))
			member = NULL;
	}
	if (o->optional) {
		*(bool *)option_field(o, values) = member != NULL;
		if (!member)
			return;
	}
	size_t where = option_parse_enter(p, o->name);
	option_parse_group(p, o->group, option_field(o, values), member, place, NULL);
	option_parse_leave(p, where);
}

/* The options of `group` that are groups, or that must be given and are not. */
static void parse_structure(struct option_parse *p, const struct option_group *group, void *values,
			    const config_setting_t *setting, struct config_place place)
{
	for (size_t i = 0; i < group->option_count; i++) {
		const struct option_row *o = &group->options[i];
		const config_setting_t *member = setting ? config_setting_get_member(setting, o->name) : NULL;
		if (o->type == OPTION_GROUP) {
			parse_inner(p, o, values, member, place);
		} else if (!member && o->fallback && strcmp(o->fallback, "!") == 0) {
			option_parse_error(p, place, o->name, "missing; it must be given: %s",
					   option_type_expected(o->type));
		}
	}
}

void option_parse_group(struct option_parse *p, const struct option_group *group, void *values,
			const config_setting_t *setting, struct config_place place, const struct option_others *others)
{
	unsigned errors_before = config_errors_count(p->errors);
	int count = setting ? config_setting_length(setting) : 0;

	for (size_t i = 0; i < group->option_count; i++)
		set_default(p, &group->options[i], values);
	for (int i = 0; i < count; i++) {
		const config_setting_t *member = config_setting_get_elem(setting, (unsigned)i);
		const char *name = config_setting_name(member);
		const struct option_row *o = find_option(group, name);
		if (o)
			parse_value(p, o, values, member);
		else if (!is_other(others, name))
			unknown_name(p, group, member, others);
	}
	parse_structure(p, group, values, setting, place);
	if (group->check && !p->no_memory && config_errors_count(p->errors) == errors_before)
		group->check(values, p->path.at, place, p->errors);
}

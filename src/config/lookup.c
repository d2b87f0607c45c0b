/* SPDX-License-Identifier: MIT */
/* An option by its path, "listeners.web.limits.per_source". */
#include <string.h>

#include "config/config_priv.h"
#include "config/option_value.h"
#include "config/schema.h"

bool config_option_place(const struct config *c, const char *path, struct config_place *to)
{
	const struct snapshot *snapshot = (const void *)c; /* whose first member it is */
	const config_setting_t *setting = config_lookup(&snapshot->tree, path);

	if (!setting)
		return false;
	*to = source_place(snapshot->source, config_setting_source_line(setting));
	return true;
}

/* Takes the first name of a path; `path` is what follows it, empty at the end. */
static size_t take_name(const char **path, const char **name)
{
	size_t n = strcspn(*path, ".");

	*name = *path;
	*path += n;
	if (**path == '.')
		++*path;
	return n;
}

static const struct option_row *find_row(const struct option_group *group, const char *name, size_t n)
{
	for (size_t i = 0; i < group->option_count; i++) {
		if (strlen(group->options[i].name) == n && memcmp(group->options[i].name, name, n) == 0)
			return &group->options[i];
	}
	return NULL;
}

static bool add_option(struct text *t, const struct option_group *group, const void *values, const char *path)
{
	for (;;) {
		const char *name;
		size_t n = take_name(&path, &name);
		const struct option_row *o = find_row(group, name, n);
		if (!o || (o->type == OPTION_GROUP) != (*path != '\0'))
			return false;
		if (o->type != OPTION_GROUP) {
			option_add_text(t, o, values);
			return true;
		}
		group = o->group;
		values = option_field_const(o, values);
	}
}

bool config_option_add_text(struct text *t, const struct config *c, const char *path)
{
	const char *rest = path;
	const char *name;
	size_t n = take_name(&rest, &name);

	if (n != strlen(schema_listeners.name) || memcmp(name, schema_listeners.name, n) != 0)
		return add_option(t, &schema_global, c, path);
	n = take_name(&rest, &name);
	for (unsigned i = 0; i < c->listener_count; i++) {
		const struct listener_config *l = &c->listeners[i];
		if (strlen(l->name) == n && memcmp(l->name, name, n) == 0)
			return add_option(t, &schema_listener, l, rest);
	}
	return false;
}

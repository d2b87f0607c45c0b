/* SPDX-License-Identifier: MIT */
/* From the text to a snapshot. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/config_priv.h"
#include "config/option_parse.h"
#include "config/overlap.h"
#include "config/schema.h"

/* Numbers the strings of the tree in the order of the text, as the scan has numbered them: libconfig gives a string
 * in a list the line of the token after it. The depth is bounded by the scan. */
static void number_strings(config_setting_t *setting, size_t *count)
{
	if (config_setting_type(setting) == CONFIG_TYPE_STRING)
		config_setting_set_hook(setting, (void *)(uintptr_t)++ * count);
	if (!config_setting_is_aggregate(setting))
		return;
	int length = config_setting_length(setting);
	for (int i = 0; i < length; i++)
		number_strings(config_setting_get_elem(setting, (unsigned)i), count);
}

/* Returns 0 or -EINVAL. */
static int build_tree(struct snapshot *snapshot, struct config_errors *errors)
{
	if (config_read_string(&snapshot->tree, source_text(snapshot->source)) != CONFIG_TRUE) {
		unsigned line = (unsigned)config_error_line(&snapshot->tree);
		unsigned last = source_last_line(snapshot->source);
		const char *text = config_error_text(&snapshot->tree);
		const char *at;
		if (line > last)
			line = last; /* where something is missing at the end libconfig names a line past it */
		size_t n = source_line(snapshot->source, line, &at);
		if (text && strcmp(text, "duplicate setting name") == 0)
			text = "set twice in the same group";
		config_errors_add(errors, source_place(snapshot->source, line), NULL, "%s, in or before: %.*s",
				  text ? text : "syntax error", (int)(n > 60 ? 60 : n), at);
		return -EINVAL;
	}
	size_t count = 0;
	number_strings(config_root_setting(&snapshot->tree), &count);
	return 0;
}

/* The service of a listener: exactly one group. */
static void load_service(struct option_parse *p, struct listener_config *listener, const config_setting_t *setting)
{
	const struct config_services *services = p->snapshot->services;
	const config_setting_t *found = NULL;
	char buffer[400];
	struct text names;
	unsigned count = 0;

	text_init(&names, buffer, sizeof(buffer));
	for (unsigned i = 0; i < services->count; i++) {
		const config_setting_t *member = config_setting_get_member(setting, services->groups[i]->name);
		if (!member)
			continue;
		text_printf(&names, "%s%s", count++ > 0 ? ", " : "", services->groups[i]->name);
		found = member;
		listener->service = i;
	}
	if (count == 0) {
		for (unsigned i = 0; i < services->count; i++)
			text_printf(&names, "%s%s", i > 0 ? ", " : "", services->groups[i]->name);
		option_parse_error(p, listener->place, NULL, "names no service; add the group of one of these: %s",
				   names.at);
		return;
	}
	if (count > 1) {
		option_parse_error(p, option_parse_place(p, found), NULL,
				   "names %u services: %s; exactly one is allowed", count, names.at);
		return;
	}
	const struct option_group *group = services->groups[listener->service];
	if (!option_parse_is_group(p, found))
		return;
	listener->service_values = calloc(1, group->struct_bytes ? group->struct_bytes : 1);
	if (!listener->service_values) {
		p->no_memory = true;
		return;
	}
	size_t where = option_parse_enter(p, group->name);
	option_parse_group(p, group, listener->service_values, found, option_parse_place(p, found), NULL);
	option_parse_leave(p, where);
}

static void load_endpoints(struct option_parse *p, struct listener_config *listener)
{
	const struct option_list *listen = &listener->listen;

	if (listen->count == 0)
		return;
	listener->endpoints = calloc(listen->count, sizeof(*listener->endpoints));
	if (!listener->endpoints) {
		p->no_memory = true;
		return;
	}
	for (unsigned i = 0; i < listen->count; i++) {
		const char *why = "";
		if (endpoint_parse_listen(&listener->endpoints[i], listen->at[i], &why) < 0)
			option_parse_error(p, listen->places[i], "listen", "\"%.120s\": %s", listen->at[i], why);
	}
}

static void load_listener(struct option_parse *p, struct listener_config *listener, const config_setting_t *setting)
{
	const struct config_services *services = p->snapshot->services;
	const struct option_others others = {services->groups, services->count};

	listener->name = config_setting_name(setting);
	listener->place = option_parse_place(p, setting);
	if (strlen(listener->name) > SCHEMA_LISTENER_NAME_MAX) {
		option_parse_error(p, listener->place, NULL, "the name %.63s... is too long; %d bytes are allowed",
				   listener->name, SCHEMA_LISTENER_NAME_MAX);
		return;
	}
	if (strchr(listener->name, '*')) {
		option_parse_error(p, listener->place, listener->name,
				   "a listener's name holds letters, digits, - and _ only");
		return;
	}
	if (!option_parse_is_group(p, setting))
		return;
	size_t where = option_parse_enter(p, listener->name);
	option_parse_group(p, &schema_listener, listener, setting, listener->place, &others);
	load_endpoints(p, listener);
	load_service(p, listener, setting);
	option_parse_leave(p, where);
}

static void load_listeners(struct option_parse *p, struct config *c, const config_setting_t *root)
{
	const config_setting_t *setting = config_setting_get_member(root, schema_listeners.name);
	struct config_place place = source_place(p->snapshot->source, 0);

	if (!setting) {
		option_parse_error(p, place, schema_listeners.name,
				   "missing; at least one listener is needed: "
				   "listeners: { NAME: { listen = \"...\"; SERVICE: { ... }; }; };");
		return;
	}
	place = option_parse_place(p, setting);
	if (!option_parse_is_group(p, setting))
		return;
	int count = config_setting_length(setting);
	if (count < 1 || count > SCHEMA_LISTENERS_MAX) {
		option_parse_error(p, place, schema_listeners.name, "%d listeners; 1 to %d are allowed", count,
				   SCHEMA_LISTENERS_MAX);
		return;
	}
	c->listeners = calloc((size_t)count, sizeof(*c->listeners));
	if (!c->listeners) {
		p->no_memory = true;
		return;
	}
	c->listener_count = (unsigned)count;

	unsigned before = config_errors_count(p->errors);
	size_t where = option_parse_enter(p, schema_listeners.name);
	for (int i = 0; i < count && !p->no_memory; i++)
		load_listener(p, &c->listeners[i], config_setting_get_elem(setting, (unsigned)i));
	if (!p->no_memory && config_errors_count(p->errors) == before)
		overlap_check(p, c);
	option_parse_leave(p, where);
}

int snapshot_fill(struct snapshot *snapshot, struct config_errors *errors)
{
	const struct option_group *const listeners[] = {&schema_listeners};
	const struct option_others others = {listeners, 1};
	unsigned before = config_errors_count(errors);
	struct option_parse p;

	int rc = build_tree(snapshot, errors);
	if (rc < 0)
		return rc;
	const config_setting_t *root = config_root_setting(&snapshot->tree);
	option_parse_init(&p, snapshot, errors);
	option_parse_group(&p, &schema_global, &snapshot->values, root, source_place(snapshot->source, 0), &others);
	load_listeners(&p, &snapshot->values, root);
	if (p.no_memory)
		return -ENOMEM;
	return config_errors_count(errors) > before ? -EINVAL : 0;
}

/* Ends a load: `rc` is what reading the text returned. */
static int finish(struct snapshot *snapshot, int rc, struct config **to, struct config_errors *errors)
{
	if (rc == 0)
		rc = snapshot_fill(snapshot, errors);
	if (rc < 0) {
		config_unref(&snapshot->values);
		return rc;
	}
	*to = &snapshot->values;
	return 0;
}

int config_load(const char *path, const struct config_services *services, struct config **to,
		struct config_errors *errors)
{
	struct snapshot *snapshot = snapshot_create(services);

	if (!snapshot)
		return -ENOMEM;
	return finish(snapshot, source_read_file(snapshot->source, path, errors), to, errors);
}

int config_load_text(const char *name, const char *bytes, size_t n, const struct config_services *services,
		     struct config **to, struct config_errors *errors)
{
	struct snapshot *snapshot = snapshot_create(services);

	if (!snapshot)
		return -ENOMEM;
	return finish(snapshot, source_read_text(snapshot->source, name, bytes, n, errors), to, errors);
}

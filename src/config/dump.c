/* SPDX-License-Identifier: MIT */
#include <stddef.h>

#include "config/config.h"
#include "config/option_value.h"
#include "config/schema.h"

static void indent(FILE *to, int depth)
{
	while (depth-- > 0)
		putc('\t', to);
}

static void dump_group(const struct option_group *group, const void *values, FILE *to, int depth)
{
	for (size_t i = 0; i < group->option_count; i++) {
		const struct option_row *o = &group->options[i];
		indent(to, depth);
		if (o->type == OPTION_GROUP && !option_group_is_there(o, values)) {
			fprintf(to, "# %s is not set\n", o->name);
		} else if (o->type == OPTION_GROUP) {
			fprintf(to, "%s: {\n", o->name);
			dump_group(o->group, option_field_const(o, values), to, depth + 1);
			indent(to, depth);
			fputs("};\n", to);
		} else if (o->type == OPTION_STRING && option_is_unset(o, values)) {
			fprintf(to, "# %s is not set\n", o->name);
		} else {
			fprintf(to, "%s = ", o->name);
			option_write(o, values, to);
			fputs(";\n", to);
		}
	}
}

void config_dump(const struct config *c, const struct config_services *services, FILE *to)
{
	dump_group(&schema_global, c, to, 0);
	fprintf(to, "%s: {\n", schema_listeners.name);
	for (unsigned i = 0; i < c->listener_count; i++) {
		const struct listener_config *listener = &c->listeners[i];
		const struct option_group *service = services->groups[listener->service];
		fprintf(to, "\t%s: {\n", listener->name);
		dump_group(&schema_listener, listener, to, 2);
		fprintf(to, "\t\t%s: {\n", service->name);
		dump_group(service, listener->service_values, to, 3);
		fputs("\t\t};\n\t};\n", to);
	}
	fputs("};\n", to);
}

/* SPDX-License-Identifier: MIT */
/* The tables as mdoc(7). */
#include <stddef.h>
#include <string.h>

#include "config/config.h"
#include "config/option_value.h"
#include "config/schema.h"

/* mdoc wants short lines. */
#define LINE_COLUMNS 78

const char *config_manual_escape(char c)
{
	switch (c) {
	case '\\':
		return "\\e";
	case '-':
		return "\\-";
	case '"':
		return "\\(dq";
	case '\'':
		return "\\(aq";
	case '`':
		return "\\(ga";
	case '^':
		return "\\(ha";
	case '~':
		return "\\(ti";
	default:
		return NULL;
	}
}

/* Prints `n` bytes so that roff takes them as text. Lists of names with colons between them, as OpenSSL writes
 * ciphers, may be broken after one. */
static size_t print_bytes(const char *text, size_t n, FILE *to)
{
	bool breaks = n > LINE_COLUMNS / 2;
	size_t columns = 0;

	for (size_t i = 0; i < n; i++) {
		const char *escape = config_manual_escape(text[i]);
		if (escape)
			fputs(escape, to);
		else
			putc(text[i], to);
		if (breaks && text[i] == ':')
			fputs("\\:", to);
		columns += escape ? strlen(escape) : 1;
	}
	return columns;
}

/* Prints words, on lines that are not too long; a sentence begins on a new line. */
static void print_text(const char *text, FILE *to)
{
	size_t columns = 0;

	while (*text) {
		size_t n = strcspn(text, " ");
		if (columns + n >= LINE_COLUMNS) {
			putc('\n', to);
			columns = 0;
		}
		if (columns > 0) {
			putc(' ', to);
			columns++;
		} else if (*text == '.' || *text == '\'') {
			fputs("\\&", to); /* no macro */
		}
		columns += print_bytes(text, n, to);
		if (n > 0 && text[n - 1] == '.')
			columns = LINE_COLUMNS;
		text += n;
		text += strspn(text, " ");
	}
	putc('\n', to);
}

static const char *type_name(enum option_type type)
{
	switch (type) {
	case OPTION_BOOL:
		return "true or false";
	case OPTION_INT:
		return "number";
	case OPTION_SIZE:
		return "size";
	case OPTION_DURATION:
		return "duration";
	case OPTION_RATE:
		return "rate";
	case OPTION_BYTE_RATE:
		return "byte rate";
	case OPTION_STRING:
		return "text";
	case OPTION_MODE:
		return "mode";
	case OPTION_CHOICE:
		return "choice";
	case OPTION_LIST:
		return "list of texts";
	case OPTION_GROUP:
		return "group";
	}
	return "";
}

static void print_facts(const struct option_row *o, FILE *to)
{
	char buffer[512];
	struct text t;
	size_t before;

	text_init(&t, buffer, sizeof(buffer));
	text_add(&t, type_name(o->type));
	before = t.length;
	text_add(&t, ", ");
	option_add_range(&t, o);
	if (t.length == before + 2) {
		t.length = before;
		t.at[before] = '\0';
	}
	if (o->unit)
		text_printf(&t, " %s", o->unit);
	if (!o->fallback)
		text_add(&t, "; default: none");
	else if (strcmp(o->fallback, "!") == 0)
		text_add(&t, "; must be given");
	else if (o->type == OPTION_BOOL || o->type == OPTION_INT)
		text_printf(&t, "; default: %s", o->fallback);
	else
		text_printf(&t, "; default: \"%s\"", o->fallback);
	if (o->change == CHANGE_RESTART)
		text_add(&t, "; a change needs a restart");
	else if (o->change == CHANGE_REOPEN)
		text_add(&t, "; a change counts when the socket is opened anew");
	text_add(&t, ".");
	print_text(t.at, to);
}

/* The options of a group that are no groups, then the groups, each under its path. */
static void print_group(const struct option_group *group, const char *path, bool optional, FILE *to)
{
	bool any = false;

	if (optional)
		print_text("Optional: it counts only when it stands in the file, if only as {}.", to);
	print_text(group->help, to);
	for (size_t i = 0; i < group->option_count; i++) {
		const struct option_row *o = &group->options[i];
		if (o->type == OPTION_GROUP)
			continue;
		if (!any)
			fputs(".Bl -tag -width Ds\n", to);
		any = true;
		fprintf(to, ".It Cm %s\n", o->name);
		print_facts(o, to);
		print_text(o->help, to);
	}
	if (any)
		fputs(".El\n", to);
	for (size_t i = 0; i < group->option_count; i++) {
		const struct option_row *o = &group->options[i];
		if (o->type != OPTION_GROUP)
			continue;
		char inner[256];
		struct text t;
		text_init(&t, inner, sizeof(inner));
		text_printf(&t, "%s%s%s", path, path[0] ? "." : "", o->name);
		fprintf(to, ".Ss %s\n", inner);
		print_group(o->group, inner, o->optional, to);
	}
}

void config_manual(const struct config_services *services, FILE *to)
{
	fputs(".Ss Global options\n", to);
	print_group(&schema_global, "", false, to);
	fputs(".Ss listeners\n", to);
	print_group(&schema_listeners, "listeners", false, to);
	fputs(".Ss listeners.NAME\n", to);
	print_group(&schema_listener, "listeners.NAME", false, to);
	for (unsigned i = 0; i < services->count; i++) {
		char path[256];
		struct text t;
		text_init(&t, path, sizeof(path));
		text_printf(&t, "listeners.NAME.%s", services->groups[i]->name);
		fprintf(to, ".Ss %s\n", path);
		print_group(services->groups[i], path, false, to);
	}
}

/* SPDX-License-Identifier: MIT */
/* The tables as mdoc(7). */
#include <stddef.h>
#include <string.h>

#include "config/config.h"
#include "config/option_value.h"
#include "config/schema.h"

/* Prints text so that roff takes it as text: no escapes, no macro at the beginning of a line. */
static void print_text(const char *text, FILE *to)
{
	if (*text == '.' || *text == '\'')
		fputs("\\&", to);
	for (; *text; text++) {
		switch (*text) {
		case '\\':
			fputs("\\e", to);
			break;
		case '-':
			fputs("\\-", to);
			break;
		case '"':
			fputs("\\(dq", to);
			break;
		case '\'':
			fputs("\\(aq", to);
			break;
		case '`':
			fputs("\\(ga", to);
			break;
		case '^':
			fputs("\\(ha", to);
			break;
		case '~':
			fputs("\\(ti", to);
			break;
		default:
			putc(*text, to);
			break;
		}
	}
}

/* Prints sentences, one a line, as mdoc wants them. */
static void print_sentences(const char *text, FILE *to)
{
	char sentence[1024];

	while (*text) {
		size_t n = 0;
		while (text[n] && !(text[n] == '.' && text[n + 1] == ' ' && n + 2 < sizeof(sentence)))
			n++;
		n += text[n] == '.';
		if (n >= sizeof(sentence))
			n = sizeof(sentence) - 1;
		memcpy(sentence, text, n);
		sentence[n] = '\0';
		print_text(sentence, to);
		putc('\n', to);
		text += n;
		text += strspn(text, " ");
	}
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

static void print_facts(const struct option *o, FILE *to)
{
	char buffer[256];
	struct text range;

	text_init(&range, buffer, sizeof(buffer));
	option_add_range(&range, o);
	print_text(type_name(o->type), to);
	if (range.length > 0) {
		fputs(", ", to);
		print_text(range.at, to);
	}
	if (o->unit) {
		putc(' ', to);
		print_text(o->unit, to);
	}
	if (!o->fallback) {
		fputs("; default: none", to);
	} else if (strcmp(o->fallback, "!") == 0) {
		fputs("; must be given", to);
	} else {
		bool bare = o->type == OPTION_BOOL || o->type == OPTION_INT;
		fputs("; default: ", to);
		print_text(bare ? "" : "\"", to);
		print_text(o->fallback, to);
		print_text(bare ? "" : "\"", to);
	}
	if (o->change == CHANGE_RESTART)
		fputs("; a change needs a restart", to);
	else if (o->change == CHANGE_REOPEN)
		fputs("; a change counts when the socket is opened anew", to);
	fputs(".\n", to);
}

/* The options of a group that are no groups, then the groups, each under its path. */
static void print_group(const struct option_group *group, const char *path, FILE *to)
{
	bool any = false;

	print_sentences(group->help, to);
	for (size_t i = 0; i < group->option_count; i++) {
		const struct option *o = &group->options[i];
		if (o->type == OPTION_GROUP)
			continue;
		if (!any)
			fputs(".Bl -tag -width Ds\n", to);
		any = true;
		fprintf(to, ".It Cm %s\n", o->name);
		print_facts(o, to);
		print_sentences(o->help, to);
	}
	if (any)
		fputs(".El\n", to);
	for (size_t i = 0; i < group->option_count; i++) {
		const struct option *o = &group->options[i];
		if (o->type != OPTION_GROUP)
			continue;
		char inner[256];
		struct text t;
		text_init(&t, inner, sizeof(inner));
		text_printf(&t, "%s%s%s", path, path[0] ? "." : "", o->name);
		fputs(".Ss ", to);
		print_text(inner, to);
		putc('\n', to);
		print_group(o->group, inner, to);
	}
}

void config_manual(const struct config_services *services, FILE *to)
{
	fputs(".Ss Global options\n", to);
	print_group(&schema_global, "", to);
	fputs(".Ss listeners\n", to);
	print_group(&schema_listeners, "listeners", to);
	fputs(".Ss listeners.NAME\n", to);
	print_group(&schema_listener, "listeners.NAME", to);
	for (unsigned i = 0; i < services->count; i++) {
		char path[256];
		struct text t;
		text_init(&t, path, sizeof(path));
		text_printf(&t, "listeners.NAME.%s", services->groups[i]->name);
		fprintf(to, ".Ss %s\n", path);
		print_group(services->groups[i], path, to);
	}
}

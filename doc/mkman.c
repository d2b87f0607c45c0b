/* SPDX-License-Identifier: MIT */
/* Prints those parts of the manual that are made from the tables in the source, as mdoc(7). For the build.
 *   mkman options | close_reasons | log_fields | log_kinds */
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "config/config.h"
#include "report/log.h"
#include "service/service.h"
#include "worker/close_reason.h"

/* The fields of a kind that has more than this are described in the text. */
#define KIND_FIELDS_SHOWN 200

/* Prints a text as a sentence: with a capital, with a full stop, each further sentence on a line of its own. */
static void print_sentence(const char *text)
{
	size_t n = strlen(text);
	bool begins_with_name = strncmp(text, "usherd ", strlen("usherd ")) == 0;
	for (size_t i = 0; i < n; i++) {
		const char *escape = config_manual_escape(text[i]);
		if (escape)
			fputs(escape, stdout);
		else if (i > 0 && text[i] == ' ' && text[i - 1] == '.')
			putchar('\n');
		else
			putchar(i == 0 && !begins_with_name ? toupper((unsigned char)text[i]) : text[i]);
	}
	puts(n > 0 && text[n - 1] == '.' ? "" : ".");
}

static void print_close_reasons(void)
{
	puts(".Bl -tag -width Ds");
	for (int i = 0; i < CLOSE_REASON_COUNT; i++) {
		const struct close_reason_facts *f = &close_reason_facts[i];
		const char *ending = f->resets ? "reset" : f->alerts ? "alert" : "clean end";
		printf(".It Cm %s Pq %s, %s%s\n", f->name, f->is_error ? "error" : "no error", ending,
		       f->is_offence ? ", offence" : "");
		print_sentence(f->text);
	}
	puts(".El");
}

static void print_log_fields(void)
{
	static const struct {
		const char *name;
		const char *meaning;
	} fields[] = {
#define LOG_FIELD(name, meaning) {name, meaning},
#include "report/log_fields.def"
#undef LOG_FIELD
	};
	puts(".Bl -tag -width Ds");
	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		printf(".It Li %s\n", fields[i].name);
		print_sentence(fields[i].meaning);
	}
	puts(".El");
}

static void print_log_kinds(void)
{
	static const struct {
		const char *message_id;
		const char *fields;
		const char *meaning;
	} kinds[] = {
#define LOG_KIND(name, message_id, fields, meaning) {message_id, fields, meaning},
#include "report/log_kinds.def"
#undef LOG_KIND
	};
	puts(".Bl -tag -width Ds");
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		printf(".It Li %s\n", kinds[i].message_id);
		print_sentence(kinds[i].meaning);
		if (kinds[i].fields[0] && strlen(kinds[i].fields) <= KIND_FIELDS_SHOWN)
			printf("With\n.Li %s .\n", kinds[i].fields);
	}
	puts(".El");
}

int main(int argc, char **argv)
{
	const char *part = argc == 2 ? argv[1] : "";
	if (strcmp(part, "options") == 0) {
		config_manual(service_groups(), stdout);
	} else if (strcmp(part, "close_reasons") == 0) {
		print_close_reasons();
	} else if (strcmp(part, "log_fields") == 0) {
		print_log_fields();
	} else if (strcmp(part, "log_kinds") == 0) {
		print_log_kinds();
	} else {
		fputs("usage: mkman options | close_reasons | log_fields | log_kinds\n", stderr);
		return 64;
	}
	return fflush(stdout) == 0 && !ferror(stdout) ? 0 : 1;
}

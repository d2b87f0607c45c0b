/* SPDX-License-Identifier: MIT */
#include "config/errors.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

/* A line is cut past this; paths and quoted values are short of it by far. */
#define LINE_BYTES 1024

struct config_errors {
	unsigned count; /* all that were added */
	unsigned kept;
	char *lines[CONFIG_ERRORS_MAX]; /* owned */
	char *files[CONFIG_ERRORS_MAX]; /* owned; NULL: none is known */
	unsigned numbers[CONFIG_ERRORS_MAX];
};

struct config_errors *config_errors_create(void)
{
	return calloc(1, sizeof(struct config_errors));
}

struct config_errors *config_errors_destroy(struct config_errors *e)
{
	if (e) {
		for (unsigned i = 0; i < e->kept; i++) {
			free(e->lines[i]);
			free(e->files[i]);
		}
		free(e);
	}
	return NULL;
}

void config_errors_add(struct config_errors *e, struct config_place place, const char *path, const char *format, ...)
{
	e->count++;
	if (e->kept == CONFIG_ERRORS_MAX)
		return;

	char raw[LINE_BYTES];
	struct text message;
	text_init(&message, raw, sizeof(raw));
	va_list args;
	va_start(args, format);
	text_vprintf(&message, format, args);
	va_end(args);

	char whole[LINE_BYTES];
	struct text line;
	text_init(&line, whole, sizeof(whole));
	if (place.file) {
		text_add_escaped(&line, place.file, strlen(place.file));
		if (place.line)
			text_printf(&line, ":%u", place.line);
		text_add(&line, ": ");
	}
	if (path && path[0]) {
		text_add_escaped(&line, path, strlen(path));
		text_add(&line, ": ");
	}
	text_add_escaped(&line, message.at, message.length);

	char *kept = strdup(line.at);
	if (!kept)
		return;
	e->files[e->kept] = place.file ? strdup(place.file) : NULL;
	e->numbers[e->kept] = place.line;
	e->lines[e->kept++] = kept;
}

unsigned config_errors_count(const struct config_errors *e)
{
	return e->count;
}

const char *config_errors_line(const struct config_errors *e, unsigned i)
{
	return i < e->kept ? e->lines[i] : NULL;
}

struct config_place config_errors_place(const struct config_errors *e, unsigned i)
{
	if (i >= e->kept)
		return (struct config_place){.file = NULL};
	return (struct config_place){.file = e->files[i], .line = e->numbers[i]};
}

void config_errors_print(const struct config_errors *e, FILE *to)
{
	for (unsigned i = 0; i < e->kept; i++)
		fprintf(to, "%s\n", e->lines[i]);
	if (e->count > e->kept)
		fprintf(to, "... and %u more\n", e->count - e->kept);
}

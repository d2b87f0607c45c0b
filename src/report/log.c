/* SPDX-License-Identifier: MIT */
#include "report/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "report/log_priv.h"

static const char *const level_names[] = {
	[LOG_LEVEL_ERROR] = "error", [LOG_LEVEL_WARNING] = "warning", [LOG_LEVEL_NOTICE] = "notice",
	[LOG_LEVEL_INFO] = "info",   [LOG_LEVEL_DEBUG] = "debug",
};

static _Atomic int current_level = LOG_LEVEL_INFO;

int log_level_parse(const char *name)
{
	for (unsigned i = 0; i < ARRAY_LEN(level_names); i++) {
		if (strcmp(name, level_names[i]) == 0)
			return (int)i;
	}
	return -EINVAL;
}

const char *log_level_name(enum log_level level)
{
	return level_names[level];
}

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&current_level, (int)level, memory_order_relaxed);
}

bool log_wants(enum log_level level)
{
	return (int)level <= atomic_load_explicit(&current_level, memory_order_relaxed);
}

uint64_t log_now_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000U + (uint64_t)now.tv_nsec / 1000U;
}

/* What is told often needs no place: its kind says what made it. */
static bool says_where(enum log_level level)
{
	return level <= LOG_LEVEL_WARNING || level == LOG_LEVEL_DEBUG;
}

void log_begin_at(const char *file, int line, const char *function, struct log_record *r, enum log_level level,
		  enum log_kind kind)
{
	r->level = level;
	r->kind = kind;
	r->wanted = log_wants(level);
	r->used = 0;
	if (!r->wanted || !says_where(level))
		return;
	log_field(r, "CODE_FILE", "%s", file);
	log_field(r, "CODE_LINE", "%d", line);
	log_field(r, "CODE_FUNC", "%s", function);
}

/* Prints into `size` bytes at `to`, escaped; what is too long ends in "...". Returns the length. */
static size_t PRINTF_LIKE(3, 0) print_escaped(char *to, size_t size, const char *format, va_list args)
{
	static const char ellipsis[] = "...";
	char raw_memory[LOG_MESSAGE_BYTES];
	struct text raw;
	struct text escaped;

	text_init(&raw, raw_memory, sizeof(raw_memory));
	text_vprintf(&raw, format, args);
	text_init(&escaped, to, size - strlen(ellipsis));
	text_add_escaped_again(&escaped, raw.at, raw.length);
	if (raw.cut || escaped.cut) {
		memcpy(to + escaped.length, ellipsis, sizeof(ellipsis));
		escaped.length += strlen(ellipsis);
	}
	return escaped.length;
}

void log_field(struct log_record *r, const char *key, const char *format, ...)
{
	if (!r->wanted || !log_wants_fields() || r->used >= sizeof(r->fields))
		return;

	char value[LOG_VALUE_BYTES];
	va_list args;
	va_start(args, format);
	size_t length = print_escaped(value, sizeof(value), format, args);
	va_end(args);

	struct text field;
	text_init(&field, r->fields + r->used, sizeof(r->fields) - r->used);
	text_add(&field, key);
	text_add(&field, "=");
	text_add_bytes(&field, value, length);
	if (!field.cut)
		r->used = (uint16_t)(r->used + field.length + 1);
}

void log_field_errno(struct log_record *r, int error)
{
	if (error != 0)
		log_field(r, "ERRNO", "%d", error < 0 ? -error : error);
}

void log_entry_make(struct log_entry *e, const struct log_record *r, char *memory, const char *format, va_list args)
{
	size_t length = print_escaped(memory, LOG_MESSAGE_BYTES, format, args);
	*e = (struct log_entry){
		.time_us = log_now_us(),
		.level = r->level,
		.kind = r->kind,
		.message_bytes = (uint16_t)length,
		.fields_bytes = r->used,
		.message = memory,
		.fields = r->fields,
	};
}

static void PRINTF_LIKE(2, 0) submit(const struct log_record *r, const char *format, va_list args)
{
	char memory[LOG_MESSAGE_BYTES];
	struct log_entry e;
	log_entry_make(&e, r, memory, format, args);
	log_deliver(&e);
}

void log_submit(struct log_record *r, const char *format, ...)
{
	if (!r->wanted)
		return;
	va_list args;
	va_start(args, format);
	submit(r, format, args);
	va_end(args);
}

void log_write_at(const char *file, int line, const char *function, enum log_level level, enum log_kind kind,
		  const char *format, ...)
{
	if (!log_wants(level))
		return;
	struct log_record r;
	log_begin_at(file, line, function, &r, level, kind);
	va_list args;
	va_start(args, format);
	submit(&r, format, args);
	va_end(args);
}

void log_write_errno_at(const char *file, int line, const char *function, enum log_level level, enum log_kind kind,
			int error, const char *format, ...)
{
	if (!log_wants(level))
		return;
	struct log_record r;
	log_begin_at(file, line, function, &r, level, kind);
	log_field_errno(&r, error);
	va_list args;
	va_start(args, format);
	submit(&r, format, args);
	va_end(args);
}

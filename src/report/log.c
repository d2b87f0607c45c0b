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

void log_begin(struct log_record *r, enum log_level level, enum log_kind kind)
{
	r->level = level;
	r->kind = kind;
	r->wanted = log_wants(level);
	r->used = 0;
}

void log_field(struct log_record *r, const char *key, const char *format, ...)
{
	if (!r->wanted || !log_wants_fields() || r->used >= sizeof(r->fields))
		return;

	char memory[LOG_RECORD_BYTES];
	struct text value;
	text_init(&value, memory, sizeof(memory));
	va_list args;
	va_start(args, format);
	text_vprintf(&value, format, args);
	va_end(args);

	struct text field;
	text_init(&field, r->fields + r->used, sizeof(r->fields) - r->used);
	text_add(&field, key);
	text_add(&field, "=");
	text_add_escaped_again(&field, value.at, value.length);
	if (!value.cut && !field.cut)
		r->used = (uint16_t)(r->used + field.length + 1);
}

static void PRINTF_LIKE(2, 0) submit(const struct log_record *r, const char *format, va_list args)
{
	static const char ellipsis[] = "...";
	char raw_memory[LOG_MESSAGE_BYTES];
	char memory[LOG_MESSAGE_BYTES];
	struct text raw;
	struct text message;

	text_init(&raw, raw_memory, sizeof(raw_memory));
	text_vprintf(&raw, format, args);
	text_init(&message, memory, sizeof(memory) - strlen(ellipsis));
	text_add_escaped_again(&message, raw.at, raw.length);
	if (raw.cut || message.cut) {
		memcpy(memory + message.length, ellipsis, sizeof(ellipsis));
		message.length += strlen(ellipsis);
	}

	struct log_entry e = {
		.time_us = log_now_us(),
		.level = r->level,
		.kind = r->kind,
		.message_bytes = (uint16_t)message.length,
		.fields_bytes = r->used,
		.message = memory,
		.fields = r->fields,
	};
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

void log_write(enum log_level level, enum log_kind kind, const char *format, ...)
{
	if (!log_wants(level))
		return;
	struct log_record r;
	log_begin(&r, level, kind);
	va_list args;
	va_start(args, format);
	submit(&r, format, args);
	va_end(args);
}

/* SPDX-License-Identifier: MIT */
#include "config/option_value.h"

#include <errno.h>
#include <string.h>

#include "base/must.h"
#include "config/rate_value.h"
#include "config/value.h"

void *option_field(const struct option_row *o, void *values)
{
	return (char *)values + o->offset;
}

const void *option_field_const(const struct option_row *o, const void *values)
{
	return (const char *)values + o->offset;
}

static int as_int(const struct option_row *o, const void *values)
{
	return *(const int *)option_field_const(o, values);
}

static uint64_t as_number(const struct option_row *o, const void *values)
{
	return *(const uint64_t *)option_field_const(o, values);
}

static const struct rate *as_rate(const struct option_row *o, const void *values)
{
	return option_field_const(o, values);
}

/* Of an option that is a rate. */
static enum rate_kind kind_of(const struct option_row *o)
{
	return o->type == OPTION_BYTE_RATE ? RATE_BYTES : RATE_COUNT;
}

static bool as_bool(const struct option_row *o, const void *values)
{
	return *(const bool *)option_field_const(o, values);
}

static const char *as_string(const struct option_row *o, const void *values)
{
	return *(const char *const *)option_field_const(o, values);
}

static const struct option_list *as_list(const struct option_row *o, const void *values)
{
	return option_field_const(o, values);
}

const char *option_type_expected(enum option_type type)
{
	switch (type) {
	case OPTION_BOOL:
		return "true or false";
	case OPTION_INT:
		return "a whole number";
	case OPTION_SIZE:
		return "a size as text, \"64KiB\"";
	case OPTION_DURATION:
		return "a duration as text, \"10s\"";
	case OPTION_RATE:
		return "a rate as text, \"20/s\"";
	case OPTION_BYTE_RATE:
		return "a rate of bytes as text, \"1MiB/s\"";
	case OPTION_STRING:
		return "text in quotes";
	case OPTION_MODE:
		return "a file mode as text, \"0660\"";
	case OPTION_CHOICE:
		return "one of the choices as text";
	case OPTION_LIST:
		return "a list of texts, [ \"...\", \"...\" ]";
	case OPTION_GROUP:
		return "a group, { ... }";
	}
	return "";
}

/* Adds a bound in the option's own unit. */
static void add_bound(struct text *t, const struct option_row *o, int64_t bound)
{
	if (o->type == OPTION_SIZE)
		value_add_size(t, (uint64_t)bound);
	else if (o->type == OPTION_DURATION)
		value_add_duration(t, (uint64_t)bound);
	else if (o->type == OPTION_MODE)
		value_add_mode(t, (int)bound);
	else
		text_printf(t, "%lld", (long long)bound);
}

void option_add_range(struct text *t, const struct option_row *o)
{
	switch (o->type) {
	case OPTION_INT:
	case OPTION_SIZE:
	case OPTION_DURATION:
	case OPTION_MODE:
	case OPTION_LIST:
		add_bound(t, o, o->minimum);
		text_add(t, " to ");
		add_bound(t, o, o->maximum);
		if (o->type == OPTION_LIST)
			text_add(t, " elements");
		break;
	case OPTION_CHOICE:
		value_add_choices(t, o->choices);
		break;
	case OPTION_BOOL:
	case OPTION_RATE:
	case OPTION_BYTE_RATE:
	case OPTION_STRING:
	case OPTION_GROUP:
		break;
	}
}

bool option_in_range(const struct option_row *o, int64_t value, struct text *why)
{
	if (value >= o->minimum && value <= o->maximum)
		return true;
	text_add(why, "is out of range; allowed: ");
	option_add_range(why, o);
	if (o->unit && o->type == OPTION_INT)
		text_printf(why, " %s", o->unit);
	return false;
}

static int set_number(const struct option_row *o, void *field, const char *text, struct text *why)
{
	const char *wrong = NULL;
	uint64_t number = 0;
	int rc = o->type == OPTION_SIZE ? value_parse_size(&number, text, &wrong)
					: value_parse_duration(&number, text, &wrong);

	if (rc < 0) {
		text_add(why, wrong);
		return rc;
	}
	if (!option_in_range(o, (int64_t)number, why))
		return -EINVAL;
	*(uint64_t *)field = number;
	return 0;
}

static int set_int(const struct option_row *o, void *field, const char *text, struct text *why)
{
	const char *wrong = NULL;
	int number = 0;
	int rc;

	if (o->type == OPTION_MODE)
		rc = value_parse_mode(&number, text, &wrong);
	else if (o->type == OPTION_CHOICE)
		rc = value_parse_choice(&number, text, o->choices, &wrong);
	else
		rc = value_parse_int(&number, text, &wrong);
	if (rc < 0) {
		text_add(why, wrong);
		if (o->type == OPTION_CHOICE) {
			text_add(why, "; write ");
			value_add_choices(why, o->choices);
		}
		return rc;
	}
	if (o->type != OPTION_CHOICE && !option_in_range(o, number, why))
		return -EINVAL;
	*(int *)field = number;
	return 0;
}

int option_set(const struct option_row *o, void *values, const char *text, struct text *why)
{
	void *field = option_field(o, values);

	switch (o->type) {
	case OPTION_BOOL:
		if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0) {
			text_add(why, "is neither true nor false");
			return -EINVAL;
		}
		*(bool *)field = text[0] == 't';
		return 0;
	case OPTION_INT:
	case OPTION_MODE:
	case OPTION_CHOICE:
		return set_int(o, field, text, why);
	case OPTION_SIZE:
	case OPTION_DURATION:
		return set_number(o, field, text, why);
	case OPTION_RATE:
	case OPTION_BYTE_RATE:
		return rate_value_parse(field, kind_of(o), text, why);
	case OPTION_STRING:
		if (text[0] == '\0' && !o->may_be_empty) {
			text_add(why, "is empty; leave the option out instead");
			return -EINVAL;
		}
		*(const char **)field = text;
		return 0;
	case OPTION_LIST:
	case OPTION_GROUP:
		break;
	}
	must(!"a list or a group has no text");
	return -EINVAL;
}

static bool strings_equal(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

bool option_equal(const struct option_row *o, const void *a, const void *b)
{
	switch (o->type) {
	case OPTION_BOOL:
		return as_bool(o, a) == as_bool(o, b);
	case OPTION_INT:
	case OPTION_MODE:
	case OPTION_CHOICE:
		return as_int(o, a) == as_int(o, b);
	case OPTION_SIZE:
	case OPTION_DURATION:
		return as_number(o, a) == as_number(o, b);
	case OPTION_RATE:
	case OPTION_BYTE_RATE: {
		const struct rate *rate_a = as_rate(o, a);
		const struct rate *rate_b = as_rate(o, b);
		return rate_a->amount == rate_b->amount && rate_a->period_ms == rate_b->period_ms &&
		       rate_a->burst == rate_b->burst;
	}
	case OPTION_STRING:
		return strings_equal(as_string(o, a), as_string(o, b));
	case OPTION_LIST: {
		const struct option_list *list_a = as_list(o, a);
		const struct option_list *list_b = as_list(o, b);
		if (list_a->count != list_b->count)
			return false;
		for (unsigned i = 0; i < list_a->count; i++) {
			if (strcmp(list_a->at[i], list_b->at[i]) != 0)
				return false;
		}
		return true;
	}
	case OPTION_GROUP:
		break;
	}
	must(!"a group is compared option by option");
	return false;
}

bool option_group_is_there(const struct option_row *o, const void *values)
{
	return !o->optional || as_bool(o, values);
}

bool option_is_unset(const struct option_row *o, const void *values)
{
	if (o->type == OPTION_STRING)
		return !as_string(o, values);
	return o->type == OPTION_LIST && as_list(o, values)->count == 0;
}

/* The text of what is neither string nor list. */
static void add_plain(struct text *t, const struct option_row *o, const void *values)
{
	switch (o->type) {
	case OPTION_BOOL:
		text_add(t, as_bool(o, values) ? "true" : "false");
		break;
	case OPTION_INT:
		text_printf(t, "%d", as_int(o, values));
		break;
	case OPTION_SIZE:
		value_add_size(t, as_number(o, values));
		break;
	case OPTION_DURATION:
		value_add_duration(t, as_number(o, values));
		break;
	case OPTION_RATE:
	case OPTION_BYTE_RATE:
		rate_value_add(t, kind_of(o), as_rate(o, values));
		break;
	case OPTION_MODE:
		value_add_mode(t, as_int(o, values));
		break;
	case OPTION_CHOICE:
		value_add_choice(t, as_int(o, values), o->choices);
		break;
	case OPTION_STRING:
	case OPTION_LIST:
	case OPTION_GROUP:
		break;
	}
}

static void add_quoted(struct text *t, const char *string)
{
	char escaped[4];

	text_add(t, "\"");
	for (; *string; string++) {
		size_t n = value_escape(escaped, (unsigned char)*string);
		text_add_bytes(t, escaped, n);
	}
	text_add(t, "\"");
}

void option_add_text(struct text *t, const struct option_row *o, const void *values)
{
	if (o->type == OPTION_STRING && as_string(o, values)) {
		add_quoted(t, as_string(o, values));
	} else if (o->type == OPTION_LIST && as_list(o, values)->count > 0) {
		const struct option_list *list = as_list(o, values);
		for (unsigned i = 0; i < list->count && !t->cut; i++) {
			text_add(t, i > 0 ? ", " : "");
			add_quoted(t, list->at[i]);
		}
	} else if (option_is_unset(o, values)) {
		text_add(t, "not set");
	} else {
		add_plain(t, o, values);
	}
}

static void write_quoted(const char *string, FILE *to)
{
	char escaped[4];

	putc('"', to);
	for (; *string; string++) {
		size_t n = value_escape(escaped, (unsigned char)*string);
		fwrite(escaped, 1, n, to);
	}
	putc('"', to);
}

void option_write(const struct option_row *o, const void *values, FILE *to)
{
	if (o->type == OPTION_STRING) {
		write_quoted(as_string(o, values) ? as_string(o, values) : "", to);
	} else if (o->type == OPTION_LIST) {
		const struct option_list *list = as_list(o, values);
		fputs("[", to);
		for (unsigned i = 0; i < list->count; i++) {
			fputs(i > 0 ? ", " : " ", to);
			write_quoted(list->at[i], to);
		}
		fputs(" ]", to);
	} else {
		char buffer[128];
		struct text plain;
		text_init(&plain, buffer, sizeof(buffer));
		add_plain(&plain, o, values);
		fprintf(to, o->type == OPTION_BOOL || o->type == OPTION_INT ? "%s" : "\"%s\"", plain.at);
	}
}

/* SPDX-License-Identifier: MIT */
#include "config/value.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

struct unit {
	const char *name;
	uint64_t factor;
};

static const struct unit size_units[] = {
	{"TiB", 1ULL << 40}, {"TB", 1000000000000ULL}, {"GiB", 1ULL << 30}, {"GB", 1000000000ULL}, {"MiB", 1ULL << 20},
	{"MB", 1000000ULL},  {"KiB", 1ULL << 10},      {"KB", 1000ULL},	    {"B", 1ULL},
};

/* From the largest to the smallest: sums go in this order. */
static const struct unit duration_units[] = {
	{"d", 86400000ULL}, {"h", 3600000ULL}, {"min", 60000ULL}, {"s", 1000ULL}, {"ms", 1ULL},
};

#define SIZE_HELP "write a whole number and B, KB, MB, GB, TB or KiB, MiB, GiB, TiB, as in \"64KiB\""
#define DURATION_HELP "write whole numbers with ms, s, min, h or d, as in \"10s\" or \"1h 30min\""

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Reads digits at *at and moves past them. Returns 0, -ENOENT when there are none, -ERANGE. */
static int take_number(const char **at, uint64_t *to)
{
	const char *p = *at;
	uint64_t number = 0;

	if (!is_digit(*p))
		return -ENOENT;
	for (; is_digit(*p); p++) {
		if (__builtin_mul_overflow(number, 10U, &number) ||
		    __builtin_add_overflow(number, (uint64_t)(*p - '0'), &number))
			return -ERANGE;
	}
	*at = p;
	*to = number;
	return 0;
}

/* The index of the unit whose name is the run of letters at *at, moved past; or -1. */
static int take_unit(const char **at, const struct unit *units, size_t count)
{
	size_t n = 0;

	while (is_letter((*at)[n]))
		n++;
	for (size_t i = 0; i < count; i++) {
		if (strlen(units[i].name) == n && memcmp(units[i].name, *at, n) == 0) {
			*at += n;
			return (int)i;
		}
	}
	return -1;
}

int value_parse_size(uint64_t *to, const char *text, const char **why)
{
	const char *p = text;
	uint64_t number;
	int rc = take_number(&p, &number);

	if (rc == -ERANGE) {
		*why = "is too large";
		return -EINVAL;
	}
	*why = "is no size; " SIZE_HELP;
	if (rc < 0)
		return -EINVAL;
	if (*p == '.' || *p == ',') {
		*why = "has a fraction; " SIZE_HELP;
		return -EINVAL;
	}
	if (*p == '\0') {
		*why = "has no unit; " SIZE_HELP;
		return -EINVAL;
	}
	int unit = take_unit(&p, size_units, ARRAY_LEN(size_units));
	if (unit < 0 || *p != '\0') {
		*why = "has an unknown unit; " SIZE_HELP;
		return -EINVAL;
	}
	uint64_t bytes;
	if (__builtin_mul_overflow(number, size_units[unit].factor, &bytes) || bytes > VALUE_MAX) {
		*why = "is too large";
		return -EINVAL;
	}
	*to = bytes;
	return 0;
}

/* Reads one "30min" at *at and adds it to *sum. `last` is the index of the unit before it, or -1. */
static int take_duration(const char **at, uint64_t *sum, int *last, const char **why)
{
	const char *p = *at;
	uint64_t number, ms;
	int rc = take_number(&p, &number);

	*why = "is no duration; " DURATION_HELP;
	if (rc == -ENOENT)
		return -EINVAL;
	if (*p == '.' || *p == ',') {
		*why = "has a fraction; " DURATION_HELP;
		return -EINVAL;
	}
	if (rc == 0 && *p == '\0') {
		*why = "has no unit; " DURATION_HELP;
		return -EINVAL;
	}
	if (rc == 0) {
		int unit = take_unit(&p, duration_units, ARRAY_LEN(duration_units));
		if (unit < 0) {
			*why = "has an unknown unit; " DURATION_HELP;
			return -EINVAL;
		}
		if (unit <= *last) {
			*why = "goes from large units to small ones, each once; " DURATION_HELP;
			return -EINVAL;
		}
		*last = unit;
		if (__builtin_mul_overflow(number, duration_units[unit].factor, &ms) ||
		    __builtin_add_overflow(*sum, ms, sum) || *sum > VALUE_MAX)
			rc = -ERANGE;
	}
	if (rc < 0) {
		*why = "is too long";
		return -EINVAL;
	}
	*at = p;
	return 0;
}

int value_parse_duration(uint64_t *to, const char *text, const char **why)
{
	const char *p = text;
	uint64_t sum = 0;
	int last = -1;

	do {
		int rc = take_duration(&p, &sum, &last, why);
		if (rc < 0)
			return rc;
		if (*p != '\0') {
			while (*p == ' ')
				p++;
			if (*p == '\0') {
				*why = "ends in a space; " DURATION_HELP;
				return -EINVAL;
			}
		}
	} while (*p != '\0');
	*to = sum;
	return 0;
}

int value_parse_mode(int *to, const char *text, const char **why)
{
	int mode = 0;
	size_t n = strlen(text);

	*why = "is no file mode; write three or four octal digits, as in \"0660\"";
	if (n < 3 || n > 4)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		if (text[i] < '0' || text[i] > '7')
			return -EINVAL;
		mode = mode * 8 + (text[i] - '0');
	}
	*to = mode;
	return 0;
}

int value_parse_int(int *to, const char *text, const char **why)
{
	const char *p = text;
	bool negative = *p == '-';
	uint64_t number;

	*why = "is no whole number";
	if (negative)
		p++;
	int rc = take_number(&p, &number);
	if (rc == -ENOENT || (rc == 0 && *p != '\0'))
		return -EINVAL;
	if (rc < 0 || number > (uint64_t)INT_MAX) {
		*why = "is too large";
		return -EINVAL;
	}
	*to = negative ? -(int)number : (int)number;
	return 0;
}

int value_parse_choice(int *to, const char *text, const char *choices, const char **why)
{
	size_t n = strlen(text);
	int index = 0;

	for (const char *p = choices;; index++) {
		size_t length = strcspn(p, "|");
		if (length == n && memcmp(p, text, n) == 0) {
			*to = index;
			return 0;
		}
		if (p[length] == '\0')
			break;
		p += length + 1;
	}
	*why = "is none of the choices";
	return -EINVAL;
}

void value_add_size(struct text *t, uint64_t bytes)
{
	const struct unit *best = &size_units[ARRAY_LEN(size_units) - 1];

	for (size_t i = 0; i < ARRAY_LEN(size_units) && bytes > 0; i++) {
		if (bytes % size_units[i].factor == 0) {
			best = &size_units[i];
			break;
		}
	}
	text_printf(t, "%llu%s", (unsigned long long)(bytes / best->factor), best->name);
}

void value_add_duration(struct text *t, uint64_t ms)
{
	const char *gap = "";

	if (ms == 0)
		text_add(t, "0s");
	for (size_t i = 0; i < ARRAY_LEN(duration_units); i++) {
		uint64_t number = ms / duration_units[i].factor;
		if (number > 0) {
			text_printf(t, "%s%llu%s", gap, (unsigned long long)number, duration_units[i].name);
			gap = " ";
		}
		ms %= duration_units[i].factor;
	}
}

void value_add_mode(struct text *t, int mode)
{
	text_printf(t, "%04o", (unsigned)mode);
}

void value_add_choice(struct text *t, int index, const char *choices)
{
	const char *p = choices;

	for (; index > 0 && *p; index--) {
		p += strcspn(p, "|");
		p += *p == '|';
	}
	text_add_bytes(t, p, strcspn(p, "|"));
}

void value_add_choices(struct text *t, const char *choices)
{
	for (const char *p = choices;;) {
		size_t length = strcspn(p, "|");
		text_add_bytes(t, p, length);
		p += length;
		if (*p == '\0')
			return;
		p++;
		text_add(t, strchr(p, '|') ? ", " : " or ");
	}
}

size_t value_escape(char to[4], unsigned char c)
{
	static const char hex[] = "0123456789abcdef";

	if (c == '"' || c == '\\') {
		to[0] = '\\';
		to[1] = (char)c;
		return 2;
	}
	if (c < 0x20 || c == 0x7f) {
		to[0] = '\\';
		to[1] = 'x';
		to[2] = hex[c >> 4];
		to[3] = hex[c & 15];
		return 4;
	}
	to[0] = (char)c;
	return 1;
}

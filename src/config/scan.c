/* SPDX-License-Identifier: MIT */
/* The lexer in front of libconfig's: it must agree with that one on where strings and comments begin and end, and on
 * nothing else. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "config/source_priv.h"

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_name_start(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '*';
}

static bool is_name(char c)
{
	return is_name_start(c) || is_digit(c) || c == '-' || c == '_';
}

/* The byte `ahead` of the scan, NUL past the end. */
static char peek(const struct scan *s, size_t ahead)
{
	return ahead < s->n - s->at ? s->bytes[s->at + ahead] : '\0';
}

struct config_place scan_place(const struct scan *s)
{
	return (struct config_place){.file = s->source->files[s->file], .line = s->line};
}

/* The option that the scan is in: "listeners.web.backlog". */
static void add_path(struct text *t, const struct source *source)
{
	for (unsigned i = 0; i <= source->depth; i++) {
		const struct source_nest *nest = &source->nest[i];
		if (nest->name_length == 0)
			continue;
		text_add(t, t->length > 0 ? "." : "");
		text_add_bytes(t, nest->name, nest->name_length);
	}
}

static int wrong(const struct scan *s, unsigned line, const char *what)
{
	struct config_place place = {.file = s->source->files[s->file], .line = line};

	config_errors_add(s->source->errors, place, NULL, "%s", what);
	return -EINVAL;
}

static void skip_to_line_end(struct scan *s)
{
	const char *end = memchr(s->bytes + s->at, '\n', s->n - s->at);

	s->at = end ? (size_t)(end - s->bytes) : s->n;
}

static int skip_comment(struct scan *s)
{
	unsigned begin = s->line;

	for (s->at += 2; s->at < s->n; s->at++) {
		if (s->bytes[s->at] == '\n')
			s->line++;
		if (s->bytes[s->at] == '*' && peek(s, 1) == '/') {
			s->at += 2;
			return 0;
		}
	}
	return wrong(s, begin, "a comment begins here with /* and has no end in this file; end it with */");
}

/* Whether the grammar allows a string here. libconfig leaks one that stands where none may. */
static bool may_be_string(const struct source *source)
{
	char nest = source->nest[source->depth].opened_by;

	switch (source->last_token) {
	case '"':
	case '=':
	case ':':
	case '[':
	case '(':
		return true;
	case ',':
		return nest == '[' || nest == '(';
	default:
		return false;
	}
}

static int scan_string(struct scan *s)
{
	unsigned begin = s->line;

	if (!may_be_string(s->source))
		return wrong(s, begin, "text stands here where none can; is something missing before it?");
	if (s->source->last_token != '"') { /* else it is joined to the one before it */
		int rc = source_mark(&s->source->strings, s->file, s->line);
		if (rc < 0)
			return rc;
	}
	s->source->last_token = '"';
	for (s->at++; s->at < s->n; s->at++) {
		char c = s->bytes[s->at];
		if (c == '"') {
			s->at++;
			return 0;
		}
		if (c == '\\') {
			/* libconfig would end the string at the byte that it made */
			if (peek(s, 1) == 'x' && peek(s, 2) == '0' && peek(s, 3) == '0')
				wrong(s, s->line, "\\x00 in a string: text holds no NUL bytes");
			s->at++;
			c = peek(s, 0);
		}
		if (c == '\n')
			s->line++;
	}
	return wrong(s, begin, "a string begins here with \" and has no end in this file; end it with \"");
}

/* Whether `n` digits at `digits`, after a sign or not, are more than an int holds. */
static bool wraps(const char *digits, size_t n, int base, bool negative)
{
	unsigned long long value = 0;

	for (size_t i = 0; i < n; i++) {
		char c = digits[i];
		unsigned digit = is_digit(c) ? (unsigned)(c - '0') : (unsigned)((c | 0x20) - 'a' + 10);
		value = value * (unsigned)base + digit;
		if (value > (unsigned long long)INT_MAX + (negative ? 1 : 0))
			return true;
	}
	return false;
}

/* An integer, from its sign or first digit on; also the beginning of a fraction, which is left to the types' check. */
static void scan_number(struct scan *s)
{
	size_t begin = s->at;
	bool negative = peek(s, 0) == '-';
	bool sign = negative || peek(s, 0) == '+';
	bool hex = !sign && peek(s, 0) == '0' && (peek(s, 1) | 0x20) == 'x' && is_hex(peek(s, 2));

	s->at += (sign ? 1 : 0) + (hex ? 2 : 0);
	size_t digits = s->at;
	while (hex ? is_hex(peek(s, 0)) : is_digit(peek(s, 0)))
		s->at++;
	if (!hex && (peek(s, 0) == '.' || (peek(s, 0) | 0x20) == 'e')) {
		while (is_name(peek(s, 0)) || peek(s, 0) == '.' || peek(s, 0) == '+')
			s->at++;
		return;
	}
	bool bad = wraps(s->bytes + digits, s->at - digits, hex ? 16 : 10, negative);
	while (peek(s, 0) == 'L') {
		bad = true;
		s->at++;
	}
	if (bad) {
		size_t n = s->at - begin;
		char buffer[256];
		struct text path;
		text_init(&path, buffer, sizeof(buffer));
		add_path(&path, s->source);
		config_errors_add(
			s->source->errors, scan_place(s), path.at,
			"%.*s%s: integers go from -2147483648 to 2147483647, without a suffix; sizes and durations "
			"are text with a unit, \"...\"",
			(int)(n > 40 ? 40 : n), s->bytes + begin, n > 40 ? "..." : "");
	}
}

static int open_nest(struct scan *s, char c)
{
	struct source *source = s->source;

	if (source->depth == SOURCE_NESTING_MAX)
		return wrong(s, s->line, "groups and lists stand too deep inside each other; 32 levels are allowed");
	source->depth++;
	source->nest[source->depth] = (struct source_nest){.opened_by = c, .line = s->line};
	s->at++;
	return 0;
}

static int close_nest(struct scan *s, char c, unsigned base)
{
	struct source *source = s->source;
	const struct source_nest *nest = &source->nest[source->depth];
	char wanted = nest->opened_by == '{' ? '}' : nest->opened_by == '[' ? ']' : ')';

	if (source->depth == base || c != wanted) {
		if (source->depth == base)
			config_errors_add(source->errors, scan_place(s), NULL, "%c closes nothing in this file", c);
		else
			config_errors_add(source->errors, scan_place(s), NULL,
					  "%c cannot close the %c of line %u; %c is needed first", c, nest->opened_by,
					  nest->line, wanted);
		return -EINVAL;
	}
	source->depth--;
	s->at++;
	return 0;
}

/* A '=', ':' or ',': one more setting or list element. */
static int count_token(struct scan *s, char c)
{
	struct source *source = s->source;

	if (c != ',' && ++source->nest[source->depth].settings > SOURCE_SETTINGS_MAX)
		return wrong(s, s->line, "too many settings in one group; 4096 are allowed");
	if (++source->tokens > SOURCE_TOKENS_MAX)
		return wrong(s, s->line, "too many settings and list elements; 200000 are allowed in all");
	s->at++;
	return 0;
}

/* "@include" with only white space before it: moves past its line. */
static int scan_include(struct scan *s)
{
	static const char keyword[] = "@include";
	static const char form[] = "write an include as @include \"FILE\" on a line of its own";

	if (s->n - s->at < sizeof(keyword) || memcmp(s->bytes + s->at, keyword, sizeof(keyword) - 1) != 0)
		return wrong(s, s->line, form);
	s->at += sizeof(keyword) - 1;
	while (peek(s, 0) == ' ' || peek(s, 0) == '\t')
		s->at++;
	size_t name = s->at + 1;
	if (peek(s, 0) != '"')
		return wrong(s, s->line, form);
	for (s->at++; peek(s, 0) != '"'; s->at++) {
		if (s->at >= s->n || peek(s, 0) == '\n')
			return wrong(s, s->line, form);
		if (peek(s, 0) == '\\')
			return wrong(s, s->line, "an @include's file name is taken as it is; it holds no backslash");
	}
	size_t length = s->at - name;
	s->at++;
	while (peek(s, 0) == ' ' || peek(s, 0) == '\t' || peek(s, 0) == '\r' || peek(s, 0) == ';')
		s->at++;
	if (peek(s, 0) == '#' || (peek(s, 0) == '/' && peek(s, 1) == '/'))
		skip_to_line_end(s);
	if (peek(s, 0) != '\n')
		return wrong(s, s->line, form);
	if (length == 0)
		return wrong(s, s->line, "@include names no file");

	unsigned depth = s->source->depth;
	int rc = source_include(s, s->bytes + name, length);
	s->source->depth = depth;		/* wherever the included file's scan ended */
	s->source->nest[depth].name_length = 0; /* it may be in that file's bytes, which are gone */
	s->at++;
	s->line++;
	return rc == -EINVAL ? 0 : rc; /* so that this file's other errors are seen too */
}

/* A setting's name, or true or false behind one. */
static void scan_name(struct scan *s, char before)
{
	struct source_nest *nest = &s->source->nest[s->source->depth];
	size_t begin = s->at;

	while (is_name(peek(s, 0)))
		s->at++;
	if (before == '=' || before == ':' || nest->opened_by == '[' || nest->opened_by == '(')
		return;
	nest->name = s->bytes + begin;
	nest->name_length = s->at - begin;
	s->source->in_setting = true;
}

/* One token; strings included, comments not. */
static int scan_token(struct scan *s, unsigned base)
{
	char c = peek(s, 0);
	char before = s->source->last_token;

	s->source->in_setting = c == '=' || c == ':';
	if (c == '"')
		return scan_string(s);
	s->source->last_token = c;
	if (is_name_start(c)) {
		scan_name(s, before);
		return 0;
	}
	if (is_digit(c) || ((c == '-' || c == '+') && is_digit(peek(s, 1)))) {
		scan_number(s);
		return 0;
	}
	switch (c) {
	case '{':
	case '[':
	case '(':
		return open_nest(s, c);
	case '}':
	case ']':
	case ')':
		return close_nest(s, c, base);
	case '=':
	case ':':
	case ',':
		return count_token(s, c);
	case '@':
		return wrong(s, s->line, "@ stands here outside of a string; an @include needs a line of its own");
	default:
		s->at++;
		return 0;
	}
}

static int scan_token_or_comment(struct scan *s, unsigned base)
{
	char c = peek(s, 0);

	if (c == '#' || (c == '/' && peek(s, 1) == '/')) {
		skip_to_line_end(s);
		return 0;
	}
	if (c == '/' && peek(s, 1) == '*')
		return skip_comment(s);
	int rc = scan_token(s, base);
	s->any_token = true;
	s->source->last_mark = (struct source_mark){.file = s->file, .line = s->line};
	return rc;
}

/* What may not be open where a file ends. */
static int check_end(const struct scan *s, unsigned base)
{
	const struct source *source = s->source;

	if (source->depth > base) {
		const struct source_nest *nest = &source->nest[source->depth];
		config_errors_add(source->errors, (struct config_place){source->files[s->file], nest->line}, NULL,
				  "the %c of this line is never closed in this file", nest->opened_by);
		return -EINVAL;
	}
	/* of the first file libconfig says it; here it would blame whatever follows the include */
	if (s->includer && s->any_token && source->in_setting)
		return wrong(s, source->last_mark.line,
			     "a setting stands here without its value; it ends in the file in which it begins");
	return 0;
}

/* The scan stands at the first byte of a line, outside of strings and comments. */
static bool at_include(struct scan *s)
{
	size_t blank = 0;

	while (peek(s, blank) == ' ' || peek(s, blank) == '\t')
		blank++;
	if (peek(s, blank) != '@')
		return false;
	s->at += blank;
	return true;
}

int scan_run(struct scan *s)
{
	unsigned base = s->source->depth;
	size_t copied = 0;
	unsigned copied_line = 1;
	bool line_start = true;
	int rc = 0;

	while (rc == 0 && s->at < s->n) {
		size_t here = s->at;
		if (line_start && at_include(s)) {
			rc = source_append(s, s->bytes + copied, here - copied, copied_line);
			if (rc == 0)
				rc = scan_include(s);
			copied = s->at;
			copied_line = s->line;
			continue;
		}
		char c = peek(s, 0);
		line_start = c == '\n';
		if (c == ' ' || c == '\t' || c == '\r' || c == '\n') {
			s->line += c == '\n';
			s->at++;
		} else {
			rc = scan_token_or_comment(s, base);
		}
	}
	if (rc == 0)
		rc = check_end(s, base);
	if (rc < 0) {
		s->source->in_setting = false; /* this file is blamed, not the one that includes it too */
		return rc;
	}
	return source_append(s, s->bytes + copied, s->n - copied, copied_line);
}

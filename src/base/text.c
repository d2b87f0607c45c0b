/* SPDX-License-Identifier: MIT */
#include "base/text.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/must.h"

#define DISTANCE_NAME_MAX 63

void text_init(struct text *t, char *at, size_t size)
{
	must(size > 0);
	t->at = at;
	t->size = size;
	t->length = 0;
	t->cut = false;
	at[0] = '\0';
}

static size_t room(const struct text *t)
{
	return t->size - 1 - t->length;
}

/* Where to cut at most `n` bytes of `bytes`, so that no UTF-8 character is torn; `bytes[n]` exists. */
static size_t cut_before_character(const char *bytes, size_t n)
{
	size_t at = n;
	while (at > 0 && n - at < 3 && ((unsigned char)bytes[at] & 0xC0) == 0x80)
		at--;
	return ((unsigned char)bytes[at] & 0xC0) == 0x80 ? n : at;
}

void text_add_bytes(struct text *t, const void *bytes, size_t n)
{
	/* nothing follows a cut: a text with a hole in it would read as something else */
	if (t->cut || n == 0)
		return;
	if (n > room(t)) {
		t->cut = true;
		n = cut_before_character(bytes, room(t));
	}
	memcpy(t->at + t->length, bytes, n);
	t->length += n;
	t->at[t->length] = '\0';
}

void text_add(struct text *t, const char *string)
{
	text_add_bytes(t, string, strlen(string));
}

void text_vprintf(struct text *t, const char *format, va_list args)
{
	if (t->cut)
		return;
	size_t space = room(t);
	char *start = t->at + t->length;
	int n = vsnprintf(start, space + 1, format, args);
	if (n < 0) {
		*start = '\0';
		t->cut = true;
	} else if ((size_t)n > space) {
		t->cut = true;
		/* the byte that came next is gone: step back over a character only if it is incomplete */
		size_t at = space;
		while (at > 0 && space - at < 4 && ((unsigned char)start[at - 1] & 0xC0) == 0x80)
			at--;
		if (at > 0) {
			unsigned char lead = (unsigned char)start[at - 1];
			size_t needs = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
			if (space - (at - 1) < needs)
				space = at - 1;
		}
		start[space] = '\0';
		t->length += space;
	} else {
		t->length += (size_t)n;
	}
}

void text_printf(struct text *t, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	text_vprintf(t, format, args);
	va_end(args);
}

/* Decodes one UTF-8 character of more than one byte. Returns its bytes; 0 when it is not valid: torn, overlong, a
 * surrogate or past U+10FFFF. */
static size_t decode_multibyte(const unsigned char *at, size_t n, uint32_t *to)
{
	static const uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t length;
	uint32_t c;

	if (at[0] >= 0xC2 && at[0] <= 0xDF) {
		length = 2;
		c = at[0] & 0x1F;
	} else if (at[0] >= 0xE0 && at[0] <= 0xEF) {
		length = 3;
		c = at[0] & 0x0F;
	} else if (at[0] >= 0xF0 && at[0] <= 0xF4) {
		length = 4;
		c = at[0] & 0x07;
	} else {
		return 0;
	}
	if (n < length)
		return 0;
	for (size_t i = 1; i < length; i++) {
		if ((at[i] & 0xC0) != 0x80)
			return 0;
		c = c << 6 | (at[i] & 0x3F);
	}
	if (c < smallest[length] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
		return 0;
	*to = c;
	return length;
}

/* C1 controls work as escape sequences on some terminals; the others break lines or turn the text's direction. */
static bool is_unsafe(uint32_t c)
{
	return (c >= 0x80 && c <= 0x9F) || c == 0x2028 || c == 0x2029 || (c >= 0x202A && c <= 0x202E) ||
	       (c >= 0x2066 && c <= 0x2069);
}

/* Adds all of it or nothing: half an escape would read as something else. */
static void add_whole(struct text *t, const void *bytes, size_t n)
{
	if (n > room(t))
		t->cut = true;
	else
		text_add_bytes(t, bytes, n);
}

static void add_hex(struct text *t, const unsigned char *bytes, size_t n)
{
	static const char digits[] = "0123456789abcdef";
	char hex[4 * 4];
	for (size_t i = 0; i < n; i++) {
		hex[4 * i] = '\\';
		hex[4 * i + 1] = 'x';
		hex[4 * i + 2] = digits[bytes[i] >> 4];
		hex[4 * i + 3] = digits[bytes[i] & 0x0F];
	}
	add_whole(t, hex, 4 * n);
}

static bool is_plain(unsigned char c, bool escape_backslash)
{
	return c >= 0x20 && c < 0x7F && !(escape_backslash && c == '\\');
}

static void add_escaped(struct text *t, const void *bytes, size_t n, bool escape_backslash)
{
	const unsigned char *at = bytes;
	const unsigned char *end = at + n;

	while (at < end && !t->cut) {
		size_t length = 0;
		while (at + length < end && is_plain(at[length], escape_backslash))
			length++;
		if (length > 0) {
			text_add_bytes(t, at, length);
			at += length;
			continue;
		}
		uint32_t c = 0;
		if (*at == '\\') {
			length = 1;
			add_whole(t, "\\\\", 2);
		} else if (*at < 0x80 || (length = decode_multibyte(at, (size_t)(end - at), &c)) == 0) {
			length = 1;
			add_hex(t, at, 1);
		} else if (is_unsafe(c)) {
			add_hex(t, at, length);
		} else {
			add_whole(t, at, length);
		}
		at += length;
	}
}

void text_add_escaped(struct text *t, const void *bytes, size_t n)
{
	add_escaped(t, bytes, n, true);
}

void text_add_escaped_again(struct text *t, const void *bytes, size_t n)
{
	add_escaped(t, bytes, n, false);
}

void text_add_size(struct text *t, unsigned long long bytes)
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	unsigned unit = 0;

	if (bytes < 1024) {
		text_printf(t, "%llu B", bytes);
		return;
	}
	while (unit + 1 < ARRAY_LEN(units) && bytes >> (10 * (unit + 2)) != 0)
		unit++;
	unsigned shift = 10 * (unit + 1);
	unsigned long long rest = bytes & ((1ULL << shift) - 1);
	/* cut off, not rounded: never "1024.0 KiB" */
	text_printf(t, "%llu.%llu %s", bytes >> shift, rest * 10 >> shift, units[unit]);
}

void text_add_duration_ms(struct text *t, unsigned long long ms)
{
	unsigned long long s = ms / 1000;
	unsigned long long min = s / 60;
	unsigned long long h = min / 60;

	if (ms < 1000)
		text_printf(t, "%llums", ms);
	else if (s < 60)
		text_printf(t, "%llu.%llus", s, ms % 1000 / 100);
	else if (min < 60)
		text_printf(t, "%llumin %llus", min, s % 60);
	else if (h < 24)
		text_printf(t, "%lluh %llumin", h, min % 60);
	else
		text_printf(t, "%llud %lluh", h / 24, h % 24);
}

static unsigned smaller(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

unsigned text_distance(const char *a, const char *b)
{
	/* rows[k]: distances of a's first i-k characters to each beginning of b */
	unsigned memory[3][DISTANCE_NAME_MAX + 1];
	unsigned *rows[3] = {memory[0], memory[1], memory[2]};
	size_t a_length = strnlen(a, DISTANCE_NAME_MAX);
	size_t b_length = strnlen(b, DISTANCE_NAME_MAX);

	for (size_t j = 0; j <= b_length; j++)
		rows[0][j] = (unsigned)j;
	for (size_t i = 1; i <= a_length; i++) {
		unsigned *oldest = rows[2];
		rows[2] = rows[1];
		rows[1] = rows[0];
		rows[0] = oldest;
		rows[0][0] = (unsigned)i;
		for (size_t j = 1; j <= b_length; j++) {
			unsigned best = rows[1][j - 1] + (a[i - 1] != b[j - 1]);
			best = smaller(best, rows[1][j] + 1);
			best = smaller(best, rows[0][j - 1] + 1);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				best = smaller(best, rows[2][j - 2] + 1);
			rows[0][j] = best;
		}
	}
	return rows[0][b_length];
}

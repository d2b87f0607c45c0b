/* SPDX-License-Identifier: MIT */
#include "tls/names_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_name_character(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

bool tls_name_normalise(char to[TLS_NAME_BYTES], const void *bytes, size_t n, bool may_be_wildcard)
{
	const char *from = bytes;
	if (n > 0 && from[n - 1] == '.')
		n--;
	if (n == 0 || n >= TLS_NAME_BYTES)
		return false;
	for (size_t i = 0; i < n; i++) {
		char c = from[i];
		if (c >= 'A' && c <= 'Z')
			c = (char)(c - 'A' + 'a');
		bool starts_label = i == 0 || from[i - 1] == '.';
		bool is_star = c == '*' && i == 0 && may_be_wildcard && n > 2 && from[1] == '.';
		if (!is_star && !is_name_character(c) && (c != '.' || starts_label))
			return false;
		to[i] = c;
	}
	if (to[n - 1] == '.')
		return false;
	to[n] = '\0';
	return true;
}

bool tls_name_wildcard(char to[TLS_NAME_BYTES], const char *name)
{
	const char *rest = strchr(name, '.');
	if (!rest || name[0] == '*')
		return false;
	return snprintf(to, TLS_NAME_BYTES, "*%s", rest) < TLS_NAME_BYTES;
}

static int compare(const void *a, const void *b)
{
	const struct tls_name *x = a;
	const struct tls_name *y = b;
	int order = strcmp(x->name, y->name);
	if (order != 0)
		return order;
	return x->number < y->number ? -1 : x->number > y->number;
}

void tls_names_sort(struct tls_name *names, unsigned count)
{
	if (count > 0)
		qsort(names, count, sizeof(*names), compare);
}

const struct tls_name *tls_names_find(const struct tls_name *names, unsigned count, const char *name)
{
	unsigned low = 0;
	unsigned high = count;
	while (low < high) {
		unsigned middle = low + (high - low) / 2;
		if (strcmp(names[middle].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < count && strcmp(names[low].name, name) == 0 ? &names[low] : NULL;
}

const struct tls_name *tls_names_choose(const struct tls_name *names, unsigned count, const char *name)
{
	char wildcard[TLS_NAME_BYTES];
	const struct tls_name *found = tls_names_find(names, count, name);
	if (!found && tls_name_wildcard(wildcard, name))
		found = tls_names_find(names, count, wildcard);
	return found;
}

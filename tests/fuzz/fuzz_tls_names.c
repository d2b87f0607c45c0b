/* SPDX-License-Identifier: MIT */
/* Host names, patterns and certificates. A name is normalised once and for all; a pattern matches what a slower and
 * simpler way says, and takes no longer than it may; a certificate that can be read is described in readable text and
 * compared with patterns of every kind.
 *
 * Input: a byte that says which of them, then its bytes; two texts have a NUL between them. */
#include <openssl/err.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "tls/identity_priv.h"
#include "tls/names_priv.h"
#include "tls/peer_priv.h"

/* What the slower way is asked for. */
#define SLOW_PATTERN_MAX 64
#define SLOW_TEXT_MAX 96

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static void check_name(const uint8_t *bytes, size_t n)
{
	char name[TLS_NAME_BYTES], again[TLS_NAME_BYTES], wildcard[TLS_NAME_BYTES];
	bool is_plain = tls_name_normalise(name, bytes, n, false);
	if (!tls_name_normalise(again, bytes, n, true)) {
		must(!is_plain);
		return;
	}
	must(!is_plain || strcmp(name, again) == 0);
	strcpy(name, again);
	must(strlen(name) > 0 && strlen(name) < TLS_NAME_BYTES && !strstr(name, "..") && name[0] != '.');
	must(tls_name_normalise(again, name, strlen(name), true) && strcmp(name, again) == 0);

	struct tls_name table[4] = {{name, 7}, {"a.example", 1}, {"*.example", 2}, {"m", 3}};
	unsigned count = 4;
	if (tls_name_wildcard(wildcard, name)) {
		must(wildcard[0] == '*' && strcmp(wildcard + 1, strchr(name, '.')) == 0);
		table[3].name = wildcard;
	}
	tls_names_sort(table, count);
	for (unsigned i = 1; i < count; i++)
		must(strcmp(table[i - 1].name, table[i].name) <= 0);
	const struct tls_name *found = tls_names_choose(table, count, name);
	must(found && strcmp(found->name, name) == 0);
	table[found - table] = table[--count];
	tls_names_sort(table, count);
	found = tls_names_choose(table, count, name);
	must(!found || found->name[0] == '*' || strcmp(found->name, name) == 0);
}

/* Whether pattern[i...] matches text[k...], by trying; what was tried once is remembered (1: yes, 2: no). */
struct slow {
	const struct tls_pattern *p;
	const char *text;
	size_t n;
	uint8_t known[SLOW_PATTERN_MAX + 1][SLOW_TEXT_MAX + 1];
};

static bool slow_matches(struct slow *s, size_t i, size_t k)
{
	const char *pattern = s->p->text;
	char separator = s->p->kind == TLS_PATTERN_DNS ? '.' : s->p->kind == TLS_PATTERN_URI ? '/' : '\0';
	bool matches = false;
	if (s->known[i][k])
		return s->known[i][k] == 1;
	if (!pattern[i]) {
		matches = k == s->n;
	} else if (pattern[i] != '*') {
		char c = k < s->n ? s->text[k] : '\0';
		matches = k < s->n && pattern[i] == (s->p->kind == TLS_PATTERN_DNS ? lower(c) : c) &&
			  slow_matches(s, i + 1, k + 1);
	} else {
		size_t stars = strspn(pattern + i, "*");
		matches = slow_matches(s, i + stars, k);
		for (size_t to = k; !matches && to < s->n && (stars > 1 || s->text[to] != separator); to++)
			matches = slow_matches(s, i + stars, to + 1);
	}
	s->known[i][k] = matches ? 1 : 2;
	return matches;
}

static void check_pattern(const uint8_t *bytes, size_t n)
{
	const char *why = NULL;
	struct tls_pattern p;
	char *all = malloc(n + 1);
	must(all);
	memcpy(all, bytes, n);
	all[n] = '\0';
	if (tls_pattern_parse(&p, all, &why) != 0) {
		must(why && why[0]);
		free(all);
		return;
	}
	size_t used = strlen(all) < n ? strlen(all) + 1 : n;
	const char *text = all + used;
	size_t text_n = n - used;
	bool matches = tls_pattern_matches_text(&p, text, text_n);
	if (p.kind == TLS_PATTERN_PIN || memchr(text, '\0', text_n) || text_n > TLS_IDENTITY_BYTES_MAX) {
		must(!matches);
	} else if (strlen(p.text) <= SLOW_PATTERN_MAX && text_n <= SLOW_TEXT_MAX) {
		struct slow s = {.p = &p, .text = text, .n = text_n};
		must(matches == slow_matches(&s, 0, 0));
	}
	tls_pattern_fini(&p);
	free(all);
}

static void check_readable(const struct text *t)
{
	must(strlen(t->at) == t->length);
	for (size_t i = 0; i < t->length; i++)
		must((unsigned char)t->at[i] >= 0x20 && t->at[i] != 0x7f);
}

static void check_certificate(const uint8_t *bytes, size_t n)
{
	static const char *const patterns[] = {
		"cn:backup-*",
		"ou:operators",
		"dns:*.hosts.example",
		"dns:**",
		"uri:spiffe://example.org/**",
		"cn:**",
		"pin:sha256:0000000000000000000000000000000000000000000000000000000000000000",
	};
	const unsigned char *at = bytes;
	X509 *certificate = d2i_X509(NULL, &at, (long)n);
	ERR_clear_error();
	if (!certificate)
		return;
	bool any = false;
	struct tls_pattern list[sizeof(patterns) / sizeof(*patterns)];
	for (size_t i = 0; i < sizeof(patterns) / sizeof(*patterns); i++) {
		const char *why = NULL;
		must(tls_pattern_parse(&list[i], patterns[i], &why) == 0);
		struct tls_identities one = {.at = &list[i], .count = 1};
		any = tls_identities_match(&one, certificate) || any;
	}
	struct tls_identities all = {.at = list, .count = sizeof(patterns) / sizeof(*patterns)};
	must(tls_identities_match(&all, certificate) == any);
	for (size_t i = 0; i < sizeof(patterns) / sizeof(*patterns); i++)
		tls_pattern_fini(&list[i]);

	char memory[512];
	struct text t;
	text_init(&t, memory, sizeof(memory));
	tls_peer_add_name(&t, X509_get_subject_name(certificate));
	check_readable(&t);
	text_init(&t, memory, sizeof(memory));
	tls_peer_add_name(&t, X509_get_issuer_name(certificate));
	check_readable(&t);
	text_init(&t, memory, sizeof(memory));
	tls_peer_add_serial(&t, certificate);
	check_readable(&t);
	text_init(&t, memory, sizeof(memory));
	tls_peer_add_hosts(&t, certificate);
	check_readable(&t);
	X509_free(certificate);
	ERR_clear_error();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	if (n < 1)
		return 0;
	switch (bytes[0] % 3) {
	case 0:
		check_name(bytes + 1, n - 1);
		break;
	case 1:
		check_pattern(bytes + 1, n - 1);
		break;
	default:
		check_certificate(bytes + 1, n - 1);
		break;
	}
	return 0;
}

/* SPDX-License-Identifier: MIT */
#include "tls/identity_priv.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *prefix;
	enum tls_pattern_kind kind;
} kinds[] = {
	{"cn:", TLS_PATTERN_CN},   {"ou:", TLS_PATTERN_OU},   {"dns:", TLS_PATTERN_DNS},
	{"uri:", TLS_PATTERN_URI}, {"pin:", TLS_PATTERN_PIN},
};

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

static int hex_digit(char c)
{
	c = lower(c);
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_hex_pin(uint8_t pin[TLS_DIGEST_BYTES], const char *text)
{
	if (strlen(text) != (size_t)TLS_DIGEST_BYTES * 2)
		return false;
	for (size_t i = 0; i < TLS_DIGEST_BYTES; i++) {
		int high = hex_digit(text[2 * i]);
		int low = hex_digit(text[2 * i + 1]);
		if (high < 0 || low < 0)
			return false;
		pin[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

static bool read_base64_pin(uint8_t pin[TLS_DIGEST_BYTES], const char *text)
{
	unsigned char bytes[TLS_DIGEST_BYTES + 1]; /* 44 characters make 33, the last of which is padding */
	char again[48];
	if (strlen(text) != 44 || text[43] != '=' ||
	    EVP_DecodeBlock(bytes, (const unsigned char *)text, 44) != sizeof(bytes))
		return false;
	EVP_EncodeBlock((unsigned char *)again, bytes, TLS_DIGEST_BYTES);
	if (strcmp(again, text) != 0)
		return false;
	memcpy(pin, bytes, TLS_DIGEST_BYTES);
	return true;
}

static int parse_pin(struct tls_pattern *to, const char *text, const char **why)
{
	if (strncmp(text, "sha256:", 7) == 0 && read_hex_pin(to->pin, text + 7))
		return 0;
	if (strncmp(text, "sha256/", 7) == 0 && read_base64_pin(to->pin, text + 7))
		return 0;
	*why = "no pin: it is pin:sha256: and 64 hexadecimal digits, or pin:sha256/ and 44 characters of base64";
	return -EINVAL;
}

int tls_pattern_parse(struct tls_pattern *to, const char *text, const char **why)
{
	*why = "nothing to compare with: a pattern begins with cn:, ou:, dns:, uri: or pin:sha256:";
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t n = strlen(kinds[i].prefix);
		if (strncmp(text, kinds[i].prefix, n) != 0)
			continue;
		struct tls_pattern made = {.kind = kinds[i].kind};
		const char *rest = text + n;
		if (made.kind == TLS_PATTERN_PIN) {
			int failed = parse_pin(&made, rest, why);
			if (!failed)
				*to = made;
			return failed;
		}
		if (!rest[0]) {
			*why = "the pattern is empty: it would let nobody in; write * or ** for any text";
			return -EINVAL;
		}
		if (strlen(rest) > TLS_PATTERN_BYTES_MAX) {
			*why = "the pattern is longer than 512 bytes";
			return -EINVAL;
		}
		made.text = strdup(rest);
		if (!made.text)
			return -ENOMEM;
		for (char *c = made.text; made.kind == TLS_PATTERN_DNS && *c; c++)
			*c = lower(*c);
		*to = made;
		return 0;
	}
	return -EINVAL;
}

void tls_pattern_fini(struct tls_pattern *p)
{
	free(p->text);
	p->text = NULL;
}

/* A pattern as an automaton whose states are its places: which of them the text so far may have led to. One step a
 * character and place, so that no pattern takes longer than that. */
struct places {
	bool at[TLS_PATTERN_BYTES_MAX + 1];
};

/* A star may stand for nothing: whoever is before it is behind it too. */
static void skip_stars(struct places *p, const char *pattern)
{
	for (size_t i = 0; pattern[i]; i++) {
		if (p->at[i] && pattern[i] == '*')
			p->at[i + 1] = true;
	}
}

bool tls_pattern_matches_text(const struct tls_pattern *p, const void *text, size_t n)
{
	const char *pattern = p->text;
	const char *from = text;
	char separator = p->kind == TLS_PATTERN_DNS ? '.' : p->kind == TLS_PATTERN_URI ? '/' : '\0';
	if (!pattern || n > TLS_IDENTITY_BYTES_MAX || (n > 0 && memchr(from, '\0', n)))
		return false;

	size_t length = strlen(pattern);
	struct places now = {.at = {true}};
	skip_stars(&now, pattern);
	for (size_t k = 0; k < n; k++) {
		struct places next = {0};
		char c = p->kind == TLS_PATTERN_DNS ? lower(from[k]) : from[k];
		bool alive = false;
		for (size_t i = 0; i < length; i++) {
			if (!now.at[i])
				continue;
			bool is_double =
				pattern[i] == '*' && (pattern[i + 1] == '*' || (i > 0 && pattern[i - 1] == '*'));
			if (pattern[i] == '*' && (c != separator || is_double))
				next.at[i] = alive = true;
			else if (pattern[i] != '*' && pattern[i] == c)
				next.at[i + 1] = alive = true;
		}
		if (!alive)
			return false;
		skip_stars(&next, pattern);
		now = next;
	}
	return now.at[length];
}

bool tls_identities_read(struct tls_reader *r, const char *option, const struct option_list *allow,
			 struct tls_identities *to)
{
	bool good = true;
	to->at = calloc(allow->count ? allow->count : 1, sizeof(*to->at));
	if (!to->at) {
		r->no_memory = true;
		return false;
	}
	for (unsigned i = 0; i < allow->count; i++) {
		const char *why = NULL;
		struct tls_spot spot = {.option = option, .value = allow->at[i], .place = allow->places[i]};
		int failed = tls_pattern_parse(&to->at[to->count], allow->at[i], &why);
		if (!failed) {
			to->count++;
			continue;
		}
		good = false;
		if (failed == -ENOMEM)
			r->no_memory = true;
		else
			tls_report(r, &spot, "%s", why);
	}
	return good;
}

void tls_identities_fini(struct tls_identities *list)
{
	for (unsigned i = 0; i < list->count; i++)
		tls_pattern_fini(&list->at[i]);
	free(list->at);
	*list = (struct tls_identities){0};
}

/* One of the subject's entries of a kind. */
static bool matches_subject(const struct tls_pattern *p, const X509 *certificate, int nid)
{
	const X509_NAME *subject = X509_get_subject_name(certificate);
	bool found = false;
	for (int at = -1; !found && (at = X509_NAME_get_index_by_NID(subject, nid, at)) >= 0;) {
		unsigned char *utf8 = NULL;
		int n = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
		found = n >= 0 && tls_pattern_matches_text(p, utf8, (size_t)n);
		OPENSSL_free(utf8);
	}
	return found;
}

static bool matches_alternative(const struct tls_pattern *p, const GENERAL_NAMES *names, int type)
{
	for (int i = 0; names && i < sk_GENERAL_NAME_num(names); i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
		if (name->type != type)
			continue;
		const ASN1_STRING *text = type == GEN_DNS ? name->d.dNSName : name->d.uniformResourceIdentifier;
		if (tls_pattern_matches_text(p, ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text)))
			return true;
	}
	return false;
}

static bool matches_pin(const struct tls_pattern *p, const X509 *certificate)
{
	uint8_t digest[TLS_DIGEST_BYTES];
	unsigned char *spki = NULL;
	int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &spki);
	bool is_same = n > 0 && EVP_Digest(spki, (size_t)n, digest, NULL, EVP_sha256(), NULL) == 1 &&
		       memcmp(digest, p->pin, sizeof(digest)) == 0;
	OPENSSL_free(spki);
	return is_same;
}

bool tls_identities_match(const struct tls_identities *list, const X509 *certificate)
{
	bool found = false;
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	for (unsigned i = 0; !found && i < list->count; i++) {
		const struct tls_pattern *p = &list->at[i];
		switch (p->kind) {
		case TLS_PATTERN_CN:
			found = matches_subject(p, certificate, NID_commonName);
			break;
		case TLS_PATTERN_OU:
			found = matches_subject(p, certificate, NID_organizationalUnitName);
			break;
		case TLS_PATTERN_DNS:
			found = matches_alternative(p, names, GEN_DNS);
			break;
		case TLS_PATTERN_URI:
			found = matches_alternative(p, names, GEN_URI);
			break;
		case TLS_PATTERN_PIN:
			found = matches_pin(p, certificate);
			break;
		}
	}
	GENERAL_NAMES_free(names);
	return found;
}

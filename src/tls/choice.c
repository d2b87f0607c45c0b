/* SPDX-License-Identifier: MIT */
#include "tls/choice_priv.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#include "tls/certificate_priv.h"

#define WORD_BYTES 128

/* Takes the next word of a list to `word` (cut when it is longer than any name). False: there is none. */
static bool next_word(const char **list, const char *separators, char word[WORD_BYTES])
{
	*list += strspn(*list, separators);
	size_t n = strcspn(*list, separators);
	size_t kept = n < WORD_BYTES ? n : WORD_BYTES - 1;
	memcpy(word, *list, kept);
	word[kept] = '\0';
	*list += n;
	return n > 0;
}

static bool has_suite(const SSL_CTX *context, const char *name)
{
	const STACK_OF(SSL_CIPHER) *all = SSL_CTX_get_ciphers(context);
	for (int i = 0; i < sk_SSL_CIPHER_num(all); i++) {
		if (strcmp(SSL_CIPHER_get_name(sk_SSL_CIPHER_value(all, i)), name) == 0)
			return true;
	}
	return false;
}

/* OpenSSL skips words that it does not know: each is tried alone. `scratch` is a context to try them with. */
static bool check_ciphers(struct tls_reader *r, const struct tls_spot *spot, SSL_CTX *scratch)
{
	char word[WORD_BYTES];
	const char *list = spot->value;
	bool good = true;
	while (next_word(&list, ":, ;", word)) {
		if (strchr("!-+@", word[0]) || SSL_CTX_set_cipher_list(scratch, word) == 1)
			continue; /* what takes away may take nothing */
		if (SSL_CTX_set_ciphersuites(scratch, word) == 1 && has_suite(scratch, word))
			tls_report_bare(r, spot, "%s is a cipher suite of TLS 1.3: it goes into ciphersuites", word);
		else
			tls_report_bare(r, spot,
					"OpenSSL has no cipher of TLS 1.2 called %s; openssl ciphers -s -v lists them",
					word);
		good = false;
	}
	ERR_clear_error();
	return good;
}

static bool check_suites(struct tls_reader *r, const struct tls_spot *spot, SSL_CTX *scratch)
{
	char word[WORD_BYTES];
	const char *list = spot->value;
	bool good = true;
	while (next_word(&list, ":", word)) {
		if (SSL_CTX_set_ciphersuites(scratch, word) == 1 && has_suite(scratch, word))
			continue;
		tls_report_bare(r, spot,
				"OpenSSL has no cipher suite of TLS 1.3 called %s; there are TLS_AES_128_GCM_SHA256, "
				"TLS_AES_256_GCM_SHA384, TLS_CHACHA20_POLY1305_SHA256, TLS_AES_128_CCM_SHA256 and "
				"TLS_AES_128_CCM_8_SHA256, with a ':' between them",
				word);
		good = false;
	}
	ERR_clear_error();
	return good;
}

static bool check_groups(struct tls_reader *r, const struct tls_spot *spot, SSL_CTX *scratch)
{
	char word[WORD_BYTES];
	const char *list = spot->value;
	bool good = true;
	while (next_word(&list, ":", word)) {
		if (SSL_CTX_set1_groups_list(scratch, word) == 1)
			continue;
		tls_report_bare(
			r, spot,
			"OpenSSL has no group called %s; there are X25519, X448, P-256, P-384, P-521, ffdhe2048 and "
			"others, with a ':' between them",
			word);
		good = false;
	}
	ERR_clear_error();
	return good;
}

static int set_groups(SSL_CTX *context, const char *list)
{
	return (int)SSL_CTX_set1_groups_list(context, list);
}

/* One list: its words, then all of it. */
static bool check(struct tls_reader *r, const struct tls_spot *spot, SSL_CTX *scratch,
		  bool (*check_words)(struct tls_reader *, const struct tls_spot *, SSL_CTX *),
		  int (*set)(SSL_CTX *, const char *))
{
	if (!spot->value)
		return true;
	if (!check_words(r, spot, scratch))
		return false;
	if (set(scratch, spot->value) == 1)
		return true;
	tls_report(r, spot, "OpenSSL does not take this list (%s): perhaps it is empty, or has a name twice",
		   tls_take_error());
	return false;
}

bool tls_choice_check(struct tls_reader *r, const struct tls_config *l)
{
	SSL_CTX *scratch = SSL_CTX_new(TLS_method());
	if (!scratch) {
		r->no_memory = true;
		return false;
	}
	struct tls_spot ciphers = {.option = "ciphers", .value = l->ciphers, .place = l->place};
	struct tls_spot suites = {.option = "ciphersuites", .value = l->ciphersuites, .place = l->place};
	struct tls_spot groups = {.option = "groups", .value = l->groups, .place = l->place};
	bool good = check(r, &ciphers, scratch, check_ciphers, SSL_CTX_set_cipher_list);
	good = check(r, &suites, scratch, check_suites, SSL_CTX_set_ciphersuites) && good;
	good = check(r, &groups, scratch, check_groups, set_groups) && good;
	SSL_CTX_free(scratch);
	return good;
}

int tls_choice_set_version(SSL_CTX *context, int version)
{
	int least = version == TLS_VERSION_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
	return SSL_CTX_set_min_proto_version(context, least) == 1 && SSL_CTX_set_max_proto_version(context, 0) == 1
		       ? 0
		       : -ENOMEM;
}

int tls_choice_apply(const struct tls_config *l, SSL_CTX *context)
{
	if ((l->ciphers && SSL_CTX_set_cipher_list(context, l->ciphers) != 1) ||
	    (l->ciphersuites && SSL_CTX_set_ciphersuites(context, l->ciphersuites) != 1) ||
	    (l->groups && set_groups(context, l->groups) != 1))
		return -ENOMEM;
	return tls_choice_set_version(context, l->minimum_version);
}

bool tls_choice_alpn(struct tls_reader *r, const struct option_list *alpn, unsigned char **to, unsigned *n)
{
	size_t bytes = 0;
	bool good = true;
	for (unsigned i = 0; i < alpn->count; i++) {
		size_t length = strlen(alpn->at[i]);
		struct tls_spot spot = {.option = "alpn", .value = alpn->at[i], .place = alpn->places[i]};
		if (length == 0 || length > 255) {
			tls_report(r, &spot, "the name of a protocol has 1 to 255 bytes");
			good = false;
		}
		bytes += length + 1;
	}
	unsigned char *made = good ? malloc(bytes ? bytes : 1) : NULL;
	if (good && !made)
		r->no_memory = true;
	if (!made)
		return false;
	unsigned char *at = made;
	for (unsigned i = 0; i < alpn->count; i++) {
		size_t length = strlen(alpn->at[i]);
		*at++ = (unsigned char)length;
		memcpy(at, alpn->at[i], length);
		at += length;
	}
	*to = made;
	*n = (unsigned)bytes;
	return true;
}

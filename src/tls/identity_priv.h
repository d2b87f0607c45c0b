/* SPDX-License-Identifier: MIT */
/* Who may come in, by what their certificate says: patterns.
 *
 *   cn:backup-*                   the subject's common name (one of them)
 *   ou:operators                  the subject's organisational unit (one of them)
 *   dns:*.hosts.example.org       a DNS name of the certificate, without regard to case
 *   uri:spiffe://example.org/ns/ * /sa/web (without the blanks)
 *   pin:sha256:HEX                the SHA-256 of its public key (SubjectPublicKeyInfo): 64 hexadecimal digits,
 *   pin:sha256/BASE64=            or as HPKP wrote it
 *
 * "*" stands for any run of characters, the empty one too, but not past a '.' (dns) or a '/' (uri); "**" for any run at
 * all. All other characters stand for themselves. Thread: any. */
#ifndef TLS_IDENTITY_PRIV_H
#define TLS_IDENTITY_PRIV_H

#include <openssl/x509.h>

#include "config/option.h"
#include "tls/file_priv.h"

#define TLS_PATTERN_BYTES_MAX 512
#define TLS_IDENTITY_BYTES_MAX 2048 /* longer texts in a certificate match nothing */

enum tls_pattern_kind {
	TLS_PATTERN_CN,
	TLS_PATTERN_OU,
	TLS_PATTERN_DNS,
	TLS_PATTERN_URI,
	TLS_PATTERN_PIN,
};

struct tls_pattern {
	enum tls_pattern_kind kind;
	char *text; /* owned; NULL for a pin */
	uint8_t pin[TLS_DIGEST_BYTES];
};

struct tls_identities {
	struct tls_pattern *at; /* owned */
	unsigned count;
};

/* Returns 0, -ENOMEM, or -EINVAL with *why (static: what is wrong; what is allowed). */
int tls_pattern_parse(struct tls_pattern *to, const char *text, const char **why) MUST_CHECK;
void tls_pattern_fini(struct tls_pattern *p);

/* Whether a text matches. Takes time in proportion to the product of the lengths, whatever they hold. */
bool tls_pattern_matches_text(const struct tls_pattern *p, const void *text, size_t n);

/* Reads a list. False: reported. */
bool tls_identities_read(struct tls_reader *r, const char *option, const struct option_list *allow,
			 struct tls_identities *to);
void tls_identities_fini(struct tls_identities *list);

/* Whether one of them matches a certificate. */
bool tls_identities_match(const struct tls_identities *list, const X509 *certificate);

#endif

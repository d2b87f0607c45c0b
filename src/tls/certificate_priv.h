/* SPDX-License-Identifier: MIT */
/* A certificate of our own: with its chain and its private key.
 *
 * Thread: main reads it; what it holds never changes afterwards. */
#ifndef TLS_CERTIFICATE_PRIV_H
#define TLS_CERTIFICATE_PRIV_H

#include <openssl/ssl.h>
#include <time.h>

#include "tls/file_priv.h"

/* A TLS context has a place for one certificate of each. */
enum tls_key_kind {
	TLS_KEY_RSA,
	TLS_KEY_RSA_PSS,
	TLS_KEY_ECDSA,
	TLS_KEY_ED25519,
	TLS_KEY_ED448,
	TLS_KEY_KINDS,
};

struct tls_certificate {
	X509 *leaf;		/* ref */
	STACK_OF(X509) * chain; /* owned */
	EVP_PKEY *key;		/* ref */
	enum tls_key_kind kind;
	char **names; /* owned, and what they point to; normalised, each once */
	unsigned name_count;
	char *names_text; /* owned */
	char *file;	  /* owned */
	char key_text[32];
	char serial[64];
	time_t not_before;
	time_t not_after;
};

/* Reads what two options name, or one file for both (`key` NULL). NULL: reported. */
struct tls_certificate *tls_certificate_read(struct tls_reader *r, const struct tls_spot *certificate,
					     const struct tls_spot *key);

/* Returns NULL; accepts NULL and what is half-built. */
struct tls_certificate *tls_certificate_destroy(struct tls_certificate *c);

/* Puts it into a context. Returns 0 or -EINVAL, with OpenSSL's error queue as it is. */
int tls_certificate_use(const struct tls_certificate *c, SSL_CTX *context) MUST_CHECK;

/* The time of a certificate's field; the end of time when OpenSSL cannot read it. */
time_t tls_asn1_time(const ASN1_TIME *t);

/* A password callback that has none and never asks: `asked` is a bool. */
int tls_no_password(char *to, int size, int is_writing, void *asked);

/* The first error of the queue in words ("ee key too small"); the queue is emptied. Borrowed from OpenSSL. */
const char *tls_take_error(void);

#endif

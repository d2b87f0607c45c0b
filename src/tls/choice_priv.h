/* SPDX-License-Identifier: MIT */
/* What may be agreed on: lists of ciphers, groups and protocols, checked name by name. Thread: main. */
#ifndef TLS_CHOICE_PRIV_H
#define TLS_CHOICE_PRIV_H

#include <openssl/ssl.h>

#include "config/option.h"
#include "config/tls_config.h"
#include "tls/file_priv.h"

/* Checks a listener's ciphers, ciphersuites and groups. False: reported. */
bool tls_choice_check(struct tls_reader *r, const struct tls_config *l);

/* Sets a context up with what was checked. Returns 0 or -ENOMEM. */
int tls_choice_apply(const struct tls_config *l, SSL_CTX *context) MUST_CHECK;

/* The oldest version (enum tls_version) that is agreed to. Returns 0 or -ENOMEM. */
int tls_choice_set_version(SSL_CTX *context, int version) MUST_CHECK;

/* ALPN's protocols as they go over the wire; owned by the caller. *n is 0 for an empty list. */
bool tls_choice_alpn(struct tls_reader *r, const struct option_list *alpn, unsigned char **to, unsigned *n);

#endif

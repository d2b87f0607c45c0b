/* SPDX-License-Identifier: MIT */
/* What may be agreed on: lists of ciphers, groups and protocols, checked name by name. Thread: main. */
#ifndef TLS_CHOICE_PRIV_H
#define TLS_CHOICE_PRIV_H

#include <openssl/ssl.h>

#include "config/option.h"
#include "config/tls_config.h"
#include "tls/file_priv.h"

/* Each sets a context up; false: reported. */
bool tls_choice_ciphers(struct tls_reader *r, const struct tls_config *l, SSL_CTX *context);
bool tls_choice_version(struct tls_reader *r, int version, SSL_CTX *context);

/* ALPN's protocols as they go over the wire; owned by the caller. *n is 0 for an empty list. */
bool tls_choice_alpn(struct tls_reader *r, const struct option_list *alpn, unsigned char **to, unsigned *n);

#endif

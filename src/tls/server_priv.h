/* SPDX-License-Identifier: MIT */
/* The contexts that clients are accepted with, and which one a name gets.
 *
 * Certificates of different key kinds for the same name stand in one context, and the handshake takes what the client
 * can verify. */
#ifndef TLS_SERVER_PRIV_H
#define TLS_SERVER_PRIV_H

#include "config/config.h"
#include "tls/set_priv.h"

/* Makes them from `l`'s options and the certificates in `core`, whose `policy` and `allow` it fills in. NULL: reported.
 * Thread: main. */
struct tls_server *tls_server_create(struct tls_reader *r, const struct tls_config *l, struct tls_core *core);
struct tls_server *tls_server_destroy(struct tls_server *server);

/* Borrowed. Thread: any. */
SSL_CTX *tls_server_default(const struct tls_server *server);

/* The context for the name that a client asks for. Borrowed. Thread: any. */
SSL_CTX *tls_server_choose(const struct tls_server *server, const char *name);

/* Which certificates it has, by their kind; NULL where it has none. */
const struct tls_certificate *tls_server_certificate(const struct tls_server *server, const char *name,
						     enum tls_key_kind kind);

#endif

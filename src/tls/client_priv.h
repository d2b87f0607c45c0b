/* SPDX-License-Identifier: MIT */
/* The context that upstreams are connected with. */
#ifndef TLS_CLIENT_PRIV_H
#define TLS_CLIENT_PRIV_H

#include "config/endpoint.h"
#include "tls/set_priv.h"

/* `own` is the certificate to show, or NULL. NULL: reported. Thread: main. */
struct tls_client *tls_client_create(struct tls_reader *r, const struct tls_upstream_config *config,
				     const struct tls_certificate *own);
struct tls_client *tls_client_destroy(struct tls_client *client);

/* A new SSL that offers and verifies what the configuration says. Returns 0, -ENOMEM or -EINVAL. Thread: any. */
int tls_client_open(const struct tls_client *client, const struct endpoint *upstream, const char *alpn,
		    SSL **to) MUST_CHECK;

/* No certificate is looked at. */
bool tls_client_is_insecure(const struct tls_client *client);

#endif

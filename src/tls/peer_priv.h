/* SPDX-License-Identifier: MIT */
/* What a certificate says, as text that is safe to log. Thread: any. */
#ifndef TLS_PEER_PRIV_H
#define TLS_PEER_PRIV_H

#include <openssl/x509.h>

#include "base/text.h"

/* "CN=backup,O=Example", escaped. */
void tls_peer_add_name(struct text *t, const X509_NAME *name);

/* Hexadecimal, as openssl x509 -serial prints it. */
void tls_peer_add_serial(struct text *t, const X509 *certificate);

/* The SHA-256 of the certificate, hexadecimal. */
void tls_peer_add_fingerprint(struct text *t, const X509 *certificate);

/* The names that it is for: "a.example, 10.0.0.1", a few of them; the common name when it has none. Escaped. */
void tls_peer_add_hosts(struct text *t, const X509 *certificate);

#endif

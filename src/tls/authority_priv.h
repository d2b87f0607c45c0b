/* SPDX-License-Identifier: MIT */
/* Who we believe: CAs and what they have revoked.
 *
 * Every certificate of a CA file is believed as it stands: a root, an intermediate one alone, or a peer's own
 * self-signed one. With a CRL the peer's certificate must be covered by one; the CAs above it are checked where there
 * is a CRL of theirs.
 *
 * Thread: main. */
#ifndef TLS_AUTHORITY_PRIV_H
#define TLS_AUTHORITY_PRIV_H

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>

#include "config/option.h"
#include "tls/file_priv.h"

/* Reads the CA and CRL files of two lists. `option` names the group that they are in: "client." or "". `subjects` gets
 * the CAs' names, `policy` the files' digests; both may be NULL. Returns the store (owned by the caller); NULL:
 * reported. */
X509_STORE *tls_authority_read(struct tls_reader *r, const char *option, const struct option_list *ca,
			       const struct option_list *crl, STACK_OF(X509_NAME) * subjects, EVP_MD_CTX *policy);

/* The same from what the system believes, for an empty `ca`; `place` is where that would stand. */
X509_STORE *tls_authority_read_system(struct tls_reader *r, struct config_place place, const struct option_list *crl);

#endif

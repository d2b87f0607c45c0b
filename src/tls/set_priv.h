/* SPDX-License-Identifier: MIT */
/* What is behind a tls_set. All of it is made by main and never changed again. */
#ifndef TLS_SET_PRIV_H
#define TLS_SET_PRIV_H

#include <stdatomic.h>

#include "tls/certificate_priv.h"
#include "tls/file_priv.h"
#include "tls/identity_priv.h"
#include "tls/set.h"
#include "tls/tickets_priv.h"

struct tls_server;
struct tls_client;

/* What was loaded: shared by all sets that differ in their ticket keys alone. */
struct tls_core {
	atomic_uint references;
	char *listener;		   /* owned: its name */
	struct tls_server *server; /* owned; NULL: clients speak plain */
	struct tls_client *client; /* owned; NULL: upstreams do */
	struct tls_files files;
	struct tls_certificate **certificates; /* owned, and what they point to: the listener's, in its order */
	unsigned certificate_count;
	struct tls_certificate *upstream_certificate; /* owned; may be NULL */
	struct tls_identities allow;
	uint8_t policy[TLS_DIGEST_BYTES]; /* for clients: verify mode, CAs, CRLs, allow */
	int64_t crls_expire; /* the first of the CRLs for clients, in seconds since 1970; 0: there is none */
	bool has_tickets;
	EVP_CIPHER *ticket_cipher; /* ref; fetched once */
};

struct tls_set {
	atomic_uint references;
	struct tls_core *core; /* ref */
	struct tls_ticket_keys keys;
};

#endif

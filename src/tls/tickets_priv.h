/* SPDX-License-Identifier: MIT */
/* What tickets are encrypted with. A key is derived from a generation's secret, the listener's name and its policy for
 * clients: a ticket of another listener, or one from before somebody was revoked, is not a ticket at all. */
#ifndef TLS_TICKETS_PRIV_H
#define TLS_TICKETS_PRIV_H

#include <openssl/ssl.h>
#include <stdint.h>

#include "tls/file_priv.h"
#include "tls/tickets.h"

#define TLS_TICKET_GENERATIONS 3

struct tls_ticket_key {
	uint8_t name[16]; /* stands in the ticket */
	uint8_t cipher[32];
	uint8_t mac[32];
};

/* The newest first. */
struct tls_ticket_keys {
	struct tls_ticket_key at[TLS_TICKET_GENERATIONS];
	unsigned count;
};

/* Returns 0 or -ENOMEM. Thread: main. */
int tls_tickets_derive(const struct tls_tickets *t, const char *listener, const uint8_t policy[TLS_DIGEST_BYTES],
		       struct tls_ticket_keys *to) MUST_CHECK;

void tls_ticket_keys_wipe(struct tls_ticket_keys *keys);

/* Makes a context give out tickets: one a handshake, good for `lifetime_s`. Thread: main. */
int tls_tickets_setup(SSL_CTX *context, long lifetime_s) MUST_CHECK;

/* Whether a ticket with this note (what was put into it beyond OpenSSL's own) is good for a client that asks for `sni`
 * (NULL: for no name) at `now`, in seconds since 1970. Then *peer_expires is when the client's chain does; 0: there is
 * none. Thread: any. */
bool tls_ticket_fits(const void *note, size_t n, const char *sni, int64_t now, int64_t *peer_expires) MUST_CHECK;

#endif

/* SPDX-License-Identifier: MIT */
/* How long a client's first message says it is, seen before OpenSSL sees it: OpenSSL sets memory of that size aside, up to
 * 128 KiB, on the word of a client that has sent nine bytes. */
#ifndef TRANSPORT_CLIENT_HELLO_H
#define TRANSPORT_CLIENT_HELLO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* More than any known client sends: those with post-quantum key shares send 2 KiB. */
#define CLIENT_HELLO_MAX_BYTES (16U * 1024U)

/* All zero: nothing was seen. */
struct client_hello {
	uint16_t record_left; /* of the record's content */
	uint8_t header_seen;  /* bytes of the record's header, 0 to 5 */
	uint8_t message_seen; /* bytes of the message's header, 0 to 4 */
	uint32_t length;      /* of the message, as far as seen */
	bool over;	      /* nothing is looked at any more */
};

/* Looks at the next `n` bytes of the stream. Returns false when the message that they begin is too long. What is no TLS
 * at all is none of its business. */
bool client_hello_accepts(struct client_hello *h, const uint8_t *from, size_t n);

/* Whether the first bytes that ever come, `n` of them, are no TLS, and too few for OpenSSL to say so: it waits for a whole
 * record's header. To be asked before client_hello_accepts. */
bool client_hello_is_plain(const struct client_hello *h, const uint8_t *from, size_t n);

static inline void client_hello_accept_all(struct client_hello *h)
{
	h->over = true;
}

#endif

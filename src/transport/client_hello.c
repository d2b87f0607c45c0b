/* SPDX-License-Identifier: MIT */
#include "transport/client_hello.h"

#define RECORD_HEADER_BYTES 5
#define MESSAGE_HEADER_BYTES 4
#define RECORD_FIRST 20 /* the kinds of records */
#define RECORD_HANDSHAKE 22
#define RECORD_LAST 24
#define SSL2_LENGTH 0x80 /* in the first byte of SSL 2's records, which OpenSSL knows */

static void take_record_header(struct client_hello *h, uint8_t byte)
{
	if (h->header_seen == 0 && byte != RECORD_HANDSHAKE)
		h->over = true;
	else if (h->header_seen >= 3)
		h->record_left = (uint16_t)(h->record_left << 8 | byte);
	h->header_seen++;
}

static void take_message_header(struct client_hello *h, uint8_t byte)
{
	if (h->message_seen > 0)
		h->length = h->length << 8 | byte;
	h->message_seen++;
	h->record_left--;
	if (h->message_seen == MESSAGE_HEADER_BYTES)
		h->over = true;
}

bool client_hello_accepts(struct client_hello *h, const uint8_t *from, size_t n)
{
	for (size_t i = 0; i < n && !h->over; i++) {
		if (h->header_seen == RECORD_HEADER_BYTES && h->record_left == 0)
			h->header_seen = 0;
		if (h->header_seen < RECORD_HEADER_BYTES)
			take_record_header(h, from[i]);
		else
			take_message_header(h, from[i]);
	}
	return h->length <= CLIENT_HELLO_MAX_BYTES;
}

bool client_hello_is_plain(const struct client_hello *h, const uint8_t *from, size_t n)
{
	if (h->over || h->header_seen > 0 || n == 0 || n >= RECORD_HEADER_BYTES)
		return false;
	bool is_record = from[0] >= RECORD_FIRST && from[0] <= RECORD_LAST;
	return !is_record && !(from[0] & SSL2_LENGTH);
}

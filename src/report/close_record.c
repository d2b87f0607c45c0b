/* SPDX-License-Identifier: MIT */
#include "report/close_record.h"

#include <inttypes.h>

#include "base/text.h"
#include "report/log.h"

static void add_fields(struct log_record *r, const struct close_facts *f)
{
	log_field(r, "USHER_CONNECTION", "%" PRIu64, f->connection);
	log_field(r, "USHER_LISTENER", "%s", f->listener);
	log_field(r, "USHER_SERVICE", "%s", f->service);
	log_field(r, "USHER_PEER", "%s", f->peer);
	log_field(r, "USHER_LOCAL", "%s", f->local);
	if (f->upstream != NULL)
		log_field(r, "USHER_UPSTREAM", "%s", f->upstream);
	log_field(r, "USHER_REASON", "%s", f->reason);
	log_field(r, "USHER_ERROR", "%d", f->is_error ? 1 : 0);
	log_field(r, "USHER_DURATION_MS", "%" PRIu64, f->duration_ms);
	log_field(r, "USHER_BYTES_IN", "%" PRIu64, f->bytes_in);
	log_field(r, "USHER_BYTES_OUT", "%" PRIu64, f->bytes_out);
	if (f->client_tcp.known) {
		log_field(r, "USHER_RTT_US", "%" PRIu32, f->client_tcp.rtt_us);
		log_field(r, "USHER_RETRANSMITS", "%" PRIu32, f->client_tcp.retransmits);
	}
	if (f->upstream_tcp.known) {
		log_field(r, "USHER_UPSTREAM_RTT_US", "%" PRIu32, f->upstream_tcp.rtt_us);
		log_field(r, "USHER_UPSTREAM_RETRANSMITS", "%" PRIu32, f->upstream_tcp.retransmits);
	}
}

void close_record_write(const struct close_facts *f)
{
	struct log_record r;
	log_begin(&r, LOG_LEVEL_INFO, LOG_CLOSED);
	if (!r.wanted)
		return;
	add_fields(&r, f);

	char memory[LOG_MESSAGE_BYTES];
	struct text t;
	text_init(&t, memory, sizeof(memory));
	text_add(&t, f->listener);
	text_add(&t, ": ");
	text_add(&t, f->peer);
	text_add(&t, " closed after ");
	text_add_duration_ms(&t, f->duration_ms);
	text_add(&t, ", ");
	text_add_size(&t, f->bytes_in);
	text_add(&t, " in, ");
	text_add_size(&t, f->bytes_out);
	text_add(&t, " out");
	if (f->upstream != NULL) {
		text_add(&t, ", to ");
		text_add(&t, f->upstream);
	}
	text_add(&t, ": ");
	text_add(&t, f->reason_text);
	text_add(&t, " (");
	text_add(&t, f->reason);
	text_add(&t, ")");
	log_submit(&r, "%s", t.at);
}

/* SPDX-License-Identifier: MIT */
#include "report/close_record.h"

#include <inttypes.h>

#include "base/text.h"
#include "report/log.h"

static bool has_text(const char *s)
{
	return s && s[0];
}

static void add_text_field(struct log_record *r, const char *key, const char *value)
{
	if (has_text(value))
		log_field(r, key, "%s", value);
}

static void add_tls_fields(struct log_record *r, const struct close_facts *f)
{
	const struct close_tls *c = &f->client_tls;
	const struct close_tls *u = &f->upstream_tls;
	add_text_field(r, "USHER_TLS_VERSION", c->version);
	add_text_field(r, "USHER_TLS_CIPHER", c->cipher);
	add_text_field(r, "USHER_TLS_SNI", c->sni);
	add_text_field(r, "USHER_TLS_ALPN", c->alpn);
	add_text_field(r, "USHER_TLS_CLIENT", c->subject);
	add_text_field(r, "USHER_TLS_ERROR", c->error);
	if (c->version)
		log_field(r, "USHER_TLS_RESUMED", "%d", c->resumed ? 1 : 0);
	add_text_field(r, "USHER_UPSTREAM_TLS_VERSION", u->version);
	add_text_field(r, "USHER_UPSTREAM_TLS_CIPHER", u->cipher);
	add_text_field(r, "USHER_UPSTREAM_TLS_SNI", u->sni);
	add_text_field(r, "USHER_UPSTREAM_TLS_ALPN", u->alpn);
	add_text_field(r, "USHER_UPSTREAM_TLS_SERVER", u->subject);
	if (u->version)
		log_field(r, "USHER_UPSTREAM_TLS_RESUMED", "%d", u->resumed ? 1 : 0);
	add_text_field(r, "USHER_UPSTREAM_TLS_ERROR", u->error);
}

static void add_fields(struct log_record *r, const struct close_facts *f)
{
	log_field(r, "USHER_CONNECTION", "%" PRIu64, f->connection);
	log_field(r, "USHER_LISTENER", "%s", f->listener);
	log_field(r, "USHER_SERVICE", "%s", f->service);
	log_field(r, "USHER_PEER", "%s", f->peer);
	add_text_field(r, "USHER_PEER_ADDRESS", f->peer_address);
	log_field(r, "USHER_SOURCE", "%s", f->source);
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
	add_tls_fields(r, f);
}

/* What a reader of the line wants to know first: the rest is in the fields. */
static void add_tls(struct text *t, const struct close_tls *tls)
{
	if (tls->version)
		text_printf(t, ", %s", tls->version);
	if (has_text(tls->subject))
		text_printf(t, ", client %s", tls->subject);
	if (has_text(tls->error))
		text_printf(t, ", TLS error: %s", tls->error);
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
	add_tls(&t, &f->client_tls);
	if (f->upstream != NULL) {
		text_add(&t, ", to ");
		text_add(&t, f->upstream);
	}
	if (has_text(f->upstream_tls.error))
		text_printf(&t, ", TLS error: %s", f->upstream_tls.error);
	text_add(&t, ": ");
	text_add(&t, f->reason_text);
	text_add(&t, " (");
	text_add(&t, f->reason);
	text_add(&t, ")");
	log_submit(&r, "%s", t.at);
}

/* SPDX-License-Identifier: MIT */
/* The one record that every connection ends in. */
#ifndef REPORT_CLOSE_RECORD_H
#define REPORT_CLOSE_RECORD_H

#include <stdbool.h>
#include <stdint.h>

/* What is known of one side's TCP connection at its end. */
struct close_tcp {
	bool known;
	uint32_t rtt_us;
	uint32_t retransmits; /* segments */
};

/* What one side's TLS was agreed on. */
struct close_tls {
	const char *version; /* "TLSv1.3"; NULL: none, or not as far as that */
	const char *cipher;
	const char *sni; /* NULL or "": none, as the next ones */
	const char *alpn;
	const char *subject; /* of the peer's verified certificate */
	const char *error;   /* why it failed */
	bool resumed;
};

/* The facts. All text is borrowed for the call; what came from a peer is escaped already. */
struct close_facts {
	uint64_t connection; /* its number, unique since the start */
	const char *listener;
	const char *service;
	const char *peer;	  /* "10.0.0.1:4711"; "unix pid 4711 uid 1000" */
	const char *peer_address; /* "10.0.0.1", "2001:db8::1"; NULL or empty: none */
	const char *source;	  /* what counts as one: "10.0.0.1", "2001:db8::/64"; "unix uid 1000" */
	const char *local;	  /* the listening address it came in at */
	const char *upstream;	  /* NULL: none */
	uint64_t duration_ms;
	uint64_t bytes_in;	 /* from the client */
	uint64_t bytes_out;	 /* to the client */
	const char *reason;	 /* the name: "client_closed" */
	const char *reason_text; /* "the client ended the connection" */
	bool is_error;
	struct close_tcp client_tcp;
	struct close_tcp upstream_tcp;
	struct close_tls client_tls;
	struct close_tls upstream_tls;
};

/* Logs it at level info. Fields: USHER_CONNECTION, USHER_LISTENER, USHER_SERVICE, USHER_PEER, USHER_PEER_ADDRESS, USHER_SOURCE,
 * USHER_LOCAL, USHER_UPSTREAM, USHER_REASON, USHER_ERROR (0, 1), USHER_DURATION_MS, USHER_BYTES_IN, USHER_BYTES_OUT, USHER_RTT_US,
 * USHER_RETRANSMITS, USHER_UPSTREAM_RTT_US, USHER_UPSTREAM_RETRANSMITS; where there is TLS, USHER_TLS_VERSION,
 * USHER_TLS_CIPHER, USHER_TLS_SNI, USHER_TLS_ALPN, USHER_TLS_RESUMED (0, 1), USHER_TLS_CLIENT, USHER_TLS_ERROR, and
 * USHER_UPSTREAM_TLS_VERSION, _CIPHER, _SNI, _ALPN, _RESUMED, _SERVER, _ERROR. Thread: any. */
void close_record_write(const struct close_facts *facts);

#endif

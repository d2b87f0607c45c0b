/* SPDX-License-Identifier: MIT */
/* A handshake in memory, and a set from a few words. */
#ifndef TESTS_UNIT_TLS_PAIR_H
#define TESTS_UNIT_TLS_PAIR_H

#include <check.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>

#include "ca.h"
#include "tls/session.h"
#include "tls/set.h"

/* A list of the configuration; its strings are borrowed. */
static inline struct option_list list_of(const char *a, const char *b)
{
	static struct {
		const char *at[2];
		struct config_place places[2];
	} room[64];
	static unsigned used;

	if (!a)
		return (struct option_list){0};
	ck_assert_uint_lt(used, 64);
	unsigned i = used++;
	room[i].at[0] = a;
	room[i].at[1] = b;
	room[i].places[0] = (struct config_place){.file = "u.conf", .line = 11};
	room[i].places[1] = (struct config_place){.file = "u.conf", .line = 12};
	return (struct option_list){.at = room[i].at, .places = room[i].places, .count = b ? 2 : 1};
}

/* Mozilla's intermediate list, as in the defaults. */
#define CIPHERS                                                                                                        \
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"                     \
	"ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"                       \
	"DHE-RSA-AES128-GCM-SHA256"
#define SUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

static inline struct listener_config listener_of(const char *certificate, const char *second)
{
	return (struct listener_config){
		.name = "web",
		.place = {.file = "u.conf", .line = 3},
		.tls = {.enabled = true,
			.place = {.file = "u.conf", .line = 10},
			.certificate = list_of(certificate, second),
			.minimum_version = TLS_VERSION_1_2,
			.ciphers = CIPHERS,
			.ciphersuites = SUITES,
			.groups = "X25519:P-256:P-384",
			.ticket_rotation_ms = 3600 * 1000},
	};
}

/* Loads what must load. */
static inline struct tls_set *set_of(const struct listener_config *l, const struct tls_tickets *tickets)
{
	struct tls_set *set = NULL;
	struct config_errors *errors = config_errors_create();
	int failed = tls_set_load(l, "proxy", NULL, tickets, errors, &set);

	if (failed)
		config_errors_print(errors, stderr);
	ck_assert_int_eq(failed, 0);
	config_errors_destroy(errors);
	return set;
}

/* Two ends with memory between them. */
static inline void ends_join(SSL *a, SSL *b)
{
	BIO *x = NULL;
	BIO *y = NULL;

	ck_assert_int_eq(BIO_new_bio_pair(&x, 1 << 17, &y, 1 << 17), 1);
	SSL_set_bio(a, x, x);
	SSL_set_bio(b, y, y);
}

/* One end's turn: 1 done, 0 waits, -1 failed. */
static inline int end_step(SSL *ssl)
{
	char byte;

	ERR_clear_error();
	int got = SSL_is_init_finished(ssl) ? SSL_read(ssl, &byte, 1) : SSL_do_handshake(ssl);
	if (got == 1)
		return 1;
	int error = SSL_get_error(ssl, got);
	return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? SSL_is_init_finished(ssl) : -1;
}

/* Shakes hands: `own` is the end of a session of ours, whose failure is noted; `other` is not. True: both are done,
 * and have read what came after. */
static inline bool ends_shake(struct tls_session *own, SSL *other)
{
	SSL *ssl = tls_session_ssl(own);
	int a = 0;
	int b = 0;

	for (int turn = 0; turn < 12; turn++) {
		b = b < 0 ? b : end_step(other);
		ERR_clear_error();
		if (a >= 0 && (a = end_step(ssl)) < 0)
			tls_session_note_failure(own);
		if (a < 0 && b < 0)
			break;
	}
	ERR_clear_error();
	return a == 1 && b == 1;
}

/* What a client of the test does. */
struct visitor {
	int version; /* TLS1_2_VERSION or TLS1_3_VERSION; 0: any */
	const char *sni;
	const struct made *own;
	const struct made *above; /* sent with it */
	SSL_SESSION *session;	  /* to resume */
	const char *ciphers;
	const char *signatures;
	const char *groups;
	const char *alpn; /* as it goes over the wire */
	bool verifies;	  /* and trusts nobody */
};

static inline int visitor_keep(SSL *ssl, SSL_SESSION *session)
{
	SSL_SESSION **to = SSL_get_app_data(ssl);

	SSL_SESSION_free(*to);
	*to = session;
	return 1;
}

/* Visits a set. Returns the session of our end (the caller destroys it); *kept gets the client's session, if asked. */
static inline struct tls_session *visit(struct tls_set *set, struct visitor v, bool *good, SSL_SESSION **kept)
{
	struct tls_session *s = NULL;
	SSL_SESSION *got = NULL;
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(context, visitor_keep);
	if (v.version) {
		SSL_CTX_set_min_proto_version(context, v.version);
		SSL_CTX_set_max_proto_version(context, v.version);
	}
	SSL *ssl = SSL_new(context);
	SSL_set_app_data(ssl, &got);
	if (v.sni)
		SSL_set_tlsext_host_name(ssl, v.sni);
	if (v.own) {
		SSL_use_certificate(ssl, v.own->certificate);
		SSL_use_PrivateKey(ssl, v.own->key);
	}
	if (v.above)
		ck_assert_int_eq(SSL_add1_chain_cert(ssl, v.above->certificate), 1);
	if (v.session) {
		SSL_SESSION *copy =
			SSL_SESSION_dup(v.session); /* a client marks what a new ticket replaces as used up */
		ck_assert_int_eq(SSL_set_session(ssl, copy), 1);
		SSL_SESSION_free(copy);
	}
	if (v.ciphers)
		ck_assert_int_eq(SSL_set_cipher_list(ssl, v.ciphers), 1);
	if (v.signatures)
		ck_assert_int_eq(SSL_set1_sigalgs_list(ssl, v.signatures), 1);
	if (v.groups)
		ck_assert_int_eq(SSL_set1_groups_list(ssl, v.groups), 1);
	if (v.alpn)
		SSL_set_alpn_protos(ssl, (const unsigned char *)v.alpn, (unsigned)strlen(v.alpn));
	if (v.verifies)
		SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
	SSL_set_connect_state(ssl);

	ck_assert_int_eq(tls_session_accept(&s, set), 0);
	ends_join(ssl, tls_session_ssl(s));
	bool done = ends_shake(s, ssl);
	if (good)
		*good = done;
	if (done && !got && v.version == TLS1_2_VERSION && SSL_SESSION_has_ticket(SSL_get0_session(ssl)))
		got = SSL_get1_session(ssl); /* a resumed one is not announced there */
	if (kept)
		*kept = got;
	else
		SSL_SESSION_free(got);
	SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); /* or its session would not resume */
	SSL_free(ssl);
	SSL_CTX_free(context);
	return s;
}

#endif

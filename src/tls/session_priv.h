/* SPDX-License-Identifier: MIT */
/* What OpenSSL's callbacks know of a session: it is the SSL's app data. Thread: the connection's worker. */
#ifndef TLS_SESSION_PRIV_H
#define TLS_SESSION_PRIV_H

#include <openssl/ssl.h>

#include "tls/session.h"

/* Why it failed; there once it has. */
struct tls_failed {
	char text[256];
	char subject[512]; /* "": no certificate was refused */
	char issuer[512];
	char serial[48];
	char fingerprint[72];
};

/* One a connection and side, for as long as that is open: small. */
struct tls_session {
	SSL *ssl;		   /* owned; NULL: released */
	struct tls_set *set;	   /* ref */
	char *sni;		   /* owned; what the client asked for, normalised or escaped; NULL: nothing */
	char *alpn;		   /* owned; escaped; NULL: nobody has asked yet */
	struct tls_failed *failed; /* owned; NULL: it has not, or there was no memory to say why */
	int64_t peer_expires;	   /* when the client's chain does, seconds since 1970; 0: there is none */
	uint8_t failure;	   /* enum tls_failure */
	bool is_client;
	bool is_trimmed; /* what the handshake left behind is gone */
};

/* Notes a failure and its text, if it is the first. Returns what to add details to, or NULL. */
struct tls_failed *tls_session_fail(struct tls_session *s, enum tls_failure failure, const char *text);

/* Notes what name a client asks for: n bytes of its choice. Returns 0 or -ENOMEM. */
int tls_session_note_sni(struct tls_session *s, const void *bytes, size_t n) MUST_CHECK;

/* Maps OpenSSL's error queue, which it empties. `to` gets the words. (failure.c) */
enum tls_failure tls_failure_take(const SSL *ssl, struct text *to);

/* OpenSSL's SSL_CTX_set_cert_verify_callback of both sides. (verify.c) */
#define TLS_CHAIN_DEPTH_MAX 10 /* CAs between a peer and an anchor */
int tls_verify_peer(X509_STORE_CTX *chain, void *arg);

#endif

/* SPDX-License-Identifier: MIT */
/* One side's TLS of one connection: what it was agreed on, who the peer is, why it failed. Bytes go through
 * transport/tls.c, which alone touches the SSL.
 *
 * Thread: the worker of the connection. */
#ifndef TLS_SESSION_H
#define TLS_SESSION_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/text.h"
#include "config/endpoint.h"
#include "tls/set.h"

struct ssl_st; /* OpenSSL's SSL */

struct tls_session;

/* A session that waits for a client's first bytes. Takes its own reference to `set`. Returns 0 or -ENOMEM. */
int tls_session_accept(struct tls_session **to, struct tls_set *set) MUST_CHECK;

/* A session that will greet `upstream` and verify it as the set says. `alpn`: the protocol that the client's connection
 * has agreed on and that alone is offered; NULL or empty: what is configured. Returns 0, -ENOMEM or -EINVAL. */
int tls_session_connect(struct tls_session **to, struct tls_set *set, const struct endpoint *upstream,
			const char *alpn) MUST_CHECK;

/* Frees it without a word to the peer. Returns NULL; accepts NULL. */
struct tls_session *tls_session_destroy(struct tls_session *s);

/* Borrowed. */
struct ssl_st *tls_session_ssl(struct tls_session *s);

/* Frees what OpenSSL holds of a handshake that has failed, which is much: only why it failed stays. */
void tls_session_release(struct tls_session *s);

/* Gives memory back that is of no use while nothing flows: record buffers, the CAs that the peer has sent. To be called
 * when a read would wait. Harmless at any time, and cheap when there is nothing to give. */
void tls_session_rest(struct tls_session *s);

/* Why a handshake, or what came after it, failed. */
enum tls_failure {
	TLS_FAILURE_NONE,
	TLS_FAILURE_PROTOCOL,	    /* the peer broke the protocol, or sent garbage */
	TLS_FAILURE_PLAIN,	    /* its first bytes are not TLS: a plain text protocol's */
	TLS_FAILURE_VERSION,	    /* no version in common */
	TLS_FAILURE_NOTHING_SHARED, /* no cipher, group, signature or ALPN protocol in common */
	TLS_FAILURE_ALERT,	    /* the peer ended it with an alert: for one, it does not trust our certificate */
	TLS_FAILURE_NO_CERTIFICATE, /* it gave none, and one is required */
	TLS_FAILURE_UNTRUSTED,	    /* its certificate did not verify */
	TLS_FAILURE_REFUSED,	    /* its certificate is good, and not on the list of those who may come in */
	TLS_FAILURE_TRUNCATED,	    /* the transport ended without close_notify */
	TLS_FAILURE_MEMORY,
};

/* After an SSL call failed with SSL_ERROR_SSL (OpenSSL's error queue of this thread holds why; it is emptied): notes why
 * and returns it. The first call's answer stays. */
enum tls_failure tls_session_note_failure(struct tls_session *s);

/* Notes a failure that OpenSSL knows nothing of. The first stays. */
void tls_session_note(struct tls_session *s, enum tls_failure failure, const char *text);

enum tls_failure tls_session_failure(const struct tls_session *s);

/* The failure in words: "no shared cipher", "certificate has expired", "alert: unknown ca". Borrowed from the session;
 * "" without one. */
const char *tls_session_failure_text(const struct tls_session *s);

/* What was agreed on, for the close record. Text is borrowed from the session and made readable (peers' bytes are
 * escaped); "" or NULL where there is none. */
struct tls_facts {
	const char *version; /* "TLSv1.3" */
	const char *cipher;  /* "TLS_AES_128_GCM_SHA256" */
	const char *sni;
	const char *alpn;
	bool resumed;
};

/* False while nothing is agreed on. */
bool tls_session_facts(struct tls_session *s, struct tls_facts *to);

/* Adds the subject of the peer's verified certificate, "CN=backup,O=Example", escaped. Adds nothing without one. */
void tls_session_add_subject(struct tls_session *s, struct text *to);

/* The peer's certificate that was refused (TLS_FAILURE_UNTRUSTED, _REFUSED): all escaped. False without one. */
struct tls_refused {
	const char *subject;
	const char *issuer;
	const char *serial;	 /* hexadecimal */
	const char *fingerprint; /* SHA-256 of the certificate, hexadecimal */
};
bool tls_session_refused(const struct tls_session *s, struct tls_refused *to);

#endif

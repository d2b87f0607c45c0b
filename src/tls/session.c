/* SPDX-License-Identifier: MIT */
#include "tls/session.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#include "tls/client_priv.h"
#include "tls/dormant.h"
#include "tls/names_priv.h"
#include "tls/peer_priv.h"
#include "tls/server_priv.h"
#include "tls/session_priv.h"
#include "tls/set_priv.h"

static const char no_words[] = "no memory to say why";

static struct tls_session *session_create(struct tls_set *set, bool is_client)
{
	struct tls_session *s = calloc(1, sizeof(*s));
	if (s) {
		s->set = tls_set_ref(set);
		s->is_client = is_client;
	}
	return s;
}

int tls_session_accept(struct tls_session **to, struct tls_set *set)
{
	struct tls_session *s = session_create(set, false);
	if (s)
		s->ssl = dormant_ssl_new(tls_server_default(set->core->server));
	if (!s || !s->ssl || SSL_set_app_data(s->ssl, s) != 1) {
		ERR_clear_error();
		tls_session_destroy(s);
		return -ENOMEM;
	}
	SSL_set_accept_state(s->ssl);
	*to = s;
	return 0;
}

int tls_session_connect(struct tls_session **to, struct tls_set *set, const struct endpoint *upstream, const char *alpn)
{
	struct tls_session *s = session_create(set, true);
	int failed = s ? tls_client_open(set->core->client, upstream, alpn, &s->ssl) : -ENOMEM;
	if (!failed && SSL_set_app_data(s->ssl, s) != 1)
		failed = -ENOMEM;
	if (failed) {
		ERR_clear_error();
		tls_session_destroy(s);
		return failed;
	}
	*to = s;
	return 0;
}

struct tls_session *tls_session_destroy(struct tls_session *s)
{
	if (!s)
		return NULL;
	SSL_free(s->ssl);
	tls_set_unref(s->set);
	free(s->sni);
	free(s->alpn);
	free(s->failed);
	free(s);
	return NULL;
}

void tls_session_release(struct tls_session *s)
{
	SSL_free(s->ssl);
	s->ssl = NULL;
	s->set = tls_set_unref(s->set);
}

struct ssl_st *tls_session_ssl(struct tls_session *s)
{
	return s->ssl;
}

static void drop_all(STACK_OF(X509) * chain)
{
	while (sk_X509_num(chain) > 0)
		X509_free(sk_X509_pop(chain));
}

void tls_session_rest(struct tls_session *s)
{
	/* a record that was read in part lies in the buffer */
	if (!SSL_is_init_finished(s->ssl) || SSL_has_pending(s->ssl))
		return;
	/* OpenSSL gives its buffers back after a record by itself, but not the one for writing that it takes for a
	 * NewSessionTicket or a KeyUpdate that comes in */
	SSL_free_buffers(s->ssl);
	if (s->is_trimmed)
		return;
	/* some 5 KiB a certificate; the peer's own stays with the session */
	s->is_trimmed = true;
	drop_all(SSL_get_peer_cert_chain(s->ssl));
	drop_all(SSL_get0_verified_chain(s->ssl));
}

struct tls_failed *tls_session_fail(struct tls_session *s, enum tls_failure failure, const char *text)
{
	if (s->failure != TLS_FAILURE_NONE)
		return NULL;
	s->failure = (uint8_t)failure;
	s->failed = calloc(1, sizeof(*s->failed));
	if (s->failed) {
		struct text t;
		text_init(&t, s->failed->text, sizeof(s->failed->text));
		text_add(&t, text);
	}
	return s->failed;
}

void tls_session_note(struct tls_session *s, enum tls_failure failure, const char *text)
{
	(void)tls_session_fail(s, failure, text);
}

enum tls_failure tls_session_note_failure(struct tls_session *s)
{
	char words[sizeof(s->failed->text)];
	struct text t;
	text_init(&t, words, sizeof(words));
	enum tls_failure failure = tls_failure_take(s->ssl, &t);
	tls_session_fail(s, failure, words);
	return tls_session_failure(s);
}

enum tls_failure tls_session_failure(const struct tls_session *s)
{
	return (enum tls_failure)s->failure;
}

const char *tls_session_failure_text(const struct tls_session *s)
{
	if (s->failure == TLS_FAILURE_NONE)
		return "";
	return s->failed ? s->failed->text : no_words;
}

int tls_session_note_sni(struct tls_session *s, const void *bytes, size_t n)
{
	char name[TLS_NAME_BYTES];
	char escaped[512];
	const char *kept = NULL;
	if (n > 0 && tls_name_normalise(name, bytes, n, false)) {
		kept = name;
	} else if (n > 0) {
		struct text t;
		text_init(&t, escaped, sizeof(escaped));
		text_add_escaped(&t, bytes, n);
		kept = escaped;
	}
	free(s->sni);
	s->sni = kept ? strdup(kept) : NULL;
	return kept && !s->sni ? -ENOMEM : 0;
}

/* What was agreed on by ALPN, kept by the session once somebody has asked for it. */
static const char *find_alpn(struct tls_session *s)
{
	const unsigned char *at = NULL;
	unsigned n = 0;
	if (s->alpn)
		return s->alpn;
	SSL_get0_alpn_selected(s->ssl, &at, &n);
	if (n == 0)
		return "";
	char escaped[256 * 4 + 1];
	struct text t;
	text_init(&t, escaped, sizeof(escaped));
	text_add_escaped(&t, at, n);
	s->alpn = strdup(escaped);
	return s->alpn ? s->alpn : "";
}

bool tls_session_facts(struct tls_session *s, struct tls_facts *to)
{
	const SSL_CIPHER *cipher = s->ssl ? SSL_get_current_cipher(s->ssl) : NULL;
	if (!cipher)
		return false;
	const char *sni = s->is_client ? SSL_get_servername(s->ssl, TLSEXT_NAMETYPE_host_name) : s->sni;
	*to = (struct tls_facts){
		.version = SSL_get_version(s->ssl),
		.cipher = SSL_CIPHER_get_name(cipher),
		.sni = sni ? sni : "",
		.alpn = find_alpn(s),
		.resumed = SSL_session_reused(s->ssl) == 1,
	};
	return true;
}

void tls_session_add_subject(struct tls_session *s, struct text *to)
{
	if (!s->ssl)
		return;
	const X509 *peer = SSL_get0_peer_certificate(s->ssl);
	bool is_verified = (SSL_get_verify_mode(s->ssl) & SSL_VERIFY_PEER) && SSL_is_init_finished(s->ssl) &&
			   SSL_get_verify_result(s->ssl) == X509_V_OK;
	if (peer && is_verified)
		tls_peer_add_name(to, X509_get_subject_name(peer));
}

bool tls_session_refused(const struct tls_session *s, struct tls_refused *to)
{
	if (!s->failed || !s->failed->fingerprint[0])
		return false;
	*to = (struct tls_refused){
		.subject = s->failed->subject,
		.issuer = s->failed->issuer,
		.serial = s->failed->serial,
		.fingerprint = s->failed->fingerprint,
	};
	return true;
}

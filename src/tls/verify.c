/* SPDX-License-Identifier: MIT */
/* Whether a peer is who it must be. */
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "base/text.h"
#include "tls/client_priv.h"
#include "tls/peer_priv.h"
#include "tls/session_priv.h"
#include "tls/set_priv.h"

/* What a refused certificate says of itself. */
static void note_certificate(struct tls_failed *to, const X509 *certificate)
{
	struct text t;
	text_init(&t, to->subject, sizeof(to->subject));
	tls_peer_add_name(&t, X509_get_subject_name(certificate));
	text_init(&t, to->issuer, sizeof(to->issuer));
	tls_peer_add_name(&t, X509_get_issuer_name(certificate));
	text_init(&t, to->serial, sizeof(to->serial));
	tls_peer_add_serial(&t, certificate);
	text_init(&t, to->fingerprint, sizeof(to->fingerprint));
	tls_peer_add_fingerprint(&t, certificate);
}

/* Why a chain did not verify, and which certificate of it. */
static void add_reason(struct text *t, X509_STORE_CTX *chain, SSL *ssl)
{
	int error = X509_STORE_CTX_get_error(chain);
	X509 *leaf = X509_STORE_CTX_get0_cert(chain);
	X509 *culprit = X509_STORE_CTX_get_current_cert(chain);
	if (error == X509_V_ERR_HOSTNAME_MISMATCH || error == X509_V_ERR_IP_ADDRESS_MISMATCH) {
		X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
		const char *host = X509_VERIFY_PARAM_get0_host(param, 0);
		char *address = host ? NULL : X509_VERIFY_PARAM_get1_ip_asc(param);
		text_printf(t, "%s: the certificate is for ", host ? "hostname mismatch" : "IP address mismatch");
		tls_peer_add_hosts(t, leaf);
		text_printf(t, ", not for %s", host ? host : address ? address : "this upstream");
		OPENSSL_free(address);
		return;
	}
	text_add(t, X509_verify_cert_error_string(error));
	text_add(t, " (");
	tls_peer_add_name(t, X509_get_subject_name(culprit ? culprit : leaf));
	text_add(t, ")");
}

static void fail(struct tls_session *s, enum tls_failure failure, X509_STORE_CTX *chain)
{
	char words[sizeof(s->failed->text)];
	struct text t;
	text_init(&t, words, sizeof(words));
	if (failure == TLS_FAILURE_REFUSED)
		text_add(&t, "the certificate is good, and matches nothing in tls.client.allow");
	else
		add_reason(&t, chain, s->ssl);
	struct tls_failed *failed = tls_session_fail(s, failure, words);
	if (failed)
		note_certificate(failed, X509_STORE_CTX_get0_cert(chain));
}

/* Whether an error is about finding and reading a CRL, not about what is in it. That a CA's key is unreadable is not
 * among them: it may be that a certificate's signature could not be checked. */
static bool is_about_crl(int error)
{
	switch (error) {
	case X509_V_ERR_UNABLE_TO_GET_CRL:
	case X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER:
	case X509_V_ERR_CRL_SIGNATURE_FAILURE:
	case X509_V_ERR_CRL_NOT_YET_VALID:
	case X509_V_ERR_CRL_HAS_EXPIRED:
	case X509_V_ERR_KEYUSAGE_NO_CRL_SIGN:
	case X509_V_ERR_DIFFERENT_CRL_SCOPE:
	case X509_V_ERR_CRL_PATH_VALIDATION_ERROR:
		return true;
	default:
		return false;
	}
}

/* With CRLs the peer's own certificate must be covered by one. The CAs between it and the one that we believe are
 * checked where there is a CRL of theirs. That last one is believed as it stands: its issuer may not even be known. */
static int on_each(int is_good, X509_STORE_CTX *chain)
{
	int error = X509_STORE_CTX_get_error(chain);
	int depth = X509_STORE_CTX_get_error_depth(chain);
	if (is_good || depth == 0)
		return is_good;
	bool is_anchor = depth == sk_X509_num(X509_STORE_CTX_get0_chain(chain)) - 1;
	if (error == X509_V_ERR_UNABLE_TO_GET_CRL || (is_anchor && is_about_crl(error))) {
		X509_STORE_CTX_set_error(chain, X509_V_OK);
		return 1;
	}
	return 0;
}

/* The earliest end in a chain that was verified. */
static int64_t chain_end(X509_STORE_CTX *chain)
{
	const STACK_OF(X509) *all = X509_STORE_CTX_get0_chain(chain);
	int64_t end = INT64_MAX;
	for (int i = 0; i < sk_X509_num(all); i++) {
		int64_t one = tls_asn1_time(X509_get0_notAfter(sk_X509_value(all, i)));
		if (one < end)
			end = one;
	}
	return end;
}

int tls_verify_peer(X509_STORE_CTX *chain, void *arg)
{
	(void)arg;
	SSL *ssl = X509_STORE_CTX_get_ex_data(chain, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_session *s = SSL_get_app_data(ssl);
	const struct tls_core *core = s->set->core;
	if (s->is_client && tls_client_is_insecure(core->client))
		return 1;

	X509_STORE_CTX_set_verify_cb(chain, on_each);
	if (X509_verify_cert(chain) != 1) {
		if (X509_STORE_CTX_get_error(chain) == X509_V_OK)
			X509_STORE_CTX_set_error(chain, X509_V_ERR_UNSPECIFIED);
		fail(s, TLS_FAILURE_UNTRUSTED, chain);
		return 0;
	}
	if (!s->is_client && core->allow.count > 0 &&
	    !tls_identities_match(&core->allow, X509_STORE_CTX_get0_cert(chain))) {
		X509_STORE_CTX_set_error(chain, X509_V_ERR_APPLICATION_VERIFICATION);
		fail(s, TLS_FAILURE_REFUSED, chain);
		return 0;
	}
	s->peer_expires = chain_end(chain);
	return 1;
}

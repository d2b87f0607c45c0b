/* SPDX-License-Identifier: MIT */
/* What OpenSSL's errors mean for an administrator. */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string.h>

#include "base/attr.h"
#include "base/text.h"
#include "tls/session_priv.h"

static const struct {
	int reason; /* of ERR_LIB_SSL */
	enum tls_failure failure;
	const char *text; /* NULL: OpenSSL's */
} reasons[] = {
	{SSL_R_HTTP_REQUEST, TLS_FAILURE_PLAIN, "a plain HTTP request"},
	{SSL_R_HTTPS_PROXY_REQUEST, TLS_FAILURE_PLAIN, "a plain HTTP CONNECT request"},
	{SSL_R_UNSUPPORTED_PROTOCOL, TLS_FAILURE_VERSION, NULL},
	{SSL_R_UNSUPPORTED_SSL_VERSION, TLS_FAILURE_VERSION, NULL},
	{SSL_R_VERSION_TOO_LOW, TLS_FAILURE_VERSION, NULL},
	{SSL_R_VERSION_TOO_HIGH, TLS_FAILURE_VERSION, NULL},
	{SSL_R_NO_PROTOCOLS_AVAILABLE, TLS_FAILURE_VERSION, NULL},
	{SSL_R_NO_SHARED_CIPHER, TLS_FAILURE_NOTHING_SHARED, NULL},
	{SSL_R_NO_CIPHERS_AVAILABLE, TLS_FAILURE_NOTHING_SHARED, NULL},
	{SSL_R_NO_CIPHERS_SPECIFIED, TLS_FAILURE_NOTHING_SHARED, NULL},
	{SSL_R_NO_SHARED_GROUPS, TLS_FAILURE_NOTHING_SHARED, NULL},
	{SSL_R_NO_SUITABLE_KEY_SHARE, TLS_FAILURE_NOTHING_SHARED, "no shared group"},
	{SSL_R_NO_SUITABLE_GROUPS, TLS_FAILURE_NOTHING_SHARED, "no shared group"},
	{SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, TLS_FAILURE_NOTHING_SHARED, NULL},
	{SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS, TLS_FAILURE_NOTHING_SHARED, NULL},
	{SSL_R_NO_SUITABLE_DIGEST_ALGORITHM, TLS_FAILURE_NOTHING_SHARED, NULL},
	{SSL_R_NO_APPLICATION_PROTOCOL, TLS_FAILURE_NOTHING_SHARED, "no shared application protocol (ALPN)"},
	{SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, TLS_FAILURE_NO_CERTIFICATE, NULL},
	{SSL_R_CERTIFICATE_VERIFY_FAILED, TLS_FAILURE_UNTRUSTED, NULL},
	{SSL_R_UNEXPECTED_EOF_WHILE_READING, TLS_FAILURE_TRUNCATED, "the connection ended without close_notify"},
};

/* Whether the peer has not sent a handshake message yet. */
static bool is_at_start(const SSL *ssl)
{
	OSSL_HANDSHAKE_STATE state = SSL_get_state(ssl);
	return state == TLS_ST_BEFORE || state == TLS_ST_CW_CLNT_HELLO;
}

/* "tlsv1 alert unknown ca" -> "alert: unknown ca". */
static void add_alert(struct text *to, const char *reason)
{
	const char *alert = reason ? strstr(reason, "alert ") : NULL;
	text_printf(to, "alert: %s", alert ? alert + strlen("alert ") : reason ? reason : "unknown");
}

/* What one error means; TLS_FAILURE_NONE: nothing that is known. */
static enum tls_failure read_error(const SSL *ssl, unsigned long error, struct text *to)
{
	int reason = ERR_GET_REASON(error);
	if (reason == ERR_R_MALLOC_FAILURE) {
		text_add(to, "no memory");
		return TLS_FAILURE_MEMORY;
	}
	if (ERR_GET_LIB(error) != ERR_LIB_SSL)
		return TLS_FAILURE_NONE;
	if (reason >= SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256) {
		add_alert(to, ERR_reason_error_string(error));
		return TLS_FAILURE_ALERT;
	}
	if (reason == SSL_R_WRONG_VERSION_NUMBER && is_at_start(ssl)) {
		text_add(to, "the first bytes are not TLS");
		return TLS_FAILURE_PLAIN;
	}
	for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
		if (reasons[i].reason != reason)
			continue;
		const char *text = reasons[i].text ? reasons[i].text : ERR_reason_error_string(error);
		text_add(to, text ? text : "");
		return reasons[i].failure;
	}
	return TLS_FAILURE_NONE;
}

enum tls_failure tls_failure_take(const SSL *ssl, struct text *to)
{
	enum tls_failure found = TLS_FAILURE_NONE;
	unsigned long first = ERR_peek_error();
	unsigned long error = 0;
	while (found == TLS_FAILURE_NONE && (error = ERR_get_error()) != 0)
		found = read_error(ssl, error, to);
	if (found == TLS_FAILURE_NONE) {
		const char *text = first ? ERR_reason_error_string(first) : NULL;
		text_add(to, text ? text : "a failure without a reason");
		found = TLS_FAILURE_PROTOCOL;
	}
	ERR_clear_error();
	return found;
}

/* SPDX-License-Identifier: MIT */
#include "tls/tickets.h"

#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tls/session_priv.h"
#include "tls/set_priv.h"
#include "tls/tickets_priv.h"

#define SECRET_BYTES 32

struct tls_tickets {
	uint8_t secret[TLS_TICKET_GENERATIONS][SECRET_BYTES]; /* the newest first */
	unsigned count;
};

struct tls_tickets *tls_tickets_create(void)
{
	struct tls_tickets *t = calloc(1, sizeof(*t));
	if (t && tls_tickets_rotate(t) != 0)
		t = tls_tickets_destroy(t);
	return t;
}

int tls_tickets_rotate(struct tls_tickets *t)
{
	uint8_t fresh[SECRET_BYTES];
	if (RAND_priv_bytes(fresh, sizeof(fresh)) != 1)
		return -EIO;
	for (unsigned i = TLS_TICKET_GENERATIONS - 1; i > 0; i--)
		memcpy(t->secret[i], t->secret[i - 1], SECRET_BYTES);
	memcpy(t->secret[0], fresh, SECRET_BYTES);
	OPENSSL_cleanse(fresh, sizeof(fresh));
	if (t->count < TLS_TICKET_GENERATIONS)
		t->count++;
	return 0;
}

struct tls_tickets *tls_tickets_destroy(struct tls_tickets *t)
{
	if (t) {
		OPENSSL_cleanse(t, sizeof(*t));
		free(t);
	}
	return NULL;
}

void tls_ticket_keys_wipe(struct tls_ticket_keys *keys)
{
	OPENSSL_cleanse(keys, sizeof(*keys));
}

int tls_tickets_derive(const struct tls_tickets *t, const char *listener, const uint8_t policy[TLS_DIGEST_BYTES],
		       struct tls_ticket_keys *to)
{
	static const char purpose[] = "usher session ticket";
	struct tls_ticket_keys keys = {0};
	EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
	EVP_KDF_CTX *context = kdf ? EVP_KDF_CTX_new(kdf) : NULL;
	bool good = context != NULL;
	for (unsigned i = 0; good && i < t->count; i++) {
		/* the policy has a fixed length and stands before the name, so that no two pairs look the same */
		char digest[] = "SHA256";
		OSSL_PARAM params[] = {
			OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0),
			/* cast: OSSL_PARAM has no const; nothing is written */
			OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)(uintptr_t)t->secret[i],
							  SECRET_BYTES),
			OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, (void *)(uintptr_t)policy,
							  TLS_DIGEST_BYTES),
			OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)(uintptr_t)purpose,
							  sizeof(purpose)),
			OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, (void *)(uintptr_t)listener,
							  strlen(listener)),
			OSSL_PARAM_construct_end(),
		};
		good = EVP_KDF_derive(context, (unsigned char *)&keys.at[i], sizeof(keys.at[i]), params) == 1;
	}
	EVP_KDF_CTX_free(context);
	EVP_KDF_free(kdf);
	if (good) {
		keys.count = t->count;
		*to = keys;
	}
	tls_ticket_keys_wipe(&keys);
	return good ? 0 : -ENOMEM;
}

static bool set_mac_key(EVP_MAC_CTX *mac, struct tls_ticket_key *key)
{
	char digest[] = "SHA256";
	OSSL_PARAM params[] = {
		OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof(key->mac)),
		OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
		OSSL_PARAM_construct_end(),
	};
	return EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* OpenSSL's ticket key callback. Returns 1, 2 (good, but a newer one is due), 0 (not one of ours), -1. */
static int on_ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
			 int is_new)
{
	struct tls_session *s = SSL_get_app_data(ssl);
	struct tls_ticket_keys *keys = &s->set->keys;
	const EVP_CIPHER *kind = s->set->core->ticket_cipher;
	if (is_new) {
		if (keys->count == 0 || RAND_bytes(iv, EVP_CIPHER_get_iv_length(kind)) != 1)
			return -1;
		memcpy(name, keys->at[0].name, sizeof(keys->at[0].name));
		return EVP_EncryptInit_ex(cipher, kind, NULL, keys->at[0].cipher, iv) == 1 &&
				       set_mac_key(mac, &keys->at[0])
			       ? 1
			       : -1;
	}
	for (unsigned i = 0; i < keys->count; i++) {
		struct tls_ticket_key *key = &keys->at[i];
		if (memcmp(name, key->name, sizeof(key->name)) != 0)
			continue;
		if (EVP_DecryptInit_ex(cipher, kind, NULL, key->cipher, iv) != 1 || !set_mac_key(mac, key))
			return -1;
		/* TLS 1.3's clients use a ticket once, so that nobody can tell that two connections are of one */
		return i == 0 && SSL_version(ssl) != TLS1_3_VERSION ? 1 : 2;
	}
	return 0;
}

/* What a ticket says beyond OpenSSL's: when the client's chain expires, and the name that it was made for. */
struct ticket_note {
	int64_t peer_expires;
	char sni[256];
};
#define NOTE_HEAD offsetof(struct ticket_note, sni)

static int on_ticket_made(SSL *ssl, void *arg)
{
	(void)arg;
	struct tls_session *s = SSL_get_app_data(ssl);
	struct ticket_note note;
	size_t n = s->sni ? strlen(s->sni) : 0;
	if (n > sizeof(note.sni))
		n = sizeof(note.sni);
	note.peer_expires = s->peer_expires;
	if (n > 0)
		memcpy(note.sni, s->sni, n);
	return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), &note, NOTE_HEAD + n);
}

bool tls_ticket_fits(const void *data, size_t n, const char *sni, int64_t now, int64_t *peer_expires)
{
	struct ticket_note note;
	if (n < NOTE_HEAD || n > sizeof(note))
		return false;
	memcpy(&note, data, n);
	size_t length = sni ? strlen(sni) : 0;
	if (length > sizeof(note.sni))
		length = sizeof(note.sni);
	if (n - NOTE_HEAD != length || (length > 0 && memcmp(note.sni, sni, length) != 0))
		return false;
	if (note.peer_expires != 0 && note.peer_expires < now)
		return false;
	*peer_expires = note.peer_expires;
	return true;
}

/* Whether a ticket that decrypts may be used for this connection. */
static bool is_usable(struct tls_session *s, SSL_SESSION *session)
{
	void *data = NULL;
	size_t n = 0;
	int64_t now = time(NULL);
	int64_t crls_expire = s->set->core->crls_expire;
	/* without a CRL in force a full handshake refuses everybody, and a ticket is no way around that */
	if (crls_expire != 0 && crls_expire < now)
		return false;
	return SSL_SESSION_get0_ticket_appdata(session, &data, &n) == 1 && data &&
	       tls_ticket_fits(data, n, s->sni, now, &s->peer_expires);
}

static SSL_TICKET_RETURN on_ticket_read(SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t n,
					SSL_TICKET_STATUS status, void *arg)
{
	(void)name;
	(void)n;
	(void)arg;
	struct tls_session *s = SSL_get_app_data(ssl);
	if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	if (!is_usable(s, session))
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

int tls_tickets_setup(SSL_CTX *context, long lifetime_s)
{
	SSL_CTX_set_timeout(context, lifetime_s);
	if (SSL_CTX_set_num_tickets(context, 1) != 1 ||
	    SSL_CTX_set_tlsext_ticket_key_evp_cb(context, on_ticket_key) != 1 ||
	    SSL_CTX_set_session_ticket_cb(context, on_ticket_made, on_ticket_read, NULL) != 1)
		return -ENOMEM;
	return 0;
}

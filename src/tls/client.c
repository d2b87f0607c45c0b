/* SPDX-License-Identifier: MIT */
#include "tls/client_priv.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "tls/authority_priv.h"
#include "tls/choice_priv.h"
#include "tls/dormant.h"
#include "tls/session_priv.h"

struct tls_client {
	SSL_CTX *context;    /* ref */
	char *name;	     /* owned: to verify; NULL: the upstream's */
	char *sni;	     /* owned; NULL: `name`, or the upstream's; "": none */
	unsigned char *alpn; /* owned; as ALPN sends it */
	unsigned alpn_bytes;
	bool is_insecure;
};

static bool is_address(const char *name)
{
	unsigned char bytes[sizeof(struct in6_addr)];
	return inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1;
}

static int setup(struct tls_reader *r, struct tls_client *client, const struct tls_upstream_config *config,
		 const struct tls_certificate *own)
{
	SSL_CTX *context = client->context;
	SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET);
	SSL_CTX_clear_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_LEGACY_SERVER_CONNECT);
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	if (tls_choice_set_version(context, config->minimum_version) != 0 ||
	    (own && tls_certificate_use(own, context) != 0))
		return -ENOMEM;
	if (config->insecure_skip_verify) {
		SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
		SSL_CTX_set_cert_verify_callback(context, tls_verify_peer, NULL); /* looks at nothing then */
		return 0;
	}
	X509_STORE *store = config->ca.count > 0 ? tls_authority_read(r, "", &config->ca, &config->crl, NULL, NULL)
						 : tls_authority_read_system(r, config->place, &config->crl);
	if (!store)
		return -EINVAL;
	SSL_CTX_set_cert_store(context, store);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_verify_depth(context, TLS_CHAIN_DEPTH_MAX);
	SSL_CTX_set_cert_verify_callback(context, tls_verify_peer, NULL);
	return 0;
}

/* A configured name as it is verified and sent: without the dot at its end. NULL for NULL, and without memory. */
static char *copy_name(const char *name)
{
	size_t n = name ? strlen(name) : 0;
	return name ? strndup(name, n > 1 && name[n - 1] == '.' ? n - 1 : n) : NULL;
}

struct tls_client *tls_client_create(struct tls_reader *r, const struct tls_upstream_config *config,
				     const struct tls_certificate *own)
{
	struct tls_client *client = calloc(1, sizeof(*client));
	int failed = -ENOMEM;
	if (!client)
		goto fail;
	client->is_insecure = config->insecure_skip_verify;
	client->context = SSL_CTX_new(TLS_client_method());
	client->name = copy_name(config->name);
	client->sni = copy_name(config->sni);
	if (!client->context || (config->name && !client->name) || (config->sni && !client->sni))
		goto fail;
	failed = setup(r, client, config, own);
	if (client->name && !client->name[0]) {
		struct tls_spot name = {.option = "name", .place = config->place};
		tls_report(r, &name, "the name is empty: leave it out to verify the upstream's own");
		failed = -EINVAL;
	}
	if (!tls_choice_alpn(r, &config->alpn, &client->alpn, &client->alpn_bytes))
		failed = -EINVAL;
	if (!failed)
		return client;

fail:
	if (!r->failed)
		r->no_memory = true;
	ERR_clear_error();
	return tls_client_destroy(client);
}

struct tls_client *tls_client_destroy(struct tls_client *client)
{
	if (!client)
		return NULL;
	SSL_CTX_free(client->context);
	free(client->name);
	free(client->sni);
	free(client->alpn);
	free(client);
	return NULL;
}

bool tls_client_is_insecure(const struct tls_client *client)
{
	return client->is_insecure;
}

/* The name of an upstream, without the dot at its end; "": it has none (a UNIX socket). */
static void upstream_name(char to[ENDPOINT_NAME_BYTES], const struct endpoint *upstream)
{
	to[0] = '\0';
	if (upstream->kind == ENDPOINT_NAME) {
		size_t n = strnlen(upstream->name, ENDPOINT_NAME_BYTES - 1);
		memcpy(to, upstream->name, n);
		to[n] = '\0';
		if (n > 1 && to[n - 1] == '.')
			to[n - 1] = '\0';
		return;
	}
	const struct netaddr *address = &upstream->address;
	if (upstream->kind == ENDPOINT_ADDRESS && address->u.any.sa_family == AF_INET)
		inet_ntop(AF_INET, &address->u.in4.sin_addr, to, ENDPOINT_NAME_BYTES);
	else if (upstream->kind == ENDPOINT_ADDRESS && address->u.any.sa_family == AF_INET6)
		inet_ntop(AF_INET6, &address->u.in6.sin6_addr, to, ENDPOINT_NAME_BYTES);
}

/* No common names, no "f*.example": what a certificate is for is in its subjectAltName. */
static int expect_name(SSL *ssl, const char *name)
{
	if (!name[0])
		return -EINVAL;
	X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
	X509_VERIFY_PARAM_set_hostflags(param,
					X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	int good = is_address(name) ? X509_VERIFY_PARAM_set1_ip_asc(param, name)
				    : X509_VERIFY_PARAM_set1_host(param, name, 0);
	return good == 1 ? 0 : -ENOMEM;
}

static int offer_alpn(const struct tls_client *client, SSL *ssl, const char *alpn)
{
	unsigned char one[256];
	const unsigned char *list = client->alpn;
	unsigned bytes = client->alpn_bytes;
	if (alpn && alpn[0]) {
		size_t n = strlen(alpn);
		if (n > 255)
			return -EINVAL;
		one[0] = (unsigned char)n;
		memcpy(one + 1, alpn, n); // NOLINT(bugprone-not-null-terminated-result): its length stands before it
		list = one;
		bytes = (unsigned)n + 1;
	}
	return bytes == 0 || SSL_set_alpn_protos(ssl, list, bytes) == 0 ? 0 : -ENOMEM; /* 0 is success here */
}

int tls_client_open(const struct tls_client *client, const struct endpoint *upstream, const char *alpn, SSL **to)
{
	char own_name[ENDPOINT_NAME_BYTES];
	upstream_name(own_name, upstream);
	const char *name = client->name ? client->name : own_name;
	const char *sni = client->sni ? client->sni : name;
	SSL *ssl = dormant_ssl_new(client->context);
	if (!ssl)
		return -ENOMEM;
	SSL_set_connect_state(ssl);
	int failed = client->is_insecure ? 0 : expect_name(ssl, name);
	if (!failed && sni[0] && !is_address(sni) && SSL_set_tlsext_host_name(ssl, sni) != 1)
		failed = -ENOMEM;
	if (!failed)
		failed = offer_alpn(client, ssl, alpn);
	if (failed) {
		ERR_clear_error();
		SSL_free(ssl);
		return failed;
	}
	*to = ssl;
	return 0;
}

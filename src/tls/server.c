/* SPDX-License-Identifier: MIT */
#include "tls/server_priv.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#include "tls/authority_priv.h"
#include "tls/choice_priv.h"
#include "tls/names_priv.h"
#include "tls/session_priv.h"

/* RFC 8446 allows no more. */
#define TICKET_LIFETIME_MAX_S (7L * 24 * 3600)

/* A client may be told whose certificates we take, unless the list is longer than this: some stumble over it then. */
#define CA_NAMES_BYTES_MAX 16384

/* The certificates of one context: at most one of a kind. */
struct group {
	const struct tls_certificate *at[TLS_KEY_KINDS]; /* borrowed from the core */
};

struct tls_server {
	struct group *groups; /* owned */
	SSL_CTX **contexts;   /* owned, and what they point to: one a group, the default first */
	unsigned count;
	struct tls_name *names; /* owned: name -> context; the names are the certificates' */
	unsigned name_count;
	unsigned char *alpn; /* owned; as ALPN sends it */
	unsigned alpn_bytes;
};

/* Every name of every certificate, sorted: name -> certificate. NULL: no memory. */
static struct tls_name *all_names(const struct tls_core *core, unsigned *count)
{
	size_t n = 0;
	for (unsigned i = 0; i < core->certificate_count; i++)
		n += core->certificates[i]->name_count;
	struct tls_name *names = calloc(n ? n : 1, sizeof(*names));
	*count = 0;
	for (unsigned i = 0; names && i < core->certificate_count; i++) {
		const struct tls_certificate *c = core->certificates[i];
		for (unsigned k = 0; k < c->name_count; k++)
			names[(*count)++] = (struct tls_name){.name = c->names[k], .number = i};
	}
	if (names)
		tls_names_sort(names, *count);
	return names;
}

/* Adds the certificates of one name, the first of each kind, where there is none of that kind yet. */
static void add_to_group(struct group *g, const struct tls_core *core, const struct tls_name *names, unsigned count,
			 const char *name)
{
	const struct tls_name *found = tls_names_find(names, count, name);
	for (; found && found < names + count && strcmp(found->name, name) == 0; found++) {
		const struct tls_certificate *c = core->certificates[found->number];
		if (!g->at[c->kind])
			g->at[c->kind] = c;
	}
}

/* Those that serve a name: exact ones before wildcards. */
static struct group group_of(const struct tls_core *core, const struct tls_name *names, unsigned count,
			     const char *name)
{
	struct group g = {0};
	char wildcard[TLS_NAME_BYTES];
	add_to_group(&g, core, names, count, name);
	if (tls_name_wildcard(wildcard, name))
		add_to_group(&g, core, names, count, wildcard);
	return g;
}

/* The first certificate's, with those of other kinds that share a name with it. */
static struct group default_group(const struct tls_core *core, const struct tls_name *names, unsigned count)
{
	const struct tls_certificate *first = core->certificates[0];
	struct group g = {0};
	g.at[first->kind] = first;
	for (unsigned i = 0; i < first->name_count; i++) {
		struct group one = group_of(core, names, count, first->names[i]);
		for (unsigned k = 0; k < TLS_KEY_KINDS; k++) {
			if (!g.at[k])
				g.at[k] = one.at[k];
		}
	}
	return g;
}

/* The number of a group, which is new or known. There is room. */
static unsigned note_group(struct tls_server *server, const struct group *g)
{
	for (unsigned i = 0; i < server->count; i++) {
		if (memcmp(&server->groups[i], g, sizeof(*g)) == 0)
			return i;
	}
	server->groups[server->count] = *g;
	return server->count++;
}

/* Which groups there are, and which name gets which. Returns 0 or -ENOMEM. */
static int make_groups(struct tls_server *server, const struct tls_core *core)
{
	unsigned count = 0;
	struct tls_name *names = all_names(core, &count);
	server->groups = names ? calloc((size_t)count + 1, sizeof(*server->groups)) : NULL;
	server->names = server->groups ? calloc((size_t)count + 1, sizeof(*server->names)) : NULL;
	if (!server->names) {
		free(names);
		return -ENOMEM;
	}
	struct group g = default_group(core, names, count);
	note_group(server, &g);
	for (unsigned i = 0; i < count; i++) {
		if (i > 0 && strcmp(names[i].name, names[i - 1].name) == 0)
			continue;
		g = group_of(core, names, count, names[i].name);
		server->names[server->name_count++] =
			(struct tls_name){.name = names[i].name, .number = note_group(server, &g)};
	}
	free(names);
	return 0;
}

/* Before anything else is done with a ClientHello, a ticket in it too. */
static int on_client_hello(SSL *ssl, int *alert, void *arg)
{
	const struct tls_server *server = arg;
	struct tls_session *s = SSL_get_app_data(ssl);
	const unsigned char *at = NULL;
	size_t n = 0;
	/* length of the list, then of one host name: type 0, length, name; what is odd OpenSSL refuses by itself */
	bool has_name = SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &at, &n) == 1 && n > 5 &&
			((size_t)at[0] << 8 | at[1]) == n - 2 && at[2] == TLSEXT_NAMETYPE_host_name &&
			((size_t)at[3] << 8 | at[4]) == n - 5;
	if (tls_session_note_sni(s, has_name ? at + 5 : NULL, has_name ? n - 5 : 0) != 0) {
		*alert = SSL_AD_INTERNAL_ERROR;
		return SSL_CLIENT_HELLO_ERROR;
	}
	SSL_CTX *chosen = s->sni ? tls_server_choose(server, s->sni) : tls_server_default(server);
	if (chosen != SSL_get_SSL_CTX(ssl) && SSL_set_SSL_CTX(ssl, chosen) != chosen) {
		*alert = SSL_AD_INTERNAL_ERROR;
		return SSL_CLIENT_HELLO_ERROR;
	}
	return SSL_CLIENT_HELLO_SUCCESS;
}

/* Our order counts. */
static int on_alpn(SSL *ssl, const unsigned char **to, unsigned char *n, const unsigned char *offered,
		   unsigned offered_bytes, void *arg)
{
	(void)ssl;
	const struct tls_server *server = arg;
	unsigned char *chosen = NULL;
	if (SSL_select_next_proto(&chosen, n, server->alpn, server->alpn_bytes, offered, offered_bytes) !=
	    OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*to = chosen;
	return SSL_TLSEXT_ERR_OK;
}

/* What is the same for all contexts, and needs nothing from files. */
static int setup_common(struct tls_server *server, const struct tls_config *l, const struct tls_core *core,
			SSL_CTX *context)
{
	uint64_t options = SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
			   SSL_OP_NO_SESSION_RESUMPTION_ON_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE |
			   SSL_OP_PRIORITIZE_CHACHA;
	SSL_CTX_set_options(context, options);
	SSL_CTX_clear_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_LEGACY_SERVER_CONNECT);
	SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_NO_AUTO_CHAIN);
	SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_dh_auto(context, 1);
	SSL_CTX_set_max_early_data(context, 0);
	SSL_CTX_set_recv_max_early_data(context, 0);
	SSL_CTX_set_client_hello_cb(context, on_client_hello, server);
	if (server->alpn_bytes > 0)
		SSL_CTX_set_alpn_select_cb(context, on_alpn, server);

	/* a session belongs to the policy that it was made under; its ticket's key does too */
	if (SSL_CTX_set_session_id_context(context, core->policy, sizeof(core->policy)) != 1)
		return -ENOMEM;
	if (core->has_tickets) {
		uint64_t lifetime_s = l->ticket_rotation_ms / 1000 * 2;
		return tls_tickets_setup(context, lifetime_s > TICKET_LIFETIME_MAX_S ? TICKET_LIFETIME_MAX_S
						  : lifetime_s < 1		     ? 1
										     : (long)lifetime_s);
	}
	SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
	return SSL_CTX_set_num_tickets(context, 0) == 1 ? 0 : -ENOMEM;
}

static bool is_short(STACK_OF(X509_NAME) * names)
{
	size_t bytes = 0;
	for (int i = 0; i < sk_X509_NAME_num(names); i++) {
		int n = i2d_X509_NAME(sk_X509_NAME_value(names, i), NULL);
		bytes += n > 0 ? (size_t)n + 2 : 0;
	}
	return bytes <= CA_NAMES_BYTES_MAX;
}

/* Who may come in: asked of every context alike. */
static int setup_client_policy(const struct tls_client_config *config, X509_STORE *store, STACK_OF(X509_NAME) * names,
			       SSL_CTX *context)
{
	int mode = SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE;
	if (config->verify == TLS_VERIFY_REQUIRED)
		mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
	SSL_CTX_set_verify(context, mode, NULL);
	SSL_CTX_set_verify_depth(context, TLS_CHAIN_DEPTH_MAX);
	SSL_CTX_set_cert_verify_callback(context, tls_verify_peer, NULL);
	SSL_CTX_set1_cert_store(context, store);
	if (is_short(names)) {
		STACK_OF(X509_NAME) *copy = SSL_dup_CA_list(names);
		if (!copy)
			return -ENOMEM;
		SSL_CTX_set_client_CA_list(context, copy);
	}
	return 0;
}

/* Digests what the policy is made of, but for the files, which authority.c adds. */
static void note_policy(EVP_MD_CTX *policy, const struct tls_client_config *config)
{
	unsigned char mode = config->enabled ? (unsigned char)(1 + config->verify) : 0;
	EVP_DigestUpdate(policy, &mode, 1);
	for (unsigned i = 0; config->enabled && i < config->allow.count; i++)
		EVP_DigestUpdate(policy, config->allow.at[i], strlen(config->allow.at[i]) + 1);
}

/* When the first of a store's CRLs is out of date; 0: it has none, or they never are. */
static int64_t first_crl_end(X509_STORE *store)
{
	int64_t first = 0;
	const STACK_OF(X509_OBJECT) *all = X509_STORE_get0_objects(store);
	for (int i = 0; i < sk_X509_OBJECT_num(all); i++) {
		const X509_CRL *crl = X509_OBJECT_get0_X509_CRL(sk_X509_OBJECT_value(all, i));
		const ASN1_TIME *at = crl ? X509_CRL_get0_nextUpdate(crl) : NULL;
		int64_t end = at ? tls_asn1_time(at) : 0;
		if (end != 0 && (first == 0 || end < first))
			first = end;
	}
	return first;
}

/* Reads the policy for clients to `core`, and the CAs to *store and *names. */
static int read_policy(struct tls_reader *r, const struct tls_config *l, struct tls_core *core, X509_STORE **store,
		       STACK_OF(X509_NAME) * *names)
{
	const struct tls_client_config *config = &l->client;
	EVP_MD_CTX *policy = EVP_MD_CTX_new();
	int failed = 0;
	if (!policy || EVP_DigestInit_ex(policy, EVP_sha256(), NULL) != 1) {
		r->no_memory = true;
		EVP_MD_CTX_free(policy);
		return -ENOMEM;
	}
	note_policy(policy, config);
	if (config->enabled) {
		struct tls_spot ca = {.option = "client.ca", .place = l->place};
		*names = sk_X509_NAME_new_null();
		if (config->ca.count == 0) {
			tls_report(r, &ca, "no CA is named that signs clients' certificates");
			failed = -EINVAL;
		} else if (*names) {
			*store = tls_authority_read(r, "client.", &config->ca, &config->crl, *names, policy);
		}
		bool good = tls_identities_read(r, "client.allow", &config->allow, &core->allow);
		if (!*store || !good)
			failed = -EINVAL;
		else
			core->crls_expire = first_crl_end(*store);
	}
	if (EVP_DigestFinal_ex(policy, core->policy, NULL) != 1) {
		r->no_memory = true;
		failed = -ENOMEM;
	}
	EVP_MD_CTX_free(policy);
	return failed;
}

static int make_context(struct tls_server *server, const struct tls_config *l, const struct tls_core *core,
			const struct group *g, X509_STORE *store, STACK_OF(X509_NAME) * names)
{
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	if (!context)
		return -ENOMEM;
	int failed = setup_common(server, l, core, context);
	if (!failed && l->client.enabled)
		failed = setup_client_policy(&l->client, store, names, context);
	for (unsigned k = 0; !failed && k < TLS_KEY_KINDS; k++) {
		if (g->at[k])
			failed = tls_certificate_use(g->at[k], context);
	}
	if (!failed)
		failed = tls_choice_apply(l, context);
	server->contexts[g - server->groups] = context;
	return failed;
}

struct tls_server *tls_server_create(struct tls_reader *r, const struct tls_config *l, struct tls_core *core)
{
	X509_STORE *store = NULL;
	STACK_OF(X509_NAME) *names = NULL;
	struct tls_server *server = calloc(1, sizeof(*server));
	int failed = server ? 0 : -ENOMEM;
	if (server && !tls_choice_alpn(r, &l->alpn, &server->alpn, &server->alpn_bytes))
		failed = -EINVAL;
	if (server && read_policy(r, l, core, &store, &names) != 0)
		failed = -EINVAL;
	if (server && !tls_choice_check(r, l))
		failed = -EINVAL;
	if (server && core->certificate_count == 0)
		failed = -EINVAL; /* which was reported */
	if (!failed)
		failed = make_groups(server, core);
	if (!failed && !(server->contexts = calloc(server->count, sizeof(SSL_CTX *))))
		failed = -ENOMEM;
	for (unsigned i = 0; !failed && i < server->count; i++)
		failed = make_context(server, l, core, &server->groups[i], store, names);
	X509_STORE_free(store);
	sk_X509_NAME_pop_free(names, X509_NAME_free);
	if (!failed)
		return server;
	if (!r->failed)
		r->no_memory = true;
	ERR_clear_error();
	return tls_server_destroy(server);
}

struct tls_server *tls_server_destroy(struct tls_server *server)
{
	if (!server)
		return NULL;
	for (unsigned i = 0; server->contexts && i < server->count; i++)
		SSL_CTX_free(server->contexts[i]);
	free(server->contexts);
	free(server->groups);
	free(server->names);
	free(server->alpn);
	free(server);
	return NULL;
}

SSL_CTX *tls_server_default(const struct tls_server *server)
{
	return server->contexts[0];
}

static unsigned choose(const struct tls_server *server, const char *name)
{
	const struct tls_name *found = tls_names_choose(server->names, server->name_count, name);
	return found ? found->number : 0;
}

SSL_CTX *tls_server_choose(const struct tls_server *server, const char *name)
{
	return server->contexts[choose(server, name)];
}

const struct tls_certificate *tls_server_certificate(const struct tls_server *server, const char *name,
						     enum tls_key_kind kind)
{
	return server->groups[choose(server, name)].at[kind];
}

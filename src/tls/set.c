/* SPDX-License-Identifier: MIT */
#include "tls/set.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "tls/client_priv.h"
#include "tls/names_priv.h"
#include "tls/server_priv.h"
#include "tls/set_priv.h"

static struct tls_core *core_unref(struct tls_core *core)
{
	if (!core || atomic_fetch_sub_explicit(&core->references, 1, memory_order_acq_rel) != 1)
		return NULL;
	tls_server_destroy(core->server);
	tls_client_destroy(core->client);
	for (unsigned i = 0; i < core->certificate_count; i++)
		tls_certificate_destroy(core->certificates[i]);
	free(core->certificates);
	tls_certificate_destroy(core->upstream_certificate);
	tls_identities_fini(&core->allow);
	tls_files_fini(&core->files);
	EVP_CIPHER_free(core->ticket_cipher);
	free(core->listener);
	free(core);
	return NULL;
}

static struct tls_core *core_create(const char *listener)
{
	struct tls_core *core = calloc(1, sizeof(*core));
	if (!core)
		return NULL;
	atomic_init(&core->references, 1);
	core->listener = strdup(listener);
	core->ticket_cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
	return core->listener && core->ticket_cipher ? core : core_unref(core);
}

static void read_certificates(struct tls_reader *r, const struct tls_config *l, struct tls_core *core)
{
	bool has_keys = l->key.count > 0;
	struct tls_spot certificate = {.option = "certificate", .place = l->place};
	struct tls_spot key = {.option = "key", .place = l->place};
	if (l->certificate.count == 0)
		tls_report(r, &certificate, "no certificate is named");
	if (has_keys && l->key.count != l->certificate.count) {
		key.place = l->key.places[0];
		tls_report(r, &key, "%u keys for %u certificates: name one for each, in the same order, or none at all",
			   l->key.count, l->certificate.count);
		return;
	}
	core->certificates = calloc((size_t)l->certificate.count + 1, sizeof(struct tls_certificate *));
	if (!core->certificates) {
		r->no_memory = true;
		return;
	}
	for (unsigned i = 0; i < l->certificate.count; i++) {
		certificate.value = l->certificate.at[i];
		certificate.place = l->certificate.places[i];
		if (has_keys) {
			key.value = l->key.at[i];
			key.place = l->key.places[i];
		}
		struct tls_certificate *c = tls_certificate_read(r, &certificate, has_keys ? &key : NULL);
		if (c)
			core->certificates[core->certificate_count++] = c;
	}
}

static void load_server(struct tls_reader *r, const struct listener_config *listener, bool has_tickets,
			struct tls_core *core)
{
	char prefix[256];
	snprintf(prefix, sizeof(prefix), "listeners.%s.tls", listener->name);
	r->prefix = prefix;
	core->has_tickets = has_tickets && listener->tls.ticket_rotation_ms > 0;
	read_certificates(r, &listener->tls, core);
	core->server = tls_server_create(r, &listener->tls, core);
	r->prefix = NULL;
}

static void load_client(struct tls_reader *r, const char *listener, const char *service,
			const struct tls_upstream_config *config, struct tls_core *core)
{
	char prefix[256];
	snprintf(prefix, sizeof(prefix), "listeners.%s.%s.tls", listener, service ? service : "");
	r->prefix = prefix;
	struct tls_spot certificate = {.option = "certificate", .value = config->certificate, .place = config->place};
	struct tls_spot key = {.option = "key", .value = config->key, .place = config->place};
	if (config->certificate)
		core->upstream_certificate = tls_certificate_read(r, &certificate, config->key ? &key : NULL);
	else if (config->key)
		tls_report(r, &key, "a key without its certificate: name that with certificate");
	core->client = tls_client_create(r, config, core->upstream_certificate);
	r->prefix = NULL;
}

static struct tls_set *set_create(struct tls_core *core)
{
	struct tls_set *set = calloc(1, sizeof(*set));
	if (set) {
		atomic_init(&set->references, 1);
		atomic_fetch_add_explicit(&core->references, 1, memory_order_relaxed);
		set->core = core;
	}
	return set;
}

int tls_set_rekey(struct tls_set *set, const struct tls_tickets *tickets, struct tls_set **to)
{
	struct tls_set *made = set_create(set->core);
	if (!made)
		return -ENOMEM;
	if (set->core->has_tickets &&
	    tls_tickets_derive(tickets, set->core->listener, set->core->policy, &made->keys) != 0) {
		tls_set_unref(made);
		return -ENOMEM;
	}
	*to = made;
	return 0;
}

int tls_set_load(const struct listener_config *listener, const char *service,
		 const struct tls_upstream_config *upstream, const struct tls_tickets *tickets,
		 struct config_errors *errors, struct tls_set **to)
{
	struct tls_core *core = core_create(listener->name);
	struct tls_set *set = NULL;
	int failed = -ENOMEM;
	if (!core)
		return -ENOMEM;
	struct tls_reader r = {.errors = errors, .files = &core->files};
	if (listener->tls.enabled)
		load_server(&r, listener, tickets != NULL, core);
	if (upstream && upstream->enabled)
		load_client(&r, listener->name, service, upstream, core);
	tls_files_drop_bytes(&core->files);
	ERR_clear_error();
	if (r.no_memory || r.failed) {
		failed = r.failed ? -EINVAL : -ENOMEM;
		goto fail;
	}
	set = set_create(core);
	if (!set)
		goto fail;
	if (core->has_tickets && tls_tickets_derive(tickets, core->listener, core->policy, &set->keys) != 0)
		goto fail;
	core_unref(core);
	*to = set;
	return 0;

fail:
	tls_set_unref(set);
	core_unref(core);
	return failed;
}

struct tls_set *tls_set_ref(struct tls_set *set)
{
	if (set)
		atomic_fetch_add_explicit(&set->references, 1, memory_order_relaxed);
	return set;
}

struct tls_set *tls_set_unref(struct tls_set *set)
{
	if (!set)
		return NULL;
	unsigned before = atomic_fetch_sub_explicit(&set->references, 1, memory_order_acq_rel);
	must(before > 0);
	if (before == 1) {
		core_unref(set->core);
		tls_ticket_keys_wipe(&set->keys);
		free(set);
	}
	return NULL;
}

bool tls_set_accepts(const struct tls_set *set)
{
	return set->core->server != NULL;
}

bool tls_set_connects(const struct tls_set *set)
{
	return set->core->client != NULL;
}

unsigned tls_set_file_count(const struct tls_set *set)
{
	return set->core->files.count;
}

const char *tls_set_file(const struct tls_set *set, unsigned i)
{
	return set->core->files.at[i]->path;
}

bool tls_set_outdated(const struct tls_set *set)
{
	return tls_files_outdated(&set->core->files);
}

unsigned tls_set_certificate_count(const struct tls_set *set)
{
	return set->core->certificate_count + (set->core->upstream_certificate ? 1 : 0);
}

void tls_set_certificate(const struct tls_set *set, unsigned i, struct tls_certificate_facts *to)
{
	const struct tls_core *core = set->core;
	bool is_upstream = i >= core->certificate_count;
	const struct tls_certificate *c = is_upstream ? core->upstream_certificate : core->certificates[i];
	*to = (struct tls_certificate_facts){
		.file = c->file,
		.names = c->names_text,
		.key = c->key_text,
		.serial = c->serial,
		.not_before = c->not_before,
		.not_after = c->not_after,
		.is_upstream = is_upstream,
	};
}

_Static_assert(TLS_SET_CHOICE_MAX == TLS_KEY_KINDS, "one of each kind");

unsigned tls_set_choose(const struct tls_set *set, const char *sni, unsigned to[TLS_SET_CHOICE_MAX])
{
	const struct tls_core *core = set->core;
	char name[TLS_NAME_BYTES];
	unsigned n = 0;
	if (!core->server)
		return 0;
	/* what is no host name gets the default, as at a handshake */
	if (!tls_name_normalise(name, sni, strlen(sni), false))
		name[0] = '\0';
	for (unsigned kind = 0; kind < TLS_KEY_KINDS; kind++) {
		const struct tls_certificate *c = tls_server_certificate(core->server, name, (enum tls_key_kind)kind);
		for (unsigned i = 0; c && i < core->certificate_count; i++)
			if (core->certificates[i] == c)
				to[n++] = i;
	}
	return n;
}

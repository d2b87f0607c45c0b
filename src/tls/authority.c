/* SPDX-License-Identifier: MIT */
#include "tls/authority_priv.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tls/certificate_priv.h"

/* Where systems keep their CAs in one file, which can be read at once: a worker must not read files later on, as
 * OpenSSL's search in a folder would. */
static const char *const system_bundles[] = {
	"/etc/ssl/certs/ca-certificates.crt", /* Debian, Arch, Alpine */
	"/etc/pki/tls/certs/ca-bundle.crt",   /* Fedora */
	"/etc/ssl/ca-bundle.pem",	      /* SUSE */
	"/etc/ssl/cert.pem",
};

static bool has_pem(const struct tls_file *file)
{
	return strstr(file->bytes, "-----BEGIN ") != NULL;
}

/* Whether OpenSSL stopped because there was nothing more. */
static bool is_end(void)
{
	unsigned long error = ERR_peek_last_error();
	return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}

/* What was read, before it goes into a store. */
struct found {
	STACK_OF(X509) * certificates; /* owned */
	STACK_OF(X509_CRL) * crls;     /* owned */
};

static void found_fini(struct found *f)
{
	sk_X509_pop_free(f->certificates, X509_free);
	sk_X509_CRL_pop_free(f->crls, X509_CRL_free);
}

static int read_certificates(struct tls_reader *r, const struct tls_spot *spot, const struct tls_file *file,
			     struct found *to)
{
	bool asked = false;
	int count = 0;
	X509 *one = NULL;
	BIO *bio = BIO_new_mem_buf(file->bytes, (int)file->n);
	ERR_clear_error();
	while (bio && (one = PEM_read_bio_X509_AUX(bio, NULL, tls_no_password, &asked)) &&
	       sk_X509_push(to->certificates, one) > 0)
		count++;
	bool no_memory = one || !bio;
	X509_free(one);
	BIO_free(bio);
	if (no_memory)
		r->no_memory = true;
	else if (!is_end())
		tls_report_bare(r, spot, "%s: certificate %d in it is damaged (%s)", file->path, count + 1,
				tls_take_error());
	else if (count == 0)
		tls_report_bare(r, spot,
				"%s: there is no CA's certificate in PEM form (-----BEGIN CERTIFICATE-----) in it",
				file->path);
	bool good = !no_memory && is_end() && count > 0;
	ERR_clear_error();
	return good ? 0 : -EINVAL;
}

static int read_crls(struct tls_reader *r, const struct tls_spot *spot, const struct tls_file *file, struct found *to)
{
	bool asked = false;
	bool is_pem = has_pem(file); /* as CAs publish them they are not */
	int count = 0;
	X509_CRL *one = NULL;
	BIO *bio = BIO_new_mem_buf(file->bytes, (int)file->n);
	ERR_clear_error();
	while (bio && (is_pem || count == 0)) {
		one = is_pem ? PEM_read_bio_X509_CRL(bio, NULL, tls_no_password, &asked) : d2i_X509_CRL_bio(bio, NULL);
		if (!one || sk_X509_CRL_push(to->crls, one) <= 0)
			break;
		one = NULL;
		count++;
	}
	bool no_memory = one || !bio;
	bool is_damaged = is_pem && !is_end();
	X509_CRL_free(one);
	BIO_free(bio);
	if (no_memory)
		r->no_memory = true;
	else if (is_damaged)
		tls_report_bare(r, spot, "%s: CRL %d in it is damaged (%s)", file->path, count + 1, tls_take_error());
	else if (count == 0)
		tls_report_bare(r, spot, "%s: there is no CRL in it: it takes PEM (-----BEGIN X509 CRL-----) or DER",
				file->path);
	ERR_clear_error();
	return !no_memory && !is_damaged && count > 0 ? 0 : -EINVAL;
}

/* Whether a CA's certificate that somebody else signed was revoked by that one. What is in the store is believed as it
 * stands, so that nobody would ask later. */
static bool is_revoked(X509 *certificate, const STACK_OF(X509_CRL) * crls)
{
	const X509_NAME *issuer = X509_get_issuer_name(certificate);
	if (X509_NAME_cmp(issuer, X509_get_subject_name(certificate)) == 0)
		return false;
	for (int i = 0; i < sk_X509_CRL_num(crls); i++) {
		X509_REVOKED *entry = NULL;
		X509_CRL *crl = sk_X509_CRL_value(crls, i);
		if (X509_NAME_cmp(issuer, X509_CRL_get_issuer(crl)) == 0 &&
		    X509_CRL_get0_by_cert(crl, &entry, certificate) == 1)
			return true;
	}
	return false;
}

static int fill_store(X509_STORE *store, const struct found *from, STACK_OF(X509_NAME) * subjects)
{
	for (int i = 0; i < sk_X509_num(from->certificates); i++) {
		X509 *one = sk_X509_value(from->certificates, i);
		if (is_revoked(one, from->crls))
			continue;
		if (X509_STORE_add_cert(store, one) != 1)
			return -ENOMEM;
		X509_NAME *name = subjects ? X509_NAME_dup(X509_get_subject_name(one)) : NULL;
		if (subjects && (!name || sk_X509_NAME_push(subjects, name) <= 0)) {
			X509_NAME_free(name);
			return -ENOMEM;
		}
	}
	for (int i = 0; i < sk_X509_CRL_num(from->crls); i++) {
		if (X509_STORE_add_crl(store, sk_X509_CRL_value(from->crls, i)) != 1)
			return -ENOMEM;
	}
	return 0;
}

static void note_policy(EVP_MD_CTX *policy, char kind, const struct tls_file *file)
{
	if (policy) {
		EVP_DigestUpdate(policy, &kind, 1);
		EVP_DigestUpdate(policy, file->digest, sizeof(file->digest));
	}
}

/* All files are looked at, so that a user sees all that is wrong. */
static int read_lists(struct tls_reader *r, const char *option, const struct option_list *ca,
		      const struct option_list *crl, struct found *to, EVP_MD_CTX *policy)
{
	char name[32];
	int failed = 0;
	struct tls_spot spot = {.option = name};
	snprintf(name, sizeof(name), "%sca", option);
	for (unsigned i = 0; i < ca->count; i++) {
		spot.value = ca->at[i];
		spot.place = ca->places[i];
		const struct tls_file *file = tls_file_read(r, &spot, TLS_BUNDLE_BYTES_MAX);
		if (!file || read_certificates(r, &spot, file, to) != 0)
			failed = -EINVAL;
		else
			note_policy(policy, 'a', file);
	}
	snprintf(name, sizeof(name), "%scrl", option);
	for (unsigned i = 0; i < crl->count; i++) {
		spot.value = crl->at[i];
		spot.place = crl->places[i];
		const struct tls_file *file = tls_file_read(r, &spot, TLS_BUNDLE_BYTES_MAX);
		if (!file || read_crls(r, &spot, file, to) != 0)
			failed = -EINVAL;
		else
			note_policy(policy, 'r', file);
	}
	return failed;
}

X509_STORE *tls_authority_read(struct tls_reader *r, const char *option, const struct option_list *ca,
			       const struct option_list *crl, STACK_OF(X509_NAME) * subjects, EVP_MD_CTX *policy)
{
	X509_STORE *store = X509_STORE_new();
	struct found found = {.certificates = sk_X509_new_null(), .crls = sk_X509_CRL_new_null()};
	int failed = store && found.certificates && found.crls ? 0 : -ENOMEM;
	if (!failed)
		failed = read_lists(r, option, ca, crl, &found, policy);
	if (!failed)
		failed = fill_store(store, &found, subjects);
	found_fini(&found);
	if (failed == -ENOMEM)
		r->no_memory = true;
	if (failed) {
		X509_STORE_free(store);
		return NULL;
	}
	unsigned long flags = X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_TRUSTED_FIRST;
	if (crl->count > 0)
		flags |= X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL;
	X509_STORE_set_flags(store, flags);
	return store;
}

/* The system's CAs as one file; NULL: there is none. */
static const char *find_bundle(void)
{
	const char *named = getenv(X509_get_default_cert_file_env()); // NOLINT(concurrency-mt-unsafe)
	if (named && named[0])
		return named;
	if (access(X509_get_default_cert_file(), R_OK) == 0)
		return X509_get_default_cert_file();
	for (unsigned i = 0; i < sizeof(system_bundles) / sizeof(system_bundles[0]); i++) {
		if (access(system_bundles[i], R_OK) == 0)
			return system_bundles[i];
	}
	return NULL;
}

X509_STORE *tls_authority_read_system(struct tls_reader *r, struct config_place place, const struct option_list *crl)
{
	const char *bundle = find_bundle();
	struct tls_spot spot = {.option = "ca", .value = bundle, .place = place};
	if (!bundle) {
		tls_report(r, &spot,
			   "the system has no CA certificates in one file (as /etc/ssl/certs/ca-certificates.crt): "
			   "install "
			   "the package ca-certificates, or name a file with ca");
		return NULL;
	}
	struct option_list ca = {.at = &bundle, .places = &place, .count = 1};
	return tls_authority_read(r, "", &ca, crl, NULL, NULL);
}

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

static int add_subject(STACK_OF(X509_NAME) * subjects, X509 *certificate)
{
	X509_NAME *name = X509_NAME_dup(X509_get_subject_name(certificate));
	if (name && sk_X509_NAME_push(subjects, name))
		return 0;
	X509_NAME_free(name);
	return -ENOMEM;
}

static int add_certificates(struct tls_reader *r, const struct tls_spot *spot, const struct tls_file *file,
			    X509_STORE *store, STACK_OF(X509_NAME) * subjects)
{
	bool asked = false;
	unsigned count = 0;
	int failed = 0;
	X509 *found = NULL;
	BIO *bio = BIO_new_mem_buf(file->bytes, (int)file->n);
	ERR_clear_error();
	while (bio && !failed && (found = PEM_read_bio_X509_AUX(bio, NULL, tls_no_password, &asked))) {
		count++;
		if (X509_STORE_add_cert(store, found) != 1 || (subjects && add_subject(subjects, found) != 0))
			failed = -ENOMEM;
		X509_free(found);
	}
	if (failed || !bio) {
		r->no_memory = true;
		failed = -ENOMEM;
	} else if (!is_end()) {
		tls_report_bare(r, spot, "%s: certificate %u in it is damaged (%s)", file->path, count + 1,
				tls_take_error());
		failed = -EINVAL;
	} else if (count == 0) {
		tls_report_bare(r, spot,
				"%s: there is no CA's certificate in PEM form (-----BEGIN CERTIFICATE-----) in it",
				file->path);
		failed = -EINVAL;
	}
	ERR_clear_error();
	BIO_free(bio);
	return failed;
}

static int add_crls(struct tls_reader *r, const struct tls_spot *spot, const struct tls_file *file, X509_STORE *store)
{
	bool asked = false;
	bool is_pem = has_pem(file); /* as CAs publish them they are not */
	unsigned count = 0;
	int failed = 0;
	X509_CRL *found = NULL;
	BIO *bio = BIO_new_mem_buf(file->bytes, (int)file->n);
	ERR_clear_error();
	while (bio && !failed && (is_pem || count == 0)) {
		found = is_pem ? PEM_read_bio_X509_CRL(bio, NULL, tls_no_password, &asked)
			       : d2i_X509_CRL_bio(bio, NULL);
		if (!found)
			break;
		count++;
		if (X509_STORE_add_crl(store, found) != 1)
			failed = -ENOMEM;
		X509_CRL_free(found);
	}
	if (failed || !bio) {
		r->no_memory = true;
		failed = -ENOMEM;
	} else if (is_pem && !is_end()) {
		tls_report_bare(r, spot, "%s: CRL %u in it is damaged (%s)", file->path, count + 1, tls_take_error());
		failed = -EINVAL;
	} else if (count == 0) {
		tls_report_bare(r, spot, "%s: there is no CRL in it: it takes PEM (-----BEGIN X509 CRL-----) or DER",
				file->path);
		failed = -EINVAL;
	}
	ERR_clear_error();
	BIO_free(bio);
	return failed;
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
		      const struct option_list *crl, X509_STORE *store, STACK_OF(X509_NAME) * subjects,
		      EVP_MD_CTX *policy)
{
	char name[32];
	int failed = 0;
	struct tls_spot spot = {.option = name};
	snprintf(name, sizeof(name), "%sca", option);
	for (unsigned i = 0; ca && i < ca->count; i++) {
		spot.value = ca->at[i];
		spot.place = ca->places[i];
		const struct tls_file *file = tls_file_read(r, &spot, TLS_BUNDLE_BYTES_MAX);
		if (!file || add_certificates(r, &spot, file, store, subjects) != 0)
			failed = -EINVAL;
		else
			note_policy(policy, 'a', file);
	}
	snprintf(name, sizeof(name), "%scrl", option);
	for (unsigned i = 0; i < crl->count; i++) {
		spot.value = crl->at[i];
		spot.place = crl->places[i];
		const struct tls_file *file = tls_file_read(r, &spot, TLS_BUNDLE_BYTES_MAX);
		if (!file || add_crls(r, &spot, file, store) != 0)
			failed = -EINVAL;
		else
			note_policy(policy, 'r', file);
	}
	return failed;
}

static X509_STORE *store_create(struct tls_reader *r, const struct option_list *crl)
{
	X509_STORE *store = X509_STORE_new();
	if (!store) {
		r->no_memory = true;
		return NULL;
	}
	unsigned long flags = X509_V_FLAG_PARTIAL_CHAIN | X509_V_FLAG_TRUSTED_FIRST;
	if (crl->count > 0)
		flags |= X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL;
	X509_STORE_set_flags(store, flags);
	return store;
}

X509_STORE *tls_authority_read(struct tls_reader *r, const char *option, const struct option_list *ca,
			       const struct option_list *crl, STACK_OF(X509_NAME) * subjects, EVP_MD_CTX *policy)
{
	X509_STORE *store = store_create(r, crl);
	if (store && read_lists(r, option, ca, crl, store, subjects, policy) == 0)
		return store;
	X509_STORE_free(store);
	return NULL;
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

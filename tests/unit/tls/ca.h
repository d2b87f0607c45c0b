/* SPDX-License-Identifier: MIT */
/* Certificates made for a test, in a folder of their own that is removed afterwards; and a handshake in memory. */
#ifndef TESTS_UNIT_TLS_CA_H
#define TESTS_UNIT_TLS_CA_H

#include <check.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DAY 86400L

static char folder_path[64];

static inline void folder_create(void)
{
	strcpy(folder_path, "/tmp/usher-tls-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder_path));
	ck_assert_int_eq(chdir(folder_path), 0);
}

static inline void folder_remove(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", folder_path);
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(system(command), 0);
}

static inline void file_write(const char *name, const char *text, mode_t mode)
{
	FILE *file = fopen(name, "w");

	ck_assert_ptr_nonnull(file);
	fputs(text, file);
	fclose(file);
	ck_assert_int_eq(chmod(name, mode), 0);
}

/* A certificate with its key. What the fields leave out: signed by itself, P-256, good from yesterday for 30 days. */
struct made {
	X509 *certificate;
	EVP_PKEY *key;
};

struct wish {
	const char *cn;
	const char *ou;
	const char *san; /* "DNS:a.example,URI:spiffe://x/y,IP:10.0.0.1" */
	const char *eku; /* "clientAuth", "serverAuth" */
	const struct made *by;
	bool is_ca;
	int rsa_bits;  /* 0: P-256 */
	long from;     /* seconds from now; 0: yesterday */
	long until;    /* 0: in 30 days */
	EVP_PKEY *key; /* use this one */
};

static inline void made_extend(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX context;

	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, issuer, x, NULL, NULL, 0);
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	ck_assert_ptr_nonnull(extension);
	ck_assert_int_eq(X509_add_ext(x, extension, -1), 1);
	X509_EXTENSION_free(extension);
}

static inline void made_name(X509_NAME *name, const char *field, const char *value)
{
	if (value)
		ck_assert_int_eq(X509_NAME_add_entry_by_txt(name, field, MBSTRING_UTF8, (const unsigned char *)value,
							    -1, -1, 0),
				 1);
}

static inline struct made make(struct wish w)
{
	static long serial = 0x1000;
	struct made m = {.certificate = X509_new()};
	X509 *x = m.certificate;

	if (w.key) {
		EVP_PKEY_up_ref(w.key);
		m.key = w.key;
	} else {
		m.key = w.rsa_bits ? EVP_RSA_gen((unsigned)w.rsa_bits) : EVP_EC_gen("P-256");
	}
	ck_assert_ptr_nonnull(m.key);
	X509_set_version(x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial);
	X509_gmtime_adj(X509_getm_notBefore(x), w.from ? w.from : -DAY);
	X509_gmtime_adj(X509_getm_notAfter(x), w.until ? w.until : 30 * DAY);
	made_name(X509_get_subject_name(x), "O", "Example");
	made_name(X509_get_subject_name(x), "OU", w.ou);
	made_name(X509_get_subject_name(x), "CN", w.cn);
	X509_set_pubkey(x, m.key);
	X509 *issuer = w.by ? w.by->certificate : x;
	X509_set_issuer_name(x, X509_get_subject_name(issuer));
	made_extend(x, issuer, NID_basic_constraints, w.is_ca ? "critical,CA:TRUE" : "CA:FALSE");
	if (w.is_ca)
		made_extend(x, issuer, NID_key_usage, "keyCertSign,cRLSign");
	if (w.san)
		made_extend(x, issuer, NID_subject_alt_name, w.san);
	if (w.eku)
		made_extend(x, issuer, NID_ext_key_usage, w.eku);
	ck_assert_int_gt(X509_sign(x, w.by ? w.by->key : m.key, EVP_sha256()), 0);
	return m;
}

static inline void made_free(struct made *m)
{
	X509_free(m->certificate);
	EVP_PKEY_free(m->key);
	*m = (struct made){0};
}

static inline void made_write_certificate(const struct made *m, const char *name, const char *mode)
{
	FILE *file = fopen(name, mode);

	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(PEM_write_X509(file, m->certificate), 1);
	fclose(file);
}

static inline void made_write_key(const struct made *m, const char *name, const char *mode)
{
	FILE *file = fopen(name, mode);

	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(PEM_write_PrivateKey(file, m->key, NULL, NULL, 0, NULL, NULL), 1);
	fclose(file);
	ck_assert_int_eq(chmod(name, 0640), 0);
}

/* Certificate, then key. */
static inline void made_write(const struct made *m, const char *name)
{
	made_write_certificate(m, name, "w");
	made_write_key(m, name, "a");
}

/* A CRL of `ca` with one serial in it, or none (NULL), good until so many seconds from now. */
static inline void made_write_crl(const struct made *ca, const struct made *revoked, long until, const char *name)
{
	X509_CRL *crl = X509_CRL_new();
	ASN1_TIME *t = ASN1_TIME_new();
	FILE *file = fopen(name, "w");

	ck_assert_ptr_nonnull(file);
	X509_CRL_set_version(crl, X509_CRL_VERSION_2);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca->certificate));
	X509_gmtime_adj(t, -2 * DAY);
	X509_CRL_set1_lastUpdate(crl, t);
	X509_gmtime_adj(t, until);
	X509_CRL_set1_nextUpdate(crl, t);
	if (revoked) {
		X509_REVOKED *entry = X509_REVOKED_new();
		X509_gmtime_adj(t, -DAY);
		X509_REVOKED_set_revocationDate(entry, t);
		X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(revoked->certificate));
		X509_CRL_add0_revoked(crl, entry);
	}
	X509_CRL_sort(crl);
	ck_assert_int_gt(X509_CRL_sign(crl, ca->key, EVP_sha256()), 0);
	ck_assert_int_eq(PEM_write_X509_CRL(file, crl), 1);
	fclose(file);
	ASN1_TIME_free(t);
	X509_CRL_free(crl);
}

#endif

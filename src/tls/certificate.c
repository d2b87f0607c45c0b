/* SPDX-License-Identifier: MIT */
#include "tls/certificate_priv.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "tls/names_priv.h"
#include "tls/peer_priv.h"

int tls_no_password(char *to, int size, int is_writing, void *asked)
{
	(void)to;
	(void)size;
	(void)is_writing;
	*(bool *)asked = true;
	return -1;
}

const char *tls_take_error(void)
{
	const char *text = ERR_reason_error_string(ERR_peek_error());
	ERR_clear_error();
	return text ? text : "OpenSSL gives no reason";
}

time_t tls_asn1_time(const ASN1_TIME *t)
{
	struct tm tm;
	if (!t || ASN1_TIME_to_tm(t, &tm) != 1)
		return (time_t)LLONG_MAX;
	return timegm(&tm);
}

/* The certificates of a file: the first to c->leaf, the others to c->chain. Returns 0, or -EINVAL: reported. */
static int read_certificates(struct tls_reader *r, struct tls_certificate *c, const struct tls_spot *spot,
			     const struct tls_file *file)
{
	bool asked = false;
	X509 *found = NULL;
	BIO *bio = BIO_new_mem_buf(file->bytes, (int)file->n);
	c->chain = sk_X509_new_null();
	if (!bio || !c->chain)
		goto no_memory;
	c->leaf = PEM_read_bio_X509_AUX(bio, NULL, tls_no_password, &asked);
	while (c->leaf && (found = PEM_read_bio_X509(bio, NULL, tls_no_password, &asked))) {
		if (!sk_X509_push(c->chain, found))
			goto no_memory;
	}
	BIO_free(bio);

	/* the end of the file is an error too, and the one that is expected */
	unsigned long error = ERR_peek_last_error();
	bool is_end = ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
	if (!is_end) {
		tls_report_bare(r, spot, "%s: a certificate in it is damaged (%s)", file->path, tls_take_error());
		return -EINVAL;
	}
	ERR_clear_error();
	if (!c->leaf) {
		tls_report_bare(r, spot, "%s: there is no certificate in PEM form (-----BEGIN CERTIFICATE-----) in it",
				file->path);
		return -EINVAL;
	}
	return 0;

no_memory:
	X509_free(found);
	BIO_free(bio);
	r->no_memory = true;
	return -EINVAL;
}

static int read_key(struct tls_reader *r, struct tls_certificate *c, const struct tls_spot *spot,
		    const struct tls_file *file, bool is_same_file)
{
	bool asked = false;
	BIO *bio = BIO_new_mem_buf(file->bytes, (int)file->n);
	if (!bio) {
		r->no_memory = true;
		return -EINVAL;
	}
	c->key = PEM_read_bio_PrivateKey(bio, NULL, tls_no_password, &asked);
	BIO_free(bio);
	unsigned long error = ERR_peek_last_error();
	bool is_absent = !strstr(file->bytes, "PRIVATE KEY-----");
	if (c->key) {
		ERR_clear_error();
		return tls_file_is_open_to_all(r, spot, file) ? -EINVAL : 0;
	}
	if (asked)
		tls_report_bare(r, spot,
				"%s: the private key is encrypted, and usherd asks nobody for a passphrase: decrypt it "
				"with openssl pkey -in FILE -out NEW, and chmod 640 that",
				file->path);
	else if (is_absent && is_same_file)
		tls_report_bare(r, spot, "%s: there is no private key in it: add it there, or name its file with key",
				file->path);
	else if (is_absent)
		tls_report_bare(r, spot, "%s: there is no private key in PEM form in it", file->path);
	else
		tls_report_bare(r, spot, "%s: the private key is damaged, or of a kind that OpenSSL does not know (%s)",
				file->path, error ? ERR_reason_error_string(error) : "no reason");
	ERR_clear_error();
	return -EINVAL;
}

static int check_pair(struct tls_reader *r, const struct tls_certificate *c, const struct tls_spot *spot,
		      const struct tls_file *file)
{
	if (X509_check_private_key(c->leaf, c->key) == 1)
		return 0;
	ERR_clear_error();
	for (int i = 0; i < sk_X509_num(c->chain); i++) {
		if (X509_check_private_key(sk_X509_value(c->chain, i), c->key) != 1) {
			ERR_clear_error();
			continue;
		}
		tls_report_bare(r, spot,
				"%s: the key's certificate is not the first one in %s: put it first, then what "
				"signed it",
				file->path, c->file);
		return -EINVAL;
	}
	tls_report_bare(r, spot, "%s: this private key does not belong to the certificate in %s", file->path, c->file);
	return -EINVAL;
}

/* Which key it is, and whether we can use it. */
static bool find_kind(struct tls_certificate *c)
{
	struct text t;
	text_init(&t, c->key_text, sizeof(c->key_text));
	char group[40] = "";
	int bits = EVP_PKEY_get_bits(c->key);
	switch (EVP_PKEY_get_base_id(c->key)) {
	case EVP_PKEY_RSA:
		c->kind = TLS_KEY_RSA;
		text_printf(&t, "RSA %d", bits);
		return true;
	case EVP_PKEY_RSA_PSS:
		c->kind = TLS_KEY_RSA_PSS;
		text_printf(&t, "RSA-PSS %d", bits);
		return true;
	case EVP_PKEY_EC:
		c->kind = TLS_KEY_ECDSA;
		EVP_PKEY_get_group_name(c->key, group, sizeof(group), NULL);
		const char *usual = EC_curve_nid2nist(OBJ_sn2nid(group));
		text_printf(&t, "ECDSA %s", usual ? usual : group);
		return true;
	case EVP_PKEY_ED25519:
		c->kind = TLS_KEY_ED25519;
		text_add(&t, "Ed25519");
		return true;
	case EVP_PKEY_ED448:
		c->kind = TLS_KEY_ED448;
		text_add(&t, "Ed448");
		return true;
	default:
		return false;
	}
}

static bool add_name(struct tls_certificate *c, const ASN1_STRING *from)
{
	char name[TLS_NAME_BYTES];
	if (!tls_name_normalise(name, ASN1_STRING_get0_data(from), (size_t)ASN1_STRING_length(from), true))
		return true; /* nobody can ask for it */
	for (unsigned i = 0; i < c->name_count; i++) {
		if (strcmp(c->names[i], name) == 0)
			return true;
	}
	char **more = realloc(c->names, (c->name_count + 1) * sizeof(char *));
	if (!more)
		return false;
	c->names = more;
	more[c->name_count] = strdup(name);
	return more[c->name_count++] != NULL;
}

/* The DNS names; without any subjectAltName the common name. */
static bool find_names(struct tls_certificate *c)
{
	bool good = true;
	GENERAL_NAMES *names = X509_get_ext_d2i(c->leaf, NID_subject_alt_name, NULL, NULL);
	if (names) {
		for (int i = 0; good && i < sk_GENERAL_NAME_num(names); i++) {
			const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
			if (name->type == GEN_DNS)
				good = add_name(c, name->d.dNSName);
		}
		GENERAL_NAMES_free(names);
	} else {
		const X509_NAME *subject = X509_get_subject_name(c->leaf);
		int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
		if (at >= 0)
			good = add_name(c, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
	}
	ERR_clear_error();

	size_t bytes = 1;
	for (unsigned i = 0; good && i < c->name_count; i++)
		bytes += strlen(c->names[i]) + 2;
	c->names_text = good ? malloc(bytes) : NULL;
	if (!c->names_text)
		return false;
	struct text t;
	text_init(&t, c->names_text, bytes);
	for (unsigned i = 0; i < c->name_count; i++)
		text_printf(&t, "%s%s", i ? ", " : "", c->names[i]);
	return true;
}

int tls_certificate_use(const struct tls_certificate *c, SSL_CTX *context)
{
	return SSL_CTX_use_cert_and_key(context, c->leaf, c->key, c->chain, 1) == 1 ? 0 : -EINVAL;
}

/* Whether OpenSSL takes it: the security level of the system has a word there. */
static int try_it(struct tls_reader *r, const struct tls_certificate *c, const struct tls_spot *spot)
{
	SSL_CTX *context = SSL_CTX_new(TLS_method());
	int failed = context ? tls_certificate_use(c, context) : -ENOMEM;
	int level = context ? SSL_CTX_get_security_level(context) : 0;
	SSL_CTX_free(context);
	if (failed == -ENOMEM) {
		r->no_memory = true;
	} else if (failed) {
		unsigned long error = ERR_peek_last_error();
		int reason = ERR_GET_LIB(error) == ERR_LIB_SSL ? ERR_GET_REASON(error) : 0;
		if (reason == SSL_R_EE_KEY_TOO_SMALL)
			tls_report_bare(
				r, spot,
				"%s: the key (%s) is too weak for this system (OpenSSL's security level %d): make an "
				"ECDSA key, or an RSA key of 2048 bits or more",
				c->file, c->key_text, level);
		else if (reason == SSL_R_CA_KEY_TOO_SMALL || reason == SSL_R_CA_MD_TOO_WEAK)
			tls_report_bare(
				r, spot,
				"%s: a certificate of the chain has a key or a signature that is too weak for this "
				"system (OpenSSL's security level %d)",
				c->file, level);
		else
			tls_report_bare(r, spot, "%s: OpenSSL does not take this certificate (%s)", c->file,
					error ? ERR_reason_error_string(error) : "no reason");
		ERR_clear_error();
	}
	return failed;
}

struct tls_certificate *tls_certificate_read(struct tls_reader *r, const struct tls_spot *certificate,
					     const struct tls_spot *key)
{
	const struct tls_file *file = tls_file_read(r, certificate, TLS_PAIR_BYTES_MAX);
	const struct tls_file *key_file = key ? tls_file_read(r, key, TLS_PAIR_BYTES_MAX) : file;
	if (!file || !key_file)
		return NULL;

	const struct tls_spot *key_spot = key ? key : certificate;
	struct tls_certificate *c = calloc(1, sizeof(*c));
	if (!c || !(c->file = strdup(file->path))) {
		r->no_memory = true;
		return tls_certificate_destroy(c);
	}
	ERR_clear_error();
	if (read_certificates(r, c, certificate, file) != 0 || read_key(r, c, key_spot, key_file, !key) != 0 ||
	    check_pair(r, c, key_spot, key_file) != 0)
		return tls_certificate_destroy(c);
	if (!find_kind(c)) {
		tls_report_bare(r, key_spot, "%s: keys of this kind are of no use for TLS: make an ECDSA or RSA key",
				key_file->path);
		return tls_certificate_destroy(c);
	}
	if (try_it(r, c, certificate) != 0)
		return tls_certificate_destroy(c);
	if (!find_names(c)) {
		r->no_memory = true;
		return tls_certificate_destroy(c);
	}
	struct text serial;
	text_init(&serial, c->serial, sizeof(c->serial));
	tls_peer_add_serial(&serial, c->leaf);
	c->not_before = tls_asn1_time(X509_get0_notBefore(c->leaf));
	c->not_after = tls_asn1_time(X509_get0_notAfter(c->leaf));
	return c;
}

struct tls_certificate *tls_certificate_destroy(struct tls_certificate *c)
{
	if (!c)
		return NULL;
	for (unsigned i = 0; i < c->name_count; i++)
		free(c->names[i]);
	free(c->names);
	free(c->names_text);
	free(c->file);
	X509_free(c->leaf);
	sk_X509_pop_free(c->chain, X509_free);
	EVP_PKEY_free(c->key);
	free(c);
	return NULL;
}

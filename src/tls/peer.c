/* SPDX-License-Identifier: MIT */
#include "tls/peer_priv.h"

#include <arpa/inet.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <string.h>

/* What is taken of a name and of a serial number: a stranger chose their length. */
#define NAME_BYTES_MAX 480
#define SERIAL_BYTES_MAX 20
#define HOSTS_MAX 3
#define HOST_BYTES_MAX 100

void tls_peer_add_name(struct text *t, const X509_NAME *name)
{
	char *bytes = NULL;
	BIO *bio = BIO_new(BIO_s_mem());
	/* RFC 2253, but UTF-8 stays what it is: it is checked below, and a log is read by people */
	if (bio && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~(unsigned long)ASN1_STRFLGS_ESC_MSB) >= 0) {
		long n = BIO_get_mem_data(bio, &bytes);
		bool is_long = n > NAME_BYTES_MAX;
		text_add_escaped_again(t, bytes, is_long ? NAME_BYTES_MAX : (size_t)n);
		if (is_long)
			text_add(t, "...");
	}
	BIO_free(bio);
}

static void add_hex(struct text *t, const unsigned char *bytes, size_t n)
{
	for (size_t i = 0; i < n; i++)
		text_printf(t, "%02X", bytes[i]);
}

void tls_peer_add_serial(struct text *t, const X509 *certificate)
{
	const ASN1_INTEGER *serial = X509_get0_serialNumber(certificate);
	size_t n = (size_t)ASN1_STRING_length(serial);
	if (ASN1_STRING_type(serial) == V_ASN1_NEG_INTEGER)
		text_add(t, "-");
	add_hex(t, ASN1_STRING_get0_data(serial), n < SERIAL_BYTES_MAX ? n : SERIAL_BYTES_MAX);
	if (n > SERIAL_BYTES_MAX)
		text_add(t, "...");
}

void tls_peer_add_fingerprint(struct text *t, const X509 *certificate)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned n = 0;
	if (X509_digest(certificate, EVP_sha256(), digest, &n) == 1)
		add_hex(t, digest, n);
}

static bool add_host(struct text *t, const GENERAL_NAME *name, bool is_first)
{
	char address[INET6_ADDRSTRLEN];
	const unsigned char *bytes = NULL;
	int n = 0;
	if (name->type == GEN_DNS) {
		bytes = ASN1_STRING_get0_data(name->d.dNSName);
		n = ASN1_STRING_length(name->d.dNSName);
	} else if (name->type == GEN_IPADD) {
		n = ASN1_STRING_length(name->d.iPAddress);
		int family = n == 4 ? AF_INET : n == 16 ? AF_INET6 : AF_UNSPEC;
		if (!inet_ntop(family, ASN1_STRING_get0_data(name->d.iPAddress), address, sizeof(address)))
			return false;
		bytes = (const unsigned char *)address;
		n = (int)strlen(address);
	} else {
		return false;
	}
	if (!is_first)
		text_add(t, ", ");
	text_add_escaped(t, bytes, n < HOST_BYTES_MAX ? (size_t)n : HOST_BYTES_MAX);
	return true;
}

void tls_peer_add_hosts(struct text *t, const X509 *certificate)
{
	unsigned shown = 0;
	GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
	for (int i = 0; names && i < sk_GENERAL_NAME_num(names); i++) {
		if (shown == HOSTS_MAX) {
			text_add(t, ", ...");
			break;
		}
		if (add_host(t, sk_GENERAL_NAME_value(names, i), shown == 0))
			shown++;
	}
	GENERAL_NAMES_free(names);
	if (shown == 0) {
		text_add(t, "nothing but ");
		tls_peer_add_name(t, X509_get_subject_name(certificate));
	}
}

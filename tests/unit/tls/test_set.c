/* SPDX-License-Identifier: MIT */
/* What is wrong with files is said so that it can be mended. */
#include "tls/set.h"

#include <check.h>
#include <errno.h>

#include "../suite.h"
#include "pair.h"

static struct made good, other, signer;

static void setup(void)
{
	folder_create();
	signer = make((struct wish){.cn = "CA", .is_ca = true});
	good = make((struct wish){.cn = "a", .san = "DNS:A.example,DNS:*.example,DNS:a.example", .by = &signer});
	other = make((struct wish){.cn = "other"});
	made_write(&good, "good.pem");
	made_write_certificate(&good, "good.crt", "w");
	made_write_key(&good, "good.key", "w");
	made_write(&other, "other.pem");
	made_write_key(&other, "other.key", "w");
	made_write_certificate(&signer, "ca.pem", "w");
	made_write_crl(&signer, NULL, DAY, "ca.crl");
	file_write("empty", "", 0640);
	file_write("noise", "nothing of ours\n", 0640);
}

static void teardown(void)
{
	made_free(&good);
	made_free(&other);
	made_free(&signer);
	folder_remove();
}

/* Loads what must not load; the one error must be this. */
static void refused_because(const struct listener_config *l, const struct tls_upstream_config *u, const char *line)
{
	struct tls_set *set = NULL;
	struct config_errors *errors = config_errors_create();

	ck_assert_int_eq(tls_set_load(l, "proxy", u, NULL, errors, &set), -EINVAL);
	ck_assert_ptr_null(set);
	ck_assert_uint_eq(config_errors_count(errors), 1);
	const char *said = config_errors_line(errors, 0);
	size_t n = strlen(line);
	bool is_prefix = n > 0 && line[n - 1] == '~'; /* what follows is the system's */
	if (is_prefix ? strncmp(said, line, n - 1) != 0 : strcmp(said, line) != 0)
		ck_abort_msg("said: %s\nnot:  %s", said, line);
	config_errors_destroy(errors);
}

static void certificate_refused(const char *certificate, const char *key, const char *line)
{
	struct listener_config l = listener_of(certificate, NULL);
	l.tls.key = list_of(key, NULL);
	refused_because(&l, NULL, line);
}

#define AT "u.conf:11: listeners.web.tls."

START_TEST(files_that_cannot_be_read)
{
	certificate_refused("absent", NULL, AT "certificate: absent: No such file or directory");
	certificate_refused(".", NULL, AT "certificate: .: Is a directory");
	certificate_refused("/dev/null", NULL, AT "certificate: /dev/null: this is no regular file");
	certificate_refused("empty", NULL, AT "certificate: empty: the file is empty");
	certificate_refused("", NULL, AT "certificate: names no file");
	certificate_refused("good.crt", "absent", AT "key: absent: No such file or directory");
	ck_assert_int_eq(mkfifo("fifo", 0600), 0); /* it does not wait for a writer */
	certificate_refused("fifo", NULL, AT "certificate: fifo: this is no regular file");
	ck_assert_int_eq(truncate("noise", (1 << 20) + 1), 0);
	certificate_refused("noise", NULL,
			    AT "certificate: noise: larger than 1024 KiB: this is hardly the right file");
}
END_TEST

START_TEST(a_file_of_somebody_else)
{
	if (geteuid() == 0 && (setegid(65534) != 0 || chmod(folder_path, 0755) != 0 || seteuid(65534) != 0))
		ck_abort_msg("cannot become nobody");
	certificate_refused("/etc/shadow", NULL, AT "certificate: /etc/shadow: the user ~");
	ck_assert_int_eq(geteuid() == 65534 ? seteuid(0) : 0, 0);
}
END_TEST

START_TEST(credentials)
{
	struct listener_config l = listener_of("credential:web", NULL);

	unsetenv("CREDENTIALS_DIRECTORY");
	certificate_refused(
		"credential:web", NULL,
		AT "certificate: credential:web: there are no credentials: CREDENTIALS_DIRECTORY is not set; add "
		   "LoadCredential=web:/path/to/the/file to the unit of usherd");
	setenv("CREDENTIALS_DIRECTORY", folder_path, 1);
	certificate_refused("credential:../web", NULL,
			    AT "certificate: credential:../web: the name of a credential has no '/' and is not empty");
	certificate_refused("credential:", NULL,
			    AT "certificate: credential:: the name of a credential has no '/' and is not empty");
	ck_assert_int_eq(rename("good.pem", "web"), 0);
	struct tls_set *set = set_of(&l, NULL);
	ck_assert_uint_eq(tls_set_file_count(set), 1);
	ck_assert_str_eq(tls_set_file(set, 0) + strlen(folder_path), "/web");
	tls_set_unref(set);
}
END_TEST

START_TEST(keys)
{
	FILE *file = fopen("secret.pem", "w");

	ck_assert_int_eq(PEM_write_PKCS8PrivateKey(file, good.key, EVP_aes_128_cbc(), "word", 4, NULL, NULL), 1);
	fclose(file);
	certificate_refused("good.crt", "secret.pem",
			    AT
			    "key: secret.pem: the private key is encrypted, and usherd asks nobody for a passphrase: "
			    "decrypt it with openssl pkey -in FILE -out NEW, and chmod 640 that");
	unsigned char word[] = "word";
	BIO *bio = BIO_new_file("secret.pem", "w"); /* as old tools wrote them */
	ck_assert_int_eq(PEM_write_bio_PrivateKey_traditional(bio, good.key, EVP_aes_128_cbc(), word, 4, NULL, NULL),
			 1);
	BIO_free(bio);
	certificate_refused("good.crt", "secret.pem",
			    AT
			    "key: secret.pem: the private key is encrypted, and usherd asks nobody for a passphrase: "
			    "decrypt it with openssl pkey -in FILE -out NEW, and chmod 640 that");
	certificate_refused(
		"good.crt", NULL,
		AT "certificate: good.crt: there is no private key in it: add it there, or name its file with key");
	certificate_refused("good.crt", "good.crt", AT "key: good.crt: there is no private key in PEM form in it");
	file_write("broken.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", 0640);
	certificate_refused("good.crt", "broken.key",
			    AT
			    "key: broken.key: the private key is damaged, or of a kind that OpenSSL does not know ~");
	certificate_refused("good.crt", "other.key",
			    AT "key: other.key: this private key does not belong to the certificate in good.crt");
	made_write_certificate(&signer, "order.pem", "w");
	made_write_certificate(&good, "order.pem", "a");
	certificate_refused(
		"order.pem", "good.key",
		AT "key: good.key: the key's certificate is not the first one in order.pem: put it first, then "
		   "what signed it");
	ck_assert_int_eq(chmod("good.key", 0644), 0);
	certificate_refused("good.crt", "good.key",
			    AT "key: good.key: everybody can read this private key (mode 0644): chmod 640 it");
	ck_assert_int_eq(chmod("good.pem", 0642), 0);
	certificate_refused("good.pem", NULL,
			    AT
			    "certificate: good.pem: everybody can change this private key (mode 0642): chmod 640 it");
}
END_TEST

START_TEST(certificates)
{
	struct listener_config l = listener_of("good.crt", "other.pem");

	certificate_refused("good.key", NULL,
			    AT "certificate: good.key: there is no certificate in PEM form "
			       "(-----BEGIN CERTIFICATE-----) in it");
	file_write("broken.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 0640);
	certificate_refused("broken.crt", "good.key", AT "certificate: broken.crt: a certificate in it is damaged ~");
	l.tls.key = list_of("good.key", NULL);
	refused_because(&l, NULL,
			AT "key: 1 keys for 2 certificates: name one for each, in the same order, or none at all");
	l.tls.certificate = (struct option_list){0};
	l.tls.key = (struct option_list){0};
	refused_because(&l, NULL, "u.conf:10: listeners.web.tls.certificate: no certificate is named");
	struct made weak = make((struct wish){.cn = "a", .rsa_bits = 1024});
	made_write(&weak, "weak.pem");
	certificate_refused("weak.pem", NULL,
			    AT
			    "certificate: weak.pem: the key (RSA 1024) is too weak for this system (OpenSSL's security "
			    "level 2): make an ECDSA key, or an RSA key of 2048 bits or more");
	made_free(&weak);
}
END_TEST

START_TEST(expired_certificates_load)
{
	struct made m = make((struct wish){.cn = "cn.example", .from = -9 * DAY, .until = -DAY});
	struct tls_certificate_facts f;

	made_write(&m, "old.pem");
	struct listener_config l = listener_of("good.pem", "old.pem");
	struct tls_set *set = set_of(&l, NULL);
	ck_assert_uint_eq(tls_set_certificate_count(set), 2);
	tls_set_certificate(set, 0, &f);
	ck_assert_str_eq(f.file, "good.pem");
	ck_assert_str_eq(f.names, "a.example, *.example");
	ck_assert_str_eq(f.key, "ECDSA P-256");
	ck_assert(!f.is_upstream);
	ck_assert_int_gt(f.not_after, time(NULL) + 29 * DAY);
	ck_assert_int_lt(f.not_before, time(NULL));
	tls_set_certificate(set, 1, &f);
	ck_assert_str_eq(f.names, "cn.example"); /* the common name, for want of others */
	ck_assert_int_lt(f.not_after, time(NULL));
	ck_assert(tls_set_accepts(set));
	ck_assert(!tls_set_connects(set));
	tls_set_unref(set);
	made_free(&m);
}
END_TEST

START_TEST(lists)
{
	struct listener_config l = listener_of("good.pem", NULL);

	l.tls.ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-FOO";
	refused_because(
		&l, NULL,
		"u.conf:10: listeners.web.tls.ciphers: OpenSSL has no cipher of TLS 1.2 called ECDHE-FOO; openssl "
		"ciphers -s -v lists them");
	l.tls.ciphers = "TLS_AES_128_GCM_SHA256:HIGH";
	refused_because(&l, NULL,
			"u.conf:10: listeners.web.tls.ciphers: TLS_AES_128_GCM_SHA256 is a cipher suite of TLS 1.3: it "
			"goes into ciphersuites");
	l.tls.ciphers = "";
	refused_because(&l, NULL, "u.conf:10: listeners.web.tls.ciphers: OpenSSL does not take this list ~");
	l.tls.ciphers = "HIGH:!aNULL:!RC4:@STRENGTH";
	tls_set_unref(set_of(&l, NULL));
	l.tls.ciphersuites = "TLS_AES_128_GCM_SHA256:TLS_FOO";
	refused_because(
		&l, NULL,
		"u.conf:10: listeners.web.tls.ciphersuites: OpenSSL has no cipher suite of TLS 1.3 called TLS_FOO; ~");
	l.tls.ciphersuites = SUITES;
	l.tls.groups = "X25519:P-257";
	refused_because(&l, NULL, "u.conf:10: listeners.web.tls.groups: OpenSSL has no group called P-257; ~");
	l.tls.groups = "X25519";
	l.tls.alpn = list_of("http/1.1", "");
	refused_because(&l, NULL, "u.conf:12: listeners.web.tls.alpn: the name of a protocol has 1 to 255 bytes");
}
END_TEST

START_TEST(policies)
{
	struct listener_config l = listener_of("good.pem", NULL);

	l.tls.client.enabled = true;
	refused_because(&l, NULL,
			"u.conf:10: listeners.web.tls.client.ca: no CA is named that signs clients' certificates");
	l.tls.client.ca = list_of("ca.pem", "good.key");
	refused_because(&l, NULL,
			"u.conf:12: listeners.web.tls.client.ca: good.key: there is no CA's certificate in PEM form "
			"(-----BEGIN CERTIFICATE-----) in it");
	l.tls.client.ca = list_of("ca.pem", NULL);
	l.tls.client.crl = list_of("ca.crl", "ca.pem");
	refused_because(
		&l, NULL,
		"u.conf:12: listeners.web.tls.client.crl: ca.pem: there is no CRL in it: it takes PEM (-----BEGIN X509 "
		"CRL-----) or DER");
	l.tls.client.crl = list_of("ca.crl", NULL);
	l.tls.client.allow = list_of("cn:a", "a");
	refused_because(
		&l, NULL,
		"u.conf:12: listeners.web.tls.client.allow: a: nothing to compare with: a pattern begins with cn:, "
		"ou:, dns:, uri: or pin:sha256:");
	l.tls.client.allow = list_of("cn:a", NULL);
	struct tls_set *set = set_of(&l, NULL);
	ck_assert_uint_eq(tls_set_file_count(set), 3);
	tls_set_unref(set);
}
END_TEST

START_TEST(upstreams)
{
	struct listener_config l = {.name = "web"};
	struct tls_upstream_config u = {.enabled = true,
					.place = {.file = "u.conf", .line = 20},
					.ca = list_of("absent", NULL)};
	struct tls_certificate_facts f;
	struct tls_set *set = NULL;
	struct config_errors *errors = config_errors_create();

	refused_because(&l, &u, "u.conf:11: listeners.web.proxy.tls.ca: absent: No such file or directory");
	u.ca = list_of("ca.pem", NULL);
	u.name = "";
	refused_because(&l, &u,
			"u.conf:20: listeners.web.proxy.tls.name: the name is empty: leave it out to verify the "
			"upstream's own");
	u.name = NULL;
	u.key = "good.key";
	refused_because(
		&l, &u,
		"u.conf:20: listeners.web.proxy.tls.key: good.key: a key without its certificate: name that with "
		"certificate");
	u.certificate = "other.pem";
	refused_because(&l, &u,
			"u.conf:20: listeners.web.proxy.tls.key: good.key: this private key does not belong to the "
			"certificate in other.pem");
	u.certificate = "good.crt";
	ck_assert_int_eq(tls_set_load(&l, "proxy", &u, NULL, errors, &set), 0);
	ck_assert(!tls_set_accepts(set));
	ck_assert(tls_set_connects(set));
	ck_assert_uint_eq(tls_set_certificate_count(set), 1);
	tls_set_certificate(set, 0, &f);
	ck_assert(f.is_upstream);
	tls_set_unref(set);
	config_errors_destroy(errors);
	setenv("SSL_CERT_FILE", "absent", 1);
	u.ca = (struct option_list){0};
	refused_because(&l, &u, "u.conf:20: listeners.web.proxy.tls.ca: absent: No such file or directory");
}
END_TEST

START_TEST(all_that_is_wrong_is_said_at_once)
{
	struct listener_config l = listener_of("absent", "other.pem");
	struct tls_upstream_config u = {.enabled = true, .ca = list_of("absent", NULL)};
	struct config_errors *errors = config_errors_create();
	struct tls_set *set = NULL;

	l.tls.ciphers = "FOO";
	l.tls.groups = "BAR";
	l.tls.client =
		(struct tls_client_config){.enabled = true, .ca = list_of("ca.pem", NULL), .allow = list_of("x", NULL)};
	ck_assert_int_eq(tls_set_load(&l, "proxy", &u, NULL, errors, &set), -EINVAL);
	ck_assert_uint_eq(config_errors_count(errors), 5);
	config_errors_destroy(errors);
}
END_TEST

START_TEST(a_set_knows_when_its_files_have_changed)
{
	struct listener_config l = listener_of("good.crt", NULL);
	l.tls.key = list_of("good.key", NULL);
	struct tls_set *set = set_of(&l, NULL);

	ck_assert_uint_eq(tls_set_file_count(set), 2);
	ck_assert_str_eq(tls_set_file(set, 0), "good.crt");
	ck_assert_str_eq(tls_set_file(set, 1), "good.key");
	ck_assert(!tls_set_outdated(set));
	made_write_certificate(&good, "good.crt", "w");
	ck_assert(!tls_set_outdated(set)); /* written anew, and the same */
	made_write_certificate(&signer, "good.crt", "a");
	ck_assert(tls_set_outdated(set));
	made_write_certificate(&good, "good.crt", "w");
	ck_assert(!tls_set_outdated(set));
	ck_assert_int_eq(chmod("good.key", 0644), 0);
	ck_assert(tls_set_outdated(set)); /* the next start would refuse it */
	ck_assert_int_eq(chmod("good.key", 0600), 0);
	ck_assert(!tls_set_outdated(set));
	unlink("good.key");
	ck_assert(tls_set_outdated(set));
	tls_set_unref(set);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("tls/set");
	TCase *c = tcase_create("set");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, files_that_cannot_be_read);
	tcase_add_test(c, a_file_of_somebody_else);
	tcase_add_test(c, credentials);
	tcase_add_test(c, keys);
	tcase_add_test(c, certificates);
	tcase_add_test(c, expired_certificates_load);
	tcase_add_test(c, lists);
	tcase_add_test(c, policies);
	tcase_add_test(c, upstreams);
	tcase_add_test(c, all_that_is_wrong_is_said_at_once);
	tcase_add_test(c, a_set_knows_when_its_files_have_changed);
	suite_add_tcase(s, c);
	return suite_run(s);
}

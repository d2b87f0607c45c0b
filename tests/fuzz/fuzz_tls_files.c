/* SPDX-License-Identifier: MIT */
/* Any bytes as a file of the administrator's: a certificate, a key, a list of CAs, a CRL. It is loaded, or refused with
 * an error that says why.
 *
 * Input: a byte that says which file it is and whether the rest is the file, or DER to be wrapped as PEM. */
#include <errno.h>

#include "tls_set.h"

enum role { ROLE_PAIR, ROLE_CERTIFICATE, ROLE_KEY, ROLE_CA, ROLE_CRL, ROLE_UPSTREAM_CA, ROLES };

static struct memory_file input, pair, certificate, key, ca, crl;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	memory_file_open(&input, "");
	memory_file_open(&pair, PEM_A PEM_A_KEY);
	memory_file_open(&certificate, PEM_A);
	memory_file_open(&key, PEM_A_KEY);
	memory_file_open(&ca, PEM_CA);
	memory_file_open(&crl, PEM_CRL);
	return 0;
}

static void write_input(enum role role, bool is_der, const uint8_t *bytes, size_t n)
{
	static const char *const labels[] = {"CERTIFICATE", "CERTIFICATE", "PRIVATE KEY",
					     "CERTIFICATE", "X509 CRL",	   "CERTIFICATE"};
	char *text = NULL;
	if (!is_der) {
		memory_file_write(&input, bytes, n);
		return;
	}
	BIO *memory = BIO_new(BIO_s_mem());
	must(memory && PEM_write_bio(memory, labels[role], "", bytes, (long)n) >= 0);
	if (role == ROLE_PAIR)
		BIO_puts(memory, PEM_A_KEY);
	long made = BIO_get_mem_data(memory, &text);
	memory_file_write(&input, text, (size_t)made);
	BIO_free(memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	if (n < 1 || n > 65536)
		return 0;
	enum role role = (enum role)(bytes[0] % ROLES);
	write_input(role, bytes[0] & 0x80, bytes + 1, n - 1);

	struct listener_config l = fuzz_listener();
	struct tls_upstream_config up = {.enabled = role == ROLE_UPSTREAM_CA, .ca = FUZZ_LIST(input.path)};
	l.tls.enabled = role != ROLE_UPSTREAM_CA;
	l.tls.certificate = FUZZ_LIST(pair.path);
	if (role == ROLE_PAIR)
		l.tls.certificate = FUZZ_LIST(input.path);
	if (role == ROLE_CERTIFICATE || role == ROLE_KEY) {
		l.tls.certificate = FUZZ_LIST(role == ROLE_KEY ? certificate.path : input.path);
		l.tls.key = FUZZ_LIST(role == ROLE_KEY ? input.path : key.path);
	}
	l.tls.client.enabled = role == ROLE_CA || role == ROLE_CRL;
	l.tls.client.ca = FUZZ_LIST(role == ROLE_CA ? input.path : ca.path);
	if (role == ROLE_CRL)
		l.tls.client.crl = FUZZ_LIST(input.path);

	struct tls_set *set = NULL;
	struct config_errors *errors = config_errors_create();
	int failed = tls_set_load(&l, "proxy", &up, NULL, errors, &set);
	must(failed == 0 || failed == -EINVAL);
	must((failed != 0) == (config_errors_count(errors) > 0));
	must((failed == 0) == (set != NULL));
	must(ERR_peek_error() == 0);
	if (set) {
		must(tls_set_file_count(set) > 0 && !tls_set_outdated(set));
		for (unsigned i = 0; i < tls_set_certificate_count(set); i++) {
			struct tls_certificate_facts f;
			tls_set_certificate(set, i, &f);
			must(f.file && f.names && f.key && f.serial);
		}
	}
	config_errors_destroy(errors);
	tls_set_unref(set);
	return 0;
}

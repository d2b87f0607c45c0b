/* SPDX-License-Identifier: MIT */
/* Which certificate a client gets, and what is agreed on. */
#include <check.h>

#include "../suite.h"
#include "pair.h"
#include "tls/session_priv.h"

static struct made rsa, ecdsa, wild, plain;

static void setup(void)
{
	folder_create();
	rsa = make((struct wish){.cn = "rsa", .san = "DNS:www.example,DNS:only-rsa.example", .rsa_bits = 2048});
	ecdsa = make((struct wish){.cn = "ecdsa", .san = "DNS:www.example,DNS:only-ecdsa.example"});
	wild = make((struct wish){.cn = "wild", .san = "DNS:*.example,DNS:*.w.example,DNS:www.example"});
	plain = make((struct wish){.cn = "plain.example"});
	made_write(&rsa, "rsa.pem");
	made_write(&ecdsa, "ecdsa.pem");
	made_write(&wild, "wild.pem");
	made_write(&plain, "plain.pem");
}

static void teardown(void)
{
	made_free(&rsa);
	made_free(&ecdsa);
	made_free(&wild);
	made_free(&plain);
	folder_remove();
}

/* The common name of the certificate that a visitor gets; "" when no handshake comes about. */
static const char *shown(struct tls_set *set, struct visitor v)
{
	static char cn[64];
	bool good = false;
	struct tls_session *s = visit(set, v, &good, NULL);
	X509 *own = SSL_get_certificate(tls_session_ssl(s));

	cn[0] = '\0';
	if (good)
		X509_NAME_get_text_by_NID(X509_get_subject_name(own), NID_commonName, cn, sizeof(cn));
	tls_session_destroy(s);
	return cn;
}

START_TEST(sni_chooses)
{
	const char *names[] = {"rsa.pem", "ecdsa.pem", "wild.pem", "plain.pem"};
	struct config_place places[4] = {0};
	struct listener_config l = listener_of("x", NULL);
	l.tls.certificate = (struct option_list){.at = names, .places = places, .count = 4};
	struct tls_set *set = set_of(&l, NULL);
	const struct {
		const char *sni;
		const char *rsa;   /* for a client that takes RSA alone */
		const char *ecdsa; /* ECDSA alone */
	} cases[] = {
		{"www.example", "rsa", "ecdsa"},
		{"WWW.Example.", "rsa", "ecdsa"},
		{NULL, "rsa", "ecdsa"},		     /* the first, and who shares a name with it */
		{"elsewhere.org", "rsa", "ecdsa"},   /* the same */
		{"only-rsa.example", "rsa", "wild"}, /* the wildcard is a companion too */
		{"only-ecdsa.example", "", "ecdsa"},
		{"x.example", "", "wild"},
		{"x.w.example", "", "wild"},
		{"x.y.w.example", "rsa", "ecdsa"},
		{"plain.example", "", "plain.example"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct visitor v = {.sni = cases[i].sni,
				    .version = TLS1_3_VERSION,
				    .signatures = "rsa_pss_rsae_sha256"};
		ck_assert_msg(strcmp(shown(set, v), cases[i].rsa) == 0, "%zu: rsa", i);
		v.signatures = "ecdsa_secp256r1_sha256";
		ck_assert_msg(strcmp(shown(set, v), cases[i].ecdsa) == 0, "%zu: ecdsa", i);
		v = (struct visitor){.sni = cases[i].sni,
				     .version = TLS1_2_VERSION,
				     .ciphers = "ECDHE-RSA-AES128-GCM-SHA256"};
		ck_assert_msg(strcmp(shown(set, v), cases[i].rsa) == 0, "%zu: rsa in TLS 1.2", i);
		v.ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256";
		ck_assert_msg(strcmp(shown(set, v), cases[i].ecdsa) == 0, "%zu: ecdsa in TLS 1.2", i);
	}
	tls_set_unref(set);
}
END_TEST

START_TEST(alpn_is_chosen_in_our_order)
{
	bool good = false;
	struct tls_facts f;
	struct listener_config l = listener_of("ecdsa.pem", NULL);
	l.tls.alpn = list_of("postgresql", "http/1.1");
	struct tls_set *set = set_of(&l, NULL);
	struct tls_session *s = visit(set, (struct visitor){.alpn = "\x08http/1.1\x0apostgresql"}, &good, NULL);

	ck_assert(good && tls_session_facts(s, &f));
	ck_assert_str_eq(f.alpn, "postgresql");
	tls_session_destroy(s);
	s = visit(set, (struct visitor){0}, &good, NULL);
	ck_assert(good && tls_session_facts(s, &f)); /* who offers nothing gets nothing */
	ck_assert_str_eq(f.alpn, "");
	tls_session_destroy(s);
	s = visit(set, (struct visitor){.alpn = "\x02h2"}, &good, NULL);
	ck_assert(!good);
	ck_assert_int_eq(tls_session_failure(s), TLS_FAILURE_NOTHING_SHARED);
	ck_assert_str_eq(tls_session_failure_text(s), "no shared application protocol (ALPN)");
	tls_session_destroy(s);
	tls_set_unref(set);
}
END_TEST

START_TEST(versions_are_held)
{
	bool good = false;
	struct tls_facts f;
	struct listener_config l = listener_of("ecdsa.pem", NULL);
	struct tls_set *set = set_of(&l, NULL);
	struct tls_session *s = visit(set, (struct visitor){.version = TLS1_2_VERSION}, &good, NULL);

	ck_assert(good && tls_session_facts(s, &f));
	ck_assert_str_eq(f.version, "TLSv1.2");
	ck_assert(!SSL_get_secure_renegotiation_support(tls_session_ssl(s)) ||
		  (SSL_get_options(tls_session_ssl(s)) & SSL_OP_NO_RENEGOTIATION));
	tls_session_destroy(s);
	s = visit(set, (struct visitor){.version = TLS1_1_VERSION, .ciphers = "ALL:@SECLEVEL=0"}, &good, NULL);
	ck_assert(!good);
	ck_assert_int_eq(tls_session_failure(s), TLS_FAILURE_VERSION);
	ck_assert_str_eq(tls_session_failure_text(s), "unsupported protocol");
	ck_assert(!tls_session_facts(s, &f));
	tls_session_destroy(s);
	tls_set_unref(set);
	l.tls.minimum_version = TLS_VERSION_1_3;
	set = set_of(&l, NULL);
	s = visit(set, (struct visitor){.version = TLS1_2_VERSION}, &good, NULL);
	ck_assert(!good);
	ck_assert_int_eq(tls_session_failure(s), TLS_FAILURE_VERSION);
	tls_session_destroy(s);
	tls_set_unref(set);
}
END_TEST

START_TEST(nothing_in_common)
{
	const struct visitor visitors[] = {
		{.version = TLS1_2_VERSION, .ciphers = "ECDHE-RSA-AES128-GCM-SHA256"},
		{.version = TLS1_2_VERSION, .ciphers = "AES128-SHA"},
		{.version = TLS1_3_VERSION, .groups = "P-521"},
		{.version = TLS1_3_VERSION, .signatures = "rsa_pss_rsae_sha256"},
	};
	struct listener_config l = listener_of("ecdsa.pem", NULL);
	struct tls_set *set = set_of(&l, NULL);

	for (size_t i = 0; i < sizeof(visitors) / sizeof(visitors[0]); i++) {
		bool good = true;
		struct tls_session *s = visit(set, visitors[i], &good, NULL);
		ck_assert(!good);
		ck_assert_msg(tls_session_failure(s) == TLS_FAILURE_NOTHING_SHARED, "%zu: %s", i,
			      tls_session_failure_text(s));
		tls_session_destroy(s);
	}
	tls_set_unref(set);
}
END_TEST

/* What a client sends as its first bytes, and what is said of it. */
static const struct {
	const char *bytes;
	size_t n;
	enum tls_failure failure;
} openings[] = {
	{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27, TLS_FAILURE_PLAIN},
	{"POST / HTTP/1.1\r\n", 17, TLS_FAILURE_PLAIN},
	{"CONNECT a:443 HTTP/1.1\r\n\r\n", 26, TLS_FAILURE_PLAIN},
	{"SSH-2.0-OpenSSH_9.2\r\n", 21, TLS_FAILURE_PLAIN},
	{"EHLO a.example\r\n", 16, TLS_FAILURE_PLAIN},
	{"\0\0\0\x08\x04\xd2\x16\x2f", 8, TLS_FAILURE_PLAIN}, /* PostgreSQL's SSLRequest */
	{"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", 10, TLS_FAILURE_PROTOCOL},
	{"\x16\x03\x01\xff\xff\x01\x00\x00\x01\x00", 10, TLS_FAILURE_PROTOCOL},
};

START_TEST(openings_are_told_apart)
{
	struct listener_config l = listener_of("ecdsa.pem", NULL);
	struct tls_set *set = set_of(&l, NULL);
	struct tls_session *s = NULL;
	BIO *in = BIO_new_mem_buf(openings[_i].bytes, (int)openings[_i].n);

	ck_assert_int_eq(tls_session_accept(&s, set), 0);
	SSL_set_bio(tls_session_ssl(s), in, BIO_new(BIO_s_mem()));
	int got = SSL_do_handshake(tls_session_ssl(s));
	ck_assert_int_eq(SSL_get_error(tls_session_ssl(s), got), SSL_ERROR_SSL);
	ck_assert_msg(tls_session_note_failure(s) == openings[_i].failure, "%d: %d %s", _i, tls_session_failure(s),
		      tls_session_failure_text(s));
	ck_assert_uint_eq(ERR_peek_error(), 0);
	ck_assert_int_gt(strlen(tls_session_failure_text(s)), 0);
	tls_session_destroy(s);
	tls_set_unref(set);
}
END_TEST

START_TEST(a_client_that_does_not_trust_us_says_so)
{
	const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	struct listener_config l = listener_of("ecdsa.pem", NULL);
	struct tls_set *set = set_of(&l, NULL);

	for (int i = 0; i < 2; i++) {
		bool good = true;
		struct tls_session *s =
			visit(set, (struct visitor){.version = versions[i], .verifies = true}, &good, NULL);
		ck_assert(!good);
		ck_assert_int_eq(tls_session_failure(s), TLS_FAILURE_ALERT);
		ck_assert_str_eq(tls_session_failure_text(s), "alert: unknown ca");
		tls_session_destroy(s);
	}
	tls_set_unref(set);
}
END_TEST

START_TEST(an_end_without_close_notify_is_told)
{
	bool good = false;
	char byte;
	struct listener_config l = listener_of("ecdsa.pem", NULL);
	struct tls_set *set = set_of(&l, NULL);
	struct tls_session *s = visit(set, (struct visitor){.version = TLS1_3_VERSION}, &good, NULL);

	ck_assert(good);
	BIO *end = BIO_new(BIO_s_mem());
	BIO_set_mem_eof_return(end, 0);
	SSL_set0_rbio(tls_session_ssl(s), end);
	int got = SSL_read(tls_session_ssl(s), &byte, 1);
	ck_assert_int_eq(SSL_get_error(tls_session_ssl(s), got), SSL_ERROR_SSL);
	ck_assert_int_eq(tls_session_note_failure(s), TLS_FAILURE_TRUNCATED);
	ck_assert_int_eq(tls_session_note_failure(s), TLS_FAILURE_TRUNCATED); /* the first stays */
	tls_session_destroy(s);
	tls_set_unref(set);
}
END_TEST

START_TEST(a_strange_sni_is_shown_escaped)
{
	struct tls_set *set = NULL;
	struct tls_session *s = NULL;
	struct listener_config l = listener_of("ecdsa.pem", NULL);

	set = set_of(&l, NULL);
	ck_assert_int_eq(tls_session_accept(&s, set), 0);
	ck_assert_int_eq(tls_session_note_sni(s, "a\x1b[2J\nb", 7), 0);
	ck_assert_str_eq(s->sni, "a\\x1b[2J\\x0ab");
	ck_assert_int_eq(tls_session_note_sni(s, "A.Example", 9), 0);
	ck_assert_str_eq(s->sni, "a.example");
	ck_assert_int_eq(tls_session_note_sni(s, NULL, 0), 0);
	ck_assert_ptr_null(s->sni);
	tls_session_destroy(s);
	tls_set_unref(set);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("tls/server");
	TCase *c = tcase_create("server");
	tcase_set_timeout(c, 30); /* an RSA key a test */
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, sni_chooses);
	tcase_add_test(c, alpn_is_chosen_in_our_order);
	tcase_add_test(c, versions_are_held);
	tcase_add_test(c, nothing_in_common);
	tcase_add_loop_test(c, openings_are_told_apart, 0, (int)(sizeof(openings) / sizeof(openings[0])));
	tcase_add_test(c, a_client_that_does_not_trust_us_says_so);
	tcase_add_test(c, an_end_without_close_notify_is_told);
	tcase_add_test(c, a_strange_sni_is_shown_escaped);
	suite_add_tcase(s, c);
	return suite_run(s);
}

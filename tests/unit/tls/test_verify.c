/* SPDX-License-Identifier: MIT */
/* Who may come in by certificate, and which upstreams are believed. */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>

#include "../suite.h"
#include "pair.h"

static struct made root, intermediate, stranger_ca, server, client;

static void setup(void)
{
	folder_create();
	root = make((struct wish){.cn = "Root", .is_ca = true});
	intermediate = make((struct wish){.cn = "Intermediate", .is_ca = true, .by = &root});
	stranger_ca = make((struct wish){.cn = "Stranger", .is_ca = true});
	server = make((struct wish){.cn = "a", .san = "DNS:a.example"});
	client = make((struct wish){
		.cn = "backup", .ou = "operators", .san = "DNS:db.example,URI:spiffe://x/sa/db", .by = &root});
	made_write(&server, "server.pem");
	made_write_certificate(&root, "root.pem", "w");
	made_write_certificate(&intermediate, "intermediate.pem", "w");
}

static void teardown(void)
{
	made_free(&root);
	made_free(&intermediate);
	made_free(&stranger_ca);
	made_free(&server);
	made_free(&client);
	folder_remove();
}

static struct listener_config with_policy(void)
{
	struct listener_config l = listener_of("server.pem", NULL);
	l.tls.client = (struct tls_client_config){.enabled = true,
						  .ca = list_of("root.pem", NULL),
						  .verify = TLS_VERIFY_REQUIRED};
	return l;
}

/* Who comes with `m` fails so, under both versions; TLS_FAILURE_NONE: comes in. */
static void expect(const struct listener_config *l, const struct made *m, enum tls_failure failure, const char *text)
{
	const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	struct tls_set *set = set_of(l, NULL);

	for (int i = 0; i < 2; i++) {
		bool good = false;
		struct tls_refused refused;
		struct tls_session *s = visit(set, (struct visitor){.version = versions[i], .own = m}, &good, NULL);
		ck_assert_msg(tls_session_failure(s) == failure, "%s", tls_session_failure_text(s));
		ck_assert_int_eq(good, failure == TLS_FAILURE_NONE);
		ck_assert_str_eq(tls_session_failure_text(s), text);
		ck_assert_int_eq(tls_session_refused(s, &refused),
				 failure == TLS_FAILURE_UNTRUSTED || failure == TLS_FAILURE_REFUSED);
		tls_session_destroy(s);
	}
	tls_set_unref(set);
}

START_TEST(whom_the_ca_signed_comes_in)
{
	char line[128];
	struct text t;
	bool good = false;
	struct listener_config l = with_policy();
	struct tls_set *set = set_of(&l, NULL);
	struct tls_session *s = visit(set, (struct visitor){.own = &client}, &good, NULL);

	ck_assert(good);
	text_init(&t, line, sizeof(line));
	tls_session_add_subject(s, &t);
	ck_assert_str_eq(line, "CN=backup,OU=operators,O=Example");
	tls_session_destroy(s);
	tls_set_unref(set);
	expect(&l, NULL, TLS_FAILURE_NO_CERTIFICATE, "peer did not return a certificate");
	l.tls.client.verify = TLS_VERIFY_OPTIONAL;
	expect(&l, NULL, TLS_FAILURE_NONE, "");
	expect(&l, &client, TLS_FAILURE_NONE, "");
}
END_TEST

START_TEST(bad_certificates_are_refused)
{
	const struct {
		struct wish wish;
		const char *text;
	} cases[] = {
		{{.cn = "x", .by = &root, .from = -9 * DAY, .until = -DAY}, "certificate has expired (CN=x,O=Example)"},
		{{.cn = "x", .by = &root, .from = DAY}, "certificate is not yet valid (CN=x,O=Example)"},
		{{.cn = "x", .by = &root, .eku = "serverAuth"}, "unsuitable certificate purpose (CN=x,O=Example)"},
		{{.cn = "x"}, "self-signed certificate (CN=x,O=Example)"},
		{{.cn = "x", .by = &stranger_ca}, "unable to get local issuer certificate (CN=x,O=Example)"},
		{{.cn = "x", .by = &client}, "unable to get local issuer certificate (CN=x,O=Example)"},
		{{.cn = "a\x1b[2Jb", .by = &stranger_ca},
		 "unable to get local issuer certificate (CN=a\\1B[2Jb,O=Example)"},
	};
	struct listener_config l = with_policy();

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct made m = make(cases[i].wish);
		expect(&l, &m, TLS_FAILURE_UNTRUSTED, cases[i].text);
		l.tls.client.verify = TLS_VERIFY_OPTIONAL; /* a bad one is not the same as none */
		expect(&l, &m, TLS_FAILURE_UNTRUSTED, cases[i].text);
		l.tls.client.verify = TLS_VERIFY_REQUIRED;
		made_free(&m);
	}
}
END_TEST

/* A CA's name on a certificate is not its signature. */
START_TEST(a_forged_issuer_is_refused)
{
	struct made forger = make((struct wish){.cn = "Root", .is_ca = true});
	struct made m = make((struct wish){.cn = "backup", .by = &forger});
	struct listener_config l = with_policy();

	expect(&l, &m, TLS_FAILURE_UNTRUSTED, "certificate signature failure (CN=backup,O=Example)");
	made_free(&m);
	made_free(&forger);
}
END_TEST

START_TEST(an_intermediate_ca_alone_is_enough)
{
	struct made m = make((struct wish){.cn = "x", .by = &intermediate});
	struct listener_config l = with_policy();

	expect(&l, &m, TLS_FAILURE_UNTRUSTED, "unable to get local issuer certificate (CN=x,O=Example)");
	l.tls.client.ca = list_of("intermediate.pem", NULL);
	expect(&l, &m, TLS_FAILURE_NONE, "");
	expect(&l, &client, TLS_FAILURE_UNTRUSTED,
	       "unable to get local issuer certificate (CN=backup,OU=operators,O=Example)");
	l.tls.client.ca = list_of("intermediate.pem", "root.pem");
	expect(&l, &m, TLS_FAILURE_NONE, "");
	made_free(&m);
}
END_TEST

START_TEST(revoked_certificates_are_refused)
{
	struct made below = make((struct wish){.cn = "below", .by = &intermediate});
	struct listener_config l = with_policy();
	l.tls.client.ca = list_of("root.pem", "intermediate.pem");
	l.tls.client.crl = list_of("root.crl", NULL);

	made_write_crl(&root, NULL, DAY, "root.crl");
	expect(&l, &client, TLS_FAILURE_NONE, "");
	/* its own certificate must be covered */
	expect(&l, &below, TLS_FAILURE_UNTRUSTED, "unable to get certificate CRL (CN=below,O=Example)");
	made_write_crl(&intermediate, NULL, DAY, "intermediate.crl");
	l.tls.client.crl = list_of("intermediate.crl", NULL);
	expect(&l, &below, TLS_FAILURE_NONE, ""); /* those above it need not */
	l.tls.client.crl = list_of("intermediate.crl", "root.crl");
	expect(&l, &below, TLS_FAILURE_NONE, "");
	made_write_crl(&root, &client, DAY, "root.crl");
	expect(&l, &client, TLS_FAILURE_UNTRUSTED, "certificate revoked (CN=backup,OU=operators,O=Example)");
	made_write_crl(&root, &intermediate, DAY, "root.crl");
	l.tls.client.ca = list_of("root.pem", NULL);
	made_write_certificate(&intermediate, "root.pem", "a");
	expect(&l, &client, TLS_FAILURE_NONE, "");
	/* a CA that its own CA has revoked is not believed, although it is in the file */
	expect(&l, &below, TLS_FAILURE_UNTRUSTED, "unable to get local issuer certificate (CN=below,O=Example)");
	made_write_crl(&root, NULL, -DAY, "root.crl");
	expect(&l, &client, TLS_FAILURE_UNTRUSTED, "CRL has expired (CN=backup,OU=operators,O=Example)");
	made_write_crl(&stranger_ca, &client, DAY, "root.crl"); /* what others revoke counts for nothing */
	expect(&l, &client, TLS_FAILURE_UNTRUSTED, "unable to get certificate CRL (CN=backup,OU=operators,O=Example)");
	made_free(&below);
}
END_TEST

/* An intermediate CA that its root has revoked, when the root alone is believed. */
START_TEST(a_revoked_ca_is_refused)
{
	bool good = true;
	struct made below = make((struct wish){.cn = "below", .by = &intermediate});
	struct listener_config l = with_policy();
	l.tls.client.crl = list_of("root.crl", "intermediate.crl");
	made_write_crl(&root, &intermediate, DAY, "root.crl");
	made_write_crl(&intermediate, NULL, DAY, "intermediate.crl");
	struct tls_set *set = set_of(&l, NULL);
	struct tls_session *s = visit(set, (struct visitor){.own = &below, .above = &intermediate}, &good, NULL);

	ck_assert(!good);
	ck_assert_str_eq(tls_session_failure_text(s), "certificate revoked (CN=Intermediate,O=Example)");
	tls_session_destroy(s);
	tls_set_unref(set);
	made_free(&below);
}
END_TEST

static const struct {
	const char *pattern;
	bool lets_in;
} patterns[] = {
	{"cn:backup", true},
	{"cn:db.example", false},
	{"ou:oper*", true},
	{"ou:backup", false},
	{"dns:*.example", true},
	{"dns:*.org", false},
	{"uri:spiffe://x/sa/*", true},
	{"uri:spiffe://x/*", false},
	{"uri:spiffe://x/**", true},
	{"pin:sha256:0000000000000000000000000000000000000000000000000000000000000000", false},
};

START_TEST(the_list_decides)
{
	struct listener_config l = with_policy();

	l.tls.client.allow = list_of(patterns[_i].pattern, NULL);
	expect(&l, &client, patterns[_i].lets_in ? TLS_FAILURE_NONE : TLS_FAILURE_REFUSED,
	       patterns[_i].lets_in ? "" : "the certificate is good, and matches nothing in tls.client.allow");
	l.tls.client.allow = list_of("cn:nobody", patterns[_i].pattern);
	expect(&l, &client, patterns[_i].lets_in ? TLS_FAILURE_NONE : TLS_FAILURE_REFUSED,
	       patterns[_i].lets_in ? "" : "the certificate is good, and matches nothing in tls.client.allow");
}
END_TEST

START_TEST(who_is_refused_is_named)
{
	struct tls_refused refused;
	struct listener_config l = with_policy();
	l.tls.client.allow = list_of("cn:other", NULL);
	struct tls_set *set = set_of(&l, NULL);
	struct tls_session *s = visit(set, (struct visitor){.own = &client}, NULL, NULL);
	char serial[32];

	snprintf(serial, sizeof(serial), "%04lX",
		 (unsigned long)ASN1_INTEGER_get(X509_get0_serialNumber(client.certificate)));
	ck_assert(tls_session_refused(s, &refused));
	ck_assert_str_eq(refused.subject, "CN=backup,OU=operators,O=Example");
	ck_assert_str_eq(refused.issuer, "CN=Root,O=Example");
	ck_assert_str_eq(refused.serial, serial);
	ck_assert_uint_eq(strlen(refused.fingerprint), 64);
	tls_session_destroy(s);
	tls_set_unref(set);
}
END_TEST

/* Towards upstreams. */

static struct endpoint named(const char *name)
{
	struct endpoint e = {.kind = ENDPOINT_NAME, .port = 443};
	strcpy(e.name, name);
	return e;
}

static struct endpoint addressed(const char *address)
{
	const char *why = NULL;
	struct endpoint e;
	ck_assert_int_eq(endpoint_parse_upstream(&e, address, &why), 0);
	return e;
}

struct upstream {
	const struct made *own;
	int version;
	const char *alpn;
	bool asks; /* for a certificate */
};

static int upstream_alpn(SSL *ssl, const unsigned char **to, unsigned char *n, const unsigned char *offered,
			 unsigned bytes, void *arg)
{
	const char *wanted = arg;
	(void)ssl;
	unsigned char *chosen = NULL;
	if (SSL_select_next_proto(&chosen, n, (const unsigned char *)wanted, (unsigned)strlen(wanted), offered,
				  bytes) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*to = chosen;
	return SSL_TLSEXT_ERR_OK;
}

static struct tls_session *call(const struct tls_upstream_config *u, const struct endpoint *e, struct upstream up,
				const char *alpn, bool *good, char sni[256])
{
	struct listener_config l = {.name = "web"};
	struct tls_set *set = NULL;
	struct tls_session *s = NULL;
	struct config_errors *errors = config_errors_create();
	SSL_CTX *context = SSL_CTX_new(TLS_server_method());
	char wanted[256];

	int failed = tls_set_load(&l, "proxy", u, NULL, errors, &set);
	if (failed)
		config_errors_print(errors, stderr);
	ck_assert_int_eq(failed, 0);
	config_errors_destroy(errors);
	ck_assert_int_eq(SSL_CTX_use_certificate(context, up.own->certificate), 1);
	ck_assert_int_eq(SSL_CTX_use_PrivateKey(context, up.own->key), 1);
	if (up.version)
		SSL_CTX_set_max_proto_version(context, up.version);
	if (up.alpn) {
		snprintf(wanted, sizeof(wanted), "%c%s", (char)strlen(up.alpn), up.alpn);
		SSL_CTX_set_alpn_select_cb(context, upstream_alpn, wanted);
	}
	X509_STORE_add_cert(SSL_CTX_get_cert_store(context), root.certificate);
	if (up.asks)
		SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL *ssl = SSL_new(context);
	SSL_set_accept_state(ssl);
	ck_assert_int_eq(tls_session_connect(&s, set, e, alpn), 0);
	tls_set_unref(set);
	ends_join(tls_session_ssl(s), ssl);
	*good = ends_shake(s, ssl);
	if (sni)
		snprintf(sni, 256, "%s", SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) ?: "");
	SSL_free(ssl);
	SSL_CTX_free(context);
	return s;
}

static struct tls_upstream_config believing_root(void)
{
	return (struct tls_upstream_config){.enabled = true, .ca = list_of("root.pem", NULL)};
}

START_TEST(upstreams_are_verified)
{
	const struct {
		struct wish wish;
		const char *to;	  /* the upstream: with a port an address */
		const char *name; /* proxy.tls.name */
		const char *text; /* "": it is believed */
	} cases[] = {
		{{.san = "DNS:a.example", .by = &root}, "a.example", NULL, ""},
		{{.san = "DNS:a.example", .by = &root}, "A.EXAMPLE.", NULL, ""},
		{{.san = "DNS:*.w.example", .by = &root}, "a.w.example", NULL, ""},
		{{.san = "DNS:*.example", .by = &root},
		 "b.a.example",
		 NULL,
		 "hostname mismatch: the certificate is for *.example, not for b.a.example"},
		{{.san = "DNS:f*.example", .by = &root},
		 "foo.example",
		 NULL,
		 "hostname mismatch: the certificate is for f*.example, not for foo.example"},
		{{.san = "DNS:a.example", .by = &root},
		 "b.example",
		 NULL,
		 "hostname mismatch: the certificate is for a.example, not for b.example"},
		{{.san = "DNS:a.example,DNS:b.example,IP:10.0.0.1,DNS:c.example", .by = &root},
		 "d.example",
		 NULL,
		 "hostname mismatch: the certificate is for a.example, b.example, 10.0.0.1, ..., not for d.example"},
		{{.san = "DNS:a.example", .by = &root}, "b.example", "a.example", ""},
		{{.san = "DNS:a.example", .by = &root}, "10.0.0.1:443", "a.example", ""},
		{{.san = "IP:10.0.0.1", .by = &root}, "10.0.0.1:443", NULL, ""},
		{{.san = "IP:2001:db8::1", .by = &root}, "[2001:db8::1]:443", NULL, ""},
		{{.san = "IP:10.0.0.1", .by = &root},
		 "10.0.0.2:443",
		 NULL,
		 "IP address mismatch: the certificate is for 10.0.0.1, not for 10.0.0.2"},
		{{.cn = "a.example", .by = &root},
		 "a.example",
		 NULL,
		 "hostname mismatch: the certificate is for nothing but CN=a.example,O=Example, not for a.example"},
		{{.cn = "a", .san = "DNS:a.example", .by = &root, .from = -9 * DAY, .until = -DAY},
		 "a.example",
		 NULL,
		 "certificate has expired (CN=a,O=Example)"},
		{{.cn = "a", .san = "DNS:a.example"}, "a.example", NULL, "self-signed certificate (CN=a,O=Example)"},
		{{.cn = "a", .san = "DNS:a.example", .by = &root, .eku = "clientAuth"},
		 "a.example",
		 NULL,
		 "unsuitable certificate purpose (CN=a,O=Example)"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bool good = false;
		struct made m = make(cases[i].wish);
		struct tls_upstream_config u = believing_root();
		u.name = cases[i].name;
		struct endpoint e = strchr(cases[i].to, ':') ? addressed(cases[i].to) : named(cases[i].to);
		struct tls_session *s = call(&u, &e, (struct upstream){.own = &m}, NULL, &good, NULL);
		ck_assert_str_eq(tls_session_failure_text(s), cases[i].text);
		ck_assert_int_eq(good, cases[i].text[0] == '\0');
		tls_session_destroy(s);
		u.insecure_skip_verify = true;
		s = call(&u, &e, (struct upstream){.own = &m}, NULL, &good, NULL);
		ck_assert(good);
		tls_session_destroy(s);
		made_free(&m);
	}
}
END_TEST

START_TEST(upstreams_are_revoked_too)
{
	bool good = true;
	struct made m = make((struct wish){.cn = "a", .san = "DNS:a.example", .by = &root});
	struct tls_upstream_config u = believing_root();
	struct endpoint e = named("a.example");
	u.crl = list_of("root.crl", NULL);
	made_write_crl(&root, &m, DAY, "root.crl");
	struct tls_session *s = call(&u, &e, (struct upstream){.own = &m}, NULL, &good, NULL);

	ck_assert(!good);
	ck_assert_str_eq(tls_session_failure_text(s), "certificate revoked (CN=a,O=Example)");
	tls_session_destroy(s);
	made_free(&m);
}
END_TEST

START_TEST(upstreams_are_told_a_name)
{
	const struct {
		const char *to;
		const char *name;
		const char *sni; /* configured */
		const char *sent;
	} cases[] = {
		{"a.example", NULL, NULL, "a.example"},
		{"a.example.", NULL, NULL, "a.example"},
		{"b.example", "a.example.", NULL, "a.example"},
		{"a.example", NULL, "c.example", "c.example"},
		{"a.example", NULL, "", ""},
		{"10.0.0.1:443", NULL, NULL, ""},
	};
	struct made m = make((struct wish){.san = "DNS:a.example,IP:10.0.0.1", .by = &root});

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		bool good = false;
		char sni[256];
		struct tls_facts f;
		struct tls_upstream_config u = believing_root();
		u.name = cases[i].name;
		u.sni = cases[i].sni;
		struct endpoint e = strchr(cases[i].to, ':') ? addressed(cases[i].to) : named(cases[i].to);
		struct tls_session *s = call(&u, &e, (struct upstream){.own = &m}, NULL, &good, sni);
		ck_assert(good && tls_session_facts(s, &f));
		ck_assert_str_eq(sni, cases[i].sent);
		ck_assert_str_eq(f.sni, cases[i].sent);
		tls_session_destroy(s);
	}
	made_free(&m);
}
END_TEST

START_TEST(a_socket_without_a_name_needs_one)
{
	struct listener_config l = {.name = "web"};
	struct tls_upstream_config u = believing_root();
	struct tls_set *set = NULL;
	struct tls_session *s = NULL;
	struct config_errors *errors = config_errors_create();
	struct endpoint e = addressed("unix:/run/x.sock");

	ck_assert_int_eq(tls_set_load(&l, "proxy", &u, NULL, errors, &set), 0);
	ck_assert_int_eq(tls_session_connect(&s, set, &e, NULL), -EINVAL);
	ck_assert_ptr_null(s);
	tls_set_unref(set);
	config_errors_destroy(errors);
}
END_TEST

START_TEST(alpn_is_passed_on)
{
	bool good = false;
	struct tls_facts f;
	struct made m = make((struct wish){.san = "DNS:a.example", .by = &root});
	struct endpoint e = named("a.example");
	struct tls_upstream_config u = believing_root();
	u.alpn = list_of("http/1.1", "imap");

	struct tls_session *s = call(&u, &e, (struct upstream){.own = &m, .alpn = "imap"}, NULL, &good, NULL);
	ck_assert(good && tls_session_facts(s, &f));
	ck_assert_str_eq(f.alpn, "imap");
	tls_session_destroy(s);
	s = call(&u, &e, (struct upstream){.own = &m, .alpn = "imap"}, "pop3", &good, NULL);
	ck_assert(!good); /* what the client has agreed on is all that is offered */
	ck_assert_int_eq(tls_session_failure(s), TLS_FAILURE_ALERT);
	ck_assert_str_eq(tls_session_failure_text(s), "alert: no application protocol");
	tls_session_destroy(s);
	s = call(&u, &e, (struct upstream){.own = &m, .alpn = "pop3"}, "pop3", &good, NULL);
	ck_assert(good && tls_session_facts(s, &f));
	ck_assert_str_eq(f.alpn, "pop3");
	tls_session_destroy(s);
	made_free(&m);
}
END_TEST

START_TEST(we_show_our_own_certificate)
{
	bool good = false;
	struct made m = make((struct wish){.san = "DNS:a.example", .by = &root});
	struct endpoint e = named("a.example");
	struct tls_upstream_config u = believing_root();
	struct tls_session *s = call(&u, &e, (struct upstream){.own = &m, .asks = true}, NULL, &good, NULL);

	ck_assert(!good);
	ck_assert_int_eq(tls_session_failure(s), TLS_FAILURE_ALERT);
	tls_session_destroy(s);
	made_write(&client, "client.pem");
	u.certificate = "client.pem";
	s = call(&u, &e, (struct upstream){.own = &m, .asks = true}, NULL, &good, NULL);
	ck_assert(good);
	tls_session_destroy(s);
	made_free(&m);
}
END_TEST

START_TEST(upstreams_speak_a_new_version)
{
	bool good = true;
	struct made m = make((struct wish){.san = "DNS:a.example", .by = &root});
	struct endpoint e = named("a.example");
	struct tls_upstream_config u = believing_root();
	u.minimum_version = TLS_VERSION_1_3;
	struct tls_session *s =
		call(&u, &e, (struct upstream){.own = &m, .version = TLS1_2_VERSION}, NULL, &good, NULL);

	ck_assert(!good);
	ck_assert_int_eq(tls_session_failure(s), TLS_FAILURE_ALERT); /* the upstream says it */
	ck_assert_str_eq(tls_session_failure_text(s), "alert: protocol version");
	tls_session_destroy(s);
	made_free(&m);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("tls/verify");
	TCase *c = tcase_create("clients");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, whom_the_ca_signed_comes_in);
	tcase_add_test(c, bad_certificates_are_refused);
	tcase_add_test(c, a_forged_issuer_is_refused);
	tcase_add_test(c, an_intermediate_ca_alone_is_enough);
	tcase_add_test(c, revoked_certificates_are_refused);
	tcase_add_test(c, a_revoked_ca_is_refused);
	tcase_add_loop_test(c, the_list_decides, 0, (int)(sizeof(patterns) / sizeof(patterns[0])));
	tcase_add_test(c, who_is_refused_is_named);
	suite_add_tcase(s, c);
	c = tcase_create("upstreams");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, upstreams_are_verified);
	tcase_add_test(c, upstreams_are_revoked_too);
	tcase_add_test(c, upstreams_are_told_a_name);
	tcase_add_test(c, a_socket_without_a_name_needs_one);
	tcase_add_test(c, alpn_is_passed_on);
	tcase_add_test(c, we_show_our_own_certificate);
	tcase_add_test(c, upstreams_speak_a_new_version);
	suite_add_tcase(s, c);
	return suite_run(s);
}

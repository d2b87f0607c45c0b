/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../suite.h"
#include "sample.h"

#define LISTENER(more) "listeners: { web: {\nlisten = \"*:7\"; echo: {};\n" more " }; };\n"
#define TLS(more) LISTENER("tls: { certificate = \"/c\";\n" more " };")
#define CLIENT(more) TLS("client: { ca = \"/ca\";\n" more " };")
#define PROXY_TO(to, more) "listeners: { web: {\nlisten = \"*:7\"; proxy: { to = " to ";\n" more " }; }; };\n"
#define PROXY(more) PROXY_TO("\"h:1\"", "tls: {\n" more " };")

static struct config_errors *errors;
static struct config *c;

static void setup(void)
{
	errors = config_errors_create();
	c = NULL;
}

static void teardown(void)
{
	config_unref(c);
	config_errors_destroy(errors);
}

static int load(const char *text)
{
	c = config_unref(c);
	return config_load_text("t.conf", text, strlen(text), &sample_services, &c, errors);
}

static const struct tls_config *must_load(const char *text)
{
	int rc = load(text);

	ck_assert_msg(rc == 0, "%s: %s", text, config_errors_line(errors, 0));
	return &c->listeners[0].tls;
}

static const struct tls_upstream_config *must_load_upstream(const char *text)
{
	must_load(text);
	const struct sample_proxy *proxy = c->listeners[0].service_values;
	return &proxy->tls;
}

START_TEST(left_out_nothing_is_set)
{
	static const struct tls_config nothing;
	static const struct tls_upstream_config no_upstream;

	const struct tls_config *tls = must_load(LISTENER(""));
	ck_assert_mem_eq(tls, &nothing, sizeof(nothing));
	ck_assert_int_eq(c->listeners[0].limits.handshakes, 10000);
	ck_assert_uint_eq(c->listeners[0].timeouts.handshake_ms, 10000);

	const struct tls_upstream_config *upstream = must_load_upstream(PROXY_TO("\"h:1\"", ""));
	ck_assert_mem_eq(upstream, &no_upstream, sizeof(no_upstream));
}
END_TEST

START_TEST(given_it_has_its_defaults)
{
	const struct tls_config *tls = must_load(TLS(""));

	ck_assert(tls->enabled);
	ck_assert_str_eq(tls->place.file, "t.conf");
	ck_assert_uint_eq(tls->place.line, 3);
	ck_assert_uint_eq(tls->certificate.count, 1);
	ck_assert_str_eq(tls->certificate.at[0], "/c");
	ck_assert_uint_eq(tls->key.count, 0);
	ck_assert_int_eq(tls->minimum_version, TLS_VERSION_1_2);
	ck_assert_ptr_nonnull(strstr(tls->ciphers, "ECDHE-RSA-CHACHA20-POLY1305:DHE-RSA-AES128-GCM-SHA256"));
	ck_assert_str_eq(tls->ciphersuites,
			 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256");
	ck_assert_str_eq(tls->groups, "X25519:P-256:P-384");
	ck_assert_uint_eq(tls->alpn.count, 0);
	ck_assert_uint_eq(tls->ticket_rotation_ms, 6 * 3600 * 1000);
	ck_assert(!tls->client.enabled);
	ck_assert_ptr_null(tls->client.ca.at);

	tls = must_load(CLIENT(""));
	ck_assert(tls->enabled && tls->client.enabled);
	ck_assert_int_eq(tls->client.verify, TLS_VERIFY_REQUIRED);
	ck_assert_uint_eq(tls->client.ca.count, 1);
	ck_assert_uint_eq(tls->client.crl.count, 0);
	ck_assert_uint_eq(tls->client.allow.count, 0);
}
END_TEST

START_TEST(even_without_an_option_it_is_given)
{
	const struct tls_upstream_config *tls = must_load_upstream(PROXY_TO("\"h:1\"", "tls: {};"));

	ck_assert(tls->enabled);
	ck_assert_uint_eq(tls->place.line, 3);
	ck_assert_uint_eq(tls->ca.count, 0);
	ck_assert_ptr_null(tls->name);
	ck_assert_ptr_null(tls->sni);
	ck_assert_ptr_null(tls->certificate);
	ck_assert_ptr_null(tls->key);
	ck_assert_int_eq(tls->minimum_version, TLS_VERSION_1_2);
	ck_assert(!tls->insecure_skip_verify);
}
END_TEST

START_TEST(reads_all_options)
{
	const struct tls_config *tls = must_load(TLS(
		"key = \"/k\"; minimum_version = \"1.3\"; alpn = [ \"h2\", \"http/1.1\" ]; ticket_rotation = \"0s\";\n"
		"client: { ca = [ \"/a\", \"/b\" ]; verify = \"optional\"; crl = \"/crl\"; allow = \"cn:x\"; };"));
	ck_assert_str_eq(tls->key.at[0], "/k");
	ck_assert_int_eq(tls->minimum_version, TLS_VERSION_1_3);
	ck_assert_str_eq(tls->alpn.at[1], "http/1.1");
	ck_assert_uint_eq(tls->ticket_rotation_ms, 0);
	ck_assert_int_eq(tls->client.verify, TLS_VERIFY_OPTIONAL);
	ck_assert_str_eq(tls->client.ca.at[1], "/b");
	ck_assert_str_eq(tls->client.crl.at[0], "/crl");
	ck_assert_str_eq(tls->client.allow.at[0], "cn:x");
	ck_assert_uint_eq(tls->client.allow.places[0].line, 5);

	const struct tls_upstream_config *upstream = must_load_upstream(PROXY(
		"ca = \"/a\"; crl = \"/crl\"; name = \"db.example\"; sni = \"\"; certificate = \"/c\"; key = \"/k\";\n"
		"minimum_version = \"1.3\"; alpn = \"postgresql\";"));
	ck_assert_str_eq(upstream->name, "db.example");
	ck_assert_str_eq(upstream->sni, "");
	ck_assert_str_eq(upstream->certificate, "/c");
	ck_assert_str_eq(upstream->key, "/k");
	ck_assert_str_eq(upstream->alpn.at[0], "postgresql");

	must_load(LISTENER("limits: { handshakes = 0; }; timeouts: { handshake = \"1h\"; };"));
	ck_assert_int_eq(c->listeners[0].limits.handshakes, 0);
	ck_assert_uint_eq(c->listeners[0].timeouts.handshake_ms, 3600000);
}
END_TEST

#define A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct {
	const char *text;
	const char *error; /* the only one */
} bad[] = {
	/* the group itself */
	{LISTENER("tls: {};"),
	 "t.conf:3: listeners.web.tls.certificate: missing; it must be given: a list of texts, [ \"...\", \"...\" ]"},
	{LISTENER("tls = true;"), "t.conf:3: listeners.web.tls: expected a group, { ... }; found true"},
	{LISTENER("tsl: { certificate = \"/c\"; };"), "t.conf:3: listeners.web.tsl: no such option; did you mean tls?"},
	{LISTENER("certificate = \"/c\";"),
	 "t.conf:3: listeners.web.certificate: no such option; it belongs into the group tls"},
	{LISTENER("handshake = \"1s\";"),
	 "t.conf:3: listeners.web.handshake: no such option; it belongs into the group timeouts"},
	{TLS("certificates = \"/d\";"),
	 "t.conf:4: listeners.web.tls.certificates: no such option; did you mean certificate?"},
	{TLS("verify = \"optional\";"),
	 "t.conf:4: listeners.web.tls.verify: no such option; it belongs into the group client"},
	{TLS("client: {};"), "t.conf:4: listeners.web.tls.client.ca: missing; it must be given: a list of texts, [ "
			     "\"...\", \"...\" ]"},
	{TLS("client = \"/ca\";"),
	 "t.conf:4: listeners.web.tls.client: expected a group, { ... }; found the text \"/ca\""},
	{PROXY_TO("\"h:1\"", "ca = \"/a\";"),
	 "t.conf:3: listeners.web.proxy.ca: no such option; it belongs into the group tls"},
	{PROXY_TO("\"h:1\"", "tls = \"yes\";"),
	 "t.conf:3: listeners.web.proxy.tls: expected a group, { ... }; found the text \"yes\""},
	/* values */
	{LISTENER("tls: { certificate = []; };"),
	 "t.conf:3: listeners.web.tls.certificate: a list of 0 is out of range; allowed: 1 to 1000 elements"},
	{TLS("minimum_version = 1.2;"), "t.conf:4: listeners.web.tls.minimum_version: expected one of the choices as "
					"text, 1.2 or 1.3; found the fraction 1.2"},
	{TLS("minimum_version = \"1.1\";"),
	 "t.conf:4: listeners.web.tls.minimum_version: \"1.1\" is none of the choices; write 1.2 or 1.3"},
	{TLS("ciphers = \"\";"), "t.conf:4: listeners.web.tls.ciphers: \"\" is empty; leave the option out instead"},
	{TLS("ticket_rotation = \"8d\";"),
	 "t.conf:4: listeners.web.tls.ticket_rotation: \"8d\" is out of range; allowed: 0s to 7d"},
	{TLS("ticket_rotation = \"999ms\";"), "t.conf:3: listeners.web.tls.ticket_rotation: is less than 1s; \"0s\" "
					      "switches resumption off"},
	{TLS("alpn = [ \"h2\",\n\"" A64 A64 A64 A64 "\" ];"),
	 "t.conf:5: listeners.web.tls.alpn: \"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa...\" is too "
	 "long; a protocol's name has 1 to 255 bytes"},
	{TLS("alpn = [ \"h2\",\n\"\" ];"), "t.conf:5: listeners.web.tls.alpn: element 2 is empty"},
	{LISTENER("tls: { certificate = [ \"/c\", \"/d\" ];\nkey = \"/k\"; };"),
	 "t.conf:4: listeners.web.tls.key: 1 for 2 of certificate; name one key a certificate, in the same order, or "
	 "none when each certificate's file holds its key"},
	{TLS("key = [ \"/k\", \"/l\" ];"),
	 "t.conf:4: listeners.web.tls.key: 2 for 1 of certificate; name one key a certificate, in the same order, or "
	 "none when each certificate's file holds its key"},
	{CLIENT("verify = \"off\";"),
	 "t.conf:5: listeners.web.tls.client.verify: \"off\" is none of the choices; write required or optional"},
	{LISTENER("limits: { handshakes = -1; };"), "t.conf:3: listeners.web.limits.handshakes: -1 is out of range; "
						    "allowed: 0 to 1000000 handshakes"},
	{LISTENER("timeouts: { handshake = \"0s\"; };"),
	 "t.conf:3: listeners.web.timeouts.handshake: \"0s\" is out of range; allowed: 1ms to 1h"},
	/* upstreams */
	{PROXY("key = \"/k\";"), "t.conf:3: listeners.web.proxy.tls.key: stands without certificate; name the "
				 "certificate that it belongs to"},
	{PROXY("name = \"\";"), "t.conf:4: listeners.web.proxy.tls.name: \"\" is empty; leave the option out instead"},
	{PROXY("name = \"db.example:5432\";"),
	 "t.conf:3: listeners.web.proxy.tls.name: \"db.example:5432\": the host name stands here without a port and "
	 "without brackets; an address may stand here too"},
	{PROXY("name = \"[::1]\";"), "t.conf:3: listeners.web.proxy.tls.name: \"[::1]\": the host name stands here "
				     "without a port and without brackets; an address may stand here too"},
	{PROXY("name = \"a b\";"),
	 "t.conf:3: listeners.web.proxy.tls.name: \"a b\": the host name has a byte that is no letter, digit, hyphen, "
	 "dot or underscore; an address may stand here too"},
	{PROXY("sni = \"db.example.\";"),
	 "t.conf:3: listeners.web.proxy.tls.sni: \"db.example.\": the host name ends in a dot; write it without"},
	{PROXY("sni = \"10.0.0.1\";"), "t.conf:3: listeners.web.proxy.tls.sni: \"10.0.0.1\": addresses are never sent; "
				       "write a host name, or \"\" to send none"},
	{PROXY("sni = \"::1\";"), "t.conf:3: listeners.web.proxy.tls.sni: \"::1\": addresses are never sent; write a "
				  "host name, or \"\" to send none"},
	{PROXY("ca = \"/a\"; insecure_skip_verify = true;"),
	 "t.conf:3: listeners.web.proxy.tls.ca: has no effect with insecure_skip_verify = true, which verifies "
	 "nothing; leave one of them out"},
	{PROXY("crl = \"/a\"; insecure_skip_verify = true;"),
	 "t.conf:3: listeners.web.proxy.tls.crl: has no effect with insecure_skip_verify = true, which verifies "
	 "nothing; leave one of them out"},
	{PROXY("name = \"h\"; insecure_skip_verify = true;"),
	 "t.conf:3: listeners.web.proxy.tls.name: has no effect with insecure_skip_verify = true, which verifies "
	 "nothing; leave one of them out, sni is the name that is sent"},
	{PROXY_TO("[ \"h:1\", \"unix:/run/x\", \"unix:@y\" ]", "tls: {};"),
	 "t.conf:3: listeners.web.proxy.tls.name: missing; unix:/run/x has no host name, so the name that its "
	 "certificate must have is needed"},
};

START_TEST(says_what_is_wrong)
{
	ck_assert_msg(load(bad[_i].text) == -EINVAL, "%s", bad[_i].text);
	ck_assert_str_eq(config_errors_line(errors, 0), bad[_i].error);
	ck_assert_uint_eq(config_errors_count(errors), 1);
}
END_TEST

static const char *const good[] = {
	LISTENER("tls: { certificate = [ \"/c\", \"/d\" ]; key = [ \"/k\", \"/l\" ]; };"),
	TLS("ticket_rotation = \"1s\";"),
	TLS("alpn = \"" A64 A64 A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\";"),
	PROXY("name = \"10.0.0.1\";"),
	PROXY("name = \"fd00::1\";"),
	PROXY("name = \"unix\"; sni = \"Xn--Bcher-Kva.example\";"),
	PROXY("insecure_skip_verify = true; sni = \"h\"; certificate = \"/c\";"),
	PROXY_TO("\"unix:/run/x\"", "tls: { name = \"h\"; };"),
	PROXY_TO("\"unix:/run/x\"", "tls: { insecure_skip_verify = true; };"),
	PROXY_TO("[ \"10.0.0.1:1\", \"[::1]:1\" ]", "tls: {};"),
	PROXY_TO("\"unix:/run/x\"", ""),
};

START_TEST(takes_what_is_right)
{
	must_load(good[_i]);
}
END_TEST

/* What is wrong elsewhere hides nothing, and nothing is asked twice. */
START_TEST(collects_errors_of_all_groups)
{
	ck_assert_int_eq(load("listeners: { a: {\nlisten = \"*:7\"; tls: { alpn = 5; client: { verify = 1; }; };\n"
			      "proxy: { to = \"x\"; tls: { alpn = 5; }; }; }; };"),
			 -EINVAL);
	ck_assert_str_eq(config_errors_line(errors, 0), "t.conf:2: listeners.a.tls.alpn: expected a list of texts, [ "
							"\"...\", \"...\" ]; found the number 5");
	ck_assert_ptr_nonnull(strstr(config_errors_line(errors, 1), "listeners.a.tls.certificate: missing"));
	ck_assert_ptr_nonnull(strstr(config_errors_line(errors, 2), "listeners.a.tls.client.verify: expected"));
	ck_assert_ptr_nonnull(strstr(config_errors_line(errors, 3), "listeners.a.tls.client.ca: missing"));
	ck_assert_ptr_nonnull(strstr(config_errors_line(errors, 4), "listeners.a.proxy.tls.alpn: expected"));
	ck_assert_uint_eq(config_errors_count(errors), 5);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("config/schema_tls");
	TCase *t = tcase_create("schema_tls");

	suite_add_tcase(suite, t);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, left_out_nothing_is_set);
	tcase_add_test(t, given_it_has_its_defaults);
	tcase_add_test(t, even_without_an_option_it_is_given);
	tcase_add_test(t, reads_all_options);
	tcase_add_loop_test(t, says_what_is_wrong, 0, ARRAY_LEN(bad));
	tcase_add_loop_test(t, takes_what_is_right, 0, ARRAY_LEN(good));
	tcase_add_test(t, collects_errors_of_all_groups);
	return suite_run(suite);
}

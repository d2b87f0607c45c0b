/* SPDX-License-Identifier: MIT */
#include "tls/session.h"

#include <check.h>

#include "../suite.h"
#include "pair.h"

START_TEST(a_handshake_tells_its_facts)
{
	struct made m = make((struct wish){.cn = "a.example", .san = "DNS:a.example"});
	struct tls_tickets *tickets = tls_tickets_create();
	struct tls_facts f;
	bool good = false;

	made_write(&m, "a.pem");
	struct listener_config l = listener_of("a.pem", NULL);
	struct tls_set *set = set_of(&l, tickets);
	struct tls_session *s =
		visit(set, (struct visitor){.sni = "A.example", .version = TLS1_3_VERSION}, &good, NULL);
	ck_assert(good);
	ck_assert(tls_session_facts(s, &f));
	ck_assert_str_eq(f.version, "TLSv1.3");
	ck_assert_str_eq(f.cipher, "TLS_AES_128_GCM_SHA256");
	ck_assert_str_eq(f.sni, "a.example");
	ck_assert_str_eq(f.alpn, "");
	ck_assert(!f.resumed);
	ck_assert_int_eq(tls_session_failure(s), TLS_FAILURE_NONE);
	ck_assert_str_eq(tls_session_failure_text(s), "");
	tls_session_destroy(s);
	tls_set_unref(set);
	tls_tickets_destroy(tickets);
	made_free(&m);
}
END_TEST

/* At rest a session still works, and still knows its peer. */
START_TEST(a_session_rests)
{
	struct made ca = make((struct wish){.cn = "CA", .is_ca = true});
	struct made above = make((struct wish){.cn = "Intermediate", .is_ca = true, .by = &ca});
	struct made m = make((struct wish){.cn = "a", .san = "DNS:a.example", .by = &above});
	struct tls_tickets *tickets = tls_tickets_create();
	struct tls_upstream_config u = {.enabled = true, .ca = list_of("ca.pem", NULL), .certificate = "a.pem"};
	struct endpoint e = {.kind = ENDPOINT_NAME, .name = "a.example"};
	struct tls_session *end[2];
	struct config_errors *errors = config_errors_create();
	struct tls_set *set = NULL;
	char line[64];
	struct text t;

	made_write(&m, "a.pem");
	made_write_certificate(&above, "a.pem", "a");
	made_write_certificate(&ca, "ca.pem", "w");
	struct listener_config l = listener_of("a.pem", NULL);
	l.tls.client = (struct tls_client_config){.enabled = true, .ca = list_of("ca.pem", NULL)};
	ck_assert_int_eq(tls_set_load(&l, "proxy", &u, tickets, errors, &set), 0);
	ck_assert_int_eq(tls_session_accept(&end[0], set), 0);
	ck_assert_int_eq(tls_session_connect(&end[1], set, &e, NULL), 0);
	tls_session_rest(end[0]); /* before anything was said */
	ends_join(tls_session_ssl(end[0]), tls_session_ssl(end[1]));
	ck_assert(ends_shake(end[0], tls_session_ssl(end[1])));
	for (int turn = 0; turn < 4; turn++) {
		SSL *from = tls_session_ssl(end[turn % 2]);
		SSL *to = tls_session_ssl(end[1 - turn % 2]);
		char byte = 0;
		ck_assert_int_eq(SSL_write(from, "ab", 2), 2);
		ck_assert_int_eq(SSL_read(to, &byte, 1), 1);
		ck_assert_int_eq(byte, 'a');
		tls_session_rest(end[0]); /* a byte waits at one of them */
		tls_session_rest(end[1]);
		ck_assert_int_eq(SSL_read(to, &byte, 1), 1);
		ck_assert_int_eq(byte, 'b');
		if (turn == 1)
			ck_assert_int_eq(SSL_key_update(from, SSL_KEY_UPDATE_REQUESTED), 1);
		tls_session_rest(end[0]);
		tls_session_rest(end[1]);
	}
	for (int i = 0; i < 2; i++) {
		text_init(&t, line, sizeof(line));
		tls_session_add_subject(end[i], &t);
		ck_assert_str_eq(line, "CN=a,O=Example");
		tls_session_destroy(end[i]);
	}
	tls_set_unref(set);
	config_errors_destroy(errors);
	tls_tickets_destroy(tickets);
	made_free(&ca);
	made_free(&above);
	made_free(&m);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("tls/session");
	TCase *c = tcase_create("session");
	tcase_add_checked_fixture(c, folder_create, folder_remove);
	tcase_add_test(c, a_handshake_tells_its_facts);
	tcase_add_test(c, a_session_rests);
	suite_add_tcase(s, c);
	return suite_run(s);
}

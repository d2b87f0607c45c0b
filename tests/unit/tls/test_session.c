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

int main(void)
{
	Suite *s = suite_create("tls/session");
	TCase *c = tcase_create("session");
	tcase_add_checked_fixture(c, folder_create, folder_remove);
	tcase_add_test(c, a_handshake_tells_its_facts);
	suite_add_tcase(s, c);
	return suite_run(s);
}

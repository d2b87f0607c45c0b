/* SPDX-License-Identifier: MIT */
/* Whose tickets are taken. */
#include "tls/tickets.h"

#include <check.h>

#include "../suite.h"
#include "pair.h"
#include "tls/set_priv.h"
#include "tls/tickets_priv.h"

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
static struct made ca, other_ca, server, client;
static struct tls_tickets *tickets;

static void setup(void)
{
	folder_create();
	ca = make((struct wish){.cn = "CA", .is_ca = true});
	other_ca = make((struct wish){.cn = "CA", .is_ca = true});
	server = make((struct wish){.cn = "a", .san = "DNS:a.example,DNS:b.example"});
	client = make((struct wish){.cn = "backup", .by = &ca, .eku = "clientAuth"});
	made_write(&server, "a.pem");
	made_write_certificate(&ca, "ca.pem", "w");
	tickets = tls_tickets_create();
}

static void teardown(void)
{
	tls_tickets_destroy(tickets);
	made_free(&ca);
	made_free(&other_ca);
	made_free(&server);
	made_free(&client);
	folder_remove();
}

static struct listener_config with_policy(void)
{
	struct listener_config l = listener_of("a.pem", NULL);
	l.tls.client = (struct tls_client_config){.enabled = true,
						  .ca = list_of("ca.pem", NULL),
						  .verify = TLS_VERIFY_REQUIRED};
	return l;
}

static SSL_SESSION *first_visit(struct tls_set *set, int version, const char *sni)
{
	bool good = false;
	SSL_SESSION *kept = NULL;
	tls_session_destroy(visit(set, (struct visitor){.version = version, .sni = sni, .own = &client}, &good, &kept));
	ck_assert(good);
	return kept;
}

/* Comes again with what it got, and comes in; gives the session back. Whether it was resumed. */
static bool resumes(struct tls_set *set, int version, const char *sni, SSL_SESSION *session, SSL_SESSION **next)
{
	struct tls_facts f;
	bool good = false;
	ck_assert_ptr_nonnull(session);
	struct tls_session *s =
		visit(set, (struct visitor){.version = version, .sni = sni, .own = &client, .session = session}, &good,
		      next);
	ck_assert_msg(good, "%s", tls_session_failure_text(s));
	ck_assert(tls_session_facts(s, &f));
	tls_session_destroy(s);
	return f.resumed;
}

START_TEST(a_ticket_resumes_under_its_name_alone)
{
	int version = versions[_i];
	struct listener_config l = listener_of("a.pem", NULL);
	struct tls_set *set = set_of(&l, tickets);
	SSL_SESSION *session = first_visit(set, version, "a.example");

	ck_assert(resumes(set, version, "a.example", session, NULL));
	/* OpenSSL's client asks for the name that the session was made for in TLS 1.2 too, if told */
	ck_assert(!resumes(set, version, "b.example", session, NULL));
	ck_assert(!resumes(set, version, NULL, session, NULL));
	SSL_SESSION_free(session);
	session = first_visit(set, version, NULL);
	ck_assert(resumes(set, version, NULL, session, NULL));
	ck_assert(!resumes(set, version, "a.example", session, NULL));
	SSL_SESSION_free(session);
	tls_set_unref(set);
}
END_TEST

START_TEST(a_ticket_of_another_listener_is_none)
{
	int version = versions[_i];
	struct listener_config l = listener_of("a.pem", NULL);
	struct tls_set *set = set_of(&l, tickets);
	l.name = "other";
	struct tls_set *other = set_of(&l, tickets);
	SSL_SESSION *session = first_visit(set, version, "a.example");

	ck_assert(!resumes(other, version, "a.example", session, NULL));
	ck_assert(resumes(set, version, "a.example", session, NULL));
	SSL_SESSION_free(session);
	tls_set_unref(set);
	tls_set_unref(other);
}
END_TEST

START_TEST(a_reload_keeps_tickets)
{
	int version = versions[_i];
	struct listener_config l = with_policy();
	struct tls_set *set = set_of(&l, tickets);
	SSL_SESSION *session = first_visit(set, version, "a.example");

	tls_set_unref(set);
	made_free(&server);
	server = make((struct wish){.cn = "a", .san = "DNS:a.example"});
	made_write(&server, "a.pem");
	set = set_of(&l, tickets);
	ck_assert(resumes(set, version, "a.example", session, NULL));
	SSL_SESSION_free(session);
	tls_set_unref(set);
}
END_TEST

/* Every change of who may come in ends what was agreed on before. */
START_TEST(another_policy_takes_no_old_tickets)
{
	int version = versions[_i % 2];
	struct listener_config l = _i / 2 == 0 ? listener_of("a.pem", NULL) : with_policy();
	struct listener_config next = with_policy();
	made_write_crl(&ca, NULL, DAY, "ca.crl");
	if (_i / 2 == 3)
		l.tls.client.crl = next.tls.client.crl = list_of("ca.crl", NULL);
	struct tls_set *set = set_of(&l, tickets);
	SSL_SESSION *session = first_visit(set, version, "a.example");
	tls_set_unref(set);

	switch (_i / 2) {
	case 0: /* nobody was asked for a certificate */
		break;
	case 1:
		next.tls.client.verify = TLS_VERIFY_OPTIONAL;
		break;
	case 2:
		next.tls.client.allow = list_of("cn:backup", NULL);
		break;
	case 3:
		made_write_crl(&ca, &server, DAY, "ca.crl");
		break;
	case 4:
		made_write_certificate(&other_ca, "ca.pem", "a");
		break;
	}
	set = set_of(&next, tickets);
	ck_assert(!resumes(set, version, "a.example", session, NULL));
	SSL_SESSION_free(session);
	tls_set_unref(set);
}
END_TEST

/* CVE-2025-23419 and its kind: who is not let in now is not let in by a ticket either. */
START_TEST(a_revoked_client_does_not_resume)
{
	int version = versions[_i];
	bool good = true;
	struct listener_config l = with_policy();
	made_write_crl(&ca, NULL, DAY, "ca.crl");
	l.tls.client.crl = list_of("ca.crl", NULL);
	struct tls_set *set = set_of(&l, tickets);
	SSL_SESSION *session = first_visit(set, version, "a.example");
	ck_assert(resumes(set, version, "a.example", session, NULL));
	tls_set_unref(set);

	made_write_crl(&ca, &client, DAY, "ca.crl");
	set = set_of(&l, tickets);
	struct tls_session *s =
		visit(set, (struct visitor){.version = version, .sni = "a.example", .own = &client, .session = session},
		      &good, NULL);
	ck_assert(!good);
	ck_assert_int_eq(tls_session_failure(s), TLS_FAILURE_UNTRUSTED);
	tls_session_destroy(s);
	SSL_SESSION_free(session);
	tls_set_unref(set);
}
END_TEST

/* With a CRL that is out of date a full handshake lets nobody in: a ticket is no way around that. */
START_TEST(nobody_resumes_without_a_crl_in_force)
{
	int version = versions[_i];
	struct listener_config l = with_policy();
	made_write_crl(&ca, NULL, DAY, "ca.crl");
	l.tls.client.crl = list_of("ca.crl", NULL);
	struct tls_set *set = set_of(&l, tickets);
	SSL_SESSION *session = first_visit(set, version, "a.example");
	ck_assert_int_gt(set->core->crls_expire, time(NULL) + DAY - 60);
	ck_assert_int_le(set->core->crls_expire, time(NULL) + DAY);
	ck_assert(resumes(set, version, "a.example", session, NULL));
	set->core->crls_expire = time(NULL) - 1;
	ck_assert(!resumes(set, version, "a.example", session, NULL));
	SSL_SESSION_free(session);
	tls_set_unref(set);
}
END_TEST

START_TEST(three_generations_are_taken)
{
	int version = versions[_i];
	struct listener_config l = listener_of("a.pem", NULL);
	struct tls_set *set = set_of(&l, tickets);
	SSL_SESSION *oldest = first_visit(set, version, "a.example");
	SSL_SESSION *renewed = NULL;

	for (int age = 1; age <= 3; age++) {
		struct tls_set *next = NULL;
		ck_assert_int_eq(tls_tickets_rotate(tickets), 0);
		ck_assert_int_eq(tls_set_rekey(set, tickets, &next), 0);
		tls_set_unref(set);
		set = next;
		SSL_SESSION_free(renewed);
		renewed = NULL;
		ck_assert_msg(resumes(set, version, "a.example", oldest, &renewed) == (age < 3), "age %d", age);
		ck_assert_ptr_nonnull(renewed); /* a new one came, for what was old */
		ck_assert(resumes(set, version, "a.example", renewed, NULL));
	}
	SSL_SESSION_free(oldest);
	SSL_SESSION_free(renewed);
	tls_set_unref(set);
}
END_TEST

START_TEST(without_rotation_nothing_resumes)
{
	int version = versions[_i];
	struct listener_config l = listener_of("a.pem", NULL);
	l.tls.ticket_rotation_ms = 0;
	struct tls_set *set = set_of(&l, tickets);
	SSL_SESSION *session = first_visit(set, version, "a.example");

	if (session)
		ck_assert(!resumes(set, version, "a.example", session, NULL));
	if (version == TLS1_3_VERSION)
		ck_assert_ptr_null(session);
	SSL_SESSION_free(session);
	tls_set_unref(set);

	l.tls.ticket_rotation_ms = 1000;
	set = set_of(&l, NULL);
	session = first_visit(set, version, "a.example");
	if (session)
		ck_assert(!resumes(set, version, "a.example", session, NULL));
	SSL_SESSION_free(session);
	tls_set_unref(set);
}
END_TEST

START_TEST(a_resumed_session_knows_its_client)
{
	int version = versions[_i];
	char line[128];
	struct text t;
	bool good = false;
	struct listener_config l = with_policy();
	struct tls_set *set = set_of(&l, tickets);
	SSL_SESSION *session = first_visit(set, version, "a.example");
	struct tls_session *s =
		visit(set, (struct visitor){.version = version, .sni = "a.example", .session = session}, &good, NULL);

	ck_assert(good);
	text_init(&t, line, sizeof(line));
	tls_session_add_subject(s, &t);
	ck_assert_str_eq(line, "CN=backup,O=Example");
	tls_session_destroy(s);
	SSL_SESSION_free(session);
	tls_set_unref(set);
}
END_TEST

/* A chain that has ended is not taken for good because a ticket says so; nor in a ticket made from a ticket. */
START_TEST(a_ticket_ends_with_the_clients_certificate)
{
	int version = versions[_i];
	bool good = false;
	void *note = NULL;
	size_t n = 0;
	int64_t expires = 0;
	struct tm tm;
	struct listener_config l = with_policy();
	struct tls_set *set = set_of(&l, tickets);
	made_free(&client);
	client = make((struct wish){.cn = "backup", .by = &ca, .until = 7 * DAY});
	ASN1_TIME_to_tm(X509_get0_notAfter(client.certificate), &tm);
	int64_t end = timegm(&tm);

	SSL_SESSION *session = first_visit(set, version, "a.example");
	struct tls_session *s =
		visit(set, (struct visitor){.version = version, .sni = "a.example", .session = session}, &good, NULL);
	ck_assert(good);
	ck_assert_int_eq(SSL_SESSION_get0_ticket_appdata(SSL_get_session(tls_session_ssl(s)), &note, &n), 1);
	ck_assert(tls_ticket_fits(note, n, "a.example", end, &expires));
	ck_assert_int_eq(expires, end);
	ck_assert(!tls_ticket_fits(note, n, "a.example", end + 1, &expires));
	ck_assert(!tls_ticket_fits(note, n, "b.example", end, &expires));
	ck_assert(!tls_ticket_fits(note, n, NULL, end, &expires));
	ck_assert(!tls_ticket_fits(note, n - 1, "a.example", end, &expires));
	ck_assert(!tls_ticket_fits(note, 3, NULL, end, &expires));
	tls_session_destroy(s);
	SSL_SESSION_free(session);
	tls_set_unref(set);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("tls/tickets");
	TCase *c = tcase_create("tickets");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_loop_test(c, a_ticket_resumes_under_its_name_alone, 0, 2);
	tcase_add_loop_test(c, a_ticket_of_another_listener_is_none, 0, 2);
	tcase_add_loop_test(c, a_reload_keeps_tickets, 0, 2);
	tcase_add_loop_test(c, another_policy_takes_no_old_tickets, 0, 10);
	tcase_add_loop_test(c, a_revoked_client_does_not_resume, 0, 2);
	tcase_add_loop_test(c, nobody_resumes_without_a_crl_in_force, 0, 2);
	tcase_add_loop_test(c, three_generations_are_taken, 0, 2);
	tcase_add_loop_test(c, without_rotation_nothing_resumes, 0, 2);
	tcase_add_loop_test(c, a_resumed_session_knows_its_client, 0, 2);
	tcase_add_loop_test(c, a_ticket_ends_with_the_clients_certificate, 0, 2);
	suite_add_tcase(s, c);
	return suite_run(s);
}

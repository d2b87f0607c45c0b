/* SPDX-License-Identifier: MIT */
#include "daemon/certificates.h"

#include <check.h>
#include <errno.h>

#include "../report/capture.h"
#include "../suite.h"
#include "../tls/ca.h"
#include "base/file_watch.h"
#include "report/log.h"
#include "service/service.h"

#define WEB(more)                                                                                                      \
	"web: { listen = \"127.0.0.1:0\"; tls: { certificate = \"cert.pem\"; key = \"key.pem\"; " more                 \
	" }; echo: {}; };"
#define PLAIN "web: { listen = \"127.0.0.1:0\"; echo: {}; };"

static struct poller poller;
static struct timer_wheel wheel;
static uint64_t now_ms;
static struct certificates *certificates;
static struct config_errors *errors;
static struct passed_sockets none;
static struct listener_set first;
static struct listener_set second;

static void setup(void)
{
	folder_create();
	ck_assert_int_eq(poller_init(&poller), 0);
	now_ms = clock_now_ms();
	timer_wheel_init(&wheel, now_ms);
	errors = config_errors_create();
	certificates = certificates_create();
	ck_assert_ptr_nonnull(certificates);
	certificates_start(certificates, &poller, &wheel);
	capture_begin(0);
}

static void teardown(void)
{
	capture_end();
	certificates_destroy(certificates);
	listeners_close(&first);
	listeners_close(&second);
	config_errors_destroy(errors);
	poller_fini(&poller);
	folder_remove();
}

/* A new pair; `until` in seconds from now. */
static struct made make_pair(const char *name, long until)
{
	char san[64];
	snprintf(san, sizeof(san), "DNS:%s", name);
	return make((struct wish){.cn = name, .san = san, .until = until});
}

static void write_pair(const char *name, long until)
{
	struct made m = make_pair(name, until);
	made_write_certificate(&m, "cert.pem", "w");
	made_write_key(&m, "key.pem", "w");
	made_free(&m);
}

/* What a start or a reload does, with `listeners` as the configuration. */
static int use(struct listener_set *to, struct listener_set *old, const char *listeners)
{
	char text[2048];
	struct config *config;
	snprintf(text, sizeof(text), "listeners: { %s };\n", listeners);
	ck_assert_int_eq(config_load_text("test", text, strlen(text), service_groups(), &config, errors), 0);
	int failed = certificates_prepare(certificates, config, errors);
	if (!failed) {
		ck_assert_int_eq(listeners_open(to, config, old, &none, NULL, errors), 0);
		listeners_commit(to, old ? old : to);
		certificates_commit(certificates, to, now_ms);
	}
	config_unref(config);
	if (!failed && old)
		listeners_close(old);
	return failed;
}

/* Lets time go by, with a turn of the loop whenever something is due. */
static void pass_ms(uint64_t ms)
{
	for (uint64_t end_ms = now_ms + ms; now_ms < end_ms;) {
		while (poller_wait(&poller, 0) > 0)
			poller_dispatch(&poller);
		int sleep_ms = timer_wheel_sleep_ms(&wheel, now_ms);
		uint64_t step_ms = sleep_ms < 0 ? end_ms - now_ms : (uint64_t)sleep_ms;
		now_ms += step_ms < TIMER_TICK_MS ? TIMER_TICK_MS : step_ms;
		now_ms = now_ms < end_ms ? now_ms : end_ms;
		timer_wheel_run(&wheel, now_ms);
	}
}

/* As long as a change may take. */
static void settle(void)
{
	pass_ms(FILE_WATCH_LATEST_MS + FILE_WATCH_QUIET_MS);
}

static unsigned said(const char *what)
{
	capture_now();
	return capture_count(what);
}

/* The names of the first certificate that a socket's clients get. */
static const char *names(const struct listener_set *set)
{
	struct tls_certificate_facts f;
	ck_assert_ptr_nonnull(set->at[0].socket->tls);
	tls_set_certificate(set->at[0].socket->tls, 0, &f);
	return f.names;
}

START_TEST(sockets_have_the_set_of_their_listener)
{
	write_pair("one.example", 100 * DAY);
	ck_assert_int_eq(use(&first, NULL,
			     WEB("") " up: { listen = [ \"127.0.0.1:0\", \"[::1]:0\" ]; proxy: { to = "
				     "\"127.0.0.1:1\"; tls: {}; }; }; plain: { listen = \"127.0.0.1:0\"; echo: {}; };"),
			 0);
	ck_assert_uint_eq(first.count, 4);
	ck_assert(tls_set_accepts(first.at[0].socket->tls));
	ck_assert(!tls_set_connects(first.at[0].socket->tls));
	ck_assert(!tls_set_accepts(first.at[1].socket->tls));
	ck_assert(tls_set_connects(first.at[1].socket->tls));
	ck_assert_ptr_eq(first.at[1].socket->tls, first.at[2].socket->tls);
	ck_assert_ptr_null(first.at[3].socket->tls);
}
END_TEST

START_TEST(all_errors_are_seen_together)
{
	ck_assert_int_eq(use(&first, NULL,
			     WEB("") " other: { listen = \"127.0.0.1:0\"; tls: { certificate = \"none.pem\"; }; echo: "
				     "{}; };"),
			 -EINVAL);
	bool web = false;
	bool other = false;
	for (unsigned i = 0; config_errors_line(errors, i); i++) {
		web = web || strstr(config_errors_line(errors, i), "test:1: listeners.web.tls.");
		other = other ||
			strstr(config_errors_line(errors, i), "test:1: listeners.other.tls.certificate: none.pem");
	}
	ck_assert(web && other);
}
END_TEST

START_TEST(without_tls_there_is_nothing_to_do)
{
	ck_assert_int_eq(use(&first, NULL, PLAIN), 0);
	ck_assert_int_eq(timer_wheel_sleep_ms(&wheel, now_ms), -1);
	settle();
	ck_assert_str_eq(capture_now(), "");
}
END_TEST

START_TEST(a_changed_pair_is_taken_up)
{
	write_pair("one.example", 100 * DAY);
	ck_assert_int_eq(use(&first, NULL, WEB("")), 0);
	settle();
	struct tls_set *before = tls_set_ref(first.at[0].socket->tls);
	ck_assert_str_eq(names(&first), "one.example");
	ck_assert_uint_eq(said("renewed"), 0);

	struct made two = make_pair("two.example", 100 * DAY);
	made_write_certificate(&two, "cert.pem", "w");
	pass_ms(FILE_WATCH_QUIET_MS / 2); /* its key comes a little later, which is no error */
	made_write_key(&two, "key.pem", "w");
	made_free(&two);
	settle();
	ck_assert_str_eq(names(&first), "two.example");
	ck_assert_uint_eq(said("certificate renewed: "), 1);
	ck_assert_uint_eq(said("cert.pem (web): two.example, valid until "), 1);
	ck_assert_uint_eq(said(" error "), 0);

	/* who came in before keeps the old one */
	struct tls_certificate_facts f;
	tls_set_certificate(before, 0, &f);
	ck_assert_str_eq(f.names, "one.example");
	tls_set_unref(before);
}
END_TEST

START_TEST(files_that_were_only_touched_change_nothing)
{
	write_pair("one.example", 100 * DAY);
	ck_assert_int_eq(use(&first, NULL, WEB("")), 0);
	settle();
	const struct tls_set *before = first.at[0].socket->tls;
	ck_assert_int_eq(utimensat(AT_FDCWD, "cert.pem", NULL, 0), 0);
	settle();
	ck_assert_ptr_eq(first.at[0].socket->tls, before);
	ck_assert_str_eq(capture_now(), "");
}
END_TEST

START_TEST(a_broken_pair_keeps_the_old_one_and_is_said_once)
{
	write_pair("one.example", 100 * DAY);
	ck_assert_int_eq(use(&first, NULL, WEB("")), 0);
	settle();
	struct made two = make_pair("two.example", 100 * DAY);
	made_write_certificate(&two, "cert.pem", "w");
	settle();
	ck_assert_str_eq(names(&first), "one.example");
	ck_assert_uint_eq(said("changed TLS files are not taken up (web)"), 1);
	ck_assert_uint_eq(said("stays, valid until "), 1);
	/* tried again in between, and not said again */
	pass_ms(10 * FILE_WATCH_LOOK_MS);
	ck_assert_uint_eq(said("changed TLS files are not taken up (web)"), 1);
	/* but when something has changed */
	file_write("cert.pem", "nothing", 0644);
	settle();
	ck_assert_uint_eq(said("changed TLS files are not taken up (web)"), 2);
	made_write_certificate(&two, "cert.pem", "w");
	made_write_key(&two, "key.pem", "w");
	made_free(&two);
	settle();
	ck_assert_str_eq(names(&first), "two.example");
}
END_TEST

START_TEST(a_reload_puts_new_files_into_effect_or_nothing)
{
	write_pair("one.example", 100 * DAY);
	ck_assert_int_eq(use(&first, NULL, WEB("")), 0);
	settle();
	file_write("cert.pem", "nothing", 0644);
	ck_assert_int_eq(use(&second, &first, WEB("minimum_version = \"1.3\";")), -EINVAL);
	ck_assert_str_eq(names(&first), "one.example");
	write_pair("two.example", 100 * DAY);
	ck_assert_int_eq(use(&second, &first, WEB("minimum_version = \"1.3\";")), 0);
	ck_assert_str_eq(names(&second), "two.example");
	settle();
	write_pair("three.example", 100 * DAY);
	settle();
	ck_assert_str_eq(names(&second), "three.example");
}
END_TEST

START_TEST(a_reload_without_tls_takes_it_away)
{
	write_pair("one.example", 100 * DAY);
	ck_assert_int_eq(use(&first, NULL, WEB("")), 0);
	ck_assert_int_eq(use(&second, &first, PLAIN), 0);
	ck_assert_ptr_null(second.at[0].socket->tls);
	capture_now();
	write_pair("two.example", 100 * DAY);
	settle();
	ck_assert_uint_eq(said("renewed"), 0);
	ck_assert_ptr_null(second.at[0].socket->tls);
}
END_TEST

START_TEST(ticket_keys_change_in_their_time)
{
	write_pair("one.example", 100 * DAY);
	ck_assert_int_eq(use(&first, NULL, WEB("ticket_rotation = \"1h\";")), 0);
	settle();
	struct tls_set *before = tls_set_ref(first.at[0].socket->tls);
	pass_ms(3500000);
	ck_assert_ptr_eq(first.at[0].socket->tls, before);
	pass_ms(120000);
	ck_assert_ptr_ne(first.at[0].socket->tls, before);
	ck_assert_str_eq(names(&first), "one.example");
	tls_set_unref(before);

	/* a reload with another period goes on from where it was */
	ck_assert_int_eq(use(&second, &first, WEB("ticket_rotation = \"2h\";")), 0);
	before = tls_set_ref(second.at[0].socket->tls);
	pass_ms(7000000);
	ck_assert_ptr_eq(second.at[0].socket->tls, before);
	pass_ms(250000);
	ck_assert_ptr_ne(second.at[0].socket->tls, before);
	tls_set_unref(before);
}
END_TEST

START_TEST(without_tickets_nothing_changes)
{
	write_pair("one.example", 100 * DAY);
	ck_assert_int_eq(use(&first, NULL, WEB("ticket_rotation = \"0s\";")), 0);
	const struct tls_set *before = first.at[0].socket->tls;
	pass_ms(8000000);
	ck_assert_ptr_eq(first.at[0].socket->tls, before);
}
END_TEST

START_TEST(what_expires_is_said_once)
{
	write_pair("one.example", 7 * DAY - 100);
	ck_assert_int_eq(use(&first, NULL, WEB("")), 0);
	ck_assert_uint_eq(said(" warning certificate "), 1);
	ck_assert_uint_eq(said("cert.pem (web) expires soon: renew it: one.example, until "), 1);
	ck_assert_uint_eq(said("(6 days left)"), 1);
	ck_assert_int_eq(use(&second, &first, WEB("")), 0);
	pass_ms(8000000);
	ck_assert_uint_eq(said(" warning certificate "), 1);
	write_pair("two.example", DAY - 100);
	settle();
	ck_assert_uint_eq(said(" warning certificate "), 2);
	ck_assert_uint_eq(said("(less than a day left)"), 2); /* in the renewal's record too */
}
END_TEST

START_TEST(upstreams_that_are_not_verified_are_said)
{
	ck_assert_int_eq(use(&first, NULL,
			     "up: { listen = \"127.0.0.1:0\"; proxy: { to = \"127.0.0.1:1\"; tls: { "
			     "insecure_skip_verify = true; }; }; };"),
			 0);
	ck_assert_uint_eq(said("warning insecure_skip_verify is set (up)"), 1);
}
END_TEST

START_TEST(files_that_cannot_be_read_any_more_are_said_once)
{
	write_pair("one.example", 100 * DAY);
	ck_assert_int_eq(chmod("key.pem", 0600), 0);
	ck_assert_int_eq(use(&first, NULL, WEB("")), 0);
	certificates_say_unreadable(certificates);
	ck_assert_str_eq(capture_now(), "");
	if (geteuid() != 0)
		return; /* nobody but root can read what it then cannot */
	ck_assert_int_eq(chmod(folder_path, 0755), 0);
	ck_assert_int_eq(seteuid(65534), 0);
	certificates_say_unreadable(certificates);
	settle();
	ck_assert_uint_eq(said("key.pem (web) was read as root, but user "), 1);
	ck_assert_uint_eq(said("cert.pem"), 0);
	ck_assert_uint_eq(said("not taken up (web)"), 0);
	ck_assert_int_eq(seteuid(0), 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("daemon/certificates");
	TCase *c = tcase_create("certificates");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_set_timeout(c, 60);
	tcase_add_test(c, sockets_have_the_set_of_their_listener);
	tcase_add_test(c, all_errors_are_seen_together);
	tcase_add_test(c, without_tls_there_is_nothing_to_do);
	tcase_add_test(c, a_changed_pair_is_taken_up);
	tcase_add_test(c, files_that_were_only_touched_change_nothing);
	tcase_add_test(c, a_broken_pair_keeps_the_old_one_and_is_said_once);
	tcase_add_test(c, a_reload_puts_new_files_into_effect_or_nothing);
	tcase_add_test(c, a_reload_without_tls_takes_it_away);
	tcase_add_test(c, ticket_keys_change_in_their_time);
	tcase_add_test(c, without_tickets_nothing_changes);
	tcase_add_test(c, what_expires_is_said_once);
	tcase_add_test(c, upstreams_that_are_not_verified_are_said);
	tcase_add_test(c, files_that_cannot_be_read_any_more_are_said_once);
	suite_add_tcase(s, c);
	return suite_run(s);
}

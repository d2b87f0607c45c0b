/* SPDX-License-Identifier: MIT */
#include "report/close_record.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "../suite.h"
#include "report/log_priv.h"

static struct log_entry last;
static char last_message[LOG_MESSAGE_BYTES];
static char last_fields[LOG_RECORD_BYTES]; /* one line each */
static unsigned records;

static unsigned keep(const struct log_entry *e)
{
	last = *e;
	memcpy(last_message, e->message, (size_t)e->message_bytes + 1);
	for (size_t i = 0; i < e->fields_bytes; i++)
		last_fields[i] = e->fields[i] == '\0' ? '\n' : e->fields[i];
	last_fields[e->fields_bytes] = '\0';
	records++;
	return 0;
}

static unsigned flush(void)
{
	return 0;
}

static const struct log_sink sink = {.put = keep, .flush = flush, .wants_fields = true};

static struct close_facts facts = {
	.connection = 42,
	.listener = "web",
	.service = "proxy",
	.peer = "127.0.0.1:4711",
	.peer_address = "127.0.0.1",
	.source = "127.0.0.0/24",
	.local = "[::]:80",
	.upstream = "10.0.0.1:80",
	.duration_ms = 1234,
	.bytes_in = 345,
	.bytes_out = 1234,
	.reason = "client_closed",
	.reason_text = "the client ended the connection",
	.client_tcp = {.known = true, .rtt_us = 120, .retransmits = 1},
	.upstream_tcp = {.known = true, .rtt_us = 80, .retransmits = 2},
};

static void write_and_stop(void)
{
	ck_assert_int_eq(log_start_sink(&sink), 0);
	close_record_write(&facts);
	log_stop(10000);
}

START_TEST(says_everything)
{
	write_and_stop();
	ck_assert_uint_eq(records, 1);
	ck_assert_int_eq(last.level, LOG_LEVEL_INFO);
	ck_assert_int_eq(last.kind, LOG_CLOSED);
	ck_assert_str_eq(last_message, "web: 127.0.0.1:4711 closed after 1.2s, 345 B in, 1.2 KiB out, to 10.0.0.1:80: "
				       "the client ended the connection (client_closed)");
	ck_assert_str_eq(last_fields, "USHER_CONNECTION=42\n"
				      "USHER_LISTENER=web\n"
				      "USHER_SERVICE=proxy\n"
				      "USHER_PEER=127.0.0.1:4711\n"
				      "USHER_PEER_ADDRESS=127.0.0.1\n"
				      "USHER_SOURCE=127.0.0.0/24\n"
				      "USHER_LOCAL=[::]:80\n"
				      "USHER_UPSTREAM=10.0.0.1:80\n"
				      "USHER_REASON=client_closed\n"
				      "USHER_ERROR=0\n"
				      "USHER_DURATION_MS=1234\n"
				      "USHER_BYTES_IN=345\n"
				      "USHER_BYTES_OUT=1234\n"
				      "USHER_RTT_US=120\n"
				      "USHER_RETRANSMITS=1\n"
				      "USHER_UPSTREAM_RTT_US=80\n"
				      "USHER_UPSTREAM_RETRANSMITS=2\n");
}
END_TEST

START_TEST(leaves_out_what_is_unknown)
{
	facts.upstream = NULL;
	facts.peer_address = "";
	facts.client_tcp.known = false;
	facts.upstream_tcp.known = false;
	facts.is_error = true;
	write_and_stop();
	ck_assert_str_eq(last_message, "web: 127.0.0.1:4711 closed after 1.2s, 345 B in, 1.2 KiB out: "
				       "the client ended the connection (client_closed)");
	ck_assert_ptr_null(strstr(last_fields, "UPSTREAM"));
	ck_assert_ptr_null(strstr(last_fields, "PEER_ADDRESS"));
	ck_assert_ptr_null(strstr(last_fields, "RTT"));
	ck_assert_ptr_null(strstr(last_fields, "RETRANSMITS"));
	ck_assert_ptr_nonnull(strstr(last_fields, "USHER_ERROR=1\n"));
}
END_TEST

START_TEST(escapes_once)
{
	facts.peer = "unix:@\\x1b\033";
	write_and_stop();
	ck_assert_ptr_nonnull(strstr(last_message, "web: unix:@\\x1b\\x1b closed"));
	ck_assert_ptr_nonnull(strstr(last_fields, "USHER_PEER=unix:@\\x1b\\x1b\n"));
}
END_TEST

START_TEST(cuts_a_field_that_is_too_long)
{
	static char huge[3000];
	memset(huge, 'a', sizeof(huge) - 1);
	facts.upstream = huge;
	write_and_stop();
	const char *field = strstr(last_fields, "USHER_UPSTREAM=");
	ck_assert_ptr_nonnull(field);
	const char *end = strchr(field, '\n');
	ck_assert_uint_eq((size_t)(end - field), strlen("USHER_UPSTREAM=") + LOG_VALUE_BYTES - 1);
	ck_assert_mem_eq(end - 6, "aaa...", 6);
	ck_assert_ptr_nonnull(strstr(last_fields, "USHER_REASON=client_closed\n"));
	ck_assert_uint_lt(strlen(last_message), LOG_MESSAGE_BYTES);
	ck_assert_str_eq(last_message + strlen(last_message) - 6, "aaa...");
}
END_TEST

/* Every text as long and as strange as it can be: each byte of it takes four. */
START_TEST(leaves_out_whole_what_does_not_fit)
{
	static char huge[400];
	memset(huge, '\x01', sizeof(huge) - 1);
	facts.peer = facts.source = facts.local = facts.upstream = huge;
	facts.client_tls = (struct close_tls){
		.version = huge, .cipher = huge, .sni = huge, .alpn = huge, .subject = huge, .error = huge};
	facts.upstream_tls = facts.client_tls;
	write_and_stop();
	ck_assert_uint_le(last.fields_bytes, LOG_RECORD_BYTES);
	ck_assert_ptr_nonnull(strstr(last_fields, "USHER_BYTES_OUT=1234\n"));
	ck_assert_ptr_null(strstr(last_fields, "USHER_UPSTREAM_TLS_SNI="));
	for (const char *line = last_fields; *line; line = strchr(line, '\n') + 1)
		ck_assert_int_eq(strncmp(line, "USHER_", 6), 0);
}
END_TEST

START_TEST(tells_both_sides_of_tls)
{
	facts.client_tls = (struct close_tls){.version = "TLSv1.3",
					      .cipher = "C",
					      .sni = "a.example",
					      .alpn = "h2",
					      .subject = "CN=a",
					      .resumed = true};
	facts.upstream_tls = (struct close_tls){.version = "TLSv1.2",
						.cipher = "D",
						.sni = "b.example",
						.alpn = "http/1.1",
						.subject = "CN=b",
						.error = "bad"};
	write_and_stop();
	ck_assert_str_eq(strstr(last_fields, "USHER_TLS_VERSION"), "USHER_TLS_VERSION=TLSv1.3\n"
								   "USHER_TLS_CIPHER=C\n"
								   "USHER_TLS_SNI=a.example\n"
								   "USHER_TLS_ALPN=h2\n"
								   "USHER_TLS_CLIENT=CN=a\n"
								   "USHER_TLS_RESUMED=1\n"
								   "USHER_UPSTREAM_TLS_VERSION=TLSv1.2\n"
								   "USHER_UPSTREAM_TLS_CIPHER=D\n"
								   "USHER_UPSTREAM_TLS_SNI=b.example\n"
								   "USHER_UPSTREAM_TLS_ALPN=http/1.1\n"
								   "USHER_UPSTREAM_TLS_SERVER=CN=b\n"
								   "USHER_UPSTREAM_TLS_RESUMED=0\n"
								   "USHER_UPSTREAM_TLS_ERROR=bad\n");
}
END_TEST

START_TEST(is_silent_above_the_level)
{
	log_set_level(LOG_LEVEL_NOTICE);
	write_and_stop();
	ck_assert_uint_eq(records, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("close_record");
	TCase *c = tcase_create("close_record");
	tcase_add_test(c, says_everything);
	tcase_add_test(c, leaves_out_what_is_unknown);
	tcase_add_test(c, escapes_once);
	tcase_add_test(c, cuts_a_field_that_is_too_long);
	tcase_add_test(c, leaves_out_whole_what_does_not_fit);
	tcase_add_test(c, tells_both_sides_of_tls);
	tcase_add_test(c, is_silent_above_the_level);
	suite_add_tcase(s, c);
	return suite_run(s);
}

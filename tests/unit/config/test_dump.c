/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "../suite.h"
#include "config/schema.h"
#include "sample.h"

static struct config *load(const char *text)
{
	struct config_errors *errors = config_errors_create();
	struct config *c = NULL;
	int rc = config_load_text("t.conf", text, strlen(text), &sample_services, &c, errors);

	ck_assert_msg(rc == 0, "%s: %s", text, config_errors_line(errors, 0));
	config_errors_destroy(errors);
	return c;
}

static char *dump(const struct config *c)
{
	char *text = NULL;
	size_t n = 0;
	FILE *to = open_memstream(&text, &n);

	config_dump(c, &sample_services, to);
	fclose(to);
	return text;
}

static const char *const texts[] = {
	"listeners: { e: { listen = \"*:7\"; echo: {}; }; };",
	"workers = 3; group = \"g\"; log_level = \"error\"; drain_timeout = \"0s\"; resolver: { servers = [ \"::1\", "
	"\"1.1.1.1\" ]; };\n"
	"listeners: { p: { listen = [ \"unix:@a\\\\x00b\", \"*:80\" ]; backlog = 5; reuse_address = false; "
	"receive_buffer = \"10MB\";\n"
	"keepalive: { enabled = false; }; unix: { mode = \"0000\"; user = \"u\"; group = \"g\"; };\n"
	"timeouts: { idle = \"1h 30min\"; }; proxy: { to = ( \"h:1\", \"unix:/x y\" ); }; };\n"
	"e: { listen = \"systemd:x\"; echo: {}; }; };",
	"listeners: { e: { listen = \"*:7\"; echo: {}; tls: { certificate = \"/c\"; }; };\n"
	"f: { listen = \"*:8\"; tls: { certificate = [ \"/c\", \"credential:d\" ]; key = [ \"/k\", \"/l\" ]; "
	"minimum_version = \"1.3\"; ciphers = \"A:B\"; ciphersuites = \"C\"; groups = \"D\"; alpn = [ \"h2\", "
	"\"\\x01\" ]; ticket_rotation = \"0s\"; client: { ca = \"/ca\"; verify = \"optional\"; crl = \"/crl\"; "
	"allow = [ \"cn:a*\", \"dns:**\" ]; }; }; limits: { handshakes = 7; }; timeouts: { handshake = \"3s\"; };\n"
	"proxy: { to = \"h:1\"; tls: {}; }; };\n"
	"g: { listen = \"*:9\"; proxy: { to = \"h:1\"; tls: { ca = \"/ca\"; crl = \"/crl\"; name = \"10.0.0.1\"; sni = "
	"\"\"; certificate = \"/c\"; key = \"/k\"; minimum_version = \"1.3\"; alpn = \"x\"; }; }; };\n"
	"h: { listen = \"*:10\"; proxy: { to = \"h:1\"; tls: { insecure_skip_verify = true; }; }; }; };",
	"door: { allow = [ \"10.0.0.0/8\", \"user:a\\\\b\" ]; deny = \"file:/a b\"; trusted = \"::1\"; enforce = "
	"true;\n"
	"limits: { connections = 9; per_source = 8; rate = \"120/min burst 2\"; rate_per_source = \"10/d\"; at_limit = "
	"\"wait\"; };\n"
	"ban: { after = 5; within = \"90s\"; for = \"1h 30min\"; factor = 1; max = \"2d\"; };\n"
	"sources: { entries = 16; ipv4_prefix = 24; ipv6_prefix = 56; };\n"
	"overload: { percent = 0; memory = \"1GB\"; queue_age = \"0s\"; }; };\n"
	"listeners: { e: { listen = [ \"*:7\", \"unix:@x\" ]; echo: {}; allow = [ \"uid:0\", \"fd00::-fd00::ff\" ]; "
	"limits: { rate = \"20/s burst 50\"; at_limit = \"close\"; };\n"
	"bandwidth: { in = \"1024KiB/s\"; out = \"1MB/s burst 4MiB\"; source_in = \"10GB/h\"; source_out = \"1B/d\"; "
	"listener_in = \"0B/min\"; listener_out = \"1TiB/s burst 1TiB\"; };\n"
	"ban: {}; timeouts: { first_byte = \"5s\"; lifetime = \"1d\"; }; };\n"
	"f: { listen = \"*:8\"; echo: {}; timeouts: { minimum_rate = \"1KiB/s\"; }; }; };",
	"user = \"quote\\\" backslash\\\\ tab\\t newline\\n bell\\x07 utf8 \xc3\xa9 latin1 \xe9 \\x7f @include \\x41 "
	"#\";\n"
	"listeners: { p: { listen = \"*:7\"; proxy: { to = \"h:1\"; note = \"\n@include \\\"x\\\"\n\"; }; }; };",
};

START_TEST(a_dump_loads_to_the_same)
{
	struct config *first = load(texts[_i]);
	char *first_text = dump(first);
	struct config *again = load(first_text);
	char *again_text = dump(again);

	ck_assert_str_eq(first_text, again_text);
	ck_assert_str_eq(first->user, again->user);
	ck_assert_uint_eq(first->listener_count, again->listener_count);
	ck_assert_uint_eq(config_diff(first, again, &sample_services, NULL, NULL), 0);
	free(first_text);
	free(again_text);
	config_unref(first);
	config_unref(again);
}
END_TEST

START_TEST(shows_defaults)
{
	struct config *c = load(texts[0]);
	char *text = dump(c);

	ck_assert_ptr_nonnull(strstr(text, "drain_timeout = \"10s\";\n"));
	ck_assert_ptr_nonnull(strstr(text, "# group is not set\n"));
	ck_assert_ptr_nonnull(strstr(text, "\t\t\tmode = \"0660\";\n"));
	ck_assert_ptr_nonnull(strstr(text, "\tallow = [ ];\n"));
	ck_assert_ptr_nonnull(strstr(text, "\t\trate = \"0/s\";\n"));
	ck_assert_ptr_nonnull(strstr(text, "\t\t\tlistener_out = \"0/s\";\n"));
	ck_assert_ptr_nonnull(strstr(text, "\t\tlisten = [ \"*:7\" ];\n"));
	free(text);
	config_unref(c);
}
END_TEST

static void dump_has(const char *text, const char *wanted, bool has)
{
	struct config *c = load(text);
	char *dumped = dump(c);

	ck_assert_msg((strstr(dumped, wanted) != NULL) == has, "%s: %s", text, wanted);
	free(dumped);
	config_unref(c);
}

#define LISTENER(more) "listeners: { e: { listen = \"*:7\"; " more " }; };"

START_TEST(shows_what_was_left_out)
{
	const char *left_out = LISTENER("proxy: { to = \"h:1\"; };");
	dump_has(left_out, "\n\t\t# tls is not set\n", true);
	dump_has(left_out, "\n\t\t\t# tls is not set\n", true);
	dump_has(left_out, "tls: {", false);
	dump_has(left_out, "ticket_rotation", false);

	const char *given = LISTENER("proxy: { to = \"h:1\"; tls: {}; }; tls: { certificate = \"/c\"; };");
	dump_has(given, "# tls is", false);
	dump_has(given, "\n\t\ttls: {\n\t\t\tcertificate = [ \"/c\" ];\n\t\t\tkey = [ ];\n", true);
	dump_has(given, "\n\t\t\tticket_rotation = \"6h\";\n\t\t\t# client is not set\n\t\t};\n", true);
	dump_has(given, "\n\t\t\ttls: {\n\t\t\t\tca = [ ];\n", true);
	dump_has(given, "\n\t\t\t\t# sni is not set\n", true);
	dump_has(given, "\n\t\t\t\tinsecure_skip_verify = false;\n\t\t\t};\n", true);
}
END_TEST

START_TEST(shows_rates_in_their_units)
{
	dump_has(LISTENER("echo: {}; limits: { rate = \"020/s  burst 50\"; };"), "\trate = \"20/s burst 50\";\n", true);
	dump_has(LISTENER("echo: {}; limits: { rate = \"60/min burst 1\"; };"), "\trate = \"60/min\";\n", true);
	dump_has(LISTENER("echo: {}; bandwidth: { in = \"2048KiB/s burst 4096KiB\"; };"),
		 "\tin = \"2MiB/s burst 4MiB\";\n", true);
	dump_has(LISTENER("echo: {};"), "# ban is not set\n", true);
	dump_has(LISTENER("echo: {}; ban: {};"), "\t\tban: {\n\t\t\tafter = 20;\n\t\t\twithin = \"1min\";\n", true);
}
END_TEST

/* Every option has a help text of full sentences and is in the manual. */
static void check_group(const struct option_group *group, const char *manual)
{
	char item[100];

	ck_assert_ptr_nonnull(group->help);
	for (size_t i = 0; i < group->option_count; i++) {
		const struct option_row *o = &group->options[i];
		if (o->type == OPTION_GROUP) {
			check_group(o->group, manual);
			continue;
		}
		snprintf(item, sizeof(item), "\n.It Cm %s\n", o->name);
		ck_assert_msg(strstr(manual, item) != NULL, "%s", o->name);
		ck_assert_msg(o->help && o->help[strlen(o->help) - 1] == '.', "%s", o->name);
	}
}

START_TEST(the_manual_has_every_option)
{
	char *text = NULL;
	size_t n = 0;
	FILE *to = open_memstream(&text, &n);

	config_manual(&sample_services, to);
	fclose(to);
	check_group(&schema_global, text);
	check_group(&schema_listener, text);
	check_group(&sample_proxy, text);
	ck_assert_ptr_nonnull(strstr(text, "number, 0 to 256 threads; default: 0; a change needs a restart.\n"));
	ck_assert_ptr_nonnull(strstr(text, ".Ss listeners.NAME.proxy\n"));
	ck_assert_ptr_nonnull(strstr(text, ".Ss listeners.NAME.tls\nOptional: it counts only when"));
	ck_assert_ptr_nonnull(strstr(text, ".Ss listeners.NAME.tls.client\nOptional: it counts only when"));
	ck_assert_ptr_nonnull(strstr(text, ".Ss listeners.NAME.proxy.tls\nOptional: it counts only when"));
	ck_assert_ptr_nonnull(strstr(text, ".Ss listeners.NAME.limits\nHow much"));
	ck_assert_ptr_nonnull(strstr(text, ".Ss door\nWho may"));
	ck_assert_ptr_nonnull(strstr(text, ".Ss door.ban\nOptional: it counts only when"));
	ck_assert_ptr_nonnull(strstr(text, ".It Cm rate\nrate; default: \\(dq0/s\\(dq.\n"));
	ck_assert_ptr_nonnull(strstr(text, ".It Cm listener_in\nbyte rate; default: \\(dq0/s\\(dq.\n"));
	/* a long value may be broken, a short one need not */
	ck_assert_ptr_nonnull(strstr(text, "TLS_AES_128_GCM_SHA256:\\:TLS_AES_256"));
	ck_assert_ptr_nonnull(strstr(text, "\\(dqX25519:P\\-256:P\\-384\\(dq"));
	free(text);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("config/dump");
	TCase *t = tcase_create("dump");

	suite_add_tcase(suite, t);
	tcase_add_loop_test(t, a_dump_loads_to_the_same, 0, ARRAY_LEN(texts));
	tcase_add_test(t, shows_defaults);
	tcase_add_test(t, shows_what_was_left_out);
	tcase_add_test(t, shows_rates_in_their_units);
	tcase_add_test(t, the_manual_has_every_option);
	return suite_run(suite);
}

/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "sample.h"

#include "../suite.h"

#define ECHO(name, more) name ": { listen = \"127.0.0.1:0\"; echo: {}; " more " };"
#define ONE(more) "listeners: { " ECHO("web", more) " };"

static struct text said;
static char said_bytes[4096];
static unsigned restarts;

static void say(void *arg, const char *text, bool needs_restart)
{
	(void)arg;
	text_printf(&said, "%s\n", text);
	restarts += needs_restart;
}

static struct config *load(const char *text)
{
	struct config_errors *errors = config_errors_create();
	struct config *c = NULL;
	int rc = config_load_text("t.conf", text, strlen(text), &sample_services, &c, errors);

	ck_assert_msg(rc == 0, "%s: %s", text, config_errors_line(errors, 0));
	config_errors_destroy(errors);
	return c;
}

/* Compares two texts; `wanted` is all that is said. */
static void differ(const char *from, const char *to, const char *wanted, unsigned restarts_wanted)
{
	struct config *a = load(from), *b = load(to);
	unsigned lines = 0;

	for (const char *p = wanted; *p; p++)
		lines += *p == '\n';
	text_init(&said, said_bytes, sizeof(said_bytes));
	restarts = 0;
	ck_assert_uint_eq(config_diff(a, b, &sample_services, say, NULL), lines);
	ck_assert_str_eq(said.at, wanted);
	ck_assert_uint_eq(restarts, restarts_wanted);
	config_unref(a);
	config_unref(b);
}

START_TEST(nothing)
{
	differ(ONE(""), "workers = 0;\n\n" ONE("timeouts: { idle = \"60min\"; };"), "", 0);
}
END_TEST

START_TEST(values)
{
	differ(ONE("timeouts: { idle = \"10min\"; };"), ONE("timeouts: { idle = \"5min\"; };"),
	       "listener web: timeouts.idle: 10min -> 5min\n", 0);
	differ("workers = 2;" ONE(""), "workers = 4; user = \"x\"; group = \"y\";" ONE(""),
	       "workers: 2 -> 4 (needs a restart)\nuser: \"usher\" -> \"x\" (needs a restart)\n"
	       "group: not set -> \"y\" (needs a restart)\n",
	       3);
	differ(ONE(""), ONE("reuse_address = false;"),
	       "listener web: reuse_address: true -> false (counts for sockets that are opened from now on)\n", 0);
	differ(ONE(""),
	       "log_level = \"debug\"; resolver: { servers = \"::1\"; };" ONE(
		       "send_buffer = \"1MiB\"; limits: { connections = 5; };"),
	       "log_level: info -> debug\nresolver.servers: not set -> \"::1\"\nlistener web: send_buffer: 0B -> 1MiB\n"
	       "listener web: limits.connections: 0 -> 5\n",
	       0);
}
END_TEST

START_TEST(listeners)
{
	differ("listeners: { " ECHO("a", "") ECHO("b", "") " };", "listeners: { " ECHO("c", "") ECHO("b", "") " };",
	       "listener a: removed\nlistener c: added\n", 0);
	differ("listeners: { " ECHO("a", "") ECHO("b", "") " };", "listeners: { " ECHO("b", "") ECHO("a", "") " };", "",
	       0);
	differ("listeners: { w: { listen = \"*:1\"; proxy: { to = \"h:1\"; }; }; };",
	       "listeners: { w: { listen = [ \"*:1\", \"*:2\" ]; proxy: { to = [ \"h:2\" ]; note = \"x\"; }; }; };",
	       "listener w: listen: \"*:1\" -> \"*:1\", \"*:2\"\nlistener w: proxy.to: \"h:1\" -> \"h:2\"\n"
	       "listener w: proxy.note: not set -> \"x\"\n",
	       0);
	differ("listeners: { w: { listen = \"*:1\"; proxy: { to = \"h:1\"; }; }; };",
	       "listeners: { w: { listen = \"*:1\"; echo: {}; }; };", "listener w: service: proxy -> echo\n", 0);
}
END_TEST

#define TLS(more) ONE("tls: { certificate = \"/c\"; " more " };")
#define PROXY(more) "listeners: { w: { listen = \"*:1\"; proxy: { to = \"h:1\"; " more " }; }; };"

/* A group that may be left out is one thing while it comes and goes, and its options are while it stays. */
START_TEST(optional_groups)
{
	differ(ONE(""), TLS("alpn = \"h2\"; client: { ca = \"/ca\"; };"), "listener web: tls: added\n", 0);
	differ(TLS("alpn = \"h2\"; client: { ca = \"/ca\"; };"), ONE(""), "listener web: tls: removed\n", 0);
	differ(TLS(""), TLS("client: { ca = \"/ca\"; };"), "listener web: tls.client: added\n", 0);
	differ(TLS("alpn = \"h2\"; client: { ca = \"/ca\"; };"), TLS("minimum_version = \"1.3\";"),
	       "listener web: tls.minimum_version: 1.2 -> 1.3\nlistener web: tls.alpn: \"h2\" -> not set\n"
	       "listener web: tls.client: removed\n",
	       0);
	differ(TLS("client: { ca = \"/ca\"; };"), TLS("client: { ca = [ \"/ca\", \"/x\" ]; verify = \"optional\"; };"),
	       "listener web: tls.client.ca: \"/ca\" -> \"/ca\", \"/x\"\n"
	       "listener web: tls.client.verify: required -> optional\n",
	       0);
	differ(PROXY(""), PROXY("tls: {};"), "listener w: proxy.tls: added\n", 0);
	differ(PROXY("tls: {};"), PROXY("tls: { sni = \"\"; };"), "listener w: proxy.tls.sni: not set -> \"\"\n", 0);
	differ(PROXY("tls: { sni = \"x\"; };"), PROXY(""), "listener w: proxy.tls: removed\n", 0);
	differ(TLS("key = [];"), "\n" TLS("ticket_rotation = \"360min\";"), "", 0);
}
END_TEST

START_TEST(the_door)
{
	differ(ONE(""), "door: { limits: { rate = \"0/min\"; }; };" ONE("bandwidth: { in = \"0B/s\"; };"), "", 0);
	differ(ONE("limits: { rate = \"20/s\"; };"), ONE("limits: { rate = \"20/s burst 20\"; };"), "", 0);
	differ(ONE("limits: { rate = \"20/s\"; };"), ONE("limits: { rate = \"20/s burst 50\"; };"),
	       "listener web: limits.rate: 20/s -> 20/s burst 50\n", 0);
	differ(ONE("bandwidth: { out = \"1MiB/s\"; };"), ONE("bandwidth: { out = \"1MiB/min\"; };"),
	       "listener web: bandwidth.out: 1MiB/s -> 1MiB/min\n", 0);
	differ(ONE(""),
	       "door: { deny = \"::1\"; sources: { entries = 500; ipv6_prefix = 56; }; };" ONE("allow = \"10.0.0.1\";"),
	       "door.deny: not set -> \"::1\"\ndoor.sources.entries: 1000000 -> 500 (needs a restart)\n"
	       "door.sources.ipv6_prefix: 64 -> 56\nlistener web: allow: not set -> \"10.0.0.1\"\n",
	       1);
	differ("door: { ban: {}; };" ONE(""), ONE("ban: {};"), "door.ban: removed\nlistener web: ban: added\n", 0);
	differ(ONE("ban: {};"), ONE("ban: { for = \"20min\"; };"), "listener web: ban.for: 10min -> 20min\n", 0);
}
END_TEST

START_TEST(long_values_are_cut_but_compared_whole)
{
	char from[3000], to[3000];
	char name[1001];

	memset(name, 'a', 1000);
	name[1000] = '\0';
	snprintf(from, sizeof(from), "user = \"%s\"; %s", name, ONE(""));
	name[999] = 'b';
	snprintf(to, sizeof(to), "user = \"%s\"; %s", name, ONE(""));
	struct config *a = load(from), *b = load(to);
	text_init(&said, said_bytes, sizeof(said_bytes));
	ck_assert_uint_eq(config_diff(a, b, &sample_services, say, NULL), 1);
	ck_assert_ptr_nonnull(strstr(said.at, "aaa... -> \"aaa"));
	ck_assert_ptr_nonnull(strstr(said.at, "(needs a restart)"));
	config_unref(a);
	config_unref(b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("config/diff");
	TCase *t = tcase_create("diff");

	suite_add_tcase(suite, t);
	tcase_add_test(t, nothing);
	tcase_add_test(t, values);
	tcase_add_test(t, listeners);
	tcase_add_test(t, optional_groups);
	tcase_add_test(t, the_door);
	tcase_add_test(t, long_values_are_cut_but_compared_whole);
	return suite_run(suite);
}

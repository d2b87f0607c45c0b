/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "../suite.h"
#include "folder.h"
#include "sample.h"

#define ECHO "listeners: { e: { listen = \"*:7\"; echo: {}; }; };\n"
#define IN_LISTENER(text) "listeners: { e: { listen = \"*:7\"; echo: {}; " text " }; };\n"

static struct config_errors *errors;
static struct config *c;

static void setup(void)
{
	folder_create();
	errors = config_errors_create();
	c = NULL;
}

static void teardown(void)
{
	config_unref(c);
	config_errors_destroy(errors);
	folder_remove();
}

static int load(const char *text)
{
	return config_load_text("t.conf", text, strlen(text), &sample_services, &c, errors);
}

static void must_load(const char *text)
{
	int rc = load(text);

	ck_assert_msg(rc == 0, "%s: %s", text, config_errors_line(errors, 0));
	ck_assert_uint_eq(config_errors_count(errors), 0);
}

START_TEST(fills_in_defaults)
{
	must_load(ECHO);
	ck_assert_int_eq(c->workers, 0);
	ck_assert_str_eq(c->user, "usher");
	ck_assert_ptr_null(c->group);
	ck_assert_uint_eq(c->drain_timeout_ms, 10000);
	ck_assert_int_eq(c->log_level, 3);
	ck_assert_uint_eq(c->resolver.servers.count, 0);
	ck_assert_int_eq(c->resolver.tries, 2);
	ck_assert_uint_eq(c->resolver.ttl_max_ms, 3600000);
	ck_assert_uint_eq(c->listener_count, 1);

	const struct listener_config *l = config_find_listener(c, "e");
	ck_assert_ptr_nonnull(l);
	ck_assert_ptr_null(config_find_listener(c, "f"));
	ck_assert_str_eq(l->name, "e");
	ck_assert_uint_eq(l->listen.count, 1);
	ck_assert_int_eq(l->endpoints[0].kind, ENDPOINT_ANY);
	ck_assert(l->reuse_address && l->nodelay && l->keepalive.enabled);
	ck_assert_uint_eq(l->keepalive.idle_ms, 60000);
	ck_assert_int_eq(l->keepalive.count, 6);
	ck_assert_uint_eq(l->user_timeout_ms, 120000);
	ck_assert_uint_eq(l->defer_accept_ms, 0);
	ck_assert_uint_eq(l->timeouts.idle_ms, 3600000);
	ck_assert_int_eq(l->unix_socket.mode, 0660);
	ck_assert_ptr_null(l->unix_socket.user);
	ck_assert_uint_eq(l->service, 0);
	ck_assert_ptr_nonnull(l->service_values);
}
END_TEST

/* c-ares doubles the time with each try: a name that no server answers for ends before its connection does. */
START_TEST(default_lookup_fits_into_connect)
{
	uint64_t all = 0;

	must_load(ECHO);
	for (int i = 0; i < c->resolver.tries; i++)
		all += c->resolver.timeout_ms << i;
	ck_assert_uint_lt(all, c->listeners[0].timeouts.connect_ms);
}
END_TEST

START_TEST(reads_all_types)
{
	must_load(
		"workers = 0x10; user = \"a\\\"b\\\\\\x41\" \"c\"; drain_timeout = \"1min 30s\"; log_level = "
		"\"debug\";\r\n"
		"resolver: { servers = ( \"::1\", \"10.0.0.1:54\" ); };\n"
		"listeners: { p: { listen = [ \"*:7\",\n\"unix:/x\"\n\n];\nnodelay = FALSE; send_buffer = \"64KiB\"; \n"
		"unix: { mode = \"0600\"; };\nproxy: { to = \"localhost:80\"; }; }; };\n");
	ck_assert_int_eq(c->workers, 16);
	ck_assert_str_eq(c->user, "a\"b\\Ac");
	ck_assert_uint_eq(c->drain_timeout_ms, 90000);
	ck_assert_int_eq(c->log_level, 4);
	ck_assert_str_eq(c->resolver.servers.at[1], "10.0.0.1:54");

	const struct listener_config *l = &c->listeners[0];
	ck_assert_uint_eq(l->place.line, 3);
	ck_assert_uint_eq(l->listen.places[0].line, 3);
	ck_assert_uint_eq(l->listen.places[1].line, 4);
	ck_assert(!l->nodelay);
	ck_assert_uint_eq(l->send_buffer_bytes, 65536);
	ck_assert_int_eq(l->unix_socket.mode, 0600);
	ck_assert_uint_eq(l->service, 1);
	const struct sample_proxy *proxy = l->service_values;
	ck_assert_uint_eq(proxy->to.count, 1);
	ck_assert_str_eq(proxy->upstreams[0].name, "localhost");
}
END_TEST

static const struct {
	const char *text;
	const char *error; /* the first one's beginning */
} bad[] = {
	/* what libconfig says */
	{"workers = 1;\nworkers = 2;\n", "t.conf:2: set twice in the same group, in or before: workers = 2;"},
	{"workers = ;\n", "t.conf:1: syntax error, in or before: workers = ;"},
	{"a = [ 1,\n \"x\" ];\n", "t.conf:2: mismatched element type in array"},
	{"user = \"x\";\nbad", "t.conf:2: syntax error, in or before: bad"},
	{"user = \"x\";\nbad =\n\n# x\n/*\n*/\n", "t.conf:2: syntax error, in or before: bad ="},
	/* numbers that it would take for others */
	{"\nworkers = 3000000000;" ECHO, "t.conf:2: workers: 3000000000: integers go from"},
	{"workers = 4294967297;" ECHO, "t.conf:1: workers: 4294967297: integers go from"},
	{"workers = 4294967297L;" ECHO, "t.conf:1: workers: 4294967297L: integers go from"},
	{"workers = 0x100000001;" ECHO, "t.conf:1: workers: 0x100000001: integers go from"},
	{"listeners: { web: { true = 1; limits: { connections = 3000000000; }; echo: {}; }; };",
	 "t.conf:1: listeners.web.limits.connections: 3000000000: integers go from"},
	{"x = [ true, 3000000000 ];", "t.conf:1: x: 3000000000: integers go from"},
	/* names */
	{"wokers = 1;" ECHO, "t.conf:1: wokers: no such option; did you mean workers?"},
	{"listener = 1;" ECHO, "t.conf:1: listener: no such option; did you mean listeners?"},
	{"completely = 1;" ECHO,
	 "t.conf:1: completely: no such option; allowed here: workers, user, group, state_directory, drain_timeout, "
	 "log_level, resolver, door, listeners"},
	{"tries = 1;" ECHO, "t.conf:1: tries: no such option; it belongs into the group resolver"},
	{IN_LISTENER("limits: { conections = 1; };"),
	 "t.conf:1: listeners.e.limits.conections: no such option; did you mean connections?"},
	{IN_LISTENER("idle = \"1s\";"),
	 "t.conf:1: listeners.e.idle: no such option; it belongs into the group keepalive or timeouts"},
	{"listeners: { e: { listen = \"*:7\"; echo: { x = 1; }; }; };",
	 "t.conf:1: listeners.e.echo.x: no such option; allowed here: nothing"},
	/* types */
	{"workers = 1.5;" ECHO, "t.conf:1: workers: expected a whole number, 0 to 256; found the fraction 1.5"},
	{"workers = \"1\";" ECHO, "t.conf:1: workers: expected a whole number, 0 to 256; found the text \"1\""},
	{"workers = [ 1 ];" ECHO, "t.conf:1: workers: expected a whole number, 0 to 256; found a list"},
	{"user = 5;" ECHO, "t.conf:1: user: expected text in quotes; found the number 5"},
	{"user = \"\";" ECHO, "t.conf:1: user: \"\" is empty"},
	{"drain_timeout = 600;" ECHO, "t.conf:1: drain_timeout: 600 has no unit; write \"600s\""},
	{"drain_timeout = true;" ECHO, "t.conf:1: drain_timeout: expected a duration as text, \"10s\"; found true"},
	{"log_level = \"all\";" ECHO,
	 "t.conf:1: log_level: \"all\" is none of the choices; write error, warning, notice, info or debug"},
	{"resolver = 5;" ECHO, "t.conf:1: resolver: expected a group, { ... }; found the number 5"},
	{"resolver: { servers = [ 5 ]; };" ECHO,
	 "t.conf:1: resolver.servers: element 1: expected text in quotes; found the number 5"},
	{"resolver: { servers = ( \"::1\",\n( ) ); };" ECHO,
	 "t.conf:2: resolver.servers: element 2: expected text in quotes; found a list"},
	{"resolver: { servers = \"a.example\"; };" ECHO,
	 "t.conf:1: resolver.servers: \"a.example\": a DNS server is an address"},
	{"resolver: { servers = [ \"::1\",\n\"fe80::1%lo\" ]; };" ECHO,
	 "t.conf:2: resolver.servers: \"fe80::1%lo\": a name server needs an address without a zone"},
	{"resolver: { ttl_min = \"2h\"; };" ECHO, "t.conf:1: resolver.ttl_min: is greater than ttl_max"},
	{IN_LISTENER("receive_buffer = 65536;"),
	 "t.conf:1: listeners.e.receive_buffer: 65536 has no unit; write \"65536B\""},
	{IN_LISTENER("nodelay = 1;"), "t.conf:1: listeners.e.nodelay: expected true or false; found the number 1"},
	{IN_LISTENER("unix: { mode = 0660; };"),
	 "t.conf:1: listeners.e.unix.mode: 660 is a number; a mode is text: write \"0660\""},
	{IN_LISTENER("unix: { mode = \"7777\"; };"),
	 "t.conf:1: listeners.e.unix.mode: \"7777\" is out of range; allowed: 0000 to 0777"},
	/* ranges */
	{"workers = 257;" ECHO, "t.conf:1: workers: 257 is out of range; allowed: 0 to 256 threads"},
	{"workers = -1;" ECHO, "t.conf:1: workers: -1 is out of range"},
	{IN_LISTENER("send_buffer = \"2GiB\";"),
	 "t.conf:1: listeners.e.send_buffer: \"2GiB\" is out of range; allowed: 0B to 1GiB"},
	{IN_LISTENER("timeouts: { connect = \"0s\"; };"),
	 "t.conf:1: listeners.e.timeouts.connect: \"0s\" is out of range; allowed: 1ms to 1h"},
	{IN_LISTENER("keepalive: { idle = \"1500ms\"; };"),
	 "t.conf:1: listeners.e.keepalive.idle: the kernel counts this in whole seconds"},
	{IN_LISTENER("defer_accept = \"1ms\";"),
	 "t.conf:1: listeners.e.defer_accept: the kernel counts this in whole seconds"},
	/* listeners */
	{"", "t.conf: listeners: missing; at least one listener is needed"},
	{"listeners: {};", "t.conf:1: listeners: 0 listeners; 1 to 4096 are allowed"},
	{"listeners = ( );", "t.conf:1: listeners: expected a group, { ... }; found a list"},
	{"listeners: { e = 5; };", "t.conf:1: listeners.e: expected a group, { ... }; found the number 5"},
	{"listeners: { e*: { listen = \"*:7\"; echo: {}; }; };", "t.conf:1: listeners.e*: a listener's name holds"},
	{"listeners: { e: { echo: {}; }; };",
	 "t.conf:1: listeners.e.listen: missing; it must be given: a list of texts"},
	{"listeners: { e: { listen = []; echo: {}; }; };",
	 "t.conf:1: listeners.e.listen: a list of 0 is out of range; allowed: 1 to 64 elements"},
	{"listeners: { e: { listen = [ \"*:7\",\n\"*:99999\"\n\n]; echo: {}; }; };",
	 "t.conf:2: listeners.e.listen: \"*:99999\": the port is too large"},
	{"listeners: { e: { listen = [ \"*:7\",\n\"\"\n\n]; echo: {}; }; };",
	 "t.conf:2: listeners.e.listen: element 2 is empty"},
	{"listeners: {\ne: { listen = \"*:7\"; }; };",
	 "t.conf:2: listeners.e: names no service; add the group of one of these: echo, proxy"},
	{"listeners: { e: { listen = \"*:7\"; echo: {};\nproxy: {}; }; };",
	 "t.conf:2: listeners.e: names 2 services: echo, proxy; exactly one is allowed"},
	{"listeners: { e: { listen = \"*:7\"; echo = true; }; };",
	 "t.conf:1: listeners.e.echo: expected a group, { ... }; found true"},
	{"listeners: { e: { listen = \"*:7\";\nproxy: {}; }; };", "t.conf:2: listeners.e.proxy.to: missing"},
	{"listeners: { e: { listen = \"*:7\"; proxy: { to = [\"a:1\",\n\"b\"\n]; }; }; };",
	 "t.conf:2: listeners.e.proxy: to: \"b\": the port is missing"},
	{"listeners: { a: { listen = \"[::0]:7\"; echo: {}; };\nb: { listen = [ \"*:8\", \"[::]:7\" ]; echo: {}; }; };",
	 "t.conf:2: listeners.b.listen: \"[::]:7\" is listened on already by listener a (t.conf:1)"},
	{"listeners: { a: { listen = [ \"unix:/x\",\n\"unix:/x\" ]; echo: {}; }; };",
	 "t.conf:2: listeners.a.listen: \"unix:/x\" is listened on already by listener a (t.conf:1)"},
};

START_TEST(says_what_is_wrong)
{
	ck_assert_msg(load(bad[_i].text) == -EINVAL, "%s", bad[_i].text);
	ck_assert_ptr_null(c);
	const char *line = config_errors_line(errors, 0);
	ck_assert_msg(line && strncmp(line, bad[_i].error, strlen(bad[_i].error)) == 0, "got:    %s\nwanted: %s", line,
		      bad[_i].error);
}
END_TEST

#define ONE_LISTENS(list) "listeners: { a: { listen = [ " list " ]; echo: {}; }; };"
#define OVERLAPS(again, first)                                                                                         \
	"t.conf:1: listeners.a.listen: \"" again "\" overlaps with \"" first                                           \
	"\" of listeners.a (t.conf:1); an address and port can be listened on once"

/* What cannot be listened on together; `error` is NULL where it can. */
static const struct {
	const char *text;
	const char *error;
} overlaps[] = {
	{"listeners: { a: { listen = \"*:80\"; echo: {}; };\nb: { listen = [\"[::1]:81\",\n\"0.0.0.0:80\"]; echo: {}; "
	 "}; };",
	 "t.conf:3: listeners.b.listen: \"0.0.0.0:80\" overlaps with \"*:80\" of listeners.a (t.conf:1); an address "
	 "and "
	 "port can be listened on once"},
	{ONE_LISTENS("\"[::1]:80\", \"*:80\""), OVERLAPS("*:80", "[::1]:80")},
	{ONE_LISTENS("\"*:80\", \"10.0.0.1:80\""), OVERLAPS("10.0.0.1:80", "*:80")},
	{ONE_LISTENS("\"*:80\", \"[::]:80\""), OVERLAPS("[::]:80", "*:80")},
	{ONE_LISTENS("\"0.0.0.0:80\", \"10.0.0.1:80\""), OVERLAPS("10.0.0.1:80", "0.0.0.0:80")},
	{ONE_LISTENS("\"[fd00::1]:80\", \"[::]:80\""), OVERLAPS("[::]:80", "[fd00::1]:80")},
	{ONE_LISTENS("\"*:80\", \"*%eth0:80\""), OVERLAPS("*%eth0:80", "*:80")},
	{ONE_LISTENS("\"*%eth0:80\", \"0.0.0.0%eth1:80\", \"[::]%eth0:80\""), OVERLAPS("[::]%eth0:80", "*%eth0:80")},
	{ONE_LISTENS("\"10.0.0.1%eth0:80\", \"10.0.0.2:80\", \"10.0.0.1:80\""),
	 OVERLAPS("10.0.0.1:80", "10.0.0.1%eth0:80")},
	{ONE_LISTENS("\"10.0.0.1%eth0:80\", \"0.0.0.0:80\""), OVERLAPS("0.0.0.0:80", "10.0.0.1%eth0:80")},
	{ONE_LISTENS("\"[fe80::1%lo]:80\", \"[::]%lo:80\""), OVERLAPS("[::]%lo:80", "[fe80::1%lo]:80")},
	{ONE_LISTENS("\"unix:/run//x\", \"unix:/run/./x/\""),
	 "t.conf:1: listeners.a.listen: \"unix:/run/x\" is listened on already by listener a (t.conf:1)"},
	{ONE_LISTENS("\"systemd:x\", \"systemd:x\""),
	 "t.conf:1: listeners.a.listen: \"systemd:x\" is listened on already by listener a (t.conf:1)"},
	{ONE_LISTENS("\"0.0.0.0:80\", \"[::]:80\""), NULL},
	{ONE_LISTENS("\"0.0.0.0:80\", \"[::1]:80\", \"*:81\", \"10.0.0.1:82\", \"10.0.0.2:82\""), NULL},
	{ONE_LISTENS("\"*%eth0:80\", \"*%eth1:80\", \"10.0.0.1%eth2:80\", \"[::]%eth3:80\""), NULL},
	{ONE_LISTENS("\"10.0.0.1%eth0:80\", \"10.0.0.1%eth1:80\", \"[fe80::1%lo]:80\", \"[::]%eth2:80\""), NULL},
	{ONE_LISTENS("\"*:0\", \"0.0.0.0:0\", \"[::]:0\", \"10.0.0.1:0\", \"10.0.0.1:0\""), NULL},
	{ONE_LISTENS("\"unix:/x\", \"unix:@/x\", \"unix:@//x\", \"unix:/y/../x\", \"systemd:x\""), NULL},
};

START_TEST(finds_overlaps)
{
	if (!overlaps[_i].error) {
		must_load(overlaps[_i].text);
		return;
	}
	ck_assert_int_eq(load(overlaps[_i].text), -EINVAL);
	ck_assert_str_eq(config_errors_line(errors, 0), overlaps[_i].error);
	ck_assert_uint_eq(config_errors_count(errors), 1);
}
END_TEST

START_TEST(reports_each_overlap)
{
	ck_assert_int_eq(load(ONE_LISTENS("\"*:80\", \"0.0.0.0:80\", \"[::1]:80\", \"*:80\"")), -EINVAL);
	ck_assert_uint_eq(config_errors_count(errors), 3);
}
END_TEST

START_TEST(port_zero_may_repeat)
{
	must_load("listeners: { a: { listen = [ \"*:0\", \"*:0\", \"[::1]:0\", \"[::1]:0\" ]; echo: {}; }; };");
}
END_TEST

START_TEST(bounds_names)
{
	char text[200];

	snprintf(text, sizeof(text), "listeners: { a%062d: { listen = \"*:0\"; echo: {}; }; };", 0);
	must_load(text);
	c = config_unref(c);
	snprintf(text, sizeof(text), "listeners: { a%063d: { listen = \"*:0\"; echo: {}; }; };", 0);
	ck_assert_int_eq(load(text), -EINVAL);
}
END_TEST

START_TEST(collects_twenty_and_counts_the_rest)
{
	char *text = NULL;
	size_t n = 0;
	FILE *to = open_memstream(&text, &n);

	for (int i = 0; i < 50; i++)
		fprintf(to, "x%d = 1;\n", i);
	fclose(to);
	ck_assert_int_eq(load(text), -EINVAL);
	free(text);
	ck_assert_uint_eq(config_errors_count(errors), 51);
	ck_assert_ptr_nonnull(config_errors_line(errors, 19));
	ck_assert_ptr_null(config_errors_line(errors, 20));

	char *printed = NULL;
	to = open_memstream(&printed, &n);
	config_errors_print(errors, to);
	fclose(to);
	ck_assert_ptr_nonnull(strstr(printed, "\n... and 31 more\n"));
	ck_assert_ptr_nonnull(strstr(printed, "t.conf:20: x19: "));
	free(printed);
}
END_TEST

START_TEST(errors_in_included_files_say_where)
{
	ck_assert_int_eq(mkdir("d", 0700), 0);
	folder_write("main.conf", "\n@include \"d\"\nlisteners: {\n\t@include \"l.conf\"\n};\nwokers = 1;\n");
	folder_write("d/a.conf", "workers = 1;");
	folder_write("d/b.conf", "# b\ndrain_timeout = 5;");
	folder_write("l.conf", "a: {\n listen = [ \"*:1\",\n \"*:x\"\n ];\n echo: {}; };\n");
	ck_assert_int_eq(config_load("main.conf", &sample_services, &c, errors), -EINVAL);
	ck_assert_str_eq(config_errors_line(errors, 0), "d/b.conf:2: drain_timeout: 5 has no unit; write \"5s\"");
	ck_assert_str_eq(config_errors_line(errors, 1), "main.conf:6: wokers: no such option; did you mean workers?");
	ck_assert_str_eq(
		config_errors_line(errors, 2),
		"l.conf:3: listeners.a.listen: \"*:x\": the port is no number; a number up to 65535 is needed");
	ck_assert_uint_eq(config_errors_count(errors), 3);
}
END_TEST

START_TEST(escapes_what_a_file_says)
{
	ck_assert_int_eq(load("log_level = \"\\x1b[31m\\n\";" ECHO), -EINVAL);
	ck_assert_ptr_nonnull(strstr(config_errors_line(errors, 0), "\\x1b[31m\\x0a"));
}
END_TEST

static void *hold(void *arg)
{
	for (int i = 0; i < 10000; i++)
		config_unref(config_ref(arg));
	return config_unref(arg);
}

START_TEST(goes_with_the_last_reference)
{
	pthread_t threads[4];

	must_load("listeners: { p: { listen = \"*:7\"; proxy: { to = \"h:1\"; }; }; };");
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, hold, config_ref(c)), 0);
	ck_assert_ptr_null(config_unref(c));
	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		pthread_join(threads[i], NULL);
	c = NULL;
	ck_assert_ptr_null(config_unref(NULL));
}
END_TEST

START_TEST(takes_many_listeners)
{
	char *text = NULL;
	size_t n = 0;
	FILE *to = open_memstream(&text, &n);

	fputs("listeners: {\n", to);
	for (int i = 0; i < 4096; i++)
		fprintf(to, "l%d: { listen = \"127.0.0.1:%d\"; echo: {}; };\n", i, i + 1);
	fputs("};\n", to);
	fclose(to);
	must_load(text);
	ck_assert_uint_eq(c->listener_count, 4096);
	free(text);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("config/load");
	TCase *t = tcase_create("load");

	suite_add_tcase(suite, t);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, fills_in_defaults);
	tcase_add_test(t, default_lookup_fits_into_connect);
	tcase_add_test(t, reads_all_types);
	tcase_add_loop_test(t, says_what_is_wrong, 0, ARRAY_LEN(bad));
	tcase_add_loop_test(t, finds_overlaps, 0, ARRAY_LEN(overlaps));
	tcase_add_test(t, reports_each_overlap);
	tcase_add_test(t, port_zero_may_repeat);
	tcase_add_test(t, bounds_names);
	tcase_add_test(t, collects_twenty_and_counts_the_rest);
	tcase_add_test(t, errors_in_included_files_say_where);
	tcase_add_test(t, escapes_what_a_file_says);
	tcase_add_test(t, goes_with_the_last_reference);
	tcase_add_test(t, takes_many_listeners);
	return suite_run(suite);
}

/* SPDX-License-Identifier: MIT */
#include "config/endpoint.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../suite.h"

static const struct {
	const char *text;
	enum endpoint_kind kind;
	const char *canonical; /* NULL: the text itself */
} good_listens[] =
	{
		{"10.0.0.1:80", ENDPOINT_ADDRESS, NULL},
		{"0.0.0.0:0", ENDPOINT_ADDRESS, NULL},
		{"[::]:80", ENDPOINT_ADDRESS, NULL},
		{"[0:0::1]:65535", ENDPOINT_ADDRESS, "[::1]:65535"},
		{"[::ffff:1.2.3.4]:80", ENDPOINT_ADDRESS, "1.2.3.4:80"},
		{"[fe80::1%lo]:80", ENDPOINT_ADDRESS, NULL},
		{"*:80", ENDPOINT_ANY, NULL},
		{"*%eth9:80", ENDPOINT_ANY, NULL},
		{"0.0.0.0%eth9:80", ENDPOINT_ADDRESS, NULL},
		{"[::]%eth9:80", ENDPOINT_ADDRESS, NULL},
		{"unix:/run/x.sock", ENDPOINT_ADDRESS, NULL},
		{"unix:/run/with space:and colon", ENDPOINT_ADDRESS, NULL},
		{"unix://run///x/./y/././z", ENDPOINT_ADDRESS, "unix:/run/x/y/z"},
		{"unix:/./run/x/", ENDPOINT_ADDRESS, "unix:/run/x"},
		{"unix:/run/x//./", ENDPOINT_ADDRESS, "unix:/run/x"},
		{"unix:/run/x/.", ENDPOINT_ADDRESS, "unix:/run/x"},
		{"unix:/run/../x", ENDPOINT_ADDRESS, NULL},
		{"unix:/run/.x/..y/z.", ENDPOINT_ADDRESS, NULL},
		{"unix:@a//b/", ENDPOINT_ADDRESS, NULL},
		{"unix:@name", ENDPOINT_ADDRESS, NULL},
		{"unix:@a\\x00b\\\\", ENDPOINT_ADDRESS, NULL},
		{"systemd:web", ENDPOINT_SYSTEMD, NULL},
},
  good_upstreams[] = {
	  {"10.0.0.1:80", ENDPOINT_ADDRESS, NULL},
	  {"[::1]:80", ENDPOINT_ADDRESS, NULL},
	  {"Example.ORG:80", ENDPOINT_NAME, "example.org:80"},
	  {"localhost:1", ENDPOINT_NAME, NULL},
	  {"a_b-c.d.:65535", ENDPOINT_NAME, NULL},
	  {"1a.2b:80", ENDPOINT_NAME, NULL},
	  {"10.example:80", ENDPOINT_NAME, NULL},
	  {"systemd:80", ENDPOINT_NAME, NULL},
	  {"unix.:80", ENDPOINT_NAME, NULL},
	  {"unix:/run/x.sock", ENDPOINT_ADDRESS, NULL},
	  {"unix:/run//x.sock", ENDPOINT_ADDRESS, "unix:/run/x.sock"},
	  {"unix:@name", ENDPOINT_ADDRESS, NULL},
	  {"udp:80", ENDPOINT_NAME, NULL},
};

static const char *const bad_listens[] = {
	"",
	":",
	":80",
	"*",
	"*:",
	"*:x",
	"*:65536",
	"*:080",
	"*:-1",
	"*:+1",
	"*: 80",
	"*:99999999999999999999",
	"*%:80",
	"*%a_name_that_is_too_long:80",
	"*%a/b:80",
	"10.0.0.1",
	"10.0.0.1:",
	"010.0.0.1:80",
	"10.0.0:80",
	"300.1.1.1:80",
	"::1:80",
	"::",
	"[::1]",
	"[::1]80",
	"[::1:80",
	"[]:80",
	"[10.0.0.1]:80",
	"[::g]:80",
	"[fe80::1]:80",
	"[fe80::1%]:80",
	"[fe80::1%no_such_if]:80",
	"[2001:db8::1%lo]:80",
	"localhost:80",
	"unix:",
	"unix:x",
	"unix:/",
	"unix:/./",
	"unix:@",
	"unix:@\\x",
	"unix:@\\q",
	"unix:/a\\b",
	"unix:/a\nb",
	"unix:/\xff",
	"systemd:",
	"systemd:a:b",
	"systemd:a\nb",
	"http://x:80",
	"**:80",
	"*:80:80",
	"udp:*:53",
};

static const char *const bad_upstreams[] = {
	"",
	"host",
	"host:",
	"host:0",
	"host:65536",
	":80",
	"10.0.0.1:0",
	"*:80",
	"0.0.0.0:80",
	"[::]:80",
	"[::]%lo:80",
	"host%lo:80",
	"-host:80",
	"host-:80",
	"ho st:80",
	"host..x:80",
	".host:80",
	".:80",
	"h\xc3\xb6st:80",
	"1.2.3:80",
	"1.2.3.4.5:80",
	"300.1.1.1:80",
	"0x7f000001:80",
	"10.0x1:80",
	"127:80",
	"1.2.3.4.:80",
	"unix:80",
	"UNIX:80",
	"unix:",
	"[host]:80",
	"h/x:80",
};

START_TEST(reads_where_to_listen)
{
	const char *text = good_listens[_i].text, *canonical = good_listens[_i].canonical;
	struct endpoint e, again;
	const char *why = "";
	char buffer[1024];
	struct text t;

	ck_assert_msg(endpoint_parse_listen(&e, text, &why) == 0, "%s: %s", text, why);
	ck_assert_int_eq(e.kind, good_listens[_i].kind);
	text_init(&t, buffer, sizeof(buffer));
	endpoint_add_text(&t, &e);
	ck_assert_str_eq(t.at, canonical ? canonical : text);
	ck_assert_int_eq(endpoint_parse_listen(&again, t.at, &why), 0);
	ck_assert_mem_eq(&e, &again, sizeof(e));
}
END_TEST

START_TEST(reads_upstreams)
{
	const char *text = good_upstreams[_i].text, *canonical = good_upstreams[_i].canonical;
	struct endpoint e;
	const char *why = "";
	char buffer[1024];
	struct text t;

	ck_assert_msg(endpoint_parse_upstream(&e, text, &why) == 0, "%s: %s", text, why);
	ck_assert_int_eq(e.kind, good_upstreams[_i].kind);
	text_init(&t, buffer, sizeof(buffer));
	endpoint_add_text(&t, &e);
	ck_assert_str_eq(t.at, canonical ? canonical : text);
}
END_TEST

START_TEST(refuses_to_listen)
{
	struct endpoint e, before;
	const char *why = NULL;

	memset(&e, 0x5a, sizeof(e));
	before = e;
	ck_assert_msg(endpoint_parse_listen(&e, bad_listens[_i], &why) == -EINVAL, "%s", bad_listens[_i]);
	ck_assert_ptr_nonnull(why);
	ck_assert_mem_eq(&e, &before, sizeof(e));
}
END_TEST

START_TEST(refuses_upstreams)
{
	struct endpoint e;
	const char *why = NULL;

	ck_assert_msg(endpoint_parse_upstream(&e, bad_upstreams[_i], &why) == -EINVAL, "%s", bad_upstreams[_i]);
	ck_assert_ptr_nonnull(why);
}
END_TEST

START_TEST(names_the_kinds)
{
	static const char *const unknown[] = {"udp:1.2.3.4:5", "tcp:1.2.3.4:5", "tcp:[::1]:5",
					      "http://x:80",   "http://x",	"udp:*:53",
					      "UNIX:/x",       "tcp:host:80",	"tcp4:1.2.3.4:5"};
	static const char *const known[] = {"host:80:80",   "::1:80",	      "fe80::1:80",
					    "cafe:b::1:80", "10.0.0.1:80:80", "localhost:x"};
	struct endpoint e;
	const char *why;

	for (size_t i = 0; i < ARRAY_LEN(unknown); i++) {
		ck_assert_int_eq(endpoint_parse_listen(&e, unknown[i], &why), -EINVAL);
		ck_assert_msg(strstr(why, "kind") && strstr(why, "systemd:NAME"), "%s: %s", unknown[i], why);
		ck_assert_int_eq(endpoint_parse_upstream(&e, unknown[i], &why), -EINVAL);
		ck_assert_msg(strstr(why, "kind") && !strstr(why, "systemd:"), "%s: %s", unknown[i], why);
	}
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		ck_assert_int_eq(endpoint_parse_listen(&e, known[i], &why), -EINVAL);
		ck_assert_msg(!strstr(why, "kind"), "%s: %s", known[i], why);
		ck_assert_int_eq(endpoint_parse_upstream(&e, known[i], &why), -EINVAL);
		ck_assert_msg(!strstr(why, "kind"), "%s: %s", known[i], why);
	}
}
END_TEST

START_TEST(fills_in)
{
	struct endpoint e;
	const char *why;

	ck_assert_int_eq(endpoint_parse_listen(&e, "*%eth9:81", &why), 0);
	ck_assert_str_eq(e.interface, "eth9");
	ck_assert_int_eq(e.address.u.any.sa_family, AF_INET6);
	ck_assert_uint_eq(netaddr_port(&e.address), 81);
	ck_assert_int_eq(endpoint_parse_listen(&e, "systemd:web", &why), 0);
	ck_assert_str_eq(e.name, "web");
	ck_assert_int_eq(endpoint_parse_upstream(&e, "Host.Example:443", &why), 0);
	ck_assert_str_eq(e.name, "host.example");
	ck_assert_uint_eq(e.port, 443);
}
END_TEST

START_TEST(bounds_names)
{
	char text[400];
	struct endpoint e;
	const char *why;

	memset(text, 'a', 63);
	strcpy(text + 63, ":1");
	ck_assert_int_eq(endpoint_parse_upstream(&e, text, &why), 0);
	strcpy(text + 63, "a:1");
	ck_assert_int_eq(endpoint_parse_upstream(&e, text, &why), -EINVAL);

	for (int i = 0; i < 260; i++)
		text[i] = i % 2 ? '.' : 'a';
	strcpy(text + 253, ":1");
	ck_assert_int_eq(endpoint_parse_upstream(&e, text, &why), 0);
	strcpy(text + 253, ".:1");
	ck_assert_int_eq(endpoint_parse_upstream(&e, text, &why), 0);
	strcpy(text + 253, ".a:1");
	ck_assert_int_eq(endpoint_parse_upstream(&e, text, &why), -EINVAL);

	memset(text, 'a', sizeof(text));
	memcpy(text, "unix:/", 6);
	text[5 + 107] = '\0';
	ck_assert_int_eq(endpoint_parse_listen(&e, text, &why), 0);
	text[5 + 107] = 'a';
	text[5 + 108] = '\0';
	ck_assert_int_eq(endpoint_parse_listen(&e, text, &why), -EINVAL);
}
END_TEST

START_TEST(dns_servers)
{
	static const char *const bad[] = {"",	     "host",	"host:53",     "1.2.3.4:0", "1.2.3.4:",
					  "[::1]:0", "unix:/x", "1.2.3.4:5:6", "*:53"};
	struct netaddr a;
	const char *why;

	ck_assert_int_eq(endpoint_parse_server(&a, "10.0.0.53", &why), 0);
	ck_assert_uint_eq(netaddr_port(&a), 53);
	ck_assert_int_eq(endpoint_parse_server(&a, "10.0.0.53:5353", &why), 0);
	ck_assert_uint_eq(netaddr_port(&a), 5353);
	ck_assert_int_eq(endpoint_parse_server(&a, "::1", &why), 0);
	ck_assert_uint_eq(netaddr_port(&a), 53);
	ck_assert_int_eq(endpoint_parse_server(&a, "[::1]:5353", &why), 0);
	ck_assert_uint_eq(netaddr_port(&a), 5353);
	static const char *const link_local[] = {"fe80::1%lo", "[fe80::1%lo]:53", "fe80::1", "[fe80::1]:53", "::1%lo"};
	for (size_t i = 0; i < ARRAY_LEN(link_local); i++) {
		ck_assert_int_eq(endpoint_parse_server(&a, link_local[i], &why), -EINVAL);
		ck_assert_msg(strstr(why, "a name server needs an address without a zone"), "%s", link_local[i]);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_msg(endpoint_parse_server(&a, bad[i], &why) == -EINVAL, "%s", bad[i]);
}
END_TEST

START_TEST(host_names)
{
	static const char *const good[] = {"h",	   "db.example",  "DB_1.Example",
					   "unix", "1st.example", "xn--bcher-kva.de"};
	static const char *const bad[] = {"",	 ".",	      "db.example.", "db.example:80", "10.0.0.1",
					  "::1", "[::1]",     "a b.de",	     "a..b",	      "-a",
					  "a-",	 "*.example", "h%lo"};
	char text[300];
	const char *why;

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		ck_assert_msg(endpoint_check_host(good[i], &why) == 0, "%s: %s", good[i], why);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		ck_assert_msg(endpoint_check_host(bad[i], &why) == -EINVAL, "%s", bad[i]);
	for (int i = 0; i < 299; i++)
		text[i] = i % 2 ? '.' : 'a';
	text[299] = '\0';
	ck_assert_int_eq(endpoint_check_host(text, &why), -EINVAL);
	text[253] = '\0';
	ck_assert_int_eq(endpoint_check_host(text, &why), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("config/endpoint");
	TCase *c = tcase_create("endpoint");

	suite_add_tcase(suite, c);
	tcase_add_loop_test(c, reads_where_to_listen, 0, ARRAY_LEN(good_listens));
	tcase_add_loop_test(c, reads_upstreams, 0, ARRAY_LEN(good_upstreams));
	tcase_add_loop_test(c, refuses_to_listen, 0, ARRAY_LEN(bad_listens));
	tcase_add_loop_test(c, refuses_upstreams, 0, ARRAY_LEN(bad_upstreams));
	tcase_add_test(c, names_the_kinds);
	tcase_add_test(c, fills_in);
	tcase_add_test(c, bounds_names);
	tcase_add_test(c, dns_servers);
	tcase_add_test(c, host_names);
	return suite_run(suite);
}

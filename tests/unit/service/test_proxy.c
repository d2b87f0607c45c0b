/* SPDX-License-Identifier: MIT */
/* The proxy's options; what it does with connections is tested from outside. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../suite.h"
#include "service/service.h"

#define PROXY(text) "listeners: { web: { listen = \"*:7\";\nproxy: { " text " }; }; };\n"

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
	return config_load_text("t.conf", text, strlen(text), service_groups(), &c, errors);
}

static const struct tls_upstream_config *upstream_tls(const char *text)
{
	int rc = load(text);

	ck_assert_msg(rc == 0, "%s: %s", text, config_errors_line(errors, 0));
	const struct listener_config *l = &c->listeners[0];
	ck_assert_ptr_nonnull(services[l->service]->upstream_tls);
	return services[l->service]->upstream_tls(l->service_values);
}

START_TEST(tells_its_tls)
{
	ck_assert(!upstream_tls(PROXY("to = \"h:1\";"))->enabled);

	const struct tls_upstream_config *tls = upstream_tls(PROXY("to = \"h:1\"; tls: { name = \"x\"; };"));
	ck_assert(tls->enabled);
	ck_assert_str_eq(tls->name, "x");
	ck_assert_uint_eq(tls->place.line, 2);
}
END_TEST

static const struct {
	const char *text;
	const char *error; /* the only one */
} bad[] = {
	{PROXY(""),
	 "t.conf:2: listeners.web.proxy.to: missing; it must be given: a list of texts, [ \"...\", \"...\" ]"},
	{PROXY("to = \"h\"; tls: {};"),
	 "t.conf:2: listeners.web.proxy.to: \"h\": the port is missing; write it after a colon"},
	/* one error about an upstream that nobody can read is enough */
	{PROXY("to = [ \"unix:/x\", \"h\" ]; tls: {};"),
	 "t.conf:2: listeners.web.proxy.to: \"h\": the port is missing; write it after a colon"},
	{PROXY("to = [ \"h:1\", \"unix:@x\" ];\ntls: {};"),
	 "t.conf:3: listeners.web.proxy.tls.name: missing; unix:@x has no host name, so the name that its certificate "
	 "must have is needed"},
	{PROXY("to = \"h:1\"; tls: { key = \"/k\"; };"),
	 "t.conf:2: listeners.web.proxy.tls.key: stands without certificate; name the certificate that it belongs to"},
};

START_TEST(says_what_is_wrong)
{
	ck_assert_msg(load(bad[_i].text) == -EINVAL, "%s", bad[_i].text);
	ck_assert_str_eq(config_errors_line(errors, 0), bad[_i].error);
	ck_assert_uint_eq(config_errors_count(errors), 1);
}
END_TEST

START_TEST(unix_upstreams_may_have_a_name)
{
	upstream_tls(PROXY("to = \"unix:/x\"; tls: { name = \"h\"; };"));
	upstream_tls(PROXY("to = \"unix:/x\"; tls: { insecure_skip_verify = true; };"));
	upstream_tls(PROXY("to = \"unix:/x\";"));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("service/proxy");
	TCase *t = tcase_create("proxy");

	suite_add_tcase(suite, t);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, tells_its_tls);
	tcase_add_loop_test(t, says_what_is_wrong, 0, ARRAY_LEN(bad));
	tcase_add_test(t, unix_upstreams_may_have_a_name);
	return suite_run(suite);
}

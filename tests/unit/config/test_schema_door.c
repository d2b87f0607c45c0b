/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../suite.h"
#include "config/schema.h"
#include "sample.h"

#define ON(listen, more) "listeners: { web: {\nlisten = [ " listen " ]; echo: {};\n" more " }; };\n"
#define LISTENER(more) ON("\"*:7\"", more)
#define LOCAL(more) ON("\"unix:/run/x\", \"unix:@y\"", more)
#define DOOR(more) "door: {\n" more " };\n" LISTENER("")

#define COUNT_HELP "; write it as in \"20/s\" or \"20/s burst 50\", with s, min, h or d"
#define BYTES_HELP "; write it as in \"1MiB/s\" or \"512KiB/s burst 4MiB\", with s, min, h or d"

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
	return config_load_text("t.conf", text, strlen(text), &sample_services, &c, errors);
}

static const struct listener_config *must_load(const char *text)
{
	int rc = load(text);

	ck_assert_msg(rc == 0, "%s: %s", text, config_errors_line(errors, 0));
	return &c->listeners[0];
}

static void is_rate(const struct rate *r, uint64_t amount, uint64_t period_ms, uint64_t burst)
{
	ck_assert_uint_eq(r->amount, amount);
	ck_assert_uint_eq(r->period_ms, period_ms);
	ck_assert_uint_eq(r->burst, burst);
}

static void no_limits(const struct limits_config *limits)
{
	ck_assert_int_eq(limits->connections, 0);
	ck_assert_int_eq(limits->per_source, 0);
	is_rate(&limits->rate, 0, 1000, 1);
	is_rate(&limits->rate_per_source, 0, 1000, 1);
	ck_assert_int_eq(limits->at_limit, AT_LIMIT_RESET);
}

static void everybody(const struct access_config *access)
{
	ck_assert_uint_eq(access->allow.count, 0);
	ck_assert_uint_eq(access->deny.count, 0);
	ck_assert_uint_eq(access->trusted.count, 0);
	ck_assert(!access->enforce);
}

START_TEST(left_out_the_door_stands_open)
{
	static const struct ban_config no_ban;
	const struct listener_config *l = must_load(LISTENER(""));

	everybody(&l->access);
	no_limits(&l->limits);
	ck_assert_int_eq(l->limits.handshakes, 10000);
	is_rate(&l->bandwidth.in, 0, 1000, 1);
	is_rate(&l->bandwidth.out, 0, 1000, 1);
	is_rate(&l->bandwidth.source_in, 0, 1000, 1);
	is_rate(&l->bandwidth.source_out, 0, 1000, 1);
	is_rate(&l->bandwidth.listener_in, 0, 1000, 1);
	is_rate(&l->bandwidth.listener_out, 0, 1000, 1);
	ck_assert_mem_eq(&l->ban, &no_ban, sizeof(no_ban));
	ck_assert_uint_eq(l->timeouts.first_byte_ms, 0);
	ck_assert_uint_eq(l->timeouts.lifetime_ms, 0);
	is_rate(&l->timeouts.minimum_rate, 0, 1000, 1);

	everybody(&c->door.access);
	no_limits(&c->door.limits);
	ck_assert_int_eq(c->door.limits.handshakes, 0);
	ck_assert_mem_eq(&c->door.ban, &no_ban, sizeof(no_ban));
	ck_assert_int_eq(c->door.sources.entries, 1000000);
	ck_assert_int_eq(c->door.sources.ipv4_prefix, 32);
	ck_assert_int_eq(c->door.sources.ipv6_prefix, 64);
	ck_assert_int_eq(c->door.overload.percent, 95);
	ck_assert_uint_eq(c->door.overload.memory_bytes, 0);
	ck_assert_uint_eq(c->door.overload.queue_age_ms, 1000);
}
END_TEST

static void is_default_ban(const struct ban_config *ban)
{
	ck_assert(ban->enabled);
	ck_assert_int_eq(ban->after, 20);
	ck_assert_uint_eq(ban->within_ms, 60000);
	ck_assert_uint_eq(ban->for_ms, 600000);
	ck_assert_int_eq(ban->factor, 2);
	ck_assert_uint_eq(ban->max_ms, 86400000);
}

START_TEST(a_ban_has_its_defaults)
{
	is_default_ban(&must_load(LISTENER("ban: {};"))->ban);
	ck_assert(!c->door.ban.enabled);
	must_load(DOOR("ban: {};"));
	is_default_ban(&c->door.ban);
	ck_assert(!c->listeners[0].ban.enabled);
}
END_TEST

static void is_list(const struct option_list *list, const char *first, const char *second, unsigned second_line)
{
	ck_assert_uint_eq(list->count, 2);
	ck_assert_str_eq(list->at[0], first);
	ck_assert_str_eq(list->at[1], second);
	ck_assert_uint_eq(list->places[1].line, second_line);
}

static void reads_a_door(void)
{
	const struct door_config *d = &c->door;

	is_list(&d->access.allow, "fd00::/8", "unit:x.service", 3);
	is_list(&d->access.deny, "file:/bad", "10.0.0.1-10.0.0.9", 3);
	is_list(&d->access.trusted, "::1", "gid:0", 4);
	ck_assert(d->access.enforce);
	ck_assert_int_eq(d->limits.connections, 5);
	ck_assert_int_eq(d->limits.per_source, 6);
	is_rate(&d->limits.rate, 100, 60000, 7);
	is_rate(&d->limits.rate_per_source, 10, 86400000, 1);
	ck_assert_int_eq(d->limits.at_limit, AT_LIMIT_WAIT);
	ck_assert_int_eq(d->ban.after, 1);
	ck_assert_uint_eq(d->ban.within_ms, 2000);
	ck_assert_uint_eq(d->ban.for_ms, 3000);
	ck_assert_int_eq(d->ban.factor, 1);
	ck_assert_uint_eq(d->ban.max_ms, 3000);
	ck_assert_int_eq(d->sources.entries, 1000);
	ck_assert_int_eq(d->sources.ipv4_prefix, 24);
	ck_assert_int_eq(d->sources.ipv6_prefix, 48);
	ck_assert_int_eq(d->overload.percent, 0);
	ck_assert_uint_eq(d->overload.memory_bytes, 512U << 20);
	ck_assert_uint_eq(d->overload.queue_age_ms, 250);
}

START_TEST(reads_all_options)
{
	must_load(
		DOOR("allow = [ \"fd00::/8\",\n\"unit:x.service\" ]; deny = ( \"file:/bad\", \"10.0.0.1-10.0.0.9\" );\n"
		     "trusted = [ \"::1\", \"gid:0\" ]; enforce = true;\n"
		     "limits: { connections = 5; per_source = 6; rate = \"100/min burst 7\"; rate_per_source = "
		     "\"10/d\"; at_limit = \"wait\"; };\n"
		     "ban: { after = 1; within = \"2s\"; for = \"3s\"; factor = 1; max = \"3s\"; };\n"
		     "sources: { entries = 1000; ipv4_prefix = 24; ipv6_prefix = 48; };\n"
		     "overload: { percent = 0; memory = \"512MiB\"; queue_age = \"250ms\"; };"));
	reads_a_door();

	const struct listener_config *l = must_load(
		ON("\"systemd:a\"",
		   "allow = [ \"user:jo\",\n\"10.0.0.1\" ]; deny = [ \"uid:7\", \"group:x\" ]; trusted = [ \"file:a\", "
		   "\"::1\" ];\n"
		   "enforce = true; limits: { per_source = 3; rate = \"20/s burst 50\"; rate_per_source = \"1/s\"; "
		   "at_limit = \"close\"; };\n"
		   "bandwidth: { in = \"1MiB/s\"; out = \"2MiB/s burst 3MiB\"; source_in = \"10GB/h\"; source_out = "
		   "\"9MB/s\"; listener_in = \"0B/s\"; listener_out = \"1GiB/s\"; };\n"
		   "ban: { after = 3; }; timeouts: { first_byte = \"5s\"; lifetime = \"1h\"; minimum_rate = "
		   "\"2MiB/s\"; };"));
	is_list(&l->access.allow, "user:jo", "10.0.0.1", 4);
	is_list(&l->access.deny, "uid:7", "group:x", 4);
	is_list(&l->access.trusted, "file:a", "::1", 4);
	ck_assert(l->access.enforce);
	ck_assert_int_eq(l->limits.per_source, 3);
	is_rate(&l->limits.rate, 20, 1000, 50);
	is_rate(&l->limits.rate_per_source, 1, 1000, 1);
	ck_assert_int_eq(l->limits.at_limit, AT_LIMIT_CLOSE);
	is_rate(&l->bandwidth.in, 1 << 20, 1000, 104858);
	is_rate(&l->bandwidth.out, 2 << 20, 1000, 3 << 20);
	is_rate(&l->bandwidth.source_in, 10000000000, 3600000, 277778);
	is_rate(&l->bandwidth.source_out, 9000000, 1000, 900000);
	is_rate(&l->bandwidth.listener_in, 0, 1000, 1);
	is_rate(&l->bandwidth.listener_out, 1 << 30, 1000, 107374183);
	ck_assert_int_eq(l->ban.after, 3);
	ck_assert_uint_eq(l->timeouts.first_byte_ms, 5000);
	ck_assert_uint_eq(l->timeouts.lifetime_ms, 3600000);
	ck_assert_uint_eq(l->timeouts.minimum_rate.amount, 2 << 20);
}
END_TEST

#define NO_LOCAL                                                                                                       \
	"has no effect, since the listener has no UNIX socket, neither unix: nor systemd:; write addresses, prefixes " \
	"or ranges"
#define NO_ADDRESSES                                                                                                   \
	"has no effect, since the listener has UNIX sockets alone, whose clients have no address; write user:, "       \
	"group:, uid:, gid: or unit:"
#define NO_ADDRESS                                                                                                     \
	"no address; an address (10.0.0.1), a prefix (10.0.0.0/8, fd00::/8) or a range (10.0.0.1-10.0.0.9) is allowed"

static const struct {
	const char *text;
	const char *error; /* the only one */
} bad[] = {
	/* lists */
	{LISTENER("allow = [ \"10.0.0.0/8\",\n\"host\" ];"), "t.conf:4: listeners.web.allow: \"host\": " NO_ADDRESS},
	{LISTENER("deny = \"10.0.0.1/8\";"), "t.conf:3: listeners.web.deny: \"10.0.0.1/8\": bits are set behind the "
					     "prefix's length; 10.0.0.0/8 is a prefix, 10.1.2.3/8 is none"},
	{LISTENER("trusted = \"users:x\";"), "t.conf:3: listeners.web.trusted: \"users:x\": an unknown word before the "
					     "colon; there are file:, user:, group:, uid:, gid: and unit:"},
	{LISTENER("allow = [ \"\" ];"), "t.conf:3: listeners.web.allow: element 1 is empty"},
	{LISTENER("allow = \"user:x\";"), "t.conf:3: listeners.web.allow: \"user:x\": " NO_LOCAL},
	{LISTENER("deny = [ \"::1\",\n\"uid:5\" ];"), "t.conf:4: listeners.web.deny: \"uid:5\": " NO_LOCAL},
	{LISTENER("trusted = \"unit:x.slice\";"), "t.conf:3: listeners.web.trusted: \"unit:x.slice\": " NO_LOCAL},
	{LOCAL("allow = \"10.0.0.1\";"), "t.conf:3: listeners.web.allow: \"10.0.0.1\": " NO_ADDRESSES},
	{LOCAL("deny = [ \"user:x\",\n\"file:/x\" ];"), "t.conf:4: listeners.web.deny: \"file:/x\": " NO_ADDRESSES},
	{LOCAL("allow = \"unit:x\";"),
	 "t.conf:3: listeners.web.allow: \"unit:x\": no unit that a client can run in; its name ends in .service or "
	 ".scope, as in \"unit:nginx.service\""},
	{DOOR("deny = [ \"10.0.0.1\",\n\"uid:jo\" ];"),
	 "t.conf:3: door.deny: \"uid:jo\": no number; write \"uid:1000\" or \"gid:1000\", and \"user:NAME\" or "
	 "\"group:NAME\" for a name"},
	{DOOR("enforce = 1;"), "t.conf:2: door.enforce: expected true or false; found the number 1"},
	/* where things stand */
	{"allow = \"::1\";\n" LISTENER(""), "t.conf:1: allow: no such option; it belongs into the group door"},
	{LISTENER("rate = \"1/s\";"), "t.conf:3: listeners.web.rate: no such option; it belongs into the group limits"},
	{LISTENER("minimum_rate = \"1B/s\";"),
	 "t.conf:3: listeners.web.minimum_rate: no such option; it belongs into the group timeouts"},
	{LISTENER("door: {};"), "t.conf:3: listeners.web.door: no such option; allowed here: listen, backlog, "
				"reuse_address, nodelay, defer_accept, user_timeout, receive_buffer, send_buffer, "
				"allow, deny, trusted, enforce, keepalive, limits, bandwidth, ban, timeouts, unix, "
				"tls, echo, proxy"},
	{DOOR("limits: { handshakes = -1; };"), "t.conf:2: door.limits.handshakes: -1 is out of range; "
						"allowed: 0 to 1000000 handshakes"},
	{DOOR("bandwidth: {};"),
	 "t.conf:2: door.bandwidth: no such option; allowed here: allow, deny, trusted, enforce, "
	 "limits, ban, sources, overload"},
	/* rates */
	{LISTENER("limits: { rate = 20; };"), "t.conf:3: listeners.web.limits.rate: 20 has no unit; write \"20/s\""},
	{LISTENER("limits: { rate = -1; };"),
	 "t.conf:3: listeners.web.limits.rate: expected a rate as text, \"20/s\"; found the number -1"},
	{LISTENER("limits: { rate = \"20\"; };"),
	 "t.conf:3: listeners.web.limits.rate: \"20\" does not say in what time" COUNT_HELP},
	{LISTENER("limits: { rate = \"20/s burst 0\"; };"),
	 "t.conf:3: listeners.web.limits.rate: \"20/s burst 0\" has a burst of 0, which would let nothing "
	 "through" COUNT_HELP},
	{LISTENER("limits: { rate_per_source = \"1MiB/s\"; };"),
	 "t.conf:3: listeners.web.limits.rate_per_source: \"1MiB/s\" has an amount that is no whole number" COUNT_HELP},
	{DOOR("limits: { rate = \"1/s burst 1099511627777\"; };"),
	 "t.conf:2: door.limits.rate: \"1/s burst 1099511627777\" has a burst that is too large; at most "
	 "1099511627776"},
	{LISTENER("bandwidth: { in = 20; };"), "t.conf:3: listeners.web.bandwidth.in: 20 has no unit; write \"20B/s\""},
	{LISTENER("bandwidth: { out = true; };"),
	 "t.conf:3: listeners.web.bandwidth.out: expected a rate of bytes as text, \"1MiB/s\"; found true"},
	{LISTENER("bandwidth: { source_in = \"20/s\"; };"),
	 "t.conf:3: listeners.web.bandwidth.source_in: \"20/s\" has an amount that has no unit" BYTES_HELP},
	{LISTENER("bandwidth: { listener_out = \"1MiB/s burst 1KiB\"; };"),
	 "t.conf:3: listeners.web.bandwidth.listener_out: \"1MiB/s burst 1KiB\" has a burst that is smaller than what "
	 "flows in 10ms, so that the rate would never be reached; at least 10486B"},
	{LISTENER("timeouts: { minimum_rate = \"1KiB/s burst 1MiB\"; };"),
	 "t.conf:3: listeners.web.timeouts.minimum_rate: has a burst, but is an average; leave the burst out"},
	{LISTENER("timeouts: { minimum_rate = \"2KiB/s\"; };\nbandwidth: { out = \"3KiB/s\"; source_out = \"1KiB/s\"; "
		  "};"),
	 "t.conf:1: listeners.web.timeouts.minimum_rate: is more than bandwidth.source_out lets through: every client "
	 "would be too slow"},
	/* numbers and choices */
	{LISTENER("limits: { at_limit = \"drop\"; };"),
	 "t.conf:3: listeners.web.limits.at_limit: \"drop\" is none of the choices; write reset, close or wait"},
	{LISTENER("limits: { per_source = 1000001; };"),
	 "t.conf:3: listeners.web.limits.per_source: 1000001 is out of range; allowed: 0 to 1000000 connections"},
	{LISTENER("timeouts: { first_byte = \"2h\"; };"),
	 "t.conf:3: listeners.web.timeouts.first_byte: \"2h\" is out of range; allowed: 0s to 1h"},
	{LISTENER("timeouts: { lifetime = 60; };"),
	 "t.conf:3: listeners.web.timeouts.lifetime: 60 has no unit; write \"60s\""},
	{DOOR("ban: { after = 0; };"), "t.conf:2: door.ban.after: 0 is out of range; allowed: 1 to 4000 offences"},
	{DOOR("ban: { factor = 0; };"), "t.conf:2: door.ban.factor: 0 is out of range; allowed: 1 to 1000"},
	{LISTENER("ban: { within = \"0s\"; };"),
	 "t.conf:3: listeners.web.ban.within: \"0s\" is out of range; allowed: 1s to 1d"},
	{LISTENER("ban = true;"), "t.conf:3: listeners.web.ban: expected a group, { ... }; found true"},
	{LISTENER("ban: { for = \"25h\"; };"),
	 "t.conf:3: listeners.web.ban.for: is greater than max, \"1d\"; raise max too"},
	{DOOR("sources: { entries = 15; };"),
	 "t.conf:2: door.sources.entries: 15 is out of range; allowed: 16 to 100000000 sources"},
	{DOOR("sources: { ipv4_prefix = 33; };"),
	 "t.conf:2: door.sources.ipv4_prefix: 33 is out of range; allowed: 1 to 32 bits"},
	{DOOR("sources: { ipv6_prefix = 0; };"),
	 "t.conf:2: door.sources.ipv6_prefix: 0 is out of range; allowed: 1 to 128 bits"},
	{DOOR("overload: { percent = 101; };"),
	 "t.conf:2: door.overload.percent: 101 is out of range; allowed: 0 to 100 percent"},
	{DOOR("overload: { memory = \"1MiB\"; };"), "t.conf:2: door.overload.memory: is less than usherd needs for "
						    "itself; write \"16MiB\" or more, or \"0B\" for no limit"},
};

START_TEST(says_what_is_wrong)
{
	ck_assert_msg(load(bad[_i].text) == -EINVAL, "%s", bad[_i].text);
	ck_assert_str_eq(config_errors_line(errors, 0), bad[_i].error);
	ck_assert_uint_eq(config_errors_count(errors), 1);
}
END_TEST

static const char *const good[] = {
	LISTENER("allow = [];"),
	LISTENER("allow = [ \"::ffff:10.0.0.0/104\", \"file:/x\" ];"),
	LOCAL("allow = [ \"user:x\", \"group:y\", \"uid:0\", \"gid:0\", \"unit:x.scope\" ];"),
	ON("\"unix:/run/x\", \"127.0.0.1:0\"", "allow = [ \"user:x\", \"::1\" ];"),
	ON("\"systemd:x\"", "deny = [ \"user:x\", \"::1\", \"file:/x\" ];"),
	DOOR("trusted = [ \"user:x\", \"::1\", \"file:/x\" ];"),
	DOOR("overload: { memory = \"16MiB\"; };"),
	LISTENER("ban: { for = \"1d\"; };"),
	LISTENER("timeouts: { minimum_rate = \"1KiB/s burst 16KiB\"; };"), /* that is the default */
	LISTENER("timeouts: { minimum_rate = \"60KiB/min\"; }; bandwidth: { out = \"1KiB/s\"; };"),
	LISTENER("timeouts: { minimum_rate = \"2KiB/s\"; }; bandwidth: { in = \"1KiB/s\"; };"),
};

START_TEST(takes_what_is_right)
{
	must_load(good[_i]);
}
END_TEST

/* Every entry that is wrong is told, and those that are right are not. */
START_TEST(collects_errors_of_all_lists)
{
	ck_assert_int_eq(load("door: { allow = \"x\"; };\n"
			      "listeners: { a: { listen = \"unix:/x\"; echo: {};\nallow = [ \"user:y\",\n\"::1\",\n"
			      "\"gid:z\" ];\ndeny = \"::2\"; }; };"),
			 -EINVAL);
	static const char *const starts[] = {"t.conf:1: door.allow: \"x\": no address", "t.conf:4: listeners.a.allow: ",
					     "t.conf:5: listeners.a.allow: \"gid:z\": no number",
					     "t.conf:6: listeners.a.deny: \"::2\": has no effect"};
	ck_assert_uint_eq(config_errors_count(errors), ARRAY_LEN(starts));
	for (unsigned i = 0; i < ARRAY_LEN(starts); i++)
		ck_assert_msg(strncmp(config_errors_line(errors, i), starts[i], strlen(starts[i])) == 0, "%s",
			      config_errors_line(errors, i));
}
END_TEST

/* A listener whose addresses are wrong is not told that its lists have no effect. */
START_TEST(an_address_that_is_wrong_is_the_only_error)
{
	ck_assert_int_eq(load(ON("\"nix:/x\"", "allow = \"user:x\"; deny = \"::1\";")), -EINVAL);
	ck_assert_uint_eq(config_errors_count(errors), 1);
	ck_assert_ptr_nonnull(strstr(config_errors_line(errors, 0), "listeners.web.listen: \"nix:/x\""));
}
END_TEST

START_TEST(lists_have_an_end)
{
	const size_t room = 200000;
	char *text = malloc(room);
	struct text t;

	ck_assert_ptr_nonnull(text);
	for (int count = 10000; count <= 10001; count++) {
		text_init(&t, text, room);
		text_add(&t, "door: { deny = [ ");
		for (int i = 1; i < count; i++)
			text_add(&t, "\"10.0.0.1\", ");
		text_add(&t, "\"10.0.0.1\" ]; };\n" LISTENER(""));
		ck_assert(!t.cut);
		ck_assert_int_eq(load(text), count == 10000 ? 0 : -EINVAL);
	}
	ck_assert_str_eq(config_errors_line(errors, 0),
			 "t.conf:1: door.deny: a list of 10001 is out of range; allowed: 0 to 10000 elements");
	free(text);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("config/schema_door");
	TCase *t = tcase_create("door");

	suite_add_tcase(suite, t);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, left_out_the_door_stands_open);
	tcase_add_test(t, a_ban_has_its_defaults);
	tcase_add_test(t, reads_all_options);
	tcase_add_loop_test(t, says_what_is_wrong, 0, ARRAY_LEN(bad));
	tcase_add_loop_test(t, takes_what_is_right, 0, ARRAY_LEN(good));
	tcase_add_test(t, collects_errors_of_all_lists);
	tcase_add_test(t, an_address_that_is_wrong_is_the_only_error);
	tcase_add_test(t, lists_have_an_end);
	return suite_run(suite);
}

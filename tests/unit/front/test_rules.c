/* SPDX-License-Identifier: MIT */
#include "front/rules.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <sys/un.h>

#include "../config/folder.h"
#include "../suite.h"
#include "base/netaddr.h"
#include "service/service.h"

static struct config_errors *errors;
static struct config *config;
static struct rules *rules;

static void setup(void)
{
	folder_create();
	errors = config_errors_create();
}

static void teardown(void)
{
	rules = rules_destroy(rules);
	config = config_unref(config);
	config_errors_destroy(errors);
	folder_remove();
}

/* Loads the rules of a configuration with these lines in `door`, and in the listeners a (TCP) and b (UNIX). */
static int load(const char *door, const char *a, const char *b, const struct rules *old, struct rules **to)
{
	char text[4096];
	snprintf(text, sizeof(text),
		 "door: { %s };\nlisteners: { a: { listen = \"127.0.0.1:0\"; echo: {};\n%s\n};\n b: { listen = "
		 "\"unix:/tmp/b.sock\"; echo: {};\n%s\n}; };\n",
		 door, a, b);
	config = config_unref(config);
	int failed = config_load_text("test", text, strlen(text), service_groups(), &config, errors);
	ck_assert_msg(failed == 0, "%s", config_errors_line(errors, 0));
	return rules_load(config, old, errors, to);
}

#define DOOR 0
#define A 1
#define B 2

static struct netaddr address;

static bool has(unsigned scope, enum rule_list list, const char *text)
{
	struct visitor v;
	ck_assert_int_eq(netaddr_parse_ip(&address, text, strlen(text), 4711), 0);
	visitor_from_address(&v, &address.u.any);
	bool is_there = rules_match(rules, scope, list, &v);
	struct rule_found found;
	ck_assert(rules_find(rules, scope, list, &v, &found) == is_there);
	return is_there;
}

static const struct sockaddr_un local = {.sun_family = AF_UNIX};

static struct visitor neighbour(uid_t uid, gid_t gid)
{
	struct visitor v;
	memset(&v, 0xee, sizeof(v)); /* what was not asked for is not looked at */
	visitor_from_address(&v, (const struct sockaddr *)&local);
	v.has_credentials = true;
	v.uid = uid;
	v.gid = gid;
	return v;
}

static bool has_visitor(unsigned scope, enum rule_list list, const struct visitor *v)
{
	struct rule_found found;
	bool is_there = rules_match(rules, scope, list, v);
	ck_assert(rules_find(rules, scope, list, v, &found) == is_there);
	return is_there;
}

static void must_say(unsigned i, const char *wanted)
{
	ck_assert_ptr_nonnull(config_errors_line(errors, i));
	ck_assert_str_eq(config_errors_line(errors, i), wanted);
}

START_TEST(without_lists_nobody_is_on_one)
{
	ck_assert_int_eq(load("", "", "", NULL, &rules), 0);
	for (unsigned scope = 0; scope < 3; scope++) {
		for (unsigned list = 0; list < RULE_LISTS; list++) {
			ck_assert(!rules_has(rules, scope, (enum rule_list)list));
			ck_assert(!has(scope, (enum rule_list)list, "10.0.0.1"));
		}
		ck_assert(!rules_want_unit(rules, scope));
	}
	ck_assert_uint_eq(rules_file_count(rules), 0);
}
END_TEST

START_TEST(addresses_are_on_the_list_of_their_scope)
{
	ck_assert_int_eq(load("deny = [ \"10.9.0.0/16\", \"fd00::/8\" ]; trusted = \"::1\";",
			      "allow = [ \"10.0.0.0/8\", \"192.168.1.5-192.168.1.9\", \"2001:db8::1\" ];", "", NULL,
			      &rules),
			 0);
	ck_assert(rules_has(rules, A, RULE_ALLOW));
	ck_assert(!rules_has(rules, A, RULE_DENY));
	ck_assert(!rules_has(rules, DOOR, RULE_ALLOW));
	ck_assert(rules_has(rules, DOOR, RULE_DENY));
	ck_assert(rules_has(rules, DOOR, RULE_TRUSTED));
	ck_assert(!rules_has(rules, B, RULE_ALLOW));

	ck_assert(has(A, RULE_ALLOW, "10.255.0.1"));
	ck_assert(has(A, RULE_ALLOW, "::ffff:10.255.0.1"));
	ck_assert(has(A, RULE_ALLOW, "192.168.1.5"));
	ck_assert(has(A, RULE_ALLOW, "192.168.1.9"));
	ck_assert(!has(A, RULE_ALLOW, "192.168.1.4"));
	ck_assert(!has(A, RULE_ALLOW, "192.168.1.10"));
	ck_assert(has(A, RULE_ALLOW, "2001:db8::1"));
	ck_assert(!has(A, RULE_ALLOW, "2001:db8::2"));
	ck_assert(!has(A, RULE_DENY, "10.9.0.1"));
	ck_assert(has(DOOR, RULE_DENY, "10.9.0.1"));
	ck_assert(has(DOOR, RULE_DENY, "fd12::1"));
	ck_assert(!has(DOOR, RULE_DENY, "10.8.0.1"));
	ck_assert(has(DOOR, RULE_TRUSTED, "::1"));
	ck_assert(!has(DOOR, RULE_TRUSTED, "::2"));
}
END_TEST

START_TEST(unix_peers_are_known_by_who_they_are)
{
	char b[256];
	const struct group *group = getgrnam("daemon");
	ck_assert_ptr_nonnull(group);
	gid_t gid = group->gr_gid;
	snprintf(b, sizeof(b),
		 "allow = [ \"user:root\", \"uid:4001\", \"group:daemon\", \"gid:4002\" ]; deny = [ "
		 "\"unit:backup.service\", \"uid:4294967294\" ];");
	ck_assert_int_eq(load("", "", b, NULL, &rules), 0);

	struct visitor root = neighbour(0, 4711);
	struct visitor by_uid = neighbour(4001, 4711);
	struct visitor by_group = neighbour(4711, gid);
	struct visitor by_gid = neighbour(4711, 4002);
	struct visitor none = neighbour(4002, 4001);
	ck_assert(has_visitor(B, RULE_ALLOW, &root));
	ck_assert(has_visitor(B, RULE_ALLOW, &by_uid));
	ck_assert(has_visitor(B, RULE_ALLOW, &by_group));
	ck_assert(has_visitor(B, RULE_ALLOW, &by_gid));
	ck_assert(!has_visitor(B, RULE_ALLOW, &none));
	ck_assert(!has_visitor(DOOR, RULE_ALLOW, &root));
	ck_assert(!has_visitor(B, RULE_TRUSTED, &root));

	/* a supplementary group, the last of them */
	none.group_count = 3;
	none.groups[0] = 4711;
	none.groups[1] = 4712;
	none.groups[2] = 4002;
	ck_assert(has_visitor(B, RULE_ALLOW, &none));
	none.group_count = 2;
	ck_assert(!has_visitor(B, RULE_ALLOW, &none));

	ck_assert(!has_visitor(B, RULE_DENY, &none));
	strcpy(none.unit, "backup.service");
	ck_assert(has_visitor(B, RULE_DENY, &none));
	strcpy(none.unit, "backup.service2");
	ck_assert(!has_visitor(B, RULE_DENY, &none));
	struct visitor last = neighbour(4294967294, 1);
	ck_assert(has_visitor(B, RULE_DENY, &last));
}
END_TEST

START_TEST(without_credentials_a_unix_peer_is_nobody)
{
	ck_assert_int_eq(load("deny = [ \"0.0.0.0/0\", \"::/0\", \"uid:0\", \"gid:0\" ];", "", "", NULL, &rules), 0);
	struct visitor v = neighbour(0, 0);
	ck_assert(has_visitor(DOOR, RULE_DENY, &v));
	ck_assert(!rules_may_match(rules, DOOR, RULE_DENY, &v));
	v.has_credentials = false;
	ck_assert(!has_visitor(DOOR, RULE_DENY, &v));
	/* that it is on none is not sure where there is one */
	ck_assert(rules_may_match(rules, DOOR, RULE_DENY, &v));
	ck_assert(!rules_may_match(rules, DOOR, RULE_ALLOW, &v));
	ck_assert(!rules_may_match(rules, A, RULE_DENY, &v));
	/* and nobody is who has an address */
	rules = rules_destroy(rules);
	ck_assert_int_eq(load("deny = [ \"uid:0\", \"gid:0\" ];", "", "", NULL, &rules), 0);
	ck_assert_int_eq(netaddr_parse_ip(&address, "10.0.0.1", 8, 0), 0);
	v = neighbour(0, 0);
	v.address = &address.u.any;
	ck_assert(!has_visitor(DOOR, RULE_DENY, &v));
	v.has_credentials = false;
	ck_assert(!rules_may_match(rules, DOOR, RULE_DENY, &v));
}
END_TEST

START_TEST(a_unit_is_asked_for_where_it_counts)
{
	ck_assert_int_eq(load("", "", "trusted = \"unit:a@b.service\";", NULL, &rules), 0);
	ck_assert(!rules_want_unit(rules, DOOR));
	ck_assert(!rules_want_unit(rules, A));
	ck_assert(rules_want_unit(rules, B));
	rules_destroy(rules);
	ck_assert_int_eq(load("deny = \"unit:session-3.scope\";", "", "", NULL, &rules), 0);
	ck_assert(rules_want_unit(rules, A));
	ck_assert(rules_want_unit(rules, B));
}
END_TEST

START_TEST(names_that_are_not_there_are_told)
{
	ck_assert_int_eq(load("trusted = \"user:no body\";", "",
			      "allow = [ \"uid:1\",\n\"user:nobdy-x\", \"group:nogrp-x\" ];", NULL, &rules),
			 -EINVAL);
	must_say(0, "test:1: door.trusted: \"user:no body\": there is no such user; uid:NUMBER needs none");
	must_say(1, "test:7: listeners.b.allow: \"user:nobdy-x\": there is no such user; uid:NUMBER needs none");
	must_say(2, "test:7: listeners.b.allow: \"group:nogrp-x\": there is no such group; gid:NUMBER needs none");
	ck_assert_uint_eq(config_errors_count(errors), 3);
	ck_assert_ptr_null(rules);
}
END_TEST

START_TEST(a_slice_is_none_that_clients_are_found_by)
{
	ck_assert_int_eq(load("", "", "deny = \"unit:user.slice\";", NULL, &rules), -EINVAL);
	must_say(0, "test:6: listeners.b.deny: \"unit:user.slice\": a slice, which clients are not looked up by; name "
		    "the services in it, as in \"unit:nginx.service\"");
}
END_TEST

START_TEST(a_file_is_read_once_and_shared)
{
	folder_write("some.txt", "# some\n10.1.0.0/16\n10.2.0.0/16 # and these\n\nfd00::1\n");
	folder_write("none.txt", "# nobody\n");
	ck_assert_int_eq(load("deny = [ \"192.168.0.0/16\", \"file:some.txt\" ]; trusted = \"file:none.txt\";",
			      "allow = [ \"file:some.txt\", \"10.9.9.9\", \"file:some.txt\" ];", "", NULL, &rules),
			 0);
	ck_assert_uint_eq(rules_file_count(rules), 2);
	ck_assert_str_eq(rules_file(rules, 0), "some.txt");
	ck_assert_str_eq(rules_file(rules, 1), "none.txt");
	const struct list_content *c = rules_file_content(rules, 0);
	ck_assert_uint_eq(c->entries, 3);
	ck_assert_uint_eq(prefix_set_count(c->set), 2); /* two touch */
	ck_assert_uint_eq(c->state, list_file_state("some.txt"));
	ck_assert_uint_eq(rules_file_content(rules, 1)->entries, 0);

	char bytes[256];
	struct text t;
	text_init(&t, bytes, sizeof(bytes));
	rules_add_file_users(rules, 0, &t);
	ck_assert_str_eq(t.at, "door.deny, listeners.a.allow");

	ck_assert(has(DOOR, RULE_DENY, "10.1.2.3"));
	ck_assert(has(DOOR, RULE_DENY, "192.168.1.1"));
	ck_assert(!has(DOOR, RULE_DENY, "10.9.9.9"));
	ck_assert(has(A, RULE_ALLOW, "10.2.2.3"));
	ck_assert(has(A, RULE_ALLOW, "fd00::1"));
	ck_assert(has(A, RULE_ALLOW, "10.9.9.9"));
	ck_assert(!has(A, RULE_ALLOW, "fd00::2"));
	/* an empty file is a list all the same: who is not on it is not on it */
	ck_assert(rules_has(rules, DOOR, RULE_TRUSTED));
	ck_assert(!has(DOOR, RULE_TRUSTED, "10.1.2.3"));
	struct visitor v = neighbour(0, 0);
	ck_assert(!has_visitor(DOOR, RULE_DENY, &v));
}
END_TEST

START_TEST(what_is_wrong_with_a_file_is_told_once)
{
	folder_write("bad.txt", "10.0.0.0/8\n10.0.0.300\n\nno\n");
	ck_assert_int_eq(load("deny = \"file:bad.txt\"; allow = \"file:none.txt\";",
			      "allow = \"file:bad.txt\"; deny = "
			      "\"file:/tmp\";",
			      "", NULL, &rules),
			 -EINVAL);
	ck_assert_uint_eq(config_errors_count(errors), 4);
	must_say(0, "test:1: door.allow: none.txt: No such file or directory");
	const char *line = config_errors_line(errors, 1);
	ck_assert_msg(strstr(line, "test:1: door.deny: bad.txt: 2: \"10.0.0.300\": ") == line, "%s", line);
	line = config_errors_line(errors, 2);
	ck_assert_msg(strstr(line, "test:1: door.deny: bad.txt: 4: \"no\": ") == line, "%s", line);
	line = config_errors_line(errors, 3);
	ck_assert_msg(strstr(line, "test:3: listeners.a.deny: /tmp: is a directory") == line, "%s", line);
}
END_TEST

START_TEST(only_the_first_wrong_lines_are_told)
{
	char text[4 * 100 + 1] = "";
	for (int i = 0; i < 100; i++)
		strcat(text, "bad\n");
	folder_write("bad.txt", text);
	ck_assert_int_eq(load("deny = \"file:bad.txt\";", "", "", NULL, &rules), -EINVAL);
	ck_assert_uint_eq(config_errors_count(errors), ADDRESS_LIST_PROBLEMS_MAX + 1);
	must_say(ADDRESS_LIST_PROBLEMS_MAX, "test:1: door.deny: bad.txt: and 95 more lines of it are wrong");
}
END_TEST

START_TEST(a_file_that_may_not_be_read_is_told_with_who_may_not)
{
	if (geteuid() != 0)
		return; /* only root becomes somebody else */
	folder_write("secret.txt", "10.0.0.1\n");
	ck_assert_int_eq(chmod("secret.txt", 0600), 0);
	ck_assert_int_eq(chmod(folder_path, 0755), 0);
	ck_assert_int_eq(seteuid(65534), 0);
	int failed = load("deny = \"file:secret.txt\";", "", "", NULL, &rules);
	ck_assert_int_eq(seteuid(0), 0);
	ck_assert_int_eq(failed, -EINVAL);
	must_say(0, "test:1: door.deny: secret.txt: the user nobody, which usherd runs as, may not read it: make it "
		    "readable for this user (chmod o+r, or chgrp it to a group of that user)");
}
END_TEST

static struct list_content read_content(const char *path)
{
	struct list_content c = {0};
	struct address_list_problems problems;
	ck_assert_int_eq(list_file_read(path, 0, &c, &problems), 0);
	return c;
}

START_TEST(a_file_changes_when_it_is_taken)
{
	folder_write("some.txt", "10.1.0.0/16\n");
	ck_assert_int_eq(load("deny = \"file:some.txt\";", "allow = \"file:some.txt\";", "", NULL, &rules), 0);
	uint64_t digest = rules_file_content(rules, 0)->digest;
	uint64_t state = rules_file_content(rules, 0)->state;
	folder_write("some.txt", "10.2.0.0/16\n10.3.0.0/16\n");
	ck_assert(has(DOOR, RULE_DENY, "10.1.0.1"));
	struct list_content c = read_content("some.txt");
	rules_take(rules, 0, &c);
	ck_assert_ptr_null(c.set);
	ck_assert(!has(DOOR, RULE_DENY, "10.1.0.1"));
	ck_assert(has(DOOR, RULE_DENY, "10.2.0.1"));
	ck_assert(has(A, RULE_ALLOW, "10.3.0.1"));
	ck_assert_uint_eq(rules_file_content(rules, 0)->entries, 2);
	ck_assert_uint_eq(prefix_set_count(rules_file_content(rules, 0)->set), 1);
	ck_assert_uint_ne(rules_file_content(rules, 0)->digest, digest);
	ck_assert_uint_ne(rules_file_content(rules, 0)->state, state);
}
END_TEST

START_TEST(the_digest_is_of_the_entries_alone)
{
	folder_write("a.txt", "10.1.0.0/16\n10.2.0.0/16\n");
	folder_write("b.txt", "# the same\n10.1.0.0-10.1.255.255\n\n10.2.0.0/16");
	folder_write("c.txt", "10.1.0.0/16\n10.2.0.0/17\n");
	struct list_content a = read_content("a.txt");
	struct list_content b = read_content("b.txt");
	struct list_content c = read_content("c.txt");
	ck_assert_uint_eq(a.digest, b.digest);
	ck_assert_uint_ne(a.digest, c.digest);
	ck_assert_uint_ne(a.state, b.state);
	list_content_fini(&a);
	list_content_fini(&b);
	list_content_fini(&c);
}
END_TEST

START_TEST(the_next_rules_share_the_files_that_are_known)
{
	folder_write("known.txt", "10.1.0.0/16\n");
	folder_write("other.txt", "10.5.0.0/16\n");
	ck_assert_int_eq(load("deny = [ \"file:other.txt\", \"file:known.txt\" ];", "", "", NULL, &rules), 0);
	folder_write("known.txt", "no address, and not read\n");
	folder_write("new.txt", "10.6.0.0/16\n");
	struct rules *next = NULL;
	ck_assert_int_eq(load("", "allow = [ \"file:known.txt\", \"file:new.txt\" ];", "", rules, &next), 0);
	ck_assert_uint_eq(rules_file_count(next), 2);
	ck_assert_str_eq(rules_file(next, 0), "known.txt");
	ck_assert_str_eq(rules_file(next, 1), "new.txt");

	/* one content for both */
	folder_write("known.txt", "10.7.0.0/16\n");
	struct list_content c = read_content("known.txt");
	rules_take(next, 0, &c);
	ck_assert(has(DOOR, RULE_DENY, "10.7.0.1"));
	ck_assert(!has(DOOR, RULE_DENY, "10.1.0.1"));
	rules_destroy(rules);
	rules = next;
	ck_assert(has(A, RULE_ALLOW, "10.7.0.1"));
	ck_assert(has(A, RULE_ALLOW, "10.6.0.1"));
	ck_assert(!has(A, RULE_ALLOW, "10.5.0.1"));
}
END_TEST

START_TEST(rules_that_are_wrong_leave_the_old_ones_alone)
{
	folder_write("known.txt", "10.1.0.0/16\n");
	ck_assert_int_eq(load("deny = \"file:known.txt\";", "", "", NULL, &rules), 0);
	struct rules *next = NULL;
	ck_assert_int_eq(load("deny = [ \"file:known.txt\", \"file:none.txt\" ];", "", "", rules, &next), -EINVAL);
	ck_assert_ptr_null(next);
	ck_assert(has(DOOR, RULE_DENY, "10.1.0.1"));
}
END_TEST

START_TEST(an_entry_is_found_with_its_place)
{
	struct visitor v;
	struct rule_found found;
	folder_write("some.txt", "# some\n10.1.0.0/16\n10.2.0.0/16 # these\n");
	ck_assert_int_eq(load("deny = [ \"192.168.0.0/16\",\n\"file:some.txt\",\n\"uid:7\" ];", "", "", NULL, &rules),
			 0);
	ck_assert_int_eq(netaddr_parse_ip(&address, "192.168.3.4", 11, 0), 0);
	visitor_from_address(&v, &address.u.any);
	ck_assert(rules_find(rules, DOOR, RULE_DENY, &v, &found));
	ck_assert_str_eq(found.entry, "192.168.0.0/16");
	ck_assert_str_eq(found.place.file, "test");
	ck_assert_ptr_null(found.file);
	ck_assert_uint_eq(found.line, 0);

	ck_assert_int_eq(netaddr_parse_ip(&address, "10.2.3.4", 8, 0), 0);
	ck_assert(rules_find(rules, DOOR, RULE_DENY, &v, &found));
	ck_assert_str_eq(found.entry, "file:some.txt");
	ck_assert_str_eq(found.file, "some.txt");
	ck_assert_uint_eq(found.line, 3);
	ck_assert_str_eq(found.file_entry, "10.2.0.0/16");

	/* what counts is what was read */
	folder_write("some.txt", "10.3.0.0/16\n");
	ck_assert(rules_find(rules, DOOR, RULE_DENY, &v, &found));
	ck_assert_str_eq(found.file, "some.txt");
	ck_assert_uint_eq(found.line, 0);
	ck_assert_str_eq(found.file_entry, "");
	ck_assert_int_eq(netaddr_parse_ip(&address, "10.3.3.4", 8, 0), 0);
	ck_assert(!rules_find(rules, DOOR, RULE_DENY, &v, &found));

	struct visitor seven = neighbour(7, 7);
	ck_assert(rules_find(rules, DOOR, RULE_DENY, &seven, &found));
	ck_assert_str_eq(found.entry, "uid:7");
	ck_assert(!rules_find(rules, DOOR, RULE_ALLOW, &seven, &found));
}
END_TEST

START_TEST(files_that_were_read_are_not_read_again)
{
	struct list_reads reads = {0};
	struct config *c;
	struct rules *first;
	struct rules *next;
	static const char text[] = "door: { deny = [ \"file:old.txt\", \"file:new.txt\" ]; };\n"
				   "listeners: { a: { listen = \"127.0.0.1:0\"; echo: {};\n"
				   "  allow = [ \"file:new.txt\", \"file:bad.txt\", \"10.0.0.0/8\" ]; }; };\n";
	folder_write("old.txt", "10.1.0.0/16\n");
	folder_write("new.txt", "10.2.0.0/16\n");
	ck_assert_int_eq(config_load_text("test", text, strlen(text), service_groups(), &c, errors), 0);
	ck_assert_int_eq(rules_add_missing(c, NULL, &reads), 0);
	ck_assert_uint_eq(reads.count, 3);
	list_reads_fini(&reads);

	static const char old_text[] = "door: { deny = \"file:old.txt\"; };\n"
				       "listeners: { a: { listen = \"127.0.0.1:0\"; echo: {}; }; };\n";
	struct config *old_config;
	ck_assert_int_eq(config_load_text("test", old_text, strlen(old_text), service_groups(), &old_config, errors),
			 0);
	ck_assert_int_eq(rules_load(old_config, NULL, errors, &first), 0);
	config_unref(old_config);
	ck_assert_int_eq(rules_add_missing(c, first, &reads), 0);
	ck_assert_uint_eq(reads.count, 2);
	ck_assert_str_eq(reads.at[0].path, "new.txt");
	ck_assert_str_eq(reads.at[1].path, "bad.txt");
	ck_assert_int_eq(list_file_read("new.txt", 0, &reads.at[0].content, &reads.at[0].problems), 0);
	reads.at[0].failed = 0;
	reads.at[1].failed = -EIO;
	ck_assert_int_eq(unlink("new.txt"), 0);
	folder_write("bad.txt", "10.3.0.0/16\n");
	/* what was wrong when it was read is wrong now */
	ck_assert_int_eq(rules_load_read(c, first, &reads, errors, &next), -EINVAL);
	ck_assert_uint_eq(config_errors_count(errors), 1);
	ck_assert_ptr_nonnull(strstr(config_errors_line(errors, 0), "listeners.a.allow: bad.txt: Input/output error"));
	config_unref(c);

	static const char good_text[] = "door: { deny = [ \"file:old.txt\", \"file:new.txt\" ]; };\n"
					"listeners: { a: { listen = \"127.0.0.1:0\"; echo: {}; }; };\n";
	ck_assert_int_eq(config_load_text("test", good_text, strlen(good_text), service_groups(), &c, errors), 0);
	ck_assert_int_eq(rules_load_read(c, first, &reads, errors, &next), 0);
	config_unref(c);
	list_reads_fini(&reads);
	rules_destroy(first);
	ck_assert_uint_eq(rules_file_count(next), 2);
	ck_assert_uint_eq(rules_file_content(next, 1)->entries, 1);
	struct netaddr a;
	struct visitor v;
	ck_assert_int_eq(netaddr_parse_ip(&a, "10.2.0.1", 8, 0), 0);
	visitor_from_address(&v, &a.u.any);
	ck_assert(rules_match(next, 0, RULE_DENY, &v));
	rules_destroy(next);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("front/rules");
	TCase *c = tcase_create("rules");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, without_lists_nobody_is_on_one);
	tcase_add_test(c, addresses_are_on_the_list_of_their_scope);
	tcase_add_test(c, unix_peers_are_known_by_who_they_are);
	tcase_add_test(c, without_credentials_a_unix_peer_is_nobody);
	tcase_add_test(c, a_unit_is_asked_for_where_it_counts);
	tcase_add_test(c, names_that_are_not_there_are_told);
	tcase_add_test(c, a_slice_is_none_that_clients_are_found_by);
	tcase_add_test(c, a_file_is_read_once_and_shared);
	tcase_add_test(c, what_is_wrong_with_a_file_is_told_once);
	tcase_add_test(c, only_the_first_wrong_lines_are_told);
	tcase_add_test(c, a_file_that_may_not_be_read_is_told_with_who_may_not);
	tcase_add_test(c, a_file_changes_when_it_is_taken);
	tcase_add_test(c, the_digest_is_of_the_entries_alone);
	tcase_add_test(c, the_next_rules_share_the_files_that_are_known);
	tcase_add_test(c, rules_that_are_wrong_leave_the_old_ones_alone);
	tcase_add_test(c, an_entry_is_found_with_its_place);
	tcase_add_test(c, files_that_were_read_are_not_read_again);
	suite_add_tcase(s, c);
	return suite_run(s);
}

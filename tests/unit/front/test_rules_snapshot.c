/* SPDX-License-Identifier: MIT */
#include "front/rules_snapshot.h"

#include <check.h>
#include <pthread.h>

#include "../config/folder.h"
#include "../suite.h"
#include "service/service.h"

#define DOOR 0
#define A 1
#define B 2

static const char text[] =
	"door: { deny = [ \"192.0.2.0/24\", \"file:deny.txt\" ]; };\n"
	"listeners: { a: { listen = \"127.0.0.1:0\"; echo: {}; allow = [ \"10.0.0.0/8\", \"file:allow.txt\" ]; };\n"
	"b: { listen = \"unix:/tmp/b.sock\"; echo: {}; allow = [ \"uid:7\", \"unit:x.service\" ]; }; };\n";

static struct rules *rules;
static struct rules_snapshot *snapshot;

static void setup(void)
{
	struct config_errors *errors = config_errors_create();
	struct config *config = NULL;
	folder_create();
	folder_write("deny.txt", "198.51.100.0/24\n");
	folder_write("allow.txt", "203.0.113.0/24\n");
	int failed = config_load_text("test", text, strlen(text), service_groups(), &config, errors);
	ck_assert_msg(failed == 0, "%s", config_errors_line(errors, 0));
	ck_assert_int_eq(rules_load(config, NULL, errors, &rules), 0);
	config_unref(config);
	config_errors_destroy(errors);
	snapshot = rules_snapshot_create(rules);
	ck_assert_ptr_nonnull(snapshot);
}

static void teardown(void)
{
	rules_snapshot_destroy(snapshot);
	rules = rules_destroy(rules);
	folder_remove();
}

static bool refuses(unsigned scope, const char *address)
{
	struct netaddr a;
	struct visitor v;
	ck_assert_int_eq(netaddr_parse_ip(&a, address, strlen(address), 4711), 0);
	visitor_from_address(&v, &a.u.any);
	return rules_snapshot_refuses(snapshot, scope, &v);
}

static bool refuses_peer(unsigned scope, bool has_credentials, unsigned uid, const char *unit)
{
	const struct sockaddr address = {.sa_family = AF_UNIX};
	struct visitor v;
	visitor_from_address(&v, &address);
	v.has_credentials = has_credentials;
	v.uid = uid;
	strcpy(v.unit, unit);
	return rules_snapshot_refuses(snapshot, scope, &v);
}

static void check_as_loaded(void)
{
	ck_assert(refuses(DOOR, "192.0.2.1"));
	ck_assert(refuses(DOOR, "198.51.100.1"));
	ck_assert(!refuses(DOOR, "10.0.0.1"));
	ck_assert(!refuses(A, "10.0.0.1"));
	ck_assert(!refuses(A, "203.0.113.9"));
	ck_assert(refuses(A, "203.0.114.9"));
	ck_assert(refuses(A, "198.51.100.1")); /* as it is not allowed; what door denies is the door's */
	ck_assert(!refuses_peer(DOOR, true, 8, ""));
	ck_assert(!refuses_peer(B, true, 7, ""));
	ck_assert(!refuses_peer(B, true, 8, "x.service"));
	ck_assert(refuses_peer(B, true, 8, "y.service"));
	ck_assert(refuses_peer(B, false, 7, "x.service"));
	ck_assert(!rules_snapshot_wants_unit(snapshot, A));
	ck_assert(rules_snapshot_wants_unit(snapshot, B));
}

START_TEST(deny_refuses_and_allow_does)
{
	check_as_loaded();
	ck_assert_str_eq(rules_snapshot_config(snapshot)->listeners[1].name, "b");
}
END_TEST

static void renew(void)
{
	struct list_content c = {0};
	struct address_list_problems problems;
	folder_write("deny.txt", "10.0.0.0/8\n");
	ck_assert_int_eq(list_file_read("deny.txt", 0, &c, &problems), 0);
	rules_take(rules, 0, &c);
}

START_TEST(a_file_that_changes_later_does_not_count)
{
	renew();
	check_as_loaded();
	rules_snapshot_destroy(snapshot);
	snapshot = rules_snapshot_create(rules);
	ck_assert(refuses(DOOR, "10.0.0.1"));
	ck_assert(!refuses(DOOR, "198.51.100.1"));
}
END_TEST

START_TEST(it_outlives_the_rules)
{
	rules = rules_destroy(rules);
	check_as_loaded();
}
END_TEST

static void *ask_and_leave(void *arg)
{
	for (int i = 0; i < 1000; i++)
		check_as_loaded();
	return rules_snapshot_destroy(arg);
}

/* As when a worker gives it back last, while main has other rules. */
START_TEST(another_thread_asks_and_destroys)
{
	pthread_t thread;
	ck_assert_int_eq(pthread_create(&thread, NULL, ask_and_leave, snapshot), 0);
	for (int i = 0; i < 50; i++)
		renew();
	rules = rules_destroy(rules);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	snapshot = rules_snapshot_destroy(NULL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("front/rules_snapshot");
	TCase *c = tcase_create("rules_snapshot");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, deny_refuses_and_allow_does);
	tcase_add_test(c, a_file_that_changes_later_does_not_count);
	tcase_add_test(c, it_outlives_the_rules);
	tcase_add_test(c, another_thread_asks_and_destroys);
	suite_add_tcase(s, c);
	return suite_run(s);
}

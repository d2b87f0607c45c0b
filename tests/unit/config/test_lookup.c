/* SPDX-License-Identifier: MIT */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "../suite.h"
#include "folder.h"
#include "sample.h"

static const char text[] = "workers = 3;\n"
			   "door: {\n"
			   "  deny = [\n"
			   "    \"10.0.0.0/8\" ];\n"
			   "  limits: { per_source\n"
			   "    = 7;\n"
			   "  };\n"
			   "};\n"
			   "@include \"more.conf\"\n";

static const char more[] = "listeners: {\n"
			   "  web-1: { listen = \"*:7\"; echo: {};\n"
			   "    limits: { rate = \"20/s burst 40\"; };\n"
			   "    ban: { };\n"
			   "  };\n"
			   "  web: { listen = \"*:8\"; proxy: { to = \"h:1\"; }; };\n"
			   "};\n";

static struct config *c;

static void setup(void)
{
	struct config_errors *errors = config_errors_create();
	folder_create();
	folder_write("t.conf", text);
	folder_write("more.conf", more);
	int failed = config_load("t.conf", &sample_services, &c, errors);
	ck_assert_msg(failed == 0, "%s", config_errors_line(errors, 0));
	config_errors_destroy(errors);
}

static void teardown(void)
{
	config_unref(c);
	folder_remove();
}

static const struct {
	const char *path;
	const char *file;
	unsigned line;
} places[] = {
	{"workers", "t.conf", 1},
	{"door", "t.conf", 2},
	{"door.deny", "t.conf", 3},
	{"door.limits.per_source", "t.conf", 5},
	{"listeners.web-1.limits.rate", "more.conf", 3},
	{"listeners.web-1.ban", "more.conf", 4},
	{"listeners.web", "more.conf", 6},
};

START_TEST(says_where_an_option_stands)
{
	struct config_place place = {0};
	ck_assert(config_option_place(c, places[_i].path, &place));
	ck_assert_ptr_nonnull(strstr(place.file, places[_i].file));
	ck_assert_uint_eq(place.line, places[_i].line);
}
END_TEST

static const char *const not_set[] = {
	"drain_timeout", "door.allow",	   "door.limits.rate", "door.limits.per_source.x", "listeners.web.limits.rate",
	"resolver.ttl",	 "listeners.none", "no.such",
};

START_TEST(says_what_does_not_stand_there)
{
	struct config_place place = {.line = 99};
	ck_assert(!config_option_place(c, not_set[_i], &place));
	ck_assert_uint_eq(place.line, 99);
}
END_TEST

static const struct {
	const char *path;
	const char *value;
} values[] = {
	{"workers", "3"},
	{"door.limits.per_source", "7"},
	{"door.limits.connections", "0"},
	{"door.deny", "\"10.0.0.0/8\""},
	{"door.allow", "not set"},
	{"door.overload.percent", "95"},
	{"listeners.web-1.limits.rate", "20/s burst 40"},
	{"listeners.web.limits.at_limit", "reset"},
};

START_TEST(says_the_value_in_effect)
{
	char bytes[100];
	struct text t;
	text_init(&t, bytes, sizeof(bytes));
	ck_assert(config_option_add_text(&t, c, values[_i].path));
	ck_assert_str_eq(t.at, values[_i].value);
}
END_TEST

static const char *const no_options[] = {
	"",
	"door",
	"worker",
	"workersx",
	"door.limits",
	"door.limits.",
	"listeners",
	"listeners.we",
	"listeners.web",
	"listeners.web.proxy.to",
	"workers.x",
	"listeners.nix.limits.rate",
};

START_TEST(knows_what_is_no_option)
{
	char bytes[100];
	struct text t;
	text_init(&t, bytes, sizeof(bytes));
	ck_assert(!config_option_add_text(&t, c, no_options[_i]));
	ck_assert_str_eq(t.at, "");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("config/lookup");
	TCase *t = tcase_create("lookup");

	suite_add_tcase(suite, t);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, says_where_an_option_stands, 0, ARRAY_LEN(places));
	tcase_add_loop_test(t, says_what_does_not_stand_there, 0, ARRAY_LEN(not_set));
	tcase_add_loop_test(t, says_the_value_in_effect, 0, ARRAY_LEN(values));
	tcase_add_loop_test(t, knows_what_is_no_option, 0, ARRAY_LEN(no_options));
	return suite_run(suite);
}

/* SPDX-License-Identifier: MIT */
#include "config/source.h"

#include <check.h>
#include <errno.h>
#include <libconfig.h>
#include <stdlib.h>
#include <string.h>

#include "../suite.h"
#include "base/text.h"
#include "folder.h"

static struct source *source;
static struct config_errors *errors;

static void setup(void)
{
	folder_create();
	source = source_create();
	errors = config_errors_create();
	ck_assert(source && errors);
}

static void teardown(void)
{
	source_destroy(source);
	config_errors_destroy(errors);
	folder_remove();
}

static int read_text(const char *text)
{
	return source_read_text(source, "t.conf", text, strlen(text), errors);
}

/* The i-th error begins with `begin`. */
static void error_begins(unsigned i, const char *begin)
{
	const char *line = config_errors_line(errors, i);

	ck_assert_msg(line && strncmp(line, begin, strlen(begin)) == 0, "'%s' begins not with '%s'", line ? line : "",
		      begin);
}

START_TEST(keeps_text_as_it_is)
{
	const char *text = "a = 1; # @include \"x\"\n/* @include \"x\"\n@include \"y\" */\nb = \"\n@include \\\" \";\n";

	ck_assert_int_eq(read_text(text), 0);
	ck_assert_str_eq(source_text(source), text);
	ck_assert_uint_eq(source_place(source, 4).line, 4);
	ck_assert_str_eq(source_place(source, 4).file, "t.conf");
}
END_TEST

START_TEST(adds_the_last_newline)
{
	ck_assert_int_eq(read_text("a = 1 # x"), 0);
	ck_assert_str_eq(source_text(source), "a = 1 # x\n");
}
END_TEST

START_TEST(takes_an_empty_text)
{
	ck_assert_int_eq(read_text(""), 0);
	ck_assert_str_eq(source_text(source), "");
	ck_assert_ptr_nonnull(source_place(source, 1).file);
}
END_TEST

START_TEST(refuses_what_wraps)
{
	static const char *const bad[] = {"3000000000",	 "4294967297",	 "-2147483649",
					  "0x80000000",	 "0xffffffffff", "5L",
					  "5LL",	 "0x5L",	 "99999999999999999999999999",
					  "+2147483648", "-0L"};
	static const char *const good[] = {"2147483647", "-2147483648", "0x7fffffff", "+5",
					   "0X0",	 "1.5",		"1e99",	      "-1.5e9999999999"};
	char text[100];

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		snprintf(text, sizeof(text), "a = %s;", good[i]);
		source = source_destroy(source);
		source = source_create();
		ck_assert_msg(read_text(text) == 0, "%s", text);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		snprintf(text, sizeof(text), "a5000000000 = \"3000000000\";\nb = %s;", bad[i]);
		source = source_destroy(source);
		source = source_create();
		ck_assert_int_eq(read_text(text), -EINVAL);
		snprintf(text, sizeof(text), "t.conf:2: b: %s: integers go from -2147483648 to 2147483647", bad[i]);
		error_begins((unsigned)i, text);
	}
}
END_TEST

START_TEST(refuses_what_has_no_end)
{
	static const struct {
		const char *text, *error;
	} bad[] = {
		{"\n a = \"x\n\n", "t.conf:2: a string begins here"},
		{"\n\n /* x\n\n", "t.conf:3: a comment begins here"},
		{"a: {\n b: [\n", "t.conf:2: the [ of this line is never closed"},
		{"a: {\n b: [ };\n", "t.conf:2: } cannot close the [ of line 2; ] is needed first"},
		{"\n};\n", "t.conf:2: } closes nothing"},
		{"a = \"x\\x00y\";\n", "t.conf:1: \\\\x00 in a string"},
		{"a = 5 \"x\";\n", "t.conf:1: text stands here where none can"},
		{"a = 1, \"x\";\n", "t.conf:1: text stands here where none can"},
		{"a = 1 @include \"x\"\n", "t.conf:1: @ stands here"},
		{"@include x\n", "t.conf:1: write an include as"},
		{"@include \"x\n\"\n", "t.conf:1: write an include as"},
		{"@include \"x\" a = 1\n", "t.conf:1: write an include as"},
		{"@include \"\"\n", "t.conf:1: @include names no file"},
		{"@include \"x\"\n", "t.conf:1: @include is possible in files only"},
		{"@include", "t.conf:1: write an include as"},
	};

	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		source = source_destroy(source);
		source = source_create();
		ck_assert_msg(read_text(bad[i].text) == -EINVAL, "%s", bad[i].text);
		error_begins(i, bad[i].error);
	}
}
END_TEST

START_TEST(refuses_nul_bytes)
{
	ck_assert_int_eq(source_read_text(source, "t.conf", "a = 1;\n\0b", 9, errors), -EINVAL);
	error_begins(0, "t.conf:2: a NUL byte");
}
END_TEST

START_TEST(bounds_nesting)
{
	for (size_t i = 0; i < 3; i++) {
		char *text = malloc(100001);
		ck_assert_ptr_nonnull(text);
		memset(text, "{[("[i], 100000);
		text[100000] = '\0';
		source = source_destroy(source);
		source = source_create();
		ck_assert_int_eq(read_text(text), -EINVAL);
		error_begins((unsigned)i, "t.conf:1: groups and lists stand too deep");
		free(text);
	}
}
END_TEST

START_TEST(bounds_settings)
{
	char *text = NULL;
	size_t n = 0;
	FILE *to = open_memstream(&text, &n);

	for (int i = 0; i < 4097; i++)
		fprintf(to, "a%d=1;\n", i);
	fclose(to);
	ck_assert_int_eq(source_read_text(source, "t.conf", text, n, errors), -EINVAL);
	error_begins(0, "t.conf:4097: too many settings in one group");
	free(text);
}
END_TEST

START_TEST(bounds_bytes)
{
	size_t n = (16U << 20) + 1;
	char *text = malloc(n);

	ck_assert_ptr_nonnull(text);
	memset(text, ' ', n);
	ck_assert_int_eq(source_read_text(source, "t.conf", text, n, errors), -EINVAL);
	folder_write_bytes("big.conf", text, n);
	folder_write("main.conf", "@include \"big.conf\"\n");
	ck_assert_int_eq(source_read_file(source, "main.conf", errors), -EINVAL);
	error_begins(1, "main.conf:1: cannot include big.conf: too much text");
	free(text);
}
END_TEST

START_TEST(includes_files)
{
	ck_assert_int_eq(mkdir("sub", 0700), 0);
	folder_write("main.conf", "a = 1;\n\t@include  \"sub/one.conf\" # why\nd = 4;\n");
	folder_write("sub/one.conf", "b = 2;\n@include \"two.conf\"\n# end");
	folder_write("sub/two.conf", "c = 3;");
	ck_assert_int_eq(source_read_file(source, "main.conf", errors), 0);
	ck_assert_str_eq(source_text(source), "a = 1;\nb = 2;\nc = 3;\n# end\nd = 4;\n");
	static const struct config_place places[] = {
		{"main.conf", 1}, {"sub/one.conf", 1}, {"sub/two.conf", 1}, {"sub/one.conf", 3}, {"main.conf", 3}};
	for (unsigned i = 0; i < ARRAY_LEN(places); i++) {
		ck_assert_str_eq(source_place(source, i + 1).file, places[i].file);
		ck_assert_uint_eq(source_place(source, i + 1).line, places[i].line);
	}
}
END_TEST

START_TEST(includes_directories_in_name_order)
{
	ck_assert_int_eq(mkdir("d", 0700), 0);
	ck_assert_int_eq(mkdir("empty", 0700), 0);
	folder_write("d/b.conf", "b = 1;");
	folder_write("d/B.conf", "B = 1;");
	folder_write("d/10.conf", "ten = 1;");
	folder_write("d/9.conf", "nine = 1;");
	folder_write("d/.hidden.conf", "@");
	folder_write("d/.conf", "@");
	folder_write("d/x.conf~", "@");
	folder_write("d/y.cfg", "@");
	folder_write("main.conf", "@include \"d\"\n@include \"empty\"\n");
	ck_assert_int_eq(source_read_file(source, "main.conf", errors), 0);
	ck_assert_str_eq(source_text(source), "ten = 1;\nnine = 1;\nB = 1;\nb = 1;\n");
}
END_TEST

START_TEST(says_why_an_include_fails)
{
	ck_assert_int_eq(mkdir("d", 0700), 0);
	ck_assert_int_eq(mkdir("d/a.conf", 0700), 0);
	ck_assert_int_eq(mkfifo("fifo", 0600), 0);
	folder_write("d/b.conf", "x = 3000000000;");
	folder_write("main.conf",
		     "@include \"none.conf\"\n\n@include \"fifo\"\n@include \"d\"\n@include \"main.conf\"\n"
		     "@include \"open.conf\"\ny = 5L;\n");
	folder_write("open.conf", "a: {\n");
	ck_assert_int_eq(source_read_file(source, "main.conf", errors), -EINVAL);
	error_begins(0, "main.conf:1: cannot include none.conf: No such file or directory");
	error_begins(1, "main.conf:3: cannot include fifo: is no regular file");
	error_begins(2, "main.conf:4: cannot include d/a.conf: is a directory");
	error_begins(3, "d/b.conf:1: x: 3000000000: ");
	error_begins(4, "main.conf:5: cannot include main.conf: it includes itself");
	error_begins(5, "open.conf:1: the { of this line is never closed");
	error_begins(6, "main.conf:7: y: 5L: ");
	ck_assert_uint_eq(config_errors_count(errors), 7);
}
END_TEST

START_TEST(names_of_an_included_file_end_with_it)
{
	folder_write("inner.conf", "inner = 1;\n");
	folder_write("main.conf", "outer: {\n@include \"inner.conf\"\n= 3000000000; };\n");
	ck_assert_int_eq(source_read_file(source, "main.conf", errors), -EINVAL);
	error_begins(0, "main.conf:3: outer: 3000000000: ");
}
END_TEST

START_TEST(says_why_a_file_fails)
{
	ck_assert_int_eq(source_read_file(source, "none.conf", errors), -EINVAL);
	ck_assert_int_eq(source_read_file(source, ".", errors), -EINVAL);
	error_begins(0, "none.conf: No such file or directory");
	error_begins(1, ".: is a directory");
}
END_TEST

START_TEST(included_settings_end_in_their_file)
{
	static const char *const bad[] = {"a = 1;\nbad # x\n\n", "a = 1;\nbad =\n/* x */", "\nbad:\n# x\n",
					  "a: {};\nb\n@include \"empty.conf\"\n"};
	static const char *const good[] = {
		"",	 "# x",		 "a = 1",  "a = true\n# x", "a = \"x\"\n",
		"a: {}", "a = [ true ]", "a = 1,", "a = x;\n\n",    "@include \"empty.conf\"\n"};

	folder_write("empty.conf", "# nothing\n");
	folder_write("main.conf", "\n@include \"sub.conf\"\nb = 2;\n");
	for (unsigned i = 0; i < ARRAY_LEN(good); i++) {
		folder_write("sub.conf", good[i]);
		source = source_destroy(source);
		source = source_create();
		ck_assert_msg(source_read_file(source, "main.conf", errors) == 0, "%s", good[i]);
	}
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		folder_write("sub.conf", bad[i]);
		source = source_destroy(source);
		source = source_create();
		ck_assert_int_eq(source_read_file(source, "main.conf", errors), -EINVAL);
		ck_assert_uint_eq(config_errors_count(errors), i + 1);
		error_begins(i, "sub.conf:2: a setting stands here without its value");
	}
}
END_TEST

START_TEST(blames_one_file_for_a_setting_without_value)
{
	ck_assert_int_eq(mkdir("d", 0700), 0);
	folder_write("main.conf", "@include \"sub.conf\"\n");
	folder_write("sub.conf", "a = 1;\n@include \"d\"\n");
	folder_write("d/1.conf", "b = ");
	folder_write("d/2.conf", "b /*");
	folder_write("d/3.conf", "c: {\nd");
	ck_assert_int_eq(source_read_file(source, "main.conf", errors), -EINVAL);
	error_begins(0, "d/1.conf:1: a setting stands here without its value");
	error_begins(1, "d/2.conf:1: a comment begins here");
	error_begins(2, "d/3.conf:1: the { of this line is never closed");
	ck_assert_uint_eq(config_errors_count(errors), 3);
}
END_TEST

/* A file with one value, as one that others may not read, can be included where the value stands. */
START_TEST(includes_a_value)
{
	folder_write("main.conf", "user =\n@include \"user.conf\"\n;\n");
	folder_write("user.conf", "# empty so far\n");
	ck_assert_int_eq(source_read_file(source, "main.conf", errors), 0);
	folder_write("user.conf", "\"x\"\n");
	source = source_destroy(source);
	source = source_create();
	ck_assert_int_eq(source_read_file(source, "main.conf", errors), 0);
	ck_assert_str_eq(source_text(source), "user =\n\"x\"\n;\n");
}
END_TEST

START_TEST(knows_the_last_line_that_says_something)
{
	static const struct {
		const char *text;
		unsigned line;
	} cases[] = {
		{"", 0}, {"\n# x\n", 0}, {"a = 1;", 1}, {"a = 1;\n\nb # c\n/* d\n */\n", 3}, {"a = \"1\n2\"\n\n", 2}};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		source = source_destroy(source);
		source = source_create();
		ck_assert_int_eq(read_text(cases[i].text), 0);
		ck_assert_uint_eq(source_last_line(source), cases[i].line);
	}
	folder_write("main.conf", "a = 1;\n@include \"sub.conf\"\n\n# x\n");
	folder_write("sub.conf", "\nb = 1;\n\n");
	source = source_destroy(source);
	source = source_create();
	ck_assert_int_eq(source_read_file(source, "main.conf", errors), 0);
	ck_assert_uint_eq(source_last_line(source), 3);
}
END_TEST

START_TEST(finds_cycles_through_links)
{
	folder_write("a.conf", "@include \"b.conf\"\n");
	ck_assert_int_eq(symlink("a.conf", "b.conf"), 0);
	ck_assert_int_eq(source_read_file(source, "a.conf", errors), -EINVAL);
	error_begins(0, "a.conf:1: cannot include b.conf: it includes itself");
}
END_TEST

START_TEST(bounds_depth)
{
	char name[32], text[64];

	for (int i = 0; i < 12; i++) {
		snprintf(name, sizeof(name), "%d.conf", i);
		snprintf(text, sizeof(text), "@include \"%d.conf\"\n", i + 1);
		folder_write(name, text);
	}
	ck_assert_int_eq(source_read_file(source, "0.conf", errors), -EINVAL);
	error_begins(0, "10.conf:1: cannot include 11.conf: includes stand too deep");
}
END_TEST

START_TEST(bounds_files)
{
	FILE *to = fopen("main.conf", "w");

	for (int i = 0; i < 1001; i++)
		fputs("@include \"x.conf\"\n", to);
	fclose(to);
	folder_write("x.conf", "");
	ck_assert_int_eq(source_read_file(source, "main.conf", errors), -EINVAL);
	error_begins(0, "main.conf:1000: cannot include x.conf: too many files");
}
END_TEST

/* What this folder relies on: that libconfig counts the lines of strings and comments. */
START_TEST(libconfig_counts_lines)
{
	const char *text = "a = 1; /* x\n\n*/ b = \"1\n2\\\n3\" \"\n\";\n# x\n// y\r\nc = [ 1,\n2\n];\r\nd: {};\n";
	config_t tree;

	config_init(&tree);
	ck_assert_int_eq(config_read_string(&tree, text), CONFIG_TRUE);
	const config_setting_t *root = config_root_setting(&tree);
	ck_assert_uint_eq(config_setting_source_line(config_setting_get_member(root, "a")), 1);
	ck_assert_uint_eq(config_setting_source_line(config_setting_get_member(root, "b")), 3);
	ck_assert_uint_eq(config_setting_source_line(config_setting_get_member(root, "c")), 9);
	ck_assert_uint_eq(config_setting_source_line(config_setting_get_member(root, "d")), 12);
	config_destroy(&tree);
	ck_assert_int_eq(read_text(text), 0);
	ck_assert_uint_eq(source_string_place(source, 0).line, 3);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("config/source");
	TCase *c = tcase_create("source");

	suite_add_tcase(suite, c);
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, keeps_text_as_it_is);
	tcase_add_test(c, adds_the_last_newline);
	tcase_add_test(c, takes_an_empty_text);
	tcase_add_test(c, refuses_what_wraps);
	tcase_add_test(c, refuses_what_has_no_end);
	tcase_add_test(c, refuses_nul_bytes);
	tcase_add_test(c, bounds_nesting);
	tcase_add_test(c, bounds_settings);
	tcase_add_test(c, bounds_bytes);
	tcase_add_test(c, includes_files);
	tcase_add_test(c, includes_directories_in_name_order);
	tcase_add_test(c, says_why_an_include_fails);
	tcase_add_test(c, names_of_an_included_file_end_with_it);
	tcase_add_test(c, says_why_a_file_fails);
	tcase_add_test(c, included_settings_end_in_their_file);
	tcase_add_test(c, blames_one_file_for_a_setting_without_value);
	tcase_add_test(c, includes_a_value);
	tcase_add_test(c, knows_the_last_line_that_says_something);
	tcase_add_test(c, finds_cycles_through_links);
	tcase_add_test(c, bounds_depth);
	tcase_add_test(c, bounds_files);
	tcase_add_test(c, libconfig_counts_lines);
	return suite_run(suite);
}

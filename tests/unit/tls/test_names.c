/* SPDX-License-Identifier: MIT */
#include "tls/names_priv.h"

#include <check.h>
#include <string.h>

#include "../suite.h"

static const struct {
	const char *from;
	const char *alone;    /* normalised; NULL: no host name */
	const char *wildcard; /* the same when a wildcard may stand there */
} forms[] = {
	{"a.example", "a.example", "a.example"},
	{"A.Example.", "a.example", "a.example"},
	{"xn--bcher-kva.example", "xn--bcher-kva.example", "xn--bcher-kva.example"},
	{"_dmarc.a_b.example", "_dmarc.a_b.example", "_dmarc.a_b.example"},
	{"localhost", "localhost", "localhost"},
	{"*.Example", NULL, "*.example"},
	{"*", NULL, NULL},
	{"*.", NULL, NULL},
	{"f*.example", NULL, NULL},
	{"a.*.example", NULL, NULL},
	{"", NULL, NULL},
	{".", NULL, NULL},
	{".example", NULL, NULL},
	{"a..example", NULL, NULL},
	{"a.example..", NULL, NULL},
	{"a example", NULL, NULL},
	{"a.ex\nample", NULL, NULL},
	{"b\xc3\xbc.example", NULL, NULL},
};

START_TEST(names_have_one_form)
{
	char to[TLS_NAME_BYTES];
	const char *from = forms[_i].from;

	ck_assert_int_eq(tls_name_normalise(to, from, strlen(from), false), forms[_i].alone != NULL);
	if (forms[_i].alone)
		ck_assert_str_eq(to, forms[_i].alone);
	ck_assert_int_eq(tls_name_normalise(to, from, strlen(from), true), forms[_i].wildcard != NULL);
	if (forms[_i].wildcard)
		ck_assert_str_eq(to, forms[_i].wildcard);
}
END_TEST

START_TEST(a_name_ends_where_its_bytes_end)
{
	char to[TLS_NAME_BYTES];
	char longest[TLS_NAME_BYTES];

	ck_assert(!tls_name_normalise(to, "a.example\0.evil", 15, false));
	memset(longest, 'a', sizeof(longest));
	ck_assert(tls_name_normalise(to, longest, sizeof(longest) - 1, false));
	ck_assert_uint_eq(strlen(to), sizeof(longest) - 1);
	ck_assert(!tls_name_normalise(to, longest, sizeof(longest), false));
}
END_TEST

START_TEST(exact_goes_before_wildcard)
{
	struct tls_name names[] = {
		{"www.example", 1}, {"*.example", 2}, {"a.b.example", 3}, {"*.b.example", 4}, {"*.example", 0},
	};
	const struct {
		const char *name;
		int number; /* -1: none */
	} cases[] = {
		{"www.example", 1}, {"other.example", 0}, {"a.b.example", 3},	 {"z.b.example", 4},
		{"example", -1},    {"b.example", 0},	  {"z.a.b.example", -1}, {"www.elsewhere", -1},
	};

	tls_names_sort(names, 5);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct tls_name *found = tls_names_choose(names, 5, cases[i].name);
		ck_assert_msg((found ? (int)found->number : -1) == cases[i].number, "%s", cases[i].name);
	}
	ck_assert_ptr_null(tls_names_choose(names, 0, "www.example"));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("tls/names");
	TCase *c = tcase_create("names");
	tcase_add_loop_test(c, names_have_one_form, 0, (int)(sizeof(forms) / sizeof(forms[0])));
	tcase_add_test(c, a_name_ends_where_its_bytes_end);
	tcase_add_test(c, exact_goes_before_wildcard);
	suite_add_tcase(s, c);
	return suite_run(s);
}

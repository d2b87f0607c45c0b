/* SPDX-License-Identifier: MIT */
#include "front/who.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>

#include "../suite.h"
#include "base/attr.h"
#include "base/text.h"

static struct who who_at(const char *address, uint16_t listener)
{
	static const struct source_prefixes prefixes = {.ipv4 = 32, .ipv6 = 64};
	struct sockaddr_in four = {.sin_family = AF_INET};
	struct sockaddr_in6 six = {.sin6_family = AF_INET6};
	struct source_key key;
	bool is_four = inet_pton(AF_INET, address, &four.sin_addr) == 1;
	if (!is_four)
		ck_assert_int_eq(inet_pton(AF_INET6, address, &six.sin6_addr), 1);
	ck_assert(
		source_key_of(&key, is_four ? (struct sockaddr *)&four : (struct sockaddr *)&six, &prefixes, listener));
	return who_source(&key);
}

static void check_text(struct who w, const char *wanted)
{
	char bytes[WHO_TEXT_BYTES];
	struct text t;
	text_init(&t, bytes, sizeof(bytes));
	who_add_text(&t, &w);
	ck_assert_str_eq(bytes, wanted);
	ck_assert(!t.cut);
}

START_TEST(has_a_text)
{
	check_text(who_at("10.0.0.7", 3), "10.0.0.7");
	check_text(who_at("2001:db8:1:2:3::4", 3), "2001:db8:1:2::/64");
	check_text(who_at("ffff:ffff:ffff:ffff::", 3), "ffff:ffff:ffff:ffff::/64");
	check_text(who_user(3, 1000), "unix uid 1000");
	check_text(who_user(3, 4294967294), "unix uid 4294967294");
	check_text(who_unknown(3), "unix");
	check_text(who_others(0), "other sources");
}
END_TEST

/* Nobody is taken for another, and each is the same whenever it is made. */
START_TEST(is_told_apart)
{
	struct who all[2][12];
	for (unsigned round = 0; round < 2; round++) {
		struct who *to = all[round];
		for (uint16_t listener = 1; listener <= 2; listener++) {
			*to++ = who_at("0.0.0.0", listener);
			*to++ = who_at("::", listener);
			*to++ = who_user(listener, 0);
			*to++ = who_user(listener, 1);
			*to++ = who_unknown(listener);
			*to++ = who_others(listener);
			ck_assert_uint_eq(who_listener(to - 1), listener);
		}
	}
	for (unsigned i = 0; i < ARRAY_LEN(all[0]); i++)
		for (unsigned k = 0; k < ARRAY_LEN(all[1]); k++)
			ck_assert_int_eq(who_same(&all[0][i], &all[1][k]), i == k);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("who");
	TCase *c = tcase_create("who");
	tcase_add_test(c, has_a_text);
	tcase_add_test(c, is_told_apart);
	suite_add_tcase(s, c);
	return suite_run(s);
}

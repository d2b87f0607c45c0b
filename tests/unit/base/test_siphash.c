/* SPDX-License-Identifier: MIT */
#include "base/siphash.h"

#include <check.h>
#include <string.h>

#include "../suite.h"
#include "base/attr.h"

START_TEST(says_what_others_say)
{
	/* SipHash-1-3 of 00 01 02 ... under the key 00 01 ... 0f */
	static const struct {
		size_t n;
		uint64_t hash;
	} known[] = {
		{0, 0xabac0158050fc4dc},  {1, 0xc9f49bf37d57ca93},  {7, 0xd3927d989bb11140},  {8, 0x369095118d299a8e},
		{15, 0xd320d86d2a519956}, {20, 0xc0dc2f46a6cce040}, {63, 0x9d199062b7bbb3a8},
	};
	const struct siphash_key key = {.low = 0x0706050403020100, .high = 0x0f0e0d0c0b0a0908};
	uint8_t bytes[64];
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)i;
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		ck_assert_uint_eq(siphash(&key, bytes, known[i].n), known[i].hash);
}
END_TEST

START_TEST(keys_are_random)
{
	struct siphash_key a = {0};
	struct siphash_key b = {0};
	siphash_key_random(&a);
	siphash_key_random(&b);
	ck_assert(memcmp(&a, &b, sizeof(a)) != 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("siphash");
	TCase *c = tcase_create("siphash");
	tcase_add_test(c, says_what_others_say);
	tcase_add_test(c, keys_are_random);
	suite_add_tcase(suite, c);
	return suite_run(suite);
}

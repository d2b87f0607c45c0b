/* SPDX-License-Identifier: MIT */
#include "transport/client_hello.h"

#include <check.h>
#include <string.h>

#include "../suite.h"

/* A message's header cut into records of `content` bytes each. Returns how many bytes it is in all. */
static size_t in_records(uint8_t *to, size_t content, uint32_t length)
{
	const uint8_t header[4] = {1, (uint8_t)(length >> 16), (uint8_t)(length >> 8), (uint8_t)length};
	size_t n = 0;
	for (size_t done = 0; done < sizeof(header); done += content) {
		size_t take = sizeof(header) - done < content ? sizeof(header) - done : content;
		const uint8_t record[5] = {22, 3, 1, 0, (uint8_t)take};
		memcpy(to + n, record, sizeof(record));
		memcpy(to + n + sizeof(record), header + done, take);
		n += sizeof(record) + take;
	}
	return n;
}

static bool accepts(const uint8_t *bytes, size_t n, size_t step)
{
	struct client_hello h = {0};
	for (size_t at = 0; at < n; at += step)
		if (!client_hello_accepts(&h, bytes + at, n - at < step ? n - at : step))
			return false;
	return true;
}

static const uint32_t lengths[] = {0, 512, CLIENT_HELLO_MAX_BYTES, CLIENT_HELLO_MAX_BYTES + 1, 0x20000, 0xffffff};

START_TEST(the_length_decides_however_it_is_cut)
{
	uint8_t bytes[64];
	bool good = lengths[_i] <= CLIENT_HELLO_MAX_BYTES;
	for (size_t content = 1; content <= 4; content++) {
		size_t n = in_records(bytes, content, lengths[_i]);
		for (size_t step = 1; step <= n; step++)
			ck_assert_int_eq(accepts(bytes, n, step), good);
	}
}
END_TEST

START_TEST(empty_records_hide_nothing)
{
	uint8_t bytes[64] = {22, 3, 1, 0, 0, 22, 3, 1, 0, 0};
	size_t n = 10 + in_records(bytes + 10, 4, 0xffffff);
	ck_assert(!accepts(bytes, n, n));
	ck_assert(!accepts(bytes, n, 1));
}
END_TEST

START_TEST(nothing_is_said_before_the_length_is_known)
{
	uint8_t bytes[64];
	size_t n = in_records(bytes, 4, 0x20000);
	ck_assert(accepts(bytes, n - 3, 1));
}
END_TEST

START_TEST(what_is_no_handshake_is_left_to_others)
{
	ck_assert(accepts((const uint8_t *)"GET / HTTP/1.1\r\n\r\n", 18, 1));
	ck_assert(accepts((const uint8_t *)"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff", 10, 1));
	ck_assert(accepts((const uint8_t *)"\x17\x03\x03\xff\xff\xff\xff\xff\xff\xff", 10, 1));
}
END_TEST

START_TEST(later_bytes_are_not_looked_at)
{
	uint8_t bytes[64];
	size_t n = in_records(bytes, 4, 100);
	struct client_hello h = {0};
	ck_assert(client_hello_accepts(&h, bytes, n));
	n = in_records(bytes, 4, 0xffffff);
	ck_assert(client_hello_accepts(&h, bytes, n));
}
END_TEST

START_TEST(a_few_bytes_that_are_no_tls_are_told)
{
	const struct client_hello first = {0};
	struct client_hello later = {0};
	ck_assert(client_hello_is_plain(&first, (const uint8_t *)"\r\n", 2));
	ck_assert(client_hello_is_plain(&first, (const uint8_t *)"x", 1));
	ck_assert(!client_hello_is_plain(&first, (const uint8_t *)"GET /", 5)); /* OpenSSL knows better words */
	ck_assert(!client_hello_is_plain(&first, (const uint8_t *)"\x16", 1));
	ck_assert(!client_hello_is_plain(&first, (const uint8_t *)"\x15\x03", 2));
	ck_assert(!client_hello_is_plain(&first, (const uint8_t *)"\x80", 1));
	ck_assert(!client_hello_is_plain(&first, NULL, 0));
	ck_assert(client_hello_accepts(&later, (const uint8_t *)"\x16", 1));
	ck_assert(!client_hello_is_plain(&later, (const uint8_t *)"x", 1));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("client_hello");
	TCase *tc = tcase_create("client_hello");
	tcase_add_loop_test(tc, the_length_decides_however_it_is_cut, 0, sizeof(lengths) / sizeof(*lengths));
	tcase_add_test(tc, empty_records_hide_nothing);
	tcase_add_test(tc, nothing_is_said_before_the_length_is_known);
	tcase_add_test(tc, what_is_no_handshake_is_left_to_others);
	tcase_add_test(tc, later_bytes_are_not_looked_at);
	tcase_add_test(tc, a_few_bytes_that_are_no_tls_are_told);
	suite_add_tcase(suite, tc);
	return suite_run(suite);
}

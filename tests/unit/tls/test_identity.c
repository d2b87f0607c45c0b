/* SPDX-License-Identifier: MIT */
#include "tls/identity_priv.h"

#include <check.h>
#include <string.h>

#include "../suite.h"
#include "ca.h"

static const struct {
	const char *pattern;
	const char *text;
	bool matches;
} matches[] = {
	{"cn:backup", "backup", true},
	{"cn:backup", "Backup", false},
	{"cn:backup", "backup2", false},
	{"cn:backup", "", false},
	{"cn:backup*", "backup", true},
	{"cn:backup*", "backup.7/x", true},
	{"cn:*", "", true},
	{"cn:*ck*p", "backup", true},
	{"cn:*ck*q", "backup", false},
	{"cn:a\\*", "a*", false},
	{"ou:operators", "operators", true},
	{"dns:db.example", "DB.Example", true},
	{"dns:DB.Example", "db.example", true},
	{"dns:*.example", "db.example", true},
	{"dns:*.example", "a.db.example", false},
	{"dns:**.example", "a.db.example", true},
	{"dns:*.example", "example", false},
	{"dns:db-*.example", "db-12.example", true},
	{"dns:db-*.example", "db-1.2.example", false},
	{"dns:db.example", "*.example", false},
	{"dns:*.example", "*.example", true},
	{"dns:*.**.example", "a.b.c.example", true},
	{"dns:***.example", "a.b.c.example", true},
	{"uri:spiffe://x/ns/*/sa/web", "spiffe://x/ns/prod/sa/web", true},
	{"uri:spiffe://x/ns/*/sa/web", "spiffe://x/ns/a/b/sa/web", false},
	{"uri:spiffe://x/**", "spiffe://x/ns/a/b/sa/web", true},
	{"uri:spiffe://x/**/web", "spiffe://x/ns/a/sa/web", true},
	{"uri:spiffe://x/**/web", "spiffe://x/ns/a/sa/db", false},
	{"uri:spiffe://x/*", "spiffe://x/ns/a", false},
	{"uri:spiffe://x/*", "spiffe://y/ns", false},
	{"uri:spiffe://X/a", "spiffe://x/a", false},
};

START_TEST(patterns_match)
{
	const char *why = NULL;
	struct tls_pattern p;

	ck_assert_int_eq(tls_pattern_parse(&p, matches[_i].pattern, &why), 0);
	ck_assert_msg(tls_pattern_matches_text(&p, matches[_i].text, strlen(matches[_i].text)) == matches[_i].matches,
		      "%s %s", matches[_i].pattern, matches[_i].text);
	tls_pattern_fini(&p);
}
END_TEST

static const struct {
	const char *pattern;
	const char *why;
} wrong[] = {
	{"", "begins with cn:"},
	{"backup", "begins with cn:"},
	{"CN:backup", "begins with cn:"},
	{"cn:", "the pattern is empty"},
	{"dns:", "the pattern is empty"},
	{"pin:", "64 hexadecimal digits"},
	{"pin:sha1:00", "64 hexadecimal digits"},
	{"pin:sha256:00", "64 hexadecimal digits"},
	{"pin:sha256:0g23456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "64 hexadecimal digits"},
	{"pin:sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0", "64 hexadecimal digits"},
	{"pin:sha256/AAAA", "64 hexadecimal digits"},
	{"pin:sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA!=", "64 hexadecimal digits"},
	{"pin:sha256/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB=", "64 hexadecimal digits"},
};

START_TEST(bad_patterns_are_refused)
{
	const char *why = NULL;
	struct tls_pattern p;

	ck_assert_int_eq(tls_pattern_parse(&p, wrong[_i].pattern, &why), -EINVAL);
	ck_assert_msg(strstr(why, wrong[_i].why) != NULL, "%s: %s", wrong[_i].pattern, why);
}
END_TEST

START_TEST(strange_texts_match_nothing)
{
	const char *why = NULL;
	struct tls_pattern p;
	static char text[TLS_IDENTITY_BYTES_MAX + 1];

	ck_assert_int_eq(tls_pattern_parse(&p, "cn:**", &why), 0);
	memset(text, 'a', sizeof(text));
	ck_assert(tls_pattern_matches_text(&p, text, TLS_IDENTITY_BYTES_MAX));
	ck_assert(!tls_pattern_matches_text(&p, text, TLS_IDENTITY_BYTES_MAX + 1));
	ck_assert(!tls_pattern_matches_text(&p, "backup\0.evil", 12));
	tls_pattern_fini(&p);
}
END_TEST

/* What takes an age for a matcher that goes back is done at once. */
START_TEST(no_pattern_takes_long)
{
	const char *why = NULL;
	struct tls_pattern p;
	char pattern[TLS_PATTERN_BYTES_MAX + 8] = "uri:";
	static char text[TLS_IDENTITY_BYTES_MAX];

	for (int i = 0; i < 200; i++)
		strcat(pattern, i % 2 ? "**" : "*a");
	ck_assert_int_eq(tls_pattern_parse(&p, pattern, &why), 0);
	memset(text, 'a', sizeof(text));
	ck_assert(tls_pattern_matches_text(&p, text, sizeof(text)));
	tls_pattern_fini(&p);
	strcat(pattern, "b");
	ck_assert_int_eq(tls_pattern_parse(&p, pattern, &why), 0);
	ck_assert(!tls_pattern_matches_text(&p, text, sizeof(text)));
	tls_pattern_fini(&p);
}
END_TEST

static bool certificate_matches(const struct made *m, const char *pattern)
{
	const char *why = NULL;
	struct tls_pattern p;

	ck_assert_msg(tls_pattern_parse(&p, pattern, &why) == 0, "%s", why);
	bool is_match = tls_identities_match(&(struct tls_identities){.at = &p, .count = 1}, m->certificate);
	tls_pattern_fini(&p);
	return is_match;
}

START_TEST(each_kind_looks_at_its_own_field)
{
	struct made m = make((struct wish){.cn = "backup",
					   .ou = "operators",
					   .san = "DNS:db.example,DNS:b.example,URI:spiffe://x/sa/db"});
	unsigned char digest[32];
	unsigned char *spki = NULL;
	char pin[160];
	int n = i2d_PUBKEY(m.key, &spki);

	ck_assert(certificate_matches(&m, "cn:backup"));
	ck_assert(!certificate_matches(&m, "ou:backup"));
	ck_assert(!certificate_matches(&m, "dns:backup"));
	ck_assert(certificate_matches(&m, "ou:oper*"));
	ck_assert(certificate_matches(&m, "dns:b.example"));
	ck_assert(!certificate_matches(&m, "cn:b.example"));
	ck_assert(certificate_matches(&m, "uri:spiffe://x/sa/*"));
	ck_assert(!certificate_matches(&m, "dns:spiffe://x/sa/*"));

	ck_assert_int_eq(EVP_Digest(spki, (size_t)n, digest, NULL, EVP_sha256(), NULL), 1);
	OPENSSL_free(spki);
	strcpy(pin, "pin:sha256:");
	for (int i = 0; i < 32; i++)
		sprintf(pin + strlen(pin), i % 2 ? "%02x" : "%02X", digest[i]);
	ck_assert(certificate_matches(&m, pin));
	pin[11] = pin[11] == '0' ? '1' : '0';
	ck_assert(!certificate_matches(&m, pin));
	strcpy(pin, "pin:sha256/");
	EVP_EncodeBlock((unsigned char *)pin + strlen(pin), digest, 32);
	ck_assert(certificate_matches(&m, pin));
	made_free(&m);
}
END_TEST

START_TEST(a_nul_in_a_name_does_not_end_it)
{
	struct made m = make((struct wish){.cn = "x"});
	X509_NAME *subject = X509_get_subject_name(m.certificate);

	X509_NAME_add_entry_by_NID(subject, NID_commonName, V_ASN1_UTF8STRING, (const unsigned char *)"backup\0x", 8,
				   -1, 0);
	ck_assert(!certificate_matches(&m, "cn:backup"));
	ck_assert(!certificate_matches(&m, "cn:backup*"));
	ck_assert(certificate_matches(&m, "cn:x"));
	made_free(&m);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("tls/identity");
	TCase *c = tcase_create("identity");
	tcase_add_loop_test(c, patterns_match, 0, (int)(sizeof(matches) / sizeof(matches[0])));
	tcase_add_loop_test(c, bad_patterns_are_refused, 0, (int)(sizeof(wrong) / sizeof(wrong[0])));
	tcase_add_test(c, strange_texts_match_nothing);
	tcase_add_test(c, no_pattern_takes_long);
	tcase_add_test(c, each_kind_looks_at_its_own_field);
	tcase_add_test(c, a_nul_in_a_name_does_not_end_it);
	suite_add_tcase(s, c);
	return suite_run(s);
}

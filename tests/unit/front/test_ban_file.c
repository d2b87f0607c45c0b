/* SPDX-License-Identifier: MIT */
#include "front/ban_file.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../suite.h"
#include "base/text.h"

#define NOW_MS (UINT64_C(1763640000) * 1000)
#define DAY_MS UINT64_C(86400000)

static char folder[] = "/tmp/usher-ban-file-XXXXXX";
static char path[64];
static char new_path[64];
static char got_bytes[1 << 16];
static struct text got; /* what was read, a line a ban */

static void setup(void)
{
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/bans", folder);
	snprintf(new_path, sizeof(new_path), "%s/bans.new", folder);
	text_init(&got, got_bytes, sizeof(got_bytes));
}

static void teardown(void)
{
	unlink(path);
	unlink(new_path);
	ck_assert_int_eq(rmdir(folder), 0);
}

static uint64_t longest(void *arg, const char *listener)
{
	(void)arg;
	if (!listener)
		return 7 * DAY_MS;
	return strcmp(listener, "gone") == 0 ? 0 : DAY_MS;
}

static void note(void *arg, const char *listener, const struct source_key *key, uint64_t left_ms, unsigned count)
{
	(void)arg;
	ck_assert_uint_eq(key->scope, 0);
	text_printf(&got, "%s ", listener ? listener : "-");
	source_key_add_text(&got, key);
	text_printf(&got, " %llu %u\n", (unsigned long long)left_ms, count);
}

static const struct ban_file_use use = {.longest_ms = longest, .ban = note};

static int load(uint64_t wall_ms, struct ban_file_tally *tally)
{
	text_init(&got, got_bytes, sizeof(got_bytes));
	return ban_file_load(path, &use, wall_ms, tally);
}

/* Returns what ban_file_read_end does. */
static int parse(const char *text, uint64_t wall_ms, struct ban_file_tally *tally)
{
	struct ban_file_reader r;
	text_init(&got, got_bytes, sizeof(got_bytes));
	ban_file_read_begin(&r, &use, wall_ms);
	/* in pieces of one and three, to meet every border */
	for (size_t i = 0, n = strlen(text); i < n;) {
		size_t piece = i % 2 == 0 || n - i < 3 ? 1 : 3;
		ban_file_read(&r, text + i, piece);
		i += piece;
	}
	int failed = ban_file_read_end(&r);
	*tally = r.tally;
	return failed;
}

static struct source_key key_of(const char *text)
{
	struct source_key key;
	ck_assert_int_eq(source_key_parse(&key, text, strlen(text), 5), 0);
	return key;
}

static void write_file(const char *name, const char *text)
{
	FILE *f = fopen(name, "w");
	ck_assert_ptr_nonnull(f);
	fputs(text, f);
	ck_assert_int_eq(fclose(f), 0);
}

/* Writes it down, and forgets it. */
static int put(struct ban_draft *d)
{
	int failed = ban_file_write(d, path);
	ban_draft_destroy(d);
	return failed;
}

static struct ban_draft *draft(uint64_t wall_ms)
{
	struct ban_draft *d = ban_draft_create(wall_ms);
	ck_assert_ptr_nonnull(d);
	return d;
}

static void save_two(void)
{
	struct source_key a = key_of("10.1.2.3");
	struct source_key b = key_of("2001:db8::/64");
	struct ban_draft *d = draft(NOW_MS + 400);
	ck_assert(ban_draft_add(d, "web-1_x", &a, NOW_MS + 600000, 1));
	ck_assert(ban_draft_add(d, NULL, &b, NOW_MS + 1, 65535));
	ck_assert_int_eq(put(d), 0);
}

START_TEST(what_is_saved_is_read)
{
	struct ban_file_tally tally;
	struct stat st;
	save_two();
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	ck_assert_int_eq(access(new_path, F_OK), -1);
	ck_assert_int_eq(load(NOW_MS + 900, &tally), 0);
	ck_assert_str_eq(got.at, "web-1_x 10.1.2.3 600000 1\n- 2001:db8::/64 1000 65535\n");
	ck_assert_uint_eq(tally.taken, 2);
	ck_assert_uint_eq(tally.over + tally.unknown + tally.damaged, 0);
	ck_assert_int_eq(load(NOW_MS + 100000, &tally), 0);
	ck_assert_str_eq(got.at, "web-1_x 10.1.2.3 500000 1\n");
	ck_assert_uint_eq(tally.over, 1);
}
END_TEST

START_TEST(a_clock_that_was_set_lengthens_no_ban)
{
	struct ban_file_tally tally;
	save_two();
	/* ten years back, and ahead */
	ck_assert_int_eq(load(NOW_MS - 3650 * DAY_MS, &tally), 0);
	ck_assert_str_eq(got.at, "web-1_x 10.1.2.3 600000 1\n- 2001:db8::/64 1000 65535\n");
	ck_assert_int_eq(load(0, &tally), 0);
	ck_assert_str_eq(got.at, "web-1_x 10.1.2.3 600000 1\n- 2001:db8::/64 1000 65535\n");
	ck_assert_int_eq(load(NOW_MS + 3650 * DAY_MS, &tally), 0);
	ck_assert_str_eq(got.at, "");
	ck_assert_uint_eq(tally.over, 2);
	/* whatever the file says, no more than the rule */
	ck_assert_int_eq(parse("usher-bans 1 0\n"
			       "web ::1 1763726401 1\n"
			       "web ::2 999999999999999 1\n"
			       "* ::3 999999999999999 999999999999999\n",
			       NOW_MS, &tally),
			 0);
	ck_assert_str_eq(got.at, "web ::1 86400000 1\nweb ::2 86400000 1\n- ::3 604800000 65535\n");
}
END_TEST

START_TEST(damaged_lines_are_skipped)
{
	struct ban_file_tally tally;
	ck_assert_int_eq(parse("usher-bans 1 1763640000\n"
			       "web 10.0.0.1 1763640010 1\n"
			       "\n"
			       "web\n"
			       "web 10.0.0.1\n"
			       "web 10.0.0.1 1763640010\n"
			       "web 10.0.0.1 1763640010 1 1\n"
			       "web 10.0.0.1/31 1763640010 1\n"
			       "web 10.0.0.1 -5 1\n"
			       "web 10.0.0.1 1763640010 x\n"
			       "web 10.0.0.1 1763640010.5 1\n"
			       "web 10.0.0.1 9999999999999999 1\n"
			       "w*b 10.0.0.1 1763640010 1\n"
			       "w\xc3\xa4 10.0.0.1 1763640010 1\n"
			       "** 10.0.0.1 1763640010 1\n"
			       "gone 10.0.0.1 1763640010 1\n"
			       "  *\t10.0.0.0/8   1763640010 0  \n"
			       "web 10.0.0.2 1763640010 12",
			       NOW_MS, &tally),
			 0);
	ck_assert_str_eq(got.at, "web 10.0.0.1 10000 1\n- 10.0.0.0/8 10000 0\n");
	ck_assert_uint_eq(tally.taken, 2);
	ck_assert_uint_eq(tally.unknown, 1);
	ck_assert_uint_eq(tally.damaged, 14);
	ck_assert(!tally.cut);
}
END_TEST

START_TEST(long_lines_and_zeros_are_damaged)
{
	struct ban_file_reader r;
	char line[2000];
	memset(line, 'a', sizeof(line));
	line[1999] = '\n';
	ban_file_read_begin(&r, &use, NOW_MS);
	ban_file_read(&r, "usher-bans 1 1\n", 15);
	ban_file_read(&r, line, sizeof(line));
	ban_file_read(&r, "web\0 ::1 1763640010 1\n", 22);
	ban_file_read(&r, "web ::1\0 1763640010 1\n", 22);
	ban_file_read(&r, "web ::1 1763640010 1\n", 21);
	ck_assert_int_eq(ban_file_read_end(&r), 0);
	ck_assert_uint_eq(r.tally.damaged, 3);
	ck_assert_uint_eq(r.tally.taken, 1);
}
END_TEST

START_TEST(other_files_are_refused)
{
	static const struct {
		const char *text;
		int failed;
	} known[] = {
		{"", -EINVAL},
		{"\n", -EINVAL},
		{"web ::1 1763640010 1\n", -EINVAL},
		{"usher-bans\n", -EINVAL},
		{"usher-bans 1\n", -EINVAL},
		{"usher-bans x 5\n", -EINVAL},
		{"usher-bans 1 5 5\n", -EINVAL},
		{"usher-bans 1 5", -EINVAL},
		{"usher-bans 2 5 and more\nweb ::1 1763640010 1\n", -ENOTSUP},
		{"usher-bans 0 5\n", -ENOTSUP},
		{"usher-bans 1 5\n", 0},
	};
	struct ban_file_tally tally;
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		ck_assert_int_eq(parse(known[i].text, NOW_MS, &tally), known[i].failed);
		ck_assert_str_eq(got.at, "");
	}
	ck_assert_int_eq(load(NOW_MS, &tally), -ENOENT);
	ck_assert_int_eq(mkfifo(path, 0600), 0);
	ck_assert_int_eq(load(NOW_MS, &tally), -EINVAL);
	unlink(path);
	ck_assert_int_eq(mkdir(path, 0700), 0);
	ck_assert_int_eq(load(NOW_MS, &tally), -EINVAL);
	ck_assert_int_eq(rmdir(path), 0);
}
END_TEST

START_TEST(the_old_file_stays_until_the_new_one_is_whole)
{
	struct ban_file_tally tally;
	struct source_key key = key_of("10.9.9.9");
	save_two();
	struct ban_draft *d = draft(NOW_MS);
	ck_assert(ban_draft_add(d, "web", &key, NOW_MS + 5000, 1));
	ck_assert_int_eq(load(NOW_MS, &tally), 0);
	ck_assert_uint_eq(tally.taken, 2);
	ck_assert_int_eq(access(new_path, F_OK), -1);
	ck_assert_ptr_null(ban_draft_destroy(d));
	ck_assert_ptr_null(ban_draft_destroy(NULL));

	/* what a crash left is in nobody's way, and a link there leads nowhere */
	char other[64];
	snprintf(other, sizeof(other), "%s/other", folder);
	write_file(other, "mine");
	ck_assert_int_eq(symlink(other, new_path), 0);
	save_two();
	struct stat st;
	ck_assert_int_eq(stat(other, &st), 0);
	ck_assert_int_eq(st.st_size, 4);
	unlink(other);

	/* no room for it on the disk */
	struct rlimit before;
	struct rlimit few;
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
	few = before;
	few.rlim_cur = 20;
	signal(SIGXFSZ, SIG_IGN);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &few), 0);
	d = draft(NOW_MS);
	ck_assert(ban_draft_add(d, "web", &key, NOW_MS + 5000, 1));
	ck_assert_int_eq(put(d), -EFBIG);
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
	ck_assert_int_eq(access(new_path, F_OK), -1);
	ck_assert_int_eq(load(NOW_MS, &tally), 0);
	ck_assert_uint_eq(tally.taken, 2);

	/* no folder */
	d = draft(NOW_MS);
	ck_assert_int_eq(ban_file_write(d, "/nowhere/at/all"), -ENOENT);
	ban_draft_destroy(d);
}
END_TEST

START_TEST(names_that_would_not_be_read_are_not_written)
{
	static const char *const wrong[] = {"", "*", "a b", "a\nb", "\xc3\xa4"};
	struct source_key key = key_of("10.9.9.9");
	char name[300];
	struct ban_draft *d = draft(NOW_MS);
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		ck_assert(!ban_draft_add(d, wrong[i], &key, NOW_MS + 5000, 1));
	memset(name, 'a', sizeof(name));
	name[299] = '\0';
	ck_assert(!ban_draft_add(d, name, &key, NOW_MS + 5000, 1));
	name[200] = '\0';
	ck_assert(ban_draft_add(d, name, &key, NOW_MS + 5000, 1));
	ck_assert_int_eq(put(d), 0);
	struct ban_file_tally tally;
	ck_assert_int_eq(load(NOW_MS, &tally), 0);
	ck_assert_uint_eq(tally.taken, 1);
	ck_assert_uint_eq(tally.damaged, 0);
}
END_TEST

static unsigned counted;

static void count(void *arg, const char *listener, const struct source_key *key, uint64_t left_ms, unsigned bans)
{
	(void)arg;
	(void)listener;
	(void)key;
	(void)left_ms;
	(void)bans;
	counted++;
}

START_TEST(a_million_and_no_more)
{
	const struct ban_file_use counting = {.longest_ms = longest, .ban = count};
	struct ban_file_tally tally;
	struct source_key key = key_of("2001:db8::/64");
	struct ban_draft *d = draft(NOW_MS);
	unsigned saved = 0;
	for (unsigned i = 0; i < BAN_FILE_LINES_MOST + 5; i++) {
		memcpy(key.address + 4, &i, sizeof(i));
		saved += ban_draft_add(d, "web", &key, NOW_MS + 600000, 1);
	}
	ck_assert_uint_eq(saved, BAN_FILE_LINES_MOST);
	ck_assert_int_eq(put(d), 0);
	ck_assert_int_eq(ban_file_load(path, &counting, NOW_MS, &tally), 0);
	ck_assert_uint_eq(counted, BAN_FILE_LINES_MOST);
	ck_assert(!tally.cut);
	/* one more by hand */
	FILE *f = fopen(path, "a");
	fputs("web ::1 1763640010 1\n", f);
	ck_assert_int_eq(fclose(f), 0);
	ck_assert_int_eq(ban_file_load(path, &counting, NOW_MS, &tally), 0);
	ck_assert_uint_eq(tally.taken, BAN_FILE_LINES_MOST);
	ck_assert(tally.cut);
	/* and one that is only long */
	struct ban_file_reader r;
	ban_file_read_begin(&r, &use, NOW_MS);
	ban_file_read(&r, "usher-bans 1 1\n", 15);
	for (unsigned i = 0; i < 70 * 1024; i++)
		ban_file_read(&r, got_bytes, 1024);
	ck_assert(r.tally.cut);
	ck_assert_int_eq(ban_file_read_end(&r), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ban_file");
	TCase *c = tcase_create("ban_file");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_set_timeout(c, 60);
	tcase_add_test(c, what_is_saved_is_read);
	tcase_add_test(c, a_clock_that_was_set_lengthens_no_ban);
	tcase_add_test(c, damaged_lines_are_skipped);
	tcase_add_test(c, long_lines_and_zeros_are_damaged);
	tcase_add_test(c, other_files_are_refused);
	tcase_add_test(c, the_old_file_stays_until_the_new_one_is_whole);
	tcase_add_test(c, names_that_would_not_be_read_are_not_written);
	tcase_add_test(c, a_million_and_no_more);
	suite_add_tcase(suite, c);
	return suite_run(suite);
}

/* SPDX-License-Identifier: MIT */
#include "base/address_list.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../suite.h"
#include "base/fd.h"

/* When the files of these tests were written, and a time at which each has rested for long. */
#define WRITTEN_S 1000000000u
#define LATER_MS ((WRITTEN_S + 3600) * 1000ull)

static char folder[64];
static struct address_list list;
static struct address_list_problems problems;

static void setup(void)
{
	strcpy(folder, "/tmp/usher-list-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	ck_assert_int_eq(chdir(folder), 0);
	list = (struct address_list){0};
	memset(&problems, 'X', sizeof(problems));
}

static void teardown(void)
{
	char command[96];
	address_list_fini(&list);
	snprintf(command, sizeof(command), "rm -rf %s", folder);
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(system(command), 0);
}

static void write_bytes(const char *name, const void *bytes, size_t n)
{
	FILE *file = fopen(name, "w");
	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite(bytes, 1, n, file), n);
	ck_assert_int_eq(fclose(file), 0);
	struct timespec times[2] = {{.tv_sec = WRITTEN_S}, {.tv_sec = WRITTEN_S}};
	ck_assert_int_eq(utimensat(AT_FDCWD, name, times, 0), 0);
}

static int read_text(const char *text)
{
	write_bytes("list", text, strlen(text));
	return address_list_read(&list, "list", LATER_MS, &problems);
}

static void is_range(size_t i, const char *text)
{
	struct address_range r;
	const char *why;
	ck_assert_int_eq(address_range_parse(&r, text, strlen(text), &why), 0);
	ck_assert_uint_lt(i, list.count);
	ck_assert_mem_eq(&list.ranges[i], &r, sizeof(r));
}

static void is_problem(unsigned i, unsigned line, const char *part)
{
	ck_assert_uint_lt(i, problems.count);
	ck_assert_msg(problems.at[i].line == line, "%u: %s", problems.at[i].line, problems.at[i].text);
	ck_assert_msg(strstr(problems.at[i].text, part), "%s", problems.at[i].text);
}

START_TEST(reads_entries)
{
	ck_assert_int_eq(read_text("10.0.0.0/8\nfd00::1\n10.0.0.1-10.0.0.9\n"), 0);
	ck_assert_uint_eq(list.count, 3);
	is_range(0, "10.0.0.0/8");
	is_range(1, "fd00::1");
	is_range(2, "10.0.0.1-10.0.0.9");
	ck_assert_uint_eq(problems.count, 0);
	ck_assert_uint_eq(problems.more, 0);
}
END_TEST

START_TEST(takes_comments_blanks_and_foreign_line_ends)
{
	static const char *const texts[] = {
		"10.0.0.1\n::1\n",
		"10.0.0.1\n::1",
		"10.0.0.1\r\n::1\r\n",
		"10.0.0.1\r\n::1\r",
		"\n\n  \n\t\n10.0.0.1\n\n::1\n\n\n",
		"  10.0.0.1\t \n\t::1  ",
		"# a list\n10.0.0.1 # one\n::1# another\n#",
		"# a list\r\n10.0.0.1 # one\r\n#10.0.0.2\r\n  # 10.0.0.3\r\n::1 # 10.0.0.4 # 10.0.0.5",
		"\xef\xbb\xbf"
		"10.0.0.1\n::1\n",
		"\xef\xbb\xbf# a list\n10.0.0.1\n::1\n",
	};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		int r = read_text(texts[i]);
		ck_assert_msg(r == 0, "%zu: %s", i, problems.at[0].text);
		ck_assert_uint_eq(list.count, 2);
		is_range(0, "10.0.0.1");
		is_range(1, "::1");
		address_list_fini(&list);
	}
}
END_TEST

START_TEST(takes_a_file_without_entries)
{
	static const char *const texts[] = {"", "\n", "# none\n", "# none", " \r\n"};
	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		ck_assert_int_eq(read_text(texts[i]), 0);
		ck_assert_uint_eq(list.count, 0);
	}
}
END_TEST

START_TEST(adds_to_what_is_there)
{
	struct address_range r = {.family = AF_INET};
	ck_assert_int_eq(address_list_add(&list, &r), 0);
	ck_assert_int_eq(read_text("10.0.0.1\n"), 0);
	ck_assert_int_eq(read_text("10.0.0.2\n10.0.0.3\n"), 0);
	ck_assert_uint_eq(list.count, 4);
	is_range(0, "0.0.0.0");
	is_range(1, "10.0.0.1");
	is_range(3, "10.0.0.3");
}
END_TEST

START_TEST(refuses_the_whole_file)
{
	struct address_range r = {.family = AF_INET};
	ck_assert_int_eq(address_list_add(&list, &r), 0);
	ck_assert_int_eq(read_text("10.0.0.1\n10.0.0.300\n10.0.0.2\n"), -EINVAL);
	ck_assert_uint_eq(list.count, 1);
	is_range(0, "0.0.0.0");
	ck_assert_uint_eq(problems.count, 1);
	is_problem(0, 2, "\"10.0.0.300\": no address; ");
	/* and what is put right is taken */
	ck_assert_int_eq(read_text("10.0.0.1\n10.0.0.3\n10.0.0.2\n"), 0);
	ck_assert_uint_eq(list.count, 4);
	ck_assert_uint_eq(problems.count, 0);
}
END_TEST

START_TEST(names_lines_and_what_is_wrong)
{
	ck_assert_int_eq(read_text("# a list\r\n\r\n10.0.0.1/8\r\nlocalhost # here\r\n10.0.0.1, 10.0.0.2\r\n"
				   "10.0.0.1\n\x1b[31m\\\xff\n10.0.0.0/33"),
			 -EINVAL);
	ck_assert_uint_eq(problems.count, 5);
	ck_assert_uint_eq(problems.more, 0);
	is_problem(0, 3, "\"10.0.0.1/8\": bits are set");
	is_problem(1, 4, "\"localhost\": no address");
	is_problem(2, 5, "\"10.0.0.1, 10.0.0.2\": no address");
	is_problem(3, 7, "\"\\x1b[31m\\\\\\xff\": no address");
	is_problem(4, 8, "\"10.0.0.0/33\": no length of an IPv4 prefix; 0 to 32 is allowed");
}
END_TEST

START_TEST(counts_problems_that_are_not_kept)
{
	ck_assert_int_eq(read_text("a\nb\nc\nd\ne\nf\n10.0.0.1\ng\n"), -EINVAL);
	ck_assert_uint_eq(problems.count, ADDRESS_LIST_PROBLEMS_MAX);
	ck_assert_uint_eq(problems.more, 2);
	is_problem(4, 5, "\"e\"");
}
END_TEST

/* An address with blanks before it, so that the line has `n` bytes. */
static int read_long_line(size_t n, const char *after)
{
	static const char address[] = "10.0.0.1";
	char text[4096];
	snprintf(text, sizeof(text), "::1\n%*s%s\n::2\n", (int)n, address, after);
	return read_text(text);
}

START_TEST(bounds_lines)
{
	static const char comment[] =
		" # a comment that goes on, and on, and on, and on, and on, and on, and on, and on";
	ck_assert_int_eq(read_long_line(ADDRESS_LIST_LINE_BYTES_MAX, ""), 0);
	ck_assert_int_eq(read_long_line(ADDRESS_LIST_LINE_BYTES_MAX - 1, comment), 0);
	ck_assert_int_eq(read_long_line(ADDRESS_LIST_LINE_BYTES_MAX + 1, ""), -EINVAL);
	ck_assert_uint_eq(problems.count, 1);
	is_problem(0, 2, "...\": the line is too long; ");
	ck_assert_int_eq(read_long_line(3000, ""), -EINVAL);
	is_problem(0, 2, "too long");

	/* bytes that are four times as long when they are escaped */
	char escapes[ADDRESS_LIST_LINE_BYTES_MAX];
	memset(escapes, 1, sizeof(escapes));
	write_bytes("list", escapes, sizeof(escapes));
	ck_assert_int_eq(address_list_read(&list, "list", LATER_MS, &problems), -EINVAL);
	is_problem(0, 1,
		   "\\x01...\": no address; an address (10.0.0.1), a prefix (10.0.0.0/8, fd00::/8) or a range "
		   "(10.0.0.1-10.0.0.9) is allowed");
}
END_TEST

START_TEST(is_the_same_wherever_a_read_ends)
{
	/* an entry across each place of the buffer's end */
	static char text[40000];
	for (size_t before = 16370; before < 16390; before++) {
		memset(text, '#', before);
		strcpy(text + before, "\r\n10.0.0.0/8 # x\r\nfd00::1");
		ck_assert_int_eq(read_text(text), 0);
		ck_assert_uint_eq(list.count, 2);
		is_range(0, "10.0.0.0/8");
		is_range(1, "fd00::1");
		address_list_fini(&list);
	}
}
END_TEST

START_TEST(refuses_zeros)
{
	static const char text[] = "10.0.0.1\0\n1\0000\0.\0";
	write_bytes("list", text, sizeof(text));
	ck_assert_int_eq(address_list_read(&list, "list", LATER_MS, &problems), -EINVAL);
	ck_assert_uint_eq(problems.count, 2);
	is_problem(0, 1, "\"10.0.0.1\\x00\": no address");
}
END_TEST

static void fails(const char *path, int error, const char *part)
{
	ck_assert_int_eq(address_list_read(&list, path, LATER_MS, &problems), -error);
	ck_assert_uint_eq(problems.count, 1);
	is_problem(0, 0, part);
	ck_assert_uint_eq(list.count, 0);
}

START_TEST(refuses_what_is_no_file)
{
	fails("nothing", ENOENT, strerror(ENOENT));
	ck_assert_int_eq(mkdir("folder", 0700), 0);
	fails("folder", EISDIR, "is a directory, where a file is needed");
	/* nobody ever writes into it: opening it would wait */
	ck_assert_int_eq(mkfifo("fifo", 0600), 0);
	fails("fifo", ENXIO, "is no regular file");
	fails("/dev/null", ENXIO, "is no regular file");
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un local = {.sun_family = AF_UNIX, .sun_path = "socket"};
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&local, sizeof(local)), 0);
	fails("socket", ENXIO, "is no regular file");
	fd_close(&fd);
	ck_assert_int_eq(symlink("loop", "loop"), 0);
	fails("loop", ELOOP, strerror(ELOOP));
	/* of a file that says it has nothing, and has something */
	fails("/proc/self/status", EAGAIN, "half written");
}
END_TEST

START_TEST(bounds_files)
{
	/* a file with a hole: its zeros are one line that is too long */
	write_bytes("list", "::1\n", 4);
	ck_assert_int_eq(truncate("list", (off_t)ADDRESS_LIST_FILE_BYTES_MAX + 1), 0);
	fails("list", EFBIG, "up to 64 MiB are allowed");
	ck_assert_int_eq(truncate("list", (off_t)ADDRESS_LIST_FILE_BYTES_MAX), 0);
	ck_assert_int_eq(address_list_read(&list, "list", 0, &problems), -EINVAL);
	is_problem(0, 2, "too long");
}
END_TEST

START_TEST(bounds_entries)
{
	FILE *file = fopen("list", "w");
	ck_assert_ptr_nonnull(file);
	for (unsigned i = 0; i < ADDRESS_LIST_ENTRIES_MAX - 1; i++)
		fputs("::1\n", file);
	ck_assert_int_eq(fclose(file), 0);
	ck_assert_int_eq(address_list_read(&list, "list", 0, &problems), 0);
	ck_assert_uint_eq(list.count, ADDRESS_LIST_ENTRIES_MAX - 1);
	ck_assert_int_eq(read_text("::2\n::3\n"), -E2BIG);
	ck_assert_uint_eq(list.count, ADDRESS_LIST_ENTRIES_MAX - 1);
	is_problem(0, 0, "too many entries; a list may have 2000000 in all");
	ck_assert_int_eq(read_text("::2\n"), 0);
	ck_assert_int_eq(address_list_add(&list, &(struct address_range){.family = AF_INET}), -E2BIG);
	ck_assert_uint_eq(list.count, ADDRESS_LIST_ENTRIES_MAX);
}
END_TEST

static int read_after(const char *text, uint64_t ms)
{
	write_bytes("list", text, strlen(text));
	int r = address_list_read(&list, "list", WRITTEN_S * 1000ull + ms, &problems);
	if (r == -EAGAIN)
		is_problem(0, 0,
			   "it changed just now or while it was read, and may be half written; write another file and "
			   "rename "
			   "it to this one");
	else
		ck_assert_uint_eq(problems.count, r == 0 ? 0 : 1);
	address_list_fini(&list);
	return r;
}

START_TEST(waits_until_a_file_has_rested)
{
	static const char *const whole[] = {"10.0.0.1\n", "10.0.0.1\n# end\n", "10.0.0.1\r\n"};
	for (size_t i = 0; i < ARRAY_LEN(whole); i++) {
		ck_assert_int_eq(read_after(whole[i], 0), -EAGAIN);
		ck_assert_int_eq(read_after(whole[i], ADDRESS_LIST_REST_MS - 1), -EAGAIN);
		ck_assert_int_eq(read_after(whole[i], ADDRESS_LIST_REST_MS), 0);
	}
	static const char *const cut_off[] = {"10.0.0.1\n10.0.0.0", "10.0.0.1\n# en", "10.0.0.1\r", "", "# a list\n"};
	for (size_t i = 0; i < ARRAY_LEN(cut_off); i++) {
		ck_assert_int_eq(read_after(cut_off[i], ADDRESS_LIST_REST_MS), -EAGAIN);
		ck_assert_int_eq(read_after(cut_off[i], ADDRESS_LIST_CUT_OFF_REST_MS - 1), -EAGAIN);
		ck_assert_int_eq(read_after(cut_off[i], ADDRESS_LIST_CUT_OFF_REST_MS), 0);
	}
	/* what is wrong in it may be, too, because it is half written */
	ck_assert_int_eq(read_after("10.0.0.1\n10.0.0", ADDRESS_LIST_REST_MS), -EAGAIN);
	ck_assert_int_eq(read_after("10.0.0.1\n10.0.0", ADDRESS_LIST_CUT_OFF_REST_MS), -EINVAL);
}
END_TEST

START_TEST(waits_for_nothing_when_the_clock_says_nothing)
{
	/* set back since, or a file from a machine whose clock is ahead */
	write_bytes("list", "10.0.0.1", 8);
	ck_assert_int_eq(address_list_read(&list, "list", WRITTEN_S * 1000ull - 1, &problems), 0);
	/* not asked */
	ck_assert_int_eq(address_list_read(&list, "list", 0, &problems), 0);
	struct timespec early[2] = {{.tv_sec = -5}, {.tv_sec = -5}};
	ck_assert_int_eq(utimensat(AT_FDCWD, "list", early, 0), 0);
	ck_assert_int_eq(address_list_read(&list, "list", LATER_MS, &problems), 0);
	ck_assert_uint_eq(list.count, 3);
}
END_TEST

static atomic_bool enough;

static void *touch(void *unused UNUSED)
{
	struct timespec times[2] = {{.tv_sec = WRITTEN_S}, {.tv_sec = WRITTEN_S}};
	while (!atomic_load(&enough)) {
		times[1].tv_nsec = (times[1].tv_nsec + 1) % 1000000000;
		if (utimensat(AT_FDCWD, "list", times, 0) < 0)
			break;
	}
	return NULL;
}

START_TEST(refuses_a_file_that_changes_while_it_is_read)
{
	pthread_t thread;
	FILE *file = fopen("list", "w");
	ck_assert_ptr_nonnull(file);
	for (unsigned i = 0; i < 10000; i++)
		fputs("::1\n", file);
	ck_assert_int_eq(fclose(file), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, touch, NULL), 0);
	/* some are read before the thread runs, or between two of its turns; not all */
	int r;
	do {
		address_list_fini(&list);
		r = address_list_read(&list, "list", 0, &problems);
	} while (r == 0);
	atomic_store(&enough, true);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
	ck_assert_int_eq(r, -EAGAIN);
	ck_assert_uint_eq(list.count, 0);
	is_problem(0, 0, "half written");
	ck_assert_int_eq(address_list_read(&list, "list", 0, &problems), 0);
	ck_assert_uint_eq(list.count, 10000);
}
END_TEST

START_TEST(finds_the_line)
{
	static const struct {
		const char *address;
		unsigned line; /* 0: none */
		const char *text;
	} cases[] = {
		{"10.1.2.3", 3, "10.0.0.0/8"},
		{"::ffff:10.1.2.3", 3, "10.0.0.0/8"},
		{"192.168.0.7", 6, "192.168.0.5-192.168.0.9"},
		{"fd00::1", 7, "fd00::/8"},
		{"::1", 8, "::1"},
		{"11.0.0.0", 0, ""},
		{"::2", 0, ""},
	};
	static const char text[] =
		"# a list\r\n\r\n  10.0.0.0/8 # all\r\n10.1.2.3\nlocalhost\n192.168.0.5-192.168.0.9\n"
		"fd00::/8\n::1";
	write_bytes("list", text, sizeof(text) - 1);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct sockaddr_in in4 = {.sin_family = AF_INET};
		struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
		bool is4 = inet_pton(AF_INET, cases[i].address, &in4.sin_addr) == 1;
		ck_assert(is4 || inet_pton(AF_INET6, cases[i].address, &in6.sin6_addr) == 1);
		struct address_list_entry entry = {0};
		int r = address_list_find("list", is4 ? (struct sockaddr *)&in4 : (struct sockaddr *)&in6, &entry);
		ck_assert_int_eq(r, cases[i].line > 0);
		ck_assert_uint_eq(entry.line, cases[i].line);
		ck_assert_str_eq(entry.text, cases[i].text);
	}
	struct sockaddr_in in4 = {.sin_family = AF_INET};
	struct address_list_entry entry;
	ck_assert_int_eq(address_list_find("nothing", (struct sockaddr *)&in4, &entry), -ENOENT);
	ck_assert_int_eq(address_list_find("/", (struct sockaddr *)&in4, &entry), -EISDIR);
}
END_TEST

START_TEST(finds_the_longest_entry)
{
	static const char text[] = "0000:0000:0000:0000:0000:0000:255.255.255.254-"
				   "0000:0000:0000:0000:0000:0000:255.255.255.255";
	ck_assert_uint_eq(sizeof(text) - 1, ADDRESS_RANGE_TEXT_MAX);
	write_bytes("list", text, sizeof(text) - 1);
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	struct address_list_entry entry;
	ck_assert_int_eq(inet_pton(AF_INET6, "::255.255.255.254", &in6.sin6_addr), 1);
	ck_assert_int_eq(address_list_find("list", (struct sockaddr *)&in6, &entry), 1);
	ck_assert_str_eq(entry.text, text);
}
END_TEST

START_TEST(leaves_no_descriptor)
{
	int before = fd_count_open();
	ck_assert_int_eq(mkfifo("fifo", 0600), 0);
	(void)!address_list_read(&list, "/", 0, &problems);
	(void)!address_list_read(&list, "fifo", 0, &problems);
	ck_assert_int_eq(read_text("a\n"), -EINVAL);
	ck_assert_int_eq(read_text("::1\n"), 0);
	ck_assert_int_eq(fd_count_open(), before);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("address_list");
	TCase *files = tcase_create("files");
	tcase_add_checked_fixture(files, setup, teardown);
	tcase_set_timeout(files, 60);
	tcase_add_test(files, reads_entries);
	tcase_add_test(files, takes_comments_blanks_and_foreign_line_ends);
	tcase_add_test(files, takes_a_file_without_entries);
	tcase_add_test(files, adds_to_what_is_there);
	tcase_add_test(files, refuses_the_whole_file);
	tcase_add_test(files, names_lines_and_what_is_wrong);
	tcase_add_test(files, counts_problems_that_are_not_kept);
	tcase_add_test(files, bounds_lines);
	tcase_add_test(files, is_the_same_wherever_a_read_ends);
	tcase_add_test(files, refuses_zeros);
	tcase_add_test(files, refuses_what_is_no_file);
	tcase_add_test(files, bounds_files);
	tcase_add_test(files, bounds_entries);
	tcase_add_test(files, waits_until_a_file_has_rested);
	tcase_add_test(files, waits_for_nothing_when_the_clock_says_nothing);
	tcase_add_test(files, refuses_a_file_that_changes_while_it_is_read);
	tcase_add_test(files, finds_the_line);
	tcase_add_test(files, finds_the_longest_entry);
	tcase_add_test(files, leaves_no_descriptor);
	suite_add_tcase(suite, files);
	return suite_run(suite);
}

/* SPDX-License-Identifier: MIT */
#include "base/file_watch.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "../suite.h"
#include "base/attr.h"
#include "base/fd.h"

static char folder[64];
static struct poller poller;
static struct timer_wheel wheel;
static uint64_t now_ms;
static struct file_watch watched;
static unsigned changes;

static void count(struct file_watch *w UNUSED, uint64_t at_ms UNUSED)
{
	changes++;
}

static void setup(void)
{
	strcpy(folder, "/tmp/usher-watch-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	ck_assert_int_eq(chdir(folder), 0);
	ck_assert_int_eq(poller_init(&poller), 0);
	now_ms = 1000000;
	timer_wheel_init(&wheel, now_ms);
	file_watch_init(&watched, &poller, &wheel, count);
	changes = 0;
}

static void teardown(void)
{
	char command[192];
	file_watch_fini(&watched);
	poller_fini(&poller);
	snprintf(command, sizeof(command), "chmod -R u+rwx %s; rm -rf %s", folder, folder);
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(system(command), 0);
}

static void write_file(const char *name, const char *text)
{
	FILE *file = fopen(name, "w");
	ck_assert_ptr_nonnull(file);
	ck_assert_int_ge(fputs(text, file), 0);
	ck_assert_int_eq(fclose(file), 0);
}

static void make_folder(const char *name)
{
	ck_assert_int_eq(mkdir(name, 0755), 0);
}

static void link_to(const char *target, const char *name)
{
	ck_assert_int_eq(symlink(target, name), 0);
}

static void move(const char *from, const char *to)
{
	ck_assert_int_eq(rename(from, to), 0);
}

/* Lets time go by in small steps, with a turn of the loop at each. */
static void pass_ms(uint64_t ms)
{
	for (uint64_t end_ms = now_ms + ms; now_ms < end_ms;) {
		now_ms += TIMER_TICK_MS;
		while (poller_wait(&poller, 0) > 0) {
			poller_dispatch(&poller);
			timer_wheel_run(&wheel, now_ms);
		}
		timer_wheel_run(&wheel, now_ms);
	}
}

/* How often a change was told since the last time, by when inotify's changes must have been. */
static unsigned told(void)
{
	pass_ms(FILE_WATCH_QUIET_MS + 5 * TIMER_TICK_MS);
	unsigned n = changes;
	changes = 0;
	return n;
}

/* Watches `path` and takes what the beginning tells. */
static void watch_one(const char *path)
{
	const char *const paths[] = {path};
	ck_assert_int_eq(file_watch_set(&watched, paths, 1), 0);
	pass_ms(FILE_WATCH_LATEST_MS + 5 * TIMER_TICK_MS);
	ck_assert_uint_eq(changes, 1);
	changes = 0;
	ck_assert_int_eq(file_watch_failure(&watched), 0);
	ck_assert_uint_eq(told(), 0);
}

START_TEST(the_beginning_is_told_once)
{
	write_file("x.pem", "one");
	watch_one("x.pem");
	/* the same paths once more are nothing new */
	const char *const paths[] = {"x.pem"};
	ck_assert_int_eq(file_watch_set(&watched, paths, 1), 0);
	ck_assert_uint_eq(told(), 0);
}
END_TEST

START_TEST(what_changed_between_the_callers_reading_and_the_watching_is_told)
{
	const char *const paths[] = {"x.pem"};
	write_file("x.pem", "one");
	ck_assert_int_eq(file_watch_set(&watched, paths, 1), 0);
	write_file("x.pem", "two");
	ck_assert_uint_ge(told(), 1);
}
END_TEST

START_TEST(a_relative_path_beyond_a_folder_that_one_may_not_enter)
{
	if (geteuid() != 0)
		return; /* only root can become somebody else */
	make_folder("closed");
	make_folder("closed/inner");
	write_file("closed/inner/x.pem", "one");
	ck_assert_int_eq(chdir("closed/inner"), 0);
	ck_assert_int_eq(chmod(folder, 0700), 0);
	ck_assert_int_eq(seteuid(65534), 0);
	const char *const paths[] = {"x.pem"};
	ck_assert_int_eq(file_watch_set(&watched, paths, 1), 0);
	pass_ms(FILE_WATCH_LATEST_MS + 5 * TIMER_TICK_MS);
	changes = 0;
	ck_assert_int_eq(seteuid(0), 0);
	write_file("x.pem", "two, longer");
	ck_assert_int_eq(seteuid(65534), 0);
	pass_ms(2000);
	ck_assert_uint_ge(changes, 1);
	ck_assert_int_eq(seteuid(0), 0);
}
END_TEST

START_TEST(a_file_written_in_place)
{
	write_file("x.pem", "one");
	watch_one("x.pem");
	write_file("x.pem", "two");
	ck_assert_uint_eq(told(), 1);
	ck_assert_uint_eq(told(), 0);
}
END_TEST

START_TEST(a_file_replaced_by_rename)
{
	write_file("x.pem", "one");
	watch_one("x.pem");
	for (int i = 0; i < 3; i++) {
		write_file("x.tmp", "two");
		ck_assert_uint_eq(told(), 0); /* another name */
		move("x.tmp", "x.pem");
		ck_assert_uint_eq(told(), 1);
	}
	write_file("x.pem", "three"); /* the new one is watched too */
	ck_assert_uint_eq(told(), 1);
}
END_TEST

START_TEST(a_file_written_by_another_name)
{
	make_folder("elsewhere");
	write_file("x.pem", "one");
	ck_assert_int_eq(link("x.pem", "elsewhere/y.pem"), 0);
	watch_one("x.pem");
	write_file("elsewhere/y.pem", "two");
	ck_assert_uint_eq(told(), 1);
}
END_TEST

/* certbot: live/x.pem leads to ../../archive/x1.pem, x2.pem, ... */
START_TEST(a_link_that_leads_elsewhere)
{
	make_folder("live");
	make_folder("live/example");
	make_folder("archive");
	write_file("archive/x1.pem", "one");
	write_file("archive/x2.pem", "two");
	link_to("../../archive/x1.pem", "live/example/x.pem");
	watch_one("live/example/x.pem");
	write_file("archive/x2.pem", "two again"); /* nothing leads to it */
	ck_assert_uint_eq(told(), 0);
	link_to("../../archive/x2.pem", "live/example/new");
	move("live/example/new", "live/example/x.pem");
	ck_assert_uint_eq(told(), 1);
	write_file("archive/x1.pem", "one again"); /* nothing leads to it any more */
	ck_assert_uint_eq(told(), 0);
	write_file("archive/x2.pem", "three");
	ck_assert_uint_eq(told(), 1);
	ck_assert_int_eq(unlink("live/example/x.pem"), 0);
	link_to("../../archive/x1.pem", "live/example/x.pem");
	ck_assert_uint_eq(told(), 1);
}
END_TEST

/* Kubernetes: tls.crt leads to ..data/tls.crt, ..data to ..2024_1, ..2024_2, ... */
START_TEST(a_linked_folder_on_the_way_that_leads_elsewhere)
{
	make_folder("secret");
	make_folder("secret/..2024_1");
	write_file("secret/..2024_1/tls.crt", "one");
	link_to("..2024_1", "secret/..data");
	link_to("..data/tls.crt", "secret/tls.crt");
	watch_one("secret/tls.crt");
	make_folder("secret/..2024_2");
	write_file("secret/..2024_2/tls.crt", "two");
	ck_assert_uint_eq(told(), 0);
	link_to("..2024_2", "secret/..data_tmp");
	move("secret/..data_tmp", "secret/..data");
	ck_assert_uint_eq(told(), 1);
	ck_assert_int_eq(unlink("secret/..2024_1/tls.crt"), 0);
	ck_assert_uint_eq(told(), 0);
	write_file("secret/..2024_2/tls.crt", "three");
	ck_assert_uint_eq(told(), 1);
}
END_TEST

START_TEST(an_absolute_link)
{
	char target[96];
	make_folder("there");
	write_file("there/x.pem", "one");
	snprintf(target, sizeof(target), "%s/there/./x.pem", folder);
	link_to(target, "x.pem");
	watch_one("x.pem");
	write_file("there/x.pem", "two");
	ck_assert_uint_eq(told(), 1);
}
END_TEST

START_TEST(a_folder_replaced_by_rename)
{
	make_folder("tls");
	make_folder("tls/sub");
	write_file("tls/sub/x.pem", "one");
	watch_one("tls/sub/x.pem");
	make_folder("new");
	make_folder("new/sub");
	write_file("new/sub/x.pem", "two");
	move("tls", "old");
	move("new", "tls");
	pass_ms(FILE_WATCH_LATEST_MS);
	ck_assert_uint_eq(told(), 1);
	write_file("old/sub/x.pem", "one again");
	ck_assert_uint_eq(told(), 0);
	write_file("tls/sub/x.pem", "three");
	ck_assert_uint_eq(told(), 1);
}
END_TEST

START_TEST(a_file_that_vanishes_and_comes_back)
{
	write_file("x.pem", "one");
	watch_one("x.pem");
	ck_assert_int_eq(unlink("x.pem"), 0);
	ck_assert_uint_eq(told(), 1);
	write_file("x.pem", "two");
	ck_assert_uint_eq(told(), 1);
	write_file("x.pem", "three");
	ck_assert_uint_eq(told(), 1);
}
END_TEST

START_TEST(parents_that_are_made_later)
{
	watch_one("a/b/../b/c/x.pem");
	make_folder("a");
	pass_ms(FILE_WATCH_LATEST_MS + FILE_WATCH_QUIET_MS);
	ck_assert_uint_eq(changes, 1);
	changes = 0;
	/* all at once, some of them before they are watched */
	make_folder("a/b");
	make_folder("a/b/c");
	pass_ms(FILE_WATCH_QUIET_MS / 2);
	write_file("a/b/c/x.pem", "one");
	pass_ms(FILE_WATCH_LATEST_MS + FILE_WATCH_QUIET_MS);
	ck_assert_uint_eq(changes, 1);
	changes = 0;
	write_file("a/b/c/x.pem", "two");
	ck_assert_uint_eq(told(), 1);
}
END_TEST

START_TEST(a_link_that_leads_nowhere_yet)
{
	link_to("later/x.pem", "x.pem");
	watch_one("x.pem");
	make_folder("later");
	write_file("later/x.pem", "one");
	pass_ms(FILE_WATCH_LATEST_MS);
	ck_assert_uint_eq(told(), 1);
	write_file("later/x.pem", "two");
	ck_assert_uint_eq(told(), 1);
}
END_TEST

START_TEST(links_in_a_circle)
{
	link_to("y", "x");
	link_to("x", "y");
	watch_one("x");
	ck_assert_int_eq(unlink("y"), 0);
	write_file("y", "one");
	ck_assert_uint_eq(told(), 1);
	write_file("y", "two");
	ck_assert_uint_eq(told(), 1);
}
END_TEST

START_TEST(a_mode_that_changes)
{
	make_folder("tls");
	write_file("tls/x.pem", "one");
	watch_one("tls/x.pem");
	ck_assert_int_eq(chmod("tls/x.pem", 0600), 0);
	ck_assert_uint_eq(told(), 1);
	ck_assert_int_eq(chmod("tls", 0700), 0);
	ck_assert_uint_eq(told(), 1);
}
END_TEST

START_TEST(reading_is_no_change)
{
	write_file("x.pem", "one");
	watch_one("x.pem");
	int fd = open("x.pem", O_RDONLY);
	char byte;
	ck_assert_int_eq(read(fd, &byte, 1), 1);
	close(fd);
	ck_assert_uint_eq(told(), 0);
}
END_TEST

START_TEST(a_burst_is_told_once_when_it_is_over)
{
	const char *const pair[] = {"cert.pem", "key.pem"};
	write_file("cert.pem", "one");
	write_file("key.pem", "one");
	ck_assert_int_eq(file_watch_set(&watched, pair, 2), 0);
	pass_ms(FILE_WATCH_LATEST_MS);
	changes = 0;
	write_file("cert.pem", "two");
	pass_ms(FILE_WATCH_QUIET_MS - 5 * TIMER_TICK_MS);
	write_file("key.pem", "two");
	pass_ms(FILE_WATCH_QUIET_MS - 5 * TIMER_TICK_MS);
	ck_assert_uint_eq(changes, 0);
	ck_assert_uint_eq(told(), 1);
	ck_assert_uint_eq(told(), 0);
}
END_TEST

START_TEST(a_burst_without_an_end_is_told_all_the_same)
{
	write_file("x.pem", "one");
	watch_one("x.pem");
	for (uint64_t ms = 0; ms < 3 * FILE_WATCH_LATEST_MS; ms += 100) {
		write_file("x.pem", "again");
		pass_ms(100);
	}
	ck_assert_uint_ge(changes, 2);
	ck_assert_uint_le(changes, 3);
}
END_TEST

START_TEST(others_in_the_folder_are_no_concern)
{
	write_file("x.pem", "one");
	watch_one("x.pem");
	write_file("x.pem.new", "two");
	ck_assert_int_eq(unlink("x.pem.new"), 0);
	make_folder("x");
	ck_assert_uint_eq(told(), 0);
}
END_TEST

START_TEST(a_queue_that_overflowed_loses_no_change)
{
	write_file("x.pem", "one");
	watch_one("x.pem");
	FILE *file = fopen("/proc/sys/fs/inotify/max_queued_events", "r");
	int most = 16384;
	if (file) {
		ck_assert_int_eq(fscanf(file, "%d", &most), 1);
		fclose(file);
	}
	/* two events each, and the queue merges only neighbours that are the same */
	for (int i = 0; i < most / 2 + 8; i++) {
		int fd = open("other", O_WRONLY | O_CREAT, 0600);
		ck_assert_int_ge(fd, 0);
		close(fd);
		ck_assert_int_eq(unlink("other"), 0);
	}
	write_file("x.pem", "two");
	ck_assert_uint_eq(told(), 1);
	write_file("x.pem", "three");
	ck_assert_uint_eq(told(), 1);
}
END_TEST

/* What a change must wait for where files are looked at. */
#define BLIND_MS (FILE_WATCH_BLIND_MS + 2 * FILE_WATCH_QUIET_MS + 5 * TIMER_TICK_MS)

START_TEST(without_inotify_files_are_looked_at)
{
	const char *const paths[] = {"x.pem"};
	struct rlimit was;
	write_file("x.pem", "one");
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &was), 0);
	struct rlimit none = {.rlim_cur = 0, .rlim_max = was.rlim_max};
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	ck_assert_int_eq(file_watch_set(&watched, paths, 1), 0);
	pass_ms(FILE_WATCH_LATEST_MS + 5 * TIMER_TICK_MS);
	ck_assert_uint_eq(changes, 1);
	ck_assert_int_eq(file_watch_failure(&watched), -EMFILE);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &was), 0);
	changes = 0;
	pass_ms(2 * FILE_WATCH_BLIND_MS);
	ck_assert_uint_eq(changes, 0);
	write_file("x.pem", "longer");
	pass_ms(BLIND_MS);
	ck_assert_uint_eq(changes, 1);
	/* that looked everywhere, and found inotify in order again */
	ck_assert_int_eq(file_watch_failure(&watched), 0);
	changes = 0;
	write_file("x.pem", "longer still");
	ck_assert_uint_eq(told(), 1);
}
END_TEST

START_TEST(inotify_is_tried_again)
{
	const char *const paths[] = {"x.pem"};
	struct rlimit was;
	write_file("x.pem", "one");
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &was), 0);
	struct rlimit none = {.rlim_cur = 0, .rlim_max = was.rlim_max};
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	ck_assert_int_eq(file_watch_set(&watched, paths, 1), 0);
	pass_ms(FILE_WATCH_LATEST_MS);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &was), 0);
	ck_assert_int_eq(file_watch_failure(&watched), -EMFILE);
	pass_ms(FILE_WATCH_LOOK_MS + BLIND_MS);
	ck_assert_int_eq(file_watch_failure(&watched), 0);
	changes = 0;
	write_file("x.pem", "two");
	ck_assert_uint_eq(told(), 1);
}
END_TEST

/* As /etc/ssl/private for who is in the group ssl-cert: it may be searched, not read. */
START_TEST(a_folder_that_may_not_be_read_is_looked_at)
{
	if (geteuid() == 0)
		ck_assert_int_eq(seteuid(65534), 0);
	char mine[] = "/tmp/usher-watch-mine-XXXXXX";
	ck_assert_ptr_nonnull(mkdtemp(mine));
	ck_assert_int_eq(chdir(mine), 0);
	make_folder("private");
	write_file("private/x.pem", "one");
	ck_assert_int_eq(chmod("private", 0300), 0);
	const char *const paths[] = {"private/x.pem", "private/y.pem"};
	ck_assert_int_eq(file_watch_set(&watched, paths, 2), 0);
	pass_ms(FILE_WATCH_LATEST_MS + 5 * TIMER_TICK_MS);
	ck_assert_int_eq(file_watch_failure(&watched), 0); /* inotify itself is fine */
	changes = 0;
	write_file("private/y.pem", "two");
	pass_ms(BLIND_MS);
	ck_assert_uint_eq(changes, 1);
	changes = 0;
	/* and no longer when it may */
	ck_assert_int_eq(chmod("private", 0700), 0);
	pass_ms(FILE_WATCH_LATEST_MS + FILE_WATCH_QUIET_MS);
	changes = 0;
	write_file("private/z.pem", "three");
	move("private/z.pem", "private/y.pem");
	ck_assert_uint_eq(told(), 1);
	ck_assert_int_eq(unlink("private/x.pem"), 0);
	ck_assert_int_eq(unlink("private/y.pem"), 0);
	ck_assert_int_eq(rmdir("private"), 0);
	ck_assert_int_eq(rmdir(mine), 0);
	if (getuid() == 0)
		ck_assert_int_eq(seteuid(0), 0);
}
END_TEST

START_TEST(what_inotify_did_not_tell_is_found_within_a_minute)
{
	write_file("x.pem", "one");
	watch_one("x.pem");
	/* as on a network's file system: the change is there, the event is not */
	write_file("x.pem", "longer");
	char bytes[4096];
	while (read(watched.fd, bytes, sizeof(bytes)) > 0)
		;
	ck_assert_uint_eq(told(), 0);
	pass_ms(FILE_WATCH_LOOK_MS + FILE_WATCH_QUIET_MS);
	ck_assert_uint_eq(changes, 1);
	changes = 0;
	pass_ms(2 * FILE_WATCH_LOOK_MS);
	ck_assert_uint_eq(changes, 0);
}
END_TEST

START_TEST(other_paths_take_the_place_of_the_old_ones)
{
	write_file("x.pem", "one");
	write_file("y.pem", "one");
	watch_one("x.pem");
	watch_one("y.pem");
	write_file("x.pem", "two");
	ck_assert_uint_eq(told(), 0);
	write_file("y.pem", "two");
	ck_assert_uint_eq(told(), 1);
	ck_assert_int_eq(file_watch_set(&watched, NULL, 0), 0);
	ck_assert_int_eq(watched.fd, -1);
	ck_assert(!timer_runs(&watched.look));
	ck_assert(!timer_runs(&watched.settle));
	watch_one("x.pem");
	write_file("x.pem", "three");
	ck_assert_uint_eq(told(), 1);
}
END_TEST

/* Watches that the kernel holds for us. */
static unsigned kernel_watches(void)
{
	char name[64];
	char line[256];
	unsigned n = 0;
	snprintf(name, sizeof(name), "/proc/self/fdinfo/%d", watched.fd);
	FILE *file = fopen(name, "r");
	ck_assert_ptr_nonnull(file);
	while (fgets(line, sizeof(line), file))
		n += strncmp(line, "inotify wd:", 11) == 0;
	fclose(file);
	return n;
}

START_TEST(folders_share_a_watch_and_old_ones_are_given_back)
{
	const char *const many[] = {"tls/a.pem", "tls/b.pem", "tls/c.pem", "tls/a.pem"};
	make_folder("tls");
	write_file("tls/a.pem", "one");
	write_file("tls/b.pem", "one");
	write_file("tls/c.pem", "one");
	ck_assert_int_eq(file_watch_set(&watched, many, 4), 0);
	pass_ms(FILE_WATCH_LATEST_MS + FILE_WATCH_QUIET_MS);
	/* "/", "/tmp", the test's folder, tls, three files */
	ck_assert_uint_eq(kernel_watches(), 7);
	for (int i = 0; i < 50; i++) {
		write_file("tls/new", "two");
		move("tls/new", "tls/a.pem");
		pass_ms(FILE_WATCH_LATEST_MS);
	}
	ck_assert_uint_eq(kernel_watches(), 7);
	ck_assert_uint_eq(changes, 51);
	changes = 0;
	watch_one("tls/b.pem");
	ck_assert_uint_eq(kernel_watches(), 5);
	watch_one("x.pem");
	ck_assert_uint_eq(kernel_watches(), 3);
}
END_TEST

static void set_other(struct file_watch *w, uint64_t at_ms UNUSED)
{
	const char *const paths[] = {"y.pem"};
	changes++;
	ck_assert_int_eq(file_watch_set(w, paths, 1), 0);
}

START_TEST(who_is_told_may_set_other_paths)
{
	watch_one("x.pem");
	watched.changed = set_other;
	write_file("x.pem", "one");
	ck_assert_uint_eq(told(), 1);
	pass_ms(FILE_WATCH_LATEST_MS);
	watched.changed = count;
	changes = 0;
	write_file("x.pem", "two");
	ck_assert_uint_eq(told(), 0);
	write_file("y.pem", "two");
	ck_assert_uint_eq(told(), 1);
}
END_TEST

static void end_it(struct file_watch *w, uint64_t at_ms UNUSED)
{
	changes++;
	file_watch_fini(w);
}

START_TEST(who_is_told_may_end_it)
{
	watch_one("x.pem");
	watched.changed = end_it;
	write_file("x.pem", "one");
	ck_assert_uint_eq(told(), 1);
	file_watch_fini(&watched); /* harmless */
}
END_TEST

int main(void)
{
	Suite *s = suite_create("base/file_watch");
	TCase *c = tcase_create("file_watch");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_set_timeout(c, 60);
	tcase_add_test(c, the_beginning_is_told_once);
	tcase_add_test(c, what_changed_between_the_callers_reading_and_the_watching_is_told);
	tcase_add_test(c, a_relative_path_beyond_a_folder_that_one_may_not_enter);
	tcase_add_test(c, a_file_written_in_place);
	tcase_add_test(c, a_file_replaced_by_rename);
	tcase_add_test(c, a_file_written_by_another_name);
	tcase_add_test(c, a_link_that_leads_elsewhere);
	tcase_add_test(c, a_linked_folder_on_the_way_that_leads_elsewhere);
	tcase_add_test(c, an_absolute_link);
	tcase_add_test(c, a_folder_replaced_by_rename);
	tcase_add_test(c, a_file_that_vanishes_and_comes_back);
	tcase_add_test(c, parents_that_are_made_later);
	tcase_add_test(c, a_link_that_leads_nowhere_yet);
	tcase_add_test(c, links_in_a_circle);
	tcase_add_test(c, a_mode_that_changes);
	tcase_add_test(c, reading_is_no_change);
	tcase_add_test(c, a_burst_is_told_once_when_it_is_over);
	tcase_add_test(c, a_burst_without_an_end_is_told_all_the_same);
	tcase_add_test(c, others_in_the_folder_are_no_concern);
	tcase_add_test(c, a_queue_that_overflowed_loses_no_change);
	tcase_add_test(c, without_inotify_files_are_looked_at);
	tcase_add_test(c, inotify_is_tried_again);
	tcase_add_test(c, a_folder_that_may_not_be_read_is_looked_at);
	tcase_add_test(c, what_inotify_did_not_tell_is_found_within_a_minute);
	tcase_add_test(c, other_paths_take_the_place_of_the_old_ones);
	tcase_add_test(c, folders_share_a_watch_and_old_ones_are_given_back);
	tcase_add_test(c, who_is_told_may_set_other_paths);
	tcase_add_test(c, who_is_told_may_end_it);
	suite_add_tcase(s, c);
	return suite_run(s);
}

/* SPDX-License-Identifier: MIT */
#include "daemon/lists.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "../config/folder.h"
#include "../report/capture.h"
#include "../suite.h"
#include "base/fd.h"
#include "base/file_watch.h"
#include "base/netaddr.h"
#include "daemon/list_keeper.h"
#include "report/log.h"
#include "service/service.h"

/* For how long a thread is waited for. */
#define WAIT_MS 20000

static struct poller poller;
static struct timer_wheel wheel;
static uint64_t now_ms;
static struct lists *lists;
static struct rules *rules;
static struct config_errors *errors;
static unsigned changes;

/* What the thread does, done by the tests, with a clock of theirs. */
static struct list_watch watch;
static struct list_event heard; /* told, and not heard yet */
static bool has_heard;
static bool is_old; /* a reload came in between */
static bool holds;  /* until take_it */
static unsigned touched;

static void count_change(void *arg)
{
	ck_assert_ptr_eq(arg, &changes);
	changes++;
}

static void tell(struct list_watch *w, struct list_event *e)
{
	ck_assert_ptr_eq(w, &watch);
	ck_assert(!has_heard);
	heard = *e;
	has_heard = true;
	is_old = false;
}

static void touch(struct list_watch *w, const char *path)
{
	ck_assert_ptr_eq(w, &watch);
	touched += path != NULL;
}

/* Main hears of it. */
static void take_it(void)
{
	holds = false;
	if (!has_heard)
		return;
	has_heard = false;
	lists_hear(lists, &heard, is_old);
	list_watch_go_on(&watch, now_ms);
}

static void setup(void)
{
	folder_create();
	ck_assert_int_eq(poller_init(&poller), 0);
	now_ms = clock_now_ms();
	timer_wheel_init(&wheel, now_ms);
	errors = config_errors_create();
	lists = lists_create();
	ck_assert_ptr_nonnull(lists);
	lists_start(lists, NULL, NULL, count_change, &changes);
	list_watch_init(&watch, &poller, &wheel);
	watch.tell = tell;
	watch.touch = touch;
	changes = 0;
	capture_begin(0);
}

static void teardown(void)
{
	capture_end();
	if (has_heard)
		list_event_fini(&heard);
	list_watch_fini(&watch);
	lists = lists_destroy(lists);
	rules = rules_destroy(rules);
	config_errors_destroy(errors);
	poller_fini(&poller);
	folder_remove();
}

/* What a start or a reload does. */
static void use(const char *door)
{
	char text[1024];
	struct config *config;
	struct rules *old = rules;
	snprintf(text, sizeof(text), "door: { %s };\nlisteners: { web: { listen = \"127.0.0.1:0\"; echo: {}; }; };\n",
		 door);
	ck_assert_int_eq(config_load_text("test", text, strlen(text), service_groups(), &config, errors), 0);
	ck_assert_int_eq(rules_load(config, old, errors, &rules), 0);
	config_unref(config);
	lists_commit(lists, rules, now_ms);
	rules_destroy(old);
	struct list_known known[8];
	unsigned n = rules_file_count(rules);
	ck_assert_uint_le(n, 8);
	for (unsigned i = 0; i < n; i++) {
		known[i].path = strdup(rules_file(rules, i));
		known[i].state = rules_file_content(rules, i)->state;
	}
	is_old = true;
	ck_assert_int_eq(list_watch_set(&watch, known, n, now_ms), 0);
	for (unsigned i = 0; i < n; i++)
		free(known[i].path);
}

/* A file that was written so long ago that it is whole. */
static void write_rested(const char *name, const char *text)
{
	struct timespec times[2] = {{.tv_sec = time(NULL) - 3600}, {.tv_sec = time(NULL) - 3600}};
	folder_write("new", text);
	ck_assert_int_eq(utimensat(AT_FDCWD, "new", times, 0), 0);
	ck_assert_int_eq(rename("new", name), 0);
}

/* One turn of the loop, and the time until something is due, which is `most_ms` at the most. */
static void turn(uint64_t most_ms)
{
	poller_wait(&poller, 0);
	poller_dispatch(&poller);
	int sleep_ms = timer_wheel_sleep_ms(&wheel, now_ms);
	uint64_t step_ms = sleep_ms < 0 ? most_ms : (uint64_t)sleep_ms;
	step_ms = step_ms < TIMER_TICK_MS ? TIMER_TICK_MS : step_ms;
	now_ms += step_ms < most_ms ? step_ms : most_ms;
	timer_wheel_run(&wheel, now_ms);
	if (!holds)
		take_it();
}

/* Lets time go by. */
static void pass_ms(uint64_t ms)
{
	for (uint64_t end_ms = now_ms + ms; now_ms < end_ms;)
		turn(end_ms - now_ms);
	while (has_heard && !holds)
		take_it();
}

/* As long as a change may take. */
static void settle(void)
{
	pass_ms(FILE_WATCH_LATEST_MS + FILE_WATCH_QUIET_MS);
}

static unsigned said(const char *what)
{
	capture_now();
	return capture_count(what);
}

static bool is_denied(const char *address)
{
	struct netaddr a;
	struct visitor v;
	ck_assert_int_eq(netaddr_parse_ip(&a, address, strlen(address), 0), 0);
	visitor_from_address(&v, &a.u.any);
	return rules_match(rules, 0, RULE_DENY, &v);
}

START_TEST(without_files_there_is_nothing_to_do)
{
	int open = fd_count_open();
	use("deny = \"10.0.0.0/8\";");
	ck_assert_int_eq(fd_count_open(), open);
	ck_assert_int_eq(timer_wheel_sleep_ms(&wheel, now_ms), -1);
	settle();
	ck_assert_str_eq(capture_now(), "");
}
END_TEST

START_TEST(a_changed_file_is_taken_up)
{
	write_rested("deny.txt", "10.1.0.0/16\n");
	use("deny = \"file:deny.txt\"; trusted = \"file:deny.txt\";");
	settle();
	ck_assert_str_eq(capture_now(), "");
	int open = fd_count_open();
	write_rested("deny.txt", "10.2.0.0/16\n10.3.0.0/16\n10.9.0.0/16\n");
	settle();
	ck_assert(!is_denied("10.1.0.1"));
	ck_assert(is_denied("10.2.0.1"));
	ck_assert_uint_eq(said(" notice  list renewed: deny.txt (door.deny, door.trusted): 3 entries in 2 ranges\n"),
			  1);
	ck_assert_uint_eq(changes, 1);
	write_rested("deny.txt", "10.4.0.0/16\n");
	settle();
	ck_assert(is_denied("10.4.0.1"));
	ck_assert_uint_eq(said(" notice  list renewed: deny.txt (door.deny, door.trusted): 1 entry\n"), 1);
	ck_assert_uint_eq(said("\n"), 2);
	ck_assert_uint_eq(changes, 2);
	ck_assert_int_eq(fd_count_open(), open);
}
END_TEST

START_TEST(one_that_came_between_reading_and_watching_is_seen)
{
	write_rested("deny.txt", "10.1.0.0/16\n");
	use("deny = \"file:deny.txt\";");
	write_rested("deny.txt", "10.2.0.0/16\n");
	settle();
	ck_assert(is_denied("10.2.0.1"));
}
END_TEST

START_TEST(files_that_say_the_same_change_nothing)
{
	write_rested("deny.txt", "10.1.0.0/16\n");
	use("deny = \"file:deny.txt\";");
	settle();
	write_rested("deny.txt", "# said in another way\n10.1.0.0-10.1.255.255\n");
	settle();
	ck_assert_int_eq(chmod("deny.txt", 0640), 0);
	settle();
	ck_assert_str_eq(capture_now(), "");
	ck_assert_uint_eq(changes, 0);
}
END_TEST

START_TEST(a_wrong_file_keeps_the_old_one_and_is_said_once)
{
	write_rested("deny.txt", "10.1.0.0/16\n");
	use("deny = \"file:deny.txt\";");
	settle();
	write_rested("deny.txt", "10.2.0.0/16\n10.300.0.0/16\n");
	settle();
	ck_assert(is_denied("10.1.0.1"));
	ck_assert(!is_denied("10.2.0.1"));
	ck_assert_uint_eq(
		said(" error   changed list is not taken up (door.deny); what was read before stays: deny.txt: "
		     "2: \"10.300.0.0/16\": "),
		1);
	pass_ms(10 * FILE_WATCH_LOOK_MS);
	ck_assert_uint_eq(said("\n"), 1);
	/* but when it is another one */
	write_rested("deny.txt", "bad\nbad\nbad\nbad\nbad\nbad\nbad\n");
	settle();
	ck_assert_uint_eq(said("deny.txt: 1: \"bad\": "), 1);
	ck_assert_uint_eq(said("deny.txt: 5: \"bad\": "), 1);
	ck_assert_uint_eq(said("deny.txt: and 2 more lines of it are wrong\n"), 1);
	ck_assert_uint_eq(said("\n"), 7);
	ck_assert_uint_eq(changes, 0);
	/* that it is good again is news, though it says what it said before */
	write_rested("deny.txt", "10.1.0.0/16\n");
	settle();
	ck_assert_uint_eq(said("list renewed: deny.txt (door.deny): 1 entry\n"), 1);
	ck_assert_uint_eq(changes, 0);
	write_rested("deny.txt", "bad\n");
	settle();
	ck_assert_uint_eq(said("deny.txt: 1: \"bad\": "), 2);
}
END_TEST

START_TEST(a_file_that_is_gone_keeps_what_was_in_it)
{
	write_rested("deny.txt", "10.1.0.0/16\n");
	use("deny = \"file:deny.txt\";");
	settle();
	ck_assert_int_eq(unlink("deny.txt"), 0);
	settle();
	ck_assert(is_denied("10.1.0.1"));
	pass_ms(200000);
	ck_assert_uint_eq(
		said(" error   changed list is not taken up (door.deny); what was read before stays: deny.txt: "
		     "No such file or directory\n"),
		1);
	write_rested("deny.txt", "10.2.0.0/16\n");
	settle();
	ck_assert(is_denied("10.2.0.1"));
	ck_assert_uint_eq(said("\n"), 2);
}
END_TEST

static uint64_t wall_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Whether a file that looks cut off has been at rest for long enough since then. */
static bool may_have_rested(uint64_t since_wall_ms)
{
	return wall_ms() - since_wall_ms >= ADDRESS_LIST_CUT_OFF_REST_MS;
}

START_TEST(a_file_that_may_be_half_written_is_taken_up_when_it_rests)
{
	write_rested("deny.txt", "10.1.0.0/16\n");
	use("deny = \"file:deny.txt\";");
	settle();
	uint64_t written_ms = wall_ms();
	folder_write("deny.txt", "10.2.0.0/16\n10.3.0.0/16"); /* no end of the line */
	settle();
	bool was_taken = is_denied("10.2.0.1");
	ck_assert(!was_taken || may_have_rested(written_ms));
	/* it is tried again by itself; the rest is of the real clock */
	for (uint64_t until_ms = clock_now_ms() + WAIT_MS; !is_denied("10.2.0.1");) {
		ck_assert(clock_now_ms() < until_ms);
		pass_ms(20);
		(void)poll(NULL, 0, 5);
	}
	ck_assert(may_have_rested(written_ms - 10)); /* files have a coarse clock */
	ck_assert_uint_eq(said("\n"), 1);
	ck_assert_uint_eq(said("list renewed: deny.txt"), 1);
}
END_TEST

START_TEST(a_file_without_rest_is_said_once)
{
	write_rested("deny.txt", "10.1.0.0/16\n");
	use("deny = \"file:deny.txt\";");
	settle();
	unsigned turns = 0;
	for (; said("deny.txt: it has changed again and again for 1min") == 0; turns++) {
		ck_assert_uint_lt(turns, 10000);
		folder_write("deny.txt", "10.2.0.0/16");
		pass_ms(1000);
	}
	ck_assert_uint_ge(turns, 50);
	ck_assert_uint_eq(said(" error "), 1);
	ck_assert(is_denied("10.1.0.1"));
	write_rested("deny.txt", "10.1.0.0/16\n");
	settle();
	ck_assert_uint_eq(said("list renewed: deny.txt"), 1);
}
END_TEST

/* Turns until a file was read, which main does not hear of before take_it. */
static void read_but_do_not_take(void)
{
	holds = true;
	for (int turns = 0; !has_heard; turns++) {
		ck_assert_int_lt(turns, 10000);
		turn(TIMER_TICK_MS);
	}
}

START_TEST(a_file_that_changes_while_it_is_read_is_read_once_more)
{
	write_rested("deny.txt", "10.1.0.0/16\n");
	use("deny = \"file:deny.txt\";");
	settle();
	write_rested("deny.txt", "10.2.0.0/16\n");
	read_but_do_not_take();
	write_rested("deny.txt", "10.3.0.0/16\n");
	take_it();
	settle();
	ck_assert(is_denied("10.3.0.1"));
	ck_assert(!is_denied("10.2.0.1"));
	ck_assert_uint_eq(changes, 2);
}
END_TEST

START_TEST(files_are_read_one_after_another)
{
	write_rested("a.txt", "10.1.0.0/16\n");
	write_rested("b.txt", "10.2.0.0/16\n");
	write_rested("c.txt", "10.3.0.0/16\n");
	use("deny = [ \"file:a.txt\", \"file:b.txt\", \"file:c.txt\" ];");
	settle();
	write_rested("a.txt", "10.4.0.0/16\n");
	write_rested("b.txt", "bad\n");
	write_rested("c.txt", "10.6.0.0/16\n");
	settle();
	ck_assert(is_denied("10.4.0.1"));
	ck_assert(is_denied("10.2.0.1"));
	ck_assert(is_denied("10.6.0.1"));
	ck_assert_uint_eq(changes, 2);
	ck_assert_uint_eq(said("\n"), 3);
}
END_TEST

START_TEST(a_reload_goes_on_with_the_files_that_stay)
{
	write_rested("a.txt", "10.1.0.0/16\n");
	write_rested("b.txt", "10.2.0.0/16\n");
	use("deny = [ \"file:a.txt\", \"file:b.txt\" ];");
	settle();
	/* read under the old rules: not taken up under the new ones, but read again */
	write_rested("b.txt", "10.3.0.0/16\n");
	read_but_do_not_take();
	use("deny = [ \"192.168.0.0/16\", \"file:b.txt\" ];");
	take_it();
	ck_assert(is_denied("10.2.0.1"));
	settle();
	ck_assert(is_denied("10.3.0.1"));
	ck_assert_uint_eq(said("list renewed: b.txt"), 1);

	/* and what the new ones do not have is dropped */
	write_rested("b.txt", "10.4.0.0/16\n");
	read_but_do_not_take();
	use("deny = \"192.168.0.0/16\";");
	take_it();
	settle();
	ck_assert(!is_denied("10.4.0.1"));
	ck_assert_uint_eq(said("\n"), 1);
	write_rested("a.txt", "10.5.0.0/16\n");
	settle();
	ck_assert_uint_eq(said("\n"), 1);
	ck_assert_uint_eq(changes, 1);
}
END_TEST

START_TEST(a_reload_does_not_say_again_what_is_wrong)
{
	write_rested("deny.txt", "10.1.0.0/16\n");
	use("deny = \"file:deny.txt\";");
	settle();
	write_rested("deny.txt", "bad\n");
	settle();
	use("deny = [ \"file:deny.txt\", \"192.168.0.0/16\" ];");
	settle();
	ck_assert_uint_eq(said("\n"), 1);
	ck_assert(is_denied("10.1.0.1"));
	ck_assert(is_denied("192.168.0.1"));
}
END_TEST

START_TEST(without_descriptors_it_is_tried_again_later)
{
	struct rlimit before;
	struct rlimit none = {.rlim_cur = 1}; /* poll(2) of one is allowed */
	write_rested("deny.txt", "10.1.0.0/16\n");
	use("deny = \"file:deny.txt\";");
	settle();
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	none.rlim_max = before.rlim_max;
	write_rested("deny.txt", "10.2.0.0/16\n");
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	pass_ms(100000);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	ck_assert(is_denied("10.1.0.1"));
	ck_assert_uint_eq(
		said(" error   changed list is not taken up (door.deny); what was read before stays: deny.txt: "
		     "Too many open files\n"),
		1);
	pass_ms(31000);
	ck_assert(is_denied("10.2.0.1"));
	ck_assert_uint_eq(said("\n"), 2);
}
END_TEST

START_TEST(files_that_cannot_be_read_any_more_are_said_once)
{
	write_rested("deny.txt", "10.1.0.0/16\n");
	ck_assert_int_eq(chmod("deny.txt", 0600), 0);
	use("deny = \"file:deny.txt\";");
	lists_say_unreadable(lists);
	ck_assert_str_eq(capture_now(), "");
	if (geteuid() != 0)
		return; /* nobody but root can read what it then cannot */
	ck_assert_int_eq(chmod(folder_path, 0755), 0);
	ck_assert_int_eq(seteuid(65534), 0);
	lists_say_unreadable(lists);
	settle();
	ck_assert_uint_eq(said(" warning deny.txt (door.deny) was read as root, but user "), 1);
	ck_assert_uint_eq(said("\n"), 1);
	ck_assert_int_eq(seteuid(0), 0);
	ck_assert_int_eq(chmod("deny.txt", 0644), 0);
	settle();
	ck_assert_uint_eq(said("list renewed: deny.txt"), 1);
}
END_TEST

START_TEST(a_stop_drops_what_is_being_read)
{
	write_rested("deny.txt", "10.1.0.0/16\n");
	use("deny = \"file:deny.txt\";");
	settle();
	write_rested("deny.txt", "10.2.0.0/16\n");
	read_but_do_not_take();
	lists_stop(lists);
	lists_stop(lists);
	rules = rules_destroy(rules);
	take_it();
	ck_assert_str_eq(capture_now(), "");
}
END_TEST

/* A file with many entries, so that the thread has something to do. */
static void write_many(const char *name, unsigned count)
{
	FILE *file = fopen(name, "w");
	ck_assert_ptr_nonnull(file);
	for (unsigned i = 0; i < count; i++)
		fprintf(file, "10.%u.%u.%u\n", i >> 15 & 255, i >> 7 & 255, (i << 1) & 255);
	fclose(file);
}

/* With the thread, and the clock as it is. */
static void use_thread(void)
{
	static const char text[] = "door: { deny = \"file:deny.txt\"; };\n"
				   "listeners: { web: { listen = \"127.0.0.1:0\"; echo: {}; }; };\n";
	struct config *config;
	lists = lists_destroy(lists);
	lists = lists_create();
	lists_start(lists, &poller, &wheel, count_change, &changes);
	write_rested("deny.txt", "10.1.0.0/16\n");
	now_ms = clock_now_ms();
	ck_assert_int_eq(config_load_text("test", text, strlen(text), service_groups(), &config, errors), 0);
	ck_assert_int_eq(rules_load(config, NULL, errors, &rules), 0);
	config_unref(config);
	lists_commit(lists, rules, now_ms);
}

static void await_denied(const char *address)
{
	for (uint64_t until_ms = clock_now_ms() + WAIT_MS; !is_denied(address);) {
		ck_assert(clock_now_ms() < until_ms);
		poller_wait(&poller, 10);
		poller_dispatch(&poller);
		timer_wheel_run(&wheel, clock_now_ms());
	}
}

START_TEST(a_thread_sees_to_it)
{
	int open = fd_count_open();
	use_thread();
	for (unsigned i = 2; i < 5; i++) {
		char text[32];
		char address[32];
		snprintf(text, sizeof(text), "10.%u.0.0/16\n", i);
		snprintf(address, sizeof(address), "10.%u.0.1", i);
		write_rested("deny.txt", text);
		await_denied(address);
	}
	ck_assert(!is_denied("10.1.0.1"));
	ck_assert_uint_eq(changes, 3);
	ck_assert_uint_eq(said("list renewed: deny.txt (door.deny): 1 entry\n"), 3);
	ck_assert_uint_eq(said("\n"), 3);
	/* without files there is none */
	use("deny = \"10.0.0.0/8\";");
	for (uint64_t until_ms = clock_now_ms() + WAIT_MS; fd_count_open() > open;) {
		ck_assert(clock_now_ms() < until_ms);
		(void)poll(NULL, 0, 5);
	}
}
END_TEST

START_TEST(an_end_in_the_midst_of_it_waits)
{
	use_thread();
	write_many("deny.txt", 200000);
	for (uint64_t until_ms = clock_now_ms() + 300; clock_now_ms() < until_ms;)
		poller_wait(&poller, 10);
	/* teardown ends it, and the sanitizers look */
}
END_TEST

static void ignore(struct watch *w UNUSED, unsigned events UNUSED)
{
}

static struct list_known *one_known(const char *path, uint64_t state)
{
	struct list_known *k = calloc(1, sizeof(*k));
	k->path = strdup(path);
	k->state = state;
	return k;
}

START_TEST(what_was_read_before_the_files_were_set_anew_is_old)
{
	struct watch told = {.ready = ignore};
	struct list_keeper *k = NULL;
	struct list_event e;
	bool old = false;
	write_rested("deny.txt", "10.1.0.0/16\n");
	ck_assert_int_eq(list_keeper_start(&k, &poller, &told), 0);
	list_keeper_set(k, one_known("deny.txt", 1), 1);
	ck_assert_int_gt(poller_wait(&poller, WAIT_MS), 0);
	list_keeper_set(k, one_known("deny.txt", 1), 1);
	ck_assert(list_keeper_take(k, &e, &old));
	ck_assert(old);
	ck_assert_int_eq(e.failed, 0);
	list_event_fini(&e);
	/* it is read again, for it is not in effect */
	uint64_t until_ms = clock_now_ms() + WAIT_MS;
	while (!list_keeper_take(k, &e, &old)) {
		ck_assert(clock_now_ms() < until_ms);
		(void)poll(NULL, 0, 5);
	}
	ck_assert(!old);
	ck_assert_uint_eq(e.state, list_file_state("deny.txt"));
	list_event_fini(&e);
	ck_assert_int_eq(list_keeper_trouble(k).inotify, 0);
	ck_assert_int_eq(list_keeper_trouble(k).unset, 0);
	ck_assert_ptr_null(list_keeper_end(k, WAIT_MS));
}
END_TEST

START_TEST(a_thread_that_is_left_frees_what_it_has)
{
	struct watch told = {.ready = ignore};
	struct list_keeper *k = NULL;
	int open = fd_count_open();
	write_many("many.txt", 200000);
	ck_assert_int_eq(list_keeper_start(&k, &poller, &told), 0);
	list_keeper_set(k, one_known("many.txt", 1), 1);
	(void)poll(NULL, 0, 250);
	ck_assert_ptr_null(list_keeper_end(k, 0));
	for (uint64_t until_ms = clock_now_ms() + WAIT_MS; fd_count_open() != open;) {
		ck_assert(clock_now_ms() < until_ms);
		(void)poll(NULL, 0, 5);
	}
	ck_assert_int_eq(poller_wait(&poller, 0), 0);
}
END_TEST

START_TEST(an_end_accepts_one_that_never_started)
{
	ck_assert_ptr_null(list_keeper_end(NULL, 0));
	ck_assert_ptr_null(lists_destroy(NULL));
	ck_assert_ptr_null(lists_destroy(lists_create()));
	lists_stop(NULL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("daemon/lists");
	TCase *c = tcase_create("lists");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_set_timeout(c, 60);
	tcase_add_test(c, without_files_there_is_nothing_to_do);
	tcase_add_test(c, a_changed_file_is_taken_up);
	tcase_add_test(c, one_that_came_between_reading_and_watching_is_seen);
	tcase_add_test(c, files_that_say_the_same_change_nothing);
	tcase_add_test(c, a_wrong_file_keeps_the_old_one_and_is_said_once);
	tcase_add_test(c, a_file_that_is_gone_keeps_what_was_in_it);
	tcase_add_test(c, a_file_that_may_be_half_written_is_taken_up_when_it_rests);
	tcase_add_test(c, a_file_without_rest_is_said_once);
	tcase_add_test(c, a_file_that_changes_while_it_is_read_is_read_once_more);
	tcase_add_test(c, files_are_read_one_after_another);
	tcase_add_test(c, a_reload_goes_on_with_the_files_that_stay);
	tcase_add_test(c, a_reload_does_not_say_again_what_is_wrong);
	tcase_add_test(c, without_descriptors_it_is_tried_again_later);
	tcase_add_test(c, files_that_cannot_be_read_any_more_are_said_once);
	tcase_add_test(c, a_stop_drops_what_is_being_read);
	tcase_add_test(c, a_thread_sees_to_it);
	tcase_add_test(c, an_end_in_the_midst_of_it_waits);
	tcase_add_test(c, what_was_read_before_the_files_were_set_anew_is_old);
	tcase_add_test(c, a_thread_that_is_left_frees_what_it_has);
	tcase_add_test(c, an_end_accepts_one_that_never_started);
	suite_add_tcase(s, c);
	return suite_run(s);
}

/* SPDX-License-Identifier: MIT */
#include "daemon/aside.h"

#include <check.h>
#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

#include "../suite.h"
#include "base/clock.h"
#include "base/fd.h"

#define WAIT_MS 20000

/* Work that hangs at each of its files until the test lets it go on. */
struct work {
	int go_fd[2];
	atomic_int at;
	atomic_int released;
	unsigned files;
};

static struct poller poller;
static struct watch told;
static unsigned told_count;
static struct work work;
static struct aside *a;

static void run(struct aside *self, void *arg)
{
	struct work *w = arg;
	char byte;
	char name[] = "file-0";
	for (unsigned i = 0; i < w->files; i++) {
		name[5] = (char)('0' + i);
		aside_touch(self, name);
		atomic_fetch_add(&w->at, 1);
		ck_assert_int_eq(read(w->go_fd[0], &byte, 1), 1);
		aside_tell(self);
	}
	if (aside_is_left(self))
		atomic_store(&w->at, -1);
}

static void release(void *arg)
{
	struct work *w = arg;
	atomic_fetch_add(&w->released, 1);
}

static const struct aside_work what = {.name = "aside", .run = run, .release = release};

static void count(struct watch *w, unsigned events UNUSED)
{
	ck_assert_ptr_eq(w, &told);
	told_count++;
}

static void setup(void)
{
	role_enter_main();
	ck_assert_int_eq(poller_init(&poller), 0);
	told.ready = count;
	ck_assert_int_eq(pipe(work.go_fd), 0);
	work.files = 2;
}

static void teardown(void)
{
	poller_fini(&poller);
	role_leave_main();
}

static void start(void)
{
	ck_assert_int_eq(aside_start(&a, &what, &work, &poller, &told), 0);
}

static void go(void)
{
	ck_assert_int_eq(write(work.go_fd[1], "x", 1), 1);
}

static void await(const atomic_int *number, int value)
{
	for (uint64_t until_ms = clock_now_ms() + WAIT_MS; atomic_load(number) != value; usleep(1000))
		ck_assert(clock_now_ms() < until_ms);
}

START_TEST(it_tells_and_ends)
{
	int open = fd_count_open();
	start();
	go();
	ck_assert_int_gt(poller_wait(&poller, WAIT_MS), 0);
	poller_dispatch(&poller);
	ck_assert_uint_eq(told_count, 1);
	ck_assert(!aside_is_over(a));
	ck_assert(!aside_wait(a, 10));
	go();
	ck_assert(aside_wait(a, WAIT_MS));
	ck_assert(aside_is_over(a));
	ck_assert_ptr_null(aside_end(a));
	ck_assert_int_eq(atomic_load(&work.released), 1);
	ck_assert_int_eq(fd_count_open(), open);
	ck_assert_ptr_null(aside_end(NULL));
}
END_TEST

START_TEST(a_slow_file_is_told_once_and_its_end)
{
	struct aside_slow slow;
	uint64_t before_ms = clock_now_ms();
	start();
	await(&work.at, 1);
	uint64_t after_ms = clock_now_ms();
	ck_assert_int_eq(aside_look(a, before_ms + ASIDE_SLOW_MS - 1, &slow), ASIDE_NO_NEWS);
	ck_assert_int_eq(aside_look(a, after_ms + ASIDE_SLOW_MS, &slow), ASIDE_IS_SLOW);
	ck_assert_str_eq(slow.path, "file-0");
	ck_assert_uint_ge(slow.ms, ASIDE_SLOW_MS);
	ck_assert_uint_le(slow.ms, ASIDE_SLOW_MS + after_ms - before_ms);
	ck_assert_int_eq(aside_look(a, after_ms + 10 * ASIDE_SLOW_MS, &slow), ASIDE_NO_NEWS);
	go();
	await(&work.at, 2);
	/* the next one is slow too */
	uint64_t late_ms = clock_now_ms() + 20 * ASIDE_SLOW_MS;
	ck_assert_int_eq(aside_look(a, late_ms, &slow), ASIDE_GOES_ON);
	ck_assert_str_eq(slow.path, "file-0");
	ck_assert_uint_ge(slow.ms, 20 * ASIDE_SLOW_MS);
	ck_assert_int_eq(aside_look(a, late_ms, &slow), ASIDE_IS_SLOW);
	ck_assert_str_eq(slow.path, "file-1");
	go();
	ck_assert(aside_wait(a, WAIT_MS));
	ck_assert_int_eq(aside_look(a, late_ms, &slow), ASIDE_GOES_ON);
	ck_assert_int_eq(aside_look(a, late_ms + 20 * ASIDE_SLOW_MS, &slow), ASIDE_NO_NEWS);
	aside_end(a);
}
END_TEST

START_TEST(one_that_hangs_is_left_and_frees_what_it_has)
{
	int open = fd_count_open();
	work.files = 1;
	start();
	await(&work.at, 1);
	ck_assert_ptr_null(aside_end(a));
	ck_assert_int_eq(atomic_load(&work.released), 0);
	go();
	await(&work.released, 1);
	ck_assert_int_eq(atomic_load(&work.at), -1);
	for (uint64_t until_ms = clock_now_ms() + WAIT_MS; fd_count_open() != open; usleep(1000))
		ck_assert(clock_now_ms() < until_ms);
	ck_assert_int_eq(poller_wait(&poller, 0), 0);
	ck_assert_uint_eq(told_count, 0);
}
END_TEST

START_TEST(no_more_than_some_hang)
{
	struct aside *one_more = NULL;
	work.files = 1;
	for (int i = 0; i < ASIDE_LEFT_MOST; i++) {
		start();
		await(&work.at, i + 1);
		aside_end(a);
	}
	ck_assert_int_eq(aside_start(&one_more, &what, &work, &poller, &told), -EAGAIN);
	ck_assert_ptr_null(one_more);
	for (int i = 0; i < ASIDE_LEFT_MOST; i++)
		go();
	await(&work.released, ASIDE_LEFT_MOST);
	for (uint64_t until_ms = clock_now_ms() + WAIT_MS;; usleep(1000)) {
		ck_assert(clock_now_ms() < until_ms);
		if (aside_start(&a, &what, &work, &poller, &told) == 0)
			break;
	}
	go();
	ck_assert(aside_wait(a, WAIT_MS));
	aside_end(a);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("daemon/aside");
	TCase *c = tcase_create("aside");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_set_timeout(c, 60);
	tcase_add_test(c, it_tells_and_ends);
	tcase_add_test(c, a_slow_file_is_told_once_and_its_end);
	tcase_add_test(c, one_that_hangs_is_left_and_frees_what_it_has);
	tcase_add_test(c, no_more_than_some_hang);
	suite_add_tcase(s, c);
	return suite_run(s);
}

/* SPDX-License-Identifier: MIT */
#include "transport/pipe.h"

#include <check.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../suite.h"
#include "base/fd.h"

#define NOBODY 65534

START_TEST(there_are_so_many_and_no_more)
{
	struct pipe *taken[4];
	struct pipe_pool *pool = pipe_pool_create(4);
	ck_assert_ptr_nonnull(pool);
	int before = fd_count_open();
	for (int i = 0; i < 4; i++) {
		ck_assert_ptr_nonnull(taken[i] = pipe_take(pool));
		ck_assert_uint_eq(taken[i]->bytes, 0);
		ck_assert_int_eq(fcntl(taken[i]->in, F_GETPIPE_SZ), PIPE_MAX_BYTES);
		ck_assert_int_ne(fcntl(taken[i]->in, F_GETFL) & O_NONBLOCK, 0);
		ck_assert_int_ne(fcntl(taken[i]->out, F_GETFD) & FD_CLOEXEC, 0);
	}
	ck_assert_ptr_null(pipe_take(pool));
	for (int i = 0; i < 4; i++)
		ck_assert_ptr_null(pipe_give_back(taken[i]));
	/* the same again, and they are open already */
	ck_assert_ptr_eq(pipe_take(pool), taken[3]);
	pipe_give_back(taken[3]);
	ck_assert_int_eq(fd_count_open(), before + 4 * PIPE_DESCRIPTORS);
	ck_assert_ptr_null(pipe_pool_destroy(pool));
	ck_assert_int_eq(fd_count_open(), before);
}
END_TEST

START_TEST(one_is_open_when_one_is_enough)
{
	struct pipe_pool *pool = pipe_pool_create(4);
	int before = fd_count_open();
	for (int i = 0; i < 10; i++)
		pipe_give_back(pipe_take(pool));
	ck_assert_int_eq(fd_count_open(), before + PIPE_DESCRIPTORS);
	pipe_pool_destroy(pool);
}
END_TEST

START_TEST(it_comes_empty)
{
	char byte;
	struct pipe_pool *pool = pipe_pool_create(1);
	struct pipe *p = pipe_take(pool);
	ck_assert_int_eq(write(p->in, "left", 4), 4);
	p->bytes = 4;
	pipe_give_back(p);
	p = pipe_take(pool);
	ck_assert_uint_eq(p->bytes, 0);
	ck_assert_int_eq(read(p->out, &byte, 1), -1);
	pipe_give_back(p);
	pipe_pool_destroy(pool);
}
END_TEST

START_TEST(a_pool_of_none)
{
	struct pipe_pool *pool = pipe_pool_create(0);
	ck_assert_ptr_nonnull(pool);
	ck_assert_ptr_null(pipe_take(pool));
	pipe_pool_destroy(pool);
	ck_assert_ptr_null(pipe_pool_destroy(NULL));
	ck_assert_ptr_null(pipe_give_back(NULL));
}
END_TEST

START_TEST(the_kernel_is_asked_again_after_a_while)
{
	struct rlimit before, none;
	struct pipe_pool *pool = pipe_pool_create(1);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 0;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	ck_assert_ptr_null(pipe_take(pool));
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
	unsigned without = 0;
	struct pipe *p;
	while (!(p = pipe_take(pool)))
		ck_assert_uint_lt(++without, 1000);
	ck_assert_uint_gt(without, 100);
	pipe_give_back(p);
	pipe_pool_destroy(pool);
}
END_TEST

START_TEST(a_user_has_only_so_much_in_pipes)
{
	enum { MANY = 200 };
	struct pipe *taken[MANY];
	if (geteuid() == 0 && setresuid(NOBODY, NOBODY, NOBODY) < 0)
		return;
	struct pipe_pool *pool = pipe_pool_create(MANY);
	int before = fd_count_open(), count = 0;
	while (count < MANY && (taken[count] = pipe_take(pool))) {
		/* each is of use */
		ck_assert_int_ge(fcntl(taken[count]->in, F_GETPIPE_SZ), 256 * 1024);
		count++;
	}
	/* where the limit was raised all of them are there */
	ck_assert_int_eq(fd_count_open(), before + count * PIPE_DESCRIPTORS);
	while (count > 0)
		pipe_give_back(taken[--count]);
	pipe_pool_destroy(pool);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("transport/pipe");
	TCase *c = tcase_create("pipe");
	tcase_add_test(c, there_are_so_many_and_no_more);
	tcase_add_test(c, one_is_open_when_one_is_enough);
	tcase_add_test(c, it_comes_empty);
	tcase_add_test(c, a_pool_of_none);
	tcase_add_test(c, the_kernel_is_asked_again_after_a_while);
	tcase_add_test(c, a_user_has_only_so_much_in_pipes);
	suite_add_tcase(s, c);
	return suite_run(s);
}

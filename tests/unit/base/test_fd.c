/* SPDX-License-Identifier: MIT */
#include "base/fd.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../suite.h"

START_TEST(closes_once_and_keeps_errno)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	int number = fd;
	ck_assert_int_ge(fd, 0);
	errno = EDOM;
	fd_close(&fd);
	ck_assert_int_eq(fd, -1);
	ck_assert_int_eq(errno, EDOM);
	fd_close(&fd);
	ck_assert_int_eq(errno, EDOM);
	ck_assert_int_eq(fcntl(number, F_GETFD), -1);
	ck_assert_int_eq(errno, EBADF);
	/* one that is closed already: close(2) fails, errno stays */
	errno = EDOM;
	fd_close(&number);
	ck_assert_int_eq(errno, EDOM);
}
END_TEST

START_TEST(gives_away)
{
	int fd = 7;
	ck_assert_int_eq(fd_take(&fd), 7);
	ck_assert_int_eq(fd, -1);
	ck_assert_int_eq(fd_take(&fd), -1);
}
END_TEST

START_TEST(sets_nonblock)
{
	int fds[2];
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	ck_assert_int_eq(fd_set_nonblock(fds[0]), 0);
	ck_assert_int_eq(fd_set_nonblock(fds[0]), 0);
	char byte;
	ck_assert_int_eq(read(fds[0], &byte, 1), -1);
	ck_assert_int_eq(errno, EAGAIN);
	ck_assert_int_eq(fcntl(fds[1], F_GETFL) & O_NONBLOCK, 0);
	fd_close(&fds[0]);
	fd_close(&fds[1]);
	ck_assert_int_eq(fd_set_nonblock(-1), -EBADF);
}
END_TEST

START_TEST(counts_what_is_open)
{
	int before = fd_count_open();
	ck_assert_int_ge(before, 0);
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ck_assert_int_eq(fd_count_open(), before + 1);
	fd_close(&fd);
	ck_assert_int_eq(fd_count_open(), before);
}
END_TEST

START_TEST(raises_the_limit)
{
	struct rlimit limit;
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	limit.rlim_cur = 64;
	if (limit.rlim_max > 128)
		limit.rlim_max = 128;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_uint_eq(fd_limit(), 64);
	ck_assert_int_eq(fd_raise_limit(), 0);
	ck_assert_uint_eq(fd_limit(), limit.rlim_max);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("fd");
	TCase *c = tcase_create("fd");
	tcase_add_test(c, closes_once_and_keeps_errno);
	tcase_add_test(c, gives_away);
	tcase_add_test(c, sets_nonblock);
	tcase_add_test(c, counts_what_is_open);
	tcase_add_test(c, raises_the_limit);
	suite_add_tcase(s, c);
	return suite_run(s);
}

/* SPDX-License-Identifier: MIT */
/* stderr as a pipe that a test reads. Nothing here waits longer than CAPTURE_WAIT_MS. */
#ifndef TESTS_REPORT_CAPTURE_H
#define TESTS_REPORT_CAPTURE_H

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

#define CAPTURE_WAIT_MS 20000
#define CAPTURE_MARK '~'

static int capture_saved_stderr = -1;
static int capture_fd = -1; /* the end that the test reads */
static char capture_text[4 << 20];
static size_t capture_length;
static unsigned capture_marks; /* how many CAPTURE_MARKs are in the text */

/* Puts a new pipe in stderr's place; `flags` are those of its writing end. */
static void capture_begin(int flags)
{
	int fds[2];
	ck_assert_int_eq(pipe2(fds, O_CLOEXEC), 0);
	if (capture_saved_stderr < 0)
		capture_saved_stderr = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
	if (flags != 0)
		ck_assert_int_eq(fcntl(fds[1], F_SETFL, flags), 0);
	ck_assert_int_eq(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
	close(fds[1]);
	capture_fd = fds[0];
	capture_length = 0;
	capture_marks = 0;
	capture_text[0] = '\0';
}

/* Closes the reading end: writing gives EPIPE. */
static void capture_hang_up(void)
{
	close(capture_fd);
	capture_fd = -1;
}

static void capture_end(void)
{
	if (capture_saved_stderr < 0)
		return;
	dup2(capture_saved_stderr, STDERR_FILENO);
	if (capture_fd >= 0)
		capture_hang_up();
}

/* Has capture_end put /dev/null in stderr's place: a log thread is left that has more to write. */
static inline void capture_forget_stderr(void)
{
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
	ck_assert_int_ge(null, 0);
	dup2(null, capture_saved_stderr);
	close(null);
}

/* Reads once, waiting for up to `wait_ms`. Returns false when there was nothing. */
static bool capture_read(int wait_ms)
{
	struct pollfd p = {.fd = capture_fd, .events = POLLIN};
	if (poll(&p, 1, wait_ms) <= 0)
		return false;
	ssize_t n = read(capture_fd, capture_text + capture_length, sizeof(capture_text) - 1 - capture_length);
	if (n <= 0)
		return false;
	for (ssize_t i = 0; i < n; i++)
		capture_marks += capture_text[capture_length + (size_t)i] == CAPTURE_MARK ? 1 : 0;
	capture_length += (size_t)n;
	capture_text[capture_length] = '\0';
	return true;
}

/* Reads until `wanted` is in the text. */
static inline void capture_until(const char *wanted)
{
	uint64_t until_ms = clock_now_ms() + CAPTURE_WAIT_MS;
	size_t from = 0;
	while (strstr(capture_text + from, wanted) == NULL) {
		ck_assert_msg(clock_now_ms() < until_ms, "never came: %s", wanted);
		from = capture_length > 200 ? capture_length - 200 : 0;
		capture_read(100);
	}
}

/* Reads what is there without waiting, and returns all so far. */
static const char *capture_now(void)
{
	while (capture_read(0))
		;
	return capture_text;
}

/* How often `wanted` is in the text so far. */
static unsigned capture_count(const char *wanted)
{
	/* not strstr: under TSan each call looks at all of the text */
	unsigned n = 0;
	size_t length = strlen(wanted);
	for (const char *at = capture_text; *at != '\0'; at++)
		n += *at == *wanted && strncmp(at, wanted, length) == 0 ? 1 : 0;
	return n;
}

#endif

/* SPDX-License-Identifier: MIT */
/* What the journal gets. libsystemd knows one place to send to, so the test puts a socket there, in a mount namespace
 * of its own; where it may not have one, it passes without having tried. */
#include <check.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "../suite.h"
#include "base/clock.h"
#include "report/log_priv.h"

#define WAIT_MS 20000

static int journal = -1;

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	bool written = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return written;
}

/* A user namespace in which this user is root, for who may not have a mount namespace without one. */
static bool enter_user_namespace(void)
{
	char users[32];
	char groups[32];
	snprintf(users, sizeof(users), "0 %u 1", getuid());
	snprintf(groups, sizeof(groups), "0 %u 1", getgid());
	return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 && write_file("/proc/self/uid_map", users) &&
	       write_file("/proc/self/setgroups", "deny") && write_file("/proc/self/gid_map", groups);
}

static bool enter_namespace(void)
{
	if (unshare(CLONE_NEWNS) < 0 && !enter_user_namespace())
		return false;
	return mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	       mount("tmpfs", "/run", "tmpfs", 0, "mode=0777") == 0;
}

/* Returns false when this machine does not let the test have a journal. */
static bool open_journal(void)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket"};
	if (!enter_namespace()) {
		printf("no mount namespace here: not tried\n");
		return false;
	}
	ck_assert_int_eq(mkdir("/run/systemd", 0755), 0);
	ck_assert_int_eq(mkdir("/run/systemd/journal", 0755), 0);
	journal = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(journal, (struct sockaddr *)&at, sizeof(at)), 0);
	return true;
}

/* Receives one record as lines. */
static void receive(char *to, size_t size)
{
	struct timeval wait = {.tv_sec = WAIT_MS / 1000};
	ck_assert_int_eq(setsockopt(journal, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)), 0);
	ssize_t n = recv(journal, to, size - 1, 0);
	ck_assert_int_gt(n, 0);
	to[n] = '\0';
}

START_TEST(records_have_their_fields)
{
	char got[LOG_RECORD_BYTES * 2];
	struct log_record r;
	if (!open_journal())
		return;
	ck_assert_int_eq(log_start(LOG_TARGET_JOURNAL), 0);
	log_begin(&r, LOG_LEVEL_WARNING, LOG_CLOSED);
	log_field(&r, "USHER_LISTENER", "%s", "web");
	log_field(&r, "USHER_PEER", "%s", "evil\nPRIORITY=0");
	log_submit(&r, "hello %d\n", 7);
	receive(got, sizeof(got));
	ck_assert_str_eq(got, "MESSAGE=hello 7\\x0a\n"
			      "PRIORITY=4\n"
			      "MESSAGE_ID=06a060f10d264167b0354111a570285b\n"
			      "SYSLOG_IDENTIFIER=usherd\n"
			      "USHER_LISTENER=web\n"
			      "USHER_PEER=evil\\x0aPRIORITY=0\n");
	log_stop(WAIT_MS);
}
END_TEST

START_TEST(a_journal_that_hangs_costs_records_and_is_told)
{
	char got[LOG_RECORD_BYTES * 2];
	char news[100];
	unsigned written = 0;
	unsigned received = 0;
	if (!open_journal())
		return;
	ck_assert_int_eq(log_start(LOG_TARGET_JOURNAL), 0);
	while (log_lost() < 100) {
		ck_assert_uint_lt(written, 1000000);
		log_write(LOG_LEVEL_INFO, LOG_GENERAL, "flood %0100d", (int)written++);
	}
	unsigned lost = (unsigned)log_lost();
	snprintf(news, sizeof(news), "MESSAGE=%u log records were lost: the queue was full\n", lost);
	for (receive(got, sizeof(got)); strstr(got, "flood") != NULL; receive(got, sizeof(got)))
		received++;
	ck_assert_mem_eq(got, news, strlen(news));
	ck_assert_ptr_nonnull(strstr(got, "MESSAGE_ID=4d734d95b0764930b4941caca5ac9e74\n"));
	ck_assert_uint_eq(received, written - lost);
	log_stop(WAIT_MS);
}
END_TEST

START_TEST(a_journal_that_is_gone_does_not_end_the_thread)
{
	char got[LOG_RECORD_BYTES * 2];
	struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket"};
	if (!open_journal())
		return;
	ck_assert_int_eq(log_start(LOG_TARGET_JOURNAL), 0);
	/* nobody has the socket: ECONNREFUSED */
	close(journal);
	log_write(LOG_LEVEL_INFO, LOG_GENERAL, "into the void");
	uint64_t until_ms = clock_now_ms() + WAIT_MS;
	while (log_lost() == 0)
		ck_assert_uint_lt(clock_now_ms(), until_ms);
	ck_assert_int_eq(unlink(at.sun_path), 0);
	journal = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_eq(bind(journal, (struct sockaddr *)&at, sizeof(at)), 0);
	log_write(LOG_LEVEL_INFO, LOG_GENERAL, "back");
	receive(got, sizeof(got));
	ck_assert_ptr_nonnull(strstr(got, "MESSAGE=back\n"));
	receive(got, sizeof(got));
	ck_assert_ptr_nonnull(strstr(got, "MESSAGE=1 log records were lost: they could not be written\n"));
	log_stop(WAIT_MS);
}
END_TEST

START_TEST(stop_leaves_a_hanging_journal_behind)
{
	if (!open_journal())
		return;
	ck_assert_int_eq(log_start(LOG_TARGET_JOURNAL), 0);
	while (log_lost() < 100)
		log_write(LOG_LEVEL_INFO, LOG_GENERAL, "flood %0100d", 0);
	uint64_t before_ms = clock_now_ms();
	log_stop(50);
	ck_assert_uint_lt(clock_now_ms() - before_ms, 5000);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("log_journal");
	TCase *c = tcase_create("log_journal");
	tcase_set_timeout(c, 60);
	tcase_add_test(c, records_have_their_fields);
	tcase_add_test(c, a_journal_that_hangs_costs_records_and_is_told);
	tcase_add_test(c, a_journal_that_is_gone_does_not_end_the_thread);
	tcase_add_test(c, stop_leaves_a_hanging_journal_behind);
	suite_add_tcase(s, c);
	return suite_run(s);
}

/* SPDX-License-Identifier: MIT */
/* What the journal gets, and what happens while it is behind or gone. There is one place to send to, so the test puts a
 * socket there, in a mount namespace of its own; where it may not have one, it passes without having tried. */
#include <check.h>
#include <errno.h>
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
#include "report/log_native.h"

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

static void bind_journal(void)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = LOG_NATIVE_PATH};
	(void)unlink(at.sun_path);
	journal = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	ck_assert_int_ge(journal, 0);
	ck_assert_int_eq(bind(journal, (struct sockaddr *)&at, sizeof(at)), 0);
}

/* Returns false when this machine does not let the test have a journal. */
static bool open_journal(void)
{
	if (!enter_namespace()) {
		printf("no mount namespace here: not tried\n");
		return false;
	}
	ck_assert_int_eq(mkdir("/run/systemd", 0755), 0);
	ck_assert_int_eq(mkdir("/run/systemd/journal", 0755), 0);
	bind_journal();
	return true;
}

/* The process that had the socket ends; its file stays. */
static void close_journal(void)
{
	close(journal);
	journal = -1;
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
	char wanted[LOG_RECORD_BYTES];
	struct log_record r;
	if (!open_journal())
		return;
	ck_assert_int_eq(log_start(LOG_TARGET_JOURNAL), 0);
	const int line = __LINE__ + 1;
	log_begin(&r, LOG_LEVEL_WARNING, LOG_CLOSED);
	log_field(&r, "USHER_LISTENER", "%s", "web");
	log_field(&r, "USHER_PEER", "%s", "evil\nPRIORITY=0");
	log_field_errno(&r, -ENOENT);
	log_field_errno(&r, 0);
	log_submit(&r, "hello %d\n", 7);
	receive(got, sizeof(got));
	snprintf(wanted, sizeof(wanted),
		 "MESSAGE=hello 7\\x0a\n"
		 "PRIORITY=4\n"
		 "MESSAGE_ID=06a060f10d264167b0354111a570285b\n"
		 "SYSLOG_IDENTIFIER=usherd\n"
		 "SYSLOG_FACILITY=3\n"
		 "CODE_FILE=" __FILE__ "\n"
		 "CODE_LINE=%d\n"
		 "CODE_FUNC=%s\n"
		 "USHER_LISTENER=web\n"
		 "USHER_PEER=evil\\x0aPRIORITY=0\n"
		 "ERRNO=2\n",
		 line, __func__);
	ck_assert_str_eq(got, wanted);
	/* what is told often does not say where it is made */
	log_write(LOG_LEVEL_INFO, LOG_CLOSED, "bye");
	receive(got, sizeof(got));
	ck_assert_ptr_null(strstr(got, "CODE_"));
	log_stop(WAIT_MS);
}
END_TEST

/* Before the log thread, and after it. */
START_TEST(what_is_written_at_once_goes_to_the_journal_too)
{
	char got[LOG_RECORD_BYTES * 2];
	char stream[64];
	struct stat st;
	if (!open_journal())
		return;
	ck_assert_int_eq(fstat(STDERR_FILENO, &st), 0);
	snprintf(stream, sizeof(stream), "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_write_errno(LOG_LEVEL_ERROR, LOG_LISTENING, EADDRINUSE, "cannot");
	receive(got, sizeof(got));
	ck_assert_ptr_nonnull(strstr(got, "MESSAGE=cannot\nPRIORITY=3\nMESSAGE_ID=deb254da85da40cebeda493377aa1ed6\n"));
	ck_assert_ptr_nonnull(strstr(got, "ERRNO=98\n"));
	ck_assert_int_eq(log_start(LOG_TARGET_AUTO), 0);
	log_write(LOG_LEVEL_INFO, LOG_GENERAL, "in between");
	log_stop(WAIT_MS);
	log_write(LOG_LEVEL_INFO, LOG_GENERAL, "after");
	receive(got, sizeof(got));
	ck_assert_ptr_nonnull(strstr(got, "MESSAGE=in between\n"));
	receive(got, sizeof(got));
	ck_assert_ptr_nonnull(strstr(got, "MESSAGE=after\n"));
	/* without a journal there, stderr is left */
	close_journal();
	log_write(LOG_LEVEL_INFO, LOG_GENERAL, "on stderr");
	ck_assert_uint_eq(log_lost(), 0);
}
END_TEST

static void encode(char *to, size_t size, struct text *t, const char *message, uint64_t later_us)
{
	struct log_entry e = {
		.time_us = 1000000,
		.level = LOG_LEVEL_DEBUG,
		.kind = LOG_LOST,
		.message_bytes = (uint16_t)strlen(message),
		.fields_bytes = sizeof("USHER_COUNT=7"),
		.message = message,
		.fields = "USHER_COUNT=7",
	};
	text_init(t, to, size);
	log_native_encode(t, &e, e.time_us + later_us);
}

/* Nothing that is logged has a newline; if it ever did, it could not begin a field. */
START_TEST(a_value_with_a_newline_is_told_by_its_length)
{
	static const char head[] = "MESSAGE\n\x0d\0\0\0\0\0\0\0evil\nUSHER_X=\nPRIORITY=7\n";
	char bytes[LOG_NATIVE_BYTES];
	struct text t;
	encode(bytes, sizeof(bytes), &t, "evil\nUSHER_X=", 0);
	ck_assert(!t.cut);
	ck_assert_mem_eq(t.at, head, sizeof(head) - 1);
}
END_TEST

START_TEST(the_longest_record_can_be_told)
{
	static char message[LOG_MESSAGE_BYTES];
	static char fields[LOG_RECORD_BYTES];
	char bytes[LOG_NATIVE_BYTES];
	struct text t;
	memset(message, '\n', sizeof(message) - 1);
	memset(fields, 'x', sizeof(fields) - 1);
	memcpy(fields, "A=\n", 3);
	struct log_entry e = {
		.level = LOG_LEVEL_INFO,
		.message_bytes = sizeof(message) - 1,
		.fields_bytes = sizeof(fields),
		.message = message,
		.fields = fields,
	};
	text_init(&t, bytes, sizeof(bytes));
	log_native_encode(&t, &e, UINT64_MAX);
	ck_assert(!t.cut);
}
END_TEST

START_TEST(a_record_that_was_late_says_so)
{
	char bytes[LOG_NATIVE_BYTES];
	struct text t;
	encode(bytes, sizeof(bytes), &t, "late", 12345678);
	ck_assert_str_eq(t.at, "MESSAGE=late\nPRIORITY=7\nMESSAGE_ID=4d734d95b0764930b4941caca5ac9e74\n"
			       "SYSLOG_IDENTIFIER=usherd\nSYSLOG_FACILITY=3\nUSHER_DELAY_MS=12345\nUSHER_COUNT=7\n");
	encode(bytes, sizeof(bytes), &t, "soon", 999999);
	ck_assert_ptr_null(strstr(t.at, "USHER_DELAY_MS"));
}
END_TEST

/* Receives a file, and returns its bytes. */
static size_t receive_file(char *to, size_t size, int *seals)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	char byte;
	struct iovec part = {.iov_base = &byte, .iov_len = 1};
	struct msghdr m = {.msg_iov = &part,
			   .msg_iovlen = 1,
			   .msg_control = &control,
			   .msg_controllen = sizeof(control)};
	int file;
	ck_assert_int_eq(recvmsg(journal, &m, MSG_DONTWAIT), 0);
	const struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	ck_assert_ptr_nonnull(c);
	ck_assert_int_eq(c->cmsg_type, SCM_RIGHTS);
	memcpy(&file, CMSG_DATA(c), sizeof(file));
	*seals = fcntl(file, F_GET_SEALS);
	ssize_t n = pread(file, to, size, 0);
	ck_assert_int_gt(n, 0);
	close(file);
	return (size_t)n;
}

START_TEST(what_no_datagram_can_hold_comes_as_a_sealed_file)
{
	static char large[64 << 10];
	static char got[sizeof(large) + 1];
	struct log_native n = LOG_NATIVE_INIT;
	int small = 1; /* the kernel makes it the least there is */
	int seals;
	if (!open_journal())
		return;
	memset(large, 'x', sizeof(large));
	log_native_open(&n);
	ck_assert_int_eq(setsockopt(n.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	ck_assert_int_eq(log_native_send(&n, large, sizeof(large)), 0);
	ck_assert_uint_eq(receive_file(got, sizeof(got), &seals), sizeof(large));
	ck_assert_mem_eq(got, large, sizeof(large));
	ck_assert_int_eq(seals, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
	log_native_close(&n);
}
END_TEST

/* Datagrams that nobody reads: sending never waits. */
START_TEST(sending_does_not_wait)
{
	struct log_native n = LOG_NATIVE_INIT;
	unsigned sent = 0;
	int r;
	if (!open_journal())
		return;
	while ((r = log_native_send(&n, "A=b\n", 4)) == 0)
		ck_assert_uint_lt(sent++, 1000000);
	ck_assert_int_eq(r, -EAGAIN);
	ck_assert_uint_gt(sent, 0);
	log_native_close(&n);
}
END_TEST

START_TEST(says_what_is_wrong)
{
	struct log_native n = LOG_NATIVE_INIT;
	if (!open_journal())
		return;
	close_journal();
	ck_assert_int_eq(log_native_send(&n, "A=b\n", 4), -ECONNREFUSED);
	ck_assert_int_eq(unlink(LOG_NATIVE_PATH), 0);
	ck_assert_int_eq(log_native_send(&n, "A=b\n", 4), -ENOENT);
	ck_assert_int_eq(rmdir("/run/systemd/journal"), 0);
	ck_assert_int_eq(log_native_send(&n, "A=b\n", 4), -ENOENT);
	ck_assert(log_native_may_come_back(-ENOENT));
	ck_assert(log_native_may_come_back(-ECONNREFUSED));
	ck_assert(!log_native_may_come_back(-EACCES));
	ck_assert(!log_native_may_come_back(-EAGAIN));
	log_native_close(&n);
}
END_TEST

/* As in a unit with LogNamespace=: another folder is mounted in the place of the journal's. */
START_TEST(finds_the_journal_that_takes_its_place)
{
	char got[16] = "";
	struct log_native n = LOG_NATIVE_INIT;
	if (!open_journal())
		return;
	int old = journal;
	ck_assert_int_eq(log_native_send(&n, "A=1\n", 4), 0);
	ck_assert_int_eq(mkdir("/run/systemd/journal.other", 0755), 0);
	ck_assert_int_eq(mount("/run/systemd/journal.other", "/run/systemd/journal", NULL, MS_BIND, NULL), 0);
	bind_journal();
	/* the old one is there: nothing says that there is another */
	ck_assert_int_eq(log_native_send(&n, "A=2\n", 4), 0);
	close(old);
	ck_assert_int_eq(log_native_send(&n, "A=3\n", 4), 0);
	receive(got, sizeof(got));
	ck_assert_str_eq(got, "A=3\n");
	log_native_close(&n);
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

/* _i: how it goes: its process ends; its socket is removed too; its folder has never been there */
START_TEST(a_journal_that_comes_back_gets_what_was_written_meanwhile)
{
	char got[LOG_RECORD_BYTES * 2];
	if (!open_journal())
		return;
	if (_i == 2) {
		close_journal();
		ck_assert_int_eq(unlink(LOG_NATIVE_PATH), 0);
		ck_assert_int_eq(rmdir("/run/systemd/journal"), 0);
	}
	ck_assert_int_eq(log_start(LOG_TARGET_JOURNAL), 0);
	if (_i < 2) {
		log_write(LOG_LEVEL_INFO, LOG_GENERAL, "before");
		receive(got, sizeof(got));
		close_journal();
	}
	if (_i == 1)
		ck_assert_int_eq(unlink(LOG_NATIVE_PATH), 0);
	for (unsigned i = 0; i < 100; i++)
		log_write(LOG_LEVEL_INFO, LOG_GENERAL, "meanwhile %u.", i);
	if (_i == 2)
		ck_assert_int_eq(mkdir("/run/systemd/journal", 0755), 0);
	bind_journal();
	for (unsigned i = 0; i < 100; i++) {
		char wanted[64];
		snprintf(wanted, sizeof(wanted), "MESSAGE=meanwhile %u.\n", i);
		receive(got, sizeof(got));
		ck_assert_ptr_nonnull(strstr(got, wanted));
	}
	ck_assert_uint_eq(log_lost(), 0);
	log_stop(WAIT_MS);
}
END_TEST

START_TEST(what_a_journal_that_is_gone_missed_is_counted_and_told)
{
	char got[LOG_RECORD_BYTES * 2];
	char news[100];
	unsigned written = 0;
	unsigned received = 0;
	if (!open_journal())
		return;
	ck_assert_int_eq(log_start(LOG_TARGET_JOURNAL), 0);
	close_journal();
	while (log_lost() < 100) {
		ck_assert_uint_lt(written, 1000000);
		log_write(LOG_LEVEL_INFO, LOG_GENERAL, "flood %0100d", (int)written++);
	}
	unsigned lost = (unsigned)log_lost();
	bind_journal();
	for (receive(got, sizeof(got)); strstr(got, "flood") != NULL; receive(got, sizeof(got)))
		received++;
	snprintf(news, sizeof(news), "MESSAGE=%u log records were lost: the queue was full\n", lost);
	ck_assert_mem_eq(got, news, strlen(news));
	snprintf(news, sizeof(news), "\nUSHER_COUNT=%u\n", lost);
	ck_assert_ptr_nonnull(strstr(got, news));
	ck_assert_uint_eq(received, written - lost);
	log_stop(WAIT_MS);
}
END_TEST

START_TEST(stop_does_not_wait_for_a_journal_that_is_gone)
{
	if (!open_journal())
		return;
	ck_assert_int_eq(log_start(LOG_TARGET_JOURNAL), 0);
	close_journal();
	for (unsigned i = 0; i < 100; i++)
		log_write(LOG_LEVEL_INFO, LOG_GENERAL, "into the void");
	/* the thread ends by itself, or this would fail after a minute */
	log_stop(3600000);
	ck_assert_uint_eq(log_lost(), 100);
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
	tcase_add_test(c, what_is_written_at_once_goes_to_the_journal_too);
	tcase_add_test(c, a_value_with_a_newline_is_told_by_its_length);
	tcase_add_test(c, the_longest_record_can_be_told);
	tcase_add_test(c, a_record_that_was_late_says_so);
	tcase_add_test(c, what_no_datagram_can_hold_comes_as_a_sealed_file);
	tcase_add_test(c, sending_does_not_wait);
	tcase_add_test(c, says_what_is_wrong);
	tcase_add_test(c, finds_the_journal_that_takes_its_place);
	tcase_add_loop_test(c, a_journal_that_comes_back_gets_what_was_written_meanwhile, 0, 3);
	tcase_add_test(c, what_a_journal_that_is_gone_missed_is_counted_and_told);
	tcase_add_test(c, stop_does_not_wait_for_a_journal_that_is_gone);
	tcase_add_test(c, stop_leaves_a_hanging_journal_behind);
	suite_add_tcase(s, c);
	return suite_run(s);
}

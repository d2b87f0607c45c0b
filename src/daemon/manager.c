/* SPDX-License-Identifier: MIT */
#include "daemon/manager.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/text.h"

/* What the manager must hear is waited for this long. What it is told again anyhow is not waited for. */
#define TELL_MS 1000
#define MESSAGE_BYTES 1024

int manager_take_sockets(struct passed_sockets *to)
{
	char **names = NULL;
	int n = sd_listen_fds_with_names(1, &names);
	if (n <= 0)
		return n;
	to->at = calloc((size_t)n, sizeof(*to->at));
	for (int i = 0; i < n; i++) {
		if (to->at)
			to->at[i] = (struct passed_socket){.fd = SD_LISTEN_FDS_START + i, .name = names[i]};
		else
			free(names[i]);
	}
	free(names);
	if (!to->at)
		return -ENOMEM;
	to->count = (unsigned)n;
	return 0;
}

void manager_free_sockets(struct passed_sockets *s)
{
	for (unsigned i = 0; i < s->count; i++)
		free(s->at[i].name);
	free(s->at);
	*s = (struct passed_sockets){0};
}

/* ---- telling */

/* Returns a socket that is connected to the manager's; -ENOENT: there is none; or -errno. */
static int open_notify_socket(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	if (!path || (path[0] != '/' && path[0] != '@'))
		return -ENOENT;
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	size_t n = strlen(path);
	if (n >= sizeof(at.sun_path))
		return -ENAMETOOLONG;
	memcpy(at.sun_path, path, n + 1);
	if (path[0] == '@')
		at.sun_path[0] = '\0';
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&at, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) == 0)
		return fd;
	int failed = -errno;
	fd_close(&fd);
	return failed;
}

static int send_once(int to, const char *text, int fd)
{
	struct iovec part = {.iov_base = (char *)(uintptr_t)text, .iov_len = strlen(text)};
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
	if (fd >= 0) {
		m.msg_control = &control;
		m.msg_controllen = sizeof(control);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(int));
	}
	return sendmsg(to, &m, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Sends a message, with a descriptor unless `fd` is -1. Waits up to `wait_ms` for the manager to have room for it. Returns 0;
 * -EAGAIN: it had none; -ENOENT: there is no manager; or -errno. */
static int tell(const char *text, int fd, int wait_ms)
{
	int to = open_notify_socket();
	if (to < 0)
		return to;
	const uint64_t until_ms = clock_now_ms() + (uint64_t)wait_ms;
	int failed = send_once(to, text, fd);
	while (failed == -EAGAIN) {
		uint64_t now_ms = clock_now_ms();
		if (now_ms >= until_ms)
			break;
		struct pollfd p = {.fd = to, .events = POLLOUT};
		(void)poll(&p, 1, (int)(until_ms - now_ms));
		failed = send_once(to, text, fd);
	}
	fd_close(&to);
	return failed;
}

/* Most notifications are worth no error: a manager that is not there, or does not listen, changes nothing for the
 * clients. */

bool manager_ready(void)
{
	return tell("READY=1", -1, TELL_MS) != -EAGAIN;
}

void manager_reloading(void)
{
	char text[MESSAGE_BYTES];
	snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)clock_now_us());
	(void)tell(text, -1, TELL_MS);
}

/* The manager drops what is no whole UTF-8, splits lines, and takes a backslash for the beginning of an escape: of two it
 * shows one, and with half an escape at the end it drops the message. */
static int tell_status(const char *before, const char *status, int wait_ms)
{
	char bytes[MESSAGE_BYTES];
	struct text t;
	text_init(&t, bytes, sizeof(bytes));
	text_add(&t, before);
	text_add_escaped(&t, status, strlen(status));
	return tell(t.at, -1, wait_ms);
}

void manager_stopping(const char *status)
{
	(void)tell_status("STOPPING=1\nSTATUS=", status, TELL_MS);
}

void manager_not_starting(const char *why)
{
	(void)tell_status("STATUS=did not start: ", why, TELL_MS);
}

bool manager_status(const char *status)
{
	return tell_status("STATUS=", status, 0) != -EAGAIN;
}

uint64_t manager_watchdog_ms(void)
{
	uint64_t interval_us = 0;
	if (sd_watchdog_enabled(0, &interval_us) <= 0)
		return 0;
	return interval_us / 1000 > 0 ? interval_us / 1000 : 1;
}

void manager_feed_watchdog(void)
{
	(void)tell("WATCHDOG=1", -1, 0);
}

/* ---- its store */

unsigned manager_store_size(void)
{
	const char *size = getenv("FDSTORE");
	if (!size || !getenv("NOTIFY_SOCKET"))
		return 0;
	char *end;
	errno = 0;
	unsigned long n = strtoul(size, &end, 10);
	return errno || *end || end == size || n > INT_MAX ? 0 : (unsigned)n;
}

int manager_store(int fd, const char *name, int wait_ms)
{
	char text[MESSAGE_BYTES];
	/* not polled: whether a socket still serves is usherd's to say, and the manager would be woken by it */
	snprintf(text, sizeof(text), "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", name);
	return tell(text, fd, wait_ms);
}

int manager_unstore(const char *name, int wait_ms)
{
	char text[MESSAGE_BYTES];
	snprintf(text, sizeof(text), "FDSTOREREMOVE=1\nFDNAME=%s", name);
	return tell(text, -1, wait_ms);
}

void manager_settle(int wait_ms)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return;
	/* the manager closes its end in turn, when it has done what came before */
	int failed = tell("BARRIER=1", ends[1], wait_ms);
	fd_close(&ends[1]);
	struct pollfd p = {.fd = ends[0], .events = 0};
	if (!failed)
		(void)poll(&p, 1, wait_ms);
	fd_close(&ends[0]);
}

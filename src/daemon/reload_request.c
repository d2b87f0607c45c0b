/* SPDX-License-Identifier: MIT */
#include "daemon/reload_request.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/text.h"
#include "daemon/daemon.h"

/* The answer is one packet: "ok", or "failed" and lines that say why. */
#define ANSWER_BYTES 16384
#define ANSWER_OK "ok"
#define ANSWER_FAILED "failed\n"

/* The kernel keeps one SIGHUP for a process, so that a second one can be lost while the first waits to be read. It is
 * sent again after this long, and each time after twice as long as before. */
#define AGAIN_MS 1000

/* How long the answer may take. */
#define ANSWER_MS 60000

static socklen_t address_of(struct sockaddr_un *to, const struct reload_request *r)
{
	*to = (struct sockaddr_un){.sun_family = AF_UNIX};
	/* its first byte stays NUL: the name is an abstract one */
	int n = snprintf(to->sun_path + 1, sizeof(to->sun_path) - 1, "usherd-reload-%d-%08x", (int)r->pid,
			 (unsigned)r->number);
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
}

static bool is_at_the_other_end(int fd, pid_t pid)
{
	struct ucred who;
	socklen_t length = sizeof(who);
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &length) == 0 && who.pid == pid;
}

/* ---- the daemon */

bool reload_requests_have(const struct reload_requests *r, pid_t pid, int number)
{
	for (unsigned i = 0; i < r->count; i++)
		if (r->at[i].pid == pid && r->at[i].number == number)
			return true;
	return false;
}

void reload_requests_add(struct reload_requests *r, pid_t pid, int number)
{
	if (reload_requests_have(r, pid, number))
		return;
	if (r->count < RELOAD_REQUESTS_MAX)
		r->at[r->count++] = (struct reload_request){.pid = pid, .number = number};
}

/* Who asked and is not there any more is not told. */
MAIN_ONLY static void answer(const struct reload_request *r, const struct text *what)
{
	struct sockaddr_un at;
	socklen_t length = address_of(&at, r);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (connect(fd, (struct sockaddr *)&at, length) == 0 && is_at_the_other_end(fd, r->pid))
		(void)!send(fd, what->at, what->length, MSG_NOSIGNAL);
	fd_close(&fd);
}

void reload_requests_answer(struct reload_requests *r, const char *failure, const struct config_errors *errors)
{
	if (r->count == 0)
		return;
	char bytes[ANSWER_BYTES];
	struct text t;
	text_init(&t, bytes, sizeof(bytes));
	text_add(&t, failure ? ANSWER_FAILED : ANSWER_OK);
	const char *line = failure && errors ? config_errors_line(errors, 0) : NULL;
	if (failure && !line)
		text_add(&t, failure);
	for (unsigned i = 0; line; line = config_errors_line(errors, ++i))
		text_printf(&t, "%s%s", i > 0 ? "\n" : "", line);
	for (unsigned i = 0; i < r->count; i++)
		answer(&r->at[i], &t);
	r->count = 0;
}

/* ---- who asks */

struct asker {
	struct reload_request request; /* as the daemon sees it */
	pid_t daemon;
	int pidfd;
	int fd; /* listens for the answer */
};

static int complain(const char *what, const char *why)
{
	fprintf(stderr, "usherd: %s: %s\n", what, why);
	return DAEMON_EXIT_FAILED;
}

/* A number that belongs to another program gets no SIGHUP, which would end most of them. */
static bool is_usherd(pid_t pid)
{
	char path[64];
	char name[32] = "";
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, name, sizeof(name) - 1);
	fd_close(&fd);
	/* whose name cannot be read may be one */
	return n <= 0 || strcmp(name, "usherd\n") == 0;
}

/* Returns 0 or -errno. */
static int listen_for_answer(struct asker *a)
{
	a->request.pid = getpid();
	unsigned number;
	if (getrandom(&number, sizeof(number), 0) != sizeof(number))
		return -errno;
	a->request.number = (int)number;
	struct sockaddr_un at;
	socklen_t length = address_of(&at, &a->request);
	a->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (a->fd < 0 || bind(a->fd, (struct sockaddr *)&at, length) < 0 || listen(a->fd, 8) < 0)
		return -errno;
	return 0;
}

/* Returns 0 or -errno. */
static int send_request(const struct asker *a)
{
	siginfo_t info = {0};
	info.si_signo = SIGHUP;
	info.si_code = SI_QUEUE;
	info.si_pid = a->request.pid;
	info.si_uid = getuid();
	info.si_value.sival_int = a->request.number;
	return pidfd_send_signal(a->pidfd, SIGHUP, &info, 0) < 0 ? -errno : 0;
}

/* Takes one connection. Returns false unless it was the daemon's, with the answer. */
static bool take_answer(const struct asker *a, char *to, size_t size)
{
	int fd = accept4(a->fd, NULL, NULL, SOCK_CLOEXEC);
	if (fd < 0)
		return false;
	ssize_t n = is_at_the_other_end(fd, a->daemon) ? recv(fd, to, size - 1, 0) : -1;
	fd_close(&fd);
	if (n <= 0)
		return false;
	to[n] = '\0';
	return true;
}

/* Asks until there is an answer. Returns 0; -ESRCH: the daemon has ended; -ETIMEDOUT; -errno. */
static int ask(const struct asker *a, char *to, size_t size)
{
	uint64_t began_ms = clock_now_ms();
	uint64_t again_ms = began_ms;
	uint64_t pause_ms = AGAIN_MS;
	for (;;) {
		uint64_t now_ms = clock_now_ms();
		if (now_ms - began_ms >= ANSWER_MS)
			return -ETIMEDOUT;
		if (now_ms >= again_ms) {
			int failed = send_request(a);
			if (failed)
				return failed;
			again_ms = now_ms + pause_ms;
			pause_ms *= 2;
		}
		struct pollfd p[2] = {{.fd = a->fd, .events = POLLIN}, {.fd = a->pidfd, .events = POLLIN}};
		if (poll(p, 2, (int)(again_ms - now_ms)) < 0)
			return -errno;
		if (p[0].revents && take_answer(a, to, size))
			return 0;
		if (p[1].revents)
			return -ESRCH;
	}
}

/* Prints each line as one of usherd's. Returns the exit code. */
static int print_answer(char *answer)
{
	if (strcmp(answer, ANSWER_OK) == 0)
		return DAEMON_EXIT_OK;
	char *rest = NULL;
	/* the first line is ANSWER_FAILED */
	if (strtok_r(answer, "\n", &rest))
		for (char *line = strtok_r(NULL, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
			fprintf(stderr, "%s\n", line);
	fprintf(stderr, "usherd: reload failed: the running configuration stays\n");
	return DAEMON_EXIT_CONFIG;
}

static int run(struct asker *a)
{
	char what[64];
	snprintf(what, sizeof(what), "reload process %d", (int)a->daemon);
	a->pidfd = pidfd_open(a->daemon, 0);
	if (a->pidfd < 0)
		return complain(what, strerror(errno));
	if (!is_usherd(a->daemon))
		return complain(what, "it is not usherd");
	int failed = listen_for_answer(a);
	if (failed)
		return complain("listen for the answer", strerror(-failed));
	char answer[ANSWER_BYTES];
	failed = ask(a, answer, sizeof(answer));
	if (failed == -ESRCH)
		return complain(what, "it has ended");
	if (failed == -ETIMEDOUT)
		return complain(what, "no answer; its log says how it went");
	return failed ? complain(what, strerror(-failed)) : print_answer(answer);
}

int reload_request_run(const char *pid)
{
	char *end;
	errno = 0;
	long number = strtol(pid, &end, 10);
	if (errno || *end || end == pid || number < 1 || number > INT32_MAX) {
		fprintf(stderr, "usherd: --reload takes the number of usherd's process, not %s\n", pid);
		return DAEMON_EXIT_USAGE;
	}
	struct asker a = {.daemon = (pid_t)number, .pidfd = -1, .fd = -1};
	int code = run(&a);
	fd_close(&a.fd);
	fd_close(&a.pidfd);
	return code;
}

/* SPDX-License-Identifier: MIT */
/* A flood of connections that are expected to be refused: each is opened, and waited for until it ends or is reset.
 *
 *   flood PORT SECONDS AT_ONCE [SOURCE]     prints how many there were; SOURCE is the address they come from
 *
 * A connection that says something, or is not refused within a second, ends the program with an error. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void die(const char *what)
{
	perror(what);
	exit(EXIT_FAILURE);
}

static double now_s(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int begin(int poller, const struct sockaddr_in *from, const struct sockaddr_in *to)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		die("socket");
	if (from->sin_addr.s_addr && bind(fd, (const struct sockaddr *)from, sizeof(*from)) < 0)
		die("bind");
	if (connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0 && errno != EINPROGRESS)
		die("connect");
	struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP, .data.fd = fd};
	if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &e) < 0)
		die("epoll_ctl");
	return fd;
}

/* It has ended, as it must. */
static void finish(int fd)
{
	char byte;
	ssize_t got = recv(fd, &byte, 1, 0);
	if (got > 0) {
		fprintf(stderr, "flood: a connection was let in\n");
		exit(EXIT_FAILURE);
	}
	struct linger now = {.l_onoff = 1};
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)); /* ports are not kept in TIME_WAIT */
	close(fd);
}

int main(int argc, char **argv)
{
	if (argc < 4) {
		fprintf(stderr, "usage: flood PORT SECONDS AT_ONCE [SOURCE]\n");
		return 64;
	}
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
	struct sockaddr_in from = {.sin_family = AF_INET};
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (argc > 4 && inet_pton(AF_INET, argv[4], &from.sin_addr) != 1)
		die(argv[4]);
	int poller = epoll_create1(EPOLL_CLOEXEC);
	if (poller < 0)
		die("epoll_create1");
	double end = now_s() + atof(argv[2]);
	unsigned long done = 0;
	int open = 0;
	for (int i = atoi(argv[3]); i > 0; i--, open++)
		begin(poller, &from, &to);
	while (open > 0) {
		struct epoll_event ready[64];
		int n = epoll_wait(poller, ready, 64, 1000);
		if (n <= 0)
			die("a connection was not refused");
		for (int i = 0; i < n; i++) {
			finish(ready[i].data.fd);
			done++;
			open--;
			if (now_s() < end) {
				begin(poller, &from, &to);
				open++;
			}
		}
	}
	printf("%lu\n", done);
	return EXIT_SUCCESS;
}

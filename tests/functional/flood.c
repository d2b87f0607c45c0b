/* SPDX-License-Identifier: MIT */
/* A flood of connections that end by themselves: each is opened, and waited for until it is reset, ended, or answered.
 *
 *   flood TO HOW_LONG AT_ONCE [FROM]     prints "N refused, N answered"
 *
 * TO is a port of 127.0.0.1, or "127.0.0.1:80", "[fd00::1]:80". HOW_LONG is so many seconds, or "50000x" connections. FROM
 * is the address that they come from, or a prefix, as "fd00:1::/32": then each comes from another address of it, by chance.
 *
 * A connection to which nothing happens in 10 seconds ends the program with an error. */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE_MS 10000

union address {
	struct sockaddr any;
	struct sockaddr_in in4;
	struct sockaddr_in6 in6;
};

struct flood {
	union address to;
	union address from; /* AF_UNSPEC: whatever */
	unsigned from_bits; /* all come from the same so many bits */
	double end_s;
	unsigned long left;
	int poller;
	unsigned long refused;
	unsigned long answered;
};

static uint64_t seed;

static uint64_t chance(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

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

static socklen_t size_of(const union address *a)
{
	return a->any.sa_family == AF_INET ? sizeof(a->in4) : sizeof(a->in6);
}

static void read_address(union address *to, const char *text, in_port_t port)
{
	*to = (union address){0};
	if (inet_pton(AF_INET, text, &to->in4.sin_addr) == 1) {
		to->in4.sin_family = AF_INET;
		to->in4.sin_port = port;
	} else if (inet_pton(AF_INET6, text, &to->in6.sin6_addr) == 1) {
		to->in6.sin6_family = AF_INET6;
		to->in6.sin6_port = port;
	} else {
		fprintf(stderr, "flood: \"%s\" is no address\n", text);
		exit(64);
	}
}

static void read_to(struct flood *f, char *text)
{
	char *colon = strrchr(text, ':');
	in_port_t port = htons((uint16_t)atoi(colon ? colon + 1 : text));
	if (colon)
		*colon = '\0';
	text[strcspn(text, "]")] = '\0';
	read_address(&f->to, !colon ? "127.0.0.1" : text[0] == '[' ? text + 1 : text, port);
}

static void read_from(struct flood *f, char *text)
{
	char *slash = strchr(text, '/');
	if (slash)
		*slash = '\0';
	read_address(&f->from, text, 0);
	f->from_bits = slash ? (unsigned)atoi(slash + 1) : 128;
}

/* Another address of the prefix. */
static union address choose_from(const struct flood *f)
{
	union address a = f->from;
	bool in4 = a.any.sa_family == AF_INET;
	uint8_t *bytes = in4 ? (uint8_t *)&a.in4.sin_addr : a.in6.sin6_addr.s6_addr;
	uint64_t bits[2] = {chance(), chance()};
	for (unsigned i = f->from_bits / 8; i < (in4 ? 4 : 16); i++) {
		uint8_t kept = i == f->from_bits / 8 ? (uint8_t) ~(0xff >> f->from_bits % 8) : 0;
		bytes[i] = (uint8_t)((bytes[i] & kept) | (((uint8_t *)bits)[i] & ~kept));
	}
	return a;
}

static void begin(struct flood *f)
{
	int fd = socket(f->to.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		die("socket");
	if (f->from.any.sa_family != AF_UNSPEC) {
		union address from = choose_from(f);
		if (bind(fd, &from.any, size_of(&from)) < 0)
			die("bind");
	}
	if (connect(fd, &f->to.any, size_of(&f->to)) < 0 && errno != EINPROGRESS)
		die("connect");
	struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP, .data.fd = fd};
	if (epoll_ctl(f->poller, EPOLL_CTL_ADD, fd, &e) < 0)
		die("epoll_ctl");
	f->left--;
}

static void finish(struct flood *f, int fd)
{
	char byte;
	if (recv(fd, &byte, 1, 0) > 0)
		f->answered++;
	else
		f->refused++;
	struct linger now = {.l_onoff = 1};
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)); /* ports are not kept in TIME_WAIT */
	close(fd);
}

int main(int argc, char **argv)
{
	struct flood f = {.left = ULONG_MAX};
	if (argc < 4) {
		fprintf(stderr, "usage: flood TO HOW_LONG AT_ONCE [FROM]\n");
		return 64;
	}
	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		die("getrandom");
	seed |= 1;
	read_to(&f, argv[1]);
	if (argc > 4)
		read_from(&f, argv[4]);
	f.poller = epoll_create1(EPOLL_CLOEXEC);
	if (f.poller < 0)
		die("epoll_create1");
	if (argv[2][0] != '\0' && argv[2][strlen(argv[2]) - 1] == 'x')
		f.left = strtoul(argv[2], NULL, 10);
	f.end_s = f.left == ULONG_MAX ? now_s() + atof(argv[2]) : 1e18;
	int open = 0;
	for (int i = atoi(argv[3]); i > 0 && f.left > 0; i--, open++)
		begin(&f);
	while (open > 0) {
		struct epoll_event ready[64];
		int n = epoll_wait(f.poller, ready, 64, PATIENCE_MS);
		if (n == 0)
			fprintf(stderr, "flood: nothing happened to %d connections in %d ms\n", open, PATIENCE_MS);
		if (n <= 0)
			die("epoll_wait");
		for (int i = 0; i < n; i++) {
			finish(&f, ready[i].data.fd);
			open--;
			if (f.left > 0 && now_s() < f.end_s) {
				begin(&f);
				open++;
			}
		}
	}
	printf("%lu refused, %lu answered\n", f.refused, f.answered);
	return EXIT_SUCCESS;
}

/* SPDX-License-Identifier: MIT */
/* What the load generators and the backend of tests/bench share: the request, the clock, and how they give up. */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* To the backend a request is 64 bytes: a letter, 7 bytes of anything, a count. 'd': send me count bytes. 'u': take
 * count bytes, then send one. What asks 'd' for 64 bytes may as well talk to an echo service. */
enum {
	REQUEST_BYTES = 64,
	ANSWER_BYTES = 64, /* to the small request */
	CHUNK_BYTES = 256 << 10,
	TIMEOUT_S = 20,
};

/* Other threads may be running, so nothing is cleaned up. */
__attribute__((noreturn, format(printf, 1, 2))) static inline void die(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	_exit(1);
}

static inline int number_of(const char *text, long maximum)
{
	char *end;
	long n = strtol(text, &end, 10);
	if (end == text || *end || n < 1 || n > maximum)
		die("%s: a number from 1 to %ld is wanted", text, maximum);
	return (int)n;
}

static inline void request_fill(unsigned char request[REQUEST_BYTES], char letter, uint64_t count)
{
	memset(request, 0, REQUEST_BYTES);
	request[0] = (unsigned char)letter;
	memcpy(request + 8, &count, sizeof(count));
}

static inline uint64_t less(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static inline struct sockaddr_in loopback(int port)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_port = htons((uint16_t)port),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* A connection whose calls block, 20 s at most. */
static inline int client_dial(int port)
{
	struct sockaddr_in to = loopback(port);
	struct timeval limit = {.tv_sec = TIMEOUT_S};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0 ||
	    connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		die("port %d: %s", port, strerror(errno));
	return fd;
}

#endif

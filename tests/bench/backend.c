/* SPDX-License-Identifier: MIT */
/* The plain backend behind the proxies: answers the requests of common.h, on one thread.
 *
 *   backend        prints its port; serves until stdin ends */
#include <signal.h>
#include <sys/epoll.h>

#include "common.h"

struct peer {
	int fd; /* owned */
	size_t have;
	unsigned char request[REQUEST_BYTES];
	uint64_t to_take;
	uint64_t to_send;
};

static unsigned char chunk[CHUNK_BYTES];

/* What is next of a request, its bytes and the answer. Returns what recv and send return. */
static ssize_t peer_step(struct peer *p)
{
	if (p->to_send > 0 && p->to_take == 0) {
		ssize_t n = send(p->fd, chunk, less(p->to_send, CHUNK_BYTES), MSG_NOSIGNAL);
		p->to_send -= n > 0 ? (uint64_t)n : 0;
		return n;
	}
	if (p->to_take > 0) {
		ssize_t n = recv(p->fd, chunk, less(p->to_take, CHUNK_BYTES), 0);
		p->to_take -= n > 0 ? (uint64_t)n : 0;
		return n;
	}
	ssize_t n = recv(p->fd, p->request + p->have, REQUEST_BYTES - p->have, 0);
	p->have += n > 0 ? (size_t)n : 0;
	if (p->have == REQUEST_BYTES) {
		p->have = 0;
		uint64_t count;
		memcpy(&count, p->request + 8, sizeof(count));
		p->to_send = p->request[0] == 'd' ? count : 1;
		p->to_take = p->request[0] == 'd' ? 0 : count;
	}
	return n;
}

static void peer_go(struct peer *p)
{
	ssize_t n;
	do
		n = peer_step(p);
	while (n > 0);
	if (n < 0 && errno == EAGAIN)
		return;
	close(p->fd);
	free(p);
}

static void peer_accept(int poll, int listening)
{
	int fd;
	while ((fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct peer *p = calloc(1, sizeof(*p));
		if (!p)
			die("backend: no memory");
		p->fd = fd;
		struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = p};
		if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &e) < 0)
			die("backend: epoll: %s", strerror(errno));
	}
	if (errno != EAGAIN && errno != ECONNABORTED)
		die("backend: accept: %s", strerror(errno));
}

static int backend_listen(void)
{
	struct sockaddr_in at = loopback(0);
	socklen_t n = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)&at, n) < 0 || listen(fd, 4096) < 0 ||
	    getsockname(fd, (struct sockaddr *)&at, &n) < 0)
		die("backend: %s", strerror(errno));
	printf("%d\n", ntohs(at.sin_port));
	fflush(stdout);
	return fd;
}

int main(void)
{
	signal(SIGPIPE, SIG_IGN);
	int poll = epoll_create1(EPOLL_CLOEXEC), listening = backend_listen();
	/* stdin and the listening socket are told apart from peers by their addresses here */
	int in = STDIN_FILENO;
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = &listening};
	if (epoll_ctl(poll, EPOLL_CTL_ADD, listening, &e) < 0)
		die("backend: epoll: %s", strerror(errno));
	e.data.ptr = &in;
	if (epoll_ctl(poll, EPOLL_CTL_ADD, in, &e) < 0)
		die("backend: epoll: stdin: %s", strerror(errno));
	for (;;) {
		struct epoll_event ready[64];
		int n = epoll_wait(poll, ready, 64, -1);
		for (int i = 0; i < n; i++) {
			if (ready[i].data.ptr == &in)
				return 0;
			if (ready[i].data.ptr == &listening)
				peer_accept(poll, listening);
			else
				peer_go(ready[i].data.ptr);
		}
	}
}

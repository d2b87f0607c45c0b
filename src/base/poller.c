/* SPDX-License-Identifier: MIT */
#include "base/poller.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "base/fd.h"
#include "base/must.h"

#define EVENTS_A_WAIT 256

static const struct {
	unsigned ours;
	uint32_t theirs;
} bits[] = {
	{POLLER_READ, EPOLLIN},	   {POLLER_WRITE, EPOLLOUT},
	{POLLER_END, EPOLLRDHUP},  {POLLER_HANGUP, EPOLLHUP | EPOLLERR},
	{POLLER_URGENT, EPOLLPRI}, {POLLER_EDGE, EPOLLET},
};

static uint32_t to_epoll(unsigned what)
{
	uint32_t events = 0;
	for (size_t i = 0; i < ARRAY_LEN(bits); i++)
		if (what & bits[i].ours)
			events |= bits[i].theirs;
	return events;
}

static unsigned from_epoll(uint32_t events)
{
	unsigned what = 0;
	for (size_t i = 0; i < ARRAY_LEN(bits); i++)
		if (events & bits[i].theirs)
			what |= bits[i].ours;
	return what;
}

int poller_init(struct poller *p)
{
	*p = (struct poller){.fd = -1};
	p->events = calloc(EVENTS_A_WAIT, sizeof(*p->events));
	if (!p->events)
		return -ENOMEM;
	p->fd = epoll_create1(EPOLL_CLOEXEC);
	if (p->fd >= 0)
		return 0;
	int failed = -errno;
	poller_fini(p);
	return failed;
}

void poller_fini(struct poller *p)
{
	fd_close(&p->fd);
	free(p->events);
	p->events = NULL;
}

static int control(struct poller *p, int operation, int fd, struct watch *w, unsigned what)
{
	struct epoll_event event = {.events = to_epoll(what), .data.ptr = w};
	return epoll_ctl(p->fd, operation, fd, &event) < 0 ? -errno : 0;
}

int poller_add(struct poller *p, int fd, struct watch *w, unsigned what)
{
	return control(p, EPOLL_CTL_ADD, fd, w, what);
}

int poller_change(struct poller *p, int fd, struct watch *w, unsigned what)
{
	return control(p, EPOLL_CTL_MOD, fd, w, what);
}

void poller_remove(struct poller *p, int fd)
{
	/* it fails only for a descriptor that is not watched, which is what the caller wants */
	(void)control(p, EPOLL_CTL_DEL, fd, NULL, 0);
}

int poller_wait(struct poller *p, int timeout_ms)
{
	int n = epoll_wait(p->fd, p->events, EVENTS_A_WAIT, timeout_ms);
	must(n >= 0 || errno == EINTR);
	p->ready = n < 0 ? 0 : n;
	return p->ready;
}

void poller_dispatch(struct poller *p)
{
	for (int i = 0; i < p->ready; i++) {
		struct watch *w = p->events[i].data.ptr;
		w->ready(w, from_epoll(p->events[i].events));
	}
	p->ready = 0;
}

/* SPDX-License-Identifier: MIT */
#include "base/poller.h"

#include <errno.h>
#include <stddef.h>
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
	p->fd = epoll_create1(EPOLL_CLOEXEC);
	return p->fd < 0 ? -errno : 0;
}

void poller_fini(struct poller *p)
{
	fd_close(&p->fd);
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
	struct epoll_event events[EVENTS_A_WAIT];
	int n = epoll_wait(p->fd, events, EVENTS_A_WAIT, timeout_ms);
	if (n < 0) {
		must(errno == EINTR);
		return 0;
	}
	for (int i = 0; i < n; i++) {
		struct watch *w = events[i].data.ptr;
		w->ready(w, from_epoll(events[i].events));
	}
	return n;
}

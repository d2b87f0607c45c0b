/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "daemon/daemon_priv.h"

int signals_init(struct daemon *d)
{
	/* a write to a peer that is gone returns EPIPE instead */
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR)
		return -errno;
	sigset_t handled;
	sigemptyset(&handled);
	sigaddset(&handled, SIGHUP);
	sigaddset(&handled, SIGINT);
	sigaddset(&handled, SIGTERM);
	int failed = -pthread_sigmask(SIG_BLOCK, &handled, NULL);
	if (failed)
		return failed;
	d->signal_fd = signalfd(-1, &handled, SFD_NONBLOCK | SFD_CLOEXEC);
	return d->signal_fd < 0 ? -errno : 0;
}

MAIN_ONLY static void hangup(struct daemon *d, const struct signalfd_siginfo *info)
{
	/* who waits for a reload asks again and again: a signal may be lost */
	if (info->ssi_code == SI_QUEUE &&
	    reload_requests_have(&d->reloading.requests, (pid_t)info->ssi_pid, info->ssi_int))
		return;
	d->reload_wanted = true;
	if (info->ssi_code != SI_QUEUE)
		return;
	reload_requests_add(&d->reload_requests, (pid_t)info->ssi_pid, info->ssi_int);
	if (d->stops_wanted)
		reload_requests_answer(&d->reload_requests, "usherd is stopping", NULL);
}

MAIN_ONLY static void signalled(struct watch *w, unsigned events UNUSED)
{
	struct daemon *d = CONTAINER_OF(w, struct daemon, signal_watch);
	struct signalfd_siginfo info;
	while (read(d->signal_fd, &info, sizeof(info)) == sizeof(info)) {
		if (info.ssi_signo == SIGHUP)
			hangup(d, &info);
		else
			d->stops_wanted++;
	}
}

int signals_watch(struct daemon *d)
{
	d->signal_watch.ready = signalled;
	return poller_add(acceptor_poller(d->acceptor), d->signal_fd, &d->signal_watch, POLLER_READ);
}

/* SPDX-License-Identifier: MIT */
#include "daemon/manager.h"

#include <errno.h>
#include <stdlib.h>
#include <systemd/sd-daemon.h>

#include "base/clock.h"

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

/* Notifications are worth no error: a manager that is not there, or does not listen, changes nothing for the
 * clients. */

void manager_ready(void)
{
	(void)sd_notify(0, "READY=1");
}

void manager_reloading(void)
{
	(void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu", (unsigned long long)clock_now_us());
}

void manager_stopping(const char *status)
{
	(void)sd_notifyf(0, "STOPPING=1\nSTATUS=%s", status);
}

void manager_status(const char *status)
{
	(void)sd_notifyf(0, "STATUS=%s", status);
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
	(void)sd_notify(0, "WATCHDOG=1");
}

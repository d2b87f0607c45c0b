/* SPDX-License-Identifier: MIT */
/* RFC 867: tells the date and time, then ends. */
#include <time.h>

#include "service/service.h"
#include "worker/conn.h"

static const struct option_group daytime_group = {
	.name = "daytime",
	.help = "Tells the date and time in one line of text, in UTC as RFC 3339 writes it, and ends (RFC 867).",
};

WORKER_ONLY static void daytime_open(struct conn *c)
{
	char line[64];
	struct tm utc;
	time_t now = time(NULL);
	size_t n = 0;
	if (gmtime_r(&now, &utc))
		n = strftime(line, sizeof(line), "%Y-%m-%dT%H:%M:%SZ\r\n", &utc);
	int failed = conn_send(c, line, n);
	if (failed)
		conn_fail(c, failed);
	else
		conn_finish(c, CLOSE_service_done);
}

extern const struct service service_daytime;
const struct service service_daytime = {
	.group = &daytime_group,
	.descriptors = 1,
	.is_trial = true,
	.open = daytime_open,
};

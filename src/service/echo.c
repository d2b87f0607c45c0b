/* SPDX-License-Identifier: MIT */
/* RFC 862: sends the client back what it sends. */
#include "service/service.h"
#include "worker/conn.h"

static const struct option_group echo_group = {
	.name = "echo",
	.help = "Sends back what the client sends (RFC 862). It ends when the client does.",
};

WORKER_ONLY static void echo_open(struct conn *c)
{
	conn_relay_back(c);
}

extern const struct service service_echo;
const struct service service_echo = {
	.group = &echo_group,
	.descriptors = 1,
	.is_trial = true,
	.open = echo_open,
};

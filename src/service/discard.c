/* SPDX-License-Identifier: MIT */
/* RFC 863: throws away what the client sends. */
#include "service/service.h"
#include "worker/conn.h"

static const struct option_group discard_group = {
	.name = "discard",
	.help = "Throws away what the client sends (RFC 863). It ends when the client does.",
};

WORKER_ONLY static void discard_open(struct conn *c)
{
	(void)c; /* nothing to do until the client sends */
}

extern const struct service service_discard;
const struct service service_discard = {
	.group = &discard_group,
	.descriptors = 1,
	.is_trial = true,
	.open = discard_open,
	.readable = conn_discard,
};

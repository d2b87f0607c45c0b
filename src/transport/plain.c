/* SPDX-License-Identifier: MIT */
/* Bytes as they are: TCP and UNIX stream sockets. */
#include "base/socket.h"
#include "transport/stream.h"
#include "transport/wire.h"

WORKER_ONLY static void plain_close(struct stream *s, bool reset)
{
	if (reset && s->is_tcp)
		socket_reset_at_close(s->fd);
}

const struct transport transport_plain = {
	.name = "plain",
	.read = wire_read,
	.ends_next = wire_ends_next,
	.write = wire_write,
	.fill = wire_fill,
	.drain = wire_drain,
	.end = wire_end,
	.close = plain_close,
};

/* SPDX-License-Identifier: MIT */
/* A listener's socket options: for its own sockets, those it accepts, and those to its upstreams. */
#ifndef CONFIG_SOCKET_OPTIONS_H
#define CONFIG_SOCKET_OPTIONS_H

#include "base/socket.h"
#include "config/config.h"

/* TCP's keepalive times are whole seconds: rounded up. */
static inline struct socket_options config_socket_options(const struct listener_config *l)
{
	return (struct socket_options){
		.nodelay = l->nodelay,
		.keepalive = l->keepalive.enabled,
		.keepalive_idle_s = (unsigned)((l->keepalive.idle_ms + 999) / 1000),
		.keepalive_interval_s = (unsigned)((l->keepalive.interval_ms + 999) / 1000),
		.keepalive_count = (unsigned)l->keepalive.count,
		.user_timeout_ms = (unsigned)l->user_timeout_ms,
		.receive_buffer_bytes = (unsigned)l->receive_buffer_bytes,
		.send_buffer_bytes = (unsigned)l->send_buffer_bytes,
	};
}

#endif

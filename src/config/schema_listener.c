/* SPDX-License-Identifier: MIT */
/* The options of a listener. */
#include <stddef.h>

#include "config/schema_priv.h"

/* What the kernel counts in seconds. */
static void whole_seconds(uint64_t ms, const char *path, const char *name, struct config_place place,
			  struct config_errors *errors)
{
	char buffer[512];
	struct text t;

	if (ms % SECOND == 0)
		return;
	text_init(&t, buffer, sizeof(buffer));
	text_printf(&t, "%s.%s", path, name);
	config_errors_add(errors, place, t.at, "the kernel counts this in whole seconds; leave the milliseconds out");
}

static void check_keepalive(void *values, const char *path, struct config_place place, struct config_errors *errors)
{
	const struct keepalive_config *keepalive = values;

	whole_seconds(keepalive->idle_ms, path, "idle", place, errors);
	whole_seconds(keepalive->interval_ms, path, "interval", place, errors);
}

static const struct option_row keepalive_options[] = {
	{
		.name = "enabled",
		.type = OPTION_BOOL,
		.offset = offsetof(struct keepalive_config, enabled),
		.fallback = "true",
		.change = CHANGE_RELOAD,
		.help = "Whether the kernel probes peers that have been silent, so that the connections of those that "
			"have vanished "
			"end.",
	},
	{
		.name = "idle",
		.type = OPTION_DURATION,
		.offset = offsetof(struct keepalive_config, idle_ms),
		.minimum = SECOND,
		.maximum = 32767 * SECOND,
		.fallback = "60s",
		.change = CHANGE_RELOAD,
		.help = "How long a connection is silent before the first probe is sent, in whole seconds. Keep it "
			"below the time after "
			"which firewalls and address translators on the way forget a silent connection.",
	},
	{
		.name = "interval",
		.type = OPTION_DURATION,
		.offset = offsetof(struct keepalive_config, interval_ms),
		.minimum = SECOND,
		.maximum = 32767 * SECOND,
		.fallback = "10s",
		.change = CHANGE_RELOAD,
		.help = "The time between two probes that are not answered, in whole seconds.",
	},
	{
		.name = "count",
		.type = OPTION_INT,
		.offset = offsetof(struct keepalive_config, count),
		.minimum = 1,
		.maximum = 127,
		.fallback = "6",
		.unit = "probes",
		.change = CHANGE_RELOAD,
		.help = "How many probes in a row go unanswered before the connection counts as dead. It gives way to "
			"user_timeout "
			"unless that is \"0s\": then the connection ends as soon as a probe is unanswered and that "
			"time has passed.",
	},
};

static const struct option_group keepalive_group = {
	.name = "keepalive",
	.help = "TCP keepalive on accepted connections.",
	OPTIONS(keepalive_options),
	.check = check_keepalive,
};

static const struct option_row limits_options[] = {
	{
		.name = "connections",
		.type = OPTION_INT,
		.offset = offsetof(struct limits_config, connections),
		.minimum = 0,
		.maximum = 1000000,
		.fallback = "0",
		.unit = "connections",
		.change = CHANGE_RELOAD,
		.help = "How many connections this listener holds at once; further ones are turned away. 0 sets no "
			"limit but the number "
			"of descriptors that the process may open. Set it when the service behind cannot bear more, or "
			"so that one "
			"listener cannot take the descriptors of all.",
	},
	{
		.name = "handshakes",
		.type = OPTION_INT,
		.offset = offsetof(struct limits_config, handshakes),
		.minimum = 0,
		.maximum = 1000000,
		.fallback = "1000",
		.unit = "handshakes",
		.change = CHANGE_RELOAD,
		.help = "How many TLS handshakes this listener has under way at once; further connections wait in the "
			"backlog until one is done. 0 sets no limit. Each holds up to 60 KiB while it lasts, which "
			"strangers can make last until timeouts.handshake: lower it where memory is short, raise it "
			"where many clients far away come at the same moment. Without tls it has no effect.",
	},
};

static const struct option_group limits_group = {
	.name = "limits",
	.help = "How much this listener takes in.",
	OPTIONS(limits_options),
};

static const struct option_row timeouts_options[] = {
	{
		.name = "idle",
		.type = OPTION_DURATION,
		.offset = offsetof(struct timeouts_config, idle_ms),
		.minimum = 0,
		.maximum = 30 * DAY,
		.fallback = "1h",
		.change = CHANGE_RELOAD,
		.help = "A connection on which no byte moved in either direction for this long is closed. \"0s\" means "
			"never; "
			"raise it for protocols that are silent for long, such as database sessions of a connection "
			"pool.",
	},
	{
		.name = "connect",
		.type = OPTION_DURATION,
		.offset = offsetof(struct timeouts_config, connect_ms),
		.minimum = 1,
		.maximum = HOUR,
		.fallback = "5s",
		.change = CHANGE_RELOAD,
		.help = "How long usherd tries to reach an upstream for a connection, all addresses and all upstreams "
			"together, "
			"before it gives the connection up.",
	},
	{
		.name = "handshake",
		.type = OPTION_DURATION,
		.offset = offsetof(struct timeouts_config, handshake_ms),
		.minimum = 1,
		.maximum = HOUR,
		.fallback = "10s",
		.change = CHANGE_RELOAD,
		.help = "How long a client may take for its TLS handshake, from the moment it was accepted. Lower it "
			"where connections that never become one pile up; raise it for clients behind very slow "
			"networks. Without tls it has no effect.",
	},
	{
		.name = "linger",
		.type = OPTION_DURATION,
		.offset = offsetof(struct timeouts_config, linger_ms),
		.minimum = 0,
		.maximum = HOUR,
		.fallback = "5s",
		.change = CHANGE_RELOAD,
		.help = "How long a connection whose end usherd has sent may wait for the client to end its side too. "
			"It gives the "
			"client time to take what was sent last; closing at once could make the kernel reset the "
			"connection and "
			"lose that. \"0s\" closes at once.",
	},
};

static const struct option_group timeouts_group = {
	.name = "timeouts",
	.help = "How long a connection may wait for what.",
	OPTIONS(timeouts_options),
};

static const struct option_row unix_options[] = {
	{
		.name = "mode",
		.type = OPTION_MODE,
		.offset = offsetof(struct unix_config, mode),
		.minimum = 0,
		.maximum = 0777,
		.fallback = "0660",
		.change = CHANGE_RELOAD,
		.help = "The mode of the socket's file, as octal text. Who may write to the file may connect.",
	},
	{
		.name = "user",
		.type = OPTION_STRING,
		.offset = offsetof(struct unix_config, user),
		.change = CHANGE_RELOAD,
		.help = "The user that owns the socket's file, by name or number. When it is not set, it is the user "
			"that makes it.",
	},
	{
		.name = "group",
		.type = OPTION_STRING,
		.offset = offsetof(struct unix_config, group),
		.change = CHANGE_RELOAD,
		.help = "The group of the socket's file, by name or number. When it is not set, it is the group of the "
			"user that makes it.",
	},
};

static const struct option_group unix_group = {
	.name = "unix",
	.help = "The file of a UNIX socket that this listener makes. It has no effect on TCP, on abstract names and on "
		"sockets that systemd passes. When usherd was started as root it has given up the right to change the "
		"file once it runs: what a reload changes here counts from the next start then.",
	OPTIONS(unix_options),
};

static void check_listener(void *values, const char *path, struct config_place place, struct config_errors *errors)
{
	const struct listener_config *listener = values;

	whole_seconds(listener->defer_accept_ms, path, "defer_accept", place, errors);
}

static const struct option_row listener_options[] = {
	{
		.name = "listen",
		.type = OPTION_LIST,
		.offset = offsetof(struct listener_config, listen),
		.minimum = 1,
		.maximum = 64,
		.fallback = "!",
		.change = CHANGE_RELOAD,
		.help = "Where the listener listens; one text or a list. \"10.0.0.1:80\" and \"[fd00::1]:80\" are TCP "
			"addresses; "
			"\"0.0.0.0:80\" is every IPv4 address, \"[::]:80\" every IPv6 address and none of IPv4, "
			"\"*:80\" both, with one "
			"socket each. Port 0 lets the kernel choose. \"*%eth0:80\" listens on one interface only. "
			"\"unix:/run/x.sock\" is a UNIX stream socket, \"unix:@x\" one in the abstract namespace. "
			"\"systemd:web\" stands for the sockets that systemd passes under this name "
			"(FileDescriptorName=).",
	},
	{
		.name = "backlog",
		.type = OPTION_INT,
		.offset = offsetof(struct listener_config, backlog),
		.minimum = 0,
		.maximum = 1000000,
		.fallback = "0",
		.unit = "connections",
		.change = CHANGE_RELOAD,
		.help = "How many connections the kernel holds until usherd accepts them. 0 means as many as the "
			"kernel allows "
			"(net.core.somaxconn), which also bounds greater values.",
	},
	{
		.name = "reuse_address",
		.type = OPTION_BOOL,
		.offset = offsetof(struct listener_config, reuse_address),
		.fallback = "true",
		.change = CHANGE_REOPEN,
		.help = "Whether a TCP address can be listened on while connections of an earlier process on it still "
			"wait for their "
			"last packets (SO_REUSEADDR). Without it a restart can fail for a minute.",
	},
	{
		.name = "nodelay",
		.type = OPTION_BOOL,
		.offset = offsetof(struct listener_config, nodelay),
		.fallback = "true",
		.change = CHANGE_RELOAD,
		.help = "Whether small pieces of data are sent at once (TCP_NODELAY). false collects them for up to a "
			"round trip: "
			"fewer packets and slower answers.",
	},
	{
		.name = "defer_accept",
		.type = OPTION_DURATION,
		.offset = offsetof(struct listener_config, defer_accept_ms),
		.minimum = 0,
		.maximum = HOUR,
		.fallback = "0s",
		.change = CHANGE_RELOAD,
		.help = "Lets the kernel hold a TCP connection back until its first data has come, for about this "
			"long, in whole "
			"seconds (TCP_DEFER_ACCEPT). \"0s\" is off. Only for protocols in which the client speaks "
			"first: "
			"others would wait in vain.",
	},
	{
		.name = "user_timeout",
		.type = OPTION_DURATION,
		.offset = offsetof(struct listener_config, user_timeout_ms),
		.minimum = 0,
		.maximum = DAY,
		.fallback = "2min",
		.change = CHANGE_RELOAD,
		.help = "How long data that was sent may stay unacknowledged before the kernel cuts the connection "
			"(TCP_USER_TIMEOUT). It also cuts a peer that is alive and takes nothing for as long, a reader "
			"that has paused: psql, for one, while its output waits in less. For clients that do so switch "
			"it off with \"0s\", or make it longer than their pauses. \"0s\" leaves a peer that has "
			"vanished to the kernel, which tries for about 15 minutes, and to keepalive, whose count this "
			"option otherwise takes the place of.",
	},
	{
		.name = "receive_buffer",
		.type = OPTION_SIZE,
		.offset = offsetof(struct listener_config, receive_buffer_bytes),
		.minimum = 0,
		.maximum = GIB,
		.fallback = "0B",
		.change = CHANGE_RELOAD,
		.help = "The size of the kernel's receive buffer of a connection (SO_RCVBUF). \"0B\" lets the kernel "
			"adapt it, which is "
			"better than any fixed size on nearly all networks. net.core.rmem_max bounds it.",
	},
	{
		.name = "send_buffer",
		.type = OPTION_SIZE,
		.offset = offsetof(struct listener_config, send_buffer_bytes),
		.minimum = 0,
		.maximum = GIB,
		.fallback = "0B",
		.change = CHANGE_RELOAD,
		.help = "The size of the kernel's send buffer of a connection (SO_SNDBUF). \"0B\" lets the kernel "
			"adapt it, which is "
			"better than any fixed size on nearly all networks. net.core.wmem_max bounds it.",
	},
	{
		.name = "keepalive",
		.type = OPTION_GROUP,
		.offset = offsetof(struct listener_config, keepalive),
		.group = &keepalive_group,
	},
	{
		.name = "limits",
		.type = OPTION_GROUP,
		.offset = offsetof(struct listener_config, limits),
		.group = &limits_group,
	},
	{
		.name = "timeouts",
		.type = OPTION_GROUP,
		.offset = offsetof(struct listener_config, timeouts),
		.group = &timeouts_group,
	},
	{
		.name = "unix",
		.type = OPTION_GROUP,
		.offset = offsetof(struct listener_config, unix_socket),
		.group = &unix_group,
	},
	{
		.name = "tls",
		.type = OPTION_GROUP,
		.offset = offsetof(struct listener_config, tls),
		.group = &schema_tls,
		.optional = true,
	},
};

const struct option_group schema_listener = {
	.name = "NAME",
	.help = "A listener: where it listens, what it allows, and exactly one service, which is named by its group.",
	OPTIONS(listener_options),
	.check = check_listener,
};

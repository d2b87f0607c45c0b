/* SPDX-License-Identifier: MIT */
/* The options of a listener. */
#include <stddef.h>

#include "config/rate_value.h"
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

static void check_timeouts(void *values, const char *path, struct config_place place, struct config_errors *errors)
{
	const struct rate *least = &((const struct timeouts_config *)values)->minimum_rate;

	if (least->amount > 0 && least->burst != rate_value_default_burst(RATE_BYTES, least->amount, least->period_ms))
		schema_wrong(errors, place, path, "minimum_rate",
			     "has a burst, but is an average; leave the burst out");
}

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
	{
		.name = "first_byte",
		.type = OPTION_DURATION,
		.offset = offsetof(struct timeouts_config, first_byte_ms),
		.minimum = 0,
		.maximum = HOUR,
		.fallback = "0s",
		.change = CHANGE_RELOAD,
		.help = "A connection over which the client has sent nothing this long after it came in, with "
			"tls after its handshake, is closed. \"0s\" means never. Set it for protocols in which the "
			"client speaks first, such as HTTP, against clients that connect and say nothing. In others, "
			"such as SMTP and MySQL, a client may rightly wait for the server.",
	},
	{
		.name = "lifetime",
		.type = OPTION_DURATION,
		.offset = offsetof(struct timeouts_config, lifetime_ms),
		.minimum = 0,
		.maximum = 365 * DAY,
		.fallback = "0s",
		.change = CHANGE_RELOAD,
		.help = "A connection is closed when it is this old, whatever goes on in it. \"0s\" means "
			"never. Set it when clients must come back now and then: to be spread over upstreams anew, to "
			"show a certificate that is still good, or so that after a reload nobody stays under the old "
			"configuration for ever. Data that is under way is cut off.",
	},
	{
		.name = "minimum_rate",
		.type = OPTION_BYTE_RATE,
		.offset = offsetof(struct timeouts_config, minimum_rate),
		.fallback = "0/s",
		.change = CHANGE_RELOAD,
		.help = "How fast a client must take the bytes that are there for it, \"1KiB/s\" for "
			"example: on average over 10 seconds in which some always were, looked at every 5 seconds. "
			"One that is slower is closed. \"0/s\" gives every "
			"client the time that it wants, within idle and user_timeout. Set it against clients that "
			"read slowly on purpose, to hold connections and memory; not where clients pause, as a pager "
			"does. It must not be more than bandwidth lets through.",
	},
};

static const struct option_group timeouts_group = {
	.name = "timeouts",
	.help = "How long a connection may wait for what.",
	OPTIONS(timeouts_options),
	.check = check_timeouts,
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

/* Who can come to the sockets that are listened on. What is no address yet is reported elsewhere. */
static struct schema_peers peers_of(const struct listener_config *listener)
{
	struct schema_peers peers = {0};

	for (unsigned i = 0; i < listener->listen.count; i++) {
		struct endpoint e;
		const char *why;
		if (endpoint_parse_listen(&e, listener->listen.at[i], &why) < 0 || e.kind == ENDPOINT_SYSTEMD)
			return (struct schema_peers){.addresses = true, .local = true};
		if (e.kind == ENDPOINT_ADDRESS && e.address.u.any.sa_family == AF_UNIX)
			peers.local = true;
		else
			peers.addresses = true;
	}
	return peers;
}

/* A client cannot be asked to take more than it is given. */
static void check_minimum_rate(const struct listener_config *listener, const char *path, struct config_place place,
			       struct config_errors *errors)
{
	const struct bandwidth_config *b = &listener->bandwidth;
	const struct {
		const char *name;
		const struct rate *rate;
	} limits[] = {{"out", &b->out}, {"source_out", &b->source_out}, {"listener_out", &b->listener_out}};
	uint64_t least = rate_value_per_day(&listener->timeouts.minimum_rate);

	for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
		if (limits[i].rate->amount == 0 || rate_value_per_day(limits[i].rate) >= least)
			continue;
		schema_wrong(errors, place, path, "timeouts.minimum_rate",
			     "is more than bandwidth.%s lets through: every client would be too slow", limits[i].name);
		return;
	}
}

static void check_listener(void *values, const char *path, struct config_place place, struct config_errors *errors)
{
	const struct listener_config *listener = values;

	whole_seconds(listener->defer_accept_ms, path, "defer_accept", place, errors);
	schema_check_access(&listener->access, peers_of(listener), path, errors);
	check_minimum_rate(listener, path, place, errors);
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
		.name = "allow",
		.type = OPTION_LIST,
		.offset = offsetof(struct listener_config, access.allow),
		.maximum = ACCESS_ENTRIES_MAX,
		.change = CHANGE_RELOAD,
		.help = "Who may come in; one match lets in, everybody else is refused. When it is empty "
			"everybody may. \"10.0.0.1\" and \"fd00::1\" are addresses, \"10.0.0.0/8\" and \"fd00::/8\" "
			"prefixes, \"10.0.0.1-10.0.0.9\" is a range; a client that comes as \"::ffff:10.0.0.1\" is "
			"the IPv4 one. \"file:PATH\" stands for a file of these, one a line, with \"#\" before "
			"comments. It is watched: what changes in it counts within 2 seconds, without a reload; while "
			"it cannot be read or has an error, that is logged and the old list stays. A list that names "
			"only files in which there is nothing lets nobody in. Of a UNIX socket's clients, "
			"\"user:NAME\" and \"uid:N\" are those that this user runs, \"group:NAME\" and \"gid:N\" "
			"those of a group, and \"unit:NAME.service\" those in a systemd unit, a service or "
			"scope. deny wins over it, and a client must pass door.allow as well. Set it where a "
			"service is for some networks or users alone.",
	},
	{
		.name = "deny",
		.type = OPTION_LIST,
		.offset = offsetof(struct listener_config, access.deny),
		.maximum = ACCESS_ENTRIES_MAX,
		.change = CHANGE_RELOAD,
		.help = "Who may not come in, in the words of allow. It wins over allow and trusted. Set it "
			"to except some from what allow names, or to shut some out of a service that is open to all.",
	},
	{
		.name = "trusted",
		.type = OPTION_LIST,
		.offset = offsetof(struct listener_config, access.trusted),
		.maximum = ACCESS_ENTRIES_MAX,
		.change = CHANGE_RELOAD,
		.help = "Who is exempt, on this listener, from limits, bandwidth, bans and overload, those of "
			"door included; in the words of allow. Who is trusted must still pass allow and deny, and "
			"counts among the connections that others find there. Set it to monitoring, to the hosts that "
			"you work from, to an office behind one address.",
	},
	{
		.name = "enforce",
		.type = OPTION_BOOL,
		.offset = offsetof(struct listener_config, access.enforce),
		.fallback = "false",
		.change = CHANGE_RELOAD,
		.help = "Whether allow and deny count for open connections too: when a reload or a change of "
			"a file makes them refuse a client that is there, true closes its connections. false lets it "
			"stay. Set it where the lists protect something, and being cut off is no harm.",
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
		.group = &schema_limits,
	},
	{
		.name = "bandwidth",
		.type = OPTION_GROUP,
		.offset = offsetof(struct listener_config, bandwidth),
		.group = &schema_bandwidth,
	},
	{
		.name = "ban",
		.type = OPTION_GROUP,
		.offset = offsetof(struct listener_config, ban),
		.group = &schema_ban,
		.optional = true,
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

/* SPDX-License-Identifier: MIT */
/* The options of the door: how many may come in and how fast, bans, and the global group of all that. */
#include <stddef.h>

#include "config/access_entry.h"
#include "config/schema_priv.h"
#include "config/value.h"

#define CONNECTIONS_MAX 1000000
#define SOURCES_MAX 100000000
#define AT_LIMIT_CHOICES "reset|close|wait"

/* Less than this usherd holds by itself. */
#define MEMORY_LEAST (16LL << 20)

/* Why an entry can match nobody who comes; NULL: it can. */
static const char *in_vain(const struct access_entry *entry, struct schema_peers peers)
{
	if (access_entry_is_local(entry) && !peers.local)
		return "has no effect, since the listener has no UNIX socket, neither unix: nor systemd:; write "
		       "addresses, prefixes or ranges";
	if (!access_entry_is_local(entry) && !peers.addresses)
		return "has no effect, since the listener has UNIX sockets alone, whose clients have no address; "
		       "write user:, group:, uid:, gid: or unit:";
	return NULL;
}

static void check_entries(const struct option_list *list, const char *name, struct schema_peers peers, const char *path,
			  struct config_errors *errors)
{
	for (unsigned i = 0; i < list->count; i++) {
		struct access_entry entry;
		const char *why = NULL;
		if (access_entry_parse(&entry, list->at[i], &why) == 0)
			why = in_vain(&entry, peers);
		if (why)
			schema_wrong(errors, list->places[i], path, name, "\"%.120s\": %s", list->at[i], why);
	}
}

void schema_check_access(const struct access_config *access, struct schema_peers peers, const char *path,
			 struct config_errors *errors)
{
	check_entries(&access->allow, "allow", peers, path, errors);
	check_entries(&access->deny, "deny", peers, path, errors);
	check_entries(&access->trusted, "trusted", peers, path, errors);
}

static const struct option_row limits_options[] = {
	{
		.name = "connections",
		.type = OPTION_INT,
		.offset = offsetof(struct limits_config, connections),
		.minimum = 0,
		.maximum = CONNECTIONS_MAX,
		.fallback = "0",
		.unit = "connections",
		.change = CHANGE_RELOAD,
		.help = "How many connections this listener holds at once; at_limit says what happens to "
			"further ones. 0 sets no limit but the number of descriptors that the process may open. Set "
			"it when the service behind cannot bear more, or so that one listener cannot take the "
			"descriptors of all.",
	},
	{
		.name = "handshakes",
		.type = OPTION_INT,
		.offset = offsetof(struct limits_config, handshakes),
		.minimum = 0,
		.maximum = CONNECTIONS_MAX,
		.fallback = "10000",
		.unit = "handshakes",
		.change = CHANGE_RELOAD,
		.help = "How many TLS handshakes this listener has under way at once; at_limit says what "
			"happens to a connection that would begin a further one. 0 sets no limit. Each holds up to 60 "
			"KiB while it lasts, which strangers can make last until timeouts.handshake: lower it where "
			"memory is short. The default is far above what clients cause that come back all at once, for "
			"a handshake that goes on is over within moments; where more of your own do, raise it, or let "
			"them wait. Without tls it has no effect.",
	},
	{
		.name = "per_source",
		.type = OPTION_INT,
		.offset = offsetof(struct limits_config, per_source),
		.minimum = 0,
		.maximum = CONNECTIONS_MAX,
		.fallback = "0",
		.unit = "connections",
		.change = CHANGE_RELOAD,
		.help = "How many connections one source holds at once on this listener. 0 sets no limit. A "
			"source is one IPv4 address or one IPv6 /64, unless door.sources says otherwise; clients of "
			"UNIX sockets are none and do not count. Set it on public listeners, so that one client, "
			"broken or hostile, cannot take all there is. A whole office can stand behind one IPv4 "
			"address: leave room for it, or name it in trusted.",
	},
	{
		.name = "rate",
		.type = OPTION_RATE,
		.offset = offsetof(struct limits_config, rate),
		.fallback = "0/s",
		.change = CHANGE_RELOAD,
		.help = "How fast new connections come in, those of all sources together: \"20/s burst 50\" "
			"is 20 a second, and up to 50 at once after a pause. \"0/s\" sets no limit. Set it where the "
			"beginning of a connection costs the service behind a lot, a login for one. at_limit = "
			"\"wait\" makes a rush into a queue of up to 30 seconds.",
	},
	{
		.name = "rate_per_source",
		.type = OPTION_RATE,
		.offset = offsetof(struct limits_config, rate_per_source),
		.fallback = "0/s",
		.change = CHANGE_RELOAD,
		.help = "The same for the connections of each source by itself. \"0/s\" sets no limit. Set it "
			"against clients that come again and again, such as those that try passwords; together with "
			"ban they stay away for longer.",
	},
	{
		.name = "at_limit",
		.type = OPTION_CHOICE,
		.offset = offsetof(struct limits_config, at_limit),
		.choices = AT_LIMIT_CHOICES,
		.fallback = "reset",
		.change = CHANGE_RELOAD,
		.help = "What happens to a connection that is over a limit of this group. \"reset\" refuses "
			"it with a reset, which costs least and which the client sees as an error. \"close\" ends it "
			"in order, for clients that take a reset for a broken network. \"wait\" lets it wait, unread, "
			"until there is room, 30 seconds at most, and lets sources take turns: for clients that are "
			"your own and may be late, rather than for strangers, who would take all places. There are 64 "
			"for a source, 1024 for a listener, and 4096 in all, or a quarter as many as descriptors if "
			"that is less; who finds none is reset. A connection that waits, even in vain, is no refusal "
			"for ban.",
	},
};

const struct option_group schema_limits = {
	.name = "limits",
	.help = "How much this listener takes in. The limits of door are asked first; trusted sources have "
		"none. At a reload connections that are open stay, even when there are more than a new limit lets in.",
	OPTIONS(limits_options),
};

static const struct option_row bandwidth_options[] = {
	{
		.name = "in",
		.type = OPTION_BYTE_RATE,
		.offset = offsetof(struct bandwidth_config, in),
		.fallback = "0/s",
		.change = CHANGE_RELOAD,
		.help = "How fast each connection sends to usherd. \"0/s\" sets no limit. Set it so that "
			"uploads leave the others room.",
	},
	{
		.name = "out",
		.type = OPTION_BYTE_RATE,
		.offset = offsetof(struct bandwidth_config, out),
		.fallback = "0/s",
		.change = CHANGE_RELOAD,
		.help = "How fast usherd sends to each connection. \"0/s\" sets no limit. Set it so that "
			"downloads leave the others room.",
	},
	{
		.name = "source_in",
		.type = OPTION_BYTE_RATE,
		.offset = offsetof(struct bandwidth_config, source_in),
		.fallback = "0/s",
		.change = CHANGE_RELOAD,
		.help = "How fast all connections of one source on this listener send together. \"0/s\" sets "
			"no limit. Set it where clients would open more connections to get around in.",
	},
	{
		.name = "source_out",
		.type = OPTION_BYTE_RATE,
		.offset = offsetof(struct bandwidth_config, source_out),
		.fallback = "0/s",
		.change = CHANGE_RELOAD,
		.help = "How fast usherd sends to all connections of one source on this listener together. "
			"\"0/s\" sets no limit. Set it where clients would open more connections to get around out.",
	},
	{
		.name = "listener_in",
		.type = OPTION_BYTE_RATE,
		.offset = offsetof(struct bandwidth_config, listener_in),
		.fallback = "0/s",
		.change = CHANGE_RELOAD,
		.help = "How fast all connections of this listener send together. \"0/s\" sets no limit. Set "
			"it so that one listener cannot take the line from all others.",
	},
	{
		.name = "listener_out",
		.type = OPTION_BYTE_RATE,
		.offset = offsetof(struct bandwidth_config, listener_out),
		.fallback = "0/s",
		.change = CHANGE_RELOAD,
		.help = "How fast usherd sends to all connections of this listener together. \"0/s\" sets no "
			"limit. Set it so that one listener cannot take the line from all others, or where traffic is "
			"paid for.",
	},
};

const struct option_group schema_bandwidth = {
	.name = "bandwidth",
	.help = "How many bytes go through, counted as the service sees them: inside TLS. Nothing is refused "
		"or lost at a limit: bytes wait, and the sender with them. They flow evenly; after a pause a burst "
		"goes through at once, without one named as much as flows in 100 ms and at least 16 KiB. Where "
		"several limits hold, the tightest counts. Trusted sources have none.",
	OPTIONS(bandwidth_options),
};

static void check_ban(void *values, const char *path, struct config_place place, struct config_errors *errors)
{
	const struct ban_config *ban = values;
	char buffer[128];
	struct text max;

	if (ban->for_ms <= ban->max_ms)
		return;
	text_init(&max, buffer, sizeof(buffer));
	value_add_duration(&max, ban->max_ms);
	schema_wrong(errors, place, path, "for", "is greater than max, \"%s\"; raise max too", max.at);
}

static const struct option_row ban_options[] = {
	{
		.name = "after",
		.type = OPTION_INT,
		.offset = offsetof(struct ban_config, after),
		.minimum = 1,
		.maximum = 4000,
		.fallback = "20",
		.unit = "offences",
		.change = CHANGE_RELOAD,
		.help = "How many offences and refusals begin a ban. An offence is a handshake that failed, an "
			"identity that was refused, TLS that the client broke later, a client that says nothing within "
			"timeouts.first_byte or takes less than timeouts.minimum_rate, an error of the protocol that "
			"the service reports; a refusal is a connection that deny, allow, per_source or "
			"rate_per_source turned away. Clients that retry at once collect refusals quickly: keep it "
			"well above what a limit makes of an honest one.",
	},
	{
		.name = "within",
		.type = OPTION_DURATION,
		.offset = offsetof(struct ban_config, within_ms),
		.minimum = SECOND,
		.maximum = DAY,
		.fallback = "1min",
		.change = CHANGE_RELOAD,
		.help = "The time in which they must come; older ones do not count.",
	},
	{
		.name = "for",
		.type = OPTION_DURATION,
		.offset = offsetof(struct ban_config, for_ms),
		.minimum = SECOND,
		.maximum = 365 * DAY,
		.fallback = "10min",
		.change = CHANGE_RELOAD,
		.help = "How long the first ban of a source lasts.",
	},
	{
		.name = "factor",
		.type = OPTION_INT,
		.offset = offsetof(struct ban_config, factor),
		.minimum = 1,
		.maximum = 1000,
		.fallback = "2",
		.change = CHANGE_RELOAD,
		.help = "How many times longer than the one before it each further ban of the same source is. "
			"1 makes all alike.",
	},
	{
		.name = "max",
		.type = OPTION_DURATION,
		.offset = offsetof(struct ban_config, max_ms),
		.minimum = SECOND,
		.maximum = 365 * DAY,
		.fallback = "1d",
		.change = CHANGE_RELOAD,
		.help = "No ban is longer than this. A source that went without one for as long begins anew, "
			"with the length of for.",
	},
};

const struct option_group schema_ban = {
	.name = "ban",
	.help = "Shuts out sources that misbehave: those that try passwords, scan, or come again and again "
		"although they are turned away. While it is banned a source's connections are reset as they come; "
		"those that are open stay. A listener's ban counts what happened on this listener and holds there, "
		"that of door counts and holds for all. Bans outlive reloads and restarts; the log says when one "
		"begins and ends. Trusted sources and clients of UNIX sockets are never banned.",
	OPTIONS(ban_options),
	.check = check_ban,
};

static const struct option_row door_limits_options[] = {
	{
		.name = "connections",
		.type = OPTION_INT,
		.offset = offsetof(struct limits_config, connections),
		.minimum = 0,
		.maximum = CONNECTIONS_MAX,
		.fallback = "0",
		.unit = "connections",
		.change = CHANGE_RELOAD,
		.help = "How many connections all listeners hold at once. 0 sets no limit but the number of "
			"descriptors that the process may open. Set it when memory or the machine behind cannot bear "
			"more.",
	},
	{
		.name = "handshakes",
		.type = OPTION_INT,
		.offset = offsetof(struct limits_config, handshakes),
		.minimum = 0,
		.maximum = CONNECTIONS_MAX,
		.fallback = "0",
		.unit = "handshakes",
		.change = CHANGE_RELOAD,
		.help = "How many TLS handshakes all listeners have under way at once. 0 sets no limit but "
			"those of the listeners. Set it where several listeners have tls and memory is short.",
	},
	{
		.name = "per_source",
		.type = OPTION_INT,
		.offset = offsetof(struct limits_config, per_source),
		.minimum = 0,
		.maximum = CONNECTIONS_MAX,
		.fallback = "0",
		.unit = "connections",
		.change = CHANGE_RELOAD,
		.help = "How many connections one source holds at once, on all listeners together. 0 sets no "
			"limit.",
	},
	{
		.name = "rate",
		.type = OPTION_RATE,
		.offset = offsetof(struct limits_config, rate),
		.fallback = "0/s",
		.change = CHANGE_RELOAD,
		.help = "How fast new connections come in on all listeners together: \"20/s burst 50\" is 20 "
			"a second, and up to 50 at once after a pause. \"0/s\" sets no limit.",
	},
	{
		.name = "rate_per_source",
		.type = OPTION_RATE,
		.offset = offsetof(struct limits_config, rate_per_source),
		.fallback = "0/s",
		.change = CHANGE_RELOAD,
		.help = "The same for the connections of each source by itself. \"0/s\" sets no limit.",
	},
	{
		.name = "at_limit",
		.type = OPTION_CHOICE,
		.offset = offsetof(struct limits_config, at_limit),
		.choices = AT_LIMIT_CHOICES,
		.fallback = "reset",
		.change = CHANGE_RELOAD,
		.help = "What happens to a connection that is over a limit of this group: \"reset\", "
			"\"close\" or \"wait\", as in a listener's limits.",
	},
};

static const struct option_group door_limits_group = {
	.name = "limits",
	.help = "How much all listeners take in together. Each listener's own limits are asked after these.",
	OPTIONS(door_limits_options),
};

static const struct option_row sources_options[] = {
	{
		.name = "entries",
		.type = OPTION_INT,
		.offset = offsetof(struct sources_config, entries),
		.minimum = 16,
		.maximum = SOURCES_MAX,
		.fallback = "1000000",
		.unit = "sources",
		.change = CHANGE_RESTART,
		.help = "How many sources are remembered, those of door and those of each listener apart; "
			"each takes up to 96 bytes, which are taken as sources come. When there is no room, those are "
			"forgotten first that hold nothing: no connection, no ban, no offence, nothing counted for a "
			"rate. A source for which there is no room even then shares its limits with all others of "
			"this kind. Lower it where memory is short, raise it for public services with more clients "
			"than this an hour.",
	},
	{
		.name = "ipv4_prefix",
		.type = OPTION_INT,
		.offset = offsetof(struct sources_config, ipv4_prefix),
		.minimum = 1,
		.maximum = 32,
		.fallback = "32",
		.unit = "bits",
		.change = CHANGE_RELOAD,
		.help = "How many leading bits of an IPv4 address make a source: all addresses that agree in "
			"them are one. Lower it, to 24 say, when attackers have whole networks. What was counted and "
			"banned by another length does not count any more after a reload.",
	},
	{
		.name = "ipv6_prefix",
		.type = OPTION_INT,
		.offset = offsetof(struct sources_config, ipv6_prefix),
		.minimum = 1,
		.maximum = 128,
		.fallback = "64",
		.unit = "bits",
		.change = CHANGE_RELOAD,
		.help = "The same for IPv6. A single client commonly has a whole /64 to choose its addresses "
			"from, and some have a /56 or a /48: a greater number than 64 lets one client be as many "
			"sources as it likes.",
	},
};

static const struct option_group sources_group = {
	.name = "sources",
	.help = "What counts as one source, for limits, bandwidth and bans, and how many are remembered.",
	OPTIONS(sources_options),
};

static void check_overload(void *values, const char *path, struct config_place place, struct config_errors *errors)
{
	const struct overload_config *overload = values;

	if (overload->memory_bytes > 0 && overload->memory_bytes < (uint64_t)MEMORY_LEAST)
		schema_wrong(errors, place, path, "memory",
			     "is less than usherd needs for itself; write \"16MiB\" or more, or \"0B\" for no limit");
}

static const struct option_row overload_options[] = {
	{
		.name = "percent",
		.type = OPTION_INT,
		.offset = offsetof(struct overload_config, percent),
		.minimum = 0,
		.maximum = 100,
		.fallback = "95",
		.unit = "percent",
		.change = CHANGE_RELOAD,
		.help = "From which share on of the descriptors that the process may open, and of "
			"door.limits.connections when it is set and does not let clients wait, usherd sheds. 0 means "
			"never. Lower it to shed earlier. The last descriptors are kept for trusted sources, a 32nd of "
			"them, at most 64 and at least 4 or an eighth; when no more than these are left everybody else "
			"is shed. With 0 none are kept, and when none is left everybody waits.",
	},
	{
		.name = "memory",
		.type = OPTION_SIZE,
		.offset = offsetof(struct overload_config, memory_bytes),
		.minimum = 0,
		.maximum = 1024 * GIB,
		.fallback = "0B",
		.change = CHANGE_RELOAD,
		.help = "How much memory the process may hold before usherd sheds; at least \"16MiB\". When it "
			"holds an eighth more, everybody is shed but trusted sources. \"0B\" does not look at memory. "
			"Set it below MemoryHigh= and MemoryMax= of the systemd unit, or "
			"below what the machine has left, so that usherd turns some away before the kernel ends it.",
	},
	{
		.name = "queue_age",
		.type = OPTION_DURATION,
		.offset = offsetof(struct overload_config, queue_age_ms),
		.minimum = 0,
		.maximum = MINUTE,
		.fallback = "1s",
		.change = CHANGE_RELOAD,
		.help = "How long a connection that was let in may wait for its worker thread before usherd "
			"sheds: the CPUs do not keep up then. When one waits twice as long, everybody is shed but "
			"trusted sources. \"0s\" does not look at it.",
	},
};

static const struct option_group overload_group = {
	.name = "overload",
	.help = "When usherd has too much on its hands. It sheds then instead of stalling: new connections "
		"are reset, first those of the sources that hold the most, those of trusted sources last. Connections "
		"that are open stay. The log says once when it begins, and once when it ends, which it does by itself.",
	OPTIONS(overload_options),
	.check = check_overload,
};

static void check_door(void *values, const char *path, struct config_place place, struct config_errors *errors)
{
	const struct door_config *door = values;
	const struct schema_peers all = {.addresses = true, .local = true};

	(void)place;
	schema_check_access(&door->access, all, path, errors);
}

static const struct option_row door_options[] = {
	{
		.name = "allow",
		.type = OPTION_LIST,
		.offset = offsetof(struct door_config, access.allow),
		.maximum = ACCESS_ENTRIES_MAX,
		.change = CHANGE_RELOAD,
		.help = "Who may come in at all, in the words of a listener's allow. It is asked before that "
			"of the listener, and a client must pass both. When it is empty everybody passes. A client of "
			"a UNIX socket matches no address: when some listener has such sockets, name its clients too.",
	},
	{
		.name = "deny",
		.type = OPTION_LIST,
		.offset = offsetof(struct door_config, access.deny),
		.maximum = ACCESS_ENTRIES_MAX,
		.change = CHANGE_RELOAD,
		.help = "Who may not come in anywhere. It wins over every allow and trusted, those of "
			"listeners included. Set it to block lists: \"file:/etc/usher/blocked\".",
	},
	{
		.name = "trusted",
		.type = OPTION_LIST,
		.offset = offsetof(struct door_config, access.trusted),
		.maximum = ACCESS_ENTRIES_MAX,
		.change = CHANGE_RELOAD,
		.help = "Who is exempt, on all listeners, from limits, bandwidth, bans and overload, here and "
			"in the listener. Who is trusted must still pass allow and deny. Set it to your monitoring "
			"and to the hosts that you work from.",
	},
	{
		.name = "enforce",
		.type = OPTION_BOOL,
		.offset = offsetof(struct door_config, access.enforce),
		.fallback = "false",
		.change = CHANGE_RELOAD,
		.help = "Whether allow and deny of this group count for open connections too, as in a "
			"listener.",
	},
	{
		.name = "limits",
		.type = OPTION_GROUP,
		.offset = offsetof(struct door_config, limits),
		.group = &door_limits_group,
	},
	{
		.name = "ban",
		.type = OPTION_GROUP,
		.offset = offsetof(struct door_config, ban),
		.group = &schema_ban,
		.optional = true,
	},
	{
		.name = "sources",
		.type = OPTION_GROUP,
		.offset = offsetof(struct door_config, sources),
		.group = &sources_group,
	},
	{
		.name = "overload",
		.type = OPTION_GROUP,
		.offset = offsetof(struct door_config, overload),
		.group = &overload_group,
	},
};

const struct option_group schema_door = {
	.name = "door",
	.help = "Who may come in, how many and how fast, for all listeners together. A connection is asked "
		"about in this order, and refused at the first no: deny and allow of this group, deny and allow of "
		"its listener; then, unless it is trusted, bans, limits and overload, each time first those of this "
		"group and then those of the listener.",
	OPTIONS(door_options),
	.check = check_door,
};

/* SPDX-License-Identifier: MIT */
#include "config/schema.h"

#include <stdarg.h>
#include <stddef.h>

#include "config/schema_priv.h"

void schema_wrong(struct config_errors *errors, struct config_place place, const char *path, const char *name,
		  const char *format, ...)
{
	char path_buffer[256], what_buffer[512];
	struct text whole_path, what;
	va_list args;

	text_init(&whole_path, path_buffer, sizeof(path_buffer));
	text_printf(&whole_path, "%s.%s", path, name);
	text_init(&what, what_buffer, sizeof(what_buffer));
	va_start(args, format);
	text_vprintf(&what, format, args);
	va_end(args);
	config_errors_add(errors, place, whole_path.at, "%s", what.at);
}

static void check_resolver(void *values, const char *path, struct config_place place, struct config_errors *errors)
{
	const struct resolver_config *resolver = values;

	for (unsigned i = 0; i < resolver->servers.count; i++) {
		struct netaddr address;
		const char *why;
		if (endpoint_parse_server(&address, resolver->servers.at[i], &why) == 0)
			continue;
		schema_wrong(errors, resolver->servers.places[i], path, "servers", "\"%.100s\": %s",
			     resolver->servers.at[i], why);
	}
	if (resolver->ttl_min_ms > resolver->ttl_max_ms)
		schema_wrong(errors, place, path, "ttl_min", "is greater than ttl_max");
}

static const struct option_row resolver_options[] = {
	{
		.name = "servers",
		.type = OPTION_LIST,
		.offset = offsetof(struct resolver_config, servers),
		.maximum = 16,
		.change = CHANGE_RELOAD,
		.help = "The DNS servers that usherd asks for the names of upstreams: addresses such as \"10.0.0.53\" "
			"or \"::1\", "
			"with a port as in \"10.0.0.53:5353\" or \"[::1]:5353\" when it is not 53. "
			"A link-local address, which needs a zone, cannot be one. "
			"When the list is empty, those of /etc/resolv.conf are asked.",
	},
	{
		.name = "timeout",
		.type = OPTION_DURATION,
		.offset = offsetof(struct resolver_config, timeout_ms),
		.minimum = 10,
		.maximum = MINUTE,
		.fallback = "1s",
		.change = CHANGE_RELOAD,
		.help = "How long a server has for its answer to the first try before usherd asks the next one or asks "
			"again. "
			"It doubles with each try: with 2 tries, a server that is silent takes three times as long. "
			"Keep this sum, over all servers, below timeouts.connect, or connections end before the last "
			"server was asked.",
	},
	{
		.name = "tries",
		.type = OPTION_INT,
		.offset = offsetof(struct resolver_config, tries),
		.minimum = 1,
		.maximum = 10,
		.fallback = "2",
		.unit = "tries",
		.change = CHANGE_RELOAD,
		.help = "How often each server is asked before a name counts as not resolved.",
	},
	{
		.name = "ttl_min",
		.type = OPTION_DURATION,
		.offset = offsetof(struct resolver_config, ttl_min_ms),
		.minimum = 0,
		.maximum = DAY,
		.fallback = "1s",
		.change = CHANGE_RELOAD,
		.help = "An answer is kept at least this long, even if its own TTL is shorter. "
			"Raise it when a server gives out TTLs of zero and the number of queries is a burden.",
	},
	{
		.name = "ttl_max",
		.type = OPTION_DURATION,
		.offset = offsetof(struct resolver_config, ttl_max_ms),
		.minimum = SECOND,
		.maximum = 7 * DAY,
		.fallback = "1h",
		.change = CHANGE_RELOAD,
		.help = "An answer is asked for anew after this time, even if its own TTL is longer. "
			"Lower it when upstreams move sooner than their TTLs say.",
	},
};

static const struct option_group resolver_group = {
	.name = "resolver",
	.help = "How the host names of upstreams become addresses. Names are looked up in the background: "
		"one that does not resolve keeps neither usherd from starting nor other upstreams from being used.",
	OPTIONS(resolver_options),
	.check = check_resolver,
};

static const struct option_row global_options[] = {
	{
		.name = "workers",
		.type = OPTION_INT,
		.offset = offsetof(struct config, workers),
		.minimum = 0,
		.maximum = 256,
		.fallback = "0",
		.unit = "threads",
		.change = CHANGE_RESTART,
		.help = "How many threads serve connections. 0 means one for each CPU that usherd may use, which is "
			"right unless "
			"other programs on the machine need CPUs for themselves.",
	},
	{
		.name = "user",
		.type = OPTION_STRING,
		.offset = offsetof(struct config, user),
		.fallback = "usher",
		.change = CHANGE_RESTART,
		.help = "The user that usherd becomes after it has opened its sockets, when it was started as root. "
			"Started as anyone else, as the systemd unit does, it stays who it is and this option has no "
			"effect.",
	},
	{
		.name = "group",
		.type = OPTION_STRING,
		.offset = offsetof(struct config, group),
		.change = CHANGE_RESTART,
		.help = "The group that usherd changes to together with the user. When it is not set, it is the user's "
			"own group.",
	},
	{
		.name = "state_directory",
		.type = OPTION_STRING,
		.offset = offsetof(struct config, state_directory),
		.change = CHANGE_RESTART,
		.help = "The folder in which usherd keeps what outlives a restart: the bans. It must be there, and "
			"belong to the user that usherd runs as. When it is not set it is the one that systemd makes "
			"for StateDirectory= in the unit, and without that nothing is kept. Set it when usherd is not "
			"started by systemd.",
	},
	{
		.name = "drain_timeout",
		.type = OPTION_DURATION,
		.offset = offsetof(struct config, drain_timeout_ms),
		.minimum = 0,
		.maximum = DAY,
		.fallback = "10s",
		.change = CHANGE_RELOAD,
		.help = "How long usherd, told to stop, waits for open connections to end by themselves; those that "
			"are left are "
			"closed then. Keep it below TimeoutStopSec= of the systemd unit. \"0s\" closes them at once.",
	},
	{
		.name = "log_level",
		.type = OPTION_CHOICE,
		.offset = offsetof(struct config, log_level),
		.choices = "error|warning|notice|info|debug",
		.fallback = "info",
		.change = CHANGE_RELOAD,
		.help = "What is logged: records of this level and of those before it. \"info\" includes one record "
			"for each "
			"connection that ended; \"notice\" leaves these out. The command line's --log-level overrides "
			"it.",
	},
	{
		.name = "resolver",
		.type = OPTION_GROUP,
		.offset = offsetof(struct config, resolver),
		.group = &resolver_group,
	},
	{
		.name = "door",
		.type = OPTION_GROUP,
		.offset = offsetof(struct config, door),
		.group = &schema_door,
	},
};

const struct option_group schema_global = {
	.name = "",
	.help = "Options that stand at the top of the file.",
	OPTIONS(global_options),
};

const struct option_group schema_listeners = {
	.name = "listeners",
	.help = "The listeners, one group each. The group's name is the listener's name in the log and in the "
		"counters; it begins "
		"with a letter and goes on with letters, digits, '-' and '_', 63 bytes at most.",
};

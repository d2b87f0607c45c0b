/* SPDX-License-Identifier: MIT */
/* Two services for the tests of the configuration: one without options, one with. */
#ifndef TESTS_UNIT_CONFIG_SAMPLE_H
#define TESTS_UNIT_CONFIG_SAMPLE_H

#include <stdlib.h>
#include <string.h>

#include "config/config.h"

struct sample_proxy {
	struct option_list to;
	struct endpoint *upstreams; /* owned; made by the check */
	const char *note;
	struct tls_upstream_config tls;
};

static inline void sample_check(void *values, const char *path, struct config_place place, struct config_errors *errors)
{
	struct sample_proxy *proxy = values;

	(void)place;
	proxy->upstreams = calloc(proxy->to.count, sizeof(*proxy->upstreams));
	if (!proxy->upstreams)
		return;
	for (unsigned i = 0; i < proxy->to.count; i++) {
		const char *why = "";
		if (endpoint_parse_upstream(&proxy->upstreams[i], proxy->to.at[i], &why) < 0)
			config_errors_add(errors, proxy->to.places[i], path, "to: \"%s\": %s", proxy->to.at[i], why);
	}
	tls_upstream_check_names(&proxy->tls, proxy->upstreams, proxy->to.count, path, errors);
}

static inline void sample_release(void *values)
{
	struct sample_proxy *proxy = values;

	free(proxy->upstreams);
	proxy->upstreams = NULL;
}

static const struct option_row sample_proxy_options[] = {
	{
		.name = "to",
		.type = OPTION_LIST,
		.offset = offsetof(struct sample_proxy, to),
		.minimum = 1,
		.maximum = 64,
		.fallback = "!",
		.help = "Where to connect to.",
	},
	{
		.name = "note",
		.type = OPTION_STRING,
		.offset = offsetof(struct sample_proxy, note),
		.help = "Any text.",
	},
	{
		.name = "tls",
		.type = OPTION_GROUP,
		.offset = offsetof(struct sample_proxy, tls),
		.group = &schema_tls_upstream,
		.optional = true,
	},
};

static const struct option_group sample_echo = {.name = "echo", .help = "Sends back what it gets."};
static const struct option_group sample_proxy = {
	.name = "proxy",
	.help = "Passes on.",
	.options = sample_proxy_options,
	.option_count = ARRAY_LEN(sample_proxy_options),
	.struct_bytes = sizeof(struct sample_proxy),
	.check = sample_check,
	.release = sample_release,
};
static const struct option_group *const sample_groups[] = {&sample_echo, &sample_proxy};
static const struct config_services sample_services = {sample_groups, ARRAY_LEN(sample_groups)};

#endif

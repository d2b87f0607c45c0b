/* SPDX-License-Identifier: MIT */
/* Forwards a connection to one of several upstreams. */
#include <stdlib.h>

#include "service/service.h"
#include "worker/conn.h"

#define UPSTREAMS_MAX 64

struct proxy_values {
	struct option_list to;
	struct endpoint *upstreams; /* owned; to.count of them */
	struct tls_upstream_config tls;
};

static void proxy_check(void *values, const char *path, struct config_place place, struct config_errors *errors)
{
	struct proxy_values *v = values;
	if (v->to.count == 0)
		return; /* the table has said so */
	v->upstreams = calloc(v->to.count, sizeof(*v->upstreams));
	if (!v->upstreams) {
		config_errors_add(errors, place, path, "no memory");
		return;
	}
	char to_path[128];
	struct text t;
	bool all_read = true;
	text_init(&t, to_path, sizeof(to_path));
	text_printf(&t, "%s.to", path);
	for (unsigned i = 0; i < v->to.count; i++) {
		const char *why;
		if (endpoint_parse_upstream(&v->upstreams[i], v->to.at[i], &why) == 0)
			continue;
		config_errors_add(errors, v->to.places[i], to_path, "\"%s\": %s", v->to.at[i], why);
		all_read = false;
	}
	if (all_read)
		tls_upstream_check_names(&v->tls, v->upstreams, v->to.count, path, errors);
}

static void proxy_release(void *values)
{
	struct proxy_values *v = values;
	free(v->upstreams);
	v->upstreams = NULL;
}

static const struct option_row proxy_options[] = {
	{
		.name = "to",
		.type = OPTION_LIST,
		.offset = offsetof(struct proxy_values, to),
		.minimum = 1,
		.maximum = UPSTREAMS_MAX,
		.fallback = "!",
		.change = CHANGE_RELOAD,
		.help = "The upstreams: \"10.0.0.1:80\", \"[fd00::1]:80\", \"host.example:80\", "
			"\"unix:/run/x.sock\" or \"unix:@name\" (the abstract namespace). Connections take "
			"turns between them. When a connect fails the next one is tried, and every address of a "
			"name, until timeouts.connect is over; each attempt gets its share of that time, and at "
			"least 250 ms. Names are resolved when they are needed, and again when their TTL is "
			"over.",
	},
	{
		.name = "tls",
		.type = OPTION_GROUP,
		.offset = offsetof(struct proxy_values, tls),
		.group = &schema_tls_upstream,
		.optional = true,
	},
};

static const struct option_group proxy_group = {
	.name = "proxy",
	.help = "Forwards the connection to an upstream. The end of one direction is passed on while the other "
		"goes on; a reset on one side becomes a reset on the other. nodelay, keepalive, user_timeout "
		"and the buffer sizes count for the upstream's side too.",
	.options = proxy_options,
	.option_count = ARRAY_LEN(proxy_options),
	.struct_bytes = sizeof(struct proxy_values),
	.check = proxy_check,
	.release = proxy_release,
};

static const struct tls_upstream_config *proxy_upstream_tls(const void *values)
{
	const struct proxy_values *v = values;
	return &v->tls;
}

WORKER_ONLY static void proxy_open(struct conn *c)
{
	const struct proxy_values *v = conn_values(c);
	conn_dial(c, v->upstreams, v->to.count, conn_serial(c));
}

WORKER_ONLY static void proxy_connected(struct conn *c)
{
	conn_relay(c);
}

extern const struct service service_proxy;
const struct service service_proxy = {
	.group = &proxy_group,
	.descriptors = 2,
	.upstream_tls = proxy_upstream_tls,
	.open = proxy_open,
	.connected = proxy_connected,
};

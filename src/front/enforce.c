/* SPDX-License-Identifier: MIT */
#include "front/enforce.h"

#include <errno.h>

#include "front/rules_snapshot.h"

static bool is_wanted(const struct config *config)
{
	bool some = config->door.access.enforce;
	for (unsigned i = 0; i < config->listener_count; i++)
		some = some || config->listeners[i].access.enforce;
	return some;
}

/* The listener of today, by the one that a connection came in by. NULL: it is gone. */
static const struct listener_config *today(const struct config *config, const struct listener_config *then)
{
	/* nothing but a list file may have changed since */
	if (then >= config->listeners && then < config->listeners + config->listener_count)
		return then;
	return config_find_listener(config, then->name);
}

/* A worker asks. */
static bool is_denied(void *arg, const struct recheck_visitor *who)
{
	const struct rules_snapshot *rules = arg;
	const struct config *config = rules_snapshot_config(rules);
	const struct listener_config *l = today(config, who->listener);
	bool by_door = config->door.access.enforce;
	bool by_listener = l && l->access.enforce;
	unsigned scope = l ? (unsigned)(l - config->listeners) + 1 : 0;
	if (!by_door && !by_listener)
		return false;
	struct visitor v;
	visitor_from_address(&v, &who->peer->u.any);
	if (who->peer->u.any.sa_family == AF_UNIX)
		visitor_ask(&v, who->fd, rules_snapshot_wants_unit(rules, scope));
	return (by_door && rules_snapshot_refuses(rules, 0, &v)) ||
	       (by_listener && rules_snapshot_refuses(rules, scope, &v));
}

static void release(void *arg)
{
	rules_snapshot_destroy(arg);
}

int enforce_begin(struct pool *pool, const struct rules *rules)
{
	struct rules_snapshot *snapshot = rules_snapshot_create(rules);
	if (!snapshot)
		return -ENOMEM;
	if (!is_wanted(rules_snapshot_config(snapshot))) {
		rules_snapshot_destroy(snapshot);
		return 0;
	}
	struct recheck *question = recheck_create(is_denied, release, snapshot);
	if (!question) {
		rules_snapshot_destroy(snapshot);
		return -ENOMEM;
	}
	pool_recheck(pool, question);
	return 0;
}

/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "config/config_priv.h"

struct snapshot *snapshot_create(const struct config_services *services)
{
	struct snapshot *snapshot = calloc(1, sizeof(*snapshot));

	if (!snapshot)
		return NULL;
	atomic_init(&snapshot->references, 1);
	snapshot->services = services;
	config_init(&snapshot->tree);
	snapshot->source = source_create();
	if (!snapshot->source) {
		config_unref(&snapshot->values);
		return NULL;
	}
	return snapshot;
}

void *snapshot_memory(struct snapshot *snapshot, size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes) ||
	    __builtin_add_overflow(bytes, sizeof(struct config_memory), &bytes))
		return NULL;
	struct config_memory *block = calloc(1, bytes);
	if (!block)
		return NULL;
	block->next = snapshot->memory;
	snapshot->memory = block;
	return block->at;
}

static void destroy(struct snapshot *snapshot)
{
	for (unsigned i = 0; i < snapshot->values.listener_count; i++) {
		struct listener_config *listener = &snapshot->values.listeners[i];
		if (listener->service_values) {
			const struct option_group *group = snapshot->services->groups[listener->service];
			if (group->release)
				group->release(listener->service_values);
			free(listener->service_values);
		}
		free(listener->endpoints);
	}
	free(snapshot->values.listeners);
	while (snapshot->memory) {
		struct config_memory *block = snapshot->memory;
		snapshot->memory = block->next;
		free(block);
	}
	config_destroy(&snapshot->tree);
	source_destroy(snapshot->source);
	free(snapshot);
}

struct config *config_ref(struct config *c)
{
	struct snapshot *snapshot = CONTAINER_OF(c, struct snapshot, values);
	unsigned before = atomic_fetch_add_explicit(&snapshot->references, 1, memory_order_relaxed);

	must(before > 0);
	return c;
}

struct config *config_unref(struct config *c)
{
	if (c) {
		struct snapshot *snapshot = CONTAINER_OF(c, struct snapshot, values);
		/* what every other thread did with it has happened before it goes */
		unsigned before = atomic_fetch_sub_explicit(&snapshot->references, 1, memory_order_acq_rel);
		must(before > 0);
		if (before == 1)
			destroy(snapshot);
	}
	return NULL;
}

const struct listener_config *config_find_listener(const struct config *c, const char *name)
{
	for (unsigned i = 0; i < c->listener_count; i++) {
		if (strcmp(c->listeners[i].name, name) == 0)
			return &c->listeners[i];
	}
	return NULL;
}

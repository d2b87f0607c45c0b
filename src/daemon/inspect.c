/* SPDX-License-Identifier: MIT */
#include "daemon/inspect.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "config/config.h"
#include "daemon/daemon.h"
#include "service/service.h"

/* Returns the configuration, or NULL with the exit code in *code; what is wrong was printed. */
static struct config *load(const char *path, int *code)
{
	struct config *config = NULL;
	struct config_errors *errors = config_errors_create();
	if (!errors) {
		fprintf(stderr, "usherd: %s\n", strerror(ENOMEM));
		*code = DAEMON_EXIT_FAILED;
		return NULL;
	}
	int failed = config_load(path, service_groups(), &config, errors);
	if (failed) {
		config_errors_print(errors, stderr);
		if (config_errors_count(errors) == 0)
			fprintf(stderr, "usherd: %s: %s\n", path, strerror(-failed));
		*code = DAEMON_EXIT_CONFIG;
	}
	config_errors_destroy(errors);
	return config;
}

int inspect_finish_output(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return DAEMON_EXIT_OK;
	fprintf(stderr, "usherd: write to standard output: %s\n", strerror(errno));
	return DAEMON_EXIT_FAILED;
}

static void print_endpoints(const struct config *config)
{
	for (unsigned i = 0; i < config->listener_count; i++) {
		const struct listener_config *l = &config->listeners[i];
		for (unsigned j = 0; j < l->listen.count; j++) {
			char bytes[NETADDR_TEXT_BYTES];
			struct text t;
			text_init(&t, bytes, sizeof(bytes));
			endpoint_add_text(&t, &l->endpoints[j]);
			printf("would listen on %s (%s)\n", t.at, l->name);
		}
	}
}

int inspect_check(const char *config_path)
{
	int code = DAEMON_EXIT_FAILED;
	struct config *config = load(config_path, &code);
	if (!config)
		return code;
	print_endpoints(config);
	config_unref(config);
	return inspect_finish_output();
}

int inspect_dump(const char *config_path)
{
	int code = DAEMON_EXIT_FAILED;
	struct config *config = load(config_path, &code);
	if (!config)
		return code;
	config_dump(config, service_groups(), stdout);
	config_unref(config);
	return inspect_finish_output();
}

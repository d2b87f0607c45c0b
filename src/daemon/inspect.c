/* SPDX-License-Identifier: MIT */
#include "daemon/inspect.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "daemon/certificate_report.h"
#include "daemon/certificates.h"
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

/* Loads the set of each listener into `sets`, NULL where it has no TLS. Returns the exit code; what is wrong was
 * printed. */
static int load_sets(const struct config *config, struct tls_set **sets)
{
	struct config_errors *errors = sets ? config_errors_create() : NULL;
	bool failed = false;
	if (!errors) {
		fprintf(stderr, "usherd: %s\n", strerror(ENOMEM));
		return DAEMON_EXIT_FAILED;
	}
	for (unsigned i = 0; i < config->listener_count; i++)
		if (certificates_load(&config->listeners[i], NULL, errors, &sets[i]) < 0)
			failed = true;
	config_errors_print(errors, stderr);
	config_errors_destroy(errors);
	return failed ? DAEMON_EXIT_CONFIG : DAEMON_EXIT_OK;
}

static int check_loaded(const struct config *config)
{
	struct tls_set **sets = calloc(config->listener_count + 1, sizeof(struct tls_set *));
	int code = load_sets(config, sets);
	if (code == DAEMON_EXIT_OK) {
		print_endpoints(config);
		for (unsigned i = 0; i < config->listener_count; i++)
			if (sets[i])
				certificate_report_print(sets[i], config->listeners[i].name, time(NULL), stdout);
		code = inspect_finish_output();
	}
	for (unsigned i = 0; sets && i < config->listener_count; i++)
		tls_set_unref(sets[i]);
	free(sets);
	return code;
}

int inspect_check(const char *config_path)
{
	int code = DAEMON_EXIT_FAILED;
	struct config *config = load(config_path, &code);
	if (!config)
		return code;
	code = check_loaded(config);
	config_unref(config);
	return code;
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

/* SPDX-License-Identifier: MIT */
#include "daemon/inspect.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/certificate_report.h"
#include "daemon/certificates.h"
#include "daemon/daemon.h"
#include "daemon/list_report.h"
#include "service/service.h"

struct config *inspect_load(const char *path, int *code)
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

/* What the files that a configuration names come to. */
struct loaded {
	struct tls_set **sets; /* owned: of each listener, NULL where it has no TLS */
	struct rules *rules;   /* owned */
};

/* Goes on after an error: the user sees all that is wrong. Returns the exit code. */
MAIN_ONLY static int load_files(struct config *config, struct loaded *to, struct config_errors *errors)
{
	bool failed = false;
	for (unsigned i = 0; i < config->listener_count; i++)
		if (certificates_load(&config->listeners[i], NULL, errors, &to->sets[i]) < 0)
			failed = true;
	if (rules_load(config, NULL, errors, &to->rules) < 0)
		failed = true;
	return failed ? DAEMON_EXIT_CONFIG : DAEMON_EXIT_OK;
}

MAIN_ONLY static void print_loaded(const struct config *config, const struct loaded *loaded)
{
	print_endpoints(config);
	for (unsigned i = 0; i < config->listener_count; i++)
		if (loaded->sets[i])
			certificate_report_print(loaded->sets[i], config->listeners[i].name, time(NULL), stdout);
	list_report_print(loaded->rules, stdout);
}

MAIN_ONLY static int check_loaded(struct config *config)
{
	struct loaded loaded = {.sets = calloc(config->listener_count + 1, sizeof(struct tls_set *))};
	struct config_errors *errors = config_errors_create();
	int code = DAEMON_EXIT_FAILED;
	if (loaded.sets && errors)
		code = load_files(config, &loaded, errors);
	if (errors)
		config_errors_print(errors, stderr);
	if (code != DAEMON_EXIT_OK && (!errors || config_errors_count(errors) == 0))
		fprintf(stderr, "usherd: %s\n", strerror(ENOMEM));
	if (code == DAEMON_EXIT_OK) {
		print_loaded(config, &loaded);
		code = inspect_finish_output();
	}
	for (unsigned i = 0; loaded.sets && i < config->listener_count; i++)
		tls_set_unref(loaded.sets[i]);
	free(loaded.sets);
	rules_destroy(loaded.rules);
	config_errors_destroy(errors);
	return code;
}

int inspect_check(const char *config_path)
{
	int code = DAEMON_EXIT_FAILED;
	struct config *config = inspect_load(config_path, &code);
	if (!config)
		return code;
	role_enter_main();
	code = check_loaded(config);
	role_leave_main();
	config_unref(config);
	return code;
}

int inspect_dump(const char *config_path)
{
	int code = DAEMON_EXIT_FAILED;
	struct config *config = inspect_load(config_path, &code);
	if (!config)
		return code;
	config_dump(config, service_groups(), stdout);
	config_unref(config);
	return inspect_finish_output();
}

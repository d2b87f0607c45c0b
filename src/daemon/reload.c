/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "daemon/daemon_priv.h"
#include "daemon/manager.h"
#include "daemon/report.h"
#include "report/log.h"
#include "service/service.h"

static void log_difference(void *arg, const char *text, bool needs_restart)
{
	unsigned *restarts = arg;
	*restarts += needs_restart;
	log_write(needs_restart ? LOG_LEVEL_WARNING : LOG_LEVEL_NOTICE, LOG_RELOAD_CHANGE, "reload: %s", text);
}

/* Loads the file and the certificates that it names, and opens what is new in it. Returns the set, or NULL with what is wrong in `errors`. */
MAIN_ONLY static struct listener_set *prepare(struct daemon *d, struct config_errors *errors)
{
	struct config *config;
	struct listener_set *set = calloc(1, sizeof(*set));
	int failed = set ? config_load(d->options->config_path, service_groups(), &config, errors) : -1;
	if (!failed) {
		failed = certificates_prepare(d->certificates, config, errors);
		if (!failed)
			failed = listeners_open(set, config, d->listeners, &d->passed, errors);
		config_unref(config); /* the set has its own */
	}
	if (!failed)
		return set;
	free(set);
	certificates_discard(d->certificates);
	/* one that made way for another, and is back, is watched anew; if that fails it was logged */
	(void)!acceptor_set_listeners(d->acceptor, d->listeners);
	return NULL;
}

MAIN_ONLY static void refuse(struct daemon *d, const struct config_errors *errors)
{
	const char *first = errors ? config_errors_line(errors, 0) : NULL;
	if (!first)
		first = strerror(ENOMEM);
	if (errors)
		report_config_errors(errors);
	log_write(LOG_LEVEL_ERROR, LOG_RELOAD_FAILED, "reload failed: the running configuration stays: %s", first);
	snprintf(d->reload_error, sizeof(d->reload_error), "%s", first);
}

MAIN_ONLY static void put_into_effect(struct daemon *d, struct listener_set *set)
{
	unsigned restarts = 0;
	unsigned differences = config_diff(d->config, set->config, service_groups(), log_difference, &restarts);
	report_listening(set, d->listeners);

	struct listener_set *old = d->listeners;
	acceptor_leave(d->acceptor, set);
	/* nothing is accepted from here until the sockets have their TLS, new and kept ones */
	listeners_commit(set, old);
	certificates_commit(d->certificates, set, clock_now_ms());
	d->listeners = set;
	/* what cannot be watched was logged: the rest of the new configuration is worth more than the old one */
	(void)!acceptor_set_listeners(d->acceptor, set);
	report_no_longer_listening(old);
	listeners_close(old);
	free(old);

	config_unref(d->config);
	d->config = config_ref(set->config);
	if (d->options->log_level < 0)
		log_set_level((enum log_level)d->config->log_level);
	pool_command(d->pool, WORKER_RECONFIGURE, d->config);
	log_write(LOG_LEVEL_NOTICE, LOG_RELOADED, "reloaded: %u change%s%s", differences, differences == 1 ? "" : "s",
		  restarts > 0 ? ", of which some need a restart" : "");
	d->reload_error[0] = '\0';
}

void reload_run(struct daemon *d)
{
	manager_reloading();
	struct config_errors *errors = config_errors_create();
	struct listener_set *set = errors ? prepare(d, errors) : NULL;
	if (set)
		put_into_effect(d, set);
	else
		refuse(d, errors);
	config_errors_destroy(errors);
	housekeeping_say_status(d);
	manager_ready();
}

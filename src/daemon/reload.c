/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "daemon/daemon_priv.h"
#include "daemon/manager.h"
#include "daemon/report.h"
#include "front/enforce.h"
#include "report/log.h"
#include "service/service.h"

static void log_difference(void *arg, const char *text, bool needs_restart)
{
	unsigned *restarts = arg;
	*restarts += needs_restart;
	log_write(needs_restart ? LOG_LEVEL_WARNING : LOG_LEVEL_NOTICE, LOG_RELOAD_CHANGE, "reload: %s", text);
}

/* What a reload puts into effect. */
struct prepared {
	struct listener_set *set; /* owned */
	struct rules *rules;	  /* owned */
};

/* Reads all that the file names, and opens what is new in it. Returns 0, or -errno with what is wrong in `errors`. */
MAIN_ONLY static int load_and_open(struct daemon *d, struct prepared *p, struct config_errors *errors)
{
	struct config *config;
	int failed = config_load(d->options->config_path, service_groups(), &config, errors);
	if (failed)
		return failed;
	/* both, after an error too: the user sees all that is wrong */
	failed = certificates_prepare(d->certificates, config, errors);
	int rules_failed = rules_load(config, d->rules, errors, &p->rules);
	if (!failed)
		failed = rules_failed;
	if (!failed)
		failed = listeners_open(p->set, config, d->listeners, &d->passed, NULL, errors);
	config_unref(config); /* the set and the rules have their own */
	return failed;
}

/* Returns false, with what is wrong in `errors`, when all stays as it is. */
MAIN_ONLY static bool prepare(struct daemon *d, struct prepared *p, struct config_errors *errors)
{
	p->set = calloc(1, sizeof(*p->set));
	if (p->set && load_and_open(d, p, errors) == 0)
		return true;
	free(p->set);
	rules_destroy(p->rules);
	certificates_discard(d->certificates);
	/* one that made way for another, and is back, is watched anew; if that fails it was logged */
	(void)!acceptor_set_listeners(d->acceptor, d->listeners, d->rules);
	store_keep(&d->store, d->listeners, 0);
	return false;
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

void reload_enforce(void *daemon)
{
	struct daemon *d = daemon;
	int failed = enforce_begin(d->pool, d->rules);
	if (failed)
		log_write_errno(
			LOG_LEVEL_ERROR, LOG_GENERAL, failed,
			"enforce: %s: open connections were not looked at; they are at the next change or reload",
			strerror(-failed));
}

MAIN_ONLY static void put_into_effect(struct daemon *d, const struct prepared *p)
{
	struct listener_set *set = p->set;
	struct rules *old_rules = d->rules;
	unsigned restarts = 0;
	unsigned differences = config_diff(d->config, set->config, service_groups(), log_difference, &restarts);
	report_listening(set, d->listeners);

	struct listener_set *old = d->listeners;
	acceptor_leave(d->acceptor, set);
	/* nothing is accepted from here until the sockets have their TLS, new and kept ones, and their rules */
	listeners_commit(set, old);
	certificates_commit(d->certificates, set, clock_now_ms());
	d->rules = p->rules;
	lists_commit(d->lists, d->rules, clock_now_ms());
	rules_destroy(old_rules);
	d->listeners = set;
	bans_set(d->bans, set);
	/* what cannot be watched was logged: the rest of the new configuration is worth more than the old one */
	(void)!acceptor_set_listeners(d->acceptor, set, d->rules);
	reload_enforce(d);
	report_no_longer_listening(old);
	store_forget(old);
	listeners_close(old);
	free(old);
	store_keep(&d->store, set, 0);

	config_unref(d->config);
	d->config = config_ref(set->config);
	if (d->options->log_level < 0)
		log_set_level((enum log_level)d->config->log_level);
	pool_command(d->pool, WORKER_RECONFIGURE, d->config);
	struct log_record r;
	log_begin(&r, LOG_LEVEL_NOTICE, LOG_RELOADED);
	log_field(&r, "USHER_COUNT", "%u", differences);
	log_submit(&r, "reloaded: %u change%s%s", differences, differences == 1 ? "" : "s",
		   restarts > 0 ? ", of which some need a restart" : "");
	d->reload_error[0] = '\0';
}

void reload_run(struct daemon *d)
{
	manager_reloading();
	struct config_errors *errors = config_errors_create();
	struct prepared prepared = {0};
	if (errors && prepare(d, &prepared, errors))
		put_into_effect(d, &prepared);
	else
		refuse(d, errors);
	housekeeping_say_status(d);
	housekeeping_say_ready(d);
	reload_requests_answer(&d->reload_requests, d->reload_error[0] ? d->reload_error : NULL, errors);
	config_errors_destroy(errors);
}

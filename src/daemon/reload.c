/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "daemon/daemon_priv.h"
#include "daemon/list_report.h"
#include "daemon/manager.h"
#include "daemon/report.h"
#include "front/enforce.h"
#include "report/log.h"
#include "service/service.h"

/* How long list files may take to be read, and how often is looked how it goes. */
#define READ_MS 30000
#define LOOK_MS 1000

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

/* Reads all that a configuration names, but for list files, which were read, and opens what is new in it. Returns 0, or
 * -errno with what is wrong in `errors`. */
MAIN_ONLY static int read_and_open(struct daemon *d, struct config *config, const struct list_reads *files,
				   struct prepared *p, struct config_errors *errors)
{
	/* both, after an error too: the user sees all that is wrong */
	int failed = certificates_prepare(d->certificates, config, errors);
	int rules_failed = rules_load_read(config, d->rules, files, errors, &p->rules);
	if (!failed)
		failed = rules_failed;
	if (!failed)
		failed = listeners_open(p->set, config, d->listeners, &d->passed, NULL, errors);
	return failed;
}

/* Returns false, with what is wrong in `errors`, when all stays as it is. */
MAIN_ONLY static bool prepare(struct daemon *d, struct config *config, const struct list_reads *files,
			      struct prepared *p, struct config_errors *errors)
{
	p->set = calloc(1, sizeof(*p->set));
	if (p->set && read_and_open(d, config, files, p, errors) == 0)
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
	struct text error;
	text_init(&error, d->reload_error, sizeof(d->reload_error));
	text_add_escaped_again(&error, first, strlen(first)); /* it is; this cuts no character in two */
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
	report_hidden_units(d->rules);
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

/* The end of a reload, well or not. Its configuration has what it needs by now: the set and the rules have their own
 * references. */
MAIN_ONLY static void end(struct daemon *d)
{
	struct reloading *r = &d->reloading;
	r->loading = list_loading_end(r->loading);
	timer_stop(&r->look);
	r->config = config_unref(r->config);
	housekeeping_say_status(d);
	housekeeping_say_ready(d);
	reload_requests_answer(&r->requests, d->reload_error[0] ? d->reload_error : NULL, r->errors);
	config_errors_destroy(r->errors);
	r->errors = NULL;
}

/* All that it needs was read. */
MAIN_ONLY static void finish(struct daemon *d, const struct list_reads *files)
{
	struct prepared prepared = {0};
	if (prepare(d, d->reloading.config, files, &prepared, d->reloading.errors))
		put_into_effect(d, &prepared);
	else
		refuse(d, d->reloading.errors);
	end(d);
}

MAIN_ONLY static void files_read(struct watch *w, unsigned events UNUSED)
{
	struct reloading *r = CONTAINER_OF(w, struct reloading, told);
	r->read = r->loading && list_loading_result(r->loading);
}

MAIN_ONLY static void look_at_files(struct timer *t, uint64_t now_ms)
{
	struct reloading *r = CONTAINER_OF(t, struct reloading, look);
	struct daemon *d = CONTAINER_OF(r, struct daemon, reloading);
	list_report_slow(list_loading_aside(r->loading), now_ms, "the reload waits for it");
	if (now_ms < r->began_ms + READ_MS)
		timer_start(acceptor_timers(d->acceptor), t, now_ms + LOOK_MS);
	else
		r->read = true;
}

MAIN_ONLY static void refuse_slow(struct daemon *d)
{
	struct reloading *r = &d->reloading;
	struct aside_slow at;
	char bytes[48];
	struct text time;
	text_init(&time, bytes, sizeof(bytes));
	text_add_duration_ms(&time, READ_MS);
	bool hangs = aside_where(list_loading_aside(r->loading), clock_now_ms(), &at);
	if (hangs)
		config_errors_add(r->errors, (struct config_place){0}, NULL,
				  "list file %s was not read within %s: the disk that it is on does not answer",
				  at.path, time.at);
	else
		config_errors_add(r->errors, (struct config_place){0}, NULL, "list files were not read within %s",
				  time.at);
	refuse(d, r->errors);
	end(d);
}

/* Has list files read that are not known yet. Returns 0 with `loading` set, or NULL where there are none; -errno. */
MAIN_ONLY static int begin_to_read(struct daemon *d)
{
	struct reloading *r = &d->reloading;
	struct list_reads files = {0};
	int failed = rules_add_missing(r->config, d->rules, &files);
	if (failed || files.count == 0) {
		list_reads_fini(&files);
		return failed;
	}
	failed = list_loading_start(&r->loading, &files, acceptor_poller(d->acceptor), &r->told);
	if (failed) {
		config_errors_add(r->errors, (struct config_place){0}, NULL, "start a thread to read list files: %s",
				  strerror(-failed));
		return failed;
	}
	r->began_ms = clock_now_ms();
	timer_start(acceptor_timers(d->acceptor), &r->look, r->began_ms + LOOK_MS);
	return 0;
}

MAIN_ONLY static void begin(struct daemon *d)
{
	static const struct list_reads none;
	struct reloading *r = &d->reloading;
	d->ready_unheard = false; /* what is to be heard now comes at the end */
	manager_reloading();
	*r = (struct reloading){.requests = d->reload_requests, .told.ready = files_read};
	timer_init(&r->look, look_at_files);
	d->reload_requests.count = 0;
	r->errors = config_errors_create();
	int failed =
		r->errors ? config_load(d->options->config_path, service_groups(), &r->config, r->errors) : -ENOMEM;
	if (!failed)
		failed = begin_to_read(d);
	if (failed) {
		refuse(d, r->errors);
		end(d);
	} else if (!r->loading) {
		finish(d, &none);
	}
}

void reload_turn(struct daemon *d)
{
	struct reloading *r = &d->reloading;
	if (r->loading && r->read) {
		const struct list_reads *files = list_loading_result(r->loading);
		list_report_slow(list_loading_aside(r->loading), clock_now_ms(), "");
		if (files)
			finish(d, files);
		else
			refuse_slow(d);
	}
	if (!r->loading && d->reload_wanted) {
		d->reload_wanted = false;
		begin(d);
	}
}

void reload_give_up(struct daemon *d)
{
	struct reloading *r = &d->reloading;
	if (!r->loading)
		return;
	r->loading = list_loading_end(r->loading);
	timer_stop(&r->look);
	r->config = config_unref(r->config);
	config_errors_destroy(r->errors);
	r->errors = NULL;
	reload_requests_answer(&r->requests, "usherd is stopping", NULL);
}

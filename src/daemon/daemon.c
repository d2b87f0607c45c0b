/* SPDX-License-Identifier: MIT */
#include "daemon/daemon.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "daemon/daemon_priv.h"
#include "daemon/manager.h"
#include "daemon/privileges.h"
#include "daemon/report.h"
#include "report/log.h"
#include "service/service.h"
#include "tls/dormant.h"

/* How long what is still to be logged may take at the end. */
#define LOG_STOP_MS 1000

/* How long the service manager may take at the start to take the sockets that it keeps. */
#define STORE_MS 2000

/* Descriptors that no connection gets: for configuration files, name servers, the journal, and what a library opens
 * for a moment. */
#define RESERVE 32U
#define RESERVE_A_WORKER 8U

MAIN_ONLY static int fail(const char *what, int error)
{
	log_write_errno(LOG_LEVEL_ERROR, LOG_START_FAILED, error, "%s: %s", what, strerror(-error));
	return DAEMON_EXIT_FAILED;
}

static unsigned worker_count(const struct config *config)
{
	if (config->workers > 0)
		return (unsigned)config->workers;
	cpu_set_t may_use;
	CPU_ZERO(&may_use);
	/* it fails on a machine with more CPUs than the set holds, which are enough then */
	int cpus = sched_getaffinity(0, sizeof(may_use), &may_use) < 0 ? POOL_WORKERS_MAX : CPU_COUNT(&may_use);
	return cpus < 1 ? 1 : cpus > POOL_WORKERS_MAX ? POOL_WORKERS_MAX : (unsigned)cpus;
}

/* Reads the configuration and the files that it names, as root while that is had, and opens the sockets; what is wrong
 * is in `errors`. Returns an exit code. */
MAIN_ONLY static int load_and_open(struct daemon *d, struct config_errors *errors)
{
	int failed = config_load(d->options->config_path, service_groups(), &d->config, errors);
	if (failed) {
		if (config_errors_count(errors) == 0)
			fail(d->options->config_path, failed);
		return DAEMON_EXIT_CONFIG;
	}
	d->certificates = certificates_create();
	d->lists = lists_create();
	if (!d->certificates || !d->lists)
		return fail("start", -ENOMEM);
	/* both, after an error too: the user sees all that is wrong */
	bool wrong = certificates_prepare(d->certificates, d->config, errors) < 0;
	failed = rules_load(d->config, NULL, errors, &d->rules);
	if (wrong || failed == -EINVAL)
		return DAEMON_EXIT_CONFIG;
	if (failed)
		return fail("read the lists of who may come in", failed);
	d->listeners = calloc(1, sizeof(*d->listeners));
	if (!d->listeners)
		return fail("start", -ENOMEM);
	store_match(&d->store, d->config);
	failed = listeners_open(d->listeners, d->config, NULL, &d->passed, &d->store.inherited, errors);
	return failed ? DAEMON_EXIT_FAILED : DAEMON_EXIT_OK;
}

MAIN_ONLY static int open_front(struct daemon *d)
{
	struct config_errors *errors = config_errors_create();
	if (!errors)
		return fail("start", -ENOMEM);
	int code = load_and_open(d, errors);
	report_config_errors(errors);
	if (code != DAEMON_EXIT_OK && config_errors_count(errors) > 0)
		manager_not_starting(config_errors_line(errors, 0));
	config_errors_destroy(errors);
	return code;
}

static void say_unused_sockets(const struct daemon *d)
{
	for (unsigned i = 0; i < d->passed.count; i++) {
		bool used = false;
		for (unsigned j = 0; j < d->listeners->count; j++)
			used = used || d->listeners->at[j].socket->fd == d->passed.at[i].fd;
		if (used)
			continue;
		struct log_record r;
		log_begin(&r, LOG_LEVEL_WARNING, LOG_SOCKET_UNUSED);
		log_field(&r, "USHER_ADDRESS", "systemd:%s", d->passed.at[i].name);
		log_submit(
			&r,
			"systemd passed a socket named \"%s\" that no listener uses: listen = [ \"systemd:%s\" ] would",
			d->passed.at[i].name, d->passed.at[i].name);
	}
}

/* How many descriptors connections may have. */
static unsigned descriptor_budget(unsigned workers)
{
	unsigned limit = fd_limit();
	int open = fd_count_open();
	unsigned others = (open > 0 ? (unsigned)open : 0) + RESERVE + RESERVE_A_WORKER * workers;
	others += pool_own_descriptors(workers);
	return limit > others ? limit - others : 0;
}

/* Drops root, then starts the threads. Returns an exit code. */
MAIN_ONLY static int start_threads(struct daemon *d)
{
	char bytes[256];
	struct text why;
	text_init(&why, bytes, sizeof(bytes));
	if (privileges_drop(d->config->user, d->config->group, &why) < 0) {
		log_write(LOG_LEVEL_ERROR, LOG_START_FAILED, "giving up root: %s", why.at);
		return DAEMON_EXIT_FAILED;
	}
	int failed = log_start(LOG_TARGET_AUTO);
	if (failed)
		return fail("start the log", failed);
	unsigned workers = worker_count(d->config);
	unsigned budget = descriptor_budget(workers);
	if (budget == 0) {
		log_write(LOG_LEVEL_ERROR, LOG_START_FAILED,
			  "only %u descriptors may be open, which leaves none for connections: raise LimitNOFILE= "
			  "(ulimit -n)",
			  fd_limit());
		return DAEMON_EXIT_FAILED;
	}
	failed = pool_create(&d->pool, workers, d->config);
	if (failed)
		return fail("start the workers", failed);
	failed = acceptor_create(&d->acceptor, d->pool, budget + d->listeners->count, d->config);
	if (!failed)
		failed = signals_watch(d);
	if (failed)
		return fail("start the acceptor", failed);
	listeners_commit(d->listeners, d->listeners);
	certificates_start(d->certificates, acceptor_poller(d->acceptor), acceptor_timers(d->acceptor));
	certificates_commit(d->certificates, d->listeners, clock_now_ms());
	certificates_say_unreadable(d->certificates);
	lists_start(d->lists, acceptor_poller(d->acceptor), acceptor_timers(d->acceptor), reload_enforce, d);
	lists_commit(d->lists, d->rules, clock_now_ms());
	lists_say_unreadable(d->lists);
	struct door *door = acceptor_door(d->acceptor);
	d->bans = bans_start(d->config, d->listeners, door_sources(door), acceptor_poller(d->acceptor),
			     acceptor_timers(d->acceptor));
	door_on_bans(door, bans_changed, d->bans);
	failed = acceptor_set_listeners(d->acceptor, d->listeners, d->rules);
	return failed ? fail("watch the listening sockets", failed) : DAEMON_EXIT_OK;
}

MAIN_ONLY static int start(struct daemon *d)
{
	int failed = fd_fill_standard();
	if (failed)
		return fail("open /dev/null", failed);
	failed = fd_raise_limit();
	if (failed)
		log_write_errno(LOG_LEVEL_WARNING, LOG_GENERAL, failed, "raise the limit of open descriptors: %s",
				strerror(-failed));
	failed = signals_init(d);
	if (failed)
		return fail("block signals", failed);
	failed = manager_take_sockets(&d->passed);
	if (failed)
		return fail("take the sockets that systemd passed", failed);
	failed = store_take(&d->store, &d->passed);
	if (failed)
		return fail("take the sockets that systemd kept", failed);
	int code = open_front(d);
	if (code != DAEMON_EXIT_OK)
		return code;
	log_set_level((enum log_level)(d->options->log_level >= 0 ? d->options->log_level : d->config->log_level));
	code = start_threads(d);
	if (code != DAEMON_EXIT_OK)
		return code;
	report_listening(d->listeners, NULL);
	say_unused_sockets(d);
	housekeeping_start(d);
	store_start(&d->store, acceptor_timers(d->acceptor));
	store_keep(&d->store, d->listeners, STORE_MS);
	struct log_record r;
	log_begin(&r, LOG_LEVEL_NOTICE, LOG_STARTED);
	log_field(&r, "USHER_VERSION", "%s", USHER_VERSION);
	log_submit(&r, "ready: %u listener%s, %u worker%s", d->config->listener_count,
		   d->config->listener_count == 1 ? "" : "s", pool_workers(d->pool),
		   pool_workers(d->pool) == 1 ? "" : "s");
	report_next_step(d->config, d->options->config_path);
	report_hidden_units(d->rules);
	housekeeping_say_status(d);
	housekeeping_say_ready(d);
	return DAEMON_EXIT_OK;
}

MAIN_ONLY static void run(struct daemon *d)
{
	while (!d->stops_wanted) {
		acceptor_turn(d->acceptor, -1);
		if (!d->stops_wanted)
			reload_turn(d);
	}
}

MAIN_ONLY static void release(struct daemon *d)
{
	d->bans = bans_stop(d->bans);
	d->certificates = certificates_destroy(d->certificates);
	d->lists = lists_destroy(d->lists);
	d->acceptor = acceptor_destroy(d->acceptor);
	d->rules = rules_destroy(d->rules);
	if (d->listeners)
		listeners_close(d->listeners);
	free(d->listeners);
	store_fini(&d->store);
	manager_free_sockets(&d->passed);
	d->config = config_unref(d->config);
	fd_close(&d->signal_fd);
}

int daemon_run(const struct daemon_options *options)
{
	role_enter_main();
	/* as a thread list shows it; the process keeps its own name */
	(void)pthread_setname_np(pthread_self(), "usherd");
	/* without it idle TLS connections take more memory, and that is all */
	(void)!dormant_init();
	struct daemon d = {.options = options, .signal_fd = -1};
	int code = start(&d);
	bool ended = true;
	if (code == DAEMON_EXIT_OK) {
		run(&d);
		ended = drain_run(&d);
	} else if (d.pool) {
		pool_command(d.pool, WORKER_STOP, NULL);
	}
	if (ended) {
		d.pool = pool_destroy(d.pool);
		release(&d);
	}
	if (code == DAEMON_EXIT_OK && ended)
		log_write(LOG_LEVEL_NOTICE, LOG_STOPPED, "stopped");
	log_stop(LOG_STOP_MS);
	role_leave_main();
	/* a worker that did not end still uses what would be freed on the way out */
	if (!ended)
		_exit(DAEMON_EXIT_FAILED);
	return code;
}

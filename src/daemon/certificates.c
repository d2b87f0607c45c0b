/* SPDX-License-Identifier: MIT */
#include "daemon/certificates.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/file_watch.h"
#include "base/must.h"
#include "daemon/certificate_report.h"
#include "report/log.h"
#include "service/service.h"

#define EXPIRY_MS UINT64_C(3600000)

/* How soon files that were not taken up are tried again though they did not change: it may not have been their fault
 * (no descriptors, no memory). */
#define RETRY_MS 30000

/* A listener with TLS on either side. */
struct tls_listener {
	struct certificates *owner; /* borrowed */
	char *name;		    /* owned */
	struct tls_set *set;	    /* ref */
	uint64_t failed_state;	    /* of the files that were not taken up, and it was said; 0: none */

	struct tls_tickets *tickets; /* owned, unless kept; NULL: no tickets */
	bool kept;		     /* prepared: the one in effect still owns them */
	uint64_t rotation_ms;
	uint64_t rotated_ms; /* when the newest key was made */
	struct timer rotation;
};

/* One configuration's. */
struct tls_listeners {
	struct tls_listener **at; /* owned, each by itself: a timer is in it */
	unsigned count;
};

struct certificates {
	struct tls_listeners now;  /* in effect */
	struct tls_listeners next; /* prepared */
	struct listener_set *set;  /* borrowed; NULL: nothing is in effect yet */

	struct timer_wheel *timers; /* borrowed */
	struct file_watch watch;
	bool trouble_said; /* that inotify is out of order */
	struct expiry said;
	struct timer expiry;
	struct timer retry;
};

const struct tls_upstream_config *certificates_upstream(const struct listener_config *l)
{
	const struct service *service = services[l->service];
	const struct tls_upstream_config *upstream =
		service->upstream_tls ? service->upstream_tls(l->service_values) : NULL;
	return upstream && upstream->enabled ? upstream : NULL;
}

/* Adds an error that is about a listener's TLS as a whole. */
static void add_error(struct config_errors *errors, const struct listener_config *l, const char *why)
{
	char path[256];
	snprintf(path, sizeof(path), "listeners.%s.tls", l->name);
	config_errors_add(errors, l->tls.enabled ? l->tls.place : l->place, path, "%s", why);
}

int certificates_load(const struct listener_config *l, const struct tls_tickets *tickets, struct config_errors *errors,
		      struct tls_set **to)
{
	const struct tls_upstream_config *upstream = certificates_upstream(l);
	unsigned before = config_errors_count(errors);
	if (!l->tls.enabled && !upstream) {
		*to = NULL;
		return 0;
	}
	int failed = tls_set_load(l, services[l->service]->group->name, upstream, tickets, errors, to);
	if (failed && config_errors_count(errors) == before)
		add_error(errors, l, strerror(-failed));
	return failed;
}

MAIN_ONLY static struct tls_listener *find(const struct tls_listeners *all, const char *name)
{
	for (unsigned i = 0; i < all->count; i++)
		if (strcmp(all->at[i]->name, name) == 0)
			return all->at[i];
	return NULL;
}

MAIN_ONLY static struct tls_listener *listener_destroy(struct tls_listener *t)
{
	timer_stop(&t->rotation);
	tls_set_unref(t->set);
	if (!t->kept)
		tls_tickets_destroy(t->tickets);
	free(t->name);
	free(t);
	return NULL;
}

MAIN_ONLY static void empty(struct tls_listeners *all)
{
	for (unsigned i = 0; i < all->count; i++)
		listener_destroy(all->at[i]);
	free(all->at);
	*all = (struct tls_listeners){0};
}

MAIN_ONLY static const struct listener_config *config_of(const struct tls_listener *t)
{
	const struct listener_config *l = config_find_listener(t->owner->set->config, t->name);
	must(l);
	return l;
}

/* Makes `set` (taken) the listener's: its next connections come in under it. */
MAIN_ONLY static void put_into_effect(struct tls_listener *t, struct tls_set *set)
{
	listeners_set_tls(t->owner->set, t->name, set);
	tls_set_unref(t->set);
	t->set = set;
}

/* Ticket keys. */

MAIN_ONLY static void rotation_due(struct timer *timer, uint64_t now_ms)
{
	struct tls_listener *t = CONTAINER_OF(timer, struct tls_listener, rotation);
	struct tls_set *fresh;
	int failed = tls_tickets_rotate(t->tickets);
	if (!failed)
		failed = tls_set_rekey(t->set, t->tickets, &fresh);
	if (!failed)
		put_into_effect(t, fresh);
	else
		log_write_errno(LOG_LEVEL_ERROR, LOG_GENERAL, failed,
				"new key for session tickets (%s): %s: the old one stays", t->name, strerror(-failed));
	t->rotated_ms = now_ms;
	timer_start(t->owner->timers, timer, now_ms + t->rotation_ms);
}

/* The tickets of a listener's name go on over a reload. */
MAIN_ONLY static int take_tickets(struct tls_listener *t, const struct listener_config *l, struct config_errors *errors)
{
	if (!l->tls.enabled || l->tls.ticket_rotation_ms == 0)
		return 0;
	const struct tls_listener *old = find(&t->owner->now, t->name);
	t->rotation_ms = l->tls.ticket_rotation_ms;
	if (old && old->tickets) {
		t->tickets = old->tickets;
		t->rotated_ms = old->rotated_ms;
		t->kept = true;
		return 0;
	}
	t->tickets = tls_tickets_create();
	if (t->tickets)
		return 0;
	add_error(errors, l, "a key for session tickets: no memory, or no randomness");
	return -ENOMEM;
}

/* Files that change. */

static uint64_t mix(uint64_t state, const void *bytes, size_t n)
{
	const unsigned char *at = bytes;
	for (size_t i = 0; i < n; i++)
		state = (state ^ at[i]) * UINT64_C(1099511628211);
	return state;
}

/* A number for what the files are like now; never 0. */
MAIN_ONLY static uint64_t state_of_files(const struct tls_set *set)
{
	uint64_t state = UINT64_C(14695981039346656037);
	for (unsigned i = 0; i < tls_set_file_count(set); i++) {
		struct stat at;
		if (stat(tls_set_file(set, i), &at) < 0) {
			state = mix(state, &errno, sizeof(errno));
			continue;
		}
		state = mix(state, &at.st_dev, sizeof(at.st_dev));
		state = mix(state, &at.st_ino, sizeof(at.st_ino));
		state = mix(state, &at.st_size, sizeof(at.st_size));
		state = mix(state, &at.st_mtim, sizeof(at.st_mtim));
		state = mix(state, &at.st_ctim, sizeof(at.st_ctim));
	}
	return state ? state : 1;
}

/* Files that failed are tried again at each change of any, and now and then; it is said once. */
MAIN_ONLY static void note_failure(struct tls_listener *t, uint64_t state, const struct config_errors *errors,
				   uint64_t now_ms)
{
	if (state != t->failed_state)
		certificate_report_failed(t->name, t->set, errors, time(NULL));
	t->failed_state = state;
	timer_start(t->owner->timers, &t->owner->retry, now_ms + RETRY_MS);
}

/* Takes up changed files, or says why not. */
MAIN_ONLY static void renew(struct tls_listener *t, uint64_t now_ms)
{
	uint64_t state = state_of_files(t->set);
	struct tls_set *fresh = NULL;
	struct config_errors *errors = config_errors_create();
	int failed = errors ? certificates_load(config_of(t), t->tickets, errors, &fresh) : -ENOMEM;
	if (failed) {
		note_failure(t, state, errors, now_ms);
	} else {
		certificate_report_renewed(t->name, t->set, fresh, time(NULL));
		put_into_effect(t, fresh);
		t->failed_state = 0;
	}
	config_errors_destroy(errors);
}

MAIN_ONLY static void say_expiry(struct certificates *c)
{
	time_t now = time(NULL);
	expiry_begin(&c->said);
	for (unsigned i = 0; i < c->now.count; i++)
		certificate_report_expiry(c->now.at[i]->name, c->now.at[i]->set, &c->said, now);
	expiry_end(&c->said);
}

MAIN_ONLY static void expiry_due(struct timer *timer, uint64_t now_ms)
{
	struct certificates *c = CONTAINER_OF(timer, struct certificates, expiry);
	say_expiry(c);
	timer_start(c->timers, timer, now_ms + EXPIRY_MS);
}

MAIN_ONLY static void renew_outdated(struct certificates *c, uint64_t now_ms)
{
	for (unsigned i = 0; i < c->now.count; i++) {
		struct tls_listener *t = c->now.at[i];
		if (tls_set_outdated(t->set))
			renew(t, now_ms);
		else
			t->failed_state = 0;
	}
	say_expiry(c);
}

MAIN_ONLY static void say_trouble(struct certificates *c)
{
	int failure = file_watch_failure(&c->watch);
	if (failure && !c->trouble_said)
		log_write_errno(LOG_LEVEL_WARNING, LOG_FILES_UNWATCHED, failure,
				"inotify: %s: TLS files are looked at twice a second instead; raise the sysctl %s",
				strerror(-failure),
				failure == -ENOSPC ? "fs.inotify.max_user_watches" : "fs.inotify.max_user_instances");
	c->trouble_said = failure != 0;
}

MAIN_ONLY static void files_changed(struct file_watch *w, uint64_t now_ms)
{
	struct certificates *c = CONTAINER_OF(w, struct certificates, watch);
	say_trouble(c);
	renew_outdated(c, now_ms);
}

/* Watches the files of all sets. */
MAIN_ONLY static int watch_files(struct certificates *c)
{
	unsigned n = 0;
	for (unsigned i = 0; i < c->now.count; i++)
		n += tls_set_file_count(c->now.at[i]->set);
	const char **paths = calloc(n ? n : 1, sizeof(*paths));
	if (!paths)
		return -ENOMEM;
	n = 0;
	for (unsigned i = 0; i < c->now.count; i++)
		for (unsigned k = 0; k < tls_set_file_count(c->now.at[i]->set); k++)
			paths[n++] = tls_set_file(c->now.at[i]->set, k);
	int failed = file_watch_set(&c->watch, paths, n);
	free(paths);
	return failed;
}

MAIN_ONLY static void watch_or_retry(struct certificates *c, uint64_t now_ms)
{
	int failed = watch_files(c);
	if (!failed)
		return;
	log_write_errno(LOG_LEVEL_ERROR, LOG_CERTIFICATE_FAILED, failed,
			"watch TLS files: %s: changes are taken up later", strerror(-failed));
	timer_start(c->timers, &c->retry, now_ms + RETRY_MS);
}

MAIN_ONLY static void retry_due(struct timer *timer, uint64_t now_ms)
{
	struct certificates *c = CONTAINER_OF(timer, struct certificates, retry);
	watch_or_retry(c, now_ms);
	renew_outdated(c, now_ms);
}

/* A configuration comes and goes. */

struct certificates *certificates_create(void)
{
	struct certificates *c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	timer_init(&c->expiry, expiry_due);
	timer_init(&c->retry, retry_due);
	return c;
}

void certificates_start(struct certificates *c, struct poller *poller, struct timer_wheel *timers)
{
	c->timers = timers;
	file_watch_init(&c->watch, poller, timers, files_changed);
}

MAIN_ONLY static struct tls_listener *listener_create(struct certificates *c, const struct listener_config *l)
{
	struct tls_listener *t = calloc(1, sizeof(*t));
	if (!t)
		return NULL;
	t->owner = c;
	timer_init(&t->rotation, rotation_due);
	t->name = strdup(l->name);
	return t->name ? t : listener_destroy(t);
}

MAIN_ONLY static int prepare_one(struct certificates *c, const struct listener_config *l, struct config_errors *errors)
{
	struct tls_listener *t = listener_create(c, l);
	if (!t) {
		add_error(errors, l, strerror(ENOMEM));
		return -ENOMEM;
	}
	int failed = take_tickets(t, l, errors);
	if (!failed)
		failed = certificates_load(l, t->tickets, errors, &t->set);
	if (failed)
		listener_destroy(t);
	else
		c->next.at[c->next.count++] = t;
	return failed;
}

int certificates_prepare(struct certificates *c, const struct config *config, struct config_errors *errors)
{
	bool failed = false;
	certificates_discard(c);
	c->next.at = calloc(config->listener_count ? config->listener_count : 1, sizeof(struct tls_listener *));
	if (!c->next.at) {
		config_errors_add(errors, (struct config_place){0}, NULL, "%s", strerror(ENOMEM));
		return -EINVAL;
	}
	/* goes on after an error: the user sees all that is wrong */
	for (unsigned i = 0; i < config->listener_count; i++) {
		const struct listener_config *l = &config->listeners[i];
		if ((l->tls.enabled || certificates_upstream(l)) && prepare_one(c, l, errors) < 0)
			failed = true;
	}
	if (!failed)
		return 0;
	certificates_discard(c);
	return -EINVAL;
}

void certificates_discard(struct certificates *c)
{
	empty(&c->next);
}

MAIN_ONLY static void hand_out(struct certificates *c)
{
	const struct config *config = c->set->config;
	for (unsigned i = 0; i < config->listener_count; i++) {
		const struct tls_listener *t = find(&c->now, config->listeners[i].name);
		const struct tls_upstream_config *upstream = certificates_upstream(&config->listeners[i]);
		listeners_set_tls(c->set, config->listeners[i].name, t ? t->set : NULL);
		if (upstream && upstream->insecure_skip_verify)
			certificate_report_unverified(config->listeners[i].name);
	}
}

/* Tickets go from the listeners that were to those that are, and their keys change in their time. */
MAIN_ONLY static void hand_on_tickets(struct certificates *c, struct tls_listeners *old, uint64_t now_ms)
{
	for (unsigned i = 0; i < c->now.count; i++) {
		struct tls_listener *t = c->now.at[i];
		struct tls_listener *was = t->kept ? find(old, t->name) : NULL;
		if (was)
			was->tickets = NULL;
		else
			t->rotated_ms = now_ms;
		t->kept = false;
		if (t->tickets)
			timer_start(c->timers, &t->rotation, t->rotated_ms + t->rotation_ms);
	}
}

void certificates_commit(struct certificates *c, struct listener_set *set, uint64_t now_ms)
{
	struct tls_listeners old = c->now;
	c->set = set;
	c->now = c->next;
	c->next = (struct tls_listeners){0};
	hand_out(c);
	hand_on_tickets(c, &old, now_ms);
	for (unsigned i = 0; i < old.count; i++)
		timer_stop(&old.at[i]->rotation);
	empty(&old);
	timer_stop(&c->retry);
	watch_or_retry(c, now_ms);
	say_expiry(c);
	if (c->now.count > 0)
		timer_start(c->timers, &c->expiry, now_ms + EXPIRY_MS);
	else
		timer_stop(&c->expiry);
}

MAIN_ONLY static int try_to_read(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int failed = fd < 0 ? -errno : 0;
	fd_close(&fd);
	return failed;
}

void certificates_say_unreadable(struct certificates *c)
{
	for (unsigned i = 0; i < c->now.count; i++) {
		struct tls_listener *t = c->now.at[i];
		for (unsigned k = 0; k < tls_set_file_count(t->set); k++) {
			int failed = try_to_read(tls_set_file(t->set, k));
			if (!failed)
				continue;
			certificate_report_unreadable(t->name, tls_set_file(t->set, k), -failed);
			/* that says it all, until the files change */
			t->failed_state = state_of_files(t->set);
		}
	}
}

struct certificates *certificates_destroy(struct certificates *c)
{
	if (!c)
		return NULL;
	file_watch_fini(&c->watch);
	timer_stop(&c->expiry);
	timer_stop(&c->retry);
	empty(&c->next);
	empty(&c->now);
	expiry_fini(&c->said);
	free(c);
	return NULL;
}

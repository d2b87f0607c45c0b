/* SPDX-License-Identifier: MIT */
#include "daemon/store.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/socket.h"
#include "daemon/manager.h"
#include "front/unix_path.h"
#include "report/log.h"

/* How soon the manager is told again what it had no time for. */
#define AGAIN_MS 200

/* How long it may take to forget. */
#define SETTLE_MS 1000

#define NAME_BYTES 96

/* 0: it is no socket. */
MAIN_ONLY static unsigned long long cookie_of(int fd)
{
	uint64_t cookie = 0;
	socklen_t length = sizeof(cookie);
	return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) < 0 ? 0 : cookie;
}

MAIN_ONLY static void name_of(const struct listening *l, char *to, size_t size)
{
	int n = snprintf(to, size, STORE_PREFIX "%016llx", cookie_of(l->fd));
	if (l->path)
		snprintf(to + n, size - (size_t)n, "-%llx-%llx", (unsigned long long)l->path_id.device,
			 (unsigned long long)l->path_id.inode);
}

/* Reads a number, and what has to follow it. */
MAIN_ONLY static bool read_hex(const char **at, char follows, unsigned long long *to)
{
	char *end;
	errno = 0;
	*to = strtoull(*at, &end, 16);
	if (errno || end == *at || *end != follows)
		return false;
	*at = end + (follows != '\0');
	return true;
}

/* Whether the name is the one that usherd gave to this socket. */
MAIN_ONLY static bool is_named_right(int fd, const char *name, struct unix_path_id *path_id)
{
	unsigned long long cookie = 0;
	unsigned long long device = 0;
	unsigned long long inode = 0;
	*path_id = (struct unix_path_id){0};
	const char *number = name + strlen(STORE_PREFIX);
	bool has_file = strchr(number, '-') != NULL;
	if (!read_hex(&number, has_file ? '-' : '\0', &cookie))
		return false;
	if (has_file && !(read_hex(&number, '-', &device) && read_hex(&number, '\0', &inode)))
		return false;
	path_id->device = (dev_t)device;
	path_id->inode = (ino_t)inode;
	return cookie != 0 && cookie == cookie_of(fd);
}

/* ---- what leaves it */

/* Has the manager close its copy: now, or when it listens again. It is never waited for here: there may be many. */
MAIN_ONLY static void forget(struct store *s, const char *name)
{
	if (s->leaving_count == 0 && manager_unstore(name, 0) != -EAGAIN)
		return;
	char **at = realloc(s->leaving, (s->leaving_count + 1) * sizeof(*at));
	char *copy = strdup(name);
	if (at)
		s->leaving = at;
	if (at && copy) {
		s->leaving[s->leaving_count++] = copy;
	} else {
		/* a socket that serves nobody stays in the store until the next start */
		free(copy);
	}
}

/* Tells it what it has not heard yet. Returns 0; -EAGAIN: some are left after `wait_ms`. */
MAIN_ONLY static int forget_rest(struct store *s, int wait_ms)
{
	const uint64_t until_ms = clock_now_ms() + (uint64_t)wait_ms;
	while (s->leaving_count > 0) {
		uint64_t now_ms = clock_now_ms();
		char *name = s->leaving[s->leaving_count - 1];
		if (manager_unstore(name, now_ms < until_ms ? (int)(until_ms - now_ms) : 0) == -EAGAIN)
			return -EAGAIN;
		free(name);
		s->leaving_count--;
	}
	return 0;
}

/* Waits until it has closed what it was told to, so that the addresses are free. */
MAIN_ONLY static void settle_all(struct store *s)
{
	if (forget_rest(s, SETTLE_MS) == 0)
		manager_settle(SETTLE_MS);
}

/* ---- what came */

MAIN_ONLY static bool is_known(const struct store *s, int fd)
{
	for (unsigned i = 0; i < s->inherited.count; i++)
		if (s->inherited.at[i].fd >= 0 && cookie_of(s->inherited.at[i].fd) == cookie_of(fd))
			return true;
	return false;
}

/* What the name does not tell the truth of is not touched, but closed: it may be a socket unit's. */
MAIN_ONLY static void reject_take_fd(struct store *s, int *fd, const char *name)
{
	fd_close(fd);
	forget(s, name);
	log_write(
		LOG_LEVEL_WARNING, LOG_GENERAL,
		"a descriptor named \"%s\" is not what usherd stored under this name: it is not used; names of socket "
		"units must not begin with " STORE_PREFIX,
		name);
}

/* Takes the descriptor and the name. */
MAIN_ONLY static void take(struct store *s, struct passed_socket *p)
{
	struct unix_path_id path_id;
	if (!is_named_right(p->fd, p->name, &path_id)) {
		reject_take_fd(s, &p->fd, p->name);
	} else if (is_known(s, p->fd)) {
		/* another descriptor of the same socket */
		fd_close(&p->fd);
	} else {
		unsigned i = s->inherited.count++;
		inherited_init(&s->inherited.at[i], p->fd, &path_id);
		s->names[i] = p->name;
		p->name = NULL;
	}
	free(p->name);
}

MAIN_ONLY static void let_go(struct listening_keeper *k, struct listening *l)
{
	char name[NAME_BYTES];
	name_of(l, name, sizeof(name));
	forget(CONTAINER_OF(k, struct store, keeper), name);
}

MAIN_ONLY static void settle(struct listening_keeper *k)
{
	settle_all(CONTAINER_OF(k, struct store, keeper));
}

int store_take(struct store *s, struct passed_sockets *passed)
{
	s->keeper = (struct listening_keeper){.let_go = let_go, .settle = settle};
	s->size = manager_store_size();
	s->inherited.keeper = &s->keeper;
	if (passed->count == 0)
		return 0;
	s->inherited.at = calloc(passed->count, sizeof(*s->inherited.at));
	s->names = calloc(passed->count, sizeof(*s->names));
	if (!s->inherited.at || !s->names)
		return -ENOMEM;
	unsigned others = 0;
	for (unsigned i = 0; i < passed->count; i++) {
		struct passed_socket *p = &passed->at[i];
		if (strncmp(p->name, STORE_PREFIX, strlen(STORE_PREFIX)) == 0)
			take(s, p);
		else
			passed->at[others++] = *p;
	}
	passed->count = others;
	return 0;
}

MAIN_ONLY static void drop(struct store *s, unsigned i)
{
	struct inherited_socket *in = &s->inherited.at[i];
	char bytes[NETADDR_TEXT_BYTES];
	struct text at;
	text_init(&at, bytes, sizeof(bytes));
	if (in->usable)
		netaddr_add_text(&at, &in->address);
	else
		text_add(&at, "a socket that listens no longer, or is no stream");
	struct log_record r;
	log_begin(&r, LOG_LEVEL_NOTICE, LOG_UNLISTENING);
	log_field(&r, "USHER_ADDRESS", "%s", at.at);
	log_submit(&r, "no longer listening on %s (kept from before the start: nothing fits it any longer)", at.at);
	if (inherited_has_file(in))
		unix_path_remove(in->address.u.local.sun_path, &in->path_id);
	/* who connects before the manager has closed its copy is refused */
	socket_stop_listening(in->fd);
	fd_close(&in->fd);
	forget(s, s->names[i]);
}

void store_match(struct store *s, const struct config *config)
{
	inherited_match(&s->inherited, config);
	bool dropped = false;
	for (unsigned i = 0; i < s->inherited.count; i++) {
		if (s->inherited.at[i].wanted)
			continue;
		drop(s, i);
		dropped = true;
	}
	if (dropped)
		settle_all(s);
}

/* ---- what goes in */

MAIN_ONLY static bool is_to_be_kept(const struct listening *l)
{
	return !l->keeper && !l->passed && !l->any_port && l->fd >= 0;
}

MAIN_ONLY static void say_full(struct store *s, const struct listening *l)
{
	if (s->said_full)
		return;
	struct log_record r;
	listening_log_begin(&r, l, l->config, LOG_LEVEL_WARNING, LOG_GENERAL, 0);
	log_submit(
		&r,
		"the service manager keeps %u sockets over a restart, and there are more: connections to %s and others "
		"are refused for a moment then; raise FileDescriptorStoreMax= and FDSTORE= in the unit",
		s->size, l->address);
	s->said_full = true;
}

/* Returns 0; -EAGAIN: later. */
MAIN_ONLY static int keep(struct store *s, struct listening *l, int wait_ms)
{
	char name[NAME_BYTES];
	name_of(l, name, sizeof(name));
	int failed = manager_store(l->fd, name, wait_ms);
	if (!failed)
		l->keeper = &s->keeper;
	if (!failed || failed == -EAGAIN)
		return failed;
	struct log_record r;
	listening_log_begin(&r, l, l->config, LOG_LEVEL_WARNING, LOG_GENERAL, failed);
	log_submit(&r, "give %s to the service manager: %s: connections to it are refused for a moment at a restart",
		   l->address, strerror(-failed));
	return 0;
}

/* Returns 0; -EAGAIN: some are to be given later. */
MAIN_ONLY static int keep_all(struct store *s, int wait_ms)
{
	const uint64_t until_ms = clock_now_ms() + (uint64_t)wait_ms;
	unsigned kept = 0;
	for (unsigned i = 0; i < s->set->count; i++)
		kept += s->set->at[i].socket->keeper != NULL;
	for (unsigned i = 0; i < s->set->count; i++) {
		struct listening *l = s->set->at[i].socket;
		if (!is_to_be_kept(l))
			continue;
		if (kept >= s->size) {
			say_full(s, l);
			return 0;
		}
		uint64_t now_ms = clock_now_ms();
		if (keep(s, l, now_ms < until_ms ? (int)(until_ms - now_ms) : 0) < 0)
			return -EAGAIN;
		kept += l->keeper != NULL;
	}
	return 0;
}

/* What leaves goes first: it makes room. Returns as above. */
MAIN_ONLY static int tell_all(struct store *s, int wait_ms)
{
	int failed = forget_rest(s, 0);
	return failed || s->size == 0 ? failed : keep_all(s, wait_ms);
}

MAIN_ONLY static void again_fired(struct timer *t, uint64_t now_ms)
{
	struct store *s = CONTAINER_OF(t, struct store, again);
	if (tell_all(s, 0) < 0)
		timer_start(s->timers, t, now_ms + AGAIN_MS);
}

void store_start(struct store *s, struct timer_wheel *timers)
{
	s->timers = timers;
	timer_init(&s->again, again_fired);
}

void store_keep(struct store *s, struct listener_set *set, int wait_ms)
{
	s->set = set;
	s->said_full = false;
	timer_stop(&s->again);
	if (tell_all(s, wait_ms) < 0)
		timer_start(s->timers, &s->again, clock_now_ms() + AGAIN_MS);
}

void store_forget(struct listener_set *set)
{
	for (unsigned i = 0; i < set->count; i++)
		if (set->at[i].socket)
			listening_let_go(set->at[i].socket);
}

void store_stop(struct store *s)
{
	if (s->timers)
		timer_stop(&s->again);
	s->set = NULL;
}

void store_fini(struct store *s)
{
	for (unsigned i = 0; i < s->inherited.count; i++) {
		fd_close(&s->inherited.at[i].fd);
		free(s->names[i]);
	}
	for (unsigned i = 0; i < s->leaving_count; i++)
		free(s->leaving[i]);
	free(s->inherited.at);
	free(s->names);
	free(s->leaving);
	*s = (struct store){0};
}

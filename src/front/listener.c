/* SPDX-License-Identifier: MIT */
#include "front/listener.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "front/acceptor.h"
#include "front/unix_path.h"
#include "report/log.h"

#define WHY_BYTES 512
#define KEY_BYTES (NETADDR_TEXT_BYTES + 64)

/* How often a port is looked for that is free in both families, for "*:0". */
#define PORT_TRIES 16

/* What listeners_open works on. */
struct opening {
	struct listener_set *to;
	struct listener_set *old; /* NULL: none */
	const struct passed_sockets *passed;
	struct inherited_sockets *inherited; /* NULL: none */
	struct config_errors *errors;

	const struct listener_config *listener; /* the one in hand */
	unsigned index;				/* of the endpoint in hand */
	struct account *account;		/* ref */

	/* Addresses that usher's own sockets are in the way of, which the new configuration no longer has: they are
	 * opened in a second pass, when all others are, after those sockets have made way. */
	bool second_pass;
	unsigned postponed;
};

MAIN_ONLY static void add_error(struct opening *o, const char *where, const char *why)
{
	char path[256];
	snprintf(path, sizeof(path), "listeners.%s.listen", o->listener->name);
	config_errors_add(o->errors, o->listener->listen.places[o->index], path, "listen %s: %s", where, why);
}

MAIN_ONLY static int out_of_memory(struct opening *o)
{
	add_error(o, o->listener->listen.at[o->index], strerror(ENOMEM));
	return -ENOMEM;
}

MAIN_ONLY static struct listening *find_by_key(const struct listener_set *set, const char *key)
{
	for (unsigned i = 0; set && i < set->count; i++)
		if (set->at[i].socket && strcmp(set->at[i].socket->key, key) == 0)
			return set->at[i].socket;
	return NULL;
}

/* Adds to the set; on failure `l` is destroyed unless it is kept. */
MAIN_ONLY static int add(struct opening *o, struct listening *l, bool kept)
{
	struct listener_set *set = o->to;
	struct listener_entry *at = realloc(set->at, (set->count + 1) * sizeof(*at));
	if (!at) {
		if (!kept)
			listening_destroy(l);
		return out_of_memory(o);
	}
	set->at = at;
	set->at[set->count++] = (struct listener_entry){.socket = l,
							.kept = kept,
							.config = o->listener,
							.account = account_ref(o->account)};
	return 0;
}

/* Borrows the socket of this key from the old set, if it has it. */
MAIN_ONLY static bool keep(struct opening *o, const char *key, int *result)
{
	struct listening *l = find_by_key(o->old, key);
	/* One that was lost is opened anew, and a UNIX socket whose file somebody removed: nobody could connect to
	 * it. */
	if (!l || l->fd < 0 || (l->path && !unix_path_is(l->path, &l->path_id)))
		return false;
	*result = add(o, l, true);
	return true;
}

/* True if this socket of the old set goes, listens at the port, and can be opened again. */
MAIN_ONLY static bool is_in_the_way(const struct opening *o, const struct listening *l, uint16_t port)
{
	return l && l->is_tcp && !l->passed && l->fd >= 0 && port > 0 && listening_port(l) == port &&
	       !find_by_key(o->to, l->key);
}

/* After a failed bind: true if it is to be tried again in the second pass. */
MAIN_ONLY static bool postpone(struct opening *o, int error, uint16_t port)
{
	if (error != -EADDRINUSE || o->second_pass)
		return false;
	for (unsigned i = 0; o->old && i < o->old->count; i++)
		if (is_in_the_way(o, o->old->at[i].socket, port)) {
			o->postponed++;
			return true;
		}
	return false;
}

/* Takes up the socket that an earlier usherd had at this address, or opens one. Returns as listening_open does. */
MAIN_ONLY static int obtain(struct opening *o, struct listening **to, const char *key, const struct endpoint *e,
			    const struct netaddr *address, struct text *why)
{
	struct inherited_socket *s = inherited_find(o->inherited, address, e->interface, o->listener);
	if (s)
		return listening_take_inherited(to, key, s, o->inherited->keeper, o->listener, why);
	return listening_open(to, key, e, address, o->listener, why);
}

MAIN_ONLY static int open_one(struct opening *o, const struct endpoint *e, const char *key)
{
	int result;
	if (o->second_pass && find_by_key(o->to, key))
		return 0;
	if (keep(o, key, &result))
		return result;
	char bytes[WHY_BYTES];
	struct text why;
	text_init(&why, bytes, sizeof(bytes));
	struct listening *l;
	int failed = obtain(o, &l, key, e, &e->address, &why);
	if (postpone(o, failed, netaddr_port(&e->address)))
		return 0;
	if (failed) {
		add_error(o, key, why.at);
		return failed;
	}
	return add(o, l, false);
}

/* Opens both families at one port. Returns 0, with v6 NULL on a machine without IPv6. */
MAIN_ONLY static int open_pair(struct opening *o, const struct endpoint *e, char *const keys[2],
			       struct listening *pair[2], struct text *why)
{
	uint16_t wanted = netaddr_port(&e->address);
	int failed = 0;
	for (int i = 0; i < (wanted ? 1 : PORT_TRIES); i++) {
		struct netaddr address;
		text_init(why, why->at, why->size);
		netaddr_any(&address, AF_INET, wanted);
		failed = obtain(o, &pair[0], keys[0], e, &address, why);
		if (failed)
			return failed;
		netaddr_any(&address, AF_INET6, wanted ? wanted : listening_port(pair[0]));
		failed = obtain(o, &pair[1], keys[1], e, &address, why);
		if (!failed)
			return 0;
		pair[1] = NULL;
		if (failed == -EAFNOSUPPORT)
			return 0;
		pair[0] = listening_destroy(pair[0]);
		if (failed != -EADDRINUSE)
			return failed;
	}
	return failed;
}

MAIN_ONLY static int open_any(struct opening *o, const struct endpoint *e, const char *key)
{
	char v4[KEY_BYTES + 8];
	char v6[KEY_BYTES + 8];
	snprintf(v4, sizeof(v4), "%s/ipv4", key);
	snprintf(v6, sizeof(v6), "%s/ipv6", key);
	int result;
	if (o->second_pass && find_by_key(o->to, v4))
		return 0;
	if (keep(o, v4, &result)) {
		if (!result)
			keep(o, v6, &result); /* absent on a machine without IPv6 */
		return result;
	}
	char bytes[WHY_BYTES];
	struct text why;
	text_init(&why, bytes, sizeof(bytes));
	struct listening *pair[2] = {NULL, NULL};
	char *const keys[2] = {v4, v6};
	int failed = open_pair(o, e, keys, pair, &why);
	if (postpone(o, failed, netaddr_port(&e->address)))
		return 0;
	if (failed) {
		add_error(o, key, why.at);
		return failed;
	}
	failed = add(o, pair[0], false);
	if (pair[1]) {
		if (failed)
			listening_destroy(pair[1]);
		else
			failed = add(o, pair[1], false);
	}
	return failed;
}

MAIN_ONLY static int add_passed(struct opening *o, int fd, const char *key, struct text *why)
{
	struct listening *l;
	int failed = listening_take_passed(&l, key, fd, o->listener, why);
	if (!failed)
		return add(o, l, false);
	add_error(o, key, why->at);
	return failed;
}

MAIN_ONLY static int open_passed(struct opening *o, const struct endpoint *e, const char *key)
{
	char bytes[WHY_BYTES];
	struct text why;
	unsigned found = 0;
	for (unsigned i = 0; i < o->passed->count; i++) {
		if (strcmp(o->passed->at[i].name, e->name) != 0)
			continue;
		char numbered[KEY_BYTES + 16];
		snprintf(numbered, sizeof(numbered), "%s#%u", key, found++);
		text_init(&why, bytes, sizeof(bytes));
		int result;
		if (!keep(o, numbered, &result))
			result = add_passed(o, o->passed->at[i].fd, numbered, &why);
		if (result)
			return result;
	}
	if (found > 0)
		return 0;
	text_init(&why, bytes, sizeof(bytes));
	text_printf(&why, "systemd passed no socket of this name; ");
	if (o->passed->count == 0)
		text_printf(&why,
			    "it passed none at all: enable the socket unit that has FileDescriptorName=%s, then "
			    "systemctl restart usherd",
			    e->name);
	else
		text_printf(&why, "set FileDescriptorName=%s in the socket unit; it passed:", e->name);
	for (unsigned i = 0; i < o->passed->count; i++) {
		text_add(&why, " ");
		text_add_escaped(&why, o->passed->at[i].name, strlen(o->passed->at[i].name));
	}
	add_error(o, key, why.at);
	return -ENOENT;
}

MAIN_ONLY static int open_endpoint(struct opening *o, const struct endpoint *e)
{
	char bytes[KEY_BYTES];
	struct text key;
	text_init(&key, bytes, sizeof(bytes));
	endpoint_add_text(&key, e);
	/* "any free port" is a socket of its own each time that it is written */
	if ((e->kind == ENDPOINT_ANY || e->kind == ENDPOINT_ADDRESS) && e->address.u.any.sa_family != AF_UNIX &&
	    netaddr_port(&e->address) == 0)
		text_printf(&key, " (%s #%u)", o->listener->name, o->index + 1);
	switch (e->kind) {
	case ENDPOINT_ADDRESS:
		return open_one(o, e, key.at);
	case ENDPOINT_ANY:
		return open_any(o, e, key.at);
	case ENDPOINT_SYSTEMD:
		return o->second_pass ? 0 : open_passed(o, e, key.at);
	case ENDPOINT_NAME:
		break;
	}
	must(!"a listener's endpoint is an address");
	return -EINVAL;
}

MAIN_ONLY static struct account *find_account(const struct listener_set *set, const char *name)
{
	for (unsigned i = 0; set && i < set->count; i++)
		if (strcmp(set->at[i].config->name, name) == 0)
			return account_ref(set->at[i].account);
	return NULL;
}

MAIN_ONLY static bool has_scope(const struct listener_set *set, uint16_t scope)
{
	for (unsigned i = 0; set && i < set->count; i++)
		if (set->at[i].account->scope == scope)
			return true;
	return false;
}

/* The number that a new name's sources are known by. It comes again after 65535 names, when the one before has gone. */
MAIN_ONLY static uint16_t free_scope(const struct opening *o)
{
	static uint16_t last;
	do
		last = last == UINT16_MAX ? 1 : (uint16_t)(last + 1);
	while (has_scope(o->to, last) || has_scope(o->old, last));
	return last;
}

/* The account of a listener's name goes on over a reload. */
MAIN_ONLY static struct account *take_account(const struct opening *o)
{
	struct account *account = find_account(o->to, o->listener->name);
	if (!account)
		account = find_account(o->old, o->listener->name);
	if (account)
		return account;
	account = account_create();
	if (account)
		account->scope = free_scope(o);
	return account;
}

MAIN_ONLY static void empty(struct listener_set *set)
{
	for (unsigned i = 0; i < set->count; i++)
		account_unref(set->at[i].account);
	free(set->at);
	set->config = config_unref(set->config);
	*set = (struct listener_set){0};
}

/* Opens what the set does not have yet. Goes on after an error: the user sees all that is wrong. */
MAIN_ONLY static int open_all(struct opening *o)
{
	int result = 0;
	const struct config *config = o->to->config;
	for (unsigned i = 0; i < config->listener_count; i++) {
		o->listener = &config->listeners[i];
		o->index = 0;
		o->account = take_account(o);
		if (!o->account)
			return out_of_memory(o);
		for (; o->index < o->listener->listen.count; o->index++)
			if (open_endpoint(o, &o->listener->endpoints[o->index]) < 0)
				result = -EINVAL;
		o->account = account_unref(o->account);
	}
	return result;
}

/* Those who wait in its backlog still come in. */
MAIN_ONLY static void make_way(struct listening *l, bool *patient)
{
	acceptor_take_out(l, patient);
	listening_vacate(l);
}

/* Closes the old sockets that are in the way of what was postponed. */
MAIN_ONLY static void vacate(struct opening *o)
{
	bool patient = true;
	struct listening_keeper *keeper = NULL;
	for (unsigned i = 0; i < o->old->count; i++) {
		struct listening *l = o->old->at[i].socket;
		for (unsigned k = 0; k < o->to->config->listener_count; k++) {
			const struct listener_config *c = &o->to->config->listeners[k];
			for (unsigned e = 0; e < c->listen.count; e++)
				if (c->endpoints[e].kind != ENDPOINT_SYSTEMD &&
				    is_in_the_way(o, l, netaddr_port(&c->endpoints[e].address))) {
					keeper = l->keeper ? l->keeper : keeper;
					make_way(l, &patient);
				}
		}
	}
	if (keeper)
		keeper->settle(keeper);
}

/* The new sockets did not come to be: those that made way for them listen again. */
MAIN_ONLY static void move_back(struct listener_set *old)
{
	for (unsigned i = 0; old && i < old->count; i++) {
		struct listening *l = old->at[i].socket;
		char bytes[WHY_BYTES];
		struct text why;
		text_init(&why, bytes, sizeof(bytes));
		int failed = l && l->fd < 0 ? listening_return(l, old->at[i].config, &why) : 0;
		if (!failed)
			continue;
		struct log_record r;
		listening_log_begin(&r, l, old->at[i].config, LOG_LEVEL_ERROR, LOG_LISTENER_LOST, failed);
		log_submit(&r, "listen %s (%s): lost in a failed reload: %s", l->address, old->at[i].config->name,
			   why.at);
	}
}

int listeners_open(struct listener_set *to, struct config *config, struct listener_set *old,
		   const struct passed_sockets *passed, struct inherited_sockets *inherited,
		   struct config_errors *errors)
{
	struct listener_set fresh = {.config = config_ref(config)};
	struct opening o = {.to = &fresh, .old = old, .passed = passed, .inherited = inherited, .errors = errors};
	int failed = open_all(&o);
	if (!failed && o.postponed > 0) {
		vacate(&o);
		o.second_pass = true;
		failed = open_all(&o);
	}
	if (!failed) {
		*to = fresh;
		return 0;
	}
	for (unsigned i = 0; i < fresh.count; i++)
		if (!fresh.at[i].kept)
			listening_destroy(fresh.at[i].socket);
	empty(&fresh);
	if (o.second_pass)
		move_back(old);
	return -EINVAL;
}

/* Settings that changed count for a kept socket's next connections. The socket goes on with the old ones where that
 * fails. */
MAIN_ONLY static void apply_anew(const struct listener_entry *e)
{
	const struct listening *l = e->socket;
	char bytes[WHY_BYTES];
	struct text why;
	text_init(&why, bytes, sizeof(bytes));
	int failed = listening_apply(l, e->config, &why);
	if (!failed && l->path)
		failed = unix_path_set_owner(l->path, &l->path_id, &e->config->unix_socket, &why);
	if (!failed)
		return;
	struct log_record r;
	listening_log_begin(&r, l, e->config, LOG_LEVEL_WARNING, LOG_RELOAD_CHANGE, 0);
	log_submit(&r, "listen %s (%s): new settings: %s; they count from the next start", l->address, e->config->name,
		   why.at);
}

void listeners_commit(struct listener_set *set, struct listener_set *old)
{
	for (unsigned i = 0; i < set->count; i++) {
		struct listener_entry *e = &set->at[i];
		struct listening *l = e->socket;
		must(l);
		for (unsigned j = 0; e->kept && j < old->count; j++)
			if (old->at[j].socket == l)
				old->at[j].socket = NULL;
		if (e->kept)
			apply_anew(e);
		e->kept = false;
		account_unref(l->account);
		l->account = account_ref(e->account);
		l->config = e->config;
	}
}

void listeners_set_tls(struct listener_set *set, const char *name, struct tls_set *tls)
{
	for (unsigned i = 0; i < set->count; i++) {
		struct listening *l = set->at[i].socket;
		if (strcmp(set->at[i].config->name, name) != 0)
			continue;
		struct tls_set *old = l->tls;
		l->tls = tls_set_ref(tls);
		tls_set_unref(old);
	}
}

void listeners_close(struct listener_set *set)
{
	for (unsigned i = 0; i < set->count; i++)
		listening_destroy(set->at[i].socket);
	empty(set);
}

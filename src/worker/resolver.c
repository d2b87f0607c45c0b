/* SPDX-License-Identifier: MIT */
#include "worker/resolver.h"

#include <ares.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "base/poller.h"
#include "base/timer.h"
#include "config/endpoint.h"
#include "report/log.h"
#include "worker/worker.h"

/* After a failure the name is not asked for again for this long. */
#define RETRY_MS 2000

/* A name that nobody has asked for in this time is forgotten when the configuration changes. */
#define FORGET_MS 3600000

/* A descriptor of c-ares. */
struct ares_socket {
	struct watch watch;
	struct list node;
	struct resolver *resolver; /* borrowed */
	int fd;			   /* borrowed from c-ares */
};

/* A host name that somebody has asked for. */
struct name {
	struct list node;
	struct resolver *resolver; /* borrowed */
	struct list waiters;	   /* of struct name_waiter */
	uint64_t expires_ms;
	uint64_t wanted_ms; /* asked for last */
	bool asking;
	bool failing; /* the last renewal failed */
	unsigned count;
	struct peer_addr addresses[RESOLVER_ADDRESSES_MAX];
	char text[];
};

struct resolver {
	struct worker *worker; /* borrowed */
	struct config *config; /* ref */
	ares_channel channel;
	bool open;    /* there is a channel */
	bool closing; /* it is being given up: what it still calls back with counts for nothing */
	unsigned under_way;
	struct timer timer;
	struct list names;
	struct list sockets;
	struct list dead; /* sockets that are closed; freed at the end of the turn */
};

static struct log_limit name_failures = LOG_LIMIT_INIT("names that did not resolve");

WORKER_ONLY static void process(struct resolver *r, int read_fd, int write_fd);
WORKER_ONLY static void ask(struct resolver *r, struct name *name);

void name_waiter_init(struct name_waiter *w,
		      void (*done)(struct name_waiter *w, const struct peer_addr *addresses, unsigned count))
{
	list_init(&w->node);
	w->name = NULL;
	w->done = done;
}

WORKER_ONLY static void timer_fired(struct timer *t, uint64_t now_ms UNUSED)
{
	process(CONTAINER_OF(t, struct resolver, timer), ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

struct resolver *resolver_create(struct worker *worker, struct config *config)
{
	struct resolver *r = calloc(1, sizeof(*r));
	if (!r)
		return NULL;
	r->worker = worker;
	r->config = config_ref(config);
	timer_init(&r->timer, timer_fired);
	list_init(&r->names);
	list_init(&r->sockets);
	list_init(&r->dead);
	return r;
}

void resolver_sweep(struct resolver *r)
{
	struct list *first;
	while ((first = list_take_first(&r->dead)))
		free(CONTAINER_OF(first, struct ares_socket, node));
}

/* Forgets names that nobody waits for, and nobody has wanted since `before_ms`. */
WORKER_ONLY static void forget_names(struct resolver *r, uint64_t before_ms)
{
	struct list all;
	struct list *first;
	list_init(&all);
	list_move_all(&all, &r->names);
	while ((first = list_take_first(&all))) {
		struct name *name = CONTAINER_OF(first, struct name, node);
		if (!list_empty(&name->waiters) || name->wanted_ms >= before_ms)
			list_append(&r->names, &name->node);
		else
			free(name);
	}
}

/* Gives up what is asked for: those who wait go on waiting. */
WORKER_ONLY static void close_channel(struct resolver *r)
{
	r->closing = true;
	if (r->open)
		ares_destroy(r->channel); /* calls found, and closes its sockets through socket_changed */
	r->closing = false;
	r->open = false;
	timer_stop(&r->timer);
}

struct resolver *resolver_destroy(struct resolver *r)
{
	if (!r)
		return NULL;
	close_channel(r);
	forget_names(r, UINT64_MAX);
	resolver_sweep(r);
	config_unref(r->config);
	free(r);
	return NULL;
}

void resolver_reconfigure(struct resolver *r, struct config *config)
{
	uint64_t now_ms = worker_now_ms(r->worker);
	close_channel(r);
	config_unref(r->config);
	r->config = config_ref(config);
	forget_names(r, now_ms > FORGET_MS ? now_ms - FORGET_MS : 0);
	for (struct list *l = r->names.next; l != &r->names; l = l->next) {
		struct name *name = CONTAINER_OF(l, struct name, node);
		name->expires_ms = 0;
		name->failing = false;
		/* asking one may have made somebody ask for another */
		if (!list_empty(&name->waiters) && !name->asking)
			ask(r, name);
	}
}

WORKER_ONLY static void arm_timer(struct resolver *r)
{
	struct timeval longest = {.tv_sec = 60, .tv_usec = 0};
	struct timeval wait;
	if (!r->open || r->under_way == 0) {
		timer_stop(&r->timer);
		return;
	}
	const struct timeval *t = ares_timeout(r->channel, &longest, &wait);
	uint64_t ms = (uint64_t)t->tv_sec * 1000 + (uint64_t)(t->tv_usec + 999) / 1000;
	timer_start(&r->worker->timers, &r->timer, worker_now_ms(r->worker) + ms);
}

WORKER_ONLY static void process(struct resolver *r, int read_fd, int write_fd)
{
	if (!r->open)
		return;
	ares_process_fd(r->channel, read_fd, write_fd);
	arm_timer(r);
}

WORKER_ONLY static void socket_ready(struct watch *watch, unsigned events)
{
	struct ares_socket *s = CONTAINER_OF(watch, struct ares_socket, watch);
	if (s->fd < 0)
		return;
	int read_fd = events & (POLLER_READ | POLLER_END | POLLER_HANGUP) ? s->fd : ARES_SOCKET_BAD;
	int write_fd = events & POLLER_WRITE ? s->fd : ARES_SOCKET_BAD;
	process(s->resolver, read_fd, write_fd);
}

WORKER_ONLY static struct ares_socket *find_socket(struct resolver *r, int fd)
{
	for (struct list *l = r->sockets.next; l != &r->sockets; l = l->next) {
		struct ares_socket *s = CONTAINER_OF(l, struct ares_socket, node);
		if (s->fd == fd)
			return s;
	}
	return NULL;
}

/* c-ares tells what it wants to know of a socket. If it cannot be watched, its lookup times out. */
WORKER_ONLY static void socket_changed(void *arg, ares_socket_t fd, int readable, int writable)
{
	struct resolver *r = arg;
	struct ares_socket *s = find_socket(r, fd);
	unsigned what = (readable ? POLLER_READ : 0U) | (writable ? POLLER_WRITE : 0U);
	if (s && what) {
		(void)!poller_change(&r->worker->poller, fd, &s->watch, what);
		return;
	}
	if (s) {
		poller_remove(&r->worker->poller, fd);
		s->fd = -1;
		list_remove(&s->node);
		list_append(&r->dead, &s->node);
		return;
	}
	if (!what)
		return;
	s = calloc(1, sizeof(*s));
	if (!s)
		return;
	s->watch.ready = socket_ready;
	s->resolver = r;
	s->fd = fd;
	list_append(&r->sockets, &s->node);
	(void)!poller_add(&r->worker->poller, fd, &s->watch, what);
}

/* Returns 0 or c-ares' error. */
WORKER_ONLY static int set_servers(struct resolver *r, const struct option_list *servers)
{
	struct ares_addr_port_node *nodes = calloc(servers->count, sizeof(*nodes));
	if (!nodes)
		return ARES_ENOMEM;
	int result = ARES_SUCCESS;
	for (unsigned i = 0; i < servers->count; i++) {
		struct netaddr address;
		const char *why;
		if (endpoint_parse_server(&address, servers->at[i], &why) < 0) {
			result = ARES_EBADSTR; /* the configuration's check would have said so */
			break;
		}
		nodes[i].next = i + 1 < servers->count ? &nodes[i + 1] : NULL;
		nodes[i].family = address.u.any.sa_family;
		nodes[i].udp_port = netaddr_port(&address);
		nodes[i].tcp_port = netaddr_port(&address);
		if (nodes[i].family == AF_INET)
			nodes[i].addr.addr4 = address.u.in4.sin_addr;
		else
			memcpy(&nodes[i].addr.addr6, &address.u.in6.sin6_addr, sizeof(nodes[i].addr.addr6));
	}
	if (result == ARES_SUCCESS)
		result = ares_set_servers_ports(r->channel, nodes);
	free(nodes);
	return result;
}

/* Makes the channel if there is none. Returns 0 or c-ares' error: then there is none, lest others be asked than was
 * said. */
WORKER_ONLY static int open_channel(struct resolver *r)
{
	if (r->open)
		return ARES_SUCCESS;
	const struct resolver_config *settings = &r->config->resolver;
	struct ares_options options = {
		.timeout = (int)settings->timeout_ms,
		.tries = settings->tries,
		.sock_state_cb = socket_changed,
		.sock_state_cb_data = r,
	};
	int failed =
		ares_init_options(&r->channel, &options, ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);
	if (failed)
		return failed;
	r->open = true;
	if (settings->servers.count > 0)
		failed = set_servers(r, &settings->servers);
	if (failed)
		close_channel(r);
	return failed;
}

WORKER_ONLY static struct name *find_name(struct resolver *r, const char *text)
{
	for (struct list *l = r->names.next; l != &r->names; l = l->next) {
		struct name *name = CONTAINER_OF(l, struct name, node);
		if (strcmp(name->text, text) == 0)
			return name;
	}
	size_t text_bytes = strlen(text) + 1;
	struct name *name = calloc(1, sizeof(*name) + text_bytes);
	if (!name)
		return NULL;
	memcpy(name->text, text, text_bytes);
	name->resolver = r;
	list_init(&name->waiters);
	list_append(&r->names, &name->node);
	return name;
}

WORKER_ONLY static void answer_waiters(struct name *name)
{
	struct list *first;
	while ((first = list_take_first(&name->waiters))) {
		struct name_waiter *w = CONTAINER_OF(first, struct name_waiter, node);
		w->done(w, name->addresses, name->count);
	}
}

/* Takes over what was found. Returns the shortest TTL in seconds. */
WORKER_ONLY static int take_addresses(struct name *name, const struct ares_addrinfo *found)
{
	int ttl_s = INT32_MAX;
	name->count = 0;
	for (const struct ares_addrinfo_node *n = found->nodes; n; n = n->ai_next) {
		if (n->ai_ttl < ttl_s)
			ttl_s = n->ai_ttl;
		if (name->count == RESOLVER_ADDRESSES_MAX)
			continue;
		struct netaddr address;
		netaddr_from_kernel(&address, n->ai_addr, n->ai_addrlen);
		netaddr_canonicalise(&address);
		netaddr_set_port(&address, 0);
		peer_addr_from(&name->addresses[name->count++], &address);
	}
	for (const struct ares_addrinfo_cname *c = found->cnames; c; c = c->next)
		if (c->ttl < ttl_s)
			ttl_s = c->ttl;
	return ttl_s > 0 ? ttl_s : 0;
}

WORKER_ONLY static void failed_to_find(struct name *name, int status)
{
	/* it is said to exist no more: the old addresses may be somebody else's by now */
	if (status == ARES_ENOTFOUND || status == ARES_ENODATA)
		name->count = 0;
	name->failing = true;
	struct worker *w = name->resolver->worker;
	uint64_t now_ms = worker_now_ms(w);
	name->expires_ms = now_ms + RETRY_MS;
	if (!log_allowed(&name_failures, now_ms))
		return;
	struct log_record r;
	log_begin(&r, LOG_LEVEL_WARNING, LOG_NAME_FAILED);
	log_field(&r, "USHER_NAME", "%s", name->text);
	log_submit(&r, "resolve %s: %s%s", name->text, ares_strerror(status),
		   name->count > 0 ? "; its old addresses go on being used" : "");
}

WORKER_ONLY static void say_found(const struct name *name, uint64_t ttl_ms)
{
	struct log_record r;
	log_begin(&r, LOG_LEVEL_DEBUG, LOG_GENERAL);
	log_field(&r, "USHER_NAME", "%s", name->text);
	log_submit(&r, "resolve %s: %u address%s, kept for %llu ms", name->text, name->count,
		   name->count == 1 ? "" : "es", (unsigned long long)ttl_ms);
}

WORKER_ONLY static void found(void *arg, int status, int timeouts UNUSED, struct ares_addrinfo *result)
{
	struct name *name = arg;
	struct resolver *r = name->resolver;
	r->under_way--;
	name->asking = false;
	if (r->closing) {
		/* with any status: half of an answer may have come. close_channel's caller asks anew. */
		if (result)
			ares_freeaddrinfo(result);
		return;
	}
	if (status == ARES_SUCCESS && result && result->nodes) {
		const struct resolver_config *settings = &r->config->resolver;
		uint64_t ttl_ms = (uint64_t)take_addresses(name, result) * 1000;
		if (ttl_ms < settings->ttl_min_ms)
			ttl_ms = settings->ttl_min_ms;
		if (ttl_ms > settings->ttl_max_ms)
			ttl_ms = settings->ttl_max_ms;
		name->expires_ms = worker_now_ms(r->worker) + ttl_ms;
		name->failing = false;
		say_found(name, ttl_ms);
	} else {
		failed_to_find(name, status == ARES_SUCCESS ? ARES_ENODATA : status);
	}
	if (result)
		ares_freeaddrinfo(result);
	answer_waiters(name);
}

WORKER_ONLY static void ask(struct resolver *r, struct name *name)
{
	int failed = open_channel(r);
	name->asking = true;
	r->under_way++;
	if (failed) {
		found(name, failed, 0, NULL);
		return;
	}
	struct ares_addrinfo_hints hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	ares_getaddrinfo(r->channel, name->text, NULL, &hints, found, name);
	arm_timer(r);
}

void resolver_lookup(struct resolver *r, const char *name_text, struct name_waiter *waiter)
{
	struct name *name = find_name(r, name_text);
	if (!name) {
		waiter->done(waiter, NULL, 0);
		return;
	}
	name->wanted_ms = worker_now_ms(r->worker);
	bool fresh = worker_now_ms(r->worker) < name->expires_ms;
	bool at_once = fresh || (name->failing && name->count > 0);
	if (!at_once) {
		waiter->name = name;
		list_append(&name->waiters, &waiter->node);
	}
	if (!fresh && !name->asking)
		ask(r, name);
	if (at_once)
		waiter->done(waiter, name->addresses, name->count);
}

bool resolver_has_old(const struct name_waiter *waiter)
{
	return !list_empty(&waiter->node) && waiter->name->count > 0;
}

void resolver_use_old(struct name_waiter *waiter)
{
	list_remove(&waiter->node);
	waiter->done(waiter, waiter->name->addresses, waiter->name->count);
}

void resolver_cancel(struct name_waiter *waiter)
{
	list_remove(&waiter->node);
}

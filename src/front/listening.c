/* SPDX-License-Identifier: MIT */
#include "front/listening.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/must.h"
#include "base/socket.h"
#include "config/socket_options.h"
#include "front/inherited.h"
#include "report/log.h"

void listening_log_fields(struct log_record *r, const struct listening *l, const struct listener_config *config,
			  int error)
{
	log_field(r, "USHER_LISTENER", "%s", config->name);
	log_field(r, "USHER_ADDRESS", "%s", l->address);
	log_field_errno(r, error);
}

struct listening *listening_destroy(struct listening *l)
{
	if (!l)
		return NULL;
	if (!l->passed) {
		if (l->path && !l->keeper)
			unix_path_remove(l->path, &l->path_id);
		fd_close(&l->fd);
	}
	account_unref(l->account);
	tls_set_unref(l->tls);
	free(l->key);
	free(l->address);
	free(l->path);
	free(l);
	return NULL;
}

/* What to do about it, where that is known. */
MAIN_ONLY static void add_way_out(struct text *why, int error, const struct netaddr *address)
{
	uint16_t port = netaddr_port(address);
	if (error == -EADDRINUSE && port > 0)
		text_printf(why, "; \"ss -ltnp sport = :%u\" shows by whom", port);
	else if (error == -EACCES && port > 0 && port < 1024)
		text_add(
			why,
			"; ports below 1024 need a start as root, CAP_NET_BIND_SERVICE, or a socket passed by systemd");
	else if (error == -EADDRNOTAVAIL)
		text_add(why, "; no interface of this machine has this address");
	else if (error == -EAFNOSUPPORT)
		text_add(why, "; this machine has no such address family (IPv6 may be switched off)");
	else if (error == -ENOENT && address->u.any.sa_family == AF_UNIX)
		text_add(why, "; the folder must exist");
}

MAIN_ONLY static struct listening *listening_create(const char *key)
{
	struct listening *l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	l->fd = -1;
	l->key = strdup(key);
	return l->key ? l : listening_destroy(l);
}

/* Where it really listens. */
MAIN_ONLY static int fill_address(struct listening *l)
{
	struct sockaddr_storage at;
	socklen_t length = sizeof(at);
	if (getsockname(l->fd, (struct sockaddr *)&at, &length) < 0)
		return -errno;
	struct netaddr address;
	netaddr_from_kernel(&address, (struct sockaddr *)&at, length);
	char bytes[NETADDR_TEXT_BYTES];
	struct text t;
	text_init(&t, bytes, sizeof(bytes));
	netaddr_add_text(&t, &address);
	l->address = strdup(t.at);
	return l->address ? 0 : -ENOMEM;
}

int listening_apply(const struct listening *l, const struct listener_config *config, struct text *why)
{
	struct socket_options options = config_socket_options(config);
	const char *which = "TCP_DEFER_ACCEPT";
	int failed = socket_set_options(l->fd, l->is_tcp, &options, &which);
	if (!failed && l->is_tcp)
		failed = socket_set_int(l->fd, IPPROTO_TCP, TCP_DEFER_ACCEPT,
					(int)((config->defer_accept_ms + 999) / 1000));
	if (failed) {
		text_printf(why, "set %s: %s", which, strerror(-failed));
		return failed;
	}
	/* the kernel cuts the backlog down to net.core.somaxconn */
	if (listen(l->fd, config->backlog > 0 ? config->backlog : INT_MAX) < 0) {
		failed = -errno;
		text_add(why, strerror(errno));
	}
	return failed;
}

MAIN_ONLY static int set_bind_options(const struct listening *l, const struct netaddr *address,
				      const struct listener_config *config, struct text *why)
{
	const char *which = "SO_REUSEADDR";
	int failed = socket_set_int(l->fd, SOL_SOCKET, SO_REUSEADDR, config->reuse_address);
	if (!failed && address->u.any.sa_family == AF_INET6) {
		which = "IPV6_V6ONLY";
		failed = socket_set_int(l->fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	}
	if (!failed && l->interface[0]) {
		which = l->interface;
		if (setsockopt(l->fd, SOL_SOCKET, SO_BINDTODEVICE, l->interface, (socklen_t)strlen(l->interface)) < 0)
			failed = -errno;
	}
	if (failed)
		text_printf(why, "%s %s: %s", which == l->interface ? "bind to interface" : "set", which,
			    strerror(-failed));
	return failed;
}

MAIN_ONLY static int bind_unix(struct listening *l, const struct netaddr *address, const struct listener_config *config,
			       struct text *why)
{
	if (address->u.local.sun_path[0] == '\0')
		return bind(l->fd, &address->u.any, address->length) < 0 ? -errno : 0;
	int failed = unix_path_bind(l->fd, address, &config->unix_socket, &l->path_id, why);
	if (failed)
		return failed;
	l->path = strdup(address->u.local.sun_path);
	return l->path ? 0 : -ENOMEM;
}

/* Opens a socket at `address`. On failure *why says what, unless it is the error's own text. */
MAIN_ONLY static int open_socket(struct listening *l, const struct netaddr *address,
				 const struct listener_config *config, struct text *why)
{
	l->is_tcp = address->u.any.sa_family != AF_UNIX;
	l->fd = socket(address->u.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (l->fd < 0)
		return -errno;
	int failed = 0;
	if (!l->is_tcp) {
		failed = bind_unix(l, address, config, why);
	} else {
		failed = set_bind_options(l, address, config, why);
		if (!failed && bind(l->fd, &address->u.any, address->length) < 0)
			failed = -errno;
	}
	return failed ? failed : listening_apply(l, config, why);
}

/* Completes *why after a failure. */
MAIN_ONLY static void explain(struct text *why, int error, const struct netaddr *address)
{
	if (why->length == 0)
		text_add(why, strerror(-error));
	add_way_out(why, error, address);
}

int listening_open(struct listening **to, const char *key, const struct endpoint *e, const struct netaddr *address,
		   const struct listener_config *config, struct text *why)
{
	struct listening *l = listening_create(key);
	int failed = -ENOMEM;
	if (l) {
		memcpy(l->interface, e->interface, sizeof(l->interface));
		l->any_port = address->u.any.sa_family != AF_UNIX && netaddr_port(&e->address) == 0;
		failed = open_socket(l, address, config, why);
	}
	if (!failed)
		failed = fill_address(l);
	if (!failed) {
		*to = l;
		return 0;
	}
	explain(why, failed, address);
	listening_destroy(l);
	return failed;
}

void listening_let_go(struct listening *l)
{
	if (!l->keeper)
		return;
	/* the copy would take connections that nobody accepts, for as long as there is one */
	socket_stop_listening(l->fd);
	l->keeper->let_go(l->keeper, l);
	l->keeper = NULL;
}

void listening_vacate(struct listening *l)
{
	l->vacated.length = sizeof(l->vacated.u);
	/* it cannot fail for a socket that listens */
	must(getsockname(l->fd, &l->vacated.u.any, &l->vacated.length) == 0);
	listening_let_go(l);
	fd_close(&l->fd);
}

int listening_return(struct listening *l, const struct listener_config *config, struct text *why)
{
	int failed = open_socket(l, &l->vacated, config, why);
	if (!failed)
		return 0;
	explain(why, failed, &l->vacated);
	fd_close(&l->fd);
	return failed;
}

uint16_t listening_port(const struct listening *l)
{
	struct netaddr address = {.length = sizeof(address.u)};
	if (getsockname(l->fd, &address.u.any, &address.length) < 0)
		return 0;
	return netaddr_port(&address);
}

/* Checks that a passed socket is one that usher can accept from. */
MAIN_ONLY static int check_passed(const struct listening *l, struct text *why)
{
	int type = 0;
	socklen_t length = sizeof(type);
	if (getsockopt(l->fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0) {
		text_add(why, "what systemd passed is not a socket");
		return -ENOTSOCK;
	}
	if (type != SOCK_STREAM) {
		text_add(why, "what systemd passed is not a stream socket; use ListenStream= in the socket unit");
		return -EPROTOTYPE;
	}
	int listening = 0;
	length = sizeof(listening);
	if (getsockopt(l->fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length) == 0 && !listening) {
		text_add(why, "what systemd passed does not listen; use Accept=no in the socket unit");
		return -EINVAL;
	}
	return 0;
}

int listening_take_passed(struct listening **to, const char *key, int fd, const struct listener_config *config,
			  struct text *why)
{
	struct listening *l = listening_create(key);
	if (!l) {
		text_add(why, strerror(ENOMEM));
		return -ENOMEM;
	}
	l->fd = fd;
	l->passed = true;
	int domain = 0;
	socklen_t length = sizeof(domain);
	l->is_tcp = getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain != AF_UNIX;
	int failed = check_passed(l, why);
	if (!failed)
		failed = fd_set_nonblock(fd);
	if (!failed)
		failed = listening_apply(l, config, why);
	if (!failed)
		failed = fill_address(l);
	if (!failed) {
		*to = l;
		return 0;
	}
	if (why->length == 0)
		text_add(why, strerror(-failed));
	listening_destroy(l);
	return failed;
}

/* Makes it what a new one would be. */
MAIN_ONLY static int renew(struct listening *l, const struct listener_config *config, struct text *why)
{
	int failed = fd_set_nonblock(l->fd);
	if (!failed && l->is_tcp)
		failed = socket_set_int(l->fd, SOL_SOCKET, SO_REUSEADDR, config->reuse_address);
	if (!failed)
		failed = listening_apply(l, config, why);
	if (!failed && l->path)
		failed = unix_path_set_owner(l->path, &l->path_id, &config->unix_socket, why);
	return failed;
}

int listening_take_inherited(struct listening **to, const char *key, struct inherited_socket *s,
			     struct listening_keeper *keeper, const struct listener_config *config, struct text *why)
{
	struct listening *l = listening_create(key);
	int failed = -ENOMEM;
	if (l) {
		l->fd = fd_take(&s->fd);
		l->keeper = keeper;
		l->inherited = true;
		l->is_tcp = s->address.u.any.sa_family != AF_UNIX;
		memcpy(l->interface, s->interface, sizeof(l->interface));
		failed = 0;
		if (!l->is_tcp && s->address.u.local.sun_path[0]) {
			l->path = strdup(s->address.u.local.sun_path);
			l->path_id = s->path_id;
			failed = l->path ? 0 : -ENOMEM;
		}
	}
	if (!failed)
		failed = renew(l, config, why);
	if (!failed)
		failed = fill_address(l);
	if (!failed) {
		*to = l;
		return 0;
	}
	explain(why, failed, &s->address);
	listening_destroy(l);
	return failed;
}

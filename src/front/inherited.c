/* SPDX-License-Identifier: MIT */
#include "front/inherited.h"

#include <errno.h>
#include <linux/socket.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "base/socket.h"

/* -1: it cannot be had. */
MAIN_ONLY static int option_of(int fd, int level, int option)
{
	int value = -1;
	socklen_t length = sizeof(value);
	return getsockopt(fd, level, option, &value, &length) < 0 ? -1 : value;
}

/* Whether it is of a kind that usher opens, with what only a new socket can be given. */
MAIN_ONLY static bool is_ours(int fd)
{
	if (option_of(fd, SOL_SOCKET, SO_TYPE) != SOCK_STREAM || option_of(fd, SOL_SOCKET, SO_ACCEPTCONN) != 1)
		return false;
	int protocol = option_of(fd, SOL_SOCKET, SO_PROTOCOL);
	switch (option_of(fd, SOL_SOCKET, SO_DOMAIN)) {
	case AF_INET:
		return protocol == IPPROTO_TCP;
	case AF_INET6:
		return protocol == IPPROTO_TCP && option_of(fd, IPPROTO_IPV6, IPV6_V6ONLY) == 1;
	case AF_UNIX:
		return protocol == 0;
	default:
		return false;
	}
}

MAIN_ONLY static bool is_link_local(const struct netaddr *a)
{
	return a->u.any.sa_family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&a->u.in6.sin6_addr);
}

/* Fills in where it listens. Returns false if the kernel does not tell. */
MAIN_ONLY static bool ask_where(struct inherited_socket *s)
{
	struct sockaddr_storage at;
	socklen_t length = sizeof(at);
	if (getsockname(s->fd, (struct sockaddr *)&at, &length) < 0)
		return false;
	netaddr_from_kernel(&s->address, (struct sockaddr *)&at, length);
	/* the kernel binds a link-local address to its interface by itself, and the address says to which */
	if (s->address.u.any.sa_family == AF_UNIX || is_link_local(&s->address))
		return true;
	length = sizeof(s->interface);
	return getsockopt(s->fd, SOL_SOCKET, SO_BINDTODEVICE, s->interface, &length) == 0;
}

void inherited_init(struct inherited_socket *s, int fd, const struct unix_path_id *path_id)
{
	*s = (struct inherited_socket){.fd = fd, .path_id = *path_id};
	s->usable = is_ours(fd) && ask_where(s);
	if (!s->usable)
		return;
	s->elsewhere = socket_is_elsewhere(fd);
	/* a kernel before 5.14 does not tell, and what was set stays set */
	int fixed = option_of(fd, SOL_SOCKET, SO_BUF_LOCK);
	s->fixed_buffers = fixed < 0 ? 0 : (unsigned)fixed;
}

bool inherited_has_file(const struct inherited_socket *s)
{
	return s->usable && s->address.u.any.sa_family == AF_UNIX && s->address.u.local.sun_path[0] != '\0';
}

MAIN_ONLY static bool fits(const struct inherited_socket *s, const struct netaddr *address, const char *interface,
			   const struct listener_config *config)
{
	if (!s->usable || s->fd < 0 || !netaddr_equal(&s->address, address) || strcmp(s->interface, interface) != 0)
		return false;
	/* nobody could connect to one whose file is gone, or is another's */
	if (inherited_has_file(s) && !unix_path_is(s->address.u.local.sun_path, &s->path_id))
		return false;
	/* PrivateNetwork= was set, say: whoever it was to shut out would still come in. A file is where it is in all networks */
	if (s->elsewhere && !inherited_has_file(s))
		return false;
	/* what was set once cannot become the kernel's choice again */
	return !((s->fixed_buffers & SOCK_RCVBUF_LOCK) && config->receive_buffer_bytes == 0) &&
	       !((s->fixed_buffers & SOCK_SNDBUF_LOCK) && config->send_buffer_bytes == 0);
}

MAIN_ONLY static void match(struct inherited_sockets *set, const struct netaddr *address, const char *interface,
			    const struct listener_config *config)
{
	for (unsigned i = 0; i < set->count; i++) {
		struct inherited_socket *s = &set->at[i];
		if (s->wanted || !fits(s, address, interface, config))
			continue;
		s->wanted = true;
		return;
	}
}

MAIN_ONLY static void match_endpoint(struct inherited_sockets *set, const struct endpoint *e,
				     const struct listener_config *config)
{
	if (e->kind == ENDPOINT_ADDRESS)
		match(set, &e->address, e->interface, config);
	if (e->kind != ENDPOINT_ANY)
		return;
	struct netaddr any;
	netaddr_any(&any, AF_INET, netaddr_port(&e->address));
	match(set, &any, e->interface, config);
	netaddr_any(&any, AF_INET6, netaddr_port(&e->address));
	match(set, &any, e->interface, config);
}

void inherited_match(struct inherited_sockets *set, const struct config *config)
{
	for (unsigned i = 0; i < config->listener_count; i++) {
		const struct listener_config *l = &config->listeners[i];
		for (unsigned e = 0; e < l->listen.count; e++)
			match_endpoint(set, &l->endpoints[e], l);
	}
}

struct inherited_socket *inherited_find(struct inherited_sockets *set, const struct netaddr *address,
					const char *interface, const struct listener_config *config)
{
	for (unsigned i = 0; set && i < set->count; i++)
		if (set->at[i].wanted && fits(&set->at[i], address, interface, config))
			return &set->at[i];
	return NULL;
}

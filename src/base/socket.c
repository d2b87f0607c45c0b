/* SPDX-License-Identifier: MIT */
#include "base/socket.h"

#include <errno.h>
#include <limits.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/peer_credentials.h"

int socket_set_int(int fd, int level, int option, int value)
{
	return setsockopt(fd, level, option, &value, sizeof(value)) < 0 ? -errno : 0;
}

int socket_set_options(int fd, bool is_tcp, const struct socket_options *o, const char **which)
{
	const struct {
		bool wanted;
		int level;
		int option;
		unsigned value;
		const char *name;
	} rows[] = {
		{is_tcp, IPPROTO_TCP, TCP_NODELAY, o->nodelay, "TCP_NODELAY"},
		{is_tcp, SOL_SOCKET, SO_KEEPALIVE, o->keepalive, "SO_KEEPALIVE"},
		{is_tcp && o->keepalive, IPPROTO_TCP, TCP_KEEPIDLE, o->keepalive_idle_s, "TCP_KEEPIDLE"},
		{is_tcp && o->keepalive, IPPROTO_TCP, TCP_KEEPINTVL, o->keepalive_interval_s, "TCP_KEEPINTVL"},
		{is_tcp && o->keepalive, IPPROTO_TCP, TCP_KEEPCNT, o->keepalive_count, "TCP_KEEPCNT"},
		{is_tcp, IPPROTO_TCP, TCP_USER_TIMEOUT, o->user_timeout_ms, "TCP_USER_TIMEOUT"},
		{o->receive_buffer_bytes > 0, SOL_SOCKET, SO_RCVBUF, o->receive_buffer_bytes, "SO_RCVBUF"},
		{o->send_buffer_bytes > 0, SOL_SOCKET, SO_SNDBUF, o->send_buffer_bytes, "SO_SNDBUF"},
	};
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (!rows[i].wanted)
			continue;
		int failed = socket_set_int(fd, rows[i].level, rows[i].option, (int)rows[i].value);
		if (failed) {
			*which = rows[i].name;
			return failed;
		}
	}
	return 0;
}

unsigned socket_backlog(int fd, bool is_tcp)
{
	struct tcp_info info;
	socklen_t length = sizeof(info);
	if (!is_tcp || getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0)
		return UINT_MAX;
	return info.tcpi_unacked; /* of a listening socket: its accept queue */
}

void socket_add_peer(struct text *t, int fd, const struct peer_addr *peer)
{
	struct ucred who;
	socklen_t length = sizeof(who);
	peer_addr_add_text(t, peer);
	if (peer->u.any.sa_family == AF_UNIX && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &length) == 0)
		text_printf(t, " pid %d uid %u", (int)who.pid, (unsigned)who.uid);
}

void socket_add_source(struct text *t, int fd, const struct peer_addr *peer, unsigned ipv4_bits, unsigned ipv6_bits)
{
	struct ucred who;
	peer_addr_add_network(t, peer, ipv4_bits, ipv6_bits);
	if (peer->u.any.sa_family == AF_UNIX && peer_credentials(fd, &who))
		text_printf(t, " uid %u", (unsigned)who.uid);
}

/* 0: it is not told. */
static uint64_t network_of(int fd)
{
	uint64_t cookie = 0;
	socklen_t length = sizeof(cookie);
	return getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) < 0 ? 0 : cookie;
}

bool socket_is_elsewhere(int fd)
{
	int own = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (own < 0)
		return false;
	uint64_t ours = network_of(own);
	uint64_t its = network_of(fd);
	fd_close(&own);
	return ours != 0 && its != 0 && ours != its;
}

void socket_reset_at_close(int fd)
{
	/* it can only fail for what is no socket; then there is nobody to reset either */
	struct linger at_once = {.l_onoff = 1, .l_linger = 0};
	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
}

void socket_stop_listening(int fd)
{
	/* both can only fail for what is no socket, or listens no longer */
	(void)!socket_set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	(void)shutdown(fd, SHUT_RDWR);
}

void socket_connect_with_bytes(int fd)
{
	/* as long as it holds: the kernel goes back to confirming at once after that */
	(void)!socket_set_int(fd, IPPROTO_TCP, TCP_QUICKACK, 0);
}

void socket_push(int fd)
{
	/* it can only fail for what is no TCP socket, which keeps nothing back */
	(void)!socket_set_int(fd, IPPROTO_TCP, TCP_CORK, 0);
}

size_t socket_unsent(int fd)
{
	int bytes = 0;
	return ioctl(fd, SIOCOUTQ, &bytes) < 0 || bytes < 0 ? 0 : (size_t)bytes;
}

size_t socket_unread(int fd)
{
	int bytes = 0;
	return ioctl(fd, SIOCINQ, &bytes) < 0 || bytes < 0 ? 0 : (size_t)bytes;
}

int socket_take_error(int fd)
{
	int error = 0;
	socklen_t length = sizeof(error);
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
		return -errno;
	return -error;
}

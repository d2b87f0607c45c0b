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

/* An option: when it is wanted, and its name. */
struct row {
	bool wanted;
	int level;
	int option;
	unsigned value;
	const char *name;
};

static int set_rows(int fd, const struct row *rows, size_t count, const char **which)
{
	for (size_t i = 0; i < count; i++) {
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

/* `is_new`: it has all that the kernel gives to a socket, so that only what is to be otherwise is set. */
static int set_for_bytes(int fd, bool is_tcp, bool is_new, const struct socket_options *o, const char **which)
{
	const struct row rows[] = {
		{is_tcp && (o->nodelay || !is_new), IPPROTO_TCP, TCP_NODELAY, o->nodelay, "TCP_NODELAY"},
		{o->receive_buffer_bytes > 0, SOL_SOCKET, SO_RCVBUF, o->receive_buffer_bytes, "SO_RCVBUF"},
		{o->send_buffer_bytes > 0, SOL_SOCKET, SO_SNDBUF, o->send_buffer_bytes, "SO_SNDBUF"},
	};
	return set_rows(fd, rows, ARRAY_LEN(rows), which);
}

static int set_for_dead_peers(int fd, bool is_new, const struct socket_options *o, const char **which)
{
	const struct row rows[] = {
		{o->keepalive || !is_new, SOL_SOCKET, SO_KEEPALIVE, o->keepalive, "SO_KEEPALIVE"},
		{o->keepalive, IPPROTO_TCP, TCP_KEEPIDLE, o->keepalive_idle_s, "TCP_KEEPIDLE"},
		{o->keepalive, IPPROTO_TCP, TCP_KEEPINTVL, o->keepalive_interval_s, "TCP_KEEPINTVL"},
		{o->keepalive, IPPROTO_TCP, TCP_KEEPCNT, o->keepalive_count, "TCP_KEEPCNT"},
		{o->user_timeout_ms > 0 || !is_new, IPPROTO_TCP, TCP_USER_TIMEOUT, o->user_timeout_ms,
		 "TCP_USER_TIMEOUT"},
	};
	return set_rows(fd, rows, ARRAY_LEN(rows), which);
}

int socket_set_options(int fd, bool is_tcp, const struct socket_options *o, const char **which)
{
	int failed = set_for_bytes(fd, is_tcp, false, o, which);
	return failed || !is_tcp ? failed : set_for_dead_peers(fd, false, o, which);
}

int socket_set_new(int fd, bool is_tcp, const struct socket_options *o, const char **which)
{
	return set_for_bytes(fd, is_tcp, true, o, which);
}

int socket_set_new_dead_peers(int fd, const struct socket_options *o, const char **which)
{
	return set_for_dead_peers(fd, true, o, which);
}

bool socket_dead_peers_can_wait(const struct socket_options *o, unsigned ms)
{
	return (!o->keepalive || o->keepalive_idle_s >= (ms + 999) / 1000) &&
	       (o->user_timeout_ms == 0 || o->user_timeout_ms / 2 >= ms);
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

/* SPDX-License-Identifier: MIT */
/* Options of stream sockets. Thread: any. */
#ifndef BASE_SOCKET_H
#define BASE_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/netaddr.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 /* newer than the headers */
#endif

/* Listening sockets hand all of these down to the sockets that they accept. */
struct socket_options {
	bool nodelay;
	bool keepalive;
	unsigned keepalive_idle_s;
	unsigned keepalive_interval_s;
	unsigned keepalive_count;
	unsigned user_timeout_ms;      /* 0: the kernel's retransmission limit */
	unsigned receive_buffer_bytes; /* 0: the kernel's choice */
	unsigned send_buffer_bytes;
};

/* Sets them; those of TCP only if `is_tcp`. Returns 0, or the -errno of the first that failed with its name in
 * *which. */
int socket_set_options(int fd, bool is_tcp, const struct socket_options *o, const char **which) MUST_CHECK;

/* The same of a new socket, in two steps, each with no more calls than it takes: what sending and receiving need; and, of TCP,
 * how it is found that the peer has gone. */
int socket_set_new(int fd, bool is_tcp, const struct socket_options *o, const char **which) MUST_CHECK;
int socket_set_new_dead_peers(int fd, const struct socket_options *o, const char **which) MUST_CHECK;

/* Whether the second step may come so long after the connect, and a peer that has gone is found at the same time: TCP counts
 * both of the times from when it last heard of the peer. */
bool socket_dead_peers_can_wait(const struct socket_options *o, unsigned ms) MUST_CHECK;

/* Sets one option of type int. Returns 0 or -errno. */
int socket_set_int(int fd, int level, int option, int value) MUST_CHECK;

/* How many connections wait in a listening socket's backlog; UINT_MAX where the kernel does not tell (UNIX). */
unsigned socket_backlog(int fd, bool is_tcp);

/* Adds who is at the other end: "10.0.0.1:4711", or of a UNIX socket "unix pid 4711 uid 1000". */
void socket_add_peer(struct text *t, int fd, const struct peer_addr *peer);

/* The same of what counts as one source, by these prefixes: "10.0.0.1", "2001:db8::/64", "unix uid 1000", of a user whom the
 * kernel cannot name "unix". */
void socket_add_source(struct text *t, int fd, const struct peer_addr *peer, unsigned ipv4_bits, unsigned ipv6_bits);

/* Whether it belongs to another network namespace than ours. False where the kernel does not tell (before 5.14). */
bool socket_is_elsewhere(int fd);

/* Makes closing a TCP socket send a reset. */
void socket_reset_at_close(int fd);

/* Ends listening for all who have the socket: who waits in its backlog, or connects, is refused, and its TCP address is free
 * for a socket that sets SO_REUSEADDR, even while others still have a descriptor of it. */
void socket_stop_listening(int fd);

/* Before a connect after which bytes are sent at once: the last step of TCP's handshake goes with these. If none come the
 * kernel takes it without them, 200 ms later. */
void socket_connect_with_bytes(int fd);

/* Sends what the kernel keeps back of a TCP socket because of MSG_MORE. */
void socket_push(int fd);

/* How much of TCP's sequence the peer has not confirmed yet: bytes, and the end as one more. */
size_t socket_unsent(int fd);

/* How many bytes wait to be read; an end counts for none. */
size_t socket_unread(int fd);

/* The socket's pending error, cleared, as -errno; 0: none. */
int socket_take_error(int fd);

#endif

/* SPDX-License-Identifier: MIT */
/* The facts of a connection's close record. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "base/socket.h"
#include "report/close_record.h"
#include "report/log.h"
#include "transport/tls.h"
#include "worker/conn_priv.h"
#include "worker/worker.h"

/* The most that is told of a certificate's subject. */
#define SUBJECT_BYTES 256

/* An IPv6 address with the name of its interface, escaped. */
#define HOST_BYTES 128

/* Who the client is. */
struct client_text {
	char peer[NETADDR_TEXT_BYTES];
	char address[HOST_BYTES]; /* empty: it has none (UNIX) */
	char source[HOST_BYTES];
};

static void client_text_make(struct client_text *to, int fd, const struct peer_addr *peer, const struct config *config)
{
	const struct sources_config *sources = &config->door.sources;
	struct text t;
	text_init(&t, to->peer, sizeof(to->peer));
	socket_add_peer(&t, fd, peer);
	text_init(&t, to->address, sizeof(to->address));
	if (peer->u.any.sa_family != AF_UNIX)
		peer_addr_add_host(&t, peer);
	/* the same as in records of refusals and bans, so that one search finds all of it */
	text_init(&t, to->source, sizeof(to->source));
	socket_add_source(&t, fd, peer, (unsigned)sources->ipv4_prefix, (unsigned)sources->ipv6_prefix);
}

WORKER_ONLY static struct close_tcp tcp_facts(const struct stream *s)
{
	struct tcp_info info;
	socklen_t length = sizeof(info);
	if (!stream_is_open(s) || !s->is_tcp || getsockopt(s->fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0)
		return (struct close_tcp){.known = false};
	return (struct close_tcp){.known = true, .rtt_us = info.tcpi_rtt, .retransmits = info.tcpi_total_retrans};
}

static void add_local(struct text *t, int fd)
{
	struct sockaddr_storage at;
	socklen_t length = sizeof(at);
	if (getsockname(fd, (struct sockaddr *)&at, &length) < 0)
		return;
	struct netaddr address;
	netaddr_from_kernel(&address, (struct sockaddr *)&at, length);
	netaddr_canonicalise(&address);
	netaddr_add_text(t, &address);
}

/* "10.0.0.1:80", or of a name "db.example:80 (10.0.0.1:80)". */
WORKER_ONLY static void add_upstream(struct text *t, const struct conn *c)
{
	endpoint_add_text(t, c->upstream_at);
	if (c->upstream_at->kind != ENDPOINT_NAME)
		return;
	text_add(t, " (");
	peer_addr_add_text(t, &c->upstream_peer);
	text_add(t, ")");
}

void conn_report_add(struct log_record *r, const struct conn *c)
{
	struct client_text client;
	client_text_make(&client, c->client.stream.fd, &c->peer, c->config);
	log_field(r, "USHER_CONNECTION", "%llu", (unsigned long long)c->number);
	log_field(r, "USHER_LISTENER", "%s", c->listener->name);
	log_field(r, "USHER_PEER", "%s", client.peer);
	if (client.address[0])
		log_field(r, "USHER_PEER_ADDRESS", "%s", client.address);
	log_field(r, "USHER_SOURCE", "%s", client.source);
}

void conn_report_open(const struct conn *c)
{
	if (!log_wants(LOG_LEVEL_DEBUG))
		return;
	char bytes[NETADDR_TEXT_BYTES];
	struct text peer;
	text_init(&peer, bytes, sizeof(bytes));
	socket_add_peer(&peer, c->client.stream.fd, &c->peer);
	struct log_record r;
	log_begin(&r, LOG_LEVEL_DEBUG, LOG_CONNECTED);
	conn_report_add(&r, c);
	log_field(&r, "USHER_WORKER", "%u", c->worker->index);
	log_submit(&r, "%s: connection %llu: %s came in, worker %u", c->listener->name, (unsigned long long)c->number,
		   peer.at, c->worker->index);
}

/* `subject` is memory for the peer's. */
WORKER_ONLY static struct close_tls tls_facts_of(const struct stream *s, struct text *subject)
{
	struct close_tls to = {0};
	struct tls_session *session = stream_tls_session(s);
	struct tls_facts facts;
	if (!session)
		return to;
	to.error = tls_session_failure_text(session);
	if (!tls_session_facts(session, &facts))
		return to;
	tls_session_add_subject(session, subject);
	to.version = facts.version;
	to.cipher = facts.cipher;
	to.sni = facts.sni;
	to.alpn = facts.alpn;
	to.subject = subject->at;
	to.resumed = facts.resumed;
	return to;
}

void conn_report_close(struct conn *c, enum close_reason reason, uint64_t bytes_out)
{
	if (!log_wants(LOG_LEVEL_INFO))
		return;
	char bytes[2][NETADDR_TEXT_BYTES];
	struct client_text client;
	struct text local;
	struct text upstream;
	text_init(&local, bytes[0], sizeof(bytes[0]));
	text_init(&upstream, bytes[1], sizeof(bytes[1]));
	client_text_make(&client, c->client.stream.fd, &c->peer, c->config);
	add_local(&local, c->client.stream.fd);
	if (c->upstream_at)
		add_upstream(&upstream, c);

	char subject_bytes[2][SUBJECT_BYTES];
	struct text subject[2];
	text_init(&subject[0], subject_bytes[0], SUBJECT_BYTES);
	text_init(&subject[1], subject_bytes[1], SUBJECT_BYTES);

	struct close_facts facts = {
		.connection = c->number,
		.listener = c->listener->name,
		.service = c->service->group->name,
		.peer = client.peer,
		.peer_address = client.address,
		.source = client.source,
		.local = local.at,
		.upstream = c->upstream_at ? upstream.at : NULL,
		.duration_ms = worker_now_ms(c->worker) - c->opened_ms,
		.bytes_in = c->client.stream.bytes_in,
		.bytes_out = bytes_out,
		.reason = close_reason_facts[reason].name,
		.reason_text = close_reason_facts[reason].text,
		.is_error = close_reason_facts[reason].is_error,
		.client_tcp = tcp_facts(&c->client.stream),
		.upstream_tcp = tcp_facts(&c->upstream.stream),
		.client_tls = tls_facts_of(&c->client.stream, &subject[0]),
		.upstream_tls = tls_facts_of(&c->upstream.stream, &subject[1]),
	};
	if (c->upstream_error)
		facts.upstream_tls.error = c->upstream_error;
	close_record_write(&facts);
}

void conn_report_refused(const struct seat *seat, enum close_reason reason)
{
	char local_bytes[NETADDR_TEXT_BYTES];
	struct client_text client;
	struct text local;
	text_init(&local, local_bytes, sizeof(local_bytes));
	client_text_make(&client, seat->fd, &seat->peer, seat->config);
	add_local(&local, seat->fd);
	struct close_facts facts = {
		.connection = seat->connection,
		.listener = seat->listener->name,
		.service = services[seat->listener->service]->group->name,
		.peer = client.peer,
		.peer_address = client.address,
		.source = client.source,
		.local = local.at,
		.reason = close_reason_facts[reason].name,
		.reason_text = close_reason_facts[reason].text,
		.is_error = close_reason_facts[reason].is_error,
	};
	close_record_write(&facts);
}

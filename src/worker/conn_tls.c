/* SPDX-License-Identifier: MIT */
/* A connection whose client speaks TLS, until that is agreed on. */
#include <errno.h>

#include "report/log.h"
#include "transport/tls.h"
#include "worker/conn_priv.h"
#include "worker/worker.h"

/* Steps of handshakes in one turn. One with an RSA key costs most of a millisecond, for which all others wait. */
#define HANDSHAKES_A_TURN 4

static struct log_limit refusals = LOG_LIMIT_INIT("refused client certificates");

bool conn_may_shake(struct conn *c)
{
	struct worker *w = c->worker;
	bool its_turn = w->shaker == &c->again;
	if (!its_turn && (w->handshakes >= HANDSHAKES_A_TURN || !list_empty(&w->shakes))) {
		if (list_empty(&c->again))
			list_append(&w->shakes, &c->again);
		return false;
	}
	w->shaker = NULL;
	w->handshakes++;
	return true;
}

void conn_shake_all(struct worker *w)
{
	while (w->handshakes < HANDSHAKES_A_TURN && !list_empty(&w->shakes)) {
		w->shaker = list_take_first(&w->shakes);
		conn_go_on(w->shaker);
	}
	w->shaker = NULL;
}

void conn_handshake_start(struct conn *c)
{
	struct tls_session *session;
	int failed = tls_session_accept(&session, c->tls);
	if (!failed)
		failed = stream_start_tls(&c->client.stream, &session, c->worker->tls_io);
	if (failed) {
		conn_close(c, CLOSE_no_memory);
		return;
	}
	timer_start(&c->worker->timers, &c->timer, c->opened_ms + c->listener->timeouts.handshake_ms);
}

/* Whether there is room for several more. */
static bool has_room(const struct limits_config *limits, unsigned under_way)
{
	unsigned most = (unsigned)limits->handshakes;
	return most > 0 && under_way < most - most / 8;
}

void conn_handshake_over(struct conn *c)
{
	if (!c->shaking)
		return;
	c->shaking = false;
	unsigned left = atomic_fetch_sub_explicit(&c->account->handshakes, 1, memory_order_relaxed) - 1;
	unsigned all = atomic_fetch_sub_explicit(c->worker->all_handshakes, 1, memory_order_relaxed) - 1;
	/* main is woken for several at once: a wake-up costs as much as a small part of a handshake */
	if (has_room(&c->listener->limits, left) || has_room(&c->config->door.limits, all))
		doorbell_ring(c->worker->doorbell);
}

static enum close_reason reason_of(enum tls_failure failure)
{
	switch (failure) {
	case TLS_FAILURE_PLAIN:
		return CLOSE_tls_plain;
	case TLS_FAILURE_VERSION:
		return CLOSE_tls_version;
	case TLS_FAILURE_NOTHING_SHARED:
		return CLOSE_tls_nothing_shared;
	case TLS_FAILURE_ALERT:
		return CLOSE_tls_alert;
	case TLS_FAILURE_NO_CERTIFICATE:
		return CLOSE_tls_no_certificate;
	case TLS_FAILURE_UNTRUSTED:
		return CLOSE_tls_untrusted;
	case TLS_FAILURE_REFUSED:
		return CLOSE_tls_refused;
	default:
		return CLOSE_tls_handshake;
	}
}

/* Who it was that may not come in. */
WORKER_ONLY static void report_refused(const struct conn *c)
{
	const struct tls_session *session = stream_tls_session(&c->client.stream);
	struct tls_refused who;
	if (!tls_session_refused(session, &who) || !log_allowed(&refusals, worker_now_ms(c->worker)))
		return;
	char bytes[NETADDR_TEXT_BYTES];
	struct text peer;
	text_init(&peer, bytes, sizeof(bytes));
	peer_addr_add_text(&peer, &c->peer);
	struct log_record r;
	log_begin(&r, LOG_LEVEL_WARNING, LOG_TLS_REFUSED);
	conn_report_add(&r, c);
	log_field(&r, "USHER_TLS_CLIENT", "%s", who.subject);
	log_field(&r, "USHER_TLS_ISSUER", "%s", who.issuer);
	log_field(&r, "USHER_TLS_SERIAL", "%s", who.serial);
	log_field(&r, "USHER_TLS_FINGERPRINT", "%s", who.fingerprint);
	log_field(&r, "USHER_TLS_ERROR", "%s", tls_session_failure_text(session));
	log_submit(&r, "%s: %s: certificate not accepted: %s: subject %s, issuer %s, serial %s, SHA-256 %s",
		   c->listener->name, peer.at, tls_session_failure_text(session), who.subject, who.issuer, who.serial,
		   who.fingerprint);
}

WORKER_ONLY static void handshake_failed(struct conn *c, int error)
{
	conn_handshake_over(c);
	switch (-error) {
	case EBADMSG:
		report_refused(c);
		/* its alert goes out, and a clean end behind it: a reset could take the alert back */
		conn_finish(c, reason_of(tls_session_failure(stream_tls_session(&c->client.stream))));
		break;
	case ENODATA:
	case ECONNRESET:
	case EPIPE:
		conn_close(c, CLOSE_tls_aborted);
		break;
	default:
		conn_fail(c, error);
		break;
	}
}

void conn_handshake_go(struct conn *c)
{
	if (!conn_may_shake(c))
		return;
	int failed = stream_handshake(&c->client.stream);
	if (failed == -EAGAIN)
		return;
	if (failed) {
		handshake_failed(c, failed);
		return;
	}
	conn_handshake_over(c);
	conn_begin(c);
	/* what came behind the handshake has no edge of its own */
	if (c->client.stream.can_read)
		conn_go(c);
}

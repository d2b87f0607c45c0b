/* SPDX-License-Identifier: MIT */
/* TLS over real TCP: bytes, ends and resets as the kernel delivers them, abuse, sleep. */
#include <check.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "../suite.h"
#include "../tls/pages.h"
#include "tls_ends.h"

#define MIB (1024UL * 1024)

/* As in transport/tls.c: who makes us keep that much is not heard until it takes some. */
#define SEALED_MAX_BYTES (136U * 1024U)

static struct end end;
static struct peer peer = {.fd = -1};

static void setup(void)
{
	ends_setup();
	join(&end, &peer, 0);
	accept_tls(&end);
}

static void teardown(void)
{
	stream_close(&end.stream, false);
	peer_close(&peer);
	ends_teardown();
}

/* Anew, with other sizes of the sockets' buffers. */
static void rejoin(int bytes)
{
	stream_close(&end.stream, false);
	peer_close(&peer);
	join(&end, &peer, bytes);
	accept_tls(&end);
}

static void speak(int version)
{
	peer_speak_tls(&peer, peer_client, version);
	shake(&end, &peer);
}

static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

/* Sends bytes to the end past the peer's TLS. */
static void send_raw(const void *bytes, size_t n)
{
	ck_assert_int_eq(send(peer.fd, bytes, n, MSG_NOSIGNAL), (ssize_t)n);
}

/* Goes on with the handshake until it is over. */
static int shake_result(void)
{
	int result;
	while ((result = stream_handshake(&end.stream)) == -EAGAIN)
		await();
	return result;
}

/* What the peer's client would say next, taken out of its hands. Returns how many bytes. */
static size_t hold_back(SSL *ssl, bool (*say)(struct peer *), uint8_t *to, size_t n)
{
	BIO *memory = BIO_new(BIO_s_mem());
	char *at = NULL;
	SSL_set0_wbio(ssl, memory);
	say(&peer);
	long made = BIO_get_mem_data(memory, &at);
	ck_assert(made > 0 && (size_t)made <= n);
	memcpy(to, at, (size_t)made);
	BIO *rbio = SSL_get_rbio(ssl);
	BIO_up_ref(rbio);
	SSL_set0_wbio(ssl, rbio);
	return (size_t)made;
}

/* ---- bytes */

static const struct {
	size_t total;
	size_t chunk;
	size_t n;
} sizes[] = {
	{1, 1, 1},
	{20000, 20000, 1},
	{200000, 65536, 100},
	{300000, 1, 16384},
	{4 * MIB, 65536, 16383},
	{4 * MIB, 65536, 16384},
	{4 * MIB, 10000, 100000},
	{8 * MIB, 65536, 262144},
};

START_TEST(bytes_come_in_however_they_are_read)
{
	for (size_t v = 0; v < 2; v++) {
		rejoin(0);
		speak(versions[v]);
		pass_in(&end, &peer, sizes[_i].total, sizes[_i].chunk, sizes[_i].n);
		ck_assert_uint_eq(end.stream.bytes_in, sizes[_i].total);
	}
}
END_TEST

START_TEST(bytes_go_out_however_they_are_sent)
{
	for (size_t v = 0; v < 2; v++) {
		rejoin(0);
		speak(versions[v]);
		size_t total = sizes[_i].total < 20000 ? sizes[_i].total : sizes[_i].total / 2;
		pass_out(&end, &peer, total, sizes[_i].chunk == 1 ? 1000 : sizes[_i].n * 3 / 2);
		ck_assert_uint_eq(end.stream.bytes_out, total);
	}
}
END_TEST

START_TEST(small_socket_buffers_change_nothing)
{
	rejoin(SMALL_BUFFERS);
	speak(versions[_i]);
	pass_in(&end, &peer, MIB, 30000, 100000);
	pass_out(&end, &peer, MIB, 100000);
	pass_in(&end, &peer, MIB, 30000, 1000);
}
END_TEST

START_TEST(what_the_kernel_does_not_take_is_kept_and_goes_out_later)
{
	size_t sent = 0;
	size_t got = 0;
	rejoin(SMALL_BUFFERS);
	speak(versions[_i]);
	while (stream_held(&end.stream) == 0) {
		pattern_fill(scratch, sent, 100000);
		ck_assert_int_eq(stream_send(&end.stream, scratch, 100000), 0);
		sent += 100000;
	}
	ck_assert_uint_gt(end.stream.sealed, 0);
	ck_assert_uint_le(end.stream.sealed, SEALED_BYTES_MAX);
	ck_assert(!stream_is_out(&end.stream));
	ck_assert_uint_gt(stream_unconfirmed(&end.stream), end.stream.sealed / 2);
	while (got < sent) {
		int failed = stream_flush(&end.stream);
		ck_assert_msg(failed == 0 || failed == -EAGAIN, "%d", failed);
		if (!peer_take_pattern(&peer, &got, sent))
			await();
	}
	ck_assert_int_eq(stream_flush(&end.stream), 0);
	ck_assert_uint_eq(end.stream.sealed, 0);
	ck_assert_ptr_null(end.stream.held);
	ck_assert_uint_eq(end.stream.bytes_out, sent);
}
END_TEST

static bool shake_and_speak(struct peer *p)
{
	ck_assert(peer_shake(p));
	return peer_write(p, (const uint8_t *)"at once", 7) == 7;
}

START_TEST(data_behind_the_handshake_needs_no_edge)
{
	uint8_t flight[8192];
	peer_speak_tls(&peer, peer_client, TLS1_3_VERSION);
	ck_assert(!peer_shake(&peer));
	await();
	ck_assert_int_eq(stream_handshake(&end.stream), -EAGAIN);
	struct pollfd answer = {.fd = peer.fd, .events = POLLIN};
	ck_assert_int_eq(poll(&answer, 1, -1), 1);
	size_t n = hold_back(peer.ssl, shake_and_speak, flight, sizeof(flight));
	send_raw(flight, n);
	ck_assert_int_eq(shake_result(), 0);
	ck_assert(end.stream.can_read);
	ck_assert_int_eq(stream_read(&end.stream, scratch, 100), 7);
	ck_assert_mem_eq(scratch, "at once", 7);
	ck_assert_int_eq(stream_read(&end.stream, scratch, 100), -EAGAIN);
	ck_assert(!end.stream.can_read);
}
END_TEST

START_TEST(the_least_flight_of_all_works)
{
	/* each byte that the client sends comes alone */
	uint8_t flight[16384];
	size_t steps = 0;
	peer_speak_tls(&peer, peer_client, versions[_i]);
	for (bool ours = false, theirs = false; !ours || !theirs;) {
		BIO *memory = BIO_new(BIO_s_mem());
		char *at = NULL;
		SSL_set0_wbio(peer.ssl, memory);
		theirs = peer_shake(&peer);
		long n = BIO_get_mem_data(memory, &at);
		ck_assert_int_le(n, sizeof(flight));
		if (n > 0)
			memcpy(flight, at, (size_t)n);
		for (long i = 0; i < n; i++) {
			send_raw(flight + i, 1);
			while (!end.stream.can_read)
				await();
			int result = stream_handshake(&end.stream);
			ck_assert(result == 0 || result == -EAGAIN);
			ours = result == 0;
			steps++;
		}
		BIO *rbio = SSL_get_rbio(peer.ssl);
		BIO_up_ref(rbio);
		SSL_set0_wbio(peer.ssl, rbio);
		if (n == 0 && !theirs)
			await();
	}
	ck_assert_uint_gt(steps, 100);
	pass_in(&end, &peer, 1000, 1000, 1000);
}
END_TEST

/* ---- ends */

START_TEST(close_notify_ends_one_direction)
{
	speak(versions[_i]);
	ck_assert_int_eq(peer_write(&peer, (const uint8_t *)"last", 4), 4);
	peer_end(&peer);
	ck_assert_int_eq(end_await(&end, scratch, 100), 4);
	ck_assert_int_eq(end_await(&end, scratch, 100), 0);
	ck_assert(end.stream.read_ended);
	ck_assert_int_eq(stream_read(&end.stream, scratch, 100), 0);
	pass_out(&end, &peer, 300000, 50000);
	ck_assert_int_eq(stream_end(&end.stream), 0);
	ck_assert_int_eq(peer_await(&peer, scratch, 100), 0);
}
END_TEST

START_TEST(our_end_is_close_notify_and_then_an_end)
{
	uint8_t byte;
	speak(versions[_i]);
	ck_assert_int_eq(stream_send(&end.stream, "bye", 3), 0);
	ck_assert_int_eq(stream_end(&end.stream), 0);
	ck_assert(end.stream.end_sent);
	ck_assert_int_eq(peer_await(&peer, scratch, 100), 3);
	ck_assert_int_eq(peer_await(&peer, scratch, 100), 0);
	ck_assert_int_eq(SSL_get_shutdown(peer.ssl), SSL_RECEIVED_SHUTDOWN);
	ssize_t got;
	while ((got = recv(peer.fd, &byte, 1, 0)) < 0 && errno == EAGAIN)
		await();
	ck_assert_int_eq(got, 0);
	/* and it is heard out */
	pass_in(&end, &peer, 100000, 10000, 100000);
	peer_end(&peer);
	ck_assert_int_eq(end_await(&end, scratch, 100), 0);
}
END_TEST

START_TEST(new_keys_after_our_end_do_no_harm)
{
	speak(TLS1_3_VERSION);
	ck_assert_int_eq(stream_end(&end.stream), 0);
	ck_assert_int_eq(SSL_key_update(peer.ssl, _i ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED), 1);
	pass_in(&end, &peer, 100000, 10000, 100000);
	peer_end(&peer);
	ck_assert_int_eq(end_await(&end, scratch, 100), 0);
}
END_TEST

START_TEST(an_end_without_close_notify_is_a_truncation)
{
	speak(versions[_i]);
	ck_assert_int_eq(peer_write(&peer, (const uint8_t *)"half", 4), 4);
	ck_assert_int_eq(shutdown(peer.fd, SHUT_WR), 0);
	ck_assert_int_eq(end_await(&end, scratch, 100), 4);
	ck_assert_int_eq(end_await(&end, scratch, 100), -ENODATA);
	end.stream.can_read = true;
	ck_assert_int_eq(stream_read(&end.stream, scratch, 100), -ENODATA);
	ck_assert(!end.stream.read_ended);
}
END_TEST

START_TEST(an_end_within_a_record_is_a_truncation)
{
	speak(versions[_i]);
	send_raw("\x17\x03\x03\x00\x40 some of it", 16);
	ck_assert_int_eq(shutdown(peer.fd, SHUT_WR), 0);
	ck_assert_int_eq(end_await(&end, scratch, 100), -ENODATA);
}
END_TEST

START_TEST(an_end_within_the_handshake_is_told)
{
	/* before the first byte, within the first record, behind it */
	static const size_t sent[] = {0, 7, 60};
	uint8_t hello[60] = {22, 3, 1, 1, 0, 1, 0, 0, 252, 3, 3};
	ck_assert_int_eq(send(peer.fd, hello, sent[_i], 0), (ssize_t)sent[_i]);
	ck_assert_int_eq(shutdown(peer.fd, SHUT_WR), 0);
	ck_assert_int_eq(shake_result(), -ENODATA);
}
END_TEST

START_TEST(a_reset_is_told)
{
	speak(versions[_i]);
	socket_reset_at_close(peer.fd);
	peer_close(&peer);
	ck_assert_int_eq(end_await(&end, scratch, 100), -ECONNRESET);
	ck_assert_int_eq(stream_read(&end.stream, scratch, 100), -ECONNRESET);
}
END_TEST

START_TEST(a_reset_within_the_handshake_is_told)
{
	send_raw("\x16\x03\x01", 3);
	socket_reset_at_close(peer.fd);
	peer_close(&peer);
	ck_assert_int_eq(shake_result(), -ECONNRESET);
}
END_TEST

START_TEST(closing_without_a_reset_says_goodbye)
{
	speak(versions[_i]);
	stream_close(&end.stream, false);
	ck_assert_int_eq(peer_await(&peer, scratch, 100), 0);
}
END_TEST

START_TEST(closing_with_a_reset_does_not)
{
	speak(versions[_i]);
	stream_close(&end.stream, true);
	ck_assert_int_eq(peer_await(&peer, scratch, 100), -ECONNRESET);
}
END_TEST

/* The end's side of the connection is gone before all that it sent was read: the kernel answers with a reset. */
static void answer_and_reset(const char *text, size_t n)
{
	uint8_t byte;
	ck_assert_int_eq(stream_send(&end.stream, "question", 8), 0);
	struct pollfd asked = {.fd = peer.fd, .events = POLLIN};
	ck_assert_int_eq(poll(&asked, 1, -1), 1);
	ck_assert_int_eq(recv(peer.fd, &byte, 1, MSG_PEEK), 1);
	if (n > 0)
		ck_assert_int_eq(peer_write(&peer, (const uint8_t *)text, n), (ssize_t)n);
	peer_close(&peer);
}

/* Sends until that fails. */
static int send_until_failed(void)
{
	int failed = 0;
	while (!failed) {
		failed = stream_flush(&end.stream);
		if (failed == -EAGAIN) {
			await();
			failed = 0;
		} else if (!failed) {
			failed = stream_send(&end.stream, "x", 1);
		}
	}
	return failed;
}

START_TEST(writing_to_who_has_reset_fails)
{
	speak(versions[_i]);
	answer_and_reset(NULL, 0);
	int failed = send_until_failed();
	ck_assert_msg(failed == -ECONNRESET || failed == -EPIPE, "%d", failed);
	end.stream.can_read = true;
	ck_assert_int_eq(stream_read(&end.stream, scratch, 100), -ECONNRESET);
}
END_TEST

START_TEST(what_was_said_before_a_reset_can_still_be_read)
{
	speak(versions[_i]);
	answer_and_reset("no, thanks", 10);
	int failed = send_until_failed();
	ck_assert_msg(failed == -ECONNRESET || failed == -EPIPE, "%d", failed);
	end.stream.can_read = true;
	ck_assert_int_eq(stream_read(&end.stream, scratch, 100), 10);
	ck_assert_mem_eq(scratch, "no, thanks", 10);
	ck_assert_int_eq(stream_read(&end.stream, scratch, 100), -ECONNRESET);
}
END_TEST

/* ---- what is not TLS, or not any more */

static const struct {
	const char *bytes;
	size_t n;
	size_t zeros; /* behind them */
} garbage[] = {
	{"\x17\x03\x03\x00\x20 this is one that nobody encrypted", 37, 0},
	{"GET / HTTP/1.1\r\n\r\n", 18, 0},	   /* no record at all */
	{"\x17\x03\x03\xff\xff and so on", 15, 0}, /* longer than any may be */
	{"\x16\x03\x03\x20\x00", 5, 0x2000},	   /* a handshake's, in the clear */
	{"\x15\x03\x03\x00\x02\x02\x28", 7, 0},	   /* an alert in the clear */
	{"\x63\x03\x03\x00\x01", 5, 1},		   /* of no known type */
};

START_TEST(garbage_after_the_handshake_is_answered_with_an_alert)
{
	int version = versions[_i % 2];
	unsigned which = (unsigned)_i / 2;
	speak(version);
	send_raw(garbage[which].bytes, garbage[which].n);
	memset(scratch, 0, garbage[which].zeros);
	send_raw(scratch, garbage[which].zeros);
	ck_assert_int_eq(end_await(&end, scratch, 100), -EBADMSG);
	ck_assert_int_ne(tls_session_failure(stream_tls_session(&end.stream)), TLS_FAILURE_NONE);
	end.stream.can_read = true;
	ck_assert_int_eq(stream_read(&end.stream, scratch, 100), -EBADMSG);
	ck_assert_int_ne(stream_send(&end.stream, "x", 1), 0);
	ck_assert_int_eq(peer_await(&peer, scratch, 100), -EBADMSG);
}
END_TEST

/* Reads the peer's socket to its end: exactly these bytes must come. */
static void expect_raw(const void *bytes, size_t n)
{
	uint8_t got[256];
	size_t done = 0;
	for (;;) {
		ssize_t came = recv(peer.fd, got + done, sizeof(got) - done, 0);
		if (came < 0 && errno == EAGAIN) {
			await();
			continue;
		}
		ck_assert_int_ge(came, 0);
		if (came == 0)
			break;
		done += (size_t)came;
		ck_assert_uint_lt(done, sizeof(got));
	}
	ck_assert_uint_eq(done, n);
	ck_assert_mem_eq(got, bytes, n);
}

static const char *const plain[] = {
	"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n",
	"CONNECT a.example:443 HTTP/1.1\r\n\r\n",
	"SSH-2.0-OpenSSH_9.2\r\n",
	"EHLO a.example\r\n",
	"\x03 rdp or whatever",
};

START_TEST(plain_text_is_answered_in_the_clear)
{
	send_raw(plain[_i], strlen(plain[_i]));
	ck_assert_int_eq(shake_result(), -EBADMSG);
	ck_assert_int_eq(stream_handshake(&end.stream), -EBADMSG);
	ck_assert_int_eq(tls_session_failure(stream_tls_session(&end.stream)), TLS_FAILURE_PLAIN);
	ck_assert_int_eq(stream_end(&end.stream), 0);
	expect_raw("\x15\x03\x01\x00\x02\x02\x0a", 7);

	/* and whatever else is said is thrown away, up to the peer's end */
	send_raw("and another thing", 17);
	while (!end.stream.can_read)
		await();
	ck_assert_int_eq(stream_read(&end.stream, scratch, 100), -EAGAIN);
	ck_assert_int_eq(shutdown(peer.fd, SHUT_WR), 0);
	ck_assert_int_eq(end_await(&end, scratch, 100), 0);
	ck_assert_uint_eq(end.stream.bytes_in, 0);
}
END_TEST

START_TEST(who_never_stops_after_a_failure_is_not_heard_out)
{
	static uint8_t block[65536];
	send_raw("GET / HTTP/1.1\r\n\r\n", 18);
	ck_assert_int_eq(shake_result(), -EBADMSG);
	ck_assert_int_eq(stream_end(&end.stream), 0);
	ssize_t result = -EAGAIN;
	while (result == -EAGAIN) {
		/* as much as goes, before a look is taken at it */
		while (send(peer.fd, block, sizeof(block), MSG_NOSIGNAL) > 0)
			;
		await();
		result = stream_read(&end.stream, scratch, 100);
	}
	ck_assert_int_eq(result, -EBADMSG);
}
END_TEST

START_TEST(an_alert_instead_of_a_hello)
{
	send_raw("\x15\x03\x01\x00\x02\x02\x28", 7);
	ck_assert_int_eq(shake_result(), -EBADMSG);
}
END_TEST

static size_t memory_used(void)
{
	struct mallinfo2 m = mallinfo2();
	return m.uordblks + m.hblkhd;
}

START_TEST(the_word_of_a_long_hello_takes_no_memory)
{
	/* it says that it is 128 KiB long; of which nine bytes are sent */
	static const uint8_t hello[9] = {22, 3, 1, 0x40, 0, 1, 1, 0xff, 0};

	/* OpenSSL alone would believe it: or this test shows nothing, as with a sanitizer's malloc */
	SSL *alone = SSL_new(peer_server);
	BIO *in = BIO_new(BIO_s_mem());
	SSL_set_accept_state(alone);
	SSL_set_bio(alone, in, BIO_new(BIO_s_mem()));
	BIO_write(in, hello, sizeof(hello));
	size_t before = memory_used();
	SSL_do_handshake(alone);
	size_t after = memory_used();
	/* the message's header must be seen whole: the rest of its record too */
	uint8_t rest[0x4000] = {0};
	BIO_write(in, rest, sizeof(rest) - 4);
	SSL_do_handshake(alone);
	after = memory_used();
	bool can_tell = after - before > 65536;
	SSL_free(alone);

	before = memory_used();
	send_raw(hello, sizeof(hello));
	ck_assert_int_eq(shake_result(), -EBADMSG);
	after = memory_used();
	if (can_tell)
		ck_assert(after < before + 4096);
	ck_assert_int_eq(stream_end(&end.stream), 0);
	expect_raw("\x15\x03\x01\x00\x02\x02\x2f", 7);
}
END_TEST

static bool begin(struct peer *p)
{
	return peer_shake(p);
}

START_TEST(a_hello_in_records_of_one_byte_is_heard)
{
	uint8_t hello[2048];
	uint8_t cut[6 * 2048];
	size_t n = 0;
	peer_speak_tls(&peer, peer_client, versions[_i]);
	size_t hello_bytes = hold_back(peer.ssl, begin, hello, sizeof(hello));
	for (size_t i = 5; i < hello_bytes; i++) {
		const uint8_t record[6] = {22, 3, 1, 0, 1, hello[i]};
		memcpy(cut + n, record, sizeof(record));
		n += sizeof(record);
	}
	send_raw(cut, n);
	shake(&end, &peer);
	pass_in(&end, &peer, 1000, 1000, 1000);
}
END_TEST

/* ---- floods */

/* As many requests for new keys as go out, but at most `most`, each with `n` bytes of data. Returns how many. */
static unsigned ask_for_keys(unsigned most, size_t n)
{
	static bool waits;
	unsigned asked = 0;
	while (asked < most) {
		ERR_clear_error();
		if (!waits)
			ck_assert_int_eq(SSL_key_update(peer.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
		waits = n > 0 ? peer_write(&peer, (const uint8_t *)"x", n) < 0 : !peer_shake(&peer);
		if (waits)
			break;
		asked++;
	}
	return asked;
}

START_TEST(who_asks_for_new_keys_only_is_cut_off)
{
	rejoin(SMALL_BUFFERS);
	speak(TLS1_3_VERSION);
	ssize_t result = -EAGAIN;
	while (result == -EAGAIN) {
		/* few at a time: OpenSSL reads nothing while it cannot write */
		bool moved = ask_for_keys(100, 0) > 0;
		ck_assert_int_eq(peer_read(&peer, scratch, 100), -EAGAIN);
		result = stream_read(&end.stream, scratch, 100);
		ck_assert_uint_le(end.stream.sealed, SEALED_BYTES_MAX);
		if (result == -EAGAIN && !moved)
			await();
	}
	ck_assert_int_eq(result, -EBADMSG);
	ck_assert_uint_eq(stream_unconfirmed(&end.stream), 0);
}
END_TEST

START_TEST(who_asks_for_new_keys_and_takes_none_has_to_wait)
{
	rejoin(SMALL_BUFFERS);
	speak(TLS1_3_VERSION);
	/* what was sent and confirmed before: nothing else of what is sent will be data */
	ck_assert_int_eq(stream_send(&end.stream, "hello", 5), 0);
	ck_assert_int_eq(peer_await(&peer, scratch, 100), 5);
	while (end.stream.sealed < SEALED_MAX_BYTES) {
		bool moved = ask_for_keys(UINT_MAX, 1) > 0;
		ssize_t got = stream_read(&end.stream, scratch, 100);
		ck_assert_int_ne(got, 0);
		ck_assert_int_ge(got, -EAGAIN);
		if (got < 0 && !moved)
			await();
	}
	/* whatever comes now is not looked at */
	uint32_t sealed = end.stream.sealed;
	ck_assert_uint_le(sealed, SEALED_BYTES_MAX);
	for (int i = 0; i < 10; i++) {
		ask_for_keys(UINT_MAX, 1);
		end.stream.can_read = true;
		ck_assert_int_eq(stream_read(&end.stream, scratch, STREAM_HELD_MAX_BYTES), -EAGAIN);
	}
	ck_assert_uint_le(end.stream.sealed, sealed);
	ck_assert_uint_eq(stream_unconfirmed(&end.stream), 0);

	/* they are taken from the kernel after all: everything that has come meanwhile goes on. The peer's OpenSSL cannot do
	 * it: it reads nothing while it cannot write, and both would wait for ever */
	size_t after = 0;
	while (after < 100) {
		while (recv(peer.fd, scratch, STREAM_HELD_MAX_BYTES, 0) > 0)
			;
		int failed = stream_flush(&end.stream);
		ck_assert(failed == 0 || failed == -EAGAIN);
		ssize_t got = stream_read(&end.stream, scratch, 100);
		ck_assert(got > 0 || got == -EAGAIN);
		if (got > 0)
			after += (size_t)got;
		else
			await();
	}
}
END_TEST

START_TEST(tickets_and_goodbyes_are_no_data)
{
	rejoin(SMALL_BUFFERS);
	speak(TLS1_3_VERSION);
	ck_assert_uint_eq(stream_unconfirmed(&end.stream), 0);
	ck_assert_int_eq(stream_end(&end.stream), 0);
	ck_assert_uint_eq(stream_unconfirmed(&end.stream), 0);
}
END_TEST

/* ---- asleep */

/* Nobody uses it for long enough. */
static void fall_asleep(void)
{
	const SSL *ssl = tls_session_ssl(stream_tls_session(&end.stream));
	for (int i = 0; i < 3; i++)
		tls_io_sweep(io);
	ck_assert(!tls_io_awake(io));
	ck_assert_int_eq(tls_io_sweep(io), TLS_SWEEP_NONE);
	if (may_sleep == 0)
		ck_assert_uint_eq(resident(ssl), 0);
}

START_TEST(it_sleeps_only_when_it_is_not_used)
{
	speak(versions[_i]);
	ck_assert(tls_io_awake(io));
	for (int i = 0; i < 5; i++) {
		pass_in(&end, &peer, 10, 10, 10);
		ck_assert_int_eq(tls_io_sweep(io), TLS_SWEEP_LATER);
		ck_assert(tls_io_awake(io));
	}
	ck_assert_int_eq(tls_io_sweep(io), TLS_SWEEP_NONE);
	ck_assert(!tls_io_awake(io));
}
END_TEST

START_TEST(everything_works_after_a_sleep)
{
	speak(versions[_i]);
	for (int round = 0; round < 3; round++) {
		fall_asleep();
		pass_in(&end, &peer, 100000, 30000, 262144);
		fall_asleep();
		pass_out(&end, &peer, 100000, 50000);
	}
	fall_asleep();
	struct tls_facts facts;
	ck_assert(tls_session_facts(stream_tls_session(&end.stream), &facts));
	ck_assert_str_eq(facts.version, _i ? "TLSv1.3" : "TLSv1.2");
	ck_assert(tls_io_awake(io));
	fall_asleep();
	ck_assert_int_eq(stream_end(&end.stream), 0);
	ck_assert_int_eq(peer_await(&peer, scratch, 100), 0);
	fall_asleep();
	peer_end(&peer);
	ck_assert_int_eq(end_await(&end, scratch, 100), 0);
	fall_asleep();
}
END_TEST

START_TEST(a_record_may_come_before_and_after_a_sleep)
{
	uint8_t record[200];
	speak(versions[_i]);
	BIO *memory = BIO_new(BIO_s_mem());
	char *at = NULL;
	SSL_set0_wbio(peer.ssl, memory);
	ck_assert_int_eq(peer_write(&peer, (const uint8_t *)"in two parts", 12), 12);
	long n = BIO_get_mem_data(memory, &at);
	ck_assert(n > 12 && n < (long)sizeof(record));
	memcpy(record, at, (size_t)n);
	send_raw(record, 10);
	while (!end.stream.can_read)
		await();
	ck_assert_int_eq(stream_read(&end.stream, scratch, 100), -EAGAIN);
	fall_asleep();
	send_raw(record + 10, (size_t)n - 10);
	ck_assert_int_eq(end_await(&end, scratch, 100), 12);
	ck_assert_mem_eq(scratch, "in two parts", 12);
}
END_TEST

START_TEST(a_handshake_may_sleep)
{
	peer_speak_tls(&peer, peer_client, versions[_i]);
	for (bool ours = false, theirs = false; !ours || !theirs;) {
		theirs = peer_shake(&peer);
		int result = stream_handshake(&end.stream);
		ck_assert(result == 0 || result == -EAGAIN);
		ours = result == 0;
		fall_asleep();
		if (!ours || !theirs)
			await();
	}
	pass_in(&end, &peer, 1000, 1000, 1000);
}
END_TEST

START_TEST(a_sleeper_can_be_closed)
{
	speak(versions[_i]);
	fall_asleep();
	stream_close(&end.stream, false);
	ck_assert_int_eq(peer_await(&peer, scratch, 100), 0);
	rejoin(0);
	speak(versions[_i]);
	fall_asleep();
	stream_close(&end.stream, true);
	ck_assert_int_eq(peer_await(&peer, scratch, 100), -ECONNRESET);
}
END_TEST

START_TEST(a_sleeper_sends_what_it_has_kept)
{
	size_t sent = 0;
	size_t got = 0;
	rejoin(SMALL_BUFFERS);
	speak(versions[_i]);
	while (end.stream.sealed == 0) {
		pattern_fill(scratch, sent, 50000);
		ck_assert_int_eq(stream_send(&end.stream, scratch, 50000), 0);
		sent += 50000;
	}
	while (got < sent) {
		fall_asleep();
		int failed = stream_flush(&end.stream);
		ck_assert_msg(failed == 0 || failed == -EAGAIN, "%d", failed);
		if (!peer_take_pattern(&peer, &got, sent))
			await();
	}
}
END_TEST

static void add_bytes(Suite *s)
{
	TCase *c = tcase_create("bytes");
	tcase_set_timeout(c, TEST_TIMEOUT_S);
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_loop_test(c, bytes_come_in_however_they_are_read, 0, ARRAY_LEN(sizes));
	tcase_add_loop_test(c, bytes_go_out_however_they_are_sent, 0, ARRAY_LEN(sizes));
	tcase_add_loop_test(c, small_socket_buffers_change_nothing, 0, 2);
	tcase_add_loop_test(c, what_the_kernel_does_not_take_is_kept_and_goes_out_later, 0, 2);
	tcase_add_test(c, data_behind_the_handshake_needs_no_edge);
	tcase_add_loop_test(c, the_least_flight_of_all_works, 0, 2);
	suite_add_tcase(s, c);
}

static void add_ends(Suite *s)
{
	TCase *c = tcase_create("ends");
	tcase_set_timeout(c, TEST_TIMEOUT_S);
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_loop_test(c, close_notify_ends_one_direction, 0, 2);
	tcase_add_loop_test(c, our_end_is_close_notify_and_then_an_end, 0, 2);
	tcase_add_loop_test(c, new_keys_after_our_end_do_no_harm, 0, 2);
	tcase_add_loop_test(c, an_end_without_close_notify_is_a_truncation, 0, 2);
	tcase_add_loop_test(c, an_end_within_a_record_is_a_truncation, 0, 2);
	tcase_add_loop_test(c, an_end_within_the_handshake_is_told, 0, 3);
	tcase_add_loop_test(c, a_reset_is_told, 0, 2);
	tcase_add_test(c, a_reset_within_the_handshake_is_told);
	tcase_add_loop_test(c, closing_without_a_reset_says_goodbye, 0, 2);
	tcase_add_loop_test(c, closing_with_a_reset_does_not, 0, 2);
	tcase_add_loop_test(c, writing_to_who_has_reset_fails, 0, 2);
	tcase_add_loop_test(c, what_was_said_before_a_reset_can_still_be_read, 0, 2);
	suite_add_tcase(s, c);
}

static void add_abuse(Suite *s)
{
	TCase *c = tcase_create("abuse");
	tcase_set_timeout(c, TEST_TIMEOUT_S);
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_loop_test(c, garbage_after_the_handshake_is_answered_with_an_alert, 0, 2 * ARRAY_LEN(garbage));
	tcase_add_loop_test(c, plain_text_is_answered_in_the_clear, 0, ARRAY_LEN(plain));
	tcase_add_test(c, who_never_stops_after_a_failure_is_not_heard_out);
	tcase_add_test(c, an_alert_instead_of_a_hello);
	tcase_add_test(c, the_word_of_a_long_hello_takes_no_memory);
	tcase_add_loop_test(c, a_hello_in_records_of_one_byte_is_heard, 0, 2);
	tcase_add_test(c, who_asks_for_new_keys_only_is_cut_off);
	tcase_add_test(c, who_asks_for_new_keys_and_takes_none_has_to_wait);
	tcase_add_test(c, tickets_and_goodbyes_are_no_data);
	suite_add_tcase(s, c);
}

static void add_sleep(Suite *s)
{
	TCase *c = tcase_create("sleep");
	tcase_set_timeout(c, TEST_TIMEOUT_S);
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_loop_test(c, it_sleeps_only_when_it_is_not_used, 0, 2);
	tcase_add_loop_test(c, everything_works_after_a_sleep, 0, 2);
	tcase_add_loop_test(c, a_record_may_come_before_and_after_a_sleep, 0, 2);
	tcase_add_loop_test(c, a_handshake_may_sleep, 0, 2);
	tcase_add_loop_test(c, a_sleeper_can_be_closed, 0, 2);
	tcase_add_loop_test(c, a_sleeper_sends_what_it_has_kept, 0, 2);
	suite_add_tcase(s, c);
}

int main(void)
{
	may_sleep = dormant_init();
	Suite *s = suite_create("transport/tls_tcp");
	add_bytes(s);
	add_ends(s);
	add_abuse(s);
	add_sleep(s);
	return suite_run(s);
}

/* SPDX-License-Identifier: MIT */
/* TLS clients. A connection that fails, is not what was asked for, or takes longer than 20 s ends the program with
 * an error.
 *
 *   tls_load full PORT SECONDS LOOPS [1.2]        loops of: connect, full handshake, 64 bytes there and 64 back,
 *                                                 close_notify, close
 *   tls_load resumed PORT SECONDS LOOPS [1.2]     the same, each resuming with the ticket of the connection before
 *   tls_load download PORT SECONDS STREAMS [1.2]  64 MiB again and again on one connection a stream
 *   tls_load upload PORT SECONDS STREAMS [1.2]
 *   tls_load idle PORT COUNT [1.2]                COUNT connections, each after one exchange; prints "open"; leaves with
 *                                                 close_notify when stdin ends
 *
 * SECONDS may have a fraction. The timed ones print how many connections or bytes that were, and what was agreed on:
 *   5120 TLSv1.3 TLS_AES_128_GCM_SHA256 X25519 ECDSA-256
 */
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

#include "common.h"

enum {
	STREAM_BYTES = 64 << 20,
	LOOPS_MAX = 64,
};

/* Gives up, with what OpenSSL has to say of it. */
__attribute__((noreturn)) static void tls_die(int port, const char *what)
{
	unsigned long code = ERR_peek_last_error();
	die("port %d: %s%s%s", port, what, code ? ": " : "", code ? ERR_reason_error_string(code) : "");
}

struct load {
	int port;
	bool resumes;
	SSL_CTX *ctx; /* owned */
	uint64_t until_ns;
};

struct loop {
	const struct load *load;
	char letter;	      /* of the request of its stream; 0: connections are what is counted */
	SSL_SESSION *session; /* owned; the newest ticket, or NULL */
	uint64_t done;	      /* connections or bytes */
	char facts[128];
	pthread_t thread;
};

static bool load_goes_on(const struct load *load)
{
	return now_ns() < load->until_ns;
}

static int ticket_came(SSL *ssl, SSL_SESSION *session)
{
	struct loop *loop = SSL_get_app_data(ssl);
	SSL_SESSION_free(loop->session);
	loop->session = session;
	return 1; /* ours now */
}

static void load_init(struct load *load, const char *port, double seconds, const char *version)
{
	bool old = version && strcmp(version, "1.2") == 0;
	if (version && !old && strcmp(version, "1.3") != 0)
		die("TLS is 1.2 or 1.3, not %s", version);
	load->port = number_of(port, 65535);
	load->until_ns = now_ns() + (uint64_t)(seconds * 1e9);
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	int wanted = old ? TLS1_2_VERSION : TLS1_3_VERSION;
	if (!ctx || !SSL_CTX_set_min_proto_version(ctx, wanted) || !SSL_CTX_set_max_proto_version(ctx, wanted) ||
	    !SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256") ||
	    !SSL_CTX_set_cipher_list(ctx, "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256") ||
	    /* TLS 1.2 has the certificate's curve in the same list */
	    !SSL_CTX_set1_groups_list(ctx, old ? "X25519:P-256" : "X25519"))
		tls_die(load->port, "OpenSSL's settings");
	/* the proxy's cost is looked at, and a client that asks the kernel less leaves it more of the machine */
	SSL_CTX_set_default_read_buffer_len(ctx, 64 << 10);
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ctx, ticket_came);
	load->ctx = ctx;
}

/* A connection after its handshake. */
static SSL *client_open(struct loop *loop)
{
	const struct load *load = loop->load;
	bool resumes = load->resumes && loop->session;
	int fd = client_dial(load->port);
	SSL *ssl = SSL_new(load->ctx);
	if (!ssl || !SSL_set_app_data(ssl, loop) || !SSL_set_fd(ssl, fd) ||
	    !SSL_set_tlsext_host_name(ssl, "bench.example.org"))
		tls_die(load->port, "OpenSSL");
	if (resumes && !SSL_set_session(ssl, loop->session))
		tls_die(load->port, "the ticket cannot be used");
	if (SSL_connect(ssl) != 1)
		tls_die(load->port, "the handshake failed");
	if (!!SSL_session_reused(ssl) != resumes)
		die("port %d: the session was %sresumed", load->port, resumes ? "not " : "");
	return ssl;
}

static void client_exchange(SSL *ssl, int port, char letter, uint64_t count, void *buffer, size_t buffer_bytes)
{
	unsigned char request[REQUEST_BYTES];
	request_fill(request, letter, count);
	if (SSL_write(ssl, request, REQUEST_BYTES) != REQUEST_BYTES)
		tls_die(port, "sending failed");
	for (uint64_t left = letter == 'u' ? count : 0; left > 0;) {
		int n = SSL_write(ssl, buffer, (int)less(left, buffer_bytes));
		if (n <= 0)
			tls_die(port, "sending failed");
		left -= (uint64_t)n;
	}
	for (uint64_t left = letter == 'u' ? 1 : count; left > 0;) {
		int n = SSL_read(ssl, buffer, (int)less(left, buffer_bytes));
		if (n <= 0)
			tls_die(port, "receiving failed");
		left -= (uint64_t)n;
	}
}

static void client_close(SSL *ssl)
{
	int fd = SSL_get_fd(ssl);
	if (SSL_shutdown(ssl) < 0)
		tls_die(0, "close_notify");
	SSL_free(ssl);
	close(fd);
}

static void facts_note(SSL *ssl, char *to, size_t size)
{
	EVP_PKEY *mine = NULL, *key = X509_get0_pubkey(SSL_get0_peer_certificate(ssl));
	const char *group = SSL_get_peer_tmp_key(ssl, &mine) && EVP_PKEY_is_a(mine, "X25519") ? "X25519" : "-";
	snprintf(to, size, "%s %s %s %s-%d", SSL_get_version(ssl), SSL_CIPHER_get_name(SSL_get_current_cipher(ssl)),
		 group, EVP_PKEY_is_a(key, "RSA") ? "RSA" : "ECDSA", EVP_PKEY_get_bits(key));
	EVP_PKEY_free(mine);
}

static void *loop_connections(void *arg)
{
	struct loop *loop = arg;
	unsigned char buffer[ANSWER_BYTES];
	while (load_goes_on(loop->load)) {
		SSL *ssl = client_open(loop);
		client_exchange(ssl, loop->load->port, 'd', ANSWER_BYTES, buffer, sizeof(buffer));
		if (loop->done++ < 2) /* the second is the first that resumes */
			facts_note(ssl, loop->facts, sizeof(loop->facts));
		client_close(ssl);
		/* one of TLS 1.3 is good for one connection */
		if (loop->load->resumes && (!loop->session || !SSL_SESSION_is_resumable(loop->session)))
			die("port %d: no ticket came, or none with a resumed session", loop->load->port);
	}
	return NULL;
}

static void *loop_stream(void *arg)
{
	struct loop *loop = arg;
	unsigned char *buffer = calloc(1, CHUNK_BYTES);
	if (!buffer)
		die("no memory");
	SSL *ssl = client_open(loop);
	facts_note(ssl, loop->facts, sizeof(loop->facts));
	while (load_goes_on(loop->load)) {
		client_exchange(ssl, loop->load->port, loop->letter, STREAM_BYTES, buffer, CHUNK_BYTES);
		loop->done += STREAM_BYTES;
	}
	client_close(ssl);
	free(buffer);
	return NULL;
}

static void load_run(const struct load *load, int count, char letter)
{
	struct loop loops[LOOPS_MAX] = {0};
	for (int i = 0; i < count; i++) {
		loops[i].load = load;
		loops[i].letter = letter;
		if (pthread_create(&loops[i].thread, NULL, letter ? loop_stream : loop_connections, &loops[i]))
			die("pthread_create");
	}
	uint64_t done = 0;
	for (int i = 0; i < count; i++) {
		pthread_join(loops[i].thread, NULL);
		done += loops[i].done;
		SSL_SESSION_free(loops[i].session);
		if (strcmp(loops[i].facts, loops[0].facts) != 0)
			die("%s here, and %s there", loops[0].facts, loops[i].facts);
	}
	printf("%llu %s\n", (unsigned long long)done, loops[0].facts);
}

static void idle_run(const struct load *load, int count)
{
	struct loop loop = {.load = load};
	unsigned char buffer[ANSWER_BYTES];
	SSL **open = calloc((size_t)count, sizeof(SSL *));
	if (!open)
		die("no memory");
	for (int i = 0; i < count; i++) {
		open[i] = client_open(&loop);
		client_exchange(open[i], load->port, 'd', ANSWER_BYTES, buffer, sizeof(buffer));
	}
	printf("open\n");
	fflush(stdout);
	while (read(STDIN_FILENO, buffer, sizeof(buffer)) > 0)
		;
	for (int i = 0; i < count; i++)
		client_close(open[i]);
	free(open);
	SSL_SESSION_free(loop.session);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	struct load load = {0};
	signal(SIGPIPE, SIG_IGN);
	if ((argc == 4 || argc == 5) && strcmp(mode, "idle") == 0) {
		load_init(&load, argv[2], 0, argv[4]);
		idle_run(&load, number_of(argv[3], 100000));
	} else if (argc == 5 || argc == 6) {
		load.resumes = strcmp(mode, "resumed") == 0;
		char letter = 0;
		if (strcmp(mode, "download") == 0)
			letter = 'd';
		else if (strcmp(mode, "upload") == 0)
			letter = 'u';
		else if (!load.resumes && strcmp(mode, "full") != 0)
			die("no mode '%s'; what there is stands at the top of tls_load.c", mode);
		load_init(&load, argv[2], strtod(argv[3], NULL), argv[5]);
		load_run(&load, number_of(argv[4], LOOPS_MAX), letter);
	} else {
		die("MODE PORT ...; the modes stand at the top of tls_load.c");
	}
	SSL_CTX_free(load.ctx);
	return 0;
}

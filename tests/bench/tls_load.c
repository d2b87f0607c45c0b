/* SPDX-License-Identifier: MIT */
/* Load for tests/bench/compare-tls: TLS clients, and the plain backend behind the proxy. A connection that fails, is not
 * what was asked for, or takes longer than 20 s ends the program with an error.
 *
 *   tls_load backend                              prints its port; serves until stdin ends
 *   tls_load full PORT SECONDS LOOPS [1.2]        loops of: connect, full handshake, 64 bytes there and 64 back,
 *                                                 close_notify, close
 *   tls_load resumed PORT SECONDS LOOPS [1.2]     the same, each resuming with the ticket of the connection before
 *   tls_load download PORT SECONDS STREAMS [1.2]  64 MiB again and again on one connection a stream
 *   tls_load upload PORT SECONDS STREAMS [1.2]
 *   tls_load idle PORT COUNT [1.2]                COUNT connections, each after one exchange; prints "open"; leaves with
 *                                                 close_notify when stdin ends
 *
 * The timed ones print how many connections or bytes that were, and what was agreed on:
 *   5120 TLSv1.3 TLS_AES_128_GCM_SHA256 X25519 ECDSA-256
 *
 * To the backend a request is 64 bytes: a letter, 7 bytes of anything, a count. 'd': send me count bytes. 'u': take
 * count bytes, then send one. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
	REQUEST_BYTES = 64,
	ANSWER_BYTES = 64, /* to the small request */
	CHUNK_BYTES = 256 << 10,
	STREAM_BYTES = 64 << 20,
	LOOPS_MAX = 64,
	TIMEOUT_S = 20,
};

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
	char text[256];
	va_list args;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	unsigned long code = ERR_peek_last_error();
	fprintf(stderr, "tls_load: %s%s%s\n", text, code ? ": " : "", code ? ERR_reason_error_string(code) : "");
	_exit(1); /* other loops may be running */
}

static int number_of(const char *text, long maximum)
{
	char *end;
	long n = strtol(text, &end, 10);
	if (end == text || *end || n < 1 || n > maximum)
		die("%s: a number from 1 to %ld is wanted", text, maximum);
	return (int)n;
}

static void request_fill(unsigned char request[REQUEST_BYTES], char letter, uint64_t count)
{
	memset(request, 0, REQUEST_BYTES);
	request[0] = (unsigned char)letter;
	memcpy(request + 8, &count, sizeof(count));
}

/* The backend. */

struct peer {
	int fd; /* owned */
	size_t have;
	unsigned char request[REQUEST_BYTES];
	uint64_t to_take;
	uint64_t to_send;
};

static unsigned char chunk[CHUNK_BYTES]; /* the backend's only */

static uint64_t less(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* What is next of a request, its bytes and the answer. Returns what read and write return. */
static ssize_t peer_step(struct peer *p)
{
	if (p->to_send > 0 && p->to_take == 0) {
		ssize_t n = send(p->fd, chunk, less(p->to_send, CHUNK_BYTES), MSG_NOSIGNAL);
		p->to_send -= n > 0 ? (uint64_t)n : 0;
		return n;
	}
	if (p->to_take > 0) {
		ssize_t n = recv(p->fd, chunk, less(p->to_take, CHUNK_BYTES), 0);
		p->to_take -= n > 0 ? (uint64_t)n : 0;
		return n;
	}
	ssize_t n = recv(p->fd, p->request + p->have, REQUEST_BYTES - p->have, 0);
	p->have += n > 0 ? (size_t)n : 0;
	if (p->have == REQUEST_BYTES) {
		p->have = 0;
		uint64_t count;
		memcpy(&count, p->request + 8, sizeof(count));
		p->to_send = p->request[0] == 'd' ? count : 1;
		p->to_take = p->request[0] == 'd' ? 0 : count;
	}
	return n;
}

static void peer_go(struct peer *p)
{
	ssize_t n;
	do
		n = peer_step(p);
	while (n > 0);
	if (n < 0 && errno == EAGAIN)
		return;
	close(p->fd);
	free(p);
}

static void peer_accept(int poll, int listening)
{
	int fd;
	while ((fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct peer *p = calloc(1, sizeof(*p));
		if (!p)
			die("no memory");
		p->fd = fd;
		struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = p};
		if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &e) < 0)
			die("epoll: %s", strerror(errno));
	}
	if (errno != EAGAIN && errno != ECONNABORTED)
		die("accept: %s", strerror(errno));
}

static int backend_listen(void)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(at);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
	    bind(fd, (struct sockaddr *)&at, n) < 0 || listen(fd, 4096) < 0 ||
	    getsockname(fd, (struct sockaddr *)&at, &n) < 0)
		die("backend: %s", strerror(errno));
	printf("%d\n", ntohs(at.sin_port));
	fflush(stdout);
	return fd;
}

static void backend_run(void)
{
	int poll = epoll_create1(EPOLL_CLOEXEC), listening = backend_listen();
	/* stdin and the listening socket are told apart from peers by their addresses here */
	int in = STDIN_FILENO;
	struct epoll_event e = {.events = EPOLLIN, .data.ptr = &listening};
	if (epoll_ctl(poll, EPOLL_CTL_ADD, listening, &e) < 0)
		die("epoll: %s", strerror(errno));
	e.data.ptr = &in;
	if (epoll_ctl(poll, EPOLL_CTL_ADD, in, &e) < 0)
		die("epoll: stdin: %s", strerror(errno));
	for (;;) {
		struct epoll_event ready[64];
		int n = epoll_wait(poll, ready, 64, -1);
		for (int i = 0; i < n; i++) {
			if (ready[i].data.ptr == &in)
				return;
			if (ready[i].data.ptr == &listening)
				peer_accept(poll, listening);
			else
				peer_go(ready[i].data.ptr);
		}
	}
}

/* The clients. */

struct load {
	int port;
	bool resumes;
	SSL_CTX *ctx; /* owned */
	struct timespec until;
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
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec < load->until.tv_sec ||
	       (now.tv_sec == load->until.tv_sec && now.tv_nsec < load->until.tv_nsec);
}

static int ticket_came(SSL *ssl, SSL_SESSION *session)
{
	struct loop *loop = SSL_get_app_data(ssl);
	SSL_SESSION_free(loop->session);
	loop->session = session;
	return 1; /* ours now */
}

static void load_init(struct load *load, const char *port, int seconds, const char *version)
{
	bool old = version && strcmp(version, "1.2") == 0;
	if (version && !old && strcmp(version, "1.3") != 0)
		die("TLS is 1.2 or 1.3, not %s", version);
	load->port = number_of(port, 65535);
	clock_gettime(CLOCK_MONOTONIC, &load->until);
	load->until.tv_sec += seconds;
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	int wanted = old ? TLS1_2_VERSION : TLS1_3_VERSION;
	if (!ctx || !SSL_CTX_set_min_proto_version(ctx, wanted) || !SSL_CTX_set_max_proto_version(ctx, wanted) ||
	    !SSL_CTX_set_ciphersuites(ctx, "TLS_AES_128_GCM_SHA256") ||
	    !SSL_CTX_set_cipher_list(ctx, "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256") ||
	    /* TLS 1.2 has the certificate's curve in the same list */
	    !SSL_CTX_set1_groups_list(ctx, old ? "X25519:P-256" : "X25519"))
		die("OpenSSL's settings");
	/* the proxy's cost is looked at, and a client that asks the kernel less leaves it more of the machine */
	SSL_CTX_set_default_read_buffer_len(ctx, 64 << 10);
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ctx, ticket_came);
	load->ctx = ctx;
}

static int client_dial(int port)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct timeval limit = {.tv_sec = TIMEOUT_S};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
	if (fd < 0 || setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0 ||
	    connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
		die("port %d: %s", port, strerror(errno));
	return fd;
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
		die("OpenSSL");
	if (resumes && !SSL_set_session(ssl, loop->session))
		die("the ticket cannot be used");
	if (SSL_connect(ssl) != 1)
		die("port %d: the handshake failed", load->port);
	if (!!SSL_session_reused(ssl) != resumes)
		die("port %d: the session was %sresumed", load->port, resumes ? "not " : "");
	return ssl;
}

static void client_exchange(SSL *ssl, char letter, uint64_t count, void *buffer, size_t buffer_bytes)
{
	unsigned char request[REQUEST_BYTES];
	request_fill(request, letter, count);
	if (SSL_write(ssl, request, REQUEST_BYTES) != REQUEST_BYTES)
		die("sending failed");
	for (uint64_t left = letter == 'u' ? count : 0; left > 0;) {
		int n = SSL_write(ssl, buffer, (int)less(left, buffer_bytes));
		if (n <= 0)
			die("sending failed");
		left -= (uint64_t)n;
	}
	for (uint64_t left = letter == 'u' ? 1 : count; left > 0;) {
		int n = SSL_read(ssl, buffer, (int)less(left, buffer_bytes));
		if (n <= 0)
			die("receiving failed");
		left -= (uint64_t)n;
	}
}

static void client_close(SSL *ssl)
{
	int fd = SSL_get_fd(ssl);
	if (SSL_shutdown(ssl) < 0)
		die("close_notify");
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
		client_exchange(ssl, 'd', ANSWER_BYTES, buffer, sizeof(buffer));
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
		client_exchange(ssl, loop->letter, STREAM_BYTES, buffer, CHUNK_BYTES);
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
		client_exchange(open[i], 'd', ANSWER_BYTES, buffer, sizeof(buffer));
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
	if (argc == 2 && strcmp(mode, "backend") == 0) {
		backend_run();
		return 0;
	}
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
		load_init(&load, argv[2], number_of(argv[3], 3600), argv[5]);
		load_run(&load, number_of(argv[4], LOOPS_MAX), letter);
	} else {
		die("MODE PORT ...; the modes stand at the top of tls_load.c");
	}
	SSL_CTX_free(load.ctx);
	return 0;
}

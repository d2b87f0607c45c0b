/* SPDX-License-Identifier: MIT */
/* Plain clients, on one thread, for what wrk and iperf3 do not measure: cost without that of connecting, latency at a
 * fixed rate, connections that are refused, crowds, bulk that is counted at both ends (iperf3 ends an upload when it has
 * sent all, and throws away what is on its way). A connection that fails or answers wrongly ends the program with an
 * error.
 *
 *   load closed PORT CONNECTIONS SECONDS        each asks again as soon as it has its answer
 *   load rate PORT CONNECTIONS SECONDS RATE     RATE requests a second in all, each at its time, whatever the answers do
 *   load visits KIND PORT AT_ONCE SECONDS [SOURCE]
 *                                               connections, AT_ONCE at a time. KIND exchange: 64 bytes there and 64 back;
 *                                               answer: is told something, until the end; refused: is told nothing
 *   load storm PORT AT_ONCE COUNT               COUNT visits that exchange
 *   load idle PORT COUNT...                     opens COUNT connections with an exchange each, then up to the next COUNT
 *   load download PORT STREAMS MIB              that much on each of STREAMS connections; upload likewise
 *   load send PORT MIB                          one connection, which ends when all has been taken
 *
 * closed, rate and idle say "open" when connections are there, and wait for a line; at the end of stdin they leave. What
 * was measured is a line of JSON. Times are microseconds. With `rate` they count from when a request was due, not
 * from when it could be sent, so a proxy that makes others wait does not hide it. */
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <sys/prctl.h>

#include "common.h"

#define SECOND_NS 1000000000ull

/* Latencies, in 64 steps an octave. */
enum { STEPS = 64, OCTAVES = 40 };
static uint64_t latencies[OCTAVES * STEPS];
static uint64_t latency_count;
static uint64_t latency_max;

static void latency_note(uint64_t ns)
{
	unsigned octave = 0;
	uint64_t v = ns;
	while (v >= 2 * STEPS) {
		v >>= 1;
		octave++;
	}
	/* below 128 ns the first two octaves are one line */
	size_t at = (size_t)octave * STEPS + (size_t)v;
	latencies[at < OCTAVES * STEPS ? at : OCTAVES * STEPS - 1]++;
	latency_count++;
	if (ns > latency_max)
		latency_max = ns;
}

/* In microseconds; the upper end of its step. */
static double latency_percentile(double share)
{
	uint64_t rank = (uint64_t)((double)latency_count * share), seen = 0;
	for (size_t at = 0; at < OCTAVES * STEPS; at++) {
		seen += latencies[at];
		if (seen > rank) {
			unsigned octave = at < 2 * STEPS ? 0 : (unsigned)(at / STEPS) - 1;
			double top = (double)((at - (size_t)octave * STEPS + 1) << octave);
			return less((uint64_t)top, latency_max) / 1e3;
		}
	}
	return latency_max / 1e3;
}

static void print_result(uint64_t count, uint64_t took_ns)
{
	printf("{\"count\": %" PRIu64 ", \"seconds\": %.6f", count, (double)took_ns / 1e9);
	if (latency_count)
		printf(", \"p50\": %.1f, \"p99\": %.1f, \"p999\": %.1f, \"max\": %.1f", latency_percentile(0.5),
		       latency_percentile(0.99), latency_percentile(0.999), latency_max / 1e3);
	printf("}\n");
	fflush(stdout);
}

/* Tells that connections are open, and waits for a line. Returns false at the end of stdin. */
static bool told_to_go(int open)
{
	char byte;
	printf("open %d\n", open);
	fflush(stdout);
	do {
		if (read(STDIN_FILENO, &byte, 1) != 1)
			return false;
	} while (byte != '\n');
	return true;
}

static void wait_for_end(void)
{
	char byte;
	while (read(STDIN_FILENO, &byte, 1) == 1)
		;
}

static void exchange(int fd, int port)
{
	unsigned char request[REQUEST_BYTES], answer[ANSWER_BYTES];
	request_fill(request, 'd', ANSWER_BYTES);
	if (send(fd, request, REQUEST_BYTES, MSG_NOSIGNAL) != REQUEST_BYTES ||
	    recv(fd, answer, ANSWER_BYTES, MSG_WAITALL) != ANSWER_BYTES)
		die("port %d: no answer", port);
}

static uint64_t duration_ns(const char *text)
{
	char *end;
	double seconds = strtod(text, &end);
	if (end == text || *end || !(seconds > 0 && seconds <= 3600))
		die("%s: seconds are wanted", text);
	return (uint64_t)(seconds * (double)SECOND_NS);
}

/* Kept connections. */

struct kept {
	int fd;
	unsigned have;	  /* bytes of the answer that is coming */
	uint64_t answers; /* so far */
	uint64_t sent_ns; /* closed: the request's */
};

struct crowd {
	int poller;
	int port;
	int count;
	struct kept *all;
	unsigned char request[REQUEST_BYTES];
};

static void crowd_open(struct crowd *w, const char *port, const char *count)
{
	w->poller = epoll_create1(EPOLL_CLOEXEC);
	w->port = number_of(port, 65535);
	w->count = number_of(count, 100000);
	w->all = calloc((size_t)w->count, sizeof(*w->all));
	if (w->poller < 0 || !w->all)
		die("no memory");
	request_fill(w->request, 'd', ANSWER_BYTES);
	for (int i = 0; i < w->count; i++) {
		w->all[i].fd = client_dial(w->port);
		exchange(w->all[i].fd, w->port);
		struct epoll_event e = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
		if (epoll_ctl(w->poller, EPOLL_CTL_ADD, w->all[i].fd, &e) < 0)
			die("epoll_ctl: %s", strerror(errno));
	}
}

static void kept_ask(const struct crowd *w, const struct kept *k)
{
	if (send(k->fd, w->request, REQUEST_BYTES, MSG_NOSIGNAL | MSG_DONTWAIT) != REQUEST_BYTES)
		die("port %d: it takes no more requests", w->port);
}

/* Returns how many answers are complete now that were not. */
static unsigned kept_read(const struct crowd *w, struct kept *k)
{
	unsigned char buffer[64 * ANSWER_BYTES];
	ssize_t n = recv(k->fd, buffer, sizeof(buffer), MSG_DONTWAIT);
	if (n <= 0)
		die("port %d: a connection ended", w->port);
	k->have += (unsigned)n;
	unsigned whole = k->have / ANSWER_BYTES;
	k->have %= ANSWER_BYTES;
	return whole;
}

static void run_closed(struct crowd *w, uint64_t duration)
{
	uint64_t start = now_ns(), until = start + duration, done = 0, now = start;
	int open = w->count;
	for (int i = 0; i < w->count; i++) {
		w->all[i].sent_ns = now_ns();
		kept_ask(w, &w->all[i]);
	}
	while (open > 0) {
		struct epoll_event ready[256];
		int n = epoll_wait(w->poller, ready, 256, TIMEOUT_S * 1000);
		if (n <= 0)
			die("port %d: no answer in %d s", w->port, TIMEOUT_S);
		for (int i = 0; i < n; i++) {
			struct kept *k = &w->all[ready[i].data.u32];
			if (!kept_read(w, k))
				continue;
			now = now_ns();
			latency_note(now - k->sent_ns);
			done++;
			if (now < until) {
				k->sent_ns = now;
				kept_ask(w, k);
			} else {
				open--;
			}
		}
	}
	print_result(done, now - start);
}

static uint64_t due_ns(uint64_t start, uint64_t request, uint64_t rate)
{
	return start + request * SECOND_NS / rate;
}

/* The k-th answer on connection i belongs to request k * count + i: nothing has to be remembered. */
static void run_rate(struct crowd *w, uint64_t duration, uint64_t rate)
{
	uint64_t total = duration * rate / SECOND_NS, sent = 0, done = 0, count = (uint64_t)w->count;
	uint64_t start = now_ns() + SECOND_NS / 100, end = due_ns(start, total, rate) + TIMEOUT_S * SECOND_NS, now;
	prctl(PR_SET_TIMERSLACK, 1);
	while (done < total) {
		for (now = now_ns(); sent < total && due_ns(start, sent, rate) <= now; sent++)
			kept_ask(w, &w->all[sent % count]);
		if (now > end)
			die("port %d: of %" PRIu64 " requests %" PRIu64 " were answered", w->port, total, done);
		uint64_t wait = sent < total ? due_ns(start, sent, rate) - now : SECOND_NS;
		struct timespec t = {.tv_sec = (time_t)(wait / SECOND_NS), .tv_nsec = (long)(wait % SECOND_NS)};
		struct epoll_event ready[256];
		int n = epoll_pwait2(w->poller, ready, 256, &t, NULL);
		for (int i = 0; i < n; i++) {
			uint64_t at = ready[i].data.u32;
			struct kept *k = &w->all[at];
			for (unsigned whole = kept_read(w, k); whole > 0; whole--, done++)
				latency_note(now_ns() - due_ns(start, k->answers++ * count + at, rate));
		}
	}
	print_result(done, now_ns() - start);
}

/* Visits. */

enum kind { EXCHANGE, ANSWER, REFUSED };

struct visit {
	int fd;
	bool asked;
	unsigned have;
	uint64_t began_ns;
};

struct visits {
	int poller;
	int port;
	enum kind kind;
	struct sockaddr_in from; /* any port of this address; none if it is 0.0.0.0 */
	struct sockaddr_in to;
	struct visit *all;
	unsigned char request[REQUEST_BYTES];
};

static void visit_begin(const struct visits *w, struct visit *v)
{
	int on = 1;
	*v = (struct visit){.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), .began_ns = now_ns()};
	if (v->fd < 0 || setsockopt(v->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0)
		die("socket: %s", strerror(errno));
	if (w->from.sin_addr.s_addr && (setsockopt(v->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on)) < 0 ||
					bind(v->fd, (const struct sockaddr *)&w->from, sizeof(w->from)) < 0))
		die("bind: %s", strerror(errno));
	if (connect(v->fd, (const struct sockaddr *)&w->to, sizeof(w->to)) < 0 && errno != EINPROGRESS)
		die("port %d: %s", w->port, strerror(errno));
	struct epoll_event e = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET | (w->kind == EXCHANGE ? EPOLLOUT : 0),
				.data.u32 = (uint32_t)(v - w->all)};
	if (epoll_ctl(w->poller, EPOLL_CTL_ADD, v->fd, &e) < 0)
		die("epoll_ctl: %s", strerror(errno));
}

/* Returns whether it is over, as it should be. */
static bool visit_go(const struct visits *w, struct visit *v, uint32_t events)
{
	unsigned char buffer[4096];
	if (w->kind == EXCHANGE && !v->asked && (events & EPOLLOUT)) {
		if (send(v->fd, w->request, REQUEST_BYTES, MSG_NOSIGNAL) != REQUEST_BYTES)
			die("port %d: sending: %s", w->port, strerror(errno));
		v->asked = true;
	}
	for (;;) {
		ssize_t n = recv(v->fd, buffer, sizeof(buffer), 0);
		if (n < 0 && (errno == EAGAIN || errno == ENOTCONN))
			return false;
		if (n > 0) {
			v->have += (unsigned)n;
			if (w->kind == REFUSED)
				die("port %d: a connection was not refused", w->port);
			if (w->kind == EXCHANGE && v->have >= ANSWER_BYTES)
				return true;
			continue;
		}
		if (w->kind == REFUSED && (n == 0 || errno == ECONNRESET))
			return true;
		if (w->kind == ANSWER && n == 0 && v->have > 0)
			return true;
		die("port %d: a connection ended: %s", w->port, n < 0 ? strerror(errno) : "too early");
	}
}

/* Until `most` have begun or the clock says until_ns; then until all are over. */
static void run_visits(struct visits *w, const char *port, int at_once, uint64_t most, uint64_t until_ns)
{
	w->poller = epoll_create1(EPOLL_CLOEXEC);
	w->port = number_of(port, 65535);
	w->to = loopback(w->port);
	w->all = calloc((size_t)at_once, sizeof(*w->all));
	if (w->poller < 0 || !w->all)
		die("no memory");
	request_fill(w->request, 'd', ANSWER_BYTES);
	uint64_t start = now_ns(), began = 0, done = 0, now = start;
	for (; began < (uint64_t)at_once && began < most; began++)
		visit_begin(w, &w->all[began]);
	while (done < began) {
		struct epoll_event ready[64];
		int n = epoll_wait(w->poller, ready, 64, TIMEOUT_S * 1000);
		if (n <= 0)
			die("port %d: a connection got no answer in %d s", w->port, TIMEOUT_S);
		for (int i = 0; i < n; i++) {
			struct visit *v = &w->all[ready[i].data.u32];
			if (!visit_go(w, v, ready[i].events))
				continue;
			close(v->fd);
			now = now_ns();
			latency_note(now - v->began_ns);
			done++;
			if (began < most && now < until_ns) {
				visit_begin(w, v);
				began++;
			}
		}
	}
	print_result(done, now - start);
}

static enum kind kind_of(const char *name)
{
	if (strcmp(name, "exchange") == 0)
		return EXCHANGE;
	if (strcmp(name, "answer") == 0)
		return ANSWER;
	if (strcmp(name, "refused") == 0)
		return REFUSED;
	die("%s: exchange, answer or refused", name);
}

static void run_idle(int argc, char **argv)
{
	int port = number_of(argv[0], 65535), open = 0;
	for (int i = 1; i < argc; i++) {
		for (int count = number_of(argv[i], 100000); open < count; open++)
			exchange(client_dial(port), port); /* its descriptor goes with the process */
		if (!told_to_go(open))
			return;
	}
}

/* Bulk. */

static unsigned char chunk[CHUNK_BYTES];

struct stream {
	int fd;
	uint64_t to_send;
	uint64_t to_take;
};

/* As far as it goes now. Returns whether it has all. */
static bool stream_go(struct stream *s, int port)
{
	ssize_t n = 1;
	while (s->to_send > 0 &&
	       (n = send(s->fd, chunk, less(s->to_send, CHUNK_BYTES), MSG_NOSIGNAL | MSG_DONTWAIT)) > 0)
		s->to_send -= (uint64_t)n;
	while (n > 0 && s->to_take > 0 && (n = recv(s->fd, chunk, less(s->to_take, CHUNK_BYTES), MSG_DONTWAIT)) > 0)
		s->to_take -= (uint64_t)n;
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0)
		die("port %d: a stream ended: %s", port, n < 0 ? strerror(errno) : "too early");
	return true;
}

static void run_bulk(bool up, const char *port_text, const char *streams, const char *mib)
{
	int port = number_of(port_text, 65535), count = number_of(streams, 1000), poller = epoll_create1(EPOLL_CLOEXEC);
	uint64_t each = (uint64_t)number_of(mib, 1 << 20) << 20, start = now_ns();
	unsigned char request[REQUEST_BYTES];
	struct stream *all = calloc((size_t)count, sizeof(*all));
	if (poller < 0 || !all)
		die("no memory");
	request_fill(request, up ? 'u' : 'd', each);
	for (int i = 0; i < count; i++) {
		all[i] = (struct stream){client_dial(port), up ? each : 0, up ? 1 : each};
		if (send(all[i].fd, request, REQUEST_BYTES, MSG_NOSIGNAL) != REQUEST_BYTES)
			die("port %d: sending: %s", port, strerror(errno));
		struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.u32 = (uint32_t)i};
		if (epoll_ctl(poller, EPOLL_CTL_ADD, all[i].fd, &e) < 0)
			die("epoll_ctl: %s", strerror(errno));
	}
	for (int left = count; left > 0;) {
		struct epoll_event ready[64];
		int n = epoll_wait(poller, ready, 64, TIMEOUT_S * 1000);
		if (n <= 0)
			die("port %d: nothing moved for %d s", port, TIMEOUT_S);
		for (int i = 0; i < n; i++) {
			struct stream *s = &all[ready[i].data.u32];
			if (s->fd >= 0 && stream_go(s, port)) {
				close(s->fd);
				s->fd = -1;
				left--;
			}
		}
	}
	print_result(each * (uint64_t)count, now_ns() - start);
}

static void run_send(const char *port_text, const char *mib)
{
	int port = number_of(port_text, 65535), fd = client_dial(port);
	uint64_t bytes = (uint64_t)number_of(mib, 1 << 20) << 20, start = now_ns();
	for (uint64_t left = bytes; left > 0;) {
		ssize_t n = send(fd, chunk, less(left, CHUNK_BYTES), MSG_NOSIGNAL);
		if (n <= 0)
			die("port %d: sending: %s", port, strerror(errno));
		left -= (uint64_t)n;
	}
	if (shutdown(fd, SHUT_WR) < 0 || recv(fd, chunk, 1, 0) != 0)
		die("port %d: no end came", port);
	print_result(bytes, now_ns() - start);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	struct visits visits = {0};
	struct crowd crowd = {0};
	signal(SIGPIPE, SIG_IGN);
	if ((argc == 5 && strcmp(mode, "closed") == 0) || (argc == 6 && strcmp(mode, "rate") == 0)) {
		crowd_open(&crowd, argv[2], argv[3]);
		if (!told_to_go(crowd.count))
			return 0;
		if (argc == 5)
			run_closed(&crowd, duration_ns(argv[4]));
		else
			run_rate(&crowd, duration_ns(argv[4]), (uint64_t)number_of(argv[5], 10000000));
		wait_for_end();
	} else if ((argc == 6 || argc == 7) && strcmp(mode, "visits") == 0) {
		visits.kind = kind_of(argv[2]);
		visits.from.sin_family = AF_INET;
		if (argc == 7 && inet_pton(AF_INET, argv[6], &visits.from.sin_addr) != 1)
			die("%s is no address", argv[6]);
		run_visits(&visits, argv[3], number_of(argv[4], 20000), UINT64_MAX, now_ns() + duration_ns(argv[5]));
	} else if (argc == 5 && strcmp(mode, "storm") == 0) {
		run_visits(&visits, argv[2], number_of(argv[3], 20000), (uint64_t)number_of(argv[4], 10000000),
			   UINT64_MAX);
	} else if (argc >= 4 && strcmp(mode, "idle") == 0) {
		run_idle(argc - 2, argv + 2);
	} else if (argc == 5 && (strcmp(mode, "upload") == 0 || strcmp(mode, "download") == 0)) {
		run_bulk(mode[0] == 'u', argv[2], argv[3], argv[4]);
	} else if (argc == 4 && strcmp(mode, "send") == 0) {
		run_send(argv[2], argv[3]);
	} else {
		die("load MODE ...; the modes stand at the top of load.c");
	}
	return 0;
}

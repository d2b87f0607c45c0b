/* SPDX-License-Identifier: MIT */
/* Log records to the journal. While it is behind or gone, the log thread waits with the record that it has: those that
 * come meanwhile gather in the queue, and what no longer fits there is lost and counted. */
#include <errno.h>
#include <poll.h>
#include <time.h>

#include "base/clock.h"
#include "report/log_native.h"

/* How long until the thread looks whether it is to end, and a journal that is gone is tried again. */
#define LOOK_MS 100

/* The log thread's */
static struct log_native journal = LOG_NATIVE_INIT;

static void pause_ms(unsigned ms)
{
	struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000L};
	nanosleep(&pause, NULL);
}

static void wait_for_room(struct log_native *n, int ms)
{
	struct pollfd p = {.fd = n->fd, .events = POLLOUT};
	/* a socket that says writable and then is not must not make this spin; and one that nobody reads from may have a
	 * successor */
	if (poll(&p, 1, ms) != 0)
		pause_ms(1);
	else
		n->connected = false;
}

static int send_entry(struct log_native *n, const struct log_entry *e)
{
	char bytes[LOG_NATIVE_BYTES];
	struct text datagram;
	text_init(&datagram, bytes, sizeof(bytes));
	log_native_encode(&datagram, e, log_now_us());
	return log_native_send(n, datagram.at, datagram.length);
}

static void journal_prepare(void)
{
	log_native_open(&journal);
}

static unsigned journal_put(const struct log_entry *e)
{
	for (;;) {
		int r = send_entry(&journal, e);
		if (r == 0)
			return 0;
		if (r == -EAGAIN && !log_is_left()) {
			wait_for_room(&journal, LOOK_MS);
		} else if (log_native_may_come_back(r) && !log_is_stopping()) {
			pause_ms(LOOK_MS);
		} else {
			return 1;
		}
	}
}

static unsigned journal_flush(void)
{
	return 0;
}

int log_journal_write_now(const struct log_entry *e, unsigned limit_ms)
{
	struct log_native now = LOG_NATIVE_INIT;
	uint64_t until_ms = clock_now_ms() + limit_ms;
	int r;

	while ((r = send_entry(&now, e)) == -EAGAIN && clock_now_ms() < until_ms)
		wait_for_room(&now, LOOK_MS);
	log_native_close(&now);
	return r;
}

const struct log_sink log_sink_journal = {
	.prepare = journal_prepare,
	.put = journal_put,
	.flush = journal_flush,
	.wants_fields = true,
};

/* SPDX-License-Identifier: MIT */
/* The journal's native protocol: one datagram a record, to a socket that may go and come back. Nothing here waits.
 *
 * libsystemd's sd_journal_sendv speaks it too, but says nothing when the journal is not there, and waits when it is
 * behind: records would be lost uncounted. */
#ifndef REPORT_LOG_NATIVE_H
#define REPORT_LOG_NATIVE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/text.h"
#include "report/log_priv.h"

/* In a unit with LogNamespace= systemd puts that journal's folder in this one's place. */
#define LOG_NATIVE_PATH "/run/systemd/journal/socket"

/* Enough for any record. */
#define LOG_NATIVE_BYTES (LOG_MESSAGE_BYTES + LOG_RECORD_BYTES + 1024)

/* A way to the journal. One thread uses it. */
struct log_native {
	int fd; /* -1: not open yet */
	bool connected;
};

#define LOG_NATIVE_INIT                                                                                                \
	{                                                                                                              \
		.fd = -1                                                                                               \
	}

/* Writes an entry as the datagram that stands for it. Values with a newline, and any other byte, are safe: they are
 * told by their length. `now_us` is the time by CLOCK_REALTIME: a record that has waited for long says so. */
void log_native_encode(struct text *to, const struct log_entry *e, uint64_t now_us);

/* Makes the socket, so that there is a descriptor when they run out later. What fails is tried again by send. */
void log_native_open(struct log_native *n);
void log_native_close(struct log_native *n);

/* Sends one datagram, as a sealed memory file when it is larger than datagrams may be. Connects when that has to be
 * done, or done anew. Returns 0; -EAGAIN: the journal is behind, poll `fd`; other -errno of socket, connect, sendmsg
 * and memfd_create. */
int log_native_send(struct log_native *n, const char *bytes, size_t length) MUST_CHECK;

/* Whether it helps to try again later: the journal is not there, or memory or descriptors are short. */
bool log_native_may_come_back(int error);

#endif

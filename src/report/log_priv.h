/* SPDX-License-Identifier: MIT */
/* What the files of the log share among themselves. */
#ifndef REPORT_LOG_PRIV_H
#define REPORT_LOG_PRIV_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "report/log.h"

#define LOG_QUEUE_BYTES (1U << 20)
#define LOG_BATCH_BYTES (64U << 10)

/* One record on its way. All text is borrowed. */
struct log_entry {
	uint64_t time_us; /* CLOCK_REALTIME: when it was submitted */
	enum log_level level;
	enum log_kind kind;
	uint16_t message_bytes; /* without the NUL that ends it */
	uint16_t fields_bytes;	/* with the NUL of each */
	const char *message;
	const char *fields;
};

/* Where the log thread writes. */
struct log_sink {
	/* Called by log_start, in its thread: what must not wait for the log thread, as reading the environment, which
	 * others may change later. NULL: nothing. */
	void (*prepare)(void);
	/* Called by the log thread alone, and may block it, best as long as the two below allow. Both return how many
	 * entries turned out not to be writable. */
	unsigned (*put)(const struct log_entry *e); /* may keep it until flush */
	unsigned (*flush)(void);
	bool wants_fields;
};

extern const struct log_sink log_sink_journal;
extern const struct log_sink log_sink_stderr;

/* log_start with any sink, borrowed until log_stop. Returns as log_start does. Thread: main. */
int log_start_sink(const struct log_sink *to) MUST_CHECK;

/* True if whoever reads the log sees fields: if not, nobody needs to format them. Thread: any. */
bool log_wants_fields(void);

/* Brings an entry to the log thread, or onto stderr when there is no such thread. Thread: any. */
void log_deliver(const struct log_entry *e);

/* Has the log thread look at the limits. Thread: any. */
void log_poke(void);

/* For a sink that waits: whether the log is to end (what is gone is not waited for any more), and whether log_stop has
 * given up waiting for that. Thread: log. */
bool log_is_stopping(void);
bool log_is_left(void);

uint64_t log_now_us(void);

/* Ends a record with its message, escaped, which lies in `memory` of LOG_MESSAGE_BYTES then. Both are borrowed. */
void log_entry_make(struct log_entry *e, const struct log_record *r, char *memory, const char *format, va_list args)
	PRINTF_LIKE(4, 0);

/* True if stderr is the stream that JOURNAL_STREAM speaks of. */
bool log_stderr_is_journal(void);

/* Writes one entry onto stderr in the caller's thread, waiting for at most `limit_ms`. Returns 0 or -errno. */
int log_stderr_write_now(const struct log_entry *e, int limit_ms) MUST_CHECK;

/* The same to the journal. */
int log_journal_write_now(const struct log_entry *e, unsigned limit_ms) MUST_CHECK;

/* Calls `report` for each place whose window is over (or for each at all, if `all`) and that has held records back.
 * Returns when to look again, in ms of the monotonic clock; 0 when nothing is held back. Thread: log. */
uint64_t log_limits_look(uint64_t now_ms, bool all, void (*report)(const char *what, unsigned held));

#endif

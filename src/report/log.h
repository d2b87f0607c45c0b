/* SPDX-License-Identifier: MIT */
/* The log: records with fields, to the journal (natively) or as lines on stderr, through one thread with a bounded
 * queue. Nobody who logs ever waits for the journal or the terminal: what does not fit is counted, and the count is
 * logged.
 *
 * Before log_start and after log_stop a record is written at once by its caller: to the journal if stderr is its
 * stream, else as a line on stderr. */
#ifndef REPORT_LOG_H
#define REPORT_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/text.h"

/* In the order of the option log_level's choices. */
enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_NOTICE,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

/* "error", "warning", ... Returns the level or -EINVAL. */
int log_level_parse(const char *name) MUST_CHECK;
const char *log_level_name(enum log_level level);

/* What a record is about; log_kinds.def gives each its MESSAGE_ID and its fields. */
enum log_kind {
#define LOG_KIND(name, ...) LOG_##name,
#include "report/log_kinds.def"
#undef LOG_KIND
	LOG_KIND_COUNT
};

/* Where the log goes. */
enum log_target {
	LOG_TARGET_AUTO, /* the journal if stderr is its stream (JOURNAL_STREAM), else lines on stderr */
	LOG_TARGET_STDERR,
	LOG_TARGET_JOURNAL,
};

/* Starts the log thread. Signals must be blocked already. Returns 0, -EALREADY, -ENOMEM or pthread_create's -errno.
 * Thread: main. */
int log_start(enum log_target target) MUST_CHECK;

/* Lets the thread write what is queued for up to `wait_ms`, then ends it. What is left then is lost. Thread: main,
 * as the last of the threads. */
void log_stop(unsigned wait_ms);

/* Thread: any. */
void log_set_level(enum log_level level);
bool log_wants(enum log_level level);

#define LOG_RECORD_BYTES 4096
#define LOG_MESSAGE_BYTES 768
#define LOG_VALUE_BYTES 512

/* A record in the making, on the caller's stack. */
struct log_record {
	enum log_level level;
	enum log_kind kind;
	bool wanted;		       /* the level is on; if not, the calls below do nothing */
	uint16_t used;		       /* bytes of `fields` */
	char fields[LOG_RECORD_BYTES]; /* "KEY=value" each, ended by NUL */
};

/* Where in the source a record is made: errors, warnings and debugging say so, in the fields CODE_FILE, CODE_LINE and
 * CODE_FUNC. */
#define LOG_HERE __FILE__, __LINE__, __func__

#define log_begin(r, level, kind) log_begin_at(LOG_HERE, r, level, kind)
void log_begin_at(const char *file, int line, const char *function, struct log_record *r, enum log_level level,
		  enum log_kind kind);

/* Adds a field. `key` is a journal field's name ("USHER_PEER"), of log_fields.def. Control characters of the value are
 * escaped. A value of more than LOG_VALUE_BYTES is cut, and ends in "..."; a field that no longer fits is left out
 * whole. */
void log_field(struct log_record *r, const char *key, const char *format, ...) PRINTF_LIKE(3, 4);

/* Ends the record with its message, one readable line, and queues it. Peer-supplied parts must have been added with
 * text_add_escaped; stray control characters are escaped all the same. Thread: any; never blocks on the journal. */
void log_submit(struct log_record *r, const char *format, ...) PRINTF_LIKE(2, 3);

/* Adds ERRNO; `error` is an errno or its negative, and nothing is added for 0. */
void log_field_errno(struct log_record *r, int error);

/* A record without fields of its own. */
#define log_write(level, kind, ...) log_write_at(LOG_HERE, level, kind, __VA_ARGS__)
void log_write_at(const char *file, int line, const char *function, enum log_level level, enum log_kind kind,
		  const char *format, ...) PRINTF_LIKE(6, 7);

/* A record whose only field is ERRNO. */
#define log_write_errno(level, kind, error, ...) log_write_errno_at(LOG_HERE, level, kind, error, __VA_ARGS__)
void log_write_errno_at(const char *file, int line, const char *function, enum log_level level, enum log_kind kind,
			int error, const char *format, ...) PRINTF_LIKE(7, 8);

/* One place that may log at most LOG_LIMIT_BURST records in LOG_LIMIT_WINDOW_MS; what is held back is counted, and
 * the count is logged when the window is over, whether or not another record comes. Static storage, set up with
 * LOG_LIMIT_INIT. */
struct log_limit {
	_Atomic uint64_t window_start_ms;
	_Atomic unsigned used;
	_Atomic unsigned held;
	_Atomic uint64_t tell_at_ms; /* when the log thread is to say how many were held back */
	_Atomic int registered;
	struct log_limit *_Atomic next; /* of the list of places that the log thread looks through */
	const char *what;		/* "connects to upstreams that failed" */
};

#define LOG_LIMIT_BURST 10
#define LOG_LIMIT_WINDOW_MS 10000
#define LOG_LIMIT_INIT(text)                                                                                           \
	{                                                                                                              \
		.what = (text)                                                                                         \
	}

/* True if this place may log now (and counts it), false if it is to be held back. Thread: any. */
bool log_allowed(struct log_limit *limit, uint64_t now_ms);

/* Counts since the start. Thread: any. */
uint64_t log_lost(void);

#endif

/* SPDX-License-Identifier: MIT */
/* Log records as lines on stderr: for a person at a terminal, or for the journal's stream. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "report/log_priv.h"

#define LINE_BYTES (LOG_MESSAGE_BYTES + 128)
#define NO_LIMIT (-1)

enum line_style {
	STYLE_PLAIN,
	STYLE_COLOURED,
	STYLE_JOURNAL, /* the journal adds the time itself, and takes the level from "<6>" */
};

/* The second that was last written, as text: most lines of a busy log share it. */
struct line_clock {
	time_t second;
	char text[sizeof("2026-11-20 12:34:56")];
};

/* The log thread's */
static char lines[LOG_BATCH_BYTES];
static size_t lines_length;
static unsigned lines_count;
static struct line_clock lines_clock;
static enum line_style lines_style;

bool log_stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	char own[64];
	struct stat st;

	if (stream == NULL || fstat(STDERR_FILENO, &st) < 0)
		return false;
	snprintf(own, sizeof(own), "%llu:%llu", (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	return strcmp(stream, own) == 0;
}

static enum line_style find_style(void)
{
	const char *no_color = getenv("NO_COLOR");
	if (log_stderr_is_journal())
		return STYLE_JOURNAL;
	if ((no_color == NULL || no_color[0] == '\0') && isatty(STDERR_FILENO))
		return STYLE_COLOURED;
	return STYLE_PLAIN;
}

static const char *line_clock_text(struct line_clock *c, time_t second)
{
	if (c->text[0] == '\0' || c->second != second) {
		struct tm tm;
		c->second = second;
		if (localtime_r(&second, &tm) == NULL || strftime(c->text, sizeof(c->text), "%F %T", &tm) == 0)
			strcpy(c->text, "-");
	}
	return c->text;
}

/* Formats one line with its newline. Returns its bytes. */
static size_t format_line(char *to, size_t size, const struct log_entry *e, enum line_style style, struct line_clock *c)
{
	static const char *const colours[] = {
		[LOG_LEVEL_ERROR] = "\033[1;31m", [LOG_LEVEL_WARNING] = "\033[1;33m",
		[LOG_LEVEL_NOTICE] = "\033[1m",	  [LOG_LEVEL_INFO] = "",
		[LOG_LEVEL_DEBUG] = "\033[2m",
	};
	struct text line;

	text_init(&line, to, size);
	if (style == STYLE_JOURNAL) {
		text_printf(&line, "<%d>", (int)e->level + 3);
	} else {
		bool coloured = style == STYLE_COLOURED && colours[e->level][0] != '\0';
		text_printf(&line, "%s.%03u %s%-7s%s ", line_clock_text(c, (time_t)(e->time_us / 1000000)),
			    (unsigned)(e->time_us / 1000 % 1000), coloured ? colours[e->level] : "",
			    log_level_name(e->level), coloured ? "\033[0m" : "");
	}
	text_add_bytes(&line, e->message, e->message_bytes);
	text_add(&line, "\n");
	return line.length;
}

/* Waits until stderr takes bytes; `until_ms` is when to give up (0: never). Returns 0 or -errno. */
static int wait_writable(uint64_t until_ms)
{
	struct pollfd p = {.fd = STDERR_FILENO, .events = POLLOUT};
	int wait_ms = NO_LIMIT;

	if (until_ms != 0) {
		uint64_t now_ms = clock_now_ms();
		wait_ms = now_ms < until_ms ? (int)(until_ms - now_ms) : 0;
	}
	int r = poll(&p, 1, wait_ms);
	if (r < 0)
		return errno == EINTR ? 0 : -errno;
	return r == 0 ? -ETIMEDOUT : 0;
}

/* Writes all of it. `limit_ms`: how long it may take; with NO_LIMIT the caller can wait for ever. Returns 0 or
 * -errno. */
static int write_all(const char *at, size_t n, int limit_ms)
{
	uint64_t until_ms = limit_ms == NO_LIMIT ? 0 : clock_now_ms() + (uint64_t)limit_ms;

	while (n > 0) {
		/* a stderr that blocks is asked first only by those who must not wait for ever */
		int r = until_ms != 0 ? wait_writable(until_ms) : 0;
		if (r < 0)
			return r;
		ssize_t written = write(STDERR_FILENO, at, n);
		if (written >= 0) {
			at += written;
			n -= (size_t)written;
		} else if (errno == EAGAIN) {
			/* a descriptor that says writable and then is not must not make this spin */
			struct timespec pause = {.tv_nsec = 1000000};
			r = wait_writable(until_ms);
			if (r < 0)
				return r;
			nanosleep(&pause, NULL);
		} else if (errno != EINTR) {
			return -errno;
		}
	}
	return 0;
}

static void stderr_prepare(void)
{
	tzset();
	lines_style = find_style();
}

static unsigned stderr_flush(void)
{
	unsigned failed = lines_length > 0 && write_all(lines, lines_length, NO_LIMIT) < 0 ? lines_count : 0;
	lines_length = 0;
	lines_count = 0;
	return failed;
}

static unsigned stderr_put(const struct log_entry *e)
{
	unsigned failed = 0;
	if (sizeof(lines) - lines_length < LINE_BYTES)
		failed = stderr_flush();
	lines_length += format_line(lines + lines_length, LINE_BYTES, e, lines_style, &lines_clock);
	lines_count++;
	return failed;
}

int log_stderr_write_now(const struct log_entry *e, int limit_ms)
{
	char line[LINE_BYTES];
	struct line_clock c = {.text = ""};
	return write_all(line, format_line(line, sizeof(line), e, find_style(), &c), limit_ms);
}

const struct log_sink log_sink_stderr = {
	.prepare = stderr_prepare,
	.put = stderr_put,
	.flush = stderr_flush,
	.wants_fields = false,
};

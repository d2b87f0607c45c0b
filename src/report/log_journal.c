/* SPDX-License-Identifier: MIT */
/* Log records as native journal records. */
#define SD_JOURNAL_SUPPRESS_LOCATION
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <systemd/sd-journal.h>

#include "report/log_priv.h"

#define FIELDS_MAX 48

/* syslog's numbers: error is 3, debug is 7 */
static const char *const priorities[] = {
	[LOG_LEVEL_ERROR] = "PRIORITY=3", [LOG_LEVEL_WARNING] = "PRIORITY=4", [LOG_LEVEL_NOTICE] = "PRIORITY=5",
	[LOG_LEVEL_INFO] = "PRIORITY=6",  [LOG_LEVEL_DEBUG] = "PRIORITY=7",
};

static const char *const message_ids[] = {
#define LOG_KIND(name, message_id, meaning) [LOG_##name] = "MESSAGE_ID=" message_id,
#include "report/log_kinds.def"
#undef LOG_KIND
};

static struct iovec part(const char *bytes, size_t n)
{
	/* sd_journal_sendv only reads */
	union {
		const char *from;
		void *to;
	} unconst = {.from = bytes};
	return (struct iovec){.iov_base = unconst.to, .iov_len = n};
}

static unsigned journal_put(const struct log_entry *e)
{
	static const char identifier[] = "SYSLOG_IDENTIFIER=usherd";
	char message[sizeof("MESSAGE=") + LOG_MESSAGE_BYTES];
	struct iovec parts[4 + FIELDS_MAX];
	int n = 0;

	int length = snprintf(message, sizeof(message), "MESSAGE=%s", e->message);
	parts[n++] = part(message, (size_t)length);
	parts[n++] = part(priorities[e->level], strlen(priorities[e->level]));
	parts[n++] = part(message_ids[e->kind], strlen(message_ids[e->kind]));
	parts[n++] = part(identifier, strlen(identifier));
	const char *end = e->fields + e->fields_bytes;
	for (const char *at = e->fields; at < end && n < (int)ARRAY_LEN(parts); at += strlen(at) + 1)
		parts[n++] = part(at, strlen(at));

	return sd_journal_sendv(parts, n) < 0 ? 1 : 0;
}

static unsigned journal_flush(void)
{
	return 0;
}

const struct log_sink log_sink_journal = {
	.put = journal_put,
	.flush = journal_flush,
	.wants_fields = true,
};

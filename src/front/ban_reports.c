/* SPDX-License-Identifier: MIT */
#include "front/ban_reports.h"

#include <inttypes.h>

#include "base/text.h"
#include "report/log.h"

/* Begins a period if none runs. Returns whether there is room for a record of its own. */
MAIN_ONLY static bool takes_one(struct ban_reports *r, uint64_t now_ms)
{
	(void)ban_reports_due(r, now_ms);
	if (!r->runs) {
		r->runs = true;
		r->since_ms = now_ms;
		r->told = 0;
	}
	if (r->told == BAN_REPORTS_MOST)
		return false;
	r->told++;
	return true;
}

MAIN_ONLY static uint64_t left_ms(const struct ban_reports *r, uint64_t now_ms)
{
	return r->since_ms + BAN_REPORTS_PERIOD_MS - now_ms;
}

static void begin(struct log_record *record, enum log_kind kind, const char *listener, struct text *who,
		  const struct source_key *key)
{
	source_key_add_text(who, key);
	log_begin(record, LOG_LEVEL_NOTICE, kind);
	if (listener[0])
		log_field(record, "USHER_LISTENER", "%s", listener);
	log_field(record, "USHER_PEER", "%s", who->at);
	log_field(record, "USHER_SOURCE", "%s", who->at);
}

uint64_t ban_reports_begun(struct ban_reports *r, const char *listener, const struct source_key *who, uint64_t for_ms,
			   uint64_t now_ms)
{
	char who_bytes[SOURCE_KEY_TEXT_BYTES];
	char length_bytes[48];
	struct text name;
	struct text length;
	struct log_record record;
	if (!takes_one(r, now_ms)) {
		r->begun++;
		return left_ms(r, now_ms);
	}
	text_init(&name, who_bytes, sizeof(who_bytes));
	text_init(&length, length_bytes, sizeof(length_bytes));
	text_add_duration_ms(&length, for_ms);
	begin(&record, LOG_BANNED, listener, &name, who);
	log_field(&record, "USHER_SECONDS", "%" PRIu64, for_ms / 1000);
	log_submit(&record, "%s: %s is banned for %s", listener[0] ? listener : "door", name.at, length.at);
	return left_ms(r, now_ms);
}

uint64_t ban_reports_ended(struct ban_reports *r, const char *listener, const struct source_key *who, uint64_t now_ms)
{
	char who_bytes[SOURCE_KEY_TEXT_BYTES];
	struct text name;
	struct log_record record;
	if (!takes_one(r, now_ms)) {
		r->ended++;
		return left_ms(r, now_ms);
	}
	text_init(&name, who_bytes, sizeof(who_bytes));
	begin(&record, LOG_UNBANNED, listener, &name, who);
	log_submit(&record, "%s: the ban of %s has ended", listener[0] ? listener : "door", name.at);
	return left_ms(r, now_ms);
}

static void tell_sum(enum log_kind kind, uint64_t count, const char *what, uint64_t ms)
{
	struct log_record record;
	if (count == 0)
		return;
	uint64_t seconds = (ms + 500) / 1000;
	log_begin(&record, LOG_LEVEL_NOTICE, kind);
	log_field(&record, "USHER_COUNT", "%" PRIu64, count);
	log_field(&record, "USHER_SECONDS", "%" PRIu64, seconds);
	log_submit(&record, "%" PRIu64 " more %s in %" PRIu64 " s", count, what, seconds);
}

void ban_reports_flush(struct ban_reports *r, uint64_t now_ms)
{
	tell_sum(LOG_BANNED, r->begun, r->begun == 1 ? "source was banned" : "sources were banned",
		 now_ms - r->since_ms);
	tell_sum(LOG_UNBANNED, r->ended, r->ended == 1 ? "ban has ended" : "bans have ended", now_ms - r->since_ms);
	*r = (struct ban_reports){0};
}

uint64_t ban_reports_due(struct ban_reports *r, uint64_t now_ms)
{
	if (r->runs && now_ms - r->since_ms < BAN_REPORTS_PERIOD_MS)
		return left_ms(r, now_ms);
	ban_reports_flush(r, now_ms);
	return UINT64_MAX;
}

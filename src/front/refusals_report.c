/* SPDX-License-Identifier: MIT */
/* The log record of refused connections. */
#include <inttypes.h>

#include "base/text.h"
#include "front/refusals.h"
#include "report/log.h"

static uint64_t seconds_of(const struct refusal_sum *sum)
{
	return (sum->ms + 500) / 1000;
}

static void add_reasons(struct text *t, const struct refusal_sum *sum)
{
	const struct close_reason_facts *first = &close_reason_facts[sum->reasons[0].reason];
	if (sum->reason_count == 1 && sum->rest == 0) {
		text_printf(t, "%s (%s)", first->text, first->name);
		return;
	}
	for (unsigned i = 0; i < sum->reason_count; i++)
		text_printf(t, "%s%" PRIu64 " %s", i > 0 ? ", " : "", sum->reasons[i].count,
			    close_reason_facts[sum->reasons[i].reason].name);
	if (sum->rest > 0)
		text_printf(t, ", %" PRIu64 " for other reasons", sum->rest);
}

void refusals_report(void *arg UNUSED, const struct refusal_sum *sum)
{
	struct log_record r;
	log_begin(&r, LOG_LEVEL_NOTICE, LOG_REFUSED);
	if (!r.wanted)
		return;

	char who_bytes[WHO_TEXT_BYTES];
	struct text who;
	text_init(&who, who_bytes, sizeof(who_bytes));
	who_add_text(&who, sum->who);
	if (sum->listener[0])
		log_field(&r, "USHER_LISTENER", "%s", sum->listener);
	log_field(&r, "USHER_PEER", "%s", who.at);
	log_field(&r, "USHER_SOURCE", "%s", who.at);
	log_field(&r, "USHER_REASON", "%s", close_reason_facts[sum->reasons[0].reason].name);
	log_field(&r, "USHER_COUNT", "%" PRIu64, sum->count);
	log_field(&r, "USHER_SECONDS", "%" PRIu64, seconds_of(sum));

	char memory[LOG_MESSAGE_BYTES];
	struct text t;
	text_init(&t, memory, sizeof(memory));
	if (sum->listener[0])
		text_printf(&t, "%s: ", sum->listener);
	text_printf(&t, "refused %" PRIu64 " connection%s of %s", sum->count, sum->count == 1 ? "" : "s", who.at);
	if (!sum->listener[0])
		text_add(&t, " at other listeners");
	if (seconds_of(sum) > 0)
		text_printf(&t, " in %" PRIu64 " s", seconds_of(sum));
	text_add(&t, ": ");
	add_reasons(&t, sum);
	log_submit(&r, "%s", t.at);
}

/* SPDX-License-Identifier: MIT */
#include "config/rate_value.h"

#include <errno.h>
#include <string.h>

#include "config/value.h"

#define DAY_MS 86400000ULL
#define FULL_WITHIN_MS (365 * DAY_MS)
#define DEFAULT_BURST_MS 1000U
#define DEFAULT_BURST_BYTES_MS 100U
#define DEFAULT_BURST_BYTES (16ULL << 10)
#define LEAST_BURST_BYTES_MS 10U

/* An amount longer than this is too large, or no amount. */
#define AMOUNT_BYTES 32

/* All of them divide a day. */
static const struct {
	const char *name;
	uint64_t ms;
} times[] = {{"s", 1000}, {"min", 60000}, {"h", 3600000}, {"d", DAY_MS}};

static const char *const help[] = {
	[RATE_COUNT] = "; write it as in \"20/s\" or \"20/s burst 50\", with s, min, h or d",
	[RATE_BYTES] = "; write it as in \"1MiB/s\" or \"512KiB/s burst 4MiB\", with s, min, h or d",
};

/* Says what is wrong and what is allowed. */
static int refuse(struct text *why, enum rate_kind kind, const char *what)
{
	text_add(why, what);
	text_add(why, help[kind]);
	return -EINVAL;
}

static void add_amount(struct text *t, enum rate_kind kind, uint64_t amount)
{
	if (kind == RATE_BYTES)
		value_add_size(t, amount);
	else
		text_printf(t, "%llu", (unsigned long long)amount);
}

/* Returns what is wrong with a plain number, or NULL. One that is too large ends past the maximum. */
static const char *read_count(uint64_t *to, const char *text)
{
	uint64_t number = 0;

	if (strchr(text, '.') || strchr(text, ','))
		return "has a fraction";
	if (text[0] == '\0' || text[strspn(text, "0123456789")] != '\0')
		return "is no whole number";
	for (const char *p = text; *p && number <= RATE_VALUE_MAX; p++)
		number = number * 10 + (uint64_t)(*p - '0');
	*to = number;
	return NULL;
}

/* Reads an amount of `n` bytes; `what` is "an amount" or "a burst". */
static int parse_amount(uint64_t *to, enum rate_kind kind, const char *at, size_t n, const char *what, struct text *why)
{
	char text[AMOUNT_BYTES];
	const char *wrong = NULL;
	uint64_t amount = RATE_VALUE_MAX + 1;

	if (n < sizeof(text)) {
		memcpy(text, at, n);
		text[n] = '\0';
		if (kind == RATE_COUNT || strcmp(text, "0") == 0)
			wrong = read_count(&amount, text);
		else if (value_parse_size(&amount, text, &wrong) == 0)
			wrong = NULL;
	}
	if (wrong) {
		text_printf(why, "has %s that ", what);
		text_add_bytes(why, wrong, strcspn(wrong, ";")); /* the advice on sizes shows no rate */
		return refuse(why, kind, "");
	}
	if (amount > RATE_VALUE_MAX) {
		text_printf(why, "has %s that is too large; at most ", what);
		add_amount(why, kind, RATE_VALUE_MAX);
		return -EINVAL;
	}
	*to = amount;
	return 0;
}

/* What flows in `ms`, rounded up. The product stays below 2^64 for what is parsed: 2^40 times a second. */
static uint64_t flows_in(uint64_t amount, uint64_t period_ms, unsigned ms)
{
	return (amount * ms + period_ms - 1) / period_ms;
}

uint64_t rate_value_default_burst(enum rate_kind kind, uint64_t amount, uint64_t period_ms)
{
	uint64_t least = kind == RATE_BYTES ? DEFAULT_BURST_BYTES : 1;
	uint64_t burst = flows_in(amount, period_ms, kind == RATE_BYTES ? DEFAULT_BURST_BYTES_MS : DEFAULT_BURST_MS);

	return burst > least ? burst : least;
}

/* Whether a burst that was given goes with its rate. */
static int check_burst(enum rate_kind kind, const struct rate *r, struct text *why)
{
	uint64_t least = flows_in(r->amount, r->period_ms, LEAST_BURST_BYTES_MS);
	uint64_t most;

	if (r->burst == 0)
		return refuse(why, kind, "has a burst of 0, which would let nothing through");
	if (kind == RATE_BYTES && r->burst < least) {
		text_add(why, "has a burst that is smaller than what flows in 10ms, so that the rate would never be "
			      "reached; at least ");
		add_amount(why, kind, least);
		return -EINVAL;
	}
	if (!__builtin_mul_overflow(r->amount, FULL_WITHIN_MS / r->period_ms, &most) && r->burst > most) {
		text_add(why, "has a burst that takes more than a year to come back; at most ");
		add_amount(why, kind, most);
		return -EINVAL;
	}
	return 0;
}

/* Reads " burst 50" at `p`, or nothing. */
static int parse_burst(struct rate *r, enum rate_kind kind, const char *p, struct text *why)
{
	size_t gap = strspn(p, " ");

	if (*p == '\0') {
		r->burst = rate_value_default_burst(kind, r->amount, r->period_ms);
		return 0;
	}
	if (gap == 0 || strncmp(p + gap, "burst ", 6) != 0)
		return refuse(why, kind, "has something behind the rate that is no burst");
	p += gap + 6;
	p += strspn(p, " ");
	int rc = parse_amount(&r->burst, kind, p, strlen(p), "a burst", why);
	if (rc < 0)
		return rc;
	if (r->amount == 0) {
		text_add(why, "sets no limit, so that a burst has no effect; leave it out");
		return -EINVAL;
	}
	return check_burst(kind, r, why);
}

int rate_value_parse(struct rate *to, enum rate_kind kind, const char *text, struct text *why)
{
	const char *slash = strchr(text, '/');
	struct rate r = {0};

	if (!slash)
		return refuse(why, kind, "does not say in what time");
	int rc = parse_amount(&r.amount, kind, text, (size_t)(slash - text), "an amount", why);
	if (rc < 0)
		return rc;

	const char *p = slash + 1;
	size_t n = strcspn(p, " ");
	for (size_t i = 0; i < ARRAY_LEN(times); i++) {
		if (strlen(times[i].name) == n && memcmp(times[i].name, p, n) == 0)
			r.period_ms = times[i].ms;
	}
	if (r.period_ms == 0)
		return refuse(why, kind, "has an unknown time behind the slash");
	rc = parse_burst(&r, kind, p + n, why);
	if (rc < 0)
		return rc;
	if (r.amount == 0)
		r = (struct rate){.period_ms = times[0].ms, .burst = 1}; /* one form for what is one thing */
	*to = r;
	return 0;
}

void rate_value_add(struct text *t, enum rate_kind kind, const struct rate *r)
{
	if (r->amount == 0) {
		text_add(t, "0/s");
		return;
	}
	add_amount(t, kind, r->amount);
	for (size_t i = 0; i < ARRAY_LEN(times); i++) {
		if (times[i].ms == r->period_ms)
			text_printf(t, "/%s", times[i].name);
	}
	if (r->burst != rate_value_default_burst(kind, r->amount, r->period_ms)) {
		text_add(t, " burst ");
		add_amount(t, kind, r->burst);
	}
}

uint64_t rate_value_per_day(const struct rate *r)
{
	return r->amount * (DAY_MS / r->period_ms);
}

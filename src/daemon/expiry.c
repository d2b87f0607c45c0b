/* SPDX-License-Identifier: MIT */
#include "daemon/expiry.h"

#include <stdlib.h>
#include <string.h>

#define DAY ((time_t)86400)

struct expiry_known {
	char *file;   /* owned */
	char *serial; /* owned */
	enum expiry_stage said;
	bool said_not_yet;
	bool asked; /* since expiry_begin */
};

enum expiry_stage expiry_stage_of(const struct tls_certificate_facts *f, time_t now)
{
	if (now > f->not_after)
		return EXPIRY_OVER;
	if (now < f->not_before)
		return EXPIRY_NOT_YET;
	time_t left = f->not_after - now;
	if (left <= 1 * DAY)
		return EXPIRY_1_DAY;
	if (left <= 7 * DAY)
		return EXPIRY_7_DAYS;
	return left <= 30 * DAY ? EXPIRY_30_DAYS : EXPIRY_FAR;
}

void expiry_add_time(struct text *to, time_t at)
{
	struct tm utc;
	char bytes[64];
	if (!gmtime_r(&at, &utc) || strftime(bytes, sizeof(bytes), "%Y-%m-%d %H:%M:%S UTC", &utc) == 0)
		text_printf(to, "%lld s after 1970", (long long)at);
	else
		text_add(to, bytes);
}

static void add_days(struct text *to, time_t seconds)
{
	long long days = (long long)(seconds / DAY);
	if (days == 0)
		text_add(to, "less than a day");
	else
		text_printf(to, "%lld day%s", days, days == 1 ? "" : "s");
}

void expiry_add_left(struct text *to, const struct tls_certificate_facts *f, time_t now)
{
	switch (expiry_stage_of(f, now)) {
	case EXPIRY_OVER:
		text_add(to, "expired ");
		add_days(to, now - f->not_after);
		text_add(to, " ago");
		break;
	case EXPIRY_NOT_YET:
		text_add(to, "not valid before ");
		expiry_add_time(to, f->not_before);
		break;
	default:
		add_days(to, f->not_after - now);
		text_add(to, " left");
		break;
	}
}

void expiry_begin(struct expiry *e)
{
	for (unsigned i = 0; i < e->count; i++)
		e->at[i].asked = false;
}

static struct expiry_known *find(struct expiry *e, const struct tls_certificate_facts *f)
{
	for (unsigned i = 0; i < e->count; i++)
		if (strcmp(e->at[i].file, f->file) == 0 && strcmp(e->at[i].serial, f->serial) == 0)
			return &e->at[i];
	return NULL;
}

static struct expiry_known *remember(struct expiry *e, const struct tls_certificate_facts *f)
{
	struct expiry_known *at = realloc(e->at, (e->count + 1) * sizeof(*at));
	if (!at)
		return NULL;
	e->at = at;
	struct expiry_known known = {.file = strdup(f->file), .serial = strdup(f->serial)};
	if (!known.file || !known.serial) {
		free(known.file);
		free(known.serial);
		return NULL;
	}
	at[e->count] = known;
	return &at[e->count++];
}

bool expiry_is_news(struct expiry *e, const struct tls_certificate_facts *f, time_t now)
{
	enum expiry_stage stage = expiry_stage_of(f, now);
	struct expiry_known *known = find(e, f);
	if (!known && stage != EXPIRY_FAR)
		known = remember(e, f);
	if (!known)
		return stage != EXPIRY_FAR; /* rather twice than never */
	known->asked = true;
	if (stage == EXPIRY_NOT_YET) {
		bool news = !known->said_not_yet;
		known->said_not_yet = true;
		return news;
	}
	if (stage <= known->said)
		return false;
	known->said = stage;
	return true;
}

void expiry_end(struct expiry *e)
{
	unsigned kept = 0;
	for (unsigned i = 0; i < e->count; i++) {
		if (e->at[i].asked) {
			e->at[kept++] = e->at[i];
			continue;
		}
		free(e->at[i].file);
		free(e->at[i].serial);
	}
	e->count = kept;
}

void expiry_fini(struct expiry *e)
{
	expiry_begin(e);
	expiry_end(e);
	free(e->at);
	*e = (struct expiry){0};
}

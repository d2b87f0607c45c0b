/* SPDX-License-Identifier: MIT */
#include "front/refusals.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/must.h"
#include "base/siphash.h"
#include "config/schema.h"

#define BUCKETS 8192 /* a power of two */

struct entry {
	struct who who;
	struct entry *next_in_bucket; /* or in the list of free ones */
	struct list by_age;
	uint64_t since_ms; /* when its minute began */
	uint64_t count;	   /* in it, not told yet */
	unsigned reason_count;
	struct refusal_count reasons[REFUSALS_REASONS];
	char listener[SCHEMA_LISTENER_NAME_MAX + 1];
};

struct refusals {
	struct siphash_key secret;
	unsigned most;	 /* that are not of WHO_OTHERS */
	unsigned plain;	 /* of these, in use */
	unsigned others; /* of WHO_OTHERS, in use */
	unsigned made;	 /* of `entries`, ever */
	struct entry *free;
	struct list by_age; /* by when their minute began */
	struct entry *buckets[BUCKETS];
	struct entry entries[]; /* most, REFUSALS_OTHERS, and one */
};

struct refusals *refusals_create(unsigned most)
{
	/* memory that is not used yet is not taken: nothing writes to it */
	struct refusals *r = calloc(1, sizeof(*r) + (most + (size_t)REFUSALS_OTHERS + 1) * sizeof(r->entries[0]));
	if (!r)
		return NULL;
	siphash_key_random(&r->secret);
	r->most = most;
	list_init(&r->by_age);
	return r;
}

struct refusals *refusals_destroy(struct refusals *r)
{
	free(r);
	return NULL;
}

unsigned refusals_count(const struct refusals *r)
{
	return r->plain + r->others;
}

/* ---- the table ---- */

static struct entry **bucket_of(struct refusals *r, const struct who *who)
{
	return &r->buckets[siphash(&r->secret, who, sizeof(*who)) & (BUCKETS - 1)];
}

static struct entry *look_up(struct refusals *r, const struct who *who)
{
	struct entry *e = *bucket_of(r, who);
	while (e && !who_same(&e->who, who))
		e = e->next_in_bucket;
	return e;
}

static unsigned *counted_in(struct refusals *r, const struct entry *e)
{
	return e->who.kind == WHO_OTHERS ? &r->others : &r->plain;
}

static struct entry *make(struct refusals *r, const char *listener, const struct who *who, uint64_t now_ms)
{
	struct entry *e = r->free;
	if (e) {
		r->free = e->next_in_bucket;
	} else {
		must(r->made < r->most + REFUSALS_OTHERS + 1);
		e = &r->entries[r->made++];
	}
	memset(e, 0, offsetof(struct entry, reasons));
	e->who = *who;
	size_t n = strnlen(listener, sizeof(e->listener) - 1);
	memcpy(e->listener, listener, n);
	e->listener[n] = '\0';
	e->since_ms = now_ms;
	list_append(&r->by_age, &e->by_age);
	struct entry **bucket = bucket_of(r, who);
	e->next_in_bucket = *bucket;
	*bucket = e;
	++*counted_in(r, e);
	return e;
}

static void drop(struct refusals *r, struct entry *e)
{
	struct entry **at = bucket_of(r, &e->who);
	while (*at != e) {
		must(*at);
		at = &(*at)->next_in_bucket;
	}
	*at = e->next_in_bucket;
	list_remove(&e->by_age);
	--*counted_in(r, e);
	e->next_in_bucket = r->free;
	r->free = e;
}

/* The entry that counts who has none of their own, for want of room. */
static struct entry *get_others(struct refusals *r, const char *listener, const struct who *who, uint64_t now_ms)
{
	struct who others = who_others(who_listener(who));
	struct entry *e = look_up(r, &others);
	if (e)
		return e;
	if (r->others < REFUSALS_OTHERS)
		return make(r, listener, &others, now_ms);
	others = who_others(0);
	e = look_up(r, &others);
	return e ? e : make(r, "", &others, now_ms);
}

/* ---- counting and telling ---- */

static void add(struct entry *e, enum close_reason reason)
{
	unsigned i = 0;
	e->count++;
	while (i < e->reason_count && e->reasons[i].reason != reason)
		i++;
	if (i == REFUSALS_REASONS)
		return;
	if (i == e->reason_count)
		e->reasons[e->reason_count++] = (struct refusal_count){.reason = reason};
	e->reasons[i].count++;
}

/* Adds a reason to a sum, behind those that are as frequent. */
static void add_reason(struct refusal_sum *sum, const struct refusal_count *c)
{
	unsigned at = sum->reason_count++;
	for (; at > 0 && sum->reasons[at - 1].count < c->count; at--)
		sum->reasons[at] = sum->reasons[at - 1];
	sum->reasons[at] = *c;
	sum->rest -= c->count;
}

/* Tells what came since its minute began, and begins another. */
static void tell_entry(struct entry *e, uint64_t now_ms, refusals_tell *tell, void *arg)
{
	struct refusal_sum sum = {
		.listener = e->listener,
		.who = &e->who,
		.count = e->count,
		.ms = now_ms - e->since_ms,
		.rest = e->count,
	};
	for (unsigned i = 0; i < e->reason_count; i++)
		add_reason(&sum, &e->reasons[i]);
	e->count = 0;
	e->reason_count = 0;
	e->since_ms = now_ms;
	tell(arg, &sum);
}

void refusals_note(struct refusals *r, const char *listener, const struct who *who, enum close_reason reason,
		   uint64_t now_ms, refusals_tell *tell, void *arg)
{
	unsigned before = refusals_count(r);
	struct entry *e = look_up(r, who);
	if (!e)
		e = r->plain < r->most ? make(r, listener, who, now_ms) : get_others(r, listener, who, now_ms);
	add(e, reason);
	if (refusals_count(r) > before)
		tell_entry(e, now_ms, tell, arg);
}

uint64_t refusals_due(struct refusals *r, uint64_t now_ms, refusals_tell *tell, void *arg)
{
	for (unsigned i = 0;; i++) {
		if (list_empty(&r->by_age))
			return UINT64_MAX;
		struct entry *e = CONTAINER_OF(r->by_age.next, struct entry, by_age);
		uint64_t until_ms = e->since_ms + REFUSALS_PERIOD_MS;
		if (now_ms < until_ms)
			return until_ms - now_ms;
		if (i == REFUSALS_AT_ONCE)
			return 0;
		if (e->count == 0) {
			drop(r, e);
			continue;
		}
		list_remove(&e->by_age);
		list_append(&r->by_age, &e->by_age);
		tell_entry(e, now_ms, tell, arg);
	}
}

void refusals_flush(struct refusals *r, uint64_t now_ms, refusals_tell *tell, void *arg)
{
	while (!list_empty(&r->by_age)) {
		struct entry *e = CONTAINER_OF(r->by_age.next, struct entry, by_age);
		if (e->count > 0)
			tell_entry(e, now_ms, tell, arg);
		drop(r, e);
	}
}

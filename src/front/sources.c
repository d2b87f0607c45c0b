/* SPDX-License-Identifier: MIT */
#include "front/sources.h"

#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "front/sources_priv.h"

/* How many entries of each list a new source looks at for one to forget. */
#define LOOK 8

#define NS_PER_MS 1000000

static uint32_t *bucket_at(const struct sources *s, uint32_t number)
{
	return &s->chunks[number / SOURCES_CHUNK]->buckets[number % SOURCES_CHUNK];
}

/* Returns false without memory. */
static bool add_chunk(struct sources *s)
{
	/* not cleared: what is not used yet takes no memory. Entries are cleared when they are made */
	struct source_chunk *chunk = malloc(sizeof(*chunk));
	if (!chunk)
		return false;
	memset(chunk->buckets, 0xff, sizeof(chunk->buckets));
	s->chunks[s->chunk_count++] = chunk;
	return true;
}

struct sources *sources_create(unsigned most)
{
	most = most < SOURCES_LEAST ? SOURCES_LEAST : most > SOURCES_MOST ? SOURCES_MOST : most;
	size_t chunks = (most + SOURCES_CHUNK - 1) / SOURCES_CHUNK;
	struct sources *s = calloc(1, sizeof(*s) + chunks * sizeof(void *));
	if (!s || !add_chunk(s)) {
		free(s);
		return NULL;
	}
	siphash_key_random(&s->secret);
	s->most = most;
	s->most_bans = most - most / 4;
	for (int i = 0; i < SOURCE_LISTS; i++)
		s->lists[i] = (struct source_list){SOURCE_NONE, SOURCE_NONE};
	s->hand = SOURCE_NONE;
	s->kept = SOURCE_NONE;
	s->shared.pool = SOURCE_SHARED;
	return s;
}

struct sources *sources_destroy(struct sources *s)
{
	if (!s)
		return NULL;
	for (unsigned i = 0; i < s->chunk_count; i++)
		free(s->chunks[i]);
	free(s);
	return NULL;
}

/* ---- lists ---- */

static void append(struct sources *s, struct source *e, enum source_pool pool)
{
	struct source_list *l = &s->lists[pool];
	e->pool = pool;
	e->prev = l->last;
	e->next = SOURCE_NONE;
	if (l->last == SOURCE_NONE)
		l->first = e->self;
	else
		source_at(s, l->last)->next = e->self;
	l->last = e->self;
}

void source_unlist(struct sources *s, struct source *e)
{
	struct source_list *l = &s->lists[e->pool];
	if (s->hand == e->self)
		s->hand = e->next;
	if (e->prev == SOURCE_NONE)
		l->first = e->next;
	else
		source_at(s, e->prev)->next = e->next;
	if (e->next == SOURCE_NONE)
		l->last = e->prev;
	else
		source_at(s, e->next)->prev = e->prev;
}

static void move(struct sources *s, struct source *e, enum source_pool to)
{
	source_unlist(s, e);
	append(s, e, to);
}

void source_enlist(struct sources *s, struct source *e)
{
	append(s, e, source_open(e) > 0 ? SOURCE_OPEN : SOURCE_SEEN);
}

/* ---- the hash table ---- */

static uint32_t bucket_of(const struct sources *s, const struct source_key *key)
{
	uint32_t bucket = (uint32_t)siphash(&s->secret, key, sizeof(*key)) & s->bucket_mask;
	return bucket < s->made || bucket == 0 ? bucket : bucket & s->bucket_mask >> 1;
}

static struct source *look_up(struct sources *s, const struct source_key *key, uint32_t bucket)
{
	for (uint32_t at = *bucket_at(s, bucket); at != SOURCE_NONE;) {
		struct source *e = source_at(s, at);
		s->looked++;
		if (memcmp(&e->key, key, sizeof(*key)) == 0)
			return e;
		at = e->next_in_bucket;
	}
	return NULL;
}

static void link_in(struct sources *s, struct source *e)
{
	uint32_t *bucket = bucket_at(s, bucket_of(s, &e->key));
	e->next_in_bucket = *bucket;
	*bucket = e->self;
}

static void unlink_from(struct sources *s, struct source *e)
{
	uint32_t *at = bucket_at(s, bucket_of(s, &e->key));
	while (*at != e->self) {
		must(*at != SOURCE_NONE);
		s->looked++;
		at = &source_at(s, *at)->next_in_bucket;
	}
	*at = e->next_in_bucket;
}

/* Opens the next bucket, and brings there what was in another for want of it. */
static void add_bucket(struct sources *s)
{
	uint32_t added = s->made++;
	if (added > s->bucket_mask)
		s->bucket_mask = s->bucket_mask << 1 | 1;
	if (added == 0)
		return;
	uint32_t *from = bucket_at(s, added & s->bucket_mask >> 1);
	uint32_t *to = bucket_at(s, added);
	while (*from != SOURCE_NONE) {
		struct source *e = source_at(s, *from);
		s->looked++;
		if (bucket_of(s, &e->key) != added) {
			from = &e->next_in_bucket;
			continue;
		}
		*from = e->next_in_bucket;
		e->next_in_bucket = *to;
		*to = e->self;
	}
}

/* ---- who is forgotten ---- */

static bool holds_nothing(const struct source *e, uint64_t now_ms)
{
	uint64_t now_ns = now_ms * NS_PER_MS;
	return e->remember_until_s <= now_ms / 1000 && rate_is_full(&e->arrivals, now_ns) &&
	       rate_is_full(&e->share.bytes_in, now_ns) && rate_is_full(&e->share.bytes_out, now_ns);
}

/* Workers close connections without telling: looks whether those that were open still are, some at a time. */
static void notice_closed(struct sources *s)
{
	uint32_t last = s->lists[SOURCE_OPEN].last;
	for (int i = 0; i < LOOK && s->lists[SOURCE_OPEN].first != SOURCE_NONE; i++) {
		struct source *e = source_at(s, s->lists[SOURCE_OPEN].first);
		bool was_last = e->self == last;
		s->looked++;
		move(s, e, source_open(e) > 0 ? SOURCE_OPEN : SOURCE_SEEN);
		if (was_last)
			return;
	}
}

/* One that holds nothing of those that held something when they were looked at: the first ones, then some from the hand. */
static struct source *remembered_in_vain(struct sources *s, uint64_t now_ms)
{
	uint32_t at = s->lists[SOURCE_REMEMBERED].first;
	for (int i = 0; i < 2 * LOOK && at != SOURCE_NONE; i++) {
		struct source *e = source_at(s, at);
		s->looked++;
		if (holds_nothing(e, now_ms))
			return e;
		at = e->next;
		if (i == LOOK - 1 && s->hand != SOURCE_NONE)
			at = s->hand;
		if (i >= LOOK - 1)
			s->hand = at;
	}
	return NULL;
}

/* One of the others that holds nothing, the one that was seen longest ago. */
static struct source *seen_long_ago(struct sources *s, uint64_t now_ms)
{
	for (int i = 0; i < LOOK && s->lists[SOURCE_SEEN].first != SOURCE_NONE; i++) {
		struct source *e = source_at(s, s->lists[SOURCE_SEEN].first);
		s->looked++;
		if (e->self == s->kept)
			move(s, e, SOURCE_SEEN);
		else if (holds_nothing(e, now_ms))
			return e;
		else
			move(s, e, SOURCE_REMEMBERED);
	}
	return NULL;
}

/* Forgets one. Returns it, in no list and no bucket, or NULL. */
static struct source *forget_one(struct sources *s, uint64_t now_ms)
{
	notice_closed(s);
	struct source *e = remembered_in_vain(s, now_ms);
	if (!e)
		e = seen_long_ago(s, now_ms);
	if (!e && s->lists[SOURCE_REMEMBERED].first != SOURCE_NONE)
		e = source_at(s, s->lists[SOURCE_REMEMBERED].first);
	if (!e)
		return NULL;
	must(source_open(e) == 0);
	source_unlist(s, e);
	unlink_from(s, e);
	return e;
}

/* Returns an entry for a key, in no list yet; NULL: there is none to be had. */
static struct source *make(struct sources *s, const struct source_key *key, uint64_t now_ms)
{
	struct source *e;
	uint32_t self = s->made;
	if (self < s->most && (self < s->chunk_count * SOURCES_CHUNK || add_chunk(s))) {
		add_bucket(s);
		e = source_at(s, self);
	} else {
		e = forget_one(s, now_ms);
		if (!e)
			return NULL;
		self = e->self;
	}
	memset(e, 0, sizeof(*e));
	e->key = *key;
	e->self = self;
	link_in(s, e);
	return e;
}

struct source *sources_get(struct sources *s, const struct source_key *key, uint64_t now_ms)
{
	s->looked = 0;
	struct source *e = look_up(s, key, bucket_of(s, key));
	if (!e) {
		e = make(s, key, now_ms);
		if (!e)
			return &s->shared;
		append(s, e, SOURCE_SEEN);
	} else if (e->pool == SOURCE_REMEMBERED || (e->pool == SOURCE_SEEN && e->next != SOURCE_NONE)) {
		move(s, e, SOURCE_SEEN);
	}
	s->kept = e->self;
	return e;
}

struct source *sources_find(struct sources *s, const struct source_key *key)
{
	s->looked = 0;
	return look_up(s, key, bucket_of(s, key));
}

struct source *sources_look(struct sources *s, const struct source_key *key)
{
	struct source *e = sources_find(s, key);
	if (e || s->made < s->most)
		return e;
	/* else nobody would, while all who come are refused at the shared one's limits */
	notice_closed(s);
	bool some_go = s->lists[SOURCE_SEEN].first != SOURCE_NONE || s->lists[SOURCE_REMEMBERED].first != SOURCE_NONE;
	return some_go ? NULL : &s->shared;
}

bool source_is_shared(const struct source *e)
{
	return e->pool == SOURCE_SHARED;
}

/* ---- connections ---- */

unsigned source_open(const struct source *e)
{
	/* acquire: what the worker did to the entry before it gave it back comes before what is done to it now */
	return atomic_load_explicit(&e->share.open, memory_order_acquire);
}

void source_opened(struct sources *s, struct source *e)
{
	atomic_fetch_add_explicit(&e->share.open, 1, memory_order_relaxed);
	if (e->pool == SOURCE_SEEN || e->pool == SOURCE_REMEMBERED)
		move(s, e, SOURCE_OPEN);
}

void source_closed(struct source *e)
{
	must(atomic_fetch_sub_explicit(&e->share.open, 1, memory_order_release) > 0);
}

struct rate_bucket *source_arrivals(struct source *e)
{
	return &e->arrivals;
}

const struct source_key *source_key(const struct source *e)
{
	return &e->key;
}

struct source_share *source_share(struct source *e)
{
	return &e->share;
}

struct source *source_of(struct source_share *share)
{
	return CONTAINER_OF(share, struct source, share);
}

/* ---- figures ---- */

unsigned sources_count(const struct sources *s)
{
	return s->made;
}

unsigned sources_ban_count(const struct sources *s)
{
	return s->ban_count;
}

size_t sources_bytes(const struct sources *s)
{
	size_t places = (s->most + SOURCES_CHUNK - 1) / SOURCES_CHUNK;
	return sizeof(*s) + places * sizeof(void *) + s->chunk_count * sizeof(struct source_chunk);
}

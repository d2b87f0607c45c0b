/* SPDX-License-Identifier: MIT */
/* The table of sources from inside: sources.c finds, makes and forgets, sources_ban.c counts offences and bans.
 *
 * Entries are known by their number, and live in chunks that never move. The hash table grows by one bucket with each new
 * entry (linear hashing), and the heap of bans has room for all of them, so that no call ever does more than its share. */
#ifndef FRONT_SOURCES_PRIV_H
#define FRONT_SOURCES_PRIV_H

#include "base/siphash.h"
#include "front/sources.h"

#define SOURCE_NONE UINT32_MAX
#define SOURCES_CHUNK 1024

/* Where an entry is. The first three are lists. */
enum source_pool {
	SOURCE_SEEN,	   /* by when they were seen, all after those in SOURCE_REMEMBERED; no open connection */
	SOURCE_REMEMBERED, /* likewise; these held something when they were looked at */
	SOURCE_OPEN,	   /* has open connections, or had some when main looked last */
	SOURCE_BANNED,	   /* in the heap of bans */
	SOURCE_SHARED,	   /* the one for all for whom there was no room */
};
#define SOURCE_LISTS 3

/* Times last for 34 years since the machine started, and counts stop at 4095. */
#define SOURCE_MS_BITS 40
#define SOURCE_COUNT_BITS 12

struct source {
	struct source_share share; /* main adds to `open`, any thread takes away */
	struct rate_bucket arrivals;

	/* offences, by thirds of the time in which they count; `since_ms` is when the newest third began */
	uint64_t until_ms : SOURCE_MS_BITS; /* end of the last ban */
	uint64_t bans : SOURCE_COUNT_BITS;  /* that it had */
	uint64_t oldest : SOURCE_COUNT_BITS;
	uint64_t since_ms : SOURCE_MS_BITS;
	uint64_t newest : SOURCE_COUNT_BITS;
	uint64_t older : SOURCE_COUNT_BITS;

	struct source_key key;
	uint32_t remember_until_s; /* offences or bans count until then */
	uint32_t self : 29;	   /* its number */
	uint32_t pool : 3;	   /* enum source_pool */
	uint32_t next_in_bucket;
	uint32_t prev; /* in its list, or its place in the heap */
	uint32_t next; /* in its list */
};

_Static_assert(sizeof(struct source) == 88, "an entry takes 96 bytes, with its places in buckets and heap");

struct source_chunk {
	uint32_t buckets[SOURCES_CHUNK];
	uint32_t heap[SOURCES_CHUNK];
	struct source entries[SOURCES_CHUNK];
};

struct source_list {
	uint32_t first;
	uint32_t last;
};

struct sources {
	struct siphash_key secret;
	unsigned most;
	unsigned most_bans;
	unsigned made;	    /* entries in use, and buckets, of which there is always one */
	unsigned ban_count; /* in the heap */
	unsigned chunk_count;
	uint32_t bucket_mask; /* the smallest 2^n - 1 that reaches all buckets */
	struct source_list lists[SOURCE_LISTS];
	uint32_t hand;	 /* in SOURCE_REMEMBERED: what to look at next */
	uint32_t kept;	 /* returned last: not forgotten yet */
	unsigned looked; /* entries that the last call looked at */
	struct source shared;
	struct source_chunk *chunks[]; /* owned */
};

static inline struct source *source_at(const struct sources *s, uint32_t number)
{
	return &s->chunks[number / SOURCES_CHUNK]->entries[number % SOURCES_CHUNK];
}

/* Takes it out of its list. */
void source_unlist(struct sources *s, struct source *e);

/* Puts it, which is in no pool, where it belongs without a ban. */
void source_enlist(struct sources *s, struct source *e);

/* Ends the ban of one that is in the heap: it is in no pool then. */
void source_unban(struct sources *s, struct source *e);

#endif

/* SPDX-License-Identifier: MIT */
/* The ranges are sorted and joined, and of each only its two edges are kept: its first address, and the one that comes
 * after its last. An address is in the set when the number of edges at or before it is odd. What a look-up costs is the
 * memory that it has to wait for, so there is as little as can be of that:
 *
 * IPv4: a table, by the upper half of the address, says which edges have the same; of these only the lower half is kept.
 * A million prefixes are 4 MiB and the table.
 *
 * IPv6: the edges are one sorted array, in nodes of NODE_KEYS. The level above it holds the first edge of each node, and
 * so on up to a level that is one node: a million ranges are six levels, of which the upper ones stay in the cache. A
 * level's last node is filled up with the largest key. */
#include "base/prefix_set.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define NODE_KEYS 16
#define LEVELS_MAX 16 /* NODE_KEYS to that power are more keys than there is memory for */
#define CACHE_LINE_BYTES 64
#define LARGE_PAGE_BYTES ((size_t)2 << 20)

/* The table of IPv4 is in pages, one for each /8 that has edges, so that a small set is small. An entry says for a /16
 * how many edges come before it; the one after the last /16, before what follows. */
#define PAGE_ENTRIES 257

/* Of these two one stands for each /8 that has no edges: an even or an odd number of them come before. */
enum { PAGE_EVEN, PAGE_ODD, PAGES_SHARED };

struct edges4 {
	uint32_t *pages; /* owned; PAGE_ENTRIES each */
	uint16_t *lows;	 /* owned: of each edge the lower half */
	size_t bytes;	 /* at both */
	uint16_t page_of[256];
};

/* An IPv6 address. */
struct number6 {
	uint64_t high;
	uint64_t low;
};

struct edges6 {
	uint64_t *memory; /* owned: all levels */
	size_t bytes;	  /* at `memory` */
	unsigned level_count;
	struct {
		uint64_t *highs; /* in `memory`, as the others: of each edge the upper half */
		uint64_t *lows;
		size_t count;
	} levels[LEVELS_MAX]; /* from the lowest */
};

struct prefix_set {
	atomic_uint references;
	struct edges4 in4;
	struct edges6 in6;
	size_t range_count;
};

static size_t width_of(int family)
{
	return family == AF_INET ? 4 : 16;
}

/* Reads an address of `n` bytes; the bytes of an IPv4 one are followed by zeros. Returns its family; 0: it is none. */
static int parse_address(uint8_t to[16], const char *text, size_t n, bool *mapped)
{
	static const uint8_t mapped_head[12] = {[10] = 0xff, [11] = 0xff};
	char copy[INET6_ADDRSTRLEN];

	if (n == 0 || n >= sizeof(copy) || memchr(text, '\0', n))
		return 0;
	memcpy(copy, text, n);
	copy[n] = '\0';
	memset(to, 0, 16);
	*mapped = false;
	if (inet_pton(AF_INET, copy, to) == 1)
		return AF_INET;
	if (inet_pton(AF_INET6, copy, to) != 1)
		return 0;
	if (memcmp(to, mapped_head, sizeof(mapped_head)) != 0)
		return AF_INET6;
	*mapped = true;
	memmove(to, to + 12, 4);
	memset(to + 4, 0, 12);
	return AF_INET;
}

/* Reads a prefix's length: digits alone, without zeros before it. Returns it, or -EINVAL. */
static int parse_length(const char *text, size_t n)
{
	int length = 0;
	if (n == 0 || n > 3 || (n > 1 && text[0] == '0'))
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		length = length * 10 + (text[i] - '0');
	}
	return length;
}

/* Makes `r`, whose first address is set, the prefix of `length` bits. Returns NULL, or what is wrong. */
static const char *set_prefix(struct address_range *r, int length, bool mapped)
{
	static const char bits_behind[] = "bits are set behind the prefix's length; 10.0.0.0/8 is a prefix, "
					  "10.1.2.3/8 is none";
	int bits = (int)width_of(r->family) * 8;
	if (mapped && length >= 0 && length <= 128) {
		if (length < 96) /* the ones of ::ffff: are behind it */
			return bits_behind;
		length -= 96;
	}
	if (length < 0 || length > bits) {
		return r->family == AF_INET && !mapped ? "no length of an IPv4 prefix; 0 to 32 is allowed"
						       : "no length of an IPv6 prefix; 0 to 128 is allowed";
	}
	memcpy(r->last, r->first, sizeof(r->last));
	for (int bit = length; bit < bits; bit++) {
		uint8_t mask = (uint8_t)(0x80 >> bit % 8);
		if (r->first[bit / 8] & mask)
			return bits_behind;
		r->last[bit / 8] |= mask;
	}
	return NULL;
}

/* Returns NULL, or what is wrong. */
static const char *parse_range(struct address_range *r, const char *text, size_t n)
{
	static const char no_address[] =
		"no address; an address (10.0.0.1), a prefix (10.0.0.0/8, fd00::/8) or a range "
		"(10.0.0.1-10.0.0.9) is allowed";
	const char *end = text + n;
	const char *dash = memchr(text, '-', n);
	const char *slash = dash ? NULL : memchr(text, '/', n);
	const char *first_end = dash ? dash : slash ? slash : end;
	bool mapped;

	if (memchr(text, '%', n))
		return "an address with a zone (%...); it is allowed only without";
	r->family = parse_address(r->first, text, (size_t)(first_end - text), &mapped);
	if (r->family == 0)
		return no_address;
	if (slash)
		return set_prefix(r, parse_length(slash + 1, (size_t)(end - slash - 1)), mapped);
	if (!dash) {
		memcpy(r->last, r->first, sizeof(r->last));
		return NULL;
	}
	int family = parse_address(r->last, dash + 1, (size_t)(end - dash - 1), &mapped);
	if (family == 0)
		return no_address;
	if (family != r->family)
		return "a range of both IPv4 and IPv6; its two addresses must be of one family";
	if (memcmp(r->first, r->last, sizeof(r->first)) > 0)
		return "a range that ends before it begins; the lower address stands first";
	return NULL;
}

int address_range_parse(struct address_range *to, const char *text, size_t n, const char **why)
{
	struct address_range r;
	const char *wrong = parse_range(&r, text, n);
	if (wrong) {
		*why = wrong;
		return -EINVAL;
	}
	*to = r;
	return 0;
}

/* The bytes of an address, borrowed from it, and its family; NULL: it is neither IPv4 nor IPv6. */
static const uint8_t *address_bytes(const struct sockaddr *address, int *family)
{
	*family = address->sa_family;
	if (address->sa_family == AF_INET)
		return (const uint8_t *)&((const struct sockaddr_in *)(const void *)address)->sin_addr;
	if (address->sa_family != AF_INET6)
		return NULL;
	const struct in6_addr *in6 = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
	if (!IN6_IS_ADDR_V4MAPPED(in6))
		return in6->s6_addr;
	*family = AF_INET;
	return in6->s6_addr + 12;
}

bool address_range_has(const struct address_range *r, const struct sockaddr *address)
{
	int family;
	const uint8_t *bytes = address_bytes(address, &family);
	if (!bytes || family != r->family)
		return false;
	size_t width = width_of(family);
	return memcmp(r->first, bytes, width) <= 0 && memcmp(bytes, r->last, width) <= 0;
}

static int by_first(const void *a, const void *b)
{
	const struct address_range *one = a;
	const struct address_range *other = b;
	if (one->family != other->family)
		return one->family < other->family ? -1 : 1;
	return memcmp(one->first, other->first, sizeof(one->first));
}

/* Makes an address the next one. Returns false when it was the last of all. */
static bool step(uint8_t *address, size_t width)
{
	for (size_t i = width; i-- > 0;) {
		if (++address[i] != 0)
			return true;
	}
	return false;
}

/* Whether `b`, which does not begin before `a`, overlaps or continues it. */
static bool goes_on(const struct address_range *a, const struct address_range *b)
{
	uint8_t after[16];
	if (a->family != b->family)
		return false;
	memcpy(after, a->last, sizeof(after));
	return !step(after, width_of(a->family)) || memcmp(b->first, after, sizeof(after)) <= 0;
}

/* Sorts and joins. Returns how many are left. */
static size_t join(struct address_range *ranges, size_t count)
{
	size_t left = 0;
	if (count > 1)
		qsort(ranges, count, sizeof(*ranges), by_first);
	for (size_t i = 0; i < count; i++) {
		struct address_range *before = left > 0 ? &ranges[left - 1] : NULL;
		if (!before || !goes_on(before, &ranges[i]))
			ranges[left++] = ranges[i];
		else if (memcmp(before->last, ranges[i].last, sizeof(before->last)) < 0)
			memcpy(before->last, ranges[i].last, sizeof(before->last));
	}
	return left;
}

static uint32_t number4_of(const uint8_t *bytes)
{
	uint32_t raw;
	memcpy(&raw, bytes, sizeof(raw));
	return be32toh(raw);
}

static struct number6 number6_of(const uint8_t *bytes)
{
	uint64_t raw[2];
	memcpy(raw, bytes, sizeof(raw));
	return (struct number6){.high = be64toh(raw[0]), .low = be64toh(raw[1])};
}

/* How many edges joined ranges of one family have. */
static size_t count_edges(const struct address_range *ranges, size_t count)
{
	uint8_t after[16];
	if (count == 0)
		return 0;
	/* one that reaches the last address of all has no edge after it */
	memcpy(after, ranges[count - 1].last, sizeof(after));
	return 2 * count - (step(after, width_of(ranges->family)) ? 0 : 1);
}

static void edge_of(const struct address_range *ranges, size_t i, uint8_t *to)
{
	const struct address_range *r = &ranges[i / 2];
	memcpy(to, i % 2 == 0 ? r->first : r->last, 16);
	if (i % 2 == 1)
		(void)step(to, width_of(r->family));
}

static uint32_t edge4_of(const struct address_range *ranges, size_t i)
{
	uint8_t bytes[16];
	edge_of(ranges, i, bytes);
	return number4_of(bytes);
}

/* In large pages, where there are some: else a look-up waits for the page table too */
static void *take_memory(size_t *bytes)
{
	bool large = *bytes >= LARGE_PAGE_BYTES;
	size_t unit = large ? LARGE_PAGE_BYTES : CACHE_LINE_BYTES;
	size_t taken = (*bytes + unit - 1) / unit * unit;
	void *memory = aligned_alloc(unit, taken);
	if (!memory)
		return NULL;
	if (large)
		(void)madvise(memory, taken, MADV_HUGEPAGE);
	*bytes = taken;
	return memory;
}

/* Fills the page of a /8 and the lower halves of its edges, of which `at` is the first. Returns the next /8's first. */
static size_t fill_page(struct edges4 *e, const struct address_range *ranges, size_t count, size_t at, uint32_t top)
{
	uint32_t *page = e->pages + (size_t)e->page_of[top] * PAGE_ENTRIES;
	for (uint32_t i = 0; i < PAGE_ENTRIES - 1; i++) {
		page[i] = (uint32_t)at;
		for (; at < count && edge4_of(ranges, at) >> 16 == (top << 8 | i); at++)
			e->lows[at] = (uint16_t)edge4_of(ranges, at);
	}
	page[PAGE_ENTRIES - 1] = (uint32_t)at;
	return at;
}

/* `ranges` are IPv4, joined. Returns 0 or -ENOMEM. */
static int edges4_init(struct edges4 *e, const struct address_range *ranges, size_t range_count)
{
	size_t count = count_edges(ranges, range_count);
	bool has_edges[256] = {false};
	unsigned page_count = PAGES_SHARED;
	if (count == 0)
		return 0;
	for (size_t i = 0; i < count; i++)
		has_edges[edge4_of(ranges, i) >> 24] = true;
	for (unsigned i = 0; i < 256; i++)
		page_count += has_edges[i];
	size_t page_bytes = (size_t)page_count * PAGE_ENTRIES * sizeof(*e->pages);
	size_t low_bytes = count * sizeof(*e->lows);
	e->pages = take_memory(&page_bytes);
	e->lows = take_memory(&low_bytes);
	if (!e->pages || !e->lows)
		return -ENOMEM;
	e->bytes = page_bytes + low_bytes;

	for (unsigned i = 0; i < PAGE_ENTRIES; i++) {
		e->pages[PAGE_EVEN * PAGE_ENTRIES + i] = 0;
		e->pages[PAGE_ODD * PAGE_ENTRIES + i] = 1;
	}
	unsigned next = PAGES_SHARED;
	size_t at = 0;
	for (uint32_t top = 0; top < 256; top++) {
		if (has_edges[top]) {
			e->page_of[top] = (uint16_t)next++;
			at = fill_page(e, ranges, count, at, top);
		} else {
			e->page_of[top] = at % 2 == 0 ? PAGE_EVEN : PAGE_ODD;
		}
	}
	return 0;
}

static size_t nodes_for(size_t keys)
{
	return (keys + NODE_KEYS - 1) / NODE_KEYS;
}

/* Takes memory for levels over `count` edges, none filled in yet. Returns 0 or -ENOMEM. */
static int make_levels(struct edges6 *e, size_t count)
{
	for (size_t n = count;; n = nodes_for(n)) {
		e->levels[e->level_count++].count = n;
		e->bytes += nodes_for(n) * NODE_KEYS * sizeof(struct number6);
		if (n <= NODE_KEYS)
			break;
	}
	e->memory = take_memory(&e->bytes);
	if (!e->memory)
		return -ENOMEM;
	memset(e->memory, 0xff, e->bytes);
	uint64_t *at = e->memory;
	for (unsigned i = 0; i < e->level_count; i++) {
		size_t keys = nodes_for(e->levels[i].count) * NODE_KEYS;
		e->levels[i].highs = at;
		e->levels[i].lows = at + keys;
		at += 2 * keys;
	}
	return 0;
}

/* `ranges` are IPv6, joined. Returns 0 or -ENOMEM. */
static int edges6_init(struct edges6 *e, const struct address_range *ranges, size_t range_count)
{
	size_t count = count_edges(ranges, range_count);
	if (count == 0)
		return 0;
	int failed = make_levels(e, count);
	if (failed)
		return failed;
	for (size_t i = 0; i < count; i++) {
		uint8_t bytes[16];
		edge_of(ranges, i, bytes);
		struct number6 edge = number6_of(bytes);
		e->levels[0].highs[i] = edge.high;
		e->levels[0].lows[i] = edge.low;
	}
	for (unsigned level = 1; level < e->level_count; level++) {
		for (size_t i = 0; i < e->levels[level].count; i++) {
			e->levels[level].highs[i] = e->levels[level - 1].highs[i * NODE_KEYS];
			e->levels[level].lows[i] = e->levels[level - 1].lows[i * NODE_KEYS];
		}
	}
	return 0;
}

struct prefix_set *prefix_set_create(struct address_range *ranges, size_t count)
{
	_Static_assert(AF_INET < AF_INET6, "IPv4 is sorted before IPv6");
	struct prefix_set *s = calloc(1, sizeof(*s));
	if (!s)
		return NULL;
	atomic_init(&s->references, 1);
	s->range_count = join(ranges, count);
	size_t in4_count = 0;
	while (in4_count < s->range_count && ranges[in4_count].family == AF_INET)
		in4_count++;
	if (edges4_init(&s->in4, ranges, in4_count) != 0 ||
	    edges6_init(&s->in6, ranges + in4_count, s->range_count - in4_count) != 0)
		return prefix_set_unref(s);
	return s;
}

struct prefix_set *prefix_set_ref(struct prefix_set *s)
{
	if (s)
		atomic_fetch_add_explicit(&s->references, 1, memory_order_relaxed);
	return s;
}

struct prefix_set *prefix_set_unref(struct prefix_set *s)
{
	/* what every other thread did with it has happened before it goes */
	if (s && atomic_fetch_sub_explicit(&s->references, 1, memory_order_acq_rel) == 1) {
		free(s->in4.pages);
		free(s->in4.lows);
		free(s->in6.memory);
		free(s);
	}
	return NULL;
}

static bool has4(const struct edges4 *e, uint32_t address)
{
	if (!e->pages)
		return false;
	const uint32_t *entry = e->pages + (size_t)e->page_of[address >> 24] * PAGE_ENTRIES + (address >> 16 & 0xff);
	size_t before = entry[0]; /* edges at or before the address */
	size_t left = entry[1] - entry[0];
	uint16_t low = (uint16_t)address;
	while (left > 0) {
		size_t half = (left + 1) / 2;
		/* not a branch: nobody could guess it */
		before += half * (e->lows[before + half - 1] <= low);
		left -= half;
	}
	return before % 2 == 1;
}

/* How many of a node's keys are at or before an address. The lower halves matter only where the upper ones are equal, but
 * are asked for at once: they would be waited for else. The count has no branch, for the same reason. */
static size_t rank6(const uint64_t *highs, const uint64_t *lows, struct number6 address)
{
	size_t rank = 0;
	__builtin_prefetch(lows);
	__builtin_prefetch(lows + NODE_KEYS / 2);
	for (unsigned i = 0; i < NODE_KEYS; i++)
		rank += highs[i] < address.high;
	while (rank < NODE_KEYS && highs[rank] == address.high && lows[rank] <= address.low)
		rank++;
	return rank;
}

/* Going down, the node to look at is that of the last key at or before the address in the level above. The keys that
 * fill up a last node count for the largest address only, hence the check against the level's count. */
static bool has6(const struct edges6 *e, struct number6 address)
{
	size_t before = 0; /* edges at or before the address */
	for (unsigned level = e->level_count; level-- > 0;) {
		size_t at = before > 0 ? (before - 1) * NODE_KEYS : 0;
		before = at + rank6(e->levels[level].highs + at, e->levels[level].lows + at, address);
		if (before > e->levels[level].count)
			before = e->levels[level].count;
		if (before == 0)
			return false;
	}
	return before % 2 == 1;
}

bool prefix_set_has(const struct prefix_set *s, const struct sockaddr *address)
{
	int family;
	const uint8_t *bytes = address_bytes(address, &family);
	if (!bytes)
		return false;
	return family == AF_INET ? has4(&s->in4, number4_of(bytes)) : has6(&s->in6, number6_of(bytes));
}

size_t prefix_set_count(const struct prefix_set *s)
{
	return s->range_count;
}

size_t prefix_set_bytes(const struct prefix_set *s)
{
	return sizeof(*s) + s->in4.bytes + s->in6.bytes;
}

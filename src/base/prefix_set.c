/* SPDX-License-Identifier: MIT */
/* The ranges are sorted and joined. What a look-up costs is the memory that it has to wait for: there is as little as can be
 * of that, and what is needed lies together.
 *
 * IPv4: of each range only its two edges are kept: its first address, and the one that comes after its last. An address is
 * in the set when the number of edges at or before it is odd. A table, by the upper half of the address, says which edges
 * have the same; of these only the lower half is kept. A million prefixes are 4 MiB and the table.
 *
 * IPv6: ranges are kept as pieces whose sizes are powers of two. A prefix is one piece. Every other range is two of one size
 * that overlap or touch: one begins where the range does, the other ends there. An address is in the set when it is in the
 * last piece that begins at or before it. This leads to that one:
 * - The space from the first piece to the last is parted evenly into slots. A table says how many pieces come before each.
 * - Most slots hold a few pieces, which lie side by side and are all looked at.
 * - Where there are more of them, levels help. The lowest one is all pieces, each other one every NODE_KEYS-th of the level
 *   below. The search begins at the level in which the slot has no more than so many, and goes down.
 * So a look-up reads the table, which is small enough for the cache, and mostly one other place. A million prefixes are
 * 17 MiB, and a tenth of that for levels and table. */
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
#define SLOT_PIECES 6 /* up to twice as many on average */
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
typedef unsigned __int128 number6;

/* 2^power addresses. Packed, so that more of them lie together. */
struct piece6 {
	uint64_t high; /* of the first address the upper half */
	uint64_t low;
	uint8_t power;
} PACKED;

struct pieces6 {
	void *memory; /* owned: slots and levels */
	size_t bytes;
	uint32_t *slots;   /* how many pieces come before each; behind the last, how many there are */
	size_t slot_count; /* 0: there are no pieces */
	uint64_t first_slot;
	unsigned slot_shift; /* an address's slot is its upper half without so many bits, less the first slot */
	unsigned level_count;
	struct {
		struct piece6 *pieces;
		size_t count;
	} levels[LEVELS_MAX]; /* from the lowest */
};

struct prefix_set {
	atomic_uint references;
	struct edges4 in4;
	struct pieces6 in6;
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

static number6 number6_of(const uint8_t *bytes)
{
	uint64_t raw[2];
	memcpy(raw, bytes, sizeof(raw));
	return (number6)be64toh(raw[0]) << 64 | be64toh(raw[1]);
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

static number6 first_of(const struct piece6 *p)
{
	return (number6)p->high << 64 | p->low;
}

static struct piece6 piece_at(number6 first, unsigned power)
{
	return (struct piece6){.high = (uint64_t)(first >> 64), .low = (uint64_t)first, .power = (uint8_t)power};
}

/* Parts a range into pieces, in their order. Returns how many. */
static unsigned part(const struct address_range *r, struct piece6 pieces[2])
{
	number6 first = number6_of(r->first);
	number6 last = number6_of(r->last);
	unsigned power = 0;
	while (power < 127 && ((number6)2 << power) - 1 <= last - first)
		power++;
	number6 other = last - (((number6)1 << power) - 1);
	pieces[0] = piece_at(first, power);
	pieces[1] = piece_at(other, power);
	return first == other ? 1 : 2;
}

/* How many of a level's pieces are in the one above. */
static size_t count_above(size_t count)
{
	return (count + NODE_KEYS - 1) / NODE_KEYS;
}

/* Parts the space of upper halves, of `count` pieces the first and the last, into slots. */
static void choose_slots(struct pieces6 *p, uint64_t first, uint64_t last, size_t count)
{
	while ((last >> p->slot_shift) - (first >> p->slot_shift) > count / SLOT_PIECES + 1)
		p->slot_shift++;
	p->first_slot = first >> p->slot_shift;
	p->slot_count = (size_t)((last >> p->slot_shift) - p->first_slot + 1);
}

/* Takes memory for the slots, and for levels over `count` pieces. Returns 0 or -ENOMEM. */
static int take_levels(struct pieces6 *p, size_t count)
{
	size_t all = 0;
	for (size_t n = count;; n = count_above(n)) {
		p->levels[p->level_count++].count = n;
		all += n;
		if (n <= NODE_KEYS)
			break;
	}
	p->bytes = (p->slot_count + 1) * sizeof(*p->slots) + all * sizeof(struct piece6);
	p->memory = take_memory(&p->bytes);
	if (!p->memory)
		return -ENOMEM;
	p->slots = p->memory;
	void *at = p->slots + p->slot_count + 1;
	for (unsigned i = 0; i < p->level_count; i++) {
		p->levels[i].pieces = at;
		at = p->levels[i].pieces + p->levels[i].count;
	}
	return 0;
}

/* The lowest level is filled: fills the others, and the slots. */
static void fill_slots(struct pieces6 *p)
{
	const struct piece6 *pieces = p->levels[0].pieces;
	for (unsigned level = 1; level < p->level_count; level++) {
		for (size_t i = 0; i < p->levels[level].count; i++)
			p->levels[level].pieces[i] = p->levels[level - 1].pieces[i * NODE_KEYS];
	}
	size_t at = 0;
	for (size_t slot = 0; slot < p->slot_count; slot++) {
		p->slots[slot] = (uint32_t)at;
		while (at < p->levels[0].count && pieces[at].high >> p->slot_shift == p->first_slot + slot)
			at++;
	}
	p->slots[p->slot_count] = (uint32_t)at;
}

/* `ranges` are IPv6, joined. Returns 0 or -ENOMEM. */
static int pieces6_init(struct pieces6 *p, const struct address_range *ranges, size_t range_count)
{
	struct piece6 parts[2];
	size_t count = 0;
	if (range_count == 0)
		return 0;
	for (size_t i = 0; i < range_count; i++)
		count += part(&ranges[i], parts);
	unsigned last = part(&ranges[range_count - 1], parts) - 1;
	choose_slots(p, (uint64_t)(number6_of(ranges[0].first) >> 64), parts[last].high, count);
	int failed = take_levels(p, count);
	if (failed)
		return failed;
	struct piece6 *at = p->levels[0].pieces;
	for (size_t i = 0; i < range_count; i++) {
		unsigned n = part(&ranges[i], parts);
		memcpy(at, parts, n * sizeof(*at));
		at += n;
	}
	fill_slots(p);
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
	    pieces6_init(&s->in6, ranges + in4_count, s->range_count - in4_count) != 0)
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

/* How many of `count` pieces begin at or before an address. The count has no branch, nobody could guess it; and the lower
 * halves matter only where the upper ones are equal. */
static size_t rank6(const struct piece6 *pieces, size_t count, number6 address)
{
	uint64_t high = (uint64_t)(address >> 64);
	size_t rank = 0;
	for (size_t i = 0; i < count; i++)
		rank += pieces[i].high < high;
	while (rank < count && first_of(&pieces[rank]) <= address)
		rank++;
	return rank;
}

static bool has6(const struct pieces6 *p, number6 address)
{
	uint64_t slot = (uint64_t)(address >> 64) >> p->slot_shift;
	if (p->slot_count == 0 || slot < p->first_slot)
		return false;
	/* of the pieces so many begin at or before the address: at least, and at most */
	size_t before = p->levels[0].count;
	size_t most = before;
	if (slot - p->first_slot < p->slot_count) {
		before = p->slots[slot - p->first_slot];
		most = p->slots[slot - p->first_slot + 1];
	}
	unsigned level = 0;
	for (; most - before > NODE_KEYS; level++) {
		before = count_above(before);
		most = count_above(most);
	}
	before += rank6(p->levels[level].pieces + before, most - before, address);
	while (level > 0 && before > 0) {
		/* below it is the last one found here, or one of those that follow it there */
		size_t at = (before - 1) * NODE_KEYS;
		size_t left = p->levels[--level].count - at;
		before = at + rank6(p->levels[level].pieces + at, left < NODE_KEYS ? left : NODE_KEYS, address);
	}
	if (before == 0)
		return false;
	const struct piece6 *piece = &p->levels[0].pieces[before - 1];
	return (address - first_of(piece)) >> piece->power == 0;
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

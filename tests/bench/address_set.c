/* SPDX-License-Identifier: MIT */
/* What a list file of addresses costs: to read it, to make a set of it, and to ask the set.
 *
 *   address_set FILE      reads FILE once; prints milliseconds, MiB at the peak, and nanoseconds a look-up (of CPU),
 *                         and what a read of memory takes that depends on the one before, to compare with
 *   address_set make 4|6|mixed COUNT >FILE     writes a list of random prefixes
 *
 * The addresses asked for are random: half of them are in the set, half (but for chance) are not. A look-up begins when
 * the one before it has its answer. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "base/address_list.h"
#include "base/prefix_set.h"

#define LOOKUPS 250000u
#define ROUNDS 8

static uint64_t seed = 88172645463325252u;

static uint64_t chance(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void print_prefix4(void)
{
	unsigned length = 22 + (unsigned)(chance() % 11);
	struct in_addr a = {.s_addr = htonl((uint32_t)chance() & (uint32_t)(UINT64_MAX << (32 - length)))};
	char ip[INET_ADDRSTRLEN];
	printf("%s/%u\n", inet_ntop(AF_INET, &a, ip, sizeof(ip)), length);
}

/* As they are given out: below 2000::/3, /32 to /64, and single addresses. */
static void print_prefix6(void)
{
	unsigned length = chance() % 4 == 0 ? 128 : 32 + (unsigned)(chance() % 33);
	struct in6_addr a;
	char ip[INET6_ADDRSTRLEN];
	for (unsigned i = 0; i < 16; i++)
		a.s6_addr[i] = (uint8_t)chance();
	a.s6_addr[0] = 0x20 | (a.s6_addr[0] & 0x0f);
	for (unsigned bit = length; bit < 128; bit++)
		a.s6_addr[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
	printf("%s/%u\n", inet_ntop(AF_INET6, &a, ip, sizeof(ip)), length);
}

/* The processor's time, for a machine that has other work too. */
static uint64_t cpu_now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int make(const char *kind, unsigned long count)
{
	for (unsigned long i = 0; i < count; i++) {
		if (kind[0] == '4' || (kind[0] == 'm' && i % 2))
			print_prefix4();
		else
			print_prefix6();
	}
	return 0;
}

union address {
	struct sockaddr any;
	struct sockaddr_in in4;
	struct sockaddr_in6 in6;
};

/* What is asked for, packed: it is not to take the cache from the set. */
struct questions {
	uint8_t *bytes; /* LOOKUPS times `stride` */
	size_t stride;	/* 4 when all are IPv4; otherwise 17, the first one is the family */
};

static void put_question(const struct questions *q, size_t i, int family, const uint8_t *bytes)
{
	uint8_t *to = q->bytes + i * q->stride;
	if (q->stride > 4)
		*to++ = (uint8_t)family;
	memcpy(to, bytes, family == AF_INET ? 4 : 16);
}

static void take_question(const struct questions *q, size_t i, union address *a)
{
	const uint8_t *from = q->bytes + i * q->stride;
	a->any.sa_family = q->stride > 4 ? *from++ : AF_INET;
	if (a->any.sa_family == AF_INET)
		memcpy(&a->in4.sin_addr, from, 4);
	else
		memcpy(&a->in6.sin6_addr, from, 16);
}

static void measure_memory(void)
{
	size_t n = (size_t)1 << 20; /* cache lines */
	uint32_t *at = malloc(n * 64);
	if (!at)
		return;
	/* a cycle through all of them (Sattolo's) */
	for (size_t i = 0; i < n; i++)
		at[i * 16] = (uint32_t)i;
	for (size_t i = n - 1; i > 0; i--) {
		size_t other = chance() % i;
		uint32_t kept = at[i * 16];
		at[i * 16] = at[other * 16];
		at[other * 16] = kept;
	}
	uint64_t begin = cpu_now_ns();
	uint32_t i = 0;
	for (unsigned k = 0; k < LOOKUPS; k++)
		i = at[(size_t)i * 16];
	double each = (double)(cpu_now_ns() - begin) / LOOKUPS;
	printf("  a read of memory: %.0f ns%s\n", each, i == n ? "?" : "");
	free(at);
}

static void measure(const char *what, const struct prefix_set *set, const struct questions *q)
{
	volatile bool never = false;
	double best = 0;
	unsigned found = 0;
	for (unsigned round = 0; round < ROUNDS; round++) {
		uint64_t begin = cpu_now_ns();
		bool has = false;
		found = 0;
		for (unsigned i = 0; i < LOOKUPS; i++) {
			union address a;
			take_question(q, i + (has & never), &a);
			has = prefix_set_has(set, &a.any);
			found += has;
		}
		double each = (double)(cpu_now_ns() - begin) / LOOKUPS;
		if (round == 0 || each < best)
			best = each;
		printf("%s%.0f", round == 0 ? what : " ", each);
	}
	printf(" ns a look-up (%u rounds), %.1f%% found\n", ROUNDS, 100.0 * found / LOOKUPS);
}

int main(int argc, char **argv)
{
	static struct address_list_problems problems;
	struct address_list list = {0};
	struct rusage usage;

	if (argc == 4 && strcmp(argv[1], "make") == 0)
		return make(argv[2], strtoul(argv[3], NULL, 10));
	if (argc != 2)
		return 2;
	uint64_t begin = cpu_now_ns();
	if (address_list_read(&list, argv[1], 0, &problems) != 0) {
		fprintf(stderr, "%s:%u: %s\n", argv[1], problems.at[0].line, problems.at[0].text);
		return 1;
	}
	uint64_t read = cpu_now_ns();
	size_t entries = list.count;
	struct prefix_set *set = prefix_set_create(list.ranges, list.count);
	uint64_t made = cpu_now_ns();
	getrusage(RUSAGE_SELF, &usage);
	if (!set || entries == 0)
		return 1;
	printf("%zu entries, %zu ranges: read %.0f ms, made %.0f ms; %.1f MiB at the peak, the set %.1f MiB\n", entries,
	       prefix_set_count(set), (double)(read - begin) / 1e6, (double)(made - read) / 1e6,
	       (double)usage.ru_maxrss / 1024, (double)prefix_set_bytes(set) / (1 << 20));

	/* of what was joined, each is whole */
	bool all4 = list.ranges[prefix_set_count(set) - 1].family == AF_INET;
	struct questions q = {.stride = all4 ? 4 : 17};
	q.bytes = calloc(LOOKUPS + 1, q.stride);
	if (!q.bytes)
		return 1;
	for (int mixed = 0; mixed < 2; mixed++) {
		for (unsigned i = 0; i < LOOKUPS; i++) {
			const struct address_range *r = &list.ranges[chance() % prefix_set_count(set)];
			uint8_t bytes[16];
			memcpy(bytes, r->first, sizeof(bytes));
			if (mixed && chance() % 2) {
				for (unsigned k = r->family == AF_INET ? 0 : 1; k < 16; k++)
					bytes[k] = (uint8_t)chance();
			}
			put_question(&q, i, r->family, bytes);
		}
		measure(mixed ? "  half present: " : "  present:      ", set, &q);
	}
	measure_memory();
	free(q.bytes);
	prefix_set_unref(set);
	address_list_fini(&list);
	return 0;
}

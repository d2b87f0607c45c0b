/* SPDX-License-Identifier: MIT */
/* SipHash-1-3: a hash for tables whose keys strangers choose. Who does not know the secret cannot find keys that meet in one
 * bucket. Not for signatures. Thread: any. */
#ifndef BASE_SIPHASH_H
#define BASE_SIPHASH_H

#include <stddef.h>
#include <stdint.h>

struct siphash_key {
	uint64_t low;
	uint64_t high;
};

/* A key that nobody knows: from the kernel's random numbers; from what it gives each process at its start (AT_RANDOM) when
 * it has none yet. Does not block. */
void siphash_key_random(struct siphash_key *to);

uint64_t siphash(const struct siphash_key *key, const void *bytes, size_t n);

#endif

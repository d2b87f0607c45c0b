/* SPDX-License-Identifier: MIT */
#include "base/siphash.h"

#include <endian.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/random.h>

struct sip {
	uint64_t a, b, c, d;
};

static inline uint64_t rotated(uint64_t x, unsigned by)
{
	return x << by | x >> (64 - by);
}

static inline void round_once(struct sip *s)
{
	s->a += s->b;
	s->c += s->d;
	s->b = rotated(s->b, 13) ^ s->a;
	s->d = rotated(s->d, 16) ^ s->c;
	s->a = rotated(s->a, 32);
	s->c += s->b;
	s->a += s->d;
	s->b = rotated(s->b, 17) ^ s->c;
	s->d = rotated(s->d, 21) ^ s->a;
	s->c = rotated(s->c, 32);
}

static inline void absorb(struct sip *s, uint64_t word)
{
	s->d ^= word;
	round_once(s);
	s->a ^= word;
}

uint64_t siphash(const struct siphash_key *key, const void *bytes, size_t n)
{
	struct sip s = {
		.a = key->low ^ 0x736f6d6570736575,
		.b = key->high ^ 0x646f72616e646f6d,
		.c = key->low ^ 0x6c7967656e657261,
		.d = key->high ^ 0x7465646279746573,
	};
	const uint8_t *at = bytes;
	uint64_t word;

	for (size_t left = n; left >= sizeof(word); left -= sizeof(word), at += sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		absorb(&s, le64toh(word));
	}
	word = 0;
	memcpy(&word, at, n % sizeof(word));
	absorb(&s, le64toh(word) | (uint64_t)n << 56);
	s.c ^= 0xff;
	round_once(&s);
	round_once(&s);
	round_once(&s);
	return s.a ^ s.b ^ s.c ^ s.d;
}

void siphash_key_random(struct siphash_key *to)
{
	if (getrandom(to, sizeof(*to), GRND_NONBLOCK) == (ssize_t)sizeof(*to))
		return;
	const void *given = (const void *)getauxval(AT_RANDOM); /* 16 bytes; our own since nobody else sees them */
	if (given)
		memcpy(to, given, sizeof(*to));
}

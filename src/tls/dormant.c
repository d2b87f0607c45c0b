/* SPDX-License-Identifier: MIT */
#include "tls/dormant.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/must.h"

/* A place for one SSL: whole pages. An SSL that is larger goes where everything else goes, and never sleeps. */
#define PLACE_BYTES 8192U
#define WORDS (PLACE_BYTES / sizeof(uint64_t))

/* Address space for as many as connections may be; memory is taken as they are used. */
#define PLACES (1U << 20)

/* Places that are free and keep their memory, for the next connection. */
#define WARM_MAX 256U

/* The least that can be an SSL: what OpenSSL allocates for it first. */
#define SSL_LEAST_BYTES 4096U

/* A sanitizer is to see each access. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define IS_WATCHED true
#else
#define IS_WATCHED false
#endif

/* What is not zero, by a bit a word. */
struct dormant {
	uint64_t present[WORDS / 64];
	uint64_t words[];
};

/* Free places, by number; each names the next. */
struct places {
	pthread_mutex_t lock;
	uint8_t *at;	     /* PLACES of them; NULL: none */
	uint32_t *next_free; /* of each free place, plus one; 0: none */
	uint32_t warm;	     /* the first that keeps its memory, plus one; 0: none */
	uint32_t cold;	     /* the first that does not, likewise */
	uint32_t warm_count;
	uint32_t used; /* from here on no place was ever used */
};

static struct places places = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The next large allocation of this thread is an SSL's. */
static _Thread_local bool makes_ssl;

static bool is_place(const void *p)
{
	uintptr_t at = (uintptr_t)places.at;
	return places.at && (uintptr_t)p >= at && (uintptr_t)p < at + (uintptr_t)PLACES * PLACE_BYTES;
}

static uint32_t take_first(uint32_t *first)
{
	uint32_t taken = *first;
	if (taken > 0)
		*first = places.next_free[taken - 1];
	return taken;
}

/* NULL: there is none left. */
static void *take_place(void)
{
	pthread_mutex_lock(&places.lock);
	uint32_t taken = take_first(&places.warm);
	if (taken > 0)
		places.warm_count--;
	else
		taken = take_first(&places.cold);
	if (taken == 0 && places.used < PLACES)
		taken = ++places.used;
	pthread_mutex_unlock(&places.lock);
	return taken > 0 ? places.at + (size_t)(taken - 1) * PLACE_BYTES : NULL;
}

static void give_place(void *p)
{
	uint32_t number = (uint32_t)(((uintptr_t)p - (uintptr_t)places.at) / PLACE_BYTES);
	OPENSSL_cleanse(p, PLACE_BYTES); /* it held keys */
	pthread_mutex_lock(&places.lock);
	bool stays_warm = places.warm_count < WARM_MAX;
	pthread_mutex_unlock(&places.lock);
	if (!stays_warm)
		(void)madvise(p, PLACE_BYTES,
			      MADV_DONTNEED); /* if it fails, memory that is kept is all there is to it */
	pthread_mutex_lock(&places.lock);
	uint32_t *first = stays_warm ? &places.warm : &places.cold;
	places.next_free[number] = *first;
	*first = number + 1;
	places.warm_count += stays_warm;
	pthread_mutex_unlock(&places.lock);
}

/* ---- what OpenSSL allocates with */

static void *allocate(size_t n, const char *file UNUSED, int line UNUSED)
{
	if (makes_ssl && n >= SSL_LEAST_BYTES && n <= PLACE_BYTES) {
		makes_ssl = false;
		void *place = take_place();
		if (place)
			return place;
	}
	return malloc(n);
}

static void release(void *p, const char *file UNUSED, int line UNUSED)
{
	if (is_place(p))
		give_place(p);
	else
		free(p);
}

static void *reallocate(void *p, size_t n, const char *file UNUSED, int line UNUSED)
{
	must(!is_place(p)); /* OpenSSL never changes the size of an SSL */
	return realloc(p, n);
}

static void *reserve(size_t bytes)
{
	// cppcheck-suppress invalidFunctionArg
	void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	// cppcheck-suppress memleak
	return at == MAP_FAILED ? NULL : at;
}

int dormant_init(void)
{
	if (IS_WATCHED)
		return -ENOTSUP;
	long page = sysconf(_SC_PAGESIZE);
	if (page <= 0 || PLACE_BYTES % (unsigned long)page != 0)
		return -ENOTSUP; /* what one gives back would be its neighbours' too */
	uint8_t *at = reserve((size_t)PLACES * PLACE_BYTES);
	uint32_t *next_free = reserve(PLACES * sizeof(*next_free));
	if (!at || !next_free || !CRYPTO_set_mem_functions(allocate, reallocate, release)) {
		int failed = at && next_free ? -EBUSY : -ENOMEM;
		if (at)
			munmap(at, (size_t)PLACES * PLACE_BYTES);
		if (next_free)
			munmap(next_free, PLACES * sizeof(*next_free));
		return failed;
	}
	/* a huge page would hold two hundred of them, asleep or not */
	(void)madvise(at, (size_t)PLACES * PLACE_BYTES, MADV_NOHUGEPAGE);
	places.at = at;
	places.next_free = next_free;
	return 0;
}

SSL *dormant_ssl_new(SSL_CTX *context)
{
	makes_ssl = places.at != NULL;
	SSL *ssl = SSL_new(context);
	makes_ssl = false;
	return ssl;
}

struct dormant *dormant_sleep(SSL *ssl)
{
	if (!is_place(ssl))
		return NULL;
	const uint64_t *from = (const uint64_t *)ssl;
	size_t count = 0;
	for (size_t i = 0; i < WORDS; i++)
		count += from[i] != 0;
	struct dormant *kept = malloc(sizeof(*kept) + count * sizeof(*kept->words));
	if (!kept)
		return NULL;
	memset(kept->present, 0, sizeof(kept->present));
	size_t n = 0;
	for (size_t i = 0; i < WORDS; i++) {
		if (from[i] == 0)
			continue;
		kept->present[i / 64] |= UINT64_C(1) << i % 64;
		kept->words[n++] = from[i];
	}
	if (madvise(ssl, PLACE_BYTES, MADV_DONTNEED) < 0) {
		OPENSSL_cleanse(kept->words, count * sizeof(*kept->words));
		free(kept);
		return NULL;
	}
	return kept;
}

struct dormant *dormant_wake(SSL *ssl, struct dormant *kept)
{
	if (!kept)
		return NULL;
	uint64_t *to = (uint64_t *)ssl; /* its pages are new ones, of zeros */
	size_t n = 0;
	for (size_t i = 0; i < WORDS; i++)
		if (kept->present[i / 64] & UINT64_C(1) << i % 64)
			to[i] = kept->words[n++];
	OPENSSL_cleanse(kept->words, n * sizeof(*kept->words));
	free(kept);
	return NULL;
}

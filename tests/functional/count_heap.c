/* SPDX-License-Identifier: MIT */
/* Preloaded into a daemon by test_costs.py: counts what is asked of the heap. The file that USHER_COUNT_HEAP names has three
 * numbers of 64 bits then: blocks taken, blocks grown, blocks given back. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { TAKEN, GROWN, GIVEN, COUNTS };

/* glibc's own names of what stands below */
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void __libc_free(void *);

static uint64_t before[COUNTS]; /* until the file is there */
static uint64_t *counts = before;

static void count(int what)
{
	__atomic_fetch_add(&counts[what], 1, __ATOMIC_RELAXED);
}

__attribute__((constructor)) static void counts_open(void)
{
	const char *path = getenv("USHER_COUNT_HEAP");
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	if (fd < 0)
		return;
	void *shared = mmap(NULL, sizeof(before), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (shared != MAP_FAILED)
		counts = shared;
}

void *malloc(size_t size)
{
	count(TAKEN);
	return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	count(TAKEN);
	return __libc_calloc(n, size);
}

void *realloc(void *block, size_t size)
{
	count(block ? GROWN : TAKEN);
	return __libc_realloc(block, size);
}

void *memalign(size_t alignment, size_t size)
{
	count(TAKEN);
	return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return memalign(alignment, size);
}

int posix_memalign(void **block, size_t alignment, size_t size)
{
	void *got = memalign(alignment, size);
	if (!got)
		return ENOMEM;
	*block = got;
	return 0;
}

void free(void *block)
{
	if (block)
		count(GIVEN);
	__libc_free(block);
}

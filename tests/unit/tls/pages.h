/* SPDX-License-Identifier: MIT */
/* Whether the memory of an SSL that may sleep is there. */
#ifndef TESTS_UNIT_TLS_PAGES_H
#define TESTS_UNIT_TLS_PAGES_H

#include <check.h>
#include <stdint.h>
#include <sys/mman.h>

/* As in tls/dormant.c. */
#define PLACE_BYTES 8192U

/* How many pages of a place are in memory. */
static inline unsigned resident(const void *place)
{
	unsigned char pages[PLACE_BYTES / 4096] = {0};
	unsigned n = 0;
	const void *at = (const void *)((uintptr_t)place & ~(uintptr_t)4095);
	ck_assert_int_eq(mincore((void *)(uintptr_t)at, PLACE_BYTES, pages), 0);
	for (size_t i = 0; i < sizeof(pages); i++)
		n += pages[i] & 1;
	return n;
}

#endif

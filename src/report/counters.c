/* SPDX-License-Identifier: MIT */
#include "report/counters.h"

#include <stdlib.h>
#include <string.h>

#include "base/must.h"

struct account *account_create(void)
{
	struct account *a = aligned_alloc(_Alignof(struct account), sizeof(*a));
	if (a == NULL)
		return NULL;
	memset(a, 0, sizeof(*a));
	atomic_init(&a->refs, 1);
	return a;
}

struct account *account_ref(struct account *a)
{
	atomic_fetch_add_explicit(&a->refs, 1, memory_order_relaxed);
	return a;
}

struct account *account_unref(struct account *a)
{
	if (a == NULL)
		return NULL;
	/* release: what this thread did to it comes before the freeing; acquire: the freeing after all of that */
	unsigned before = atomic_fetch_sub_explicit(&a->refs, 1, memory_order_acq_rel);
	must(before > 0);
	if (before == 1)
		free(a);
	return NULL;
}

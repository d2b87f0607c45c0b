/* SPDX-License-Identifier: MIT */
/* How workers tell the acceptor that there is room again. It costs nothing while nobody waits. */
#ifndef WORKER_DOORBELL_H
#define WORKER_DOORBELL_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/attr.h"
#include "base/role.h"

struct doorbell {
	int fd; /* owned: an eventfd */
	atomic_bool awaited;
};

/* Returns 0 or -errno. */
int doorbell_init(struct doorbell *d) MUST_CHECK;
void doorbell_fini(struct doorbell *d);

/* From here on one ring is wanted. Look once more at what is waited for after this call: it may have come before. */
void doorbell_await(struct doorbell *d) MAIN_ONLY;

/* Makes `fd` unready after it rang. */
void doorbell_answer(struct doorbell *d) MAIN_ONLY;

/* Rings if it is awaited. Thread: any. */
void doorbell_ring(struct doorbell *d);

#endif

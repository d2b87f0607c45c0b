/* SPDX-License-Identifier: MIT */
#include "worker/doorbell.h"

#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fd.h"

int doorbell_init(struct doorbell *d)
{
	atomic_init(&d->awaited, false);
	d->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return d->fd < 0 ? -errno : 0;
}

void doorbell_fini(struct doorbell *d)
{
	fd_close(&d->fd);
}

void doorbell_await(struct doorbell *d)
{
	atomic_store(&d->awaited, true);
	/* with the one in doorbell_ring: either the ring is seen, or what it tells of */
	atomic_thread_fence(memory_order_seq_cst);
}

void doorbell_answer(struct doorbell *d)
{
	uint64_t rings;
	/* EAGAIN: it did not ring, which is what is wanted */
	if (read(d->fd, &rings, sizeof(rings)) < 0)
		return;
}

void doorbell_ring(struct doorbell *d)
{
	atomic_thread_fence(memory_order_seq_cst);
	if (!atomic_load_explicit(&d->awaited, memory_order_relaxed) || !atomic_exchange(&d->awaited, false))
		return;
	uint64_t once = 1;
	/* it fails only when the count is full, and then it rings anyway */
	if (write(d->fd, &once, sizeof(once)) < 0)
		return;
}

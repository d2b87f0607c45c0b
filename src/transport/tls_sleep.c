/* SPDX-License-Identifier: MIT */
/* Streams that are not used sleep. */
#include "base/list.h"
#include "tls/dormant.h"
#include "transport/tls_priv.h"

/* Streams that one sweep puts to sleep: some microseconds each. */
#define SLEEPERS_A_SWEEP 128

void tls_wake(struct tls_layer *t)
{
	if (!t->ssl)
		return;
	t->asleep = dormant_wake(t->ssl, t->asleep);
	if (t->used == t->io->sweeps && !list_empty(&t->node))
		return;
	t->used = t->io->sweeps;
	list_remove(&t->node);
	list_append(&t->io->awake, &t->node);
}

bool tls_io_awake(const struct tls_io *io)
{
	return !list_empty(&io->awake);
}

enum tls_sweep tls_io_sweep(struct tls_io *io)
{
	if (!io->sweep_goes_on)
		io->sweeps++;
	io->sweep_goes_on = false;
	for (unsigned i = 0; i < SLEEPERS_A_SWEEP; i++) {
		if (list_empty(&io->awake))
			return TLS_SWEEP_NONE;
		struct tls_layer *t = CONTAINER_OF(io->awake.next, struct tls_layer, node);
		if (io->sweeps - t->used < 2)
			return TLS_SWEEP_LATER;
		/* one that cannot sleep is not asked again until it is used again */
		list_remove(&t->node);
		tls_session_rest(t->session);
		t->asleep = dormant_sleep(t->ssl);
	}
	io->sweep_goes_on = true;
	return TLS_SWEEP_SOON;
}

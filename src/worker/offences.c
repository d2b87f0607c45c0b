/* SPDX-License-Identifier: MIT */
#include "worker/offences.h"

#include <stdlib.h>

struct offence_note {
	struct offence_note *next;
	struct source_share *source;
};

int offences_init(struct offences *o)
{
	atomic_init(&o->noted, NULL);
	o->taken = NULL;
	return doorbell_init(&o->bell);
}

static void free_all(struct offence_note *note)
{
	while (note) {
		struct offence_note *next = note->next;
		free(note);
		note = next;
	}
}

void offences_fini(struct offences *o)
{
	free_all(o->taken);
	free_all(atomic_exchange(&o->noted, NULL));
	o->taken = NULL;
	doorbell_fini(&o->bell);
}

void offences_add(struct offences *o, struct source_share *source, unsigned n)
{
	if (!source || n == 0)
		return;
	/* who makes it more than none brings it to main; until main has put it back to none the others just add */
	if (atomic_fetch_add_explicit(&source->offences, n, memory_order_acq_rel) > 0)
		return;
	struct offence_note *note = malloc(sizeof(*note));
	if (!note) {
		/* lost: they are for a ban, and nothing else depends on them */
		atomic_store_explicit(&source->offences, 0, memory_order_release);
		return;
	}
	note->source = source;
	atomic_fetch_add_explicit(&source->open, 1, memory_order_relaxed);
	note->next = atomic_load_explicit(&o->noted, memory_order_relaxed);
	/* main takes all or nothing: whatever is on top when this succeeds is what lies below */
	while (!atomic_compare_exchange_weak_explicit(&o->noted, &note->next, note, memory_order_release,
						      memory_order_relaxed))
		;
	doorbell_ring(&o->bell);
}

bool offences_take(struct offences *o, unsigned most, void (*each)(void *arg, struct source_share *source, unsigned n),
		   void *arg)
{
	for (unsigned i = 0; i < most; i++) {
		if (!o->taken)
			o->taken = atomic_exchange_explicit(&o->noted, NULL, memory_order_acquire);
		struct offence_note *note = o->taken;
		if (!note)
			return false;
		o->taken = note->next;
		struct source_share *source = note->source;
		free(note);
		each(arg, source, atomic_exchange_explicit(&source->offences, 0, memory_order_acq_rel));
		atomic_fetch_sub_explicit(&source->open, 1, memory_order_relaxed);
	}
	return o->taken || atomic_load_explicit(&o->noted, memory_order_relaxed);
}

/* SPDX-License-Identifier: MIT */
/* The secrets that a listener's session tickets are made with. They belong to the listener's name and outlive reloads
 * and renewed certificates. Three generations: tickets are made with the newest, and taken with all.
 *
 * Thread: main. What workers need of them is derived into a tls_set. */
#ifndef TLS_TICKETS_H
#define TLS_TICKETS_H

#include "base/attr.h"

struct tls_tickets;

/* A first random generation. NULL: no memory, or no randomness. */
struct tls_tickets *tls_tickets_create(void);

/* Makes a new generation and forgets (wipes) the oldest. Returns 0 or -errno (all is as it was). */
int tls_tickets_rotate(struct tls_tickets *t) MUST_CHECK;

/* Wipes and frees. Returns NULL; accepts NULL. */
struct tls_tickets *tls_tickets_destroy(struct tls_tickets *t);

#endif

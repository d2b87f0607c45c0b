/* SPDX-License-Identifier: MIT */
/* SSL objects that sleep. One of OpenSSL's is 7.5 KiB large, of which all but some 1.6 KiB are zeros while its connection
 * is idle: room for parallel records that nobody uses. So each gets pages of its own, and while nobody uses it only what
 * is not zero is kept, elsewhere; the pages go back to the kernel, their addresses stay. What points to it or into it
 * stays right, and nobody but the connection's own calls of OpenSSL looks.
 *
 * Where that cannot be had (no address space, a sanitizer that watches memory) everything works, and nothing sleeps.
 *
 * Thread: an SSL and its sleep belong to one worker; dormant_init is main's, before there are others. */
#ifndef TLS_DORMANT_H
#define TLS_DORMANT_H

#include <stdbool.h>

#include "base/attr.h"

struct ssl_st;
struct ssl_ctx_st;

/* Before anything else uses OpenSSL in this process: from here on it allocates through this module. Returns 0, or -errno
 * when nothing will sleep. */
int dormant_init(void) MUST_CHECK;

/* As SSL_new. NULL: no memory. */
struct ssl_st *dormant_ssl_new(struct ssl_ctx_st *context);

/* What is kept of an SSL that sleeps. */
struct dormant;

/* Puts it to sleep: it must not be used, nor freed, until dormant_wake. NULL: it stays awake. */
struct dormant *dormant_sleep(struct ssl_st *ssl);

/* Wakes it; frees and wipes what was kept. Returns NULL; NULL: it was awake. */
struct dormant *dormant_wake(struct ssl_st *ssl, struct dormant *kept);

#endif

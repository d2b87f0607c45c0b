/* SPDX-License-Identifier: MIT */
/* Host names: of certificates, and what clients ask for (SNI). Thread: any. */
#ifndef TLS_NAMES_PRIV_H
#define TLS_NAMES_PRIV_H

#include <stdbool.h>
#include <stddef.h>

#define TLS_NAME_BYTES 254 /* the longest host name, NUL included */

/* Writes a name as it is compared: in lower case, without the dot at its end. False: these bytes are no host name.
 * `may_be_wildcard`: its first label may be "*". */
bool tls_name_normalise(char to[TLS_NAME_BYTES], const void *bytes, size_t n, bool may_be_wildcard);

/* The wildcard that covers a normalised name: "*.example.org" for "www.example.org". False: there is none. */
bool tls_name_wildcard(char to[TLS_NAME_BYTES], const char *name);

/* A name, and what number it stands for. */
struct tls_name {
	const char *name; /* borrowed; normalised */
	unsigned number;
};

/* Sorts by name, then by number. */
void tls_names_sort(struct tls_name *names, unsigned count);

/* The first entry of exactly this name in a sorted table, or NULL. */
const struct tls_name *tls_names_find(const struct tls_name *names, unsigned count, const char *name);

/* The entry that serves a normalised name: exact before wildcard. NULL: none does. */
const struct tls_name *tls_names_choose(const struct tls_name *names, unsigned count, const char *name);

#endif

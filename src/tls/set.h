/* SPDX-License-Identifier: MIT */
/* All that one listener needs for TLS: certificates by name, who may come in, ticket keys; and the same towards its
 * upstreams. Main makes a set from files and never changes it again; workers use it. It is reference-counted: a
 * connection comes in under the set of that moment, as it does under a snapshot, and a renewed certificate, a renewed
 * CRL or new ticket keys make a new set.
 *
 * Whom it believes: every certificate of a CA file as it stands, a root or an intermediate one alone. With a CRL the
 * peer's certificate must be covered by one that has not expired; the CAs between it and the believed one are checked
 * where there is a CRL of theirs; a CA that a CRL revokes is not believed. Without a list of CAs for upstreams it is the
 * system's bundle, read (and watched) like any other file. */
#ifndef TLS_SET_H
#define TLS_SET_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/attr.h"
#include "config/config.h"
#include "config/errors.h"
#include "config/tls_config.h"
#include "tls/tickets.h"

struct tls_set;

/* Reads every file that `listener`'s tls and `upstream` (may be NULL, or not enabled) name, and checks what is in them:
 * keys that others can read, keys that do not match, patterns and lists that nobody understands. The listener's options
 * are at "listeners.NAME.tls", the upstream's at "listeners.NAME.SERVICE.tls" (`service` is that name). What is wrong is
 * added to `errors`: "file:line: listeners.web.tls.key: /etc/x.pem: what; what to do".
 * `tickets` may be NULL: no resumption (for looking at a configuration without running it).
 * Returns 0 with one reference in *to, -EINVAL, -ENOMEM; *to is untouched on failure. Thread: main. */
int tls_set_load(const struct listener_config *listener, const char *service,
		 const struct tls_upstream_config *upstream, const struct tls_tickets *tickets,
		 struct config_errors *errors, struct tls_set **to) MUST_CHECK;

/* The same set with the keys that `tickets` has now. Returns 0 with one reference in *to, or -ENOMEM. Thread: main. */
int tls_set_rekey(struct tls_set *set, const struct tls_tickets *tickets, struct tls_set **to) MUST_CHECK;

/* Thread: any. */
struct tls_set *tls_set_ref(struct tls_set *set);   /* accepts NULL */
struct tls_set *tls_set_unref(struct tls_set *set); /* returns NULL; accepts NULL */

/* Which sides it is for. Thread: any. */
bool tls_set_accepts(const struct tls_set *set);
bool tls_set_connects(const struct tls_set *set);

/* The files it was read from, each once, as paths (credential:NAME is resolved). Borrowed. Thread: main. */
unsigned tls_set_file_count(const struct tls_set *set);
const char *tls_set_file(const struct tls_set *set, unsigned i);

/* Whether what the files hold has changed since they were read, by their bytes (a digest); a file that cannot be read
 * counts as changed, and so does one that everybody can read by now. Thread: main. */
bool tls_set_outdated(const struct tls_set *set);

/* A certificate of our own, for the log, --check and metrics. Text is borrowed from the set. */
struct tls_certificate_facts {
	const char *file;
	const char *names;  /* "www.example.org, *.example.net"; "" when it has none */
	const char *key;    /* "ECDSA P-256", "RSA 2048" */
	const char *serial; /* hexadecimal: with `file` it tells one certificate from the next */
	time_t not_before;
	time_t not_after;
	bool is_upstream; /* shown to upstreams, not to clients */
};

/* Thread: main. */
unsigned tls_set_certificate_count(const struct tls_set *set);
void tls_set_certificate(const struct tls_set *set, unsigned i, struct tls_certificate_facts *to);

/* The certificates that a client may be shown which asks for this name; several where they have keys of different kinds, and
 * the client's algorithms decide. Their numbers go to `to`. Returns how many; 0: clients speak plain. Thread: main. */
#define TLS_SET_CHOICE_MAX 5
unsigned tls_set_choose(const struct tls_set *set, const char *sni, unsigned to[TLS_SET_CHOICE_MAX]);

#endif

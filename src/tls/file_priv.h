/* SPDX-License-Identifier: MIT */
/* The files that a set is made from, and where what is wrong with them gets reported.
 *
 * Thread: main. */
#ifndef TLS_FILE_PRIV_H
#define TLS_FILE_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/attr.h"
#include "config/errors.h"

#define TLS_DIGEST_BYTES 32

/* The most that a file may hold: one certificate with its chain and its key; a bundle of CAs, a CRL. */
#define TLS_PAIR_BYTES_MAX (1U << 20)
#define TLS_BUNDLE_BYTES_MAX (64U << 20)

struct tls_file {
	char *path; /* owned */
	uint8_t digest[TLS_DIGEST_BYTES];
	mode_t mode;
	char *bytes; /* owned, wiped: NULL once the set is loaded */
	size_t n;
};

struct tls_files {
	struct tls_file **at; /* owned, and what they point to */
	unsigned count;
};

/* A name of a file, pattern or list in the configuration. All borrowed from the snapshot. */
struct tls_spot {
	const char *option; /* "key", "client.ca" */
	const char *value;  /* as it stands there */
	struct config_place place;
};

/* One loading. */
struct tls_reader {
	struct config_errors *errors; /* borrowed */
	struct tls_files *files;      /* borrowed */
	const char *prefix;	      /* borrowed: "listeners.web.tls" */
	bool failed;		      /* something was reported */
	bool no_memory;
};

/* Reports "listeners.web.tls.OPTION: VALUE: what is wrong". */
void tls_report(struct tls_reader *r, const struct tls_spot *spot, const char *format, ...) PRINTF_LIKE(3, 4);

/* The same without the value, for what the message itself names. */
void tls_report_bare(struct tls_reader *r, const struct tls_spot *spot, const char *format, ...) PRINTF_LIKE(3, 4);

/* The file that spot->value names, "credential:NAME" too, with its bytes (a NUL follows them). A path is read once in a
 * loading. Borrowed from r->files. NULL: reported. */
const struct tls_file *tls_file_read(struct tls_reader *r, const struct tls_spot *spot, size_t bytes_max);

/* Whether others may read it; then that is reported as what is wrong with the private key in it. */
bool tls_file_is_open_to_all(struct tls_reader *r, const struct tls_spot *spot, const struct tls_file *file);

/* Wipes and frees the files' bytes; paths and digests stay. */
void tls_files_drop_bytes(struct tls_files *files);

/* Whether one of them holds other bytes by now, cannot be read, or has been opened to everybody. */
bool tls_files_outdated(const struct tls_files *files);

void tls_files_fini(struct tls_files *files);

#endif

/* SPDX-License-Identifier: MIT */
/* Sets of certificates for the fuzz targets, from files in memory. */
#ifndef TESTS_FUZZ_TLS_SET_H
#define TESTS_FUZZ_TLS_SET_H

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/must.h"
#include "tls/session.h"
#include "tls/set.h"
#include "tls_pem.h"

/* A file that only this process sees; `path` names it. */
struct memory_file {
	int fd;
	char path[32];
};

static inline void memory_file_write(struct memory_file *f, const void *bytes, size_t n)
{
	must(ftruncate(f->fd, 0) == 0);
	must(pwrite(f->fd, bytes, n, 0) == (ssize_t)n);
}

static inline void memory_file_open(struct memory_file *f, const char *text)
{
	f->fd = memfd_create("fuzz", MFD_CLOEXEC);
	must(f->fd >= 0 && fchmod(f->fd, 0600) == 0);
	snprintf(f->path, sizeof(f->path), "/proc/self/fd/%d", f->fd);
	memory_file_write(f, text, strlen(text));
}

/* Both strings are borrowed. */
#define FUZZ_LIST(...)                                                                                                 \
	(struct option_list)                                                                                           \
	{                                                                                                              \
		.at = (const char *[]){__VA_ARGS__}, .places = (struct config_place[8]){{.file = "fuzz.conf"}},        \
		.count = sizeof((const char *[]){__VA_ARGS__}) / sizeof(const char *),                                 \
	}

#define FUZZ_CIPHERS "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305"
#define FUZZ_SUITES "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256"

/* What all listeners have in common; the lists are the caller's. */
static inline struct listener_config fuzz_listener(void)
{
	return (struct listener_config){
		.name = "fuzz",
		.place = {.file = "fuzz.conf", .line = 1},
		.tls = {.enabled = true,
			.place = {.file = "fuzz.conf", .line = 2},
			.minimum_version = TLS_VERSION_1_2,
			.ciphers = FUZZ_CIPHERS,
			.ciphersuites = FUZZ_SUITES,
			.groups = "X25519:P-256",
			.ticket_rotation_ms = 3600 * 1000},
	};
}

/* Loads what must load. */
static inline struct tls_set *fuzz_load(const struct listener_config *l, const struct tls_upstream_config *up,
					const struct tls_tickets *tickets)
{
	struct tls_set *set = NULL;
	struct config_errors *errors = config_errors_create();
	int failed = tls_set_load(l, "proxy", up, tickets, errors, &set);
	if (failed)
		config_errors_print(errors, stderr);
	must(!failed);
	config_errors_destroy(errors);
	return set;
}

#endif

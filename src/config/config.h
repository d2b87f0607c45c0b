/* SPDX-License-Identifier: MIT */
/* The configuration as the rest of the program sees it: an immutable snapshot, made from one file.
 *
 * Main makes a snapshot and never changes it again; all threads read it. It is reference-counted, and goes with the
 * last connection that came in under it. */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/attr.h"
#include "base/role.h"
#include "base/text.h"
#include "config/door_config.h"
#include "config/endpoint.h"
#include "config/errors.h"
#include "config/option.h"
#include "config/tls_config.h"

/* The values of `keepalive`. */
struct keepalive_config {
	bool enabled;
	uint64_t idle_ms;
	uint64_t interval_ms;
	int count;
};

struct timeouts_config {
	uint64_t idle_ms; /* 0: never */
	uint64_t connect_ms;
	uint64_t handshake_ms;
	uint64_t linger_ms;
	uint64_t first_byte_ms;	  /* 0: never */
	uint64_t lifetime_ms;	  /* 0: never */
	struct rate minimum_rate; /* bytes that a client must take while some are held for it; amount 0: any */
};

/* The values of `unix`, for UNIX sockets that the listener makes. */
struct unix_config {
	int mode;
	const char *user;  /* borrowed from the snapshot; NULL: leave it */
	const char *group; /* likewise */
};

struct listener_config {
	const char *name; /* borrowed from the snapshot */
	struct config_place place;

	struct option_list listen;
	struct endpoint *endpoints; /* owned; listen.count of them, in its order */

	int backlog; /* 0: the kernel's maximum */
	bool reuse_address;
	bool nodelay;
	uint64_t defer_accept_ms;      /* 0: off */
	uint64_t user_timeout_ms;      /* 0: off */
	uint64_t receive_buffer_bytes; /* 0: the kernel's choice */
	uint64_t send_buffer_bytes;
	struct keepalive_config keepalive;
	struct limits_config limits;
	struct timeouts_config timeouts;
	struct unix_config unix_socket;
	struct tls_config tls;
	struct access_config access;
	struct bandwidth_config bandwidth;
	struct ban_config ban;

	unsigned service;     /* index into the services given to config_load */
	void *service_values; /* owned: the struct of that service's option group */
};

struct resolver_config {
	struct option_list servers; /* "10.0.0.53", "[::1]:5353"; empty: the system's */
	uint64_t timeout_ms;	    /* of one query's try */
	int tries;
	uint64_t ttl_min_ms;
	uint64_t ttl_max_ms;
};

struct config {
	int workers; /* 0: one a CPU */
	const char *user;
	const char *group;
	const char *state_directory; /* NULL: systemd's */
	uint64_t drain_timeout_ms;
	int log_level; /* as enum log_level in report/log.h; the choice's index is the level */
	struct resolver_config resolver;
	struct door_config door;

	struct listener_config *listeners; /* owned, in the file's order */
	unsigned listener_count;
	/* what stands behind it (the libconfig tree that owns the strings, the count of references) is
	 * config_priv.h's */
};

/* Which service groups a listener may hold. Borrowed; static. */
struct config_services {
	const struct option_group *const *groups;
	unsigned count;
};

/* Reads and checks `path` with what it includes. Returns 0 with one reference in *to, or -EINVAL (what is wrong is
 * in `errors`), -ENOMEM; *to is untouched on failure. Thread: main, and tools. */
int config_load(const char *path, const struct config_services *services, struct config **to,
		struct config_errors *errors) MUST_CHECK;

/* The same for text in memory, which may hold no @include. `name` stands for its file name in errors; it is copied. */
int config_load_text(const char *name, const char *bytes, size_t n, const struct config_services *services,
		     struct config **to, struct config_errors *errors) MUST_CHECK;

/* Thread: any. */
struct config *config_ref(struct config *c);

/* Gives a reference back; returns NULL; accepts NULL. Thread: any. */
struct config *config_unref(struct config *c);

/* Prints the configuration in effect, defaults included, as a file that usherd reads again. */
void config_dump(const struct config *c, const struct config_services *services, FILE *to);

/* Calls `line` for each difference between two snapshots, in words for the log: "listener web: added", "listener web:
 * timeouts.idle: 10min -> 5min", "workers: 2 -> 4 (needs a restart)". `needs_restart` marks those that do. Returns
 * how many there were. */
unsigned config_diff(const struct config *from, const struct config *to, const struct config_services *services,
		     void (*line)(void *arg, const char *text, bool needs_restart), void *arg);

/* The listener of this name, or NULL. Borrowed from `c`. */
const struct listener_config *config_find_listener(const struct config *c, const char *name);

/* Where an option stands in the file, by its path: "door.deny", "listeners.web.limits.per_source"; for a list or a group,
 * where that begins. False: it does not stand there, so that its default counts. The file's name is borrowed from `c`. */
bool config_option_place(const struct config *c, const char *path, struct config_place *to);

/* Adds the value of an option in effect as the log has it: "50", "20/s burst 40", "not set". False: there is no
 * such option, or it is a service's. */
bool config_option_add_text(struct text *t, const struct config *c, const char *path);

/* How roff, the manual's language, writes a character that it would take for markup; NULL for all others. */
const char *config_manual_escape(char c);

/* Prints the OPTIONS part of usherd.conf(5) as mdoc(7). For the build. */
void config_manual(const struct config_services *services, FILE *to);

#endif

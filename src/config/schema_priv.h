/* SPDX-License-Identifier: MIT */
/* What the option tables of schema.c and schema_*.c are written with. */
#ifndef CONFIG_SCHEMA_PRIV_H
#define CONFIG_SCHEMA_PRIV_H

#include "config/config.h"
#include "config/schema.h"

#define SECOND 1000LL
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define GIB (1LL << 30)

/* A listener's `tls`: struct tls_config. */
extern const struct option_group schema_tls;

/* The global `door`: struct door_config. */
extern const struct option_group schema_door;

/* A listener's `limits`, `bandwidth` and `ban`: the structs of door_config.h of these names. */
extern const struct option_group schema_limits;
extern const struct option_group schema_bandwidth;
extern const struct option_group schema_ban;

/* How many entries a list of who may come in holds; more belong into a file. */
#define ACCESS_ENTRIES_MAX 10000

/* What can come to a listener's sockets. */
struct schema_peers {
	bool addresses; /* clients that have one */
	bool local;	/* clients of UNIX sockets */
};

/* Checks the form of all entries of allow, deny and trusted, and that each can match somebody who can come. `path` is
 * their group's. */
void schema_check_access(const struct access_config *access, struct schema_peers peers, const char *path,
			 struct config_errors *errors);

/* Adds an error about the option `name` of the group `path`. */
void schema_wrong(struct config_errors *errors, struct config_place place, const char *path, const char *name,
		  const char *format, ...) PRINTF_LIKE(5, 6);

#define OPTIONS(table) .options = (table), .option_count = ARRAY_LEN(table)

#endif

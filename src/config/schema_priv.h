/* SPDX-License-Identifier: MIT */
/* What the option tables of schema.c, schema_listener.c and schema_tls.c are written with. */
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

#define OPTIONS(table) .options = (table), .option_count = ARRAY_LEN(table)

#endif

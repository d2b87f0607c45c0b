/* SPDX-License-Identifier: MIT */
/* What the option tables of schema.c and schema_listener.c are written with. */
#ifndef CONFIG_SCHEMA_PRIV_H
#define CONFIG_SCHEMA_PRIV_H

#include "config/config.h"
#include "config/schema.h"

#define SECOND 1000LL
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
#define GIB (1LL << 30)

#define OPTIONS(table) .options = (table), .option_count = ARRAY_LEN(table)

#endif

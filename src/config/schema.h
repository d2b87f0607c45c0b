/* SPDX-License-Identifier: MIT */
/* The option tables of usherd itself; services bring their own. Thread: any. */
#ifndef CONFIG_SCHEMA_H
#define CONFIG_SCHEMA_H

#include "config/option.h"

#define SCHEMA_LISTENERS_MAX 4096
#define SCHEMA_LISTENER_NAME_MAX 63

/* The top of the file: struct config. */
extern const struct option_group schema_global;

/* One listener: struct listener_config. */
extern const struct option_group schema_listener;

/* `listeners` itself: it has no options, its members are the listeners. */
extern const struct option_group schema_listeners;

#endif

/* SPDX-License-Identifier: MIT */
/* Whether a configuration listens twice on the same address. For this folder. Thread: main. */
#ifndef CONFIG_OVERLAP_H
#define CONFIG_OVERLAP_H

#include "config/option_parse.h"

/* Adds an error for each address that the listeners name twice, or that lies within another of theirs: the kernel
 * would refuse the second, as if another program had it. The path stands at the listeners; their endpoints have
 * been read. */
void overlap_check(struct option_parse *p, const struct config *c);

#endif

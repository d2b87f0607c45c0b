/* SPDX-License-Identifier: MIT */
/* What is said of list files, in the log and by --check. Thread: main. */
#ifndef DAEMON_LIST_REPORT_H
#define DAEMON_LIST_REPORT_H

#include <stdio.h>

#include "daemon/aside.h"
#include "front/rules.h"

/* A line for each list file, for --check. */
void list_report_print(const struct rules *r, FILE *to);

/* Another content of file i is in effect. */
void list_report_renewed(const struct rules *r, unsigned i);

/* File i was not taken up: list_file_read failed with `error` and `problems`. */
void list_report_failed(const struct rules *r, unsigned i, int error, const struct address_list_problems *problems);

/* File i changes for so long without a rest that it was not taken up. */
void list_report_restless(const struct rules *r, unsigned i, uint64_t for_ms);

/* File i cannot be read now that root was given up. */
void list_report_unreadable(const struct rules *r, unsigned i, int error);

/* A thread that reads list files has been at one for long, or is through with it: each is said once. What is the case
 * meanwhile: "the reload waits". */
void list_report_slow(struct aside *a, uint64_t now_ms, const char *meanwhile) MAIN_ONLY;

#endif

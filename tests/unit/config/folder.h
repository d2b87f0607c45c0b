/* SPDX-License-Identifier: MIT */
/* A folder of configuration files for one test, removed afterwards. */
#ifndef TESTS_UNIT_CONFIG_FOLDER_H
#define TESTS_UNIT_CONFIG_FOLDER_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder_path[64];

static inline void folder_create(void)
{
	strcpy(folder_path, "/tmp/usher-config-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder_path));
	ck_assert_int_eq(chdir(folder_path), 0);
}

static inline void folder_remove(void)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", folder_path);
	ck_assert_int_eq(chdir("/"), 0);
	ck_assert_int_eq(system(command), 0);
}

/* Writes a file into the folder. */
static inline void folder_write_bytes(const char *name, const void *bytes, size_t n)
{
	FILE *file = fopen(name, "w");

	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fwrite(bytes, 1, n, file), n);
	fclose(file);
}

static inline void folder_write(const char *name, const char *text)
{
	folder_write_bytes(name, text, strlen(text));
}

#endif

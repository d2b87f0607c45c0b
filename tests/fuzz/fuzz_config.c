/* SPDX-License-Identifier: MIT */
/* Any bytes as a configuration. One that loads is dumped, and the dump must load and dump to itself. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/config/sample.h"

static struct config *load(const char *bytes, size_t n)
{
	struct config_errors *errors = config_errors_create();
	struct config *c = NULL;

	if (!errors)
		abort();
	int rc = config_load_text("fuzz.conf", bytes, n, &sample_services, &c, errors);
	if ((rc == 0) != (config_errors_count(errors) == 0))
		abort();
	config_errors_destroy(errors);
	return c;
}

static char *dump(const struct config *c, size_t *n)
{
	char *text = NULL;
	FILE *to = open_memstream(&text, n);

	if (!to)
		abort();
	config_dump(c, &sample_services, to);
	fclose(to);
	return text;
}

static void never(void *arg, const char *text, bool needs_restart)
{
	(void)arg;
	(void)text;
	(void)needs_restart;
	abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct config *first = load((const char *)bytes, n);

	if (!first)
		return 0;
	size_t first_n = 0, again_n = 0;
	char *first_text = dump(first, &first_n);
	struct config *again = load(first_text, first_n);
	if (!again)
		abort();
	char *again_text = dump(again, &again_n);
	if (first_n != again_n || memcmp(first_text, again_text, first_n) != 0)
		abort();
	if (config_diff(first, again, &sample_services, never, NULL) != 0)
		abort();
	free(first_text);
	free(again_text);
	config_unref(first);
	config_unref(again);
	return 0;
}

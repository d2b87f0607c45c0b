/* SPDX-License-Identifier: MIT */
/* Any text as an endpoint. One that parses has a text that parses to the same text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/endpoint.h"

typedef int parse_function(struct endpoint *to, const char *text, const char **why);

static void try_parse(parse_function *parse, const char *text)
{
	struct endpoint e, again;
	char first[1024], second[1024];
	struct text t;
	const char *why = NULL;

	if (parse(&e, text, &why) < 0) {
		if (!why || !why[0])
			abort();
		return;
	}
	text_init(&t, first, sizeof(first));
	endpoint_add_text(&t, &e);
	if (t.cut || parse(&again, t.at, &why) < 0)
		abort();
	text_init(&t, second, sizeof(second));
	endpoint_add_text(&t, &again);
	if (strcmp(first, second) != 0 || e.kind != again.kind)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	char *text = malloc(n + 1);
	struct netaddr server;
	const char *why = NULL;

	if (!text)
		return 0;
	memcpy(text, bytes, n);
	text[n] = '\0';
	try_parse(endpoint_parse_listen, text);
	try_parse(endpoint_parse_upstream, text);
	if (endpoint_parse_server(&server, text, &why) < 0 && !why)
		abort();
	why = NULL;
	if (endpoint_check_host(text, &why) < 0 && !why)
		abort();
	free(text);
	return 0;
}

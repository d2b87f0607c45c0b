/* SPDX-License-Identifier: MIT */
/* The file of bans: whatever is in it, a ban that is read is one that could have been saved, and no longer than its rule. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/must.h"
#include "base/text.h"
#include "front/ban_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define NOW_MS (UINT64_C(1763640000) * 1000)
#define LONGEST_MS UINT64_C(86400000)

static uint64_t longest(void *arg, const char *listener)
{
	(void)arg;
	if (!listener)
		return LONGEST_MS;
	return strlen(listener) % 4 == 0 ? 0 : LONGEST_MS * strlen(listener);
}

static void check_ban(void *arg, const char *listener, const struct source_key *key, uint64_t left_ms, unsigned count)
{
	char memory[SOURCE_KEY_TEXT_BYTES];
	struct source_key again;
	struct text t;

	(*(unsigned *)arg)++;
	must(left_ms > 0 && left_ms <= longest(NULL, listener));
	must(count <= UINT16_MAX);
	must(!listener || (strlen(listener) > 0 && strpbrk(listener, " *\n\t/") == NULL));
	text_init(&t, memory, sizeof(memory));
	source_key_add_text(&t, key);
	must(!t.cut);
	must(source_key_parse(&again, t.at, t.length, 0) == 0);
	must(memcmp(key, &again, sizeof(again)) == 0);
}

/* Reads in pieces of so many bytes. */
static int read_all(const uint8_t *data, size_t size, size_t piece, struct ban_file_tally *tally)
{
	unsigned taken = 0;
	const struct ban_file_use use = {.longest_ms = longest, .ban = check_ban, .arg = &taken};
	struct ban_file_reader r;
	ban_file_read_begin(&r, &use, NOW_MS);
	for (size_t at = 0; at < size; at += piece)
		ban_file_read(&r, (const char *)data + at, size - at < piece ? size - at : piece);
	int failed = ban_file_read_end(&r);
	must(r.tally.taken == taken);
	*tally = r.tally;
	return failed;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ban_file_tally whole;
	struct ban_file_tally pieces;
	int failed = read_all(data, size, size + 1, &whole);
	must(read_all(data, size, 7, &pieces) == failed);
	must(whole.taken == pieces.taken && whole.damaged == pieces.damaged && whole.over == pieces.over);
	return 0;
}

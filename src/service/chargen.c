/* SPDX-License-Identifier: MIT */
/* RFC 864: sends lines of characters without end. */
#include "service/service.h"
#include "transport/stream.h"
#include "worker/conn.h"

/* The pattern: 72 of the 95 printing characters a line, each line beginning one further. After 95 lines it repeats. */
#define FIRST_CHARACTER ' '
#define CHARACTERS 95
#define LINE_CHARACTERS 72
#define LINE_BYTES (LINE_CHARACTERS + 2)
#define PATTERN_BYTES (CHARACTERS * LINE_BYTES)
#define SEND_BYTES (64U * 1024U)
#define SENDS_A_TURN 4

_Static_assert(SEND_BYTES <= STREAM_HELD_MAX_BYTES, "a send fits the scratch, and the stream that holds it");

struct chargen {
	size_t at; /* the byte of the pattern that comes next */
};

static const struct option_group chargen_group = {
	.name = "chargen",
	.help = "Sends lines of 72 printing characters until the client ends (RFC 864). What the client sends is "
		"thrown "
		"away.",
};

static uint8_t pattern_byte(size_t at)
{
	size_t line = at / LINE_BYTES;
	size_t column = at % LINE_BYTES;
	if (column == LINE_CHARACTERS)
		return '\r';
	if (column == LINE_CHARACTERS + 1)
		return '\n';
	return (uint8_t)(FIRST_CHARACTER + (line + column) % CHARACTERS);
}

WORKER_ONLY static void chargen_writable(struct conn *c)
{
	struct chargen *state = conn_state(c);
	uint8_t *bytes = conn_scratch(c);
	size_t room = conn_room(c);
	for (int i = 0; i < SENDS_A_TURN && conn_pending(c) == 0 && room > 0; i++) {
		size_t size = room < SEND_BYTES ? room : SEND_BYTES;
		for (size_t n = 0; n < size; n++)
			bytes[n] = pattern_byte((state->at + n) % PATTERN_BYTES);
		state->at = (state->at + size) % PATTERN_BYTES;
		int failed = conn_send(c, bytes, size);
		if (failed) {
			conn_fail(c, failed);
			return;
		}
		room = conn_room(c);
	}
	if (conn_pending(c) == 0 && room > 0)
		conn_again(c);
}

extern const struct service service_chargen;
const struct service service_chargen = {
	.group = &chargen_group,
	.state_bytes = sizeof(struct chargen),
	.descriptors = 1,
	.is_trial = true,
	.open = chargen_writable,
	.readable = conn_discard,
	.writable = chargen_writable,
};

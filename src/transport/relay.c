/* SPDX-License-Identifier: MIT */
#include "transport/relay.h"

#include <errno.h>

enum relay_result relay_pump(struct stream *from, struct stream *to, uint8_t *scratch, size_t budget, size_t *may,
			     int *error)
{
	size_t copied = 0;
	for (;;) {
		int failed = stream_flush(to);
		if (failed == -EAGAIN)
			return RELAY_WAIT;
		if (failed) {
			*error = failed;
			return RELAY_TO_FAILED;
		}
		if (to->end_sent)
			return RELAY_ENDED;
		if (copied >= budget)
			return RELAY_MORE;

		/* an end that was read already costs nothing */
		if (*may == 0 && !from->read_ended)
			return from->can_read ? RELAY_PACED : RELAY_WAIT;
		ssize_t got = stream_read(from, scratch, *may < STREAM_HELD_MAX_BYTES ? *may : STREAM_HELD_MAX_BYTES);
		if (got == -EAGAIN)
			return RELAY_WAIT;
		if (got < 0) {
			*error = (int)got;
			return RELAY_FROM_FAILED;
		}
		if (got == 0) {
			to->end_wanted = true;
			continue;
		}
		copied += stream_read_cost(got);
		*may -= (size_t)got;
		failed = stream_send(to, scratch, (size_t)got);
		if (failed) {
			*error = failed;
			return RELAY_TO_FAILED;
		}
	}
}

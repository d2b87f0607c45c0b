/* SPDX-License-Identifier: MIT */
/* Whether a connection may come in: a pure function of the snapshot, what is open, and the peer. */
#ifndef FRONT_ADMISSION_H
#define FRONT_ADMISSION_H

#include "base/attr.h"
#include "config/config.h"
#include "worker/close_reason.h"

/* What is known of a connection at the door. */
struct admission_request {
	const struct listener_config *listener; /* borrowed */
	unsigned listener_open;			/* connections that the listener has open */
};

/* Returns CLOSE_NONE to let it in, else the reason to refuse it with. Thread: any. */
enum close_reason admission_decide(const struct admission_request *r) MUST_CHECK;

#endif

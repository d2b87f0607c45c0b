/* SPDX-License-Identifier: MIT */
#include "front/admission.h"

enum close_reason admission_decide(const struct admission_request *r)
{
	int most = r->listener->limits.connections;
	if (most > 0 && r->listener_open >= (unsigned)most)
		return CLOSE_limit_connections;
	return CLOSE_NONE;
}

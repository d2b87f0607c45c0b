/* SPDX-License-Identifier: MIT */
/* The values of what is decided at the door: lists, limits, bandwidth, bans. Most of it stands in a listener, and, with the
 * same names, in the global group `door`, for all listeners together. What the lists mean is read by front/. */
#ifndef CONFIG_DOOR_CONFIG_H
#define CONFIG_DOOR_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rate.h"
#include "config/errors.h"
#include "config/option.h"

/* In the order of limits.at_limit's choices. */
enum at_limit {
	AT_LIMIT_RESET, /* accepted and reset */
	AT_LIMIT_CLOSE, /* accepted and closed: the client sees an end */
	AT_LIMIT_WAIT,	/* kept until there is room, for a while */
};

/* allow, deny, trusted: "10.0.0.0/8", "file:PATH", "user:NAME", "unit:NAME.service" ... */
struct access_config {
	struct option_list allow; /* empty: everybody */
	struct option_list deny;
	struct option_list trusted; /* exempt from limits and bans; denied all the same */
	bool enforce;		    /* at a reload, and when a list changes, also for connections that are open */
};

/* limits: of a listener, or of all together. */
struct limits_config {
	int connections;  /* at once; 0: as many as descriptors allow */
	int handshakes;	  /* of TLS, under way at once; 0: as many as there are connections */
	int per_source;	  /* connections at once of one source; 0: no limit */
	struct rate rate; /* new connections; amount 0: no limit */
	struct rate rate_per_source;
	int at_limit; /* enum at_limit */
};

/* bandwidth: bytes from the client (in) and to it (out); amount 0: no limit. */
struct bandwidth_config {
	struct rate in; /* of each connection */
	struct rate out;
	struct rate source_in; /* of all connections of one source */
	struct rate source_out;
	struct rate listener_in; /* of all connections of the listener */
	struct rate listener_out;
};

/* ban: an optional group. */
struct ban_config {
	bool enabled; /* the group is there */
	int after;    /* offences and refusals */
	uint64_t within_ms;
	uint64_t for_ms;
	int factor;
	uint64_t max_ms;
};

/* sources: what counts as one source, and how many are remembered; global. */
struct sources_config {
	int entries;
	int ipv4_prefix;
	int ipv6_prefix;
};

/* overload: when usherd begins to shed; global. */
struct overload_config {
	int percent;	       /* of the connections and descriptors that may be; 0: never */
	uint64_t memory_bytes; /* of the process; 0: does not count */
	uint64_t queue_age_ms; /* of the oldest connection in a worker's queue; 0: does not count */
};

/* The global group `door`. */
struct door_config {
	struct access_config access;
	struct limits_config limits;
	struct ban_config ban;
	struct sources_config sources;
	struct overload_config overload;
};

#endif

/* SPDX-License-Identifier: MIT */
/* The door: everything that admission is decided by and that lives longer than a snapshot (sources, bans, how fast
 * connections come), who waits at it, and what is told of whom it refused. Times are those of clock_now_ms and clock_now_us.
 *
 * Thread: main. */
#ifndef FRONT_DOOR_H
#define FRONT_DOOR_H

#include "base/attr.h"
#include "base/poller.h"
#include "base/role.h"
#include "base/timer.h"
#include "config/config.h"
#include "front/admission.h"
#include "front/listener.h"
#include "front/rules.h"
#include "front/sources.h"
#include "front/who.h"
#include "worker/handoff.h"

struct door;

/* `pool`, `poller` and `timers` are borrowed; the sources' table is as large as `config` says, until the end. Returns 0 or
 * -errno. */
int door_create(struct door **to, struct pool *pool, struct poller *poller, struct timer_wheel *timers,
		const struct config *config) MUST_CHECK MAIN_ONLY;

/* Tells what was not told of whom it refused. Returns NULL; accepts NULL. */
struct door *door_destroy(struct door *d) MAIN_ONLY;

/* From here on these decide: both borrowed until the next call. NULL: nobody comes any more. */
void door_set(struct door *d, const struct listener_set *set, const struct rules *rules, uint64_t now_ms) MAIN_ONLY;

/* `changed` (may be NULL) is called with `arg` when a ban has begun or ended. */
void door_on_bans(struct door *d, void (*changed)(void *arg), void *arg) MAIN_ONLY;

/* How many of so many descriptors are kept for trusted clients, while usherd sheds others: with a few descriptors a few, and
 * never more than an eighth. */
#define DOOR_RESERVE_MOST 64
unsigned door_reserve(const struct door *d, unsigned descriptors) MAIN_ONLY;

/* How much room for connections of who is not trusted there is, of how much: usherd sheds when little is left. */
void door_set_room(struct door *d, uint64_t room, uint64_t of) MAIN_ONLY;

/* Decides about one that asks at `l`. */
void door_decide(struct door *d, const struct listening *l, const struct visitor *v, uint64_t now_us,
		 struct verdict *to) MAIN_ONLY;

/* Lets one in: what it takes of its sources goes to `shares`. */
void door_let_in(struct door *d, const struct listening *l, const struct visitor *v, const struct verdict *verdict,
		 uint64_t now_us, struct source_share *shares[SOURCE_SCOPES]) MAIN_ONLY;

/* Refuses one: told in sums, and, if it was for what its source has done, counted towards a ban. */
void door_refuse(struct door *d, const struct listening *l, const struct visitor *v, const struct verdict *verdict,
		 uint64_t now_ms) MAIN_ONLY;

/* As whose one counts that was decided about: by what sources take turns, and refusals are told. */
struct who door_who(const struct listening *l, const struct visitor *v, const struct verdict *verdict) MAIN_ONLY;

/* Tells of one who does not come in for what is not its fault: it does not count towards a ban. */
void door_turn_away(struct door *d, const struct listening *l, const struct who *who, enum close_reason reason,
		    uint64_t now_ms) MAIN_ONLY;

/* Its sources, for bans that are saved and restored. Borrowed. */
struct sources *door_sources(struct door *d) MAIN_ONLY;

#endif

/* SPDX-License-Identifier: MIT */
#include "front/waiting.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/list.h"
#include "base/must.h"
#include "base/siphash.h"

/* Powers of two. Listeners have numbers in a row: their buckets need no hash. */
#define LINE_BUCKETS 8192
#define ROOM_BUCKETS 256

/* What a call of waiting_next does at most: to ask is more work than to pass one by that was asked. */
#define EFFORT_ASK 16
#define EFFORT_SKIP 1
#define EFFORT_MOST (WAITING_ASK_AT_ONCE * EFFORT_ASK)

struct waiting_place {
	struct list in_line;
	struct list by_age;
	struct line *line; /* borrowed: it is in it */
	struct waiting_client client;
};

/* Those of one source at one listener. It is there as long as somebody waits in it. */
struct line {
	struct who who;
	unsigned count;
	uint64_t full_in;  /* the pass in which its source had a limit against it */
	struct room *room; /* borrowed: it is in it */
	struct line *next_in_bucket;
	struct list turn;    /* in the room's: whose turn it is is first */
	struct list as_many; /* in the room's list of those with as many places */
	struct list places;  /* the first to come is first */
};

/* Those of one listener. It is there as long as somebody waits in it. */
struct room {
	uint16_t listener;
	unsigned count; /* places */
	unsigned line_count;
	uint64_t full_in; /* the pass in which nobody of it may come */
	uint64_t pass;	  /* the one that lines_full is about */
	unsigned lines_full;
	struct room *next_in_bucket;
	struct list turn; /* in the rooms' */
	struct list lines;
	uint64_t lengths;			   /* bit i: there is something in by_length[i] */
	struct list by_length[WAITING_PER_SOURCE]; /* lines of i + 1 places */
};

struct waiting {
	struct waiting_limits limits;
	struct siphash_key secret;
	unsigned count;
	unsigned room_count;
	unsigned rooms_full; /* in this pass */
	uint64_t pass;
	bool under_way;
	struct list rooms;
	struct list by_age;
	struct line *lines[LINE_BUCKETS];
	struct room *rooms_by_number[ROOM_BUCKETS];
};

struct waiting *waiting_create(const struct waiting_limits *limits)
{
	struct waiting *w = calloc(1, sizeof(*w));
	if (!w)
		return NULL;
	w->limits = *limits;
	if (w->limits.per_source > WAITING_PER_SOURCE)
		w->limits.per_source = WAITING_PER_SOURCE;
	siphash_key_random(&w->secret);
	w->pass = 1;
	list_init(&w->rooms);
	list_init(&w->by_age);
	return w;
}

/* ---- lines and rooms ---- */

static struct room *find_room(const struct waiting *w, uint16_t listener)
{
	struct room *room = w->rooms_by_number[listener & (ROOM_BUCKETS - 1)];
	while (room && room->listener != listener)
		room = room->next_in_bucket;
	return room;
}

static struct room *get_room(struct waiting *w, uint16_t listener)
{
	struct room *room = find_room(w, listener);
	if (room)
		return room;
	room = calloc(1, sizeof(*room));
	if (!room)
		return NULL;
	room->listener = listener;
	list_init(&room->lines);
	for (unsigned i = 0; i < WAITING_PER_SOURCE; i++)
		list_init(&room->by_length[i]);
	struct room **bucket = &w->rooms_by_number[listener & (ROOM_BUCKETS - 1)];
	room->next_in_bucket = *bucket;
	*bucket = room;
	list_append(&w->rooms, &room->turn);
	w->room_count++;
	return room;
}

static void drop_empty_room(struct waiting *w, struct room *room)
{
	if (room->line_count > 0)
		return;
	struct room **at = &w->rooms_by_number[room->listener & (ROOM_BUCKETS - 1)];
	while (*at != room) {
		must(*at);
		at = &(*at)->next_in_bucket;
	}
	*at = room->next_in_bucket;
	list_remove(&room->turn);
	w->room_count--;
	if (room->full_in == w->pass)
		w->rooms_full--;
	free(room);
}

static size_t line_bucket(const struct waiting *w, const struct who *who)
{
	return siphash(&w->secret, who, sizeof(*who)) & (LINE_BUCKETS - 1);
}

static struct line *find_line(const struct waiting *w, const struct who *who)
{
	struct line *line = w->lines[line_bucket(w, who)];
	while (line && !who_same(&line->who, who))
		line = line->next_in_bucket;
	return line;
}

/* Puts it among those of its room that are as long as it is now. */
static void set_length(struct line *line, unsigned count)
{
	struct room *room = line->room;
	list_remove(&line->as_many);
	if (line->count > 0 && list_empty(&room->by_length[line->count - 1]))
		room->lengths &= ~(UINT64_C(1) << (line->count - 1));
	line->count = count;
	if (count == 0)
		return;
	list_append(&room->by_length[count - 1], &line->as_many);
	room->lengths |= UINT64_C(1) << (count - 1);
}

/* Returns NULL without memory. */
static struct line *get_line(struct waiting *w, const struct who *who)
{
	struct line *line = find_line(w, who);
	if (line)
		return line;
	struct room *room = get_room(w, who_listener(who));
	if (!room)
		return NULL;
	line = calloc(1, sizeof(*line));
	if (!line) {
		drop_empty_room(w, room);
		return NULL;
	}
	line->who = *who;
	line->room = room;
	list_init(&line->as_many);
	list_init(&line->places);
	list_append(&room->lines, &line->turn);
	room->line_count++;
	struct line **bucket = &w->lines[line_bucket(w, who)];
	line->next_in_bucket = *bucket;
	*bucket = line;
	return line;
}

static void drop_empty_line(struct waiting *w, struct line *line)
{
	if (line->count > 0)
		return;
	struct room *room = line->room;
	struct line **at = &w->lines[line_bucket(w, &line->who)];
	while (*at != line) {
		must(*at);
		at = &(*at)->next_in_bucket;
	}
	*at = line->next_in_bucket;
	list_remove(&line->turn);
	room->line_count--;
	if (line->full_in == w->pass)
		room->lines_full--;
	free(line);
	drop_empty_room(w, room);
}

/* ---- coming and going ---- */

static struct waiting_place *place_in_line(struct list *l)
{
	return CONTAINER_OF(l, struct waiting_place, in_line);
}

/* Takes one out, and what is empty then. */
static void take_out(struct waiting *w, struct waiting_place *p, struct waiting_client *to)
{
	struct line *line = p->line;
	must(line->count > 0);
	*to = p->client;
	list_remove(&p->in_line);
	list_remove(&p->by_age);
	free(p);
	w->count--;
	line->room->count--;
	set_length(line, line->count - 1);
	drop_empty_line(w, line);
}

struct waiting *waiting_destroy(struct waiting *w)
{
	if (!w)
		return NULL;
	while (!list_empty(&w->by_age)) {
		struct waiting_client c;
		take_out(w, CONTAINER_OF(w->by_age.next, struct waiting_place, by_age), &c);
		fd_close(&c.fd);
	}
	free(w);
	return NULL;
}

/* How many places its longest line has. */
static unsigned longest_of(const struct room *room)
{
	return 64 - (unsigned)__builtin_clzll(room->lengths);
}

/* The room that has the longest line of all. NULL: there is none. */
static const struct room *find_longest(const struct waiting *w)
{
	const struct room *found = NULL;
	for (struct list *at = w->rooms.next; at != &w->rooms; at = at->next) {
		const struct room *room = CONTAINER_OF(at, struct room, turn);
		if (!found || longest_of(room) > longest_of(found))
			found = room;
	}
	return found;
}

/* Who leaves a room for a newcomer whose source has `count` at its listener; NULL: nobody. */
static struct waiting_place *find_leaver(const struct room *room, unsigned count)
{
	if (!room)
		return NULL;
	unsigned longest = longest_of(room);
	if (longest < count + 2)
		return NULL;
	const struct line *line = CONTAINER_OF(room->by_length[longest - 1].next, struct line, as_many);
	return place_in_line(line->places.prev);
}

int waiting_add(struct waiting *w, struct waiting_client *c, uint64_t now_ms, struct waiting_place **place,
		struct waiting_client *leaves)
{
	struct waiting_place *leaver = NULL;
	struct line *line = find_line(w, &c->who);
	const struct room *room = line ? line->room : find_room(w, who_listener(&c->who));
	unsigned count = line ? line->count : 0;

	leaves->fd = -1;
	if (count >= w->limits.per_source)
		return -EDQUOT;
	bool room_is_full = room && room->count >= w->limits.per_listener;
	if (room_is_full || w->count >= w->limits.in_all) {
		leaver = find_leaver(room_is_full ? room : find_longest(w), count);
		if (!leaver)
			return -ENOBUFS;
	}
	struct waiting_place *p = malloc(sizeof(*p));
	line = p ? get_line(w, &c->who) : NULL;
	if (!line) {
		free(p);
		return -ENOMEM;
	}
	p->client = *c;
	p->client.came_ms = now_ms;
	p->line = line;
	list_append(&line->places, &p->in_line);
	list_append(&w->by_age, &p->by_age);
	w->count++;
	line->room->count++;
	set_length(line, line->count + 1);
	c->fd = -1;
	c->waiter = NULL;
	if (leaver)
		take_out(w, leaver, leaves);
	if (place)
		*place = p;
	return 0;
}

void waiting_drop(struct waiting *w, struct waiting_place *place, struct waiting_client *to)
{
	take_out(w, place, to);
}

bool waiting_take(struct waiting *w, uint16_t listener, struct waiting_client *to)
{
	struct waiting_place *p;
	if (listener == 0) {
		if (list_empty(&w->by_age))
			return false;
		p = CONTAINER_OF(w->by_age.next, struct waiting_place, by_age);
	} else {
		const struct room *room = find_room(w, listener);
		if (!room)
			return false;
		p = place_in_line(CONTAINER_OF(room->lines.next, struct line, turn)->places.next);
	}
	take_out(w, p, to);
	return true;
}

uint64_t waiting_expires_at_ms(const struct waiting *w)
{
	if (list_empty(&w->by_age))
		return UINT64_MAX;
	return CONTAINER_OF(w->by_age.next, struct waiting_place, by_age)->client.came_ms + w->limits.ms;
}

bool waiting_expire(struct waiting *w, uint64_t now_ms, struct waiting_client *to)
{
	return now_ms >= waiting_expires_at_ms(w) && waiting_take(w, 0, to);
}

/* ---- passes ---- */

void waiting_begin(struct waiting *w)
{
	w->pass++;
	w->rooms_full = 0;
	w->under_way = true;
}

/* Puts it behind the others. */
static void end_turn(struct list *turns, struct list *turn)
{
	list_remove(turn);
	list_append(turns, turn);
}

static void set_room_full(struct waiting *w, struct room *room)
{
	room->full_in = w->pass;
	w->rooms_full++;
	end_turn(&w->rooms, &room->turn);
}

/* Asks about the first of a line, whose turn it is. Returns whether it comes. */
static bool ask_line(struct waiting *w, struct line *line, waiting_ask *ask, void *arg, struct waiting_client *to)
{
	struct room *room = line->room;
	struct waiting_place *p = place_in_line(line->places.next);
	switch (ask(arg, &p->client)) {
	case WAITING_COMES:
		end_turn(&room->lines, &line->turn);
		end_turn(&w->rooms, &room->turn);
		take_out(w, p, to);
		return true;
	case WAITING_SOURCE_FULL:
		line->full_in = w->pass;
		room->lines_full++;
		end_turn(&room->lines, &line->turn);
		return false;
	case WAITING_LISTENER_FULL:
		/* the line keeps its turn: else where places come one by one, it would always be another's */
		set_room_full(w, room);
		return false;
	case WAITING_FULL:
		w->under_way = false;
		return false;
	}
	return false;
}

enum waiting_result waiting_next(struct waiting *w, waiting_ask *ask, void *arg, struct waiting_client *to)
{
	unsigned effort = 0;
	while (w->under_way && w->rooms_full < w->room_count) {
		if (effort >= EFFORT_MOST)
			return WAITING_MORE;
		effort += EFFORT_SKIP;
		struct room *room = CONTAINER_OF(w->rooms.next, struct room, turn);
		if (room->full_in == w->pass) {
			end_turn(&w->rooms, &room->turn);
			continue;
		}
		if (room->pass != w->pass) {
			room->pass = w->pass;
			room->lines_full = 0;
		}
		if (room->lines_full == room->line_count) {
			set_room_full(w, room);
			continue;
		}
		struct line *line = CONTAINER_OF(room->lines.next, struct line, turn);
		if (line->full_in == w->pass) {
			end_turn(&room->lines, &line->turn);
			continue;
		}
		effort += EFFORT_ASK - EFFORT_SKIP;
		if (ask_line(w, line, ask, arg, to))
			return WAITING_GIVEN;
	}
	w->under_way = false;
	return WAITING_NOBODY;
}

/* ---- figures ---- */

unsigned waiting_count(const struct waiting *w)
{
	return w->count;
}

unsigned waiting_count_at(const struct waiting *w, uint16_t listener)
{
	const struct room *room = find_room(w, listener);
	return room ? room->count : 0;
}

unsigned waiting_count_of(const struct waiting *w, const struct who *who)
{
	const struct line *line = find_line(w, who);
	return line ? line->count : 0;
}

/* SPDX-License-Identifier: MIT */
/* The door with real workers behind it; what it tells is read from the log. The tests set its clock. */
#include "front/door.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../suite.h"
#include "base/clock.h"
#include "base/netaddr.h"
#include "front/ban_reports.h"
#include "report/log_priv.h"
#include "service/service.h"
#include "worker/offences.h"

#define A 0
#define B 1
#define LISTENERS 2
#define MESSAGES_MOST 512
#define MINUTE_MS 60000

static char messages[MESSAGES_MOST][LOG_MESSAGE_BYTES];
static enum log_kind kinds[MESSAGES_MOST];
static unsigned message_count;

static struct poller poller;
static struct timer_wheel timers;
static struct pool *pool;
static struct config *config;
static struct rules *rules;
static struct door *door;
static struct account *accounts[LISTENERS];
static struct listener_entry entries[LISTENERS];
static struct listener_set set;
static struct listening sockets[LISTENERS];
static uint64_t began_ms;
static uint64_t now_ms;

static unsigned keep(const struct log_entry *e)
{
	ck_assert_uint_lt(message_count, MESSAGES_MOST);
	memcpy(messages[message_count], e->message, (size_t)e->message_bytes + 1);
	kinds[message_count++] = e->kind;
	return 0;
}

static unsigned flush(void)
{
	return 0;
}

static const struct log_sink sink = {.put = keep, .flush = flush, .wants_fields = true};

/* Puts a configuration with these lines into effect, as a start or a reload does. `second` is the name of the second
 * listener; NULL: there is none. */
static void configure(const char *door_text, const char *a_text, const char *second)
{
	char text[4096];
	char b_text[256] = "";
	struct config *next;
	struct rules *next_rules;
	struct config_errors *errors = config_errors_create();
	if (second)
		snprintf(b_text, sizeof(b_text), "%s: { listen = \"unix:/tmp/b.sock\"; echo: {}; };", second);
	snprintf(text, sizeof(text),
		 "door: { %s };\nlisteners: { a: { listen = \"127.0.0.1:0\"; echo: {};\n%s\n};\n %s };\n", door_text,
		 a_text, b_text);
	int failed = config_load_text("test", text, strlen(text), service_groups(), &next, errors);
	ck_assert_msg(failed == 0, "%s", config_errors_line(errors, 0));
	ck_assert_int_eq(rules_load(next, rules, errors, &next_rules), 0);
	config_errors_destroy(errors);
	set = (struct listener_set){.config = next, .at = entries, .count = next->listener_count};
	for (unsigned i = 0; i < set.count; i++) {
		entries[i] = (struct listener_entry){.socket = &sockets[i],
						     .config = &next->listeners[i],
						     .account = accounts[i]};
		sockets[i] = (struct listening){.fd = -1,
						.is_tcp = i == A,
						.config = &next->listeners[i],
						.account = accounts[i]};
	}
	if (!door)
		ck_assert_int_eq(door_create(&door, pool, &poller, &timers, next), 0);
	door_set(door, &set, next_rules, now_ms);
	door_set_room(door, 1000, 1000);
	rules_destroy(rules);
	config_unref(config);
	rules = next_rules;
	config = next;
}

static void setup(void)
{
	static const char text[] = "listeners: { a: { listen = \"127.0.0.1:0\"; echo: {}; }; };";
	struct config *c;
	struct config_errors *errors = config_errors_create();
	role_enter_main();
	ck_assert_int_eq(log_start_sink(&sink), 0);
	ck_assert_int_eq(config_load_text("test", text, strlen(text), service_groups(), &c, errors), 0);
	config_errors_destroy(errors);
	ck_assert_int_eq(pool_create(&pool, 1, c), 0);
	config_unref(c);
	ck_assert_int_eq(poller_init(&poller), 0);
	began_ms = now_ms = clock_now_ms();
	timer_wheel_init(&timers, began_ms);
	for (unsigned i = 0; i < LISTENERS; i++) {
		accounts[i] = account_create();
		ck_assert_ptr_nonnull(accounts[i]);
		accounts[i]->scope = (uint16_t)(i + 1);
	}
}

/* The door goes as at a stop: the listeners first. Nothing is told after this. */
static void stop(void)
{
	if (door)
		door_set(door, NULL, NULL, now_ms);
	door = door_destroy(door);
	log_stop(10000);
}

static void teardown(void)
{
	if (door)
		stop();
	pool_command(pool, WORKER_STOP, NULL);
	pool = pool_destroy(pool);
	poller_fini(&poller);
	rules = rules_destroy(rules);
	config = config_unref(config);
	for (unsigned i = 0; i < LISTENERS; i++)
		account_unref(accounts[i]);
	role_leave_main();
}

static struct netaddr address;
static const struct sockaddr_un local = {.sun_family = AF_UNIX};

static struct visitor from(const char *text)
{
	struct visitor v;
	ck_assert_int_eq(netaddr_parse_ip(&address, text, strlen(text), 4711), 0);
	visitor_from_address(&v, &address.u.any);
	return v;
}

static enum close_reason decide(unsigned listener, const struct visitor *v)
{
	struct verdict verdict;
	door_decide(door, &sockets[listener], v, now_ms * 1000, &verdict);
	if (verdict.reason != CLOSE_NONE)
		door_refuse(door, &sockets[listener], v, &verdict, now_ms);
	return verdict.reason;
}

/* One that comes, is counted when it is refused, and does not come in otherwise. */
static enum close_reason visit(unsigned listener, const char *text)
{
	struct visitor v = from(text);
	return decide(listener, &v);
}

/* One that comes in. */
static void come_in(unsigned listener, const char *text, struct source_share *shares[SOURCE_SCOPES])
{
	struct visitor v = from(text);
	struct verdict verdict;
	door_decide(door, &sockets[listener], &v, now_ms * 1000, &verdict);
	ck_assert_int_eq(verdict.reason, CLOSE_NONE);
	door_let_in(door, &sockets[listener], &v, &verdict, now_ms * 1000, shares);
}

static void leave(struct source_share *shares[SOURCE_SCOPES])
{
	for (unsigned i = 0; i < SOURCE_SCOPES; i++)
		source_closed(source_of(shares[i]));
}

/* Turns the clock to so long after the start. */
static void later(uint64_t ms)
{
	now_ms = began_ms + ms;
	timer_wheel_run(&timers, now_ms);
}

/* What workers note. */
static void offend(struct source_share *share, unsigned n)
{
	offences_add(CONTAINER_OF(pool_offence_bell(pool), struct offences, bell), share, n);
}

/* One turn of the acceptor's loop. Returns how many were ready. */
static int turn(void)
{
	int n = poller_wait(&poller, 0);
	poller_dispatch(&poller);
	return n;
}

static unsigned told(const char *text)
{
	unsigned n = 0;
	for (unsigned i = 0; i < message_count; i++)
		n += strcmp(messages[i], text) == 0;
	return n;
}

static unsigned told_kind(enum log_kind kind)
{
	unsigned n = 0;
	for (unsigned i = 0; i < message_count; i++)
		n += kinds[i] == kind;
	return n;
}

static void must_tell(const char *text)
{
	if (told(text) == 1)
		return;
	for (unsigned i = 0; i < message_count; i++)
		fprintf(stderr, "%s\n", messages[i]);
	ck_abort_msg("told %u times: %s", told(text), text);
}

START_TEST(refusals_are_told_in_sums)
{
	configure("deny = \"10.1.0.0/16\";", "deny = \"10.2.0.0/16\";", NULL);
	for (unsigned i = 0; i < 1000; i++)
		ck_assert_int_eq(visit(A, "10.1.0.1"), CLOSE_denied);
	ck_assert_int_eq(visit(A, "10.2.0.1"), CLOSE_denied);
	ck_assert_int_eq(visit(A, "10.3.0.1"), CLOSE_NONE);
	later(MINUTE_MS / 2);
	later(2 * MINUTE_MS);
	stop();
	must_tell("a: refused 1 connection of 10.2.0.1: a deny list has the client (denied)");
	/* the first at once, then the minute's sum */
	ck_assert_str_eq(messages[0], "a: refused 1 connection of 10.1.0.1: a deny list has the client (denied)");
	unsigned sums = 0;
	for (unsigned i = 0; i < message_count; i++)
		sums += strstr(messages[i], "a: refused 999 connections of 10.1.0.1 in ") == messages[i];
	ck_assert_uint_eq(sums, 1);
	ck_assert_uint_eq(message_count, 3);
	ck_assert_uint_eq(told_kind(LOG_REFUSED), message_count);
}
END_TEST

START_TEST(the_end_tells_what_was_not_told)
{
	configure("deny = \"10.1.0.0/16\";", "", "b");
	for (unsigned i = 0; i < 8; i++)
		ck_assert_int_eq(visit(A, "10.1.0.1"), CLOSE_denied);
	stop();
	ck_assert_uint_eq(message_count, 2);
	ck_assert_str_eq(messages[0], "a: refused 1 connection of 10.1.0.1: a deny list has the client (denied)");
	ck_assert_ptr_nonnull(strstr(messages[1], "a: refused 7 connections of 10.1.0.1"));
}
END_TEST

START_TEST(unix_peers_are_told_by_their_user)
{
	struct visitor v;
	configure("deny = \"uid:4001\"; ban: { after = 1; };", "", "b");
	visitor_from_address(&v, (const struct sockaddr *)&local);
	v.has_credentials = true;
	v.uid = v.gid = 4001;
	/* no source, so no ban */
	for (unsigned i = 0; i < 5; i++)
		ck_assert_int_eq(decide(B, &v), CLOSE_denied);
	configure("allow = \"uid:4001\";", "", "b");
	v.has_credentials = false;
	ck_assert_int_eq(decide(B, &v), CLOSE_not_allowed);
	stop();
	must_tell("b: refused 1 connection of unix uid 4001: a deny list has the client (denied)");
	must_tell("b: refused 1 connection of unix: no allow list has the client (not_allowed)");
	ck_assert_uint_eq(told_kind(LOG_BANNED), 0);
}
END_TEST

START_TEST(refusals_become_a_ban)
{
	configure("", "deny = \"10.1.0.0/16\"; ban: { after = 3; within = \"1min\"; for = \"10min\"; };", "b");
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(visit(A, "10.1.0.1"), CLOSE_denied);
	/* what a list says comes first; so it is the list that has to let it in again */
	ck_assert_int_eq(visit(A, "10.1.0.1"), CLOSE_denied);
	configure("", "ban: { after = 3; within = \"1min\"; for = \"10min\"; };", "b");
	ck_assert_int_eq(visit(A, "10.1.0.1"), CLOSE_banned);
	/* only there, and only this one */
	ck_assert_int_eq(visit(B, "10.1.0.1"), CLOSE_NONE);
	ck_assert_int_eq(visit(A, "10.1.0.2"), CLOSE_NONE);
	/* to be refused because of a ban does not make it longer */
	for (unsigned i = 0; i < 100; i++)
		ck_assert_int_eq(visit(A, "10.1.0.1"), CLOSE_banned);
	later(10 * MINUTE_MS - 2000);
	stop();
	must_tell("a: 10.1.0.1 is banned for 10min 0s");
	ck_assert_uint_eq(told_kind(LOG_BANNED), 1);
	ck_assert_uint_eq(told_kind(LOG_UNBANNED), 0);
}
END_TEST

START_TEST(the_end_of_a_ban_is_told)
{
	struct source_share *shares[2][SOURCE_SCOPES];
	configure("ban: { after = 1; for = \"10min\"; };", "limits: { per_source = 1; };", NULL);
	come_in(A, "10.1.0.1", shares[0]);
	come_in(A, "2001:db8::1", shares[1]);
	ck_assert_int_eq(visit(A, "10.1.0.1"), CLOSE_limit_per_source);
	ck_assert_int_eq(visit(A, "2001:db8::1"), CLOSE_limit_per_source);
	leave(shares[0]);
	leave(shares[1]);
	later(10 * MINUTE_MS + 10000);
	stop();
	must_tell("door: 10.1.0.1 is banned for 10min 0s");
	must_tell("door: 2001:db8::/64 is banned for 10min 0s");
	must_tell("door: the ban of 10.1.0.1 has ended");
	must_tell("door: the ban of 2001:db8::/64 has ended");
}
END_TEST

START_TEST(the_doors_ban_counts_and_holds_for_all_listeners)
{
	struct source_share *shares[SOURCE_SCOPES];
	configure("ban: { after = 4; };", "deny = \"10.1.0.0/16\"; limits: { per_source = 1; };", "b");
	come_in(A, "10.2.0.1", shares);
	for (unsigned i = 0; i < 4; i++)
		ck_assert_int_eq(visit(A, "10.2.0.1"), CLOSE_limit_per_source);
	leave(shares);
	ck_assert_int_eq(visit(A, "10.2.0.1"), CLOSE_banned);
	ck_assert_int_eq(visit(B, "10.2.0.1"), CLOSE_banned);
	ck_assert_int_eq(visit(B, "10.2.0.2"), CLOSE_NONE);
	stop();
	must_tell("door: 10.2.0.1 is banned for 10min 0s");
	ck_assert_uint_eq(told_kind(LOG_BANNED), 1);
}
END_TEST

START_TEST(who_is_banned_by_the_door_does_not_offend_the_listener)
{
	struct source_share *shares[SOURCE_SCOPES];
	configure("ban: { after = 3; };", "limits: { per_source = 1; }; ban: { after = 5; };", NULL);
	come_in(A, "10.2.0.1", shares);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(visit(A, "10.2.0.1"), CLOSE_limit_per_source);
	for (unsigned i = 0; i < 20; i++)
		ck_assert_int_eq(visit(A, "10.2.0.1"), CLOSE_banned);
	ck_assert_uint_eq(sources_ban_count(door_sources(door)), 1);
	leave(shares);
}
END_TEST

START_TEST(who_fills_a_limit_of_all_has_nobody_else_banned)
{
	struct source_share *shares[SOURCE_SCOPES];
	configure("ban: { after = 3; }; limits: { rate = \"1/d burst 1\"; };",
		  "ban: { after = 3; }; limits: { connections = 1; };", "b");
	come_in(A, "10.2.0.1", shares);
	atomic_store(&accounts[A]->open, 1);
	for (unsigned i = 0; i < 20; i++) {
		ck_assert_int_eq(visit(A, "10.2.0.2"), CLOSE_limit_connections);
		ck_assert_int_eq(visit(B, "10.2.0.2"), CLOSE_limit_rate);
	}
	configure("ban: { after = 3; };",
		  "tls: { certificate = \"/c.pem\"; }; ban: { after = 3; }; limits: { handshakes = 1; };", "b");
	atomic_store(&accounts[A]->handshakes, 1);
	for (unsigned i = 0; i < 20; i++)
		ck_assert_int_eq(visit(A, "10.2.0.2"), CLOSE_limit_handshakes);
	ck_assert_uint_eq(sources_ban_count(door_sources(door)), 0);
	configure("ban: { after = 3; };", "ban: { after = 3; };", "b");
	ck_assert_int_eq(visit(A, "10.2.0.2"), CLOSE_NONE);
	leave(shares);
}
END_TEST

START_TEST(without_bans_nobody_is_remembered_for_a_refusal)
{
	configure("deny = \"0.0.0.0/0\";", "", NULL);
	for (unsigned i = 0; i < 100; i++)
		ck_assert_int_eq(visit(A, "10.1.0.1"), CLOSE_denied);
	ck_assert_uint_eq(sources_count(door_sources(door)), 0);
}
END_TEST

START_TEST(offences_of_workers_become_a_ban)
{
	struct source_share *first[SOURCE_SCOPES];
	struct source_share *other[SOURCE_SCOPES];
	configure("", "ban: { after = 5; for = \"1h\"; };", "b");
	come_in(A, "10.1.0.1", first);
	come_in(A, "10.1.0.2", other);
	for (unsigned i = 0; i < SOURCE_SCOPES; i++) {
		offend(first[i], 3);
		offend(first[i], 2);
		offend(other[i], 4);
	}
	ck_assert_int_eq(turn(), 1);
	ck_assert_int_eq(turn(), 0); /* the bell was answered */
	ck_assert_int_eq(visit(A, "10.1.0.1"), CLOSE_banned);
	ck_assert_int_eq(visit(B, "10.1.0.1"), CLOSE_NONE);
	ck_assert_int_eq(visit(A, "10.1.0.2"), CLOSE_NONE);
	/* the bell rings again, also after its connection has gone */
	offend(other[ADMISSION_LISTENER], 1);
	leave(first);
	leave(other);
	ck_assert_int_eq(turn(), 1);
	ck_assert_int_eq(visit(A, "10.1.0.2"), CLOSE_banned);
	stop();
	must_tell("a: 10.1.0.1 is banned for 1h 0min");
	must_tell("a: 10.1.0.2 is banned for 1h 0min");
	ck_assert_uint_eq(told_kind(LOG_BANNED), 2);
}
END_TEST

/* More than are looked at at once, and than have a record each. */
#define MANY 250

START_TEST(offences_of_many_are_all_seen)
{
	static struct source_share *shares[MANY][SOURCE_SCOPES];
	char text[32];
	configure("ban: { after = 1; };", "", NULL);
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(text, sizeof(text), "10.1.%u.1", i);
		come_in(A, text, shares[i]);
		offend(shares[i][ADMISSION_DOOR], 1);
		leave(shares[i]);
	}
	ck_assert_int_eq(turn(), 1);
	ck_assert_uint_lt(sources_ban_count(door_sources(door)), MANY);
	while (turn() > 0)
		;
	ck_assert_uint_eq(sources_ban_count(door_sources(door)), MANY);
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(text, sizeof(text), "10.1.%u.1", i);
		ck_assert_int_eq(visit(A, text), CLOSE_banned);
	}
	stop();
	ck_assert_uint_eq(told_kind(LOG_BANNED), BAN_REPORTS_MOST + 1);
	unsigned sums = 0;
	for (unsigned i = 0; i < message_count; i++)
		sums += strstr(messages[i], "50 more sources were banned in ") == messages[i];
	ck_assert_uint_eq(sums, 1);
}
END_TEST

START_TEST(more_bans_than_have_a_record_each_are_told_after_a_minute)
{
	static struct source_share *shares[MANY][SOURCE_SCOPES];
	char text[32];
	configure("ban: { after = 1; };", "", NULL);
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(text, sizeof(text), "10.1.%u.1", i);
		come_in(A, text, shares[i]);
		offend(shares[i][ADMISSION_DOOR], 1);
		leave(shares[i]);
	}
	while (turn() > 0)
		;
	later(2 * MINUTE_MS);
	log_stop(10000);
	ck_assert_uint_eq(told_kind(LOG_BANNED), BAN_REPORTS_MOST + 1);
}
END_TEST

START_TEST(a_reload_keeps_counts_and_bans)
{
	struct source_share *shares[SOURCE_SCOPES];
	static const char limited[] = "limits: { per_source = 1; }; ban: { after = 3; };";
	configure("", limited, "b");
	come_in(A, "10.1.0.1", shares);
	for (unsigned i = 0; i < 2; i++)
		ck_assert_int_eq(visit(A, "10.1.0.1"), CLOSE_limit_per_source);
	configure("", limited, "b");
	ck_assert_int_eq(visit(A, "10.1.0.1"), CLOSE_limit_per_source);
	ck_assert_int_eq(visit(A, "10.1.0.1"), CLOSE_banned);
	leave(shares);
	/* a ban that began goes on when there are none any more */
	configure("", "", "b");
	ck_assert_int_eq(visit(A, "10.1.0.1"), CLOSE_banned);
	later(10 * MINUTE_MS + 10000);
	stop();
	must_tell("a: 10.1.0.1 is banned for 10min 0s");
	must_tell("a: the ban of 10.1.0.1 has ended");
}
END_TEST

START_TEST(a_listener_that_is_gone_bans_nobody)
{
	struct source_share *shares[SOURCE_SCOPES];
	configure("", "ban: { after = 1; };", "b");
	come_in(A, "10.1.0.1", shares);
	accounts[A]->scope = 77; /* another name has taken its place */
	configure("", "ban: { after = 1; };", "b");
	offend(shares[ADMISSION_LISTENER], 1);
	ck_assert_int_eq(turn(), 1);
	ck_assert_uint_eq(sources_ban_count(door_sources(door)), 0);
	leave(shares);
	stop();
	ck_assert_uint_eq(message_count, 0);
}
END_TEST

START_TEST(offences_that_come_while_it_stops_harm_nobody)
{
	struct source_share *shares[SOURCE_SCOPES];
	configure("ban: { after = 1; };", "ban: { after = 1; };", NULL);
	come_in(A, "10.1.0.1", shares);
	door_set(door, NULL, NULL, now_ms);
	for (unsigned i = 0; i < SOURCE_SCOPES; i++)
		offend(shares[i], 1);
	ck_assert_int_eq(turn(), 1);
	later(20 * MINUTE_MS);
	leave(shares);
	stop();
	ck_assert_uint_eq(message_count, 0);
}
END_TEST

START_TEST(overload_is_said_once_and_when_it_ends)
{
	struct source_share *shares[4][SOURCE_SCOPES];
	configure("overload: { percent = 90; };", "", NULL);
	for (unsigned i = 0; i < 4; i++)
		come_in(A, "10.1.0.1", shares[i]);
	door_set_room(door, 100, 1000);
	ck_assert_int_eq(visit(A, "10.1.0.1"), CLOSE_NONE);
	door_set_room(door, 24, 1000);
	for (unsigned i = 0; i < 10; i++)
		ck_assert_int_eq(visit(A, "10.1.0.1"), CLOSE_overload);
	ck_assert_int_eq(visit(A, "10.1.0.2"), CLOSE_NONE);
	later(4000);
	ck_assert_int_eq(visit(A, "10.1.0.1"), CLOSE_overload);
	door_set_room(door, 1000, 1000);
	later(MINUTE_MS / 2);
	ck_assert_int_eq(visit(A, "10.1.0.1"), CLOSE_NONE);
	/* another time */
	door_set_room(door, 24, 1000);
	ck_assert_int_eq(visit(A, "10.1.0.1"), CLOSE_overload);
	for (unsigned i = 0; i < 4; i++)
		leave(shares[i]);
	stop();
	ck_assert_uint_eq(told_kind(LOG_OVERLOAD), 3);
	must_tell("there is room again: no connection is shed any more");
}
END_TEST

START_TEST(who_is_shed_is_not_banned_for_it)
{
	struct source_share *shares[SOURCE_SCOPES];
	configure("ban: { after = 1; };", "ban: { after = 1; };", NULL);
	come_in(A, "10.1.0.1", shares);
	door_set_room(door, 1, 1000);
	for (unsigned i = 0; i < 10; i++)
		ck_assert_int_eq(visit(A, "10.1.0.1"), CLOSE_overload);
	ck_assert_uint_eq(sources_ban_count(door_sources(door)), 0);
	leave(shares);
}
END_TEST

/* From which room on a source that holds one more than its share is shed. */
static uint64_t sheds_below(uint64_t of)
{
	for (uint64_t room = of; room > 0; room--) {
		door_set_room(door, room, of);
		if (visit(A, "10.1.0.1") == CLOSE_overload)
			return room + 1;
	}
	return 0;
}

START_TEST(shedding_begins_at_its_share)
{
	static struct source_share *shares[600][SOURCE_SCOPES];
	configure("overload: { percent = 95; };", "", NULL);
	for (unsigned i = 0; i < ARRAY_LEN(shares); i++)
		come_in(A, "10.1.0.1", shares[i]);
	ck_assert_uint_eq(sheds_below(10000), 500);
	ck_assert_uint_eq(sheds_below(1000), 50);
	ck_assert_uint_eq(sheds_below(199), 16); /* the least that can be shared out */
	ck_assert_uint_eq(sheds_below(80), 10);	 /* but not all that there is */
	ck_assert_uint_eq(sheds_below(10), 0);
	configure("overload: { percent = 50; };", "", NULL);
	ck_assert_uint_eq(sheds_below(199), 100);
	ck_assert_uint_eq(sheds_below(11), 6);
	configure("overload: { percent = 0; };", "", NULL);
	ck_assert_uint_eq(sheds_below(1000), 0);
	for (unsigned i = 0; i < ARRAY_LEN(shares); i++)
		leave(shares[i]);
}
END_TEST

START_TEST(some_descriptors_are_kept_for_trusted_clients)
{
	static const struct {
		unsigned of;
		unsigned reserve;
	} rows[] = {
		{0, 0},	  {7, 0},   {8, 1},	{31, 3},    {32, 4},	   {100, 4},
		{128, 4}, {160, 5}, {1024, 32}, {2048, 64}, {1048576, 64}, {UINT32_MAX, 64},
	};
	for (unsigned percent = 0; percent <= 100; percent += 25) {
		char text[64];
		snprintf(text, sizeof(text), "overload: { percent = %u; };", percent);
		configure(text, "", NULL);
		for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
			ck_assert_uint_eq(door_reserve(door, rows[i].of), percent == 0 ? 0 : rows[i].reserve);
	}
}
END_TEST

/* However few there are, and from whatever share on it sheds: the rest is kept for others. */
START_TEST(without_room_all_are_shed_but_trusted_ones)
{
	for (unsigned percent = 1; percent <= 100; percent += 33) {
		char text[96];
		snprintf(text, sizeof(text), "trusted = \"10.9.0.0/16\"; overload: { percent = %u; };", percent);
		configure(text, "", NULL);
		for (uint64_t of = 1; of < 100000; of = of * 3 + 1) {
			door_set_room(door, 0, of);
			ck_assert_int_eq(visit(A, "10.1.0.1"), CLOSE_overload);
			ck_assert_int_eq(visit(A, "10.9.0.1"), CLOSE_NONE);
		}
	}
	configure("overload: { percent = 0; };", "", NULL);
	door_set_room(door, 0, 1000);
	ck_assert_int_eq(visit(A, "10.1.0.1"), CLOSE_NONE);
}
END_TEST

/* What this process holds. */
static uint64_t held_bytes(void)
{
	unsigned long size;
	unsigned long resident;
	FILE *statm = fopen("/proc/self/statm", "r");
	ck_assert_int_eq(fscanf(statm, "%lu %lu", &size, &resident), 2);
	fclose(statm);
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* As if so many percent of the limit were held. */
static void exceed_memory(unsigned percent)
{
	char text[128];
	uint64_t limit = held_bytes() * 100 / percent;
	snprintf(text, sizeof(text), "trusted = \"10.9.0.0/16\"; overload: { memory = \"%lluB\"; percent = 0; };",
		 (unsigned long long)limit);
	configure(text, "", "b");
}

/* Whoever holds much goes without while memory is short, whatever room there is, and in the end all do. */
START_TEST(memory_counts)
{
	struct source_share *shares[3][SOURCE_SCOPES];
	const size_t much = 128 << 20;
	char *held = malloc(much);
	memset(held, 1, much);
	__asm__ volatile("" : : "r"(held) : "memory");
	exceed_memory(90);
	for (unsigned i = 0; i < 3; i++)
		come_in(A, "10.1.0.1", shares[i]);
	ck_assert_int_eq(visit(A, "10.1.0.1"), CLOSE_NONE);
	exceed_memory(101);
	ck_assert_int_eq(visit(A, "10.1.0.1"), CLOSE_overload);
	ck_assert_int_eq(visit(A, "10.1.0.2"), CLOSE_NONE);
	exceed_memory(108);
	ck_assert_int_eq(visit(A, "10.1.0.2"), CLOSE_NONE);
	exceed_memory(120);
	ck_assert_int_eq(visit(A, "10.1.0.2"), CLOSE_overload);
	ck_assert_int_eq(visit(A, "10.9.0.2"), CLOSE_NONE);
	struct visitor v;
	visitor_from_address(&v, (const struct sockaddr *)&local);
	ck_assert_int_eq(decide(B, &v), CLOSE_overload);
	free(held);
	configure("overload: { percent = 0; };", "", NULL);
	ck_assert_int_eq(visit(A, "10.1.0.1"), CLOSE_NONE);
	for (unsigned i = 0; i < 3; i++)
		leave(shares[i]);
	stop();
	ck_assert_uint_eq(told_kind(LOG_OVERLOAD), 1);
	bool said = false;
	for (unsigned i = 0; i < message_count; i++)
		said = said || strstr(messages[i], "room is short (of memory, of which usherd holds ");
	ck_assert(said);
}
END_TEST

START_TEST(users_of_unix_clients_are_shed_and_not_banned)
{
	struct source_share *shares[SOURCE_SCOPES];
	struct verdict verdict;
	struct visitor v;
	configure("ban: { after = 1; }; limits: { per_source = 1; };", "", "b");
	visitor_from_address(&v, (const struct sockaddr *)&local);
	v.has_credentials = true;
	v.uid = v.gid = 4001;
	for (unsigned i = 0; i < 2; i++) {
		door_decide(door, &sockets[B], &v, now_ms * 1000, &verdict);
		ck_assert_int_eq(verdict.reason, CLOSE_NONE);
	}
	door_let_in(door, &sockets[B], &v, &verdict, now_ms * 1000, shares);
	ck_assert_ptr_null(shares[ADMISSION_LISTENER]);
	ck_assert_int_eq(decide(B, &v), CLOSE_NONE);
	door_set_room(door, 7, 1000);
	ck_assert_int_eq(decide(B, &v), CLOSE_overload);
	v.uid = 4002;
	ck_assert_int_eq(decide(B, &v), CLOSE_NONE);
	v.uid = 4001;
	door_set_room(door, 1000, 1000);
	offend(shares[ADMISSION_DOOR], 20);
	ck_assert_int_eq(turn(), 1);
	ck_assert_int_eq(decide(B, &v), CLOSE_NONE);
	ck_assert_uint_eq(sources_ban_count(door_sources(door)), 0);
	source_closed(source_of(shares[ADMISSION_DOOR]));
	stop();
	must_tell("b: refused 1 connection of unix uid 4001: usherd was short of room, and its source held more than "
		  "others, or there was none (overload)");
}
END_TEST

START_TEST(a_door_that_was_never_opened_goes)
{
	ck_assert_ptr_null(door_destroy(NULL));
	configure("", "", NULL);
	stop();
	ck_assert_uint_eq(message_count, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("front/door");
	TCase *c = tcase_create("door");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, refusals_are_told_in_sums);
	tcase_add_test(c, the_end_tells_what_was_not_told);
	tcase_add_test(c, unix_peers_are_told_by_their_user);
	tcase_add_test(c, refusals_become_a_ban);
	tcase_add_test(c, the_end_of_a_ban_is_told);
	tcase_add_test(c, the_doors_ban_counts_and_holds_for_all_listeners);
	tcase_add_test(c, who_is_banned_by_the_door_does_not_offend_the_listener);
	tcase_add_test(c, who_fills_a_limit_of_all_has_nobody_else_banned);
	tcase_add_test(c, without_bans_nobody_is_remembered_for_a_refusal);
	tcase_add_test(c, offences_of_workers_become_a_ban);
	tcase_add_test(c, offences_of_many_are_all_seen);
	tcase_add_test(c, more_bans_than_have_a_record_each_are_told_after_a_minute);
	tcase_add_test(c, a_reload_keeps_counts_and_bans);
	tcase_add_test(c, a_listener_that_is_gone_bans_nobody);
	tcase_add_test(c, offences_that_come_while_it_stops_harm_nobody);
	tcase_add_test(c, overload_is_said_once_and_when_it_ends);
	tcase_add_test(c, who_is_shed_is_not_banned_for_it);
	tcase_add_test(c, shedding_begins_at_its_share);
	tcase_add_test(c, some_descriptors_are_kept_for_trusted_clients);
	tcase_add_test(c, without_room_all_are_shed_but_trusted_ones);
	tcase_add_test(c, memory_counts);
	tcase_add_test(c, users_of_unix_clients_are_shed_and_not_banned);
	tcase_add_test(c, a_door_that_was_never_opened_goes);
	suite_add_tcase(s, c);
	return suite_run(s);
}

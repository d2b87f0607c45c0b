/* SPDX-License-Identifier: MIT */
/* The whole table of decisions, with a clock that a test sets. */
#include "front/admission.h"

#include <check.h>
#include <stdlib.h>
#include <sys/un.h>

#include "../config/folder.h"
#include "../suite.h"
#include "base/netaddr.h"
#include "service/service.h"

#define A 0 /* a listener with TCP */
#define B 1 /* one with a UNIX socket */
#define LISTENERS 2
#define ENTRIES 1024
#define STEPS_MOST 32
#define SECOND_MS 1000

/* What is told of a decision. */
struct step {
	enum admission_scope scope;
	char rule[32];
	bool refuses;
	char words[96];
	char entry[64]; /* "": no list has the visitor, or it is no list */
	unsigned line;	/* of a list file */
};

static struct config *config;
static struct rules *rules;
static struct sources *sources;
static struct account *accounts[LISTENERS];
static struct rate_bucket arrivals;
static uint64_t now_ms;
static uint64_t open_in_all;
static uint64_t handshakes_in_all;
static uint64_t room;
static uint64_t tight;
static struct step steps[STEPS_MOST];
static unsigned step_count;
static struct verdict verdict; /* of the last decision */

static void setup(void)
{
	folder_create();
	role_enter_main();
	sources = sources_create(ENTRIES);
	ck_assert_ptr_nonnull(sources);
	for (unsigned i = 0; i < LISTENERS; i++) {
		accounts[i] = account_create();
		ck_assert_ptr_nonnull(accounts[i]);
		accounts[i]->scope = (uint16_t)(i + 1);
	}
	now_ms = 1000000;
	room = 1000;
}

static void teardown(void)
{
	rules = rules_destroy(rules);
	config = config_unref(config);
	sources = sources_destroy(sources);
	for (unsigned i = 0; i < LISTENERS; i++)
		account_unref(accounts[i]);
	role_leave_main();
	folder_remove();
}

/* A configuration with these lines, as after a start or a reload. */
static void configure(const char *door, const char *a, const char *b)
{
	char text[4096];
	struct config *next;
	struct rules *next_rules;
	struct config_errors *errors = config_errors_create();
	snprintf(text, sizeof(text),
		 "door: { %s };\nlisteners: { a: { listen = \"127.0.0.1:0\"; echo: {};\n%s\n};\n b: { listen = "
		 "\"unix:/tmp/b.sock\"; echo: {};\n%s\n}; };\n",
		 door, a, b);
	int failed = config_load_text("test", text, strlen(text), service_groups(), &next, errors);
	ck_assert_msg(failed == 0, "%s", config_errors_line(errors, 0));
	failed = rules_load(next, rules, errors, &next_rules);
	ck_assert_msg(failed == 0, "%s", config_errors_line(errors, 0));
	config_errors_destroy(errors);
	rules_destroy(rules);
	config_unref(config);
	rules = next_rules;
	config = next;
}

static void note_step(void *arg, enum admission_scope scope, const char *rule, bool refuses, const char *words,
		      const struct rule_found *found)
{
	ck_assert_ptr_eq(arg, &steps);
	ck_assert_uint_lt(step_count, STEPS_MOST);
	struct step *s = &steps[step_count++];
	*s = (struct step){.scope = scope, .refuses = refuses};
	snprintf(s->rule, sizeof(s->rule), "%s", rule);
	snprintf(s->words, sizeof(s->words), "%s", words);
	if (found) {
		snprintf(s->entry, sizeof(s->entry), "%s", found->entry);
		s->line = found->line;
	}
}

static struct admission tables(void)
{
	return (struct admission){
		.config = config,
		.rules = rules,
		.sources = sources,
		.open = open_in_all,
		.handshakes = handshakes_in_all,
		.arrivals = &arrivals,
		.room = room,
		.tight = tight,
	};
}

static struct admission_request request(unsigned listener, const struct visitor *v)
{
	return (struct admission_request){
		.listener = &config->listeners[listener],
		.number = listener,
		.account = accounts[listener],
		.visitor = v,
		.now_ms = now_ms,
		.now_ns = now_ms * 1000000,
	};
}

/* Decides twice, with and without telling its steps: the answers are the same, and the tables as before. */
static enum close_reason decide_about(unsigned listener, const struct visitor *v)
{
	struct admission a = tables();
	struct admission_request r = request(listener, v);
	struct verdict silent;
	unsigned entries = sources_count(sources);
	uint64_t bucket = atomic_load(&arrivals.full_at);
	step_count = 0;
	admission_decide(&a, &r, &verdict, note_step, &steps);
	admission_decide(&a, &r, &silent, NULL, NULL);
	ck_assert_int_eq(silent.reason, verdict.reason);
	ck_assert_int_eq(silent.scope, verdict.scope);
	ck_assert_int_eq(silent.action, verdict.action);
	ck_assert(silent.trusted == verdict.trusted);
	ck_assert(silent.has_source == verdict.has_source);
	ck_assert_uint_eq(sources_count(sources), entries);
	ck_assert_uint_eq(atomic_load(&arrivals.full_at), bucket);
	/* what refuses is the last that is told, and there is only one such */
	for (unsigned i = 0; i < step_count; i++)
		ck_assert(steps[i].refuses == (verdict.reason != CLOSE_NONE && i + 1 == step_count));
	ck_assert(verdict.reason == CLOSE_NONE || step_count > 0);
	return verdict.reason;
}

static struct netaddr address;

static struct visitor from(const char *text)
{
	struct visitor v;
	ck_assert_int_eq(netaddr_parse_ip(&address, text, strlen(text), 4711), 0);
	visitor_from_address(&v, &address.u.any);
	return v;
}

static enum close_reason ask(unsigned listener, const char *text)
{
	struct visitor v = from(text);
	return decide_about(listener, &v);
}

/* What one that came in holds. */
struct seat_taken {
	unsigned listener;
	struct source_share *shares[SOURCE_SCOPES];
};

static struct seat_taken let_in(unsigned listener, const struct visitor *v)
{
	struct seat_taken seat = {.listener = listener};
	struct admission a = tables();
	struct admission_request r = request(listener, v);
	admission_take(&a, &r, &verdict, accounts[listener], seat.shares);
	atomic_fetch_add(&accounts[listener]->open, 1);
	open_in_all++;
	return seat;
}

/* One that comes, and stays if it may. */
static enum close_reason come(unsigned listener, const char *text, struct seat_taken *seat)
{
	struct visitor v = from(text);
	struct seat_taken taken;
	if (decide_about(listener, &v) != CLOSE_NONE)
		return verdict.reason;
	taken = let_in(listener, &v);
	if (seat)
		*seat = taken;
	return CLOSE_NONE;
}

static void leave(struct seat_taken *seat)
{
	for (unsigned i = 0; i < SOURCE_SCOPES; i++) {
		if (seat->shares[i])
			source_closed(source_of(seat->shares[i]));
	}
	atomic_fetch_sub(&accounts[seat->listener]->open, 1);
	open_in_all--;
}

/* Comes and goes. */
static enum close_reason visit(unsigned listener, const char *text)
{
	struct seat_taken seat;
	enum close_reason reason = come(listener, text, &seat);
	if (reason == CLOSE_NONE)
		leave(&seat);
	return reason;
}

static struct source *source_at(const char *text, uint16_t scope)
{
	const struct source_prefixes prefixes = {.ipv4 = (unsigned)config->door.sources.ipv4_prefix,
						 .ipv6 = (unsigned)config->door.sources.ipv6_prefix};
	struct visitor v = from(text);
	struct source_key key;
	ck_assert(source_key_of(&key, v.address, &prefixes, scope));
	return sources_get(sources, &key, now_ms);
}

static void ban(const char *text, uint16_t scope, uint64_t for_ms)
{
	ck_assert(source_ban(sources, source_at(text, scope), for_ms, now_ms));
}

static const struct sockaddr_un local = {.sun_family = AF_UNIX};

static struct visitor neighbour(uid_t uid, gid_t gid)
{
	struct visitor v;
	memset(&v, 0xee, sizeof(v)); /* what was not asked for is not looked at */
	visitor_from_address(&v, (const struct sockaddr *)&local);
	v.has_credentials = true;
	v.uid = uid;
	v.gid = gid;
	return v;
}

static struct visitor stranger(void)
{
	struct visitor v;
	memset(&v, 0xee, sizeof(v));
	visitor_from_address(&v, (const struct sockaddr *)&local);
	return v;
}

static enum close_reason ask_neighbour(const struct visitor *v)
{
	return decide_about(B, v);
}

static void must_step(unsigned i, enum admission_scope scope, const char *rule, const char *entry)
{
	ck_assert_uint_lt(i, step_count);
	ck_assert_int_eq(steps[i].scope, scope);
	ck_assert_str_eq(steps[i].rule, rule);
	ck_assert_str_eq(steps[i].entry, entry);
}

#define must_refuse(reason_, scope_, action_)                                                                          \
	do {                                                                                                           \
		ck_assert_int_eq(verdict.reason, reason_);                                                             \
		ck_assert_int_eq(verdict.scope, scope_);                                                               \
		ck_assert_int_eq(verdict.action, action_);                                                             \
	} while (0)

START_TEST(without_rules_all_come_in)
{
	configure("", "", "");
	struct visitor neighbours[] = {neighbour(0, 0), neighbour(4001, 4001), stranger()};
	ck_assert_int_eq(ask(A, "10.0.0.1"), CLOSE_NONE);
	ck_assert(verdict.has_source);
	ck_assert(!verdict.trusted);
	ck_assert_uint_eq(verdict.source[ADMISSION_DOOR].scope, 0);
	ck_assert_uint_eq(verdict.source[ADMISSION_LISTENER].scope, accounts[A]->scope);
	ck_assert_int_eq(ask(A, "2001:db8::1"), CLOSE_NONE);
	atomic_store(&accounts[A]->open, 4000000000U);
	open_in_all = UINT64_C(1) << 40;
	ck_assert_int_eq(ask(A, "10.0.0.1"), CLOSE_NONE);
	for (unsigned i = 0; i < ARRAY_LEN(neighbours); i++) {
		ck_assert_int_eq(ask_neighbour(&neighbours[i]), CLOSE_NONE);
		ck_assert(!verdict.has_source);
	}
}
END_TEST

START_TEST(deny_of_either_scope_refuses)
{
	configure("deny = \"10.1.0.0/16\";", "deny = \"10.2.0.0/16\";", "");
	ck_assert_int_eq(ask(A, "10.1.0.1"), CLOSE_denied);
	must_refuse(CLOSE_denied, ADMISSION_DOOR, AT_LIMIT_RESET);
	ck_assert_int_eq(ask(A, "10.2.0.1"), CLOSE_denied);
	must_refuse(CLOSE_denied, ADMISSION_LISTENER, AT_LIMIT_RESET);
	ck_assert_int_eq(ask(A, "10.3.0.1"), CLOSE_NONE);
	/* who was denied has a source all the same: as whose refusal it is told */
	ck_assert_int_eq(ask(A, "10.1.0.1"), CLOSE_denied);
	ck_assert(verdict.has_source);
}
END_TEST

START_TEST(both_allow_lists_must_have_the_client)
{
	configure("allow = [ \"10.0.0.0/8\", \"fd00::/8\" ];", "allow = [ \"10.1.0.0/16\", \"192.0.2.1\" ];", "");
	ck_assert_int_eq(ask(A, "10.1.0.1"), CLOSE_NONE);
	ck_assert_int_eq(ask(A, "192.0.2.1"), CLOSE_not_allowed);
	must_refuse(CLOSE_not_allowed, ADMISSION_DOOR, AT_LIMIT_RESET);
	ck_assert_int_eq(ask(A, "10.2.0.1"), CLOSE_not_allowed);
	must_refuse(CLOSE_not_allowed, ADMISSION_LISTENER, AT_LIMIT_RESET);
	ck_assert_int_eq(ask(A, "fd00::1"), CLOSE_not_allowed);
	must_refuse(CLOSE_not_allowed, ADMISSION_LISTENER, AT_LIMIT_RESET);
	/* the other listener has no list of its own, and its clients no address */
	struct visitor v = neighbour(0, 0);
	ck_assert_int_eq(ask_neighbour(&v), CLOSE_not_allowed);
	must_refuse(CLOSE_not_allowed, ADMISSION_DOOR, AT_LIMIT_RESET);
}
END_TEST

START_TEST(deny_wins_over_allow_and_trusted)
{
	configure("deny = \"10.1.0.0/16\"; trusted = \"10.0.0.0/8\"; allow = \"10.0.0.0/8\";",
		  "allow = \"10.0.0.0/8\"; deny = \"10.2.0.0/16\"; trusted = \"10.0.0.0/8\";", "");
	ck_assert_int_eq(ask(A, "10.1.2.3"), CLOSE_denied);
	ck_assert_int_eq(ask(A, "10.2.2.3"), CLOSE_denied);
	must_refuse(CLOSE_denied, ADMISSION_LISTENER, AT_LIMIT_RESET);
	ck_assert_int_eq(ask(A, "10.3.2.3"), CLOSE_NONE);
	ck_assert(verdict.trusted);
	/* the listener's own allow does not open what the door keeps shut */
	ck_assert_int_eq(ask(A, "11.0.0.1"), CLOSE_not_allowed);
}
END_TEST

START_TEST(who_is_trusted_must_be_allowed)
{
	configure("trusted = \"10.0.0.1\";", "allow = \"10.0.0.2\";", "");
	ck_assert_int_eq(ask(A, "10.0.0.1"), CLOSE_not_allowed);
	ck_assert_int_eq(ask(A, "10.0.0.2"), CLOSE_NONE);
	ck_assert(!verdict.trusted);
}
END_TEST

START_TEST(an_allow_list_of_empty_files_lets_nobody_in)
{
	folder_write("none.txt", "# nobody yet\n");
	configure("deny = \"file:none.txt\";", "allow = \"file:none.txt\";", "");
	ck_assert_int_eq(ask(A, "10.0.0.1"), CLOSE_not_allowed);
	must_refuse(CLOSE_not_allowed, ADMISSION_LISTENER, AT_LIMIT_RESET);
	configure("deny = \"file:none.txt\";", "allow = [];", "");
	ck_assert_int_eq(ask(A, "10.0.0.1"), CLOSE_NONE);
}
END_TEST

START_TEST(list_files_decide_like_lists)
{
	folder_write("bad.txt", "# networks\n10.1.0.0/16\n2001:db8:bad::/48 # and this\n");
	configure("deny = [ \"192.0.2.0/24\", \"file:bad.txt\" ];", "", "");
	ck_assert_int_eq(ask(A, "10.1.255.255"), CLOSE_denied);
	must_step(0, ADMISSION_DOOR, "deny", "file:bad.txt");
	ck_assert_uint_eq(steps[0].line, 2);
	ck_assert_int_eq(ask(A, "2001:db8:bad::1"), CLOSE_denied);
	ck_assert_uint_eq(steps[0].line, 3);
	ck_assert_int_eq(ask(A, "192.0.2.9"), CLOSE_denied);
	must_step(0, ADMISSION_DOOR, "deny", "192.0.2.0/24");
	ck_assert_int_eq(ask(A, "10.2.0.0"), CLOSE_NONE);
}
END_TEST

START_TEST(a_mapped_address_is_the_ipv4_one)
{
	struct visitor v;
	struct sockaddr_in6 mapped = {.sin6_family = AF_INET6, .sin6_port = htons(1)};
	memcpy(&mapped.sin6_addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x01\x00\x01", 16);
	visitor_from_address(&v, (const struct sockaddr *)&mapped);
	configure("deny = \"10.1.0.0/16\";", "", "");
	ck_assert_int_eq(decide_about(A, &v), CLOSE_denied);
	configure("deny = \"::/0\";", "", "");
	ck_assert_int_eq(decide_about(A, &v), CLOSE_NONE);
	configure("", "limits: { per_source = 1; };", "");
	ck_assert_int_eq(come(A, "10.1.0.1", NULL), CLOSE_NONE);
	ck_assert_int_eq(decide_about(A, &v), CLOSE_limit_per_source);
}
END_TEST

START_TEST(a_zone_does_not_count)
{
	configure("", "allow = \"fe80::/10\"; limits: { per_source = 1; };", "");
	ck_assert_int_eq(ask(A, "fe80::1%1"), CLOSE_NONE);
	ck_assert_int_eq(come(A, "fe80::1%1", NULL), CLOSE_NONE);
	struct visitor v = from("fe80::2");
	address.u.in6.sin6_scope_id = 7; /* another link; the same /64 */
	ck_assert_int_eq(decide_about(A, &v), CLOSE_limit_per_source);
	ban("fe80::1", 0, 60 * SECOND_MS);
	ck_assert_int_eq(ask(A, "fe80::9%1"), CLOSE_banned);
}
END_TEST

/* Each source has two entries, door's and the listener's. */
START_TEST(those_for_whom_there_is_no_room_have_the_limits_of_one)
{
	struct seat_taken seats[3];
	sources = sources_destroy(sources);
	sources = sources_create(4);
	configure("", "limits: { per_source = 1; };", "");
	ck_assert_int_eq(come(A, "10.0.0.1", &seats[0]), CLOSE_NONE);
	ck_assert_int_eq(come(A, "10.0.0.2", &seats[1]), CLOSE_NONE);
	ck_assert_int_eq(come(A, "10.0.0.3", &seats[2]), CLOSE_NONE);
	ck_assert_int_eq(ask(A, "10.0.0.3"), CLOSE_limit_per_source);
	ck_assert_int_eq(ask(A, "10.0.0.4"), CLOSE_limit_per_source);
	ck_assert_int_eq(ask(A, "10.0.0.1"), CLOSE_limit_per_source);
	/* there is room again when one of those who have an entry goes */
	leave(&seats[0]);
	ck_assert_int_eq(ask(A, "10.0.0.4"), CLOSE_NONE);
	leave(&seats[1]);
	leave(&seats[2]);
}
END_TEST

START_TEST(unix_peers_are_let_in_by_who_they_are)
{
	struct visitor by_uid = neighbour(4001, 4711);
	struct visitor by_gid = neighbour(4711, 4002);
	struct visitor by_group = neighbour(4711, 4711);
	struct visitor by_unit = neighbour(4712, 4711);
	struct visitor root = neighbour(0, 0);
	struct visitor other = neighbour(4003, 4003);
	struct visitor unknown = stranger();
	by_group.group_count = 2;
	by_group.groups[0] = 99;
	by_group.groups[1] = 4002;
	strcpy(by_unit.unit, "backup.service");
	configure("deny = \"uid:4003\";", "",
		  "allow = [ \"uid:4001\", \"gid:4002\", \"unit:backup.service\", \"user:root\" ]; deny = "
		  "\"uid:4294967294\";");
	ck_assert_int_eq(ask_neighbour(&by_uid), CLOSE_NONE);
	ck_assert_int_eq(ask_neighbour(&by_gid), CLOSE_NONE);
	ck_assert_int_eq(ask_neighbour(&by_group), CLOSE_NONE);
	ck_assert_int_eq(ask_neighbour(&by_unit), CLOSE_NONE);
	ck_assert_int_eq(ask_neighbour(&root), CLOSE_NONE);
	ck_assert_int_eq(ask_neighbour(&other), CLOSE_denied);
	ck_assert(!verdict.has_source);
	/* one of whom the kernel knows nothing may be whom they deny, and is not whom they allow */
	ck_assert_int_eq(ask_neighbour(&unknown), CLOSE_denied);
	configure("deny = \"10.0.0.0/8\";", "", "allow = \"uid:4001\";");
	ck_assert_int_eq(ask_neighbour(&unknown), CLOSE_not_allowed);
	configure("", "", "deny = \"uid:4001\";");
	ck_assert_int_eq(ask_neighbour(&unknown), CLOSE_denied);
	ck_assert_int_eq(ask_neighbour(&by_uid), CLOSE_denied);
	ck_assert_int_eq(ask_neighbour(&other), CLOSE_NONE);
}
END_TEST

START_TEST(who_is_in_too_many_groups_does_not_get_past_a_deny)
{
	struct visitor v = neighbour(4001, 4001);
	v.groups_hidden = true;
	configure("", "", "deny = \"gid:4002\";");
	ck_assert_int_eq(ask_neighbour(&v), CLOSE_denied);
	configure("", "", "deny = \"group:root\";");
	ck_assert_int_eq(ask_neighbour(&v), CLOSE_denied);
	configure("", "", "deny = [ \"uid:4002\", \"unit:backup.service\" ];");
	ck_assert_int_eq(ask_neighbour(&v), CLOSE_NONE);
	configure("", "", "allow = \"gid:4002\";");
	ck_assert_int_eq(ask_neighbour(&v), CLOSE_not_allowed);
}
END_TEST

/* Whoever connects and ends before it is asked about has no unit: it must not be a way past a deny. */
START_TEST(who_hides_its_unit_does_not_get_past_a_deny)
{
	struct visitor v = neighbour(4001, 4001);
	configure("", "", "deny = \"unit:backup.service\";");
	ck_assert_int_eq(ask_neighbour(&v), CLOSE_NONE);
	v.unit_hidden = true;
	ck_assert_int_eq(ask_neighbour(&v), CLOSE_denied);
	ck_assert_int_eq(verdict.scope, ADMISSION_LISTENER);
	configure("deny = \"unit:backup.service\";", "", "");
	ck_assert_int_eq(ask_neighbour(&v), CLOSE_denied);
	ck_assert_int_eq(verdict.scope, ADMISSION_DOOR);
	ck_assert_int_eq(ask(A, "10.0.0.1"), CLOSE_NONE);
	/* where no unit is denied it does not matter */
	configure("", "", "deny = \"uid:4002\"; allow = [ \"unit:backup.service\", \"uid:4001\" ];");
	ck_assert_int_eq(ask_neighbour(&v), CLOSE_NONE);
}
END_TEST

START_TEST(unix_peers_have_no_limits_of_a_source)
{
	struct visitor v = neighbour(4001, 4001);
	configure("limits: { per_source = 1; rate_per_source = \"1/min\"; }; ban: {};", "",
		  "limits: { per_source = 1; rate_per_source = \"1/min\"; }; ban: {};");
	for (unsigned i = 0; i < 5; i++) {
		ck_assert_int_eq(ask_neighbour(&v), CLOSE_NONE);
		struct seat_taken seat = let_in(B, &v);
		ck_assert_ptr_null(seat.shares[ADMISSION_LISTENER]);
		struct source *user = source_of(seat.shares[ADMISSION_DOOR]);
		ck_assert(rate_is_full(source_arrivals(user), now_ms * 1000000));
		ck_assert(source_key_is_user(source_key(user)));
		ck_assert_uint_eq(source_open(user), i + 1);
	}
	ck_assert_uint_eq(sources_count(sources), 1);
	/* the limits that do not ask where one comes from are theirs too */
	configure("", "", "limits: { connections = 5; at_limit = \"close\"; };");
	ck_assert_int_eq(ask_neighbour(&v), CLOSE_limit_connections);
	must_refuse(CLOSE_limit_connections, ADMISSION_LISTENER, AT_LIMIT_CLOSE);
	configure("trusted = \"uid:4001\";", "", "limits: { connections = 5; };");
	ck_assert_int_eq(ask_neighbour(&v), CLOSE_NONE);
}
END_TEST

START_TEST(the_limit_is_the_most_that_are_open)
{
	struct seat_taken seat;
	configure("", "limits: { connections = 3; };", "");
	ck_assert_int_eq(come(A, "10.0.0.1", &seat), CLOSE_NONE);
	ck_assert_int_eq(come(A, "10.0.0.2", NULL), CLOSE_NONE);
	ck_assert_int_eq(come(A, "2001:db8::1", NULL), CLOSE_NONE);
	ck_assert_int_eq(come(A, "10.0.0.3", NULL), CLOSE_limit_connections);
	must_refuse(CLOSE_limit_connections, ADMISSION_LISTENER, AT_LIMIT_RESET);
	leave(&seat);
	ck_assert_int_eq(come(A, "10.0.0.3", NULL), CLOSE_NONE);
	/* after a reload that lowered it those who are in stay, and nobody more comes */
	configure("", "limits: { connections = 1; };", "");
	ck_assert_int_eq(come(A, "10.0.0.4", NULL), CLOSE_limit_connections);
	configure("", "limits: { connections = 4; };", "");
	ck_assert_int_eq(come(A, "10.0.0.4", NULL), CLOSE_NONE);
	ck_assert_int_eq(come(A, "10.0.0.4", NULL), CLOSE_limit_connections);
}
END_TEST

START_TEST(the_doors_limit_is_that_of_all_listeners)
{
	struct visitor v = neighbour(0, 0);
	configure("limits: { connections = 2; at_limit = \"wait\"; };", "limits: { connections = 2; };", "");
	ck_assert_int_eq(come(A, "10.0.0.1", NULL), CLOSE_NONE);
	ck_assert_int_eq(ask_neighbour(&v), CLOSE_NONE);
	(void)let_in(B, &v);
	ck_assert_int_eq(ask(A, "10.0.0.1"), CLOSE_limit_connections);
	must_refuse(CLOSE_limit_connections, ADMISSION_DOOR, AT_LIMIT_WAIT);
	ck_assert_int_eq(ask_neighbour(&v), CLOSE_limit_connections);
}
END_TEST

#define TLS "tls: { certificate = \"/c.pem\"; };"

START_TEST(handshakes_are_limited_where_there_is_tls)
{
	static const char *const at_limit[] = {"reset", "close", "wait"};
	for (unsigned i = 0; i < ARRAY_LEN(at_limit); i++) {
		char a[256];
		snprintf(a, sizeof(a), TLS "limits: { handshakes = 3; at_limit = \"%s\"; };", at_limit[i]);
		configure("", a, "limits: { handshakes = 3; };");
		atomic_store(&accounts[A]->handshakes, 2);
		ck_assert_int_eq(ask(A, "10.0.0.1"), CLOSE_NONE);
		atomic_store(&accounts[A]->handshakes, 3);
		atomic_store(&accounts[B]->handshakes, 3);
		ck_assert_int_eq(ask(A, "10.0.0.1"), CLOSE_limit_handshakes);
		must_refuse(CLOSE_limit_handshakes, ADMISSION_LISTENER, i);
		/* nobody knows when one is over */
		ck_assert_uint_eq(verdict.wait_ns, 0);
		struct visitor v = neighbour(4001, 4001);
		ck_assert_int_eq(ask_neighbour(&v), CLOSE_NONE);
	}
	configure("", TLS "limits: { handshakes = 0; };", "");
	atomic_store(&accounts[A]->handshakes, 1000000);
	ck_assert_int_eq(ask(A, "10.0.0.1"), CLOSE_NONE);
}
END_TEST

START_TEST(the_doors_handshakes_are_those_of_all_listeners)
{
	struct visitor v = neighbour(4001, 4001);
	configure("limits: { handshakes = 5; at_limit = \"close\"; };", TLS "limits: { handshakes = 3; };", "");
	atomic_store(&accounts[A]->handshakes, 2);
	handshakes_in_all = 4;
	ck_assert_int_eq(ask(A, "10.0.0.1"), CLOSE_NONE);
	must_step(step_count - 2, ADMISSION_DOOR, "limits.handshakes", "");
	ck_assert_str_eq(steps[step_count - 2].words, "4 of 5 are under way");
	must_step(step_count - 1, ADMISSION_LISTENER, "limits.handshakes", "");
	ck_assert_str_eq(steps[step_count - 1].words, "2 of 3 are under way");
	handshakes_in_all = 5;
	ck_assert_int_eq(ask(A, "10.0.0.1"), CLOSE_limit_handshakes);
	must_refuse(CLOSE_limit_handshakes, ADMISSION_DOOR, AT_LIMIT_CLOSE);
	/* who comes without TLS begins none */
	ck_assert_int_eq(ask_neighbour(&v), CLOSE_NONE);
	for (unsigned i = 0; i < step_count; i++)
		ck_assert_str_ne(steps[i].rule, "limits.handshakes");
	configure("limits: { handshakes = 5; at_limit = \"close\"; };", "", TLS);
	ck_assert_int_eq(ask_neighbour(&v), CLOSE_limit_handshakes);
}
END_TEST

START_TEST(sources_have_limits_of_their_own)
{
	struct seat_taken seat;
	configure("", "limits: { per_source = 2; at_limit = \"close\"; };", "");
	ck_assert_int_eq(come(A, "10.0.0.1", &seat), CLOSE_NONE);
	ck_assert_int_eq(come(A, "10.0.0.1", NULL), CLOSE_NONE);
	ck_assert_int_eq(come(A, "10.0.0.1", NULL), CLOSE_limit_per_source);
	must_refuse(CLOSE_limit_per_source, ADMISSION_LISTENER, AT_LIMIT_CLOSE);
	ck_assert_int_eq(come(A, "10.0.0.2", NULL), CLOSE_NONE);
	/* a /64 is one */
	ck_assert_int_eq(come(A, "2001:db8::1", NULL), CLOSE_NONE);
	ck_assert_int_eq(come(A, "2001:db8::ffff:ffff:ffff:ffff", NULL), CLOSE_NONE);
	ck_assert_int_eq(come(A, "2001:db8::2", NULL), CLOSE_limit_per_source);
	ck_assert_int_eq(come(A, "2001:db8:0:1::2", NULL), CLOSE_NONE);
	leave(&seat);
	ck_assert_int_eq(come(A, "10.0.0.1", NULL), CLOSE_NONE);
	/* a lower limit cuts nobody */
	configure("", "limits: { per_source = 1; };", "");
	ck_assert_int_eq(come(A, "10.0.0.1", NULL), CLOSE_limit_per_source);
	ck_assert_int_eq(come(A, "10.0.0.2", NULL), CLOSE_limit_per_source);
	ck_assert_int_eq(come(A, "10.0.0.3", NULL), CLOSE_NONE);
}
END_TEST

START_TEST(what_a_source_is_can_be_set)
{
	configure("sources: { ipv4_prefix = 24; ipv6_prefix = 48; };", "limits: { per_source = 1; };", "");
	ck_assert_int_eq(come(A, "10.0.0.1", NULL), CLOSE_NONE);
	ck_assert_int_eq(come(A, "10.0.0.255", NULL), CLOSE_limit_per_source);
	ck_assert_int_eq(come(A, "10.0.1.1", NULL), CLOSE_NONE);
	ck_assert_int_eq(come(A, "2001:db8::1", NULL), CLOSE_NONE);
	ck_assert_int_eq(come(A, "2001:db8:0:ffff::1", NULL), CLOSE_limit_per_source);
	ck_assert_int_eq(come(A, "2001:db8:1::1", NULL), CLOSE_NONE);
}
END_TEST

START_TEST(the_doors_limit_of_a_source_is_that_of_all_listeners)
{
	configure("limits: { per_source = 2; at_limit = \"close\"; };", "limits: { per_source = 1; };", "");
	/* as if it had another listener */
	source_opened(sources, source_at("10.0.0.1", 0));
	source_opened(sources, source_at("10.0.0.1", 4711));
	ck_assert_int_eq(come(A, "10.0.0.1", NULL), CLOSE_NONE);
	ck_assert_int_eq(come(A, "10.0.0.1", NULL), CLOSE_limit_per_source);
	must_refuse(CLOSE_limit_per_source, ADMISSION_DOOR, AT_LIMIT_CLOSE);
	ck_assert_int_eq(come(A, "10.0.0.2", NULL), CLOSE_NONE);
	ck_assert_int_eq(come(A, "10.0.0.2", NULL), CLOSE_limit_per_source);
	must_refuse(CLOSE_limit_per_source, ADMISSION_LISTENER, AT_LIMIT_RESET);
}
END_TEST

START_TEST(new_connections_have_a_rate)
{
	configure("", "limits: { rate = \"2/s burst 3\"; };", "");
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(visit(A, i % 2 ? "10.0.0.1" : "10.0.0.2"), CLOSE_NONE);
	ck_assert_int_eq(visit(A, "10.0.0.3"), CLOSE_limit_rate);
	must_refuse(CLOSE_limit_rate, ADMISSION_LISTENER, AT_LIMIT_RESET);
	now_ms += 499;
	ck_assert_int_eq(visit(A, "10.0.0.3"), CLOSE_limit_rate);
	now_ms += 1;
	ck_assert_int_eq(visit(A, "10.0.0.3"), CLOSE_NONE);
	ck_assert_int_eq(visit(A, "10.0.0.3"), CLOSE_limit_rate);
	now_ms += 3600 * SECOND_MS;
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(visit(A, "10.0.0.1"), CLOSE_NONE);
	ck_assert_int_eq(visit(A, "10.0.0.1"), CLOSE_limit_rate);
}
END_TEST

static void must_wait_ms(uint64_t ms)
{
	ck_assert_uint_gt(verdict.wait_ns, (ms - 1) * 1000000);
	ck_assert_uint_le(verdict.wait_ns, ms * 1000000);
}

/* However often it is asked: to ask takes nothing. */
START_TEST(a_rate_says_when_it_has_something_again)
{
	configure("", "limits: { rate = \"2/s burst 1\"; rate_per_source = \"1/s burst 1\"; at_limit = \"wait\"; };",
		  "");
	ck_assert_int_eq(visit(A, "10.0.0.1"), CLOSE_NONE);
	ck_assert_uint_eq(verdict.wait_ns, 0);
	for (unsigned i = 0; i < 3; i++) {
		ck_assert_int_eq(visit(A, "10.0.0.2"), CLOSE_limit_rate);
		must_refuse(CLOSE_limit_rate, ADMISSION_LISTENER, AT_LIMIT_WAIT);
		must_wait_ms(500);
		ck_assert_int_eq(visit(A, "10.0.0.1"), CLOSE_limit_rate_per_source);
		must_wait_ms(1000);
	}
	now_ms += 300;
	ck_assert_int_eq(visit(A, "10.0.0.2"), CLOSE_limit_rate);
	must_wait_ms(200);
	now_ms += 200;
	ck_assert_int_eq(visit(A, "10.0.0.2"), CLOSE_NONE);
	ck_assert_uint_eq(verdict.wait_ns, 0);
	/* other limits do not know */
	configure("", "limits: { per_source = 1; at_limit = \"wait\"; };", "");
	ck_assert_int_eq(come(A, "10.0.0.3", NULL), CLOSE_NONE);
	ck_assert_int_eq(come(A, "10.0.0.3", NULL), CLOSE_limit_per_source);
	ck_assert_uint_eq(verdict.wait_ns, 0);
}
END_TEST

START_TEST(the_doors_rate_is_that_of_all_listeners)
{
	struct visitor v = neighbour(0, 0);
	configure("limits: { rate = \"1/s burst 2\"; at_limit = \"close\"; };", "", "");
	ck_assert_int_eq(visit(A, "10.0.0.1"), CLOSE_NONE);
	ck_assert_int_eq(ask_neighbour(&v), CLOSE_NONE);
	(void)let_in(B, &v);
	ck_assert_int_eq(ask_neighbour(&v), CLOSE_limit_rate);
	must_refuse(CLOSE_limit_rate, ADMISSION_DOOR, AT_LIMIT_CLOSE);
	ck_assert_int_eq(visit(A, "10.0.0.2"), CLOSE_limit_rate);
	now_ms += SECOND_MS;
	ck_assert_int_eq(visit(A, "10.0.0.2"), CLOSE_NONE);
}
END_TEST

START_TEST(sources_have_rates_of_their_own)
{
	configure("", "limits: { rate_per_source = \"1/s burst 2\"; };", "");
	for (unsigned i = 0; i < 2; i++) {
		ck_assert_int_eq(visit(A, "10.0.0.1"), CLOSE_NONE);
		ck_assert_int_eq(visit(A, "2001:db8::1"), CLOSE_NONE);
	}
	ck_assert_int_eq(visit(A, "10.0.0.1"), CLOSE_limit_rate_per_source);
	must_refuse(CLOSE_limit_rate_per_source, ADMISSION_LISTENER, AT_LIMIT_RESET);
	ck_assert_int_eq(visit(A, "2001:db8::2"), CLOSE_limit_rate_per_source);
	ck_assert_int_eq(visit(A, "10.0.0.2"), CLOSE_NONE);
	/* who is refused does not pay for it: it does not have to stay away to get its turn */
	for (unsigned i = 0; i < 10; i++) {
		now_ms += 100;
		ck_assert_int_eq(visit(A, "10.0.0.1"), i == 9 ? CLOSE_NONE : CLOSE_limit_rate_per_source);
	}
}
END_TEST

START_TEST(the_doors_rate_of_a_source_is_that_of_all_listeners)
{
	configure("limits: { rate_per_source = \"1/s burst 1\"; at_limit = \"wait\"; };",
		  "limits: { rate_per_source = \"1/s burst 5\"; };", "");
	ck_assert_int_eq(visit(A, "10.0.0.1"), CLOSE_NONE);
	ck_assert_int_eq(visit(A, "10.0.0.1"), CLOSE_limit_rate_per_source);
	must_refuse(CLOSE_limit_rate_per_source, ADMISSION_DOOR, AT_LIMIT_WAIT);
	/* the listener's bucket has paid once */
	const struct rate rate = {.amount = 1, .period_ms = SECOND_MS, .burst = 5};
	struct source *e = source_at("10.0.0.1", accounts[A]->scope);
	ck_assert_uint_eq(rate_there(source_arrivals(e), &rate, now_ms * 1000000), 4);
}
END_TEST

START_TEST(bans_hold_in_their_scope_and_end)
{
	configure("", "", "");
	ban("10.0.0.1", 0, 60 * SECOND_MS);
	ban("10.0.0.2", accounts[A]->scope, 60 * SECOND_MS);
	ban("10.0.0.3", accounts[B]->scope, 60 * SECOND_MS);
	ban("2001:db8::1", 0, 60 * SECOND_MS);
	ck_assert_int_eq(ask(A, "10.0.0.1"), CLOSE_banned);
	must_refuse(CLOSE_banned, ADMISSION_DOOR, AT_LIMIT_RESET);
	ck_assert_int_eq(ask(A, "10.0.0.2"), CLOSE_banned);
	must_refuse(CLOSE_banned, ADMISSION_LISTENER, AT_LIMIT_RESET);
	ck_assert_int_eq(ask(A, "10.0.0.3"), CLOSE_NONE);
	ck_assert_int_eq(ask(A, "2001:db8::f00"), CLOSE_banned);
	ck_assert_int_eq(ask(A, "2001:db8:0:1::1"), CLOSE_NONE);
	now_ms += 59 * SECOND_MS;
	ck_assert_int_eq(ask(A, "10.0.0.1"), CLOSE_banned);
	now_ms += SECOND_MS;
	ck_assert_int_eq(ask(A, "10.0.0.1"), CLOSE_NONE);
	ck_assert_int_eq(ask(A, "10.0.0.2"), CLOSE_NONE);
}
END_TEST

START_TEST(a_ban_resets_whatever_the_limits_ask_for)
{
	configure("limits: { connections = 1; at_limit = \"wait\"; };", "limits: { at_limit = \"close\"; };", "");
	ban("10.0.0.1", 0, 60 * SECOND_MS);
	open_in_all = 1;
	ck_assert_int_eq(ask(A, "10.0.0.1"), CLOSE_banned);
	must_refuse(CLOSE_banned, ADMISSION_DOOR, AT_LIMIT_RESET);
	ck_assert_int_eq(ask(A, "10.0.0.2"), CLOSE_limit_connections);
}
END_TEST

/* Every limit there is, all of them reached. */
#define NOTHING_GOES                                                                                                   \
	"limits: { connections = 1; handshakes = 1; per_source = 1; rate = \"1/h burst 1\"; rate_per_source = \"1/h "  \
	"burst "                                                                                                       \
	"1\"; };"

START_TEST(who_is_trusted_has_no_limits)
{
	static const char *const by[][2] = {
		{"trusted = \"10.0.0.1\";", ""},
		{"", "trusted = \"10.0.0.0/8\";"},
	};
	for (unsigned i = 0; i < ARRAY_LEN(by); i++) {
		char door[512];
		char a[512];
		snprintf(door, sizeof(door), "%s %s", by[i][0], NOTHING_GOES);
		snprintf(a, sizeof(a), "%s %s", by[i][1], TLS NOTHING_GOES);
		configure(door, a, "");
		atomic_store(&accounts[A]->handshakes, 1);
		handshakes_in_all = 1;
		tight = 100;
		room = 0;
		ban("10.0.0.1", 0, 60 * SECOND_MS);
		ban("10.0.0.1", accounts[A]->scope, 60 * SECOND_MS);
		for (unsigned j = 0; j < 5; j++) {
			ck_assert_int_eq(come(A, "10.0.0.1", NULL), CLOSE_NONE);
			ck_assert(verdict.trusted);
		}
		ck_assert_int_ne(ask(A, "11.0.0.1"), CLOSE_NONE);
	}
	/* it does not take of the rates, so nobody else has to wait for it */
	ck_assert_uint_eq(atomic_load(&arrivals.full_at), 0);
	ck_assert_uint_eq(atomic_load(&accounts[A]->arrivals.full_at), 0);
	ck_assert_uint_eq(source_open(source_at("10.0.0.1", 0)), 10);
}
END_TEST

START_TEST(those_who_hold_the_most_are_shed_first)
{
	configure("", "", "");
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(come(A, "10.0.0.3", NULL), CLOSE_NONE);
	ck_assert_int_eq(come(A, "10.0.0.1", NULL), CLOSE_NONE);
	tight = 32;
	room = 32;
	ck_assert_int_eq(ask(A, "10.0.0.3"), CLOSE_NONE);
	room = 24; /* 3 for each */
	ck_assert_int_eq(ask(A, "10.0.0.3"), CLOSE_NONE);
	room = 23;
	ck_assert_int_eq(ask(A, "10.0.0.3"), CLOSE_overload);
	must_refuse(CLOSE_overload, ADMISSION_DOOR, AT_LIMIT_RESET);
	ck_assert_int_eq(ask(A, "10.0.0.1"), CLOSE_NONE);
	room = 7;
	ck_assert_int_eq(ask(A, "10.0.0.1"), CLOSE_overload);
	ck_assert_int_eq(ask(A, "10.0.0.2"), CLOSE_NONE);
	room = 1;
	ck_assert_int_eq(ask(A, "10.0.0.2"), CLOSE_NONE);
	room = 0;
	ck_assert_int_eq(ask(A, "10.0.0.2"), CLOSE_overload);
	tight = 0; /* it was switched off */
	ck_assert_int_eq(ask(A, "10.0.0.3"), CLOSE_NONE);
}
END_TEST

/* Those whom the kernel cannot name are one. */
START_TEST(a_unix_client_counts_as_its_user_when_room_is_short)
{
	struct visitor v[] = {neighbour(4001, 4001), neighbour(4002, 4001), stranger()};
	configure("", "", "");
	for (unsigned i = 0; i < ARRAY_LEN(v); i += 2) {
		tight = 0;
		for (unsigned j = 0; j < 3; j++) {
			ck_assert_int_eq(ask_neighbour(&v[i]), CLOSE_NONE);
			(void)let_in(B, &v[i]);
		}
		tight = 32;
		room = 24;
		ck_assert_int_eq(ask_neighbour(&v[i]), CLOSE_NONE);
		room = 23;
		ck_assert_int_eq(ask_neighbour(&v[i]), CLOSE_overload);
		ck_assert_int_eq(ask_neighbour(&v[1]), CLOSE_NONE);
	}
	/* an address of the same number is somebody else */
	ck_assert_int_eq(ask(A, "161.15.0.0"), CLOSE_NONE);
	room = 0;
	ck_assert_int_eq(ask_neighbour(&v[1]), CLOSE_overload);
	configure("trusted = \"uid:4001\";", "", "");
	ck_assert_int_eq(ask_neighbour(&v[0]), CLOSE_NONE);
}
END_TEST

START_TEST(a_source_counts_with_all_listeners_when_room_is_short)
{
	configure("", "", "");
	for (unsigned i = 0; i < 3; i++)
		source_opened(sources, source_at("10.0.0.3", 0));
	tight = 32;
	room = 16;
	ck_assert_int_eq(ask(A, "10.0.0.3"), CLOSE_overload);
}
END_TEST

START_TEST(limits_are_asked_in_their_order)
{
	configure("limits: { rate = \"1/h burst 1\"; per_source = 1; };",
		  "limits: { connections = 1; rate_per_source = \"1/h burst 1\"; };", "");
	ck_assert_int_eq(come(A, "10.0.0.1", NULL), CLOSE_NONE);
	tight = 100;
	room = 0;
	atomic_store(&accounts[A]->handshakes, 1);
	handshakes_in_all = 1;
	ban("10.0.0.1", accounts[A]->scope, 60 * SECOND_MS);
	static const struct {
		enum close_reason reason;
		enum admission_scope scope;
		const char *door;
		const char *a;
	} rows[] = {
		{CLOSE_banned, ADMISSION_LISTENER, NOTHING_GOES, NOTHING_GOES},
		{CLOSE_limit_connections, ADMISSION_DOOR, NOTHING_GOES, NOTHING_GOES},
		{CLOSE_limit_connections, ADMISSION_LISTENER,
		 "limits: { per_source = 1; rate = \"1/h burst 1\"; rate_per_source = \"1/h burst 1\"; };",
		 NOTHING_GOES},
		{CLOSE_limit_handshakes, ADMISSION_DOOR, "limits: { handshakes = 1; per_source = 1; };",
		 TLS "limits: { handshakes = 1; per_source = 1; };"},
		{CLOSE_limit_handshakes, ADMISSION_LISTENER, "limits: { per_source = 1; };",
		 TLS "limits: { handshakes = 1; per_source = 1; };"},
		{CLOSE_limit_per_source, ADMISSION_DOOR,
		 "limits: { per_source = 1; rate = \"1/h burst 1\"; rate_per_source = \"1/h burst 1\"; };",
		 "limits: { per_source = 1; rate = \"1/h burst 1\"; rate_per_source = \"1/h burst 1\"; };"},
		{CLOSE_limit_rate_per_source, ADMISSION_LISTENER, "limits: { rate = \"1/h burst 1\"; };",
		 "limits: { rate = \"1/h burst 1\"; rate_per_source = \"1/h burst 1\"; };"},
		{CLOSE_limit_rate, ADMISSION_DOOR, "limits: { rate = \"1/h burst 1\"; };",
		 "limits: { rate = \"1/h burst 1\"; };"},
		{CLOSE_overload, ADMISSION_DOOR, "", ""},
	};
	for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
		configure(rows[i].door, rows[i].a, "");
		ck_assert_int_eq(ask(A, "10.0.0.1"), rows[i].reason);
		must_refuse(rows[i].reason, rows[i].scope, AT_LIMIT_RESET);
		if (i == 0)
			ban("10.0.0.1", accounts[A]->scope, 0);
	}
}
END_TEST

START_TEST(taking_counts_in_both_scopes)
{
	struct seat_taken seat;
	configure("limits: { rate = \"1/s burst 10\"; rate_per_source = \"1/s burst 20\"; };",
		  "limits: { rate = \"1/s burst 30\"; rate_per_source = \"1/s burst 40\"; };", "");
	ck_assert_int_eq(come(A, "10.0.0.1", &seat), CLOSE_NONE);
	struct source *door = source_of(seat.shares[ADMISSION_DOOR]);
	struct source *listener = source_of(seat.shares[ADMISSION_LISTENER]);
	ck_assert_ptr_ne(door, listener);
	ck_assert_uint_eq(source_key(door)->scope, 0);
	ck_assert_uint_eq(source_key(listener)->scope, accounts[A]->scope);
	ck_assert_uint_eq(source_open(door), 1);
	ck_assert_uint_eq(source_open(listener), 1);
	uint64_t now_ns = now_ms * 1000000;
	const struct limits_config *limits = &config->door.limits;
	ck_assert_uint_eq(rate_there(&arrivals, &limits->rate, now_ns), 9);
	ck_assert_uint_eq(rate_there(source_arrivals(door), &limits->rate_per_source, now_ns), 19);
	limits = &config->listeners[A].limits;
	ck_assert_uint_eq(rate_there(&accounts[A]->arrivals, &limits->rate, now_ns), 29);
	ck_assert_uint_eq(rate_there(source_arrivals(listener), &limits->rate_per_source, now_ns), 39);
	ck_assert_uint_eq(sources_count(sources), 2);
	leave(&seat);
	ck_assert_uint_eq(source_open(door), 0);
	ck_assert_uint_eq(source_open(listener), 0);
}
END_TEST

START_TEST(buckets_hold_over_a_reload)
{
	configure("", "limits: { rate = \"1/min burst 2\"; rate_per_source = \"1/min burst 1\"; };", "");
	ck_assert_int_eq(visit(A, "10.0.0.1"), CLOSE_NONE);
	now_ms++;
	configure("", "limits: { rate = \"1/min burst 2\"; rate_per_source = \"1/min burst 1\"; };", "");
	ck_assert_int_eq(visit(A, "10.0.0.1"), CLOSE_limit_rate_per_source);
	ck_assert_int_eq(visit(A, "10.0.0.2"), CLOSE_NONE);
	ck_assert_int_eq(visit(A, "10.0.0.3"), CLOSE_limit_rate);
	configure("", "", "");
	ck_assert_int_eq(visit(A, "10.0.0.3"), CLOSE_NONE);
}
END_TEST

START_TEST(a_decision_is_explained)
{
	configure("deny = \"192.0.2.0/24\"; trusted = \"::1\"; limits: { connections = 9; };",
		  "allow = [ \"172.16.0.0/12\", \"10.0.0.0/8\" ]; limits: { per_source = 2; rate = \"1/s\"; };", "");
	ck_assert_int_eq(come(A, "10.0.0.1", NULL), CLOSE_NONE);
	ck_assert_int_eq(ask(A, "10.0.0.1"), CLOSE_limit_rate);
	ck_assert_uint_eq(step_count, 7);
	must_step(0, ADMISSION_DOOR, "deny", "");
	must_step(1, ADMISSION_DOOR, "allow", "");
	must_step(2, ADMISSION_LISTENER, "allow", "10.0.0.0/8");
	must_step(3, ADMISSION_DOOR, "trusted", "");
	must_step(4, ADMISSION_DOOR, "limits.connections", "");
	ck_assert_str_eq(steps[4].words, "1 of 9 are open");
	must_step(5, ADMISSION_LISTENER, "limits.per_source", "");
	ck_assert_str_eq(steps[5].words, "1 of 2 are open");
	must_step(6, ADMISSION_LISTENER, "limits.rate", "");

	ban("10.0.0.1", 0, 1500);
	ck_assert_int_eq(ask(A, "10.0.0.1"), CLOSE_banned);
	must_step(step_count - 1, ADMISSION_DOOR, "ban", "");
	ck_assert_ptr_nonnull(strstr(steps[step_count - 1].words, "2 s"));
	ck_assert_int_eq(ask(A, "192.0.2.7"), CLOSE_denied);
	ck_assert_uint_eq(step_count, 1);
	must_step(0, ADMISSION_DOOR, "deny", "192.0.2.0/24");
	ck_assert_int_eq(ask(A, "11.0.0.1"), CLOSE_not_allowed);
	must_step(step_count - 1, ADMISSION_LISTENER, "allow", "");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("front/admission");
	TCase *lists = tcase_create("lists");
	tcase_add_checked_fixture(lists, setup, teardown);
	tcase_add_test(lists, without_rules_all_come_in);
	tcase_add_test(lists, deny_of_either_scope_refuses);
	tcase_add_test(lists, both_allow_lists_must_have_the_client);
	tcase_add_test(lists, deny_wins_over_allow_and_trusted);
	tcase_add_test(lists, who_is_trusted_must_be_allowed);
	tcase_add_test(lists, an_allow_list_of_empty_files_lets_nobody_in);
	tcase_add_test(lists, list_files_decide_like_lists);
	tcase_add_test(lists, a_mapped_address_is_the_ipv4_one);
	tcase_add_test(lists, a_zone_does_not_count);
	tcase_add_test(lists, unix_peers_are_let_in_by_who_they_are);
	tcase_add_test(lists, those_for_whom_there_is_no_room_have_the_limits_of_one);
	tcase_add_test(lists, who_hides_its_unit_does_not_get_past_a_deny);
	tcase_add_test(lists, who_is_in_too_many_groups_does_not_get_past_a_deny);
	tcase_add_test(lists, unix_peers_have_no_limits_of_a_source);
	suite_add_tcase(s, lists);
	TCase *limits = tcase_create("limits");
	tcase_add_checked_fixture(limits, setup, teardown);
	tcase_add_test(limits, the_limit_is_the_most_that_are_open);
	tcase_add_test(limits, the_doors_limit_is_that_of_all_listeners);
	tcase_add_test(limits, handshakes_are_limited_where_there_is_tls);
	tcase_add_test(limits, the_doors_handshakes_are_those_of_all_listeners);
	tcase_add_test(limits, sources_have_limits_of_their_own);
	tcase_add_test(limits, what_a_source_is_can_be_set);
	tcase_add_test(limits, the_doors_limit_of_a_source_is_that_of_all_listeners);
	tcase_add_test(limits, new_connections_have_a_rate);
	tcase_add_test(limits, a_rate_says_when_it_has_something_again);
	tcase_add_test(limits, the_doors_rate_is_that_of_all_listeners);
	tcase_add_test(limits, sources_have_rates_of_their_own);
	tcase_add_test(limits, the_doors_rate_of_a_source_is_that_of_all_listeners);
	tcase_add_test(limits, bans_hold_in_their_scope_and_end);
	tcase_add_test(limits, a_ban_resets_whatever_the_limits_ask_for);
	tcase_add_test(limits, who_is_trusted_has_no_limits);
	tcase_add_test(limits, those_who_hold_the_most_are_shed_first);
	tcase_add_test(limits, a_unix_client_counts_as_its_user_when_room_is_short);
	tcase_add_test(limits, a_source_counts_with_all_listeners_when_room_is_short);
	tcase_add_test(limits, limits_are_asked_in_their_order);
	tcase_add_test(limits, taking_counts_in_both_scopes);
	tcase_add_test(limits, buckets_hold_over_a_reload);
	tcase_add_test(limits, a_decision_is_explained);
	suite_add_tcase(s, limits);
	return suite_run(s);
}

/* SPDX-License-Identifier: MIT */
/* The whole decision against a model of it that is as simple as can be: lists of what is there, gone through each time.
 * Configurations, visitors, bans, departures and reloads are random; the clock is the test's. */
#include "front/admission.h"

#include <arpa/inet.h>
#include <check.h>
#include <stdarg.h>
#include <sys/un.h>

#include "../config/folder.h"
#include "../suite.h"
#include "base/netaddr.h"
#include "service/service.h"

#define LISTENERS 3 /* two with TCP, one with a UNIX socket */
#define LOCAL 2
#define SCOPES (LISTENERS + 1) /* the first is the door's */
#define ENTRIES 4096	       /* more than there are sources: none is forgotten */
#define CONNECTIONS_MOST 64
#define BANS_MOST 64
#define KEYS_MOST 512
#define LIST_MOST 3
#define ROUNDS 40
#define RELOADS 12
#define EVENTS 120

/* In this many ms a rate of 1, 2, 4 or 8 a second has brought a whole number of its smallest parts, so that the model and
 * the bucket are of one opinion to the nanosecond. */
#define STEP_MS 125

static uint64_t seed;

static unsigned any(unsigned below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed >> 20) % below;
}

/* ---- who comes ---- */

static const char *const addresses[] = {
	"10.1.0.1",    "10.1.0.2",    "10.1.1.1",	 "10.2.0.1",	  "10.2.9.9", "192.0.2.1",
	"2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "2001:db8:1::1", "fd00::1",
};

static const uid_t users[] = {4001, 4002, SOURCE_NO_USER};

/* One that comes, as the model sees it. */
struct guest {
	bool is_local;
	bool is_ipv6;
	uid_t uid; /* SOURCE_NO_USER: nobody knows */
	uint8_t address[16];
};

/* Whose something is: what is equal in all bytes is the same. */
struct key {
	struct guest who; /* without what is behind the prefix */
	unsigned bits;
	unsigned scope;
};

static bool same(const struct key *a, const struct key *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

static struct guest guest_of(const char *text)
{
	struct guest g;
	memset(&g, 0, sizeof(g));
	g.is_ipv6 = strchr(text, ':') != NULL;
	ck_assert_int_eq(inet_pton(g.is_ipv6 ? AF_INET6 : AF_INET, text, g.address), 1);
	return g;
}

/* ---- the configuration ---- */

struct list {
	unsigned count;
	const char *at[LIST_MOST];
};

struct model_rate {
	unsigned amount; /* a second; 0: none */
	unsigned burst;
};

struct scope {
	struct list deny;
	struct list allow;
	struct list trusted;
	bool has_tls;
	unsigned connections;
	unsigned handshakes;
	unsigned per_source;
	struct model_rate rate;
	struct model_rate rate_per_source;
	enum at_limit at_limit;
};

static struct scope scopes[SCOPES];
static unsigned ipv4_prefix;
static unsigned ipv6_prefix;

static const char *const prefixes[] = {
	"10.1.0.0/16", "10.1.0.1", "10.2.0.0/16", "192.0.2.1", "2001:db8::/32", "2001:db8::/64", "fd00::1",
};
static const char *const locals[] = {"uid:4001", "uid:4002"};

static struct list any_list(unsigned scope, unsigned one_in)
{
	struct list l = {.count = any(one_in) ? 0 : 1 + any(LIST_MOST)};
	for (unsigned i = 0; i < l.count; i++) {
		bool is_local = scope == LOCAL + 1 || (scope == 0 && any(3) == 0);
		l.at[i] = is_local ? locals[any(ARRAY_LEN(locals))] : prefixes[any(ARRAY_LEN(prefixes))];
	}
	return l;
}

static unsigned any_limit(unsigned below)
{
	return any(2) ? 0 : 1 + any(below);
}

static struct model_rate any_rate(void)
{
	return any(3) ? (struct model_rate){0} : (struct model_rate){.amount = 1U << any(4), .burst = 1 + any(5)};
}

/* What a reload changes: a bucket of another rate would be another one. */
static void change(void)
{
	for (unsigned i = 0; i < SCOPES; i++) {
		struct scope *s = &scopes[i];
		s->deny = any_list(i, 5);
		s->allow = any_list(i, 6);
		s->trusted = any_list(i, 5);
		s->has_tls = i > 0 && any(2);
		s->connections = any_limit(i == 0 ? 20 : 8);
		s->handshakes = any_limit(i == 0 ? 8 : 4);
		s->per_source = any_limit(i == 0 ? 6 : 3);
		s->at_limit = (enum at_limit)any(3);
	}
	ipv4_prefix = any(4) ? 32 : 16 + any(16);
	ipv6_prefix = any(4) ? 64 : 32 + any(97);
}

/* Adds to a text that has room for it. */
static void add(char *text, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	size_t n = strlen(text);
	vsnprintf(text + n, 8192 - n, format, args);
	va_end(args);
	ck_assert_uint_lt(strlen(text), 8000);
}

static void add_list(char *text, const char *name, const struct list *l)
{
	add(text, "%s = [", name);
	for (unsigned i = 0; i < l->count; i++)
		add(text, "%s \"%s\"", i ? "," : "", l->at[i]);
	add(text, " ];\n");
}

static void add_rate(char *text, const char *name, const struct model_rate *r)
{
	if (r->amount)
		add(text, "%s = \"%u/s burst %u\"; ", name, r->amount, r->burst);
}

static void add_scope(char *text, const struct scope *s)
{
	static const char *const at_limit[] = {"reset", "close", "wait"};
	add_list(text, "deny", &s->deny);
	add_list(text, "allow", &s->allow);
	add_list(text, "trusted", &s->trusted);
	add(text, "limits: { connections = %u; handshakes = %u; per_source = %u; at_limit = \"%s\"; ", s->connections,
	    s->handshakes, s->per_source, at_limit[s->at_limit]);
	add_rate(text, "rate", &s->rate);
	add_rate(text, "rate_per_source", &s->rate_per_source);
	add(text, "};\n");
	if (s->has_tls)
		add(text, "tls: { certificate = \"/c.pem\"; };\n");
}

/* ---- what is decided by ---- */

static struct config *config;
static struct rules *rules;
static struct sources *sources;
static struct account *accounts[LISTENERS];
static struct rate_bucket arrivals;
static uint64_t now_ms;
static uint64_t room;
static uint64_t tight;

static void load(void)
{
	char text[8192] = "door: {\n";
	struct config *next;
	struct rules *next_rules;
	struct config_errors *errors = config_errors_create();
	add_scope(text, &scopes[0]);
	add(text, "sources: { ipv4_prefix = %u; ipv6_prefix = %u; };\n};\nlisteners: {\n", ipv4_prefix, ipv6_prefix);
	for (unsigned i = 0; i < LISTENERS; i++) {
		add(text, "l%u: { listen = \"%s\"; echo: {};\n", i, i == LOCAL ? "unix:/tmp/l.sock" : "127.0.0.1:0");
		add_scope(text, &scopes[i + 1]);
		add(text, "};\n");
	}
	add(text, "};\n");
	int failed = config_load_text("test", text, strlen(text), service_groups(), &next, errors);
	ck_assert_msg(failed == 0, "%s\n%s", config_errors_line(errors, 0), text);
	ck_assert_int_eq(rules_load(next, rules, errors, &next_rules), 0);
	config_errors_destroy(errors);
	rules_destroy(rules);
	config_unref(config);
	rules = next_rules;
	config = next;
}

/* ---- the model ---- */

struct connection {
	unsigned listener;
	bool shakes;
	bool has_key[2];
	struct key keys[2]; /* at the door, at the listener */
	struct source_share *shares[SOURCE_SCOPES];
};

struct model_ban {
	struct key key;
	uint64_t until_ms;
};

/* A bucket of tokens, each of a thousand parts. */
struct model_bucket {
	struct key key; /* for those of a source */
	uint64_t parts;
	uint64_t at_ms;
};

static struct connection connections[CONNECTIONS_MOST];
static unsigned connection_count;
static struct model_ban bans[BANS_MOST];
static unsigned ban_count;
static struct model_bucket of_scopes[SCOPES];
static struct model_bucket of_sources[KEYS_MOST];
static unsigned of_sources_count;

/* The answer. */
struct answer {
	enum close_reason reason;
	unsigned at; /* 0: the door's, 1: the listener's */
	enum at_limit action;
	bool trusted;
	uint64_t wait_ms;
};

static struct key key_of(const struct guest *g, unsigned scope)
{
	struct key key;
	memset(&key, 0, sizeof(key));
	key.scope = scope;
	key.who = *g;
	if (g->is_local)
		return key;
	key.bits = g->is_ipv6 ? ipv6_prefix : ipv4_prefix;
	for (unsigned i = key.bits; i < 128; i++)
		key.who.address[i / 8] &= (uint8_t) ~(0x80U >> i % 8);
	return key;
}

static bool entry_has(const char *entry, const struct guest *g)
{
	char text[64];
	if (strncmp(entry, "uid:", 4) == 0)
		return g->is_local && g->uid != SOURCE_NO_USER && g->uid == (uid_t)atoi(entry + 4);
	snprintf(text, sizeof(text), "%s", entry);
	char *slash = strchr(text, '/');
	if (slash)
		*slash = '\0';
	struct guest of = guest_of(text);
	if (g->is_local || g->is_ipv6 != of.is_ipv6)
		return false;
	unsigned bits = slash ? (unsigned)atoi(slash + 1) : of.is_ipv6 ? 128 : 32;
	for (unsigned i = 0; i < bits; i++)
		if ((g->address[i / 8] ^ of.address[i / 8]) & 0x80U >> i % 8)
			return false;
	return true;
}

static bool list_has(const struct list *l, const struct guest *g)
{
	for (unsigned i = 0; i < l->count; i++)
		if (entry_has(l->at[i], g))
			return true;
	return false;
}

/* Whether it asks for what nobody knows of this one. */
static bool list_may_have(const struct list *l, const struct guest *g)
{
	for (unsigned i = 0; i < l->count; i++)
		if (g->is_local && g->uid == SOURCE_NO_USER && strncmp(l->at[i], "uid:", 4) == 0)
			return true;
	return false;
}

static unsigned count_open(unsigned scope)
{
	unsigned n = 0;
	for (unsigned i = 0; i < connection_count; i++)
		n += scope == 0 || connections[i].listener + 1 == scope;
	return n;
}

static unsigned count_handshakes(unsigned scope)
{
	unsigned n = 0;
	for (unsigned i = 0; i < connection_count; i++)
		n += connections[i].shakes && (scope == 0 || connections[i].listener + 1 == scope);
	return n;
}

static unsigned count_of(const struct key *key)
{
	unsigned n = 0;
	for (unsigned i = 0; i < connection_count; i++)
		for (unsigned j = 0; j < 2; j++)
			n += connections[i].has_key[j] && same(&connections[i].keys[j], key);
	return n;
}

static bool is_banned(const struct key *key)
{
	for (unsigned i = 0; i < ban_count; i++)
		if (same(&bans[i].key, key) && bans[i].until_ms > now_ms)
			return true;
	return false;
}

static struct model_bucket *bucket_of(const struct key *key)
{
	for (unsigned i = 0; i < of_sources_count; i++)
		if (same(&of_sources[i].key, key))
			return &of_sources[i];
	ck_assert_uint_lt(of_sources_count, KEYS_MOST);
	struct model_bucket *b = &of_sources[of_sources_count++];
	*b = (struct model_bucket){.key = *key, .parts = UINT64_MAX / 2, .at_ms = now_ms};
	return b;
}

/* How long until there is a token, in ms; 0: there is one, which `takes` takes. */
static uint64_t take(struct model_bucket *b, const struct model_rate *r, bool takes)
{
	if (r->amount == 0)
		return 0;
	b->parts += (now_ms - b->at_ms) * r->amount;
	b->at_ms = now_ms;
	if (b->parts > r->burst * 1000U)
		b->parts = r->burst * 1000U;
	if (b->parts < 1000)
		return (1000 - b->parts + r->amount - 1) / r->amount;
	b->parts -= takes ? 1000 : 0;
	return 0;
}

static bool decide(const struct guest *g, unsigned listener, struct answer *to)
{
	const unsigned numbers[2] = {0, listener + 1};
#define REFUSE(reason_, action_) return *to = (struct answer){(reason_), i, (action_), to->trusted, to->wait_ms}, false
	*to = (struct answer){.reason = CLOSE_NONE};
	for (unsigned i = 0; i < 2; i++) {
		const struct scope *s = &scopes[numbers[i]];
		if (list_has(&s->deny, g) || list_may_have(&s->deny, g))
			REFUSE(CLOSE_denied, AT_LIMIT_RESET);
		if (s->allow.count > 0 && !list_has(&s->allow, g))
			REFUSE(CLOSE_not_allowed, AT_LIMIT_RESET);
	}
	to->trusted = list_has(&scopes[0].trusted, g) || list_has(&scopes[listener + 1].trusted, g);
	if (to->trusted)
		return true;
	for (unsigned check = 0; check < 6; check++) {
		for (unsigned i = 0; i < 2; i++) {
			const struct scope *s = &scopes[numbers[i]];
			struct key key = key_of(g, numbers[i]);
			if (check == 0 && !g->is_local && is_banned(&key))
				REFUSE(CLOSE_banned, AT_LIMIT_RESET);
			if (check == 1 && s->connections > 0 && count_open(numbers[i]) >= s->connections)
				REFUSE(CLOSE_limit_connections, s->at_limit);
			if (check == 2 && scopes[listener + 1].has_tls && s->handshakes > 0 &&
			    count_handshakes(numbers[i]) >= s->handshakes)
				REFUSE(CLOSE_limit_handshakes, s->at_limit);
			if (check == 3 && !g->is_local && s->per_source > 0 && count_of(&key) >= s->per_source)
				REFUSE(CLOSE_limit_per_source, s->at_limit);
			if (check == 4 && !g->is_local &&
			    (to->wait_ms = take(bucket_of(&key), &s->rate_per_source, false)) > 0)
				REFUSE(CLOSE_limit_rate_per_source, s->at_limit);
			if (check == 5 && (to->wait_ms = take(&of_scopes[numbers[i]], &s->rate, false)) > 0)
				REFUSE(CLOSE_limit_rate, s->at_limit);
		}
	}
	struct key holder = key_of(g, 0);
	unsigned i = 0;
	if (room < tight && (room == 0 || count_of(&holder) > room / 8))
		REFUSE(CLOSE_overload, AT_LIMIT_RESET);
#undef REFUSE
	return true;
}

static struct connection *come_in(const struct guest *g, unsigned listener, bool trusted)
{
	struct connection *c = &connections[connection_count++];
	*c = (struct connection){.listener = listener, .shakes = scopes[listener + 1].has_tls};
	const unsigned numbers[2] = {0, listener + 1};
	for (unsigned i = 0; i < 2; i++) {
		c->has_key[i] = i == 0 || !g->is_local;
		c->keys[i] = key_of(g, numbers[i]);
		if (trusted)
			continue;
		take(&of_scopes[numbers[i]], &scopes[numbers[i]].rate, true);
		if (!g->is_local)
			take(bucket_of(&c->keys[i]), &scopes[numbers[i]].rate_per_source, true);
	}
	return c;
}

/* ---- what happens ---- */

static unsigned refusing_steps;
static bool last_refuses;

static void count_step(void *arg UNUSED, enum admission_scope scope UNUSED, const char *rule UNUSED, bool refuses,
		       const char *words UNUSED, const struct rule_found *found UNUSED)
{
	refusing_steps += refuses;
	last_refuses = refuses;
}

static unsigned reasons[COUNTERS_REASONS_MAX];

static void must_agree(const struct verdict *v, const struct answer *a)
{
	ck_assert_int_eq(v->reason, a->reason);
	ck_assert(v->trusted == a->trusted);
	ck_assert_uint_eq(refusing_steps, a->reason != CLOSE_NONE);
	ck_assert(last_refuses == (a->reason != CLOSE_NONE));
	reasons[a->reason]++;
	if (a->reason == CLOSE_NONE)
		return;
	ck_assert_int_eq(v->scope, a->at);
	ck_assert_int_eq(v->action, a->action);
	ck_assert_uint_ge(v->wait_ns + 1000, a->wait_ms * 1000000);
	ck_assert_uint_le(v->wait_ns, a->wait_ms * 1000000 + 1000);
}

static void arrive(void)
{
	static const struct sockaddr_un local = {.sun_family = AF_UNIX};
	struct netaddr address;
	struct visitor v;
	struct guest g;
	unsigned listener = any(LISTENERS);
	if (listener == LOCAL) {
		memset(&g, 0, sizeof(g));
		g.is_local = true;
		g.uid = users[any(ARRAY_LEN(users))];
		visitor_from_address(&v, (const struct sockaddr *)&local);
		v.has_credentials = g.uid != SOURCE_NO_USER;
		v.uid = v.gid = g.uid;
	} else {
		const char *text = addresses[any(ARRAY_LEN(addresses))];
		g = guest_of(text);
		ck_assert_int_eq(netaddr_parse_ip(&address, text, strlen(text), 4711), 0);
		visitor_from_address(&v, &address.u.any);
	}
	const struct admission a = {
		.config = config,
		.rules = rules,
		.sources = sources,
		.open = connection_count,
		.handshakes = count_handshakes(0),
		.arrivals = &arrivals,
		.room = room,
		.tight = tight,
	};
	const struct admission_request r = {
		.listener = &config->listeners[listener],
		.number = listener,
		.account = accounts[listener],
		.visitor = &v,
		.now_ms = now_ms,
		.now_ns = now_ms * 1000000,
	};
	struct verdict verdict;
	struct answer answer;
	refusing_steps = 0;
	last_refuses = false;
	admission_decide(&a, &r, &verdict, count_step, NULL);
	bool comes = decide(&g, listener, &answer);
	must_agree(&verdict, &answer);
	if (!comes || connection_count == CONNECTIONS_MOST)
		return;
	struct connection *c = come_in(&g, listener, answer.trusted);
	admission_take(&a, &r, &verdict, accounts[listener], c->shares);
	atomic_fetch_add(&accounts[listener]->open, 1);
	if (c->shakes)
		atomic_fetch_add(&accounts[listener]->handshakes, 1);
	for (unsigned i = 0; i < 2; i++)
		ck_assert((c->shares[i] != NULL) == c->has_key[i]);
}

static void end_handshake(struct connection *c)
{
	if (c->shakes)
		atomic_fetch_sub(&accounts[c->listener]->handshakes, 1);
	c->shakes = false;
}

static void depart(void)
{
	if (connection_count == 0)
		return;
	struct connection *c = &connections[any(connection_count)];
	end_handshake(c);
	for (unsigned i = 0; i < SOURCE_SCOPES; i++)
		if (c->shares[i])
			source_closed(source_of(c->shares[i]));
	atomic_fetch_sub(&accounts[c->listener]->open, 1);
	*c = connections[--connection_count];
}

/* Begins a ban of some length, or gives one that runs another end, or ends it. */
static void ban(void)
{
	const struct source_prefixes p = {.ipv4 = ipv4_prefix, .ipv6 = ipv6_prefix};
	const char *text = addresses[any(ARRAY_LEN(addresses))];
	unsigned scope = any(LOCAL + 1);
	uint64_t ms = (uint64_t)any(40) * STEP_MS;
	struct guest g = guest_of(text);
	struct key key = key_of(&g, scope);
	unsigned at = 0;
	while (at < ban_count && !same(&bans[at].key, &key))
		at++;
	if (at == BANS_MOST)
		return;
	ban_count += at == ban_count;
	bans[at] = (struct model_ban){.key = key, .until_ms = now_ms + ms};

	struct netaddr address;
	struct source_key real;
	ck_assert_int_eq(netaddr_parse_ip(&address, text, strlen(text), 4711), 0);
	ck_assert(source_key_of(&real, &address.u.any, &p, (uint16_t)scope));
	ck_assert(source_ban(sources, sources_get(sources, &real, now_ms), ms, now_ms));
}

static void any_room(void)
{
	tight = any(3) ? 0 : any(40);
	room = any(2) ? any(40) : 1000;
}

static void event(void)
{
	switch (any(16)) {
	case 0:
	case 1:
		depart();
		break;
	case 2:
	case 3:
		if (connection_count > 0)
			end_handshake(&connections[any(connection_count)]);
		break;
	case 4:
		ban();
		break;
	case 5:
		any_room();
		break;
	case 6:
	case 7:
		now_ms += (uint64_t)any(8) * STEP_MS;
		break;
	default:
		arrive();
		break;
	}
}

static void begin(void)
{
	sources = sources_create(ENTRIES);
	ck_assert_ptr_nonnull(sources);
	for (unsigned i = 0; i < LISTENERS; i++) {
		accounts[i] = account_create();
		ck_assert_ptr_nonnull(accounts[i]);
		accounts[i]->scope = (uint16_t)(i + 1);
	}
	memset(&arrivals, 0, sizeof(arrivals));
	now_ms = 1000000;
	connection_count = ban_count = of_sources_count = 0;
	for (unsigned i = 0; i < SCOPES; i++) {
		of_scopes[i] = (struct model_bucket){.parts = UINT64_MAX / 2, .at_ms = now_ms};
		scopes[i].rate = any_rate();
		scopes[i].rate_per_source = any_rate();
	}
	any_room();
}

static void end(void)
{
	while (connection_count > 0)
		depart();
	for (unsigned i = 0; i < LISTENERS; i++) {
		ck_assert_uint_eq(atomic_load(&accounts[i]->open), 0);
		ck_assert_uint_eq(atomic_load(&accounts[i]->handshakes), 0);
		accounts[i] = account_unref(accounts[i]);
	}
	sources = sources_destroy(sources);
	rules = rules_destroy(rules);
	config = config_unref(config);
}

START_TEST(the_door_does_what_the_model_does)
{
	folder_create();
	role_enter_main();
	for (unsigned i = 0; i < ROUNDS; i++) {
		seed = UINT64_C(0x9e3779b97f4a7c15) * (i + 1);
		begin();
		for (unsigned j = 0; j < RELOADS; j++) {
			change();
			load();
			for (unsigned k = 0; k < EVENTS; k++)
				event();
		}
		end();
	}
	role_leave_main();
	folder_remove();
	/* each of them came to be tested */
	static const enum close_reason all[] = {
		CLOSE_NONE,
		CLOSE_denied,
		CLOSE_not_allowed,
		CLOSE_banned,
		CLOSE_limit_connections,
		CLOSE_limit_handshakes,
		CLOSE_limit_per_source,
		CLOSE_limit_rate_per_source,
		CLOSE_limit_rate,
		CLOSE_overload,
	};
	for (unsigned i = 0; i < ARRAY_LEN(all); i++)
		ck_assert_msg(reasons[all[i]] >= 50, "reason %d came %u times", all[i], reasons[all[i]]);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("front/admission_model");
	TCase *c = tcase_create("model");
	tcase_set_timeout(c, 120);
	tcase_add_test(c, the_door_does_what_the_model_does);
	suite_add_tcase(s, c);
	return suite_run(s);
}

/* SPDX-License-Identifier: MIT */
/* Connections that always have something to send, on a clock of the test's own, as workers wake them: on ticks of 4 ms. */
#include "worker/pace.h"

#include <check.h>
#include <stdlib.h>

#include "../suite.h"
#include "base/attr.h"

#define NS_PER_MS UINT64_C(1000000)
#define TICK_MS 4
#define MOST 1000

struct sender {
	struct pace_line line;
	uint64_t at_ns; /* asks again */
	uint64_t sent;
	uint64_t last_ms; /* sent last */
	uint64_t gap_ms;  /* the longest time between two times that it sent */
	uint64_t turns;	  /* how often it asked */
};

static struct account *account;
static struct source_share source;
static struct sender *senders;
static uint64_t now_ms;
static uint64_t sent; /* by all */

static void setup(void)
{
	account = account_create();
	ck_assert_ptr_nonnull(account);
	source = (struct source_share){0};
	senders = calloc(MOST, sizeof(*senders));
	ck_assert_ptr_nonnull(senders);
	now_ms = 1000000;
	sent = 0;
}

static void teardown(void)
{
	free(senders);
	account_unref(account);
}

static void begin(unsigned count, const struct bandwidth_config *limits)
{
	for (unsigned i = 0; i < count; i++)
		pace_line_init(&senders[i].line, PACE_OUT, limits, account, &source);
}

/* Sends all that it may. */
static void go(struct sender *s)
{
	uint64_t n;
	s->turns++;
	while ((n = pace_ask(&s->line, now_ms * NS_PER_MS, &s->at_ns)) > 0) {
		pace_use(&s->line, n, now_ms * NS_PER_MS);
		s->sent += n;
		sent += n;
		if (s->last_ms > 0 && now_ms - s->last_ms > s->gap_ms)
			s->gap_ms = now_ms - s->last_ms;
		s->last_ms = now_ms;
	}
}

/* Everybody sends for so long. */
static void run(unsigned count, uint64_t ms)
{
	for (uint64_t end_ms = now_ms + ms; now_ms < end_ms; now_ms += TICK_MS)
		for (unsigned i = 0; i < count; i++)
			if (now_ms * NS_PER_MS >= senders[i].at_ns)
				go(&senders[i]);
}

static struct rate rate_of(uint64_t amount, uint64_t burst)
{
	return (struct rate){.amount = amount, .period_ms = 1000, .burst = burst};
}

static const struct rate rates[] = {
	{.amount = 1, .period_ms = 1000, .burst = 1},
	{.amount = 1000, .period_ms = 1000, .burst = 1},
	{.amount = 16384, .period_ms = 1000, .burst = 16384},
	{.amount = 1000000, .period_ms = 1000, .burst = 100000},
	{.amount = 100000000, .period_ms = 1000, .burst = 1000000},
	{.amount = 10000000000, .period_ms = 1000, .burst = 100000000},
	{.amount = 6000000, .period_ms = 60000, .burst = 16384},
};

static double bytes_a_second(const struct rate *r)
{
	return (double)r->amount * 1000 / (double)r->period_ms;
}

/* A quantum, as the header promises it. */
static double quantum(const struct rate *r)
{
	double n = bytes_a_second(r) * PACE_QUANTUM_MS / 1000;
	double least = bytes_a_second(r) * PACE_QUANTUM_MOST_MS / 1000;
	least = least < PACE_QUANTUM_BYTES ? least : PACE_QUANTUM_BYTES;
	n = n > least ? n : least;
	return n > 1 ? n : 1;
}

START_TEST(one_gets_its_rate_and_no_more_than_a_burst_before)
{
	const struct rate *r = &rates[_i];
	begin(1, &(struct bandwidth_config){.out = *r});
	uint64_t start_ms = now_ms;
	for (int i = 0; i < 100; i++) {
		run(1, 100);
		double most = (double)r->burst + quantum(r) + bytes_a_second(r) * (double)(now_ms - start_ms) / 1000;
		ck_assert_double_le((double)sent, most);
	}
	double flowed = bytes_a_second(r) * (double)(now_ms - start_ms) / 1000;
	ck_assert_double_ge((double)sent, flowed * 0.99 - quantum(r));
}
END_TEST

START_TEST(it_flows_evenly)
{
	const struct rate *r = &rates[_i];
	begin(1, &(struct bandwidth_config){.out = *r});
	run(1, 10000);
	senders[0].gap_ms = 0;
	run(1, 20000);
	uint64_t one_ms = 1000 / (r->amount * 1000 / r->period_ms); /* where one byte takes longer */
	uint64_t most_ms = PACE_QUANTUM_MOST_MS > one_ms ? PACE_QUANTUM_MOST_MS : one_ms;
	if (quantum(r) > PACE_QUANTUM_BYTES)
		most_ms = PACE_QUANTUM_MS;
	ck_assert_uint_le(senders[0].gap_ms, most_ms + 2 * TICK_MS);
}
END_TEST

START_TEST(a_pause_is_worth_a_burst)
{
	struct bandwidth_config limits = {.out = rate_of(1000000, 300000)};
	begin(1, &limits);
	run(1, 1000);
	now_ms += 60000;
	uint64_t before = sent;
	go(&senders[0]);
	ck_assert_uint_ge(sent - before, 290000);
	ck_assert_uint_le(sent - before, 300000 + 16000);
}
END_TEST

/* how many share how much */
static const struct {
	unsigned count;
	uint64_t amount;
} crowds[] = {{2, 1000000}, {10, 10000}, {100, 1000000}, {1000, 100000}, {1000, 100000000}};

START_TEST(those_who_share_get_equal_parts)
{
	unsigned count = crowds[_i].count;
	uint64_t amount = crowds[_i].amount;
	struct bandwidth_config limits = {.listener_out = rate_of(amount, amount / 10)};
	begin(count, &limits);
	run(count, 100000); /* until all have found their place */
	uint64_t before = sent;
	for (unsigned i = 0; i < count; i++)
		senders[i].sent = senders[i].turns = senders[i].gap_ms = 0;
	run(count, 400000);
	double expected = (double)amount * 400;
	ck_assert_double_ge((double)(sent - before), expected * 0.98);
	ck_assert_double_le((double)(sent - before), expected * 1.02 + (double)amount / 10);
	double share = expected / count;
	for (unsigned i = 0; i < count; i++) {
		ck_assert_double_ge((double)senders[i].sent, share * 0.7 - 4096);
		ck_assert_double_le((double)senders[i].sent, share * 1.3 + 4096);
		/* nobody waits much longer than a round of all takes, and none wakes for nothing all the time */
		double round_ms = (double)count * 4096 * 1000 / (double)amount;
		ck_assert_double_le((double)senders[i].gap_ms, 3 * round_ms + 2000);
		ck_assert_uint_le(senders[i].turns, 400000 / TICK_MS);
	}
}
END_TEST

START_TEST(one_who_comes_late_gets_its_turn)
{
	struct bandwidth_config limits = {.listener_out = rate_of(100000, 16384)};
	begin(1000, &limits);
	run(999, 60000);
	uint64_t start_ms = now_ms;
	run(1000, 100000);
	ck_assert_uint_gt(senders[999].sent, 0);
	ck_assert_uint_lt(senders[999].last_ms - senders[999].gap_ms, start_ms + 100000);
}
END_TEST

START_TEST(the_tightest_limit_counts)
{
	struct bandwidth_config limits = {
		.out = rate_of(400000, 16384),
		.source_out = rate_of(1000000, 100000),
		.listener_out = rate_of(1500000, 150000),
	};
	/* one alone: its own */
	begin(2, &limits);
	run(1, 10000);
	ck_assert_uint_le(sent, 4000000 + 16384 + 8192);
	ck_assert_uint_ge(sent, 3960000);
	/* four of one source: the source's */
	begin(4, &limits);
	sent = 0;
	run(4, 10000);
	ck_assert_uint_le(sent, 10000000 + 100000 + 16384);
	ck_assert_uint_ge(sent, 9900000);
	/* of two sources: the listener's */
	struct source_share other = {0};
	begin(8, &limits);
	for (unsigned i = 4; i < 8; i++)
		pace_line_init(&senders[i].line, PACE_OUT, &limits, account, &other);
	sent = 0;
	run(8, 10000);
	ck_assert_uint_le(sent, 15000000 + 150000 + 24000);
	ck_assert_uint_ge(sent, 14850000);
}
END_TEST

START_TEST(directions_have_limits_of_their_own)
{
	struct bandwidth_config limits = {.in = rate_of(1000, 1000)};
	uint64_t at_ns;
	begin(1, &limits);
	ck_assert_uint_eq(pace_ask(&senders[0].line, 1, &at_ns), UINT64_MAX);
	pace_line_init(&senders[0].line, PACE_IN, &limits, account, NULL);
	ck_assert_uint_eq(pace_ask(&senders[0].line, 1, &at_ns), 250);
}
END_TEST

START_TEST(what_is_not_used_is_there_for_others)
{
	struct bandwidth_config limits = {.listener_out = rate_of(1000000, 16000)};
	uint64_t at_ns;
	uint64_t now_ns = now_ms * NS_PER_MS;
	begin(2, &limits);
	for (int i = 0; i < 1000; i++) {
		ck_assert_uint_gt(pace_ask(&senders[0].line, now_ns, &at_ns), 10);
		pace_use(&senders[0].line, 10, now_ns);
		pace_rest(&senders[0].line, now_ns);
	}
	go(&senders[1]);
	ck_assert_uint_ge(sent, 16000 - 10000 - 4096);
	ck_assert_uint_le(sent, 16000 - 10000);
}
END_TEST

START_TEST(what_went_unasked_counts)
{
	struct bandwidth_config limits = {.out = rate_of(100000, 16384)};
	begin(1, &limits);
	pace_use(&senders[0].line, 116384, now_ms * NS_PER_MS);
	run(1, 900);
	ck_assert_uint_eq(sent, 0);
	run(1, 1000);
	ck_assert_uint_ge(sent, 80000);
	ck_assert_uint_le(sent, 95000);
}
END_TEST

/* ---- a naive model: a level for each connection, source and the listener, that bytes take from and time fills ---- */

#define CROWD 40
#define SOURCES 4

struct level {
	double a_second; /* 0: no limit */
	double burst;
	double there;
	uint64_t at_ms;
	unsigned connections;
	double lowest;
};

struct member {
	struct sender *sender;
	unsigned source;
	bool is_greedy;	      /* always has something to send, and sends all that it may */
	uint64_t pause_ms;    /* else: nothing until then */
	struct level *all[3]; /* its own, its source's, the listener's */
};

static uint64_t seed;

static uint64_t chance(uint64_t below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed * UINT64_C(2685821657736338717) >> 11) % below;
}

static struct rate choose_rate(void)
{
	if (chance(3) == 0)
		return (struct rate){.period_ms = 1000, .burst = 1};
	uint64_t amount = (UINT64_C(1) << (10 + chance(20))) + chance(1000);
	uint64_t burst = UINT64_C(1) << chance(23);
	return (struct rate){.amount = amount, .period_ms = chance(2) ? 1000 : 60000, .burst = burst};
}

static struct level level_of(const struct rate *r)
{
	struct level l = {.at_ms = now_ms};
	if (r->amount > 0) {
		l.a_second = bytes_a_second(r);
		l.burst = (double)r->burst > quantum(r) ? (double)r->burst : quantum(r);
		l.there = l.lowest = l.burst;
	}
	return l;
}

static void level_take(struct level *l, uint64_t n)
{
	double came = l->a_second * (double)(now_ms - l->at_ms) / 1000;
	l->there = l->there + came < l->burst ? l->there + came : l->burst;
	l->at_ms = now_ms;
	l->there -= (double)n;
	l->lowest = l->there < l->lowest ? l->there : l->lowest;
}

/* One that may send does so: some send less than they may, give the rest back, and say nothing for a while. */
static void member_go(struct member *m)
{
	struct sender *s = m->sender;
	uint64_t n;
	while ((n = pace_ask(&s->line, now_ms * NS_PER_MS, &s->at_ns)) > 0) {
		bool stops = !m->is_greedy && chance(3) == 0;
		if (stops)
			n = chance(n + 1);
		pace_use(&s->line, n, now_ms * NS_PER_MS);
		s->sent += n;
		for (unsigned i = 0; i < 3; i++)
			if (m->all[i]->a_second > 0)
				level_take(m->all[i], n);
		if (stops) {
			pace_rest(&s->line, now_ms * NS_PER_MS);
			m->pause_ms = now_ms + chance(2000);
			s->at_ns = m->pause_ms * NS_PER_MS;
			return;
		}
	}
}

/* What is left below an empty level: each connection may hold a quantum that waits for another gate, and those that are due
 * in one tick go together. */
static void check_level(const struct level *l, const struct rate *r)
{
	if (l->a_second > 0 && l->connections > 0)
		ck_assert_double_ge(l->lowest, -(l->connections * quantum(r) + l->a_second * TICK_MS / 1000 + 1));
}

START_TEST(is_like_the_model)
{
	seed = 88172645463325252u + (uint64_t)_i * 7919;
	const struct rate own = choose_rate();
	const struct rate of_source = choose_rate();
	const struct rate of_all = choose_rate();
	bool in = chance(2) == 1;
	struct bandwidth_config limits = {0};
	*(in ? &limits.in : &limits.out) = own;
	*(in ? &limits.source_in : &limits.source_out) = of_source;
	*(in ? &limits.listener_in : &limits.listener_out) = of_all;
	if (own.amount + of_source.amount + of_all.amount == 0)
		return;

	struct source_share shares[SOURCES] = {0};
	struct level owns[CROWD];
	struct level of_sources[SOURCES];
	struct level all = level_of(&of_all);
	struct member members[CROWD] = {0};
	unsigned count = 1 + (unsigned)chance(CROWD);
	for (unsigned i = 0; i < SOURCES; i++)
		of_sources[i] = level_of(&of_source);
	for (unsigned i = 0; i < count; i++) {
		struct member *m = &members[i];
		owns[i] = level_of(&own);
		*m = (struct member){.sender = &senders[i],
				     .source = (unsigned)chance(SOURCES),
				     .is_greedy = chance(2)};
		m->all[0] = &owns[i];
		m->all[1] = &of_sources[m->source];
		m->all[2] = &all;
		for (unsigned k = 0; k < 3; k++)
			m->all[k]->connections++;
		pace_line_init(&senders[i].line, in ? PACE_IN : PACE_OUT, &limits, account, &shares[m->source]);
	}
	const uint64_t seconds = 100;
	for (uint64_t end_ms = now_ms + seconds * 1000; now_ms < end_ms; now_ms += TICK_MS)
		for (unsigned i = 0; i < count; i++)
			if (now_ms * NS_PER_MS >= senders[i].at_ns)
				member_go(&members[i]);

	check_level(&all, &of_all);
	for (unsigned i = 0; i < SOURCES; i++)
		check_level(&of_sources[i], &of_source);
	for (unsigned i = 0; i < count; i++) {
		check_level(&owns[i], &own);
		/* nobody starves: those who always want get half of an equal part at least, wherever it is smallest */
		const struct rate *rates_of[] = {&own, &of_source, &of_all};
		double part = 1e18;
		double most = 0;
		for (unsigned k = 0; k < 3; k++) {
			const struct level *l = members[i].all[k];
			if (l->a_second == 0)
				continue;
			part = l->a_second / l->connections < part ? l->a_second / l->connections : part;
			most = quantum(rates_of[k]) > most ? quantum(rates_of[k]) : most;
		}
		if (members[i].is_greedy)
			ck_assert_double_ge((double)senders[i].sent, part * (double)seconds / 2 - most);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("worker/pace");
	TCase *c = tcase_create("pace");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_set_timeout(c, 30);
	tcase_add_loop_test(c, one_gets_its_rate_and_no_more_than_a_burst_before, 0, ARRAY_LEN(rates));
	tcase_add_loop_test(c, it_flows_evenly, 0, ARRAY_LEN(rates));
	tcase_add_test(c, a_pause_is_worth_a_burst);
	tcase_add_loop_test(c, those_who_share_get_equal_parts, 0, ARRAY_LEN(crowds));
	tcase_add_test(c, one_who_comes_late_gets_its_turn);
	tcase_add_test(c, the_tightest_limit_counts);
	tcase_add_test(c, directions_have_limits_of_their_own);
	tcase_add_test(c, what_is_not_used_is_there_for_others);
	tcase_add_test(c, what_went_unasked_counts);
	tcase_add_loop_test(c, is_like_the_model, 0, 200);
	suite_add_tcase(s, c);
	return suite_run(s);
}

/* Which records a damaged log asks of whom, and when that is given up. Time is a number here. */
#include <errno.h>
#include <stdio.h>

#include "base/util.h"
#include "node/repair.h"
#include "unit.h"

#define S UINT64_C(1000000000)

struct t {
	struct repair *p;
	char trace[2000]; /* what was asked for, in order */
	uint64_t now;
};

static void say(struct t *t, const char *what, const char *node, leash_seq seq)
{
	size_t n = strlen(t->trace);

	(void)snprintf(t->trace + n, sizeof t->trace - n, "%s%s%s%llu", n ? " " : "", what, node, (unsigned long long)seq);
}

static void rebuild(void *ctx, leash_seq seq) { say(ctx, "rebuild:", "", seq); }
static void ask(void *ctx, const char *node, leash_seq first) { say(ctx, "ask:", node, first); }

static void put(void *ctx, struct drv_rec *const *recs, size_t n)
{
	(void)recs;
	say(ctx, "put:", "", n);
}

static void repaired(void *ctx, leash_seq seq, const struct rlog_rebuilt *taken, const char *from)
{
	say(ctx, "repaired:", from, seq);
	ck_assert(taken->records > 0 || !from[0]);
}

static void failed(void *ctx, leash_seq seq, leash_seq last, bool final, const char *why)
{
	ck_assert(final ? last == UINT64_MAX : last >= seq);
	say(ctx, final ? "final:" : "failed:", "", seq);
	ck_assert_ptr_nonnull(why);
}

static void init(struct t *t, const char *const *up)
{
	static const struct repair_conf conf = { .answer_ns = 2 * S, .again_ns = S, .patience_ns = 20 * S };
	struct repair_io io = { t, rebuild, put, ask, repaired, failed };

	*t = (struct t){ .now = 100 * S };
	ck_assert_int_eq(repair_new(&conf, &io, &t->p), 0);
	for (; *up; up++)
		repair_link(t->p, *up, true, t->now);
}

#define INIT(t, ...) init(t, (const char *const[]){ __VA_ARGS__ NULL })

static void check(struct t *t, const char *trace)
{
	ck_assert_str_eq(t->trace, trace);
	t->trace[0] = '\0';
}

static void said(struct t *t, int outcome, leash_seq need, uint64_t records)
{
	struct rlog_rebuilt taken = { .records = records };

	repair_rebuilt(t->p, outcome, need, &taken, t->now);
}

static void answer(struct t *t, const char *node, leash_seq first, size_t n)
{
	repair_fetched(t->p, node, first, NULL, n, t->now);
}

START_TEST(one_node_after_the_other)
{
	struct t t;

	INIT(&t, "S1", "S2", );
	repair_begin(t.p, 7, t.now);
	said(&t, 0, 7, 0);
	check(&t, "rebuild:7 ask:S17");
	answer(&t, "S2", 7, 3); /* was not asked */
	answer(&t, "S1", 6, 3); /* for something else */
	check(&t, "");
	answer(&t, "S1", 7, 0);
	check(&t, "ask:S27");
	answer(&t, "S2", 7, 3);
	said(&t, 0, 10, 3);
	check(&t, "put:3 ask:S210"); /* who had something is asked on */
	answer(&t, "S2", 10, 1);
	said(&t, 0, 0, 4);
	check(&t, "put:1 repaired:S27");
	ck_assert(!repair_busy(t.p));
	repair_free(t.p);
}
END_TEST

START_TEST(who_is_silent_is_passed_over)
{
	struct t t;

	INIT(&t, "S1", "S2", );
	repair_begin(t.p, 7, t.now);
	said(&t, 0, 7, 0);
	check(&t, "rebuild:7 ask:S17");
	t.now += 2 * S - 1;
	repair_tick(t.p, t.now);
	check(&t, "");
	t.now += 1;
	repair_tick(t.p, t.now);
	check(&t, "ask:S27");
	repair_link(t.p, "S2", false, t.now); /* nobody is left: later, from the beginning */
	check(&t, "");
	ck_assert_uint_eq(repair_wakeup_ns(t.p), t.now + S);
	t.now += S;
	repair_tick(t.p, t.now);
	said(&t, 0, 7, 0);
	check(&t, "rebuild:7 ask:S17");
	answer(&t, "S1", 7, 1);
	said(&t, 0, 0, 1);
	check(&t, "put:1 repaired:S17");
	repair_free(t.p);
}
END_TEST

START_TEST(another_past_is_left)
{
	struct t t;

	INIT(&t, "S1", "S2", );
	repair_begin(t.p, 7, t.now);
	said(&t, 0, 7, 0);
	answer(&t, "S1", 7, 1);
	said(&t, RLOG_E_CHAIN, 0, 1);
	said(&t, 0, 7, 0);
	check(&t, "rebuild:7 ask:S17 put:1 rebuild:7 ask:S27");
	answer(&t, "S2", 7, 1);
	said(&t, 0, 0, 1);
	check(&t, "put:1 repaired:S27");
	repair_free(t.p);
}
END_TEST

START_TEST(patience_ends)
{
	struct t t;

	INIT(&t, );
	repair_begin(t.p, 7, t.now);
	said(&t, 0, 7, 0);
	check(&t, "rebuild:7");
	for (int i = 0; i < 20; i++) {
		ck_assert(repair_busy(t.p));
		t.now += S;
		repair_tick(t.p, t.now);
		check(&t, "rebuild:7");
		said(&t, 0, 7, 0);
	}
	check(&t, "failed:7");
	ck_assert(!repair_busy(t.p));
	repair_begin(t.p, 7, t.now); /* it may be tried again */
	said(&t, RLOG_E_DAMAGED, 0, 0);
	check(&t, "rebuild:7 final:7");
	repair_free(t.p);
}
END_TEST

START_TEST(who_comes_is_asked_at_once)
{
	struct t t;

	INIT(&t, );
	repair_begin(t.p, 7, t.now);
	said(&t, 0, 7, 0);
	repair_link(t.p, "S2", true, t.now);
	repair_tick(t.p, t.now);
	said(&t, 0, 7, 0);
	check(&t, "rebuild:7 rebuild:7 ask:S27");
	repair_free(t.p);
}
END_TEST

START_TEST(more_than_one)
{
	struct t t;

	INIT(&t, "S1", );
	repair_begin(t.p, 7, t.now);
	repair_begin(t.p, 7, t.now);
	repair_begin(t.p, 90, t.now);
	repair_begin(t.p, 90, t.now);
	said(&t, RLOG_E_GONE, 0, 0); /* retention was faster */
	said(&t, 0, 0, 0);
	check(&t, "rebuild:7 rebuild:90 repaired:90");
	ck_assert(!repair_busy(t.p));
	said(&t, 0, 5, 0); /* late */
	repair_tick(t.p, t.now);
	check(&t, "");
	repair_free(t.p);
}
END_TEST

/* A cut ends the log's part while a node is being asked. */
START_TEST(cut_meanwhile)
{
	struct t t;

	INIT(&t, "S1", );
	repair_begin(t.p, 7, t.now);
	said(&t, 0, 7, 0);
	said(&t, -ECANCELED, 0, 0);
	answer(&t, "S1", 7, 1);
	check(&t, "rebuild:7 ask:S17 rebuild:7");
	said(&t, RLOG_E_GONE, 0, 0); /* it was cut off */
	ck_assert(!repair_busy(t.p));
	repair_free(t.p);
}
END_TEST

START_TEST(no_room_is_tried_again)
{
	struct t t;

	INIT(&t, "S1", );
	repair_begin(t.p, 7, t.now);
	said(&t, RLOG_E_FULL, 0, 0);
	for (int i = 0; i < 50; i++) { /* for as long as it takes */
		ck_assert(repair_busy(t.p));
		t.now += S;
		repair_tick(t.p, t.now);
		said(&t, i % 2 ? RLOG_E_FULL : -EMFILE, 0, 0);
	}
	ck_assert(strstr(t.trace, "failed") == NULL);
	repair_free(t.p);
}
END_TEST

/* Patience counts from the last record gained. */
START_TEST(progress_renews_patience)
{
	struct t t;

	INIT(&t, "S1", );
	repair_begin(t.p, 7, t.now);
	said(&t, 0, 7, 0);
	for (int i = 0; i < 30; i++) { /* a long segment, one batch a second */
		answer(&t, "S1", (leash_seq)(7 + i), 1);
		t.now += S;
		said(&t, 0, (leash_seq)(8 + i), (uint64_t)i + 1);
	}
	t.trace[0] = 0;
	repair_link(t.p, "S1", false, t.now); /* the connection breaks for a moment */
	ck_assert_str_eq(t.trace, "");
	repair_free(t.p);
}
END_TEST

/* A round gains again what the one before gained: that is no progress (simulator, seed 240). */
START_TEST(the_same_gain_again_is_none)
{
	struct t t;
	int rounds = 0;

	INIT(&t, "S1", );
	repair_begin(t.p, 7, t.now);
	while (repair_busy(t.p)) {
		ck_assert_int_lt(rounds++, 30);
		said(&t, 0, 7, 0);
		answer(&t, "S1", 7, 5);
		said(&t, 0, 12, 5);
		t.trace[0] = '\0';
		answer(&t, "S1", 12, 0);
		t.now += S;
		repair_tick(t.p, t.now);
	}
	check(&t, "failed:7");
	repair_free(t.p);
}
END_TEST

UNIT_MAIN("repair", tcase_add_test(tc, one_node_after_the_other);
	tcase_add_test(tc, who_is_silent_is_passed_over);
	tcase_add_test(tc, another_past_is_left);
	tcase_add_test(tc, patience_ends);
	tcase_add_test(tc, progress_renews_patience);
	tcase_add_test(tc, the_same_gain_again_is_none);
	tcase_add_test(tc, who_comes_is_asked_at_once);
	tcase_add_test(tc, more_than_one);
	tcase_add_test(tc, cut_meanwhile);
	tcase_add_test(tc, no_room_is_tried_again))

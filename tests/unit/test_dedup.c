/* The dedup table against a model that keeps everything and looks it up the slow way. */
#include "replica/dedup.h"

#include "unit.h"

#define LOG_MAX 4000

static struct rec_ident opaque(uint64_t id, uint64_t payload)
{
	return (struct rec_ident){ .kind = REC_ID_OPAQUE, .key = hash_128(&id, sizeof id, 1), .payload = payload };
}

static struct rec_ident numbered(enum rec_id_kind kind, uint64_t owner, uint64_t n)
{
	uint64_t v[2] = { owner, n };

	return (struct rec_ident){ .kind = kind, .key = hash_128(v, sizeof v, kind), .owner = owner, .n = n, .payload = n };
}

static struct rec_ident session(uint64_t id, uint64_t n, leash_seq birth)
{
	struct rec_ident i = numbered(REC_ID_SESSION, id, n);

	i.open = n == 1;
	i.birth = birth;
	return i;
}

static struct dedup *table(uint64_t window, uint64_t time_ns, uint64_t records_max)
{
	struct dedup_conf c = { .window = window, .time_ns = time_ns, .records_max = records_max, .uncommitted_max = 50 };
	struct dedup *d;

	ck_assert_int_eq(dedup_new(&c, &d), 0);
	dedup_reset(d, 1);
	return d;
}

static void put_at(struct dedup *d, leash_seq seq, struct rec_ident ident, uint64_t log_time_ns)
{
	struct rep_rec r = { .seq = seq, .epoch = 1, .ident = ident, .log_time_ns = log_time_ns };

	dedup_apply(d, &r);
}

static void put(struct dedup *d, leash_seq seq, struct rec_ident ident)
{
	put_at(d, seq, ident, seq);
}

static enum dedup_verdict ask(struct dedup *d, struct rec_ident ident, leash_seq *seq)
{
	*seq = 0;
	return dedup_lookup(d, &ident, seq);
}

START_TEST(known_conflict_new)
{
	struct dedup *d = table(10, 0, 10);
	leash_seq s;

	put(d, 1, opaque(7, 70));
	ck_assert_int_eq(ask(d, opaque(7, 70), &s), DEDUP_KNOWN);
	ck_assert_uint_eq(s, 1);
	ck_assert_int_eq(ask(d, opaque(7, 71), &s), DEDUP_CONFLICT);
	ck_assert_uint_eq(s, 1);
	ck_assert_int_eq(ask(d, opaque(8, 70), &s), DEDUP_NEW);
	put(d, 2, (struct rec_ident){ 0 });
	ck_assert_int_eq(ask(d, (struct rec_ident){ 0 }, &s), DEDUP_NEW); /* no id: never a double */
	dedup_free(d);
}
END_TEST

/* Only committed records evict, and exactly `window` of them are remembered. */
START_TEST(window_counts_committed_records)
{
	struct dedup *d = table(10, 0, 10);
	leash_seq s;

	for (leash_seq q = 1; q <= 40; q++)
		put(d, q, opaque(q, q));
	ck_assert_int_eq(ask(d, opaque(1, 1), &s), DEDUP_KNOWN);
	dedup_commit(d, 10);
	ck_assert_int_eq(ask(d, opaque(1, 1), &s), DEDUP_KNOWN);
	dedup_commit(d, 11);
	ck_assert_int_eq(ask(d, opaque(1, 1), &s), DEDUP_NEW);
	ck_assert_int_eq(ask(d, opaque(2, 2), &s), DEDUP_KNOWN);
	ck_assert_uint_eq(dedup_oldest(d), 2);
	dedup_free(d);
}
END_TEST

START_TEST(time_lengthens_the_window_up_to_its_room)
{
	struct dedup *d = table(10, 1000, 100);
	leash_seq s;

	for (leash_seq q = 1; q <= 30; q++) {
		put_at(d, q, opaque(q, q), 10 * q);
		dedup_commit(d, q);
	}
	ck_assert_int_eq(ask(d, opaque(1, 1), &s), DEDUP_KNOWN); /* 290 ns old */
	for (leash_seq q = 31; q <= 150; q++) {
		put_at(d, q, opaque(q, q), 300);
		dedup_commit(d, q);
	}
	ck_assert_int_eq(ask(d, opaque(999, 1), &s), DEDUP_FULL); /* everything is younger: nothing is dropped early */
	ck_assert_int_eq(ask(d, opaque(1, 1), &s), DEDUP_KNOWN);
	dedup_pass(d, 1000); /* still young */
	ck_assert_int_eq(ask(d, opaque(999, 1), &s), DEDUP_FULL);
	dedup_pass(d, 1020); /* time passes also while nothing gets in */
	ck_assert_int_eq(ask(d, opaque(999, 1), &s), DEDUP_NEW);
	ck_assert_int_eq(ask(d, opaque(1, 1), &s), DEDUP_NEW);
	ck_assert_int_eq(ask(d, opaque(2, 2), &s), DEDUP_KNOWN);
	dedup_free(d);
}
END_TEST

START_TEST(session_counters_are_consecutive)
{
	struct dedup *d = table(10, 0, 10);
	leash_seq s;

	ck_assert_int_eq(ask(d, session(5, 2, 0), &s), DEDUP_UNKNOWN_SESSION);
	ck_assert_int_eq(ask(d, session(5, 1, 0), &s), DEDUP_NEW);
	put(d, 1, session(5, 1, 0));
	put(d, 2, session(5, 2, 0));
	ck_assert_int_eq(ask(d, session(5, 1, 0), &s), DEDUP_KNOWN);
	ck_assert_int_eq(ask(d, session(5, 3, 0), &s), DEDUP_NEW);
	ck_assert_int_eq(ask(d, session(5, 5, 0), &s), DEDUP_SESSION_ORDER);
	ck_assert_uint_eq(s, 3);
	dedup_free(d);
}
END_TEST

/* B11: a session that was opened before what is remembered might have been here already. */
START_TEST(old_session_does_not_look_new)
{
	struct dedup *d = table(10, 0, 10);
	leash_seq s;

	put(d, 1, session(5, 1, 0));
	for (leash_seq q = 2; q <= 30; q++)
		put(d, q, opaque(q, q));
	dedup_commit(d, 30);
	ck_assert_int_eq(ask(d, session(5, 1, 0), &s), DEDUP_UNKNOWN_SESSION);
	ck_assert_int_eq(ask(d, session(5, 2, 0), &s), DEDUP_UNKNOWN_SESSION);
	ck_assert_int_eq(ask(d, session(6, 1, dedup_oldest(d) - 2), &s), DEDUP_UNKNOWN_SESSION);
	ck_assert_int_eq(ask(d, session(6, 1, dedup_oldest(d) - 1), &s), DEDUP_NEW);
	dedup_free(d);
}
END_TEST

/* B7: the highest number goes back with a cut, also when the record before it has been evicted meanwhile. */
START_TEST(cut_undoes_numbers)
{
	struct dedup *d = table(3, 0, 3);
	leash_seq s;

	put(d, 1, numbered(REC_ID_SEQ, 9, 10));
	put(d, 2, numbered(REC_ID_SEQ, 9, 20));
	ck_assert_int_eq(ask(d, numbered(REC_ID_SEQ, 9, 15), &s), DEDUP_OLD);
	dedup_cut(d, 1);
	ck_assert_int_eq(ask(d, numbered(REC_ID_SEQ, 9, 15), &s), DEDUP_NEW);
	ck_assert_int_eq(ask(d, numbered(REC_ID_SEQ, 9, 10), &s), DEDUP_KNOWN);
	for (leash_seq q = 2; q <= 8; q++)
		put(d, q, opaque(q, q));
	put(d, 9, numbered(REC_ID_SEQ, 9, 30));
	dedup_commit(d, 8); /* record 1 is past the window */
	dedup_cut(d, 8);
	ck_assert_int_eq(ask(d, numbered(REC_ID_SEQ, 9, 5), &s), DEDUP_NEW); /* the producer is forgotten with it */
	dedup_free(d);
}
END_TEST

/* ----------------------------------------------------------------------------------------------------------- a model */

struct model {
	struct rec_ident log[LOG_MAX];
	leash_seq end, base;
};

static enum dedup_verdict model_ask(const struct model *m, const struct rec_ident *i, leash_seq *seq)
{
	uint64_t highest = 0;
	bool known = false;

	for (leash_seq q = m->end; q > m->base; q--)
		if (i->kind && m->log[q].kind == i->kind && hash128_eq(m->log[q].key, i->key)) {
			*seq = q;
			return m->log[q].payload == i->payload ? DEDUP_KNOWN : DEDUP_CONFLICT;
		}
	for (leash_seq q = m->base + 1; q <= m->end; q++)
		if (m->log[q].kind == i->kind && m->log[q].owner == i->owner) {
			highest = MAX2(highest, m->log[q].n);
			known = true;
		}
	if (i->kind == REC_ID_SEQ)
		return known && i->n <= highest ? DEDUP_OLD : DEDUP_NEW;
	if (i->kind != REC_ID_SESSION)
		return DEDUP_NEW;
	if (known && i->n == highest + 1)
		return DEDUP_NEW;
	if (known && i->n > highest) {
		*seq = highest + 1;
		return DEDUP_SESSION_ORDER;
	}
	return !known && i->open && i->birth >= m->base ? DEDUP_NEW : DEDUP_UNKNOWN_SESSION;
}

static uint64_t next(uint64_t *x)
{
	*x = *x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return *x >> 33;
}

static struct rec_ident any(uint64_t *x, leash_seq commit)
{
	switch (next(x) % 4) {
	case 0: return (struct rec_ident){ 0 };
	case 1: return opaque(next(x) % 60, next(x) % 3);
	case 2: return numbered(REC_ID_SEQ, next(x) % 5, next(x) % 40);
	default: return session(100 + next(x) % 5, 1 + next(x) % 12, commit - MIN2(commit, next(x) % 60));
	}
}

START_TEST(does_what_the_model_does)
{
	struct dedup *d = table(40, 0, 40), *again;
	struct model *m = calloc(1, sizeof *m);
	uint64_t x = (uint64_t)_i * 7919 + 1;
	leash_seq commit = 0;

	while (m->end < LOG_MAX - 1) {
		struct rec_ident i = any(&x, commit);
		leash_seq a, b = 0;
		enum dedup_verdict v = ask(d, i, &a);

		ck_assert_int_eq(v, model_ask(m, &i, &b));
		ck_assert_uint_eq(a, b);
		if (v == DEDUP_NEW && m->end - commit < 50) {
			m->log[++m->end] = i;
			put(d, m->end, i);
		}
		if (next(&x) % 8 == 0)
			commit += next(&x) % (m->end - commit + 1);
		dedup_commit(d, commit);
		m->base = commit > 40 ? commit - 40 : 0;
		if (next(&x) % 50 == 0) {
			m->end = commit + next(&x) % (m->end - commit + 1);
			dedup_cut(d, m->end);
		}
		if (m->end - commit >= 50) {
			commit = m->end;
			dedup_commit(d, commit);
			m->base = commit > 40 ? commit - 40 : 0;
		}
	}
	/* Rebuilt from the last records of the log it is the same table. */
	again = table(40, 0, 40);
	dedup_reset(again, dedup_replay_from(again, m->end));
	for (leash_seq q = dedup_replay_from(again, m->end); q <= m->end; q++)
		put(again, q, m->log[q]);
	dedup_commit(again, commit);
	ck_assert_uint_eq(dedup_digest(again), dedup_digest(d));
	dedup_free(again);
	dedup_free(d);
	free(m);
}
END_TEST

UNIT_MAIN("dedup", tcase_add_test(tc, known_conflict_new); tcase_add_test(tc, window_counts_committed_records);
	tcase_add_test(tc, time_lengthens_the_window_up_to_its_room); tcase_add_test(tc, session_counters_are_consecutive);
	tcase_add_test(tc, old_session_does_not_look_new); tcase_add_test(tc, cut_undoes_numbers);
	tcase_add_loop_test(tc, does_what_the_model_does, 0, 20))

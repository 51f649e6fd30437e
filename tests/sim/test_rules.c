/*
 * The scenarios that broke earlier wordings of the rules (facts on counterexamples: A1..A10 found by an explicit-state
 * explorer, B1.. by reasoning), and the life of a cluster, in virtual time. The simulator checks the promises after
 * every step; what a test adds is the situation and what must come of it.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/sim.h"

static bool has_primary(struct sim *s)
{
	return sim_primary(s) != NULL && sim_status(s, sim_primary(s))->serving;
}

static bool three_in_sync(struct sim *s)
{
	return has_primary(s) && sim_insync(s)->n_members == 3;
}

static bool two_in_sync(struct sim *s)
{
	return sim_insync(s)->n_members == 2;
}

static int watched_op;
static bool op_answered(struct sim *s)
{
	return sim_answer(s, watched_op) != 0;
}

static bool answered(struct sim *s, int op, uint64_t ms)
{
	watched_op = op;
	return sim_run_until(s, op_answered, ms);
}

/* Appends at P1, each answered before the next. */
static void append_by(struct sim *s, const char *producer, int n)
{
	for (int i = 0; i < n; i++) {
		char id[24];

		(void)snprintf(id, sizeof id, "%s/%d", producer, i);
		ck_assert(answered(s, sim_append(s, "P1", id, id), 2000));
	}
}

static void append_some(struct sim *s, int n)
{
	append_by(s, "c", n);
}

static const char *watched_node;
static bool node_leads(struct sim *s)
{
	return sim_primary(s) && strcmp(sim_primary(s), watched_node) == 0 && sim_status(s, watched_node)->serving;
}

static bool leads(struct sim *s, const char *node, uint64_t ms)
{
	watched_node = node;
	return sim_run_until(s, node_leads, ms);
}

static bool equal_and_quiet(struct sim *s)
{
	return three_in_sync(s) && sim_logs_equal(s);
}

/* Three nodes, P1 leads, one record committed. */
static struct sim *cluster(struct sim_opts opts)
{
	struct sim *s = sim_new(opts);

	ck_assert(sim_run_until(s, three_in_sync, 5000));
	ck_assert(leads(s, "P1", 1000));
	ck_assert(answered(s, sim_append(s, "P1", "first/1", "one"), 1000));
	return s;
}

static struct sim *three(void)
{
	return cluster((struct sim_opts){ .seed = 1 });
}

static void all_well(struct sim *s)
{
	int op = sim_append(s, NULL, "last/1", "z");

	ck_assert(answered(s, op, 20000));
	ck_assert(sim_run_until(s, equal_and_quiet, 30000));
	sim_free(s);
}

/* ------------------------------------------------------------------------------------------------ a cluster's life */

START_TEST(founded_only_by_all_founders)
{
	struct sim *s = sim_new((struct sim_opts){ .seed = 2, .no_start = true });

	sim_start(s, "P1");
	sim_start(s, "S1");
	sim_run(s, 5000);
	ck_assert(!sim_insync(s)->present);
	sim_start(s, "S2");
	ck_assert(sim_run_until(s, three_in_sync, 3000));
	ck_assert_str_eq(sim_primary(s), "P1"); /* rank: name, priorities being equal */
	ck_assert_uint_eq(sim_insync(s)->epoch, 1);
	sim_free(s);
}
END_TEST

START_TEST(primary_dies_secondary_takes_over_within_a_second)
{
	struct sim *s = three();

	sim_crash(s, "P1");
	ck_assert(leads(s, "S1", 1000));
	ck_assert_uint_eq(sim_insync(s)->epoch, 2);
	ck_assert_uint_eq(sim_insync(s)->n_members, 2);
	ck_assert(answered(s, sim_append(s, "S1", "pay/7", "hello"), 1000));
	sim_start(s, "P1");
	all_well(s);
}
END_TEST

START_TEST(retry_across_takeover_gets_first_position)
{
	struct sim *s = three();
	int op = sim_append(s, "P1", "pay/7", "hello"), again;

	ck_assert(answered(s, op, 1000));
	sim_crash(s, "P1");
	again = sim_append(s, "S1", "pay/7", "hello");
	ck_assert(answered(s, again, 5000));
	ck_assert_uint_eq(sim_answer(s, again), sim_answer(s, op));
	sim_start(s, "P1");
	all_well(s);
}
END_TEST

START_TEST(same_id_other_payload_is_a_conflict_for_ever)
{
	struct sim *s = three();
	int a = sim_append(s, "P1", "pay/7", "hello"), b;

	ck_assert(answered(s, a, 1000));
	sim_crash(s, "P1");
	b = sim_append(s, "S1", "pay/7", "other");
	ck_assert(answered(s, b, 5000));
	ck_assert(sim_conflict(s, b));
	ck_assert_uint_eq(sim_answer(s, b), sim_answer(s, a));
	sim_start(s, "P1");
	all_well(s);
}
END_TEST

/* R6: the unacknowledged records of a primary that was cut off are gone when it comes back; none is shown before (A9). */
START_TEST(cut_off_primary_loses_what_it_never_acknowledged)
{
	struct sim *s = three();
	int lost, kept;

	sim_cut(s, "P1", NULL);
	sim_cut_etcd(s, "P1", true);
	lost = sim_append_once(s, "P1", "lost/1", "never acknowledged");
	ck_assert(leads(s, "S1", 12000));
	kept = sim_append(s, "S1", "kept/1", "acknowledged");
	ck_assert(answered(s, kept, 2000));
	ck_assert_uint_eq(sim_answer(s, kept), 2);
	ck_assert_uint_eq(sim_log_end(s, "P1"), 2); /* another record at the same place */
	ck_assert_uint_eq(sim_answer(s, lost), 0);
	sim_heal(s);
	sim_cut_etcd(s, "P1", false);
	ck_assert(sim_run_until(s, equal_and_quiet, 10000));
	ck_assert_uint_eq(sim_notes(s, "P1", REP_NOTE_CUT), 1);
	ck_assert_uint_eq(sim_answer(s, lost), 0);
	all_well(s);
}
END_TEST

/* Promise 8. */
START_TEST(commits_go_on_while_etcd_is_away)
{
	struct sim *s = three();

	sim_etcd_down(s, true);
	for (int i = 0; i < 20; i++) {
		char id[24];

		(void)snprintf(id, sizeof id, "out/%d", i);
		ck_assert(answered(s, sim_append(s, "P1", id, id), 1000));
		sim_run(s, 1000);
	}
	sim_etcd_down(s, false);
	sim_run(s, 10000);
	ck_assert_str_eq(sim_primary(s), "P1");
	ck_assert_uint_eq(sim_insync(s)->epoch, 1);
	all_well(s);
}
END_TEST

/* R3a, R10, B16: the lease is lost in a hiccup; the primary puts its key back, in the same epoch. */
START_TEST(lost_lease_is_confirmed_in_the_same_epoch)
{
	struct sim *s = three();

	sim_expire_lease(s, "P1");
	sim_run(s, 3000);
	ck_assert_str_eq(sim_primary(s), "P1");
	ck_assert_uint_eq(sim_insync(s)->epoch, 1);
	ck_assert_uint_eq(sim_notes(s, "P1", REP_NOTE_CONFIRMED), 1);
	all_well(s);
}
END_TEST

START_TEST(graceful_hand_over_raises_the_epoch)
{
	struct sim *s = three();

	sim_handover(s, "P1", "S2", 3000);
	ck_assert(leads(s, "S2", 300));
	ck_assert_uint_eq(sim_insync(s)->epoch, 2);
	ck_assert_uint_eq(sim_notes(s, "P1", REP_NOTE_DEPOSED), 1);
	all_well(s);
}
END_TEST

START_TEST(all_die_at_once_nothing_is_lost)
{
	struct sim *s = three();
	int op = sim_append(s, "P1", "pay/7", "hello");

	ck_assert(answered(s, op, 1000));
	sim_crash(s, "P1");
	sim_crash(s, "S1");
	sim_crash(s, "S2");
	sim_start(s, "S2");
	sim_start(s, "S1");
	sim_start(s, "P1");
	ck_assert(sim_run_until(s, three_in_sync, 10000));
	all_well(s);
}
END_TEST

/* R11: @victim finds that its log is damaged from record 2 on, although all of it is committed. */
static void damaged_at_run_time(struct sim *s, const char *victim)
{
	leash_id before = sim_status(s, victim)->meta.incarnation;

	for (int i = 0; i < 5; i++) {
		char id[16];

		(void)snprintf(id, sizeof id, "pay/%d", i);
		ck_assert(answered(s, sim_append(s, NULL, id, "hello"), 2000));
	}
	sim_run(s, 200);
	sim_damage(s, victim, 2);
	ck_assert(answered(s, sim_append(s, NULL, "pay/9", "hello"), 2000));
	ck_assert(sim_run_until(s, equal_and_quiet, 10000));
	ck_assert_uint_ne(sim_status(s, victim)->meta.incarnation, before);
	ck_assert(!sim_status(s, victim)->damaged);
	all_well(s);
}

/* R11: what other nodes can prove comes back in place, and nobody becomes somebody new. */
static void repaired_in_place(const char *victim)
{
	struct sim *s = three();
	leash_id before = sim_status(s, victim)->meta.incarnation;

	append_some(s, 5);
	sim_run(s, 200);
	sim_rot(s, victim, 3);
	sim_run(s, 3000);
	ck_assert_ptr_nonnull(strstr(sim_trace(s), "has repaired the segment of 3"));
	ck_assert_uint_eq(sim_status(s, victim)->meta.incarnation, before);
	ck_assert_str_eq(sim_primary(s), "P1");
	all_well(s);
}

START_TEST(rotten_record_of_a_secondary_is_repaired)
{
	repaired_in_place("S1");
}
END_TEST

START_TEST(rotten_record_of_the_primary_is_repaired)
{
	repaired_in_place("P1");
}
END_TEST

START_TEST(damaged_secondary_becomes_somebody_new)
{
	struct sim *s = three();

	damaged_at_run_time(s, "S1");
}
END_TEST

START_TEST(damaged_primary_hands_over_first)
{
	struct sim *s = three();

	damaged_at_run_time(s, "P1");
}
END_TEST

static bool primary_has_trimmed(struct sim *s)
{
	return sim_status(s, "P1")->log_start > 100;
}

/* S1 has lost its last record and joins once more, by a LEAD that is old: what that said of P1's log ends before the log now
 * begins. So it takes a fresh copy, which ends before what S1 knew to be committed; readers must not be offered what is
 * not there (simulator, seed 59). */
START_TEST(fresh_copy_after_damage_takes_the_commit_index_back)
{
	struct sim *s = cluster((struct sim_opts){ .seed = 1, .dedup_window = 100, .segment_bytes = 8192,
		.retention_bytes = 16384 });
	leash_seq commit;

	sim_crash(s, "S1");
	sim_run(s, 2000);
	sim_start(s, "S1"); /* from now on retention comes to it later than to P1 */
	ck_assert(sim_run_until(s, three_in_sync, 5000));
	append_some(s, 600);
	ck_assert(sim_run_until(s, primary_has_trimmed, 10000));
	ck_assert_uint_lt(sim_status(s, "S1")->log_start, sim_status(s, "P1")->log_start);
	sim_delay(s, "P1", "S1", 50);
	commit = sim_status(s, "S1")->commit;
	sim_damage(s, "S1", sim_log_end(s, "S1"));
	for (int i = 0; i < 500; i++) {
		const struct rep_status *st = sim_status(s, "S1");

		ck_assert_uint_le(st->commit, st->log_end);
		sim_run(s, 1);
	}
	ck_assert_uint_eq(sim_notes(s, "S1", REP_NOTE_RESET), 1);
	ck_assert_uint_ge(sim_status(s, "S1")->commit, commit);
	sim_delay(s, "P1", "S1", 0);
	all_well(s);
}
END_TEST

/* P1 leads with nothing in its cache, and the last of its records, *ret_last, is on no other disk. */
static struct sim *alone_with_a_record(leash_seq *ret_last)
{
	struct sim *s = three();

	append_some(s, 3);
	*ret_last = sim_log_end(s, "P1") + 1;
	sim_cut(s, "P1", NULL);
	(void)sim_append_once(s, "P1", "pay/7", "hello");
	sim_run(s, 200);
	ck_assert_uint_eq(sim_log_end(s, "P1"), *ret_last);
	sim_crash(s, "P1");
	sim_start(s, "P1");
	sim_run(s, 100);
	ck_assert_str_eq(sim_primary(s), "P1");
	return s;
}

/* What is rotten was never acknowledged, for nobody else has it: the others cannot wait for it (simulator, seed 344). */
START_TEST(damaged_primary_alone_with_the_record)
{
	leash_seq last;
	struct sim *s = alone_with_a_record(&last);

	sim_damage(s, "P1", last);
	sim_heal(s);
	all_well(s);
}
END_TEST

/* The same with rot that begins before: others have those records, but they cannot get what comes then (seed 2845). */
START_TEST(damaged_primary_alone_with_the_last_of_the_records)
{
	leash_seq last;
	struct sim *s = alone_with_a_record(&last);

	sim_damage(s, "P1", last - 1); /* found first */
	sim_damage(s, "P1", last);
	sim_heal(s);
	all_well(s);
}
END_TEST

/* It has what nobody else has: until somebody is in sync it goes on under its old incarnation. */
START_TEST(damaged_primary_without_successor_goes_on)
{
	struct sim *s = cluster((struct sim_opts){ .min_insync = 1 });
	leash_id before = sim_status(s, "P1")->meta.incarnation;

	sim_crash(s, "S1");
	sim_crash(s, "S2");
	sim_run(s, 2000);
	sim_damage(s, "P1", 1);
	ck_assert(answered(s, sim_append(s, "P1", "pay/7", "hello"), 5000));
	sim_run(s, 30000);
	ck_assert(sim_status(s, "P1")->damaged && sim_status(s, "P1")->role == REP_ROLE_PRIMARY);
	ck_assert_uint_eq(sim_status(s, "P1")->meta.incarnation, before);
	ck_assert_uint_eq(sim_notes(s, "P1", REP_NOTE_HANDOVER_FAILED), 1);
	sim_start(s, "S1");
	sim_start(s, "S2");
	sim_run(s, 2000);
	ck_assert(sim_run_until(s, equal_and_quiet, 10000));
	ck_assert_uint_ne(sim_status(s, "P1")->meta.incarnation, before);
	sim_free(s);
}
END_TEST

/* B18: one of two members is dead for good; a third is brought in and the dead one leaves. */
START_TEST(dead_member_is_swapped_for_a_live_one)
{
	struct sim *s = three();

	sim_crash(s, "S1");
	ck_assert(sim_run_until(s, two_in_sync, 3000));
	sim_crash(s, "S2"); /* P1 alone: below min_insync, the set stays as it is */
	watched_op = sim_append(s, "P1", "pay/7", "hello");
	sim_run(s, 3000);
	ck_assert_uint_eq(sim_answer(s, watched_op), 0);
	ck_assert_uint_eq(sim_insync(s)->n_members, 2);
	sim_start(s, "S1");
	ck_assert(answered(s, watched_op, 5000));
	sim_start(s, "S2");
	all_well(s);
}
END_TEST

/* KIP-903: a deleted data directory is another incarnation, not in the set, until it has caught up. */
START_TEST(wiped_node_is_not_electable_before_it_has_caught_up)
{
	struct sim *s = three();

	ck_assert(answered(s, sim_append(s, "P1", "pay/7", "hello"), 1000));
	sim_crash(s, "S1");
	sim_wipe(s, "S1");
	sim_cut(s, "S1", NULL);
	sim_start(s, "S1");
	sim_crash(s, "P1");
	sim_crash(s, "S2");
	sim_heal(s);
	sim_run(s, 20000);
	ck_assert_ptr_null(sim_primary(s)); /* S1 alone, empty: nobody */
	sim_start(s, "S2");
	ck_assert(leads(s, "S2", 10000));
	sim_start(s, "P1");
	all_well(s);
}
END_TEST

START_TEST(chain_forwards_and_falls_back_to_star)
{
	struct sim *s = cluster((struct sim_opts){ .seed = 5, .topology = REP_CHAIN });

	append_some(s, 10);
	sim_cut(s, "S1", "S2");
	ck_assert(answered(s, sim_append(s, "P1", "cut/1", "x"), 5000));
	sim_heal(s);
	all_well(s);
}
END_TEST

/* ------------------------------------------------------------------------------------------- A1..A10: found by search */

/* A1: a delayed change of the set must not take effect after a takeover. */
START_TEST(a1_late_shrink_fails_its_guards)
{
	struct sim *s = three();

	sim_txn_fault(s, "P1", SIM_FAULT_LATE, 6000);
	sim_crash(s, "S2"); /* P1 proposes {P1 S1}; the request hangs on its way */
	sim_run(s, 60);
	sim_cut(s, "P1", NULL);
	sim_cut_etcd(s, "P1", true);
	sim_start(s, "S2");
	sim_run(s, 4000);
	sim_expire_lease(s, "P1");
	ck_assert(leads(s, "S1", 5000) || leads(s, "S2", 1));
	sim_run(s, 8000); /* the late one arrives */
	ck_assert_uint_ge(sim_insync(s)->epoch, 2);
	sim_heal(s);
	sim_cut_etcd(s, "P1", false);
	all_well(s);
}
END_TEST

/* A2: a promise never goes back. S1 asks for an epoch and hears nothing; S2 takes a higher one and commits with S1's help;
 * then S1 learns that its own attempt is lost. The old primary must find no ear. */
START_TEST(a2_a_promise_never_goes_back)
{
	struct sim *s = three();
	int op;

	sim_txn_fault(s, "S1", SIM_FAULT_LATE, 1500);
	sim_pause(s, "P1");
	ck_assert(leads(s, "S2", 3000));
	ck_assert_uint_ge(sim_notes(s, "S1", REP_NOTE_CAMPAIGN), 1);
	op = sim_append(s, "S2", "pay/7", "hello");
	ck_assert(answered(s, op, 500));
	sim_run(s, 2000); /* S1's attempt arrives now, and fails */
	sim_resume(s, "P1");
	sim_run(s, 3000);
	ck_assert_uint_ge(sim_insync(s)->epoch, 2);
	ck_assert_uint_eq(sim_notes(s, "S1", REP_NOTE_CUT), 0);
	all_well(s);
}
END_TEST

/* A2, A3: asking is no promise. A candidate whose request was lost goes on acknowledging the old primary, so a false
 * suspicion as etcd goes away does not stop commits for the whole outage. */
START_TEST(a3_false_suspicion_while_etcd_goes_away)
{
	struct sim *s = three();

	sim_txn_fault(s, "S1", SIM_FAULT_LOST_REQUEST, 0);
	sim_txn_fault(s, "S2", SIM_FAULT_LOST_REQUEST, 0);
	sim_pause(s, "P1");
	sim_run(s, 1100); /* both suspect it and ask */
	ck_assert_uint_ge(sim_notes(s, "S1", REP_NOTE_CAMPAIGN), 1);
	sim_etcd_down(s, true);
	sim_resume(s, "P1");
	ck_assert(answered(s, sim_append(s, "P1", "pay/7", "hello"), 3000));
	ck_assert_str_eq(sim_primary(s), "P1");
	sim_run(s, 20000);
	ck_assert(answered(s, sim_append(s, "P1", "pay/8", "hello"), 3000));
	sim_etcd_down(s, false);
	all_well(s);
}
END_TEST

/* A4: an unanswered addition stays possible, so its member stays required, although reads show the old set. */
START_TEST(a4_unanswered_addition_keeps_its_member_required)
{
	struct sim *s = three();
	int op;

	sim_crash(s, "S2");
	ck_assert(sim_run_until(s, two_in_sync, 3000));
	sim_txn_fault(s, "P1", SIM_FAULT_LATE, 5000);
	sim_start(s, "S2");
	for (int i = 0; i < 2000 && sim_notes(s, "P1", REP_NOTE_CAUGHT_UP) < 1; i++)
		sim_run(s, 1); /* proposed, and on its way */
	ck_assert_uint_eq(sim_insync(s)->n_members, 2);
	sim_cut_etcd(s, "P1", true);
	sim_cut_etcd(s, "S1", true); /* nobody takes over meanwhile */
	sim_crash(s, "S2");
	op = sim_append(s, "P1", "pay/7", "hello");
	sim_run(s, 3000);
	ck_assert_uint_eq(sim_answer(s, op), 0);
	sim_run(s, 5000); /* it takes effect now: S2 may take over, and must have everything */
	ck_assert_uint_eq(sim_answer(s, op), 0);
	ck_assert_uint_eq(sim_insync(s)->n_members, 3);
	sim_start(s, "S2");
	sim_cut_etcd(s, "P1", false);
	sim_cut_etcd(s, "S1", false);
	ck_assert(answered(s, op, 10000));
	all_well(s);
}
END_TEST

/* A5: a primary streams a record before its own write is durable, dies, and comes back inside its lease: it must not
 * go on in its old epoch with another record at the same position. */
START_TEST(a5_an_epoch_belongs_to_one_process_life)
{
	struct sim *s = three();
	int a, b;

	sim_freeze_disk(s, "P1", true);
	a = sim_append(s, "P1", "a/1", "streamed, never on my disk");
	sim_run(s, 10);
	ck_assert_uint_eq(sim_answer(s, a), 0);
	sim_crash(s, "P1");
	sim_freeze_disk(s, "P1", false);
	sim_start(s, "P1");
	b = sim_append(s, "P1", "b/1", "another");
	ck_assert(answered(s, a, 10000));
	ck_assert(answered(s, b, 10000));
	ck_assert_uint_ge(sim_insync(s)->epoch, 2);
	ck_assert_uint_ne(sim_answer(s, a), sim_answer(s, b));
	all_well(s);
}
END_TEST

/* A5, second trace: the restarted primary does not know that it was requiring S2; the addition that its former life
 * asked for must not take effect any more. */
START_TEST(a5_a_former_life_changes_nothing)
{
	struct sim *s = three();

	sim_crash(s, "S2");
	ck_assert(sim_run_until(s, two_in_sync, 3000));
	sim_txn_fault(s, "P1", SIM_FAULT_LATE, 4000);
	sim_start(s, "S2");
	for (int i = 0; i < 2000 && sim_notes(s, "P1", REP_NOTE_CAUGHT_UP) < 1; i++)
		sim_run(s, 1);
	ck_assert_uint_eq(sim_insync(s)->n_members, 2);
	sim_crash(s, "P1");
	sim_crash(s, "S2");
	sim_start(s, "P1");
	ck_assert(answered(s, sim_append(s, "P1", "pay/7", "hello"), 3000));
	ck_assert_uint_eq(sim_insync(s)->epoch, 2);
	sim_run(s, 5000); /* the addition arrives: its guards are gone */
	ck_assert_uint_eq(sim_insync(s)->epoch, 2);
	ck_assert_uint_eq(sim_insync(s)->n_members, 2);
	sim_start(s, "S2");
	all_well(s);
}
END_TEST

/* A6: what an older connection of the same epoch says shows a shorter log than the primary has by now. */
START_TEST(a6_older_connection_cuts_nothing)
{
	struct sim *s = three();
	leash_seq end;

	sim_delay(s, "P1", "S1", 900);
	sim_reset_link(s, "P1", "S1");
	sim_run(s, 20); /* a LEAD is on its way, slowly */
	sim_delay(s, "P1", "S1", 0);
	sim_reset_link(s, "P1", "S1");
	append_some(s, 10);
	end = sim_log_end(s, "S1");
	sim_run(s, 1500);
	ck_assert_uint_ge(sim_log_end(s, "S1"), end);
	ck_assert_uint_eq(sim_notes(s, "S1", REP_NOTE_CUT), 0);
	ck_assert_uint_eq(sim_notes(s, "S1", REP_NOTE_DAMAGED), 0);
	ck_assert_uint_eq(sim_insync(s)->n_members, 3);
	all_well(s);
}
END_TEST

/* A7: a new primary's commit index lags; an empty node must not join on its strength. */
START_TEST(a7_empty_node_joins_only_with_the_whole_log)
{
	struct sim *s = three();

	for (int i = 0; i < 30; i++) {
		char id[24];

		(void)snprintf(id, sizeof id, "c/%d", i);
		(void)sim_append(s, "P1", id, id);
	}
	sim_crash(s, "S2");
	sim_wipe(s, "S2");
	sim_run(s, 300);
	sim_delay(s, "S1", "S2", 50);
	sim_crash(s, "P1");
	sim_start(s, "S2");
	ck_assert(leads(s, "S1", 5000) || sim_primary(s));
	sim_start(s, "P1");
	ck_assert(sim_run_until(s, three_in_sync, 15000)); /* the simulator checks every member at every change */
	sim_delay(s, "S1", "S2", 0);
	sim_crash(s, "S1");
	ck_assert(sim_run_until(s, has_primary, 10000));
	sim_start(s, "S1");
	all_well(s);
}
END_TEST

/* A8: a hand-over whose answer is lost takes effect after the primary has gone on. */
START_TEST(a8_late_hand_over_makes_no_second_primary_of_an_epoch)
{
	struct sim *s = three();
	int op;

	sim_txn_fault(s, "P1", SIM_FAULT_LATE, 5000);
	sim_handover(s, "P1", "S1", 3000); /* gives up after 3 s */
	sim_run(s, 50);
	sim_cut_etcd(s, "P1", true);
	sim_run(s, 3500);
	op = sim_append(s, "P1", "pay/7", "hello"); /* goes on under R1 */
	ck_assert(answered(s, op, 1000));
	ck_assert_uint_eq(sim_insync(s)->epoch, 1);
	ck_assert(leads(s, "S1", 5000));
	ck_assert_uint_eq(sim_insync(s)->epoch, 2);
	sim_cut_etcd(s, "P1", false);
	all_well(s);
}
END_TEST

/* A takeover took effect, unanswered, and its lease ran out before the winner heard of it: it asks again. */
START_TEST(takeover_won_and_lost_unseen_is_asked_for_again)
{
	struct sim *s = three();

	sim_crash(s, "S2");
	ck_assert(sim_run_until(s, two_in_sync, 3000));
	sim_txn_fault(s, "S1", SIM_FAULT_LATE, 300);
	sim_crash(s, "P1");
	sim_run(s, 200);
	sim_cut_etcd(s, "S1", true);
	sim_run(s, 200);
	ck_assert_uint_eq(sim_insync(s)->epoch, 2);
	sim_expire_lease(s, "S1");
	sim_start(s, "S2");
	sim_run(s, 2000);
	sim_cut_etcd(s, "S1", false);
	ck_assert(leads(s, "S1", 10000));
	sim_start(s, "P1");
	all_well(s);
}
END_TEST

/* A primary that stepped down for its disk leads again when nobody else may. */
START_TEST(only_member_leads_again_after_a_full_disk)
{
	struct sim *s = sim_new((struct sim_opts){ .seed = 1, .nodes = 2, .min_insync = 1 });
	int op;

	ck_assert(sim_run_until(s, two_in_sync, 5000));
	ck_assert(leads(s, "P1", 2000));
	sim_crash(s, "S1");
	op = sim_append(s, "P1", "pay/6", "hello");
	ck_assert(answered(s, op, 5000));
	op = sim_append(s, "P1", "pay/7", "hello");
	for (int i = 0; i < 100 && sim_status(s, "P1")->log_end == sim_status(s, "P1")->durable; i++)
		sim_run(s, 1);
	sim_disk_full(s, "P1");
	ck_assert_ptr_null(sim_primary(s));
	ck_assert(leads(s, "P1", 10000));
	ck_assert(answered(s, op, 5000));
	sim_free(s);
}
END_TEST

/* A10: etcd comes back from a backup: the nodes stand aside and cut nothing, until an operator's word. */
START_TEST(a10_restored_etcd_makes_nodes_stand_aside)
{
	struct sim *s = three();
	void *backup = sim_etcd_backup(s);
	leash_seq ends[3];

	sim_crash(s, "P1");
	ck_assert(leads(s, "S1", 3000));
	ck_assert(answered(s, sim_append(s, "S1", "pay/7", "hello"), 2000));
	sim_start(s, "P1");
	ck_assert(sim_run_until(s, three_in_sync, 10000));
	sim_run(s, 500);
	ends[0] = sim_log_end(s, "P1");
	sim_etcd_restore(s, backup);
	free(backup);
	sim_run(s, 10000);
	ck_assert_uint_ge(sim_notes(s, "P1", REP_NOTE_HALTED) + sim_notes(s, "S1", REP_NOTE_HALTED) +
		sim_notes(s, "S2", REP_NOTE_HALTED), 1);
	ck_assert_uint_eq(sim_log_end(s, "P1"), ends[0]);
	ck_assert_uint_eq(sim_log_end(s, "S1"), ends[0]);
	ck_assert_uint_eq(sim_log_end(s, "S2"), ends[0]);
	sim_recover(s, "S1");
	ck_assert(sim_run_until(s, three_in_sync, 20000));
	all_well(s);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------ B: reasoned */

/* B2, R9: keys gone under a running cluster: it goes on; nobody founds a new one; an operator's word puts them back. */
START_TEST(b2_deleted_keys_stop_nobody_and_found_nothing)
{
	struct sim *s = three();

	sim_etcd_wipe(s);
	for (int i = 0; i < 5; i++) {
		char id[24];

		(void)snprintf(id, sizeof id, "gone/%d", i);
		ck_assert(answered(s, sim_append(s, "P1", id, id), 2000));
		sim_run(s, 1000);
	}
	ck_assert_uint_eq(sim_notes(s, "P1", REP_NOTE_STATE_GONE), 1);
	sim_crash(s, "P1");
	sim_crash(s, "S1");
	sim_start(s, "P1");
	sim_start(s, "S1");
	sim_run(s, 8000);
	ck_assert(!sim_insync(s)->present);
	ck_assert_ptr_null(sim_primary(s));
	sim_recover(s, "P1");
	ck_assert(sim_run_until(s, three_in_sync, 15000));
	all_well(s);
}
END_TEST

static bool founded(struct sim *s)
{
	return sim_insync(s)->present;
}

/* No disk has come to say which cluster it is; the keys are deleted, others found it again: P1 has nothing to lose. */
START_TEST(founded_anew_before_it_was_written_down)
{
	struct sim *s = sim_new((struct sim_opts){ .seed = 1 });

	sim_etcd_down(s, true);
	sim_run(s, 2000);
	sim_etcd_down(s, false);
	sim_freeze_disk(s, "P1", true);
	sim_freeze_disk(s, "S1", true);
	sim_freeze_disk(s, "S2", true);
	ck_assert(sim_run_until(s, founded, 20000));
	sim_run(s, 500);
	sim_etcd_wipe(s);
	sim_crash(s, "S1");
	sim_crash(s, "S2");
	sim_freeze_disk(s, "S1", false);
	sim_freeze_disk(s, "S2", false);
	sim_start(s, "S1");
	sim_start(s, "S2");
	ck_assert(sim_run_until(s, founded, 20000));
	sim_run(s, 1000);
	ck_assert_uint_eq(sim_notes(s, "P1", REP_NOTE_FOREIGN), 0);
	ck_assert_uint_eq(sim_notes(s, "P1", REP_NOTE_FOUNDED_ANEW), 1);
	sim_freeze_disk(s, "P1", false);
	sim_start(s, "P1");
	ck_assert(sim_run_until(s, three_in_sync, 20000));
	all_well(s);
}
END_TEST

/* B6: a data directory restored from an image is as good as damaged: it acknowledged more than it has. */
START_TEST(b6_restored_image_becomes_another_incarnation)
{
	struct sim *s = three();
	void *image = sim_image(s, "S2");

	append_some(s, 10);
	sim_etcd_down(s, true); /* so that S2 is still in the set when it comes back */
	sim_crash(s, "S2");
	sim_restore_image(s, "S2", image);
	sim_image_free(image);
	sim_start(s, "S2");
	sim_run(s, 2000);
	ck_assert_uint_ge(sim_notes(s, "S2", REP_NOTE_DAMAGED), 1);
	sim_etcd_down(s, false);
	all_well(s);
}
END_TEST

/* B15: one follower does not hear the primary, another does, but commits cannot move: it must not be let be for ever. */
START_TEST(b15_partial_partition_ends)
{
	struct sim *s = three();
	int op;

	sim_crash(s, "S2");
	ck_assert(sim_run_until(s, two_in_sync, 3000));
	sim_start(s, "S2");
	ck_assert(sim_run_until(s, three_in_sync, 10000));
	sim_cut(s, "P1", "S1");
	sim_cut_etcd(s, "P1", true); /* it can neither commit nor shrink */
	op = sim_append(s, "P1", "pay/7", "hello");
	ck_assert(answered(s, op, 15000));
	sim_heal(s);
	sim_cut_etcd(s, "P1", false);
	all_well(s);
}
END_TEST

/* It moves, but every commit waits for it: it leaves the set, and returns when it keeps up. All slow alike: nobody leaves. */
START_TEST(a_slow_member_leaves)
{
	struct sim *s = three();

	sim_delay(s, "P1", "S1", 700);
	sim_delay(s, "P1", "S2", 700);
	append_some(s, 10);
	ck_assert(three_in_sync(s));
	sim_delay(s, "P1", "S1", 0);
	append_by(s, "slow", 10);
	ck_assert(two_in_sync(s) && sim_notes(s, "P1", REP_NOTE_INSYNC_REMOVE) == 1);
	ck_assert(answered(s, sim_append(s, "P1", "fast/1", "x"), 50));
	sim_delay(s, "P1", "S2", 0);
	all_well(s);
}
END_TEST

/* Where there is no better one the slow member counts: min_insync stands, and nothing is said to be amiss. */
START_TEST(a_slow_member_that_is_needed_stays)
{
	struct sim *s = three();

	sim_crash(s, "S1");
	ck_assert(sim_run_until(s, two_in_sync, 5000));
	sim_delay(s, "P1", "S2", 700);
	append_some(s, 10);
	ck_assert(two_in_sync(s));
	ck_assert_uint_eq(sim_notes(s, "P1", REP_NOTE_BELOW_MIN), 0);
	sim_delay(s, "P1", "S2", 0);
	sim_start(s, "S1");
	all_well(s);
}
END_TEST

/* B7: the highest number of an IDMPSEQ producer goes back with a cut, or a retry of the cut record would be lost. */
START_TEST(b7_highest_number_goes_back_with_a_cut)
{
	struct sim *s = three();
	int again;

	ck_assert(answered(s, sim_append(s, "P1", "seq-a/1", "x"), 2000));
	sim_cut(s, "P1", NULL);
	sim_cut_etcd(s, "P1", true);
	(void)sim_append_once(s, "P1", "seq-a/2", "y"); /* only in P1's log */
	ck_assert(leads(s, "S1", 12000));
	ck_assert(answered(s, sim_append(s, "S1", "other/1", "z"), 2000));
	sim_heal(s);
	sim_cut_etcd(s, "P1", false);
	ck_assert(sim_run_until(s, equal_and_quiet, 15000));
	sim_run(s, 100);
	sim_handover(s, "S1", "P1", 3000);
	ck_assert(leads(s, "P1", 2000));
	again = sim_append(s, "P1", "seq-a/2", "y");
	ck_assert(answered(s, again, 3000));
	ck_assert_uint_eq(sim_answer(s, again), 4);
	all_well(s);
}
END_TEST

/* The trace of a takeover, as text. */
START_TEST(takeover_reads_as_a_story)
{
	struct sim *s = three();
	const char *story;

	sim_crash(s, "P1");
	ck_assert(leads(s, "S1", 2000));
	story = sim_trace(s);
	ck_assert_ptr_nonnull(strstr(story, "S1 suspects the primary P1 epoch 1 seq 1: its connection was reset and a new one refused\n"));
	ck_assert_ptr_nonnull(strstr(story, "etcd: leader S1 epoch 2, insync version 3 of 2 S1 S2\n"));
	ck_assert_ptr_nonnull(strstr(story, "S1 became primary P1 epoch 2 seq 1\n"));
	sim_free(s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("rules");
	TCase *t = tcase_create("rules");
	SRunner *r;
	int failed;

	tcase_set_timeout(t, 120);
	tcase_add_test(t, founded_only_by_all_founders);
	tcase_add_test(t, primary_dies_secondary_takes_over_within_a_second);
	tcase_add_test(t, retry_across_takeover_gets_first_position);
	tcase_add_test(t, same_id_other_payload_is_a_conflict_for_ever);
	tcase_add_test(t, cut_off_primary_loses_what_it_never_acknowledged);
	tcase_add_test(t, commits_go_on_while_etcd_is_away);
	tcase_add_test(t, lost_lease_is_confirmed_in_the_same_epoch);
	tcase_add_test(t, graceful_hand_over_raises_the_epoch);
	tcase_add_test(t, rotten_record_of_a_secondary_is_repaired);
	tcase_add_test(t, rotten_record_of_the_primary_is_repaired);
	tcase_add_test(t, damaged_secondary_becomes_somebody_new);
	tcase_add_test(t, damaged_primary_hands_over_first);
	tcase_add_test(t, fresh_copy_after_damage_takes_the_commit_index_back);
	tcase_add_test(t, damaged_primary_alone_with_the_record);
	tcase_add_test(t, damaged_primary_alone_with_the_last_of_the_records);
	tcase_add_test(t, damaged_primary_without_successor_goes_on);
	tcase_add_test(t, all_die_at_once_nothing_is_lost);
	tcase_add_test(t, dead_member_is_swapped_for_a_live_one);
	tcase_add_test(t, wiped_node_is_not_electable_before_it_has_caught_up);
	tcase_add_test(t, chain_forwards_and_falls_back_to_star);
	tcase_add_test(t, a1_late_shrink_fails_its_guards);
	tcase_add_test(t, a2_a_promise_never_goes_back);
	tcase_add_test(t, a3_false_suspicion_while_etcd_goes_away);
	tcase_add_test(t, a4_unanswered_addition_keeps_its_member_required);
	tcase_add_test(t, a5_an_epoch_belongs_to_one_process_life);
	tcase_add_test(t, a5_a_former_life_changes_nothing);
	tcase_add_test(t, a6_older_connection_cuts_nothing);
	tcase_add_test(t, a7_empty_node_joins_only_with_the_whole_log);
	tcase_add_test(t, a8_late_hand_over_makes_no_second_primary_of_an_epoch);
	tcase_add_test(t, takeover_won_and_lost_unseen_is_asked_for_again);
	tcase_add_test(t, only_member_leads_again_after_a_full_disk);
	tcase_add_test(t, a10_restored_etcd_makes_nodes_stand_aside);
	tcase_add_test(t, b2_deleted_keys_stop_nobody_and_found_nothing);
	tcase_add_test(t, founded_anew_before_it_was_written_down);
	tcase_add_test(t, b6_restored_image_becomes_another_incarnation);
	tcase_add_test(t, b15_partial_partition_ends);
	tcase_add_test(t, a_slow_member_leaves);
	tcase_add_test(t, a_slow_member_that_is_needed_stays);
	tcase_add_test(t, b7_highest_number_goes_back_with_a_cut);
	tcase_add_test(t, takeover_reads_as_a_story);
	suite_add_tcase(suite, t);
	r = srunner_create(suite);
	srunner_run_all(r, CK_NORMAL);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#include "cli/recover.h"

#include "unit.h"

#include <stdio.h>

static struct recover_log log_of(const char *node, leash_epoch log_epoch, leash_epoch last_epoch, leash_seq matched,
	leash_seq end)
{
	struct recover_log l = { .cluster = 0xc1, .incarnation = 1, .promise = log_epoch, .epoch = log_epoch,
		.log_epoch = log_epoch, .last_epoch = last_epoch, .log_matched = matched, .log_end = end,
		.insync_version = 10, .recovery = 0, .dedup_window = 1000, .min_insync = 2 };

	for (const char *p = node; *p; p++)
		l.incarnation = l.incarnation * 31 + (uint8_t)*p;
	(void)snprintf(l.node, sizeof l.node, "%s", node);
	return l;
}

static const struct rep_insync nothing;

START_TEST(a_tail_of_an_older_epoch_does_not_count)
{
	struct recover_log whole = log_of("P1", 3, 3, 50, 90), tail = log_of("P1", 3, 2, 50, 90);
	struct recover_log empty = log_of("P1", 0, 0, 0, 0), cut = log_of("P1", 3, 2, 50, 40);

	ck_assert_uint_eq(recover_length(&whole), 90);
	ck_assert_uint_eq(recover_length(&tail), 50);
	ck_assert_uint_eq(recover_length(&empty), 0);
	ck_assert_uint_eq(recover_length(&cut), 40);
}
END_TEST

START_TEST(highest_log_epoch_wins_over_longest)
{
	/* P1 led epoch 1 and wrote on alone; S1 and S2 acknowledged 80 in epoch 2. */
	struct recover_log logs[] = { log_of("P1", 1, 1, 60, 500), log_of("S1", 2, 2, 60, 80), log_of("S2", 2, 2, 60, 79) };
	struct rep_insync set;
	size_t best;

	ck_assert_int_eq(recover_choose(logs, 3, &nothing, &best, &set), 0);
	ck_assert_uint_eq(best, 1);
	ck_assert_uint_eq(set.n_members, 1);
	ck_assert_str_eq(set.members[0].node, "S1");
	ck_assert_uint_eq(set.members[0].incarnation, logs[1].incarnation);
	ck_assert_uint_eq(set.cluster, 0xc1);
	ck_assert_uint_eq(set.min_insync, 2);
	ck_assert_uint_eq(set.dedup_window, 1000);
}
END_TEST

START_TEST(an_unacknowledged_tail_does_not_make_a_log_longer)
{
	struct recover_log logs[] = { log_of("P1", 2, 1, 70, 500), log_of("S1", 2, 2, 60, 80) };
	struct rep_insync set;
	size_t best;

	ck_assert_int_eq(recover_choose(logs, 2, &nothing, &best, &set), 0);
	ck_assert_uint_eq(best, 1);
}
END_TEST

START_TEST(numbers_rise_above_all_that_was_seen)
{
	struct recover_log logs[] = { log_of("P1", 4, 4, 1, 10), log_of("S1", 4, 4, 1, 10), log_of("S2", 0, 0, 0, 0) };
	struct rep_insync old = { .present = true, .cluster = 0xc1, .version = 31, .recovery = 1, .epoch = 5 }, set;
	size_t best;

	logs[1].promise = 9;      /* it has promised an epoch that nobody won */
	logs[2].insync_version = 40; /* a virgin one may have seen more */
	logs[2].cluster = 0;
	logs[2].recovery = 3;
	ck_assert_int_eq(recover_choose(logs, 3, &old, &best, &set), 0);
	ck_assert_uint_eq(set.epoch, 10);
	ck_assert_uint_eq(set.version, 41);
	ck_assert_uint_eq(set.recovery, 4);
	old = (struct rep_insync){ .epoch = 20 }; /* only a leader is left in etcd */
	ck_assert_int_eq(recover_choose(logs, 3, &old, &best, &set), 0);
	ck_assert_uint_eq(set.epoch, 21);
}
END_TEST

START_TEST(what_it_refuses)
{
	struct recover_log logs[] = { log_of("P1", 4, 4, 1, 10), log_of("S1", 3, 3, 1, 10) };
	struct rep_insync set;
	size_t best = 77;

	ck_assert_int_eq(recover_choose(logs, 0, &nothing, &best, &set), RECOVER_E_NONE);
	logs[1].cluster = 0xc2;
	ck_assert_int_eq(recover_choose(logs, 2, &nothing, &best, &set), RECOVER_E_CLUSTERS);
	logs[1].cluster = 0xc1;
	logs[0].damaged = true;
	ck_assert_int_eq(recover_choose(logs, 1, &nothing, &best, &set), RECOVER_E_NONE);
	ck_assert_uint_eq(best, 77);
	ck_assert_int_eq(recover_choose(logs, 2, &nothing, &best, &set), 0);
	ck_assert_uint_eq(best, 1);
	logs[0].min_insync = logs[1].min_insync = 0;
	ck_assert_int_eq(recover_choose(logs, 2, &nothing, &best, &set), RECOVER_E_UNKNOWN);
	logs[0].min_insync = 3; /* any of them may know it */
	ck_assert_int_eq(recover_choose(logs, 2, &nothing, &best, &set), 0);
	ck_assert_uint_eq(set.min_insync, 3);
}
END_TEST

START_TEST(twins_are_not_for_us_to_choose)
{
	struct recover_log logs[] = { log_of("P1", 4, 4, 1, 10), log_of("P1", 4, 4, 1, 10) };
	struct rep_insync set;
	size_t best;

	logs[1].incarnation++;
	ck_assert_int_eq(recover_choose(logs, 2, &nothing, &best, &set), RECOVER_E_TWINS);
	logs[1].log_end = 9; /* one is clearly the better */
	ck_assert_int_eq(recover_choose(logs, 2, &nothing, &best, &set), 0);
	ck_assert_uint_eq(best, 0);
}
END_TEST

START_TEST(doing_it_again_finds_its_own_result)
{
	struct recover_log logs[] = { log_of("P1", 4, 4, 1, 10), log_of("S1", 3, 3, 1, 10) };
	struct rep_insync set;
	size_t best;

	ck_assert_int_eq(recover_choose(logs, 2, &nothing, &best, &set), 0);
	ck_assert(!recover_is_done(logs, 2, best, &nothing));
	ck_assert(recover_is_done(logs, 2, best, &set));
	logs[1].recovery = set.recovery; /* a node lives by it already: this is no longer ours to say */
	ck_assert(!recover_is_done(logs, 2, best, &set));
	logs[1].recovery = 0;
	set.members[0].incarnation++;
	ck_assert(!recover_is_done(logs, 2, best, &set));
}
END_TEST

UNIT_MAIN("recover", {
	tcase_add_test(tc, a_tail_of_an_older_epoch_does_not_count);
	tcase_add_test(tc, highest_log_epoch_wins_over_longest);
	tcase_add_test(tc, an_unacknowledged_tail_does_not_make_a_log_longer);
	tcase_add_test(tc, numbers_rise_above_all_that_was_seen);
	tcase_add_test(tc, what_it_refuses);
	tcase_add_test(tc, twins_are_not_for_us_to_choose);
	tcase_add_test(tc, doing_it_again_finds_its_own_result);
})

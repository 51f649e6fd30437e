/* Where two logs agree (R6): against a comparison position by position. */
#include "replica/history.h"

#include "unit.h"

static uint64_t next(uint64_t *x)
{
	*x = *x * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return *x >> 33;
}

static struct history of(const leash_epoch *epochs, leash_seq start, leash_seq end)
{
	struct history h = { 0 };

	for (leash_seq s = start; s <= end; s++)
		history_append(&h, epochs[s], s);
	return h;
}

START_TEST(epochs_by_position)
{
	static const leash_epoch epochs[] = { 0, 1, 1, 4, 4, 4, 9 };
	struct history h = of(epochs, 1, 6);
	leash_seq first;

	ck_assert_uint_eq(h.n, 3);
	for (leash_seq s = 1; s <= 6; s++)
		ck_assert_uint_eq(history_at(&h, s, &first), epochs[s]);
	ck_assert_uint_eq(first, 6);
	ck_assert_uint_eq(history_last(&h), 9);
	history_cut(&h, 4);
	ck_assert_uint_eq(history_last(&h), 4);
	history_trim(&h, 4);
	ck_assert_uint_eq(history_at(&h, 3, &first), 0);
	ck_assert_uint_eq(history_at(&h, 4, &first), 4);
	ck_assert_uint_eq(first, 4);
	history_deinit(&h);
}
END_TEST

START_TEST(bad_histories_are_refused)
{
	static const struct rep_stretch falling[] = { { 4, 1 }, { 3, 9 } }, twice[] = { { 4, 1 }, { 5, 1 } },
		zero[] = { { 0, 1 } };
	struct history h = { 0 };

	ck_assert_int_lt(history_set(&h, falling, 2), 0);
	ck_assert_int_lt(history_set(&h, twice, 2), 0);
	ck_assert_int_lt(history_set(&h, zero, 1), 0);
	ck_assert_uint_eq(h.n, 0);
	history_deinit(&h);
}
END_TEST

/* Two random logs that branched once: the result is the last position at which both hold a record of one epoch. */
START_TEST(match_is_the_last_common_position)
{
	uint64_t x = (uint64_t)_i + 1;

	for (int round = 0; round < 500; round++) {
		leash_epoch a[64] = { 0 }, b[64] = { 0 }, e = 1;
		leash_seq branch = next(&x) % 20, a_end = branch + next(&x) % 20, b_end = branch + next(&x) % 20, want = 0;
		leash_seq a_start = 1 + next(&x) % (branch + 1), b_start = 1 + next(&x) % (branch + 1);

		for (leash_seq s = 1; s <= branch; s++)
			a[s] = b[s] = e += next(&x) % 3 == 0;
		/* Epochs have one owner: after the branch one log may go on in the last common epoch, the other not. */
		for (leash_seq s = branch + 1, ea = e; s <= a_end; s++)
			a[s] = ea += 2 * (next(&x) % 3 == 0);
		for (leash_seq s = branch + 1, eb = e + 1; s <= b_end; s++)
			b[s] = eb += 2 * (next(&x) % 3 == 0);
		struct history ha = of(a, a_start, a_end), hb = of(b, b_start, b_end);
		struct history_log la = { &ha, a_start, a_end }, lb = { &hb, b_start, b_end };

		want = a_start - 1;
		for (leash_seq s = MAX2(a_start, b_start); s <= MIN2(a_end, b_end); s++)
			if (a[s] == b[s])
				want = s;
		ck_assert_uint_eq(history_match(&la, &lb), want);
		history_deinit(&ha);
		history_deinit(&hb);
	}
}
END_TEST

UNIT_MAIN("history", tcase_add_test(tc, epochs_by_position); tcase_add_test(tc, bad_histories_are_refused);
	tcase_add_loop_test(tc, match_is_the_last_common_position, 0, 10))

#include "cli/produce.h"

#include "unit.h"

#include "base/clk.h"

static void add(struct produce *p, const char *text, uint64_t now_ns)
{
	char *copy = strdup(text);

	ck_assert_ptr_nonnull(copy);
	produce_add(p, copy, strlen(copy), now_ns);
}

/* Sends all that waits and returns how many lines that were. */
static unsigned send_all(struct produce *p)
{
	unsigned n = 0;

	for (; produce_next(p); n++)
		produce_sent(p);
	return n;
}

START_TEST(lines_go_out_and_are_acknowledged_in_order)
{
	struct produce p;

	ck_assert_int_eq(produce_init(&p, 3), 0);
	add(&p, "a", 0);
	add(&p, "b", 0);
	add(&p, "c", 0);
	ck_assert(produce_full(&p));
	ck_assert_ptr_null(produce_due(&p));
	ck_assert_str_eq(produce_next(&p)->text, "a");
	ck_assert_uint_eq(send_all(&p), 3);
	ck_assert_str_eq(produce_due(&p)->text, "a");
	produce_acknowledged(&p, 1, 0, 0);
	ck_assert_str_eq(produce_due(&p)->text, "b");
	add(&p, "d", 0); /* the ring comes round */
	ck_assert_uint_eq(produce_next(&p)->number, 4);
	ck_assert_uint_eq(p.acknowledged, 1);
	produce_deinit(&p);
}
END_TEST

START_TEST(after_a_loss_everything_goes_again_in_order)
{
	struct produce p;

	ck_assert_int_eq(produce_init(&p, 8), 0);
	for (int i = 0; i < 4; i++)
		add(&p, i % 2 ? "odd" : "even", 0);
	ck_assert_uint_eq(send_all(&p), 4);
	produce_acknowledged(&p, 10, 0, 0);
	produce_again(&p);
	ck_assert_ptr_null(produce_due(&p));
	ck_assert_uint_eq(produce_next(&p)->number, 2);
	ck_assert_uint_eq(p.resent, 3);
	ck_assert_uint_eq(send_all(&p), 3);
	produce_acknowledged(&p, 11, 0, 0);
	produce_acknowledged(&p, 11, 0, 0); /* never: but it would be told */
	ck_assert_uint_eq(p.out_of_order, 1);
	ck_assert_uint_eq(p.first_seq, 10);
	ck_assert_uint_eq(p.last_seq, 11);
	produce_deinit(&p);
}
END_TEST

START_TEST(ids_are_the_same_in_every_run)
{
	struct produce_line a = { .number = 7, .text = (char *)"order", .len = 5 }, b = a, c = a, d = a;
	char ia[PRODUCE_ID_TEXT], ib[PRODUCE_ID_TEXT];

	c.number = 8;
	d.len = 4;
	ck_assert_str_eq(produce_id(&a, ia), produce_id(&b, ib));
	ck_assert_str_ne(produce_id(&a, ia), produce_id(&c, ib));
	ck_assert_str_ne(produce_id(&a, ia), produce_id(&d, ib));
	ck_assert_int_eq(strncmp(ia, "7-", 2), 0);
	ck_assert_uint_eq(strlen(ia), 2 + 16);
}
END_TEST

START_TEST(pauses_count_only_while_something_is_awaited)
{
	struct produce p;

	ck_assert_int_eq(produce_init(&p, 8), 0);
	add(&p, "a", 1000 * NS_PER_MS);
	add(&p, "b", 5000 * NS_PER_MS);
	(void)send_all(&p);
	produce_acknowledged(&p, 1, 1010 * NS_PER_MS, 500000);
	produce_acknowledged(&p, 2, 1510 * NS_PER_MS, 500500);
	ck_assert_uint_eq(p.longest_pause_ms, 500);
	/* nothing to do for ten seconds, then an answer within 20 ms */
	add(&p, "c", 11510 * NS_PER_MS);
	(void)send_all(&p);
	produce_acknowledged(&p, 3, 11530 * NS_PER_MS, 510520);
	ck_assert_uint_eq(p.longest_pause_ms, 500);
	ck_assert_uint_eq(p.n_pauses, 1);
	ck_assert_uint_eq(p.pauses[0].ms, 500);
	ck_assert_uint_eq(p.pauses[0].real_ms, 500000);
	produce_deinit(&p);
}
END_TEST

static enum produce_verdict judge(const char *error)
{
	return produce_judge((struct bytes){ (const uint8_t *)error, strlen(error) });
}

START_TEST(which_errors_pass)
{
	ck_assert_int_eq(judge("TRYAGAIN no primary"), PRODUCE_RETRY);
	ck_assert_int_eq(judge("INDOUBT may be in the log"), PRODUCE_RETRY);
	ck_assert_int_eq(judge("NOREPLICAS"), PRODUCE_RETRY);
	ck_assert_int_eq(judge("OOM no room"), PRODUCE_RETRY);
	ck_assert_int_eq(judge("ERR record too large"), PRODUCE_FATAL);
	ck_assert_int_eq(judge("IDMPCONFLICT same id, other payload"), PRODUCE_FATAL);
	ck_assert_int_eq(judge("NOAUTH"), PRODUCE_FATAL);
	ck_assert_int_eq(judge("TRYAGAINX"), PRODUCE_FATAL);
	ck_assert_int_eq(judge(""), PRODUCE_FATAL);
}
END_TEST

UNIT_MAIN("produce", {
	tcase_add_test(tc, lines_go_out_and_are_acknowledged_in_order);
	tcase_add_test(tc, after_a_loss_everything_goes_again_in_order);
	tcase_add_test(tc, ids_are_the_same_in_every_run);
	tcase_add_test(tc, pauses_count_only_while_something_is_awaited);
	tcase_add_test(tc, which_errors_pass);
})

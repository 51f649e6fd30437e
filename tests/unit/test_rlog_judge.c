#include <check.h>
#include <stdlib.h>

#include "log/rlog_judge.h"

static struct rlog_facts facts_of(unsigned i)
{
	return (struct rlog_facts){ .header = i & 1, .body = i & 2, .chain = i & 4, .behind = i & 8, .proof = i & 16,
		.zeroes = i & 32 };
}

START_TEST(each_combination_has_exactly_one_row)
{
	for (unsigned i = 0; i < 64; i++) {
		struct rlog_facts f = facts_of(i);

		ck_assert_msg(rlog_judge_matches(&f) == 1, "combination %u: %zu rows", i, rlog_judge_matches(&f));
	}
}
END_TEST

/* What the table must never say, said again in another way. */
START_TEST(verdicts_keep_the_rules)
{
	for (unsigned i = 0; i < 64; i++) {
		struct rlog_facts f = facts_of(i);
		enum rlog_verdict v = rlog_judge(&f);

		if (v == RLOG_V_KEEP)
			ck_assert(f.header && f.body && f.chain);
		if (v == RLOG_V_TORN)
			ck_assert(f.behind && !f.proof && !f.zeroes);
		if (v == RLOG_V_END)
			ck_assert(f.behind && !f.proof && f.zeroes);
		if (!f.behind && !(f.header && f.body && f.chain && !f.zeroes))
			ck_assert_int_eq(v, RLOG_V_DAMAGE);
		if (f.header && f.body && !f.chain)
			ck_assert_int_eq(v, RLOG_V_DAMAGE);
	}
}
END_TEST

int main(void)
{
	Suite *s = suite_create("rlog_judge");
	TCase *t = tcase_create("table");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_test(t, each_combination_has_exactly_one_row);
	tcase_add_test(t, verdicts_keep_the_rules);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

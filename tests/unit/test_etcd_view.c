/* Lost events show; events on their way do not. */
#include <check.h>
#include <errno.h>
#include <stdio.h>

#include "etcd/view.h"

static struct bytes key(const char *s)
{
	return (struct bytes){ .p = (const uint8_t *)s, .len = strlen(s) };
}

static void note(struct view *v, const char *k, int64_t mod, bool deleted)
{
	ck_assert_int_eq(view_note(v, key(k), mod, deleted), 0);
}

START_TEST(keeps_the_newest)
{
	struct view v = VIEW_NULL;

	ck_assert_int_eq(view_mod(&v, key("a")), 0);
	note(&v, "b", 5, false);
	note(&v, "a", 4, false);
	note(&v, "ab", 6, false);
	note(&v, "b", 3, true); /* older: ignored */
	ck_assert_int_eq(view_mod(&v, key("a")), 4);
	ck_assert_int_eq(view_mod(&v, key("ab")), 6);
	ck_assert_int_eq(view_mod(&v, key("b")), 5);
	ck_assert(!v.keys[2].deleted);
	note(&v, "b", 7, true);
	view_settle(&v, 6);
	ck_assert_int_eq(view_mod(&v, key("b")), 7);
	view_settle(&v, 7);
	ck_assert_int_eq(view_mod(&v, key("b")), 0);
	ck_assert_uint_eq(v.n_keys, 2);
	view_deinit(&v);
}
END_TEST

static const struct {
	const char *what;
	int64_t ours; /* mod revision of "k", negative: deleted there, 0: unknown */
	int64_t read; /* 0: not there; the read is at revision 10 */
	bool agrees;
} cases[] = {
	{ "same", 5, 5, true },
	{ "both without", 0, 0, true },
	{ "the put was lost", 0, 5, false },
	{ "the second put was lost", 4, 5, false },
	{ "the delete was lost", 5, 0, false },
	{ "deleted in both", -6, 0, true },
	{ "put again, and that was lost", -6, 7, false },
	{ "we are ahead: put", 11, 5, true },
	{ "we are ahead: put, not there then", 11, 0, true },
	{ "we are ahead: deleted", -11, 5, true },
	{ "we are ahead at the revision itself", 10, 9, false },
};

START_TEST(agreement)
{
	struct view v = VIEW_NULL, read = VIEW_NULL;

	note(&v, "a", 1, false); /* neighbours on both sides */
	note(&v, "z", 1, false);
	note(&read, "a", 1, false);
	note(&read, "z", 1, false);
	if (cases[_i].ours)
		note(&v, "k", cases[_i].ours < 0 ? -cases[_i].ours : cases[_i].ours, cases[_i].ours < 0);
	if (cases[_i].read)
		note(&read, "k", cases[_i].read, false);
	ck_assert_msg(view_agrees(&v, &read, 10) == cases[_i].agrees, "%s", cases[_i].what);
	view_deinit(&v);
	view_deinit(&read);
}
END_TEST

START_TEST(the_bound)
{
	struct view v = VIEW_NULL;
	char text[16];

	for (int i = 0; i < VIEW_KEYS_MAX; i++) {
		(void)snprintf(text, sizeof text, "%08d", i);
		note(&v, text, 1, false);
	}
	ck_assert_int_eq(view_note(&v, key("x"), 1, false), -ENOBUFS);
	note(&v, "00000007", 2, false); /* known keys go on */
	view_deinit(&v);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("etcd_view");
	TCase *tc = tcase_create("view");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, keeps_the_newest);
	tcase_add_loop_test(tc, agreement, 0, (int)ARRAY_SIZE(cases));
	tcase_add_test(tc, the_bound);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

/*
 * The few lines that every unit test with libcheck would repeat.
 */
#ifndef LEASH_TESTS_UNIT_H
#define LEASH_TESTS_UNIT_H

#include <check.h>
#include <stdlib.h>

/* main() of a test program with one suite: UNIT_MAIN("buf", tcase_add_test(tc, a); tcase_add_test(tc, b)) */
#define UNIT_MAIN(name, add)                                                                                 \
	int main(void)                                                                                       \
	{                                                                                                    \
		Suite *unit_suite = suite_create(name);                                                      \
		TCase *tc = tcase_create(name);                                                              \
		SRunner *sr;                                                                                 \
		int failed;                                                                                  \
                                                                                                             \
		tcase_set_timeout(tc, 60);                                                                   \
		add;                                                                                         \
		suite_add_tcase(unit_suite, tc);                                                             \
		sr = srunner_create(unit_suite);                                                             \
		srunner_run_all(sr, CK_ENV);                                                                 \
		failed = srunner_ntests_failed(sr);                                                          \
		srunner_free(sr);                                                                            \
		return failed ? EXIT_FAILURE : EXIT_SUCCESS;                                                 \
	}

#endif

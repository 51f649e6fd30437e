#include "base/ids.h"

#include "unit.h"

START_TEST(random_ids_differ_and_are_not_zero)
{
	leash_id seen[256];

	for (size_t i = 0; i < ARRAY_SIZE(seen); i++) {
		seen[i] = id_random();
		ck_assert_uint_ne(seen[i], 0);
		for (size_t j = 0; j < i; j++)
			ck_assert_uint_ne(seen[i], seen[j]);
	}
}
END_TEST

START_TEST(text_form_round_trips)
{
	static const leash_id ids[] = { 0, 1, UINT64_C(0x0123456789abcdef), UINT64_MAX };
	char text[LEASH_ID_TEXT];
	leash_id back;

	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		ck_assert(id_parse(id_format(ids[i], text), &back));
		ck_assert_uint_eq(back, ids[i]);
	}
	ck_assert_str_eq(id_format(ids[2], text), "0123456789abcdef");
	ck_assert(id_parse("0123456789ABCDEF", &back));
	ck_assert_uint_eq(back, ids[2]);
}
END_TEST

START_TEST(other_texts_are_no_ids)
{
	static const char *const bad[] = {
		"",
		"0",
		"0123456789abcde",
		"0123456789abcdef0",
		"0123456789abcdeg",
		" 123456789abcdef",
		"0x23456789abcdef",
		"012345678\031abcdef",
		"-123456789abcdef",
	};
	leash_id id = 77;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		ck_assert_msg(!id_parse(bad[i], &id), "\"%s\" was taken", bad[i]);
	ck_assert_uint_eq(id, 77);
}
END_TEST

START_TEST(names)
{
	char name[LEASH_NAME_MAX + 2];

	memset(name, 'x', sizeof name);
	name[LEASH_NAME_MAX] = '\0';
	ck_assert(name_valid(name));
	name[LEASH_NAME_MAX] = 'x';
	name[LEASH_NAME_MAX + 1] = '\0';
	ck_assert(!name_valid(name));
	ck_assert(name_valid("P1"));
	ck_assert(name_valid("a.b_c-d"));
	ck_assert(!name_valid(""));
	ck_assert(!name_valid(".a"));
	ck_assert(!name_valid("-a"));
	ck_assert(!name_valid("a/b"));
	ck_assert(!name_valid("a b"));
	ck_assert(!name_valid("\xc3\xa4"));
}
END_TEST

UNIT_MAIN("ids", tcase_add_test(tc, random_ids_differ_and_are_not_zero);
	  tcase_add_test(tc, text_form_round_trips); tcase_add_test(tc, other_texts_are_no_ids);
	  tcase_add_test(tc, names))

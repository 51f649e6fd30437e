#include "cli/text.h"

#include "unit.h"

#include "base/ids.h"

static struct bytes str(const char *s)
{
	return (struct bytes){ (const uint8_t *)s, strlen(s) };
}

static const char *content(struct buf *b)
{
	ck_assert_int_eq(buf_put(b, "", 1), 0);
	return (const char *)buf_head(b);
}

/* The line of a record with these fields. */
static void expect_line(const struct rec_body *fields, leash_id session, const struct bytes *pairs, uint32_t n,
	leash_seq seq, const char *want)
{
	struct buf body = BUF_NULL, out = BUF_NULL;
	struct rec_body decoded;

	ck_assert_int_eq(rec_body_encode(&body, fields, session, pairs, n), 0);
	ck_assert_int_eq(rec_body_decode((struct bytes){ buf_head(&body), buf_len(&body) }, &decoded), 0);
	ck_assert_int_eq(text_record(&out, seq, &decoded), 0);
	ck_assert_str_eq(content(&out), want);
	buf_deinit(&body);
	buf_deinit(&out);
}

START_TEST(record_lines)
{
	struct bytes one[] = { str("data"), str("hello world") };
	struct bytes two[] = { str("a"), str("1"), str("b c"), str("x\\y") };
	struct bytes odd[] = { str("data"), { (const uint8_t *)"\0\n\x7f\xff[]", 6 } };
	struct bytes empty[] = { str(""), str("") };
	struct rec_body opaque = { .id_kind = REC_ID_OPAQUE, .producer = str("pay"), .id = str("7") };
	struct rec_body strange = { .id_kind = REC_ID_OPAQUE, .producer = str("a/b[c]"), .id = str("d/e[f]\\ \t") };
	struct rec_body number = { .id_kind = REC_ID_SEQ, .producer = str("pay"), .n = 18446744073709551615u };
	struct rec_body session = { .id_kind = REC_ID_SESSION, .n = 12, .birth = 3 };
	struct rec_body none = { .id_kind = REC_ID_NONE };

	expect_line(&opaque, 0, one, 1, 1, "[pay/7] 1 hello world\n");
	expect_line(&opaque, 0, two, 2, 2, "[pay/7] 2 a=1 b c=x\\x5cy\n");
	expect_line(&opaque, 0, odd, 1, 3, "[pay/7] 3 \\x00\\x0a\\x7f\\xff[]\n");
	expect_line(&opaque, 0, empty, 1, 3, "[pay/7] 3 \n");
	/* the first slash is always the one between producer and id */
	expect_line(&strange, 0, one, 1, 4, "[a\\x2fb\\x5bc\\x5d/d/e\\x5bf\\x5d\\x5c \\x09] 4 hello world\n");
	expect_line(&number, 0, one, 1, 5, "[pay/18446744073709551615] 5 hello world\n");
	expect_line(&session, 0x00ab00000000cdefu, one, 1, 6, "[00ab00000000cdef/12] 6 hello world\n");
	expect_line(&none, 0, one, 1, 7, "[/7] 7 hello world\n");
}
END_TEST

START_TEST(automatic_ids_are_hex)
{
	struct bytes one[] = { str("data"), str("x") };
	struct rec_body fields = { .id_kind = REC_ID_AUTO, .producer = str("p") }, decoded;
	struct buf body = BUF_NULL, out = BUF_NULL;
	const char *line;

	ck_assert_int_eq(rec_body_encode(&body, &fields, 0, one, 1), 0);
	ck_assert_int_eq(rec_body_decode((struct bytes){ buf_head(&body), buf_len(&body) }, &decoded), 0);
	ck_assert_int_eq(text_record(&out, 9, &decoded), 0);
	line = content(&out);
	ck_assert_int_eq(strncmp(line, "[p/", 3), 0);
	ck_assert_uint_eq(strspn(line + 3, "0123456789abcdef"), 32);
	ck_assert_str_eq(line + 3 + 32, "] 9 x\n");
	buf_deinit(&body);
	buf_deinit(&out);
}
END_TEST

static void expect_json(struct bytes in, const char *want)
{
	struct buf out = BUF_NULL;

	ck_assert_int_eq(text_json_string(&out, in), 0);
	ck_assert_str_eq(content(&out), want);
	buf_deinit(&out);
}

START_TEST(json_strings)
{
	expect_json(str(""), "\"\"");
	expect_json(str("a\"b\\c\n\x7f"), "\"a\\\"b\\\\c\\u000a\\u007f\"");
	expect_json(str("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\x95"), "\"gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x90\x95\"");
	expect_json((struct bytes){ (const uint8_t *)"a\0b", 3 }, "\"a\\u0000b\"");
	/* not UTF-8: alone, cut off, too long a form, a surrogate, beyond Unicode */
	expect_json(str("\xff"), "{\"hex\":\"ff\"}");
	expect_json(str("x\xc3"), "{\"hex\":\"78c3\"}");
	expect_json(str("\xc0\xaf"), "{\"hex\":\"c0af\"}");
	expect_json(str("\xe0\x80\xaf"), "{\"hex\":\"e080af\"}");
	expect_json(str("\xed\xa0\x80"), "{\"hex\":\"eda080\"}");
	expect_json(str("\xf4\x90\x80\x80"), "{\"hex\":\"f4908080\"}");
	expect_json(str("\xe2\x28\xa1"), "{\"hex\":\"e228a1\"}");
}
END_TEST

START_TEST(tables_align)
{
	struct text_table t = { .n_columns = 3 };
	struct buf out = BUF_NULL;

	text_cell(&t, "NODE");
	text_cell(&t, "LAG");
	text_cell(&t, "STATE");
	text_cell(&t, "P1");
	text_cell(&t, "%d", 12345);
	text_cell(&t, "in sync");
	text_cell(&t, "somebody");
	text_cell(&t, "-");
	text_cell(&t, "bad\nword");
	ck_assert_int_eq(text_table_print(&t, &out), 0);
	ck_assert_str_eq(content(&out), "NODE        LAG  STATE\n"
					"P1        12345  in sync\n"
					"somebody      -  bad?word\n");
	text_table_deinit(&t);
	text_table_deinit(&t);
	buf_deinit(&out);
}
END_TEST

UNIT_MAIN("text", {
	tcase_add_test(tc, record_lines);
	tcase_add_test(tc, automatic_ids_are_hex);
	tcase_add_test(tc, json_strings);
	tcase_add_test(tc, tables_align);
})

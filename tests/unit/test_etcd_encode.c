/* Base64 and the requests. */
#include <check.h>
#include <errno.h>

#include "etcd/json.h"

#define S(s) ((struct bytes){ .p = (const uint8_t *)(s), .len = sizeof(s) - 1 })

static const struct {
	struct bytes plain;
	const char *text;
} b64s[] = {
	{ S(""), "" }, /* RFC 4648 section 10 */
	{ S("f"), "Zg==" },
	{ S("fo"), "Zm8=" },
	{ S("foo"), "Zm9v" },
	{ S("foob"), "Zm9vYg==" },
	{ S("fooba"), "Zm9vYmE=" },
	{ S("foobar"), "Zm9vYmFy" },
	{ S("\xfb\xff\xfe"), "+//+" },
	{ S("\0"), "AA==" },
	{ S("\0\0\0\xff"), "AAAA/w==" },
};

START_TEST(base64_known_answers)
{
	char text[64] = "";
	uint8_t plain[64];
	size_t n = 99;

	b64_encode(b64s[_i].plain.p, b64s[_i].plain.len, text);
	ck_assert_str_eq(text, b64s[_i].text);
	ck_assert_uint_eq(B64_LEN(b64s[_i].plain.len), strlen(text));
	ck_assert(b64_decode(text, strlen(text), plain, &n));
	ck_assert_uint_eq(n, b64s[_i].plain.len);
	ck_assert(memcmp(plain, b64s[_i].plain.p, n) == 0);
}
END_TEST

static const char *const b64_bad[] = {
	"Z", "Zg", "Zg=", "Zg===", "====", "=", "Z===", "Zg==Zg==", "Zm9=", "Zh==", "Zm-v", "Zm_v", "Zm9v\n", " Zm9v",
	"Zm 9", "Zg=v", "Zm9v=", "\xc3\xa9Zm", "Zm9vZ",
};

START_TEST(base64_refuses)
{
	uint8_t plain[64];
	size_t n;

	ck_assert(!b64_decode(b64_bad[_i], strlen(b64_bad[_i]), plain, &n));
}
END_TEST

static void expect(int r, struct buf *b, const char *text)
{
	ck_assert_int_eq(r, 0);
	ck_assert_int_eq(buf_put(b, "", 1), 0);
	ck_assert_str_eq((char *)buf_head(b), text);
	buf_deinit(b);
}

START_TEST(ranges)
{
	struct buf b = BUF_NULL;

	expect(enc_range(&b, &(struct etcd_range_req){ .key = S("a") }), &b, "{\"key\":\"YQ==\"}");
	expect(enc_range(&b, &(struct etcd_range_req){ .key = S("a"), .prefix = true, .limit = 2, .serializable = true }),
		&b, "{\"key\":\"YQ==\",\"range_end\":\"Yg==\",\"limit\":\"2\",\"serializable\":true}");
	/* 0xff cannot be raised: the byte before is. */
	expect(enc_range(&b, &(struct etcd_range_req){ .key = S("a\xff\xff"), .prefix = true, .keys_only = true }), &b,
		"{\"key\":\"Yf//\",\"range_end\":\"Yg==\",\"keys_only\":true}");
	expect(enc_range(&b, &(struct etcd_range_req){ .key = S("\xff"), .prefix = true }), &b,
		"{\"key\":\"/w==\",\"range_end\":\"AA==\"}");
	expect(enc_range(&b, &(struct etcd_range_req){ .prefix = true }), &b,
		"{\"key\":\"AA==\",\"range_end\":\"AA==\"}");
	expect(enc_range(&b, &(struct etcd_range_req){ .key = S("a"), .range_end = S("c"), .revision = INT64_MAX }), &b,
		"{\"key\":\"YQ==\",\"range_end\":\"Yw==\",\"revision\":\"9223372036854775807\"}");
	ck_assert_int_eq(enc_range(&b, &(struct etcd_range_req){ .limit = 1 }), -EINVAL);
	buf_deinit(&b);
	ck_assert_int_eq(enc_range(&b, &(struct etcd_range_req){ S("a"), S("b"), .prefix = true }), -EINVAL);
	buf_deinit(&b);
}
END_TEST

START_TEST(writes)
{
	struct buf b = BUF_NULL;

	expect(enc_put(&b, &(struct etcd_put_req){ S("a"), S("b"), .lease = 7 }), &b,
		"{\"key\":\"YQ==\",\"value\":\"Yg==\",\"lease\":\"7\"}");
	expect(enc_put(&b, &(struct etcd_put_req){ S("a"), S("") }), &b, "{\"key\":\"YQ==\"}");
	expect(enc_delete(&b, &(struct etcd_delete_req){ S("a"), .prefix = true }), &b,
		"{\"key\":\"YQ==\",\"range_end\":\"Yg==\"}");
	expect(enc_lease_grant(&b, 5), &b, "{\"TTL\":\"5\"}");
	expect(enc_lease_id(&b, INT64_MAX), &b, "{\"ID\":\"9223372036854775807\"}");
	expect(enc_authenticate(&b, "us\"er", "pa\\ss\n"), &b, "{\"name\":\"us\\\"er\",\"password\":\"pa\\\\ss\\n\"}");
	expect(enc_empty(&b), &b, "{}");
	ck_assert_int_eq(enc_put(&b, &(struct etcd_put_req){ S(""), S("b") }), -EINVAL);
	buf_deinit(&b);
}
END_TEST

START_TEST(transaction)
{
	struct etcd_compare compares[] = {
		{ ETCD_CMP_MOD, S("a"), .number = 0 }, /* absent: the zero must be written */
		{ ETCD_CMP_CREATE, S("a"), .number = 3 },
		{ ETCD_CMP_VERSION, S("a"), .number = 1 },
		{ ETCD_CMP_VALUE, S("a"), .value = S("x") },
	};
	struct etcd_op success[] = {
		{ ETCD_OP_PUT, .put = { S("a"), S("b") } },
		{ ETCD_OP_DELETE, .del = { S("c") } },
	};
	struct etcd_op failure[] = { { ETCD_OP_RANGE, .range = { S("a") } } };
	struct buf b = BUF_NULL;

	expect(enc_txn(&b, &(struct etcd_txn_req){ compares, 4, success, failure, 2, 1 }), &b,
		"{\"compare\":[{\"result\":\"EQUAL\",\"target\":\"MOD\",\"key\":\"YQ==\",\"mod_revision\":\"0\"},"
		"{\"result\":\"EQUAL\",\"target\":\"CREATE\",\"key\":\"YQ==\",\"create_revision\":\"3\"},"
		"{\"result\":\"EQUAL\",\"target\":\"VERSION\",\"key\":\"YQ==\",\"version\":\"1\"},"
		"{\"result\":\"EQUAL\",\"target\":\"VALUE\",\"key\":\"YQ==\",\"value\":\"eA==\"}],"
		"\"success\":[{\"request_put\":{\"key\":\"YQ==\",\"value\":\"Yg==\"}},"
		"{\"request_delete_range\":{\"key\":\"Yw==\"}}],"
		"\"failure\":[{\"request_range\":{\"key\":\"YQ==\"}}]}");
	expect(enc_txn(&b, &(struct etcd_txn_req){ 0 }), &b, "{}");
	ck_assert_int_eq(enc_txn(&b, &(struct etcd_txn_req){ .success = success, .n_success = ETCD_OPS_MAX + 1 }),
		-E2BIG);
	buf_deinit(&b);
}
END_TEST

START_TEST(the_bound)
{
	static uint8_t value[3000];
	struct buf b = { .max = 4000 };
	struct etcd_put_req put = { S("a"), { .p = value, .len = sizeof value } };

	ck_assert_int_eq(enc_put(&b, &put), -E2BIG);
	buf_deinit(&b);
	b.max = 5000;
	ck_assert_int_eq(enc_put(&b, &put), 0);
	buf_deinit(&b);
}
END_TEST

START_TEST(watch)
{
	struct etcd_watch_range range = { .key = S("a/"), .prefix = true };
	struct buf b = BUF_NULL;

	ck_assert_int_eq(enc_watch_create(&b, &range, 1, 8, true), 0);
	ck_assert_int_eq(enc_watch_create(&b, &range, 2, 9, false), 0);
	expect(enc_watch_progress(&b), &b,
		"{\"create_request\":{\"key\":\"YS8=\",\"range_end\":\"YTA=\",\"start_revision\":\"8\",\"watch_id\":\"1\","
		"\"prev_kv\":true}}\n"
		"{\"create_request\":{\"key\":\"YS8=\",\"range_end\":\"YTA=\",\"start_revision\":\"9\",\"watch_id\":\"2\"}}\n"
		"{\"progress_request\":{}}\n");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("etcd_encode");
	TCase *tc = tcase_create("encode");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tc, base64_known_answers, 0, (int)ARRAY_SIZE(b64s));
	tcase_add_loop_test(tc, base64_refuses, 0, (int)ARRAY_SIZE(b64_bad));
	tcase_add_test(tc, ranges);
	tcase_add_test(tc, writes);
	tcase_add_test(tc, transaction);
	tcase_add_test(tc, the_bound);
	tcase_add_test(tc, watch);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

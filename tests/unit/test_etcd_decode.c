/* Answers of etcd 3.4, 3.5 and 3.6 as structs; garbage and cut answers as ETCD_BAD_ANSWER. */
#include <check.h>
#include <errno.h>
#include <stdio.h>

#include "etcd/json.h"

#define HEADER "\"header\":{\"cluster_id\":\"18446744073709551615\",\"member_id\":\"12\",\"revision\":\"5\",\"raft_term\":\"2\"}"

static struct dec_answer decode(enum dec_kind kind, const char *body, size_t n_success, size_t n_failure)
{
	struct dec_answer d;

	dec_answer(kind, body, strlen(body), n_success, n_failure, &d);
	return d;
}

/* Answers that are errors or need nothing but the class. */
static const struct {
	enum dec_kind kind;
	const char *body;
	enum etcd_result result;
	int code;
	const char *reason; /* NULL: any */
	bool auth_stale;
} classes[] = {
	/* 3.4, 3.5: unary */
	{ DEC_LEASE_REVOKE,
		"{\"error\":\"etcdserver: requested lease not found\",\"message\":\"etcdserver: requested lease not found\","
		"\"code\":5}",
		ETCD_NOT_FOUND, 5, "etcdserver: requested lease not found" },
	{ DEC_PUT, "{\"error\":\"etcdserver: no leader\",\"message\":\"etcdserver: no leader\",\"code\":14}", ETCD_UNKNOWN,
		14 },
	{ DEC_TXN, "{\"error\":\"context deadline exceeded\",\"code\":4}", ETCD_UNKNOWN, 4 },
	{ DEC_TXN, "{\"error\":\"context canceled\",\"code\":1}", ETCD_UNKNOWN, 1 },
	{ DEC_TXN, "{\"error\":\"x\",\"code\":13}", ETCD_UNKNOWN, 13 },
	{ DEC_TXN, "{\"error\":\"x\",\"code\":2}", ETCD_UNKNOWN, 2 },
	{ DEC_TXN, "{\"error\":\"x\",\"code\":77}", ETCD_UNKNOWN, 77 },
	{ DEC_TXN, "{\"error\":\"etcdserver: mvcc: required revision has been compacted\",\"code\":11}", ETCD_COMPACTED, 11 },
	{ DEC_TXN, "{\"error\":\"etcdserver: mvcc: database space exceeded\",\"code\":8}", ETCD_NOSPACE, 8 },
	{ DEC_TXN, "{\"error\":\"etcdserver: permission denied\",\"code\":7}", ETCD_DENIED, 7 },
	{ DEC_TXN, "{\"error\":\"etcdserver: invalid auth token\",\"code\":16}", ETCD_DENIED, 16, NULL, true },
	{ DEC_TXN, "{\"error\":\"etcdserver: revision of auth store is old\",\"code\":3}", ETCD_DENIED, 3, NULL, true },
	{ DEC_TXN, "{\"error\":\"etcdserver: user name is empty\",\"code\":3}", ETCD_DENIED, 3, NULL, true },
	{ DEC_AUTH, "{\"error\":\"etcdserver: authentication failed, invalid user ID or password\",\"code\":3}", ETCD_DENIED,
		3 },
	{ DEC_AUTH,
		"{\"error\":\"etcdserver: authentication is not enabled\",\"message\":\"etcdserver: authentication is not "
		"enabled\",\"code\":9}",
		ETCD_PRECONDITION, 9 },
	{ DEC_TXN, "{\"error\":\"etcdserver: duplicate key given in txn request\",\"code\":3}", ETCD_INVALID, 3 },
	{ DEC_TXN, "{\"error\":\"etcdserver: request is too large\",\"message\":\"etcdserver: request is too large\",\"code\":3}",
		ETCD_INVALID, 3 },
	/* 3.6, 3.7: unary */
	{ DEC_LEASE_REVOKE, "{\"code\":5,\"message\":\"etcdserver: requested lease not found\",\"details\":[]}", ETCD_NOT_FOUND,
		5, "etcdserver: requested lease not found" },
	{ DEC_TXN, "{\"code\":16, \"message\":\"etcdserver: invalid auth token\", \"details\":[]}", ETCD_DENIED, 16, NULL, true },
	/* Streams of 3.4, 3.5 and of 3.6 */
	{ DEC_LEASE_KEEPALIVE,
		"{\"error\":{\"grpc_code\":14,\"http_code\":503,\"message\":\"etcdserver: no leader\",\"http_status\":\"Service "
		"Unavailable\"}}",
		ETCD_UNKNOWN, 14, "etcdserver: no leader" },
	{ DEC_LEASE_KEEPALIVE, "{\"error\":{\"code\":7,\"message\":\"etcdserver: permission denied\",\"details\":[]}}\n",
		ETCD_DENIED, 7, "etcdserver: permission denied" },
	{ DEC_LEASE_KEEPALIVE, "{\"error\":{\"grpc_code\":2,\"message\":\"not a primary lessor\"}}", ETCD_UNKNOWN, 2,
		"not a primary lessor" },
	/* Numbers as strings, no numbers, no text */
	{ DEC_TXN, "{\"code\":\"14\"}", ETCD_UNKNOWN, 14, "no reason given" },
	{ DEC_TXN, "{\"error\":\"only a text\"}", ETCD_UNKNOWN, 2, "only a text" },
	{ DEC_TXN, "{\"error\":{}}", ETCD_UNKNOWN, 2 },
	/* Right answers */
	{ DEC_PUT, "{" HEADER "}", ETCD_OK },
	{ DEC_LEASE_REVOKE, "{" HEADER "}\n", ETCD_OK },
	{ DEC_PUT, "{" HEADER ",\"something_new\":{\"a\":[1,2]}}", ETCD_OK },
	{ DEC_LEASE_KEEPALIVE, "{\"result\":{" HEADER ",\"ID\":\"77\"}}\n", ETCD_NOT_FOUND, 0, "the lease is gone" },
	{ DEC_LEASE_KEEPALIVE, "{\"result\":{" HEADER ",\"ID\":\"77\",\"TTL\":\"0\"}}", ETCD_NOT_FOUND },
	{ DEC_LEASE_TTL, "{" HEADER ",\"ID\":\"77\",\"TTL\":\"-1\"}", ETCD_NOT_FOUND },
	{ DEC_LEASE_TTL, "{" HEADER ",\"ID\":\"77\",\"grantedTTL\":\"5\"}", ETCD_OK }, /* below one second left */
	{ DEC_TXN, "{" HEADER ",\"succeeded\":true}", ETCD_OK },
	/* Wrong answers */
	{ DEC_PUT, "", ETCD_BAD_ANSWER },
	{ DEC_PUT, "404 page not found", ETCD_BAD_ANSWER },
	{ DEC_PUT, "Not Found\n", ETCD_BAD_ANSWER },
	{ DEC_PUT, "<html>", ETCD_BAD_ANSWER },
	{ DEC_PUT, "{}", ETCD_BAD_ANSWER },
	{ DEC_PUT, "[]", ETCD_BAD_ANSWER },
	{ DEC_PUT, "null", ETCD_BAD_ANSWER },
	{ DEC_PUT, "7", ETCD_BAD_ANSWER },
	{ DEC_PUT, "{" HEADER "}{}", ETCD_BAD_ANSWER },
	{ DEC_PUT, "{" HEADER "}x", ETCD_BAD_ANSWER },
	{ DEC_PUT, "{\"header\":7}", ETCD_BAD_ANSWER },
	{ DEC_PUT, "{\"header\":{\"cluster_id\":\"x\"}}", ETCD_BAD_ANSWER },
	{ DEC_PUT, "{\"header\":{\"cluster_id\":\"-1\"}}", ETCD_BAD_ANSWER },
	{ DEC_PUT, "{\"header\":{\"cluster_id\":\"18446744073709551616\"}}", ETCD_BAD_ANSWER },
	{ DEC_PUT, "{\"header\":{\"cluster_id\":\"1\",\"revision\":\"9223372036854775808\"}}", ETCD_BAD_ANSWER },
	{ DEC_PUT, "{\"header\":{\"cluster_id\":\"1\",\"revision\":\"-5\"}}", ETCD_BAD_ANSWER },
	{ DEC_PUT, "{\"header\":{\"cluster_id\":\"1\",\"revision\":5.5}}", ETCD_BAD_ANSWER },
	{ DEC_RANGE, "{" HEADER ",\"kvs\":{}}", ETCD_BAD_ANSWER },
	{ DEC_RANGE, "{" HEADER ",\"kvs\":[7]}", ETCD_BAD_ANSWER },
	{ DEC_RANGE, "{" HEADER ",\"kvs\":[null]}", ETCD_BAD_ANSWER },
	{ DEC_RANGE, "{" HEADER ",\"kvs\":[{\"key\":\"YQ\",\"mod_revision\":\"1\"}]}", ETCD_BAD_ANSWER },
	{ DEC_RANGE, "{" HEADER ",\"kvs\":[{\"key\":\"YQ==\"}]}", ETCD_BAD_ANSWER },
	{ DEC_RANGE, "{" HEADER ",\"kvs\":[{\"mod_revision\":\"1\"}]}", ETCD_BAD_ANSWER },
	{ DEC_TXN, "{" HEADER ",\"succeeded\":\"true\"}", ETCD_BAD_ANSWER },
	{ DEC_TXN, "{" HEADER ",\"succeeded\":true,\"responses\":[{\"response_put\":{}}]}", ETCD_BAD_ANSWER },
	{ DEC_LEASE_GRANT, "{" HEADER "}", ETCD_BAD_ANSWER },
	{ DEC_LEASE_GRANT, "{" HEADER ",\"ID\":\"7\"}", ETCD_BAD_ANSWER },
	{ DEC_LEASE_KEEPALIVE, "{" HEADER ",\"ID\":\"77\",\"TTL\":\"5\"}", ETCD_BAD_ANSWER },
	{ DEC_LEASE_KEEPALIVE, "{\"result\":{" HEADER ",\"TTL\":\"5\"}}", ETCD_BAD_ANSWER },
	{ DEC_AUTH, "{" HEADER "}", ETCD_BAD_ANSWER },
	{ DEC_MEMBERS, "{" HEADER "}", ETCD_BAD_ANSWER },
	{ DEC_VERSION, "{}", ETCD_BAD_ANSWER },
};

START_TEST(result_class)
{
	struct dec_answer d = decode(classes[_i].kind, classes[_i].body, 0, 0);

	ck_assert_msg(d.a.result == classes[_i].result, "%s: %s, not %s", classes[_i].body, etcd_result_name(d.a.result),
		etcd_result_name(classes[_i].result));
	ck_assert_int_eq(d.a.code, classes[_i].code);
	ck_assert_int_eq(d.auth_stale, classes[_i].auth_stale);
	ck_assert_int_eq(d.a.result == ETCD_OK, !*d.text);
	if (classes[_i].reason)
		ck_assert_str_eq(d.text, classes[_i].reason);
	dec_answer_deinit(&d);
}
END_TEST

START_TEST(range)
{
	struct dec_answer d = decode(DEC_RANGE,
		"{" HEADER ",\"kvs\":[{\"key\":\"YQ==\",\"create_revision\":\"2\",\"mod_revision\":\"3\",\"version\":\"2\","
		"\"value\":\"Yg==\",\"lease\":\"9223372036854775807\"},"
		"{\"key\":\"Yg==\",\"create_revision\":4,\"mod_revision\":4,\"version\":\"1\"}],\"more\":true,\"count\":\"3\"}",
		0, 0);
	const struct etcd_kv *kvs = d.a.range.kvs;

	ck_assert_int_eq(d.a.result, ETCD_OK);
	ck_assert_uint_eq(d.a.header.cluster_id, UINT64_MAX);
	ck_assert_uint_eq(d.a.header.member_id, 12);
	ck_assert_uint_eq(d.a.header.raft_term, 2);
	ck_assert_int_eq(d.a.header.revision, 5);
	ck_assert_uint_eq(d.a.range.n_kvs, 2);
	ck_assert_int_eq(d.a.range.count, 3);
	ck_assert(d.a.range.more);
	ck_assert_str_eq((const char *)kvs[0].key.p, "a");
	ck_assert_str_eq((const char *)kvs[0].value.p, "b");
	ck_assert_int_eq(kvs[0].create_revision, 2);
	ck_assert_int_eq(kvs[0].mod_revision, 3);
	ck_assert_int_eq(kvs[0].version, 2);
	ck_assert_int_eq(kvs[0].lease, INT64_MAX);
	ck_assert_uint_eq(kvs[1].value.len, 0); /* an empty value is left out */
	ck_assert_int_eq(kvs[1].mod_revision, 4);
	dec_answer_deinit(&d);

	d = decode(DEC_RANGE, "{" HEADER "}", 0, 0); /* no kvs, no count: empty */
	ck_assert_int_eq(d.a.result, ETCD_OK);
	ck_assert_uint_eq(d.a.range.n_kvs, 0);
	dec_answer_deinit(&d);
}
END_TEST

START_TEST(transaction)
{
	static const char yes[] = "{" HEADER ",\"succeeded\":true,\"responses\":["
				  "{\"response_range\":{\"header\":{\"revision\":\"2\"},\"kvs\":[{\"key\":\"YQ==\",\"mod_revision\":"
				  "\"2\",\"value\":\"Yg==\"}],\"count\":\"1\"}},"
				  "{\"response_delete_range\":{\"header\":{\"revision\":\"2\"},\"deleted\":\"4\"}},"
				  "{\"response_put\":{\"header\":{\"revision\":\"3\"}}}]}";
	static const char no[] = "{" HEADER ",\"responses\":[{\"response_range\":{\"header\":{\"revision\":\"2\"}}}]}";
	struct dec_answer d = decode(DEC_TXN, yes, 3, 1);

	ck_assert_int_eq(d.a.result, ETCD_OK);
	ck_assert(d.a.txn.succeeded);
	ck_assert_uint_eq(d.a.txn.n_responses, 3);
	ck_assert_int_eq(d.a.txn.responses[0].kind, ETCD_OP_RANGE);
	ck_assert_str_eq((const char *)d.a.txn.responses[0].range.kvs[0].value.p, "b");
	ck_assert_int_eq(d.a.txn.responses[1].kind, ETCD_OP_DELETE);
	ck_assert_int_eq(d.a.txn.responses[1].deleted, 4);
	ck_assert_int_eq(d.a.txn.responses[2].kind, ETCD_OP_PUT);
	dec_answer_deinit(&d);

	d = decode(DEC_TXN, no, 3, 1); /* no `succeeded`: failed */
	ck_assert_int_eq(d.a.result, ETCD_OK);
	ck_assert(!d.a.txn.succeeded);
	ck_assert_uint_eq(d.a.txn.n_responses, 1);
	dec_answer_deinit(&d);

	d = decode(DEC_TXN, yes, 2, 1); /* not as many as were asked for */
	ck_assert_int_eq(d.a.result, ETCD_BAD_ANSWER);
	dec_answer_deinit(&d);
}
END_TEST

START_TEST(the_others)
{
	struct dec_answer d = decode(DEC_LEASE_GRANT, "{" HEADER ",\"ID\":\"2324035514487387144\",\"TTL\":\"2\"}", 0, 0);

	ck_assert_int_eq(d.a.lease.id, 2324035514487387144);
	ck_assert_int_eq(d.a.lease.ttl_s, 2);
	dec_answer_deinit(&d);
	d = decode(DEC_LEASE_KEEPALIVE, "{\"result\":{" HEADER ",\"ID\":\"7\",\"TTL\":\"3\"}}\n", 0, 0);
	ck_assert_int_eq(d.a.result, ETCD_OK);
	ck_assert_int_eq(d.a.lease.ttl_s, 3);
	dec_answer_deinit(&d);
	d = decode(DEC_DELETE, "{" HEADER ",\"deleted\":\"2\"}", 0, 0);
	ck_assert_int_eq(d.a.deleted, 2);
	dec_answer_deinit(&d);
	d = decode(DEC_AUTH, "{" HEADER ",\"token\":\"abc.7\"}", 0, 0);
	ck_assert_str_eq(d.token, "abc.7");
	dec_answer_deinit(&d);
	d = decode(DEC_VERSION, "{\"etcdserver\":\"3.4.23\",\"etcdcluster\":\"3.4.0\",\"storage\":\"3.6.0\"}", 0, 0);
	ck_assert_str_eq(d.a.version.server, "3.4.23");
	ck_assert_str_eq(d.a.version.cluster, "3.4.0");
	dec_answer_deinit(&d);
	d = decode(DEC_MEMBERS,
		"{" HEADER ",\"members\":[{\"ID\":\"12\",\"name\":\"a\",\"peerURLs\":[\"http://p\"],\"clientURLs\":[\"http://c\","
		"\"http://d\"]},{\"ID\":\"13\",\"peerURLs\":[\"http://q\"],\"isLearner\":true}]}",
		0, 0);
	ck_assert_int_eq(d.a.result, ETCD_OK);
	ck_assert_uint_eq(d.a.members.n_members, 2);
	ck_assert_str_eq(d.a.members.members[0].client_urls[1], "http://d");
	ck_assert_uint_eq(d.a.members.members[1].n_client_urls, 0);
	ck_assert_str_eq(d.a.members.members[1].name, "");
	ck_assert(d.a.members.members[1].learner);
	dec_answer_deinit(&d);
	d = decode(DEC_STATUS,
		"{" HEADER ",\"version\":\"3.4.23\",\"dbSize\":\"20480\",\"leader\":\"12\",\"raftIndex\":\"8\",\"raftTerm\":\"2\","
		"\"raftAppliedIndex\":\"8\",\"dbSizeInUse\":\"16384\",\"errors\":[\"NOSPACE\"]}",
		0, 0);
	ck_assert_int_eq(d.a.result, ETCD_OK);
	ck_assert_uint_eq(d.a.status.leader, 12);
	ck_assert_int_eq(d.a.status.db_bytes, 20480);
	ck_assert_str_eq(d.a.status.errors[0], "NOSPACE");
	dec_answer_deinit(&d);
}
END_TEST

START_TEST(long_reasons_are_cut)
{
	char body[2000] = "{\"code\":14,\"message\":\"";
	size_t n = strlen(body);
	struct dec_answer d;

	memset(body + n, 'x', 1500);
	strcpy(body + n + 1500, "\"}");
	d = decode(DEC_PUT, body, 0, 0);
	ck_assert_int_eq(d.a.result, ETCD_UNKNOWN);
	ck_assert_uint_eq(strlen(d.text), JSON_TEXT_MAX - 1);
	dec_answer_deinit(&d);
}
END_TEST

/* A cut answer is never taken for a whole one. */
START_TEST(cut_at_every_byte)
{
	const char *body = classes[_i].body;
	size_t len = strlen(body);

	if (classes[_i].result == ETCD_BAD_ANSWER)
		return; /* some of these become right by a cut */
	while (len && body[len - 1] == '\n')
		len--;
	for (size_t n = 0; n < len; n++) {
		char *copy = malloc(n + 1); /* exactly: reading on would be seen by valgrind and ASan */
		struct dec_answer d;

		memcpy(copy, body, n);
		dec_answer(classes[_i].kind, copy, n, 0, 0, &d);
		ck_assert_msg(d.a.result == ETCD_BAD_ANSWER, "%.*s", (int)n, body);
		dec_answer_deinit(&d);
		free(copy);
	}
}
END_TEST

/* Any byte replaced, in any answer, by any decoder: must end, and free all. */
START_TEST(damaged_everywhere)
{
	static const char junk[] = { '"', '{', '}', '[', ']', ',', ':', '\\', '0', '-', 'n', '\0', (char)0xff };
	size_t len = strlen(classes[_i].body);
	char *copy = malloc(len);

	for (size_t at = 0; at < len; at++) {
		for (size_t k = 0; k < sizeof junk; k++) {
			struct dec_answer d;

			memcpy(copy, classes[_i].body, len);
			copy[at] = junk[k];
			dec_answer((enum dec_kind)((at + k) % (DEC_VERSION + 1)), copy, len, 1, 1, &d);
			dec_answer_deinit(&d);
		}
	}
	free(copy);
}
END_TEST

START_TEST(deep_nesting_is_refused)
{
	char body[1000];
	struct dec_answer d;

	memset(body, '[', sizeof body);
	dec_answer(DEC_PUT, body, sizeof body, 0, 0, &d);
	ck_assert_int_eq(d.a.result, ETCD_BAD_ANSWER);
	dec_answer_deinit(&d);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("etcd_decode");
	TCase *tc = tcase_create("decode");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, result_class, 0, (int)ARRAY_SIZE(classes));
	tcase_add_test(tc, range);
	tcase_add_test(tc, transaction);
	tcase_add_test(tc, the_others);
	tcase_add_test(tc, long_reasons_are_cut);
	tcase_add_loop_test(tc, cut_at_every_byte, 0, (int)ARRAY_SIZE(classes));
	tcase_add_loop_test(tc, damaged_everywhere, 0, (int)ARRAY_SIZE(classes));
	tcase_add_test(tc, deep_nesting_is_refused);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

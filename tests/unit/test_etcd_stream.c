/* Watch streams: the frames come out the same however the bytes come in. */
#include <check.h>
#include <errno.h>
#include <stdio.h>

#include "etcd/json.h"

#define HEAD(rev) "\"header\":{\"cluster_id\":\"3\",\"member_id\":\"12\",\"revision\":\"" rev "\",\"raft_term\":\"2\"}"

/* As a member of 3.4 says it; the error at the end of a clean stop has no newline. */
static const char story[] =
	"{\"result\":{" HEAD("3") ",\"watch_id\":\"1\",\"created\":true}}\n"
	"{\"result\":{" HEAD("3") ",\"created\":true}}\n"
	"{\"result\":{" HEAD("3") ",\"watch_id\":\"-1\"}}\n"
	"{\"result\":{" HEAD("4") ",\"watch_id\":\"1\",\"events\":["
	"{\"kv\":{\"key\":\"YQ==\",\"create_revision\":\"2\",\"mod_revision\":\"2\",\"version\":\"1\",\"value\":\"Yg==\"}},"
	"{\"type\":\"DELETE\",\"kv\":{\"key\":\"YQ==\",\"mod_revision\":\"4\"},"
	"\"prev_kv\":{\"key\":\"YQ==\",\"create_revision\":\"2\",\"mod_revision\":\"2\",\"version\":\"1\",\"value\":\"Yg==\","
	"\"lease\":\"9\"}}]}}\n"
	"{\"result\":{\"header\":{\"cluster_id\":\"3\",\"member_id\":\"12\",\"raft_term\":\"2\"},\"watch_id\":\"1\","
	"\"canceled\":true,\"compact_revision\":\"2\"}}"
	"{\"result\":{" HEAD("4") ",\"created\":true,\"canceled\":true,\"cancel_reason\":\"rpc error: code = PermissionDenied\"}}"
	"{\"error\":{\"grpc_code\":14,\"http_code\":503,\"message\":\"etcdserver: server stopped\",\"http_status\":\"Service "
	"Unavailable\"}}";

static const char told[] = "created 1 rev 3\n"
			   "created 0 rev 3\n"
			   "watch -1 rev 3\n"
			   "watch 1 rev 4\n"
			   " put a=b mod 2 create 2 version 1 lease 0\n"
			   " delete a mod 4 prev b lease 9\n"
			   "canceled 1 rev 0 compacted 2\n"
			   "created canceled 0 rev 4 because rpc error: code = PermissionDenied\n"
			   "error unknown 14 etcdserver: server stopped\n";

static void tell(struct buf *b, const struct watch_frame *f)
{
	if (f->result != ETCD_OK) {
		ck_assert_int_eq(buf_printf(b, "error %s %d %s\n", etcd_result_name(f->result), f->code, f->text), 0);
		return;
	}
	ck_assert_int_eq(buf_printf(b, "%s%s%s %lld rev %lld", f->created ? "created" : f->canceled ? "" : "watch",
		f->created && f->canceled ? " " : "", f->canceled ? "canceled" : "", (long long)f->watch_id,
		(long long)f->header.revision), 0);
	if (f->compact_revision)
		ck_assert_int_eq(buf_printf(b, " compacted %lld", (long long)f->compact_revision), 0);
	if (*f->text)
		ck_assert_int_eq(buf_printf(b, " because %s", f->text), 0);
	ck_assert_int_eq(buf_printf(b, "\n"), 0);
	for (size_t i = 0; i < f->n_events; i++) {
		const struct etcd_event *e = &f->events[i];

		if (e->deleted)
			ck_assert_int_eq(buf_printf(b, " delete %s mod %lld prev %s lease %lld\n", (const char *)e->kv.key.p,
				(long long)e->kv.mod_revision, (const char *)e->prev_kv.value.p,
				(long long)e->prev_kv.lease), 0);
		else
			ck_assert_int_eq(buf_printf(b, " put %s=%s mod %lld create %lld version %lld lease %lld\n",
				(const char *)e->kv.key.p, (const char *)e->kv.value.p, (long long)e->kv.mod_revision,
				(long long)e->kv.create_revision, (long long)e->kv.version, (long long)e->kv.lease), 0);
	}
}

/* Feeds a copy of exactly @n bytes; returns what stream_next() said last. */
static int feed(struct stream *s, const char *p, size_t n, struct buf *b)
{
	char *copy = malloc(n + !n);
	struct watch_frame f;
	int r;

	memcpy(copy, p, n);
	stream_feed(s, copy, n);
	while ((r = stream_next(s, &f)) == 0) {
		tell(b, &f);
		watch_frame_deinit(&f);
	}
	free(copy);
	return r;
}

static void expect_story(struct buf *b)
{
	ck_assert_int_eq(buf_put(b, "", 1), 0);
	ck_assert_str_eq((char *)buf_head(b), told);
	buf_deinit(b);
}

START_TEST(cut_in_two_anywhere)
{
	for (size_t cut = 0; cut < sizeof story; cut++) {
		struct buf b = BUF_NULL;
		struct stream s;

		ck_assert_int_eq(stream_init(&s, 10000), 0);
		ck_assert_int_eq(feed(&s, story, cut, &b), STREAM_MORE);
		ck_assert_int_eq(feed(&s, story + cut, sizeof story - 1 - cut, &b), STREAM_MORE);
		ck_assert(!stream_torn(&s));
		expect_story(&b);
		stream_deinit(&s);
	}
}
END_TEST

START_TEST(byte_by_byte)
{
	struct buf b = BUF_NULL;
	struct stream s;

	ck_assert_int_eq(stream_init(&s, 10000), 0);
	for (size_t i = 0; i < sizeof story - 1; i++)
		ck_assert_int_eq(feed(&s, story + i, 1, &b), STREAM_MORE);
	ck_assert(!stream_torn(&s));
	expect_story(&b);
	stream_deinit(&s);
}
END_TEST

START_TEST(an_end_in_the_middle_shows)
{
	const char *end = strchr(story, '\n');
	size_t first = (size_t)(end - story);
	struct buf b = BUF_NULL;
	struct stream s;

	for (size_t n = 1; n <= first; n++) {
		ck_assert_int_eq(stream_init(&s, 10000), 0);
		ck_assert_int_eq(feed(&s, story, n, &b), STREAM_MORE);
		ck_assert_int_eq(stream_torn(&s), n < first);
		stream_deinit(&s);
	}
	buf_deinit(&b);
}
END_TEST

static const char *const nonsense[] = {
	"x", "7 ", "[]", "null ", "\"a\"", "}", "<html>", "{\"a\":1}", "{}", "{\"result\":7}", "{\"result\":[]}", "{\"result\":{}}",
	"{\"result\":{\"watch_id\":\"1\"}}", "{\"result\":{" HEAD("3") ",\"watch_id\":\"1x\"}}",
	"{\"result\":{" HEAD("3") ",\"created\":7}}", "{\"result\":{" HEAD("3") ",\"events\":[{}]}}",
	"{\"result\":{" HEAD("3") ",\"events\":[7]}}", "{\"result\":{" HEAD("3") ",\"events\":[null]}}",
	"{\"result\":{" HEAD("3") ",\"events\":[{\"kv\":{\"key\":\"YQ==\"}}]}}",
	"{\"result\":{" HEAD("3") ",\"events\":[{\"type\":\"X\",\"kv\":{\"key\":\"YQ==\",\"mod_revision\":\"3\"}}]}}",
	"{\"result\":{" HEAD("3") ",\"events\":[{\"kv\":{\"key\":\"*\",\"mod_revision\":\"3\"}}]}}", "404 page not found",
};

START_TEST(nonsense_ends_it)
{
	struct buf b = BUF_NULL;
	struct stream s;

	ck_assert_int_eq(stream_init(&s, 10000), 0);
	ck_assert_msg(feed(&s, nonsense[_i], strlen(nonsense[_i]), &b) == -EBADMSG, "%s", nonsense[_i]);
	ck_assert(stream_torn(&s));
	/* For good: what comes behind is not looked at. */
	ck_assert_int_eq(feed(&s, story, sizeof story - 1, &b), -EBADMSG);
	ck_assert_uint_eq(buf_len(&b), 0);
	stream_deinit(&s);
	buf_deinit(&b);
}
END_TEST

START_TEST(a_frame_has_a_bound)
{
	struct buf b = BUF_NULL;
	struct stream s;
	size_t len = (size_t)(strchr(story, '\n') - story);

	ck_assert_int_eq(stream_init(&s, len), 0);
	ck_assert_int_eq(feed(&s, story, len, &b), STREAM_MORE);
	ck_assert_int_eq(feed(&s, story, len, &b), STREAM_MORE);
	ck_assert(!stream_torn(&s));
	stream_deinit(&s);
	ck_assert_int_eq(stream_init(&s, len - 1), 0);
	ck_assert_int_eq(feed(&s, story, len / 2, &b), STREAM_MORE);
	ck_assert_int_eq(feed(&s, story + len / 2, len - len / 2, &b), -EMSGSIZE);
	stream_deinit(&s);
	/* An object that never ends is stopped too. */
	ck_assert_int_eq(stream_init(&s, 100), 0);
	ck_assert_int_eq(feed(&s, story + len + 1, 101, &b), -EMSGSIZE);
	stream_deinit(&s);
	buf_deinit(&b);
}
END_TEST

START_TEST(damaged_everywhere)
{
	static const char junk[] = { '"', '{', '}', '[', ',', '\\', '0', '\0', (char)0xff };
	char copy[sizeof story];

	for (size_t at = 0; at < sizeof story - 1; at++) {
		for (size_t k = 0; k < sizeof junk; k++) {
			struct buf b = BUF_NULL;
			struct stream s;

			memcpy(copy, story, sizeof story);
			copy[at] = junk[k];
			ck_assert_int_eq(stream_init(&s, 10000), 0);
			if (feed(&s, copy, sizeof story / 2, &b) == STREAM_MORE)
				(void)feed(&s, copy + sizeof story / 2, sizeof story / 2, &b);
			stream_deinit(&s);
			buf_deinit(&b);
		}
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("etcd_stream");
	TCase *tc = tcase_create("stream");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, cut_in_two_anywhere);
	tcase_add_test(tc, byte_by_byte);
	tcase_add_test(tc, an_end_in_the_middle_shows);
	tcase_add_loop_test(tc, nonsense_ends_it, 0, (int)ARRAY_SIZE(nonsense));
	tcase_add_test(tc, a_frame_has_a_bound);
	tcase_add_test(tc, damaged_everywhere);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

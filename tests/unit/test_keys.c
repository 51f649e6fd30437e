#include "etcd/keys.h"

#include <stdio.h>

#include "unit.h"

static struct bytes str(const char *s)
{
	return etcd_str(s);
}

static void expect(const struct buf *b, const char *text)
{
	ck_assert_uint_eq(buf_len(b), strlen(text));
	ck_assert_int_eq(memcmp(buf_head(b), text, strlen(text)), 0);
}

static const char leader_json[] =
	"{\"node\":\"P1\",\"address\":\"127.0.0.1:8081\",\"epoch\":7,\"incarnation\":\"00000000000000ab\","
	"\"run\":\"ffffffffffffffff\"}";
static const char insync_json[] =
	"{\"cluster\":\"00000000000000c1\",\"version\":31,\"recovery\":0,\"epoch\":7,\"min_insync\":2,"
	"\"dedup_window\":1000,\"members\":[{\"node\":\"P1\",\"incarnation\":\"00000000000000ab\"},"
	"{\"node\":\"S1\",\"incarnation\":\"00000000000000ac\"}]}";
static const char node_json[] =
	"{\"node\":\"S1\",\"address\":\"127.0.0.1:8082\",\"incarnation\":\"00000000000000ac\","
	"\"run\":\"0000000000000001\",\"cluster\":\"0000000000000000\",\"priority\":-3,\"log_epoch\":0,"
	"\"log_end\":9223372036854775807,\"release\":\"1.0\"}";
static const char request_json[] =
	"{\"op\":\"switchover\",\"to\":\"S1\",\"id\":\"00000000000000d1\",\"state\":\"failed\",\"text\":\"no \\\"S1\\\"\"}";

START_TEST(names)
{
	char key[KEYS_NAME_MAX + 1], node[LEASH_NAME_MAX + 1];

	ck_assert_str_eq(keys_prefix("engine", key), "engine/");
	ck_assert_str_eq(keys_name("engine", KEYS_LEADER, NULL, key), "engine/leader");
	ck_assert_str_eq(keys_name("engine", KEYS_NODE, "S1", key), "engine/nodes/S1");
	ck_assert_int_eq(keys_kind_of("engine", str("engine/leader"), node), KEYS_LEADER);
	ck_assert_int_eq(keys_kind_of("engine", str("engine/nodes/S1"), node), KEYS_NODE);
	ck_assert_str_eq(node, "S1");
	ck_assert_int_eq(keys_kind_of("engine", str("engine/nodes/"), node), KEYS_OTHER);
	ck_assert_int_eq(keys_kind_of("engine", str("engine/nodes/a/b"), node), KEYS_OTHER);
	ck_assert_int_eq(keys_kind_of("engine", str("engine/leaderx"), node), KEYS_OTHER);
	ck_assert_int_eq(keys_kind_of("engine", str("engine"), node), KEYS_OTHER);
	ck_assert_int_eq(keys_kind_of("engine", str("engine2/leader"), node), KEYS_OTHER);
	ck_assert_int_eq(keys_kind_of("engine", (struct bytes){ (const uint8_t *)"engine/leader\0", 14 }, node), KEYS_OTHER);
}
END_TEST

/* What is decoded and encoded again is the same text. */
START_TEST(round_trips)
{
	_cleanup_(buf_deinit) struct buf l = BUF_NULL, s = BUF_NULL, n = BUF_NULL, q = BUF_NULL, t = BUF_NULL;
	char reason[KEYS_REASON_MAX], release[KEYS_RELEASE_MAX + 1];
	static const char settings_json[] = "{\"paused\":true,\"drained\":[\"S1\",\"S2\"]}";
	struct rep_leader leader;
	struct rep_insync insync;
	struct rep_node node;
	struct keys_request request;
	struct keys_settings settings;

	ck_assert_int_eq(keys_leader_decode(str(leader_json), &leader, reason), 0);
	ck_assert_uint_eq(leader.run, UINT64_MAX);
	ck_assert_int_eq(keys_leader_encode(&leader, &l), 0);
	expect(&l, leader_json);
	ck_assert_int_eq(keys_insync_decode(str(insync_json), &insync, reason), 0);
	ck_assert_uint_eq(insync.n_members, 2);
	ck_assert_int_eq(keys_insync_encode(&insync, &s), 0);
	expect(&s, insync_json);
	ck_assert_int_eq(keys_node_decode(str(node_json), &node, release, reason), 0);
	ck_assert_int_eq(node.priority, -3);
	ck_assert_uint_eq(node.log_end, INT64_MAX);
	ck_assert_int_eq(keys_node_encode(&node, release, &n), 0);
	expect(&n, node_json);
	ck_assert_int_eq(keys_request_decode(str(request_json), &request, reason), 0);
	ck_assert_int_eq(request.state, KEYS_REQUEST_FAILED);
	ck_assert_int_eq(keys_request_encode(&request, &q), 0);
	expect(&q, request_json);
	ck_assert_int_eq(keys_settings_decode(str(settings_json), &settings, reason), 0);
	ck_assert_int_eq(keys_settings_encode(&settings, &t), 0);
	expect(&t, settings_json);
}
END_TEST

/* Each is the good value with one thing wrong; the reason names it. */
static const struct {
	const char *from, *to, *reason;
} insync_faults[] = {
	{ "\"version\":31", "\"versionx\":31", "version" },
	{ "\"version\":31", "\"version\":\"31\"", "version" },
	{ "\"version\":31", "\"version\":31.0", "version" },
	{ "\"version\":31", "\"version\":-1", "version" },
	{ "\"version\":31", "\"version\":0", "version" },
	{ "\"version\":31", "\"version\":9223372036854775808", "version" },
	{ "\"version\":31", "\"version\":99999999999999999999999", "version" },
	{ "\"version\":31", "\"version\":-99999999999999999999999", "version" },
	{ "\"version\":31", "\"version\":null", "version" },
	{ "\"min_insync\":2", "\"min_insync\":17", "min_insync" },
	{ "\"cluster\":\"00", "\"cluster\":\"0", "cluster" },
	{ "00000000000000c1", "00000000000000g1", "cluster" },
	{ "00000000000000c1", "0000000000000000", "cluster" },
	{ "00000000000000ac", "0000000000000000", "incarnation" },
	{ "\"S1\",\"incarnation\":\"00000000000000ac\"", "\"P1\",\"incarnation\":\"00000000000000ab\"", "twice" },
	{ "\"node\":\"S1\"", "\"node\":\"S/1\"", "node" },
	{ "\"node\":\"S1\"", "\"node\":\"S\\u00001\"", "node" },
	{ "{\"cluster\"", "[{\"cluster\"", "object" },
	{ "\"members\":[", "\"members\":[7,", "members" },
	{ "]}", "]}x", "behind" },
	{ "]}", "]", "object" },
};

static void replace(const char *in, const char *from, const char *to, char *out, size_t size)
{
	const char *at = strstr(in, from);

	ck_assert_ptr_nonnull(at);
	(void)snprintf(out, size, "%.*s%s%s", (int)(at - in), in, to, at + strlen(from));
}

START_TEST(malformed_insync)
{
	char json[1024], reason[KEYS_REASON_MAX] = "";
	struct rep_insync set = { .version = 99 };

	replace(insync_json, insync_faults[_i].from, insync_faults[_i].to, json, sizeof json);
	ck_assert_int_eq(keys_insync_decode(str(json), &set, reason), KEYS_E_MALFORMED);
	ck_assert_msg(strstr(reason, insync_faults[_i].reason), "%s: %s", json, reason);
	ck_assert_uint_eq(set.version, 99);
}
END_TEST

START_TEST(malformed_others)
{
	char reason[KEYS_REASON_MAX];
	struct keys_request q;
	struct keys_settings s;
	struct rep_leader l;

	ck_assert_int_eq(keys_leader_decode(str(""), &l, reason), KEYS_E_MALFORMED);
	ck_assert_int_eq(keys_leader_decode(str("{}"), &l, reason), KEYS_E_MALFORMED);
	ck_assert_int_eq(keys_leader_decode(str("null"), &l, reason), KEYS_E_MALFORMED);
	ck_assert_int_eq(keys_request_decode(str("{\"op\":\"x\",\"to\":\"\",\"id\":\"00000000000000d1\"}"), &q, reason),
		KEYS_E_MALFORMED);
	ck_assert_int_eq(
		keys_request_decode(str("{\"op\":\"switchover\",\"to\":\"\",\"id\":\"00000000000000d1\",\"state\":\"x\","
					"\"text\":\"\"}"),
			&q, reason),
		KEYS_E_MALFORMED);
	ck_assert_int_eq(keys_settings_decode(str("{\"paused\":1,\"drained\":[]}"), &s, reason), KEYS_E_MALFORMED);
	ck_assert_int_eq(keys_settings_decode(str("{\"paused\":true,\"drained\":[1]}"), &s, reason), KEYS_E_MALFORMED);
	ck_assert_int_eq(keys_settings_decode(str("{\"paused\":true}"), &s, reason), KEYS_E_MALFORMED);
}
END_TEST

/* Every truncation of a good value is malformed and is survived. */
START_TEST(truncated)
{
	char reason[KEYS_REASON_MAX];
	struct rep_insync set;

	for (size_t n = 0; n < strlen(insync_json); n++) {
		uint8_t *copy = malloc(n + 1);

		ck_assert_ptr_nonnull(copy);
		memcpy(copy, insync_json, n);
		ck_assert_int_eq(keys_insync_decode((struct bytes){ copy, n }, &set, reason), KEYS_E_MALFORMED);
		free(copy);
	}
}
END_TEST

START_TEST(unknown_fields_are_ignored)
{
	char json[1024], reason[KEYS_REASON_MAX];
	struct rep_insync set;

	replace(insync_json, "{\"cluster\"", "{\"later\":{\"a\":[1]},\"cluster\"", json, sizeof json);
	ck_assert_int_eq(keys_insync_decode(str(json), &set, reason), 0);
}
END_TEST

static struct etcd_kv kv(const char *key, const char *value, int64_t mod, int64_t lease)
{
	return (struct etcd_kv){ .key = str(key), .value = str(value), .mod_revision = mod, .lease = lease };
}

START_TEST(view_of_all)
{
	struct etcd_kv kvs[] = {
		kv("engine/insync", insync_json, 11, 0),
		kv("engine/leader", leader_json, 12, 77),
		kv("engine/nodes/S1", node_json, 13, 78),
		kv("engine/nodes/S2", node_json, 14, 79), /* names another node */
		kv("engine/request", request_json, 15, 0),
		kv("engine/settings", "{\"paused\":true,\"drained\":[\"S2\"]}", 16, 0),
		kv("engine/other", "x", 17, 0),
	};
	struct keys_view *v = malloc(sizeof *v);

	ck_assert_ptr_nonnull(v);
	ck_assert_int_eq(keys_view_of_range("engine", 20, true, kvs, ARRAY_SIZE(kvs), v), 0);
	ck_assert(!v->broken && v->view.authoritative && v->view.paused && v->has_request);
	ck_assert_uint_eq(v->view.revision, 20);
	ck_assert_uint_eq(v->view.insync.mod_revision, 11);
	ck_assert_uint_eq(v->view.leader.mod_revision, 12);
	ck_assert_uint_eq(v->view.leader.lease, 77);
	ck_assert_uint_eq(v->view.n_nodes, 1);
	ck_assert_uint_eq(v->request_mod, 15);
	ck_assert_uint_eq(v->n_bad, 1);
	ck_assert_str_eq(v->bad, "engine/nodes/S2: names another node");
	kvs[0].value = str("{}");
	ck_assert_int_eq(keys_view_of_range("engine", 20, true, kvs, ARRAY_SIZE(kvs), v), 0);
	ck_assert(v->broken && !v->view.insync.present);
	free(v);
}
END_TEST

UNIT_MAIN("keys", {
	tcase_add_test(tc, names);
	tcase_add_test(tc, round_trips);
	tcase_add_loop_test(tc, malformed_insync, 0, (int)ARRAY_SIZE(insync_faults));
	tcase_add_test(tc, malformed_others);
	tcase_add_test(tc, truncated);
	tcase_add_test(tc, unknown_fields_are_ignored);
	tcase_add_test(tc, view_of_all);
})

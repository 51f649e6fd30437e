#include "cli/info.h"

#include "unit.h"

#include <errno.h>

static bool read_text(struct info_node *n, const char *json)
{
	*n = (struct info_node){ 0 };
	return info_read(n, (struct bytes){ (const uint8_t *)json, strlen(json) });
}

START_TEST(a_whole_answer)
{
	struct info_node n;

	ck_assert(read_text(&n,
		"{\"engine\":\"engine\",\"node\":\"S1\",\"role\":\"secondary\",\"epoch\":7,\"primary\":\"P1\","
		"\"cluster\":\"00000000000000c1\",\"incarnation\":\"00000000000000a1\",\"run\":\"00000000000000b1\","
		"\"promise\":8,\"below_min\":true,\"state_gone\":true,\"recovery\":4,\"insync_version\":30,"
		"\"log\":{\"start\":3,\"end\":90,\"commit\":89,\"readable\":88,\"log_epoch\":7,\"log_matched\":60,\"last_epoch\":6},"
		"\"serving\":true,\"etcd_reachable\":true,\"primary_address\":\"127.0.0.1:8081\","
		"\"insync\":{\"version\":31,\"recovery\":2,\"min_insync\":2,\"dedup_window\":1000,\"members\":["
		"{\"node\":\"S1\",\"incarnation\":\"00000000000000a1\"},5,{\"node\":\"P1\",\"incarnation\":\"00000000000000a2\"}]},"
		"\"peers\":[{\"node\":\"P1\",\"linked\":true,\"in_sync\":true,\"matched\":5},17,"
		"{\"node\":\"S2\",\"why_absent\":\"catching up\"}]}"));
	ck_assert_str_eq(n.node, "S1");
	ck_assert_str_eq(n.role, "secondary");
	ck_assert_str_eq(n.engine, "engine");
	ck_assert_str_eq(n.primary_address, "127.0.0.1:8081");
	ck_assert(n.serving && n.etcd_reachable);
	ck_assert_uint_eq(n.n_members, 2);
	ck_assert_str_eq(n.members[1].node, "P1");
	ck_assert(info_is_member(&n, &n));
	ck_assert_uint_eq(n.cluster, 0xc1);
	ck_assert_uint_eq(n.incarnation, 0xa1);
	ck_assert_uint_eq(n.promise, 8);
	ck_assert(n.below_min && n.state_gone && n.has_last_epoch);
	ck_assert_uint_eq(n.log_start, 3);
	ck_assert_uint_eq(n.log_end, 90);
	ck_assert_uint_eq(n.commit, 88);
	ck_assert_uint_eq(n.last_epoch, 6);
	ck_assert_uint_eq(n.insync_version, 31);
	ck_assert_uint_eq(n.recovery, 4);
	ck_assert_uint_eq(n.min_insync, 2);
	ck_assert_uint_eq(n.dedup_window, 1000);
	ck_assert_uint_eq(n.n_peers, 2);
	ck_assert(n.peers[0].linked && n.peers[0].insync);
	ck_assert_str_eq(n.peers[1].why_absent, "catching up");
	n.incarnation++; /* another life of its data directory is somebody else */
	ck_assert(!info_is_member(&n, &n));
	info_deinit(&n, 1);
}
END_TEST

START_TEST(what_makes_no_sense_counts_as_missing)
{
	struct info_node n;

	ck_assert(!read_text(&n, "[]"));
	ck_assert(!read_text(&n, ""));
	ck_assert(!read_text(&n, "{\"node\":"));
	ck_assert(read_text(&n, "{\"node\":5,\"epoch\":\"7\",\"promise\":-1,\"cluster\":\"xyz\",\"log\":[],\"peers\":{}}"));
	ck_assert_str_eq(n.node, "");
	ck_assert_uint_eq(n.epoch, 0);
	ck_assert_uint_eq(n.promise, 0);
	ck_assert_uint_eq(n.cluster, 0);
	ck_assert_uint_eq(n.n_peers, 0);
	ck_assert(!n.has_last_epoch);
	info_deinit(&n, 1);
}
END_TEST

START_TEST(nobody_answers)
{
	struct info_node n[2] = { { .name = "P1", .address = "127.0.0.1:1" }, { .name = "S1", .address = "nonsense" } };

	info_ask(n, 2, "engine", 2000);
	ck_assert(!n[0].heard && !n[1].heard);
	ck_assert_int_eq(n[0].error, -ECONNREFUSED);
	ck_assert_str_eq(info_absence(&n[0]), "refused: nothing listens there");
	ck_assert_ptr_nonnull(strstr(info_absence(&n[1]), "is no address"));
	info_deinit(n, 2);
}
END_TEST

UNIT_MAIN("info", {
	tcase_add_test(tc, a_whole_answer);
	tcase_add_test(tc, what_makes_no_sense_counts_as_missing);
	tcase_add_test(tc, nobody_answers);
})

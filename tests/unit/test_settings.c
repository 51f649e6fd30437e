/* What leash-noded accepts, and which combinations it refuses with the formula in the message. */
#include "node/settings.h"

#include <stdio.h>

#include "replica/rep.h"
#include "unit.h"

#define ARGS_MAX 12

static struct conf_errors errors;

/* Loads "leash-noded P1" with @options, separated by blanks. */
static int load(const char *options, struct settings *ret, struct conf_result *ret_result)
{
	static char copy[512];
	static char *argv[ARGS_MAX + 1]; /* operands point into it */
	char *save = NULL;
	int argc = 0;

	memset(argv, 0, sizeof argv);
	argv[argc++] = (char *)"leash-noded";
	argv[argc++] = (char *)"P1";
	(void)snprintf(copy, sizeof copy, "%s", options);
	for (char *o = strtok_r(copy, " ", &save); o && argc < ARGS_MAX; o = strtok_r(NULL, " ", &save))
		argv[argc++] = o;
	memset(&errors, 0, sizeof errors);
	return conf_load(&settings_desc, argc, argv, ret, ret_result, &errors);
}

START_TEST(defaults)
{
	struct settings s;
	struct conf_result result;
	char text[LEASH_ADDR_MAX + 16];

	ck_assert_int_eq(load("", &s, &result), 0);
	ck_assert_str_eq(result.operands[0], "P1");
	ck_assert_str_eq(s.engine, "engine");
	ck_assert_str_eq(units_addr_format(&s.listen, text), "127.0.0.1:8081");
	ck_assert_uint_eq(s.advertise.port, 0);
	ck_assert_uint_eq(s.etcd_endpoints.n, 1);
	ck_assert_str_eq(s.etcd_endpoints.items[0], "http://127.0.0.1:2379");
	ck_assert_uint_eq(s.founders.n, 3);
	ck_assert_str_eq(s.founders.items[2], "S2");
	ck_assert_uint_eq(s.min_insync, 2);
	ck_assert_int_eq(s.topology, REP_STAR);
	ck_assert_uint_eq(s.lease_ttl_ms, 5000);
	ck_assert_uint_eq(s.failure_timeout_ms, 1000);
	ck_assert_uint_eq(s.segment_bytes, 64u << 20);
	ck_assert_uint_eq(s.scrub_rate, 8u << 20);
	ck_assert_uint_eq(s.max_record_bytes, 1u << 20);
	ck_assert_uint_eq(s.dedup_window, 1000000);
	ck_assert_ptr_null(s.data_dir);
	conf_free(&settings_desc, &s);
}
END_TEST

START_TEST(impossible_combinations)
{
	static const struct {
		const char *options, *part;
	} table[] = {
		{ "--segment-bytes 1M", "at least 4 * max_record_bytes = 4194304" },
		{ "--uncommitted-bytes 1M", "at least 4 * max_record_bytes" },
		{ "--retention-bytes 1M", "at least 2 * segment_bytes = 134217728" },
		{ "--dedup-bytes 1M", "at least dedup_window * 64 bytes = 64000000" },
		{ "--dedup-time 60", "needs dedup_bytes" },
		{ "--lease-ttl 2500ms", "whole seconds" },
		{ "--lease-ttl 2 --failure-timeout 1500", "at least 2 * failure_timeout = 3000 ms" },
		{ "--disk-timeout 5", "less than lease_ttl = 5000 ms" },
		{ "--hold-timeout 1", "at least 2 * failure_timeout = 2000 ms" },
		{ "--min-insync 4", "more than there are founders (3)" },
		{ "--founders P1,S1,P1", "\"P1\" stands there twice" },
		{ "--etcd-cert x", "go together" },
		{ "--etcd-user x", "go together" },
		{ "--listen :8081", "advertise must say" },
		{ "--topology ring", "star, chain" },
		{ "--etcd-endpoints 127.0.0.1:2379", "http://HOST:PORT" },
		{ "--engine a/b", "" },
		{ "--nix 1", "" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		struct settings s;
		struct conf_result result;

		ck_assert_int_eq(load(table[i].options, &s, &result), CONF_E_INVALID);
		ck_assert_uint_ge(errors.n, 1);
		ck_assert_msg(strstr(errors.text[0], table[i].part), "%s: %s", table[i].options, errors.text[0]);
	}
}
END_TEST

START_TEST(a_reload_changes_retention_hook_and_level_only)
{
	struct settings before, after;
	struct conf_result result;
	struct conf_change changes[8];
	size_t n;

	ck_assert_int_eq(load("", &before, &result), 0);
	ck_assert_int_eq(load("--retention-time 60 --retention-bytes 1G --on-role-change x --log-level debug "
			      "--priority 1",
				 &after, &result),
		0);
	n = conf_diff(&settings_desc, &before, &after, changes, ARRAY_SIZE(changes));
	ck_assert_uint_eq(n, 5);
	for (size_t i = 0; i < n; i++)
		ck_assert_int_eq(changes[i].reload, strcmp(changes[i].key, "priority") != 0);
	conf_free(&settings_desc, &before);
	conf_free(&settings_desc, &after);
}
END_TEST

UNIT_MAIN("settings", {
	tcase_add_test(tc, defaults);
	tcase_add_test(tc, impossible_combinations);
	tcase_add_test(tc, a_reload_changes_retention_hook_and_level_only);
})

#include "cli/opts.h"

#include "unit.h"

#include <stdarg.h>
#include <stdio.h>

struct opts {
	char *engine, *name;
	struct units_addr gateway;
	uint64_t count;
	bool json;
};

static const struct conf_key keys[] = {
	CLI_KEY_ENGINE(struct opts, engine),
	CLI_KEY_GATEWAY(struct opts, gateway),
	CLI_KEY_JSON(struct opts, json),
	{ "min_count", CONF_AT_NUMBER(struct opts, count), .text = "5", .max = 10, .help = "how many" },
	{ "name", CONF_AT_STRING(struct opts, name), .help = "a name" },
};

static const struct cli_command command = {
	.name = "go",
	.operands = "FILE",
	.about = "go",
	CLI_COMMAND_OPTS(keys, struct opts),
	.operands_min = 1,
	.operands_max = 2,
};

static char why[CONF_ERROR_TEXT];

/* Parses words; the last argument is NULL. */
static int parse(struct opts *o, struct opts_result *res, ...)
{
	static char words[16][64];
	static char *argv[18];
	va_list args;
	const char *w;
	int argc = 0;

	(void)snprintf(words[argc], sizeof words[0], "go");
	argv[argc] = words[argc];
	argc++;
	va_start(args, res);
	while ((w = va_arg(args, const char *))) {
		(void)snprintf(words[argc], sizeof words[0], "%s", w);
		argv[argc] = words[argc];
		argc++;
	}
	va_end(args);
	argv[argc] = NULL;
	why[0] = '\0';
	return opts_parse(&command, argc, argv, o, res, why);
}

static void no_environment(void)
{
	(void)unsetenv("LEASH_ENGINE");
	(void)unsetenv("LEASH_GATEWAY");
}

START_TEST(options_and_operands_mix)
{
	struct opts_result res;
	struct opts o;

	no_environment();
	ck_assert_int_eq(parse(&o, &res, "a", "--min-count", "7", "--json", "b", "--engine=e2", NULL), 0);
	ck_assert_int_eq(res.action, OPTS_RUN);
	ck_assert_uint_eq(res.n_operands, 2);
	ck_assert_str_eq(res.operands[0], "a");
	ck_assert_str_eq(res.operands[1], "b");
	ck_assert_uint_eq(o.count, 7);
	ck_assert(o.json);
	ck_assert_str_eq(o.engine, "e2");
	ck_assert_uint_eq(o.gateway.port, 8080);
	ck_assert_ptr_null(o.name);
	opts_free(&command, &o);
	ck_assert_int_eq(parse(&o, &res, "--", "--json", NULL), 0);
	ck_assert_str_eq(res.operands[0], "--json");
	ck_assert(!o.json);
	opts_free(&command, &o);
}
END_TEST

START_TEST(the_environment_gives_way_to_options)
{
	struct opts_result res;
	struct opts o;

	ck_assert_int_eq(setenv("LEASH_ENGINE", "from-env", 1), 0);
	ck_assert_int_eq(setenv("LEASH_GATEWAY", "h:1", 1), 0);
	ck_assert_int_eq(parse(&o, &res, "f", "--gateway", "g:2", NULL), 0);
	ck_assert_str_eq(o.engine, "from-env");
	ck_assert_str_eq(o.gateway.host, "g");
	opts_free(&command, &o);
	ck_assert_int_eq(setenv("LEASH_GATEWAY", "nonsense", 1), 0);
	ck_assert_int_eq(parse(&o, &res, "f", NULL), OPTS_E_INVALID);
	ck_assert_ptr_nonnull(strstr(why, "LEASH_GATEWAY"));
	ck_assert_int_eq(parse(&o, &res, "--help", NULL), 0);
	ck_assert_int_eq(res.action, OPTS_HELP);
	no_environment();
}
END_TEST

START_TEST(what_is_wrong_is_said_in_one_line)
{
	static const struct {
		const char *words[4], *want;
	} table[] = {
		{ { "f", "--jsn" }, "unknown option --jsn; did you mean --json?" },
		{ { "f", "--xyzzy" }, "unknown option --xyzzy" },
		{ { "f", "-q" }, "unknown option -q" },
		{ { "f", "--json=yes" }, "--json takes no value" },
		{ { "f", "--help=x" }, "--help takes no value" },
		{ { "f", "--name" }, "--name: a value is missing" },
		{ { "f", "--min", "3" }, "options are not shortened: say --min-count" },
		{ { "f", "--min=3" }, "options are not shortened: say --min-count" },
		{ { "f", "--js" }, "options are not shortened: say --json" },
		{ { "f", "g", "h" }, "unexpected argument \"h\"" },
		{ { NULL }, "an argument is missing: FILE" },
		{ { "f", "--min-count", "11" }, "--min-count: \"11\" is not allowed" },
		{ { "f", "--min-count", "-1" }, "--min-count: \"-1\" is not allowed" },
		{ { "f", "--engine", "../x" }, "--engine: \"../x\" is not allowed" },
		{ { "f", "--gateway", "nowhere" }, "--gateway: \"nowhere\" is not allowed" },
	};
	struct opts_result res;
	struct opts o;

	no_environment();
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		const char *const *w = table[i].words;

		ck_assert_int_eq(parse(&o, &res, w[0], w[1], w[2], w[3], NULL), OPTS_E_INVALID);
		ck_assert_msg(strncmp(why, table[i].want, strlen(table[i].want)) == 0, "%zu: \"%s\" is not \"%s\"", i,
			why, table[i].want);
		ck_assert_ptr_null(strchr(why, '\n'));
	}
}
END_TEST

START_TEST(help_names_every_option)
{
	struct buf out = BUF_NULL;

	ck_assert_int_eq(opts_help(&command, &out), 0);
	ck_assert_int_eq(buf_put(&out, "", 1), 0);
	ck_assert_ptr_nonnull(strstr((char *)buf_head(&out), "--gateway HOST:PORT"));
	ck_assert_ptr_nonnull(strstr((char *)buf_head(&out), "--min-count N "));
	ck_assert_ptr_nonnull(strstr((char *)buf_head(&out), "[5]"));
	ck_assert_ptr_nonnull(strstr((char *)buf_head(&out), "--json "));
	buf_deinit(&out);
}
END_TEST

START_TEST(nearest_word)
{
	static const char *const words[] = { "status", "produce", "consume" };

	ck_assert_str_eq(opts_nearest(words, 3, "stauts"), "status");
	ck_assert_str_eq(opts_nearest(words, 3, "prod"), "produce");
	ck_assert_ptr_null(opts_nearest(words, 3, "xyzzy"));
	ck_assert_ptr_null(opts_nearest(words, 0, "status"));
}
END_TEST

UNIT_MAIN("opts", {
	tcase_add_test(tc, options_and_operands_mix);
	tcase_add_test(tc, the_environment_gives_way_to_options);
	tcase_add_test(tc, what_is_wrong_is_said_in_one_line);
	tcase_add_test(tc, help_names_every_option);
	tcase_add_test(tc, nearest_word);
})

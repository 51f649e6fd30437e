#include "cli/opts.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/conf_priv.h"

enum { ARG_KEY = 256 };

#define RANGE_TEXT (2 * UNITS_TEXT + 16)

static const struct {
	const char *key, *variable;
} from_environment[] = {
	{ "etcd_endpoints", "LEASH_ETCD_ENDPOINTS" },
	{ "engine", "LEASH_ENGINE" },
	{ "gateway", "LEASH_GATEWAY" },
};

struct options {
	char names[CONF_KEYS_MAX][CONF_NAME_MAX + 1];
	struct option opts[CONF_KEYS_MAX + 2];
};

const char *opts_nearest(const char *const *words, size_t n_words, const char *word)
{
	struct conf_key keys[CONF_KEYS_MAX] = { 0 };

	must(n_words <= CONF_KEYS_MAX);
	for (size_t i = 0; i < n_words; i++)
		keys[i].name = words[i];
	return conf_nearest(keys, n_words, word);
}

static void options_fill(struct options *o, const struct cli_command *c)
{
	must(c->n_keys <= CONF_KEYS_MAX);
	for (size_t i = 0; i < c->n_keys; i++) {
		bool flag = c->keys[i].type == CONF_BOOL;

		conf_option_name(c->keys[i].name, o->names[i]);
		o->opts[i] = (struct option){ o->names[i], flag ? no_argument : required_argument, NULL,
			ARG_KEY + (int)i };
	}
	o->opts[c->n_keys] = (struct option){ "help", no_argument, NULL, 'h' };
	o->opts[c->n_keys + 1] = (struct option){ 0 };
}

static void say_unknown(const struct cli_command *c, const char *arg, char why[CONF_ERROR_TEXT])
{
	char name[CONF_NAME_MAX + 1], option[CONF_NAME_MAX + 1];
	const char *near;

	arg += strspn(arg, "-");
	(void)snprintf(name, sizeof name, "%.*s", (int)MIN2(strcspn(arg, "="), sizeof name - 1), arg);
	near = conf_nearest(c->keys, c->n_keys, name);
	if (!near) {
		(void)snprintf(why, CONF_ERROR_TEXT, "unknown option --%s", name);
		return;
	}
	conf_option_name(near, option);
	(void)snprintf(why, CONF_ERROR_TEXT, "unknown option --%s; did you mean --%s?", name, option);
}

static int refuse(const struct cli_command *c, const struct options *o, int answer, char **argv,
	char why[CONF_ERROR_TEXT])
{
	const char *arg = argv[optind - 1];

	if (answer == ':')
		(void)snprintf(why, CONF_ERROR_TEXT, "%.80s: a value is missing", arg);
	else if (optopt > 0 && optopt < ARG_KEY && optopt != 'h')
		(void)snprintf(why, CONF_ERROR_TEXT, "unknown option -%c", optopt);
	else if (optopt == 'h')
		(void)snprintf(why, CONF_ERROR_TEXT, "--help takes no value");
	else if (optopt >= ARG_KEY)
		(void)snprintf(why, CONF_ERROR_TEXT, "--%s takes no value", o->names[optopt - ARG_KEY]);
	else
		say_unknown(c, arg, why);
	return OPTS_E_INVALID;
}

/* getopt_long(3) takes beginnings of names; a script that uses one would break when another option comes. */
static bool shortened(const struct options *o, int key, char *const *argv)
{
	const char *arg = argv[optind - 1], *name = o->names[key];
	size_t n = strlen(name);

	if (optarg == arg) /* the value was an argument of its own */
		arg = argv[optind - 2];
	return strncmp(arg, "--", 2) != 0 || strncmp(arg + 2, name, n) != 0 || (arg[2 + n] != '\0' && arg[2 + n] != '=');
}

static int set_key(const struct conf_key *k, void *opts, const char *text, const char *where,
	char why[CONF_ERROR_TEXT])
{
	char reason[CONF_ERROR_TEXT];
	int r = conf_set(k, opts, text, reason);

	if (r > 0)
		(void)snprintf(why, CONF_ERROR_TEXT, "%s: %.400s", where, reason);
	return r;
}

static int set_environment(const struct cli_command *c, void *opts, char why[CONF_ERROR_TEXT])
{
	for (size_t i = 0; i < c->n_keys; i++) {
		for (size_t j = 0; j < ARRAY_SIZE(from_environment); j++) {
			const char *text = getenv(from_environment[j].variable);
			int r;

			if (!text || text[0] == '\0' || strcmp(c->keys[i].name, from_environment[j].key) != 0)
				continue;
			r = set_key(&c->keys[i], opts, text, from_environment[j].variable, why);
			if (r != 0)
				return r;
		}
	}
	return 0;
}

/* All options; the object is filled in any case. */
static int read_options(const struct cli_command *c, int argc, char **argv, void *opts, struct opts_result *res,
	char why[CONF_ERROR_TEXT])
{
	struct options o;
	int a;

	options_fill(&o, c);
	opterr = 0;
	optind = 0; /* glibc: begin anew */
	while ((a = getopt_long(argc, argv, ":h", o.opts, NULL)) != -1) {
		char where[CONF_NAME_MAX + 3];
		int r;

		if (a == 'h') {
			res->action = OPTS_HELP;
			return 0;
		}
		if (a == ':' || a == '?')
			return refuse(c, &o, a, argv, why);
		if (shortened(&o, a - ARG_KEY, argv)) {
			(void)snprintf(why, CONF_ERROR_TEXT, "options are not shortened: say --%.*s", CONF_NAME_MAX,
				o.names[a - ARG_KEY]);
			return OPTS_E_INVALID;
		}
		(void)snprintf(where, sizeof where, "--%.*s", CONF_NAME_MAX, o.names[a - ARG_KEY]);
		r = set_key(&c->keys[a - ARG_KEY], opts, optarg ? optarg : "yes", where, why);
		if (r != 0)
			return r;
	}
	res->operands = argv + optind;
	res->n_operands = (size_t)(argc - optind);
	return 0;
}

static int check_result(const struct cli_command *c, const struct opts_result *res, char why[CONF_ERROR_TEXT])
{
	if (res->action == OPTS_HELP)
		return 0;
	if (res->n_operands > c->operands_max) {
		(void)snprintf(why, CONF_ERROR_TEXT, "unexpected argument \"%.80s\"", res->operands[c->operands_max]);
		return OPTS_E_INVALID;
	}
	if (res->n_operands < c->operands_min) {
		(void)snprintf(why, CONF_ERROR_TEXT, "an argument is missing: %s", c->operands);
		return OPTS_E_INVALID;
	}
	return 0;
}

int opts_parse(const struct cli_command *c, int argc, char **argv, void *ret_opts, struct opts_result *ret_result,
	char why[CONF_ERROR_TEXT])
{
	struct opts_result res = { .action = OPTS_RUN };
	int r;

	memset(ret_opts, 0, c->size);
	r = conf_defaults(c->keys, c->n_keys, ret_opts);
	if (r == 0)
		r = set_environment(c, ret_opts, why);
	if (r >= 0) {
		/* A bad variable is no reason to refuse --help. */
		int r2 = read_options(c, argc, argv, ret_opts, &res, why);

		r = r2 != 0 || res.action == OPTS_HELP ? r2 : r;
	}
	if (r == 0)
		r = check_result(c, &res, why);
	if (r != 0 || res.action == OPTS_HELP)
		opts_free(c, ret_opts);
	if (r == 0)
		*ret_result = res;
	return r;
}

void opts_free(const struct cli_command *c, void *opts)
{
	conf_keys_free(c->keys, c->n_keys, opts);
	memset(opts, 0, c->size);
}

static const char *meta_of(const struct conf_key *k)
{
	if (k->meta)
		return k->meta;
	switch (k->type) {
	case CONF_STRING: return "TEXT";
	case CONF_PATH: return "FILE";
	case CONF_LIST: return "ITEM,...";
	case CONF_SIZE: return "BYTES";
	case CONF_NUMBER: return "N";
	case CONF_DURATION: return "TIME";
	case CONF_BOOL: return "";
	case CONF_ADDRESS: return "HOST:PORT";
	case CONF_ENUM: return "WORD";
	}
	return "";
}

/* "text|json|raw" */
static void choices_text(const struct conf_key *k, char text[CONF_ERROR_TEXT])
{
	size_t n = 0;

	text[0] = '\0';
	for (size_t i = 0; k->choices[i] && n < CONF_ERROR_TEXT; i++)
		n += (size_t)snprintf(text + n, CONF_ERROR_TEXT - n, "%s%s", i ? "|" : "", k->choices[i]);
}

/* " (1 to 65536)"; nothing when a key has no bounds worth naming. */
static void range_text(const struct conf_key *k, char text[RANGE_TEXT])
{
	char min[UNITS_TEXT], max[UNITS_TEXT];

	text[0] = '\0';
	if (k->max == 0 || k->max >= INT64_MAX)
		return;
	if (k->type == CONF_DURATION)
		(void)snprintf(text, RANGE_TEXT, " (%s to %s)", units_duration_format(k->min, min),
			units_duration_format(k->max, max));
	else if (k->type == CONF_SIZE)
		(void)snprintf(text, RANGE_TEXT, " (%s to %s)", units_size_format(k->min, min),
			units_size_format(k->max, max));
	else if (k->type == CONF_NUMBER)
		(void)snprintf(text, RANGE_TEXT, " (%" PRIu64 " to %" PRIu64 ")", k->min, k->max);
}

static int option_line(const struct conf_key *k, struct buf *out)
{
	char range[RANGE_TEXT];
	char option[CONF_NAME_MAX + 1], choices[CONF_ERROR_TEXT], left[CONF_ERROR_TEXT + 64];
	const char *meta = meta_of(k);
	int r;

	conf_option_name(k->name, option);
	if (k->type == CONF_ENUM && !k->meta) {
		choices_text(k, choices);
		meta = choices;
	}
	(void)snprintf(left, sizeof left, "--%s%s%s", option, meta[0] ? " " : "", meta);
	r = buf_printf(out, "  %-30s %s", left, k->help);
	if (r == 0 && k->text && k->type != CONF_BOOL)
		r = buf_printf(out, " [%s]", k->text);
	range_text(k, range);
	return r == 0 ? buf_printf(out, "%s\n", range) : r;
}

int opts_help(const struct cli_command *c, struct buf *out)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < c->n_keys; i++)
		r = option_line(&c->keys[i], out);
	return r == 0 ? buf_printf(out, "  %-30s %s\n", "-h, --help", "print this") : r;
}

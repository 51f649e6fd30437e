/*
 * The command line and the text of --help.
 */
#include "base/conf_priv.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>

enum { ARG_CONFIG = 256, ARG_CHECK, ARG_KEY };

#define N_STANDARD 4

void conf_option_name(const char *key, char text[CONF_NAME_MAX + 1])
{
	size_t i;

	must(strlen(key) <= CONF_NAME_MAX);
	for (i = 0; key[i]; i++)
		text[i] = key[i] == '_' ? '-' : key[i];
	text[i] = '\0';
}

struct options {
	char names[CONF_KEYS_MAX][CONF_NAME_MAX + 1];
	struct option opts[CONF_KEYS_MAX + N_STANDARD + 1];
};

static void options_fill(struct options *o, const struct conf_desc *d)
{
	static const struct option standard[N_STANDARD + 1] = {
		{ "config", required_argument, NULL, ARG_CONFIG },
		{ "check", no_argument, NULL, ARG_CHECK },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL },
	};

	must(d->n_keys <= CONF_KEYS_MAX);
	for (size_t i = 0; i < d->n_keys; i++) {
		conf_option_name(d->keys[i].name, o->names[i]);
		o->opts[i] = (struct option){ o->names[i], required_argument, NULL, ARG_KEY + (int)i };
	}
	memcpy(&o->opts[d->n_keys], standard, sizeof standard);
}

static void fail_option(
	const struct conf_desc *d, const struct option *opts, const char *arg, struct conf_errors *e)
{
	char name[CONF_NAME_MAX + 1], option[CONF_NAME_MAX + 1];
	const char *near;

	if (optopt > 0 && optopt < ARG_CONFIG) {
		conf_error_plain(e, "-%c: unknown option", optopt);
		return;
	}
	for (const struct option *o = opts; optopt && o->name; o++) {
		if (o->val == optopt) {
			conf_error_plain(e, "--%s: this option takes no value", o->name);
			return;
		}
	}
	arg += strspn(arg, "-");
	(void)snprintf(name, sizeof name, "%.*s", (int)MIN2(strcspn(arg, "="), sizeof name - 1), arg);
	near = conf_nearest(d->keys, d->n_keys, name);
	if (!near) {
		conf_error_plain(e, "--%s: unknown or ambiguous option", name);
		return;
	}
	conf_option_name(near, option);
	conf_error_plain(e, "--%s: unknown or ambiguous option; did you mean --%s?", name, option);
}

/* One option; false: --help or --version, look no further. */
static bool take_option(const struct conf_desc *d, const struct option *opts, int c, char **argv,
	struct conf_scope *s, struct conf_result *res, struct conf_errors *e)
{
	switch (c) {
	case 'h':
		res->action = CONF_HELP;
		return false;
	case 'V':
		res->action = CONF_VERSION;
		return false;
	case ARG_CONFIG:
		res->file = optarg;
		return true;
	case ARG_CHECK:
		res->action = CONF_CHECK;
		return true;
	case ':':
		conf_error_plain(e, "%.80s: a value is missing", argv[optind - 1]);
		return true;
	case '?':
		fail_option(d, opts, argv[optind - 1], e);
		return true;
	default:
		s->option[c - ARG_KEY] = optarg;
		return true;
	}
}

void conf_read_args(const struct conf_desc *desc, int argc, char **argv, struct conf_scope *s,
	struct conf_result *ret_result, struct conf_errors *e)
{
	struct conf_result res = { .action = CONF_RUN };
	struct options o;
	int c;

	options_fill(&o, desc);
	opterr = 0;
	optind = 0; /* glibc: begin anew, also at a reload */
	while ((c = getopt_long(argc, argv, ":hV", o.opts, NULL)) != -1) {
		if (!take_option(desc, o.opts, c, argv, s, &res, e)) {
			*ret_result = res;
			return;
		}
	}
	res.operands = argv + optind;
	res.n_operands = (size_t)(argc - optind);
	/* Behind an unknown option there may be its value, which is no error of its own. */
	if (res.n_operands > desc->operands && conf_errors_count(e) == 0)
		conf_error_plain(e, "unexpected argument \"%.80s\"", res.operands[desc->operands]);
	*ret_result = res;
}

static const char *meta_of(const struct conf_key *k)
{
	static const char *const by_type[] = {
		[CONF_STRING] = "TEXT",
		[CONF_PATH] = "PATH",
		[CONF_LIST] = "LIST",
		[CONF_SIZE] = "BYTES",
		[CONF_NUMBER] = "NUMBER",
		[CONF_DURATION] = "TIME",
		[CONF_BOOL] = "yes|no",
		[CONF_ADDRESS] = "HOST:PORT",
		[CONF_ENUM] = "WORD",
	};

	return k->meta ? k->meta : by_type[k->type];
}

static int help_line(struct buf *out, const char *option, const char *meta, const char *help)
{
	char left[2 * CONF_NAME_MAX + 64];
	int n = snprintf(left, sizeof left, "  %s%s%s", option, meta[0] ? " " : "", meta);

	if (n > 32)
		return buf_printf(out, "%s\n%-34s%s\n", left, "", help);
	return buf_printf(out, "%-34s%s\n", left, help);
}

static int help_key(struct buf *out, const struct conf_key *k)
{
	char option[CONF_NAME_MAX + 3] = "--", note[2 * CONF_ERROR_TEXT], allowed[CONF_ERROR_TEXT];
	int r;

	conf_option_name(k->name, option + 2);
	r = help_line(out, option, meta_of(k), k->help ? k->help : "");
	if (r < 0)
		return r;
	conf_allowed(k, allowed);
	(void)snprintf(note, sizeof note, "%s%s%s%s%s", allowed, k->text ? "; default: " : "",
		k->text ? k->text : "", k->flags & CONF_REQUIRED ? "; must be set" : "",
		k->flags & CONF_RELOAD ? "; reload" : "");
	return buf_printf(out, "%-34s(%s)\n", "", note);
}

static int help_keys(struct buf *out, const struct conf_key *keys, size_t n_keys)
{
	int r = 0;

	for (size_t i = 0; i < n_keys && r == 0; i++)
		r = help_key(out, &keys[i]);
	return r;
}

/* Keys of sections are in the file only, so they are shown as they stand there. */
static int help_section(struct buf *out, const struct conf_section *s)
{
	int r = buf_printf(out, "\nIn the file, any number of [%s NAME] sections with:\n", s->prefix);

	for (size_t i = 0; i < s->n_keys && r == 0; i++)
		r = help_line(out, s->keys[i].name, "= ...", s->keys[i].help ? s->keys[i].help : "");
	return r;
}

static int help_standard(struct buf *out)
{
	static const char *const lines[][3] = {
		{ "--config", "FILE",
			"read keys from this file; options win over it. Without this, no file is read" },
		{ "--check", "", "check options and file, then exit" },
		{ "-h, --help", "", "show this and exit" },
		{ "-V, --version", "", "show the version and exit" },
	};
	int r = 0;

	for (size_t i = 0; i < ARRAY_SIZE(lines) && r == 0; i++)
		r = help_line(out, lines[i][0], lines[i][1], lines[i][2]);
	return r;
}

int conf_help(const struct conf_desc *d, struct buf *out)
{
	int r = buf_printf(out, "Usage: %s %s\n%s%s\n", d->program, d->usage ? d->usage : "[OPTION]...",
		d->about ? d->about : "", d->about ? "\n" : "");

	if (r == 0)
		r = help_standard(out);
	if (r == 0 && d->n_keys)
		r = buf_printf(out, "\nEach of these is also a key in the file, with _ for -:\n");
	if (r == 0)
		r = help_keys(out, d->keys, d->n_keys);
	for (size_t i = 0; i < d->n_sections && r == 0; i++)
		r = help_section(out, &d->sections[i]);
	return r;
}

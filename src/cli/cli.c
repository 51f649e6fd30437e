#include "cli/cli.h"

#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>

#include "cli/opts.h"

static const struct cli_command *const commands[] = {
	&cli_status, &cli_produce, &cli_consume, &cli_log_cat, &cli_log_verify, &cli_log_info, &cli_log_set_aside,
	&cli_switchover, &cli_pause, &cli_resume, &cli_drain, &cli_undrain, &cli_recover, &cli_control, &cli_rolling_restart,
	&cli_bench,
};

struct table {
	const struct cli_command *const *commands;
	size_t n;
};

/* ---- messages */

static const char *speaker = ""; /* the command that runs, for messages */

static void say(const char *fmt, va_list args) _printf_(1, 0);

static void say(const char *fmt, va_list args)
{
	(void)fflush(stdout); /* so that both keep their order on a terminal */
	fprintf(stderr, "leash%s%s: ", speaker[0] ? " " : "", speaker);
	vfprintf(stderr, fmt, args);
	fputc('\n', stderr);
}

void cli_note(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say(fmt, args);
	va_end(args);
}

int cli_failed(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say(fmt, args);
	va_end(args);
	return CLI_FAILED;
}

int cli_misused(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	say(fmt, args);
	va_end(args);
	return CLI_USAGE;
}

bool cli_confirmed(void)
{
	char line[16];

	printf("\nGo on? Type yes: ");
	if (fflush(stdout) != 0 || !fgets(line, sizeof line, stdin))
		return false;
	line[strcspn(line, "\r\n")] = '\0';
	return strcmp(line, "yes") == 0;
}

int cli_flush(int exit_status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return exit_status;
	return cli_failed("cannot write to standard output: %s", strerror(errno));
}

/* ---- help */

static int print(struct buf *out, int r)
{
	if (r == 0)
		(void)fwrite(buf_head(out), 1, buf_len(out), stdout);
	buf_deinit(out);
	return r == 0 ? cli_flush(CLI_OK) : cli_failed("out of memory");
}

static int help_all(const struct table *t)
{
	struct buf out = BUF_NULL;
	int r = buf_printf(&out, "Usage: leash COMMAND [OPTION]... [ARGUMENT]...\n\nCommands:\n");

	for (size_t i = 0; r == 0 && i < t->n; i++)
		r = buf_printf(&out, "  %-16s %s\n", t->commands[i]->name, t->commands[i]->about);
	if (r == 0)
		r = buf_printf(&out, "\n\"leash help COMMAND\" or \"leash COMMAND --help\" says more; \"leash --version\".\n"
				     "Exit status: 0 all is well; 1 it is not, or could not be done; 2 wrong usage.\n");
	return print(&out, r);
}

static int help_command(const struct cli_command *c)
{
	struct buf out = BUF_NULL;
	int r = buf_printf(&out, "Usage: leash %s [OPTION]...%s%s\n\nleash %s: %s.\n", c->name,
		c->operands[0] ? " " : "", c->operands, c->name, c->about);

	if (r == 0 && c->help)
		r = buf_printf(&out, "\n%s", c->help);
	if (r == 0)
		r = buf_printf(&out, "\nOptions [and their defaults] (and bounds):\n");
	if (r == 0)
		r = opts_help(c, &out);
	if (r == 0)
		r = buf_printf(&out, "\nExit status:\n%s",
			c->exits ? c->exits :
				   "  0  done\n  1  it could not be done; a message says why\n  2  wrong usage\n");
	return print(&out, r);
}

/* ---- choosing the command */

/* Words of @name that argv begins with: all of them, or 0. */
static int words_match(const char *name, int argc, char **argv)
{
	int n = 0;

	for (const char *at = name; *at; n++) {
		size_t len = strcspn(at, " ");

		if (n == argc || strlen(argv[n]) != len || memcmp(at, argv[n], len) != 0)
			return 0;
		at += len + (at[len] == ' ');
	}
	return n;
}

static const struct cli_command *find(const struct table *t, int argc, char **argv, int *ret_words)
{
	for (size_t i = 0; i < t->n; i++) {
		int n = words_match(t->commands[i]->name, argc, argv);

		if (n > 0) {
			*ret_words = n;
			return t->commands[i];
		}
	}
	return NULL;
}

/* The second words of the commands that begin with @word. */
static size_t seconds_of(const struct table *t, const char *word, const char *words[CONF_KEYS_MAX])
{
	size_t n = 0, len = strlen(word);

	for (size_t i = 0; i < t->n; i++) {
		const char *name = t->commands[i]->name;

		if (strncmp(name, word, len) == 0 && name[len] == ' ')
			words[n++] = name + len + 1;
	}
	return n;
}

/* "status", "log" ...: the first words, each once; they are copied to @space. */
static size_t firsts_of(const struct table *t, char space[CONF_KEYS_MAX][LEASH_NAME_MAX + 1],
	const char *words[CONF_KEYS_MAX])
{
	size_t n = 0;

	for (size_t i = 0; i < t->n; i++) {
		const char *name = t->commands[i]->name;

		(void)snprintf(space[n], sizeof space[n], "%.*s", (int)strcspn(name, " "), name);
		if (n == 0 || strcmp(space[n], space[n - 1]) != 0) {
			words[n] = space[n];
			n++;
		}
	}
	words[n++] = "help";
	return n;
}

static int unknown(const char *before, const char *word, const char *near)
{
	if (near)
		return cli_misused("unknown command \"%s%.60s\"; did you mean \"%s%s\"?", before, word, before, near);
	return cli_misused("unknown command \"%s%.60s\"; \"leash help\" lists them", before, word);
}

static int unknown_command(const struct table *t, int argc, char **argv)
{
	char space[CONF_KEYS_MAX][LEASH_NAME_MAX + 1], before[LEASH_NAME_MAX + 2], list[256] = "";
	const char *words[CONF_KEYS_MAX];
	size_t n = seconds_of(t, argv[0], words);

	if (n == 0)
		return unknown("", argv[0], opts_nearest(words, firsts_of(t, space, words), argv[0]));
	(void)snprintf(before, sizeof before, "%.60s ", argv[0]);
	if (argc > 1 && argv[1][0] != '-')
		return unknown(before, argv[1], opts_nearest(words, n, argv[1]));
	for (size_t i = 0; i < n; i++)
		(void)snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "", words[i]);
	return cli_misused("\"%s\" wants one of: %s", argv[0], list);
}

static int help(const struct table *t, int argc, char **argv)
{
	const struct cli_command *c;
	int n, r = CLI_USAGE;

	if (argc == 0)
		return help_all(t);
	c = find(t, argc, argv, &n);
	if (c && argc > n)
		return cli_misused("unexpected argument \"%.80s\"", argv[n]);
	if (c)
		return help_command(c);
	/* "leash help log": all that begin so. */
	for (size_t i = 0; argc == 1 && i < t->n; i++) {
		size_t len = strlen(argv[0]);

		if (strncmp(t->commands[i]->name, argv[0], len) == 0 && t->commands[i]->name[len] == ' ') {
			if (r == CLI_OK)
				putchar('\n');
			r = help_command(t->commands[i]);
		}
	}
	return r == CLI_USAGE ? unknown_command(t, argc, argv) : r;
}

static int run(const struct cli_command *c, int argc, char **argv)
{
	_cleanup_(freep) void *opts = calloc(1, c->size);
	char why[CONF_ERROR_TEXT] = "";
	struct opts_result res;
	int r;

	speaker = c->name;
	if (!opts)
		return cli_failed("out of memory");
	r = opts_parse(c, argc, argv, opts, &res, why);
	if (r < 0)
		return cli_failed("out of memory");
	if (r > 0)
		return cli_misused("%s", why);
	if (res.action == OPTS_HELP)
		return help_command(c);
	r = c->run(opts, res.operands, res.n_operands);
	opts_free(c, opts);
	return r;
}

int cli_run(const struct cli_command *const *table, size_t n_commands, int argc, char **argv)
{
	const struct table t = { table, n_commands };
	const struct cli_command *c;
	int n = 0;

	speaker = "";
	if (argc < 2)
		return cli_misused("a command is missing; \"leash help\" lists them");
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
		printf("leash %s\n", PACKAGE_VERSION);
		return cli_flush(CLI_OK);
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return help_all(&t);
	if (strcmp(argv[1], "help") == 0)
		return help(&t, argc - 2, argv + 2);
	if (argv[1][0] == '-')
		return cli_misused("unknown option %.60s; options follow the command", argv[1]);
	c = find(&t, argc - 1, argv + 1, &n);
	if (!c && argc == 3 && (strcmp(argv[2], "--help") == 0 || strcmp(argv[2], "-h") == 0))
		return help(&t, 1, argv + 1);
	return c ? run(c, argc - n, argv + n) : unknown_command(&t, argc - 1, argv + 1);
}

int cli_main(int argc, char **argv)
{
	/* Writing to a closed pipe or connection is an error like others. */
	(void)signal(SIGPIPE, SIG_IGN);
	return cli_run(commands, ARRAY_SIZE(commands), argc, argv);
}

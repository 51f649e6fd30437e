/*
 * The options of one command, parsed with getopt_long(3) from the rows of its table. Prints nothing.
 */
#ifndef LEASH_CLI_OPTS_H
#define LEASH_CLI_OPTS_H

#include "cli/cli.h"

enum opts_action { OPTS_RUN, OPTS_HELP };

struct opts_result {
	enum opts_action action;
	char **operands; /* into argv */
	size_t n_operands;
};

#define OPTS_E_INVALID 1

/*
 * Reads argv (argv[0] is the command) into *@ret_opts, an object of command->size. After 0 and OPTS_RUN it is the
 * caller's to opts_free(); else it was not touched. OPTS_E_INVALID: @ret_why says in one line why; -ENOMEM.
 */
int opts_parse(const struct cli_command *c, int argc, char **argv, void *ret_opts, struct opts_result *ret_result,
	char ret_why[CONF_ERROR_TEXT]) _must_check_;

void opts_free(const struct cli_command *c, void *opts);

/* The lines about the options for --help. */
int opts_help(const struct cli_command *c, struct buf *out) _must_check_;

/* The word nearest to @word, NULL when none is near. At most CONF_KEYS_MAX words. */
const char *opts_nearest(const char *const *words, size_t n_words, const char *word);

#endif

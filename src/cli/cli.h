/*
 * The frame of the program `leash`: one table of commands, their options and their help, after git's manner.
 *
 * A command describes its options with rows of struct conf_key (base/conf.h), as the daemons do: a key `min_rate` is
 * the option --min-rate. A key of type BOOL is an option without a value. Three keys are also taken from the
 * environment: LEASH_ETCD_ENDPOINTS, LEASH_ENGINE and LEASH_GATEWAY; the command line wins.
 *
 * Exit statuses: 0 all is well; 1 it is not, or could not be done; 2 the command line makes no sense, nothing was done.
 */
#ifndef LEASH_CLI_CLI_H
#define LEASH_CLI_CLI_H

#include "base/conf.h"

enum cli_exit { CLI_OK, CLI_FAILED, CLI_USAGE };

struct cli_command {
	const char *name;     /* "status", or two words, "log cat" */
	const char *operands; /* what follows the options in the usage line: "[FILE]"; "" = none */
	const char *about;    /* one line, small first letter, no full stop */
	const char *help;     /* paragraphs for --help, with line ends; NULL */
	const char *exits;    /* what the exit statuses mean, with line ends; NULL: the usual */
	const struct conf_key *keys;
	size_t n_keys;
	size_t size;          /* of the struct that the keys fill */
	size_t operands_min, operands_max;
	int (*run)(const void *opts, char **operands, size_t n_operands); /* returns enum cli_exit */
};

#define CLI_COMMAND_OPTS(table, s) .keys = (table), .n_keys = ARRAY_SIZE(table), .size = sizeof(s)

extern const struct cli_command cli_status, cli_produce, cli_consume, cli_log_cat, cli_log_verify, cli_log_info, cli_log_set_aside,
	cli_switchover, cli_pause, cli_resume, cli_drain, cli_undrain, cli_recover, cli_control, cli_rolling_restart, cli_bench;

/* How to reach etcd, and of which engine. */
struct cli_etcd {
	struct conf_list endpoints;
	char *engine;
	char *cacert, *cert, *key, *user, *password_file;
};

#define CLI_KEY_ENGINE(s, m)                                                                                 \
	{ "engine", CONF_AT_STRING(s, m), .text = "engine", .check = conf_check_name, .meta = "NAME",        \
	  .help = "name of the engine (LEASH_ENGINE)" }
#define CLI_KEYS_ETCD(s, m)                                                                                  \
	{ "etcd_endpoints", CONF_AT_LIST(s, m.endpoints), .text = "http://127.0.0.1:2379", .meta = "URL,...", \
	  .help = "where etcd is (LEASH_ETCD_ENDPOINTS)" },                                                  \
	CLI_KEY_ENGINE(s, m.engine),                                                                         \
	{ "etcd_cacert", CONF_AT_PATH(s, m.cacert), .meta = "FILE",                                          \
	  .help = "certificates that vouch for etcd's, PEM" },                                               \
	{ "etcd_cert", CONF_AT_PATH(s, m.cert), .meta = "FILE", .help = "certificate to show to etcd, PEM" }, \
	{ "etcd_key", CONF_AT_PATH(s, m.key), .meta = "FILE", .help = "its key, PEM" },                      \
	{ "etcd_user", CONF_AT_STRING(s, m.user), .meta = "NAME", .help = "user at etcd" },                  \
	{ "etcd_password_file", CONF_AT_PATH(s, m.password_file), .meta = "FILE",                            \
	  .help = "file whose first line is that user's password" }
#define CLI_KEY_GATEWAY(s, m)                                                                                \
	{ "gateway", CONF_AT_ADDRESS(s, m), .text = "127.0.0.1:8080", .min = 1, .max = 65535,                \
	  .meta = "HOST:PORT", .help = "the gateway (LEASH_GATEWAY)" }
#define CLI_KEY_JSON(s, m)                                                                                   \
	{ "json", CONF_AT_BOOL(s, m), .help = "print one JSON object" }

/* The whole program. Returns the exit status. */
int cli_main(int argc, char **argv);

/* The same with another table, for tests. */
int cli_run(const struct cli_command *const *commands, size_t n_commands, int argc, char **argv);

/* One line to stderr, "leash COMMAND: " before it. cli_failed() returns CLI_FAILED, cli_misused() CLI_USAGE. */
void cli_note(const char *fmt, ...) _printf_(1, 2);
int cli_failed(const char *fmt, ...) _printf_(1, 2);
int cli_misused(const char *fmt, ...) _printf_(1, 2);

/* CLI_OK when everything written to stdout has arrived; else says so. For the end of a command that prints. */
int cli_flush(int exit_status);
bool cli_confirmed(void) _must_check_; /* asks on the terminal; only "yes" is yes */

#endif

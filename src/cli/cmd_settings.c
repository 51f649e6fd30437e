/*
 * leash pause, resume, drain, undrain: the engine's settings in etcd, by compare and set.
 */
#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>

#include "base/ids.h"
#include "cli/state.h"

#define ATTEMPTS 10 /* when others change the settings at the same time */

struct settings_opts {
	struct cli_etcd etcd;
};

/* Changes @s; false with a reason: it cannot be. */
typedef bool (*change_fn)(struct keys_settings *s, const char *arg, const char **ret_why);

/* 0: done; 1: somebody else was faster; negative: told. */
static int attempt(struct state *state, const char *engine, change_fn change, const char *arg)
{
	_cleanup_(buf_deinit) struct buf value = BUF_NULL, changed = BUF_NULL;
	char key[KEYS_NAME_MAX + 1], why[STATE_TEXT], reason[KEYS_REASON_MAX];
	struct keys_settings settings = { 0 };
	const char *refused = NULL;
	uint64_t mod;
	bool done;
	int r = state_get(state, keys_name(engine, KEYS_SETTINGS, NULL, key), &value, &mod, why);

	if (r < 0)
		return -cli_failed("%s", why);
	if (mod && keys_settings_decode((struct bytes){ buf_head(&value), buf_len(&value) }, &settings, reason) != 0)
		return -cli_failed("the settings in etcd cannot be read (%s): %s", key, reason);
	if (!change(&settings, arg, &refused))
		return -cli_failed("%s", refused);
	if (keys_settings_encode(&settings, &changed) < 0)
		return -cli_failed("out of memory");
	struct etcd_compare guard = { .target = ETCD_CMP_MOD, .key = etcd_str(key), .number = (int64_t)mod };
	struct etcd_op put = { .kind = ETCD_OP_PUT,
		.put = { .key = etcd_str(key), .value = { buf_head(&changed), buf_len(&changed) } } };
	struct etcd_txn_req req = { .compares = &guard, .n_compares = 1, .success = &put, .n_success = 1 };

	r = state_txn(state, &req, &done, why);
	if (r == -EINPROGRESS)
		return -cli_failed("%s; whether it took effect is unknown: try again", why);
	if (r < 0)
		return -cli_failed("%s", why);
	return done ? 0 : 1;
}

static int settings_run(const struct cli_etcd *o, change_fn change, const char *arg, const char *said)
{
	_cleanup_(state_freep) struct state *state = NULL;
	char why[STATE_TEXT];
	int r = state_open(o, &state, why);

	if (r < 0)
		return r == -EINVAL ? cli_misused("%s", why) : cli_failed("%s", why);
	r = 1;
	for (int i = 0; r == 1 && i < ATTEMPTS; i++)
		r = attempt(state, o->engine, change, arg);
	if (r == 1)
		return cli_failed("the settings are being changed all the time; try again");
	if (r < 0)
		return CLI_FAILED;
	printf("%s%s%s\n", arg ? arg : "", arg ? ": " : "", said);
	return cli_flush(CLI_OK);
}

/* ---- the changes */

static bool set_paused(struct keys_settings *s, const char *arg _unused_, const char **ret_why _unused_)
{
	s->paused = true;
	return true;
}

static bool set_automatic(struct keys_settings *s, const char *arg _unused_, const char **ret_why _unused_)
{
	s->paused = false;
	return true;
}

static uint32_t find(const struct keys_settings *s, const char *name)
{
	uint32_t i = 0;

	while (i < s->n_drained && strcmp(s->drained[i], name) != 0)
		i++;
	return i;
}

static bool add_drained(struct keys_settings *s, const char *name, const char **ret_why)
{
	if (find(s, name) < s->n_drained)
		return true;
	if (s->n_drained == REP_NODES_MAX) {
		*ret_why = "too many nodes are drained";
		return false;
	}
	memcpy(s->drained[s->n_drained++], name, strlen(name) + 1);
	return true;
}

static bool remove_drained(struct keys_settings *s, const char *name, const char **ret_why _unused_)
{
	uint32_t i = find(s, name);

	if (i < s->n_drained)
		memmove(s->drained[i], s->drained[i + 1], (--s->n_drained - i) * sizeof s->drained[0]);
	return true;
}

/* ---- the commands */

static int pause_run(const void *opts, char **operands _unused_, size_t n _unused_)
{
	return settings_run(&((const struct settings_opts *)opts)->etcd, set_paused, NULL,
		"automatic takeover is paused");
}

static int resume_run(const void *opts, char **operands _unused_, size_t n _unused_)
{
	return settings_run(&((const struct settings_opts *)opts)->etcd, set_automatic, NULL, "takeover is automatic");
}

static int drain_run(const void *opts, char **operands, size_t n _unused_)
{
	if (!name_valid(operands[0]))
		return cli_misused("\"%.80s\" is no name of a node", operands[0]);
	return settings_run(&((const struct settings_opts *)opts)->etcd, add_drained, operands[0],
		"does not become primary");
}

static int undrain_run(const void *opts, char **operands, size_t n _unused_)
{
	if (!name_valid(operands[0]))
		return cli_misused("\"%.80s\" is no name of a node", operands[0]);
	return settings_run(&((const struct settings_opts *)opts)->etcd, remove_drained, operands[0],
		"may become primary");
}

static const struct conf_key keys[] = {
	CLI_KEYS_ETCD(struct settings_opts, etcd),
};

const struct cli_command cli_pause = {
	.name = "pause",
	.operands = "",
	.about = "stop automatic takeover, for maintenance",
	.help = "The primary goes on; when it dies, nobody takes its place before \"leash resume\".\n",
	CLI_COMMAND_OPTS(keys, struct settings_opts),
	.run = pause_run,
};

const struct cli_command cli_resume = {
	.name = "resume",
	.operands = "",
	.about = "start automatic takeover again",
	CLI_COMMAND_OPTS(keys, struct settings_opts),
	.run = resume_run,
};

const struct cli_command cli_drain = {
	.name = "drain",
	.operands = "NODE",
	.about = "keep a node from becoming primary",
	.help = "It goes on as a secondary. If it leads now, \"leash switchover\" moves the lead away.\n",
	CLI_COMMAND_OPTS(keys, struct settings_opts),
	.operands_min = 1,
	.operands_max = 1,
	.run = drain_run,
};

const struct cli_command cli_undrain = {
	.name = "undrain",
	.operands = "NODE",
	.about = "let a drained node become primary again",
	CLI_COMMAND_OPTS(keys, struct settings_opts),
	.operands_min = 1,
	.operands_max = 1,
	.run = undrain_run,
};

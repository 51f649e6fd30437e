/*
 * leash log set-aside (R11): an operator's word that what is damaged in a node's log will not be given back by other nodes.
 * The log then ends before the damage, the evidence is kept, and the node is somebody new.
 */
#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/ids.h"
#include "cli/dir.h"

#define SEGMENT_BYTES (64u << 20) /* of a new segment, should nothing good be left */

struct set_aside_opts {
	char *base;
	bool yes;
};

static void closep_log(struct rlog **l)
{
	rlog_close(*l);
}

static int open_log(const char *path, struct rlog **ret_log, struct rlog_state *ret_state)
{
	struct rlog_conf conf = { .dir = path, .segment_bytes = SEGMENT_BYTES, .record_bytes_max = 1u << 20 };
	char why[DIR_TEXT];
	struct rlog_meta m;
	leash_seq mark;
	int r = dir_peek(path, &m, &mark, why);

	if (r < 0)
		return cli_failed("%s", why);
	r = rlog_open(&conf, &rlog_posix, m.engine, m.node, m.incarnation, ret_log, ret_state);
	if (r == RLOG_E_LOCKED)
		return cli_failed("the node is running: stop it first");
	return r == 0 ? CLI_OK : cli_failed("cannot open the log in %s: %s", path, dir_strerror(r));
}

/* Opening reads the last segment only: what else is damaged verifying tells. The lowest is enough. */
static int find_damage(const char *path, struct rlog *log, const struct rlog_state *s)
{
	_cleanup_(freep) struct dir_report *report = malloc(sizeof *report);
	const struct rlog_damage *lowest = NULL;
	char why[DIR_TEXT];
	int r = report ? dir_verify(path, s->end, report, why) : -ENOMEM;

	if (r < 0)
		return cli_failed("%s", report ? why : "out of memory");
	for (size_t i = 0; i < report->n_problems; i++)
		if (report->problems[i].first <= s->end && (!lowest || report->problems[i].first < lowest->first))
			lowest = &report->problems[i];
	r = lowest ? rlog_damage_add(log, lowest) : 0;
	return r == 0 ? CLI_OK : cli_failed("%s", dir_strerror(r));
}

static void print_choice(const struct rlog *log)
{
	size_t n;
	const struct rlog_damage *d = rlog_damage_get(log, &n);
	leash_seq first = d[0].first;

	for (size_t i = 1; i < n; i++)
		first = MIN2(first, d[i].first);
	printf("The log will end before record %" PRIu64 ", and the node will copy the rest from others.\n"
	       "What no other node has is lost with it; it is kept in damaged/.\n", first);
}

static int set_aside_run(const void *opts, char **operands, size_t n_operands _unused_)
{
	_cleanup_(closep_log) struct rlog *log = NULL;
	const struct set_aside_opts *o = opts;
	char path[PATH_MAX], id[LEASH_ID_TEXT];
	struct rlog_state s;
	size_t n_damage;
	int r;

	if (!dir_path(o->base, operands[0], path))
		return cli_misused("the path is too long");
	r = open_log(path, &log, &s);
	if (r == CLI_OK)
		r = find_damage(path, log, &s);
	if (r != CLI_OK)
		return r;
	(void)rlog_damage_get(log, &n_damage);
	if (n_damage == 0) {
		printf("The log is not damaged; nothing was changed.\n");
		return cli_flush(CLI_OK);
	}
	print_choice(log);
	if (!o->yes && !cli_confirmed())
		return cli_failed("nothing was changed");
	r = rlog_renounce(log, id_random());
	if (r != 0)
		return cli_failed("%s", r == RLOG_E_FULL ? "no room on disk to keep the evidence; nothing was changed" :
							    dir_strerror(r));
	rlog_state_get(log, &s);
	printf("The log ends at record %" PRIu64 "; the node is somebody new (incarnation %s).\n", s.end,
		id_format(s.meta.incarnation, id));
	return cli_flush(CLI_OK);
}

static const struct conf_key set_aside_keys[] = {
	{ "data_dir_base", CONF_AT_PATH(struct set_aside_opts, base), .text = DIR_BASE, .meta = "DIR",
	  .help = "where the data directories of nodes are" },
	{ "yes", CONF_AT_BOOL(struct set_aside_opts, yes), .help = "do not ask for confirmation" },
};

const struct cli_command cli_log_set_aside = {
	.name = "log set-aside",
	.operands = "NODE|DIR",
	.about = "give up what is damaged in a stopped node's log",
	.help = "NODE is the name of a node on this machine; its data directory is <--data-dir-base>/NODE.\n"
		"A damaged node asks the others for what it lacks, and as long as nobody leads it goes on asking. When you know that\n"
		"no node has it any more, stop this one and run this: its log will end before the damage, the evidence is kept in\n"
		"damaged/, and the node joins as a new one. \"leash recover\" may be needed then.\n",
	CLI_COMMAND_OPTS(set_aside_keys, struct set_aside_opts),
	.operands_min = 1,
	.operands_max = 1,
	.run = set_aside_run,
};

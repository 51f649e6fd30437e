/*
 * leash recover (R9): writes the engine's state anew when etcd has lost it, on an operator's word.
 *
 *  1. read what etcd still holds; an in-sync set that is there ends it, unless --force
 *  2. ask the nodes that etcd and --node name, and read the data directories that are given
 *  3. show what each holds, what is chosen, who was not heard and what may be lost with them
 *  4. ask for confirmation
 *  5. one transaction, guarded by what was read in 1: put insync, delete a stale leader
 * Done twice it finds its own result and says so. An unknown outcome is resolved by doing it again.
 */
#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/ids.h"
#include "cli/dir.h"
#include "cli/nodes.h"
#include "cli/recover.h"
#include "cli/text.h"

#define DIRS_MAX 16
#define LOGS_MAX (INFO_NODES_MAX + DIRS_MAX)

struct recover_opts {
	struct cli_etcd etcd;
	struct conf_list node;
	char *base;
	bool yes, force;
};

struct recovery {
	const struct recover_opts *o;
	struct state *state;
	struct keys_view view;
	struct nodes nodes;
	struct recover_log logs[LOGS_MAX];
	char from[LOGS_MAX][LEASH_ADDR_MAX + 1]; /* where logs[i] was read: address or directory */
	size_t n_logs;
	size_t best;
	struct rep_insync set;
	char why[STATE_TEXT];
};

/* ---- what is there */

static void add_log(struct recovery *r, const struct recover_log *l, const char *from)
{
	/* A running node and its own directory are one log; the node knows better. */
	for (size_t i = 0; i < r->n_logs; i++)
		if (r->logs[i].incarnation == l->incarnation && strcmp(r->logs[i].node, l->node) == 0)
			return;
	r->logs[r->n_logs] = *l;
	(void)snprintf(r->from[r->n_logs], sizeof r->from[0], "%s", from);
	r->n_logs++;
}

static void add_heard(struct recovery *r, const struct info_node *n)
{
	struct recover_log l = { .cluster = n->cluster, .incarnation = n->incarnation, .promise = n->promise,
		.epoch = n->epoch, .log_epoch = n->log_epoch, .last_epoch = n->last_epoch, .log_matched = n->log_matched,
		.log_end = n->log_end, .insync_version = n->insync_version, .recovery = n->recovery,
		.dedup_window = n->dedup_window, .min_insync = n->min_insync };

	memcpy(l.node, n->node, sizeof l.node);
	if (n->has_last_epoch || n->log_end == 0)
		add_log(r, &l, n->address);
	else /* how much of its log counts is not known then */
		cli_note("%s at %s does not say the epoch of its last record: stop it and give its data directory", n->node,
			n->address);
}

/* The epoch of the last record. */
static int last_epoch_of(const char *path, leash_seq end, leash_epoch *ret_epoch)
{
	struct rlog_reader *reader;
	struct rlog_view view;
	int e = rlog_reader_open(path, &rlog_posix, REC_BODY_BYTES_MAX, &reader);

	if (e != 0)
		return e;
	e = rlog_read(reader, end, &view);
	if (e == 0)
		*ret_epoch = view.h.epoch;
	rlog_reader_close(reader);
	return e;
}

static int add_directory(struct recovery *r, const char *arg)
{
	_cleanup_(freep) struct dir_report *report = malloc(sizeof *report);
	char path[PATH_MAX], why[DIR_TEXT];
	struct rlog_meta m;
	struct recover_log l;
	leash_seq mark;

	if (!report)
		return cli_failed("out of memory");
	if (!dir_path(r->o->base, arg, path))
		return cli_misused("the path is too long");
	if (dir_peek(path, &m, &mark, why) < 0 || dir_verify(path, 0, report, why) < 0)
		return cli_failed("%s", why);
	if (strcmp(m.engine, r->o->etcd.engine) != 0)
		return cli_failed("%s belongs to the engine \"%s\"", path, m.engine);
	l = (struct recover_log){ .cluster = m.cluster, .incarnation = m.incarnation, .promise = m.promise,
		.log_epoch = m.log_epoch, .log_matched = m.log_matched, .log_end = report->result.end,
		.insync_version = m.insync_version, .recovery = m.recovery, .dedup_window = m.dedup_window,
		.min_insync = m.min_insync };
	memcpy(l.node, m.node, sizeof l.node);
	/* A torn tail was never acknowledged; opening cuts it. What is missing below the mark was. */
	for (size_t i = 0; i < report->n_problems; i++)
		l.damaged |= report->problems[i].first <= mark;
	if (l.log_end >= report->result.start && last_epoch_of(path, l.log_end, &l.last_epoch) != 0)
		l.damaged = true;
	add_log(r, &l, path);
	return CLI_OK;
}

static int collect(struct recovery *r, char **dirs, size_t n_dirs)
{
	if (!nodes_collect(&r->nodes, &r->view.view, &r->o->node))
		return cli_misused("more than %d nodes", INFO_NODES_MAX);
	info_ask(r->nodes.list, r->nodes.n, r->o->etcd.engine, NODES_TIMEOUT_MS);
	for (size_t i = 0; i < r->nodes.n; i++)
		if (r->nodes.list[i].heard)
			add_heard(r, &r->nodes.list[i]);
	for (size_t i = 0; i < n_dirs; i++) {
		int status = add_directory(r, dirs[i]);

		if (status != CLI_OK)
			return status;
	}
	return CLI_OK;
}

/* ---- what the operator sees */

static void print_logs(const struct recovery *r)
{
	static const char *const heads[] = { "NODE", "LOG EPOCH", "COUNTS TO", "LOG END", "PROMISE", "CLUSTER",
		"INCARNATION", "FROM" };
	_cleanup_(buf_deinit) struct buf out = BUF_NULL;
	struct text_table t = { .n_columns = ARRAY_SIZE(heads) };

	for (size_t i = 0; i < ARRAY_SIZE(heads); i++)
		text_cell(&t, "%s", heads[i]);
	for (size_t i = 0; i < r->n_logs; i++) {
		const struct recover_log *l = &r->logs[i];
		char id[LEASH_ID_TEXT];

		text_cell(&t, "%s", l->node);
		text_cell(&t, "%" PRIu64, l->log_epoch);
		text_cell(&t, "%" PRIu64, recover_length(l));
		text_cell(&t, "%" PRIu64, l->log_end);
		text_cell(&t, "%" PRIu64, l->promise);
		text_cell(&t, "%s", l->cluster ? id_format(l->cluster, id) : "none");
		text_cell(&t, "%s", id_format(l->incarnation, id));
		text_cell(&t, "%s%s", r->from[i], l->damaged ? " (damaged)" : "");
	}
	if (text_table_print(&t, &out) == 0)
		(void)fwrite(buf_head(&out), 1, buf_len(&out), stdout);
	text_table_deinit(&t);
}

static bool heard(const struct recovery *r, const char *name)
{
	for (size_t i = 0; i < r->n_logs; i++)
		if (strcmp(r->logs[i].node, name) == 0)
			return true;
	return false;
}

/* Who may hold what is not here. */
static void print_unheard(const struct recovery *r)
{
	size_t n = 0;

	for (size_t i = 0; i < r->nodes.n; i++) {
		const struct info_node *node = &r->nodes.list[i];

		if (node->heard || (node->name[0] && heard(r, node->name)))
			continue;
		printf("not heard: %s (%s)\n", nodes_name(node), node->address[0] ? info_absence(node) : "no address is known");
		n++;
	}
	if (n > 0)
		printf("If one of these holds a higher log epoch, or more records of the same, that goes beyond what is chosen\n"
		       "is lost, acknowledged records among it. Give their addresses (--node) or data directories if you can.\n");
	else
		printf("Nodes that neither etcd nor you named are not known; records that only they hold are lost.\n");
}

static void print_choice(const struct recovery *r)
{
	const struct recover_log *l = &r->logs[r->best];

	printf("\n");
	print_unheard(r);
	printf("\nchosen: %s, log epoch %" PRIu64 ", records to %" PRIu64 "\n", l->node, l->log_epoch, recover_length(l));
	printf("to be written: epoch %" PRIu64 ", version %" PRIu64 ", recovery %" PRIu64 ", min_insync %" PRIu32
	       ", dedup_window %" PRIu64 ", in sync: %s alone\n",
		r->set.epoch, r->set.version, r->set.recovery, r->set.min_insync, r->set.dedup_window, l->node);
	if (r->set.min_insync > 1)
		printf("Commits go on when %" PRIu32 " nodes are in sync; the others copy %s's log.\n", r->set.min_insync,
			l->node);
}

/* ---- the transaction */

static int write_state(struct recovery *r)
{
	char insync[KEYS_NAME_MAX + 1], leader[KEYS_NAME_MAX + 1];
	_cleanup_(buf_deinit) struct buf value = BUF_NULL;
	const struct rep_view *v = &r->view.view;
	bool done = false;
	int e = keys_insync_encode(&r->set, &value);

	(void)keys_name(r->o->etcd.engine, KEYS_INSYNC, NULL, insync);
	(void)keys_name(r->o->etcd.engine, KEYS_LEADER, NULL, leader);
	if (e < 0)
		return cli_failed("out of memory");
	struct etcd_compare guards[] = {
		{ .target = ETCD_CMP_MOD, .key = etcd_str(insync), .number = (int64_t)v->insync.mod_revision },
		{ .target = ETCD_CMP_MOD, .key = etcd_str(leader), .number = (int64_t)v->leader.mod_revision },
	};
	struct etcd_op ops[] = {
		{ .kind = ETCD_OP_PUT,
		  .put = { .key = etcd_str(insync), .value = { buf_head(&value), buf_len(&value) } } },
		{ .kind = ETCD_OP_DELETE, .del = { .key = etcd_str(leader) } },
	};
	struct etcd_txn_req req = { .compares = guards, .n_compares = 2, .success = ops, .n_success = 2 };

	e = state_txn(r->state, &req, &done, r->why);
	if (e == -EINPROGRESS)
		return cli_failed("%s; whether it was written is unknown: run leash recover again", r->why);
	if (e < 0)
		return cli_failed("%s; nothing was written", r->why);
	if (!done)
		return cli_failed("etcd's state has changed meanwhile; nothing was written: look again");
	printf("written; %s becomes primary as soon as it sees it\n", r->set.members[0].node);
	return cli_flush(CLI_OK);
}

/* ---- all together */

/* The mod revisions of keys that cannot be read are needed as guards too. */
static int read_broken(struct recovery *r)
{
	_cleanup_(buf_deinit) struct buf value = BUF_NULL;
	char key[KEYS_NAME_MAX + 1];
	int e = state_get(r->state, keys_name(r->o->etcd.engine, KEYS_INSYNC, NULL, key), &value,
		&r->view.view.insync.mod_revision, r->why);

	if (e == 0)
		e = state_get(r->state, keys_name(r->o->etcd.engine, KEYS_LEADER, NULL, key), &value,
			&r->view.view.leader.mod_revision, r->why);
	return e;
}

static int check_needed(const struct recovery *r)
{
	const struct rep_insync *set = &r->view.view.insync;

	if (r->view.broken && !r->o->force)
		return cli_failed("etcd holds a state that cannot be read (%s); --force overwrites it", r->view.bad);
	if (set->present && !r->o->force)
		return cli_failed("the state is there (in-sync set version %" PRIu64 ", epoch %" PRIu64
				  "): nothing is to be recovered; --force if all its members are lost for "
				  "good, or if it is an old one from a backup",
			set->version, set->epoch);
	return CLI_OK;
}

static int choose_and_write(struct recovery *r)
{
	struct rep_insync old = r->view.view.insync;
	int e, status;

	old.epoch = MAX2(old.epoch, r->view.view.leader.epoch);
	e = recover_choose(r->logs, r->n_logs, &old, &r->best, &r->set);

	if (r->n_logs > 0)
		print_logs(r);
	if (e != 0) {
		print_unheard(r);
		return cli_failed("%s", r->n_logs ? recover_strerror(e) : "no node and no data directory was heard");
	}
	if (recover_is_done(r->logs, r->n_logs, r->best, &r->view.view.insync)) {
		printf("\nthat is what etcd holds already: nothing is left to do\n");
		return cli_flush(CLI_OK);
	}
	status = check_needed(r);
	if (status != CLI_OK)
		return status;
	print_choice(r);
	if (!r->o->yes && !cli_confirmed())
		return cli_failed("nothing was written");
	return write_state(r);
}

static void recovery_freep(struct recovery **rp)
{
	if (!*rp)
		return;
	nodes_deinit(&(*rp)->nodes);
	state_freep(&(*rp)->state);
	freep(rp);
}

static int recover_run(const void *opts, char **dirs, size_t n_dirs)
{
	_cleanup_(recovery_freep) struct recovery *r = calloc(1, sizeof *r);
	int e, status;

	if (!r)
		return cli_failed("out of memory");
	r->o = opts;
	e = state_open(&r->o->etcd, &r->state, r->why);
	if (e == -EINVAL)
		return cli_misused("%s", r->why);
	if (e == 0)
		e = state_view(r->state, &r->view, r->why);
	if (e == 0 && r->view.broken)
		e = read_broken(r);
	if (e < 0)
		return cli_failed("%s", r->why);
	status = collect(r, dirs, n_dirs);
	return status == CLI_OK ? choose_and_write(r) : status;
}

static const struct conf_key keys[] = {
	{ "node", CONF_AT_LIST(struct recover_opts, node), .meta = "HOST:PORT,...", .check = conf_check_addr,
	  .help = "ask these nodes, too" },
	{ "yes", CONF_AT_BOOL(struct recover_opts, yes), .help = "do not ask for confirmation" },
	{ "force", CONF_AT_BOOL(struct recover_opts, force), .help = "also over a state that is there" },
	{ "data_dir_base", CONF_AT_PATH(struct recover_opts, base), .text = DIR_BASE, .meta = "DIR",
	  .help = "where the data directories of nodes are" },
	CLI_KEYS_ETCD(struct recover_opts, etcd),
};

const struct cli_command cli_recover = {
	.name = "recover",
	.operands = "[NODE|DIR]...",
	.about = "write the engine's state anew when etcd has lost it",
	.help = "Asks all nodes that etcd and --node name and reads the data directories given (of nodes that do not run),\n"
		"shows what they hold, and makes the log with the highest log epoch, then the longest, the one that the\n"
		"cluster goes on with. Nothing in a data directory is changed. Records that only nodes hold which were not\n"
		"heard are lost: they are named. It may be repeated.\n",
	.exits = "  0  written, or written already\n  1  nothing was written; a message says why\n  2  wrong usage\n",
	CLI_COMMAND_OPTS(keys, struct recover_opts),
	.operands_max = DIRS_MAX,
	.run = recover_run,
};

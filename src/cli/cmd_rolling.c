/*
 * leash rolling-restart: restarts the nodes of this machine one after the other, for an upgrade.
 *
 *  1. Which nodes: those named, else all whose unit is active here. Secondaries first, a primary last.
 *  2. Before each: the whole engine is well, as its primary says (look_at()), and without this node the in-sync set is not
 *     below min_insync. Else nothing is touched.
 *  3. A primary hands over first (R13), and becomes a secondary.
 *  4. systemctl restart; then until the node runs with another run id, and all is well again with it in the in-sync set.
 *
 * Each step leaves the cluster in a state in which it goes on by itself: whenever this ends, by a signal or an error, at
 * most one node is on its way back. To go on, run it again.
 *
 * It reads neither configuration nor etcd: nodes say who leads, where, and who is in sync.
 */
#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>

#include "base/clk.h"
#include "base/ids.h"
#include "cli/local.h"
#include "cli/sock.h"

#define ASK_MS        2000
#define HANDOVER_NS   (30 * NS_PER_S)
#define POLL_NS       (200 * NS_PER_MS)
#define TELL_AFTER_NS (10 * NS_PER_S) /* what is waited for is told, and again when it has changed */
#define WHY_MAX       256
#define NODES_HERE_MAX 64
#define UNIT_BEGIN    "leash-noded@"
#define UNIT_END      ".service"

extern char **environ;

struct rolling_opts {
	char *base;
	uint64_t timeout_ms;
	bool accept_pause, dry_run;
};

struct nodes_here {
	char names[NODES_HERE_MAX][LEASH_NAME_MAX + 1];
	bool primary[NODES_HERE_MAX];
	size_t n;
};

/* What a node says, and the primary of its engine. */
struct look {
	struct info_node node, asked;
	const struct info_node *primary; /* one of the two */
	char why[WHY_MAX];               /* not well */
};

static void look_clear(struct look *l)
{
	info_deinit(&l->node, 1);
	info_deinit(&l->asked, 1);
	*l = (struct look){ 0 };
}

/* ---- is all well? */

static bool not_well(struct look *l, const char *fmt, ...) _printf_(2, 3);

static bool not_well(struct look *l, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)vsnprintf(l->why, sizeof l->why, fmt, args);
	va_end(args);
	return false;
}

static bool find_primary(struct look *l)
{
	if (strcmp(l->node.role, "primary") == 0) {
		l->primary = &l->node;
		return true;
	}
	if (!l->node.primary_address[0])
		return not_well(l, "it knows no primary");
	memcpy(l->asked.address, l->node.primary_address, sizeof l->asked.address);
	info_ask(&l->asked, 1, l->node.engine, ASK_MS);
	if (!l->asked.heard)
		return not_well(l, "the primary %s (%s): %s", l->node.primary, l->node.primary_address,
			info_absence(&l->asked));
	if (strcmp(l->asked.role, "primary") != 0 || l->asked.epoch != l->node.epoch)
		return not_well(l, "the lead is on its way to another node");
	l->primary = &l->asked;
	return true;
}

static bool primary_well(const struct rolling_opts *o, struct look *l)
{
	const struct info_node *p = l->primary;

	if (!p->etcd_reachable || !l->node.etcd_reachable)
		return not_well(l, "etcd does not answer %s", p->etcd_reachable ? l->node.node : p->node);
	if (p->below_min)
		return not_well(l, "%s has too few nodes in sync: nothing commits", p->node);
	if (!p->serving)
		return not_well(l, "%s does not serve yet", p->node);
	for (uint32_t i = 0; i < p->n_peers && !o->accept_pause; i++)
		if (!p->peers[i].insync)
			return not_well(l, "%s is not in sync%s%s", p->peers[i].node, p->peers[i].why_absent[0] ? ": " : "",
				p->peers[i].why_absent);
	if (!info_is_member(p, &l->node))
		return not_well(l, "it is not in sync");
	return true;
}

/* True when the engine of a node is well, and the node has its part in it; else @l->why. @l is then the caller's to
 * look_clear(), in any case. */
static bool look_at(const struct rolling_opts *o, const char *name, struct look *l)
{
	int r;

	look_clear(l);
	r = local_status(o->base, name, clk_boot_ns() + ASK_MS * NS_PER_MS, &l->node);
	if (r < 0)
		return not_well(l, "it does not answer on its control socket: %s", sock_strerror(r));
	if (l->node.halted[0])
		return not_well(l, "%s", l->node.halted);
	return find_primary(l) && primary_well(o, l);
}

/* ---- waiting */

enum wanted { WANT_SECONDARY, WANT_NEW_RUN };

static bool reached(const struct look *l, enum wanted wanted, leash_id old_run)
{
	switch (wanted) {
	case WANT_SECONDARY: return l->primary != &l->node;
	case WANT_NEW_RUN: return l->node.run != old_run;
	}
	return false;
}

/* Until all is well and what is wanted is so. */
static int wait_for(const struct rolling_opts *o, const char *name, enum wanted wanted, leash_id old_run)
{
	uint64_t began_ns = clk_boot_ns(), told_ns = began_ns;
	_cleanup_(look_clear) struct look l = { 0 };
	struct timespec pause = { .tv_nsec = POLL_NS };
	char told[WHY_MAX] = "";

	while (!look_at(o, name, &l) || !reached(&l, wanted, old_run)) {
		uint64_t now_ns = clk_boot_ns();

		if (now_ns - began_ns >= o->timeout_ms * NS_PER_MS)
			return cli_failed("%s: not well in time: %s; the nodes that are left were not touched", name,
				l.why[0] ? l.why : "it is as before");
		if (now_ns - told_ns >= TELL_AFTER_NS && strcmp(told, l.why) != 0) {
			told_ns = now_ns;
			memcpy(told, l.why, sizeof told);
			cli_note("%s: waiting: %s", name, told);
		}
		(void)nanosleep(&pause, NULL);
	}
	return CLI_OK;
}

/* ---- systemctl */

/* Its exit status; -1: it could not be run. */
static int systemctl(const char *verb, const char *option, const char *node)
{
	char unit[LEASH_NAME_MAX + 32];
	char *argv[] = { (char *)"systemctl", (char *)verb, (char *)option, (char *)"--", unit, NULL };
	int status, r;
	pid_t pid;

	(void)snprintf(unit, sizeof unit, UNIT_BEGIN "%s" UNIT_END, node);
	r = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);
	if (r) {
		cli_note("cannot run systemctl: %s", strerror(r));
		return -1;
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* ---- one node */

static int hand_over(const struct rolling_opts *o, const char *name)
{
	static const char *const words[] = { "SWITCHOVER" };
	_cleanup_(buf_deinit) struct buf text = BUF_NULL;
	int r = local_call(o->base, name, words, ARRAY_SIZE(words), clk_boot_ns() + HANDOVER_NS, &text);

	if (r == LOCAL_E_REFUSED)
		return cli_failed("%s did not hand over: %.*s", name, (int)buf_len(&text), (const char *)buf_head(&text));
	if (r < 0)
		return cli_failed("%s did not hand over: %s", name, sock_strerror(r));
	return wait_for(o, name, WANT_SECONDARY, 0);
}

static bool enough_without(const struct look *l)
{
	return l->primary->n_members > l->primary->min_insync;
}

static int restart(const struct rolling_opts *o, const char *name)
{
	_cleanup_(look_clear) struct look l = { 0 };
	uint64_t began_ns = clk_boot_ns();
	bool led;
	int r;

	if (!look_at(o, name, &l))
		return cli_failed("%s: %s; not restarted", name, l.why);
	if (!enough_without(&l) && !o->accept_pause)
		return cli_failed("%s: without it %" PRIu32 " nodes would be in sync, and min_insync is %" PRIu32
				  ": nothing would commit meanwhile; not restarted (--accept-pause)",
			name, l.primary->n_members - 1, l.primary->min_insync);
	led = l.primary == &l.node;
	r = led ? hand_over(o, name) : CLI_OK;
	if (r != CLI_OK)
		return r;
	r = systemctl("restart", "--quiet", name);
	if (r != 0)
		return cli_failed("%s: systemctl restart failed; \"systemctl status leash-noded@%s\" says more", name, name);
	r = wait_for(o, name, WANT_NEW_RUN, l.node.run);
	if (r == CLI_OK)
		printf("%s: %srestarted, in sync again after %.1f s\n", name, led ? "handed over, " : "",
			(double)(clk_boot_ns() - began_ns) / (double)NS_PER_S);
	return r == CLI_OK ? cli_flush(CLI_OK) : r;
}

/* ---- all of them */

static int add_named(struct nodes_here *here, char **operands, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (!name_valid(operands[i]))
			return cli_misused("\"%.80s\" is no name of a node", operands[i]);
		for (size_t j = 0; j < here->n; j++)
			if (strcmp(here->names[j], operands[i]) == 0)
				return cli_misused("%s is named twice", operands[i]);
		if (systemctl("is-active", "--quiet", operands[i]) != 0)
			return cli_failed("leash-noded@%s.service is not active", operands[i]);
		memcpy(here->names[here->n++], operands[i], strlen(operands[i]) + 1);
	}
	return CLI_OK;
}

/* "leash-noded@P1.service": P1. False: no such unit. */
static bool node_of_unit(const char *unit, char name[LEASH_NAME_MAX + 1])
{
	const size_t begin = strlen(UNIT_BEGIN), end = strlen(UNIT_END), n = strlen(unit);

	if (n <= begin + end || n - begin - end > LEASH_NAME_MAX || strncmp(unit, UNIT_BEGIN, begin) != 0 ||
		strcmp(unit + n - end, UNIT_END) != 0)
		return false;
	(void)snprintf(name, LEASH_NAME_MAX + 1, "%.*s", (int)(n - begin - end), unit + begin);
	return name_valid(name);
}

/* What the service manager runs; a node that somebody started by hand, or in another service, is left alone. */
static int add_active(struct nodes_here *here)
{
	FILE *f = popen("systemctl list-units --plain --no-legend --no-pager --state=active '" UNIT_BEGIN "*" UNIT_END "'", "re");
	char line[512], unit[256];
	bool all = true;

	if (!f)
		return cli_failed("cannot run systemctl: %s", strerror(errno));
	while (fgets(line, sizeof line, f)) {
		if (sscanf(line, "%255s", unit) != 1 || !strchr(line, '\n'))
			continue; /* the rest of a long line */
		if (here->n == NODES_HERE_MAX || !node_of_unit(unit, here->names[here->n]))
			all = false;
		else
			here->n++;
	}
	if (pclose(f) != 0)
		return cli_failed("systemctl does not tell which nodes run here");
	if (!all)
		return cli_failed("systemctl tells of units that are no nodes', or of more than %d", NODES_HERE_MAX);
	return here->n ? CLI_OK : cli_failed("no leash-noded@.service is active here");
}

static int find_roles(const struct rolling_opts *o, struct nodes_here *here)
{
	for (size_t i = 0; i < here->n; i++) {
		struct info_node n = { 0 };
		int r = local_status(o->base, here->names[i], clk_boot_ns() + ASK_MS * NS_PER_MS, &n);

		if (r < 0)
			return cli_failed("%s does not answer on its control socket: %s", here->names[i], sock_strerror(r));
		here->primary[i] = strcmp(n.role, "primary") == 0;
		info_deinit(&n, 1);
	}
	return CLI_OK;
}

static int roll(const struct rolling_opts *o, const struct nodes_here *here)
{
	int r = CLI_OK;

	for (int primaries = 0; primaries <= 1; primaries++)
		for (size_t i = 0; i < here->n && r == CLI_OK; i++) {
			if (here->primary[i] != (primaries == 1))
				continue;
			if (o->dry_run)
				printf("%s: %s\n", here->names[i], primaries ? "hand over, restart" : "restart");
			else
				r = restart(o, here->names[i]);
		}
	return r == CLI_OK ? cli_flush(CLI_OK) : r;
}

static int rolling_run(const void *opts, char **operands, size_t n_operands)
{
	_cleanup_(freep) struct nodes_here *here = calloc(1, sizeof *here);
	const struct rolling_opts *o = opts;
	int r;

	if (!here)
		return cli_failed("out of memory");
	r = n_operands ? add_named(here, operands, n_operands) : add_active(here);
	if (r == CLI_OK)
		r = find_roles(o, here);
	return r == CLI_OK ? roll(o, here) : r;
}

static const struct conf_key keys[] = {
	{ "timeout", CONF_AT_DURATION(struct rolling_opts, timeout_ms), .text = "10m", .unit = "s", .min = 1000,
	  .max = 86400000, .help = "how long one node may take until it is in sync again" },
	{ "accept_pause", CONF_AT_BOOL(struct rolling_opts, accept_pause),
	  .help = "also while other nodes are out, and where nothing commits while one is restarted" },
	{ "dry_run", CONF_AT_BOOL(struct rolling_opts, dry_run), .help = "only print what would be done, in order" },
	{ "runtime_dir_base", CONF_AT_PATH(struct rolling_opts, base), .text = LOCAL_BASE, .meta = "DIR",
	  .help = "where the runtime directories of nodes are" },
};

const struct cli_command cli_rolling_restart = {
	.name = "rolling-restart",
	.operands = "[NODE]...",
	.about = "restart this machine's nodes one by one, secondaries first",
	.help = "For upgrades: installing a package leaves running nodes alone; this restarts each leash-noded@NODE.service that\n"
		"is active here, or those named. It restarts a node only while all nodes that the primary of its engine knows of are\n"
		"in sync, makes a primary hand over first, and goes on when the node is in sync again. Clients of a gateway notice\n"
		"nothing. With nodes on several machines run it on one after the other. It can be interrupted, and run again, at\n"
		"any time.\n",
	.exits = "  0  all of them are restarted and in sync\n  1  not all; a message says why, and the rest was not touched\n"
		 "  2  wrong usage\n",
	CLI_COMMAND_OPTS(keys, struct rolling_opts),
	.operands_max = NODES_HERE_MAX,
	.run = rolling_run,
};

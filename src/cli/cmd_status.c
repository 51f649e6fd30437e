/*
 * leash status: what etcd says, and what each node says.
 */
#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/ids.h"
#include "cli/nodes.h"
#include "cli/text.h"

struct status_opts {
	struct cli_etcd etcd;
	struct conf_list node;
	bool json;
};

struct status {
	const struct status_opts *o;
	struct state *state;
	bool has_view;
	char why[STATE_TEXT]; /* without a view */
	struct keys_view view;
	struct nodes nodes;
	const struct info_node *primary; /* as it says itself; NULL: none does */
	bool commits;                    /* there is a primary and it can commit */
};

static bool is_member(const struct status *s, const struct info_node *n)
{
	const struct rep_insync *set = &s->view.view.insync;

	for (uint32_t i = 0; s->has_view && i < set->n_members; i++)
		if (strcmp(set->members[i].node, nodes_name(n)) == 0 &&
			(!n->heard || set->members[i].incarnation == n->incarnation))
			return true;
	return false;
}

/* Of several that say so the one with the highest epoch: the others do not know yet. */
static void find_primary(struct status *s)
{
	for (size_t i = 0; i < s->nodes.n; i++) {
		const struct info_node *n = &s->nodes.list[i];

		if (n->heard && strcmp(n->role, "primary") == 0 && (!s->primary || n->epoch > s->primary->epoch))
			s->primary = n;
	}
	s->commits = s->primary && !s->primary->below_min;
	/* etcd knows better who leads, when it answers. */
	if (s->commits && s->has_view && s->view.view.insync.present)
		s->commits = s->view.view.insync.epoch <= s->primary->epoch &&
			s->view.view.insync.n_members >= s->view.view.insync.min_insync;
}

static const struct info_peer *as_peer(const struct status *s, const struct info_node *n)
{
	for (uint32_t i = 0; s->primary && i < s->primary->n_peers; i++)
		if (strcmp(s->primary->peers[i].node, nodes_name(n)) == 0)
			return &s->primary->peers[i];
	return NULL;
}

static bool drained(const struct status *s, const char *name)
{
	for (uint32_t i = 0; s->has_view && i < s->view.view.n_drained; i++)
		if (strcmp(s->view.view.drained[i], name) == 0)
			return true;
	return false;
}

/* One or two words, and why. */
static void state_text(const struct status *s, const struct info_node *n, char *text, size_t size)
{
	const struct info_peer *p = as_peer(s, n);
	const char *what;

	if (!n->address[0])
		what = "unreachable: etcd has no address of it";
	else if (!n->heard)
		what = info_absence(n);
	else if (n->halted[0])
		what = n->halted;
	else if (n->state_gone)
		what = "finds no state in etcd: leash recover";
	else if (n == s->primary)
		what = s->commits ? "commits" : "cannot commit: too few are in sync";
	else if (is_member(s, n))
		what = "in sync";
	else if (p && p->why_absent[0])
		what = p->why_absent;
	else
		what = s->primary ? "not in sync" : "waits for a primary";
	(void)snprintf(text, size, "%s%s", what, drained(s, nodes_name(n)) ? " (drained)" : "");
}

static void number_cell(struct text_table *t, bool there, uint64_t v)
{
	if (there)
		text_cell(t, "%" PRIu64, v);
	else
		text_cell(t, "-");
}

static void add_row(const struct status *s, const struct info_node *n, struct text_table *t)
{
	bool lag = n->heard && s->primary;
	char text[TEXT_CELL_MAX];

	state_text(s, n, text, sizeof text);
	text_cell(t, "%s", nodes_name(n));
	text_cell(t, "%s", n->heard && n->role[0] ? n->role : "-");
	number_cell(t, n->heard, n->epoch);
	number_cell(t, n->heard, n->log_end);
	number_cell(t, n->heard, n->commit);
	text_cell(t, "%s", !s->has_view ? "?" : is_member(s, n) ? "yes" : "no");
	number_cell(t, lag, lag && s->primary->log_end > n->log_end ? s->primary->log_end - n->log_end : 0);
	text_cell(t, "%s", n->address[0] ? n->address : "-");
	text_cell(t, "%s", text);
}

static int print_nodes(const struct status *s, struct buf *out)
{
	static const char *const heads[] = { "NODE", "ROLE", "EPOCH", "LOG END", "COMMITTED", "IN SYNC", "LAG", "ADDRESS",
		"STATE" };
	struct text_table t = { .n_columns = ARRAY_SIZE(heads) };
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(heads); i++)
		text_cell(&t, "%s", heads[i]);
	for (size_t i = 0; i < s->nodes.n; i++)
		add_row(s, &s->nodes.list[i], &t);
	r = text_table_print(&t, out);
	text_table_deinit(&t);
	return r;
}

static int print_cluster(const struct status *s, struct buf *out)
{
	const struct rep_view *v = &s->view.view;
	char id[LEASH_ID_TEXT];
	int r;

	if (!s->has_view)
		return buf_printf(out, "\netcd does not answer; who leads and who is in sync is what nodes say (--node asks more of them)\n");
	if (s->view.broken)
		return buf_printf(out, "\nwhat etcd holds cannot be read: %s\n", s->view.bad);
	r = buf_printf(out, "\nengine      %s\n", s->o->etcd.engine);
	if (r == 0 && v->insync.present)
		r = buf_printf(out,
			"cluster     %s\nin-sync set version %" PRIu64 ", epoch %" PRIu64 ", %" PRIu32
			" members, min_insync %" PRIu32 "\n",
			id_format(v->insync.cluster, id), v->insync.version, v->insync.epoch, v->insync.n_members,
			v->insync.min_insync);
	else if (r == 0)
		r = buf_printf(out, "cluster     none: it is not founded yet, or its state is lost (leash recover)\n");
	if (r == 0 && v->leader.present)
		r = buf_printf(out, "leader      %s at %s, epoch %" PRIu64 "\n", v->leader.node, v->leader.address,
			v->leader.epoch);
	else if (r == 0)
		r = buf_printf(out, "leader      none\n");
	if (r == 0)
		r = buf_printf(out, "takeover    %s\n", v->paused ? "paused (leash resume)" : "automatic");
	return r;
}

static int print_etcd(const struct status *s, struct buf *out)
{
	int r = 0;

	for (size_t i = 0; r == 0 && s->state && i < state_endpoints(s->state); i++) {
		char why[STATE_TEXT] = "";
		bool well = state_health(s->state, i, why) == 0;

		r = buf_printf(out, "%s%s  %s\n", i == 0 ? "etcd        " : "            ", state_endpoint(s->state, i),
			well ? "healthy" : why);
	}
	return r;
}

static void add(struct json_object *o, const char *name, struct json_object *v)
{
	(void)json_object_object_add(o, name, v); /* out of memory shows as a field that is missing */
}

static struct json_object *node_json(const struct status *s, const struct info_node *n)
{
	struct json_object *o = json_object_new_object();
	char text[TEXT_CELL_MAX];

	state_text(s, n, text, sizeof text);
	add(o, "node", json_object_new_string(nodes_name(n)));
	add(o, "address", json_object_new_string(n->address));
	add(o, "heard", json_object_new_boolean(n->heard));
	add(o, "state", json_object_new_string(text));
	add(o, "insync", s->has_view ? json_object_new_boolean(is_member(s, n)) : NULL);
	if (!n->heard)
		return o;
	add(o, "role", json_object_new_string(n->role));
	add(o, "epoch", json_object_new_uint64(n->epoch));
	add(o, "log_start", json_object_new_uint64(n->log_start));
	add(o, "log_end", json_object_new_uint64(n->log_end));
	add(o, "commit", json_object_new_uint64(n->commit));
	if (s->primary)
		add(o, "lag", json_object_new_uint64(s->primary->log_end > n->log_end ? s->primary->log_end - n->log_end : 0));
	add(o, "info", json_object_get(n->json));
	return o;
}

static struct json_object *etcd_json(const struct status *s)
{
	struct json_object *a = json_object_new_array();

	for (size_t i = 0; s->state && i < state_endpoints(s->state); i++) {
		struct json_object *o = json_object_new_object();
		char why[STATE_TEXT] = "";
		bool well = state_health(s->state, i, why) == 0;

		add(o, "endpoint", json_object_new_string(state_endpoint(s->state, i)));
		add(o, "healthy", json_object_new_boolean(well));
		if (!well)
			add(o, "reason", json_object_new_string(why));
		(void)json_object_array_add(a, o);
	}
	return a;
}

static struct json_object *cluster_json(const struct rep_view *v)
{
	struct json_object *o = json_object_new_object(), *members = json_object_new_array();
	char id[LEASH_ID_TEXT];

	add(o, "id", json_object_new_string(id_format(v->insync.cluster, id)));
	add(o, "version", json_object_new_uint64(v->insync.version));
	add(o, "recovery", json_object_new_uint64(v->insync.recovery));
	add(o, "epoch", json_object_new_uint64(v->insync.epoch));
	add(o, "min_insync", json_object_new_uint64(v->insync.min_insync));
	add(o, "dedup_window", json_object_new_uint64(v->insync.dedup_window));
	for (uint32_t i = 0; i < v->insync.n_members; i++)
		(void)json_object_array_add(members, json_object_new_string(v->insync.members[i].node));
	add(o, "members", members);
	return o;
}

static void print_json(const struct status *s)
{
	struct json_object *o = json_object_new_object(), *nodes = json_object_new_array(), *leader = NULL;
	const struct rep_view *v = &s->view.view;

	add(o, "engine", json_object_new_string(s->o->etcd.engine));
	add(o, "commits", json_object_new_boolean(s->commits));
	add(o, "primary", s->primary ? json_object_new_string(nodes_name(s->primary)) : NULL);
	add(o, "cluster", s->has_view && v->insync.present ? cluster_json(v) : NULL);
	if (s->has_view && v->leader.present) {
		leader = json_object_new_object();
		add(leader, "node", json_object_new_string(v->leader.node));
		add(leader, "address", json_object_new_string(v->leader.address));
		add(leader, "epoch", json_object_new_uint64(v->leader.epoch));
	}
	add(o, "leader", leader);
	add(o, "paused", s->has_view ? json_object_new_boolean(v->paused) : NULL);
	for (size_t i = 0; i < s->nodes.n; i++)
		(void)json_object_array_add(nodes, node_json(s, &s->nodes.list[i]));
	add(o, "nodes", nodes);
	add(o, "etcd", etcd_json(s));
	if (!s->has_view)
		add(o, "etcd_error", json_object_new_string(s->why));
	printf("%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
	(void)json_object_put(o);
}

static int print_text(const struct status *s)
{
	_cleanup_(buf_deinit) struct buf out = BUF_NULL;
	int r = print_nodes(s, &out);

	if (r == 0)
		r = print_cluster(s, &out);
	if (r == 0)
		r = print_etcd(s, &out);
	if (r < 0)
		return cli_failed("out of memory");
	(void)fwrite(buf_head(&out), 1, buf_len(&out), stdout);
	return CLI_OK;
}

static void status_free(struct status **sp)
{
	if (!*sp)
		return;
	nodes_deinit(&(*sp)->nodes);
	state_freep(&(*sp)->state);
	freep(sp);
}

static int status_run(const void *opts, char **operands _unused_, size_t n_operands _unused_)
{
	_cleanup_(status_free) struct status *s = calloc(1, sizeof *s);
	int r;

	if (!s)
		return cli_failed("out of memory");
	s->o = opts;
	r = state_open(&s->o->etcd, &s->state, s->why);
	if (r == -EINVAL)
		return cli_misused("%s", s->why);
	if (r < 0)
		return cli_failed("%s", s->why);
	s->has_view = state_view(s->state, &s->view, s->why) == 0;
	if (!nodes_collect(&s->nodes, s->has_view ? &s->view.view : NULL, &s->o->node))
		return cli_misused("more than %d nodes", INFO_NODES_MAX);
	info_ask(s->nodes.list, s->nodes.n, s->o->etcd.engine, NODES_TIMEOUT_MS);
	find_primary(s);
	if (s->o->json)
		print_json(s);
	else if (print_text(s) != CLI_OK)
		return CLI_FAILED;
	return cli_flush(s->commits ? CLI_OK : CLI_FAILED);
}

static const struct conf_key keys[] = {
	CLI_KEY_JSON(struct status_opts, json),
	{ "node", CONF_AT_LIST(struct status_opts, node), .meta = "HOST:PORT,...", .check = conf_check_addr,
	  .help = "ask these too, for example while etcd does not answer" },
	CLI_KEYS_ETCD(struct status_opts, etcd),
};

const struct cli_command cli_status = {
	.name = "status",
	.operands = "",
	.about = "show who leads, who is in sync, how far each log is, and why somebody is absent",
	.help = "Reads the engine's keys in etcd and asks every node named there. LAG is how many records a node's log is\n"
		"behind the primary's.\n",
	.exits = "  0  there is a primary and it can commit\n  1  there is none, or it cannot\n  2  wrong usage\n",
	CLI_COMMAND_OPTS(keys, struct status_opts),
	.run = status_run,
};

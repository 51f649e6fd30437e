#include "node/node_int.h"

#include <errno.h>
#include <json-c/json.h>

#include "base/clk.h"
#include "base/ids.h"

/* ------------------------------------------------------------------------------------------------------------ structs */

leash_id node_run(const struct node *n) { return n->run; }
leash_id node_cluster(const struct node *n) { return drv_cluster(n->drv); }
const char *node_name(const struct node *n) { return n->conf.node; }
const char *node_engine(const struct node *n) { return n->conf.engine; }
const struct keys_view *node_view(const struct node *n) { return n->view_known ? &n->view : NULL; }
uint64_t node_log_moves(const struct node *n) { return n->lt ? logthread_moves(n->lt) : 0; }
uint64_t node_disk_stuck_ns(const struct node *n) { return n->lt ? logthread_stuck_ns(n->lt) : 0; }

leash_id node_incarnation(const struct node *n)
{
	struct rep_status s;

	rep_status(drv_rep(n->drv), clk_boot_ns(), &s);
	return s.meta.incarnation;
}

void node_rep_status(struct node *n, struct rep_status *ret_status)
{
	rep_status(drv_rep(n->drv), clk_boot_ns(), ret_status);
}

static enum peer_role role_of(enum rep_role role)
{
	switch (role) {
	case REP_ROLE_SECONDARY: return PEER_ROLE_SECONDARY;
	case REP_ROLE_CANDIDATE:
	case REP_ROLE_WINNER: return PEER_ROLE_CANDIDATE;
	case REP_ROLE_PRIMARY: return PEER_ROLE_PRIMARY;
	case REP_ROLE_HALTED: return PEER_ROLE_HALTED;
	}
	return PEER_ROLE_NONE;
}

/* Where a node listens, as etcd has it. */
static const char *address_of(const struct node *n, const char *name)
{
	const struct rep_view *v = &n->view.view;

	if (strcmp(name, n->conf.node) == 0)
		return n->conf.address;
	for (uint32_t i = 0; n->view_known && i < v->n_nodes; i++)
		if (strcmp(v->nodes[i].node, name) == 0)
			return v->nodes[i].address;
	if (n->view_known && v->leader.present && strcmp(v->leader.node, name) == 0)
		return v->leader.address;
	return "";
}

void node_peer_status(struct node *n, struct peer_status *ret)
{
	struct rep_status s;
	const char *address;

	node_rep_status(n, &s);
	*ret = (struct peer_status){ .role = role_of(s.role), .epoch = s.epoch, .commit = s.readable,
		.log_start = s.log_start, .log_end = s.log_end, .serving = s.serving, .holding = s.holding,
		.n_insync = s.members.n_members, .min_insync = s.members.min_insync };
	address = address_of(n, s.primary);
	memcpy(ret->leader, s.primary, sizeof ret->leader);
	memcpy(ret->leader_address, address, strlen(address) + 1);
}

void node_counters(struct node *n, struct node_counters *ret)
{
	struct logthread_stats lt = { 0 };

	if (n->lt)
		logthread_stats(n->lt, &lt);
	*ret = n->counters;
	ret->groups = lt.groups;
	ret->group_records = lt.group_records;
	ret->log_bytes = lt.bytes;
	ret->log_segments = lt.segments;
	ret->disk_full = lt.full;
	ret->scrub.next = lt.scrub.next;
	ret->scrub.records = lt.scrub.records;
	ret->scrub.bytes = lt.scrub.bytes;
	ret->scrub.passes = lt.scrub.passes;
	ret->scrub.last_damaged = lt.scrub.last_damaged;
	ret->scrub.last_records = lt.scrub.last_records;
	ret->scrub.last_bytes = lt.scrub.last_bytes;
	ret->scrub.last_real_ns = lt.scrub.last_real_ns;
	ret->disk_stuck_ns = node_disk_stuck_ns(n);
	ret->etcd_reachable = control_reachable(n->control);
}

/* --------------------------------------------------------------------------------------------------------------- JSON */

static struct json_object *add(struct json_object *to, const char *name, struct json_object *value)
{
	if (to && value && json_object_object_add(to, name, value) == 0)
		return value;
	(void)json_object_put(value); /* a field that found no memory is left out */
	return NULL;
}

static void num(struct json_object *o, const char *name, uint64_t v) { (void)add(o, name, json_object_new_uint64(v)); }
static void flag(struct json_object *o, const char *name, bool v) { (void)add(o, name, json_object_new_boolean(v)); }
static void text(struct json_object *o, const char *name, const char *v) { (void)add(o, name, json_object_new_string(v)); }

static void id(struct json_object *o, const char *name, leash_id v)
{
	char t[LEASH_ID_TEXT];

	text(o, name, id_format(v, t));
}

static void log_json(struct json_object *o, const struct node *n, const struct rep_status *s,
	const struct node_counters *c)
{
	num(o, "start", s->log_start);
	num(o, "end", s->log_end);
	num(o, "durable", s->durable);
	num(o, "commit", s->commit);
	num(o, "readable", s->readable);
	num(o, "log_epoch", s->log_epoch);
	num(o, "log_matched", s->log_matched);
	if (!n->dormant) /* what of this log counts is not known before it is repaired: nothing for `leash recover` */
		num(o, "last_epoch", s->last_epoch);
	num(o, "log_time_ns", s->log_time_ns);
	num(o, "bytes", c->log_bytes);
	num(o, "segments", c->log_segments);
	flag(o, "disk_full", c->disk_full);
	num(o, "disk_stuck_ms", c->disk_stuck_ns / NS_PER_MS);
}

static void scrub_json(struct json_object *o, const struct node *n, const struct rep_status *s,
	const struct node_counters *c)
{
	flag(o, "damaged", s->damaged || repair_busy(n->repair));
	num(o, "found", c->scrub.found);
	num(o, "repaired", c->scrub.repaired);
	num(o, "next", c->scrub.next);
	num(o, "records", c->scrub.records);
	num(o, "bytes", c->scrub.bytes);
	num(o, "passes", c->scrub.passes);
	num(o, "last_damaged", c->scrub.last_damaged);
	num(o, "last_records", c->scrub.last_records);
	num(o, "last_bytes", c->scrub.last_bytes);
	num(o, "last_real_ns", c->scrub.last_real_ns);
}

static void members_json(struct json_object *o, const struct rep_insync *set)
{
	struct json_object *a;

	num(o, "version", set->version);
	num(o, "epoch", set->epoch);
	num(o, "recovery", set->recovery);
	num(o, "min_insync", set->min_insync);
	num(o, "dedup_window", set->dedup_window);
	a = add(o, "members", json_object_new_array());
	for (uint32_t i = 0; a && i < set->n_members; i++) {
		struct json_object *m = json_object_new_object();

		text(m, "node", set->members[i].node);
		id(m, "incarnation", set->members[i].incarnation);
		if (json_object_array_add(a, m) < 0)
			(void)json_object_put(m);
	}
}

static void peers_json(struct json_object *a, const struct node *n, const struct rep_status *s)
{
	uint64_t now = clk_boot_ns();

	for (uint32_t i = 0; a && i < s->n_peers; i++) {
		const struct rep_peer_status *p = &s->peers[i];
		struct json_object *o = json_object_new_object();

		text(o, "node", p->node);
		text(o, "address", address_of(n, p->node));
		flag(o, "linked", p->linked);
		flag(o, "joined", p->joined);
		flag(o, "in_sync", p->insync);
		flag(o, "required", p->required);
		id(o, "incarnation", p->incarnation);
		num(o, "matched", p->matched);
		if (p->heard_ns)
			num(o, "heard_ms_ago", now > p->heard_ns ? (now - p->heard_ns) / NS_PER_MS : 0);
		if (p->why_absent)
			text(o, "why_absent", p->why_absent);
		if (json_object_array_add(a, o) < 0)
			(void)json_object_put(o);
	}
}

static void node_json(struct json_object *o, struct node *n, const struct rep_status *s, const struct node_counters *c)
{
	text(o, "engine", n->conf.engine);
	text(o, "node", n->conf.node);
	text(o, "address", n->conf.address);
	text(o, "release", n->conf.release);
	text(o, "role", rep_role_name(s->role));
	num(o, "epoch", s->epoch);
	text(o, "primary", s->primary);
	text(o, "primary_address", address_of(n, s->primary));
	id(o, "cluster", s->meta.cluster);
	id(o, "incarnation", s->meta.incarnation);
	id(o, "run", n->run);
	num(o, "promise", s->meta.promise);
	/* For `leash recover`: a node that was started after etcd's state had gone knows no in-sync set. */
	num(o, "insync_version", s->meta.insync_version);
	num(o, "recovery", s->meta.recovery);
	num(o, "min_insync", n->conf.min_insync);
	num(o, "dedup_window", n->conf.dedup_window);
	flag(o, "serving", s->serving);
	flag(o, "holding", s->holding);
	flag(o, "in_sync", s->insync);
	flag(o, "below_min", s->below_min);
	flag(o, "paused", s->paused);
	flag(o, "state_gone", s->state_gone);
	if (s->halted)
		text(o, "halted", s->halted);
	flag(o, "etcd_reachable", c->etcd_reachable);
	num(o, "lease", control_lease(n->control));
	log_json(add(o, "log", json_object_new_object()), n, s, c);
	scrub_json(add(o, "scrub", json_object_new_object()), n, s, c);
	members_json(add(o, "insync", json_object_new_object()), &s->members);
	peers_json(add(o, "peers", json_object_new_array()), n, s);
}

static void stream_json(struct json_object *o, const struct node *n, const struct rep_status *s,
	const struct node_counters *c)
{
	flag(o, "serving", s->serving);
	num(o, "start", s->log_start);
	num(o, "commit", s->readable);
	num(o, "epoch", s->epoch);
	num(o, "segments", c->log_segments);
	num(o, "dedup_window", n->conf.dedup_window);
	num(o, "dedup_time_s", n->conf.dedup_time_ns / NS_PER_S);
	num(o, "dedup_from", s->dedup_keep_from);
	num(o, "ids_added", c->appends);
	num(o, "duplicates", c->retries);
}

static void metrics_json(struct json_object *o, const struct rep_status *s, const struct node_counters *c)
{
	num(o, "appends", c->appends);
	num(o, "append_bytes", c->append_bytes);
	num(o, "retries", c->retries);
	num(o, "conflicts", c->conflicts);
	num(o, "refused", c->refused);
	num(o, "reads", c->reads);
	num(o, "read_records", c->read_records);
	num(o, "groups", c->groups);
	num(o, "group_records", c->group_records);
	num(o, "log_bytes", c->log_bytes);
	num(o, "log_segments", c->log_segments);
	num(o, "log_end", s->log_end);
	num(o, "commit", s->commit);
	num(o, "disk_stuck_ms", c->disk_stuck_ns / NS_PER_MS);
	flag(o, "disk_full", c->disk_full);
	flag(o, "etcd_reachable", c->etcd_reachable);
}

int node_status_json(struct node *n, enum peer_info_what what, struct buf *out)
{
	struct json_object *o = json_object_new_object();
	struct node_counters c;
	struct rep_status s;
	const char *t;
	int r;

	if (!o)
		return -ENOMEM;
	node_rep_status(n, &s);
	node_counters(n, &c);
	switch (what) {
	case PEER_INFO_STREAM: stream_json(o, n, &s, &c); break;
	case PEER_INFO_NODE: node_json(o, n, &s, &c); break;
	case PEER_INFO_METRICS: metrics_json(o, &s, &c); break;
	}
	t = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	r = t ? buf_put(out, t, strlen(t)) : -ENOMEM;
	(void)json_object_put(o);
	return r;
}

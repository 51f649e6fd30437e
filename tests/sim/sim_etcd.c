/* etcd: one linearizable state; late, lost and stale answers. */
#include "tests/sim/sim_int.h"

#include <inttypes.h>

#define LEASE_TTL_NS  (5000 * MS)
#define CALL_LIMIT_NS (1000 * MS) /* the client's deadline */

static uint64_t trip_ns(struct sim *s)
{
	return MS / 4 + sim_below(s, 2 * MS);
}

static uint64_t slow_ns(struct sim *s)
{
	return s->swarming && sim_chance(s, 0.05) ? sim_below(s, 900 * MS) : 0;
}

static bool reachable(const struct sim *s, int node)
{
	return !s->etcd.down && !s->nodes[node].etcd_cut;
}

/* Every change keeps the picture before it, for stale reads, and wakes the watches. */
static void change(struct sim *s)
{
	struct simetcd *e = &s->etcd;

	e->old[e->n_old++ % SIM_HISTORY_MAX] = e->now;
	e->now.revision++;
}

void simetcd_changed(struct sim *s)
{
	for (int i = 0; i < s->n; i++) {
		if (!s->nodes[i].up || s->nodes[i].watch_busy)
			continue;
		s->nodes[i].watch_busy = true;
		(void)sim_timer(s, trip_ns(s) + (s->swarming && sim_chance(s, 0.05) ? sim_below(s, 2000 * MS) : 0), T_WATCH, i, 0);
	}
}

static struct lease *lease_of(struct sim *s, uint64_t id)
{
	return id && id <= s->etcd.n_leases && !s->etcd.leases[id - 1].gone ? &s->etcd.leases[id - 1] : NULL;
}

static struct rep_node *node_key(struct sim *s, const char *name)
{
	struct rep_view *v = &s->etcd.now;

	for (uint32_t i = 0; i < v->n_nodes; i++)
		if (strcmp(v->nodes[i].node, name) == 0)
			return &v->nodes[i];
	return NULL;
}

void simetcd_revoke(struct sim *s, uint64_t id)
{
	struct lease *l = lease_of(s, id);
	struct rep_view *v = &s->etcd.now;

	if (!l)
		return;
	l->gone = true;
	change(s);
	if (v->leader.present && v->leader.lease == id) {
		v->leader = (struct rep_leader){ 0 };
		sim_say(s, -1, "etcd: leader key is gone with its lease");
	}
	for (int i = 0; i < s->n; i++) {
		struct rep_node *k = node_key(s, s->nodes[i].name);

		if (s->etcd.node_lease[i] != id || !k)
			continue;
		*k = v->nodes[--v->n_nodes];
		s->etcd.node_lease[i] = 0;
	}
	simetcd_changed(s);
}

static void expire(struct sim *s)
{
	for (uint32_t i = 0; i < s->etcd.n_leases && !s->etcd.down; i++)
		if (!s->etcd.leases[i].gone && s->etcd.leases[i].expires_ns <= s->now_ns)
			simetcd_revoke(s, i + 1);
	(void)sim_timer(s, 500 * MS, T_EXPIRY, 0, 0);
}

/* ----------------------------------------------------------------------------------------------------- transactions */

void simetcd_txn(struct sim *s, int node, const struct rep_txn *txn)
{
	struct simnode *n = &s->nodes[node];
	struct etcd_call *c = calloc(1, sizeof *c);
	enum sim_fault fault = n->txn_fault;
	uint64_t late_ns = n->txn_late_ms * MS;
	struct timer *t;

	must(c);
	n->txn_fault = SIM_FAULT_NONE;
	if (fault == SIM_FAULT_NONE && s->swarming) {
		if (sim_chance(s, s->p_lost_request))
			fault = SIM_FAULT_LOST_REQUEST;
		else if (sim_chance(s, s->p_lost_answer))
			fault = SIM_FAULT_LOST_ANSWER;
		else if (sim_chance(s, s->p_late)) {
			fault = SIM_FAULT_LATE;
			late_ns = sim_below(s, 8000 * MS);
		}
	}
	c->txn = *txn;
	c->outcome = REP_TXN_UNKNOWN;
	if (fault == SIM_FAULT_LOST_REQUEST || !reachable(s, node)) {
		sim_timer(s, CALL_LIMIT_NS, T_TXN_ANSWER, node, 0)->data = c;
		return;
	}
	if (fault == SIM_FAULT_LATE || fault == SIM_FAULT_LOST_ANSWER) {
		struct etcd_call *again = malloc(sizeof *again);

		must(again);
		*again = *c;
		again->answer_lost = true;
		t = sim_timer(s, fault == SIM_FAULT_LATE ? late_ns : trip_ns(s), T_TXN_APPLY, node, 0);
		t->data = again;
		t->y = s->etcd.generation;
		sim_timer(s, CALL_LIMIT_NS, T_TXN_ANSWER, node, 0)->data = c;
		return;
	}
	t = sim_timer(s, trip_ns(s), T_TXN_APPLY, node, 0);
	t->data = c;
	t->y = s->etcd.generation;
}

static bool guards_hold(struct sim *s, const struct rep_txn *t)
{
	const struct rep_view *v = &s->etcd.now;

	if ((v->leader.present ? v->leader.mod_revision : 0) != t->leader_mod ||
		(v->insync.present ? v->insync.mod_revision : 0) != t->insync_mod)
		return false;
	for (uint32_t i = 0; i < t->n_nodes; i++) {
		const struct rep_node *k = node_key(s, t->nodes[i].node);

		if (!k || k->mod_revision != t->nodes[i].mod_revision)
			return false;
	}
	return true;
}

static void apply(struct sim *s, struct etcd_call *c)
{
	struct rep_view *v = &s->etcd.now;

	if (!guards_hold(s, &c->txn)) {
		c->outcome = REP_TXN_FAILED;
		c->view = *v;
		c->view.authoritative = true;
		return;
	}
	if (c->txn.leader.present && !lease_of(s, c->txn.leader.lease)) {
		c->outcome = REP_TXN_UNSENT; /* lease not found: certainly not applied */
		return;
	}
	change(s);
	v->insync = c->txn.insync;
	v->insync.mod_revision = v->revision;
	if (c->txn.leader.present) {
		v->leader = c->txn.leader;
		v->leader.mod_revision = v->revision;
	}
	c->outcome = REP_TXN_DONE;
	c->revision = v->revision;
	sim_say(s, -1, "etcd: leader %s epoch %" PRIu64 ", insync version %" PRIu64 " of %u%s%s%s%s%s%s%s%s",
		v->leader.present ? v->leader.node : "-", v->insync.epoch, v->insync.version, v->insync.n_members,
		v->insync.n_members > 0 ? " " : "", v->insync.n_members > 0 ? v->insync.members[0].node : "",
		v->insync.n_members > 1 ? " " : "", v->insync.n_members > 1 ? v->insync.members[1].node : "",
		v->insync.n_members > 2 ? " " : "", v->insync.n_members > 2 ? v->insync.members[2].node : "",
		v->insync.n_members > 3 ? " " : "", v->insync.n_members > 3 ? v->insync.members[3].node : "");
	simcheck_insync(s);
	simetcd_changed(s);
}

static void on_apply(struct sim *s, struct timer *t)
{
	struct etcd_call *c = t->data;

	bool server_gone = s->etcd.down || t->y != s->etcd.generation; /* a request does not outlive its server */

	if (!server_gone)
		apply(s, c);
	if (!c->answer_lost)
		sim_timer(s, server_gone ? CALL_LIMIT_NS : trip_ns(s) + slow_ns(s), T_TXN_ANSWER, t->a, 0)->data = TAKE(t->data);
}

static void on_txn_answer(struct sim *s, struct timer *t)
{
	struct etcd_call *c = t->data;
	struct rep_event ev = { .kind = REP_EV_TXN, .txn = { .ticket = c->txn.ticket, .outcome = c->outcome,
		.revision = c->revision, .view = &c->view } };

	if (!reachable(s, t->a))
		ev.txn.outcome = REP_TXN_UNKNOWN;
	simnode_feed(s, t->a, &ev);
}

/* ------------------------------------------------------------------------------------------------- reads and watches */

void simetcd_read(struct sim *s, int node, bool probe)
{
	struct timer *t;

	if (s->nodes[node].read_busy)
		return;
	s->nodes[node].read_busy = true;
	t = sim_timer(s, trip_ns(s), T_READ_ANSWER, node, probe);
	t->x = s->etcd.generation;
}

static void put_node_key(struct sim *s, int node)
{
	struct simnode *n = &s->nodes[node];
	struct rep_node *k = node_key(s, n->name);
	struct rep_view *v = &s->etcd.now;

	if (!lease_of(s, n->lease))
		return;
	change(s);
	if (!k) {
		k = &v->nodes[v->n_nodes++];
		*k = (struct rep_node){ 0 };
	}
	rep_status(n->rep, s->now_ns, &n->status);
	memcpy(k->node, n->name, sizeof n->name);
	k->mod_revision = v->revision;
	k->incarnation = n->status.meta.incarnation;
	k->run = n->run;
	k->cluster = n->status.meta.cluster;
	k->log_epoch = n->status.log_epoch;
	k->log_end = n->disk.end;
	s->etcd.node_lease[node] = n->lease;
	simetcd_changed(s);
}

static struct rep_view picture(struct sim *s)
{
	struct simetcd *e = &s->etcd;

	if (!s->swarming || !e->n_old || !sim_chance(s, s->p_stale))
		return e->now;
	return e->old[(e->n_old - 1 - (uint32_t)sim_below(s, MIN2(e->n_old, 5u))) % SIM_HISTORY_MAX];
}

/* What an answer says was true when etcd made it; a watch or a message of a new primary may overtake it on its way. */
static void on_read_answer(struct sim *s, struct timer *t)
{
	struct rep_view *v = t->data;
	struct rep_event ev = { .kind = REP_EV_VIEW, .view = v };

	if (!v) {
		if (!reachable(s, t->a) || t->x != s->etcd.generation) {
			s->nodes[t->a].read_busy = false;
			return;
		}
		v = malloc(sizeof *v);
		must(v);
		if (t->b)
			put_node_key(s, t->a);
		*v = t->b ? s->etcd.now : picture(s);
		v->authoritative = t->b;
		sim_timer(s, trip_ns(s) + slow_ns(s), T_READ_ANSWER, t->a, t->b)->data = v;
		return;
	}
	s->nodes[t->a].read_busy = false;
	simnode_feed(s, t->a, &ev);
}

static void on_watch(struct sim *s, struct timer *t)
{
	struct simnode *n = &s->nodes[t->a];
	struct rep_view v;
	struct rep_event ev = { .kind = REP_EV_VIEW, .view = &v };

	if (!reachable(s, t->a)) { /* made anew when etcd is back */
		(void)sim_timer(s, 100 * MS, T_WATCH, t->a, 0);
		return;
	}
	n->watch_busy = false;
	v = picture(s);
	v.authoritative = false;
	simnode_feed(s, t->a, &ev);
}

/* ----------------------------------------------------------------------------------------------------------- leases */

void simetcd_announce(struct sim *s, int node)
{
	if (s->nodes[node].announce_busy) {
		s->nodes[node].announce_again = true;
		return;
	}
	s->nodes[node].announce_busy = true;
	(void)sim_timer(s, trip_ns(s), T_ANNOUNCE, node, 0);
}

static void on_announce(struct sim *s, struct timer *t)
{
	struct simnode *n = &s->nodes[t->a];

	if (!reachable(s, t->a) || !n->lease) {
		(void)sim_timer(s, 200 * MS, T_ANNOUNCE, t->a, 0);
		return;
	}
	n->announce_busy = false;
	put_node_key(s, t->a);
	if (n->announce_again) {
		n->announce_again = false;
		simetcd_announce(s, t->a);
	}
}

static void tell_lease(struct sim *s, int node, uint64_t lease)
{
	struct rep_event ev = { .kind = REP_EV_LEASE, .lease = lease };

	s->nodes[node].lease = lease;
	simnode_feed(s, node, &ev);
}

static void on_keepalive(struct sim *s, struct timer *t)
{
	struct simnode *n = &s->nodes[t->a];
	struct lease *l = lease_of(s, n->lease);

	(void)sim_timer(s, l || !reachable(s, t->a) ? 1600 * MS : 100 * MS, T_KEEPALIVE, t->a, 0);
	if (!reachable(s, t->a) || n->disk_frozen) /* R11a: a stuck disk renews no lease */
		return;
	if (l) {
		l->expires_ns = s->now_ns + LEASE_TTL_NS;
		return;
	}
	if (n->lease)
		tell_lease(s, t->a, 0);
	must(s->etcd.n_leases < ARRAY_SIZE(s->etcd.leases));
	s->etcd.leases[s->etcd.n_leases++] = (struct lease){ .id = s->etcd.n_leases, .expires_ns = s->now_ns + LEASE_TTL_NS };
	tell_lease(s, t->a, s->etcd.n_leases);
	simetcd_announce(s, t->a);
}

void simetcd_node_started(struct sim *s, int node)
{
	(void)sim_timer(s, trip_ns(s), T_KEEPALIVE, node, 0);
	s->nodes[node].watch_busy = true;
	(void)sim_timer(s, trip_ns(s), T_WATCH, node, 0);
}

void simetcd_timer(struct sim *s, struct timer *t)
{
	struct simnode *n = &s->nodes[t->a];

	if (t->kind == T_EXPIRY) {
		expire(s);
		return;
	}
	if (t->kind == T_TXN_APPLY) {
		on_apply(s, t);
		return;
	}
	if (t->life != n->life)
		return;
	if (t->kind == T_TXN_ANSWER)
		on_txn_answer(s, t);
	else if (t->kind == T_READ_ANSWER)
		on_read_answer(s, t);
	else if (t->kind == T_WATCH)
		on_watch(s, t);
	else if (t->kind == T_KEEPALIVE)
		on_keepalive(s, t);
	else
		on_announce(s, t);
}

/* ------------------------------------------------------------------------------------------------- what tests call */

void sim_txn_fault(struct sim *s, const char *node, enum sim_fault fault, uint64_t late_ms)
{
	s->nodes[sim_index(s, node)].txn_fault = fault;
	s->nodes[sim_index(s, node)].txn_late_ms = late_ms;
}

void sim_cut_etcd(struct sim *s, const char *node, bool cut)
{
	s->nodes[sim_index(s, node)].etcd_cut = cut;
	sim_say(s, sim_index(s, node), cut ? "is cut off from etcd" : "reaches etcd again");
}

void sim_etcd_down(struct sim *s, bool down)
{
	s->etcd.down = down;
	s->etcd.generation++;
	sim_say(s, -1, down ? "etcd goes down" : "etcd is back");
	for (uint32_t i = 0; !down && i < s->etcd.n_leases; i++) /* a new etcd leader restarts every lease at its full TTL */
		s->etcd.leases[i].expires_ns = MAX2(s->etcd.leases[i].expires_ns, s->now_ns + LEASE_TTL_NS);
	if (!down)
		simetcd_changed(s);
}

void sim_etcd_wipe(struct sim *s)
{
	change(s);
	s->etcd.now.leader = (struct rep_leader){ 0 };
	s->etcd.now.insync = (struct rep_insync){ 0 };
	s->etcd.now.n_nodes = 0;
	sim_say(s, -1, "etcd: all keys are deleted");
	simetcd_changed(s);
}

void *sim_etcd_backup(struct sim *s)
{
	struct rep_view *v = malloc(sizeof *v);

	must(v);
	*v = s->etcd.now;
	return v;
}

void sim_etcd_restore(struct sim *s, const void *backup)
{
	s->etcd.now = *(const struct rep_view *)backup;
	s->etcd.generation++;
	sim_say(s, -1, "etcd is restored from a backup");
	simetcd_changed(s);
}

void sim_expire_lease(struct sim *s, const char *node)
{
	simetcd_revoke(s, s->nodes[sim_index(s, node)].lease);
}

void sim_recover(struct sim *s, const char *node)
{
	struct simnode *n = &s->nodes[sim_index(s, node)];
	struct rep_insync *set = &s->etcd.now.insync;
	struct rep_insync old = *set;

	change(s);
	*set = (struct rep_insync){ .present = true, .mod_revision = s->etcd.now.revision, .cluster = n->disk.meta.cluster,
		.min_insync = s->opts.min_insync, .dedup_window = s->opts.dedup_window, .n_members = 1, .version = old.version,
		.recovery = old.recovery, .epoch = old.epoch };
	for (int i = 0; i < s->n; i++) {
		const struct rep_meta *m = &s->nodes[i].disk.meta;

		set->version = MAX2(set->version, m->insync_version);
		set->recovery = MAX2(set->recovery, m->recovery);
		set->epoch = MAX2(set->epoch, m->promise);
	}
	set->version++;
	set->recovery++;
	set->epoch++;
	memcpy(set->members[0].node, n->name, sizeof n->name);
	set->members[0].incarnation = n->disk.meta.incarnation;
	s->etcd.now.leader = (struct rep_leader){ 0 };
	sim_say(s, -1, "leash recover chooses %s", n->name);
	simetcd_changed(s);
}

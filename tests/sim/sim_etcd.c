/* etcd: one linearizable state; late, lost and stale answers. */
#include "tests/sim/sim_int.h"

#include <inttypes.h>

#define LEASE_TTL_NS (5000 * MS)

bool simetcd_reachable(const struct sim *s, int node)
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
	for (int i = 0; i < s->n; i++)
		simcontrol_watch(s, i, s->swarming && sim_chance(s, 0.05) ? sim_below(s, 2000 * MS) : 0);
}

struct rep_view simetcd_picture(struct sim *s)
{
	struct simetcd *e = &s->etcd;

	if (!s->swarming || !e->n_old || !sim_chance(s, s->p_stale))
		return e->now;
	return e->old[(e->n_old - 1 - (uint32_t)sim_below(s, MIN2(e->n_old, 5u))) % SIM_HISTORY_MAX];
}

/* ----------------------------------------------------------------------------------------------------------- leases */

struct lease *simetcd_lease(struct sim *s, uint64_t id)
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
	struct lease *l = simetcd_lease(s, id);
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

void simetcd_expire(struct sim *s)
{
	for (uint32_t i = 0; i < s->etcd.n_leases && !s->etcd.down; i++)
		if (!s->etcd.leases[i].gone && s->etcd.leases[i].expires_ns <= s->now_ns)
			simetcd_revoke(s, i + 1);
	(void)sim_timer(s, 500 * MS, T_EXPIRY, 0, 0);
}

uint64_t simetcd_grant(struct sim *s)
{
	struct simetcd *e = &s->etcd;

	if (e->n_leases == e->cap_leases) {
		e->cap_leases = MAX2(2 * e->cap_leases, 64u);
		e->leases = realloc(e->leases, e->cap_leases * sizeof *e->leases);
		must(e->leases);
	}
	e->n_leases++;
	e->leases[e->n_leases - 1] = (struct lease){ .id = e->n_leases, .expires_ns = s->now_ns + LEASE_TTL_NS };
	return e->n_leases;
}

void simetcd_renew(struct sim *s, uint64_t id)
{
	simetcd_lease(s, id)->expires_ns = s->now_ns + LEASE_TTL_NS;
}

/* ----------------------------------------------------------------------------------------------------- transactions */

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

void simetcd_apply(struct sim *s, struct etcd_call *c)
{
	struct rep_view *v = &s->etcd.now;

	if (!guards_hold(s, &c->txn)) {
		c->outcome = REP_TXN_FAILED;
		c->view = *v;
		c->view.authoritative = true;
		return;
	}
	if (c->txn.leader.present && !simetcd_lease(s, c->txn.leader.lease)) {
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

void simetcd_put_node(struct sim *s, int i, const struct rep_node *key)
{
	struct rep_view *v = &s->etcd.now;
	struct rep_node *k = node_key(s, s->nodes[i].name);
	uint64_t lease = s->nodes[i].control->lease;

	if (!simetcd_lease(s, lease))
		return;
	change(s);
	if (!k)
		k = &v->nodes[v->n_nodes++];
	*k = *key;
	k->mod_revision = v->revision;
	s->etcd.node_lease[i] = lease;
	simetcd_changed(s);
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

void sim_settings(struct sim *s, bool paused, const char *drained)
{
	struct rep_view *v = &s->etcd.now;

	change(s);
	v->paused = paused;
	v->n_drained = drained ? 1 : 0;
	if (drained)
		memcpy(v->drained[0], drained, strlen(drained) + 1);
	sim_say(s, -1, "settings: %s, drained: %s", paused ? "paused" : "not paused", drained ? drained : "none");
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

void sim_etcd_lost(struct sim *s)
{
	struct simetcd *e = &s->etcd;

	for (uint32_t i = 0; i < e->n_leases; i++)
		e->leases[i].gone = true;
	memset(e->node_lease, 0, sizeof e->node_lease);
	e->now = (struct rep_view){ .revision = 1 };
	e->n_old = 0;
	e->generation++;
	sim_say(s, -1, "etcd is made anew, with nothing in it");
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
	const struct control *c = s->nodes[sim_index(s, node)].control;

	if (c)
		simetcd_revoke(s, c->lease);
}

void sim_recover(struct sim *s, const char *node)
{
	struct simnode *n = &s->nodes[sim_index(s, node)];
	struct rep_insync *set = &s->etcd.now.insync;
	struct rep_insync old = *set;

	change(s);
	*set = (struct rep_insync){ .present = true, .mod_revision = s->etcd.now.revision, .cluster = n->acc.meta.cluster,
		.min_insync = s->opts.min_insync, .dedup_window = s->opts.dedup_window, .n_members = 1, .version = old.version,
		.recovery = old.recovery, .epoch = old.epoch };
	for (int i = 0; i < s->n; i++) {
		const struct rlog_meta *m = &s->nodes[i].acc.meta;

		set->version = MAX2(set->version, m->insync_version);
		set->recovery = MAX2(set->recovery, m->recovery);
		set->epoch = MAX2(set->epoch, m->promise);
	}
	set->version++;
	set->recovery++;
	set->epoch++;
	memcpy(set->members[0].node, n->name, sizeof n->name);
	set->members[0].incarnation = n->acc.meta.incarnation;
	s->etcd.now.leader = (struct rep_leader){ 0 };
	sim_say(s, -1, "leash recover chooses %s", n->name);
	simetcd_changed(s);
}

/*
 * Founding a cluster (R9), suspecting the primary (R12), asking etcd for the lead (R2, R3).
 *
 * Clocks decide here when to suspect, and nothing else: a takeover is safe at any time, the guards see to it.
 */
#include "replica/rep_int.h"

#define RANK_DELAY_NS     (30 * UINT64_C(1000000))    /* between candidates of neighbouring rank */
#define ASK_WAIT_NS       (30 * UINT64_C(1000000))    /* for the answers of other members */
#define FLAP_WINDOW_NS    (10 * UINT64_C(1000000000)) /* takeovers within it make the intervals grow */
#define FLAP_DELAY_NS     (100 * UINT64_C(1000000))
#define FLAP_DELAY_MAX_NS (5 * UINT64_C(1000000000))

void rep_count_takeover(struct rep *r)
{
	r->takeovers_ns[r->n_takeovers++ % TAKEOVERS_REMEMBERED] = r->now_ns;
}

static uint64_t flap_delay_ns(const struct rep *r)
{
	uint32_t recent = 0;
	uint64_t delay;

	for (uint32_t i = 0; i < MIN2(r->n_takeovers, (uint32_t)TAKEOVERS_REMEMBERED); i++)
		if (r->now_ns - r->takeovers_ns[i] < FLAP_WINDOW_NS)
			recent++;
	if (recent < 3)
		return 0;
	delay = FLAP_DELAY_NS << (recent - 3);
	return MIN2(delay, FLAP_DELAY_MAX_NS);
}

/* -------------------------------------------------------------------------------------------------------- founding */

static const struct rep_node *view_node(const struct rep *r, const char *name)
{
	for (uint32_t i = 0; i < r->view.n_nodes; i++)
		if (strcmp(r->view.nodes[i].node, name) == 0)
			return &r->view.nodes[i];
	return NULL;
}

/* R9: rank at bootstrap is higher priority, then name. */
static bool ranks_before(const struct rep_node *a, const struct rep_node *b)
{
	if (a->priority != b->priority)
		return a->priority > b->priority;
	return strcmp(a->node, b->node) < 0;
}

/* All founders, in rank order, when all are present and virgin; else 0. */
static uint32_t virgin_founders(const struct rep *r, const struct rep_node *ret[REP_NODES_MAX])
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < r->conf.n_founders; i++) {
		const struct rep_node *node = view_node(r, r->conf.founders[i]);
		uint32_t at = n;

		if (!node || node->cluster != 0 || node->log_end != 0)
			return 0;
		for (; at > 0 && ranks_before(node, ret[at - 1]); at--)
			ret[at] = ret[at - 1];
		ret[at] = node;
		n++;
	}
	return n;
}

static void drive_founding(struct rep *r)
{
	const struct rep_node *f[REP_NODES_MAX];
	struct rep_txn t;
	uint32_t n, rank;

	if (r->want.cluster != 0 || r->view.leader.present || r->txn.active)
		return;
	must(r->end == 0 && !r->view.insync.present); /* both come with a cluster id */
	n = virgin_founders(r, f);
	for (rank = 0; rank < n && !rep_is_self(r, f[rank]->node); rank++)
		;
	if (rank == n || f[rank]->run != r->conf.run) {
		r->founding_ns = 0; /* not all there, not a founder, or the key there is of my former life */
		return;
	}
	if (r->founding_ns == 0)
		r->founding_ns = r->now_ns;
	if (r->now_ns < r->founding_ns + rank * RANK_DELAY_NS) {
		rep_wake_at(r, r->founding_ns + rank * RANK_DELAY_NS);
		return;
	}
	t = rep_txn_new(r, REP_TXN_BOOTSTRAP);
	t.insync = (struct rep_insync){ .present = true, .cluster = r->conf.fresh_cluster, .version = 1,
		.min_insync = r->conf.min_insync, .dedup_window = r->conf.dedup_window, .n_members = n };
	t.n_nodes = n;
	for (uint32_t i = 0; i < n; i++) {
		memcpy(t.insync.members[i].node, f[i]->node, sizeof f[i]->node);
		t.insync.members[i].incarnation = f[i]->incarnation;
		memcpy(t.nodes[i].node, f[i]->node, sizeof f[i]->node);
		t.nodes[i].mod_revision = f[i]->mod_revision;
	}
	rep_txn_start(r, &t);
}

/* ------------------------------------------------------------------------------------------------------- suspicion */

static const char *const former_life = "it was this node's former life";
static const char *const nobody_leads = "nobody leads";
static const char *const gave_up = "this node gave up the lead, and nobody took over";

/* Does this node hear the primary whose key is in etcd, or the one it follows when there is no key? */
static bool hears_primary(const struct rep *r)
{
	const struct rep_leader *l = &r->view.leader;

	if (!r->follow.active || r->now_ns - r->follow.heard_ns > r->conf.failure_timeout_ns)
		return false;
	return !l->present || r->follow.epoch >= l->epoch;
}

static bool refuses(const struct rep *r, const char *node)
{
	const struct peer *p = rep_peer_or_nobody(r, node);

	return !p->linked && p->refused;
}

/* R12: why the primary is suspected; NULL: it is not. */
static const char *suspicion(const struct rep *r)
{
	const struct rep_leader *l = &r->view.leader;

	if (!l->present) {
		/* The primary goes first: it has one failure_timeout to put its key back. Nobody ever led: no wait. */
		if (r->cfg.epoch == 0 || r->now_ns - r->key_gone_ns >= r->conf.failure_timeout_ns)
			return nobody_leads;
		return refuses(r, r->last_leader) ? nobody_leads : NULL;
	}
	if (rep_is_self(r, l->node) && l->run != r->conf.run)
		return former_life;
	if (rep_is_self(r, l->node)) /* stepped down and nobody took over: the others go first */
		return !hears_primary(r) && l->epoch <= r->meta.promise &&
				r->now_ns - r->leader_since_ns > 2 * r->conf.failure_timeout_ns ? gave_up : NULL;
	if (refuses(r, l->node))
		return "its connection was reset and a new one refused";
	if (!hears_primary(r) && r->now_ns - r->leader_since_ns > r->conf.failure_timeout_ns)
		return "it has been silent for failure_timeout";
	return NULL;
}

static const char *suspect_name(const struct rep *r)
{
	return r->view.leader.present ? r->view.leader.node : r->last_leader;
}

/* The other members that can be asked: linked, in the set, not the suspect. */
static bool askable(const struct rep *r, const struct peer *p)
{
	if (!p->linked || strcmp(p->name, suspect_name(r)) == 0)
		return false;
	for (uint32_t i = 0; i < r->cfg.n_members; i++)
		if (strcmp(r->cfg.members[i].node, p->name) == 0)
			return true;
	return false;
}

static void ask_members(struct rep *r)
{
	r->suspect.asked_ns = r->now_ns;
	for (uint32_t i = 0; i < r->n_peers; i++) {
		struct peer *p = &r->peers[i];
		struct rep_msg *m;

		p->answered_ns = 0;
		if (!askable(r, p))
			continue;
		m = rep_send(r, p->name, REP_LINK_OUT, REP_MSG_ASK);
		m->epoch = r->cfg.epoch;
	}
}

/* Does another member still hear it, while commits move or nothing waits (B15)? */
static bool vouched_for(const struct rep *r, bool *ret_all_answered)
{
	bool all = true;

	for (uint32_t i = 0; i < r->n_peers; i++) {
		const struct peer *p = &r->peers[i];

		if (!askable(r, p))
			continue;
		if (p->answered_ns == 0)
			all = false;
		else if (p->hears && p->moves)
			return true;
	}
	*ret_all_answered = all;
	return false;
}

void rep_on_ask(struct rep *r, const char *from, const struct rep_msg *m)
{
	struct rep_msg *a = rep_send(r, from, REP_LINK_IN, REP_MSG_HEARS);

	a->epoch = m->epoch;
	if (r->role == REP_ROLE_PRIMARY && r->epoch >= m->epoch) {
		a->flags = REP_F_HEARS | REP_F_MOVES; /* I am it, or a newer one */
		return;
	}
	if (hears_primary(r) && rep_peer_or_nobody(r, r->follow.node)->linked && r->follow.epoch >= m->epoch)
		a->flags |= REP_F_HEARS;
	if (r->now_ns - r->follow.moved_ns <= r->conf.failure_timeout_ns)
		a->flags |= REP_F_MOVES;
}

void rep_on_hears(struct rep *r, const char *from, const struct rep_msg *m)
{
	struct peer *p = rep_peer_find(r, from);

	if (!p || m->epoch != r->cfg.epoch)
		return;
	p->answered_ns = r->now_ns;
	p->hears = m->flags & REP_F_HEARS;
	p->moves = m->flags & REP_F_MOVES;
}

/* ------------------------------------------------------------------------------------------------------- candidacy */

static bool drained(const struct rep *r)
{
	for (uint32_t i = 0; i < r->view.n_drained; i++)
		if (rep_is_self(r, r->view.drained[i]))
			return true;
	return false;
}

static bool may_lead(const struct rep *r)
{
	must(!r->damage.verdict || r->cutting); /* else it would be on its way out (rep_damage.c) */
	return r->view.insync.present && rep_self_insync(r) && !r->view.paused && !drained(r) && !r->cutting &&
	       r->meta.cluster == r->cfg.cluster;
}

/* Place among the members, of which it is one, that may be alive, the suspect left out. */
static uint32_t own_rank(const struct rep *r)
{
	uint32_t rank = 0;

	for (uint32_t i = 0; !rep_is_self(r, r->cfg.members[i].node); i++) {
		const struct rep_member *m = &r->cfg.members[i];

		must(i + 1 < r->cfg.n_members);
		if (strcmp(m->node, suspect_name(r)) != 0 && rep_peer_or_nobody(r, m->node)->linked)
			rank++;
	}
	return rank;
}

static void remove_member(struct rep_insync *set, const char *node)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < set->n_members; i++)
		if (strcmp(set->members[i].node, node) != 0)
			set->members[n++] = set->members[i];
	set->n_members = n;
}

/* R3: above the epoch in etcd and above every epoch promised; without the old primary when enough are left. */
static void campaign(struct rep *r)
{
	struct rep_txn t = rep_txn_new(r, REP_TXN_TAKEOVER);
	struct rep_insync rest = t.insync;

	t.insync.epoch = MAX2(r->cfg.epoch, r->want.promise) + 1;
	remove_member(&rest, suspect_name(r));
	if (!rep_is_self(r, suspect_name(r)) && rest.n_members >= r->cfg.min_insync) {
		rest.epoch = t.insync.epoch;
		t.insync = rest;
	}
	t.leader = (struct rep_leader){ .present = true, .epoch = t.insync.epoch, .incarnation = r->meta.incarnation,
		.run = r->conf.run, .lease = r->lease };
	memcpy(t.leader.node, r->conf.node, sizeof t.leader.node);
	memcpy(t.leader.address, r->conf.address, sizeof t.leader.address);
	rep_note(r, REP_NOTE_CAMPAIGN, suspect_name(r), t.insync.epoch, r->end, r->suspect.why);
	rep_set_role(r, REP_ROLE_CANDIDATE);
	rep_txn_start(r, &t);
}

/* Suspicion is over, or another leads: an attempt that is still possible shows as our run id in `leader`. */
static void stand_down(struct rep *r)
{
	r->suspect = (struct suspicion){ .noted_ns = r->suspect.noted_ns };
	if (r->role != REP_ROLE_CANDIDATE || r->txn.in_flight)
		return;
	rep_txn_drop(r);
	rep_set_role(r, REP_ROLE_SECONDARY);
}

static void begin_suspicion(struct rep *r, const char *why)
{
	r->suspect.why = why;
	r->suspect.since_ns = r->now_ns;
	ask_members(r);
	if (r->cfg.epoch == 0)
		return; /* a cluster just founded: nobody is suspected */
	if (r->suspect.noted_ns == 0 || r->now_ns - r->suspect.noted_ns > 10 * r->conf.failure_timeout_ns) {
		r->suspect.noted_ns = r->now_ns;
		rep_note(r, REP_NOTE_SUSPECT, suspect_name(r), r->cfg.epoch, r->end, why);
	}
}

static void drive_candidacy(struct rep *r)
{
	const char *why = may_lead(r) ? suspicion(r) : NULL;
	bool all_answered = true;
	uint64_t due_ns;

	if (!why) {
		stand_down(r);
		return;
	}
	if (r->role == REP_ROLE_CANDIDATE)
		return;
	if (r->suspect.why != why)
		begin_suspicion(r, why);
	if (why != former_life && why != gave_up && why != nobody_leads) {
		if (vouched_for(r, &all_answered)) {
			/* Let be, and ask again before long. */
			if (r->now_ns - r->suspect.asked_ns >= r->conf.failure_timeout_ns / 4)
				ask_members(r);
			r->suspect.since_ns = r->now_ns;
			return;
		}
	}
	due_ns = r->suspect.since_ns + own_rank(r) * RANK_DELAY_NS + flap_delay_ns(r);
	if (!all_answered)
		due_ns = MAX2(due_ns, r->suspect.asked_ns + ASK_WAIT_NS);
	if (r->now_ns < due_ns || r->lease == 0) {
		rep_wake_at(r, MAX2(due_ns, r->now_ns + RANK_DELAY_NS / 3));
		return;
	}
	campaign(r);
}

void rep_drive_election(struct rep *r)
{
	if (!r->view_known || (r->role != REP_ROLE_SECONDARY && r->role != REP_ROLE_CANDIDATE))
		return;
	drive_founding(r);
	drive_candidacy(r);
}

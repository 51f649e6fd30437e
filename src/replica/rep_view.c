/*
 * What is known of etcd, and the one transaction that may be under way.
 *
 * Reads and watches are hints and may be old; only answers that went through Raft (view->authoritative) convict etcd of
 * having gone back in time (R4a), and only when they insist: one that was asked for before may have been overtaken by a
 * watch, or by the LEAD of a newer epoch. While in doubt nothing is written to etcd. A transaction whose answer is missing stays possible until one of its guards
 * is seen changed (R0a): it is repeated with the same guards and the same content until then. Whether it was ours that
 * changed them is read off the content: (epoch, version) and the members are written by nobody else.
 */
#include "replica/rep_int.h"

#define TXN_RETRY_MIN_NS (50 * UINT64_C(1000000))
#define TXN_RETRY_MAX_NS (500 * UINT64_C(1000000))
#define DOUBT_NS         (5 * UINT64_C(1000000000)) /* longer than any answer of etcd is waited for */

/* ------------------------------------------------------------------------------------------- is the view credible? */

static void ask_probe(struct rep *r)
{
	if (r->probe_ns && r->now_ns - r->probe_ns < r->conf.failure_timeout_ns / 2)
		return;
	r->probe_ns = r->now_ns;
	(void)rep_act(r, REP_ACT_PROBE);
}

/* R4a: what is smaller than what was seen before, or the same epoch with another owner. NULL: nothing. */
static const char *went_back(const struct rep *r, const struct rep_view *v)
{
	if (v->revision < r->want.etcd_revision)
		return "its revision is lower than one seen before (restored from a backup?)";
	if (v->insync.version < r->want.insync_version)
		return "the version of the in-sync set is lower than one seen before (restored from a backup?)";
	if (v->insync.epoch < r->want.promise)
		return "its epoch is lower than one promised (restored from a backup?)";
	if (v->leader.present && v->leader.epoch == r->want.promise && v->leader.run != r->want.promise_run)
		return "an epoch seen before has another owner (restored from a backup?)";
	return NULL;
}

/* @v is older than what was seen. True: etcd says so for longer than an answer can have been on its way. */
static bool insists(struct rep *r, const struct rep_view *v)
{
	if (v->authoritative && r->doubt_ns && r->now_ns - r->doubt_ns > DOUBT_NS)
		return true;
	if (v->authoritative && r->doubt_ns == 0) {
		r->doubt_ns = r->now_ns;
		r->probe_ns = 0; /* one that is asked for now cannot be overtaken by what is known now */
	}
	ask_probe(r);
	return false;
}

static bool view_credible(struct rep *r, const struct rep_view *v)
{
	const char *why = NULL;

	if (v->insync.present && v->insync.recovery > r->want.recovery) {
		r->doubt_ns = 0;
		return true; /* an operator's word: `leash recover` */
	}
	if (v->insync.present)
		why = went_back(r, v);
	else if (v->revision < r->want.etcd_revision && !insists(r, v))
		return false;
	if (why) {
		if (r->role != REP_ROLE_HALTED && insists(r, v))
			rep_halt(r, why);
		return false;
	}
	r->doubt_ns = 0;
	return r->role != REP_ROLE_HALTED;
}

static bool view_foreign(struct rep *r, const struct rep_view *v)
{
	if (!v->insync.present || r->want.cluster == 0 || r->want.cluster == v->insync.cluster)
		return false;
	/* What is not on disk yet, no promise and no record rests upon. */
	rep_note(r, r->meta.cluster ? REP_NOTE_FOREIGN : REP_NOTE_FOUNDED_ANEW, NULL, 0, 0, NULL);
	return true;
}

/* -------------------------------------------------------------------------------------------------- taking it over */

static void adopt_insync(struct rep *r, const struct rep_insync *set)
{
	if (set->min_insync != r->conf.min_insync)
		rep_note(r, REP_NOTE_MISCONFIGURED, NULL, 0, set->min_insync, "min_insync");
	if (set->dedup_window != r->conf.dedup_window)
		rep_note(r, REP_NOTE_MISCONFIGURED, NULL, 0, set->dedup_window, "dedup_window");
	if (r->state_gone)
		rep_note(r, REP_NOTE_STATE_BACK, NULL, set->epoch, 0, NULL);
	r->state_gone = false;
	if (r->role == REP_ROLE_HALTED) {
		r->halted = NULL;
		rep_set_role(r, REP_ROLE_SECONDARY);
	}
	r->cfg = *set;
	if (set->recovery > r->want.recovery) {
		r->recovered_commit = r->commit;
		if (r->refused_cut > set->epoch) /* its primary was faster than etcd's word */
			rep_note(r, REP_NOTE_OVERRULED, NULL, r->refused_cut, r->commit, NULL);
	}
	if (r->want.cluster == 0)
		r->want.cluster = set->cluster;
	r->want.insync_version = set->version;
	r->want.recovery = set->recovery;
	for (uint32_t i = 0; i < set->n_members; i++)
		(void)rep_peer(r, set->members[i].node);
}

static void adopt_leader(struct rep *r, const struct rep_leader *old)
{
	const struct rep_leader *l = &r->view.leader;

	if (!l->present) {
		if (r->key_gone_ns == 0)
			r->key_gone_ns = r->now_ns;
		return;
	}
	r->key_gone_ns = 0;
	if (old->present && old->run == l->run && old->epoch == l->epoch)
		return;
	r->leader_since_ns = r->now_ns;
	rep_count_takeover(r);
	memcpy(r->replaced, r->last_leader, sizeof r->replaced);
	memcpy(r->last_leader, l->node, sizeof r->last_leader);
}

/* The transition that etcd's state calls for. */
static void act_on_view(struct rep *r)
{
	const struct rep_leader *l = &r->view.leader;
	bool mine = l->present && l->run == r->conf.run && l->incarnation == r->meta.incarnation;

	leash_epoch newest = MAX2(r->cfg.epoch, l->present ? l->epoch : 0);

	if ((r->role == REP_ROLE_PRIMARY || r->role == REP_ROLE_WINNER) && newest > r->epoch)
		rep_step_down(r, l->present ? l->node : "", newest);
	/* R13, or an own takeover whose answer was lost: whoever finds its own run id in `leader` acts. */
	if ((r->role == REP_ROLE_SECONDARY || r->role == REP_ROLE_CANDIDATE) && mine &&
		l->epoch > r->want.promise && l->epoch == r->cfg.epoch && rep_self_insync(r) && !r->damage.aside &&
		!r->damage.verdict)
		rep_win(r);
}

static void view_adopted(struct rep *r, const struct rep_leader *old_leader)
{
	r->view_known = true;
	r->want.etcd_revision = r->view.revision;
	if (r->view.insync.present) {
		adopt_insync(r, &r->view.insync);
	} else if (r->want.cluster != 0 && !r->state_gone) {
		r->state_gone = true;
		rep_note(r, REP_NOTE_STATE_GONE, NULL, r->meta.promise, r->end, NULL);
	}
	adopt_leader(r, old_leader);
	for (uint32_t i = 0; i < r->view.n_nodes; i++)
		(void)rep_peer(r, r->view.nodes[i].node);
}

/* Is @a, which etcd has, @b, which was asked for? */
static bool insync_same(const struct rep_insync *a, const struct rep_insync *b)
{
	if (!a->present || a->cluster != b->cluster || a->version != b->version ||
		a->recovery != b->recovery || a->epoch != b->epoch || a->n_members != b->n_members)
		return false;
	for (uint32_t i = 0; i < a->n_members; i++)
		if (!rep_member(b, a->members[i].node, a->members[i].incarnation))
			return false;
	return true;
}

/* ----------------------------------------------------------------------------------------------------- transactions */

struct rep_txn rep_txn_new(const struct rep *r, enum rep_txn_kind kind)
{
	struct rep_txn t = { .kind = kind, .leader_mod = r->view.leader.present ? r->view.leader.mod_revision : 0,
		.insync_mod = r->view.insync.present ? r->view.insync.mod_revision : 0, .insync = r->cfg };

	t.insync.present = true;
	t.insync.version = r->cfg.version + 1;
	return t;
}

void rep_txn_start(struct rep *r, const struct rep_txn *txn)
{
	must(!r->txn.active); /* one unresolved change at a time (R0a) */
	r->txn = (struct txn_state){ .active = true, .txn = *txn, .backoff_ns = TXN_RETRY_MIN_NS };
}

/* Only where the outcome is of no consequence: a candidate's, whose success shows as its own run id in `leader`. */
void rep_txn_drop(struct rep *r)
{
	r->txn.active = false;
	r->txn.txn.ticket = 0;
}

static bool needs_own_lease(enum rep_txn_kind kind)
{
	return kind == REP_TXN_TAKEOVER || kind == REP_TXN_CONFIRM;
}

void rep_drive_txn(struct rep *r)
{
	struct txn_state *t = &r->txn;

	if (r->doubt_ns) {
		ask_probe(r);
		return;
	}
	if (!t->active || t->in_flight)
		return;
	if (needs_own_lease(t->txn.kind)) {
		if (r->lease == 0)
			return; /* REP_EV_LEASE will come */
		t->txn.leader.lease = r->lease; /* the same content: run id and epoch tell it, not the lease */
	}
	if (r->now_ns < t->retry_ns) {
		rep_wake_at(r, t->retry_ns);
		return;
	}
	t->in_flight = true;
	t->txn.ticket = ++r->next_ticket;
	rep_act(r, REP_ACT_TXN)->txn = t->txn;
}

static void note_change(struct rep *r, const struct rep_insync *old, const struct rep_insync *new)
{
	for (uint32_t i = 0; i < new->n_members; i++)
		if (!rep_member(old, new->members[i].node, new->members[i].incarnation))
			rep_note(r, REP_NOTE_INSYNC_ADD, new->members[i].node, new->epoch, r->end, NULL);
	for (uint32_t i = 0; i < old->n_members; i++) {
		const char *why = NULL, *name = old->members[i].node;
		struct peer *p = rep_peer_find(r, name);

		if (rep_member(new, name, old->members[i].incarnation))
			continue;
		if (p)
			why = rep_peer_why(r, p, old->members[i].incarnation);
		rep_note(r, REP_NOTE_INSYNC_REMOVE, name, new->epoch, r->end, why);
	}
}

/* The transaction is over. The view is the newest known already. */
static void txn_resolved(struct rep *r, bool took, const struct rep_insync *old)
{
	const struct rep_txn *t = &r->txn.txn;

	r->txn.active = r->txn.in_flight = false;
	switch (t->kind) {
	case REP_TXN_BOOTSTRAP:
		if (took)
			rep_note(r, REP_NOTE_FOUNDED, NULL, 0, 0, NULL);
		break;
	case REP_TXN_TAKEOVER:
		/* Two candidates may have asked for the same set: the winner's run id in `leader` tells them apart, and
		 * act_on_view() acts on it. Its key may also be gone again: then it is to be asked for anew. */
		if (!r->view.leader.present || r->view.leader.run != r->conf.run)
			rep_note(r, REP_NOTE_LOST, r->view.leader.present ? r->view.leader.node : "", t->insync.epoch, 0, NULL);
		rep_set_role(r, REP_ROLE_SECONDARY);
		break;
	case REP_TXN_CHANGE:
		if (took)
			note_change(r, old, &r->cfg);
		break;
	case REP_TXN_CONFIRM:
		if (took)
			rep_note(r, REP_NOTE_CONFIRMED, NULL, r->epoch, 0, NULL);
		break;
	case REP_TXN_HANDOVER:
		if (took) {
			(void)rep_send(r, t->leader.node, REP_LINK_OUT, REP_MSG_LOOK);
			rep_step_down(r, t->leader.node, t->leader.epoch);
		} else
			rep_handover_end(r, "etcd's state changed meanwhile");
		break;
	}
}

static void view_take(struct rep *r, const struct rep_view *v)
{
	struct rep_leader old_leader = r->view.leader;
	struct rep_insync old = r->cfg;

	r->view = *v;
	view_adopted(r, &old_leader);
	if (r->txn.active) {
		const struct rep_txn *t = &r->txn.txn;
		uint64_t lm = v->leader.present ? v->leader.mod_revision : 0;
		uint64_t im = v->insync.present ? v->insync.mod_revision : 0;

		if (im != t->insync_mod || lm != t->leader_mod)
			txn_resolved(r, im != t->insync_mod && insync_same(&v->insync, &t->insync), &old);
	}
	act_on_view(r);
}

void rep_on_view(struct rep *r, const struct rep_view *v)
{
	if (view_foreign(r, v) || !view_credible(r, v))
		return;
	view_take(r, v);
}

static void txn_done(struct rep *r, uint64_t revision)
{
	struct rep_view *v = malloc(sizeof *v);

	must(v);
	*v = r->view;
	v->revision = MAX2(v->revision, revision);
	v->insync = r->txn.txn.insync;
	v->insync.mod_revision = revision;
	if (r->txn.txn.leader.present) {
		v->leader = r->txn.txn.leader;
		v->leader.mod_revision = revision;
	}
	view_take(r, v);
	free(v);
}

void rep_on_txn(struct rep *r, const struct rep_event *ev)
{
	struct txn_state *t = &r->txn;

	if (!t->active || !t->in_flight || ev->txn.ticket != t->txn.ticket)
		return; /* an attempt that was resolved otherwise */
	t->in_flight = false;
	switch (ev->txn.outcome) {
	case REP_TXN_DONE:
		txn_done(r, ev->txn.revision);
		return;
	case REP_TXN_FAILED:
		rep_on_view(r, ev->txn.view);
		/* A founder's key has changed: its old mod revision never comes back, so this attempt is dead for good. */
		if (t->active && t->txn.kind == REP_TXN_BOOTSTRAP)
			rep_txn_drop(r);
		break; /* else the guards hold in that picture, although they did not at that moment: repeat */
	case REP_TXN_UNKNOWN:
		t->unknown = true;
		break;
	case REP_TXN_UNSENT:
		break;
	}
	if (!t->active)
		return;
	t->retry_ns = r->now_ns + t->backoff_ns;
	t->backoff_ns = MIN2(2 * t->backoff_ns, TXN_RETRY_MAX_NS);
}

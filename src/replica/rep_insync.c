/*
 * The in-sync set as its primary keeps it: who is absent (R7), who may join (R8), and hand-over (R13).
 *
 * Growing: a follower catches up in rounds (Raft thesis 4.2.1); once a round is short it becomes *required*, so every
 * later commit waits for it; when it has everything up to the log end of that moment it is proposed; it stays in the
 * maximal set until etcd has answered. Shrinking: who is absent is proposed to leave, and required until etcd has
 * answered. Both may be one transaction (a swap). The set never becomes smaller than min_insync.
 */
#include "replica/rep_int.h"

#define REJOIN_MIN_NS   (100 * UINT64_C(1000000))
#define REJOIN_MAX_NS   (30 * UINT64_C(1000000000))
#define REJOIN_FORGET_NS (120 * UINT64_C(1000000000)) /* in the set for so long: its past is forgotten */
#define ROUND_SHORT_DIV 2 /* a round is short within failure_timeout / this */
#define LAG_SHORT_DIV   2 /* not far behind the others: within failure_timeout / this */
#define LAG_TIMEOUTS    2 /* so many of it far behind, without a break, and it is too slow */

/* ---------------------------------------------------------------------------------------------------------- absence */

/* Is (peer, incarnation) of no use for commits now? *ret_why: static text, for operators. */
bool rep_peer_absent(const struct rep *r, const struct peer *p, leash_id incarnation, const char **ret_why)
{
	uint64_t timeout_ns = r->conf.failure_timeout_ns;

	if (p->damaged_incarnation && p->damaged_incarnation == incarnation)
		*ret_why = "it lost records that it had acknowledged";
	else if (!p->linked && p->refused)
		*ret_why = "connection refused";
	else if (p->join == JOIN_JOINED && p->incarnation != incarnation)
		*ret_why = "its data directory is another one (new incarnation)";
	else if (r->now_ns - p->heard_ns > timeout_ns)
		*ret_why = p->linked ? "silent for failure_timeout" : "unreachable";
	else if (p->join == JOIN_JOINED && p->have < r->end && !rep_ends_at_damage(r, p) &&
		r->now_ns - p->progress_ns > timeout_ns)
		*ret_why = "its log makes no progress";
	else
		return false;
	return true;
}

static bool member_absent(const struct rep *r, const struct rep_member *m)
{
	const char *why;

	if (rep_is_self(r, m->node))
		return m->incarnation != r->meta.incarnation;
	return rep_peer_absent(r, rep_peer_or_nobody(r, m->node), m->incarnation, &why);
}

/* What this node and the members other than @p have on disk: they would commit it without @p. */
static leash_seq others_have(const struct rep *r, const struct peer *p)
{
	leash_seq seq = r->durable;

	for (uint32_t i = 0; i < r->n_peers; i++) {
		const struct peer *q = &r->peers[i];

		if (q == p || q->join != JOIN_JOINED || !rep_member(&r->cfg, q->name, q->incarnation))
			continue;
		if (!q->fed_by_relay || strcmp(p->relay, q->name) != 0) /* what @p feeds cannot be before it */
			seq = MIN2(seq, q->have);
	}
	return seq;
}

/*
 * A follower that moves, but slowly, would make the whole cluster as slow as itself: with closed loops of clients the log
 * waits for it, so it is never many records behind. What counts is the time by which it comes later than all the
 * others to where they were (as Kafka's replica.lag.time.max.ms, but beside the others: a load that makes all slow is no
 * reason). It may return when it keeps up.
 */
static void measure_lag(struct rep *r, struct peer *p)
{
	bool is_short = r->now_ns - p->lag_ns <= r->conf.failure_timeout_ns / LAG_SHORT_DIV;
	leash_seq others = others_have(r, p);

	if (p->lag_seq && p->join == JOIN_JOINED && p->have < p->lag_seq)
		return;
	/* The way to where the others were was short, or it had been level with them for longer than that. */
	if (p->join != JOIN_JOINED || is_short == (p->lag_seq != 0))
		p->kept_up_ns = r->now_ns;
	if (p->join != JOIN_JOINED || p->have >= others) {
		p->lag_ns = p->lag_seq ? r->now_ns : p->lag_ns;
		p->lag_seq = 0;
	} else {
		p->lag_seq = others;
		p->lag_ns = r->now_ns;
	}
}

/* Not absent: it counts where there is no better one, and may lead. */
static bool peer_slow(const struct rep *r, const struct peer *p)
{
	return p->join == JOIN_JOINED && p->lag_seq && !rep_ends_at_damage(r, p) &&
	       r->now_ns - p->kept_up_ns > LAG_TIMEOUTS * r->conf.failure_timeout_ns;
}

const char *rep_peer_why(const struct rep *r, const struct peer *p, leash_id incarnation)
{
	const char *why = NULL;

	if (!rep_peer_absent(r, p, incarnation, &why) && peer_slow(r, p))
		why = "much slower than the others";
	return why;
}

static bool member_slow(const struct rep *r, const struct rep_member *m)
{
	return !rep_is_self(r, m->node) && peer_slow(r, rep_peer_or_nobody(r, m->node));
}

/* ---------------------------------------------------------------------------------------------------------- growing */

static bool peer_is_member(const struct rep *r, const struct peer *p)
{
	return p->incarnation && rep_member(&r->cfg, p->name, p->incarnation);
}

static void begin_round(struct rep *r, struct peer *p)
{
	p->round_end = MAX2(r->end, (leash_seq)1);
	p->round_ns = r->now_ns;
}

static void drive_catch_up(struct rep *r, struct peer *p)
{
	const char *why;

	if (peer_is_member(r, p)) {
		p->required = false; /* the set itself requires it */
		return;
	}
	if (p->join != JOIN_JOINED || rep_peer_absent(r, p, p->incarnation, &why) || peer_slow(r, p)) {
		p->required = false; /* never proposed, or the proposal is over: see `committed()` for one under way */
		p->round_end = 0;
		return;
	}
	if (p->required || (r->now_ns < p->rejoin_ns && !r->below_min))
		return;
	if (p->round_end == 0)
		begin_round(r, p);
	if (p->have < MIN2(p->round_end, r->end))
		return;
	if (r->now_ns - p->round_ns > r->conf.failure_timeout_ns / ROUND_SHORT_DIV) {
		begin_round(r, p);
		return;
	}
	p->required = true;
	p->join_end = r->end;
	p->progress_ns = p->kept_up_ns = r->now_ns;
	rep_note(r, REP_NOTE_CAUGHT_UP, p->name, r->epoch, p->have, NULL);
}

/* R8: everything up to my log end at the moment it became required, durable, in this epoch and incarnation. */
static bool ready_to_join(const struct peer *p)
{
	return p->required && p->matched >= p->join_end; /* drive_catch_up() has seen to the rest */
}

/* --------------------------------------------------------------------------------------------------------- changing */

bool rep_may_propose(const struct rep *r)
{
	return !r->txn.active && !r->state_gone && r->cfg.epoch == r->epoch;
}

static bool add_member(struct rep_insync *set, const char *node, leash_id incarnation)
{
	struct rep_member *m;

	if (set->n_members == REP_NODES_MAX)
		return false;
	m = &set->members[set->n_members++];
	memcpy(m->node, node, sizeof m->node);
	m->incarnation = incarnation;
	return true;
}

/* The set without the absent (and the slow) and with the ready ones. False: it is the present one. */
static bool wanted_set(const struct rep *r, bool without_slow, struct rep_insync *ret_set)
{
	bool changed = false;

	*ret_set = r->cfg;
	ret_set->n_members = 0;
	for (uint32_t i = 0; i < r->cfg.n_members; i++) {
		const struct rep_member *m = &r->cfg.members[i];

		if (member_absent(r, m) || (without_slow && member_slow(r, m)))
			changed = true;
		else
			(void)add_member(ret_set, m->node, m->incarnation);
	}
	for (uint32_t i = 0; i < r->n_peers; i++)
		if (ready_to_join(&r->peers[i]))
			changed |= add_member(ret_set, r->peers[i].name, r->peers[i].incarnation);
	return changed;
}

/* Too few answer: keep all members (they stay eligible, KIP-966), add who is ready. */
static bool wanted_set_growing_only(const struct rep *r, struct rep_insync *ret_set)
{
	bool changed = false;

	*ret_set = r->cfg;
	for (uint32_t i = 0; i < r->n_peers; i++)
		if (ready_to_join(&r->peers[i]))
			changed |= add_member(ret_set, r->peers[i].name, r->peers[i].incarnation);
	return changed;
}

/* A member removed for being slow waits longer each time before it is required again: no flapping. */
static void back_off_removed(struct rep *r, const struct rep_insync *next)
{
	for (uint32_t i = 0; i < r->cfg.n_members; i++) {
		const struct rep_member *m = &r->cfg.members[i];
		struct peer *p = rep_peer_find(r, m->node);

		if (!p || rep_member(next, m->node, m->incarnation) || (!p->linked && p->refused))
			continue; /* a process that ended comes back as good as new */
		if (r->now_ns - p->removed_ns > REJOIN_FORGET_NS)
			p->backoff_ns = 0;
		p->removed_ns = r->now_ns;
		p->backoff_ns = MIN2(MAX2(2 * p->backoff_ns, REJOIN_MIN_NS), REJOIN_MAX_NS);
		p->rejoin_ns = r->now_ns + p->backoff_ns;
	}
}

static void note_below_min(struct rep *r, bool below)
{
	if (below != r->below_min)
		rep_note(r, below ? REP_NOTE_BELOW_MIN : REP_NOTE_COMMITTING, NULL, r->epoch, r->end, NULL);
	r->below_min = below;
}

void rep_drive_insync(struct rep *r)
{
	struct rep_insync set;
	struct rep_txn t;
	bool changed, below;

	for (uint32_t i = 0; i < r->n_peers; i++)
		measure_lag(r, &r->peers[i]);
	for (uint32_t i = 0; i < r->n_peers; i++)
		drive_catch_up(r, &r->peers[i]);
	changed = wanted_set(r, true, &set);
	if (set.n_members < r->cfg.min_insync)
		changed = wanted_set(r, false, &set);
	below = set.n_members < r->cfg.min_insync;
	note_below_min(r, below);
	if (below)
		changed = wanted_set_growing_only(r, &set);
	if (!changed || !rep_may_propose(r))
		return;
	back_off_removed(r, &set);
	t = rep_txn_new(r, REP_TXN_CHANGE);
	t.insync.n_members = set.n_members;
	memcpy(t.insync.members, set.members, sizeof set.members);
	rep_txn_start(r, &t);
}

/* --------------------------------------------------------------------------------------------------------- hand-over */

static bool can_succeed(const struct rep *r, const struct peer *p)
{
	const char *why;

	for (uint32_t i = 0; i < r->view.n_drained; i++)
		if (strcmp(r->view.drained[i], p->name) == 0)
			return false;
	return p->join == JOIN_JOINED && peer_is_member(r, p) && p->lease && !rep_peer_absent(r, p, p->incarnation, &why);
}

/* The first in rank order among those who have most. */
static const struct peer *choose_successor(const struct rep *r)
{
	const struct peer *best = NULL;

	for (uint32_t i = 0; i < r->cfg.n_members; i++) {
		const struct peer *p = rep_peer_or_nobody(r, r->cfg.members[i].node);

		if (can_succeed(r, p) && (!best || p->matched > best->matched))
			best = p;
	}
	return best;
}

bool rep_has_successor(const struct rep *r)
{
	return choose_successor(r) != NULL;
}

void rep_on_handover(struct rep *r, const struct rep_event *ev)
{
	const char *to = ev->handover.to;
	const struct peer *p = to[0] ? rep_peer_find(r, to) : choose_successor(r);
	const char *failed = NULL;

	if (r->role != REP_ROLE_PRIMARY)
		failed = "this node is not primary";
	else if (r->hand.active)
		failed = "another hand-over is under way";
	else if (!p)
		failed = to[0] ? "no such node" : "no other node is in sync";
	else if (!can_succeed(r, p))
		failed = "the successor is not in sync, is drained, or has no lease";
	if (failed) {
		rep_note(r, REP_NOTE_HANDOVER_FAILED, to, r->epoch, r->end, failed);
		(void)rep_act(r, REP_ACT_RELEASED);
		return;
	}
	r->hand.active = true;
	r->hand.leaving = ev->handover.leaving;
	r->hand.deadline_ns = ev->handover.deadline_ns;
	memcpy(r->hand.to, p->name, sizeof r->hand.to);
	rep_note(r, REP_NOTE_HANDOVER, p->name, r->epoch, r->end, NULL);
}

void rep_handover_end(struct rep *r, const char *failed)
{
	if (!r->hand.active)
		return;
	r->hand.active = false;
	rep_note(r, REP_NOTE_HANDOVER_FAILED, r->hand.to, r->epoch, r->end, failed);
	(void)rep_act(r, REP_ACT_RELEASED);
}

/* A takeover on the successor's behalf: epoch raised, its lease, incarnation and run id, the same guards (A8). */
static void propose_successor(struct rep *r, const struct peer *p)
{
	struct rep_txn t = rep_txn_new(r, REP_TXN_HANDOVER);
	uint32_t n = 0;

	t.insync.epoch = MAX2(r->cfg.epoch, r->want.promise) + 1;
	t.leader = (struct rep_leader){ .present = true, .epoch = t.insync.epoch, .incarnation = p->incarnation,
		.run = p->run, .lease = p->lease };
	memcpy(t.leader.node, p->name, sizeof t.leader.node);
	for (uint32_t i = 0; i < r->view.n_nodes; i++)
		if (strcmp(r->view.nodes[i].node, p->name) == 0)
			memcpy(t.leader.address, r->view.nodes[i].address, sizeof t.leader.address);
	if (r->hand.leaving && r->cfg.n_members > r->cfg.min_insync) {
		for (uint32_t i = 0; i < r->cfg.n_members; i++)
			if (!rep_is_self(r, r->cfg.members[i].node))
				t.insync.members[n++] = r->cfg.members[i];
		t.insync.n_members = n;
	}
	rep_txn_start(r, &t);
}

/*
 * An attempt that went unanswered stays possible. Going on under R1 is harmless: if it takes effect the successor
 * promises the higher epoch and this node commits nothing more. It is ended by rewriting the set with its own value
 * under the same guards (R0a).
 */
static void end_unanswered(struct rep *r)
{
	struct rep_txn t;

	if (!r->txn.active || r->txn.txn.kind != REP_TXN_HANDOVER || r->txn.in_flight)
		return;
	t = rep_txn_new(r, REP_TXN_CHANGE);
	rep_txn_drop(r);
	rep_txn_start(r, &t);
}

void rep_drive_handover(struct rep *r)
{
	const struct peer *p;

	if (!r->hand.active) {
		end_unanswered(r);
		return;
	}
	p = rep_peer_or_nobody(r, r->hand.to);
	if (r->now_ns >= r->hand.deadline_ns || !can_succeed(r, p)) {
		rep_handover_end(r, "the successor did not catch up in time, or etcd did not answer");
		return;
	}
	rep_wake_at(r, r->hand.deadline_ns);
	if (rep_may_propose(r) && (p->matched >= r->end || rep_ends_at_damage(r, p)))
		propose_successor(r, p);
}

/*
 * Being primary.
 *
 *  1. etcd names this process (rep_win): the promise of the new epoch goes to disk (R4), the log stands still.
 *  2. The promise is on disk: primary. LEAD with the log's history to everybody linked.
 *  3. A follower answers JOINED with how far it matches: records stream to it from there on; its ACKs count.
 *  4. A record commits when every member of the maximal set has it durable (R1).
 *  5. Reads are served once the whole log of the takeover is committed (R5a).
 *
 * It ends when etcd or a node names a primary of a newer epoch (R5, R10), by hand-over (R13), or when the process dies.
 */
#include "replica/rep_int.h"

/* -------------------------------------------------------------------------------------------- winning and stepping down */

void rep_win(struct rep *r)
{
	const struct rep_leader *l = &r->view.leader;

	must(l->epoch > r->want.promise);
	rep_unfollow(r);
	r->txn.active = r->txn.in_flight = false; /* whatever was asked for, this is the answer */
	r->epoch = l->epoch;
	rep_set_role(r, REP_ROLE_WINNER);
	r->want.promise = l->epoch;
	r->want.promise_run = r->conf.run;
	r->want.log_epoch = l->epoch; /* a new primary keeps its whole log: it is the truth of this epoch (R6) */
	r->want.log_matched = r->end;
}

static void begin_follower(struct rep *r, struct peer *p)
{
	p->join = JOIN_NONE;
	p->incarnation = p->run = 0;
	p->matched = p->have = p->acked_high = 0;
	p->acked_incarnation = p->damaged_incarnation = 0;
	p->required = false;
	p->round_end = 0;
	p->rejoin_ns = p->backoff_ns = p->removed_ns = 0;
	p->relay[0] = '\0';
	p->fed_by_relay = false;
	p->relay_retry_ns = 0;
	p->heard_ns = p->progress_ns = r->now_ns;
}

void rep_drive_winner(struct rep *r)
{
	if (r->role != REP_ROLE_WINNER || r->cutting || r->meta.promise != r->epoch)
		return;
	rep_set_role(r, REP_ROLE_PRIMARY);
	r->epoch_ns = r->now_ns;
	r->takeover_end = r->end;
	r->log_time_at_ns = r->now_ns;
	r->log_time_base_ns = r->log_time_ns;
	r->serving = r->below_min = false;
	r->beat_ns = 0;
	memset(&r->hand, 0, sizeof r->hand);
	r->suspect = (struct suspicion){ 0 };
	for (uint32_t i = 0; i < r->n_peers; i++)
		begin_follower(r, &r->peers[i]);
	rep_note(r, REP_NOTE_PRIMARY, r->replaced, r->epoch, r->end, NULL);
}

void rep_step_down(struct rep *r, const char *node, leash_epoch epoch)
{
	bool primary = r->role == REP_ROLE_PRIMARY;

	if (!primary && r->role != REP_ROLE_WINNER)
		return;
	for (uint32_t i = 0; i < r->n_peers; i++) {
		if (r->peers[i].join == JOIN_JOINED) {
			struct rep_action *a = rep_act(r, REP_ACT_STOP);

			memcpy(a->node, r->peers[i].name, sizeof a->node);
		}
		r->peers[i].join = JOIN_NONE;
	}
	rep_txn_drop(r); /* another leads: what was proposed in the old epoch has lost its guards */
	rep_set_role(r, REP_ROLE_SECONDARY);
	r->leader_since_ns = r->now_ns;
	if (!primary)
		return;
	if (r->hand.active)
		(void)rep_act(r, REP_ACT_RELEASED);
	memset(&r->hand, 0, sizeof r->hand);
	(void)rep_act(r, REP_ACT_DEMOTED);
	rep_note(r, REP_NOTE_DEPOSED, node, epoch, r->end, NULL);
}

/* --------------------------------------------------------------------------------------------------------- messages */

uint64_t rep_log_time(const struct rep *r)
{
	/* The last record's plus this machine's boottime since (R14): it never jumps and never goes back. */
	return r->log_time_base_ns + (r->now_ns - r->log_time_at_ns);
}

void rep_fill_records(const struct rep *r, const char *node, struct rep_msg *m)
{
	*m = (struct rep_msg){ .type = REP_MSG_RECORDS, .cluster = r->meta.cluster };
	if (r->role != REP_ROLE_PRIMARY) { /* a relay passes on what its primary said */
		m->epoch = r->follow.epoch;
		m->run = r->follow.run;
		m->commit = r->follow.commit;
		m->log_end = r->follow.primary_end;
		m->flags = r->follow.serving ? REP_F_SERVING : 0;
		return;
	}
	m->epoch = r->epoch;
	m->run = r->conf.run;
	m->conn = rep_peer_or_nobody(r, node)->conn;
	m->commit = r->commit;
	m->log_end = r->end;
	m->flags = (r->serving ? REP_F_SERVING : 0) | (r->hand.active ? REP_F_HOLDING : 0);
}

static struct rep_msg *send_as_primary(struct rep *r, struct peer *p, enum rep_msg_type type)
{
	struct rep_msg *m = rep_send(r, p->name, REP_LINK_OUT, type);

	m->epoch = r->epoch;
	m->run = r->conf.run;
	m->conn = p->conn;
	m->commit = r->commit;
	m->log_start = r->start;
	m->log_end = r->end;
	m->flags = (r->serving ? REP_F_SERVING : 0) | (r->hand.active ? REP_F_HOLDING : 0);
	return m;
}

static void send_lead(struct rep *r, struct peer *p)
{
	struct rep_msg *m = send_as_primary(r, p, REP_MSG_LEAD);

	m->history = r->hist.a;
	m->n_history = r->hist.n;
	m->chain = r->base;
	p->join = JOIN_LED;
	p->streamed_ns = r->now_ns;
}

void rep_peer_linked(struct rep *r, struct peer *p)
{
	p->fed_by_relay = false;
	p->relay[0] = '\0';
	if (r->role == REP_ROLE_PRIMARY)
		send_lead(r, p);
}

void rep_stream_from(struct rep *r, struct peer *p, leash_seq seq)
{
	struct rep_action *a = rep_act(r, REP_ACT_STREAM);

	memcpy(a->node, p->name, sizeof a->node);
	a->seq = seq;
	p->streamed_ns = r->now_ns;
}

/* True when @m is from the newest connection to @p in my epoch. */
static bool of_my_epoch(const struct rep *r, const struct peer *p, const struct rep_msg *m)
{
	return r->role == REP_ROLE_PRIMARY && p && p->linked && m->epoch == r->epoch && m->conn == p->conn;
}

/*
 * R11: it had acknowledged more than it says it has, so its disk lost something. Where its log ends before mine begins
 * the two cannot be compared, and what it has counts instead. A member of the set lacks nothing that is committed, and
 * only committed records are ever removed by retention.
 */
static bool reports_less(const struct rep *r, const struct peer *p, const struct rep_msg *m)
{
	leash_seq has = m->log_end < r->start ? m->log_end : m->seq;

	if (m->incarnation == p->acked_incarnation && has < p->acked_high)
		return true;
	return rep_member(&r->cfg, p->name, m->incarnation) && m->seq < MAX2(r->commit, r->start - 1);
}

void rep_on_joined(struct rep *r, const char *from, const struct rep_msg *m)
{
	struct peer *p = rep_peer_find(r, from);

	if (!of_my_epoch(r, p, m) || m->seq > r->end || m->incarnation == 0 || m->sender_run == 0)
		return;
	p->heard_ns = p->progress_ns = r->now_ns;
	p->lease = m->lease;
	if (reports_less(r, p, m)) {
		p->damaged_incarnation = m->incarnation;
		(void)send_as_primary(r, p, REP_MSG_DAMAGED);
		return;
	}
	if (p->incarnation != m->incarnation || p->run != m->sender_run) {
		p->required = false;
		p->round_end = 0;
	}
	p->incarnation = m->incarnation;
	p->run = m->sender_run;
	p->matched = 0;
	p->have = m->seq;
	if (m->seq + 1 < r->start) {
		/* What it lacks is gone here: a fresh copy from the oldest record kept. Never asked of a member: the
		 * set's members have all that was committed, and only committed records are ever dropped. */
		send_as_primary(r, p, REP_MSG_RESET)->chain = r->base;
		return;
	}
	p->join = JOIN_JOINED;
	rep_stream_from(r, p, m->seq + 1);
}

void rep_on_ack(struct rep *r, const char *from, const struct rep_msg *m)
{
	struct peer *p = rep_peer_find(r, from);

	if (!of_my_epoch(r, p, m))
		return;
	p->heard_ns = r->now_ns;
	p->lease = m->lease;
	if (p->join != JOIN_JOINED || m->incarnation != p->incarnation || m->seq > r->end || m->log_end > r->end)
		return;
	if (m->log_end > p->have || m->seq > p->matched || p->have == r->end)
		p->progress_ns = r->now_ns;
	p->have = MAX2(p->have, m->log_end);
	p->matched = MAX2(p->matched, m->seq);
	if (p->acked_incarnation != p->incarnation) {
		p->acked_incarnation = p->incarnation;
		p->acked_high = 0;
	}
	p->acked_high = MAX2(p->acked_high, p->matched);
}

/* ---------------------------------------------------------------------------------------------------------- commit */

static leash_seq member_matched(const struct rep *r, const struct rep_member *m)
{
	const struct peer *p;

	if (rep_is_self(r, m->node))
		return m->incarnation == r->meta.incarnation ? r->durable : 0;
	p = rep_peer_or_nobody(r, m->node);
	return p->join == JOIN_JOINED && p->incarnation == m->incarnation ? p->matched : 0;
}

/*
 * R1: what every member of the maximal set has: the set in etcd, the one proposed and not known to have failed, and
 * whoever is required before it is proposed (Kafka's maximal ISR, PacificA 2.3).
 */
static leash_seq committed(const struct rep *r)
{
	leash_seq s = r->durable;

	if (r->cfg.n_members < r->cfg.min_insync)
		return 0;
	for (uint32_t i = 0; i < r->cfg.n_members; i++)
		s = MIN2(s, member_matched(r, &r->cfg.members[i]));
	if (r->txn.active)
		for (uint32_t i = 0; i < r->txn.txn.insync.n_members; i++)
			s = MIN2(s, member_matched(r, &r->txn.txn.insync.members[i]));
	for (uint32_t i = 0; i < r->n_peers; i++)
		if (r->peers[i].required)
			s = MIN2(s, r->peers[i].matched);
	return s;
}

static void drive_commit(struct rep *r)
{
	rep_set_commit(r, committed(r));
	if (!r->serving && r->commit >= r->takeover_end && r->cfg.n_members >= r->cfg.min_insync) {
		r->serving = true;
		r->beat_ns = 0; /* tell the followers at once */
	}
}

/* ----------------------------------------------------------------------------------------------------------- upkeep */

static void drive_beats(struct rep *r)
{
	if (r->beat_ns && r->now_ns < r->beat_ns + r->conf.heartbeat_ns) {
		rep_wake_at(r, r->beat_ns + r->conf.heartbeat_ns);
		return;
	}
	r->beat_ns = r->now_ns;
	rep_wake_at(r, r->beat_ns + r->conf.heartbeat_ns);
	for (uint32_t i = 0; i < r->n_peers; i++) {
		struct peer *p = &r->peers[i];

		if (!p->linked)
			continue;
		if (p->join == JOIN_NONE ||
			(p->join == JOIN_LED && r->now_ns - p->streamed_ns > r->conf.failure_timeout_ns))
			send_lead(r, p);
		else
			send_as_primary(r, p, REP_MSG_BEAT)->log_time_ns = rep_log_time(r);
	}
}

/* A follower that makes no progress although records are out: send again from where it stands. */
static void drive_stalled(struct rep *r)
{
	for (uint32_t i = 0; i < r->n_peers; i++) {
		struct peer *p = &r->peers[i];

		if (p->join != JOIN_JOINED || p->have >= r->end)
			continue;
		if (r->now_ns - MAX2(p->streamed_ns, p->progress_ns) > r->conf.failure_timeout_ns / 2) {
			if (p->have + 1 < r->start)
				send_lead(r, p); /* retention was faster: it needs a fresh copy */
			else if (p->fed_by_relay)
				rep_unchain(r, p); /* a broken chain falls back to star */
			else
				rep_stream_from(r, p, p->have + 1);
		}
	}
}

/* R3a, R10: the key is gone or hangs on a lease that is not mine any more: put it back in the same epoch. */
static void drive_confirm(struct rep *r)
{
	const struct rep_leader *l = &r->view.leader;
	struct rep_txn t;

	if (!rep_may_propose(r) || r->lease == 0)
		return;
	if (l->present && (l->run != r->conf.run || l->lease == r->lease))
		return;
	if (!l->present)
		rep_note(r, REP_NOTE_LEASE_LOST, NULL, r->epoch, r->end, NULL);
	t = rep_txn_new(r, REP_TXN_CONFIRM);
	t.leader = (struct rep_leader){ .present = true, .epoch = r->epoch, .incarnation = r->meta.incarnation,
		.run = r->conf.run, .lease = r->lease };
	memcpy(t.leader.node, r->conf.node, sizeof t.leader.node);
	memcpy(t.leader.address, r->conf.address, sizeof t.leader.address);
	rep_txn_start(r, &t);
}

void rep_drive_primary(struct rep *r)
{
	if (r->role != REP_ROLE_PRIMARY)
		return;
	drive_confirm(r);
	rep_drive_insync(r);
	rep_drive_handover(r);
	rep_drive_chain(r);
	drive_stalled(r);
	drive_commit(r);
	drive_beats(r);
}

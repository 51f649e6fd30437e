/*
 * Being secondary.
 *
 *  1. LEAD of an epoch at least as high as the promise: the promise goes to disk first (R4).
 *  2. The two histories are compared (R6): cut where the primary has a record of another epoch at that very position,
 *     and nowhere else; a merely longer log stays, unacknowledged.
 *  3. JOINED says how far the logs match; records stream from there on.
 *  4. What is on disk is acknowledged, no further than what the primary sent or named in this epoch, and it counts
 *     only once the disk also knows that this log has everything its primary had (the log epoch, R9).
 *
 * Only the newest connection of the newest epoch is listened to (A6).
 */
#include "replica/rep_int.h"

void rep_unfollow(struct rep *r)
{
	if (r->follow.relay_to[0]) {
		struct rep_action *a = rep_act(r, REP_ACT_STOP);

		memcpy(a->node, r->follow.relay_to, sizeof a->node);
		r->follow.relay_to[0] = '\0';
	}
	r->follow.active = r->follow.pending = false;
	r->follow.serving = false;
}

bool rep_follows_now(const struct rep *r)
{
	return r->role == REP_ROLE_SECONDARY || r->role == REP_ROLE_CANDIDATE;
}

/* R5: an older epoch is answered with the name of the newer. */
static void refuse(struct rep *r, const char *to, enum rep_link link)
{
	struct rep_msg *m = rep_send(r, to, link, REP_MSG_REFUSE);
	const char *newer = r->want.promise_run == r->conf.run ? r->conf.node : r->follow.node;

	m->epoch = r->want.promise;
	m->run = r->want.promise_run;
	memcpy(m->node, newer, strlen(newer) + 1);
}

/* ------------------------------------------------------------------------------------------------- acknowledgement */

/* Durable, and the same as the primary's. */
static leash_seq have(const struct rep *r)
{
	return MIN2(r->durable, r->follow.matched);
}

static struct rep_msg *answer_primary(struct rep *r, enum rep_msg_type type)
{
	struct rep_msg *m = rep_send(r, r->follow.node, REP_LINK_IN, type);

	m->epoch = r->follow.epoch;
	m->run = r->follow.run;
	m->conn = r->follow.conn;
	m->incarnation = r->meta.incarnation;
	m->sender_run = r->conf.run;
	m->log_epoch = r->meta.log_epoch;
	m->lease = r->lease;
	return m;
}

/* R9: from now on this log has everything its primary had when it took this epoch, durably. */
static void note_log_epoch(struct rep *r)
{
	if (r->want.log_epoch >= r->follow.epoch || have(r) < r->follow.lead_end)
		return;
	r->want.log_epoch = r->follow.epoch;
	r->want.log_matched = r->follow.matched;
}

void rep_follow_ack(struct rep *r)
{
	struct rep_msg *m;

	if (!r->follow.active || r->cutting)
		return;
	note_log_epoch(r);
	m = answer_primary(r, REP_MSG_ACK);
	m->seq = r->meta.log_epoch >= r->follow.epoch ? have(r) : 0;
	m->log_end = have(r);
}

static void send_joined(struct rep *r)
{
	struct rep_msg *m = answer_primary(r, REP_MSG_JOINED);

	m->seq = have(r);
	m->log_start = r->start;
	m->log_end = r->end;
	m->commit = r->commit;
	rep_follow_ack(r);
}

/* R5a: no more than what the primary committed and what matched it in this epoch and this process life. */
static void heard_commit(struct rep *r, const struct rep_msg *m)
{
	struct follow *f = &r->follow;
	leash_seq commit = MIN2(m->commit, f->matched);

	f->commit = MAX2(f->commit, m->commit);
	f->primary_end = MAX2(f->primary_end, m->log_end);
	f->serving = m->flags & REP_F_SERVING;
	if (commit > r->commit || m->commit == m->log_end)
		f->moved_ns = r->now_ns;
	rep_set_commit(r, commit);
}

/* ----------------------------------------------------------------------------------------------------------- joining */

void rep_on_lead(struct rep *r, const char *from, enum rep_link link, const struct rep_msg *m)
{
	struct follow *f = &r->follow;

	if (link != REP_LINK_IN || (r->want.cluster && m->cluster != r->want.cluster) || m->cluster == 0)
		return;
	if (m->epoch < r->want.promise) {
		refuse(r, from, link);
		return;
	}
	if (m->epoch == r->want.promise && m->run != r->want.promise_run) {
		rep_halt(r, "an epoch seen before has another owner (restored from a backup?)");
		return;
	}
	if (m->run == r->conf.run || (f->epoch == m->epoch && m->conn < f->conn))
		return; /* my own voice, or an older connection */
	if (history_set(&f->lead, m->history, m->n_history))
		return;
	rep_step_down(r, from, m->epoch);
	rep_unfollow(r);
	if (f->epoch != m->epoch)
		f->commit = f->primary_end = 0;
	f->pending = true;
	f->counted = false;
	memset(f->node, 0, sizeof f->node);
	memcpy(f->node, from, strnlen(from, LEASH_NAME_MAX));
	f->epoch = m->epoch;
	f->run = m->run;
	f->conn = m->conn;
	f->lead_start = m->log_start;
	f->lead_end = m->log_end;
	f->heard_ns = f->moved_ns = r->now_ns;
	r->want.cluster = m->cluster;
	r->want.promise = m->epoch;
	r->want.promise_run = m->run;
}

/*
 * Below the commit index nothing is cut. Only `leash recover` can choose a log that lacks committed records; then what
 * this process knows to be committed is of no worth any more. It ends and begins anew: readers, dedup table and
 * waiting clients all rest on that knowledge.
 */
static void refuse_cut(struct rep *r, leash_seq seq)
{
	r->refused_cut = r->follow.epoch;
	if (r->recovered_commit == r->commit)
		rep_note(r, REP_NOTE_OVERRULED, r->follow.node, r->follow.epoch, seq + 1, NULL);
	else
		rep_note(r, REP_NOTE_VIOLATION, r->follow.node, r->follow.epoch, seq + 1,
			"the primary would have this node cut committed records; not followed");
	rep_unfollow(r);
}

/* R6. The caller has seen a record of another epoch in the primary's log right behind @seq. */
static bool cut_behind(struct rep *r, leash_seq seq)
{
	if (seq < r->commit) {
		refuse_cut(r, seq);
		return false;
	}
	rep_note(r, REP_NOTE_CUT, r->follow.node, r->follow.epoch, seq + 1, NULL);
	rep_act(r, REP_ACT_TRUNCATE)->seq = seq;
	history_cut(&r->hist, seq);
	dedup_cut(r->dedup, seq);
	r->end = seq;
	r->durable = MIN2(r->durable, seq);
	r->cutting = true;
	return true;
}

static void join(struct rep *r)
{
	struct follow *f = &r->follow;
	struct history_log own = { &r->hist, r->start, r->end }, lead = { &f->lead, f->lead_start, f->lead_end };
	leash_seq match = history_match(&own, &lead);

	if (match < r->end && match < f->lead_end && match + 1 >= f->lead_start) {
		(void)cut_behind(r, match); /* REP_EV_CUT brings us back here; a violation does not */
		return;
	}
	f->matched = match;
	f->active = true;
	f->pending = false;
	if (r->role == REP_ROLE_SECONDARY && r->suspect.why == NULL)
		r->suspect.noted_ns = 0;
	rep_note(r, REP_NOTE_FOLLOWING, f->node, f->epoch, match, NULL);
	send_joined(r);
}

/* With its owner, of whom there is one, and with the cluster id, which was wanted no later. */
static bool promise_on_disk(const struct rep *r)
{
	return r->meta.promise == r->follow.epoch;
}

void rep_drive_follow(struct rep *r)
{
	struct follow *f = &r->follow;

	if (!rep_follows_now(r) || r->cutting)
		return;
	if (f->pending && promise_on_disk(r))
		join(r);
	if (f->active && r->full_ns && r->now_ns - r->full_ns > r->conf.failure_timeout_ns) {
		r->full_ns = 0; /* perhaps there is room again: ask for what was dropped */
		send_joined(r);
	}
	if (f->active && r->want.log_epoch == f->epoch && r->meta.log_epoch == f->epoch && !f->counted) {
		f->counted = true; /* the log epoch has reached the disk: from now on what I have counts */
		rep_follow_ack(r);
	}
}

/* ----------------------------------------------------------------------------------------------------------- records */

/* From my primary, in my epoch, on its newest connection? A relay of the chain speaks for it in RECORDS only. */
bool rep_from_primary(const struct rep *r, const char *from, enum rep_link link, const struct rep_msg *m)
{
	return link == REP_LINK_IN && strcmp(from, r->follow.node) == 0 && m->epoch == r->follow.epoch &&
	       m->run == r->follow.run && m->conn == r->follow.conn;
}

static bool relayed(const struct rep *r, const char *from, const struct rep_msg *m)
{
	return m->conn == 0 && strcmp(from, r->follow.node) != 0 && m->epoch == r->follow.epoch &&
	       m->run == r->follow.run;
}

enum fate { FATE_SKIP, FATE_TAKE, FATE_CUT, FATE_GAP };

/* What becomes of one record that the primary sent. */
static enum fate fate_of(const struct rep *r, const struct rep_rec *rec)
{
	leash_seq first;

	if (rec->epoch == 0 || rec->epoch > r->follow.epoch)
		return FATE_GAP;
	if (rec->seq <= r->follow.matched)
		return FATE_SKIP;
	if (rec->seq != r->follow.matched + 1)
		return FATE_GAP;
	if (rec->seq <= r->end)
		return history_at(&r->hist, rec->seq, &first) == rec->epoch ? FATE_SKIP : FATE_CUT;
	return rec->epoch >= history_last(&r->hist) ? FATE_TAKE : FATE_GAP;
}

static void take_records(struct rep *r, const struct rep_msg *m)
{
	struct rep_action *a = NULL;

	for (uint32_t i = 0; i < m->n_recs; i++) {
		const struct rep_rec *rec = &m->recs[i];

		switch (fate_of(r, rec)) {
		case FATE_SKIP:
			r->follow.matched = MAX2(r->follow.matched, rec->seq);
			break;
		case FATE_TAKE:
			if (!a) {
				a = rep_act(r, REP_ACT_ACCEPT);
				a->first = i;
			}
			a->count++;
			rep_log_append(r, rec);
			r->follow.matched = rec->seq;
			break;
		case FATE_CUT:
			(void)cut_behind(r, rec->seq - 1);
			return;
		case FATE_GAP:
			return; /* the primary sends again from where I stand */
		}
	}
}

void rep_on_records(struct rep *r, const char *from, enum rep_link link, const struct rep_msg *m)
{
	if (m->epoch < r->want.promise) {
		if (m->conn != 0)
			refuse(r, from, link);
		return;
	}
	if (!r->follow.active || r->cutting)
		return;
	if (rep_from_primary(r, from, link, m))
		r->follow.heard_ns = r->now_ns;
	else if (!relayed(r, from, m))
		return;
	take_records(r, m);
	if (r->cutting || !r->follow.active)
		return;
	heard_commit(r, m);
	if (have(r) == r->follow.matched)
		rep_follow_ack(r); /* nothing new to wait for */
}

void rep_on_beat(struct rep *r, const char *from, enum rep_link link, const struct rep_msg *m)
{
	if (m->epoch < r->want.promise) {
		refuse(r, from, link);
		return;
	}
	if (!rep_from_primary(r, from, link, m)) /* of my promise, as just seen, so I lead nothing */
		return;
	r->follow.heard_ns = r->now_ns;
	if (!r->follow.active)
		return;
	heard_commit(r, m);
	rep_follow_ack(r);
}

void rep_on_refuse(struct rep *r, const char *from, const struct rep_msg *m)
{
	(void)from;
	if (m->epoch <= r->epoch || (r->role != REP_ROLE_PRIMARY && r->role != REP_ROLE_WINNER))
		return;
	rep_step_down(r, m->node, m->epoch);
	(void)rep_act(r, REP_ACT_READ);
}

/* ----------------------------------------------------------------------------------------- cuts, resets, full disks */

void rep_on_reset(struct rep *r, const char *from, const struct rep_msg *m)
{
	struct follow *f = &r->follow;
	struct rep_action *a;

	if (!f->active || r->cutting || !rep_from_primary(r, from, REP_LINK_IN, m) || m->log_start <= f->matched + 1)
		return;
	rep_note(r, REP_NOTE_RESET, f->node, f->epoch, m->log_start, NULL);
	a = rep_act(r, REP_ACT_RESET);
	a->seq = m->log_start;
	a->chain = m->chain;
	history_cut(&r->hist, 0);
	dedup_reset(r->dedup, m->log_start);
	r->start = m->log_start;
	r->end = r->durable = f->matched = m->log_start - 1;
	r->commit = MIN2(r->commit, r->end); /* higher where damage was set aside: who is somebody new has shown what it lacks now */
	r->base = m->chain;
	r->cutting = true;
}

void rep_on_cut(struct rep *r, leash_seq seq)
{
	must(r->cutting && seq == r->end);
	r->cutting = false;
	r->durable = seq;
	if (r->follow.active)
		send_joined(r);
}

void rep_on_full(struct rep *r, leash_seq seq)
{
	must(seq < r->end);
	/* A primary appends only into space it has already; should that fail, another must go on. During a cut: what was
	 * to stay below it found no room either, and REP_EV_CUT will say so. */
	rep_step_down(r, "", 0);
	history_cut(&r->hist, seq);
	dedup_cut(r->dedup, seq);
	r->end = seq;
	r->durable = MIN2(r->durable, seq);
	r->follow.matched = MIN2(r->follow.matched, seq);
	r->commit = MIN2(r->commit, seq); /* a follower's may be ahead of its own disk */
	r->full_ns = r->now_ns;
}

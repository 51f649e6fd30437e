/*
 * A damaged log of one's own (R11) that could not be repaired in place (src/node/repair.h), found by the scrub, by a
 * reader, or by the primary's verdict.
 *
 *  1. Secondary that hears its primary: the damage is set aside (REP_ACT_DAMAGED). From that moment on nothing is
 *     acknowledged, appended or led, for what the log will hold afterwards is not known yet. While nobody leads it
 *     waits: it may be the only one that can, and what is damaged it has acknowledged, not lost by a verdict.
 *  2. REP_EV_INCARNATION: the log ends before the damage, and this node is somebody new who joins and copies the rest.
 *     Under its old incarnation it was a member; under the new one it is none until it has everything (R2, R8).
 *  3. Primary: hands over first (R13). Until that succeeds it serves what is good; it tries again, ever more rarely. A
 *     successor that lacks a rotten record and what follows it cannot get more: they are not committed, for it is a
 *     member and would have them, and so it may lead without them. That holds wherever among the rotten ones it ends: it
 *     may have the first of them.
 *
 * What was committed may be lost from this disk, so the commit index known here goes back with the log's end. The
 * dedup table undoes the records; those that it had evicted before are too old to matter by the time that this node
 * has caught up again.
 */
#include "replica/rep_int.h"

/* Appends are held during an attempt to hand over: it is short, and attempts grow rare. */
#define DAMAGE_HANDOVER_NS  (3 * UINT64_C(1000000000))
#define DAMAGE_RETRY_MIN_NS (10 * UINT64_C(1000000000))
#define DAMAGE_RETRY_MAX_NS (600 * UINT64_C(1000000000))
#define DAMAGE_NOTE_NS      (60 * UINT64_C(1000000000)) /* how often it is said that nobody can take over */

static void note_range(struct rep *r, leash_seq first, leash_seq last)
{
	r->damage.first = r->damage.known ? MIN2(r->damage.first, first) : first;
	r->damage.last = r->damage.known ? MAX2(r->damage.last, last) : last;
	r->damage.known = true;
}

void rep_on_damage(struct rep *r, leash_seq first, leash_seq last)
{
	if (first > r->end || (r->damage.aside && first >= r->damage.first))
		return; /* cut off meanwhile, or on its way out */
	note_range(r, first, last);
}

void rep_on_mended(struct rep *r, leash_seq first, leash_seq last)
{
	if (r->damage.known && !r->damage.verdict && r->damage.first >= first && r->damage.first <= last)
		r->damage.known = false; /* what else there may be is found again */
}

/* The primary's verdict: this node has less than it acknowledged, wherever that went. */
void rep_on_damaged(struct rep *r, const char *from, const struct rep_msg *m)
{
	if (!r->follow.active || !rep_from_primary(r, from, REP_LINK_IN, m))
		return; /* who follows nobody, or sets damage aside, is told again when it joins */
	rep_note(r, REP_NOTE_DAMAGED, from, m->epoch, r->end, NULL);
	rep_unfollow(r);
	note_range(r, r->end + 1, r->end + 1);
	r->damage.verdict = true;
}

static void set_aside(struct rep *r)
{
	rep_unfollow(r);
	r->want.log_epoch = r->want.log_matched = 0; /* no write that is still to come may bring them back (R9) */
	r->damage.known = r->damage.verdict = false;
	r->damage.aside = r->cutting = true;
	(void)rep_act(r, REP_ACT_DAMAGED);
}

bool rep_ends_at_damage(const struct rep *r, const struct peer *p)
{
	return r->damage.known && p->have + 1 >= r->damage.first && p->have < r->damage.last;
}

static void hand_over(struct rep *r)
{
	struct rep_event ev = { .kind = REP_EV_HANDOVER, .now_ns = r->now_ns,
		.handover = { .to = "", .deadline_ns = r->now_ns + DAMAGE_HANDOVER_NS } };

	if (r->hand.active || !rep_may_propose(r))
		return; /* it moves the lead as well, or something stands in the way for now */
	if (!rep_has_successor(r)) {
		if (r->now_ns >= r->damage.note_ns) {
			r->damage.note_ns = r->now_ns + DAMAGE_NOTE_NS;
			rep_note(r, REP_NOTE_HANDOVER_FAILED, NULL, r->epoch, r->end,
				"this node's log is damaged, but no other node is in sync: it goes on with what is good");
		}
		return; /* who joins is an event */
	}
	if (r->now_ns >= r->damage.retry_ns) {
		r->damage.gap_ns = MIN2(MAX2(2 * r->damage.gap_ns, DAMAGE_RETRY_MIN_NS), DAMAGE_RETRY_MAX_NS);
		r->damage.retry_ns = r->now_ns + r->damage.gap_ns;
		rep_on_handover(r, &ev);
	}
	rep_wake_at(r, r->damage.retry_ns);
}

static bool hears_primary(const struct rep *r)
{
	return r->follow.epoch && r->now_ns - r->follow.heard_ns <= r->conf.failure_timeout_ns;
}

void rep_drive_damage(struct rep *r)
{
	if (!r->damage.known || r->cutting)
		return;
	switch (r->role) {
	case REP_ROLE_SECONDARY:
	case REP_ROLE_CANDIDATE:
		if (r->damage.verdict || hears_primary(r))
			set_aside(r);
		break;
	case REP_ROLE_PRIMARY: hand_over(r); break;
	case REP_ROLE_WINNER: /* primary in a moment */
	case REP_ROLE_HALTED: break;
	}
}

static void cut_to(struct rep *r, leash_seq end)
{
	history_cut(&r->hist, end);
	dedup_cut(r->dedup, end);
	r->end = end;
	r->durable = MIN2(r->durable, end);
	r->commit = MIN2(r->commit, end);
	if (r->start > end + 1) { /* nothing is left: an empty log that starts at 1 */
		r->start = end + 1;
		r->base = (struct leash_chain){ 0 };
	}
}

void rep_on_incarnation(struct rep *r, leash_id incarnation, leash_seq end)
{
	r->damage.aside = r->cutting = false;
	r->damage.retry_ns = r->damage.gap_ns = r->damage.note_ns = 0;
	r->meta.incarnation = r->want.incarnation = r->flying.incarnation = incarnation;
	/* Whatever this log once matched, it does not any more: `leash recover` must not choose it for that (R9). */
	r->meta.log_epoch = r->want.log_epoch = 0;
	r->meta.log_matched = r->want.log_matched = 0;
	if (r->meta_ticket) {
		r->meta_ticket = 0; /* what is being written still says so: its answer is of no use, write again */
		r->meta_again = true;
	}
	if (end < r->end)
		cut_to(r, end);
	r->durable = r->end; /* what is left is on disk; where that was said while the log was on its way there, it was not heard */
	if (r->damage.known && r->damage.first > r->end)
		r->damage.known = false;
	r->announced_dirty = true;
	r->follow.counted = false;
	r->follow.pending = rep_follows_now(r); /* join again, as somebody new */
}

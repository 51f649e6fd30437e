/*
 * One step: what came in is entered into the driver's account, handed to the state machine, and all that it asks for is
 * done. What comes in meanwhile (io calls back from inside) waits until then.
 */
#include "node/drv_int.h"

/* ----------------------------------------------------------------------------------------------------------- actions */

static void answer_committed(struct drv *d, leash_seq seq)
{
	struct drv_waiter w;
	struct drv_answer a;

	while (wait_take(&d->wait, seq, &w, &a)) {
		a.epoch = rep_epoch(d->rep);
		d->io.answer(d->io.ctx, &w, &a);
	}
}

static void on_commit(struct drv *d, leash_seq seq)
{
	drv_commit(d, seq);
	drv_mark(d, seq);
	answer_committed(d, seq);
	d->io.committed(d->io.ctx, seq);
}

static void on_demoted(struct drv *d)
{
	struct drv_waiter w;
	struct drv_answer a;

	d->own_from = d->uncommitted_bytes = 0;
	while (wait_take(&d->wait, UINT64_MAX, &w, &a)) {
		a = (struct drv_answer){ .kind = DRV_ANS_LOST, .epoch = rep_epoch(d->rep) };
		d->io.answer(d->io.ctx, &w, &a);
	}
}

static void send(struct drv *d, const struct rep_action *a)
{
	if (a->msg.type == REP_MSG_ACK)
		drv_mark(d, a->msg.seq); /* lags behind the acknowledgement, never leads (R11) */
	d->io.send(d->io.ctx, a->node, a->link, &a->msg);
}

static void perform(struct drv *d, const struct rep_action *a)
{
	switch (a->kind) {
	case REP_ACT_META:
		d->cluster = a->meta.cluster;
		d->io.meta(d->io.ctx, a->ticket, &a->meta);
		break;
	case REP_ACT_SEND: send(d, a); break;
	case REP_ACT_STREAM: stream_start(d, a->node, a->seq); break;
	case REP_ACT_STOP: stream_stop(d, a->node); break;
	case REP_ACT_ACCEPT: drv_accept(d, a->first, a->count); break;
	case REP_ACT_TRUNCATE: drv_truncate(d, a->seq); break;
	case REP_ACT_RESET: drv_reset(d, a->seq, a->chain); break;
	case REP_ACT_TXN: d->io.txn(d->io.ctx, &a->txn); break;
	case REP_ACT_READ: d->io.read(d->io.ctx); break;
	case REP_ACT_PROBE: d->io.probe(d->io.ctx); break;
	case REP_ACT_COMMIT: on_commit(d, a->seq); break;
	case REP_ACT_DEMOTED: on_demoted(d); break;
	case REP_ACT_RELEASED: d->room_wanted = true; break;
	case REP_ACT_DAMAGED: drv_set_aside(d); break;
	case REP_ACT_ANNOUNCE: d->io.announce(d->io.ctx); break;
	case REP_ACT_NOTE:
		d->changed = true; /* whatever is worth a note may show in the status */
		d->io.note(d->io.ctx, &a->note);
		break;
	}
}

/* -------------------------------------------------------------------------------------------------------------- step */

static void step(struct drv *d, const struct drv_input *in)
{
	const struct rep_action *a;
	struct rep_event ev = in->ev;
	struct rep_msg fitting;

	d->now_ns = MAX2(d->now_ns, ev.now_ns);
	if (!drv_log_input(d, in))
		return;
	if (ev.kind == REP_EV_MSG && in->recs) {
		fitting = *ev.msg.msg;
		fitting.n_recs = drv_records_fit(d, &fitting, in->recs);
		ev.msg.msg = &fitting;
		d->recs = in->recs;
		d->n_recs = fitting.n_recs;
	}
	d->changed |= ev.kind == REP_EV_VIEW || ev.kind == REP_EV_TXN;
	rep_step(d->rep, &ev);
	while ((a = rep_action(d->rep)))
		perform(d, a);
	d->recs = NULL;
	d->n_recs = 0;
}

/* Who was told to come again may, when what kept it out is over. */
static void tell_room(struct drv *d, uint32_t flags)
{
	bool primary = rep_role(d->rep) == REP_ROLE_PRIMARY;

	if (d->peers_wait && drv_wants_records(d)) {
		d->peers_wait = false;
		d->io.room(d->io.ctx);
	}
	if (!d->room_wanted)
		return;
	if (primary && ((flags & REP_F_HOLDING) || d->uncommitted_bytes >= d->conf.uncommitted_bytes ||
			       rep_log_end(d->rep) - rep_commit(d->rep) >= d->conf.uncommitted_max))
		return;
	d->room_wanted = false;
	d->io.room(d->io.ctx);
}

static void tell_changed(struct drv *d, uint32_t flags)
{
	if (!d->changed && d->told.role == rep_role(d->rep) && d->told.epoch == rep_epoch(d->rep) &&
		d->told.flags == flags)
		return;
	d->changed = false;
	d->told.role = rep_role(d->rep);
	d->told.epoch = rep_epoch(d->rep);
	d->told.flags = flags;
	d->io.changed(d->io.ctx);
}

/* Retention keeps what deduplication, readers of the window and followers that catch up need (R14, design 6). */
static void retain(struct drv *d)
{
	struct rep_status *s;
	leash_seq keep;

	if (d->now_ns < d->retain_ns)
		return;
	d->retain_ns = d->now_ns + DRV_RETAIN_NS;
	s = malloc(sizeof *s);
	if (!s)
		return; /* another time */
	rep_status(d->rep, d->now_ns, s);
	keep = MIN2(MIN2(s->dedup_keep_from, s->commit + 1), stream_lowest(d));
	for (uint32_t i = 0; i < s->n_peers; i++)
		if (s->peers[i].joined)
			keep = MIN2(keep, s->peers[i].matched + 1);
	free(s);
	d->io.retain(d->io.ctx, keep);
}

void drv_feed(struct drv *d, const struct drv_input *in)
{
	struct drv_deferred *f;
	struct rep_msg head;

	if (d->stepping) {
		drv_defer(d, in);
		return;
	}
	d->stepping = true;
	step(d, in);
	retain(d);
	while ((f = drv_deferred_take(d))) {
		step(d, &f->in);
		drv_deferred_free(f);
	}
	d->stepping = false;
	rep_fill_records(d->rep, "", &head);
	tell_changed(d, head.flags);
	tell_room(d, head.flags);
}

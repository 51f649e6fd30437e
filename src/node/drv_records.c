/*
 * Records from a primary (or a relay that speaks for it). Before the state machine sees a message, everything in it
 * that could not be appended is taken away: it counts what it takes as part of the log at once.
 *
 * That the chain closes from record to record has been seen already (peer_replica_decode()). Where the message meets this
 * log's end, it must close with the driver's own chain. When it does not, and the record at the end itself is of another
 * epoch, that is a conflict: R6 cuts. When it begins behind the end with another epoch, the end may be in conflict. Else it
 * is damage, here or there.
 */
#include "node/drv_int.h"

/* Does @rec, at this log's end, say that this log is another one by right (R6)? */
static bool conflict(const struct drv *d, const struct drv_rec *rec)
{
	leash_epoch mine = rep_last_epoch(d->rep);

	return mine && rec->h.epoch != mine;
}

/* Only what the primary of now says means anything: a former one may still send what is true in its own log only. */
static void note_damage(struct drv *d, const struct rep_msg *m, leash_seq seq)
{
	struct rep_note note = { .kind = REP_NOTE_VIOLATION, .epoch = m->epoch, .seq = seq,
		.text = "records do not continue this log although epoch and position fit: damage, here or at the "
			"sender; not taken" };

	if (m->epoch != rep_epoch(d->rep))
		return;
	d->io.note(d->io.ctx, &note);
}

uint32_t drv_records_fit(struct drv *d, const struct rep_msg *m, struct drv_rec *const *recs)
{
	uint32_t n = m->n_recs;
	leash_seq first = recs[0]->h.seq;

	if (d->cutting || first > d->end + 1 || first + n - 1 < d->end)
		return n; /* does not meet the end: the state machine takes nothing of it */
	if (first == d->end + 1) {
		if (rec_chain_follows(&recs[0]->h, d->chain))
			return n;
		/* What this log ends with may be an old tail that does not match: the record before, still to come, tells. */
		if (rep_last_epoch(d->rep) == recs[0]->h.epoch)
			note_damage(d, m, first);
		return 0;
	}
	if (conflict(d, recs[d->end - first]) || leash_chain_eq(recs[d->end - first]->h.chain, d->chain))
		return n;
	note_damage(d, m, d->end);
	return (uint32_t)(d->end - first);
}

void drv_accept(struct drv *d, uint32_t first, uint32_t count)
{
	must(d->recs && count > 0 && first < d->n_recs && count <= d->n_recs - first);
	must(rec_chain_follows(&d->recs[first]->h, d->chain));
	drv_recs_ref(d->recs + first, count);
	for (uint32_t i = first; i < first + count; i++)
		drv_append(d, d->recs[i]);
}

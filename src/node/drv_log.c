/*
 * The driver's account of its log: what was accepted (end), what io->append has (handed), what is durable, and the
 * chain at the end. It follows the state machine's account step by step.
 */
#include "node/drv_int.h"

/* What records @from..@to take of the log. */
static uint64_t log_bytes(const struct drv *d, leash_seq from, leash_seq to)
{
	return cache_upto(&d->cache, to) - cache_upto(&d->cache, from - 1) + (to + 1 - from) * DRV_RECORD_OVERHEAD;
}

void drv_append(struct drv *d, struct drv_rec *rec)
{
	must(rec->h.seq == d->end + 1 && !d->cutting);
	cache_push(&d->cache, rec);
	d->end = rec->h.seq;
	d->chain = rec->h.chain;
	d->backlog_bytes += drv_rec_size(rec) + DRV_RECORD_OVERHEAD;
}

/* Everything accepted and not yet with io->append. io may call back from inside: the account comes first. */
void drv_hand_over(struct drv *d)
{
	struct drv_rec *recs[DRV_APPEND_MAX];

	while (d->handed < d->end) {
		size_t n = 0;

		while (d->handed < d->end && n < ARRAY_SIZE(recs)) {
			struct drv_rec *rec = cache_get(&d->cache, ++d->handed);

			must(rec); /* what is not durable is in the cache */
			recs[n++] = rec;
		}
		d->io.append(d->io.ctx, recs, n);
	}
}

void drv_trim_cache(struct drv *d)
{
	leash_seq floor = d->own_from ? MIN2(d->durable, d->own_from - 1) : d->durable;

	cache_evict(&d->cache, d->conf.cache_bytes, floor);
}

void drv_commit(struct drv *d, leash_seq seq)
{
	seq = MIN2(seq, d->end);
	if (d->own_from && d->own_from <= seq) {
		d->uncommitted_bytes -= cache_upto(&d->cache, seq) - cache_upto(&d->cache, d->own_from - 1);
		d->own_from = seq + 1;
	}
	drv_trim_cache(d);
}

void drv_mark(struct drv *d, leash_seq seq)
{
	seq = MIN2(seq, d->durable);
	if (seq <= d->marked || d->cutting)
		return;
	d->marked = seq;
	d->io.mark(d->io.ctx, seq);
}

/* ------------------------------------------------------------------------------------------------------------- cuts */

/* The log ends at @end now. */
static void ends_at(struct drv *d, leash_seq end)
{
	cache_cut(&d->cache, end);
	d->end = end;
	d->handed = MIN2(d->handed, end);
	d->durable = MIN2(d->durable, end);
	d->marked = MIN2(d->marked, end);
	d->backlog_bytes = log_bytes(d, d->durable + 1, end);
	stream_cut(d);
}

void drv_truncate(struct drv *d, leash_seq seq)
{
	drv_hand_over(d); /* what is cut is kept in a side file, and so it must be in the log first */
	ends_at(d, seq);
	d->cutting = true;
	d->io.truncate(d->io.ctx, seq);
}

void drv_reset(struct drv *d, leash_seq start, struct leash_chain base)
{
	drv_hand_over(d);
	ends_at(d, MIN2(start - 1, d->end));
	cache_reset(&d->cache, start - 1);
	d->end = d->handed = d->durable = start - 1;
	d->marked = d->backlog_bytes = 0;
	d->cutting = d->resetting = true;
	d->io.reset(d->io.ctx, start, base);
}

/* R11: what was accepted is in the log before its damage is set aside; where it ends then comes back. */
void drv_set_aside(struct drv *d)
{
	drv_hand_over(d);
	d->cutting = true;
	d->io.set_aside(d->io.ctx);
}

/* ----------------------------------------------------------------------------------------------- what the log says */

static bool on_durable(struct drv *d, leash_seq seq)
{
	if (d->cutting || seq <= d->durable)
		return false; /* of before the cut */
	seq = MIN2(seq, d->handed);
	d->backlog_bytes -= log_bytes(d, d->durable + 1, seq);
	d->durable = seq;
	drv_trim_cache(d);
	return true;
}

static bool on_cut(struct drv *d, leash_seq seq, struct leash_chain chain)
{
	if (!d->cutting || seq != d->end)
		return false; /* a second cut is under way; its answer comes */
	d->cutting = d->resetting = false;
	d->handed = d->durable = seq;
	d->backlog_bytes = 0;
	d->chain = chain;
	return true;
}

static bool on_end(struct drv *d, leash_seq end, struct leash_chain chain)
{
	if (d->resetting || end >= d->end)
		return false; /* cut lower already */
	ends_at(d, end);
	d->chain = chain;
	return true;
}

static void on_set_aside(struct drv *d, leash_seq end, struct leash_chain chain)
{
	must(d->cutting && end <= d->end); /* nothing was accepted meanwhile */
	ends_at(d, end);
	d->cutting = false;
	d->handed = d->durable = end;
	d->backlog_bytes = 0;
	d->chain = chain;
}

bool drv_log_input(struct drv *d, const struct drv_input *in)
{
	switch (in->ev.kind) {
	case REP_EV_DURABLE: return on_durable(d, in->ev.seq);
	case REP_EV_CUT: return on_cut(d, in->ev.seq, in->chain);
	case REP_EV_FULL: return on_end(d, in->ev.seq, in->chain);
	case REP_EV_INCARNATION: on_set_aside(d, in->ev.incarnation.end, in->chain); break;
	case REP_EV_TICK:
	case REP_EV_VIEW:
	case REP_EV_TXN:
	case REP_EV_LEASE:
	case REP_EV_LINK:
	case REP_EV_MSG:
	case REP_EV_META:
	case REP_EV_TRIMMED:
	case REP_EV_DAMAGE:
	case REP_EV_MENDED:
	case REP_EV_HANDOVER: break;
	}
	return true;
}

#include "log/rlog_int.h"

#include <errno.h>

/*
 * The entries of segment @i: those of the active one, and of one whose digest is being written, are in memory, the others in
 * digests. What is missing, not whole
 * or of another seed is made from the records. *ret_own is to be freed.
 */
static int entries_get(struct rlog *l, size_t i, uint8_t **ret_own, const uint8_t **ret_entries)
{
	_cleanup_(buf_deinit) struct buf made = BUF_NULL;
	_cleanup_(freep) struct rep_stretch *stretches = NULL;
	const struct rlog_seg *seg = &l->segs[i];
	struct rlog_dig d;
	int r;

	if (i + 1 == l->n_segs) {
		*ret_entries = buf_head(&l->entries);
		return 0;
	}
	if (l->late.file.fd >= 0 && l->late.dig.first == seg->first) {
		*ret_entries = buf_head(&l->late.entries);
		return 0;
	}
	r = rlog_dig_read(l->ops, l->conf.dir, seg->first, &d, &stretches);
	if (r == 0 && (d.seed != l->conf.digest_seed || d.nonce != seg->nonce || d.last != seg->last ||
			      !leash_chain_eq(d.chain, seg->chain)))
		r = RLOG_E_DAMAGED;
	if (r == 0)
		r = rlog_dig_read_entries(l->ops, l->conf.dir, &d, ret_own);
	if (r == RLOG_E_DAMAGED) {
		r = rlog_entries_rebuild(l, i, &made);
		if (r == 0)
			r = rlog_digest_put(l, i, &made);
		if (r == 0 || r == RLOG_E_FULL) {
			must(made.start == 0);
			*ret_own = TAKE(made.data);
			r = 0;
		}
	}
	*ret_entries = *ret_own;
	return r;
}

int rlog_identities(struct rlog *l, leash_seq from, bool (*fn)(const struct rep_rec *rec, void *arg), void *arg)
{
	uint32_t h = 0;
	int r;

	if (l->n_damage > 0)
		return RLOG_E_DAMAGED;
	if (from < rlog_start(l))
		return RLOG_E_GONE;
	for (size_t i = 0; i < l->n_segs; i++) {
		const struct rlog_seg *seg = &l->segs[i];
		size_t n = (size_t)(seg->last + 1 - seg->first);
		_cleanup_(freep) uint8_t *own = NULL;
		const uint8_t *entries = NULL;

		if (seg->last < from || n == 0)
			continue;
		r = entries_get(l, i, &own, &entries);
		if (r != 0)
			return r;
		for (leash_seq seq = MAX2(from, seg->first); seq <= seg->last; seq++) {
			struct rep_rec rec;

			while (h + 1 < l->n_history && l->history[h + 1].first <= seq)
				h++;
			rlog_dig_entry(entries, (size_t)(seq - seg->first), n, seg->used_bytes, seq,
				l->n_history ? l->history[h].epoch : 0, &rec);
			if (!fn(&rec, arg))
				return 0;
		}
	}
	return 0;
}

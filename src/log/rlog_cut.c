/*
 * What moves the mark and the ends of the log.
 *
 * A cut (R6), a reset and the setting aside of damage all go the same way, so that a crash at any point leaves either
 * the log before or the log after, and never what looks like damage:
 *
 *  1. what is to be kept of the old state is written elsewhere and synced;
 *  2. the mark is lowered, and the intent written with it (one slot: it is there or it is not), both durable (B3);
 *  3. files go and bytes become zero, in any order, all synced;
 *  4. the intent is cleared.
 *
 * Opening does 3 and 4 again when it finds an intent (rlog_intent_redo()).
 */
#include "log/rlog_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#define KEPT_NAMES 1000 /* of the same cut or the same damage */

/* ---------------------------------------------------------------------------------------------------- the mark */

/* Where the log begins stays as it was, unless @m says otherwise. */
static int marks_put(struct rlog *l, struct rlog_marks m)
{
	int r;

	if (m.start == 0)
		m.start = l->marks.start;
	if (m.start == 0 && l->n_segs > 0)
		m.start = l->segs[0].first;
	m.counter = l->marks.counter + 1;
	r = rlog_marks_store(&l->mark_file, &m);
	if (rlog_is_full(r)) { /* only where an overwrite needs room */
		rlog_reserve_spend(l);
		r = rlog_marks_store(&l->mark_file, &m);
	}
	if (r < 0)
		return rlog_is_full(r) ? RLOG_E_FULL : rlog_latch(l, r);
	l->marks = m;
	l->mark_unknown = false;
	return 0;
}

int rlog_mark(struct rlog *l, leash_seq seq)
{
	if (l->failed)
		return -EIO;
	must(seq <= l->durable);
	if (l->n_damage > 0)
		return RLOG_E_DAMAGED;
	if (seq <= l->marks.mark)
		return 0;
	return marks_put(l, (struct rlog_marks){ .mark = seq });
}

int rlog_start_note(struct rlog *l)
{
	must(l->n_segs > 0);
	return marks_put(l, (struct rlog_marks){ .mark = l->marks.mark, .start = l->segs[0].first });
}

/* Twice: the older slot still bears a higher mark or the intent, and must not come back with a rotten newer one. */
static int intent_clear(struct rlog *l)
{
	int r = marks_put(l, (struct rlog_marks){ .mark = l->marks.mark });

	return r != 0 ? r : marks_put(l, (struct rlog_marks){ .mark = l->marks.mark });
}

/* ------------------------------------------------------------------------------------------------ what step 3 does */

static int unlink_from(struct rlog *l, const char *suffix, leash_seq from)
{
	_cleanup_(freep) leash_seq *firsts = NULL;
	char name[RLOG_NAME_BYTES];
	size_t n;
	int r = rlog_names(l->ops, l->conf.dir, suffix, &firsts, &n);

	for (size_t i = r == 0 ? n : 0; r == 0 && i > 0 && firsts[i - 1] >= from; i--) {
		rlog_name(name, firsts[i - 1], suffix);
		r = rlog_file_unlink(l->ops, l->conf.dir, name);
	}
	return r;
}

/* Where in segment @first the records up to @seq end, or the last good one before. */
static int cut_point(const struct rlog *l, leash_seq first, leash_seq seq, struct rlog_scan *ret_scan)
{
	_cleanup_(rlog_win_deinit) struct rlog_win w = RLOG_WIN_NULL;
	struct rlog_seg_header h;
	char name[RLOG_NAME_BYTES];
	struct rlog_item item;
	int r;

	rlog_name(name, first, "seg");
	r = rlog_file_open_settled(l->ops, l->conf.dir, name, &w.file);
	if (r == 0)
		r = rlog_seg_header_read(&w, first, &h);
	if (r != 0)
		return r;
	rlog_scan_start(ret_scan, &w, &h, REC_BODY_BYTES_MAX);
	while (r == 0 && ret_scan->next <= seq)
		r = rlog_scan_next(ret_scan, &item);
	ret_scan->win = NULL;
	return r < 0 ? r : 0;
}

/* Written without looking: after a failed sync of an earlier try the page cache may show zeroes the device lacks. */
static int zero_behind(struct rlog *l, leash_seq first, uint64_t offset, uint64_t to)
{
	_cleanup_(rlog_file_close) struct rlog_file f = RLOG_FILE_NULL;
	char name[RLOG_NAME_BYTES];
	int r;

	rlog_name(name, first, "seg");
	r = rlog_file_open(l->ops, l->conf.dir, name, RLOG_OPEN_WRITE, &f);
	if (r == 0)
		r = rlog_file_zero(&f, offset, to);
	return r < 0 ? r : l->ops->fdatasync(l->ops->ctx, f.fd);
}

/* How far segment @first may differ from zero: as far as it is used when this process wrote it, else all of it. */
static uint64_t zero_to(const struct rlog *l, leash_seq first, uint64_t bytes)
{
	for (size_t i = 0; l->n_damage == 0 && i < l->n_segs; i++)
		if (l->segs[i].first == first)
			return l->segs[i].used_bytes;
	return bytes;
}

/*
 * Leaves the records up to @seq. Needs nothing but what is on disk. RLOG_E_DAMAGED: a record up to @seq, or the header
 * of its segment, is not whole; nothing was changed, but digests are gone that would say that all is well: opening is to
 * find the damage, and the cut goes on when it is repaired.
 */
static int cut_apply(struct rlog *l, leash_seq seq)
{
	_cleanup_(freep) leash_seq *firsts = NULL;
	struct rlog_scan scan;
	size_t n, keep = 0;
	int r = rlog_names(l->ops, l->conf.dir, "seg", &firsts, &n);

	if (r < 0 || n == 0)
		return r;
	while (keep + 1 < n && firsts[keep + 1] <= seq)
		keep++;
	r = cut_point(l, firsts[keep], seq, &scan);
	if (r != 0)
		return r;
	r = unlink_from(l, "dig", firsts[keep]);
	if (r == 0 && scan.next <= seq)
		return RLOG_E_DAMAGED;
	if (r == 0)
		r = unlink_from(l, "seg", firsts[keep] + 1);
	if (r == 0)
		r = l->ops->sync_dir(l->ops->ctx, l->conf.dir);
	if (r == 0)
		r = zero_behind(l, firsts[keep], scan.offset, zero_to(l, firsts[keep], scan.bytes));
	return r;
}

static int reset_apply(struct rlog *l, leash_seq start, struct leash_chain base)
{
	int r = unlink_from(l, "dig", 0);

	if (r == 0)
		r = unlink_from(l, "seg", 0);
	if (r == 0)
		r = l->ops->sync_dir(l->ops->ctx, l->conf.dir);
	if (r < 0)
		return r;
	l->n_segs = 0;
	l->n_history = 0;
	l->n_damage = 0;
	l->durable = start - 1;
	r = rlog_spare_make(l);
	if (r == 0)
		r = rlog_seg_create(l, start, base, 0, 0);
	return r == RLOG_E_FULL ? -ENOSPC : r; /* even without the old log: nothing that this process could still do */
}

int rlog_intent_redo(struct rlog *l)
{
	int r = 0;

	switch (l->marks.intent) {
	case RLOG_INTENT_NONE:
		return 0;
	case RLOG_INTENT_CUT:
		r = cut_apply(l, l->marks.seq);
		break;
	case RLOG_INTENT_RESET:
		r = reset_apply(l, l->marks.seq, l->marks.base);
		break;
	}
	if (r == RLOG_E_DAMAGED) { /* for rlog_load() to find: up to there nothing may pass as torn */
		l->marks.mark = MAX2(l->marks.mark, l->marks.seq);
		return 0;
	}
	if (r == 0)
		r = intent_clear(l);
	return r == RLOG_E_FULL ? -ENOSPC : r;
}

/* ---------------------------------------------------------------------------------------------------- truncate */

/* The first of name, name-1, name-2 ... that is not there, in @dir. */
static int unused_name(struct rlog *l, const char *dir, const char *stem, const char *suffix, char ret_name[NAME_MAX])
{
	char path[PATH_MAX];
	uint64_t bytes;
	int r = 0;

	for (int i = 0; r == 0 && i < KEPT_NAMES; i++) {
		(void)snprintf(ret_name, NAME_MAX, "%s-%d%s", stem, i, suffix);
		r = rlog_path(path, dir, ret_name);
		if (r == 0)
			r = l->ops->size(l->ops->ctx, path, &bytes);
	}
	return r == -ENOENT ? 0 : r < 0 ? r : -EEXIST;
}

/* Appends the records of segment @i behind @seq to the side file. What is not whole ends it: nothing of use follows. */
static int side_copy(const struct rlog *l, size_t i, leash_seq seq, const struct rlog_file *out, uint64_t *offset)
{
	_cleanup_(rlog_win_deinit) struct rlog_win w = RLOG_WIN_NULL;
	struct rlog_seg_header h;
	char name[RLOG_NAME_BYTES];
	struct rlog_item item;
	struct rlog_scan s;
	int r;

	rlog_name(name, l->segs[i].first, "seg");
	r = rlog_file_open(l->ops, l->conf.dir, name, RLOG_OPEN_READ, &w.file);
	if (r == 0)
		r = rlog_seg_header_read(&w, l->segs[i].first, &h);
	if (r == 0)
		rlog_scan_start(&s, &w, &h, REC_BODY_BYTES_MAX);
	while (r == 0 && s.next <= l->segs[i].last) {
		r = rlog_scan_next(&s, &item);
		if (r != 0 || item.h.seq <= seq)
			continue;
		r = rlog_file_write(out, item.header.p, REC_HEADER_BYTES + item.body.len, *offset);
		*offset += REC_HEADER_BYTES + item.body.len;
	}
	return r < 0 ? r : 0;
}

static leash_epoch epoch_of(const struct rlog *l, leash_seq seq)
{
	leash_epoch epoch = 0;

	for (uint32_t i = 0; i < l->n_history && l->history[i].first <= seq; i++)
		epoch = l->history[i].epoch;
	return epoch;
}

static int side_write(struct rlog *l, leash_seq seq)
{
	_cleanup_(rlog_file_close) struct rlog_file f = RLOG_FILE_NULL;
	char dir[PATH_MAX], stem[64], name[NAME_MAX];
	uint64_t offset = 0;
	int r = rlog_dir_make(l->ops, l->conf.dir, "cut");

	(void)snprintf(stem, sizeof stem, "%020" PRIu64 "-%" PRIu64, seq + 1, epoch_of(l, seq + 1));
	if (r == 0)
		r = rlog_path(dir, l->conf.dir, "cut");
	if (r == 0)
		r = unused_name(l, dir, stem, ".cut", name);
	if (r == 0)
		r = rlog_file_open(l->ops, dir, name, RLOG_OPEN_WRITE | RLOG_OPEN_CREATE, &f);
	for (size_t i = 0; r == 0 && i < l->n_segs; i++)
		if (l->segs[i].last > seq)
			r = side_copy(l, i, seq, &f, &offset);
	if (r == 0)
		r = l->ops->fdatasync(l->ops->ctx, f.fd);
	if (rlog_is_full(r)) {
		int ignored _unused_ = rlog_file_unlink(l->ops, dir, name); /* gives room back, if it can */

		return r;
	}
	return r < 0 ? r : l->ops->sync_dir(l->ops->ctx, dir);
}

/* Keeps what is cut; on a full disk with what the reserve had. */
static int side_keep(struct rlog *l, leash_seq seq)
{
	int r = side_write(l, seq);

	if (rlog_is_full(r) && !l->reserve_spent) {
		rlog_reserve_spend(l);
		r = side_write(l, seq);
	}
	if (r < 0)
		return rlog_is_full(r) ? RLOG_E_FULL : rlog_latch(l, r);
	return 0;
}

int rlog_truncate(struct rlog *l, leash_seq seq)
{
	int r;

	if (l->failed)
		return -EIO;
	if (l->n_damage > 0)
		return RLOG_E_DAMAGED;
	if (seq + 1 < rlog_start(l))
		return -EINVAL;
	if (seq >= rlog_end(l))
		return 0;
	r = rlog_sync(l);
	if (r == 0)
		r = rlog_late_finish(l);
	if (r == 0)
		r = side_keep(l, seq);
	if (r == 0)
		r = marks_put(l, (struct rlog_marks){ .mark = MIN2(l->marks.mark, seq), .intent = RLOG_INTENT_CUT,
			.seq = seq });
	if (r != 0)
		return r;
	r = cut_apply(l, seq);
	if (r == 0)
		r = intent_clear(l);
	while (l->n_segs > 1 && rlog_active(l)->first > seq)
		l->n_segs--;
	rlog_history_cut(l, seq);
	if (r == 0)
		r = rlog_load_active(l);
	if (r != 0 || l->n_damage > 0 || rlog_end(l) != seq)
		return rlog_latch(l, -EIO);
	return 0;
}

int rlog_reset(struct rlog *l, leash_seq start, struct leash_chain base)
{
	int r;

	if (l->failed)
		return -EIO;
	if (start == 0)
		return -EINVAL;
	rlog_late_drop(l);
	r = marks_put(l, (struct rlog_marks){ .intent = RLOG_INTENT_RESET, .seq = start, .base = base, .start = start });
	if (r != 0)
		return r;
	r = reset_apply(l, start, base);
	if (r == 0)
		r = intent_clear(l);
	return r != 0 ? rlog_latch(l, -EIO) : 0;
}

/* ------------------------------------------------------------------------------------------------------ damage */

const struct rlog_damage *rlog_damage_get(const struct rlog *l, size_t *ret_n)
{
	*ret_n = l->n_damage;
	return l->damage;
}

int rlog_damage_add(struct rlog *l, const struct rlog_damage *d)
{
	return rlog_damage_note(l, d->first, d->last, d->path, d->offset, d->reason);
}

int rlog_evidence_dir(struct rlog *l, leash_seq first, char ret_dir[PATH_MAX])
{
	char dir[PATH_MAX], stem[64], name[NAME_MAX];
	int r = rlog_dir_make(l->ops, l->conf.dir, "damaged");

	(void)snprintf(stem, sizeof stem, "%020" PRIu64, first);
	if (r == 0)
		r = rlog_path(dir, l->conf.dir, "damaged");
	if (r == 0)
		r = unused_name(l, dir, stem, "", name);
	if (r == 0)
		r = rlog_dir_make(l->ops, dir, name);
	return r < 0 ? r : rlog_path(ret_dir, dir, name);
}

/* Moves the segments behind @keep (all when @keep is 0) and their digests away, newest first, and copies @keep. */
static int evidence_take(struct rlog *l, leash_seq keep, const char *dir)
{
	_cleanup_(freep) leash_seq *firsts = NULL;
	char name[RLOG_NAME_BYTES];
	size_t n;
	int r = rlog_file_copy(l->ops, l->conf.dir, "mark", dir, "mark");

	if (r == 0 || r == -ENOENT)
		r = rlog_names(l->ops, l->conf.dir, "seg", &firsts, &n);
	if (r < 0)
		return r;
	rlog_name(name, keep, "seg");
	if (keep > 0)
		r = rlog_file_copy(l->ops, l->conf.dir, name, dir, name);
	if (r == 0)
		r = l->ops->sync_dir(l->ops->ctx, dir);
	for (size_t i = n; r == 0 && i > 0 && firsts[i - 1] > keep; i--) {
		rlog_name(name, firsts[i - 1], "dig");
		r = rlog_file_unlink(l->ops, l->conf.dir, name); /* a function of its segment: no evidence */
		rlog_name(name, firsts[i - 1], "seg");
		if (r == 0)
			r = rlog_file_rename(l->ops, l->conf.dir, name, dir, name);
	}
	if (r == 0)
		r = l->ops->sync_dir(l->ops->ctx, dir);
	return r < 0 ? r : l->ops->sync_dir(l->ops->ctx, l->conf.dir);
}

/* The segment in which the good part of the log ends, and its last good record. 0, 0: there is none. */
static int good_end(const struct rlog *l, leash_seq *ret_first, leash_seq *ret_seq)
{
	leash_seq seq = MIN2(l->durable, l->damage[0].first - 1);
	struct rlog_scan scan;

	for (size_t i = l->n_segs; i > 0; i--) {
		int r;

		if (l->segs[i - 1].first > seq + 1)
			continue;
		r = cut_point(l, l->segs[i - 1].first, seq, &scan);
		if (r == RLOG_E_DAMAGED || r == -ENOENT)
			continue; /* not even its header is left: the log ends before it */
		if (r != 0)
			return r;
		if (scan.next == l->segs[i - 1].first && i > 1)
			continue; /* not one record: the log ends in the one before, which may be rotten itself */
		*ret_first = l->segs[i - 1].first;
		*ret_seq = scan.next - 1;
		return 0;
	}
	*ret_first = *ret_seq = 0;
	return 0;
}

static int damage_cut(struct rlog *l, leash_seq first, leash_seq seq)
{
	struct rlog_marks m = { .mark = MIN2(l->marks.mark, seq), .intent = RLOG_INTENT_CUT, .seq = seq };
	int r;

	if (first == 0)
		m = (struct rlog_marks){ .intent = RLOG_INTENT_RESET, .seq = 1, .start = 1 };
	if (l->mark_unknown)
		m.mark = seq; /* what is kept was verified; higher is safer than lower */
	r = marks_put(l, m);
	if (r == 0)
		r = first == 0 ? reset_apply(l, 1, (struct leash_chain){ 0 }) : cut_apply(l, seq);
	return r != 0 ? r : intent_clear(l);
}

int rlog_set_damage_aside(struct rlog *l)
{
	leash_seq first, seq;
	char dir[PATH_MAX];
	int r;

	if (l->failed)
		return -EIO;
	if (l->n_damage == 0)
		return 0;
	r = rlog_late_finish(l);
	if (r == 0)
		r = good_end(l, &first, &seq);
	if (r == 0)
		r = rlog_evidence_dir(l, l->damage[0].first, dir);
	if (r == 0)
		r = evidence_take(l, first, dir);
	if (rlog_is_full(r)) {
		rlog_reserve_spend(l);
		return RLOG_E_FULL;
	}
	if (r == 0)
		r = damage_cut(l, first, seq);
	if (r == 0)
		r = rlog_load(l);
	if (r != 0)
		return rlog_latch(l, -EIO);
	return l->n_damage > 0 ? RLOG_E_DAMAGED : 0;
}

int rlog_renounce(struct rlog *l, leash_id new_incarnation)
{
	struct rlog_meta m = l->meta;
	int r;

	m.incarnation = new_incarnation;
	m.log_epoch = m.log_matched = 0;
	r = rlog_meta_write(l, &m);
	while (r == 0 && (r = rlog_set_damage_aside(l)) == RLOG_E_DAMAGED)
		r = 0; /* there is more of it */
	return r;
}

/* --------------------------------------------------------------------------------------------------- retention */

/* One at a time, each durably: were a later one to go first, the log would have a hole after a crash. */
static int retain_one(struct rlog *l)
{
	char name[RLOG_NAME_BYTES];
	int r;

	rlog_name(name, l->segs[0].first, "dig");
	r = rlog_file_unlink(l->ops, l->conf.dir, name);
	rlog_name(name, l->segs[0].first, "seg");
	if (r == 0)
		r = rlog_file_unlink(l->ops, l->conf.dir, name);
	if (r == 0)
		r = l->ops->sync_dir(l->ops->ctx, l->conf.dir);
	if (r < 0)
		return rlog_latch(l, r);
	l->n_segs--;
	memmove(l->segs, l->segs + 1, l->n_segs * sizeof *l->segs);
	rlog_history_forget(l, l->segs[0].first);
	return 0;
}

/*
 * The new start is on disk before the first file goes, and in both slots: an older start in the one that is left when
 * the other rots would turn what retention did into damage.
 */
static int retain_note(struct rlog *l, leash_seq start)
{
	const struct rlog_marks m = { .mark = l->marks.mark, .start = start };
	int r = marks_put(l, m);

	return r != 0 ? r : marks_put(l, m);
}

int rlog_retain(struct rlog *l, leash_seq keep_from)
{
	int r = l->failed ? -EIO : l->n_damage > 0 ? RLOG_E_DAMAGED : 0;
	size_t n = 0;

	while (n + 1 < l->n_segs && l->segs[n].last < keep_from)
		n++;
	if (r == 0)
		r = rlog_late_finish(l);
	if (r == 0 && n > 0)
		r = retain_note(l, l->segs[n].first);
	while (r == 0 && n-- > 0)
		r = retain_one(l);
	return r;
}

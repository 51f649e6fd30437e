/*
 * What the segments on disk hold.
 *
 *  1. List the segments. The oldest may not begin later than the log does as far as is known (rlog_meta.h): what
 *     retention removes is noted before it goes, so a file that is missing there is damage. Of each, oldest first, read
 *     the header page; it must follow from the one before.
 *  2. A finished segment: its digest says what it holds. No digest, or one that does not fit: walk through its records
 *     and write the digest again. It was durable as a whole, so anything missing is damage.
 *  3. The last segment: sync, then read past the page cache (nothing read counts as durable before that), walk through
 *     it and judge the first place where no good record follows (rlog_judge.h).
 *
 * The first damage ends the log: what lies behind it is not looked at any more, and nothing is changed.
 */
#include "log/rlog_int.h"

#include <errno.h>
#include <stdio.h>

#include "log/rlog_judge.h"

/* ------------------------------------------------------------------------------------------------- small tables */

int rlog_segs_add(struct rlog *l, const struct rlog_seg_header *h)
{
	if (l->n_segs == l->cap_segs) {
		size_t cap = l->cap_segs ? 2 * l->cap_segs : 16;
		struct rlog_seg *segs = realloc(l->segs, cap * sizeof *segs);

		if (!segs)
			return -ENOMEM;
		l->segs = segs;
		l->cap_segs = cap;
	}
	l->segs[l->n_segs++] = (struct rlog_seg){
		.first = h->first,
		.last = h->first - 1,
		.bytes = h->bytes,
		.used_bytes = RLOG_SEG_HEADER,
		.nonce = h->nonce,
		.base = h->base,
		.chain = h->base,
		.prev_epoch = h->prev_epoch,
		.last_epoch = h->prev_epoch,
		.prev_log_time_ns = h->prev_log_time_ns,
		.last_log_time_ns = h->prev_log_time_ns,
	};
	return 0;
}

int rlog_history_room(struct rlog *l, uint32_t more)
{
	uint32_t need = MIN2(l->n_history + more, (uint32_t)REP_HISTORY_MAX), cap = MAX2(l->cap_history, 16u);
	struct rep_stretch *history;

	while (cap < need)
		cap *= 2;
	if (l->history && cap == l->cap_history)
		return 0;
	history = realloc(l->history, cap * sizeof *history);
	if (!history)
		return -ENOMEM;
	l->history = history;
	l->cap_history = cap;
	return 0;
}

int rlog_history_push(struct rlog *l, leash_epoch epoch, leash_seq first)
{
	int r;

	if (l->n_history > 0 && l->history[l->n_history - 1].epoch == epoch)
		return 0;
	r = rlog_history_room(l, 1);
	if (r < 0)
		return r;
	if (l->n_history == REP_HISTORY_MAX) { /* the oldest is of the least use */
		memmove(l->history, l->history + 1, (REP_HISTORY_MAX - 1) * sizeof *l->history);
		l->n_history--;
	}
	l->history[l->n_history++] = (struct rep_stretch){ .epoch = epoch, .first = first };
	return 0;
}

void rlog_history_cut(struct rlog *l, leash_seq last)
{
	while (l->n_history > 0 && l->history[l->n_history - 1].first > last)
		l->n_history--;
}

void rlog_history_forget(struct rlog *l, leash_seq start)
{
	uint32_t n = 0;

	while (n + 1 < l->n_history && l->history[n + 1].first <= start)
		n++;
	if (n > 0)
		memmove(l->history, l->history + n, (l->n_history - n) * sizeof *l->history);
	l->n_history -= n;
	if (l->n_history > 0)
		l->history[0].first = MAX2(l->history[0].first, start);
}

int rlog_damage_note(struct rlog *l, leash_seq first, leash_seq last, const char *path, uint64_t offset,
	const char *reason)
{
	struct rlog_damage d = { .first = first, .last = last, .offset = offset };
	struct rlog_damage *more;

	if (l->n_damage == RLOG_DAMAGE_MAX)
		return 0;
	more = realloc(l->damage, (l->n_damage + 1) * sizeof *more);
	if (!more)
		return -ENOMEM;
	(void)snprintf(d.path, sizeof d.path, "%s", path);
	(void)snprintf(d.reason, sizeof d.reason, "%s", reason);
	l->damage = more;
	l->damage[l->n_damage++] = d;
	return 0;
}

/* ----------------------------------------------------------------------------------------- walking one segment */

static int item_identify(const struct rlog *l, const struct rlog_item *item, struct rec_ident *ret_ident)
{
	struct rec_body body;

	if (rec_body_decode(item->body, &body) != 0)
		return RLOG_SCAN_CHAIN; /* whole, but it makes no sense: no crash does that */
	*ret_ident = rec_identify(&body, l->conf.digest_seed);
	return 0;
}

/* Takes all good records into segment @seg, the history and @entries. *ret_why: what ended it. */
static int seg_walk(struct rlog *l, struct rlog_scan *s, struct rlog_seg *seg, struct buf *entries, int *ret_why)
{
	struct rlog_item item;
	struct rec_ident ident;
	int r;

	for (;;) {
		r = rlog_scan_next(s, &item);
		if (r == 0)
			r = item_identify(l, &item, &ident);
		if (r < 0)
			return r;
		if (r > 0)
			break;
		r = rlog_dig_add(entries, &item.h, item.offset, &ident);
		if (r == 0)
			r = rlog_history_push(l, item.h.epoch, item.h.seq);
		if (r < 0)
			return r;
		seg->last = item.h.seq;
		seg->used_bytes = item.offset + rlog_item_bytes(&item);
		seg->chain = item.h.chain;
		seg->last_epoch = item.h.epoch;
		seg->last_log_time_ns = item.h.log_time_ns;
		seg->last_real_time_ns = item.h.real_time_ns;
	}
	*ret_why = r;
	return 0;
}

/* Back to what the header page alone says. */
static void seg_empty(struct rlog_seg *seg)
{
	seg->last = seg->first - 1;
	seg->used_bytes = RLOG_SEG_HEADER;
	seg->chain = seg->base;
	seg->last_epoch = seg->prev_epoch;
	seg->last_log_time_ns = seg->prev_log_time_ns;
	seg->last_real_time_ns = 0;
}

static void scan_of(struct rlog_scan *s, struct rlog_win *w, const struct rlog_seg *seg)
{
	const struct rlog_seg_header h = { .bytes = seg->bytes, .first = seg->first, .base = seg->base,
		.prev_epoch = seg->prev_epoch, .nonce = seg->nonce };

	rlog_scan_start(s, w, &h, REC_BODY_BYTES_MAX);
}

int rlog_entries_rebuild(const struct rlog *l, size_t i, struct buf *entries)
{
	_cleanup_(rlog_win_deinit) struct rlog_win w = RLOG_WIN_NULL;
	const struct rlog_seg *seg = &l->segs[i];
	char name[RLOG_NAME_BYTES];
	struct rlog_item item;
	struct rec_ident ident;
	struct rlog_scan s;
	int r;

	rlog_name(name, seg->first, "seg");
	r = rlog_file_open(l->ops, l->conf.dir, name, RLOG_OPEN_READ, &w.file);
	scan_of(&s, &w, seg);
	while (r == 0 && s.next <= seg->last) {
		r = rlog_scan_next(&s, &item);
		if (r == 0)
			r = item_identify(l, &item, &ident);
		if (r == 0)
			r = rlog_dig_add(entries, &item.h, item.offset, &ident);
	}
	return r > 0 ? RLOG_E_DAMAGED : r;
}

/* ------------------------------------------------------------------------------------------------------ digests */

int rlog_digest_of(const struct rlog *l, size_t i, const struct buf *entries, struct rlog_dig *ret_dig,
	uint8_t **ret_stretches)
{
	const struct rlog_seg *seg = &l->segs[i];
	struct rlog_dig d = { .first = seg->first, .last = seg->last,  .seed = l->conf.digest_seed,
		.nonce = seg->nonce, .chain = seg->chain, .used_bytes = seg->used_bytes,
		.last_log_time_ns = seg->last_log_time_ns, .last_real_time_ns = seg->last_real_time_ns,
		.last_epoch = seg->last_epoch };
	_cleanup_(freep) struct rep_stretch *own = calloc((size_t)l->n_history + 1, sizeof *own);
	uint8_t *stretches;

	if (!own)
		return -ENOMEM;
	for (uint32_t k = 0; k < l->n_history; k++) {
		bool until = k + 1 == l->n_history || l->history[k + 1].first > seg->first;

		if (!until || l->history[k].first > seg->last)
			continue;
		own[d.n_stretches].epoch = l->history[k].epoch;
		own[d.n_stretches++].first = MAX2(l->history[k].first, seg->first);
	}
	must(buf_len(entries) == rlog_dig_count(&d) * RLOG_DIG_ENTRY);
	stretches = rlog_dig_stretches(own, (size_t)d.n_stretches);
	if (!stretches)
		return -ENOMEM;
	rlog_dig_seal(&d, stretches, buf_head(entries));
	*ret_dig = d;
	*ret_stretches = stretches;
	return 0;
}

int rlog_digest_put(struct rlog *l, size_t i, const struct buf *entries)
{
	_cleanup_(rlog_file_close) struct rlog_file f = RLOG_FILE_NULL;
	_cleanup_(freep) uint8_t *stretches = NULL;
	char name[RLOG_NAME_BYTES];
	struct rlog_dig d;
	int r = rlog_digest_of(l, i, entries, &d, &stretches);

	rlog_name(name, l->segs[i].first, "dig");
	if (r == 0)
		r = rlog_file_open(l->ops, l->conf.dir, name, RLOG_OPEN_WRITE | RLOG_OPEN_CREATE, &f);
	if (r == 0)
		r = rlog_file_write(&f, buf_head(entries), buf_len(entries), rlog_dig_entries_at(&d));
	if (r == 0)
		r = rlog_dig_write_head(&f, &d, stretches);
	if (!rlog_is_full(r))
		return r;
	r = rlog_file_unlink(l->ops, l->conf.dir, name);
	return r < 0 ? r : RLOG_E_FULL;
}

/* The digest says what the segment holds. RLOG_E_DAMAGED: there is none that fits. */
static int seg_from_digest(struct rlog *l, struct rlog_seg *seg, leash_seq last)
{
	_cleanup_(freep) struct rep_stretch *stretches = NULL;
	struct rlog_dig d;
	int r = rlog_dig_read(l->ops, l->conf.dir, seg->first, &d, &stretches);

	if (r != 0)
		return r;
	if (d.nonce != seg->nonce || d.last != last || d.used_bytes > seg->bytes || d.used_bytes < RLOG_SEG_HEADER)
		return RLOG_E_DAMAGED;
	for (size_t i = 0; r == 0 && i < d.n_stretches; i++)
		r = rlog_history_push(l, stretches[i].epoch, stretches[i].first);
	if (r < 0)
		return r;
	seg->last = d.last;
	seg->used_bytes = d.used_bytes;
	seg->chain = d.chain;
	seg->last_epoch = d.last_epoch;
	seg->last_log_time_ns = d.last_log_time_ns;
	seg->last_real_time_ns = d.last_real_time_ns;
	return 0;
}

/* ----------------------------------------------------------------------------------------------- whole segments */

static const char *why_text(int why)
{
	switch ((enum rlog_scan_end)why) {
	case RLOG_SCAN_HEADER:
		return "no valid record header where a record must be";
	case RLOG_SCAN_BODY:
		return "the record's body does not match its header";
	case RLOG_SCAN_CHAIN:
		return "the record is whole but does not follow from the one before";
	case RLOG_SCAN_UNREADABLE:
		return "the device cannot read it";
	}
	return "unknown";
}

/* Notes the damage at the scan's position; @later is the first number of the next segment, 0 = none. */
static int seg_damaged(struct rlog *l, const struct rlog_scan *s, const struct rlog_seg *seg, leash_seq later, int why)
{
	char name[RLOG_NAME_BYTES];
	struct rlog_tail tail;
	leash_seq last;
	int r = rlog_scan_tail(s, &tail);

	if (r < 0)
		return r;
	last = tail.next_seq ? tail.next_seq - 1 : later ? later - 1 : 0;
	rlog_name(name, seg->first, "seg");
	return rlog_damage_note(l, seg->last + 1, last, name, seg->used_bytes,
		tail.zeroes ? "records that were durable or acknowledged are gone" : why_text(why));
}

/* A finished segment by its records; it must end before @later. */
static int seg_from_records(struct rlog *l, leash_seq later)
{
	_cleanup_(rlog_win_deinit) struct rlog_win w = RLOG_WIN_NULL;
	_cleanup_(buf_deinit) struct buf entries = BUF_NULL;
	struct rlog_seg *seg = rlog_active(l);
	char name[RLOG_NAME_BYTES];
	struct rlog_scan s;
	int why, r;

	rlog_name(name, seg->first, "seg");
	r = rlog_file_open(l->ops, l->conf.dir, name, RLOG_OPEN_READ, &w.file);
	if (r < 0)
		return r;
	rlog_history_cut(l, seg->first - 1);
	seg_empty(seg);
	scan_of(&s, &w, seg);
	r = seg_walk(l, &s, seg, &entries, &why);
	if (r < 0)
		return r;
	if (seg->last + 1 != later)
		return seg_damaged(l, &s, seg, later, why);
	r = rlog_digest_put(l, l->n_segs - 1, &entries);
	return r == RLOG_E_FULL ? 0 : r;
}

/* All of it is written, whatever the page cache says of it: after a failed sync that may be a lie (R11). */
static int seg_cut_torn(struct rlog *l, const struct rlog_seg *seg)
{
	int r = rlog_file_zero(&l->active, seg->used_bytes, seg->bytes);

	if (r == 0)
		r = l->ops->fdatasync(l->ops->ctx, l->active.fd);
	if (r == 0)
		l->torn_from = seg->last + 1;
	return r;
}

static int active_judge(struct rlog *l, const struct rlog_scan *s, const struct rlog_seg *seg, int why)
{
	struct rlog_facts facts;
	struct rlog_tail tail;
	int r = rlog_scan_tail(s, &tail);

	if (r < 0)
		return r;
	facts = (struct rlog_facts){
		.header = why == RLOG_SCAN_BODY || why == RLOG_SCAN_CHAIN,
		.body = why == RLOG_SCAN_CHAIN,
		.behind = !l->mark_unknown && seg->last + 1 > l->marks.mark,
		.proof = tail.unreadable || tail.proof > seg->last,
		.zeroes = tail.zeroes,
	};
	switch (rlog_judge(&facts)) {
	case RLOG_V_KEEP:
		must(!"a good record does not end the walk");
	case RLOG_V_END:
		return 0;
	case RLOG_V_TORN:
		return seg_cut_torn(l, seg);
	case RLOG_V_DAMAGE:
		return seg_damaged(l, s, seg, 0, why);
	}
	return 0;
}

int rlog_load_active(struct rlog *l)
{
	_cleanup_(rlog_win_deinit) struct rlog_win w = RLOG_WIN_NULL;
	struct rlog_seg *seg = rlog_active(l);
	char name[RLOG_NAME_BYTES];
	struct rlog_scan s;
	int why, r;

	rlog_name(name, seg->first, "seg");
	rlog_file_close(&l->active);
	r = rlog_file_open(l->ops, l->conf.dir, name, RLOG_OPEN_WRITE, &l->active);
	if (r == 0)
		r = rlog_file_open_settled(l->ops, l->conf.dir, name, &w.file);
	if (r < 0)
		return r;
	buf_deinit(&l->entries);
	rlog_history_cut(l, seg->first - 1);
	seg_empty(seg);
	scan_of(&s, &w, seg);
	r = seg_walk(l, &s, seg, &l->entries, &why);
	if (r == 0)
		r = active_judge(l, &s, seg, why);
	l->durable = seg->last;
	return r;
}

/* ---------------------------------------------------------------------------------------------------------- all */

/* Reads the header page of segment @first and adds it. RLOG_E_DAMAGED: it is not whole, or not ours. */
static int seg_open(struct rlog *l, leash_seq first, bool last)
{
	_cleanup_(rlog_win_deinit) struct rlog_win w = RLOG_WIN_NULL;
	char name[RLOG_NAME_BYTES];
	struct rlog_seg_header h;
	int r;

	rlog_name(name, first, "seg");
	if (last)
		r = rlog_file_open_settled(l->ops, l->conf.dir, name, &w.file);
	else
		r = rlog_file_open(l->ops, l->conf.dir, name, RLOG_OPEN_READ, &w.file);
	if (r == 0)
		r = rlog_seg_header_read(&w, first, &h);
	if (r != 0)
		return r;
	if (strcmp(h.engine, l->meta.engine) != 0 || strcmp(h.node, l->meta.node) != 0)
		return RLOG_E_DAMAGED;
	return rlog_segs_add(l, &h);
}

static bool follows(const struct rlog_seg *seg, const struct rlog_seg_header *prev)
{
	return seg->first == prev->first && leash_chain_eq(seg->base, prev->base) &&
		seg->prev_epoch == prev->prev_epoch;
}

/* Where the segment before the active one ends, as a header that must follow would say it. */
static struct rlog_seg_header end_of(const struct rlog_seg *seg)
{
	return (struct rlog_seg_header){ .first = seg->last + 1, .base = seg->chain, .prev_epoch = seg->last_epoch };
}

/* The newest segment does not follow from the one before: the digest may be a liar, the records are not. */
static int seg_must_follow(struct rlog *l)
{
	struct rlog_seg newest = *rlog_active(l);
	struct rlog_seg_header h = end_of(&l->segs[l->n_segs - 2]);
	char name[RLOG_NAME_BYTES];
	int r;

	if (follows(&newest, &h))
		return 0;
	l->n_segs--;
	r = seg_from_records(l, newest.first);
	if (r < 0 || l->n_damage > 0)
		return r;
	h = end_of(rlog_active(l));
	rlog_name(name, newest.first, "seg");
	if (!follows(&newest, &h))
		return rlog_damage_note(l, newest.first, 0, name, 0, "the segment does not follow from the one before");
	l->segs[l->n_segs++] = newest;
	return 0;
}

static int seg_load(struct rlog *l, leash_seq first, leash_seq later)
{
	char name[RLOG_NAME_BYTES];
	int r = seg_open(l, first, later == 0);

	if (r == RLOG_E_DAMAGED) {
		rlog_name(name, first, "seg");
		return rlog_damage_note(l, first, later ? later - 1 : 0, name, 0, "the segment's header is not whole");
	}
	if (r == 0 && l->n_segs > 1)
		r = seg_must_follow(l);
	if (r < 0 || l->n_damage > 0)
		return r;
	if (later == 0)
		return rlog_load_active(l);
	r = seg_from_digest(l, rlog_active(l), later - 1);
	return r == RLOG_E_DAMAGED ? seg_from_records(l, later) : r;
}

/* After damage the last segment looked at is the one that the log ends in; nothing may be appended to it. */
static int load_check_mark(struct rlog *l, size_t n)
{
	const struct rlog_seg *seg = rlog_active(l);

	l->durable = seg ? seg->last : 0;
	if (l->n_damage > 0)
		return 0;
	if (l->mark_unknown)
		return rlog_damage_note(l, l->durable + 1, 0, "mark", 0,
			"neither slot is whole: what was acknowledged is not known");
	if (n == 0 && l->marks.mark > 0)
		return rlog_damage_note(l, 1, 0, "", 0, "records were acknowledged, but there is no segment");
	return 0;
}

/* Is the oldest segment there? */
static int load_check_start(struct rlog *l, const leash_seq *firsts, size_t n)
{
	leash_seq start = l->marks.start;
	char name[RLOG_NAME_BYTES];

	if (start == 0 || (n > 0 && firsts[0] <= start))
		return 0;
	rlog_name(name, start, "seg");
	return rlog_damage_note(l, start, n > 0 ? firsts[0] - 1 : 0, name, 0, "the log's oldest segment is missing");
}

int rlog_load(struct rlog *l)
{
	_cleanup_(freep) leash_seq *firsts = NULL;
	size_t n;
	int r = rlog_names(l->ops, l->conf.dir, "seg", &firsts, &n);

	l->n_segs = 0;
	l->n_history = 0;
	l->n_damage = 0;
	if (r == 0)
		r = load_check_start(l, firsts, n);
	for (size_t i = 0; r == 0 && i < n && l->n_damage == 0; i++)
		r = seg_load(l, firsts[i], i + 1 < n ? firsts[i + 1] : 0);
	if (r < 0)
		return r;
	return load_check_mark(l, n);
}

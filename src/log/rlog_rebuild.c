/*
 * A rebuild stands at one place (`at`), where the new file ends and the record `at.next` is to come: sizes of records are
 * the same on all nodes, so this is also where the old file has it, if it is good.
 */
#include "log/rlog_rebuild.h"

#include <errno.h>

#include "log/rlog_int.h"

#define REBUILD_NAME  "repair"
#define REBUILD_CHUNK (256 * 1024) /* bytes of one write */

struct rlog_rebuild {
	struct rlog *l;
	struct rlog_seg_header h; /* of the new file */
	struct rlog_win own;      /* the old file */
	bool own_there;           /* it is there and its header is good */
	struct rlog_scan at;      /* in the old file, and where the new one ends */
	uint64_t log_time_ns;     /* of the last record */
	leash_seq later;          /* the next segment begins with this one; 0: it is the last */
	struct rlog_file out;
	uint64_t zeroed, written; /* bytes of the new file */
	struct buf pending;       /* behind what is written */
	bool borrowed;            /* the last record is another node's: what comes next must close the chain */
	struct rlog_rebuilt taken;
};

/* ------------------------------------------------------------------------------------------------------ beginning */

/* The last segment that begins at or before @seq, and the first behind that; 0: none. */
static int find_names(const struct rlog *l, leash_seq seq, leash_seq *ret_first, leash_seq *ret_later)
{
	_cleanup_(freep) leash_seq *firsts = NULL;
	size_t n, i = 0;
	int r = rlog_names(l->ops, l->conf.dir, "seg", &firsts, &n);

	if (r < 0)
		return r;
	while (i < n && firsts[i] <= seq)
		i++;
	*ret_first = i > 0 ? firsts[i - 1] : 0;
	*ret_later = i < n ? firsts[i] : 0;
	return 0;
}

/* What must stand in the header of segment @first, as far as the segment before it tells. */
static bool expected_base(const struct rlog *l, leash_seq first, struct rlog_seg_header *h)
{
	if (first == 1) {
		h->base = (struct leash_chain){ 0 };
		h->prev_epoch = 0;
		h->prev_log_time_ns = 0;
		return true;
	}
	for (size_t i = 0; i < l->n_segs; i++) {
		const struct rlog_seg *seg = &l->segs[i];

		if (seg->first == first && l->n_damage == 0) { /* a running log knows how it began */
			h->base = seg->base;
			h->prev_epoch = seg->prev_epoch;
			h->prev_log_time_ns = seg->prev_log_time_ns;
			return true;
		}
		if (seg->last + 1 != first || seg->first == first)
			continue;
		h->base = seg->chain;
		h->prev_epoch = seg->last_epoch;
		h->prev_log_time_ns = seg->last_log_time_ns;
		return true;
	}
	return false;
}

static int own_open(struct rlog_rebuild *b, leash_seq first, struct rlog_seg_header *ret_h)
{
	const struct rlog *l = b->l;
	char name[RLOG_NAME_BYTES];
	int r;

	rlog_name(name, first, "seg");
	r = rlog_file_open_uncached(l->ops, l->conf.dir, name, &b->own.file);
	if (r == 0)
		r = rlog_seg_header_read(&b->own, first, ret_h);
	if (r == 0 && (strcmp(ret_h->engine, l->meta.engine) != 0 || strcmp(ret_h->node, l->meta.node) != 0))
		r = RLOG_E_DAMAGED;
	return r;
}

/* How large the file of segment @first is or was, when its header does not say it. */
static uint64_t size_of(const struct rlog *l, leash_seq first)
{
	char name[RLOG_NAME_BYTES], path[PATH_MAX];
	uint64_t bytes = 0, most = l->conf.segment_bytes;

	rlog_name(name, first, "seg");
	if (rlog_path(path, l->conf.dir, name) == 0 && l->ops->size(l->ops->ctx, path, &bytes) == 0 &&
		bytes <= RLOG_SEG_MAX)
		most = MAX2(most, bytes - bytes % RLOG_DIRECT_ALIGN);
	for (size_t i = 0; i < l->n_segs; i++)
		if (l->segs[i].first == first)
			most = MAX2(most, l->segs[i].bytes);
	return most;
}

/* Header of the new file: the old one's if that can be trusted. */
static int begin_header(struct rlog_rebuild *b, leash_seq first)
{
	const struct rlog *l = b->l;
	struct rlog_seg_header old, h = { .bytes = size_of(l, first), .first = first };
	bool known = expected_base(l, first, &h);
	int r = own_open(b, first, &old);

	if (r < 0 && r != -ENOENT && r != -EIO)
		return r;
	b->own_there = r == 0 && (!known || (leash_chain_eq(old.base, h.base) && old.prev_epoch == h.prev_epoch));
	if (!b->own_there && !known)
		return RLOG_E_DAMAGED;
	if (b->own_there) {
		h = old;
	} else {
		h.nonce = rlog_nonce(l, first, h.base);
		memcpy(h.engine, l->meta.engine, sizeof h.engine);
		memcpy(h.node, l->meta.node, sizeof h.node);
	}
	b->h = h;
	return 0;
}

static void begin_at_start(struct rlog_rebuild *b)
{
	rlog_scan_start(&b->at, &b->own, &b->h, REC_BODY_BYTES_MAX);
	b->written = RLOG_SEG_HEADER;
	b->zeroed = 0;
	b->log_time_ns = b->h.prev_log_time_ns;
	b->borrowed = false;
}

static int io_result(const struct rlog_rebuild *b, int r)
{
	return rlog_is_full(r) ? RLOG_E_FULL : r == -EIO ? rlog_latch(b->l, r) : r;
}

/* All of it at once, or nothing: what is taken piece by piece until there is no more is missing to others. */
static int make_room(struct rlog_rebuild *b)
{
	int r = b->l->ops->allocate(b->l->ops->ctx, b->out.fd, b->h.bytes);

	return io_result(b, r == -EOPNOTSUPP ? 0 : r);
}

int rlog_rebuild_new(struct rlog *l, leash_seq seq, struct rlog_rebuild **ret_rebuild)
{
	struct rlog_rebuild *b;
	leash_seq first, later;
	int r = l->failed ? -EIO : find_names(l, seq, &first, &later);

	if (r < 0)
		return r;
	if (seq < rlog_start(l) || (l->n_damage == 0 && seq > rlog_end(l)))
		return RLOG_E_GONE;
	if (first == 0) /* the oldest file is missing */
		first = l->n_segs > 0 ? l->segs[0].first : seq;
	b = calloc(1, sizeof *b);
	if (!b)
		return -ENOMEM;
	b->l = l;
	b->own = (struct rlog_win)RLOG_WIN_NULL;
	b->out = (struct rlog_file)RLOG_FILE_NULL;
	r = begin_header(b, first);
	if (r == 0)
		r = rlog_file_open(l->ops, l->conf.dir, REBUILD_NAME, RLOG_OPEN_WRITE | RLOG_OPEN_CREATE, &b->out);
	if (r == 0)
		r = l->ops->sync_dir(l->ops->ctx, l->conf.dir);
	if (r == 0)
		r = make_room(b);
	if (r != 0) {
		r = io_result(b, r);
		rlog_rebuild_free(b);
		return r;
	}
	begin_at_start(b);
	*ret_rebuild = b;
	return 0;
}

void rlog_rebuild_free(struct rlog_rebuild *b)
{
	if (!b)
		return;
	if (b->out.fd >= 0) {
		int ignored _unused_ = rlog_file_unlink(b->l->ops, b->l->conf.dir, REBUILD_NAME); /* opening does it, too */
	}
	rlog_file_close(&b->out);
	rlog_win_deinit(&b->own);
	buf_deinit(&b->pending);
	free(b);
}

/* -------------------------------------------------------------------------------------------------------- writing */

/* Zeroed before it is used, as any segment. */
static int zero_more(struct rlog_rebuild *b, uint64_t bytes_max)
{
	uint64_t to = MIN2(b->zeroed + MAX2(bytes_max, (uint64_t)RLOG_DIRECT_ALIGN), b->h.bytes);
	int r = rlog_file_zero(&b->out, b->zeroed, to);

	if (r == 0)
		r = b->l->ops->fdatasync(b->l->ops->ctx, b->out.fd);
	if (r == 0)
		b->zeroed = to;
	return io_result(b, r);
}

static int flush(struct rlog_rebuild *b)
{
	size_t len = buf_len(&b->pending);
	int r;

	if (len == 0)
		return 0;
	r = rlog_file_write(&b->out, buf_head(&b->pending), len, b->written);
	if (r == 0)
		r = b->l->ops->fdatasync(b->l->ops->ctx, b->out.fd);
	if (r < 0)
		return io_result(b, r);
	b->written += len;
	buf_consume(&b->pending, len);
	return 0;
}

static int put(struct rlog_rebuild *b, leash_seq durable, const struct rec_header *h, const uint8_t *header,
	struct bytes body)
{
	uint8_t *p = buf_reserve(&b->pending, RLOG_LEAD_BYTES + body.len);

	if (!p)
		return -ENOMEM;
	rlog_frame_encode(p, durable, h->seq, header, b->h.nonce);
	memcpy(p + RLOG_FRAME_BYTES, header, REC_HEADER_BYTES);
	memcpy(p + RLOG_LEAD_BYTES, body.p, body.len);
	buf_commit(&b->pending, RLOG_LEAD_BYTES + body.len);
	b->log_time_ns = h->log_time_ns;
	return buf_len(&b->pending) >= REBUILD_CHUNK ? flush(b) : 0;
}

/* -------------------------------------------------------------------------------------------------------- finishing */

/* The old file into damaged/, the new one into its place. */
static int swap(struct rlog_rebuild *b)
{
	const struct rlog *l = b->l;
	char name[RLOG_NAME_BYTES], dir[PATH_MAX], path[PATH_MAX];
	uint64_t bytes;
	int r;

	rlog_name(name, b->h.first, "seg");
	r = rlog_path(path, l->conf.dir, name);
	if (r == 0)
		r = l->ops->size(l->ops->ctx, path, &bytes);
	if (r == 0)
		r = rlog_evidence_dir(b->l, b->h.first, dir);
	if (r == 0)
		r = rlog_file_rename(l->ops, l->conf.dir, name, dir, name);
	if (r == 0)
		r = l->ops->sync_dir(l->ops->ctx, dir);
	if (r == 0) /* before its name is taken: the evidence is to be kept */
		r = l->ops->sync_dir(l->ops->ctx, l->conf.dir);
	if (r == 0 || r == -ENOENT)
		r = rlog_file_rename(l->ops, l->conf.dir, REBUILD_NAME, l->conf.dir, name);
	return r < 0 ? r : l->ops->sync_dir(l->ops->ctx, l->conf.dir);
}

/* A running log goes on with the new file. */
static int take_over(struct rlog_rebuild *b)
{
	struct rlog *l = b->l;
	leash_seq end = rlog_end(l);
	int r;

	if (l->n_damage > 0)
		return 0; /* it will be opened again */
	for (size_t i = 0; i < l->n_segs; i++) {
		if (l->segs[i].first == b->h.first) {
			l->segs[i].nonce = b->h.nonce;
			l->segs[i].bytes = b->h.bytes;
		}
	}
	if (rlog_active(l)->first != b->h.first)
		return 0;
	r = rlog_load_active(l);
	return r != 0 || l->n_damage > 0 || rlog_end(l) != end ? rlog_latch(l, -EIO) : 0;
}

int rlog_rebuild_finish(struct rlog_rebuild *b)
{
	uint8_t page[RLOG_SEG_HEADER];
	int r = rlog_late_finish(b->l);

	if (r == 0)
		r = flush(b);
	if (r != 0)
		return r;
	rlog_seg_header_encode(&b->h, page);
	r = rlog_file_write(&b->out, page, sizeof page, 0);
	if (r == 0)
		r = b->l->ops->fdatasync(b->l->ops->ctx, b->out.fd);
	if (r != 0)
		return io_result(b, r);
	rlog_file_close(&b->out); /* from here on opening finishes it, whatever happens: it is not to be removed */
	rlog_win_deinit(&b->own);
	r = swap(b);
	if (r != 0)
		return rlog_is_full(r) ? RLOG_E_FULL : rlog_latch(b->l, r);
	b->own_there = false;
	return take_over(b);
}

/* The header of the new file is written last: with it, the file is whole. */
int rlog_rebuild_redo(struct rlog *l)
{
	_cleanup_(rlog_win_deinit) struct rlog_win w = RLOG_WIN_NULL;
	char name[RLOG_NAME_BYTES], path[PATH_MAX];
	struct rlog_seg_header h;
	const uint8_t *page;
	uint64_t bytes;
	int r = rlog_file_open_settled(l->ops, l->conf.dir, REBUILD_NAME, &w.file);

	if (r == -ENOENT)
		return 0;
	if (r == 0)
		r = rlog_win_get(&w, 0, RLOG_SEG_HEADER, &page);
	if (r < 0 && r != -EIO)
		return r;
	if (r != 0 || !rlog_seg_header_decode(page, &h))
		return rlog_file_unlink(l->ops, l->conf.dir, REBUILD_NAME);
	rlog_name(name, h.first, "seg");
	r = rlog_path(path, l->conf.dir, name);
	if (r == 0)
		r = l->ops->size(l->ops->ctx, path, &bytes);
	if (r == 0)
		return rlog_file_unlink(l->ops, l->conf.dir, REBUILD_NAME);
	if (r == -ENOENT)
		r = rlog_file_rename(l->ops, l->conf.dir, REBUILD_NAME, l->conf.dir, name);
	return r < 0 ? r : l->ops->sync_dir(l->ops->ctx, l->conf.dir);
}

/* --------------------------------------------------------------------------------------------------------- stepping */

/* The chain before segment @later. RLOG_E_DAMAGED: its header cannot say. */
static int base_of(const struct rlog *l, leash_seq later, struct leash_chain *ret_base)
{
	_cleanup_(rlog_win_deinit) struct rlog_win w = RLOG_WIN_NULL;
	struct rlog_seg_header h;
	char name[RLOG_NAME_BYTES];
	int r;

	rlog_name(name, later, "seg");
	r = rlog_file_open_uncached(l->ops, l->conf.dir, name, &w.file);
	if (r == 0)
		r = rlog_seg_header_read(&w, later, &h);
	if (r == 0)
		*ret_base = h.base;
	return r == -EIO || r == -ENOENT ? RLOG_E_DAMAGED : r;
}

/* A segment that is good as it is need not be written anew: it was mended before, or whoever said so was wrong. Damage
 * that opening met would be met again. */
static int ready(const struct rlog_rebuild *b)
{
	if (b->taken.records > 0 || !b->own_there)
		return RLOG_REBUILD_READY;
	return b->l->n_damage > 0 ? RLOG_E_DAMAGED : RLOG_E_GONE;
}

/* All records are there; what other nodes gave must lead to what follows. */
static int close_chain(struct rlog_rebuild *b)
{
	struct leash_chain want = rlog_chain(b->l);
	int r = 0;

	if (!b->borrowed)
		return ready(b);
	if (b->later)
		r = base_of(b->l, b->later, &want);
	if (r != 0)
		return r;
	return leash_chain_eq(want, b->at.chain) ? RLOG_REBUILD_READY : RLOG_E_CHAIN;
}

/* The last segment of a log that was opened damaged, where it has no good record of its own: is this its end? */
static int opened_end(struct rlog_rebuild *b, leash_seq *ret_need)
{
	const struct rlog *l = b->l;
	struct rlog_tail tail;
	bool torn;
	int r = rlog_scan_tail(&b->at, &tail);

	if (r < 0)
		return r;
	torn = !l->mark_unknown && !tail.unreadable && b->at.next > MAX2(l->marks.mark, tail.proof);
	if (torn && !b->borrowed)
		return ready(b); /* what lies behind was never durable (rlog_judge.h) */
	if (torn || !tail.next_seq)
		return RLOG_E_DAMAGED;
	*ret_need = b->at.next;
	return 0;
}

static int copy_own(struct rlog_rebuild *b, uint64_t *budget, leash_seq *ret_need)
{
	bool running = b->l->n_damage == 0;
	struct rlog_item item;
	int r = b->own_there ? rlog_scan_next(&b->at, &item) : RLOG_SCAN_HEADER;

	if (r > 0 && b->own_there) { /* the window may be older than the record */
		rlog_win_forget(&b->own);
		r = rlog_scan_next(&b->at, &item);
	}
	if (r < 0)
		return r;
	if (r == 0) {
		b->borrowed = false;
		*budget -= MIN2(*budget, rlog_item_bytes(&item));
		return put(b, item.durable, &item.h, item.header.p, item.body);
	}
	if (r == RLOG_SCAN_CHAIN && b->borrowed)
		return RLOG_E_CHAIN;
	if (!b->later && !running)
		return b->own_there ? opened_end(b, ret_need) : RLOG_E_DAMAGED;
	*ret_need = b->at.next;
	return 0;
}

/* What the surroundings are now: segments are added and removed between two calls. */
static int look_around(struct rlog_rebuild *b)
{
	const struct rlog *l = b->l;
	leash_seq first;
	int r = l->failed ? -EIO : find_names(l, b->h.first, &first, &b->later);

	if (r < 0)
		return r;
	return l->n_damage == 0 && b->h.first < rlog_start(l) ? RLOG_E_GONE : 0;
}

static int advance(struct rlog_rebuild *b, uint64_t budget, leash_seq *ret_need)
{
	const struct rlog *l = b->l;
	int r = 0;

	*ret_need = 0;
	if (b->zeroed < b->h.bytes)
		return zero_more(b, budget);
	while (r == 0 && *ret_need == 0 && budget > 0) {
		if (b->later ? b->at.next >= b->later : l->n_damage == 0 && b->at.next > l->durable)
			return close_chain(b);
		r = copy_own(b, &budget, ret_need);
	}
	return r;
}

int rlog_rebuild_step(struct rlog_rebuild *b, uint64_t bytes_max, leash_seq *ret_need)
{
	int r = look_around(b);

	*ret_need = 0;
	if (r != 0 || rlog_end(b->l) != rlog_durable(b->l))
		return r; /* what is not durable yet is copied when it is */
	return advance(b, bytes_max, ret_need);
}

/* ---------------------------------------------------------------------------------------- records of other nodes */

/*
 * A record would not fit: the segment ended before it, and the file of the next one is missing. Records have the same size
 * on all nodes, so behind a borrowed one this shows that what was borrowed is not what was here.
 */
static int next_file(struct rlog_rebuild *b)
{
	struct rlog_seg_header h = b->h;

	if (b->borrowed)
		return RLOG_E_CHAIN;
	if (b->taken.records > 0)
		return RLOG_REBUILD_READY; /* what is missing behind it is found when it is looked for again */
	h.first = b->at.next;
	h.base = b->at.chain;
	h.prev_epoch = b->at.epoch;
	h.nonce = rlog_nonce(b->l, h.first, h.base);
	h.bytes = size_of(b->l, h.first);
	h.prev_log_time_ns = b->log_time_ns;
	rlog_win_deinit(&b->own);
	buf_deinit(&b->pending);
	b->own_there = false;
	b->h = h;
	begin_at_start(b);
	return make_room(b);
}

static int borrow(struct rlog_rebuild *b, const struct rlog_rec *rec)
{
	uint64_t bytes = RLOG_LEAD_BYTES + (uint64_t)rec->body.len;
	int r;

	if (rec->body.len > REC_BODY_BYTES_MAX)
		return -EMSGSIZE;
	if (!rec_chain_follows(&rec->h, b->at.chain) || rec->h.epoch < b->at.epoch)
		return RLOG_E_CHAIN;
	if (bytes > b->h.bytes - b->at.offset)
		return next_file(b);
	r = put(b, rec->h.seq - 1, &rec->h, rec->header, rec->body);
	if (r != 0)
		return r;
	b->at.offset += bytes;
	b->at.next++;
	b->at.chain = rec->h.chain;
	b->at.epoch = rec->h.epoch;
	b->borrowed = true;
	if (b->taken.records++ == 0)
		b->taken.first = rec->h.seq;
	b->taken.last = rec->h.seq;
	return 0;
}

int rlog_rebuild_put(struct rlog_rebuild *b, const struct rlog_rec *recs, size_t n)
{
	leash_seq need = b->at.next;
	int r = n == 0 ? RLOG_E_ORDER : look_around(b);

	for (size_t i = 0; r == 0 && need && i < n; i++) {
		if (recs[i].h.seq != need)
			return RLOG_E_ORDER;
		r = borrow(b, &recs[i]);
		if (r == 0)
			r = advance(b, 1, &need); /* need = 0: from here on there is more of its own */
	}
	return r;
}

struct rlog_rebuilt rlog_rebuild_taken(const struct rlog_rebuild *b)
{
	struct rlog_rebuilt taken = b->taken;

	taken.segment_first = b->h.first;
	taken.segment_last = b->at.next - 1;
	return taken;
}

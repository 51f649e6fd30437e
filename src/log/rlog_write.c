/*
 * Appending: one vectored write per segment, one sync per group.
 *
 * When the next record does not fit, in this order: the next segment gets its room on disk (unless rlog_prepare() has
 * seen to it, and has zeroed it as far as there was time), the active one is synced, the next one gets its header
 * page, is synced and renamed to its place, and the digest of the finished one is begun (rlog_late.c). So a full disk is
 * found before anything has changed, and a segment with a successor is durable as a whole.
 *
 * Ways to fail: no space -> the reserve goes, the caller gets RLOG_E_FULL, the log is as before. Anything else -> the
 * log is latched.
 */
#include "log/rlog_int.h"

#include <errno.h>

#define APPEND_IOV     1024         /* vectors of one system call: IOV_MAX of Linux */
#define STAGE_BYTES    (128u * 1024) /* of small records that are copied together: cheaper than a vector for each */
#define STAGE_BODY_MAX 2048u        /* a larger body is a vector of its own */

int rlog_latch(struct rlog *l, int r)
{
	must(r < 0);
	l->failed = true;
	return -EIO;
}

/* ----------------------------------------------------------------------------------------------------- the reserve */

void rlog_reserve_spend(struct rlog *l)
{
	if (l->reserve_spent)
		return;
	l->reserve_spent = true;
	if (rlog_file_unlink(l->ops, l->conf.dir, "reserve") == 0)
		(void)l->ops->sync_dir(l->ops->ctx, l->conf.dir); /* a crash that brings it back does no harm */
}

bool rlog_reserve_spent(const struct rlog *l)
{
	return l->reserve_spent;
}

static int reserve_make(struct rlog *l)
{
	_cleanup_(rlog_file_close) struct rlog_file f = RLOG_FILE_NULL;
	int r = rlog_file_open(l->ops, l->conf.dir, "reserve.tmp", RLOG_OPEN_WRITE | RLOG_OPEN_CREATE, &f);

	if (r < 0)
		return r;
	r = l->ops->allocate(l->ops->ctx, f.fd, l->conf.reserve_bytes);
	if (r == -EOPNOTSUPP)
		r = rlog_file_zero(&f, 0, l->conf.reserve_bytes);
	if (r == 0)
		r = l->ops->fdatasync(l->ops->ctx, f.fd);
	if (r == 0)
		r = rlog_file_rename(l->ops, l->conf.dir, "reserve.tmp", l->conf.dir, "reserve");
	return r < 0 ? r : l->ops->sync_dir(l->ops->ctx, l->conf.dir);
}

int rlog_reserve_fill(struct rlog *l)
{
	int r;

	if (l->failed)
		return -EIO;
	if (!l->reserve_spent)
		return 0;
	if (l->conf.reserve_bytes > 0) {
		r = reserve_make(l);
		if (rlog_is_full(r)) {
			r = rlog_file_unlink(l->ops, l->conf.dir, "reserve.tmp");
			return r < 0 ? rlog_latch(l, r) : 0;
		}
		if (r < 0)
			return rlog_latch(l, r);
	}
	l->reserve_spent = false;
	return 0;
}

/* ---------------------------------------------------------------------------------------------- the next segment */

static const struct rlog_spare no_spare = { .file = RLOG_FILE_NULL, .direct = RLOG_FILE_NULL };

void rlog_spare_close(struct rlog *l)
{
	rlog_file_close(&l->spare.file);
	rlog_file_close(&l->spare.direct);
	l->spare = no_spare;
}

static int spare_begin(struct rlog *l)
{
	struct rlog_spare *s = &l->spare;
	int r = rlog_file_open(l->ops, l->conf.dir, "spare", RLOG_OPEN_WRITE | RLOG_OPEN_CREATE, &s->file);

	if (r == 0)
		r = rlog_file_open(l->ops, l->conf.dir, "spare", RLOG_OPEN_WRITE | RLOG_OPEN_DIRECT, &s->direct);
	if (r < 0 && r != -EINVAL)
		return r;
	r = l->ops->allocate(l->ops->ctx, s->file.fd, l->conf.segment_bytes);
	if (r < 0 && r != -EOPNOTSUPP)
		return r;
	s->allocated = r == 0;
	return l->ops->sync_dir(l->ops->ctx, l->conf.dir);
}

static int spare_zero(struct rlog_spare *s, uint64_t from, uint64_t to)
{
	int r = s->direct.fd >= 0 ? rlog_file_zero(&s->direct, from, to) : -EINVAL;

	if (r != -EINVAL)
		return r;
	rlog_file_close(&s->direct);
	return rlog_file_zero(&s->file, from, to);
}

/* Zeroes up to @bytes_max more of the spare and syncs them; 0: only what it takes that it has its room. */
static int spare_step(struct rlog *l, uint64_t bytes_max)
{
	struct rlog_spare *s = &l->spare;
	uint64_t to = l->conf.segment_bytes;
	int r = s->file.fd < 0 ? spare_begin(l) : 0;

	if (r < 0 || s->zeroed_bytes == to || (bytes_max == 0 && s->allocated))
		return r;
	if (bytes_max > 0 && to - s->zeroed_bytes > bytes_max)
		to = s->zeroed_bytes + bytes_max;
	r = spare_zero(s, s->zeroed_bytes, to);
	if (r == 0)
		r = l->ops->fdatasync(l->ops->ctx, s->file.fd);
	if (r < 0)
		return r;
	s->zeroed_bytes = to;
	if (to == l->conf.segment_bytes) {
		s->allocated = true;
		rlog_file_close(&s->direct);
	}
	return 0;
}

/* No room for a segment: what there is of it goes, and the reserve, which is for everything but segments. */
static int spare_full(struct rlog *l)
{
	int r;

	rlog_spare_close(l);
	r = rlog_file_unlink(l->ops, l->conf.dir, "spare");
	if (r < 0)
		return rlog_latch(l, r);
	rlog_reserve_spend(l);
	return RLOG_E_FULL;
}

int rlog_spare_make(struct rlog *l)
{
	int r = spare_step(l, 0);

	return rlog_is_full(r) ? spare_full(l) : r;
}

int rlog_prepare(struct rlog *l, uint64_t bytes_max, bool *ret_ready)
{
	int r;

	if (l->failed)
		return -EIO;
	if (!l->spare.allocated && l->reserve_spent && l->conf.reserve_bytes > 0)
		return RLOG_E_FULL;
	r = spare_step(l, bytes_max);
	if (rlog_is_full(r))
		return spare_full(l);
	if (r < 0)
		return rlog_latch(l, r);
	r = rlog_late_step(l);
	*ret_ready = l->spare.zeroed_bytes == l->conf.segment_bytes && l->late.file.fd < 0;
	return r;
}

/* Differs between any two segments that a directory ever had: of one life by position and content before it. */
uint64_t rlog_nonce(const struct rlog *l, leash_seq first, struct leash_chain base)
{
	const uint64_t in[] = { l->meta.incarnation, first, base.lo, base.hi, l->marks.counter };

	return hash_64(in, sizeof in, 0);
}

int rlog_seg_create(struct rlog *l, leash_seq first, struct leash_chain base, leash_epoch prev_epoch,
	uint64_t prev_log_time_ns)
{
	struct rlog_seg_header h = { .bytes = l->conf.segment_bytes, .first = first, .base = base,
		.prev_epoch = prev_epoch, .prev_log_time_ns = prev_log_time_ns, .nonce = rlog_nonce(l, first, base) };
	uint8_t page[RLOG_SEG_HEADER];
	char name[RLOG_NAME_BYTES];
	int r;

	must(l->spare.allocated);
	memcpy(h.engine, l->meta.engine, sizeof h.engine);
	memcpy(h.node, l->meta.node, sizeof h.node);
	rlog_seg_header_encode(&h, page);
	rlog_name(name, first, "seg");
	r = rlog_file_write(&l->spare.file, page, sizeof page, 0);
	if (rlog_is_full(r)) /* of an overwrite, as in append_undo() */
		return spare_full(l);
	if (r == 0)
		r = l->ops->fdatasync(l->ops->ctx, l->spare.file.fd);
	if (r == 0)
		r = rlog_file_rename(l->ops, l->conf.dir, "spare", l->conf.dir, name);
	if (rlog_is_full(r))
		return spare_full(l);
	if (r == 0)
		r = l->ops->sync_dir(l->ops->ctx, l->conf.dir);
	if (r == 0)
		r = rlog_segs_add(l, &h);
	if (r < 0)
		return r;
	rlog_file_close(&l->active);
	l->active = l->spare.file;
	l->spare.file = (struct rlog_file)RLOG_FILE_NULL;
	rlog_spare_close(l);
	buf_deinit(&l->entries);
	return 0;
}

/* Finishes the active segment, if there is one, and makes the next one active. */
static int seg_roll(struct rlog *l)
{
	_cleanup_(buf_deinit) struct buf entries = BUF_NULL;
	struct rlog_seg none = { .first = 1, .last = 0 };
	const struct rlog_seg *seg = rlog_active(l) ? rlog_active(l) : &none;
	bool ready;
	int r = rlog_prepare(l, 0, &ready); /* what idle time has not zeroed stays as it is: that costs a longer sync, not a stop */

	if (r != 0)
		return r;
	r = rlog_sync(l);
	if (r < 0)
		return r;
	entries = l->entries;
	l->entries = (struct buf)BUF_NULL;
	r = rlog_seg_create(l, seg->last + 1, seg->chain, seg->last_epoch, seg->last_log_time_ns);
	if (r == RLOG_E_FULL) {
		l->entries = entries;
		entries = (struct buf)BUF_NULL;
		return r;
	}
	if (r == 0 && l->n_segs > 1)
		r = rlog_late_begin(l, l->n_segs - 2, &entries);
	if (r == 0 && l->n_segs == 1)
		r = rlog_start_note(l);
	if (r == RLOG_E_FULL) /* not known for now, as in a log of old */
		r = 0;
	return r < 0 ? rlog_latch(l, r) : 0;
}

/* -------------------------------------------------------------------------------------------------------- append */

static int append_check(const struct rlog *l, const struct rlog_rec *recs, size_t n)
{
	const struct rlog_seg *seg = rlog_active(l);
	struct leash_chain chain = rlog_chain(l);
	leash_epoch epoch = seg ? seg->last_epoch : 0;
	leash_seq next = rlog_end(l) + 1;

	for (size_t i = 0; i < n; i++) {
		const struct rec_header *h = &recs[i].h;

		must(recs[i].body.len == h->body_bytes);
		if (h->seq != next + i || h->epoch < epoch)
			return RLOG_E_ORDER;
		if (!rec_chain_follows(h, chain))
			return RLOG_E_CHAIN;
		if (h->body_bytes > l->conf.record_bytes_max)
			return -EMSGSIZE;
		chain = h->chain;
		epoch = h->epoch;
	}
	return 0;
}

static bool is_staged(const struct rlog_rec *rec)
{
	return rec->body.len <= STAGE_BODY_MAX;
}

/* How many of @recs fit into the active segment and go out with one system call. */
static size_t append_fit(const struct rlog *l, const struct rlog_rec *recs, size_t n, uint64_t *ret_bytes)
{
	const struct rlog_seg *seg = rlog_active(l);
	uint64_t room = seg ? seg->bytes - seg->used_bytes : 0, used = 0, staged = RLOG_DIRECT_ALIGN; /* the pad */
	size_t i, vectors = 1;

	for (i = 0; i < n; i++) {
		uint64_t bytes = RLOG_LEAD_BYTES + (uint64_t)recs[i].body.len;

		staged += is_staged(&recs[i]) ? bytes : RLOG_LEAD_BYTES;
		vectors += is_staged(&recs[i]) ? 0 : 2;
		if (bytes > room - used || staged > STAGE_BYTES || vectors > APPEND_IOV)
			break;
		used += bytes;
	}
	*ret_bytes = used;
	return i;
}

/* Memory for all that taking the records in will need, so that nothing fails after the write. */
static int append_reserve(struct rlog *l, const struct rlog_rec *recs, size_t n)
{
	leash_epoch epoch = rlog_active(l)->last_epoch;
	uint32_t changes = 1;

	if (!l->stage)
		l->stage = malloc(STAGE_BYTES);
	if (!l->iov)
		l->iov = calloc(APPEND_IOV, sizeof *l->iov);
	if (!l->stage || !l->iov || !buf_reserve(&l->entries, n * RLOG_DIG_ENTRY))
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		changes += recs[i].h.epoch != epoch;
		epoch = recs[i].h.epoch;
	}
	return rlog_history_room(l, changes);
}

/* What continues the last vector makes it longer. */
static void add_vector(struct rlog *l, size_t *n_iov, const uint8_t *p, size_t len)
{
	struct iovec *last = *n_iov ? &l->iov[*n_iov - 1] : NULL;

	if (len == 0)
		return;
	if (last && (const uint8_t *)last->iov_base + last->iov_len == p) {
		last->iov_len += len;
		return;
	}
	must(*n_iov < APPEND_IOV);
	l->iov[(*n_iov)++] = (struct iovec){ (void *)(uintptr_t)p, len };
}

/* From @end in the segment to the end of its page there are zeroes already. Written again, the page is whole: one that
 * the cache does not have need not be read for what follows. */
static size_t pad_bytes(const struct rlog *l, uint64_t end)
{
	uint64_t pad = (RLOG_DIRECT_ALIGN - end % RLOG_DIRECT_ALIGN) % RLOG_DIRECT_ALIGN;

	return (size_t)MIN2(pad, rlog_active(l)->bytes - end);
}

/* The vectors of @n records, which are @bytes long. */
static size_t append_vectors(struct rlog *l, const struct rlog_rec *recs, size_t n, uint64_t bytes)
{
	const struct rlog_seg *seg = rlog_active(l);
	size_t n_iov = 0, pad = pad_bytes(l, seg->used_bytes + bytes);
	uint8_t *p = l->stage;

	for (size_t i = 0; i < n; i++) {
		const struct rlog_rec *rec = &recs[i];
		uint8_t *lead = p;

		rlog_frame_encode(p, l->durable, rec->h.seq, rec->header, seg->nonce);
		p = mempcpy(p + RLOG_FRAME_BYTES, rec->header, REC_HEADER_BYTES);
		if (is_staged(rec))
			p = mempcpy(p, rec->body.p, rec->body.len);
		add_vector(l, &n_iov, lead, (size_t)(p - lead));
		if (!is_staged(rec))
			add_vector(l, &n_iov, rec->body.p, rec->body.len);
	}
	memset(p, 0, pad);
	add_vector(l, &n_iov, p, pad);
	return n_iov;
}

/* Takes @n written records into the tables. Memory is there. */
static void append_take(struct rlog *l, const struct rlog_rec *recs, size_t n)
{
	struct rlog_seg *seg = rlog_active(l);

	for (size_t i = 0; i < n; i++) {
		const struct rec_header *h = &recs[i].h;

		must(rlog_dig_add(&l->entries, h, seg->used_bytes, &recs[i].ident) == 0);
		must(rlog_history_push(l, h->epoch, h->seq) == 0);
		seg->used_bytes += RLOG_LEAD_BYTES + (uint64_t)h->body_bytes;
		seg->last = h->seq;
		seg->chain = h->chain;
		seg->last_epoch = h->epoch;
		seg->last_log_time_ns = h->log_time_ns;
		seg->last_real_time_ns = h->real_time_ns;
	}
}

/*
 * A file system that writes elsewhere (btrfs) can run full on an overwrite. Part of the records may lie there; they
 * must be gone for good before others take their numbers.
 */
static int append_undo(struct rlog *l, uint64_t bytes)
{
	const struct rlog_seg *seg = rlog_active(l);
	int r;

	rlog_reserve_spend(l);
	r = rlog_file_zero(&l->active, seg->used_bytes, seg->used_bytes + bytes);
	if (r == 0)
		r = l->ops->fdatasync(l->ops->ctx, l->active.fd);
	if (r < 0)
		return rlog_latch(l, r);
	l->durable = seg->last;
	return RLOG_E_FULL;
}

static int append_write(struct rlog *l, const struct rlog_rec *recs, size_t n, uint64_t bytes)
{
	int r = append_reserve(l, recs, n);
	size_t n_iov;

	if (r < 0)
		return r;
	n_iov = append_vectors(l, recs, n, bytes);
	r = l->ops->pwritev(l->ops->ctx, l->active.fd, l->iov, n_iov, rlog_active(l)->used_bytes);
	if (rlog_is_full(r))
		return append_undo(l, bytes);
	if (r < 0)
		return rlog_latch(l, r);
	append_take(l, recs, n);
	return 0;
}

int rlog_append(struct rlog *l, const struct rlog_rec *recs, size_t n, size_t *ret_n)
{
	size_t done = 0;
	int r;

	*ret_n = 0;
	if (l->failed)
		return -EIO;
	if (l->n_damage > 0)
		return RLOG_E_DAMAGED;
	r = append_check(l, recs, n);
	while (r == 0 && done < n) {
		uint64_t bytes;
		size_t fit = append_fit(l, recs + done, n - done, &bytes);

		r = fit > 0 ? append_write(l, recs + done, fit, bytes) : seg_roll(l);
		if (r == 0)
			done += fit;
	}
	*ret_n = done;
	return r == 0 ? rlog_late_step(l) : r;
}

int rlog_sync(struct rlog *l)
{
	int r;

	if (l->failed)
		return -EIO;
	if (l->durable == rlog_end(l))
		return 0;
	r = l->ops->fdatasync(l->ops->ctx, l->active.fd);
	if (r < 0)
		return rlog_latch(l, r);
	l->durable = rlog_end(l);
	return 0;
}

leash_seq rlog_end(const struct rlog *l)
{
	return l->n_segs ? rlog_active(l)->last : 0;
}

leash_seq rlog_durable(const struct rlog *l)
{
	return l->durable;
}

leash_seq rlog_start(const struct rlog *l)
{
	return l->n_segs ? l->segs[0].first : 1;
}

struct leash_chain rlog_chain(const struct rlog *l)
{
	return l->n_segs ? rlog_active(l)->chain : (struct leash_chain){ 0 };
}

/*
 * Readers. Each has a few segments open with a window and a sparse index of its own.
 *
 * Finding a record: the segment by its name; in it, when the record is not the next one, the digest's offset, else the
 * nearest indexed record before and then header by header. All of these are hints: the frame and header found there
 * must be whole and bear the number. When a header on the way is damaged the segment is searched for the record.
 *
 * A window may be older than the file (the other thread appends), so nothing is called missing or damaged before
 * window and names have been read again.
 */
#include "log/rlog.h"

#include <errno.h>

#include "log/rlog_dig.h"
#include "log/rlog_seg.h"

#define READER_SEGS  2           /* open at a time: one that is read, one that was just left */
#define INDEX_STRIDE (64 * 1024) /* bytes between indexed records */
#define NEAR_RECORDS 16          /* up to so many records ahead it is cheaper to walk than to look up */
#define NOT_HERE     100         /* beside enum rlog_error: the walk met no header before it met the record */

struct place {
	leash_seq seq;
	uint64_t offset;
};

struct rseg {
	leash_seq first; /* 0: not in use */
	struct rlog_win win;
	uint64_t bytes, nonce;
	struct place next;   /* behind the last record read */
	struct place *index; /* ascending, the first record always */
	size_t n_index, cap_index;
	uint64_t used;       /* for choosing which one to close */
};

struct rlog_reader {
	const struct rlog_ops *ops;
	char *dir;
	uint32_t record_bytes_max;
	struct rseg segs[READER_SEGS];
	leash_seq *firsts;
	size_t n_firsts;
	uint64_t uses;
};

static void rseg_close(struct rseg *s)
{
	rlog_win_deinit(&s->win);
	free(s->index);
	*s = (struct rseg){ .win = RLOG_WIN_NULL };
}

int rlog_reader_open(const char *dir, const struct rlog_ops *ops, uint32_t record_bytes_max,
	struct rlog_reader **ret_reader)
{
	struct rlog_reader *r = calloc(1, sizeof *r);

	if (!r)
		return -ENOMEM;
	r->ops = ops;
	r->record_bytes_max = record_bytes_max;
	r->dir = strdup(dir);
	if (!r->dir) {
		free(r);
		return -ENOMEM;
	}
	for (size_t i = 0; i < READER_SEGS; i++)
		r->segs[i].win = (struct rlog_win)RLOG_WIN_NULL;
	*ret_reader = r;
	return 0;
}

void rlog_reader_drop(struct rlog_reader *r)
{
	for (size_t i = 0; i < READER_SEGS; i++)
		rseg_close(&r->segs[i]);
	free(r->firsts);
	r->firsts = NULL;
	r->n_firsts = 0;
}

void rlog_reader_close(struct rlog_reader *r)
{
	if (!r)
		return;
	rlog_reader_drop(r);
	free(r->dir);
	free(r);
}

/* ------------------------------------------------------------------------------------------------------ segments */

static int names_refresh(struct rlog_reader *r)
{
	leash_seq *firsts;
	size_t n;
	int e = rlog_names(r->ops, r->dir, "seg", &firsts, &n);

	if (e < 0)
		return e;
	free(r->firsts);
	r->firsts = firsts;
	r->n_firsts = n;
	return 0;
}

/* The segment that would hold @seq; 0 = none. */
static leash_seq segment_of(const struct rlog_reader *r, leash_seq seq)
{
	size_t lo = 0, hi = r->n_firsts;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (r->firsts[mid] <= seq)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo > 0 ? r->firsts[lo - 1] : 0;
}

static int index_add(struct rseg *s, struct place p)
{
	if (s->n_index > 0 && p.offset < s->index[s->n_index - 1].offset + INDEX_STRIDE)
		return 0;
	if (s->n_index == s->cap_index) {
		size_t cap = s->cap_index ? 2 * s->cap_index : 16;
		struct place *index = realloc(s->index, cap * sizeof *index);

		if (!index)
			return -ENOMEM;
		s->index = index;
		s->cap_index = cap;
	}
	s->index[s->n_index++] = p;
	return 0;
}

static int rseg_open(struct rlog_reader *r, struct rseg *s, leash_seq first)
{
	struct place start = { .seq = first, .offset = RLOG_SEG_HEADER };
	struct rlog_seg_header h;
	char name[RLOG_NAME_BYTES];
	int e;

	rlog_name(name, first, "seg");
	e = rlog_file_open(r->ops, r->dir, name, RLOG_OPEN_READ, &s->win.file);
	if (e == 0)
		e = rlog_seg_header_read(&s->win, first, &h);
	if (e == 0)
		e = index_add(s, start);
	if (e != 0)
		return e;
	s->first = first;
	s->bytes = h.bytes;
	s->nonce = h.nonce;
	s->next = start;
	return 0;
}

static int rseg_get(struct rlog_reader *r, leash_seq first, struct rseg **ret_seg)
{
	struct rseg *s = &r->segs[0];
	int e;

	for (size_t i = 0; i < READER_SEGS; i++) {
		if (r->segs[i].first == first) {
			*ret_seg = &r->segs[i];
			r->segs[i].used = ++r->uses;
			return 0;
		}
		if (r->segs[i].used < s->used)
			s = &r->segs[i];
	}
	rseg_close(s);
	e = rseg_open(r, s, first);
	if (e != 0) {
		rseg_close(s);
		return e;
	}
	s->used = ++r->uses;
	*ret_seg = s;
	return 0;
}

/* ------------------------------------------------------------------------------------------------------- finding */

/* The offset that the digest names, when a record with this number begins there. */
static bool by_digest(struct rlog_reader *r, struct rseg *s, leash_seq seq, struct place *ret_place)
{
	_cleanup_(rlog_file_close) struct rlog_file f = RLOG_FILE_NULL;
	char name[RLOG_NAME_BYTES];
	struct rlog_item item;
	uint64_t offset;

	rlog_name(name, s->first, "dig");
	if (rlog_file_open(r->ops, r->dir, name, RLOG_OPEN_READ, &f) != 0 || rlog_dig_hint(&f, seq, &offset) != 0)
		return false;
	if (rlog_lead_at(&s->win, offset, s->bytes, s->nonce, r->record_bytes_max, &item) != RLOG_AT_GOOD ||
		item.h.seq != seq)
		return false;
	*ret_place = (struct place){ .seq = seq, .offset = offset };
	return true;
}

/* The nearest known place at or before @seq. */
static struct place by_index(const struct rseg *s, leash_seq seq)
{
	size_t lo = 0, hi = s->n_index;
	struct place p;

	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;

		if (s->index[mid].seq <= seq)
			lo = mid;
		else
			hi = mid;
	}
	p = s->index[lo];
	return s->next.seq <= seq && s->next.seq > p.seq ? s->next : p;
}

/* Goes from @p on header by header. NOT_HERE: no header before @seq is reached. */
static int walk_to(struct rlog_reader *r, struct rseg *s, struct place p, leash_seq seq, struct place *ret_place)
{
	while (p.seq < seq) {
		struct rlog_item item;
		int e = rlog_lead_at(&s->win, p.offset, s->bytes, s->nonce, r->record_bytes_max, &item);

		if (e < 0)
			return e;
		if (e != RLOG_AT_GOOD || item.h.seq != p.seq)
			return NOT_HERE;
		p = (struct place){ .seq = p.seq + 1, .offset = p.offset + rlog_item_bytes(&item) };
		e = index_add(s, p);
		if (e < 0)
			return e;
	}
	*ret_place = p;
	return 0;
}

/* Looks at every byte of the segment. */
static int search_for(struct rlog_reader *r, struct rseg *s, leash_seq seq, struct place *ret_place)
{
	struct rlog_scan scan = { .win = &s->win, .nonce = s->nonce, .bytes = s->bytes, .offset = RLOG_SEG_HEADER,
		.next = seq - 1, .record_bytes_max = r->record_bytes_max };
	struct rlog_tail tail;
	int e = rlog_scan_tail(&scan, &tail);

	if (e != 0)
		return e;
	if (tail.next_seq != seq)
		return NOT_HERE;
	*ret_place = (struct place){ .seq = seq, .offset = tail.next_offset };
	return 0;
}

static int find(struct rlog_reader *r, struct rseg *s, leash_seq seq, bool thorough, struct place *ret_place)
{
	bool near = seq >= s->next.seq && seq - s->next.seq <= NEAR_RECORDS;
	int e;

	if (!near && by_digest(r, s, seq, ret_place))
		return 0;
	e = walk_to(r, s, by_index(s, seq), seq, ret_place);
	if (e != 0 && thorough && by_digest(r, s, seq, ret_place))
		return 0;
	if (e == NOT_HERE && thorough)
		e = search_for(r, s, seq, ret_place);
	return e;
}

static int rseg_read(struct rlog_reader *r, struct rseg *s, leash_seq seq, bool thorough, struct rlog_view *ret_view)
{
	struct rlog_item item;
	struct place p;
	int e = find(r, s, seq, thorough, &p);

	if (e != 0)
		return e;
	e = rlog_item_at(&s->win, p.offset, s->bytes, s->nonce, r->record_bytes_max, &item);
	if (e < 0)
		return e;
	if (e == RLOG_AT_HEADER || item.h.seq != seq)
		return NOT_HERE;
	if (e == RLOG_AT_BODY)
		return RLOG_E_DAMAGED;
	s->next = (struct place){ .seq = seq + 1, .offset = p.offset + rlog_item_bytes(&item) };
	*ret_view = (struct rlog_view){ .h = item.h, .header = item.header, .body = item.body };
	return 0;
}

static int read_once(struct rlog_reader *r, leash_seq seq, bool thorough, struct rlog_view *ret_view)
{
	leash_seq first = segment_of(r, seq);
	struct rseg *s = NULL;
	int e;

	if (first == 0)
		return RLOG_E_GONE;
	e = rseg_get(r, first, &s);
	if (e == 0)
		e = rseg_read(r, s, seq, thorough, ret_view);
	if (e != 0 && s)
		rlog_win_forget(&s->win);
	return e;
}

int rlog_read(struct rlog_reader *r, leash_seq seq, struct rlog_view *ret_view)
{
	int e = read_once(r, seq, false, ret_view);

	if (e == 0)
		return 0;
	e = read_once(r, seq, false, ret_view); /* with a fresh window */
	if (e == 0)
		return 0;
	e = names_refresh(r);
	if (e == 0)
		e = read_once(r, seq, true, ret_view);
	if (e == -ENOENT) { /* it went between listing and opening */
		e = names_refresh(r);
		if (e == 0)
			e = segment_of(r, seq) == 0 ? RLOG_E_GONE : RLOG_E_DAMAGED;
	}
	return e == NOT_HERE || e == -EIO ? RLOG_E_DAMAGED : e;
}

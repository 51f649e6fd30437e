/*
 * Verifying a whole log, read only, for the command line and the scrub. Behind a problem it goes on with the next
 * record that can be found, so that all of them are told.
 */
#include "log/rlog.h"

#include <errno.h>
#include <stdio.h>

#include "log/rlog_dig.h"
#include "log/rlog_meta.h"
#include "log/rlog_seg.h"

struct verify {
	const char *dir;
	const struct rlog_ops *ops;
	leash_seq until; /* 0: to the end */
	void (*problem)(const struct rlog_damage *d, void *arg);
	void *arg;
	struct rlog_verify_result res;
	struct leash_chain chain; /* at res.end */
	leash_epoch epoch;
	uint64_t log_time_ns;
	char name[RLOG_NAME_BYTES]; /* of the segment at hand */
};

static void tell(struct verify *v, leash_seq first, leash_seq last, uint64_t offset, const char *reason)
{
	struct rlog_damage d = { .first = first, .last = last, .offset = offset };

	(void)snprintf(d.path, sizeof d.path, "%s", v->name);
	(void)snprintf(d.reason, sizeof d.reason, "%s", reason);
	v->res.n_problems++;
	v->problem(&d, v->arg);
}

static bool past(const struct verify *v, leash_seq next)
{
	return v->until > 0 && next > v->until;
}

static void take(struct verify *v, const struct rlog_item *item)
{
	struct rec_body body;

	if (rec_body_decode(item->body, &body) != 0)
		tell(v, item->h.seq, item->h.seq, item->offset, "the body's fields make no sense");
	if (item->h.log_time_ns < v->log_time_ns)
		tell(v, item->h.seq, item->h.seq, item->offset, "log time goes back");
	v->res.records++;
	v->res.bytes += REC_HEADER_BYTES + item->body.len;
	v->res.end = item->h.seq;
	v->chain = item->h.chain;
	v->epoch = item->h.epoch;
	v->log_time_ns = item->h.log_time_ns;
}

static const char *reason_of(int why)
{
	switch ((enum rlog_scan_end)why) {
	case RLOG_SCAN_HEADER:
		return "no valid record header where a record must be";
	case RLOG_SCAN_BODY:
		return "the record's body does not match its header";
	case RLOG_SCAN_CHAIN:
		return "the chain does not follow from the record before, or the epoch goes back";
	case RLOG_SCAN_UNREADABLE:
		return "the device cannot read it";
	}
	return "unknown";
}

/* No good record at the scan's position. True: it stands at a later one now. False: this segment has no more. */
static int go_on(struct verify *v, struct rlog_scan *s, bool last, int why, bool *ret_more)
{
	struct rlog_tail tail;
	int r = rlog_scan_tail(s, &tail);

	*ret_more = false;
	if (r < 0 || tail.zeroes)
		return r;
	*ret_more = tail.next_seq > 0;
	if (tail.next_seq > 0 || !last || s->next <= v->res.mark)
		tell(v, s->next, tail.next_seq ? tail.next_seq - 1 : 0, s->offset, reason_of(why));
	else
		tell(v, s->next, 0, s->offset, "a torn tail: opening the log cuts it");
	if (tail.next_seq > 0) {
		s->offset = tail.next_offset;
		s->next = tail.next_seq;
		s->adrift = true;
	}
	return 0;
}

static int verify_records(struct verify *v, struct rlog_scan *s, bool last)
{
	struct rlog_item item;
	bool more = true;

	while (more && !past(v, s->next)) {
		int r = rlog_scan_next(s, &item);

		if (r == 0)
			take(v, &item);
		else if (r > 0)
			r = go_on(v, s, last, r, &more);
		if (r < 0)
			return r;
	}
	return 0;
}

/* A digest that is whole must say what the segment holds; one that is not is made again and no problem. */
static int verify_digest(struct verify *v, leash_seq first, leash_seq last)
{
	_cleanup_(freep) struct rep_stretch *stretches = NULL;
	struct rlog_dig d;
	int r = rlog_dig_read(v->ops, v->dir, first, &d, &stretches);

	if (r == 0 && d.last == last && !leash_chain_eq(d.chain, v->chain))
		tell(v, first, last, 0, "the digest contradicts the records");
	return r < 0 ? r : 0;
}

static void verify_place(struct verify *v, const struct rlog_seg_header *h)
{
	leash_seq next = v->res.end + 1;

	if (v->res.start == 0) {
		v->res.start = h->first;
		v->res.end = h->first - 1;
		v->chain = h->base;
		return;
	}
	if (h->first > next)
		tell(v, next, h->first - 1, 0, "a gap: records before this segment are missing");
	else if (h->first < next)
		tell(v, h->first, next - 1, 0, "doubled: the segment before has these records too");
	else if (!leash_chain_eq(h->base, v->chain) || h->prev_epoch != v->epoch)
		tell(v, h->first, h->first, 0, "the segment does not follow from the one before");
}

static int verify_segment(struct verify *v, leash_seq first, leash_seq later)
{
	_cleanup_(rlog_win_deinit) struct rlog_win w = RLOG_WIN_NULL;
	struct rlog_seg_header h;
	struct rlog_scan s;
	int r;

	rlog_name(v->name, first, "seg");
	r = rlog_file_open(v->ops, v->dir, v->name, RLOG_OPEN_READ, &w.file);
	if (r == -ENOENT && v->res.start == 0)
		return 0; /* retention was faster */
	if (r == 0)
		r = rlog_seg_header_read(&w, first, &h);
	if (r == RLOG_E_DAMAGED) {
		tell(v, first, later ? later - 1 : 0, 0, "the segment's header is not whole");
		v->res.start = v->res.start ? v->res.start : first;
		v->res.end = later ? later - 1 : v->res.end;
		return 0;
	}
	if (r < 0)
		return r;
	verify_place(v, &h);
	rlog_scan_start(&s, &w, &h, REC_BODY_BYTES_MAX);
	r = verify_records(v, &s, later == 0);
	if (r == 0 && later > 0 && v->res.end + 1 == later)
		r = verify_digest(v, first, later - 1);
	return r;
}

/* Read behind the list of segments: retention moves the start before it removes a file. */
static int verify_start(struct verify *v, const leash_seq *firsts, size_t n)
{
	struct rlog_marks marks = { 0 };
	int r = rlog_marks_load(v->ops, v->dir, false, &marks);

	if (r < 0 || marks.start == 0 || marks.intent != RLOG_INTENT_NONE || (n > 0 && firsts[0] <= marks.start))
		return r < 0 ? r : 0;
	rlog_name(v->name, marks.start, "seg");
	tell(v, marks.start, n > 0 ? firsts[0] - 1 : 0, 0, "the log's oldest segment is missing");
	return 0;
}

int rlog_verify(const char *dir, const struct rlog_ops *ops, leash_seq until,
	void (*problem)(const struct rlog_damage *d, void *arg), void *arg, struct rlog_verify_result *ret_result)
{
	struct verify v = { .dir = dir, .ops = ops, .until = until, .problem = problem, .arg = arg };
	_cleanup_(freep) leash_seq *firsts = NULL;
	struct rlog_marks marks = { 0 };
	size_t n;
	int r = rlog_marks_load(ops, dir, false, &marks);

	(void)snprintf(v.name, sizeof v.name, "mark");
	if (r == RLOG_E_DAMAGED)
		tell(&v, 0, 0, 0, "neither slot is whole: what was acknowledged is not known");
	else if (r < 0)
		return r;
	v.res.mark = marks.mark;
	r = rlog_names(ops, dir, "seg", &firsts, &n);
	if (r == 0)
		r = verify_start(&v, firsts, n);
	for (size_t i = 0; r == 0 && i < n && !past(&v, firsts[i]); i++)
		r = verify_segment(&v, firsts[i], i + 1 < n ? firsts[i + 1] : 0);
	if (r < 0)
		return r;
	if (v.res.end < v.res.mark && !past(&v, v.res.end + 1))
		tell(&v, v.res.end + 1, v.res.mark, 0, "records that were acknowledged are gone");
	if (v.res.start == 0)
		v.res.start = 1;
	v.res.chain = v.chain;
	*ret_result = v.res;
	return 0;
}

int rlog_peek(const char *dir, const struct rlog_ops *ops, struct rlog_meta *ret_meta, leash_seq *ret_mark)
{
	struct rlog_marks marks = { 0 };
	struct rlog_meta meta;
	int r = rlog_meta_load(ops, dir, &meta);

	if (r != 0)
		return r;
	r = rlog_marks_load(ops, dir, false, &marks);
	if (r != 0 && r != -ENOENT)
		return r;
	*ret_meta = meta;
	*ret_mark = marks.mark;
	return 0;
}

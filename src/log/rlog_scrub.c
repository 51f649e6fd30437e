/*
 * One pass: list the segments; open the one that begins with the next record; verify record by record. Where a record
 * does not verify: once more with a fresh window (it may be older than the file), then a new list (the segment may
 * simply have ended there), and only then it is damage, as far as the next record that can be found.
 */
#include "log/rlog_scrub.h"

#include <errno.h>
#include <stdio.h>

#include "log/rlog_seg.h"

struct rlog_scrub {
	const struct rlog_ops *ops;
	char *dir;
	uint32_t record_bytes_max;
	struct rlog_win win;
	leash_seq first;          /* of the open segment; 0 = none is open */
	struct rlog_scan scan;    /* in it */
	leash_seq next;           /* 0: the pass begins */
	bool adrift;              /* the chain before `next` is not known */
	struct leash_chain chain;
	leash_epoch epoch;
	uint64_t records, bytes;
};

int rlog_scrub_new(const char *dir, const struct rlog_ops *ops, uint32_t record_bytes_max,
	struct rlog_scrub **ret_scrub)
{
	struct rlog_scrub *s = calloc(1, sizeof *s);

	if (!s)
		return -ENOMEM;
	s->dir = strdup(dir);
	if (!s->dir) {
		free(s);
		return -ENOMEM;
	}
	s->ops = ops;
	s->record_bytes_max = record_bytes_max;
	s->win = (struct rlog_win)RLOG_WIN_NULL;
	*ret_scrub = s;
	return 0;
}

static void seg_close(struct rlog_scrub *s)
{
	if (s->win.file.fd >= 0)
		(void)s->ops->drop_cache(s->ops->ctx, s->win.file.fd); /* what was read was read once: a hint */
	rlog_win_deinit(&s->win);
	s->first = 0;
}

void rlog_scrub_free(struct rlog_scrub *s)
{
	if (!s)
		return;
	rlog_win_deinit(&s->win);
	free(s->dir);
	free(s);
}

void rlog_scrub_restart(struct rlog_scrub *s)
{
	rlog_win_deinit(&s->win);
	s->first = 0;
	s->next = 0;
	s->records = s->bytes = 0;
}

struct rlog_scrub_at rlog_scrub_at(const struct rlog_scrub *s)
{
	return (struct rlog_scrub_at){ .next = s->next, .records = s->records, .bytes = s->bytes };
}

static int damage(struct rlog_damage *d, leash_seq file, leash_seq first, leash_seq last, uint64_t offset,
	const char *reason)
{
	char name[RLOG_NAME_BYTES];

	rlog_name(name, file, "seg");
	*d = (struct rlog_damage){ .first = first, .last = last, .offset = offset };
	(void)snprintf(d->path, sizeof d->path, "%s", name);
	(void)snprintf(d->reason, sizeof d->reason, "%s", reason);
	return RLOG_SCRUB_DAMAGED;
}

/* ------------------------------------------------------------------------------------------------------ segments */

static int names(const struct rlog_scrub *s, leash_seq **ret_firsts, size_t *ret_n)
{
	return rlog_names(s->ops, s->dir, "seg", ret_firsts, ret_n);
}

/* The first segment behind @seq; 0: none. */
static leash_seq later_than(const leash_seq *firsts, size_t n, leash_seq seq)
{
	for (size_t i = 0; i < n; i++)
		if (firsts[i] > seq)
			return firsts[i];
	return 0;
}

static bool listed(const leash_seq *firsts, size_t n, leash_seq seq)
{
	return n > 0 && seq > 0 && later_than(firsts, n, seq - 1) == seq;
}

static int file_open(struct rlog_scrub *s, leash_seq first)
{
	char name[RLOG_NAME_BYTES];

	rlog_name(name, first, "seg");
	return rlog_file_open_uncached(s->ops, s->dir, name, &s->win.file);
}

/* Stands behind a stretch without good records: at the beginning of segment @later, or at the end of the log. */
static void skip_to(struct rlog_scrub *s, leash_seq later, leash_seq until)
{
	seg_close(s);
	s->next = later ? later : until + 1;
	s->adrift = true;
}

/* Opens segment @first, which s->next begins. @later: the one behind it; 0: none. */
static int seg_open(struct rlog_scrub *s, leash_seq first, leash_seq later, leash_seq until, uint64_t *bytes,
	struct rlog_damage *ret_damage)
{
	struct rlog_seg_header h;
	int r = file_open(s, first);

	if (r == 0)
		r = rlog_seg_header_read(&s->win, first, &h);
	*bytes += RLOG_SEG_HEADER;
	if (r == RLOG_E_DAMAGED) {
		skip_to(s, later, until);
		return damage(ret_damage, first, first, later ? later - 1 : 0, 0, "the segment's header is not whole");
	}
	if (r < 0) {
		rlog_win_deinit(&s->win);
		return r;
	}
	rlog_scan_start(&s->scan, &s->win, &h, s->record_bytes_max);
	s->first = first;
	if (s->adrift || (leash_chain_eq(h.base, s->chain) && h.prev_epoch == s->epoch))
		return 0;
	skip_to(s, later, until);
	return damage(ret_damage, first, first, later ? later - 1 : 0, 0,
		"the segment does not follow from the one before");
}

/* Where a pass begins, or goes on when retention was faster. */
static void begin_at(struct rlog_scrub *s, leash_seq first)
{
	if (s->next >= first)
		return;
	s->next = first;
	s->adrift = true;
}

/* Finds the segment that begins with the next record. */
static int seg_find(struct rlog_scrub *s, leash_seq from, leash_seq until, uint64_t *bytes,
	struct rlog_damage *ret_damage)
{
	_cleanup_(freep) leash_seq *firsts = NULL;
	leash_seq at, later;
	size_t n;
	int r = names(s, &firsts, &n);

	if (r < 0)
		return r;
	if (from == 0 && n == 0)
		return RLOG_SCRUB_END;
	begin_at(s, from ? from : firsts[0]);
	if (s->next > until)
		return RLOG_SCRUB_END;
	if (!listed(firsts, n, s->next)) {
		at = s->next;
		later = later_than(firsts, n, at);
		skip_to(s, later, until);
		return damage(ret_damage, at, at, later ? later - 1 : 0, 0, "records are missing between segments");
	}
	r = seg_open(s, s->next, later_than(firsts, n, s->next), until, bytes, ret_damage);
	return r == -ENOENT ? 0 : r; /* retention was faster: the next step lists again */
}

/* ------------------------------------------------------------------------------------------------------- records */

static const char *reason_of(int why)
{
	switch ((enum rlog_scan_end)why) {
	case RLOG_SCAN_HEADER: return "no valid record header where a record must be";
	case RLOG_SCAN_BODY: return "the record's body does not match its header";
	case RLOG_SCAN_CHAIN: return "the chain does not follow from the record before, or the epoch goes back";
	case RLOG_SCAN_UNREADABLE: return "the device cannot read it";
	}
	return "unknown";
}

/* Not a good record, twice. Either the segment has ended here, or it is damage up to the next record to be found. */
static int no_record(struct rlog_scrub *s, int why, leash_seq until, struct rlog_damage *ret_damage)
{
	_cleanup_(freep) leash_seq *firsts = NULL;
	leash_seq file = s->first, first = s->scan.next, later;
	uint64_t offset = s->scan.offset;
	struct rlog_tail tail;
	size_t n;
	int r = names(s, &firsts, &n);

	if (r == 0 && first != file && listed(firsts, n, first)) {
		seg_close(s);
		s->next = first;
		return 0;
	}
	if (r == 0)
		r = rlog_scan_tail(&s->scan, &tail);
	if (r < 0)
		return r;
	if (n == 0 || firsts[0] > first) { /* retention took it while it was read; its bytes say nothing */
		seg_close(s);
		return 0;
	}
	later = later_than(firsts, n, file);
	if (tail.next_seq == 0 || (later && tail.next_seq >= later)) {
		skip_to(s, later, until);
		return damage(ret_damage, file, first, later ? later - 1 : 0, offset, reason_of(why));
	}
	s->scan.offset = tail.next_offset;
	s->scan.next = s->next = tail.next_seq;
	s->scan.adrift = true;
	return damage(ret_damage, file, first, tail.next_seq - 1, offset, reason_of(why));
}

static int one_record(struct rlog_scrub *s, leash_seq until, uint64_t *bytes, struct rlog_damage *ret_damage)
{
	struct rlog_item item;
	struct rec_body body;
	int r = rlog_scan_next(&s->scan, &item);

	if (r > 0) {
		rlog_win_forget(&s->win);
		r = rlog_scan_next(&s->scan, &item);
	}
	if (r != 0)
		return r < 0 ? r : no_record(s, r, until, ret_damage);
	*bytes += rlog_item_bytes(&item);
	s->records++;
	s->bytes += rlog_item_bytes(&item);
	s->next = s->scan.next;
	s->chain = item.h.chain;
	s->epoch = item.h.epoch;
	s->adrift = false;
	if (rec_body_decode(item.body, &body) != 0)
		return damage(ret_damage, s->first, item.h.seq, item.h.seq, item.offset, "the body's fields make no sense");
	return 0;
}

static int pass_end(struct rlog_scrub *s)
{
	seg_close(s);
	s->next = 0;
	s->records = s->bytes = 0;
	return RLOG_SCRUB_END;
}

int rlog_scrub_step(struct rlog_scrub *s, leash_seq from, leash_seq until, uint64_t bytes_max, uint64_t *ret_bytes,
	struct rlog_damage *ret_damage)
{
	int r = 0;

	*ret_bytes = 0;
	if (s->next > until)
		return pass_end(s);
	if (s->first == 0)
		r = seg_find(s, from, until, ret_bytes, ret_damage);
	while (r == 0 && s->first > 0 && s->next <= until && *ret_bytes < MAX2(bytes_max, (uint64_t)1))
		r = one_record(s, until, ret_bytes, ret_damage);
	return r == RLOG_SCRUB_END ? pass_end(s) : r;
}

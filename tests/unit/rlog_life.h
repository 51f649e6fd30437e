/*
 * Lives of a log, for tests in which they end badly: random steps, and what the log on disk may look like if the life ends
 * now (check_state()). In tests/unit, test_rlog_crash.c takes states at random; tests/sim/crash_points.c takes all.
 */
#ifndef LEASH_TESTS_RLOG_LIFE_H
#define LEASH_TESTS_RLOG_LIFE_H

#include <errno.h>
#include <stdio.h>

#define BOOK_RECORDS 3000

#include "log/rlog_file.h"
#include "log/rlog_seg.h"
#include "rlog_make.h"
#include "simdisk.h"

#define DIR     "/log"
#define SEGMENT (4096 * 5)

static struct rlog_conf conf = {
	.dir = DIR, .segment_bytes = SEGMENT, .reserve_bytes = 8192, .digest_seed = BOOK_SEED,
	.record_bytes_max = BOOK_BODY_MAX,
};

/* One life of a node, and what its log may look like if it ends now. */
struct life {
	struct simdisk *disk;
	struct rlog *log;
	struct book book;
	leash_seq synced;               /* at least this, */
	leash_seq start_lo, start_hi;   /* and the oldest record in here; */
	leash_seq mark;                 /* the mark is at least this; */
	bool resetting;                 /* or empty, starting here: */
	leash_seq reset_start;
	uint64_t promise, promise_next; /* metadata: one of these */
	bool created;                   /* rlog_open() had returned once */
	struct simrng rng;
	const unsigned *odds;           /* of each step, of 100 in all: enum step */
	/* of the crash hook */
	uint64_t states, every;
};

static inline void told(const struct rlog_damage *d, void *arg)
{
	(void)arg;
	ck_abort_msg("records %llu..%llu in %s at %llu: %s", (unsigned long long)d->first,
		(unsigned long long)d->last, d->path, (unsigned long long)d->offset, d->reason);
}

static inline int open_on(struct simdisk *disk, struct rlog **ret_log, struct rlog_state *ret_state)
{
	return rlog_open(&conf, simdisk_ops(disk), "engine", "P1", 77, ret_log, ret_state);
}

/* What an opening reported (@was) survives the next loss of power (scenario B4): nothing of it was only in memory. */
static inline void check_reported(const struct life *life, struct simdisk *disk, const struct rlog_state *was)
{
	struct simrng rng = { life->rng.state ^ was->end };
	struct rlog_state st;
	struct rlog *l;

	simdisk_crash(disk, &rng);
	NEED(open_on(disk, &l, &st) == 0);
	NEED(!st.damaged && !st.created && st.torn_from == 0);
	NEED(st.end == was->end && st.start == was->start && st.mark == was->mark);
	NEED(leash_chain_eq(st.chain, was->chain));
	NEED(st.meta.promise == was->meta.promise);
	rlog_close(l);
}

/* Were its oldest segment @first lost now, it would be told from one that retention removed. */
static inline void check_oldest(struct simdisk *disk, leash_seq first, const char *when)
{
	struct simdisk *d = simdisk_clone(disk);
	const struct rlog_ops *ops = simdisk_ops(d);
	char name[RLOG_NAME_BYTES];
	struct rlog_state st;
	struct rlog *l;

	rlog_name(name, first, "seg");
	NEED(rlog_file_unlink(ops, DIR, name) == 0);
	NEED(open_on(d, &l, &st) == 0);
	ck_assert_msg(st.damaged, "%s: nobody misses segment %llu", when, (unsigned long long)first);
	rlog_close(l);
	simdisk_free(d);
}

/* The log on @disk after a crash is one that @life allows; it goes on working. */
static inline void check_state(const struct life *life, struct simdisk *disk, const char *when)
{
	struct rlog_verify_result res;
	struct rlog_damage const *d;
	struct rlog_state st;
	struct rlog *l;
	size_t n;
	int r = open_on(disk, &l, &st);

	ck_assert_msg(r == 0, "%s: open says %d", when, r);
	d = rlog_damage_get(l, &n);
	ck_assert_msg(!st.damaged, "%s: damage %llu..%llu %s %s; synced %llu mark %llu", when,
		(unsigned long long)(n ? d->first : 0), (unsigned long long)(n ? d->last : 0), n ? d->path : "",
		n ? d->reason : "", (unsigned long long)life->synced, (unsigned long long)st.mark);
	if (!life->created && st.created) {
		rlog_close(l);
		return;
	}
	NEED(st.meta.promise == life->promise || st.meta.promise == life->promise_next);
	NEED(st.meta.incarnation == 77);
	if (life->resetting && st.start == life->reset_start && st.end == st.start - 1) {
		rlog_close(l);
		return;
	}
	ck_assert_msg(st.end >= life->synced && st.end <= life->book.end, "%s: end %llu, not %llu..%llu", when,
		(unsigned long long)st.end, (unsigned long long)life->synced, (unsigned long long)life->book.end);
	ck_assert_msg(st.start >= life->start_lo && st.start <= life->start_hi, "%s: start %llu", when,
		(unsigned long long)st.start);
	ck_assert_uint_ge(st.mark, MIN2(life->mark, life->resetting ? 0 : life->mark));
	ck_assert_uint_le(st.mark, MAX2(st.end, life->mark));
	book_compare(&life->book, DIR, simdisk_ops(disk), l, st.end);
	NEED(rlog_verify(DIR, simdisk_ops(disk), 0, told, NULL, &res) == 0);
	NEED(res.end == st.end);
	NEED(leash_chain_eq(res.chain, st.chain));
	rlog_close(l);
	check_reported(life, disk, &st);
	/* While retention is at work an older segment than it keeps may be lost; and the first one while it is made. */
	if (life->synced >= st.start && life->start_lo == life->start_hi && !life->resetting && st.end % 16 == 0)
		check_oldest(disk, st.start, when);
}

/* ----------------------------------------------------------------------------------- steps of a life; 0, or it ended */

static inline int step_append(struct life *f)
{
	size_t n = 1 + (size_t)simrng_below(&f->rng, 6), bytes = (size_t)simrng_below(&f->rng, 900), done;
	struct rlog_rec recs[8];
	leash_seq from = f->book.end + 1;
	int r;

	if (simrng_below(&f->rng, 10) == 0)
		f->book.epoch++;
	for (size_t i = 0; i < n; i++) {
		(void)book_next(&f->book, bytes); /* in the book before it is on disk */
		recs[i] = book_rec(&f->book, from + i);
	}
	r = rlog_append(f->log, recs, n, &done);
	if (r != -EIO) { /* then any part of the rest may be there */
		f->book.end = from + done - 1;
		f->synced = MAX2(f->synced, rlog_durable(f->log));
	}
	return r == RLOG_E_FULL ? 0 : r;
}

static inline int step_sync(struct life *f)
{
	int r = rlog_sync(f->log);

	if (r == 0)
		f->synced = f->book.end;
	return r;
}

static inline int step_mark(struct life *f)
{
	leash_seq seq = rlog_durable(f->log);
	int r;

	if (seq > f->mark)
		seq -= simrng_below(&f->rng, seq - f->mark);
	r = rlog_mark(f->log, seq);
	if (r == 0)
		f->mark = MAX2(f->mark, seq);
	return r == RLOG_E_FULL ? 0 : r;
}

static inline int step_meta(struct life *f)
{
	struct rlog_state st;
	int r;

	rlog_state_get(f->log, &st);
	f->promise_next = st.meta.promise = f->promise + 1;
	r = rlog_meta_write(f->log, &st.meta);
	if (r == 0)
		f->promise = f->promise_next;
	else if (r == RLOG_E_FULL)
		f->promise_next = f->promise;
	return r == RLOG_E_FULL ? 0 : r;
}

static inline int step_truncate(struct life *f)
{
	leash_seq end = rlog_end(f->log), start = rlog_start(f->log), back = simrng_below(&f->rng, 30);
	leash_seq seq = end + 1 > start + back ? end - back : start - 1;
	int r;

	f->synced = MIN2(f->synced, seq);
	f->mark = MIN2(f->mark, seq);
	r = rlog_truncate(f->log, seq);
	if (r == 0 && seq < end) {
		f->book.end = seq;
		f->book.epoch++; /* another primary, and the same numbers again with other bytes */
		f->book.flavour++;
	}
	if (r != -EIO)
		f->synced = rlog_durable(f->log);
	return r == RLOG_E_FULL ? 0 : r;
}

static inline int step_retain(struct life *f)
{
	leash_seq keep = rlog_start(f->log) + simrng_below(&f->rng, 60);
	int r;

	f->start_hi = MAX2(f->start_hi, MIN2(keep, f->synced + 1));
	r = rlog_retain(f->log, keep);
	if (r == 0)
		f->start_lo = f->start_hi = rlog_start(f->log);
	return r == RLOG_E_FULL ? 0 : r;
}

static inline int step_reset(struct life *f)
{
	leash_seq start = f->book.end + 1 + simrng_below(&f->rng, 100);
	struct leash_chain base = { .lo = start, .hi = 9 };
	int r;

	if (start + 500 > BOOK_RECORDS)
		return 0;
	f->resetting = true;
	f->reset_start = start;
	f->mark = 0;
	r = rlog_reset(f->log, start, base);
	if (r != 0)
		return r;
	f->resetting = false;
	f->book.start = f->start_lo = f->start_hi = start;
	f->book.base = base;
	f->book.end = f->synced = start - 1;
	return 0;
}

static inline int step_prepare(struct life *f)
{
	bool ready;
	int r = rlog_prepare(f->log, 4096 * (1 + simrng_below(&f->rng, 4)), &ready);

	return r == RLOG_E_FULL ? rlog_reserve_fill(f->log) : r;
}

static inline int step_reopen(struct life *f)
{
	struct rlog_state st;
	int r;

	rlog_close(f->log);
	f->log = NULL;
	simdisk_kill(f->disk);
	r = open_on(f->disk, &f->log, &st);
	if (r != 0)
		return r;
	if (st.damaged) /* an injected read error: nothing was changed; that life ends */
		return -EIO;
	ck_assert_uint_eq(st.end, f->book.end); /* the page cache is still there */
	f->synced = st.end;
	return 0;
}

enum step { STEP_APPEND, STEP_SYNC, STEP_MARK, STEP_META, STEP_TRUNCATE, STEP_RETAIN, STEP_RESET, STEP_PREPARE, STEP_REOPEN,
	STEPS };

static int (*const life_steps[STEPS])(struct life *f) = { step_append, step_sync, step_mark, step_meta, step_truncate,
	step_retain, step_reset, step_prepare, step_reopen };

static const unsigned odds_usual[STEPS] = { 45, 20, 10, 5, 6, 4, 1, 5, 4 };

static inline int life_step(struct life *f)
{
	unsigned dice = (unsigned)simrng_below(&f->rng, 100), kind = 0;

	while (kind < STEPS - 1 && dice >= f->odds[kind])
		dice -= f->odds[kind++];
	return life_steps[kind](f);
}

static inline void life_init(struct life *f, uint64_t seed)
{
	*f = (struct life){ .disk = simdisk_new(seed), .start_lo = 1, .start_hi = 1, .rng = { seed }, .every = 1,
		.odds = odds_usual };
	book_init(&f->book);
}

static inline int life_run(struct life *f, int steps)
{
	struct rlog_state st;
	int r = open_on(f->disk, &f->log, &st);

	f->created = r == 0;
	for (int i = 0; r == 0 && i < steps; i++)
		r = life_step(f);
	return r;
}

static inline void life_deinit(struct life *f)
{
	rlog_close(f->log);
	simdisk_free(f->disk);
	book_deinit(&f->book);
}

/* Every record that can be read is the right one; the others are called damaged. */
static inline size_t unreadable(const struct life *f, struct simdisk *d, leash_seq end)
{
	struct rlog_reader *reader;
	struct rlog_view v;
	size_t bad = 0;

	NEED(rlog_reader_open(DIR, simdisk_ops(d), BOOK_BODY_MAX, &reader) == 0);
	for (leash_seq seq = 1; seq <= end; seq++) {
		int r = rlog_read(reader, seq, &v);

		NEED(r == 0 || r == RLOG_E_DAMAGED);
		if (r == 0)
			NEED(v.h.seq == seq && book_has(&f->book, &v));
		bad += r != 0;
	}
	rlog_reader_close(reader);
	return bad;
}

#endif

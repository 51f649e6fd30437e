/* Repair in place: whatever happened to a segment, what comes back is what was there, or nothing is touched. */
#include <errno.h>
#include <stdio.h>

#include "log/rlog_rebuild.h"
#include "rlog_make.h"
#include "simdisk.h"
#include "unit.h"

#define SEGMENT  (4096 * 8)
#define BODY     500
#define SEGMENTS 4

struct fix {
	struct simdisk *disk;
	struct book book;
	struct rlog *log;
	struct rlog_state st;
	leash_seq mark;
};

static void open_log(struct fix *f)
{
	const struct rlog_conf conf = { .dir = "P1", .segment_bytes = SEGMENT, .digest_seed = BOOK_SEED,
		.record_bytes_max = BOOK_BODY_MAX };

	ck_assert_int_eq(rlog_open(&conf, simdisk_ops(f->disk), "engine", "P1", 5, &f->log, &f->st), 0);
}

static void close_log(struct fix *f)
{
	rlog_close(f->log);
	f->log = NULL;
}

static void append(struct fix *f, int n)
{
	for (int i = 0; i < n; i++)
		ck_assert_int_eq(book_append(&f->book, f->log, 1, BODY), 0);
	ck_assert_int_eq(rlog_sync(f->log), 0);
}

static void init(struct fix *f)
{
	*f = (struct fix){ .disk = simdisk_new(1) };
	book_init(&f->book);
	open_log(f);
	while (rlog_segments(f->log) < SEGMENTS)
		append(f, 1);
	append(f, 12);
	ck_assert_int_eq(rlog_mark(f->log, f->book.end), 0);
}

static void deinit(struct fix *f)
{
	rlog_close(f->log);
	simdisk_free(f->disk);
	book_deinit(&f->book);
}

static struct rlog_segment_info segment(const struct fix *f, size_t i)
{
	struct rlog_segment_info info;

	ck_assert_int_eq(rlog_segment_info(f->log, i, &info), 0);
	return info;
}

static const char *path_of(leash_seq first)
{
	static char path[64];

	(void)snprintf(path, sizeof path, "P1/%020llu.seg", (unsigned long long)first);
	return path;
}

/* ------------------------------------------------------------------------------------------------- kinds of damage */

enum hurt { HURT_RECORD, HURT_TWO, HURT_MANY, HURT_HEADER, HURT_CUT, HURT_ZERO, HURT_DELETE, HURT_LAST, HURTS };

static void flip(struct fix *f, leash_seq first, uint64_t offset)
{
	ck_assert(simdisk_flip(f->disk, path_of(first), offset, 0x10));
}

static void zero_file(struct fix *f, leash_seq first, uint64_t from, uint64_t to)
{
	const struct rlog_ops *ops = simdisk_ops(f->disk);
	static uint8_t zeroes[SEGMENT];
	struct iovec v = { zeroes, (size_t)(to - from) };
	int fd;

	ck_assert_int_eq(ops->open(ops->ctx, path_of(first), RLOG_OPEN_WRITE, &fd), 0);
	ck_assert_int_eq(ops->pwritev(ops->ctx, fd, &v, 1, from), 0);
	ck_assert_int_eq(ops->fdatasync(ops->ctx, fd), 0);
	ops->close(ops->ctx, fd);
}

static void cut_file(struct fix *f, leash_seq first, uint64_t bytes)
{
	const struct rlog_ops *ops = simdisk_ops(f->disk);
	int fd;

	ck_assert_int_eq(ops->open(ops->ctx, path_of(first), RLOG_OPEN_WRITE, &fd), 0);
	ck_assert_int_eq(ops->truncate(ops->ctx, fd, bytes), 0);
	ck_assert_int_eq(ops->fdatasync(ops->ctx, fd), 0);
	ops->close(ops->ctx, fd);
}

static void hurt(struct fix *f, const struct rlog_segment_info *s, enum hurt how)
{
	const struct rlog_ops *ops = simdisk_ops(f->disk);
	uint64_t used = s->used_bytes;

	switch (how) {
	case HURT_RECORD: flip(f, s->first, 4096 + 700); break;
	case HURT_TWO:
		flip(f, s->first, 4096 + 3);
		flip(f, s->first, 4096 + (used - 4096) / 2);
		break;
	case HURT_MANY:
		for (uint64_t at = 4096 + 90; at < used - 1400; at += 400)
			flip(f, s->first, at);
		break;
	case HURT_HEADER: flip(f, s->first, 30); break;
	case HURT_CUT: cut_file(f, s->first, 4096 + (used - 4096) / 2); break;
	case HURT_ZERO: zero_file(f, s->first, 4096 + 100, used); break;
	case HURT_DELETE: ck_assert_int_eq(ops->unlink(ops->ctx, path_of(s->first)), 0); break;
	case HURT_LAST: flip(f, s->first, used - 20); break;
	case HURTS: break;
	}
}

/* ------------------------------------------------------------------------------------------------------- repairing */

/* What another node with the same log gives: up to @batch records from @need on. */
static int give(struct fix *f, struct rlog_rebuild *b, leash_seq need, size_t batch)
{
	struct rlog_rec recs[64];
	size_t n = 0;

	for (; n < batch && need + n <= f->book.end; n++)
		recs[n] = book_rec(&f->book, need + n);
	ck_assert_uint_ge(n, 1);
	return rlog_rebuild_put(b, recs, n);
}

#define REBUILT 1000

static int finished(struct rlog_rebuild *b, int r)
{
	if (r != RLOG_REBUILD_READY)
		return r;
	r = rlog_rebuild_finish(b);
	return r == 0 ? REBUILT : r;
}

static int rebuild(struct fix *f, leash_seq seq, size_t batch)
{
	struct rlog_rebuild *b = NULL;
	int r = rlog_rebuild_new(f->log, seq, &b);

	for (int i = 0; r == 0; i++) {
		leash_seq need;

		ck_assert_int_lt(i, 10000);
		r = rlog_rebuild_step(b, 5000, &need);
		if (r == 0 && need)
			r = give(f, b, need, batch);
	}
	r = finished(b, r);
	rlog_rebuild_free(b);
	return r;
}

static void count(const struct rlog_damage *d, void *arg)
{
	(void)d;
	(*(int *)arg)++;
}

static void check_whole(struct fix *f)
{
	struct rlog_verify_result res;
	struct rlog_reader *reader;
	struct rlog_view v;
	int problems = 0;

	ck_assert_int_eq(rlog_verify("P1", simdisk_ops(f->disk), 0, count, &problems, &res), 0);
	ck_assert_int_eq(problems, 0);
	ck_assert_uint_eq(res.end, f->book.end);
	ck_assert_int_eq(rlog_reader_open("P1", simdisk_ops(f->disk), BOOK_BODY_MAX, &reader), 0);
	for (leash_seq seq = rlog_start(f->log); seq <= f->book.end; seq++)
		ck_assert(rlog_read(reader, seq, &v) == 0 && book_has(&f->book, &v));
	rlog_reader_close(reader);
	ck_assert(!simdisk_exists(f->disk, "P1/repair"));
}

/* Finds the damage as a reader would, until there is none. */
static leash_seq first_damaged(struct fix *f)
{
	struct rlog_reader *reader;
	struct rlog_view v;
	leash_seq seq = rlog_start(f->log);

	ck_assert_int_eq(rlog_reader_open("P1", simdisk_ops(f->disk), BOOK_BODY_MAX, &reader), 0);
	while (seq <= f->book.end && rlog_read(reader, seq, &v) == 0)
		seq++;
	rlog_reader_close(reader);
	return seq <= f->book.end ? seq : 0;
}

/* A hurt header hides no record from readers that find them all the same; the scrub tells. */
static leash_seq damaged_at(struct fix *f, const struct rlog_segment_info *s)
{
	leash_seq seq = first_damaged(f);

	return seq ? seq : s->first;
}

/* _i: segment and kind of damage, while the log is in use. */
START_TEST(running)
{
	size_t batch = _i % 2 ? 1 : 64;
	struct rlog_segment_info s;
	struct fix f;

	init(&f);
	s = segment(&f, (size_t)_i % SEGMENTS);
	hurt(&f, &s, (enum hurt)(_i / SEGMENTS));
	ck_assert_int_eq(rebuild(&f, damaged_at(&f, &s), batch), REBUILT);
	ck_assert_uint_eq(first_damaged(&f), 0);
	append(&f, 100);
	check_whole(&f);
	close_log(&f);
	open_log(&f);
	ck_assert(!f.st.damaged);
	ck_assert_uint_eq(f.st.end, f.book.end);
	append(&f, 1);
	check_whole(&f);
	deinit(&f);
}
END_TEST

/* The same at rest. The end of the last segment is not to be proven. */
START_TEST(at_rest)
{
	bool last = _i % SEGMENTS == SEGMENTS - 1;
	enum hurt how = (enum hurt)(_i / SEGMENTS);
	struct rlog_segment_info s;
	bool provable;
	struct fix f;
	int n = 0;

	init(&f);
	s = segment(&f, (size_t)_i % SEGMENTS);
	close_log(&f);
	hurt(&f, &s, how);
	provable = !last || how == HURT_RECORD || how == HURT_TWO || how == HURT_MANY;
	if (!last) { /* what is behind a digest is not looked at when opening */
		const struct rlog_ops *ops = simdisk_ops(f.disk);
		char path[64];

		(void)snprintf(path, sizeof path, "P1/%020llu.dig", (unsigned long long)s.first);
		ck_assert_int_eq(ops->unlink(ops->ctx, path), 0);
	}
	for (open_log(&f); f.st.damaged; open_log(&f)) {
		size_t n_damage;
		int r = rebuild(&f, rlog_damage_get(f.log, &n_damage)[0].first, 7);

		ck_assert_int_eq(r, provable ? REBUILT : RLOG_E_DAMAGED);
		if (!provable)
			break;
		close_log(&f);
		ck_assert_int_lt(n++, 5);
	}
	ck_assert(f.st.damaged == !provable);
	if (provable) {
		ck_assert_uint_eq(f.st.end, f.book.end);
		append(&f, 3);
		check_whole(&f);
	}
	deinit(&f);
}
END_TEST

/* What does not lead to what stands behind it is not taken, and nothing is changed. */
START_TEST(another_past)
{
	struct rlog_segment_info s;
	struct rlog_rebuild *b;
	struct fix f, other;
	leash_seq need = 0, bad;
	struct rlog_rec rec;
	int r;

	init(&f);
	init(&other);
	s = segment(&f, 1);
	flip(&f, s.first, _i ? s.used_bytes - 20 : 4096 + 20);
	bad = _i ? s.last : s.first; /* a record of its own closes the chain, or the next segment */
	close_log(&other);
	other.book.end = bad - 1;
	other.book.flavour = 2;
	(void)book_next(&other.book, BODY); /* follows from what is before, but is not what was there */
	rec = book_rec(&other.book, bad);
	ck_assert_int_eq(rlog_rebuild_new(f.log, s.first, &b), 0);
	while (need == 0)
		ck_assert_int_eq(rlog_rebuild_step(b, 100000, &need), 0);
	ck_assert_uint_eq(need, bad);
	r = rlog_rebuild_put(b, &rec, 1);
	for (int i = 0; r == 0 && i < 10; i++)
		r = rlog_rebuild_step(b, 100000, &need);
	ck_assert_int_eq(r, RLOG_E_CHAIN);
	rlog_rebuild_free(b);
	ck_assert_uint_eq(first_damaged(&f), bad);
	ck_assert_int_eq(rebuild(&f, s.first, 3), REBUILT);
	check_whole(&f);
	deinit(&other);
	deinit(&f);
}
END_TEST

START_TEST(wrong_order)
{
	struct rlog_segment_info s;
	struct rlog_rebuild *b;
	leash_seq need = 0;
	struct rlog_rec rec;
	struct fix f;

	init(&f);
	s = segment(&f, 1);
	flip(&f, s.first, 4096 + 20);
	ck_assert_int_eq(rlog_rebuild_new(f.log, s.first, &b), 0);
	while (need == 0)
		ck_assert_int_eq(rlog_rebuild_step(b, 100000, &need), 0);
	rec = book_rec(&f.book, need + 1);
	ck_assert_int_eq(rlog_rebuild_put(b, &rec, 1), RLOG_E_ORDER);
	ck_assert_int_eq(rlog_rebuild_put(b, &rec, 0), RLOG_E_ORDER);
	ck_assert_int_eq(give(&f, b, need, 1), 0);
	ck_assert_uint_eq(rlog_rebuild_taken(b).records, 1);
	ck_assert_uint_eq(rlog_rebuild_taken(b).first, need);
	rlog_rebuild_free(b);
	deinit(&f);
}
END_TEST

/* The log lives on meanwhile: appends behind the damage, a new segment, retention. */
START_TEST(living)
{
	struct rlog_segment_info s;
	struct rlog_rebuild *b;
	leash_seq need;
	struct fix f;
	int r = 0;

	init(&f);
	s = segment(&f, SEGMENTS - 1);
	flip(&f, s.first, 4096 + 700);
	ck_assert_int_eq(rlog_rebuild_new(f.log, s.first, &b), 0);
	for (int i = 0; r == 0; i++) {
		ck_assert_int_lt(i, 1000);
		append(&f, i < 100 ? 1 : 0);
		r = rlog_rebuild_step(b, 5000, &need);
		if (r == 0 && need)
			r = give(&f, b, need, 2);
	}
	ck_assert_int_eq(finished(b, r), REBUILT);
	ck_assert_uint_eq(rlog_rebuild_taken(b).records, 1);
	rlog_rebuild_free(b);
	append(&f, 30);
	check_whole(&f);
	s = segment(&f, 1);
	flip(&f, s.first, 4096 + 700);
	ck_assert_int_eq(rlog_rebuild_new(f.log, s.first, &b), 0);
	ck_assert_int_eq(rlog_rebuild_step(b, 5000, &need), 0);
	ck_assert_int_eq(rlog_retain(f.log, segment(&f, 2).first), 0);
	ck_assert_int_eq(rlog_rebuild_step(b, 5000, &need), RLOG_E_GONE);
	rlog_rebuild_free(b);
	f.book.start = rlog_start(f.log);
	check_whole(&f);
	hurt(&f, &(struct rlog_segment_info){ .first = rlog_start(f.log) }, HURT_DELETE); /* the oldest, behind retention */
	ck_assert_int_eq(rebuild(&f, rlog_start(f.log), 20), REBUILT);
	check_whole(&f);
	deinit(&f);
}
END_TEST

START_TEST(no_room)
{
	struct rlog_segment_info s;
	struct fix f;

	init(&f);
	s = segment(&f, 1);
	flip(&f, s.first, 4096 + 700);
	simdisk_capacity(f.disk, simdisk_used(f.disk) + 8192);
	ck_assert_int_eq(rebuild(&f, s.first, 3), RLOG_E_FULL);
	simdisk_capacity(f.disk, 0);
	ck_assert_int_eq(rebuild(&f, s.first, 3), REBUILT);
	check_whole(&f);
	deinit(&f);
}
END_TEST

/* ------------------------------------------------------------------------------------- the power fails at each point */

/* False: the repair was through before operation @k. */
static bool crash_at(uint64_t k, enum hurt how, size_t which)
{
	struct simrng rng = { .state = k };
	struct rlog_segment_info s;
	bool crashed;
	struct fix f;
	leash_seq seq;
	int n = 0;

	init(&f);
	s = segment(&f, which);
	hurt(&f, &s, how);
	seq = damaged_at(&f, &s);
	simdisk_fault(f.disk, SIMDISK_ALL, k, -EIO, true);
	(void)rebuild(&f, seq, 64);
	crashed = simdisk_fault_hit(f.disk);
	simdisk_fault_clear(f.disk);
	if (crashed) {
		close_log(&f);
		simdisk_crash(f.disk, &rng);
		open_log(&f);
	}
	while (f.st.damaged || (seq = first_damaged(&f)) != 0) {
		size_t n_damage;

		if (f.st.damaged)
			seq = rlog_damage_get(f.log, &n_damage)[0].first;
		ck_assert_int_eq(rebuild(&f, seq, 5), REBUILT);
		close_log(&f);
		open_log(&f);
		ck_assert_int_lt(n++, 5);
	}
	check_whole(&f);
	deinit(&f);
	return crashed;
}

START_TEST(power_loss)
{
	static const struct {
		enum hurt how;
		size_t which;
	} cases[] = { { HURT_RECORD, 1 }, { HURT_RECORD, SEGMENTS - 1 }, { HURT_DELETE, 2 }, { HURT_HEADER, 1 } };
	uint64_t k = 0;

	while (crash_at(k, cases[_i].how, cases[_i].which))
		k++;
	ck_assert_uint_gt(k, 20);
}
END_TEST


/* Larger records of another past: that they do not fit proves nothing. */
START_TEST(larger_records_of_another_past)
{
	struct rlog_segment_info s;
	struct rlog_rebuild *b;
	struct fix f, other;
	leash_seq need;
	int r = 0;

	init(&f);
	init(&other);
	s = segment(&f, 1);
	flip(&f, s.first, 4096 + 20);
	close_log(&other);
	other.book.end = s.first - 1;
	other.book.flavour = 2;
	for (int i = 0; i < 60; i++)
		(void)book_next(&other.book, 900);
	ck_assert_int_eq(rlog_rebuild_new(f.log, s.first, &b), 0);
	for (int i = 0; r == 0 && i < 200; i++) {
		r = rlog_rebuild_step(b, 100000, &need);
		if (r == 0 && need)
			r = give(&other, b, need, 1);
	}
	ck_assert_int_eq(r, RLOG_E_CHAIN);
	rlog_rebuild_free(b);
	deinit(&other);
	deinit(&f);
}
END_TEST

/* Whatever fails while the new segment is put into its place, one of the two stays. */
START_TEST(errors_while_swapping)
{
	static const unsigned masks[] = { SIMDISK_BIT(SIMDISK_SYNC_DIR), SIMDISK_BIT(SIMDISK_RENAME) };
	bool hit = true;

	for (uint64_t k = 0; hit; k++) {
		struct rlog_segment_info s;
		struct rlog_rebuild *b;
		leash_seq need;
		struct fix f;
		int r = 0;

		init(&f);
		s = segment(&f, SEGMENTS - 1);
		flip(&f, s.first, 4096 + 700);
		ck_assert_int_eq(rlog_rebuild_new(f.log, s.first, &b), 0);
		while (r == 0) {
			r = rlog_rebuild_step(b, 100000, &need);
			if (r == 0 && need)
				r = give(&f, b, need, 1);
		}
		ck_assert_int_eq(r, RLOG_REBUILD_READY);
		simdisk_fault(f.disk, masks[_i], k, -EIO, false);
		r = rlog_rebuild_finish(b);
		rlog_rebuild_free(b);
		hit = simdisk_fault_hit(f.disk);
		ck_assert_int_eq(r, hit ? -EIO : 0);
		simdisk_fault_clear(f.disk);
		close_log(&f);
		ck_assert(simdisk_exists(f.disk, path_of(s.first)) || simdisk_exists(f.disk, "P1/repair"));
		open_log(&f);
		ck_assert(f.st.damaged || f.st.end == f.book.end);
		deinit(&f);
	}
}
END_TEST

/* Rot in the last segment, and behind it a torn group: its first record is lost, its second is not. Nobody has those. */
START_TEST(rot_and_a_torn_tail)
{
	struct rlog_segment_info s;
	struct rlog_rec recs[3];
	struct fix f;
	size_t n, done;
	leash_seq good;
	uint64_t at;

	init(&f);
	good = f.book.end;
	at = segment(&f, SEGMENTS - 1).used_bytes;
	for (int i = 0; i < 3; i++) {
		(void)book_next(&f.book, BODY);
		recs[i] = book_rec(&f.book, good + 1 + (leash_seq)i);
	}
	ck_assert_int_eq(rlog_append(f.log, recs, 3, &done), 0); /* and never synced */
	s = segment(&f, SEGMENTS - 1);
	close_log(&f);
	zero_file(&f, s.first, at, at + 512);
	flip(&f, s.first, 4096 + 700);
	f.book.end = good;
	open_log(&f);
	ck_assert(f.st.damaged);
	ck_assert_int_eq(rebuild(&f, rlog_damage_get(f.log, &n)[0].first, 1), REBUILT);
	close_log(&f);
	open_log(&f);
	ck_assert(!f.st.damaged && f.st.end == good);
	check_whole(&f);
	deinit(&f);
}
END_TEST

/* A cut meets rot in a segment that was finished long ago: opening must not believe its digest, or every life ends there. */
START_TEST(rot_below_a_cut)
{
	struct rlog_segment_info s;
	leash_seq seq, rotten;
	struct fix f;
	size_t n;

	init(&f);
	s = segment(&f, 1);
	hurt(&f, &s, _i ? HURT_TWO : HURT_RECORD);
	rotten = first_damaged(&f);
	seq = s.last - 1;
	ck_assert_uint_lt(rotten, seq);
	ck_assert_int_eq(rlog_truncate(f.log, seq), -EIO);
	close_log(&f);
	open_log(&f);
	ck_assert(f.st.damaged);
	ck_assert_uint_eq(rlog_damage_get(f.log, &n)[0].first, rotten);
	ck_assert_int_eq(rebuild(&f, rotten, 3), REBUILT);
	close_log(&f);
	open_log(&f);
	f.book.end = seq;
	ck_assert(!f.st.damaged && f.st.end == seq);
	check_whole(&f);
	append(&f, 3);
	check_whole(&f);
	deinit(&f);
}
END_TEST

/* The configuration has smaller segments meanwhile: what was one stays one. */
START_TEST(smaller_segments)
{
	const struct rlog_conf conf = { .dir = "P1", .segment_bytes = 4096 * 5, .digest_seed = BOOK_SEED,
		.record_bytes_max = BOOK_BODY_MAX };
	struct rlog_segment_info s;
	struct fix f;

	init(&f);
	s = segment(&f, 1);
	close_log(&f);
	ck_assert_int_eq(rlog_open(&conf, simdisk_ops(f.disk), "engine", "P1", 5, &f.log, &f.st), 0);
	hurt(&f, &s, _i ? HURT_DELETE : HURT_HEADER);
	ck_assert_int_eq(rebuild(&f, s.first, 3), REBUILT);
	check_whole(&f);
	ck_assert_int_eq(rlog_retain(f.log, segment(&f, 2).first), 0);
	close_log(&f);
	ck_assert_int_eq(rlog_open(&conf, simdisk_ops(f.disk), "engine", "P1", 5, &f.log, &f.st), 0);
	ck_assert(!f.st.damaged && f.st.start == s.last + 1);
	deinit(&f);
}
END_TEST

/* Nothing is written anew that is good as it is. */
START_TEST(a_false_alarm)
{
	struct fix f;

	init(&f);
	for (size_t i = 0; i < SEGMENTS; i++)
		ck_assert_int_eq(rebuild(&f, segment(&f, i).first, 1), RLOG_E_GONE);
	ck_assert_int_eq(rebuild(&f, f.book.end + 1, 1), RLOG_E_GONE);
	ck_assert(!simdisk_exists(f.disk, "P1/repair") && !simdisk_exists(f.disk, "P1/damaged"));
	check_whole(&f);
	deinit(&f);
}
END_TEST

UNIT_MAIN("rlog_rebuild", tcase_add_loop_test(tc, running, 0, HURTS * SEGMENTS);
	tcase_add_loop_test(tc, at_rest, 0, HURTS * SEGMENTS);
	tcase_add_loop_test(tc, another_past, 0, 2);
	tcase_add_test(tc, larger_records_of_another_past);
	tcase_add_loop_test(tc, errors_while_swapping, 0, 2);
	tcase_add_test(tc, rot_and_a_torn_tail);
	tcase_add_loop_test(tc, rot_below_a_cut, 0, 2);
	tcase_add_loop_test(tc, smaller_segments, 0, 2);
	tcase_add_test(tc, a_false_alarm);
	tcase_add_test(tc, wrong_order);
	tcase_add_test(tc, living);
	tcase_add_test(tc, no_room);
	tcase_add_loop_test(tc, power_loss, 0, 4))

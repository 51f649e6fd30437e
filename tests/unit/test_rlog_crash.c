/*
 * The log on a disk that loses power, fails and rots, at every operation of random lives.
 *
 * What must hold (and what the faults leave it): a single disk; power loss at any operation, also while recovering
 * from one; one failed operation, or all from one on; one flipped bit. After it the log holds at least what was synced
 * and at most what was appended, byte by byte, and the metadata is one of the two that were being exchanged.
 */
#include <check.h>
#include <errno.h>
#include <malloc.h>
#include <stdio.h>

#include "rlog_life.h"

/* Power fails before operation @op; perhaps once more while opening again. */
static void crash_deep(struct simdisk *d, enum simdisk_op op, void *arg)
{
	struct life *life = arg;
	struct simdisk *c;

	(void)op;
	if (simrng_below(&life->rng, 8) != 0)
		return;
	c = simdisk_clone(d);
	simdisk_crash(c, &life->rng);
	check_state(life, c, "crash while recovering");
	simdisk_free(c);
	life->states++;
}

static void crash_here(struct simdisk *d, enum simdisk_op op, void *arg)
{
	struct life *life = arg;
	struct simdisk *c;

	if (op == SIMDISK_READ || op == SIMDISK_LIST || op == SIMDISK_SIZE || simrng_below(&life->rng, life->every))
		return;
	c = simdisk_clone(d);
	simdisk_crash(c, &life->rng);
	if (simrng_below(&life->rng, 8) == 0)
		simdisk_hook(c, crash_deep, life);
	check_state(life, c, "crash");
	simdisk_free(c);
	life->states++;
}

/* -------------------------------------------------------------------------------------------------------- the tests */

START_TEST(power_loss_at_every_operation)
{
	struct life f;

	life_init(&f, 1000 + (uint64_t)_i);
	simdisk_hook(f.disk, crash_here, &f);
	ck_assert_int_eq(life_run(&f, 60), 0);
	ck_assert_uint_gt(f.states, 100);
	life_deinit(&f);
}
END_TEST

/* The @k-th operation fails, for all k; then the process ends, perhaps the power too, and the disk is well again. */
static void sweep(uint64_t seed, unsigned mask, int error, bool sticky)
{
	bool hit = true;

	for (uint64_t k = 0; hit; k++) {
		struct life f;
		int r;

		life_init(&f, seed);
		simdisk_fault(f.disk, mask, k, error, sticky);
		r = life_run(&f, 40);
		hit = simdisk_fault_hit(f.disk);
		ck_assert_msg(hit || r == 0, "operation %llu: %d without a fault", (unsigned long long)k, r);
		rlog_close(TAKE(f.log));
		simdisk_fault_clear(f.disk);
		simdisk_kill(f.disk);
		if (simrng_below(&f.rng, 2))
			simdisk_crash(f.disk, &f.rng);
		check_state(&f, f.disk, "after a fault");
		life_deinit(&f);
	}
}

START_TEST(any_operation_fails_once)
{
	sweep(2000 + (uint64_t)_i, SIMDISK_ALL, -EIO, false);
}
END_TEST

START_TEST(any_operation_and_all_later_fail)
{
	sweep(3000 + (uint64_t)_i, SIMDISK_ALL, -EIO, true);
}
END_TEST

START_TEST(any_change_finds_the_disk_full)
{
	sweep(4000 + (uint64_t)_i, SIMDISK_CHANGES, -ENOSPC, false);
}
END_TEST

/* Whatever it is that finds no room, also where bytes are there to be overwritten: nothing fails for good. */
START_TEST(a_full_disk_is_no_failure)
{
	static const unsigned odds[STEPS] = { 50, 20, 10, 5, 0, 5, 0, 10, 0 };
	static const unsigned masks[] = { SIMDISK_CHANGES, SIMDISK_BIT(SIMDISK_RENAME) };
	bool hit = true;

	for (uint64_t k = 0; hit; k++) {
		struct life f;
		int r;

		life_init(&f, 6000 + (uint64_t)_i);
		ck_assert_int_eq(life_run(&f, 0), 0);
		f.odds = odds;
		simdisk_fault(f.disk, masks[_i % 2], k, -ENOSPC, false);
		for (int i = 0; i < 60; i++) {
			r = life_step(&f);
			ck_assert_msg(r == 0, "operation %llu, step %d: %d", (unsigned long long)k, i, r);
		}
		hit = simdisk_fault_hit(f.disk);
		rlog_close(TAKE(f.log));
		simdisk_fault_clear(f.disk);
		simdisk_crash(f.disk, &f.rng);
		check_state(&f, f.disk, "after a full disk");
		life_deinit(&f);
	}
}
END_TEST

START_TEST(a_small_disk)
{
	struct life f;
	bool full = false;

	life_init(&f, 5000 + (uint64_t)_i);
	simdisk_capacity(f.disk, 8 * SEGMENT);
	ck_assert_int_eq(life_run(&f, 0), 0);
	for (int i = 0; i < 200; i++) {
		struct rlog_state st;

		ck_assert_int_eq(book_append(&f.book, f.log, 3, 800) & ~RLOG_E_FULL, 0);
		full |= rlog_reserve_spent(f.log);
		ck_assert_int_eq(rlog_sync(f.log), 0);
		ck_assert_int_eq(rlog_mark(f.log, rlog_durable(f.log)), 0); /* control goes on */
		rlog_state_get(f.log, &st);
		st.meta.promise = ++f.promise;
		f.promise_next = f.promise;
		ck_assert_int_eq(rlog_meta_write(f.log, &st.meta), 0);
	}
	ck_assert(full);
	ck_assert_uint_ge(f.book.end, 100);
	f.synced = f.mark = f.book.end;
	ck_assert_int_eq(rlog_retain(f.log, f.book.end), 0); /* room again */
	f.start_lo = f.start_hi = rlog_start(f.log);
	ck_assert_int_eq(rlog_reserve_fill(f.log), 0);
	ck_assert(!rlog_reserve_spent(f.log));
	ck_assert_int_eq(book_append(&f.book, f.log, 30, 800), 0);
	rlog_close(TAKE(f.log));
	check_state(&f, f.disk, "after retention");
	life_deinit(&f);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------------- rot */

#define ROT_MARK 41 /* the mark */
#define ROT_LAST 45 /* end of the last group but one */

/* A log of three segments (18 + 18 + 12 records) in groups of three; the mark lies in the last but two. */
static void rot_prepare(struct life *f)
{
	conf.segment_bytes = 4096 * 3;
	conf.reserve_bytes = 0;
	life_init(f, 9);
	ck_assert_int_eq(life_run(f, 0), 0);
	for (int i = 0; i < 16; i++) {
		ck_assert_int_eq(book_append(&f->book, f->log, 3, 300), 0);
		ck_assert_int_eq(rlog_sync(f->log), 0);
		if (i == 13)
			ck_assert_int_eq(rlog_mark(f->log, f->book.end - 1), 0);
	}
	f->synced = f->book.end;
	f->mark = ROT_MARK;
	ck_assert_uint_eq(rlog_segments(f->log), 3);
}

static void count_problem(const struct rlog_damage *d, void *arg)
{
	(void)d;
	++*(size_t *)arg;
}

/* Opens a clone with one flipped bit: it is seen, or it does no harm. */
static void rot_one(struct life *f, const char *path, uint64_t offset, uint8_t mask, bool data)
{
	struct simdisk *d = simdisk_clone(f->disk);
	struct rlog_verify_result res;
	size_t problems = 0, bad;
	struct rlog_state st;
	struct rlog *l;

	NEED(simdisk_flip(d, path, offset, mask));
	bad = unreadable(f, d, f->book.end);
	NEED(bad <= (data ? f->book.end : 0));
	NEED(rlog_verify(DIR, simdisk_ops(d), 0, count_problem, &problems, &res) == 0);
	ck_assert_msg(problems > 0 || !data, "%s: flip at %llu passes", path, (unsigned long long)offset);
	NEED(open_on(d, &l, &st) == 0);
	NEED(st.meta.incarnation == 77);
	if (st.damaged) {
		NEED(data);
		NEED(st.end < f->book.end);
		NEED(book_append(&f->book, l, 1, 10) == RLOG_E_DAMAGED);
	} else if (st.end != f->book.end) { /* torn: only what was in the last, unmarked group */
		NEED(data && st.torn_from == st.end + 1);
		NEED(st.end >= ROT_LAST);
	}
	NEED(st.mark <= ROT_MARK);
	NEED(unreadable(f, d, st.end) == (st.damaged || st.torn_from ? 0 : bad));
	rlog_close(l);
	simdisk_free(d);
}

static void rot_file(struct life *f, const char *name, uint64_t from, uint64_t step, bool data)
{
	char path[64];

	(void)snprintf(path, sizeof path, "%s/%s", DIR, name);
	for (uint64_t at = from;; at += step) {
		struct simdisk *probe = f->disk;

		if (!simdisk_flip(probe, path, at, 0))
			return;
		rot_one(f, path, at, (uint8_t)(1u << simrng_below(&f->rng, 8)), data);
	}
}

START_TEST(a_flipped_bit_is_never_accepted)
{
	struct life f;
	char name[RLOG_NAME_BYTES];

	rot_prepare(&f);
	for (size_t i = 0; i < 3; i++) {
		struct rlog_segment_info info;

		ck_assert_int_eq(rlog_segment_info(f.log, i, &info), 0);
		rlog_name(name, info.first, "seg");
		rot_file(&f, name, (uint64_t)_i, 8, true);
		rlog_name(name, info.first, "dig");
		if (info.finished)
			rot_file(&f, name, (uint64_t)_i, 8, false);
	}
	rot_file(&f, "mark", (uint64_t)_i, 8, false);
	rot_file(&f, "meta", (uint64_t)_i, 8, false);
	life_deinit(&f);
}
END_TEST

/* With the mark at the end there is no torn tail, wherever the bit flips in the last group. */
START_TEST(what_was_acknowledged_is_never_torn)
{
	struct life f;
	struct rlog_segment_info info;

	rot_prepare(&f);
	ck_assert_int_eq(rlog_mark(f.log, f.book.end), 0);
	ck_assert_int_eq(rlog_segment_info(f.log, 2, &info), 0);
	for (uint64_t at = info.used_bytes - 600; at < info.used_bytes; at++) {
		struct simdisk *d = simdisk_clone(f.disk);
		struct rlog_state st;
		struct rlog *l;

		NEED(simdisk_flip(d, DIR "/00000000000000000037.seg", at, 16));
		NEED(open_on(d, &l, &st) == 0);
		NEED(st.damaged && st.torn_from == 0 && st.end < f.book.end && st.end >= f.book.end - 2);
		rlog_close(l);
		simdisk_free(d);
	}
	life_deinit(&f);
}
END_TEST

/* Puts the record behind the end of the active segment by hand, as one that belongs there but for its chain. */
START_TEST(a_whole_record_that_does_not_follow_is_damage)
{
	static const char seg[] = "00000000000000000037.seg";
	_cleanup_(rlog_win_deinit) struct rlog_win w = RLOG_WIN_NULL;
	_cleanup_(rlog_file_close) struct rlog_file file = RLOG_FILE_NULL;
	struct rlog_segment_info info;
	struct rlog_seg_header h;
	struct rlog_state st;
	uint8_t frame[RLOG_FRAME_BYTES];
	struct page *p;
	struct life f;

	rot_prepare(&f);
	ck_assert_int_eq(rlog_segment_info(f.log, 2, &info), 0);
	rlog_close(TAKE(f.log));
	ck_assert_int_eq(rlog_file_open(simdisk_ops(f.disk), DIR, seg, RLOG_OPEN_READ, &w.file), 0);
	ck_assert_int_eq(rlog_seg_header_read(&w, info.first, &h), 0);
	p = book_next(&f.book, 50);
	p->h.chain.lo ^= (uint64_t)_i; /* 0: it follows, and all is well */
	rec_header_encode(&p->h, p->header);
	rlog_frame_encode(frame, 0, p->h.seq, p->header, h.nonce);
	ck_assert_int_eq(rlog_file_open(simdisk_ops(f.disk), DIR, seg, RLOG_OPEN_WRITE, &file), 0);
	ck_assert_int_eq(rlog_file_write(&file, frame, sizeof frame, info.used_bytes), 0);
	ck_assert_int_eq(rlog_file_write(&file, p->header, REC_HEADER_BYTES, info.used_bytes + 16), 0);
	ck_assert_int_eq(rlog_file_write(&file, p->body, p->h.body_bytes, info.used_bytes + RLOG_LEAD_BYTES), 0);
	ck_assert_int_eq(open_on(f.disk, &f.log, &st), 0);
	ck_assert(st.damaged == (_i != 0) && st.torn_from == 0);
	ck_assert_uint_eq(st.end, f.book.end - (_i != 0));
	rlog_file_close(&file);
	rlog_win_deinit(&w);
	life_deinit(&f);
}
END_TEST

/* Damage at a random place is set aside: what is good before it stays, the evidence is kept, the log goes on. */
START_TEST(damage_is_set_aside)
{
	struct life f;
	struct rlog_state st;
	struct rlog_segment_info info;
	char path[64], name[RLOG_NAME_BYTES];
	struct simrng rng = { 60 + (uint64_t)_i };

	rot_prepare(&f);
	ck_assert_int_eq(rlog_segment_info(f.log, (size_t)simrng_below(&rng, 3), &info), 0);
	rlog_close(TAKE(f.log));
	rlog_name(name, info.first, "seg");
	(void)snprintf(path, sizeof path, "%s/%s", DIR, name);
	ck_assert(simdisk_flip(f.disk, path, simrng_below(&rng, 6000), 4));
	ck_assert_int_eq(open_on(f.disk, &f.log, &st), 0);
	if (!st.damaged) { /* in a finished segment: the scrub finds it */
		struct rlog_damage d = { .first = info.first + 2, .last = info.first + 2, .path = "x" };

		ck_assert_int_eq(rlog_damage_add(f.log, &d), 0);
	}
	simdisk_hook(f.disk, NULL, NULL);
	ck_assert_int_eq(rlog_set_damage_aside(f.log), 0);
	rlog_state_get(f.log, &st);
	ck_assert(!st.damaged);
	ck_assert_uint_le(st.end, info.first + 18);
	ck_assert(simdisk_exists(f.disk, DIR "/damaged"));
	f.book.end = f.synced = st.end;
	f.mark = MIN2(f.mark, st.end);
	f.book.flavour++;
	ck_assert_int_eq(book_append(&f.book, f.log, 20, 500), 0);
	ck_assert_int_eq(rlog_sync(f.log), 0);
	f.synced = f.book.end;
	rlog_close(TAKE(f.log));
	simdisk_crash(f.disk, &rng);
	check_state(&f, f.disk, "after setting aside");
	life_deinit(&f);
}
END_TEST

/* A power loss while damage is set aside: damaged still, or clean; what is good is there. */
struct aside {
	struct life *f;
	leash_seq good;
	size_t clean, damaged;
};

static void aside_crash(struct simdisk *disk, enum simdisk_op op, void *arg)
{
	struct aside *a = arg;
	struct simdisk *c = simdisk_clone(disk);
	struct rlog_state st;
	struct rlog *l;

	(void)op;
	simdisk_crash(c, &a->f->rng);
	ck_assert_int_eq(open_on(c, &l, &st), 0);
	ck_assert_uint_eq(st.end, a->good);
	a->clean += !st.damaged;
	a->damaged += st.damaged;
	ck_assert_int_eq(rlog_set_damage_aside(l), 0);
	ck_assert_uint_eq(rlog_end(l), a->good);
	ck_assert_uint_eq(unreadable(a->f, c, a->good), 0);
	rlog_close(l);
	simdisk_free(c);
}

START_TEST(power_loss_while_setting_aside)
{
	struct life f;
	struct rlog_state st;
	struct aside a = { .f = &f };

	rot_prepare(&f);
	rlog_close(TAKE(f.log));
	f.rng.state = 70 + (uint64_t)_i;
	if (_i % 2) /* the second one's header */
		ck_assert(simdisk_flip(f.disk, DIR "/00000000000000000019.seg", 100, 1));
	else
		ck_assert_int_eq(rlog_file_unlink(simdisk_ops(f.disk), DIR, "00000000000000000001.seg"), 0);
	ck_assert_int_eq(open_on(f.disk, &f.log, &st), 0);
	ck_assert(st.damaged);
	a.good = st.end;
	ck_assert_uint_eq(st.end, _i % 2 ? 18 : 0);
	simdisk_hook(f.disk, aside_crash, &a);
	ck_assert_int_eq(rlog_set_damage_aside(f.log), 0);
	simdisk_hook(f.disk, NULL, NULL);
	ck_assert_uint_gt(a.clean, 0);
	ck_assert_uint_gt(a.damaged, 0);
	life_deinit(&f);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("rlog_crash");
	TCase *t = tcase_create("crash");
	SRunner *r = srunner_create(s);
	int failed;

	(void)mallopt(M_MMAP_THRESHOLD, 32 << 20); /* thousands of disks: do not ask the kernel for each */
	(void)mallopt(M_TRIM_THRESHOLD, 256 << 20);
	tcase_set_timeout(t, 300);
	tcase_add_loop_test(t, power_loss_at_every_operation, 0, 40);
	tcase_add_loop_test(t, any_operation_fails_once, 0, 8);
	tcase_add_loop_test(t, any_operation_and_all_later_fail, 0, 4);
	tcase_add_loop_test(t, any_change_finds_the_disk_full, 0, 8);
	tcase_add_loop_test(t, a_full_disk_is_no_failure, 0, 4);
	tcase_add_loop_test(t, a_small_disk, 0, 2);
	tcase_add_loop_test(t, a_flipped_bit_is_never_accepted, 0, 8);
	tcase_add_test(t, what_was_acknowledged_is_never_torn);
	tcase_add_loop_test(t, a_whole_record_that_does_not_follow_is_damage, 0, 2);
	tcase_add_loop_test(t, damage_is_set_aside, 0, 40);
	tcase_add_loop_test(t, power_loss_while_setting_aside, 0, 8);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

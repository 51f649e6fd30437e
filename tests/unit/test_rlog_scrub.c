/* The scrub, over the simulated disk and over real files: rot is found, a living log is none. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "log/rlog_scrub.h"
#include "rlog_make.h"
#include "simdisk.h"
#include "unit.h"

#define SEGMENT (4096 * 16)
#define BODY    500
#define SEGMENTS 4

struct fix {
	struct simdisk *disk; /* NULL: real files */
	const struct rlog_ops *ops;
	char dir[256];
	struct book book;
	struct rlog *log;
	struct rlog_scrub *scrub;
	struct simrng rng;
};

static void f_open(struct fix *f)
{
	const struct rlog_conf conf = { .dir = f->dir, .segment_bytes = SEGMENT, .digest_seed = BOOK_SEED,
		.record_bytes_max = BOOK_BODY_MAX };
	struct rlog_state st;

	ck_assert_int_eq(rlog_open(&conf, f->ops, "engine", "P1", 5, &f->log, &st), 0);
}

static void append(struct fix *f)
{
	ck_assert_int_eq(book_append(&f->book, f->log, 1, BODY), 0);
	ck_assert_int_eq(rlog_sync(f->log), 0);
}

static void f_init(struct fix *f, bool real)
{
	const char *tmp = getenv("TMPDIR");

	*f = (struct fix){ .ops = &rlog_posix };
	book_init(&f->book);
	if (real) {
		(void)snprintf(f->dir, sizeof f->dir, "%s/scrub.XXXXXX", tmp ? tmp : "/tmp");
		ck_assert_ptr_nonnull(mkdtemp(f->dir));
	} else {
		f->disk = simdisk_new(1);
		f->ops = simdisk_ops(f->disk);
		(void)snprintf(f->dir, sizeof f->dir, "P1");
	}
	f_open(f);
	while (rlog_segments(f->log) < SEGMENTS)
		append(f);
	for (int i = 0; i < 5; i++)
		append(f);
	ck_assert_int_eq(rlog_scrub_new(f->dir, f->ops, BOOK_BODY_MAX, &f->scrub), 0);
}

static int remove_name(const char *name, void *arg)
{
	char path[600];

	(void)snprintf(path, sizeof path, "%s/%s", (const char *)arg, name);
	if (unlink(path) < 0) {
		(void)rlog_posix.list(NULL, path, remove_name, path);
		(void)rmdir(path);
	}
	return 0;
}

static void f_deinit(struct fix *f)
{
	rlog_scrub_free(f->scrub);
	rlog_close(f->log);
	if (f->disk) {
		simdisk_free(f->disk);
	} else {
		(void)rlog_posix.list(NULL, f->dir, remove_name, f->dir);
		(void)rmdir(f->dir);
	}
	book_deinit(&f->book);
}

static struct rlog_segment_info segment(const struct fix *f, size_t i)
{
	struct rlog_segment_info info;

	ck_assert_int_eq(rlog_segment_info(f->log, i, &info), 0);
	return info;
}

static void flip_in(struct fix *f, const char *name, uint64_t offset)
{
	char path[400];
	uint8_t b;
	int fd;

	(void)snprintf(path, sizeof path, "%s/%s", f->dir, name);
	if (f->disk) {
		ck_assert(simdisk_flip(f->disk, path, offset, 0x10));
		return;
	}
	fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert(fd >= 0 && pread(fd, &b, 1, (off_t)offset) == 1);
	b ^= 0x10;
	ck_assert(pwrite(fd, &b, 1, (off_t)offset) == 1 && fsync(fd) == 0);
	(void)close(fd);
}

static void flip(struct fix *f, leash_seq first, uint64_t offset)
{
	char name[40];

	(void)snprintf(name, sizeof name, "%020llu.seg", (unsigned long long)first);
	flip_in(f, name, offset);
}

/* A whole pass in steps of @bytes. The damage it met, the lowest in *ret_d. */
static size_t pass(struct fix *f, uint64_t bytes, struct rlog_damage *ret_d)
{
	struct rlog_scrub_at at = { 0 };
	struct rlog_damage d;
	size_t n = 0;

	for (int steps = 0;; steps++) {
		uint64_t got;
		int r = rlog_scrub_step(f->scrub, rlog_start(f->log), rlog_durable(f->log), bytes, &got, &d);

		ck_assert_int_lt(steps, 100000);
		ck_assert_int_ge(r, 0);
		ck_assert_uint_le(got, bytes + RLOG_DIRECT_ALIGN + BOOK_BODY_MAX);
		if (r == RLOG_SCRUB_END)
			break;
		if (r == RLOG_SCRUB_DAMAGED && n++ == 0)
			*ret_d = d;
		at = rlog_scrub_at(f->scrub);
	}
	ck_assert_uint_eq(rlog_scrub_at(f->scrub).next, 0);
	if (n == 0)
		ck_assert_uint_eq(at.records, rlog_durable(f->log) - rlog_start(f->log) + 1);
	return n;
}

START_TEST(a_good_log_is_good)
{
	struct rlog_damage d;
	struct fix f;

	f_init(&f, _i);
	ck_assert_uint_eq(pass(&f, 1, &d), 0);
	ck_assert_uint_eq(pass(&f, 100000, &d), 0);
	for (int i = 0; i < 300; i++)
		append(&f);
	ck_assert_int_eq(rlog_retain(f.log, segment(&f, 2).first), 0);
	ck_assert_uint_eq(pass(&f, 3000, &d), 0);
	f_deinit(&f);
}
END_TEST

/* It appends and retains between any two steps: what the scrub has open or listed is always old. */
START_TEST(a_log_that_lives_is_good)
{
	struct rlog_damage d;
	uint64_t got;
	struct fix f;

	f_init(&f, _i);
	for (int i = 0; i < 1500; i++) {
		int r = rlog_scrub_step(f.scrub, rlog_start(f.log), rlog_durable(f.log), 900, &got, &d);

		ck_assert_msg(r == 0 || r == RLOG_SCRUB_END, "%d: %s", r, d.reason);
		append(&f);
		if (i % 97 == 0)
			ck_assert_int_eq(rlog_retain(f.log, segment(&f, rlog_segments(f.log) - 2).first), 0);
	}
	f_deinit(&f);
}
END_TEST

START_TEST(rot_in_a_finished_segment_is_found)
{
	static const uint64_t offsets[] = { 100, RLOG_DIRECT_ALIGN + 3, RLOG_DIRECT_ALIGN + 20, RLOG_DIRECT_ALIGN + 300, 20000,
		40000 };
	struct rlog_damage d;
	struct fix f;

	f_init(&f, _i);
	for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
		struct rlog_segment_info s = segment(&f, 1);

		flip(&f, s.first, offsets[i]);
		ck_assert_uint_eq(pass(&f, 5000, &d), 1);
		ck_assert(d.first >= s.first && d.last <= s.last && d.first <= d.last);
		ck_assert_msg(i == 0 || d.first == d.last, "%zu: %llu..%llu", i, (unsigned long long)d.first,
			(unsigned long long)d.last);
		ck_assert_uint_eq(strtoull(d.path, NULL, 10), s.first);
		ck_assert_uint_eq(pass(&f, 1 << 20, &d), 1); /* and again in the next pass */
		flip(&f, s.first, offsets[i]);
		ck_assert_uint_eq(pass(&f, 5000, &d), 0);
	}
	f_deinit(&f);
}
END_TEST

START_TEST(rot_in_the_active_segment_is_found)
{
	struct rlog_damage d;
	struct fix f;

	f_init(&f, _i);
	flip(&f, segment(&f, SEGMENTS - 1).first, RLOG_DIRECT_ALIGN + 700);
	ck_assert_uint_eq(pass(&f, 5000, &d), 1);
	ck_assert_uint_eq(d.first, segment(&f, SEGMENTS - 1).first + 1);
	f_deinit(&f);
}
END_TEST

START_TEST(zeroes_behind_the_end_are_nobodys)
{
	struct rlog_segment_info first, last;
	struct rlog_damage d;
	struct fix f;

	f_init(&f, _i);
	first = segment(&f, 0);
	last = segment(&f, SEGMENTS - 1);
	flip(&f, first.first, first.used_bytes + 5);
	flip(&f, last.first, last.used_bytes + 5000);
	ck_assert_uint_eq(pass(&f, 5000, &d), 0);
	f_deinit(&f);
}
END_TEST

static void remove_segment(struct fix *f, leash_seq first)
{
	char path[400];

	(void)snprintf(path, sizeof path, "%s/%020llu.seg", f->dir, (unsigned long long)first);
	ck_assert_int_eq(f->ops->unlink(f->ops->ctx, path), 0);
}

/* The oldest too: what retention removes is before the log's start. */
START_TEST(a_segment_that_is_gone_is_found)
{
	struct rlog_damage d;

	for (size_t i = 0; i < SEGMENTS; i++) {
		struct rlog_segment_info s;
		struct fix f;

		f_init(&f, _i);
		s = segment(&f, i);
		remove_segment(&f, s.first);
		ck_assert_uint_eq(pass(&f, 5000, &d), 1);
		ck_assert(d.first == s.first && d.last == (s.finished ? s.last : 0));
		f_deinit(&f);
	}
}
END_TEST

START_TEST(all_that_is_gone_is_found)
{
	struct rlog_damage d;
	struct fix f;

	f_init(&f, _i);
	for (size_t i = 0; i < rlog_segments(f.log); i++)
		remove_segment(&f, segment(&f, i).first);
	ck_assert_uint_eq(pass(&f, 5000, &d), 1);
	ck_assert(d.first == rlog_start(f.log) && d.last == 0);
	f_deinit(&f);
}
END_TEST

START_TEST(what_goes_while_the_start_is_not_known_is_retention)
{
	struct rlog_damage d;
	struct fix f;
	uint64_t got;
	int r;

	f_init(&f, _i);
	remove_segment(&f, segment(&f, 0).first);
	do {
		r = rlog_scrub_step(f.scrub, 0, rlog_durable(f.log), 5000, &got, &d);
		ck_assert_int_ne(r, RLOG_SCRUB_DAMAGED);
	} while (r != RLOG_SCRUB_END);
	f_deinit(&f);
}
END_TEST

/* What the scrub says is what rlog_set_damage_aside() needs; the log is good again behind it. */
START_TEST(what_is_found_can_be_set_aside)
{
	static const uint64_t offsets[] = { 100, RLOG_DIRECT_ALIGN + 3, 30000 };
	struct rlog_damage d;

	for (size_t seg = 0; seg < SEGMENTS; seg++)
		for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
			struct fix f;
			leash_seq end;

			f_init(&f, _i);
			if (offsets[i] >= segment(&f, seg).used_bytes) {
				f_deinit(&f);
				continue;
			}
			flip(&f, segment(&f, seg).first, offsets[i]);
			ck_assert_uint_eq(pass(&f, 5000, &d), 1);
			ck_assert_int_eq(rlog_damage_add(f.log, &d), 0);
			ck_assert_int_eq(rlog_set_damage_aside(f.log), 0);
			end = rlog_end(f.log);
			ck_assert_uint_eq(end, d.first - 1);
			rlog_scrub_restart(f.scrub);
			ck_assert_uint_eq(pass(&f, 5000, &d), 0);
			f.book.end = end;
			append(&f);
			ck_assert_uint_eq(pass(&f, 5000, &d), 0);
			book_compare(&f.book, f.dir, f.ops, f.log, end + 1);
			f_deinit(&f);
		}
}
END_TEST

/* Damage where a segment begins, found by opening; the one before it is rotten, too, behind a good digest. */
START_TEST(rot_on_both_sides_of_a_boundary)
{
	struct rlog_segment_info before, last;
	struct fix f;
	int calls = 0, r;

	f_init(&f, false);
	before = segment(&f, SEGMENTS - 2);
	last = segment(&f, SEGMENTS - 1);
	rlog_close(f.log);
	flip(&f, before.first, RLOG_DIRECT_ALIGN + 700);
	flip(&f, last.first, RLOG_DIRECT_ALIGN + 3);
	f_open(&f);
	while ((r = rlog_set_damage_aside(f.log)) == RLOG_E_DAMAGED)
		ck_assert_int_lt(calls++, 3);
	ck_assert_int_eq(r, 0);
	ck_assert(rlog_end(f.log) >= before.first - 1 && rlog_end(f.log) < before.last);
	f.book.end = rlog_end(f.log);
	append(&f);
	book_compare(&f.book, f.dir, f.ops, f.log, f.book.end);
	f_deinit(&f);
}
END_TEST

/* ------------------------------------------------------------------------------------------ metadata and mark */

static unsigned refresh(struct fix *f)
{
	unsigned rotten = ~0u;

	ck_assert_int_eq(rlog_refresh(f->log, &rotten), 0);
	return rotten;
}

/* Both copies and both slots are whole again: whichever rots next, the other one has it all. And durable: the power fails. */
static void reopen(struct fix *f, leash_seq mark)
{
	const struct rlog_conf conf = { .dir = f->dir, .segment_bytes = SEGMENT, .digest_seed = BOOK_SEED,
		.record_bytes_max = BOOK_BODY_MAX };
	struct rlog_state st;

	rlog_close(f->log);
	if (f->disk)
		simdisk_crash(f->disk, &f->rng);
	ck_assert_int_eq(rlog_open(&conf, f->ops, "engine", "P1", 5, &f->log, &st), 0);
	ck_assert(!st.damaged);
	ck_assert_uint_eq(st.meta.promise, 7);
	ck_assert_uint_eq(st.mark, mark);
}

static void f_init_marked(struct fix *f, bool real, leash_seq *ret_mark)
{
	struct rlog_state st;

	f_init(f, real);
	rlog_state_get(f->log, &st);
	st.meta.promise = 7;
	ck_assert_int_eq(rlog_meta_write(f->log, &st.meta), 0);
	for (leash_seq back = 10; back > 7; back--)
		ck_assert_int_eq(rlog_mark(f->log, rlog_end(f->log) - back), 0);
	*ret_mark = rlog_end(f->log) - 8;
	ck_assert_uint_eq(refresh(f), 0);
}

START_TEST(rotten_small_files_are_written_anew)
{
	static const uint64_t in_meta[] = { 0, 150, 4000, 4095, 4096 + 8, 8191 };
	leash_seq mark;
	struct fix f;

	f_init_marked(&f, _i, &mark);
	for (size_t i = 0; i < ARRAY_SIZE(in_meta); i++) {
		flip_in(&f, "meta", in_meta[i]);
		ck_assert_uint_eq(refresh(&f), RLOG_ROTTEN_META);
		ck_assert_uint_eq(refresh(&f), 0);
	}
	flip_in(&f, "mark", 16);
	flip_in(&f, "mark", 4096 + 16);
	ck_assert_uint_eq(refresh(&f), RLOG_ROTTEN_MARK);
	ck_assert_uint_eq(refresh(&f), 0);
	flip_in(&f, "mark", 16);
	flip_in(&f, "meta", 16);
	reopen(&f, mark);
	f_deinit(&f);
}
END_TEST

/* What is written to the mark afterwards goes to the file that is there. */
START_TEST(small_files_that_are_gone_are_written_anew)
{
	static const char *const names[] = { "meta", "mark" };
	static const unsigned bits[] = { RLOG_ROTTEN_META, RLOG_ROTTEN_MARK };
	leash_seq mark;
	char path[400];
	struct fix f;

	f_init_marked(&f, _i, &mark);
	for (size_t i = 0; i < 2; i++) {
		(void)snprintf(path, sizeof path, "%s/%s", f.dir, names[i]);
		ck_assert_int_eq(f.ops->unlink(f.ops->ctx, path), 0);
		ck_assert_uint_eq(refresh(&f), bits[i]);
		ck_assert_uint_eq(refresh(&f), 0);
	}
	ck_assert_int_eq(rlog_mark(f.log, mark + 1), 0);
	ck_assert_uint_eq(refresh(&f), 0);
	reopen(&f, mark + 1);
	f_deinit(&f);
}
END_TEST

/* Whatever fails on the way: what is written next is there after the next opening, or the log says that it failed. */
START_TEST(a_mark_that_fails_to_be_made_anew)
{
	for (unsigned op = 0; op <= SIMDISK_SYNC_DIR; op++)
		for (uint64_t skip = 0; skip < 6; skip++) {
			unsigned rotten;
			leash_seq mark;
			struct fix f;

			f_init_marked(&f, false, &mark);
			flip_in(&f, "mark", 16);
			flip_in(&f, "mark", 4096 + 16);
			simdisk_fault(f.disk, SIMDISK_BIT(op), skip, -EMFILE, false);
			if (rlog_refresh(f.log, &rotten) == -EIO) {
				simdisk_fault_clear(f.disk);
				ck_assert_int_eq(rlog_mark(f.log, mark + 1), -EIO);
			} else {
				simdisk_fault_clear(f.disk);
				(void)refresh(&f);
				ck_assert_int_eq(rlog_mark(f.log, mark + 1), 0);
				reopen(&f, mark + 1);
			}
			f_deinit(&f);
		}
}
END_TEST

/* Nothing is lost when they cannot be written now. */
START_TEST(no_room_to_write_small_files_anew)
{
	unsigned rotten;
	leash_seq mark;
	struct fix f;

	f_init_marked(&f, false, &mark);
	flip_in(&f, "meta", 16);
	simdisk_capacity(f.disk, 1);
	ck_assert_int_eq(rlog_refresh(f.log, &rotten), RLOG_E_FULL);
	simdisk_capacity(f.disk, 0);
	ck_assert_uint_eq(refresh(&f), RLOG_ROTTEN_META);
	reopen(&f, mark);
	f_deinit(&f);
}
END_TEST

/* Whatever the device cannot read is damage, and the pass goes on. */
START_TEST(an_unreadable_stretch_is_found)
{
	struct rlog_damage d;
	uint64_t got;
	struct fix f;
	int r;

	f_init(&f, false);
	ck_assert_int_eq(rlog_scrub_step(f.scrub, rlog_start(f.log), rlog_durable(f.log), 1, &got, &d), 0);
	rlog_scrub_restart(f.scrub);
	simdisk_fault(f.disk, SIMDISK_BIT(SIMDISK_READ), 0, -EIO, true);
	r = rlog_scrub_step(f.scrub, rlog_start(f.log), rlog_durable(f.log), 1, &got, &d);
	ck_assert_int_eq(r, RLOG_SCRUB_DAMAGED);
	simdisk_fault_clear(f.disk);
	rlog_scrub_restart(f.scrub);
	ck_assert_uint_eq(pass(&f, 5000, &d), 0);
	f_deinit(&f);
}
END_TEST

UNIT_MAIN("rlog_scrub", tcase_add_loop_test(tc, a_good_log_is_good, 0, 2);
	tcase_add_loop_test(tc, a_log_that_lives_is_good, 0, 2);
	tcase_add_loop_test(tc, rot_in_a_finished_segment_is_found, 0, 2);
	tcase_add_loop_test(tc, rot_in_the_active_segment_is_found, 0, 2);
	tcase_add_loop_test(tc, zeroes_behind_the_end_are_nobodys, 0, 2);
	tcase_add_loop_test(tc, a_segment_that_is_gone_is_found, 0, 2);
	tcase_add_loop_test(tc, all_that_is_gone_is_found, 0, 2);
	tcase_add_loop_test(tc, rotten_small_files_are_written_anew, 0, 2);
	tcase_add_loop_test(tc, small_files_that_are_gone_are_written_anew, 0, 2);
	tcase_add_test(tc, a_mark_that_fails_to_be_made_anew);
	tcase_add_test(tc, no_room_to_write_small_files_anew);
	tcase_add_loop_test(tc, what_goes_while_the_start_is_not_known_is_retention, 0, 2);
	tcase_add_loop_test(tc, what_is_found_can_be_set_aside, 0, 2);
	tcase_add_test(tc, rot_on_both_sides_of_a_boundary);
	tcase_add_test(tc, an_unreadable_stretch_is_found))

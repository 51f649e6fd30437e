/* The log on a real file system. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>

#include "log/rlog_meta.h"
#include "rlog_make.h"

#define SEGMENT (4096 * 16)

static char root[256], dir[300];
static struct book book;

static void setup(void)
{
	const char *tmp = getenv("TMPDIR");

	(void)snprintf(root, sizeof root, "%s/rlog.XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(root));
	(void)snprintf(dir, sizeof dir, "%s/P1", root);
	book_init(&book);
}

static int remove_name(const char *name, void *arg)
{
	const char *in = arg;
	char path[1024];

	(void)snprintf(path, sizeof path, "%s/%s", in, name);
	if (unlink(path) < 0) {
		(void)rlog_posix.list(NULL, path, remove_name, path);
		(void)rmdir(path);
	}
	return 0;
}

static void teardown(void)
{
	(void)rlog_posix.list(NULL, root, remove_name, root);
	(void)rmdir(root);
	book_deinit(&book);
}

static struct rlog *open_log(struct rlog_state *ret_state)
{
	const struct rlog_conf conf = { .dir = dir, .segment_bytes = SEGMENT, .reserve_bytes = 4096,
		.digest_seed = BOOK_SEED, .record_bytes_max = BOOK_BODY_MAX };
	struct rlog_state st;
	struct rlog *l;

	ck_assert_int_eq(rlog_open(&conf, &rlog_posix, "engine", "P1", 5, &l, &st), 0);
	if (ret_state)
		*ret_state = st;
	return l;
}

static bool file_there(const char *name)
{
	char path[400];
	struct stat st;

	(void)snprintf(path, sizeof path, "%s/%s", dir, name);
	return stat(path, &st) == 0;
}

static void told(const struct rlog_damage *d, void *arg)
{
	(void)arg;
	ck_abort_msg("%llu..%llu: %s", (unsigned long long)d->first, (unsigned long long)d->last, d->reason);
}

START_TEST(what_is_appended_is_read_again)
{
	struct rlog_verify_result res;
	struct rlog_state st;
	struct rlog *l = open_log(&st);

	ck_assert(st.created && !st.damaged);
	ck_assert_uint_eq(st.start, 1);
	ck_assert_uint_eq(st.end, 0);
	ck_assert_uint_eq(st.meta.incarnation, 5);
	for (int i = 0; i < 20; i++) {
		book.epoch = 1 + (leash_epoch)i / 4;
		ck_assert_int_eq(book_append(&book, l, 30, 300), 0);
		ck_assert_uint_lt(rlog_durable(l), book.end);
		ck_assert_int_eq(rlog_sync(l), 0);
		ck_assert_uint_eq(rlog_durable(l), book.end);
		ck_assert_int_eq(rlog_mark(l, book.end - 2), 0);
	}
	ck_assert_uint_gt(rlog_segments(l), 3);
	book_compare(&book, dir, &rlog_posix, l, book.end);
	rlog_close(l);
	l = open_log(&st);
	ck_assert(!st.created && !st.damaged && st.torn_from == 0);
	ck_assert_uint_eq(st.mark, book.end - 2);
	ck_assert_uint_eq(st.log_time_ns, book.log_time_ns);
	book_compare(&book, dir, &rlog_posix, l, book.end);
	ck_assert_int_eq(rlog_verify(dir, &rlog_posix, 0, told, NULL, &res), 0);
	ck_assert_uint_eq(res.records, book.end);
	ck_assert_int_eq(rlog_verify(dir, &rlog_posix, 100, told, NULL, &res), 0);
	ck_assert_uint_eq(res.end, 100);
	ck_assert(leash_chain_eq(res.chain, book_chain(&book, 100)));
	rlog_close(l);
}
END_TEST

/* One append of more than goes out with one system call, however it is counted: bytes copied, vectors, room left. */
START_TEST(small_and_large_records_of_one_append)
{
	struct rlog_conf conf = { .dir = dir, .segment_bytes = 4 << 20, .digest_seed = BOOK_SEED,
		.record_bytes_max = BOOK_BODY_MAX };
	static const size_t sizes[] = { 10, 3800, 1900, 1980, 1985, 1990, 2000, 2048, 3801, 0, 3802, 3803, 700 };
	struct rlog_rec *recs = calloc(3000, sizeof *recs);
	struct rlog_state st;
	struct rlog *l;
	size_t done;

	ck_assert_ptr_nonnull(recs);
	for (size_t i = 0; i < 3000; i++) {
		(void)book_next(&book, i < 1200 ? 3900 : sizes[i % ARRAY_SIZE(sizes)]);
		recs[i] = book_rec(&book, i + 1);
	}
	ck_assert_int_eq(rlog_open(&conf, &rlog_posix, "engine", "P1", 5, &l, &st), 0);
	ck_assert_int_eq(rlog_append(l, recs, 3000, &done), 0);
	ck_assert_uint_eq(done, 3000);
	ck_assert_int_eq(rlog_sync(l), 0);
	book_compare(&book, dir, &rlog_posix, l, book.end);
	rlog_close(l);
	ck_assert_int_eq(rlog_open(&conf, &rlog_posix, "engine", "P1", 5, &l, &st), 0);
	ck_assert(!st.damaged);
	book_compare(&book, dir, &rlog_posix, l, book.end);
	rlog_close(l);
	free(recs);
}
END_TEST

START_TEST(wrong_records_are_refused)
{
	struct rlog *l = open_log(NULL);
	struct rlog_rec rec;
	struct page *p;
	size_t done;

	book.epoch = 3;
	ck_assert_int_eq(book_append(&book, l, 2, 10), 0);
	book.epoch = 2;
	p = book_next(&book, 10);
	rec = book_rec(&book, 3);
	ck_assert_int_eq(rlog_append(l, &rec, 1, &done), RLOG_E_ORDER);
	p->h.epoch = 3; /* not what the chain was made of */
	rec = book_rec(&book, 3);
	ck_assert_int_eq(rlog_append(l, &rec, 1, &done), RLOG_E_CHAIN);
	rec = book_rec(&book, 2);
	ck_assert_int_eq(rlog_append(l, &rec, 1, &done), RLOG_E_ORDER);
	ck_assert_uint_eq(done, 0);
	ck_assert_uint_eq(rlog_end(l), 2);
	book.epoch = 3;
	book.end = 2;
	ck_assert_int_eq(book_append(&book, l, 1, 4090), -EMSGSIZE);
	ck_assert_int_eq(book_append(&book, l, 1, 10), 0);
	rlog_close(l);
}
END_TEST

START_TEST(a_directory_has_one_owner)
{
	struct rlog_conf conf = { .dir = dir, .segment_bytes = SEGMENT, .record_bytes_max = BOOK_BODY_MAX };
	struct rlog *l = open_log(NULL), *other;
	struct rlog_meta meta, written;
	struct rlog_state st;
	leash_seq mark;

	ck_assert_int_eq(rlog_open(&conf, &rlog_posix, "engine", "P1", 6, &other, &st), RLOG_E_LOCKED);
	rlog_state_get(l, &st);
	st.meta = (struct rlog_meta){ .cluster = 1, .incarnation = 5, .promise = 12, .promise_run = 2, .log_epoch = 3,
		.log_matched = 4, .insync_version = 6, .etcd_revision = 7, .recovery = 8, .min_insync = 2, .dedup_window = 99 };
	memcpy(st.meta.engine, "engine", 7);
	memcpy(st.meta.node, "P1", 3);
	written = st.meta;
	ck_assert_int_eq(rlog_meta_write(l, &st.meta), 0);
	ck_assert_int_eq(rlog_peek(dir, &rlog_posix, &meta, &mark), 0);
	ck_assert_mem_eq(&meta, &written, sizeof meta);
	rlog_close(l);
	ck_assert_int_eq(rlog_open(&conf, &rlog_posix, "engine", "S1", 6, &other, &st), RLOG_E_FOREIGN);
	ck_assert_int_eq(rlog_open(&conf, &rlog_posix, "other", "P1", 6, &other, &st), RLOG_E_FOREIGN);
	conf.segment_bytes = 4096;
	ck_assert_int_eq(rlog_open(&conf, &rlog_posix, "engine", "P1", 6, &other, &st), -EINVAL);
	l = open_log(&st);
	ck_assert_mem_eq(&st.meta, &written, sizeof written);
	rlog_close(l);
}
END_TEST

/* The file was cut and its slots were written again since: the newer one ends the file now. */
START_TEST(a_mark_file_that_was_cut_is_whole_when_both_slots_are)
{
	struct rlog *l = open_log(NULL);
	struct rlog_meta meta;
	char path[400];
	leash_seq mark;

	(void)snprintf(path, sizeof path, "%s/mark", dir);
	ck_assert_int_eq(book_append(&book, l, 2, 10), 0);
	ck_assert_int_eq(rlog_sync(l), 0);
	for (leash_seq q = 1; q <= 2; q++) { /* one of them is in the second slot */
		ck_assert_int_eq(rlog_mark(l, q), 0);
		ck_assert_int_eq(truncate(path, 4096 + 512), 0);
		ck_assert_int_eq(rlog_peek(dir, &rlog_posix, &meta, &mark), 0);
		ck_assert_uint_eq(mark, q);
	}
	rlog_close(l);
}
END_TEST

START_TEST(a_lost_meta_needs_an_operator)
{
	const struct rlog_conf conf = { .dir = dir, .segment_bytes = SEGMENT, .record_bytes_max = BOOK_BODY_MAX };
	struct rlog *l = open_log(NULL);
	struct rlog_state st;
	char path[400];

	ck_assert_int_eq(book_append(&book, l, 2, 10), 0);
	ck_assert_int_eq(rlog_sync(l), 0);
	rlog_close(l);
	(void)snprintf(path, sizeof path, "%s/meta", dir);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(rlog_open(&conf, &rlog_posix, "engine", "P1", 6, &l, &st), RLOG_E_DAMAGED);
	ck_assert(!file_there("meta"));
}
END_TEST

START_TEST(a_cut_is_kept_in_a_side_file)
{
	struct rlog_state st;
	struct rlog *l = open_log(NULL);

	for (int i = 0; i < 10; i++)
		ck_assert_int_eq(book_append(&book, l, 30, 500), 0);
	ck_assert_int_eq(rlog_sync(l), 0);
	ck_assert_int_eq(rlog_mark(l, 300), 0);
	ck_assert_uint_gt(rlog_segments(l), 2);
	ck_assert_int_eq(rlog_truncate(l, 300), 0); /* nothing to cut */
	ck_assert(!file_there("cut"));
	ck_assert_int_eq(rlog_truncate(l, 40), 0);
	ck_assert(file_there("cut/00000000000000000041-1-0.cut"));
	rlog_state_get(l, &st);
	ck_assert_uint_eq(st.mark, 40);
	book.end = 40;
	book.flavour++;
	book.epoch++;
	book_compare(&book, dir, &rlog_posix, l, 40);
	ck_assert_int_eq(book_append(&book, l, 60, 500), 0);
	ck_assert_int_eq(rlog_sync(l), 0);
	book_compare(&book, dir, &rlog_posix, l, 100);
	ck_assert_int_eq(rlog_truncate(l, 0), 0); /* all */
	book.end = 0;
	ck_assert_int_eq(book_append(&book, l, 5, 500), 0);
	rlog_close(l);
	l = open_log(NULL);
	book_compare(&book, dir, &rlog_posix, l, 5);
	rlog_close(l);
}
END_TEST

START_TEST(old_segments_go)
{
	struct rlog_segment_info info;
	struct rlog_reader *reader;
	struct rlog_state st;
	struct rlog_view v;
	struct rlog *l = open_log(NULL);

	for (int i = 0; i < 20; i++) {
		book.epoch += i % 3 == 0;
		ck_assert_int_eq(book_append(&book, l, 30, 500), 0);
	}
	ck_assert_int_eq(rlog_sync(l), 0);
	ck_assert_int_eq(rlog_reader_open(dir, &rlog_posix, BOOK_BODY_MAX, &reader), 0);
	ck_assert_int_eq(rlog_read(reader, 1, &v), 0);
	ck_assert_int_eq(rlog_segment_info(l, 2, &info), 0);
	ck_assert(info.finished);
	ck_assert_int_eq(rlog_retain(l, info.first + 3), 0);
	ck_assert_uint_eq(rlog_start(l), info.first);
	rlog_reader_drop(reader);
	ck_assert_int_eq(rlog_read(reader, 1, &v), RLOG_E_GONE);
	ck_assert_int_eq(rlog_read(reader, info.first, &v), 0);
	rlog_reader_close(reader);
	ck_assert_int_eq(rlog_identities(l, 1, ident_one, NULL), RLOG_E_GONE);
	book.start = info.first;
	book.base = book.pages[info.first - 1].h.chain;
	book_compare(&book, dir, &rlog_posix, l, book.end);
	rlog_close(l);
	l = open_log(&st);
	ck_assert_uint_eq(st.start, info.first);
	ck_assert(leash_chain_eq(st.base, book.base));
	ck_assert_int_eq(rlog_retain(l, UINT64_MAX), 0); /* the active one stays */
	ck_assert_uint_eq(rlog_segments(l), 1);
	rlog_close(l);
}
END_TEST

static void remove_file(const char *name)
{
	char path[400];

	(void)snprintf(path, sizeof path, "%s/%s", dir, name);
	ck_assert_int_eq(unlink(path), 0);
}

static void remove_segment(leash_seq first)
{
	char name[64];

	(void)snprintf(name, sizeof name, "%020llu.seg", (unsigned long long)first);
	remove_file(name);
}

/* Twenty appends: several segments. The first numbers of the second and third go to @ret_firsts. */
static struct rlog *long_log(leash_seq ret_firsts[2])
{
	struct rlog_segment_info info;
	struct rlog *l = open_log(NULL);

	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(book_append(&book, l, 30, 500), 0);
	ck_assert_int_eq(rlog_sync(l), 0);
	for (size_t i = 0; i < 2; i++) {
		ck_assert_int_eq(rlog_segment_info(l, i + 1, &info), 0);
		ret_firsts[i] = info.first;
	}
	return l;
}

static void count_problem(const struct rlog_damage *d, void *arg)
{
	(void)d;
	++*(size_t *)arg;
}

/* The log, closed, lacks its oldest segment, which began with @first: damage, set aside as a whole. */
static void check_missing(leash_seq first, leash_seq last)
{
	const struct rlog_damage *d;
	struct rlog_verify_result res;
	struct rlog_state st;
	char name[64];
	size_t n = 0;
	struct rlog *l;

	ck_assert_int_eq(rlog_verify(dir, &rlog_posix, 0, count_problem, &n, &res), 0);
	ck_assert_uint_ge(n, 1);
	l = open_log(&st);
	ck_assert(st.damaged);
	d = rlog_damage_get(l, &n);
	ck_assert_uint_eq(n, 1);
	ck_assert_uint_eq(d->first, first);
	ck_assert_uint_eq(d->last, last);
	(void)snprintf(name, sizeof name, "%020llu.seg", (unsigned long long)first);
	ck_assert_str_eq(d->path, name);
	ck_assert_int_eq(rlog_set_damage_aside(l), 0);
	ck_assert_uint_eq(rlog_start(l), 1);
	ck_assert_uint_eq(rlog_end(l), 0);
	rlog_close(l);
	l = open_log(&st);
	ck_assert(!st.damaged);
	rlog_close(l);
}

START_TEST(a_missing_oldest_segment_is_damage)
{
	leash_seq firsts[2];

	rlog_close(long_log(firsts));
	remove_segment(1);
	check_missing(1, firsts[0] - 1);
}
END_TEST

START_TEST(so_it_is_behind_retention)
{
	leash_seq firsts[2];
	struct rlog *l = long_log(firsts);

	ck_assert_int_eq(rlog_retain(l, firsts[0]), 0);
	rlog_close(l);
	l = open_log(NULL);
	ck_assert_uint_eq(rlog_start(l), firsts[0]);
	rlog_close(l);
	remove_segment(firsts[0]);
	check_missing(firsts[0], firsts[1] - 1);
}
END_TEST

START_TEST(so_it_is_when_there_is_no_other)
{
	struct rlog *l = open_log(NULL);

	ck_assert_int_eq(book_append(&book, l, 5, 10), 0);
	ck_assert_int_eq(rlog_sync(l), 0); /* and no mark yet */
	rlog_close(l);
	remove_segment(1);
	check_missing(1, 0);
}
END_TEST

START_TEST(so_it_is_in_a_fresh_copy)
{
	struct rlog *l = open_log(NULL);

	ck_assert_int_eq(book_append(&book, l, 5, 10), 0);
	ck_assert_int_eq(rlog_reset(l, 500, (struct leash_chain){ 3, 4 }), 0);
	rlog_close(l);
	remove_segment(500);
	check_missing(500, 0);
}
END_TEST

/* A log of old does not say where it begins: taken as it is, and noted from now on. */
static void forget_start(void)
{
	_cleanup_(rlog_file_close) struct rlog_file f = RLOG_FILE_NULL;
	struct rlog_marks m;

	ck_assert_int_eq(rlog_marks_load(&rlog_posix, dir, true, &m), 0);
	ck_assert_uint_ne(m.start, 0);
	ck_assert_int_eq(rlog_file_open(&rlog_posix, dir, "mark", RLOG_OPEN_WRITE, &f), 0);
	m.start = 0;
	for (int i = 0; i < 2; i++) {
		m.counter++;
		ck_assert_int_eq(rlog_marks_store(&f, &m), 0);
	}
}

START_TEST(a_log_of_old_learns_where_it_begins)
{
	leash_seq firsts[2];
	struct rlog_state st;
	struct rlog *l = long_log(firsts);

	rlog_close(l);
	forget_start();
	remove_segment(1);
	l = open_log(&st);
	ck_assert(!st.damaged);
	ck_assert_uint_eq(st.start, firsts[0]);
	ck_assert_int_eq(rlog_mark(l, st.end), 0);
	rlog_close(l);
	remove_segment(firsts[0]);
	check_missing(firsts[0], firsts[1] - 1);
}
END_TEST

/* That the mark is gone is known for as long as the damage is not set aside: a life that ends before does not forget it. */
START_TEST(a_lost_mark_stays_lost)
{
	struct rlog_state st;
	char path[600];
	struct rlog *l;

	l = open_log(&st);
	ck_assert_int_eq(book_append(&book, l, 5, 100), 0);
	ck_assert_int_eq(rlog_sync(l), 0);
	ck_assert_int_eq(rlog_mark(l, 5), 0);
	rlog_close(l);
	(void)snprintf(path, sizeof path, "%s/mark", dir);
	ck_assert_int_eq(unlink(path), 0);
	for (int i = 0; i < 3; i++) {
		l = open_log(&st);
		ck_assert(st.damaged);
		if (i == 1)
			ck_assert_int_eq(rlog_set_damage_aside(l), 0);
		rlog_close(l);
		if (i == 1)
			break;
	}
	l = open_log(&st);
	ck_assert(!st.damaged && st.end == 5 && st.mark == 5);
	rlog_close(l);
}
END_TEST

/* Retention writes the new start into both slots of the mark: either alone does not call its work damage. */
START_TEST(retention_is_known_by_either_slot)
{
	_cleanup_(rlog_file_close) struct rlog_file f = RLOG_FILE_NULL;
	leash_seq firsts[2];
	struct rlog_state st;
	struct rlog *l = long_log(firsts);

	ck_assert_int_eq(rlog_mark(l, rlog_durable(l)), 0);
	ck_assert_int_eq(rlog_retain(l, firsts[1]), 0);
	rlog_close(l);
	ck_assert_int_eq(rlog_file_open(&rlog_posix, dir, "mark", RLOG_OPEN_WRITE, &f), 0);
	ck_assert_int_eq(rlog_file_write(&f, "rot", 3, 16 + RLOG_MARK_STRIDE * (uint64_t)_i), 0);
	l = open_log(&st);
	ck_assert(!st.damaged);
	ck_assert_uint_eq(st.start, firsts[1]);
	rlog_close(l);
}
END_TEST

START_TEST(a_fresh_copy_starts_elsewhere)
{
	struct leash_chain base = { 3, 4 };
	struct rlog_state st;
	struct rlog *l = open_log(NULL);

	ck_assert_int_eq(book_append(&book, l, 60, 2000), 0);
	ck_assert_int_eq(rlog_sync(l), 0);
	ck_assert_int_eq(rlog_mark(l, 60), 0);
	ck_assert_int_eq(rlog_reset(l, 500, base), 0);
	rlog_state_get(l, &st);
	ck_assert_uint_eq(st.start, 500);
	ck_assert_uint_eq(st.end, 499);
	ck_assert_uint_eq(st.mark, 0);
	rlog_close(l);
	l = open_log(&st);
	ck_assert(!st.damaged);
	ck_assert_uint_eq(st.start, 500);
	ck_assert_uint_eq(st.end, 499);
	ck_assert(leash_chain_eq(st.base, base) && leash_chain_eq(st.chain, base));
	book.start = 500;
	book.end = 499;
	book.base = base;
	ck_assert_int_eq(book_append(&book, l, 3, 10), 0);
	book_compare(&book, dir, &rlog_posix, l, 502);
	rlog_close(l);
}
END_TEST

static void digests(const struct rlog *l, bool there)
{
	for (size_t i = 0; i + 1 < rlog_segments(l); i++) {
		struct rlog_segment_info info;
		char name[64], path[400];

		ck_assert_int_eq(rlog_segment_info(l, i, &info), 0);
		(void)snprintf(name, sizeof name, "%020llu.dig", (unsigned long long)info.first);
		ck_assert_msg(file_there(name) == there, "%s", name);
		(void)snprintf(path, sizeof path, "%s/%s", dir, name);
		ck_assert(!there || unlink(path) == 0);
	}
}

static void prepare_all(struct rlog *l)
{
	bool ready = false;

	while (!ready)
		ck_assert_int_eq(rlog_prepare(l, 4096, &ready), 0);
}

/* The newest one's parts come with what is done next, or never: then it is made again. */
START_TEST(a_digest_is_written_bit_by_bit)
{
	struct ident_check c = { .b = &book, .next = 1 };
	struct rlog *l = open_log(NULL);
	struct rlog_state st;
	size_t n = 0;

	while (n < 2) {
		ck_assert_int_eq(book_append(&book, l, 1, 10), 0);
		n = rlog_segments(l);
	}
	ck_assert_int_eq(rlog_identities(l, 1, ident_one, &c), 0);
	ck_assert_uint_eq(c.wrong, 0);
	ck_assert_uint_eq(c.next, book.end + 1);
	ck_assert_int_eq(rlog_sync(l), 0);
	rlog_close(l);
	l = open_log(&st);
	ck_assert(!st.damaged);
	book_compare(&book, dir, &rlog_posix, l, book.end);
	while (n < 3) {
		ck_assert_int_eq(book_append(&book, l, 1, 10), 0);
		n = rlog_segments(l);
	}
	prepare_all(l);
	ck_assert_int_eq(rlog_sync(l), 0);
	digests(l, true);
	book_compare(&book, dir, &rlog_posix, l, book.end);
	rlog_close(l);
}
END_TEST

START_TEST(digests_are_made_again)
{
	struct ident_check c = { .b = &book, .next = 1 };
	struct rlog *l = open_log(NULL);

	for (int i = 0; i < 20; i++)
		ck_assert_int_eq(book_append(&book, l, 30, 500), 0);
	prepare_all(l);
	digests(l, true); /* and gone now */
	digests(l, false);
	ck_assert_int_eq(rlog_identities(l, 1, ident_one, &c), 0); /* from the records */
	ck_assert_uint_eq(c.wrong, 0);
	ck_assert_uint_eq(c.next, book.end + 1);
	digests(l, true);
	ck_assert_int_eq(rlog_set_seed(l, 99), 0);
	c = (struct ident_check){ .b = &book, .next = 1 };
	ck_assert_int_eq(rlog_identities(l, 1, ident_one, &c), 0); /* other seed, other keys */
	ck_assert_uint_eq(c.wrong, book.end);
	ck_assert_int_eq(rlog_set_seed(l, BOOK_SEED), 0);
	ck_assert_int_eq(rlog_sync(l), 0);
	rlog_close(l);
	l = open_log(NULL);
	book_compare(&book, dir, &rlog_posix, l, book.end);
	rlog_close(l);
}
END_TEST

START_TEST(records_are_found_in_any_order)
{
	struct simple { uint64_t x; } rng = { 88172645463325252u };
	struct rlog_reader *reader;
	struct rlog_view v;
	struct rlog *l = open_log(NULL);

	for (int i = 0; i < 40; i++)
		ck_assert_int_eq(book_append(&book, l, 20, (size_t)(i * 97) % 1500), 0);
	ck_assert_int_eq(rlog_reader_open(dir, &rlog_posix, BOOK_BODY_MAX, &reader), 0);
	for (int i = 0; i < 3000; i++) {
		leash_seq seq;

		rng.x ^= rng.x << 13;
		rng.x ^= rng.x >> 7;
		rng.x ^= rng.x << 17;
		seq = 1 + rng.x % book.end;
		if (i == 1500)
			digests(l, true); /* hints only */
		ck_assert_int_eq(rlog_read(reader, seq, &v), 0);
		ck_assert_uint_eq(v.h.seq, seq);
		ck_assert(book_has(&book, &v));
	}
	ck_assert_int_eq(rlog_read(reader, book.end + 1, &v), RLOG_E_DAMAGED); /* the caller's bound was wrong */
	rlog_reader_close(reader);
	rlog_close(l);
}
END_TEST

START_TEST(the_next_segment_is_made_ahead)
{
	struct rlog *l = open_log(NULL);
	bool ready = false;
	int steps = 0;

	for (; !ready; steps++)
		ck_assert_int_eq(rlog_prepare(l, 4096 * 4, &ready), 0);
	ck_assert_int_eq(steps, 4);
	ck_assert(file_there("spare"));
	ck_assert_int_eq(book_append(&book, l, 1, 10), 0);
	ck_assert(!file_there("spare") && file_there("00000000000000000001.seg"));
	ck_assert_int_eq(rlog_prepare(l, 4096, &ready), 0);
	ck_assert(!ready && file_there("spare"));
	rlog_close(l);
	l = open_log(NULL);
	ck_assert(!file_there("spare"));
	rlog_close(l);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------------- threads */

#define SHARED_RECORDS 6000

static _Atomic leash_seq published;
static struct book shared; /* written before the threads start */

static void *read_all(void *arg)
{
	struct rlog_reader *reader;
	struct rlog_view v;
	size_t *wrong = arg;

	if (rlog_reader_open(dir, &rlog_posix, BOOK_BODY_MAX, &reader) != 0)
		return NULL;
	for (leash_seq seq = 1; seq <= SHARED_RECORDS;) {
		leash_seq end = atomic_load(&published), old = seq > 400 ? seq - 400 : 1;
		int r;

		if (end < seq) {
			(void)usleep(50); /* yields; the writer ends by itself */
			continue;
		}
		r = rlog_read(reader, seq, &v);
		*wrong += r != 0 || v.h.seq != seq || !book_has(&shared, &v);
		if (seq % 64 == 0) {
			r = rlog_read(reader, old, &v); /* may be gone, is never something else */
			*wrong += !(r == RLOG_E_GONE || (r == 0 && v.h.seq == old && book_has(&shared, &v)));
		}
		seq++;
	}
	rlog_reader_close(reader);
	return NULL;
}

START_TEST(readers_run_beside_the_writer)
{
	struct rlog *l = open_log(NULL);
	pthread_t threads[2];
	size_t wrong[2] = { 0 };

	book_init(&shared);
	for (int i = 0; i < SHARED_RECORDS; i++)
		(void)book_next(&shared, (size_t)(i % 7) * 60);
	atomic_store(&published, 0);
	for (size_t i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, read_all, &wrong[i]), 0);
	for (leash_seq seq = 1; seq <= SHARED_RECORDS;) {
		struct rlog_rec recs[40];
		size_t n = 0, done;

		while (n < 1 + seq % 40 && seq + n <= SHARED_RECORDS) {
			recs[n] = book_rec(&shared, seq + n);
			n++;
		}
		ck_assert_int_eq(rlog_append(l, recs, n, &done), 0);
		ck_assert_int_eq(rlog_sync(l), 0);
		seq += n;
		atomic_store(&published, seq - 1);
	}
	for (size_t i = 0; i < 2; i++) {
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
		ck_assert_uint_eq(wrong[i], 0);
	}
	rlog_close(l);
	book_deinit(&shared);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("rlog");
	TCase *t = tcase_create("real files");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 120);
	tcase_add_test(t, what_is_appended_is_read_again);
	tcase_add_test(t, small_and_large_records_of_one_append);
	tcase_add_test(t, wrong_records_are_refused);
	tcase_add_test(t, a_directory_has_one_owner);
	tcase_add_test(t, a_mark_file_that_was_cut_is_whole_when_both_slots_are);
	tcase_add_test(t, a_lost_meta_needs_an_operator);
	tcase_add_test(t, a_cut_is_kept_in_a_side_file);
	tcase_add_test(t, old_segments_go);
	tcase_add_test(t, a_missing_oldest_segment_is_damage);
	tcase_add_test(t, so_it_is_behind_retention);
	tcase_add_test(t, so_it_is_when_there_is_no_other);
	tcase_add_test(t, so_it_is_in_a_fresh_copy);
	tcase_add_test(t, a_log_of_old_learns_where_it_begins);
	tcase_add_loop_test(t, retention_is_known_by_either_slot, 0, 2);
	tcase_add_test(t, a_lost_mark_stays_lost);
	tcase_add_test(t, a_fresh_copy_starts_elsewhere);
	tcase_add_test(t, a_digest_is_written_bit_by_bit);
	tcase_add_test(t, digests_are_made_again);
	tcase_add_test(t, records_are_found_in_any_order);
	tcase_add_test(t, the_next_segment_is_made_ahead);
	tcase_add_test(t, readers_run_beside_the_writer);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

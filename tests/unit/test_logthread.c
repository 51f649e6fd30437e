/*
 * The log thread over a real directory: order, groups, cuts, reads, a full disk, a failing disk, a hanging disk,
 * retention. The table of file operations is the real one with faults in front of it.
 */
#include "node/logthread.h"

#include <errno.h>
#include <dirent.h>
#include <event2/event.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>

#include "base/clk.h"
#include "base/ids.h"
#include "unit.h"

#define SEGMENT    (256 * 1024)
#define BODY_BYTES 1000
#define DEADLINE_S 20

/* Faults; atomics: the writing thread looks. */
static int fail_sync, hang_sync, no_room, no_write;

static int faulty_fdatasync(void *ctx, int fd)
{
	while (__atomic_load_n(&hang_sync, __ATOMIC_ACQUIRE))
		(void)usleep(1000);
	if (__atomic_load_n(&fail_sync, __ATOMIC_ACQUIRE))
		return -EIO;
	return rlog_posix.fdatasync(ctx, fd);
}

static int faulty_allocate(void *ctx, int fd, uint64_t bytes)
{
	if (__atomic_load_n(&no_room, __ATOMIC_ACQUIRE))
		return -ENOSPC;
	return rlog_posix.allocate(ctx, fd, bytes);
}

static int faulty_pwritev(void *ctx, int fd, const struct iovec *iov, size_t n_iov, uint64_t offset)
{
	if (__atomic_load_n(&no_write, __ATOMIC_ACQUIRE))
		return -ENOSPC;
	return rlog_posix.pwritev(ctx, fd, iov, n_iov, offset);
}

#define KEPT 20

struct t {
	struct event_base *base;
	struct rlog_ops ops;
	struct logthread *lt;
	char dir[256];
	struct leash_chain chain; /* of the records made */
	leash_seq made;
	struct leash_chain chains[2048];
	/* what was told */
	leash_seq durable, cut, full_end, trimmed;
	struct leash_chain trimmed_base;
	bool was_cut, was_full, was_failed;
	uint64_t meta_ticket, room;
	leash_id incarnation;
	leash_seq incarnation_end;
	struct rlog_damage damage; /* found last */
	int n_problems, n_damage, n_rebuild, rebuild_outcome; /* of the last one: */
	leash_seq rebuild_need;
	struct rlog_rebuilt rebuilt;
	struct drv_rec *kept[KEPT];
	/* of a read */
	bool read_done;
	int read_error;
	size_t read_n;
	leash_seq read_first, read_last;
};

static void on_durable(void *ctx, leash_seq seq)
{
	struct t *t = ctx;

	ck_assert_uint_ge(seq, t->durable);
	t->durable = seq;
}
static void on_room(void *ctx, uint64_t bytes) { ((struct t *)ctx)->room = bytes; }
static void on_cut(void *ctx, leash_seq seq, struct leash_chain chain)
{
	struct t *t = ctx;

	t->was_cut = true;
	t->cut = t->durable = seq;
	if (seq <= t->made)
		ck_assert(leash_chain_eq(chain, t->chains[seq]));
}
static void on_meta(void *ctx, uint64_t ticket) { ((struct t *)ctx)->meta_ticket = ticket; }
static void on_full(void *ctx, leash_seq end, struct leash_chain chain)
{
	struct t *t = ctx;

	t->was_full = true;
	t->full_end = end;
	ck_assert(leash_chain_eq(chain, t->chains[end]));
}
static void on_trimmed(void *ctx, leash_seq start, struct leash_chain base)
{
	((struct t *)ctx)->trimmed = start;
	((struct t *)ctx)->trimmed_base = base;
}
static void on_incarnation(void *ctx, leash_id id, leash_seq end, struct leash_chain chain)
{
	struct t *t = ctx;

	(void)chain;
	t->incarnation = id;
	t->incarnation_end = end;
	t->durable = end;
}
static void on_problem(void *ctx, const char *text) { ((struct t *)ctx)->n_problems += text[0] != 0; }
static void on_space(void *ctx, bool full) { (void)ctx, (void)full; }
static void on_failed(void *ctx, const char *text)
{
	ck_assert(!((struct t *)ctx)->was_failed && text[0]);
	((struct t *)ctx)->was_failed = true;
}
static void on_damage(void *ctx, const struct rlog_damage *d)
{
	struct t *t = ctx;

	t->n_damage++;
	t->damage = *d;
}
static void on_rebuild(void *ctx, int outcome, leash_seq need, const struct rlog_rebuilt *taken)
{
	struct t *t = ctx;

	t->n_rebuild++;
	t->rebuild_outcome = outcome;
	t->rebuild_need = need;
	t->rebuilt = *taken;
}
static void on_read(void *ctx, int error, struct drv_rec *const *recs, size_t n)
{
	struct t *t = ctx;

	t->read_done = true;
	t->read_error = error;
	t->read_n = n;
	t->read_first = n ? recs[0]->h.seq : 0;
	t->read_last = n ? recs[n - 1]->h.seq : 0;
}

static void open_log(struct t *t)
{
	struct rlog_conf conf = { .dir = t->dir, .segment_bytes = SEGMENT, .reserve_bytes = 65536, .record_bytes_max = 4096 };
	struct logthread_conf lc = { .dir = t->dir, .ops = &t->ops, .record_bytes_max = 4096 };
	struct logthread_ops ops = { t, on_durable, on_room, on_cut, on_meta, on_full, on_trimmed, on_incarnation,
		on_damage, on_rebuild, on_problem, on_space, on_failed };
	struct rlog_state s;
	struct rlog *log;

	ck_assert_int_eq(rlog_open(&conf, &t->ops, "engine", "P1", 0x77, &log, &s), 0);
	t->made = s.end;
	t->chain = s.chain;
	ck_assert_int_eq(logthread_new(&lc, log, &s.meta, t->base, &ops, &t->lt), 0);
}

static struct t *t_new(void)
{
	const char *tmp = getenv("TMPDIR");
	struct t *t = calloc(1, sizeof *t);

	ck_assert_ptr_nonnull(t);
	fail_sync = hang_sync = no_room = no_write = 0;
	t->ops = rlog_posix;
	t->ops.fdatasync = faulty_fdatasync;
	t->ops.allocate = faulty_allocate;
	t->ops.pwritev = faulty_pwritev;
	t->base = event_base_new();
	(void)snprintf(t->dir, sizeof t->dir, "%s/leash-lt-XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(t->dir));
	open_log(t);
	return t;
}

static void remove_dir(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		char name[600];

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		(void)snprintf(name, sizeof name, "%s/%s", path, e->d_name);
		if (e->d_type == DT_DIR)
			remove_dir(name);
		else
			(void)unlink(name);
	}
	if (d)
		(void)closedir(d);
	(void)rmdir(path);
}

static void t_free(struct t *t)
{
	logthread_free(t->lt);
	event_base_free(t->base);
	remove_dir(t->dir);
	free(t);
}

#define WAIT(t, cond)                                                                                        \
	do {                                                                                                 \
		uint64_t began_ = clk_boot_ns();                                                             \
                                                                                                             \
		while (!(cond)) {                                                                            \
			ck_assert_msg(clk_boot_ns() - began_ < DEADLINE_S * NS_PER_S, "in vain: " #cond);    \
			(void)event_base_loop((t)->base, EVLOOP_NONBLOCK);                                   \
			(void)usleep(200);                                                                   \
		}                                                                                            \
	} while (0)

static void append(struct t *t, size_t n)
{
	struct drv_rec *recs[64];

	ck_assert(n <= ARRAY_SIZE(recs) && t->made + n < ARRAY_SIZE(t->chains));
	for (size_t i = 0; i < n; i++) {
		_cleanup_(buf_deinit) struct buf b = BUF_NULL;
		static uint8_t value[BODY_BYTES];
		struct bytes pairs[2] = { { (const uint8_t *)"f", 1 }, { value, sizeof value } };
		struct rec_body body = { .id_kind = REC_ID_NONE };
		struct rec_header h = { .epoch = 1, .seq = ++t->made, .log_time_ns = t->made };
		struct rec_ident ident = { 0 };

		ck_assert_int_eq(rec_body_encode(&b, &body, 0, pairs, 1), 0);
		h.body_bytes = (uint32_t)buf_len(&b);
		h.body_hash = rec_body_hash((struct bytes){ buf_head(&b), buf_len(&b) });
		rec_header_seal(&h, t->chain);
		t->chains[h.seq] = t->chain = h.chain;
		recs[i] = drv_rec_new(&h, &ident, (struct bytes){ buf_head(&b), buf_len(&b) });
		ck_assert_ptr_nonnull(recs[i]);
	}
	logthread_append(t->lt, recs, n);
	for (size_t i = 0; i < n; i++)
		drv_rec_unref(recs[i]);
}

static void made_back(struct t *t, leash_seq seq)
{
	t->made = seq;
	t->chain = t->chains[seq];
}

START_TEST(appends_reads_and_lasts)
{
	struct logthread_stats s;
	struct t *t = t_new();

	for (int i = 0; i < 50; i++)
		append(t, 10);
	logthread_mark(t->lt, 400);
	WAIT(t, t->durable == 500);
	ck_assert_int_eq(logthread_read(t->lt, 100, 500, false, 50, 1 << 20, on_read, t, NULL), 0);
	WAIT(t, t->read_done);
	ck_assert(t->read_error == 0 && t->read_n == 50 && t->read_first == 100 && t->read_last == 149);
	t->read_done = false;
	ck_assert_int_eq(logthread_read(t->lt, 1, 500, true, 50, 5 * BODY_BYTES, on_read, t, NULL), 0);
	WAIT(t, t->read_done);
	ck_assert(t->read_first == 500 && t->read_n >= 4 && t->read_n <= 6);
	logthread_stats(t->lt, &s);
	ck_assert_uint_eq(s.group_records, 500);
	ck_assert_uint_le(s.groups, 50);
	append(t, 3); /* what is queued at the end is carried out */
	logthread_free(t->lt);
	open_log(t);
	ck_assert_uint_eq(t->made, 503);
	t_free(t);
}
END_TEST

START_TEST(cuts_in_order)
{
	struct rep_meta meta = { .cluster = 5, .incarnation = 0x99, .promise = 3, .log_epoch = 3, .log_matched = 15 };
	struct t *t = t_new();
	struct rlog_meta disk;
	leash_seq mark;

	append(t, 20);
	logthread_truncate(t->lt, 15);
	made_back(t, 15);
	append(t, 5);
	logthread_meta(t->lt, 42, &meta, 2, 1000);
	WAIT(t, t->was_cut && t->durable == 20 && t->meta_ticket == 42);
	ck_assert_uint_eq(t->cut, 15);
	t->was_cut = false;
	logthread_reset(t->lt, 101, t->chain);
	t->made = 100;
	t->chains[100] = t->chain;
	append(t, 5);
	WAIT(t, t->was_cut && t->durable == 105);
	ck_assert_int_eq(logthread_read(t->lt, 5, 5, false, 1, 1000, on_read, t, NULL), 0);
	WAIT(t, t->read_done);
	ck_assert_int_eq(t->read_error, RLOG_E_GONE);
	logthread_set_aside(t->lt, 0x1234);
	WAIT(t, t->incarnation == 0x1234);
	ck_assert_uint_eq(t->incarnation_end, 105);
	ck_assert_int_eq(rlog_peek(t->dir, &rlog_posix, &disk, &mark), 0);
	ck_assert(disk.incarnation == 0x1234 && disk.promise == 3);
	ck_assert(disk.log_epoch == 0 && disk.log_matched == 0); /* nothing for `leash recover` to build upon */
	t_free(t);
}
END_TEST

static void flip_byte(struct t *t, leash_seq first, off_t offset)
{
	char path[600];
	uint8_t b;
	int fd;

	(void)snprintf(path, sizeof path, "%s/%020llu.seg", t->dir, (unsigned long long)first);
	fd = open(path, O_RDWR | O_CLOEXEC);
	ck_assert(fd >= 0 && pread(fd, &b, 1, offset) == 1);
	b ^= 0x10;
	ck_assert(pwrite(fd, &b, 1, offset) == 1 && fsync(fd) == 0);
	(void)close(fd);
}

/* By the scrub (1) or by a read (0): told, appends go on, and the log ends before it once it is set aside. */
START_TEST(damage_found_while_running)
{
	struct logthread_stats s;
	struct t *t = t_new();
	leash_seq first;

	for (int i = 0; i < 20; i++)
		append(t, 50);
	WAIT(t, t->durable == 1000);
	logthread_set_scrub_rate(t->lt, UINT64_C(1) << 40);
	WAIT(t, (logthread_stats(t->lt, &s), s.scrub.passes > 1 && s.scrub.last_records == 1000));
	ck_assert_int_eq(t->n_damage, 0);
	if (!_i)
		logthread_set_scrub_rate(t->lt, 0);
	flip_byte(t, 1, 4096 + 5000);
	if (!_i) {
		ck_assert_int_eq(logthread_read(t->lt, 1, 1000, false, 1000, 1 << 20, on_read, t, NULL), 0);
		WAIT(t, t->read_done);
		ck_assert(t->read_error == 0 && t->read_first == 1 && t->read_last < 20);
	}
	WAIT(t, t->n_damage > 0);
	first = t->damage.first;
	ck_assert(first > 1 && first < 20 && t->damage.last == first);
	ck_assert(_i == 0 || strncmp(t->damage.path, "00000000000000000001.seg", 24) == 0);
	append(t, 10); /* a primary goes on */
	WAIT(t, t->durable == 1010);
	logthread_set_aside(t->lt, 0x1234);
	WAIT(t, t->incarnation == 0x1234);
	ck_assert_uint_eq(t->incarnation_end, first - 1);
	made_back(t, first - 1);
	append(t, 50);
	WAIT(t, t->durable == first + 49);
	logthread_set_scrub_rate(t->lt, UINT64_C(1) << 40);
	WAIT(t, (logthread_stats(t->lt, &s), s.scrub.last_damaged == 0 && s.scrub.last_records == first + 49));
	t_free(t);
}
END_TEST

static void on_keep(void *ctx, int error, struct drv_rec *const *recs, size_t n)
{
	struct t *t = ctx;

	ck_assert(error == 0 && n <= ARRAY_SIZE(t->kept));
	for (size_t i = 0; i < n; i++)
		t->kept[i] = drv_rec_ref(recs[i]);
	t->read_done = true;
}

/* In place, with the records as another node has them, while appends go on. */
START_TEST(damage_is_repaired)
{
	struct logthread_stats s;
	struct t *t = t_new();
	leash_seq bad;

	for (int i = 0; i < 20; i++)
		append(t, 50);
	WAIT(t, t->durable == 1000);
	ck_assert_int_eq(logthread_read(t->lt, 1, KEPT, false, KEPT, 1 << 20, on_keep, t, NULL), 0);
	WAIT(t, t->read_done);
	flip_byte(t, 1, 4096 + 5000);
	logthread_set_scrub_rate(t->lt, UINT64_C(1) << 40);
	WAIT(t, t->n_damage > 0);
	logthread_set_scrub_rate(t->lt, 0);
	bad = t->damage.first;
	ck_assert(bad > 1 && bad <= KEPT);
	logthread_rebuild(t->lt, bad);
	append(t, 10);
	WAIT(t, t->n_rebuild == 1);
	ck_assert(t->rebuild_outcome == 0 && t->rebuild_need == bad);
	append(t, 10);
	logthread_rebuild_put(t->lt, &t->kept[bad - 1], 1);
	WAIT(t, t->n_rebuild == 2 && t->durable == 1020);
	ck_assert(t->rebuild_outcome == 0 && t->rebuild_need == 0 && t->rebuilt.records == 1 && t->rebuilt.first == bad);
	t->read_done = false;
	ck_assert_int_eq(logthread_read(t->lt, 1, 1020, false, 1020, 1 << 24, on_read, t, NULL), 0);
	WAIT(t, t->read_done);
	ck_assert(t->read_error == 0 && t->read_first == 1 && t->read_last == 1020);
	logthread_set_scrub_rate(t->lt, UINT64_C(1) << 40);
	WAIT(t, (logthread_stats(t->lt, &s), s.scrub.last_damaged == 0 && s.scrub.last_records == 1020));
	for (size_t i = 0; i < KEPT; i++)
		drv_rec_unref(t->kept[i]);
	t_free(t);
}
END_TEST

START_TEST(a_cut_ends_a_repair)
{
	struct t *t = t_new();

	append(t, 50);
	WAIT(t, t->durable == 50);
	flip_byte(t, 1, 4096 + 2000);
	logthread_rebuild(t->lt, 1);
	WAIT(t, t->n_rebuild == 1 && t->rebuild_need > 1);
	logthread_reset(t->lt, 1, (struct leash_chain){ 0 });
	WAIT(t, t->was_cut && t->n_rebuild == 2);
	ck_assert_int_eq(t->rebuild_outcome, -ECANCELED);
	t_free(t);
}
END_TEST

START_TEST(full_disk)
{
	struct t *t = t_new();

	append(t, 10);
	WAIT(t, t->durable == 10);
	__atomic_store_n(&no_room, 1, __ATOMIC_RELEASE);
	for (int i = 0; i < 20; i++)
		append(t, 50);
	WAIT(t, t->was_full);
	ck_assert_uint_lt(t->full_end, 1010);
	ck_assert_uint_eq(t->full_end, t->durable);
	ck_assert_uint_ne(t->room, UINT64_MAX);
	__atomic_store_n(&no_room, 0, __ATOMIC_RELEASE);
	made_back(t, t->full_end);
	WAIT(t, t->room == UINT64_MAX); /* it notices by itself */
	append(t, 50);
	WAIT(t, t->durable == t->made);
	t_free(t);
}
END_TEST

static struct rlog_state opened_again(struct t *t)
{
	struct rlog_conf conf = { .dir = t->dir, .segment_bytes = SEGMENT, .reserve_bytes = 65536, .record_bytes_max = 4096 };
	struct rlog_state s;
	struct rlog *log;

	logthread_free(TAKE(t->lt));
	ck_assert_int_eq(rlog_open(&conf, &rlog_posix, "engine", "P1", 0x77, &log, &s), 0);
	rlog_close(log);
	return s;
}

/* Metadata finds no room; newer is written when there is some: the older must not come after it (a promise would go back). */
START_TEST(older_metadata_is_not_written_over_newer)
{
	struct rep_meta older = { .cluster = 1, .promise = 5, .promise_run = 1, .log_epoch = 5, .log_matched = 9 };
	struct rep_meta newer = { .cluster = 1, .promise = 7, .promise_run = 2 };
	struct t *t = t_new();
	uint64_t began;

	__atomic_store_n(&no_write, 1, __ATOMIC_RELEASE);
	logthread_meta(t->lt, 1, &older, 2, 1000);
	WAIT(t, t->n_problems >= 2); /* it was tried again at once; the next time is half a second later */
	__atomic_store_n(&no_write, 0, __ATOMIC_RELEASE);
	if (_i == 0)
		logthread_meta(t->lt, 2, &newer, 2, 1000);
	else
		logthread_set_aside(t->lt, 0x88);
	WAIT(t, t->meta_ticket == 2 || t->incarnation == 0x88);
	began = clk_boot_ns();
	WAIT(t, t->meta_ticket == 1 || clk_boot_ns() - began > NS_PER_S);
	ck_assert_uint_eq(t->meta_ticket, _i == 0 ? 2 : 0);
	ck_assert_uint_eq(opened_again(t).meta.promise, _i == 0 ? 7 : 0);
	t_free(t);
}
END_TEST

START_TEST(a_failed_sync_is_final)
{
	struct t *t = t_new();

	append(t, 5);
	WAIT(t, t->durable == 5);
	__atomic_store_n(&fail_sync, 1, __ATOMIC_RELEASE);
	append(t, 5);
	WAIT(t, t->was_failed);
	__atomic_store_n(&fail_sync, 0, __ATOMIC_RELEASE);
	append(t, 5);
	logthread_truncate(t->lt, 3);
	logthread_free(TAKE(t->lt));
	ck_assert_uint_eq(t->durable, 5);
	ck_assert(!t->was_cut);
	t_free(t);
}
END_TEST

START_TEST(a_hanging_sync_shows)
{
	struct t *t = t_new();

	append(t, 5);
	WAIT(t, t->durable == 5);
	__atomic_store_n(&hang_sync, 1, __ATOMIC_RELEASE);
	append(t, 5);
	WAIT(t, logthread_stuck_ns(t->lt) > 20 * NS_PER_MS);
	__atomic_store_n(&hang_sync, 0, __ATOMIC_RELEASE);
	WAIT(t, t->durable == 10);
	t_free(t);
}
END_TEST

START_TEST(retention_keeps_what_is_needed)
{
	struct t *t = t_new();

	for (int i = 0; i < 20; i++)
		append(t, 50);
	WAIT(t, t->durable == 1000);
	logthread_set_retention(t->lt, SEGMENT, 0);
	logthread_retain(t->lt, 1); /* everything is needed */
	logthread_retain(t->lt, 600);
	WAIT(t, t->trimmed > 1);
	ck_assert_uint_le(t->trimmed, 600);
	ck_assert_uint_gt(t->trimmed, 300);
	ck_assert(leash_chain_eq(t->trimmed_base, t->chains[t->trimmed - 1]));
	t_free(t);
}
END_TEST

/* A record that cannot be the one, given by another node, does no harm. */
START_TEST(a_false_record_is_refused)
{
	struct t *t = t_new();
	struct drv_rec *rec;
	static uint8_t body[6000];
	struct rec_ident ident = { 0 };
	struct rec_header h = { 0 };
	leash_seq bad;

	for (int i = 0; i < 20; i++)
		append(t, 50);
	WAIT(t, t->durable == 1000);
	ck_assert_int_eq(logthread_read(t->lt, 1, KEPT, false, KEPT, 1 << 20, on_keep, t, NULL), 0);
	WAIT(t, t->read_done);
	flip_byte(t, 1, 4096 + 5000);
	logthread_rebuild(t->lt, 1);
	WAIT(t, t->n_rebuild == 1);
	bad = t->rebuild_need;
	ck_assert(bad > 1 && bad <= KEPT);
	h = t->kept[bad - 1]->h;
	h.body_bytes = sizeof body;
	ck_assert_ptr_nonnull(rec = drv_rec_new(&h, &ident, (struct bytes){ body, sizeof body }));
	rec->h.body_bytes = sizeof body;
	logthread_rebuild_put(t->lt, &rec, 1);
	WAIT(t, t->n_rebuild == 2);
	logthread_rebuild(t->lt, 1);
	append(t, 10);
	WAIT(t, t->was_failed || t->durable == 1010);
	ck_assert(!t->was_failed);
	drv_rec_unref(rec);
	for (size_t i = 0; i < KEPT; i++)
		drv_rec_unref(t->kept[i]);
	t_free(t);
}
END_TEST

static leash_seq second_segment(const struct t *t)
{
	leash_seq first = 2;

	for (char path[600]; first < t->made; first++) {
		(void)snprintf(path, sizeof path, "%s/%020llu.seg", t->dir, (unsigned long long)first);
		if (access(path, F_OK) == 0)
			break;
	}
	return first;
}

/* Two rotten places; the lower one is repaired, the other is to be set aside. */
START_TEST(one_repaired_one_set_aside)
{
	struct t *t = t_new();
	leash_seq bad;

	for (int i = 0; i < 20; i++)
		append(t, 50);
	WAIT(t, t->durable == 1000);
	ck_assert_int_eq(logthread_read(t->lt, 1, KEPT, false, KEPT, 1 << 20, on_keep, t, NULL), 0);
	WAIT(t, t->read_done);
	flip_byte(t, 1, 4096 + 5000);
	flip_byte(t, second_segment(t), 4096 + 5000);
	logthread_set_scrub_rate(t->lt, UINT64_C(1) << 40);
	WAIT(t, t->n_damage >= 2);
	logthread_set_scrub_rate(t->lt, 0);
	logthread_rebuild(t->lt, 1);
	WAIT(t, t->n_rebuild == 1);
	bad = t->rebuild_need;
	logthread_rebuild_put(t->lt, &t->kept[bad - 1], 1);
	WAIT(t, t->n_rebuild == 2 && t->rebuild_need == 0);
	logthread_set_aside(t->lt, 77); /* what the state machine says when the other repair has failed */
	WAIT(t, t->incarnation == 77);
	ck_assert_uint_lt(t->incarnation_end, t->damage.first);
	for (size_t i = 0; i < KEPT; i++)
		drv_rec_unref(t->kept[i]);
	t_free(t);
}
END_TEST

UNIT_MAIN("logthread", {
	tcase_add_test(tc, appends_reads_and_lasts);
	tcase_add_test(tc, cuts_in_order);
	tcase_add_loop_test(tc, damage_found_while_running, 0, 2);
	tcase_add_test(tc, damage_is_repaired);
	tcase_add_test(tc, a_false_record_is_refused);
	tcase_add_test(tc, one_repaired_one_set_aside);
	tcase_add_test(tc, a_cut_ends_a_repair);
	tcase_add_test(tc, full_disk);
	tcase_add_loop_test(tc, older_metadata_is_not_written_over_newer, 0, 2);
	tcase_add_test(tc, a_failed_sync_is_final);
	tcase_add_test(tc, a_hanging_sync_shows);
	tcase_add_test(tc, retention_keeps_what_is_needed);
})

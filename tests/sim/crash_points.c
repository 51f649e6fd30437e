/*
 * The log at every point at which the power can fail.
 *
 * Lives of a log are run one system call at a time. Before each call that changes something the disk is looked at: what
 * is on its way to it are sectors of 512 bytes and changes of names. Each prefix of these sectors, each of them alone,
 * all but each, and some parts at random, times each prefix of the changes of names (each subset, when they are few),
 * times old and new file sizes, is one state of the disk after a loss of power. In each the log must open, hold at least
 * what was acknowledged and at most what was appended, byte by byte, and go on (tests/unit/rlog_life.h). In one state of
 * NEST_EVERY the power fails again while the log is opened, at each call, with each prefix.
 *
 * Setting damage aside (with the new incarnation first: R11) and repair in place are such lives, too.
 *
 * Deterministic: a life is given by its scenario and its seed. A state counts once: equal disks with equal duties are
 * looked at once.
 *
 *     crash_points               a short run
 *     LEASH_CRASH_STATES=N       until N states were tried, in equal shares by scenario
 *     LEASH_CRASH_THIN=N         of the states of a life only each N-th is tried
 *     LEASH_CRASH_SCENARIO=NAME  only this one
 */
#include <check.h>
#include <malloc.h>
#include <time.h>

#include "base/hash.h"
#include "base/util.h"
#include "log/rlog_rebuild.h"
#include "rlog_life.h"

#define NAMES_MAX  4 /* so many changes of names: each subset */
#define DRAWN      6 /* parts at random */
#define NEST_EVERY 64
#define WARM_STEPS 25
#define STEPS_LIFE 12

/* ---------------------------------------------------------------------------------- states that were tried already */

static struct {
	uint64_t *v;
	size_t n, cap; /* cap: a power of 2 */
} seen;

static size_t seen_place(uint64_t key)
{
	size_t i = (size_t)key & (seen.cap - 1);

	while (seen.v[i] && seen.v[i] != key)
		i = (i + 1) & (seen.cap - 1);
	return i;
}

static void seen_grow(void)
{
	uint64_t *old = seen.v;
	size_t cap = seen.cap;

	seen.cap = cap ? 2 * cap : 1 << 16;
	seen.v = calloc(seen.cap, sizeof *seen.v);
	must(seen.v);
	for (size_t i = 0; i < cap; i++)
		if (old[i])
			seen.v[seen_place(old[i])] = old[i];
	free(old);
}

/* False: it was there. */
static bool seen_add(uint64_t key)
{
	size_t i;

	if (2 * seen.n >= seen.cap)
		seen_grow();
	key = key ? key : 1;
	i = seen_place(key);
	if (seen.v[i])
		return false;
	seen.v[i] = key;
	seen.n++;
	return true;
}

/* ------------------------------------------------------------------------------------------------ what survives */

enum part { PART_PREFIX, PART_ONLY, PART_WITHOUT, PART_DRAWN, PARTS };

struct choice {
	enum part part;
	size_t k;
	struct simrng rng;
};

static bool survives(size_t i, void *arg)
{
	struct choice *c = arg;

	switch (c->part) {
	case PART_PREFIX: return i < c->k;
	case PART_ONLY: return i == c->k;
	case PART_WITHOUT: return i != c->k;
	case PART_DRAWN: return simrng_below(&c->rng, 2);
	case PARTS: break;
	}
	return false;
}

static size_t choices(enum part part, size_t n_dirty)
{
	switch (part) {
	case PART_PREFIX: return n_dirty + 1;
	case PART_ONLY:
	case PART_WITHOUT: return n_dirty > 1 ? n_dirty : 0;
	case PART_DRAWN: return n_dirty > 2 ? DRAWN : 0;
	case PARTS: break;
	}
	return 0;
}

/* One scenario's run. */
struct run {
	const char *name;
	struct life *f;
	void (*check)(struct run *r, struct simdisk *d, const char *when);
	leash_seq good;         /* setting aside: where the good part of the log ends; repair: the segment, if it is there */
	uint64_t seed, call;    /* of the life; system calls so far */
	uint64_t lives, calls, choices, states, nested;
	unsigned thin, depth;
};

static uint64_t duties(const struct run *r)
{
	const struct life *f = r->f;
	const uint64_t v[] = { f->synced, f->start_lo, f->start_hi, f->mark, f->resetting, f->reset_start, f->promise,
		f->promise_next, f->created, f->book.end, f->book.flavour, r->good };

	return hash_64((const uint8_t *)v, sizeof v, 0);
}

static void points(struct simdisk *d, enum simdisk_op op, void *arg);

static void one_state(struct run *r, const struct simdisk *d, const struct simdisk_choice *what)
{
	const struct choice *c = what->arg;
	struct simdisk *copy;
	char when[160];

	if (r->choices++ % r->thin != 0)
		return;
	copy = simdisk_clone(d);
	simdisk_lose(copy, what);
	if (!seen_add(simdisk_digest(copy) ^ duties(r))) {
		simdisk_free(copy);
		return;
	}
	(void)snprintf(when, sizeof when, "%s, seed %llu, call %llu: names %llx, sectors %c %zu, %s sizes%s", r->name,
		(unsigned long long)r->seed, (unsigned long long)r->call, (unsigned long long)what->names, "poad"[c->part],
		c->k, what->sizes ? "new" : "old", r->depth ? ", while recovering" : "");
	r->states++;
	r->nested += r->depth > 0;
	if (r->depth == 0 && r->states % NEST_EVERY == 0) {
		r->depth++;
		simdisk_hook(copy, points, r);
		r->check(r, copy, when);
		r->depth--;
	} else {
		r->check(r, copy, when);
	}
	simdisk_free(copy);
}

static void sectors(struct run *r, const struct simdisk *d, uint64_t names, bool sizes)
{
	size_t n = simdisk_dirty(d);

	for (enum part part = 0; part < (r->depth ? PART_ONLY : PARTS); part++)
		for (size_t k = 0; k < choices(part, n); k++) {
			struct choice c = { .part = part, .k = k, .rng = { r->seed ^ r->call << 8 ^ k } };

			one_state(r, d, &(struct simdisk_choice){ .names = names, .sector = survives, .arg = &c,
				.sizes = sizes });
		}
}

static void names(struct run *r, const struct simdisk *d, bool sizes)
{
	size_t n = simdisk_names_unsynced(d);

	if (n <= NAMES_MAX)
		for (uint64_t mask = 0; mask < UINT64_C(1) << n; mask++)
			sectors(r, d, mask, sizes);
	else
		for (size_t k = 0; k <= n; k++)
			sectors(r, d, k < 64 ? (UINT64_C(1) << k) - 1 : UINT64_MAX, sizes);
}

/* Before each call. */
static void points(struct simdisk *d, enum simdisk_op op, void *arg)
{
	struct run *r = arg;

	if (op == SIMDISK_READ || op == SIMDISK_LIST || op == SIMDISK_SIZE)
		return;
	if (r->depth == 0) {
		r->call++;
		r->calls++;
	}
	if (r->depth > 1)
		return;
	r->depth += r->depth > 0; /* what is tried in a recovery is not tried again in its own */
	names(r, d, true);
	if (simdisk_sizes_unsynced(d))
		names(r, d, false);
	r->depth -= r->depth > 0;
}

/* ------------------------------------------------------------------------------------------------- lives as usual */

static void check_life(struct run *r, struct simdisk *d, const char *when)
{
	check_state(r->f, d, when);
}

static void life_of_steps(struct run *r, const unsigned *odds)
{
	struct life f;

	conf.segment_bytes = SEGMENT;
	conf.reserve_bytes = 8192;
	life_init(&f, r->seed);
	r->f = &f;
	r->check = check_life;
	if (odds) { /* else: from the first call on */
		ck_assert_int_eq(life_run(&f, WARM_STEPS), 0);
		f.odds = odds;
		simdisk_hook(f.disk, points, r);
		for (int i = 0; i < STEPS_LIFE; i++)
			ck_assert_int_eq(life_step(&f), 0);
	} else {
		simdisk_hook(f.disk, points, r);
		ck_assert_int_eq(life_run(&f, STEPS_LIFE), 0);
	}
	simdisk_hook(f.disk, NULL, NULL);
	life_deinit(&f);
}

/* ----------------------------------------------------------------------------------------------------- damaged logs */

/* A log of three segments (18 + 18 + 12 records), all of it acknowledged. */
static void life_whole(struct life *f, uint64_t seed)
{
	conf.segment_bytes = 4096 * 3;
	conf.reserve_bytes = 0;
	life_init(f, seed);
	ck_assert_int_eq(life_run(f, 0), 0);
	for (int i = 0; i < 16; i++) {
		ck_assert_int_eq(book_append(&f->book, f->log, 3, 300), 0);
		ck_assert_int_eq(rlog_sync(f->log), 0);
	}
	ck_assert_int_eq(rlog_mark(f->log, f->book.end), 0);
	f->synced = f->mark = f->book.end;
	ck_assert_uint_eq(rlog_segments(f->log), 3);
}

enum hurt { HURT_RECORD, HURT_TWO, HURT_HEADER, HURT_CUT, HURT_GONE, HURTS };

static void cut_file(struct life *f, const char *path, uint64_t bytes)
{
	const struct rlog_ops *ops = simdisk_ops(f->disk);
	int fd;

	NEED(ops->open(ops->ctx, path, RLOG_OPEN_WRITE, &fd) == 0);
	NEED(ops->truncate(ops->ctx, fd, bytes) == 0);
	NEED(ops->fdatasync(ops->ctx, fd) == 0);
	ops->close(ops->ctx, fd);
}

/* Hurts segment @i; without its digest an opening looks at its records. */
static void hurt(struct life *f, size_t i, enum hurt how, uint64_t seed)
{
	struct simrng rng = { seed };
	struct rlog_segment_info info;
	char path[64], name[RLOG_NAME_BYTES];
	uint64_t used, at;

	NEED(rlog_segment_info(f->log, i, &info) == 0);
	used = info.used_bytes - 4096;
	at = 4096 + simrng_below(&rng, used * 3 / 4);
	rlog_name(name, info.first, "dig");
	NEED(rlog_file_unlink(simdisk_ops(f->disk), DIR, name) == 0);
	rlog_name(name, info.first, "seg");
	(void)snprintf(path, sizeof path, "%s/%s", DIR, name);
	switch (how) {
	case HURT_TWO:
		NEED(simdisk_flip(f->disk, path, 4096 + simrng_below(&rng, 300), 1));
		NEED(simdisk_flip(f->disk, path, at, 16));
		break;
	case HURT_RECORD: NEED(simdisk_flip(f->disk, path, at, 16)); break;
	case HURT_HEADER: NEED(simdisk_flip(f->disk, path, 100, 1)); break;
	case HURT_CUT: cut_file(f, path, at); break;
	case HURT_GONE: NEED(rlog_file_unlink(simdisk_ops(f->disk), DIR, name) == 0); break;
	case HURTS: break;
	}
	NEED(simdisk_ops(f->disk)->sync_dir(simdisk_ops(f->disk)->ctx, DIR) == 0);
}

/* Damaged still, or clean: then under another name. What is good is there, and the rest of the work can be done. */
static void check_aside(struct run *r, struct simdisk *d, const char *when)
{
	struct rlog_state st;
	struct rlog *l;

	ck_assert_msg(open_on(d, &l, &st) == 0, "%s: does not open", when);
	ck_assert_msg(st.end == r->good && st.torn_from == 0, "%s: ends at %llu, not %llu", when, (unsigned long long)st.end,
		(unsigned long long)r->good);
	ck_assert_msg(st.damaged || st.meta.incarnation != 77, "%s: clean, and under its old incarnation", when);
	if (st.damaged)
		NEED(rlog_renounce(l, 79) == 0);
	rlog_close(l);
	ck_assert_msg(open_on(d, &l, &st) == 0 && !st.damaged && st.end == r->good, "%s: not clean in the end", when);
	NEED(unreadable(r->f, d, r->good) == 0);
	NEED(simdisk_exists(d, DIR "/damaged"));
	rlog_close(l);
}

static void life_set_aside(struct run *r)
{
	struct rlog_state st;
	struct life f;

	life_whole(&f, r->seed);
	hurt(&f, (size_t)(r->seed % 3), (enum hurt)(r->seed / 3 % HURTS), r->seed);
	rlog_close(TAKE(f.log));
	ck_assert_int_eq(open_on(f.disk, &f.log, &st), 0);
	r->f = &f;
	r->good = st.end;
	r->check = check_aside;
	if (st.damaged) { /* a segment that is gone from the end is not missed without its mark */
		simdisk_hook(f.disk, points, r);
		ck_assert_int_eq(rlog_renounce(f.log, 78), 0);
		simdisk_hook(f.disk, NULL, NULL);
	}
	r->good = 0;
	life_deinit(&f);
}

/* What another node has: everything. */
static int give(struct life *f, struct rlog_rebuild *b, leash_seq need)
{
	struct rlog_rec recs[8];
	size_t n = 0;

	for (; n < ARRAY_SIZE(recs) && need + n <= f->book.end; n++)
		recs[n] = book_rec(&f->book, need + n);
	NEED(n > 0);
	return rlog_rebuild_put(b, recs, n);
}

/* @live: records are appended meanwhile. */
static int rebuild(struct life *f, struct rlog *l, leash_seq seq, bool live)
{
	struct rlog_rebuild *b;
	leash_seq need;
	int r = rlog_rebuild_new(l, seq, &b);

	if (r != 0)
		return r;
	for (int i = 0; r == 0; i++) {
		NEED(i < 1000);
		if (live && i < 3)
			NEED(step_append(f) == 0 && (i == 1 || step_sync(f) == 0));
		r = rlog_rebuild_step(b, 3000, &need);
		if (r == 0 && need)
			r = give(f, b, need);
	}
	if (r == RLOG_REBUILD_READY)
		r = rlog_rebuild_finish(b);
	rlog_rebuild_free(b);
	return r;
}

static leash_seq first_unreadable(struct simdisk *d, leash_seq end)
{
	struct rlog_reader *reader;
	struct rlog_view v;
	leash_seq seq = 1;

	NEED(rlog_reader_open(DIR, simdisk_ops(d), BOOK_BODY_MAX, &reader) == 0);
	while (seq <= end && rlog_read(reader, seq, &v) == 0)
		seq++;
	rlog_reader_close(reader);
	return seq <= end ? seq : 0;
}

static leash_seq damage_of(struct rlog *l, struct simdisk *d, const struct rlog_state *st)
{
	size_t n;

	return st->damaged ? rlog_damage_get(l, &n)->first : first_unreadable(d, st->end);
}

struct evidence {
	struct simdisk *disk;
	leash_seq first;
	bool found;
};

static int look_for_evidence(const char *name, void *arg)
{
	struct evidence *e = arg;
	char path[160];

	(void)snprintf(path, sizeof path, DIR "/damaged/%s/%020llu.seg", name, (unsigned long long)e->first);
	e->found |= simdisk_exists(e->disk, path);
	return 0;
}

/* Is what was in the place of segment @first kept? */
static bool evidence_kept(struct simdisk *d, leash_seq first)
{
	struct evidence e = { .disk = d, .first = first };

	return simdisk_ops(d)->list(simdisk_ops(d)->ctx, DIR "/damaged", look_for_evidence, &e) == 0 && e.found;
}

/* Repaired, or to be repaired: what was acknowledged is all there in the end. */
static void check_rebuild(struct run *r, struct simdisk *d, const char *when)
{
	struct rlog_verify_result res;
	struct rlog_state st;
	leash_seq seq;
	struct rlog *l;

	ck_assert_msg(open_on(d, &l, &st) == 0, "%s: does not open", when);
	for (int i = 0; (seq = damage_of(l, d, &st)) != 0; i++) {
		int e = rebuild(r->f, l, seq, false);

		ck_assert_msg(e == 0 && i < 5, "%s: repair of %llu says %d", when, (unsigned long long)seq, e);
		rlog_close(l);
		NEED(open_on(d, &l, &st) == 0);
	}
	ck_assert_msg(st.end >= r->f->synced && st.end <= r->f->book.end, "%s: ends at %llu, not %llu..%llu", when,
		(unsigned long long)st.end, (unsigned long long)r->f->synced, (unsigned long long)r->f->book.end);
	NEED(st.meta.incarnation == 77);
	ck_assert_msg(r->good == 0 || evidence_kept(d, r->good), "%s: the evidence is gone", when);
	NEED(rlog_verify(DIR, simdisk_ops(d), 0, told, NULL, &res) == 0);
	book_compare(&r->f->book, DIR, simdisk_ops(d), l, st.end);
	rlog_close(l);
}

static void life_rebuild(struct run *r)
{
	size_t which = (size_t)(r->seed % 3);
	struct rlog_segment_info info;
	enum hurt how;
	struct life f;

	life_whole(&f, r->seed);
	r->f = &f;
	r->check = check_rebuild;
	NEED(rlog_segment_info(f.log, which, &info) == 0);
	how = which == 2 ? HURT_RECORD : (enum hurt)(r->seed / 3 % HURTS); /* the log's end nothing proves */
	hurt(&f, which, how, r->seed);
	r->good = how == HURT_GONE ? 0 : info.first;
	simdisk_hook(f.disk, points, r);
	ck_assert_int_eq(rebuild(&f, f.log, info.first, r->seed / 15 % 2 == 0), 0);
	simdisk_hook(f.disk, NULL, NULL);
	life_deinit(&f);
}

/* -------------------------------------------------------------------------------------------------------- scenarios */

static const struct scenario {
	const char *name;
	unsigned odds[STEPS]; /* append, sync, mark, meta, truncate, retain, reset, prepare, reopen */
	void (*life)(struct run *r);
} scenarios[] = {
	{ "create", { 0 } },
	{ "append", { 60, 40 } },
	{ "mark", { 40, 25, 25, 10 } },
	{ "roll", { 60, 10, 0, 0, 0, 0, 0, 30 } },
	{ "cut", { 40, 15, 10, 0, 35 } },
	{ "reset", { 40, 20, 10, 0, 0, 0, 30 } },
	{ "retention", { 50, 20, 5, 0, 0, 25 } },
	{ "reopen", { 50, 15, 10, 0, 0, 0, 0, 0, 25 } },
	{ "set aside", { 0 }, life_set_aside },
	{ "repair", { 0 }, life_rebuild },
};

static struct run totals[ARRAY_SIZE(scenarios)];

static uint64_t setting(const char *name, uint64_t usual)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 10) : usual;
}

static bool chosen(const struct scenario *s)
{
	const char *only = getenv("LEASH_CRASH_SCENARIO");

	return !only || strcmp(only, s->name) == 0;
}

START_TEST(scenario)
{
	const struct scenario *s = &scenarios[_i];
	uint64_t goal = setting("LEASH_CRASH_STATES", 10000) / ARRAY_SIZE(scenarios);
	struct run *r = &totals[_i];

	*r = (struct run){ .name = s->name, .thin = (unsigned)setting("LEASH_CRASH_THIN", 10) };
	r->thin += r->thin == 0;
	while (chosen(s) && r->states < goal) {
		r->seed++;
		r->lives++;
		r->call = 0;
		if (s->life)
			s->life(r);
		else
			life_of_steps(r, s->odds[STEP_APPEND] ? s->odds : NULL);
	}
}
END_TEST

static void tell(double seconds)
{
	uint64_t states = 0, calls = 0, lives = 0;

	for (size_t i = 0; i < ARRAY_SIZE(scenarios); i++) {
		const struct run *r = &totals[i];

		if (r->lives)
			printf("%-10s %6llu lives %8llu system calls %9llu states (%llu while recovering)\n", r->name,
				(unsigned long long)r->lives, (unsigned long long)r->calls, (unsigned long long)r->states,
				(unsigned long long)r->nested);
		states += r->states;
		calls += r->calls;
		lives += r->lives;
	}
	printf("%llu states, all different, at %llu system calls of %llu lives: %.0f states/s\n", (unsigned long long)states,
		(unsigned long long)calls, (unsigned long long)lives, (double)states / (seconds > 0 ? seconds : 1));
}

int main(void)
{
	Suite *s = suite_create("crash_points");
	TCase *t = tcase_create("crash_points");
	SRunner *r = srunner_create(s);
	clock_t began = clock();
	int failed;

	(void)mallopt(M_MMAP_THRESHOLD, 32 << 20);
	(void)mallopt(M_TRIM_THRESHOLD, 256 << 20);
	tcase_set_timeout(t, 0);
	tcase_add_loop_test(t, scenario, 0, (int)ARRAY_SIZE(scenarios));
	suite_add_tcase(s, t);
	srunner_set_fork_status(r, CK_NOFORK); /* the states tried are counted over all of them */
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	tell((double)(clock() - began) / CLOCKS_PER_SEC);
	free(seen.v);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

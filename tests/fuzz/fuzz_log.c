/*
 * Opening a damaged log directory, reading it, verifying and scrubbing it, setting damage aside and going on. Invariants:
 *  - No record is ever given whose checksums or number are wrong.
 *  - Of what was acknowledged nothing is lost or changed in silence (as long as no checksum was made right on purpose):
 *    each record is given as it was written, or it is called damaged. But for whole oldest segments: retention.
 *  - Damage can be set aside; then the log takes a record, and opens again with it.
 *
 * Byte 0: enum log_disk_kind; bit 7: after the changes all checksums are made right. Then changes to the files, each
 * u8 kind, u8 file (its place in the sorted directory), u16 offset, u8 n, and what the kind says.
 */
#include <errno.h>
#include <stdio.h>

#include "fuzz.h"
#include "log/rlog_file.h"
#include "log/rlog_scrub.h"
#include "log_disk.h"

#define CHANGES_MAX 16
#define SCRUB_STEPS 4096

enum change {
	CHANGE_BYTES,    /* n bytes follow */
	CHANGE_FLIP,     /* bit n % 8 */
	CHANGE_TRUNCATE, /* to offset */
	CHANGE_ZERO,     /* 64 * n bytes */
	CHANGE_DELETE,
	CHANGE_COPY,     /* over file n */
	CHANGE_MOVE,     /* 16 * n bytes, to the u16 that follows */
	CHANGE_NAME,     /* a copy with the name of segment, or (bit 7) digest, n & 127 */
	CHANGE_KINDS,
};

static struct {
	const struct log_disk *was;
	struct simdisk *disk;
	bool sealed;
} w;

/* ----------------------------------------------------------------------------------------------------- changing */

static void change_content(enum change kind, struct buf *b, size_t at, size_t n, struct cur *c)
{
	uint8_t *p = buf_head(b);
	size_t len = buf_len(b), to;
	struct bytes more;

	if (kind == CHANGE_TRUNCATE)
		b->end = b->start + MIN2(at, len);
	if (at >= len)
		return;
	if (kind == CHANGE_BYTES) {
		more = cur_bytes(c, MIN2(n, cur_left(c)));
		memcpy(p + at, more.p, MIN2(more.len, len - at));
	} else if (kind == CHANGE_FLIP) {
		p[at] ^= (uint8_t)(1u << (n & 7));
	} else if (kind == CHANGE_ZERO) {
		memset(p + at, 0, MIN2(64 * n, len - at));
	} else if (kind == CHANGE_MOVE) {
		to = cur_u16le(c);
		if (to < len)
			memmove(p + to, p + at, MIN2(16 * n, len - MAX2(at, to)));
	}
}

static void change(struct cur *c)
{
	char names[LOG_DISK_FILES_MAX][LOG_DISK_NAME_MAX], path[64], name[RLOG_NAME_BYTES];
	enum change kind = (enum change)(cur_u8(c) % CHANGE_KINDS);
	size_t n_names = log_disk_names(w.disk, names), file = cur_u8(c), at = cur_u16le(c), n = cur_u8(c);
	const struct rlog_ops *ops = simdisk_ops(w.disk);
	struct buf b = BUF_NULL;
	int r;

	if (!cur_ok(c) || n_names == 0)
		return;
	file %= n_names;
	must(log_disk_read(w.disk, names[file], &b));
	rlog_name(name, n & 127, n & 128 ? "dig" : "seg");
	if (kind == CHANGE_DELETE) {
		(void)snprintf(path, sizeof path, LOG_DISK_DIR "/%s", names[file]);
		r = ops->unlink(ops->ctx, path);
		must(r == 0);
	} else if (kind == CHANGE_COPY) {
		log_disk_write(w.disk, names[n % n_names], buf_head(&b), buf_len(&b));
	} else if (kind == CHANGE_NAME) {
		log_disk_write(w.disk, name, buf_head(&b), buf_len(&b));
	} else {
		change_content(kind, &b, at, n, c);
		log_disk_write(w.disk, names[file], buf_head(&b), buf_len(&b));
	}
	buf_deinit(&b);
}

static void seal_all(void)
{
	char names[LOG_DISK_FILES_MAX][LOG_DISK_NAME_MAX];
	size_t n = log_disk_names(w.disk, names);

	for (size_t i = 0; i < n; i++) {
		struct buf b = BUF_NULL;

		must(log_disk_read(w.disk, names[i], &b));
		if (buf_len(&b) > 0)
			log_disk_seal(names[i], buf_head(&b), buf_len(&b));
		log_disk_write(w.disk, names[i], buf_head(&b), buf_len(&b));
		buf_deinit(&b);
	}
}

/* ----------------------------------------------------------------------------------------------------- checking */

static bool as_written(const struct rlog_view *v)
{
	const struct buf *rec = &w.was->recs[v->h.seq];

	return v->h.seq <= w.was->end && buf_len(rec) == v->header.len + v->body.len &&
		memcmp(buf_head(rec), v->header.p, v->header.len) == 0 &&
		memcmp(buf_head(rec) + v->header.len, v->body.p, v->body.len) == 0;
}

/* Reads all of @from..@to; returns how many could be read. */
static size_t read_all(leash_seq from, leash_seq to)
{
	struct rlog_reader *reader;
	struct rlog_view v;
	size_t good = 0;
	int r = rlog_reader_open(LOG_DISK_DIR, simdisk_ops(w.disk), LOG_DISK_RECORD_MAX, &reader);

	must(r == 0);
	to = MIN2(to, from + LOG_DISK_RECORDS_MAX); /* numbers that were made up */
	for (leash_seq seq = from; seq <= to; seq++) {
		r = rlog_read(reader, seq, &v);
		must(r == 0 || r == RLOG_E_DAMAGED || r == RLOG_E_GONE);
		if (r != 0)
			continue;
		must(v.h.seq == seq && rec_body_matches(&v.h, v.body));
		must(w.sealed || as_written(&v));
		good++;
	}
	rlog_reader_close(reader);
	return good;
}

static bool on_ident(const struct rep_rec *rec, void *arg)
{
	leash_seq *next = arg;

	must(rec->seq == *next);
	(*next)++;
	return true;
}

static void on_problem(const struct rlog_damage *d, void *arg)
{
	size_t *n = arg;

	must(memchr(d->path, 0, sizeof d->path) && memchr(d->reason, 0, sizeof d->reason) && d->reason[0]);
	(*n)++;
}

static void scrub(leash_seq from, leash_seq until)
{
	struct rlog_scrub *s;
	struct rlog_damage d;
	uint64_t bytes;
	int r = rlog_scrub_new(LOG_DISK_DIR, simdisk_ops(w.disk), LOG_DISK_RECORD_MAX, &s), steps = 0;

	must(r == 0);
	do {
		r = rlog_scrub_step(s, from, until, 1000, &bytes, &d);
		must(r == 0 || r == RLOG_SCRUB_END || r == RLOG_SCRUB_DAMAGED);
		must(r != RLOG_SCRUB_DAMAGED || (d.reason[0] && memchr(d.path, 0, sizeof d.path)));
	} while (r != RLOG_SCRUB_END && ++steps < SCRUB_STEPS);
	must(r == RLOG_SCRUB_END);
	rlog_scrub_free(s);
}

/* @owes: what it acknowledged it still has, or says that it has not. Not behind a set-aside: there the incarnation is new. */
static void look(struct rlog *l, const struct rlog_state *st, bool owes)
{
	struct rlog_verify_result res;
	struct rlog_segment_info info;
	size_t n = 0, good;
	leash_seq next = st->start;
	int r;

	must(st->damaged || st->start <= st->end + 1);
	good = st->start <= st->end ? read_all(st->start, st->end) : 0;
	r = rlog_verify(LOG_DISK_DIR, simdisk_ops(w.disk), 0, on_problem, &n, &res);
	must(r == 0 && n == res.n_problems);
	if (n == 0 && !st->damaged && !w.sealed)
		must(good == st->end + 1 - st->start);
	if (st->start <= st->end && st->end - st->start < LOG_DISK_RECORDS_MAX)
		scrub(st->start, st->end);
	r = rlog_identities(l, st->start, on_ident, &next);
	must(r == 0 || r == RLOG_E_DAMAGED || r == RLOG_E_GONE);
	for (size_t i = 0; i < rlog_segments(l); i++) {
		r = rlog_segment_info(l, i, &info);
		must(r == 0);
	}
	if (owes && !w.sealed && !st->damaged && !st->created)
		must(st->end >= w.was->kept); /* else: acknowledged, and gone in silence */
}

/*
 * False: there is no good log to go on with. -EIO ends the process: with two segments damaged at a time it can come to that,
 * and the next life finds the rest.
 */
static bool set_aside(struct rlog *l)
{
	struct rlog_state st;
	int r = 0;

	for (size_t i = 0; i < LOG_DISK_FILES_MAX; i++) {
		rlog_state_get(l, &st);
		if (!st.damaged)
			return true;
		r = rlog_set_damage_aside(l);
		must(r == 0 || r == RLOG_E_DAMAGED || r == -EIO);
		if (r == -EIO)
			return false;
	}
	rlog_state_get(l, &st);
	return !st.damaged;
}

static void go_on(struct rlog *l)
{
	uint8_t header[REC_HEADER_BYTES];
	struct buf body = BUF_NULL;
	struct rlog_state st;
	struct rlog_rec rec;
	leash_epoch epoch;
	size_t done;
	int r;

	rlog_state_get(l, &st);
	epoch = st.n_history ? st.history[st.n_history - 1].epoch : 9;
	if (st.end >= UINT64_MAX - 1)
		return;
	rec = log_disk_next(l, MAX2(epoch, (leash_epoch)1), header, &body);
	r = rlog_append(l, &rec, 1, &done);
	must(r == 0 || r == RLOG_E_ORDER); /* the history of a made-up digest is not that of the records */
	must(r == 0 || w.sealed);
	buf_deinit(&body);
	if (r == 0)
		r = rlog_sync(l);
	if (r == 0)
		r = rlog_mark(l, rlog_end(l));
	must(r == 0 || r == RLOG_E_ORDER);
}

static void open_again(leash_seq end, struct leash_chain chain)
{
	struct rlog_state st;
	struct rlog *l;
	int r = log_disk_open(w.disk, &l, &st);

	must(r == 0);
	if (!w.sealed)
		must(!st.damaged && st.end == end && leash_chain_eq(st.chain, chain) && !st.torn_from);
	rlog_close(l);
}

static void try_open(void)
{
	struct rlog_state st;
	struct rlog *l = NULL;
	int r = log_disk_open(w.disk, &l, &st);
	leash_seq end;
	struct leash_chain chain;

	must(r == 0 || r == RLOG_E_DAMAGED || r == RLOG_E_FOREIGN);
	must(w.sealed || r != RLOG_E_FOREIGN);
	if (r != 0)
		return;
	look(l, &st, true);
	if (set_aside(l)) {
		go_on(l);
		end = rlog_end(l);
		chain = rlog_chain(l);
		rlog_close(l);
		open_again(end, chain);
	} else {
		rlog_close(l);
		r = log_disk_open(w.disk, &l, &st);
		must(r == 0);
		look(l, &st, false);
		rlog_close(l);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct rlog_meta meta;
	leash_seq mark;
	struct cur c;
	int r;

	if (len < 1)
		return 0;
	w.was = log_disk_get((enum log_disk_kind)((data[0] & 0x7f) % LOG_DISK_KINDS));
	w.disk = simdisk_clone(w.was->disk);
	w.sealed = data[0] & 0x80;
	c = cur_of(data + 1, len - 1);
	for (int i = 0; i < CHANGES_MAX && cur_left(&c) >= 5; i++)
		change(&c);
	if (w.sealed)
		seal_all();
	r = rlog_peek(LOG_DISK_DIR, simdisk_ops(w.disk), &meta, &mark);
	must(r == 0 || r == RLOG_E_DAMAGED || r == -ENOENT);
	try_open();
	simdisk_free(w.disk);
	return 0;
}

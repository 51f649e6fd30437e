#include "log_disk.h"

#include <errno.h>
#include <stdio.h>

#include "fuzz.h"
#include "log/rlog_dig.h"
#include "log/rlog_meta.h"
#include "log/rlog_seg.h"
#include "seal.h"

#define SEED 77

/* ------------------------------------------------------------------------------------------------------ making */

int log_disk_open(struct simdisk *d, struct rlog **ret_log, struct rlog_state *ret_state)
{
	static const struct rlog_conf conf = { .dir = LOG_DISK_DIR, .segment_bytes = LOG_DISK_SEGMENT,
		.reserve_bytes = 8192, .record_bytes_max = LOG_DISK_RECORD_MAX };

	return rlog_open(&conf, simdisk_ops(d), "engine", "P1", 5, ret_log, ret_state);
}

struct rlog_rec log_disk_next(const struct rlog *l, leash_epoch epoch, uint8_t header[REC_HEADER_BYTES], struct buf *body)
{
	struct rlog_rec rec = { .h = { .epoch = epoch, .seq = rlog_end(l) + 1, .real_time_ns = 7 } };
	char id[32];
	struct rec_body b = { .id_kind = REC_ID_OPAQUE, .producer = { (const uint8_t *)"p", 1 } };
	static const uint8_t filler[100];
	struct bytes pairs[2] = { { (const uint8_t *)"f", 1 }, { filler, 20 + rec.h.seq * 13 % 80 } };
	struct rec_body decoded;
	int r;

	b.id = (struct bytes){ (const uint8_t *)id,
		(size_t)snprintf(id, sizeof id, "%llu", (unsigned long long)rec.h.seq) };
	r = rec_body_encode(body, &b, 0, pairs, 1);
	must(r == 0);
	rec.h.log_time_ns = rec.h.seq * 1000;
	rec.h.body_bytes = (uint32_t)buf_len(body);
	rec.body = (struct bytes){ buf_head(body), buf_len(body) };
	rec.h.body_hash = rec_body_hash(rec.body);
	rec_header_seal(&rec.h, rlog_chain(l));
	rec_header_encode(&rec.h, header);
	rec.header = header;
	r = rec_body_decode(rec.body, &decoded);
	must(r == 0);
	rec.ident = rec_identify(&decoded, SEED);
	return rec;
}

static void append(struct log_disk *ld, struct rlog *l, leash_epoch epoch, size_t n, bool sync)
{
	for (size_t i = 0; i < n; i++) {
		uint8_t header[REC_HEADER_BYTES];
		struct buf body = BUF_NULL, *copy;
		struct rlog_rec rec = log_disk_next(l, epoch, header, &body);
		size_t done;
		int r = rlog_append(l, &rec, 1, &done);

		must(r == 0 && rec.h.seq < LOG_DISK_RECORDS_MAX);
		copy = &ld->recs[rec.h.seq];
		buf_deinit(copy);
		*copy = (struct buf)BUF_NULL;
		fuzz_put(copy, header, sizeof header);
		fuzz_put(copy, buf_head(&body), buf_len(&body));
		buf_deinit(&body);
		if (sync && i % 3 == 2) {
			r = rlog_sync(l);
			must(r == 0);
		}
	}
	ld->end = rlog_end(l);
}

/* Twice, so that both slots say it. */
static void acknowledge(struct log_disk *ld, struct rlog *l)
{
	int r = rlog_sync(l);

	if (r == 0)
		r = rlog_mark(l, rlog_end(l) - 1);
	if (r == 0)
		r = rlog_mark(l, rlog_end(l));
	must(r == 0);
	ld->kept = rlog_end(l) - 1;
}

/* The process ends somewhere in the middle of what @kind does last. */
static void stop_within(struct log_disk *ld, struct rlog *l, enum log_disk_kind kind)
{
	int r = 0;

	if (kind == LOG_DISK_CRASHED)
		append(ld, l, 3, 8, false); /* the power fails when it is closed */
	if (kind != LOG_DISK_CUTTING && kind != LOG_DISK_RESETTING)
		return;
	simdisk_fault(ld->disk, SIMDISK_CHANGES | SIMDISK_BIT(SIMDISK_UNLINK) | SIMDISK_BIT(SIMDISK_TRUNCATE), 3, -EIO, true);
	if (kind == LOG_DISK_CUTTING)
		r = rlog_truncate(l, 12);
	else
		r = rlog_reset(l, 40, (struct leash_chain){ 3, 4 });
	must(r == -EIO || r == 0);
	ld->kept = 0;
	simdisk_fault_clear(ld->disk);
}

static void make(struct log_disk *ld, enum log_disk_kind kind)
{
	struct simrng rng = { 11 };
	struct rlog_state st;
	struct rlog_meta meta;
	struct rlog *l;
	int r;

	ld->disk = simdisk_new(1);
	r = log_disk_open(ld->disk, &l, &st);
	must(r == 0 && st.created);
	meta = st.meta;
	meta.cluster = SEED;
	meta.promise = 2;
	meta.min_insync = 2;
	meta.dedup_window = 50;
	r = rlog_meta_write(l, &meta);
	must(r == 0);
	r = rlog_set_seed(l, SEED);
	must(r == 0);
	if (kind != LOG_DISK_NEW) {
		append(ld, l, 1, 9, true);
		acknowledge(ld, l);
	}
	if (kind != LOG_DISK_NEW && kind != LOG_DISK_ONE) {
		append(ld, l, 2, 30, true);
		append(ld, l, 3, 20, true);
		acknowledge(ld, l);
		stop_within(ld, l, kind);
	}
	rlog_close(l);
	if (kind == LOG_DISK_CRASHED)
		simdisk_crash(ld->disk, &rng);
	simdisk_kill(ld->disk);
}

const struct log_disk *log_disk_get(enum log_disk_kind kind)
{
	static struct log_disk disks[LOG_DISK_KINDS];
	struct log_disk *ld = &disks[kind];

	if (!ld->disk)
		make(ld, kind);
	return ld;
}

/* ------------------------------------------------------------------------------------------------------- files */

struct names {
	char (*names)[LOG_DISK_NAME_MAX];
	size_t n;
};

static int names_add(const char *name, void *arg)
{
	struct names *s = arg;

	/* Segments, digests, mark and meta: the rest of a directory is not read. */
	if (s->n < LOG_DISK_FILES_MAX && strlen(name) < LOG_DISK_NAME_MAX && strchr("0123456789m", name[0]))
		memcpy(s->names[s->n++], name, strlen(name) + 1);
	return 0;
}

static int name_cmp(const void *a, const void *b)
{
	return strcmp(a, b);
}

size_t log_disk_names(struct simdisk *d, char names[LOG_DISK_FILES_MAX][LOG_DISK_NAME_MAX])
{
	const struct rlog_ops *ops = simdisk_ops(d);
	struct names s = { names, 0 };
	int r = ops->list(ops->ctx, LOG_DISK_DIR, names_add, &s);

	must(r == 0);
	qsort(names, s.n, LOG_DISK_NAME_MAX, name_cmp);
	return s.n;
}

bool log_disk_read(struct simdisk *d, const char *name, struct buf *out)
{
	const struct rlog_ops *ops = simdisk_ops(d);
	char path[64];
	uint64_t bytes;
	uint8_t *p;
	size_t got;
	int fd, r;

	(void)snprintf(path, sizeof path, LOG_DISK_DIR "/%s", name);
	if (ops->size(ops->ctx, path, &bytes) < 0 || ops->open(ops->ctx, path, RLOG_OPEN_READ, &fd) < 0)
		return false;
	p = buf_reserve(out, (size_t)bytes + 1);
	must(p);
	r = ops->pread(ops->ctx, fd, p, (size_t)bytes, 0, &got);
	must(r == 0 && got == bytes);
	buf_commit(out, got);
	ops->close(ops->ctx, fd);
	return true;
}

void log_disk_write(struct simdisk *d, const char *name, const void *p, size_t len)
{
	const struct rlog_ops *ops = simdisk_ops(d);
	struct iovec v = { (void *)(uintptr_t)p, len };
	char path[64];
	int fd, r;

	(void)snprintf(path, sizeof path, LOG_DISK_DIR "/%s", name);
	r = ops->open(ops->ctx, path, RLOG_OPEN_WRITE | RLOG_OPEN_CREATE, &fd);
	if (r == 0 && len > 0)
		r = ops->pwritev(ops->ctx, fd, &v, 1, 0);
	if (r == 0)
		r = ops->fdatasync(ops->ctx, fd);
	if (r == 0)
		r = ops->sync_dir(ops->ctx, LOG_DISK_DIR);
	must(r == 0);
	ops->close(ops->ctx, fd);
}

/* --------------------------------------------------------------------------------------------------- checksums */

static void seal_page(uint8_t *p, size_t at, size_t bytes, size_t len)
{
	if (at + bytes <= len)
		fuzz_u64le(p + at + bytes - 8, hash_64(p + at, bytes - 8, 0));
}

void log_disk_seal_meta(uint8_t *p, size_t len)
{
	seal_page(p, 0, RLOG_META_PAGE, len);
	seal_page(p, RLOG_META_PAGE, RLOG_META_PAGE, len);
}

void log_disk_seal_mark(uint8_t *p, size_t len)
{
	seal_page(p, 0, RLOG_MARK_SLOT, len);
	seal_page(p, RLOG_MARK_STRIDE, RLOG_MARK_SLOT, len);
}

/* The records' chain goes on from the page's; their frames keep what they say was durable. */
void log_disk_seal_seg(uint8_t *p, size_t len)
{
	struct rlog_seg_header h;
	struct leash_chain chain;
	size_t at = RLOG_SEG_HEADER, n;

	seal_page(p, 0, RLOG_SEG_HEADER, len);
	if (len < RLOG_SEG_HEADER || !rlog_seg_header_decode(p, &h))
		return;
	chain = h.base;
	while (at + RLOG_LEAD_BYTES <= len) {
		struct cur frame = cur_of(p + at, RLOG_FRAME_BYTES), seq = cur_of(p + at + RLOG_FRAME_BYTES + 16, 8);

		n = seal_record(p + at + RLOG_FRAME_BYTES, len - at - RLOG_FRAME_BYTES, &chain);
		if (n == 0)
			return;
		rlog_frame_encode(p + at, cur_u64le(&frame), cur_u64le(&seq), p + at + RLOG_FRAME_BYTES, h.nonce);
		at += RLOG_FRAME_BYTES + n;
	}
}

void log_disk_seal_dig(uint8_t *p, size_t len)
{
	struct cur c = cur_of(p, len);
	uint64_t n;

	if (len < RLOG_DIG_HEADER)
		return;
	(void)cur_take(&c, 88);
	n = cur_u64le(&c);
	if (n > (len - RLOG_DIG_HEADER) / RLOG_DIG_STRETCH)
		return;
	n *= RLOG_DIG_STRETCH;
	fuzz_u64le(p + 96, hash_64(p + RLOG_DIG_HEADER, n, 0));
	fuzz_u64le(p + 104, hash_64(p + RLOG_DIG_HEADER + n, len - RLOG_DIG_HEADER - n, 0));
	fuzz_u64le(p + 112, hash_64(p, 112, 0));
}

void log_disk_seal(const char *name, uint8_t *p, size_t len)
{
	if (strcmp(name, "meta") == 0)
		log_disk_seal_meta(p, len);
	else if (strcmp(name, "mark") == 0)
		log_disk_seal_mark(p, len);
	else if (strstr(name, ".dig"))
		log_disk_seal_dig(p, len);
	else if (strstr(name, ".seg"))
		log_disk_seal_seg(p, len);
}

/*
 * The small files of a log: digests (the checkpoint of deduplication), meta, mark, the header page of a segment. Invariants:
 * what is read and written again is the same; the hint of where a record lies is what its entry says.
 *
 * Byte 0: bits 0-1: which; bit 7: the checksums are made right. Then the file.
 */
#include <errno.h>

#include "fuzz.h"
#include "log/rlog_dig.h"
#include "log/rlog_meta.h"
#include "log/rlog_seg.h"
#include "log_disk.h"

#define ENTRIES_MAX 4096

static struct simdisk *disk_new(void)
{
	struct simdisk *d = simdisk_new(1);
	const struct rlog_ops *ops = simdisk_ops(d);
	int r = ops->mkdir(ops->ctx, LOG_DISK_DIR);

	must(r == 0);
	return d;
}

static void dig_entries(struct simdisk *d, const char *name, const struct rlog_dig *dig, const uint8_t *entries)
{
	const struct rlog_ops *ops = simdisk_ops(d);
	struct rlog_file f = RLOG_FILE_NULL;
	size_t n = rlog_dig_count(dig);
	struct rep_rec rec;
	uint64_t at;
	int r = rlog_file_open(ops, LOG_DISK_DIR, name, RLOG_OPEN_READ, &f);

	must(r == 0);
	for (size_t i = 0; i < n && i < ENTRIES_MAX; i++) {
		rlog_dig_entry(entries, i, n, dig->used_bytes, dig->first + i, 1, &rec);
		must(rec.seq == dig->first + i && rec.epoch == 1);
		r = rlog_dig_hint(&f, rec.seq, &at);
		must(r == 0 && at == rlog_dig_offset(entries + i * RLOG_DIG_ENTRY));
	}
	rlog_file_close(&f);
}

static int dig_write(const struct rlog_ops *ops, const char *name, struct rlog_dig *dig, const struct rep_stretch *stretches,
	const uint8_t *entries)
{
	struct rlog_file f = RLOG_FILE_NULL;
	uint8_t *encoded = rlog_dig_stretches(stretches, (size_t)dig->n_stretches);
	int r = rlog_file_open(ops, LOG_DISK_DIR, name, RLOG_OPEN_WRITE | RLOG_OPEN_CREATE, &f);

	must(encoded);
	rlog_dig_seal(dig, encoded, entries);
	if (r == 0)
		r = rlog_file_write(&f, entries, rlog_dig_count(dig) * RLOG_DIG_ENTRY, rlog_dig_entries_at(dig));
	if (r == 0)
		r = rlog_dig_write_head(&f, dig, encoded);
	rlog_file_close(&f);
	free(encoded);
	return r;
}

static void try_dig(struct bytes in)
{
	struct simdisk *d = disk_new();
	const struct rlog_ops *ops = simdisk_ops(d);
	struct cur c = cur_of(in.p, in.len);
	struct rep_stretch *stretches = NULL;
	uint8_t *entries = NULL;
	struct buf again = BUF_NULL;
	char name[RLOG_NAME_BYTES];
	struct rlog_dig dig;
	leash_seq first;
	int r;

	(void)cur_u64le(&c);
	first = cur_u64le(&c);
	rlog_name(name, first, "dig");
	log_disk_write(d, name, in.p, in.len);
	r = rlog_dig_read(ops, LOG_DISK_DIR, first, &dig, &stretches);
	must(r == 0 || r == RLOG_E_DAMAGED);
	if (r == 0) {
		r = rlog_dig_read_entries(ops, LOG_DISK_DIR, &dig, &entries);
		must(r == 0 || r == RLOG_E_DAMAGED);
		if (r == 0) {
			dig_entries(d, name, &dig, entries);
			r = dig_write(ops, name, &dig, stretches, entries);
			must(r == 0 && log_disk_read(d, name, &again));
			must(fuzz_same(in, (struct bytes){ buf_head(&again), buf_len(&again) }));
		}
	}
	free(stretches);
	free(entries);
	buf_deinit(&again);
	simdisk_free(d);
}

static void try_meta(struct bytes in)
{
	struct simdisk *d = disk_new();
	struct rlog_meta a, b;
	int r;

	memset(&a, 0, sizeof a);
	memset(&b, 0, sizeof b);
	log_disk_write(d, "meta", in.p, in.len);
	r = rlog_meta_load(simdisk_ops(d), LOG_DISK_DIR, &a);
	must(r == 0 || r == RLOG_E_DAMAGED);
	if (r == 0) {
		r = rlog_meta_store(simdisk_ops(d), LOG_DISK_DIR, &a);
		must(r == 0);
		r = rlog_meta_load(simdisk_ops(d), LOG_DISK_DIR, &b);
		must(r == 0 && strcmp(a.node, b.node) == 0 && strcmp(a.engine, b.engine) == 0);
		must(a.cluster == b.cluster && a.incarnation == b.incarnation && a.promise == b.promise &&
			a.promise_run == b.promise_run && a.log_epoch == b.log_epoch && a.log_matched == b.log_matched);
		must(a.insync_version == b.insync_version && a.etcd_revision == b.etcd_revision &&
			a.recovery == b.recovery && a.min_insync == b.min_insync && a.dedup_window == b.dedup_window);
	}
	simdisk_free(d);
}

static bool marks_same(const struct rlog_marks *a, const struct rlog_marks *b)
{
	return a->counter == b->counter && a->mark == b->mark && a->intent == b->intent && a->seq == b->seq &&
		leash_chain_eq(a->base, b->base);
}

static void try_mark(struct bytes in)
{
	struct simdisk *d = disk_new();
	const struct rlog_ops *ops = simdisk_ops(d);
	struct rlog_file f = RLOG_FILE_NULL;
	struct rlog_marks a, b;
	int r;

	log_disk_write(d, "mark", in.p, in.len);
	r = rlog_marks_load(ops, LOG_DISK_DIR, true, &a);
	must(r == 0 || r == RLOG_E_DAMAGED);
	if (r == 0 && a.counter < UINT64_MAX) {
		a.counter++;
		r = rlog_file_open(ops, LOG_DISK_DIR, "mark", RLOG_OPEN_WRITE, &f);
		must(r == 0);
		r = rlog_marks_store(&f, &a);
		must(r == 0);
		rlog_file_close(&f);
		r = rlog_marks_load(ops, LOG_DISK_DIR, false, &b);
		must(r == 0 && marks_same(&a, &b));
	}
	simdisk_free(d);
}

static void try_seg_header(struct bytes in)
{
	uint8_t page[RLOG_SEG_HEADER] = { 0 };
	struct rlog_seg_header a, b;
	bool good;

	if (in.len < sizeof page || !rlog_seg_header_decode(in.p, &a))
		return;
	rlog_seg_header_encode(&a, page);
	good = rlog_seg_header_decode(page, &b);
	must(good && a.bytes == b.bytes && a.first == b.first && leash_chain_eq(a.base, b.base) && a.nonce == b.nonce);
	must(a.prev_epoch == b.prev_epoch && a.prev_log_time_ns == b.prev_log_time_ns);
	must(strcmp(a.engine, b.engine) == 0 && strcmp(a.node, b.node) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static void (*const tries[])(struct bytes) = { try_dig, try_meta, try_mark, try_seg_header };
	static void (*const seals[])(uint8_t *, size_t) = {
		log_disk_seal_dig, log_disk_seal_meta, log_disk_seal_mark, log_disk_seal_seg,
	};
	uint8_t *copy;

	if (len < 1)
		return 0;
	copy = fuzz_copy(data + 1, len - 1);
	if (data[0] & 0x80)
		seals[data[0] & 3](copy, len - 1);
	tries[data[0] & 3]((struct bytes){ copy, len - 1 });
	free(copy);
	return 0;
}

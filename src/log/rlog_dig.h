/*
 * Digests: what deduplication (R14) and look-ups need of a finished segment, without its bodies. Internal to src/log.
 *
 * A digest is a function of its segment: when it is missing, damaged, of another seed or of a former content, it is
 * made again from the records. It is therefore written without a sync. Together the last digests and the entries of
 * the active segment (kept in memory) are the checkpoint of the deduplication base.
 *
 *      0  u32  magic "LDG1"        4  u32  format version, 1
 *      8  u64  first, last sequence number
 *     24  u64  seed of the identities
 *     32  u64  nonce of the segment
 *     40  u64  chain at the last record, low, high
 *     56  u64  bytes of the segment in use
 *     64  u64  log time, realtime, epoch of the last record
 *     88  u64  number of stretches
 *     96  u64  XXH3-64 of the stretches, of the entries
 *    112  u64  XXH3-64 over all before it
 *    120  stretches: u64 epoch, u64 first
 *         entries, one per record: u64 log time, u32 offset of the frame, u8 kind, u8 open, u16 0,
 *         u64 key low, key high, owner, n, birth, payload
 */
#ifndef LEASH_LOG_RLOG_DIG_H
#define LEASH_LOG_RLOG_DIG_H

#include "log/rlog.h"
#include "log/rlog_file.h"

#define RLOG_DIG_HEADER  120
#define RLOG_DIG_STRETCH 16
#define RLOG_DIG_ENTRY   64

struct rlog_dig {
	leash_seq first, last; /* last = first - 1: no record */
	leash_id seed;
	uint64_t nonce;
	struct leash_chain chain;
	uint64_t used_bytes;
	uint64_t last_log_time_ns, last_real_time_ns;
	leash_epoch last_epoch;
	uint64_t n_stretches;
	uint64_t stretches_sum, entries_sum; /* filled by rlog_dig_seal() */
};

static inline size_t rlog_dig_count(const struct rlog_dig *d)
{
	return (size_t)(d->last + 1 - d->first);
}

/* Adds one entry to @entries, encoded. -ENOMEM. */
int rlog_dig_add(struct buf *entries, const struct rec_header *h, uint64_t offset, const struct rec_ident *ident) _must_check_;

/* Entry @i of @n encoded ones, as a record of @epoch with number @seq. @used_bytes: of the segment. */
void rlog_dig_entry(const uint8_t *entries, size_t i, size_t n, uint64_t used_bytes, leash_seq seq,
	leash_epoch epoch, struct rep_rec *ret_rec);
uint64_t rlog_dig_offset(const uint8_t entry[RLOG_DIG_ENTRY]);

/* The stretches encoded, to be freed; NULL: no memory. */
uint8_t *rlog_dig_stretches(const struct rep_stretch *stretches, size_t n);

/* Fills in the two sums. */
void rlog_dig_seal(struct rlog_dig *d, const uint8_t *stretches, const uint8_t *entries);

/* Where in its file the entries begin. */
uint64_t rlog_dig_entries_at(const struct rlog_dig *d);

/* Writes header and encoded stretches of a sealed one, not synced. Without them a file with entries is no digest. */
int rlog_dig_write_head(const struct rlog_file *f, const struct rlog_dig *d, const uint8_t *stretches) _must_check_;

/* Reads header and stretches (free() them). 0; RLOG_E_DAMAGED: missing or not whole; negative errno. */
int rlog_dig_read(const struct rlog_ops *ops, const char *dir, leash_seq first, struct rlog_dig *ret_dig,
	struct rep_stretch **ret_stretches) _must_check_;

/* Reads and verifies the entries (free() them) of what rlog_dig_read() gave. */
int rlog_dig_read_entries(const struct rlog_ops *ops, const char *dir, const struct rlog_dig *d,
	uint8_t **ret_entries) _must_check_;

/* The offset of record @seq, read from an open digest file: a hint, nothing is verified. */
int rlog_dig_hint(const struct rlog_file *f, leash_seq seq, uint64_t *ret_offset) _must_check_;

#endif

/*
 * The two small files of a log that must never be lost: `meta` and `mark`. Internal to src/log.
 *
 * meta: two equal pages of 4096 bytes, each with its own checksum, replaced as a whole by rename. One rotten sector
 * costs one copy.
 *
 *      0  u32  magic "LMT1"        4  u32  format version, 1
 *      8  64 bytes engine, 64 bytes node, zero-padded
 *    136  u64  cluster, incarnation, promise, promise_run, log_epoch, insync_version, etcd_revision, recovery
 *    200  u32  min_insync, 0
 *    208  u64  dedup_window, log_matched
 *   4088  u64  XXH3-64 over all before it
 *
 * mark: two slots of 512 bytes in pages of their own, overwritten alternately (slot = counter modulo 2): a torn write
 * costs the new slot, never the old one.
 *
 *      0  u32  magic "LMK1"        4  u32  enum rlog_intent
 *      8  u64  counter            16  u64  mark
 *     24  u64  intent's sequence number, chain low, chain high
 *     48  u64  start: the oldest segment begins with this record or an earlier one; 0 = not known
 *    504  u64  XXH3-64 over all before it
 *
 * The intent makes cuts atomic: it says what is being cut before the first byte of it is touched, and opening
 * finishes what it says. Without it a crash in the middle of a cut would look like damage.
 *
 * The start tells what retention has removed from what is missing: it is written behind the making of the first segment
 * and before the removal of any, so the oldest file may begin earlier, never later. A log written before there was such
 * a field has 0 there; it is filled in with the next mark.
 */
#ifndef LEASH_LOG_RLOG_META_H
#define LEASH_LOG_RLOG_META_H

#include "log/rlog.h"
#include "log/rlog_file.h"

#define RLOG_META_PAGE   4096
#define RLOG_META_BYTES  (2 * RLOG_META_PAGE)
#define RLOG_MARK_STRIDE 4096 /* a slot never shares a device's sector with the other one */
#define RLOG_MARK_SLOT   512
#define RLOG_MARK_BYTES  (2 * RLOG_MARK_STRIDE)

enum rlog_intent {
	RLOG_INTENT_NONE,
	RLOG_INTENT_CUT,   /* every record behind `seq` goes */
	RLOG_INTENT_RESET, /* everything goes; the log starts at `seq` with `base` before it */
};

struct rlog_marks {
	uint64_t counter;
	leash_seq mark;
	enum rlog_intent intent;
	leash_seq seq;
	struct leash_chain base;
	leash_seq start;
};

/* 0; -ENOENT: there is none; RLOG_E_DAMAGED: neither copy is whole. */
int rlog_meta_load(const struct rlog_ops *ops, const char *dir, struct rlog_meta *ret_meta) _must_check_;
int rlog_meta_store(const struct rlog_ops *ops, const char *dir, const struct rlog_meta *meta) _must_check_;
/* Reads past the page cache. 0: both copies are @meta; RLOG_E_DAMAGED: one is not, or there is no such file; negative errno:
 * not known, for want of memory or descriptors. */
int rlog_meta_check(const struct rlog_ops *ops, const char *dir, const struct rlog_meta *meta) _must_check_;

/* The newer of the two slots. 0; -ENOENT; RLOG_E_DAMAGED: neither slot is whole. @settle: see rlog_file_open_settled(). */
int rlog_marks_load(const struct rlog_ops *ops, const char *dir, bool settle, struct rlog_marks *ret_marks) _must_check_;
int rlog_marks_create(const struct rlog_ops *ops, const char *dir) _must_check_;
/* A file without a whole slot, in the place of one that is gone: not known stays not known, whatever happens next. */
int rlog_marks_lost(const struct rlog_ops *ops, const char *dir) _must_check_;

/* Makes the file anew, with @m in both slots; @file, @ret_swapped: see rlog_file_swap(). */
int rlog_marks_remake(const struct rlog_ops *ops, const char *dir, const struct rlog_marks *m, struct rlog_file *file,
	bool *ret_swapped) _must_check_;
/* As rlog_meta_check(): is @m, the last that was stored, there? */
int rlog_marks_check(const struct rlog_ops *ops, const char *dir, const struct rlog_marks *m) _must_check_;

/* Overwrites the older slot with @m, whose counter is one more than the newer one's; durable on 0. */
int rlog_marks_store(const struct rlog_file *f, const struct rlog_marks *m) _must_check_;

#endif

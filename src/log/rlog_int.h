/*
 * The log object and what its files share. Internal to src/log.
 *
 *     rlog_open.c    opening and closing, state
 *     rlog_load.c    what the segments on disk hold
 *     rlog_write.c   append, sync, new segments, the reserve
 *     rlog_cut.c     mark, truncate, reset, damage aside, retention
 *     rlog_rebuild.c a damaged segment written anew
 *     rlog_refresh.c metadata and mark looked at, and written anew
 *     rlog_ident.c   identities for deduplication
 */
#ifndef LEASH_LOG_RLOG_INT_H
#define LEASH_LOG_RLOG_INT_H

#include "log/rlog.h"
#include "log/rlog_dig.h"
#include "log/rlog_file.h"
#include "log/rlog_meta.h"
#include "log/rlog_seg.h"

#define RLOG_DAMAGE_MAX 64 /* stretches that are kept to be told */

struct rlog_seg {
	leash_seq first, last; /* last = first - 1: no record */
	uint64_t bytes, used_bytes, nonce;
	struct leash_chain base, chain;
	leash_epoch prev_epoch, last_epoch;
	uint64_t prev_log_time_ns, last_log_time_ns, last_real_time_ns;
};

/* The next segment, made ahead of use under the name "spare". Zeroes are written past the page cache where that can be:
 * nobody reads them. */
struct rlog_spare {
	struct rlog_file file, direct; /* direct: none where the file system has no such writes, and when all is zeroed */
	uint64_t zeroed_bytes;         /* and synced */
	bool allocated;                /* it has its room on disk: good enough for a segment */
};

/* A digest that is being written (rlog_late.c). */
struct rlog_late {
	struct rlog_file file; /* none: nothing is being written */
	struct rlog_dig dig;
	uint8_t *stretches;    /* encoded */
	struct buf entries;
	uint64_t written;      /* bytes of them */
};

struct rlog {
	struct rlog_conf conf;  /* dir is owned; segment_bytes is a multiple of RLOG_DIRECT_ALIGN */
	const struct rlog_ops *ops;
	int lock_fd;
	bool failed;            /* R11: a write or a sync failed */
	struct rlog_meta meta;

	struct rlog_file mark_file;
	struct rlog_marks marks;
	bool mark_unknown;      /* neither slot could be read */

	struct rlog_seg *segs;  /* oldest first; the last one is active; none before the first record ever */
	size_t n_segs, cap_segs;
	struct rlog_file active;
	struct buf entries;     /* of the active segment, encoded for its digest */
	leash_seq durable;

	struct rep_stretch *history;
	uint32_t n_history, cap_history;

	struct rlog_damage *damage;
	size_t n_damage;

	struct rlog_spare spare;
	struct rlog_late late;
	bool reserve_spent;
	leash_seq torn_from;
	bool created;

	uint8_t *stage;         /* of one write */
	struct iovec *iov;
};

static inline struct rlog_seg *rlog_active(const struct rlog *l)
{
	return l->n_segs ? &l->segs[l->n_segs - 1] : NULL;
}

/* Latches the log after a failed write or sync and returns -EIO. */
int rlog_latch(struct rlog *l, int r);

/* --- rlog_load.c */
int rlog_load(struct rlog *l) _must_check_;        /* all segments, from nothing */
int rlog_load_active(struct rlog *l) _must_check_; /* the last segment again; the others are as they were */
int rlog_segs_add(struct rlog *l, const struct rlog_seg_header *h) _must_check_;
int rlog_history_room(struct rlog *l, uint32_t more) _must_check_; /* the next @more pushes cannot fail */
int rlog_history_push(struct rlog *l, leash_epoch epoch, leash_seq first) _must_check_;
void rlog_history_cut(struct rlog *l, leash_seq last);        /* forgets what is behind @last */
void rlog_history_forget(struct rlog *l, leash_seq start);    /* forgets what is before @start */
int rlog_damage_note(struct rlog *l, leash_seq first, leash_seq last, const char *path, uint64_t offset,
	const char *reason) _must_check_;

/* Rebuilds the entries of segment @i from its records with the seed of now. RLOG_E_DAMAGED. */
int rlog_entries_rebuild(const struct rlog *l, size_t i, struct buf *entries) _must_check_;

/* The digest of segment @i, of @entries, with its sums; *ret_stretches: encoded, to be freed. -ENOMEM. */
int rlog_digest_of(const struct rlog *l, size_t i, const struct buf *entries, struct rlog_dig *ret_dig,
	uint8_t **ret_stretches) _must_check_;

/* Writes it. RLOG_E_FULL: no room, it will be made again when needed. */
int rlog_digest_put(struct rlog *l, size_t i, const struct buf *entries) _must_check_;

/* --- rlog_late.c: 0, or -EIO (final); no room or memory is no error: a digest can be made again */
int rlog_late_begin(struct rlog *l, size_t i, struct buf *entries) _must_check_; /* of segment @i; takes @entries */
int rlog_late_step(struct rlog *l) _must_check_;   /* writes a part, if there is one to be written */
int rlog_late_finish(struct rlog *l) _must_check_; /* writes what is left of it */
void rlog_late_drop(struct rlog *l);

/* --- rlog_write.c */
int rlog_seg_create(struct rlog *l, leash_seq first, struct leash_chain base, leash_epoch prev_epoch,
	uint64_t prev_log_time_ns) _must_check_;
int rlog_spare_make(struct rlog *l) _must_check_; /* 0, RLOG_E_FULL, negative errno; uses what the reserve kept */
void rlog_spare_close(struct rlog *l);
void rlog_reserve_spend(struct rlog *l);

uint64_t rlog_nonce(const struct rlog *l, leash_seq first, struct leash_chain base);

/* --- rlog_rebuild.c */
int rlog_rebuild_redo(struct rlog *l) _must_check_; /* finishes what was interrupted, or removes it */

/* --- rlog_cut.c */
/* Makes damaged/<first>-<n>/ and writes its path. */
int rlog_evidence_dir(struct rlog *l, leash_seq first, char ret_dir[PATH_MAX]) _must_check_;
int rlog_intent_redo(struct rlog *l) _must_check_;
int rlog_start_note(struct rlog *l) _must_check_; /* the first segment is there: durably. RLOG_E_FULL: with the next mark */

#endif

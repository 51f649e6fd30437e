/*
 * The record log of one node: segments on disk, the mark, the metadata file, the digests for deduplication.
 *
 * Stepped by its caller and owned by one thread at a time: nothing here makes a thread or reads a clock. All I/O goes
 * through a table of file operations (rlog_ops), so that the same code runs in the daemon, whose log thread is a
 * wrapper in src/node, and in the simulator. Readers (rlog_reader) are separate objects with descriptors of their own
 * and may live in other threads.
 *
 * The happy path: rlog_open() recovers and reports what the disk holds; rlog_append() puts a batch behind the end;
 * rlog_sync() makes everything appended durable (group commit: one write, one fdatasync); rlog_mark() notes how far
 * this node has acknowledged. rlog_truncate() cuts (R6), rlog_reset() starts anew for a fresh copy.
 *
 * Ways to fail: a failed write or sync is final for the process (R11): the log latches it, every later call returns
 * -EIO, the caller ends with exit status 74. A bad tail is *torn* (and cut) only behind the mark and with no valid
 * successor behind it; everything else is damage, reported and left as it is.
 *
 * Directory of a node:
 *
 *     meta                   identity and promises (struct rlog_meta), replaced by rename
 *     mark                   acknowledged up to, and where the log begins (two slots with checksums, overwritten
 *                            alternately)
 *     <first seq>.seg        segments: a header page, then records back to back, zero behind the last (rlog_seg.h)
 *     <first seq>.dig        digest of a finished segment: one struct rep_rec identity per record, own hash (rlog_dig.h)
 *     spare                  the next segment, made ahead of use
 *     reserve                space kept for a full disk
 *     cut/<seq>-<epoch>-<n>.cut  what R6 cut off, kept: records (header, body) back to back
 *     damaged/<seq>-<n>/     evidence of damage, kept
 *
 * A torn tail. What a crash leaves of a batch that was not synced may lack its first record and have its second: the
 * frame of each record on disk says what had been durable when it was written, and only a successor whose frame says
 * that the bad record *was* durable makes it damage (rlog_seg.h, rlog_judge.h).
 */
#ifndef LEASH_LOG_RLOG_H
#define LEASH_LOG_RLOG_H

#include <sys/uio.h>

#include "base/repmsg.h"
#include "base/types.h"
#include "log/rlog_ops.h"
#include "wire/record.h"

struct rlog;

struct rlog_conf {
	const char *dir;          /* created when absent (its parent must exist) */
	uint64_t segment_bytes;   /* size of a segment file, below 4 GiB; at least 4 * max record; rounded down to 4096 */
	uint64_t reserve_bytes;   /* kept for a full disk; 0 = none */
	uint64_t digest_seed;     /* seeds rec_identify(); 0: the cluster id in meta. When it becomes known: rlog_set_seed() */
	uint32_t record_bytes_max; /* of a body that is appended; what was appended under a larger limit stays good */
};

enum rlog_error {
	RLOG_E_FULL = 1,  /* no space: nothing was appended */
	RLOG_E_ORDER,     /* not the next sequence number, or an epoch that goes back: nothing was appended */
	RLOG_E_CHAIN,     /* the chain does not close with this log's end: nothing was appended */
	RLOG_E_GONE,      /* reader: that record is older than the oldest kept one */
	RLOG_E_DAMAGED,   /* this stretch of the log is damaged; see rlog_damage. rlog_open(): meta is lost */
	RLOG_E_FOREIGN,   /* the directory belongs to another node, engine or cluster; nothing was touched */
	RLOG_E_LOCKED,    /* another process has the directory open */
};

/* What a node must never forget (R4, R4a, R9). Written as a whole by rlog_meta_write(), durable on return. */
struct rlog_meta {
	char engine[LEASH_NAME_MAX + 1], node[LEASH_NAME_MAX + 1];
	leash_id cluster;          /* 0: virgin */
	leash_id incarnation;
	leash_epoch promise;       /* highest epoch promised */
	leash_id promise_run;      /* its owner */
	leash_epoch log_epoch;     /* the epoch in which the log last matched its primary's */
	leash_seq log_matched;     /* how far it matched when log_epoch was set */
	uint64_t insync_version;   /* highest seen */
	uint64_t etcd_revision;    /* highest seen */
	uint64_t recovery;         /* number of `leash recover` runs seen (resets the two above) */
	uint32_t min_insync;       /* of the cluster; 0 = not known yet */
	uint64_t dedup_window;     /* of the cluster; 0 = not known yet */
};

/* One stretch of damage found at opening or by the scrub. */
struct rlog_damage {
	leash_seq first, last;     /* records that cannot be read; last = 0: to the end, extent unknown */
	char path[128];            /* file name inside the directory */
	uint64_t offset;           /* bytes */
	char reason[96];
};

struct rlog_state {
	struct rlog_meta meta;
	leash_seq start;           /* first record kept; end + 1 when empty */
	leash_seq end;             /* last record; all of start..end is durable */
	leash_seq mark;            /* acknowledged at least up to here by a former life */
	struct leash_chain base;   /* chain before `start` */
	struct leash_chain chain;  /* chain at `end` */
	uint64_t log_time_ns;      /* of the last record */
	const struct rep_stretch *history; /* epochs of start..end; valid until the next call */
	uint32_t n_history;
	leash_seq torn_from;       /* a torn tail was cut from here on; 0 = none */
	bool damaged;              /* see rlog_damage_get(); end = last good record before the damage */
	bool created;              /* the directory was new: the incarnation is fresh */
};

/*
 * Opens (or creates) the log of @engine/@node. Verifies the last segment fully and the others' headers; fdatasyncs
 * what it read before it calls it durable. Costs as much as the last segment, not the log. A new directory gets
 * @new_incarnation. An interrupted cut or reset is finished first; a torn tail is made zero. 0 and the state;
 * RLOG_E_FOREIGN, RLOG_E_LOCKED; RLOG_E_DAMAGED: meta cannot be read or is missing beside a log (nothing was touched,
 * needs an operator); -EINVAL: sizes in @conf that do not go together, names; negative errno (-EIO ...).
 * Damage in the records is not an error of this call: ret_state->damaged; such a log is only good to be read and
 * peeked at until rlog_set_damage_aside() or rlog_reset(): append, mark, truncate and retain return RLOG_E_DAMAGED.
 */
int rlog_open(const struct rlog_conf *conf, const struct rlog_ops *ops, const char *engine, const char *node,
	leash_id new_incarnation, struct rlog **ret_log, struct rlog_state *ret_state) _must_check_;
void rlog_close(struct rlog *l); /* NULL is fine. Does not sync. */

/* The state of now. ret_state->history is valid until the next call that changes the log. */
void rlog_state_get(const struct rlog *l, struct rlog_state *ret_state);

/* Another seed for identities (the cluster id, at bootstrap). Digests are made again when needed. 0, RLOG_E_DAMAGED,
 * negative errno; on an error the old seed holds. */
int rlog_set_seed(struct rlog *l, leash_id seed) _must_check_;

const struct rlog_damage *rlog_damage_get(const struct rlog *l, size_t *ret_n);

/* Notes damage that a reader or the scrub found, for rlog_set_damage_aside(). From now on the log takes no more. */
int rlog_damage_add(struct rlog *l, const struct rlog_damage *d) _must_check_;

/* Replaces the metadata (names must stay); durable on return 0. RLOG_E_FULL: no room even with the reserve, the old
 * metadata stands. */
int rlog_meta_write(struct rlog *l, const struct rlog_meta *meta) _must_check_;

/* One record to append: encoded header and body, and its identity for the digest. Nothing is copied after return. */
struct rlog_rec {
	struct rec_header h;
	const uint8_t *header; /* REC_HEADER_BYTES */
	struct bytes body;
	struct rec_ident ident;
};

/*
 * Writes @n consecutive records behind the end (one vectored write per segment); not durable until rlog_sync().
 * Sequence, epoch order and chain are checked first. 0: all of them; RLOG_E_ORDER, RLOG_E_CHAIN, RLOG_E_DAMAGED,
 * -EMSGSIZE (over record_bytes_max): none; RLOG_E_FULL, -ENOMEM: the first *ret_n of them, the rest was not written;
 * -EIO is final. *ret_n is always set.
 */
int rlog_append(struct rlog *l, const struct rlog_rec *recs, size_t n, size_t *ret_n) _must_check_;

/*
 * Makes the next segment ahead of use: sets its room aside, zeroes and syncs up to @bytes_max more of it (0: the room is
 * enough). To be called by the log thread when it has nothing else to do while *ret_ready is false. What is not zeroed
 * when the segment is needed stays so: each sync into it then also writes that these blocks are in use, and takes about
 * twice as long. Where room cannot be set aside without zeroing, the append that meets the end of a segment zeroes it.
 * 0; RLOG_E_FULL: no room, the reserve is spent; -EIO is final.
 */
int rlog_prepare(struct rlog *l, uint64_t bytes_max, bool *ret_ready) _must_check_;

/* fdatasync of what is not yet durable, directories included. On 0 everything appended is durable. */
int rlog_sync(struct rlog *l) _must_check_;

leash_seq rlog_end(const struct rlog *l);     /* last appended */
leash_seq rlog_durable(const struct rlog *l); /* last durable */
leash_seq rlog_start(const struct rlog *l);
struct leash_chain rlog_chain(const struct rlog *l);

/* Notes durably that this node acknowledged up to @seq (<= durable). It may lag, it never leads. A number below the
 * mark is ignored. RLOG_E_FULL: no room to overwrite it (some file systems need that), the old mark stands. */
int rlog_mark(struct rlog *l, leash_seq seq) _must_check_;

#define RLOG_ROTTEN_META 1u
#define RLOG_ROTTEN_MARK 2u

/*
 * Reads the metadata and the mark past the page cache; what is not as it was written (rot, a file that was removed or
 * replaced) is written anew from memory, the old bytes are kept in damaged/. For a scrub, now and then: reads 16 KiB.
 * *ret_rotten, set always: RLOG_ROTTEN_* that were written anew. RLOG_E_FULL: no room, the rest is as it was; -EIO is final;
 * other negative errno: not known.
 */
int rlog_refresh(struct rlog *l, unsigned *ret_rotten) _must_check_;

/*
 * R6: cuts every record behind @seq: lowers the mark durably first, keeps what is cut in a side file, leaves zeroes.
 * Durable on return. @seq must be >= start - 1 (-EINVAL). RLOG_E_FULL: no room for the side file even with the
 * reserve, nothing was cut.
 */
int rlog_truncate(struct rlog *l, leash_seq seq) _must_check_;

/* Drops everything, damage included, and starts at @start (>= 1) with @base as the chain before it (fresh copy). The
 * mark goes to 0. Durable on return. */
int rlog_reset(struct rlog *l, leash_seq start, struct leash_chain base) _must_check_;

/*
 * Moves everything that is not verified good behind the last good record before the damage into damaged/, so that
 * the log ends there. Call with a new incarnation already written (R11). Durable on return. Nothing good left: an
 * empty log that starts at 1. RLOG_E_FULL: no room for the evidence, nothing was changed; RLOG_E_DAMAGED: there is
 * more damage, call again.
 */
int rlog_set_damage_aside(struct rlog *l) _must_check_;

/*
 * All of R11 at once for a log that was opened damaged: the new incarnation first (and no log epoch: it may lack what it
 * had, and is nothing for `leash recover` to build upon, R9), then all damage is set aside. 0; RLOG_E_FULL; negative errno.
 */
int rlog_renounce(struct rlog *l, leash_id new_incarnation) _must_check_;

/* Retention: removes whole segments that lie entirely before @keep_from. Durable on return. RLOG_E_FULL: no room to
 * note it (some file systems need that), nothing was removed. */
int rlog_retain(struct rlog *l, leash_seq keep_from) _must_check_;

/* Bytes of all segments, and the first sequence number, size and last log/real time of segment @i (0 = oldest). */
struct rlog_segment_info {
	leash_seq first, last;
	uint64_t bytes, used_bytes;
	uint64_t last_log_time_ns, last_real_time_ns;
	bool finished;
};
size_t rlog_segments(const struct rlog *l);
int rlog_segment_info(const struct rlog *l, size_t i, struct rlog_segment_info *ret_info) _must_check_;

/* The reserve: spent (deleted) when an append meets a full disk; refilled by rlog_reserve_fill() when there is room. */
bool rlog_reserve_spent(const struct rlog *l);
int rlog_reserve_fill(struct rlog *l) _must_check_; /* 0 also when there is still no room */
/* While it is spent no new segment is begun: the room it gave is for meta, mark and side files. */

/*
 * The identities of the records @from..end in order, for rebuilding the dedup table: from digests where they are
 * there and whole, from the records otherwise. @fn returns false to stop. RLOG_E_GONE: @from is before start.
 * RLOG_E_DAMAGED: a record in between cannot be read.
 */
int rlog_identities(struct rlog *l, leash_seq from, bool (*fn)(const struct rep_rec *rec, void *arg),
	void *arg) _must_check_;

/* ------------------------------------------------------------------------------------------------------ readers */

/*
 * Reads records that are known to be in the log (the caller passes the bound). Descriptors and caches are its own;
 * another thread may append and retain meanwhile. After rlog_truncate()/rlog_reset() call rlog_reader_drop() before
 * the next read.
 */
struct rlog_reader;

int rlog_reader_open(const char *dir, const struct rlog_ops *ops, uint32_t record_bytes_max,
	struct rlog_reader **ret_reader) _must_check_;
void rlog_reader_close(struct rlog_reader *r);
void rlog_reader_drop(struct rlog_reader *r);

struct rlog_view {
	struct rec_header h;
	struct bytes header, body; /* valid until the next call on this reader */
};

/* Reads record @seq; verifies header and body checksums and that it bears @seq. Sequential reads are cheap (read ahead),
 * forwards; others cost a look-up in the sparse index, O(log n). 0; RLOG_E_GONE; RLOG_E_DAMAGED; negative errno. */
int rlog_read(struct rlog_reader *r, leash_seq seq, struct rlog_view *ret_view) _must_check_;

/* ------------------------------------------------------------------------------------------------------- verify */

/* What `leash log verify` and the scrub report. */
struct rlog_verify_result {
	leash_seq start, end, mark;
	uint64_t records, bytes;
	struct leash_chain chain;
	size_t n_problems;
};

/* Verifies every checksum, chain, gap and epoch order of the log in @dir, read only (a running node may own it; @until
 * bounds the records looked at, 0 = to the end). Each problem is told to @problem. 0 also when problems were found. */
int rlog_verify(const char *dir, const struct rlog_ops *ops, leash_seq until,
	void (*problem)(const struct rlog_damage *d, void *arg), void *arg,
	struct rlog_verify_result *ret_result) _must_check_;

/* Reads meta and mark of a directory without locking it, for the command line. */
int rlog_peek(const char *dir, const struct rlog_ops *ops, struct rlog_meta *ret_meta, leash_seq *ret_mark) _must_check_;

#endif

/*
 * The dedup table (R14): which (producer, id) is in the log, and where. A function of the log: every node that applies
 * the same records and the same commit index has the same table.
 *
 * Every record from the oldest remembered one to the log's end has an entry in a ring, so a cut (R6) is undone entry
 * by entry, also the highest counters of sessions and producers; only committed records evict (dedup_commit()). What
 * is remembered: the last `window` committed records and all behind them; longer, while a record is younger than
 * `time_ns` of log time, up to `records_max`.
 *
 * Owners are gateway sessions and IDMPSEQ producers. One is known exactly while its latest record is remembered, so
 * there are never more owners than entries and the whole table can be rebuilt from the last records of the log.
 *
 * Memory is reserved by dedup_new() and does not grow. Pure.
 */
#ifndef LEASH_REPLICA_DEDUP_H
#define LEASH_REPLICA_DEDUP_H

#include "base/repmsg.h"
#include "base/types.h"
#include "base/util.h"

struct dedup_conf {
	uint64_t window;          /* committed records remembered at least; not 0 */
	uint64_t time_ns;         /* log time remembered at least; 0 = only the window counts */
	uint64_t records_max;     /* >= window: bound of what time_ns may add */
	uint32_t uncommitted_max; /* records behind the commit index; not 0 */
};

enum dedup_verdict {
	DEDUP_NEW,
	DEDUP_KNOWN,           /* at *ret_seq, with the same payload */
	DEDUP_CONFLICT,        /* at *ret_seq, with another payload */
	DEDUP_OLD,             /* a number below the producer's highest that is not remembered */
	DEDUP_UNKNOWN_SESSION, /* a session that is not known (any more) */
	DEDUP_SESSION_ORDER,   /* not the next counter; *ret_seq: the one expected */
	DEDUP_FULL,            /* new, but everything remembered is younger than time_ns */
};

struct dedup;

/* 0; -ENOMEM; -EINVAL: more records than a table can have. */
int dedup_new(const struct dedup_conf *conf, struct dedup **ret_dedup) _must_check_;
void dedup_free(struct dedup *d);

/* Forgets everything; the next record applied is @start. */
void dedup_reset(struct dedup *d, leash_seq start);

/* From which record on a log that ends at @end must be applied to rebuild the table. */
leash_seq dedup_replay_from(const struct dedup *d, leash_seq end);

enum dedup_verdict dedup_lookup(const struct dedup *d, const struct rec_ident *ident, leash_seq *ret_seq);

/* Notes that @rec was appended; @rec->seq is the next one. */
void dedup_apply(struct dedup *d, const struct rep_rec *rec);

/* Undoes every record behind @seq. */
void dedup_cut(struct dedup *d, leash_seq seq);

/* Records up to @seq are committed: evicts what is past window and time. */
void dedup_commit(struct dedup *d, leash_seq seq);

/*
 * It is @log_time_ns by now, as the primary counts it, whose next record will say so. A table that is full of what was
 * young when the last record came would else be full for ever: nothing gets in, and so nothing makes it older. Until that
 * next record the primary's table may be ahead of the others'.
 */
void dedup_pass(struct dedup *d, uint64_t log_time_ns);

/* The oldest remembered record: retention keeps the log from here on. */
leash_seq dedup_oldest(const struct dedup *d);

/* A hash over what is remembered, in log order. */
uint64_t dedup_digest(const struct dedup *d);

#endif

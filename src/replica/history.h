/*
 * The epochs of a log as stretches (epoch, first sequence number), for R6: where two logs agree is found by comparing
 * epochs position by position (KIP-101, KIP-279), never by a commit index. Within a log epochs never fall; two logs
 * that hold a record of the same epoch at the same position agree on it and on everything before it, because an epoch
 * has one owner, which writes each position once. Pure.
 */
#ifndef LEASH_REPLICA_HISTORY_H
#define LEASH_REPLICA_HISTORY_H

#include "base/repmsg.h"
#include "base/util.h"

struct history {
	struct rep_stretch *a;
	uint32_t n, cap;
};

void history_deinit(struct history *h);

/* Replaces the content. 0; -EINVAL: not rising, or more than REP_HISTORY_MAX (unchanged). */
int history_set(struct history *h, const struct rep_stretch *a, uint32_t n) _must_check_;

/* Record @seq of @epoch was appended. Beyond REP_HISTORY_MAX stretches the oldest is forgotten. */
void history_append(struct history *h, leash_epoch epoch, leash_seq seq);

/* Records behind @seq are gone. */
void history_cut(struct history *h, leash_seq seq);

/* Records before @start are gone. */
void history_trim(struct history *h, leash_seq start);

/* Epoch of the last record, 0 when there is none. */
leash_epoch history_last(const struct history *h);

/* Epoch of record @seq, which must not lie behind the end; 0: not known. *ret_first: where its stretch begins. */
leash_epoch history_at(const struct history *h, leash_seq seq, leash_seq *ret_first);

/* A log as far as this comparison needs it. */
struct history_log {
	const struct history *h;
	leash_seq start, end; /* records start..end */
};

/*
 * How far @own agrees with @lead: the last position at which both hold a record of the same epoch, or, where none is,
 * own->start - 1 (what is before it was committed when retention removed it). Records of @own behind the result
 * conflict exactly when @lead has a record there too.
 */
leash_seq history_match(const struct history_log *own, const struct history_log *lead);

#endif

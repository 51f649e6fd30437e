/*
 * The scrub: re-reads the log of a running node from the oldest record to the newest durable one, past the page cache
 * where the file system can, and verifies headers, bodies, chain and the places of segments (design 6, R11).
 *
 * A stepping function: no thread, no clock; the caller bounds the rate by what it asks for. Another thread may append
 * and retain meanwhile. A cut, a reset or setting damage aside may look like damage while it happens: the caller must
 * know that none began before and ended after a step, else it throws the step's outcome away and calls
 * rlog_scrub_restart().
 *
 * Only records within bounds that the caller names are looked at; what lies behind them (zeroes, a batch under way) is
 * nobody's loss. A digest is a function of its segment and is not looked at.
 */
#ifndef LEASH_LOG_RLOG_SCRUB_H
#define LEASH_LOG_RLOG_SCRUB_H

#include "log/rlog.h"

struct rlog_scrub;

enum rlog_scrub_outcome {
	RLOG_SCRUB_END = 1, /* the pass is complete; the next step begins a new one */
	RLOG_SCRUB_DAMAGED, /* *ret_damage; the next step goes on behind it */
};

struct rlog_scrub_at {
	leash_seq next;          /* the record to be looked at; 0: a pass begins */
	uint64_t records, bytes; /* verified in this pass */
};

/* @record_bytes_max: of a body. 0, -ENOMEM. */
int rlog_scrub_new(const char *dir, const struct rlog_ops *ops, uint32_t record_bytes_max,
	struct rlog_scrub **ret_scrub) _must_check_;
void rlog_scrub_free(struct rlog_scrub *s); /* NULL is fine */

/* Begins a new pass and closes what is open: after a cut, a reset, or damage set aside. */
void rlog_scrub_restart(struct rlog_scrub *s);

/*
 * Verifies the records @from to @until (all of them durable), about @bytes_max bytes (at least one record). *ret_bytes is
 * what was read, set always. @from: the log's first; 0: not known (retention is under way), then a segment that is missing
 * before all others passes for removed. Damage before the log's first record of now, asked for after the step, is retention
 * that was faster: the caller drops it. 0: there is more; enum rlog_scrub_outcome; negative errno: nothing is known about what could not
 * be read for want of memory or descriptors (what the device cannot read is damage), the next step tries again.
 */
int rlog_scrub_step(struct rlog_scrub *s, leash_seq from, leash_seq until, uint64_t bytes_max, uint64_t *ret_bytes,
	struct rlog_damage *ret_damage) _must_check_;

struct rlog_scrub_at rlog_scrub_at(const struct rlog_scrub *s);

#endif

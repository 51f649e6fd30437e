/*
 * Repair in place (R11): writes a damaged segment anew, from its own good records and, where it has none, from those of
 * other nodes.
 *
 * What proves a repair is the chain (wire/record.h): each record's header bears a hash over everything before it. Between
 * the record before the damage and the next good one of one's own only the very records that were there can stand. Where
 * the damage reaches the end of a segment, the header of the next one closes the chain; at the end of a running log, what
 * the process remembers. At the end of a log that was just opened nothing does: what else this node had acknowledged
 * nobody can tell, and such damage is for rlog_set_damage_aside() and a new incarnation. (Protocol-aware recovery,
 * Alagappan et al., FAST'18, draws the same line between damage and a torn tail.)
 *
 * The new file grows beside the log under the name "repair"; its header is written last. When it is whole and synced the
 * damaged segment is moved into damaged/ and the new one takes its place; opening finishes that when it was interrupted.
 * Until then nothing of the log is changed.
 *
 * Belongs to the thread that owns the log. A cut, a reset or setting aside ends it: free it before. Appends and retention
 * may go on between two steps.
 */
#ifndef LEASH_LOG_RLOG_REBUILD_H
#define LEASH_LOG_RLOG_REBUILD_H

#include "log/rlog.h"

struct rlog_rebuild;

/* Outcomes beside those of enum rlog_error. */
#define RLOG_REBUILD_READY 64

/*
 * Begins with the segment that has record @seq, or lacks it. 0; RLOG_E_GONE: retention has removed it; RLOG_E_DAMAGED: what
 * stood before the segment is not known, nothing can be proven; -ENOMEM, -EIO ...
 */
int rlog_rebuild_new(struct rlog *l, leash_seq seq, struct rlog_rebuild **ret_rebuild) _must_check_;
void rlog_rebuild_free(struct rlog_rebuild *b); /* NULL is fine. Removes what is not finished. */

/*
 * Goes on for about @bytes_max bytes.
 *
 *   0               *ret_need = 0: there is more to do. Else: the record that is to come from another node; nothing goes
 *                   on before rlog_rebuild_put().
 *   RLOG_REBUILD_READY  all records are there: rlog_rebuild_finish(), before anything is appended
 *   RLOG_E_GONE     retention has removed the segment
 *   RLOG_E_CHAIN    what other nodes gave does not lead to what stands behind it here: begin again with another node
 *   RLOG_E_DAMAGED  it cannot be proven (see above)
 *   RLOG_E_FULL     no room; nothing was changed
 *   negative errno  final, as for any write
 */
int rlog_rebuild_step(struct rlog_rebuild *b, uint64_t bytes_max, leash_seq *ret_need) _must_check_;

/*
 * Records from another node, consecutive, from the one that is needed on. What this node has itself is left out, and so
 * is what lies behind the segment. 0; RLOG_E_ORDER: not the one that is needed; RLOG_E_CHAIN: they do not follow from
 * what is before them; -EMSGSIZE; else as rlog_rebuild_step().
 */
int rlog_rebuild_put(struct rlog_rebuild *b, const struct rlog_rec *recs, size_t n) _must_check_;

/* Puts the new segment into its place, durably. 0; else as rlog_rebuild_step(). A log that was opened damaged is to be
 * closed and opened again. Readers must drop what they have open. */
int rlog_rebuild_finish(struct rlog_rebuild *b) _must_check_;

/* The records that came from other nodes: lowest, highest, how many. 0, 0, 0: none yet. And the segment's, as far as it is
 * made. */
struct rlog_rebuilt {
	leash_seq first, last;
	uint64_t records;
	leash_seq segment_first, segment_last;
};
struct rlog_rebuilt rlog_rebuild_taken(const struct rlog_rebuild *b);

#endif

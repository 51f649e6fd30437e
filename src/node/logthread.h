/*
 * The log thread: everything the node does with its log that may take time. Threads of its own: one that writes (it
 * owns the struct rlog from logthread_new() to logthread_free()) and one that reads, behind queues, and one that
 * verifies the log slowly, again and again (the scrub).
 *
 * Commands are carried out in the order given. Appends that have queued up become one group: one rlog_append(), one
 * rlog_sync(), one completion. Between groups, when nothing waits, the thread notes the mark (at most every 100 ms),
 * makes the next segment ahead of use, refills the reserve.
 *
 * Calls and completions belong to the loop's thread. Completions come from the loop, never from inside a call.
 *
 * Damage that a reader or the scrub meets is told (ops->damage) and remembered until logthread_set_aside(): the log goes
 * on taking appends, for a primary needs it until it has handed over.
 *
 * A failed write or sync ends everything (R11): ops->failed comes once, and nothing after it is carried out. A full
 * disk does not: ops->disk_full says where the log ends now, and appends that do not continue there are dropped. What
 * must be written all the same (metadata, cuts) is tried again until there is room.
 */
#ifndef LEASH_NODE_LOGTHREAD_H
#define LEASH_NODE_LOGTHREAD_H

#include "log/rlog_rebuild.h"
#include "node/driver.h"

struct event_base;
struct logthread;
struct logthread_read;

struct logthread_conf {
	const char *dir;             /* of the log, for readers */
	const struct rlog_ops *ops;
	uint32_t record_bytes_max;   /* of a body, as rlog_conf has it */
	uint64_t retention_bytes, retention_time_ns; /* 0 = keep all */
	uint64_t scrub_rate;         /* bytes per second; 0 = off */
};

/* Completions. Those of commands have the meaning of the drv_...() call of that name. */
struct logthread_ops {
	void *ctx;
	void (*durable)(void *ctx, leash_seq seq);
	void (*room)(void *ctx, uint64_t bytes); /* follows durable */
	void (*cut_done)(void *ctx, leash_seq seq, struct leash_chain chain);
	void (*meta_done)(void *ctx, uint64_t ticket);
	void (*disk_full)(void *ctx, leash_seq end, struct leash_chain chain);
	void (*trimmed)(void *ctx, leash_seq start, struct leash_chain base); /* @base: the chain before @start */
	void (*incarnation)(void *ctx, leash_id incarnation, leash_seq end, struct leash_chain chain);
	void (*damage)(void *ctx, const struct rlog_damage *d); /* each time that it is met */
	/*
	 * Of logthread_rebuild(). @outcome 0 and @need: the record that is to come from another node. 0 and no @need: the
	 * damaged segment is whole again. RLOG_E_GONE: there is nothing to repair any more; RLOG_E_CHAIN, RLOG_E_ORDER,
	 * -EMSGSIZE: what came from another node does not fit; RLOG_E_DAMAGED: it cannot be proven; -ECANCELED: the log was
	 * cut meanwhile, begin again; RLOG_E_FULL, other negative errnos: try again later. All but the first end it.
	 * @taken: what other nodes gave so far.
	 */
	void (*rebuild)(void *ctx, int outcome, leash_seq need, const struct rlog_rebuilt *taken);
	void (*problem)(void *ctx, const char *text); /* for the operator; leash goes on */
	void (*space)(void *ctx, bool full); /* on change: there is room on disk for the next segment, or none */
	void (*failed)(void *ctx, const char *text);  /* the process must end (74) */
};

/* Takes over @log, freshly opened, its metadata as in @meta. 0, -ENOMEM, negative errno of threads and descriptors: @log
 * stays the caller's. */
int logthread_new(const struct logthread_conf *conf, struct rlog *log, const struct rlog_meta *meta,
	struct event_base *base, const struct logthread_ops *ops, struct logthread **ret_lt) _must_check_;

/* Carries out what is queued (unless it failed), ends the threads, closes the log. No completion comes any more; reads
 * under way end without a callback. NULL is fine. */
void logthread_free(struct logthread *lt);

void logthread_append(struct logthread *lt, struct drv_rec *const *recs, size_t n); /* takes references of its own */
void logthread_truncate(struct logthread *lt, leash_seq seq);
void logthread_reset(struct logthread *lt, leash_seq start, struct leash_chain base);
/* The incarnation in @meta is ignored: only logthread_set_aside() changes it. @min_insync, @dedup_window: of the cluster,
 * 0 = not known. */
void logthread_meta(struct logthread *lt, uint64_t ticket, const struct rep_meta *meta, uint32_t min_insync,
	uint64_t dedup_window);
/* Sets aside what the damage that was found leaves unsure; the new incarnation comes in any case -> incarnation. */
void logthread_set_aside(struct logthread *lt, leash_id new_incarnation);
/* Repairs the segment that has the damaged record @seq (log/rlog_rebuild.h); another repair under way ends, untold. A log
 * that was opened damaged takes nothing but this; repaired, it is to be closed and opened again. -> rebuild */
void logthread_rebuild(struct logthread *lt, leash_seq seq);
void logthread_rebuild_put(struct logthread *lt, struct drv_rec *const *recs, size_t n); /* from the one needed on */
void logthread_mark(struct logthread *lt, leash_seq seq);
/* Removes old segments that lie before @keep_from and are past retention_bytes or retention_time. */
void logthread_retain(struct logthread *lt, leash_seq keep_from);
void logthread_set_retention(struct logthread *lt, uint64_t retention_bytes, uint64_t retention_time_ns);
void logthread_set_scrub_rate(struct logthread *lt, uint64_t bytes_per_s);

/* How long the writing thread's operation in progress has taken (R11a), ns; 0: none. Any thread. */
uint64_t logthread_stuck_ns(const struct logthread *lt);
/* Rises while the writing thread moves: with each operation that ends, and a few times a second when nothing is to be done.
 * For the watchdog: it also sees what is stuck outside of an operation. Any thread. */
uint64_t logthread_moves(const struct logthread *lt);

/*
 * Reads records @from..@to of the log (the caller knows that they are there), at most @count_max (1..REP_BATCH_MAX) and
 * about @bytes_max bytes, at least one; @reverse: beginning with @to. @error: 0; RLOG_E_GONE, RLOG_E_DAMAGED, negative
 * errno when the first one could not be read. References are dropped after @fn. ret_read may be NULL. -ENOMEM: @fn does
 * not come.
 */
typedef void (*logthread_read_fn)(void *ctx, int error, struct drv_rec *const *recs, size_t n);
int logthread_read(struct logthread *lt, leash_seq from, leash_seq to, bool reverse, uint32_t count_max,
	size_t bytes_max, logthread_read_fn fn, void *ctx, struct logthread_read **ret_read) _must_check_;
void logthread_read_cancel(struct logthread_read *r); /* before its callback only */

struct logthread_scrub {
	leash_seq next;              /* the record to be looked at; 0: between two passes */
	uint64_t records, bytes;     /* verified in this pass */
	uint64_t damaged_now;        /* stretches of damage met in this pass */
	uint64_t passes;             /* completed; of the last one: */
	uint64_t last_damaged, last_records, last_bytes, last_real_ns;
};

struct logthread_stats {
	uint64_t groups, group_records, bytes, segments; /* bytes, segments: of the log */
	bool full;
	struct logthread_scrub scrub;
};
void logthread_stats(struct logthread *lt, struct logthread_stats *ret_stats);

#endif

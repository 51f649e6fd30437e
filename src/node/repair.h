/*
 * Repair of a damaged log from other nodes (R11): what is asked of whom, and when it is given up. The log does the mending
 * (log/rlog_rebuild.h); this asks other nodes for the records that it lacks, one node after the other. No I/O, no clock.
 *
 * One segment at a time. What was found meanwhile waits; what does not fit there is found again by the scrub.
 *
 * Any node can give what is missing: the chain proves it, whoever sent it. So two damaged nodes mend each other without a
 * primary, as long as between them they have everything (the union of the logs is whole).
 */
#ifndef LEASH_NODE_REPAIR_H
#define LEASH_NODE_REPAIR_H

#include "base/repmsg.h"
#include "log/rlog_rebuild.h"

struct drv_rec;
struct repair;

#define REPAIR_PENDING_MAX 16

struct repair_io {
	void *ctx;
	void (*rebuild)(void *ctx, leash_seq seq);                      /* -> repair_rebuilt() */
	void (*put)(void *ctx, struct drv_rec *const *recs, size_t n);  /* -> repair_rebuilt() */
	void (*ask)(void *ctx, const char *node, leash_seq first);      /* -> repair_fetched(), or not */

	/* The segment with record @seq is whole again. @from: who gave the last record; "": nobody had to. */
	void (*repaired)(void *ctx, leash_seq seq, const struct rlog_rebuilt *taken, const char *from);
	/* It is not, and asking again was no use (or it can never be proven: @final). Nothing was changed. @last: what nobody
	 * could give; UINT64_MAX: it may be anything from @seq on. */
	void (*failed)(void *ctx, leash_seq seq, leash_seq last, bool final, const char *why);
};

struct repair_conf {
	uint64_t answer_ns;   /* a node that has not answered by then is passed over */
	uint64_t again_ns;    /* pause before all are asked again */
	uint64_t patience_ns; /* without a record gained, until failed() */
};

/* -ENOMEM. */
int repair_new(const struct repair_conf *conf, const struct repair_io *io, struct repair **ret_repair) _must_check_;
void repair_free(struct repair *p); /* NULL is fine */

/* Record @seq of the own log is damaged. */
void repair_begin(struct repair *p, leash_seq seq, uint64_t now_ns);

/* Is a repair under way or waiting? */
bool repair_busy(const struct repair *p);

/* The connection to @node came up or broke. */
void repair_link(struct repair *p, const char *node, bool up, uint64_t now_ns);

/* What the log thread said (logthread.h, rebuild). */
void repair_rebuilt(struct repair *p, int outcome, leash_seq need, const struct rlog_rebuilt *taken, uint64_t now_ns);

/* @node answered: records from @first on, or none. */
void repair_fetched(struct repair *p, const char *node, leash_seq first, struct drv_rec *const *recs, size_t n,
	uint64_t now_ns);

void repair_tick(struct repair *p, uint64_t now_ns);
uint64_t repair_wakeup_ns(const struct repair *p); /* UINT64_MAX: never */

#endif

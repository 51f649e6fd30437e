/*
 * The driver: what turns the actions of the state machine (src/replica) into log, network and etcd calls, and what
 * comes back into events. It owns the state machine, a cache of the newest records, the streams to followers and the
 * clients that wait for a commit. It does no I/O itself: all of it goes through struct drv_io, so that the same code
 * runs in the daemon and in the simulator. One thread; nothing blocks.
 *
 * A message's way through a primary: drv_submit() verifies the body, asks the state machine for a verdict, seals the
 * header (chain), puts the record into the cache and into the next batch for the log; drv_flush() at the end of the
 * loop's turn hands the batch to io->append and pumps the streams: followers get it while the own write is under way
 * (star). drv_durable() and the followers' ACKs move the commit index; io->answer tells the clients.
 */
#ifndef LEASH_NODE_DRIVER_H
#define LEASH_NODE_DRIVER_H

#include "base/cluster.h"
#include "replica/rep.h"
#include "wire/record.h"

/*
 * A record in memory, shared by cache, log thread, streams and readers. Immutable after it is made. Records lie side by
 * side in slabs, which have the count of references for all records in them: a run of records is one operation on it.
 */
struct drv_slab;

struct drv_rec {
	struct drv_slab *slab;
	uint32_t body_bytes;
	struct rec_header h;
	struct rec_ident ident;
	uint8_t bytes[];    /* REC_HEADER_BYTES of header, then the body */
};

/* Where one thread makes its records. What it made outlives it. */
struct drv_arena {
	struct drv_slab *slab;
};

#define DRV_ARENA_NULL { 0 }

void drv_arena_deinit(struct drv_arena *a);

/* Without a content yet, but for body_bytes: the caller fills in h, ident and bytes. NULL: no memory. */
struct drv_rec *drv_rec_alloc(struct drv_arena *a, size_t body_bytes) _must_check_;
/* By itself. NULL: no memory. */
struct drv_rec *drv_rec_new(const struct rec_header *h, const struct rec_ident *ident, struct bytes body) _must_check_;

/* References: any thread. The log thread drops its own itself. */
struct drv_rec *drv_rec_ref(struct drv_rec *rec);
void drv_rec_unref(struct drv_rec *rec); /* NULL is fine */
void drv_recs_ref(struct drv_rec *const *recs, size_t n);
void drv_recs_unref(struct drv_rec *const *recs, size_t n);
void drv_slab_unref(struct drv_slab *s, uint32_t n); /* @n records' references at once; 0 is fine */

enum drv_answer_kind {
	DRV_ANS_OK,          /* committed at .seq */
	DRV_ANS_KNOWN,       /* a retry: committed at .seq before */
	DRV_ANS_CONFLICT,    /* same id with another payload, committed at .seq */
	DRV_ANS_NOT_PRIMARY, /* nothing happened here; .epoch is the newest known */
	DRV_ANS_HOLD,        /* nothing happened: hand-over under way, or bounds reached; feed it again after io->room */
	DRV_ANS_UNKNOWN_SESSION,
	DRV_ANS_SESSION_ORDER, /* .seq: the counter expected */
	DRV_ANS_OLD,
	DRV_ANS_DEDUP_FULL,
	DRV_ANS_DISK_FULL,   /* nothing happened */
	DRV_ANS_TOO_BIG,
	DRV_ANS_INVALID,     /* the body does not decode */
	DRV_ANS_LOST,        /* appended here, but this node is no longer primary: outcome unknown here, ask the new one */
};

/* Who waits for the answer to an append, in the caller's words. Comes back with it. */
struct drv_waiter {
	void *owner;      /* not NULL */
	uint64_t token;
	uint32_t bytes, kind;
};

struct drv_answer {
	enum drv_answer_kind kind;
	leash_seq seq;
	leash_epoch epoch;
};

/* What the surroundings do for the driver. Calls return at once; what takes time comes back as a drv_...() call, later
 * or from inside the io call: in that case it is queued until the state machine's step is through. */
struct drv_io {
	void *ctx;

	uint64_t (*real_ns)(void *ctx); /* CLOCK_REALTIME, for record headers: information only */

	/* --- log; done in the order asked for */
	void (*append)(void *ctx, struct drv_rec *const *recs, size_t n); /* takes references of its own -> drv_durable */
	void (*truncate)(void *ctx, leash_seq seq);                       /* -> drv_cut_done */
	void (*reset)(void *ctx, leash_seq start, struct leash_chain base); /* -> drv_cut_done */
	void (*meta)(void *ctx, uint64_t ticket, const struct rep_meta *meta); /* -> drv_meta_done */
	void (*set_aside)(void *ctx);                                     /* damage -> drv_incarnation */
	void (*mark)(void *ctx, leash_seq seq);                           /* lazily; no answer */
	/* Retention may remove what lies before @keep_from, by its own policy -> drv_trimmed when something went. */
	void (*retain)(void *ctx, leash_seq keep_from);
	/* Records that are not in the cache any more, for a stream -> drv_fetched. One request per node at a time. */
	void (*fetch)(void *ctx, const char *node, leash_seq first, leash_seq last, size_t bytes_max);

	/* --- network */
	void (*send)(void *ctx, const char *node, enum rep_link link, const struct rep_msg *m); /* drops it when down */
	/* Sends records with @head (n_recs is set, recs is not). False: nothing was sent, the connection's output is full
	 * (drv_writable() when it has drained) or down. */
	bool (*send_records)(void *ctx, const char *node, const struct rep_msg *head, struct drv_rec *const *recs,
		size_t n);

	/* --- etcd */
	void (*txn)(void *ctx, const struct rep_txn *txn);
	void (*read)(void *ctx);
	void (*probe)(void *ctx);
	void (*announce)(void *ctx);

	/* --- clients and operators */
	void (*answer)(void *ctx, const struct drv_waiter *w, const struct drv_answer *a);
	void (*room)(void *ctx);      /* what was answered DRV_ANS_HOLD may be fed again */
	void (*committed)(void *ctx, leash_seq seq); /* readers may see up to here */
	void (*changed)(void *ctx);   /* role, epoch, in-sync set or serving changed: status, gateways, hooks */
	void (*note)(void *ctx, const struct rep_note *note);
};

struct drv_conf {
	uint64_t cache_bytes;        /* newest records kept in memory; what is not durable yet is kept in any case */
	uint64_t uncommitted_bytes;  /* primary: appended and not committed; follower: accepted and not durable: bound */
	uint32_t uncommitted_max;    /* likewise, records; of the state machine's configuration */
	uint32_t record_bytes_max;   /* header and body */
	uint64_t batch_bytes;        /* of one RECORDS message */
};

/* Bytes a record takes in the log beside header and body, at most: for the account that drv_room() opens. */
#define DRV_RECORD_OVERHEAD 64

struct drv;

/* @chain: at @log->end. 0; -ENOMEM; -EINVAL: the configuration makes no sense. */
int drv_new(const struct drv_conf *conf, const struct rep_conf *rconf, const struct rep_meta *meta,
	const struct rep_log *log, struct leash_chain chain, const struct drv_io *io, uint64_t now_ns,
	struct drv **ret_drv) _must_check_;
void drv_free(struct drv *d); /* waiters are not answered */

/* The state machine, for rep_replay() before the first event and for rep_status(). */
struct rep *drv_rep(struct drv *d);

/* Feeds an event (all kinds but REP_EV_DURABLE, _CUT, _META, _FULL, _TRIMMED, _INCARNATION and REP_EV_MSG with
 * records, which have calls of their own) and does what the state machine asks for. */
void drv_event(struct drv *d, const struct rep_event *ev);

/*
 * A RECORDS message: m->recs and the records themselves, one drv_rec each (references stay the caller's). Among them the
 * chain closes, as peer_replica_decode() has seen; where they meet this log's end it must close, too: a chain that does not
 * although epoch and position fit means damage, here or there. Such records are not taken, and a note (REP_NOTE_VIOLATION)
 * says so.
 */
void drv_records(struct drv *d, const char *from, enum rep_link link, const struct rep_msg *m,
	struct drv_rec *const *recs, uint64_t now_ns);

/*
 * False: what was accepted and is not durable yet has reached its bound. Read no more RECORDS from peers until io->room;
 * messages that come all the same are dropped at twice the bound (the primary sends again).
 */
bool drv_wants_records(const struct drv *d);

/* The cluster id, as far as known: the seed of rec_identify(). 0: none. */
leash_id drv_cluster(const struct drv *d);

/*
 * A client's append. @body is copied, and so is @w. The answer comes through io->answer: from inside this call, then it
 * returns 0; or when the position that it returns is committed.
 */
leash_seq drv_submit(struct drv *d, struct bytes body, const struct drv_waiter *w, uint64_t now_ns);

/* @owner goes away: what it waits for at @seq, or everywhere (0), is not answered. Everywhere: looks at all that wait. */
void drv_forget(struct drv *d, void *owner, leash_seq seq);

/* End of the loop's turn: one batch to the log, streams pumped. */
void drv_flush(struct drv *d, uint64_t now_ns);

/* What io calls bring back. */
void drv_durable(struct drv *d, leash_seq seq, uint64_t now_ns);
void drv_cut_done(struct drv *d, leash_seq seq, struct leash_chain chain, uint64_t now_ns);
void drv_meta_done(struct drv *d, uint64_t ticket, uint64_t now_ns);
void drv_disk_full(struct drv *d, leash_seq end, struct leash_chain chain, uint64_t now_ns); /* the log ends at @end */
void drv_trimmed(struct drv *d, leash_seq start, struct leash_chain base, uint64_t now_ns); /* @base: before @start */
void drv_incarnation(struct drv *d, leash_id incarnation, leash_seq end, struct leash_chain chain, uint64_t now_ns);
void drv_fetched(struct drv *d, const char *node, struct drv_rec *const *recs, size_t n, uint64_t now_ns); /* 0: failed */
void drv_writable(struct drv *d, const char *node, uint64_t now_ns);

/* How much room the log has for appends behind what is durable (drv_durable() comes first), bytes; UINT64_MAX: enough.
 * A primary refuses appends beyond it (DRV_ANS_DISK_FULL) early: a record that has a number must find room. */
void drv_room(struct drv *d, uint64_t bytes);

/* CLOCK_BOOTTIME ns at which drv_event(REP_EV_TICK) is due at the latest. */
uint64_t drv_wakeup_ns(const struct drv *d);

/* A record from the cache; NULL: older (read the log) or not there. The caller gets a reference. */
struct drv_rec *drv_cached(struct drv *d, leash_seq seq) _must_check_;

/* The first record in the cache, or the one behind the log's end. All before it is durable; what is in the cache may be
 * on its way to the disk yet, even when it is committed. */
leash_seq drv_cached_from(const struct drv *d);

#endif

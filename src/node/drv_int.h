/*
 * Inside of the driver.
 *
 *     driver.c       creation, what comes in, submission, flush
 *     drv_step.c     one step: an event in, actions out
 *     drv_defer.c    what came in during a step
 *     drv_log.c      the driver's account of the log
 *     drv_records.c  records from a primary
 *     drv_stream.c   records to followers
 *     drv_wait.c     clients that wait for a commit
 *     drv_cache.c    newest records, by sequence number
 *     drv_rec.c      one record
 */
#ifndef LEASH_NODE_DRV_INT_H
#define LEASH_NODE_DRV_INT_H

#include "node/driver.h"

#define DRV_APPEND_MAX        1024         /* records of one io->append() */
#define DRV_DEFERRED_MSGS_MAX 256          /* messages that came from inside an io call; more are dropped, as a net does */
#define DRV_RETAIN_NS         (5 * UINT64_C(1000000000)) /* between calls of io->retain() */

/* ---- newest records: first..end without a gap, in a ring that grows by doubling */
struct drv_cached {
	struct drv_rec *rec;
	struct drv_slab *slab; /* of .rec */
	uint64_t upto;         /* bytes of all records up to this one, counted from some beginning */
};

struct drv_cache {
	struct drv_cached *ring; /* [seq & (cap - 1)] */
	uint64_t cap;            /* 0 or a power of two */
	leash_seq first, end;    /* end = first - 1: empty */
	uint64_t before, upto;   /* .upto of record first - 1; of record end */
};

void cache_deinit(struct drv_cache *c);
void cache_reset(struct drv_cache *c, leash_seq end);           /* empty; the next one is end + 1 */
void cache_push(struct drv_cache *c, struct drv_rec *rec);      /* takes the reference */
void cache_cut(struct drv_cache *c, leash_seq seq);             /* drops what is behind @seq */
void cache_evict(struct drv_cache *c, uint64_t bytes_max, leash_seq floor); /* oldest first, only up to @floor */
struct drv_rec *cache_get(const struct drv_cache *c, leash_seq seq); /* borrowed; NULL: not there */
uint64_t cache_upto(const struct drv_cache *c, leash_seq seq);       /* of first - 1 .. end: differences are bytes in between */

static inline uint64_t drv_rec_size(const struct drv_rec *rec)
{
	return REC_HEADER_BYTES + (uint64_t)rec->body_bytes;
}

/* ---- waiters: each of the records appended here has a place for one; retries of those stand in a list */
struct drv_retry {
	struct drv_waiter w;
	struct drv_retry *prev, *next;
	leash_seq seq;
	enum drv_answer_kind kind; /* the answer when .seq commits */
};

struct drv_wait {
	struct drv_waiter *ring;        /* [seq & (cap - 1)]; no owner: whoever waited is gone */
	uint64_t cap;                   /* 0 or a power of two; grows to what may be uncommitted */
	leash_seq first, next;          /* records first .. next - 1 */
	struct drv_retry *head, *tail;  /* rising .seq */
	uint64_t n;                     /* in the list */
};

void wait_deinit(struct drv_wait *w);
/* For record @seq, which is the next one. */
int wait_append(struct drv_wait *w, const struct drv_waiter *who, leash_seq seq) _must_check_;
int wait_retry(struct drv_wait *w, const struct drv_waiter *who, leash_seq seq, enum drv_answer_kind kind) _must_check_;
void wait_forget(struct drv_wait *w, const void *owner, leash_seq seq);
/* The lowest, taken out, when it is at or below @seq. False: none. */
bool wait_take(struct drv_wait *w, leash_seq seq, struct drv_waiter *ret_who, struct drv_answer *ret_answer);

/* ---- streams */
struct drv_stream {
	char node[LEASH_NAME_MAX + 1]; /* "": free */
	bool active;
	bool blocked;  /* send_records() said no: drv_writable() or a new start comes */
	bool fetching; /* io->fetch is under way */
	bool stale;    /* what is being fetched was cut meanwhile */
	leash_seq next;
};

/* ---- what comes in: an event and what goes with it */
struct drv_input {
	struct rep_event ev;
	struct leash_chain chain;      /* CUT, FULL, INCARNATION: at the log's end */
	struct drv_rec *const *recs;   /* MSG: of ev.msg.msg->recs */
};

/* One that came from inside an io call, with owned copies of what it points to. */
struct drv_deferred {
	struct drv_deferred *next;
	struct drv_input in;
	struct rep_view *view;
	struct rep_msg *msg;
	struct rep_stretch *history;
	struct rep_rec *recs;
	struct drv_rec **drv_recs;
	uint32_t n_drv_recs;
	char node[LEASH_NAME_MAX + 1];
};

struct drv {
	struct drv_conf conf;
	struct drv_io io;
	struct rep *rep;
	leash_id cluster;
	uint64_t now_ns;

	/* the log: end of what the state machine accepted; the part behind `handed` is not with io->append yet */
	leash_seq end, handed, durable, marked;
	struct leash_chain chain;      /* at `end` */
	bool cutting;                  /* io->truncate, reset or set_aside is under way: `chain` is not known */
	bool resetting;
	uint64_t room_bytes;
	uint64_t backlog_bytes;        /* in the log's account: accepted and not durable */
	leash_seq own_from;            /* primary: first own record behind the commit index; 0 = no primary */
	uint64_t uncommitted_bytes;    /* own records behind the commit index */
	uint64_t retain_ns;
	struct { uint64_t ns, at_ns; } real; /* CLOCK_REALTIME as it was at now_ns */

	struct drv_arena arena;        /* of the records appended here */
	struct drv_cache cache;
	struct drv_wait wait;
	struct drv_stream streams[REP_NODES_MAX];

	bool stepping, flushing;
	bool room_wanted;              /* somebody was told to come again */
	bool peers_wait;               /* drv_wants_records() was false */
	bool changed;
	struct { enum rep_role role; leash_epoch epoch; uint32_t flags; } told; /* by io->changed() */
	struct drv_deferred *deferred, **deferred_tail;
	uint32_t n_deferred_msgs;

	struct drv_rec *const *recs;   /* of the message being fed */
	uint32_t n_recs;
};

/* drv_step.c */
void drv_feed(struct drv *d, const struct drv_input *in);

/* drv_defer.c */
void drv_defer(struct drv *d, const struct drv_input *in);
struct drv_deferred *drv_deferred_take(struct drv *d); /* NULL: none */
void drv_deferred_free(struct drv_deferred *f);

/* drv_log.c: the driver's own account of the log */
void drv_append(struct drv *d, struct drv_rec *rec); /* takes the reference */
void drv_hand_over(struct drv *d);
void drv_trim_cache(struct drv *d);
void drv_commit(struct drv *d, leash_seq seq);
void drv_mark(struct drv *d, leash_seq seq);
void drv_truncate(struct drv *d, leash_seq seq);
void drv_reset(struct drv *d, leash_seq start, struct leash_chain base);
void drv_set_aside(struct drv *d);
bool drv_log_input(struct drv *d, const struct drv_input *in); /* false: of before a cut, not to be fed */

/* drv_records.c */
void drv_accept(struct drv *d, uint32_t first, uint32_t count);
uint32_t drv_records_fit(struct drv *d, const struct rep_msg *m, struct drv_rec *const *recs);

/* drv_stream.c */
void stream_start(struct drv *d, const char *node, leash_seq seq);
void stream_stop(struct drv *d, const char *node);
void stream_cut(struct drv *d);
void stream_pump_all(struct drv *d);
leash_seq stream_lowest(const struct drv *d); /* lowest record some active stream still needs; UINT64_MAX: none */

#endif

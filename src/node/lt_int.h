/*
 * Inside of the log thread: logthread.c has the calls and the queue back to the loop, lt_write.c the writing thread,
 * lt_idle.c what it does between groups, lt_rebuild.c its repairs, lt_read.c the reading thread, lt_scrub.c the one that
 * verifies, lt_threads.c their life and how they are woken. The simulator has a lt_threads.c of its own, which steps all
 * of it in one thread.
 */
#ifndef LEASH_NODE_LT_INT_H
#define LEASH_NODE_LT_INT_H

#include <pthread.h>

#include "log/rlog_rebuild.h"
#include "log/rlog_scrub.h"
#include "node/logthread.h"

#define LT_GROUP_MAX     8192                  /* records of one rlog_append() */
#define LT_MARK_NS       (100 * UINT64_C(1000000))
#define LT_AGAIN_NS      (500 * UINT64_C(1000000)) /* what found no room is tried again */
#define LT_RESERVE_NS    (10 * UINT64_C(1000000000))
#define LT_SCRUB_STEP_BYTES (256 * 1024)
#define LT_SCRUB_REST_BYTES (UINT64_C(4) << 30) /* between two passes: as long as reading so much takes */
#define LT_DAMAGE_MAX    64                     /* stretches; of more the lowest are remembered */
#define LT_RETAIN_SEGMENTS 16                  /* removed at once: that must be over long before the disk seems to hang */
#define LT_PREPARE_BYTES (1u << 18)            /* of the next segment, when nothing waits: what comes meanwhile waits for it */

enum lt_cmd_kind { LT_APPEND, LT_TRUNCATE, LT_RESET, LT_META, LT_SET_ASIDE, LT_RETAIN, LT_REBUILD, LT_REFRESH };

struct lt_cmd {
	struct lt_cmd *next;
	enum lt_cmd_kind kind;
	leash_seq seq;
	struct leash_chain chain;
	uint64_t ticket;
	leash_id incarnation;
	struct rlog_meta meta; /* names and incarnation are not set */
	uint64_t retention_bytes, retention_time_ns;
	size_t n;
	struct drv_rec *recs[];
};

struct lt_queue {
	struct lt_cmd *head, **tail;
};

enum lt_done_kind { LT_D_DURABLE, LT_D_CUT, LT_D_META, LT_D_FULL, LT_D_TRIMMED, LT_D_INCARNATION, LT_D_PROBLEM,
	LT_D_SPACE, LT_D_FAILED, LT_D_READ, LT_D_DAMAGE, LT_D_REBUILD };

struct lt_done {
	struct lt_done *next;
	enum lt_done_kind kind;
	leash_seq seq;
	struct leash_chain chain;
	bool full; /* LT_D_SPACE */
	uint64_t ticket, room_bytes;
	leash_id incarnation;
	struct logthread_read *read;
	struct rlog_damage damage;
	int outcome;
	struct rlog_rebuilt taken;
	char text[200];
};

struct logthread_read {
	struct logthread_read *next;
	struct logthread *lt;
	leash_seq from, to;
	bool reverse;
	uint32_t count_max;
	size_t bytes_max;
	logthread_read_fn fn; /* NULL: cancelled. The loop's thread only */
	void *ctx;
	int error;
	size_t n;
	struct drv_rec **recs;
};

/* The writing thread's own. */
struct lt_writer {
	struct rlog *log;
	struct rlog_meta meta;
	bool failed, full;
	bool spare_full;
	leash_seq marked;
	uint64_t marked_ns, again_ns, reserve_ns;
	uint64_t last_append_ns;      /* boottime at which the newest record was appended, or the log opened */
	uint64_t room_told; /* what the loop was last told of lt_room(), bytes */
	struct lt_cmd *stuck_meta, *stuck_cut; /* found no room */
	struct rlog_rebuild *rebuild; /* a repair; NULL: none */
	bool rebuilding;              /* it can go on; else it waits for a record of another node */
	struct rlog_rec recs[LT_GROUP_MAX];
};

struct logthread {
	struct logthread_conf conf;
	struct logthread_ops ops;
	struct event *wake;           /* of the loop */
	int wake_fd;
	pthread_t write_thread, read_thread, scrub_thread;

	pthread_mutex_t lock;         /* guards the queues, mark, damage, scrub_rate, stats, stop */
	pthread_cond_t cond, read_cond, scrub_cond;
	struct lt_queue cmds;
	struct lt_done *done, **done_tail;
	struct logthread_read *reads, **reads_tail;
	leash_seq mark;
	struct rlog_damage damage[LT_DAMAGE_MAX]; /* found, neither repaired nor set aside */
	size_t n_damage;
	uint64_t scrub_rate;          /* bytes per second; 0 = off */
	bool stop;
	struct logthread_stats stats;

	uint64_t op_began_ns;         /* atomic; 0: no operation in progress */
	uint64_t moves;               /* atomic: operations and rounds of the writing thread */
	uint64_t cuts;                /* atomic: rises before and after each cut, reset, setting aside: odd = under way */
	leash_seq durable;            /* atomic: of the log, for the scrub */
	leash_seq start;              /* atomic: of the log, for the scrub; 0: retention is removing segments */
	struct lt_writer w;
};

/* Between a pair of these the writing thread is in one operation (R11a). */
void lt_op_begin(struct logthread *lt);
void lt_op_end(struct logthread *lt);
void lt_moved(struct logthread *lt); /* for the watchdog */

/* What readers and the scrub see between a pair of these means nothing. */
void lt_cut_begin(struct logthread *lt);
void lt_cut_end(struct logthread *lt);
/* Segments are removed only in between: what is missing otherwise is damage. */
void lt_retain_begin(struct logthread *lt);
void lt_retain_end(struct logthread *lt);
leash_seq lt_start(const struct logthread *lt); /* 0: in between */
uint64_t lt_cuts(const struct logthread *lt);

void lt_damaged(struct logthread *lt, const struct rlog_damage *d); /* found by a reading thread */
leash_seq lt_damage_first(const struct logthread *lt, size_t *ret_i); /* the lowest; 0: none. Under the lock */
void lt_damage_forget(struct logthread *lt, leash_seq first, leash_seq last); /* what begins there is mended or gone */

void lt_post(struct logthread *lt, struct lt_done *d); /* takes over @d */
void lt_post_seq(struct logthread *lt, enum lt_done_kind kind, leash_seq seq); /* with the log's chain and room */
void lt_problem(struct logthread *lt, const char *fmt, ...) _printf_(2, 3);
void lt_fail(struct logthread *lt, const char *what, int r);
void lt_cmd_free(struct lt_cmd *c);

/* lt_threads.c */
int lt_threads_start(struct logthread *lt, struct event_base *base) _must_check_; /* on an error nothing runs */
void lt_threads_stop(struct logthread *lt);      /* what is queued is carried out first */
void lt_wake_loop(struct logthread *lt);         /* -> lt_tell_loop() from the loop */
void lt_wake_writer(struct logthread *lt);
void lt_wake_reader(struct logthread *lt);
void lt_wake_scrub(struct logthread *lt);

void lt_tell_loop(struct logthread *lt);         /* all completions */
struct lt_cmd *lt_take_cmds(struct logthread *lt); /* all; under the lock */
void lt_carry_out(struct logthread *lt, struct lt_cmd *q); /* and what found no room before; takes over @q */
struct logthread_read *lt_take_read(struct logthread *lt); /* under the lock; NULL: none */
/* Reads and posts. *@reader: NULL at first, the caller closes it in the end. */
void lt_serve_read(struct logthread *lt, struct rlog_reader **reader, uint64_t *cuts, struct logthread_read *r);
/* One step, thrown away when the log was cut meanwhile. How long to rest then, ns; UINT64_MAX: until the rate changes. */
uint64_t lt_scrub_step(struct logthread *lt, struct rlog_scrub *s, uint64_t *cuts);

void *lt_write_main(void *arg);
void lt_do_cut(struct logthread *lt, struct lt_cmd *c);  /* takes over @c; likewise: */
void lt_do_meta(struct logthread *lt, struct lt_cmd *c);

/* lt_idle.c: one piece of what is to be done while nothing waits. Returns ns until there may be more; 0: at once. */
uint64_t lt_idle(struct logthread *lt);
void lt_maybe_mark(struct logthread *lt, bool idle);
void lt_do_retain(struct logthread *lt, const struct lt_cmd *c);
void lt_do_refresh(struct logthread *lt); /* the small files, at the end of a pass of the scrub */
void lt_refresh(struct logthread *lt);    /* asks for it; any thread */
uint64_t lt_room(struct logthread *lt);

/* lt_rebuild.c */
void lt_do_rebuild(struct logthread *lt, const struct lt_cmd *c);
bool lt_rebuild_step(struct logthread *lt); /* true: there is more to do at once */
void lt_rebuild_drop(struct logthread *lt); /* before the log is cut */
struct rlog_rec lt_rec_of(const struct drv_rec *rec);

void *lt_read_main(void *arg);
void *lt_scrub_main(void *arg);
void lt_read_free(struct logthread_read *r);

#endif

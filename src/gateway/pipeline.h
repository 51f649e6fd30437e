/*
 * The pipeline: messages of one worker for one engine, from the client's XADD to its one answer, whatever
 * primaries come and go meanwhile. Pure: no socket, no clock, no event. One thread. From inside a callback nothing
 * here may be called but pipe_conn().
 *
 * A message gets its bytes once. One without an id of its own becomes a message of the pipeline's *session*: a
 * random id and consecutive counters from 1; counters are given out in the order of the queue, so that they have no
 * gaps: with the message, when all before it have theirs and sending goes on; else when it is first sent. The first message
 * opens the session and bears a commit index that was seen (R14).
 *
 * The life of a message, when all goes well:
 *  1. pipe_append(): it stands at the end of the queue.
 *  2. It is sent on the connection to the primary (ops->submit), in the order of the queue.
 *  3. RESULT ok or known -> ops->answer. It leaves the queue when everything before it has.
 *
 * What else may happen:
 *  - The connection ends, or another node leads: everything unanswered is sent again there, in order, the same
 *    bytes. The node removes doubles.
 *  - A refusal that is certain (NOT_PRIMARY, HOLD, SESSION_ORDER ...): sending stops; when all that was sent
 *    behind it has been answered, sending goes on from it, as soon as the primary takes messages again.
 *  - SESSION_UNKNOWN, or SESSION_ORDER that expects what is here no more: the session ends. A message that can
 *    be in no log gets a counter of a new session; one that may be in some log is answered INDOUBT.
 *  - A refusal for good (TOO_BIG, INVALID; OOM, DEDUP_FULL, NO_REPLICAS) of a message that can be in no log:
 *    its answer, and the session ends. When it may be in a log: INDOUBT for the first two; the others are
 *    passing, it is sent again until its time is over.
 *  - hold_timeout is over: INDOUBT when it may be in a log, else HOLD (TRYAGAIN), or NO_REPLICAS when that is
 *    what is missing. It is never sent again. If it had a counter, the session ends: later messages get a new
 *    one.
 *
 *  - The engine was founded anew (pipe_forsake()): a message that may be in the former cluster's log is answered
 *    INDOUBT; the others go to the new one, in a new session.
 *
 * `doubt` of a message is how many times it was sent without an answer that says what became of it there. 0: it
 * is certainly in no log. A late answer of an earlier connection counts: that it is committed is true whoever
 * says so; a refusal only if the message was not sent anywhere else since.
 */
#ifndef LEASH_GATEWAY_PIPELINE_H
#define LEASH_GATEWAY_PIPELINE_H

#include "wire/peer_data.h"

#define PIPE_RETRY_NS     UINT64_C(20000000)  /* after a refusal that says "later" without telling when */
#define PIPE_RETRY_OOM_NS UINT64_C(200000000) /* likewise, for want of room */

struct pipe;

struct pipe_ops {
	/* Send it on the connection that pipe_attach() named. @token is unique in the pipeline's life. */
	void (*submit)(void *ctx, uint64_t token, struct bytes body);
	/* Once for each message, unless pipe_forget(). */
	void (*answer)(void *ctx, void *waiter, enum peer_status_code status, leash_seq seq);
	leash_id (*random_id)(void *ctx); /* never 0 */
};

struct pipe_conf {
	uint32_t messages_max; /* unanswered ones in the queue */
	size_t bytes_max;      /* their bodies; one more may pass it */
	uint64_t hold_timeout_ns;
};

struct pipe_stats {
	uint64_t replays, dedup_hits, sessions, in_doubt, refused_holding;
	uint32_t queued; /* in the queue: unanswered, and answered ones behind them */
	uint32_t out;    /* with the node now */
};

/* -EINVAL: a bound is 0; -ENOMEM. */
int pipe_new(const struct pipe_conf *conf, const struct pipe_ops *ops, void *ctx,
	struct pipe **ret_pipe) _must_check_;
void pipe_free(struct pipe *p); /* nobody is answered; NULL is fine */
void pipe_set_hold_timeout(struct pipe *p, uint64_t hold_timeout_ns);

/* True: another message may be appended. */
bool pipe_has_room(const struct pipe *p);

/*
 * A client's message; @b and @pairs as for rec_body_encode() (REC_ID_NONE becomes a message of the session).
 * @waiter may not be NULL. Nothing is sent before pipe_pump(). 0 and its token; -ENOBUFS: no room; -EINVAL,
 * -EMSGSIZE, -ENOMEM: nothing was queued.
 */
int pipe_append(struct pipe *p, const struct rec_body *b, const struct bytes *pairs, uint32_t n_pairs,
	void *waiter, uint64_t now_ns, uint64_t *ret_token) _must_check_;

/* Its client is gone: no answer, the message goes its way. */
void pipe_forget(struct pipe *p, uint64_t token);

/* What a connection allows (WELCOME); 0 = no bound. */
struct pipe_limits {
	uint32_t messages_max;
	uint64_t bytes_max;
};

/*
 * Connection @conn (never 0, never used again for another) leads to a node that says it is the primary. Also
 * for the same connection again, after it had refused (pipe_blocked()).
 */
void pipe_attach(struct pipe *p, uint64_t conn, const struct pipe_limits *limits);
/* There is no primary at present; or the connection is gone. */
void pipe_detach(struct pipe *p);
/*
 * What is sent from now on goes to another cluster, with a log of its own; no connection. The new log knows no ids
 * of the former one (R14): to send a message there that may be in the former would be to execute it twice, and
 * nobody would notice. So its client is told INDOUBT, as whenever it is not known and no more can be found out.
 */
void pipe_forsake(struct pipe *p);
uint64_t pipe_conn(const struct pipe *p); /* 0: none */
bool pipe_blocked(const struct pipe *p);  /* the connection's node said that it is not primary */

/* What the primary on @conn says of itself. */
void pipe_status(struct pipe *p, uint64_t conn, bool holding, leash_seq commit, uint32_t n_insync,
	uint32_t min_insync, uint64_t now_ns);

/* A RESULT from connection @conn, which may be an earlier one. */
void pipe_result(struct pipe *p, uint64_t conn, const struct peer_result *result, uint64_t now_ns);

/* Sends what may be sent, gives up what has waited too long. Call it after any of the above, and when it is time. */
void pipe_pump(struct pipe *p, uint64_t now_ns);
uint64_t pipe_wakeup_ns(const struct pipe *p); /* when pipe_pump() is due at the latest; UINT64_MAX: never */

/* Gives up everything now, as if its time were over: the engine is taken away, or the gateway ends. */
void pipe_give_up(struct pipe *p);

/* The node owes the RESULT of a message that was given up long ago: a new connection frees its place. */
bool pipe_stuck(const struct pipe *p, uint64_t now_ns);

void pipe_get_stats(const struct pipe *p, struct pipe_stats *ret_stats);

#endif

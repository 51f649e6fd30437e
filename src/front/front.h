/*
 * The RESP front end of leash-noded and leash-gatewayd: what a Redis client meets. A state machine per connection, without
 * events, sockets and clocks: bytes come in, bytes go out, and what is to be done is asked of a backend through a table
 * of functions. One front per event loop; all of it belongs to that thread.
 *
 * Rules that always hold, for one client:
 *  - Replies come in the order of the commands, in whatever order the backend completes.
 *  - Commands run in order. Appends are pipelined: many are with the backend at a time, handed over in order. Reads may
 *    overlap too. But a read starts when all earlier appends are answered, an append when all earlier reads are.
 *  - After a blocking XREAD (or WAIT) that finds nothing, no command of that client starts until it ends: with data, at
 *    its timeout, or with the client. `$` is resolved once, when the XREAD starts. What is being read at the timeout may
 *    still come (FRONT_LOOK_NS).
 *  - Bounded: operations and bytes of appends in flight, bytes of output. At a bound no further command starts, and
 *    front_client_wants_input() turns false before the input grows beyond one command and one read.
 *  - A record over record_bytes_max is answered with an error and the connection lives; a protocol error closes it.
 *
 * How a connection is served:
 *  1. front_client_new(). The caller reads into front_client_in() while front_client_wants_input(), and then calls
 *     front_client_run(), which starts commands and puts replies into front_client_out().
 *  2. The caller writes and consumes front_client_out(), and calls front_client_run() again when some has gone and
 *     front_client_wants_drain().
 *  3. ops->wake tells of a client for which front_client_run() is due for other reasons (a completion, a timeout).
 *     Call it at the end of the loop's turn, never from inside wake.
 *  4. front_client_closing(): write what is left, then close. front_client_free() at any time.
 * Completions (front_append_done() ...) may come at any time, also from inside the call that asked.
 */
#ifndef LEASH_FRONT_FRONT_H
#define LEASH_FRONT_FRONT_H

#include "base/cluster.h"
#include "wire/peer_data.h"

struct front;
struct front_engine;
struct front_client;

#define FRONT_INPUT_BYTES    (64u * 1024)  /* input kept beyond a command that may not start yet */
#define FRONT_CHUNK_RECORDS  512u          /* of one call of ops->read */
#define FRONT_CHUNK_BYTES    (256u * 1024) /* likewise */
#define FRONT_XREAD_BYTES    (16u << 20)   /* of one stream in the answer to one XREAD; the rest comes with the next */
#define FRONT_NAME_MAX       63            /* bytes of a client's own name and library name */
#define FRONT_ENGINES_MAX    1024

/*
 * One operation that a client waits for. The backend gets it with a call, keeps it until it calls the matching
 * front_..._done() once, or until ops->cancel. What it points to is valid during the call only.
 */
struct front_op {
	struct front_engine *engine; /* NULL: admin */
	void *backend;               /* the backend's own, NULL at first */
};

struct front_read {
	leash_seq from, to;  /* both included, from <= to; `to` may lie behind the last committed record */
	uint32_t count_max;  /* at least 1 */
	uint32_t bytes_max;  /* stop behind this many; at least one record comes all the same */
	bool reverse;        /* beginning with the highest */
};

/* Numbers of one engine's log, as readers may see it: all that was acknowledged to anybody before the call is in. */
struct front_stream {
	leash_seq start;     /* first record kept; commit + 1 when there is none */
	leash_seq commit;    /* last one that readers may see */
	leash_epoch epoch;
	uint64_t segments;
	uint64_t dedup_window, dedup_time_s; /* XINFO: idmp-maxsize, idmp-duration */
	uint64_t producers, ids, ids_added, duplicates; /* XINFO: pids-tracked, iids-tracked, iids-added, iids-duplicates */
};

#define FRONT_REPLICAS_MAX REP_NODES_MAX

/* ROLE as Redis has it. */
struct front_role {
	bool master;
	leash_seq offset; /* commit index */
	struct front_replica {
		char address[LEASH_ADDR_MAX + 1]; /* host:port */
		leash_seq offset;
	} replicas[FRONT_REPLICAS_MAX]; /* master: in-sync secondaries. Else [0]: the primary; address "" when unknown */
	uint32_t n_replicas;
};

/*
 * The backend. Statuses are those of the peer protocol; what they become for a client:
 *   OK, KNOWN the entry's id (appends)     CONFLICT -IDMPCONFLICT       OLD     -IDMPOLD       NOT_PRIMARY -READONLY
 *   HOLD -TRYAGAIN (certainly not in the log)  INDOUBT, SESSION_UNKNOWN, SESSION_ORDER -INDOUBT   NO_REPLICAS -NOREPLICAS
 *   OOM, DEDUP_FULL -OOM                   TOO_BIG, INVALID, DAMAGED -ERR
 *   NOT_SERVING -TRYAGAIN (reads)          GONE: reads go on at the oldest record kept
 */
struct front_ops {
	/*
	 * Append a record -> front_append_done(). Calls come in each client's order. @b: kind (NONE, OPAQUE, AUTO, SEQ),
	 * producer, id, n. The backend encodes it with rec_body_encode(); of REC_ID_NONE a gateway makes a message of its
	 * session.
	 */
	void (*append)(void *ctx, struct front_op *op, const struct rec_body *b, const struct bytes *pairs,
		uint32_t n_pairs);
	/* False: no append to @e now; the client is not read further until front_engine_room(). NULL: always. */
	bool (*room)(void *ctx, struct front_engine *e);
	/* Committed records -> front_read_done(). Linearizable within one gateway process; what the node itself may
	 * show on a node. */
	void (*read)(void *ctx, struct front_op *op, const struct front_read *r);
	/* -> front_stream_done() */
	void (*stream)(void *ctx, struct front_op *op);
	/* LEASH <verb> ... on a control client -> front_admin_done(). NULL: there are none. */
	void (*admin)(void *ctx, struct front_op *op, const struct bytes *argv, uint32_t argc);
	/* The client is gone: forget @op, no completion. An append that is under way goes on. */
	void (*cancel)(void *ctx, struct front_op *op);
	/* Further sections of INFO, "# Title\r\nkey:value\r\n". @section: "" = all, else lower case. */
	void (*info)(void *ctx, const char *section, struct buf *out);
	void (*role)(void *ctx, struct front_role *ret_role);
	/* front_client_run() is due for the client with this @user pointer. Once until it is called. */
	void (*wake)(void *ctx, void *user);
};

struct front_conf {
	const char *program;           /* "leash-noded", for INFO and messages */
	uint32_t clients_max;          /* front_client_new() fails beyond */
	uint32_t in_flight_max;        /* unanswered commands of one client, at least 1 */
	size_t in_flight_bytes_max;    /* bodies of appends of one client; one more may pass it */
	size_t out_bytes_max;          /* output of one client; one reply or chunk may pass it */
	uint32_t record_bytes_max;     /* header and body of a record */
};

/* -EINVAL, -ENOMEM. @conf and @ops are copied, their strings are not. @now_ns: CLOCK_BOOTTIME, as everywhere here. */
int front_new(const struct front_conf *conf, const struct front_ops *ops, void *ctx, uint64_t now_ns,
	struct front **ret_front) _must_check_;
void front_free(struct front *f); /* frees its clients and engines too; NULL is fine */

/* For a reload: applies to commands that come later. */
void front_set_record_bytes_max(struct front *f, uint32_t record_bytes_max);

/* ------------------------------------------------------------------------------------------------------- engines */

/* -EEXIST, -ENOBUFS (FRONT_ENGINES_MAX), -EINVAL: no name, -ENOMEM. @backend: front_engine_backend(). */
int front_engine_add(struct front *f, const char *name, void *backend, struct front_engine **ret_engine) _must_check_;

/* Operations on it must have been completed before; those that only wait here end as if the engine were unknown. */
void front_engine_remove(struct front_engine *e);

const char *front_engine_name(const struct front_engine *e);
void *front_engine_backend(const struct front_engine *e);
struct front_engine *front_engine_find(struct front *f, struct bytes name); /* NULL: none */

/* Readers may see up to @commit (lower values than before are ignored): wakes blocked XREADs. Cheap when nobody waits. */
void front_engine_committed(struct front_engine *e, leash_seq commit);
/* Another log bears the engine's name: its commit index begins anew. Who waits for what comes next (XREAD's `$`) waits for
 * the first record; whoever named a position keeps it. */
void front_engine_anew(struct front_engine *e);
/* In-sync secondaries, for WAIT. */
void front_engine_replicas(struct front_engine *e, uint32_t n_replicas);
/* ops->room may be asked again. */
void front_engine_room(struct front_engine *e);

/* --------------------------------------------------------------------------------------------------- completions */

/* @seq: OK, KNOWN, CONFLICT: where the record is. */
void front_append_done(struct front_op *op, enum peer_status_code status, leash_seq seq);

/*
 * @views: @n records in the order asked for, verified; used during the call only. @more: the range has more committed
 * records than these. None and PEER_ST_OK: there are none. PEER_ST_GONE: `from` is older than the oldest record kept, @n
 * is 0 and @more is ignored. A backend that switches to another node meanwhile asks there again by itself.
 */
void front_read_done(struct front_op *op, enum peer_status_code status, const struct peer_view *views, uint32_t n,
	bool more);
void front_stream_done(struct front_op *op, enum peer_status_code status, const struct front_stream *s);
/* @ok: @text is the answer (several lines are fine); else an error's text with its code: "ERR ...". */
void front_admin_done(struct front_op *op, bool ok, struct bytes text);

/* ---------------------------------------------------------------------------------------------------------- time */

/* When front_tick() is due at the latest; UINT64_MAX: never. */
uint64_t front_wakeup_ns(const struct front *f);
void front_tick(struct front *f, uint64_t now_ns);

/* ------------------------------------------------------------------------------------------------------- clients */

struct front_peer {
	const char *address;       /* of the client, for CLIENT LIST; copied */
	const char *local_address;
	int fd;                    /* for CLIENT LIST only */
	bool control;              /* the local control socket: LEASH is allowed */
};

/* -EMFILE: clients_max is reached; -ENOMEM. @user: for ops->wake and front_client_user(). */
int front_client_new(struct front *f, const struct front_peer *peer, void *user, uint64_t now_ns,
	struct front_client **ret_client) _must_check_;
void front_client_free(struct front_client *c); /* cancels what it has with the backend; NULL is fine */

struct buf *front_client_in(struct front_client *c);  /* the caller appends */
struct buf *front_client_out(struct front_client *c); /* the caller consumes */
void *front_client_user(const struct front_client *c);
bool front_client_wants_input(const struct front_client *c);
bool front_client_closing(const struct front_client *c); /* all is answered: close when out is empty */

/* The client sends no more (it may have half-closed): complete commands are still answered, blocking ones end. */
void front_client_eof(struct front_client *c);

/* True: front_client_run() is due when output has been consumed (part of a large reply, or commands, wait for that). */
bool front_client_wants_drain(const struct front_client *c);

/* Starts commands as far as the rules allow and flushes replies. Never frees @c. */
void front_client_run(struct front_client *c, uint64_t now_ns);

uint32_t front_clients(const struct front *f); /* how many there are */

/* -------------------------------------------------------------------------------------- over a restart (gateway) */

/* No further command starts. Operations that are with the backend complete as usual. */
void front_client_quiesce(struct front_client *c);

/* Likewise, and a blocking command goes on waiting whatever comes, and a large reply stops between two of its pieces (one that
 * was asked for is cancelled). */
void front_client_pause(struct front_client *c);

/* After front_client_quiesce() or front_client_pause(): nothing is with the backend, and nothing goes there any more. */
bool front_client_quiet(const struct front_client *c);

/*
 * Appends all that a paused and quiet client is (save.c has the list) to @out, for front_client_load() in another process.
 * -EBUSY: not paused, or not quiet; -ECANCELED: it is at its end, or the control socket's, and cannot be kept; -EMSGSIZE:
 * a part of it is larger than the format can say; -ENOMEM, -ENOBUFS.
 */
int front_client_save(const struct front_client *c, uint64_t now_ns, struct buf *out) _must_check_;

/*
 * Into a new client, before anything is read for it; the engines are there. front_client_run() is due then. -EINVAL: these
 * are not the bytes of a saved client; -ENOENT: it had a part of a reply from an engine that is unknown here; -ENOMEM.
 * After an error the client is good for front_client_free() only.
 */
int front_client_load(struct front_client *c, struct bytes saved) _must_check_;

/* -------------------------------------------------------------------------------------------------------- counters */

struct front_stats {
	uint64_t clients_total, clients_refused, commands, appends, reads, errors, in_bytes, out_bytes;
	uint32_t clients, blocked;
};
void front_stats(const struct front *f, struct front_stats *ret_stats);

#endif

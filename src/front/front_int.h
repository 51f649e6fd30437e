/* What the files of the front end share. Only for src/front. */
#ifndef LEASH_FRONT_FRONT_INT_H
#define LEASH_FRONT_FRONT_INT_H

#include "base/hash.h"

#include "base/table.h"
#include <utlist.h>

#include "front/front.h"
#include "wire/resp.h"
#include "wire/xcmd.h"

#define FRONT_READS_MAX     8u          /* reads of one client with the backend at a time */
#define FRONT_TURN_COMMANDS 512u        /* commands that one client starts in one turn of the loop */
#define FRONT_STREAM_BYTES  (1u << 20)  /* a larger answer to XRANGE is sent in pieces */
#define FRONT_RETRY_NS      UINT64_C(10000000) /* a read found less than was announced: ask again */
#define FRONT_LOOK_NS       UINT64_C(1000000000) /* an XREAD's time is up while it reads: so long it may go on */
#define FRONT_REDIS_VERSION "7.0.0"     /* what INFO and HELLO say for client libraries */

struct op;
struct query;

/* Somebody who waits for a commit of an engine. */
struct waiter {
	struct op *op;
	struct front_engine *engine; /* NULL: not in a list */
	leash_seq after;
	bool from_end; /* .after is where the log ended when it was asked */
	struct waiter *prev, *next;
};

struct front_engine {
	struct front *front;
	char name[LEASH_NAME_MAX + 1];
	size_t name_bytes;
	void *backend;
	leash_seq commit;
	uint32_t n_replicas;
	struct waiter *waiters;
	UT_hash_handle hh;
};

struct front {
	struct front_conf conf;
	struct front_ops ops;
	void *ctx;
	uint64_t now_ns, started_ns;
	struct front_engine *engines;
	struct front_client *clients;
	struct front_client **timers; /* binary heap by deadline_ns */
	uint32_t n_timers;
	struct op *spare;             /* freed operations, for reuse */
	uint32_t n_spare;
	uint64_t next_id;
	struct front_stats stats;
	struct buf scrap;             /* replies that nobody wants */
};

enum op_kind {
	OP_REPLY,  /* done; the bytes are in .reply */
	OP_APPEND,
	OP_QUERY,  /* has .query */
};

/* Which commands may overlap. */
enum op_class { CLASS_INSTANT, CLASS_APPEND, CLASS_READ, CLASS_EXCLUSIVE };

struct op {
	struct front_op pub; /* first: the backend's pointer is ours */
	struct front_client *client;
	struct op *next;
	enum op_kind kind;
	enum op_class class;
	int version;         /* RESP version of its reply */
	bool mute;           /* CLIENT REPLY OFF or SKIP */
	bool at_backend;     /* a completion is due */
	bool ready;          /* the query has something to do */
	bool done;
	enum peer_status_code status; /* APPEND */
	leash_seq seq;
	size_t bytes;        /* APPEND: of the body */
	struct buf reply;
	struct query *query;
};

struct front_client {
	struct front *front;
	void *user;
	uint64_t id, since_ns, active_ns;
	char address[LEASH_ADDR_MAX + 1], local_address[LEASH_ADDR_MAX + 1];
	char name[FRONT_NAME_MAX + 1], lib_name[FRONT_NAME_MAX + 1], lib_ver[FRONT_NAME_MAX + 1];
	const char *last_command;
	int fd;
	bool control, no_evict, no_touch;
	int version;
	bool reply_off, skip_next, muted; /* muted: the command under way gets no reply */
	bool closing, aborted, eof, quiesced, paused, woken, running, again;

	struct buf in, out;
	struct resp_parser parser;
	struct resp_command held;         /* parsed, and may not start yet */
	const struct xcmd_info *held_info; /* of it, or of the command before; NULL: there was none */
	bool has_held;

	struct op *head, *tail;           /* replies are due in this order */
	uint32_t n_ops, n_appends, n_reads;
	size_t append_bytes;
	struct op *exclusive;             /* nothing else starts */
	struct front_engine *last_engine; /* of the last append, for WAIT */
	bool no_room;                     /* waits for front_engine_room() */

	uint64_t deadline_ns;             /* in the heap while not UINT64_MAX */
	uint32_t heap_at;
	struct front_client *prev, *next;
};

/* ---- client.c */
struct buf *client_reply_open(struct front_client *c, struct resp_out *ret_o);
void client_reply_close(struct front_client *c, struct resp_out *o);
void client_error(struct front_client *c, const char *error);
struct op *client_op(struct front_client *c, enum op_kind kind, enum op_class class); /* queued; NULL: no memory */
void client_wake(struct front_client *c);
void client_abort(struct front_client *c); /* nothing sensible can be sent any more */
void op_finish(struct op *op);             /* done: frees its query, keeps its reply */
void op_write_error(struct resp_out *o, enum peer_status_code status, leash_seq seq, bool append);

/* ---- timer.c: c->deadline_ns changes only here */
int timer_reserve(struct front *f, uint32_t n_clients) _must_check_;
void timer_set(struct front_client *c, uint64_t deadline_ns);

/* ---- commands. True: started (perhaps answered); false: it may not start yet. */
bool cmd_start(struct front_client *c, const struct xcmd_info *info, const struct bytes *argv, uint32_t argc);
bool client_may_start(const struct front_client *c, enum op_class class);
void client_line(const struct front_client *c, struct buf *out); /* of CLIENT LIST and INFO, without the end of line */

bool cmd_info(struct front_client *c, const struct bytes *argv, uint32_t argc);
bool cmd_role(struct front_client *c, const struct bytes *argv, uint32_t argc);
bool cmd_xadd(struct front_client *c, const struct bytes *argv, uint32_t argc);
bool cmd_xrange(struct front_client *c, const struct bytes *argv, uint32_t argc);
bool cmd_xrevrange(struct front_client *c, const struct bytes *argv, uint32_t argc);
bool cmd_xread(struct front_client *c, const struct bytes *argv, uint32_t argc);
bool cmd_xlen(struct front_client *c, const struct bytes *argv, uint32_t argc);
bool cmd_xinfo(struct front_client *c, const struct bytes *argv, uint32_t argc);
bool cmd_wait(struct front_client *c, const struct bytes *argv, uint32_t argc);
bool cmd_admin(struct front_client *c, const struct bytes *argv, uint32_t argc);

/* ---- range.c: a large reply that goes on in another process (save.c). Its header and first entries were sent. */
struct range_rest {
	struct front_engine *engine;
	leash_seq from, to;
	uint64_t left; /* entries that are due, at least 1, at most as many as from..to has */
	bool reverse;
};

void range_pause(struct op *op); /* of one that is streaming: the piece that was asked for is not awaited */
void range_rest(const struct op *op, struct range_rest *ret_rest); /* likewise, when it awaits none */
struct op *range_go_on(struct front_client *c, const struct range_rest *rest); /* queued; NULL: no memory */

/* ---- query.c: commands that ask the backend more than once, or wait */

/* Reads a range in calls of bounded size; what it finds is collected as encoded entries. */
struct scan {
	leash_seq from, to;
	uint64_t left;       /* entries still wanted */
	uint64_t n;          /* entries collected in all */
	size_t bytes_max;    /* pause when this much is in .entries */
	bool reverse;
	bool asks_start;     /* the stream's numbers were asked for, as `from` is gone */
	struct buf entries;
	struct leash_chain chain; /* of the last one collected */
};

enum scan_result { SCAN_BUSY, SCAN_DONE, SCAN_PAUSE, SCAN_FAILED };

struct query_class {
	void (*step)(struct op *op);
	void (*forget)(struct op *op, const struct front_engine *e); /* may be NULL, as all below */
	void (*timeout)(struct op *op);
	bool (*waits)(const struct op *op);
	int (*save)(const struct op *op, uint64_t now_ns, struct buf *out);
	void (*deinit)(struct query *q);
};

struct query {
	const struct query_class *class;
	/* what came back last */
	enum peer_status_code status;
	bool more;
	uint32_t got;
	struct front_stream stream;
	struct scan scan;
	bool streaming; /* the reply goes out in pieces */
};

/* An operation with a query of @size bytes (struct query first). NULL: no memory, the client is aborted. */
struct op *query_new(struct front_client *c, enum op_class class, const struct query_class *qclass, size_t size);
void query_ask_stream(struct op *op, struct front_engine *e);
void scan_start(struct op *op, struct front_engine *e, leash_seq from, leash_seq to, uint64_t count, bool reverse);
void scan_next(struct op *op);             /* after SCAN_PAUSE */
enum scan_result scan_step(struct op *op); /* SCAN_FAILED: query->status */
void query_reply_error(struct op *op, enum peer_status_code status);
void query_finish(struct op *op, struct resp_out *o); /* the reply was written with @o */

void query_free(struct op *op);
void query_timeout(struct op *op);
void query_forget(struct op *op, const struct front_engine *e); /* that engine is gone */
bool query_waits(const struct op *op); /* nothing is with the backend: it waits for data or time */
int query_save(const struct op *op, uint64_t now_ns, struct buf *out) _must_check_; /* as the command to repeat */

static inline bool client_full(const struct front_client *c)
{
	return c->n_ops >= c->front->conf.in_flight_max || buf_len(&c->out) >= c->front->conf.out_bytes_max;
}

#endif

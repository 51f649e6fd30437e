/*
 * A node without its sockets: driver, log thread, control (etcd) and the timers between them. The network side (peer
 * links, gateways, RESP clients, main) lives on top of this header: it feeds what comes in and does what struct
 * node_net asks for.
 *
 * Life: node_new() opens the log (it may take a while; no socket should be open yet: promises are read back first, R4),
 * node_start() begins to talk to etcd. node_stop() hands over (R13), leaves, revokes the lease and ends with
 * net->stopped. node_free() at any time from the loop, never from inside a callback.
 *
 * One thread: everything here belongs to the thread that runs the event_base. Callbacks of struct node_net come from
 * inside any call here and from the loop; what they are given lives until they return.
 */
#ifndef LEASH_NODE_NODE_H
#define LEASH_NODE_NODE_H

#include "etcd/keys.h"
#include "log/rlog.h"
#include "node/driver.h"
#include "wire/peer_data.h"

struct event_base;
struct node;
struct node_read;

#define NODE_READ_COUNT_MAX REP_BATCH_MAX    /* records of one node_read() */
#define NODE_READS_MAX      4096             /* under way; more are answered PEER_ST_HOLD */

struct node_conf {
	/* who */
	const char *engine, *node;
	const char *address;    /* host:port that the others and the gateways connect to */
	const char *release;    /* for nodes/<name> and status */

	/* the cluster, for the state machine */
	int32_t priority;
	uint32_t n_founders;
	const char *const *founders;
	uint32_t min_insync;
	uint64_t dedup_window, dedup_time_ns;
	uint64_t dedup_records_max;  /* what dedup_bytes has room for */
	enum rep_topology topology;
	uint64_t failure_timeout_ns, heartbeat_ns;

	/* the log */
	const char *dir;
	const struct rlog_ops *ops;  /* NULL: the real thing */
	uint64_t segment_bytes, reserve_bytes;
	uint64_t retention_bytes, retention_time_ns; /* 0 = keep all */
	uint64_t scrub_rate;         /* bytes per second that are read again to be verified; 0 = none */
	uint32_t record_bytes_max;   /* header and body */
	uint64_t disk_budget_ns;     /* R11a: a write or sync that takes longer costs the lead */

	/* memory */
	uint64_t cache_bytes, uncommitted_bytes, batch_bytes;
	uint32_t uncommitted_max;    /* records */

	/* etcd */
	struct etcd_conf etcd;
	uint32_t lease_ttl_s;        /* the key's life without renewal; etcd may lengthen it */
	const char *lease_file;      /* the lease's id (16 hex digits and a newline), for ExecStopPost=; NULL: none */
};

/* What the surroundings do. All are needed. */
struct node_net {
	void *ctx;

	/* as in struct drv_io */
	void (*send)(void *ctx, const char *node, enum rep_link link, const struct rep_msg *m);
	bool (*send_records)(void *ctx, const char *node, const struct rep_msg *head, struct drv_rec *const *recs,
		size_t n);
	void (*answer)(void *ctx, const struct drv_waiter *w, const struct drv_answer *a);
	void (*room)(void *ctx);
	void (*committed)(void *ctx, leash_seq seq);
	void (*changed)(void *ctx); /* node_peer_status() says something new */

	/* etcd's picture is new: addresses of the other nodes (node_view()), whom to connect to. */
	void (*view)(void *ctx, const struct keys_view *v);

	/* The daemon must end with this exit status (65, 74, 78); the reason has been told. The node does nothing more. */
	void (*fatal)(void *ctx, int exit_status);

	/* node_stop() is through. */
	void (*stopped)(void *ctx);
};

enum node_error {
	NODE_E_CONF = 1, /* what is configured cannot be (78) */
	NODE_E_FOREIGN,  /* the data directory belongs to another node or engine; nothing was touched (78) */
	NODE_E_LOCKED,   /* another process has the data directory open (1) */
	NODE_E_DAMAGED,  /* needs an operator (65) */
	NODE_E_IO,       /* the data directory cannot be read or written (74) */
};

/* The exit status that goes with what node_new() returned (a node_error or a negative errno). */
int node_exit_status(int error);

/*
 * Opens the log and rebuilds what is derived from it. @conf and @net are copied; the strings in @conf stay the
 * caller's and must live as long as the node. 0; enum node_error with a sentence in @ret_reason (not for negative
 * errnos: -ENOMEM ...).
 */
int node_new(const struct node_conf *conf, struct event_base *base, const struct node_net *net, struct node **ret_node,
	char ret_reason[256]) _must_check_;
void node_free(struct node *n); /* NULL is fine. Waits for the log thread's operation under way. */

/* 0 or a negative errno. */
int node_start(struct node *n) _must_check_;

/* Graceful end by @deadline_ns (boottime): hand-over, lease revoked. Then net->stopped, once. */
void node_stop(struct node *n, uint64_t deadline_ns);

/* --------------------------------------------------------------------------------------------------------- clients */

/* As drv_submit(), drv_forget(): the answer comes through net->answer, perhaps from inside. Appends are grouped until the
 * end of the loop's turn. */
leash_seq node_submit(struct node *n, struct bytes body, const struct drv_waiter *w, uint64_t now_ns);
void node_forget(struct node *n, void *owner, leash_seq seq);

/*
 * Records of a range as readers may see it here (R5a), in the order asked for. OK and none: there are none. @more: the
 * range has more readable records than these. References to @recs are dropped after the call. GONE: `from` (reverse:
 * every record of the range) is older than the oldest kept; NOT_SERVING; DAMAGED; HOLD: too many reads under way.
 */
typedef void (*node_read_fn)(void *ctx, enum peer_status_code status, struct drv_rec *const *recs, size_t n, bool more);

/*
 * Reads @from..@to, at most @count_max records (1..NODE_READ_COUNT_MAX) and about @bytes_max bytes, at least one
 * record. @fn comes once, perhaps from inside the call (the cache had it all): then *ret_read is NULL. @ret_read may be
 * NULL. node_read_cancel(): @fn does not come any more.
 */
void node_read(struct node *n, leash_seq from, leash_seq to, bool reverse, uint32_t count_max, size_t bytes_max,
	node_read_fn fn, void *ctx, struct node_read **ret_read);
void node_read_cancel(struct node_read *r);

/* ----------------------------------------------------------------------------------------------------------- peers */

/* A connection to or from another node came up or broke (struct rep_event .link has the meaning of the fields). Only
 * our own connections (REP_LINK_OUT) are told. */
void node_link(struct node *n, const char *peer, bool up, uint64_t conn, bool refused);

/* A replica message without records. */
void node_msg(struct node *n, const char *from, enum rep_link link, const struct rep_msg *m);

/* A message with records: m->recs and one drv_rec each, references stay the caller's. */
void node_records(struct node *n, const char *from, enum rep_link link, const struct rep_msg *m,
	struct drv_rec *const *recs);

/* False: read no more RECORDS from peers until net->room (the disk is behind). */
bool node_wants_records(const struct node *n);

/* net->send_records returned false; now there is room again. */
void node_writable(struct node *n, const char *peer);

/* ---------------------------------------------------------------------------------------------------------- status */

leash_id node_run(const struct node *n);     /* of this process life */
leash_id node_cluster(const struct node *n); /* 0 = none yet. The seed of rec_identify() and peer_replica_decode() */
leash_id node_incarnation(const struct node *n);
const char *node_name(const struct node *n);
const char *node_engine(const struct node *n);
void node_rep_status(struct node *n, struct rep_status *ret_status);
void node_peer_status(struct node *n, struct peer_status *ret_status); /* for PEER_STATUS and WELCOME */

/* etcd as last seen; NULL: not yet. Valid until the next callback. */
const struct keys_view *node_view(const struct node *n);

struct node_counters {
	uint64_t appends, retries, conflicts, refused; /* by verdict */
	uint64_t append_bytes, reads, read_records;
	uint64_t groups, group_records;                /* group commits */
	uint64_t log_bytes, log_segments;
	struct {
		leash_seq next;                            /* to be looked at; 0: between two passes */
		uint64_t records, bytes, passes;           /* verified in this pass; passes completed */
		uint64_t last_damaged, last_records, last_bytes, last_real_ns; /* of the last complete pass */
		uint64_t repaired;                         /* records taken from other nodes in this life */
		uint64_t found;                            /* stretches of damage met in this life, by reads too */
	} scrub;
	bool etcd_reachable, disk_full;
	uint64_t disk_stuck_ns;
};
void node_counters(struct node *n, struct node_counters *ret_counters);

/* PEER_INFO: one JSON object at the end of @out. 0, -ENOMEM, -ENOBUFS. */
int node_status_json(struct node *n, enum peer_info_what what, struct buf *out) _must_check_;

/* For the watchdog: how long the log thread's operation in progress has taken. 0: none. */
uint64_t node_disk_stuck_ns(const struct node *n);
uint64_t node_log_moves(const struct node *n); /* logthread_moves() */

/* -------------------------------------------------------------------------------------------------------- operators */

/*
 * Switchover (R13), as primary. @to: NULL or "" = the best one. @fn comes once, perhaps from inside: @failed is NULL or
 * the reason. One at a time: another one fails at once.
 */
typedef void (*node_handover_fn)(void *ctx, const char *failed);
void node_handover(struct node *n, const char *to, uint64_t deadline_ns, node_handover_fn fn, void *ctx);

/* What a reload can change. */
void node_set_retention(struct node *n, uint64_t retention_bytes, uint64_t retention_time_ns);
void node_set_scrub_rate(struct node *n, uint64_t bytes_per_s);

#endif

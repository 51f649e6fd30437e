/* Inside of the simulator. */
#ifndef LEASH_TESTS_SIM_INT_H
#define LEASH_TESTS_SIM_INT_H

#include "base/buf.h"
#include "tests/sim/sim.h"

#define SIM_OPS_MAX     20000
#define SIM_LOG_MAX     40000
#define SIM_HISTORY_MAX 64 /* old pictures of etcd kept for stale reads */
#define SIM_STREAM_BATCH 8

struct simrec {
	struct rep_rec rec;
	uint64_t value; /* stands for the body */
};

/* What survives a crash. */
struct simdisk_state {
	bool exists;
	struct rep_meta meta;
	leash_seq start, end;     /* records start..end are in the file */
	leash_seq synced;         /* and durable up to here */
	struct simrec *log;       /* log[seq % SIM_LOG_MAX] is too clever: log[seq] */
};

enum logop_kind { LOGOP_SYNC, LOGOP_META, LOGOP_CUT, LOGOP_RESET, LOGOP_ASIDE };
struct logop {
	enum logop_kind kind;
	leash_seq seq;
	uint64_t ticket;
	struct rep_meta meta;
};
#define LOGOPS_MAX 4096

enum timer_kind {
	T_TICK, T_MSG, T_LINK_DIAL, T_LINK_RESET, T_LOGOP, T_TXN_APPLY, T_TXN_ANSWER, T_READ_ANSWER, T_WATCH,
	T_KEEPALIVE, T_EXPIRY, T_ANNOUNCE, T_OP_TRY, T_OP_ARRIVE, T_OP_ANSWER, T_SWARM,
};

struct timer {
	uint64_t at_ns, order;
	enum timer_kind kind;
	int a, b;          /* nodes, or op */
	uint32_t life;
	uint64_t x, y;
	void *data;        /* owned */
};

struct stream {
	bool active;
	leash_seq next;
};

struct waiter {
	int op;
	leash_seq seq;
	bool conflict;
	uint64_t attempt;
};

struct simnode {
	char name[8];
	bool up, paused, etcd_cut, disk_frozen;
	uint32_t life; /* rises with each start: events of former lives are dropped */
	struct simdisk_state disk;

	/* of the process */
	struct rep *rep;
	struct rep_status status;
	leash_id run;
	uint64_t conns;
	struct stream streams[SIM_NODES_MAX];
	struct logop ops[LOGOPS_MAX];
	uint32_t op_head, op_tail;
	bool op_busy;
	struct waiter *waiters;
	size_t n_waiters, cap_waiters;
	leash_seq commit_seen;
	leash_seq damage_first; /* known to be damaged from here on; 0: nothing is */
	leash_seq lost_end;     /* had been durable up to here before damage was set aside */

	/* etcd client */
	uint64_t lease;
	bool announce_busy, read_busy, announce_again;
	bool watch_busy;

	struct timer *stash; /* what waits for a paused process */
	size_t n_stash, cap_stash;

	uint32_t notes[REP_NOTE_VIOLATION + 1];
	enum sim_fault txn_fault;
	uint64_t txn_late_ms;
};

/* The connection that a node made to another. */
struct conn {
	bool up;         /* as the two ends see it */
	bool broken;     /* it lost a message: nothing arrives any more */
	bool dialing;
	uint64_t id;     /* of this connection, for dropping what belongs to an older one */
	uint64_t number; /* as told to the state machine */
	uint64_t last_ns[2]; /* arrival of the last message there and back: order */
};

struct lease {
	uint64_t id;
	uint64_t expires_ns;
	bool gone;
};

struct simetcd {
	struct rep_view now;
	struct rep_view *old; /* ring of SIM_HISTORY_MAX */
	uint32_t n_old;
	uint64_t node_lease[SIM_NODES_MAX];
	struct lease leases[4096];
	uint32_t n_leases;
	bool down;
	uint64_t generation; /* of restores: watches start over */
};

struct op {
	char id[24];
	struct rec_ident ident;
	uint64_t value;
	bool answered, conflict, once;
	leash_seq seq;
	uint64_t attempt;
	int last_node;
	uint64_t asked_ns;
};

struct flight { /* a message on its way */
	struct rep_msg msg;
	struct rep_stretch *history;
	struct simrec *recs;
	bool back;
};

struct etcd_call {
	struct rep_txn txn;
	enum rep_txn_outcome outcome;
	uint64_t revision;
	struct rep_view view;
	bool answer_lost;
};

struct committed {
	bool set;
	leash_epoch epoch;
	uint64_t value;
	struct hash128 key;
};

struct sim {
	struct sim_opts opts;
	uint64_t now_ns, rng, order;
	struct timer *heap;
	size_t n_heap, cap_heap;
	int n;
	struct simnode nodes[SIM_NODES_MAX];
	struct conn conns[SIM_NODES_MAX][SIM_NODES_MAX];
	bool cut[SIM_NODES_MAX][SIM_NODES_MAX];
	uint64_t delay_ms[SIM_NODES_MAX][SIM_NODES_MAX];
	uint64_t conn_ids;
	struct simetcd etcd;
	struct op *ops;
	int n_ops;
	struct committed *committed; /* by sequence number */
	leash_seq committed_end;
	struct { leash_epoch epoch; leash_id run; } owners[4096];
	uint32_t n_owners;
	struct buf trace;
	bool swarming;
	struct sim_swarm_stats stats;
	double p_lost_request, p_lost_answer, p_late, p_stale;
	uint64_t fault_every_ms;
};

/* sim.c */
uint64_t sim_rand(struct sim *s);
uint64_t sim_below(struct sim *s, uint64_t n);
bool sim_chance(struct sim *s, double p);
struct timer *sim_timer(struct sim *s, uint64_t after_ns, enum timer_kind kind, int a, int b);
void sim_unstash(struct sim *s, int i);
int sim_index(const struct sim *s, const char *node);
void sim_say(struct sim *s, int node, const char *fmt, ...) _printf_(3, 4);
void sim_broken(struct sim *s, const char *fmt, ...) _printf_(2, 3) _noreturn_;

/* sim_node.c */
void simnode_start(struct sim *s, int i);
void simnode_stop(struct sim *s, int i);
void simnode_feed(struct sim *s, int i, struct rep_event *ev);
void simnode_logop_done(struct sim *s, int i);
void simnode_timer(struct sim *s, struct timer *t);
void simnode_append(struct sim *s, int i, const struct simrec *rec);
void simnode_kick_disk(struct sim *s, int i);

/* sim_net.c */
void simnet_send(struct sim *s, int from, const char *to, enum rep_link link, const struct rep_msg *m,
	const struct simrec *recs);
void simnet_dial(struct sim *s, int from, int to, uint64_t after_ns);
void simnet_drop(struct sim *s, int from, int to);
void simnet_timer(struct sim *s, struct timer *t);
bool simnet_reaches(const struct sim *s, int from, int to);

/* sim_etcd.c */
void simetcd_txn(struct sim *s, int node, const struct rep_txn *txn);
void simetcd_read(struct sim *s, int node, bool probe);
void simetcd_announce(struct sim *s, int node);
void simetcd_node_started(struct sim *s, int node);
void simetcd_changed(struct sim *s);
void simetcd_timer(struct sim *s, struct timer *t);
void simetcd_revoke(struct sim *s, uint64_t lease);

/* sim_client.c */
void simclient_timer(struct sim *s, struct timer *t);
void simclient_commit(struct sim *s, int node, leash_seq seq);
void simclient_lost(struct sim *s, int node);
void simclient_room(struct sim *s, int node);

/* sim_check.c */
void simcheck_step(struct sim *s, int node);
void simcheck_commit(struct sim *s, int node, leash_seq commit);
void simcheck_insync(struct sim *s);
void simcheck_answer(struct sim *s, int op, leash_seq seq, bool conflict);
void simcheck_epoch(struct sim *s, int node, leash_epoch epoch, leash_id run);
void simcheck_rest(struct sim *s);

/* sim_swarm.c */
void simswarm_timer(struct sim *s, struct timer *t);

#endif

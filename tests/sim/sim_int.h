/*
 * Inside of the simulator.
 *
 *     sim.c          time, randomness, trace, what is the case
 *     sim_env.c      what the node's code meets instead of the kernel and libevent: clocks, random ids, timers, messages
 *     sim_node.c     a node's process: start, death, what comes in
 *     sim_log.c      its log threads, stepped
 *     sim_disk.c     its disk: the account of what must be on it, and what can be done to it
 *     sim_net.c      connections and messages
 *     sim_odd.c      messages that no leash sends
 *     sim_etcd.c     etcd
 *     sim_control.c  etcd as a node sees it: answers, watch, lease (instead of src/node/control.c)
 *     sim_client.c   appends with ids
 *     sim_session.c  gateways' sessions
 *     sim_reader.c   readers
 *     sim_check.c    the promises
 *     sim_hist.c     the history of what clients saw, for tests/check
 *     sim_fault.c    random faults: which and when; sim_fault_world.c, sim_fault_disk.c: what they do
 *     sim_swarm.c    a whole run of them
 */
#ifndef LEASH_TESTS_SIM_INT_H
#define LEASH_TESTS_SIM_INT_H

#include "base/buf.h"
#include "node/lt_int.h"
#include "node/node_int.h"
#include "tests/check/hist.h"
#include "tests/sim/sim.h"
#include "tests/sim/simdisk.h"

#define SIM_OPS_MAX      20000
#define SIM_LOG_MAX      60000
#define SIM_HISTORY_MAX  64 /* old pictures of etcd kept for stale reads */
#define SIM_SESSIONS_MAX 4
#define SIM_SESSION_OPS  64 /* unanswered, of a session */
#define SIM_DIR          "/log"
#define SIM_ID_TEXT      64
#define SIM_VALUE_TEXT   17
#define SIM_NONE         UINT32_MAX

enum timer_kind {
	T_LOOP,                                          /* a timer of the node's own loop: .y is the event, .x its count */
	T_WRITER, T_WRITTEN, T_READER, T_SCRUB, T_TOLD,  /* the log's threads */
	T_DIE, T_GONE,                                   /* the process ends by itself */
	T_MSG, T_WRITABLE, T_LINK_DIAL, T_LINK_RESET,
	T_TXN_APPLY, T_TXN_ANSWER, T_READ_ANSWER, T_WATCH, T_KEEPALIVE, T_EXPIRY, T_ANNOUNCE,
	T_OP_TRY, T_OP_ARRIVE, T_OP_ANSWER, T_SESSION_TRY, T_SESSION_ARRIVE, T_PEEK, T_SWARM, T_FAULT_ENDS, T_RESUME, T_KINDS,
};

struct timer {
	uint64_t at_ns, order;
	enum timer_kind kind;
	int a, b;          /* nodes, or op */
	uint32_t life;
	uint64_t x, y;
	void *data;        /* owned */
};

/* What must be on a node's disk, kept beside it. */
struct account {
	uint64_t *chain;          /* low half, of each record that was written: chain[seq] */
	leash_seq start, end, durable;
	struct rlog_meta meta;
	leash_seq lost_end;       /* had been durable up to here before a fault of the disk took it */
	bool virgin;              /* nothing was ever there */
	bool unsure;              /* a crash fell into an operation */
	bool cutting;             /* which may have been a cut */
	bool tampered;            /* a fault that may cost what was durable */
};

struct logsim {
	struct rlog_reader *reader;
	struct rlog_scrub *scrub;
	uint64_t reader_cuts, scrub_cuts, idle_gen, opened;
	struct lt_cmd *taken;     /* being carried out */
	bool writing, reading, telling;
};

struct simnode {
	struct sim *s;
	int i;
	char name[8];
	bool up, paused, etcd_cut, disk_frozen, leaving, dying;
	uint32_t life; /* rises with each start: events of former lives are dropped */
	struct simdisk *disk;
	struct account acc;

	/* its clock */
	uint64_t clock_ns, clock_ref_ns; /* shows clock_ns at ref */
	double clock_rate;
	int64_t real_off_ns;

	/* of the process */
	struct node *node;
	struct logthread *lt;
	struct logsim log;
	struct control *control;
	struct rep_status status;
	leash_seq commit_seen, reader_high;
	uint32_t hist_life; /* its endpoint in the history: rises when what it showed may go back */
	uint64_t conns;

	bool damaged;              /* its disk was damaged, and is not known yet to be whole again */
	leash_id renounced;        /* under this one it acknowledged what it has lost: it must not be whole under it again */
	leash_epoch renounced_to;  /* while this one lasts: only its primary knows what it acknowledged (B6) */
	bool log_whole;            /* but its records are: only the metadata is not */
	uint32_t slow_disk;        /* permille of the operations that take long */
	uint32_t wrong_conf;       /* it is started with: enum in sim_node.c; 0: as it should be */
	uint64_t wipe_at_start;    /* the operator replaces the disk: meta was lost */

	struct timer *stash; /* what waits for a paused process; and when it goes on, for its turn */
	size_t n_stash, cap_stash, stash_at;
	bool resuming;
	uint64_t resumed;    /* how often */

	uint32_t notes[REP_NOTE_VIOLATION + 1];
	enum sim_fault txn_fault;
	uint64_t txn_late_ms;
};

/* The connection that a node made to another. */
struct conn {
	bool up;         /* as the two ends see it */
	bool broken;     /* it lost a message: nothing arrives any more */
	bool dialing;
	bool blocked;    /* the sender was told that it is full */
	uint64_t id;     /* of this connection, for dropping what belongs to an older one */
	uint64_t number; /* as told to the state machine */
	uint64_t last_ns[2]; /* arrival of the last message there and back: order */
	uint64_t queued_bytes;
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
	struct lease *leases;
	uint32_t n_leases, cap_leases;
	bool down;
	uint64_t generation; /* of restores: watches start over */
};

/* etcd's client in a node (src/node/control.h). */
struct control {
	struct simnode *n;
	struct control_ops ops;
	uint64_t lease;
	bool stopping, stopped, read_busy, probe_busy, watch_busy, announce_busy, announce_again;
	uint64_t last_revision, probed_ns;
};

struct op {
	char id[24];              /* "producer/id", for the trace */
	enum rec_id_kind kind;
	char producer[16], name[16];
	uint64_t n;               /* SEQ, SESSION: its number */
	char value[24];
	uint32_t filler_bytes;
	leash_id session;
	leash_seq birth;
	struct hash128 key;       /* the same for the same message; 0: no id */
	uint64_t body_hash;
	bool answered, conflict, once, given_up;
	leash_seq seq;
	uint64_t attempts;
	int last_node, after;     /* after: an op that must be answered first; -1: none */
	int wakes;                /* the op that waits for this one, plus 1 */
	uint64_t asked_ns;
	leash_seq commit_when_asked; /* what was committed when it was sent first */
	char hist_id[SIM_ID_TEXT], hist_value[SIM_VALUE_TEXT];
};

/* What a node answers: the waiter is the index of one of these, plus 1. */
struct attempt {
	int op, node;
	uint32_t life;
	bool pending;
	int session; /* -1: none */
	uint32_t hist; /* its number in the history, or SIM_NONE */
	leash_seq waits; /* of node_submit() */
};

struct session {
	leash_id id;
	leash_seq birth;
	uint64_t next;            /* counter */
	int ops[SIM_SESSION_OPS]; /* unanswered, rising */
	int attempts[SIM_SESSION_OPS]; /* under way, -1: none */
	uint32_t n;
	int node;
	uint32_t life; /* of the node's process */
	uint64_t idle_until_ms;   /* nothing comes for so long */
	bool sending;
	uint64_t tries;
	bool hist_known, hist_linked; /* the history has this client, this connection */
	uint32_t hist_client, hist_conn;
};

/* A read under way. */
struct simread {
	struct simnode *n;
	leash_seq from;
	bool reverse;
	uint64_t asked_ns;
	uint32_t life; /* hist_life */
};

struct flight { /* a message on its way, as a frame */
	struct buf frame;
	uint64_t bytes; /* that count for the link's bound: those of records */
	bool back, again;
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
	enum rec_id_kind kind;
	leash_epoch epoch;
	uint64_t chain, body_hash, owner, n;
	struct hash128 key;
};

struct keyslot { /* open addressing: the newest committed position of a key */
	struct hash128 key;
	leash_seq seq;
};

struct swarm; /* sim_fault.c */

struct sim {
	struct sim_opts opts;
	uint64_t now_ns, rng, order;
	struct timer *heap;
	size_t n_heap, cap_heap;
	int n, running; /* running: the node whose code is being executed */
	struct simnode nodes[SIM_NODES_MAX];
	struct conn conns[SIM_NODES_MAX][SIM_NODES_MAX];
	bool cut[SIM_NODES_MAX][SIM_NODES_MAX];
	uint64_t delay_ms[SIM_NODES_MAX][SIM_NODES_MAX];
	uint64_t far_ms[SIM_NODES_MAX][SIM_NODES_MAX]; /* how far they are from each other, always */
	uint64_t conn_ids;
	struct simetcd etcd;
	struct op *ops;
	int n_ops, n_open; /* open: not answered yet */
	struct attempt *attempts;
	int n_attempts, cap_attempts;
	struct session sessions[SIM_SESSIONS_MAX];
	int n_sessions;
	struct committed *committed; /* by sequence number */
	leash_seq committed_end;
	struct keyslot *keys;
	size_t n_keys, cap_keys;
	struct { leash_epoch epoch; leash_id run; } owners[4096];
	uint32_t n_owners;
	struct buf trace;
	struct keys_view view;       /* scratch */
	bool swarming;
	struct swarm *swarm;
	struct sim_swarm_stats stats;
	struct hist *hist;           /* NULL: none is kept */
	uint32_t hist_clients, hist_readers;
	double p_lost_request, p_lost_answer, p_late, p_stale, p_again, p_odd;
};

extern struct sim *sim_world; /* the one that runs: one at a time */

/* sim.c */
uint64_t sim_rand(struct sim *s);
uint64_t sim_below(struct sim *s, uint64_t n);
bool sim_chance(struct sim *s, double p);
struct timer *sim_timer(struct sim *s, uint64_t after_ns, enum timer_kind kind, int a, int b);
bool sim_step(struct sim *s); /* one event; false: there is none */
void sim_unstash(struct sim *s, int i);     /* the process is gone: nobody waits for it any more */
void sim_go_on(struct sim *s, int i);       /* one after the other, in order */
int sim_index(const struct sim *s, const char *node);
void sim_say(struct sim *s, int node, const char *fmt, ...) _printf_(3, 4);
void sim_broken(struct sim *s, const char *fmt, ...) _printf_(2, 3); /* returns only with only_history */
void sim_refuted(struct sim *s, const char *fmt, ...) _printf_(2, 3) _noreturn_;
leash_id sim_random_id(struct sim *s);

/* sim_env.c */
void simenv_init(struct sim *s);
void simenv_timer(struct sim *s, struct timer *t);
uint64_t simclock_ns(const struct simnode *n);                        /* what its clock shows */
uint64_t simclock_after_ns(const struct simnode *n, uint64_t at_ns);  /* from now until it shows that, in true time */
void simclock_set(struct simnode *n, double rate, uint64_t forward_ns);

/* sim_node.c */
void simnode_start(struct sim *s, int i);
enum sim_end { SIM_END_KILL, SIM_END_POWER, SIM_END_EXIT };
void simnode_stop(struct sim *s, int i, enum sim_end how);
struct simnode *simnode_enter(struct sim *s, int i); /* its code runs now; NULL: it is not up */
struct rep *simnode_rep(const struct simnode *n);
void simnode_timer(struct sim *s, struct timer *t);
void simnode_drain(struct sim *s, int i); /* SIGTERM */
#define SIM_WRONG_CONFS  11 /* the last: */
#define SIM_FOREIGN_ETCD 11 /* the keys of another cluster, where this one's should be */

/* sim_log.c */
void simlog_timer(struct sim *s, struct timer *t);
void simlog_kick(struct sim *s, int i);
void simlog_crash(struct simnode *n); /* an operation under way may be done in part */
void simlog_opened(struct simnode *n);
void simlog_commit_back(struct simnode *n, leash_seq before);
void simlog_note(struct simnode *n);  /* enters what the log holds now into the account */
bool simlog_view(struct simnode *n, leash_seq seq, struct rlog_reader **reader, struct rlog_view *ret);

/* sim_disk.c */
void simdisk_node_init(struct simnode *n);
void simdisk_node_wipe(struct simnode *n);
bool simdisk_flip_somewhere(struct simnode *n, char what[128]);
bool simdisk_cut_somewhere(struct simnode *n, char what[128]);
bool simdisk_log_whole(struct simnode *n);
bool simdisk_meta_whole(struct simnode *n);

/* sim_net.c */
void simnet_send(struct sim *s, int from, const char *to, enum rep_link link, const struct rep_msg *m,
	struct drv_rec *const *recs, size_t n);
bool simnet_send_records(struct sim *s, int from, const char *to, const struct rep_msg *head, struct drv_rec *const *recs,
	size_t n);
void simnet_dial(struct sim *s, int from, int to, uint64_t after_ns);
void simnet_drop(struct sim *s, int from, int to);
void simnet_timer(struct sim *s, struct timer *t);
bool simnet_reaches(const struct sim *s, int from, int to);
void simnet_flight_free(struct flight *f);
void simnet_free(void);

/* sim_odd.c */
bool simodd_twist(struct sim *s, const struct simnode *to, const char **from, enum rep_link *link, struct rep_msg *m);
bool simodd_rare(const struct rep_msg *m);

/* sim_etcd.c */
struct rep_view simetcd_picture(struct sim *s);
struct lease *simetcd_lease(struct sim *s, uint64_t id);
uint64_t simetcd_grant(struct sim *s);
void simetcd_renew(struct sim *s, uint64_t id);
void simetcd_revoke(struct sim *s, uint64_t lease);
void simetcd_put_node(struct sim *s, int i, const struct rep_node *key);
void simetcd_apply(struct sim *s, struct etcd_call *c);
void simetcd_changed(struct sim *s);
void simetcd_expire(struct sim *s);
bool simetcd_reachable(const struct sim *s, int node);

/* sim_control.c */
void simcontrol_timer(struct sim *s, struct timer *t);
void simcontrol_watch(struct sim *s, int i, uint64_t after_ns);

/* sim_client.c */
int simclient_op(struct sim *s, struct op o); /* fills in what follows from the rest */
void simclient_body(const struct op *o, struct buf *out);
void simclient_timer(struct sim *s, struct timer *t);
void simclient_node_answer(struct sim *s, int node, const struct drv_waiter *w, const struct drv_answer *a);
int simclient_attempt(struct sim *s, int op, int node, int session, uint32_t hist);
void simclient_done(struct sim *s, int op, leash_seq seq, bool conflict);
void simclient_give_up(struct sim *s, int op);

/* sim_session.c */
void simsession_new(struct sim *s);
void simsession_append(struct sim *s, int k);
void simsession_timer(struct sim *s, struct timer *t);
void simsession_answer(struct sim *s, struct attempt *at, const struct drv_answer *a);

/* sim_reader.c */
void simreader_peek(struct sim *s);

/* sim_check.c */
void simcheck_commit(struct sim *s, int node, leash_seq commit);
void simcheck_insync(struct sim *s);
void simcheck_answer(struct sim *s, int op, leash_seq seq, bool conflict);
void simcheck_epoch(struct sim *s, int node, leash_epoch epoch, leash_id run);
void simcheck_sent(struct sim *s, int node, const struct rep_msg *m);
void simcheck_opened(struct sim *s, int node, const struct account *before);
void simcheck_record(struct sim *s, int node, leash_seq seq, const struct rec_header *h, struct bytes body);
void simcheck_rest(struct sim *s);
struct hash128 simcheck_key(const struct rec_body *b);

/* sim_hist.c */
void simhist_new(struct sim *s);
void simhist_id(const struct rec_body *b, char ret[SIM_ID_TEXT]);
void simhist_value(struct bytes body, char ret[SIM_VALUE_TEXT]);
void simhist_new_life(struct simnode *n);
uint32_t simhist_sent(struct sim *s, int op, int node);
uint32_t simhist_session_sent(struct sim *s, struct session *g, int op);
void simhist_answered(struct sim *s, uint32_t attempt, leash_seq seq, bool conflict);
void simhist_refused(struct sim *s, uint32_t attempt);
void simhist_read(struct sim *s, const struct simread *r, struct drv_rec *const *recs, size_t count, bool more);
void simhist_rest(struct sim *s);

/* sim_fault.c */
void simfault_timer(struct sim *s, struct timer *t);
void simfault_begin(struct sim *s);
void simfault_end_all(struct sim *s);
void simfault_free(struct sim *s);
void simfault_died(struct sim *s, int i, int exit_status); /* a process ended by itself */
void simfault_answer_lost(struct sim *s, struct simnode *n); /* of etcd */

#endif

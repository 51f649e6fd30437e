/*
 * A cluster in virtual time: real nodes (src/node above sockets and etcd, with src/replica, src/log, the driver and the
 * work of the log thread) over a simulated disk, network and etcd, in one thread, everything decided by one seed. For
 * tests of the protocol's rules and, with random faults, for finding what breaks them.
 *
 * What is simulated
 *   disk     simdisk.h: sectors, a page cache, names that are not durable before their directory is synced. What the log
 *            thread takes is written when the disk's time has passed; a crash comes between any two calls or inside one
 *   network  one connection per ordered pair; messages of a connection arrive in order or not at all; what is in flight
 *            on an old connection may arrive after the new one has opened, and once more; a partition eats messages, and
 *            connections that lost one never carry another; a dead process refuses, a dead or cut-off host stays silent
 *   etcd     linearizable transactions, leases, one watch per node (late, never out of order), stale reads; requests
 *            may be lost before or after they took effect, or take effect seconds late
 *   clocks   each node has its own, of its own rate
 *   clients  appends with ids, numbers of a producer, gateways' sessions, sent again and again to whoever may lead until
 *            answered; readers
 *
 * What is checked after every step (sim_check.c): one owner per epoch; nobody speaks in an epoch before its promise is on
 * disk; a committed position holds the same record wherever it is committed, shown or read; no id twice among them; an
 * answer names a committed position with the client's own record, the same for each retry; what is answered is on the disk
 * of min_insync nodes; whoever is in the in-sync set has all that is committed on its disk; a log that is opened holds what
 * was synced, and no promise is forgotten. At rest: everything answered, all logs equal byte for byte; and the history
 * of what clients saw holds, as a checker sees it that knows nothing else (sim_hist.c, tests/check/hist.h). A broken
 * promise prints seed and trace and aborts.
 *
 * Faults stay within what a cluster must survive: a disk loses what it synced only when a test says so, or one of a
 * cluster in which everybody has everything (sim_fault.c).
 */
#ifndef LEASH_TESTS_SIM_H
#define LEASH_TESTS_SIM_H

#include "replica/rep.h"

#define SIM_NODES_MAX 5
#define MS            UINT64_C(1000000)

struct sim_opts {
	int nodes;          /* 2..5, default 3: P1 S1 S2 S3 S4 */
	uint32_t min_insync; /* default 2 */
	uint64_t seed;
	enum rep_topology topology;
	uint64_t dedup_window; /* default 1000 */
	bool verbose;       /* trace to stderr as it happens */
	bool priorities;    /* nodes have some, other than their names say */
	bool no_start;      /* nodes are started by the test */
	uint64_t max_faults; /* swarm: fewer than these; 0 = any number */
	bool no_history;    /* swarm: without the history checker; all else is the same */
	bool only_history;  /* swarm: a broken promise that only the simulator's own checks see is passed over */

	/* sizes of a node; 0 = large enough not to be felt */
	uint64_t segment_bytes, reserve_bytes, retention_bytes, retention_time_ns, scrub_rate;
	uint64_t dedup_time_ns, dedup_records_max, heartbeat_ms;
	uint64_t cache_bytes, uncommitted_bytes, batch_bytes, link_bytes;
	uint32_t uncommitted_max;
};

struct sim;

struct sim *sim_new(struct sim_opts opts);
void sim_free(struct sim *s);

/* Time. */
void sim_run(struct sim *s, uint64_t ms);
bool sim_run_until(struct sim *s, bool (*cond)(struct sim *s), uint64_t ms); /* false: the deadline came first */
uint64_t sim_now_ms(const struct sim *s);

/* A client's append with an id such as "pay/7"; @node: first tried there, NULL: anywhere. It is retried until it is
 * answered. Returns the operation's index. */
int sim_append(struct sim *s, const char *node, const char *id, const char *value);
leash_seq sim_answer(const struct sim *s, int op); /* 0: not answered yet */
bool sim_conflict(const struct sim *s, int op);    /* answered: same id, other payload */
/* As sim_append() but sent once, to that node; no retry. */
int sim_append_once(struct sim *s, const char *node, const char *id, const char *value);

/* Processes. */
void sim_crash(struct sim *s, const char *node);  /* the power fails: what was not synced is lost, in any part */
void sim_start(struct sim *s, const char *node);
void sim_pause(struct sim *s, const char *node);
void sim_resume(struct sim *s, const char *node);
void sim_wipe(struct sim *s, const char *node);   /* of a crashed node: the data directory is gone */
void sim_freeze_disk(struct sim *s, const char *node, bool frozen); /* writes hang */
void sim_disk_full(struct sim *s, const char *node); /* what is not synced yet found no room */
void *sim_image(struct sim *s, const char *node); /* copy of a data directory */
void sim_image_free(void *image);
void sim_restore_image(struct sim *s, const char *node, const void *image); /* of a crashed node */
void sim_handover(struct sim *s, const char *node, const char *to, uint64_t within_ms);
void sim_rot(struct sim *s, const char *node, leash_seq seq);      /* this record is rotten, and a reader meets it */
void sim_damage(struct sim *s, const char *node, leash_seq first); /* likewise, and nobody could repair it */

/* Network. */
void sim_cut(struct sim *s, const char *a, const char *b); /* both ways; b NULL: from all nodes */
void sim_cut_one_way(struct sim *s, const char *from, const char *to);
void sim_heal(struct sim *s);                              /* all cuts between nodes */
void sim_delay(struct sim *s, const char *from, const char *to, uint64_t ms); /* what is sent from now on; 0: normal */
void sim_reset_link(struct sim *s, const char *a, const char *b); /* a's connection to b breaks, and is made anew */

/* etcd. */
enum sim_fault { SIM_FAULT_NONE, SIM_FAULT_LOST_REQUEST, SIM_FAULT_LOST_ANSWER, SIM_FAULT_LATE };
void sim_txn_fault(struct sim *s, const char *node, enum sim_fault fault, uint64_t late_ms); /* for its next transaction */
void sim_cut_etcd(struct sim *s, const char *node, bool cut);
void sim_etcd_down(struct sim *s, bool down);
void sim_etcd_wipe(struct sim *s); /* all keys are deleted */
void sim_etcd_lost(struct sim *s); /* it begins anew: leases and revisions, too */
void *sim_etcd_backup(struct sim *s); /* free() it */
void sim_etcd_restore(struct sim *s, const void *backup);
void sim_settings(struct sim *s, bool paused, const char *drained); /* an operator's; NULL: none is */
void sim_expire_lease(struct sim *s, const char *node);
void sim_recover(struct sim *s, const char *node); /* what `leash recover` writes, choosing this node */

/* What is the case. */
const char *sim_primary(const struct sim *s); /* the primary of the highest epoch that believes in it; NULL: none */
const struct rep_status *sim_status(struct sim *s, const char *node); /* valid until the next call; down: NULL */
leash_seq sim_log_end(const struct sim *s, const char *node);         /* on disk, also of a node that is down */
const struct rep_insync *sim_insync(const struct sim *s);             /* in etcd */
bool sim_logs_equal(const struct sim *s);
uint32_t sim_notes(const struct sim *s, const char *node, enum rep_note_kind kind); /* how often it was said */

/* The trace so far: "[ms] NODE text" lines of roles, set changes, commits and answers; compared as text. */
const char *sim_trace(const struct sim *s);

/* Random faults (swarm) for @ms with clients running, then everything heals and must come to rest: all operations
 * answered, all logs equal. Aborts with seed and trace when a promise broke. */
#define SIM_FAULTS 29
struct sim_swarm_stats {
	uint64_t steps, sim_ms, faults, takeovers, ops, answers, given_up, retries, reads, records;
	uint64_t txn_faults, etcd_restores, sessions_lost, failures, repairs;
	uint64_t kinds[SIM_FAULTS];
};
const char *sim_fault_name(int kind);
struct sim_opts sim_swarm_opts(uint64_t seed); /* a cluster as the seed has it */
struct sim_swarm_stats sim_swarm(struct sim *s, uint64_t ms);

#endif

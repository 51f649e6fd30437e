/*
 * The cluster's state as it stands in etcd under <engine>/ (design 3), and the transactions that change it. Pure data:
 * src/replica decides with it, src/etcd/keys.c turns it into JSON and back.
 */
#ifndef LEASH_BASE_CLUSTER_H
#define LEASH_BASE_CLUSTER_H

#include <stdbool.h>

#include "base/types.h"

#define REP_NODES_MAX 16 /* nodes of a cluster, absent ones included */

struct rep_member {
	char node[LEASH_NAME_MAX + 1];
	leash_id incarnation;
};

/* The value of <engine>/insync. */
struct rep_insync {
	bool present;
	uint64_t mod_revision;
	leash_id cluster;
	uint64_t version;
	uint64_t recovery; /* raised by each `leash recover` */
	leash_epoch epoch;
	uint32_t min_insync;
	uint64_t dedup_window;
	uint32_t n_members;
	struct rep_member members[REP_NODES_MAX]; /* in rank order */
};

/* The value of <engine>/leader. */
struct rep_leader {
	bool present;
	uint64_t mod_revision;
	char node[LEASH_NAME_MAX + 1];
	char address[LEASH_ADDR_MAX + 1];
	leash_epoch epoch;
	leash_id incarnation, run;
	uint64_t lease;
};

/* The value of <engine>/nodes/<name>. */
struct rep_node {
	char node[LEASH_NAME_MAX + 1];
	char address[LEASH_ADDR_MAX + 1];
	uint64_t mod_revision;
	leash_id incarnation, run, cluster;
	int32_t priority;
	leash_epoch log_epoch;
	leash_seq log_end;
};

/* One consistent picture of <engine>/ in etcd. */
struct rep_view {
	uint64_t revision;  /* of the answer's header */
	bool authoritative; /* came with a transaction that went through Raft; reads and watches may be stale (R0) */
	struct rep_leader leader;
	struct rep_insync insync;
	bool paused;        /* settings: no automatic takeover */
	uint32_t n_drained;
	char drained[REP_NODES_MAX][LEASH_NAME_MAX + 1];
	uint32_t n_nodes;
	struct rep_node nodes[REP_NODES_MAX];
};

enum rep_txn_kind {
	REP_TXN_BOOTSTRAP, /* founds a cluster: also guarded by the founders' nodes/ keys (.nodes) */
	REP_TXN_TAKEOVER,
	REP_TXN_CHANGE,    /* of the in-sync set, or a rewrite of its own value that ends an unknown one (R0a) */
	REP_TXN_CONFIRM,   /* puts the lost leader key back in the same epoch (R3a) */
	REP_TXN_HANDOVER,
};

/*
 * A transaction: if mod(leader) == leader_mod and mod(insync) == insync_mod (0 = absent), then put insync, and leader
 * when leader.present, on leader.lease; else read both. Always guarded by both, always rewrites insync (R0).
 */
struct rep_txn {
	uint64_t ticket; /* also distinguishes attempts; a repetition has the same content and a new ticket */
	enum rep_txn_kind kind;
	uint64_t leader_mod, insync_mod;
	struct rep_leader leader;
	struct rep_insync insync;
	uint32_t n_nodes; /* BOOTSTRAP: guards on nodes/ keys */
	struct {
		char node[LEASH_NAME_MAX + 1];
		uint64_t mod_revision;
	} nodes[REP_NODES_MAX];
};

#endif

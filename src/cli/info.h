/*
 * What nodes say about themselves (PEER_INFO_NODE), asked of all at the same time.
 */
#ifndef LEASH_CLI_INFO_H
#define LEASH_CLI_INFO_H

#include <json-c/json.h>

#include "base/cluster.h"
#include "cli/peerc.h"

#define INFO_NODES_MAX (2 * REP_NODES_MAX) /* etcd's and the command line's */

/* How a peer stands with the node that was asked. */
struct info_peer {
	char node[LEASH_NAME_MAX + 1];
	bool linked, insync;
	leash_seq matched;
	char why_absent[96]; /* "" when in sync, or not known */
};

struct info_node {
	/* what to ask */
	char name[LEASH_NAME_MAX + 1]; /* as etcd has it; "" = not known before the answer */
	char address[LEASH_ADDR_MAX + 1];

	/* what came back */
	bool heard;
	int error;             /* not heard: negative errno */
	char why[PEERC_TEXT];  /* not heard */
	struct json_object *json; /* the whole answer; owned */
	char node[LEASH_NAME_MAX + 1];
	char engine[LEASH_NAME_MAX + 1];
	char role[16], primary[LEASH_NAME_MAX + 1], primary_address[LEASH_ADDR_MAX + 1], halted[128];
	leash_epoch epoch;     /* that it leads or follows */
	leash_id cluster, incarnation, run;
	leash_epoch promise, log_epoch, last_epoch;
	bool has_last_epoch;   /* the answer says it */
	leash_seq log_matched, log_start, log_end, commit; /* commit: what readers may see there */
	uint64_t insync_version, recovery, dedup_window;
	uint32_t min_insync;
	struct rep_member members[REP_NODES_MAX]; /* the in-sync set as it knows it */
	uint32_t n_members;
	bool serving;          /* a primary that answers reads */
	bool etcd_reachable;
	bool below_min;        /* a primary that cannot commit */
	bool state_gone;       /* it finds nothing of the cluster in etcd */
	struct info_peer peers[REP_NODES_MAX];
	uint32_t n_peers;
};

/* Asks all of them; returns when each has answered or failed, @timeout_ms at the latest but for name lookups. */
void info_ask(struct info_node *nodes, size_t n, const char *engine, uint32_t timeout_ms);

void info_deinit(struct info_node *nodes, size_t n);

/* Fills @node from the JSON of an answer. False: it is no JSON object. Fields that are missing stay 0. */
bool info_read(struct info_node *node, struct bytes json);

/* True when @who, the same life of its data directory, is in the in-sync set that @node knows. */
bool info_is_member(const struct info_node *node, const struct info_node *who);

/* "unreachable", "refused" ... for a node that was not heard. */
const char *info_absence(const struct info_node *node);

#endif

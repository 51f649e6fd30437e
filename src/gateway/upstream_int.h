/* What upstream.c and reads.c share. */
#ifndef LEASH_GATEWAY_UPSTREAM_INT_H
#define LEASH_GATEWAY_UPSTREAM_INT_H

#include "base/table.h"
#include "gateway/upstream.h"

/* A node: the connection, and what it last said of itself. */
struct node_link {
	struct upstream *up;
	struct link *link;
	char node[LEASH_NAME_MAX + 1]; /* as the book calls it */
	char says[LEASH_NAME_MAX + 1]; /* as it calls itself */
	enum peer_role role;
	leash_id cluster; /* as WELCOME said; 0: it belonged to none then */
	leash_epoch epoch;
	leash_id run;
	leash_seq commit, log_start;
	bool told; /* a STATUS came on this connection */
	bool serving, holding;
	uint64_t denied_until_ns; /* it refused as not primary, and has not said anything since */
	uint32_t n_insync, min_insync;
	struct pipe_limits limits;
};

/* A read, or a question for the stream's numbers. In `waiting` (unsent) or `sent`. */
struct upread {
	struct front_op *op;
	bool stream;
	struct front_read r;
	uint64_t arrived_ns;
	uint64_t token;
	uint64_t conn; /* sent on */
	struct upread *prev, *next;
	UT_hash_handle hh; /* by token, while sent */
};

struct upstream {
	struct link_env *env;
	struct book_slot *slot;
	struct book_target target; /* as last read */
	struct front_engine *engine;
	struct pipe *pipe;
	uint64_t hold_timeout_ns;
	struct node_link *nodes[REP_NODES_MAX];
	uint32_t n_nodes;
	struct node_link *primary; /* of .nodes; the one that messages go to */
	leash_id cluster;          /* of the last primary; 0: there was none */
	bool attached;             /* reported to the book */
	leash_epoch attached_epoch;
	char attached_node[LEASH_NAME_MAX + 1];
	uint64_t denied_until_ns; /* the earliest of the nodes'; UINT64_MAX: none */
	bool dirty;
	bool full; /* somebody was told that there is no room */

	struct upread *waiting, *sent;
	uint32_t n_sent;
	uint64_t read_token;
	uint64_t read_retry_ns;

	uint64_t appends; /* since they were counted last */
	struct pipe_stats counted;
	int64_t in_flight, held;
};

/* ---- reads.c */
void reads_pump(struct upstream *u, uint64_t now_ns);
void reads_requeue(struct upstream *u); /* all that was sent waits again */
void reads_cancel(struct upstream *u, struct upread *r);
void reads_give_up(struct upstream *u);
uint64_t reads_wakeup_ns(const struct upstream *u);
void reads_records(
	struct upstream *u, struct node_link *n, const struct peer_records *m, const struct peer_view *views);
void reads_info(struct upstream *u, struct node_link *n, const struct peer_info_data *m);

/* ---- stream_json.c: the answer to PEER_INFO_STREAM into @s. False: it makes no sense. */
bool stream_json_decode(struct bytes json, struct front_stream *s) _must_check_;

#endif

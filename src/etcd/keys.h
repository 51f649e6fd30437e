/*
 * The keys of an engine in etcd (design 3): their names, their JSON, and the picture of the whole (struct rep_view).
 * Nodes, gateways and the command line all read and write them through this. Pure.
 *
 *     <engine>/leader        struct rep_leader     on the primary's lease
 *     <engine>/insync        struct rep_insync
 *     <engine>/nodes/<name>  struct rep_node       on the node's lease
 *     <engine>/settings      struct keys_settings
 *     <engine>/request       struct keys_request
 *
 * Ids are 16 hex digits, 0 stands for none where that has a meaning; epochs, versions and sequence numbers are JSON
 * integers from 0 to 2^63 - 1. Decoders are strict and total: what is missing, of the wrong type or out of range is
 * KEYS_E_MALFORMED with a reason, never a guess. Fields that are not known are ignored: a newer release may write them.
 */
#ifndef LEASH_ETCD_KEYS_H
#define LEASH_ETCD_KEYS_H

#include "base/buf.h"
#include "base/cluster.h"
#include "etcd/etcd.h"

#define KEYS_NAME_MAX    (2 * LEASH_NAME_MAX + 8) /* bytes of a key, without the NUL */
#define KEYS_VALUE_MAX   65536                    /* bytes of a value that a decoder looks at */
#define KEYS_RELEASE_MAX 63
#define KEYS_TEXT_MAX    255                      /* bytes of the text in an answered request */
#define KEYS_REASON_MAX  160                      /* bytes of a reason, with the NUL */

#define KEYS_E_MALFORMED 1

/* ----------------------------------------------------------------------------------------------------------- names */

enum keys_kind { KEYS_LEADER, KEYS_INSYNC, KEYS_NODE, KEYS_SETTINGS, KEYS_REQUEST, KEYS_OTHER };

/* Writes "<engine>/" (what a range or watch with .prefix takes), "<engine>/leader" ... and returns @to. */
char *keys_prefix(const char *engine, char to[KEYS_NAME_MAX + 1]);
char *keys_name(const char *engine, enum keys_kind kind, const char *node, char to[KEYS_NAME_MAX + 1]);

/* What @key of @engine is; KEYS_NODE: its name goes to @ret_node. KEYS_OTHER: none of ours. */
enum keys_kind keys_kind_of(const char *engine, struct bytes key, char ret_node[LEASH_NAME_MAX + 1]);

/* ---------------------------------------------------------------------------------------------------------- values */

struct keys_settings {
	bool paused; /* no automatic takeover */
	uint32_t n_drained;
	char drained[REP_NODES_MAX][LEASH_NAME_MAX + 1]; /* these do not become primary */
};

enum keys_request_op { KEYS_OP_SWITCHOVER };
enum keys_request_state { KEYS_REQUEST_OPEN, KEYS_REQUEST_DONE, KEYS_REQUEST_FAILED };

struct keys_request {
	enum keys_request_op op;
	leash_id id;                  /* of this request; random, never 0 */
	char to[LEASH_NAME_MAX + 1];  /* "" = the best one */
	enum keys_request_state state; /* absent in JSON while open */
	char text[KEYS_TEXT_MAX + 1]; /* for the operator; only when it is not open */
};

/*
 * Append the value's JSON to @out. 0, -ENOMEM, -ENOBUFS. Fields that come from etcd itself (present, mod_revision,
 * lease) are not written. A number over 2^63 - 1 is a bug of the caller.
 */
int keys_leader_encode(const struct rep_leader *l, struct buf *out) _must_check_;
int keys_insync_encode(const struct rep_insync *set, struct buf *out) _must_check_;
int keys_node_encode(const struct rep_node *n, const char *release, struct buf *out) _must_check_;
int keys_settings_encode(const struct keys_settings *s, struct buf *out) _must_check_;
int keys_request_encode(const struct keys_request *q, struct buf *out) _must_check_;

/*
 * 0; KEYS_E_MALFORMED with @reason; -ENOMEM. Results are set on 0 only; present, mod_revision and lease are left 0
 * (false). @ret_release may be NULL.
 */
int keys_leader_decode(struct bytes json, struct rep_leader *ret_leader, char reason[KEYS_REASON_MAX]) _must_check_;
int keys_insync_decode(struct bytes json, struct rep_insync *ret_set, char reason[KEYS_REASON_MAX]) _must_check_;
int keys_node_decode(struct bytes json, struct rep_node *ret_node, char ret_release[KEYS_RELEASE_MAX + 1],
	char reason[KEYS_REASON_MAX]) _must_check_;
int keys_settings_decode(struct bytes json, struct keys_settings *ret_settings, char reason[KEYS_REASON_MAX])
	_must_check_;
int keys_request_decode(struct bytes json, struct keys_request *ret_request, char reason[KEYS_REASON_MAX])
	_must_check_;

/* ------------------------------------------------------------------------------------------------------------ view */

/*
 * All keys of one engine at one revision. A leader or insync that cannot be read makes the whole picture useless: it
 * is `broken` and must not be acted upon. Other keys that cannot be read are left out. In both cases `n_bad` counts
 * them and `bad` has the first reason.
 */
struct keys_view {
	char engine[LEASH_NAME_MAX + 1];
	struct rep_view view;
	bool has_request;
	struct keys_request request;
	uint64_t request_mod;
	char releases[REP_NODES_MAX][KEYS_RELEASE_MAX + 1]; /* of view.nodes[i] */
	bool broken;
	uint32_t n_bad;
	char bad[KEYS_NAME_MAX + 2 + KEYS_REASON_MAX]; /* "<key>: reason", for messages */
};

/* An empty picture of @revision; @authoritative: it came with a transaction (R0). */
void keys_view_init(struct keys_view *v, const char *engine, uint64_t revision, bool authoritative);

/* Adds one key with its value as etcd gave it; keys that are not of this engine are ignored. 0, -ENOMEM. */
int keys_view_add(struct keys_view *v, const struct etcd_kv *kv) _must_check_;

/* All of a range over keys_prefix(). 0, -ENOMEM. */
int keys_view_of_range(const char *engine, uint64_t revision, bool authoritative, const struct etcd_kv *kvs,
	size_t n_kvs, struct keys_view *ret_view) _must_check_;

#endif

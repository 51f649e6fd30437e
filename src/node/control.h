/*
 * The control plane of a node: what it does with etcd.
 *
 *  - A lease, renewed at a third of its life; a new one when it is gone. On it: nodes/<name>, and the leader key when
 *    this node leads.
 *  - Pictures of <engine>/ (struct keys_view): by a watch, in the order of revisions, by reads, by transactions. A picture
 *    of the watch that is older than one handed out before is not handed out.
 *  - Transactions of the state machine. Their outcome is UNSENT only when etcd certainly did not and will not apply
 *    them; everything doubtful is UNKNOWN (R0a).
 *  - A transaction that rewrites nodes/<name> and reads everything (probe), when asked for and every 30 s.
 *
 * Belongs to the loop's thread. Callbacks come from the loop; those of control_txn() also from inside the call when
 * nothing could be sent.
 */
#ifndef LEASH_NODE_CONTROL_H
#define LEASH_NODE_CONTROL_H

#include "etcd/keys.h"

struct control;
struct event_base;

struct control_conf {
	const char *engine, *node, *release; /* stay the caller's */
	uint32_t lease_ttl_s;
	const char *lease_file;              /* NULL: none */
};

enum control_txn_outcome { CONTROL_TXN_DONE, CONTROL_TXN_FAILED, CONTROL_TXN_UNKNOWN, CONTROL_TXN_UNSENT };

struct control_ops {
	void *ctx;
	void (*view)(void *ctx, const struct keys_view *v);
	/* DONE: @revision. FAILED: @v, complete and authoritative. */
	void (*txn)(void *ctx, uint64_t ticket, enum control_txn_outcome outcome, uint64_t revision,
		const struct keys_view *v);
	void (*lease)(void *ctx, uint64_t lease); /* 0: gone */
	void (*describe)(void *ctx, struct rep_node *ret_node); /* what nodes/<name> is to say now */
	bool (*may_renew)(void *ctx);             /* R11a: false while the disk hangs; asked before each beat */
	void (*reachable)(void *ctx, bool reachable, const char *why); /* on change only */
	void (*unreadable)(void *ctx, const char *what); /* a key does not decode; once per text */
	void (*stopped)(void *ctx);               /* control_stop() is through */
};

/* Nothing is sent yet. 0, -ENOMEM, or what etcd_new() says of @etcd. */
int control_new(const struct control_conf *conf, const struct etcd_conf *etcd, struct event_base *base,
	const struct control_ops *ops, struct control **ret_control) _must_check_;
void control_free(struct control *c); /* NULL is fine. Not from a callback */

int control_start(struct control *c) _must_check_; /* 0, -ENOMEM ... */
void control_stop(struct control *c);  /* revokes the lease (waits a few seconds at most), then ops->stopped */

/* The disk hangs: gives the lease back and takes no new one while may_renew() says no. */
void control_resign(struct control *c);

void control_txn(struct control *c, const struct rep_txn *txn);
void control_read(struct control *c);
void control_probe(struct control *c);
void control_announce(struct control *c);

/* Writes the outcome into <engine>/request, unless that has changed since @mod_revision. */
void control_answer_request(struct control *c, const struct keys_request *q, uint64_t mod_revision);

uint64_t control_lease(const struct control *c);
bool control_reachable(const struct control *c);

#endif

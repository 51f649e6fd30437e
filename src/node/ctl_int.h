/*
 * Inside of the control plane: control.c life, reads, probes; ctl_txn.c transactions; ctl_lease.c the lease and
 * nodes/<name>; ctl_watch.c pictures.
 */
#ifndef LEASH_NODE_CTL_INT_H
#define LEASH_NODE_CTL_INT_H

#include <event2/event.h>

#include "etcd/watch.h"
#include "node/control.h"

#define CTL_CALL_MS        2000
#define CTL_REVOKE_MS      2000
#define CTL_BACKOFF_MIN_MS 100
#define CTL_BACKOFF_MAX_MS 2000
#define CTL_PROBE_MS       30000
#define CTL_STUCK_LOOK_MS  100 /* how often may_renew() is asked again */
#define CTL_KEYS_MAX       64  /* keys under <engine>/ that are kept; nodes are at most REP_NODES_MAX */
#define CTL_REQUEST_TRIES  8

struct ctl_key {
	struct buf text; /* key, NUL, value, NUL */
	struct etcd_kv kv;
};

struct control {
	struct control_conf conf;
	struct control_ops ops;
	struct etcd *etcd;
	struct etcd_watch *watch;
	char prefix[KEYS_NAME_MAX + 1], node_key[KEYS_NAME_MAX + 1];
	bool stopping, stopped;

	/* pictures */
	struct ctl_key keys[CTL_KEYS_MAX];
	size_t n_keys;
	uint64_t last_revision; /* of the newest picture handed out */
	char unreadable[256];   /* last told */

	/* lease */
	struct event *beat;
	struct etcd_call *lease_call; /* grant, keepalive or revoke under way */
	int lease_fd;                 /* the lease's file, locked while this process lives; -1: none */
	uint64_t lease, ttl_s;
	uint32_t lease_backoff_ms;
	bool resigned;

	/* nodes/<name> */
	struct event *announce_timer;
	struct etcd_call *put_call;
	uint64_t put_lease, probe_lease; /* which the put and the probe under way name */
	bool announce_wanted, probe_wanted;
	uint32_t put_backoff_ms;

	struct event *probe_timer;
	struct etcd_call *read_call, *probe_call;
	bool read_again;

	/* the answer to a request */
	struct event *request_timer;
	struct etcd_call *request_call;
	struct keys_request request;
	uint64_t request_mod;
	uint32_t request_tries;

	uint32_t failures; /* in a row */
	bool reachable, told_unreachable;
};

struct timeval ctl_ms(uint64_t ms);
uint32_t ctl_backoff(uint32_t *ms);                                  /* the next pause */
void ctl_result(struct control *c, const struct etcd_answer *a);     /* for the account of reachability */

/* Hands out the range's picture. False: it is unusable. */
bool ctl_range_view(struct control *c, const struct etcd_range_resp *range, uint64_t revision, bool authoritative,
	struct keys_view **ret_view) _must_check_;
void ctl_give_view(struct control *c, const struct keys_view *v);
int ctl_watch_start(struct control *c) _must_check_;
void ctl_watch_stop(struct control *c);

int ctl_lease_init(struct control *c) _must_check_;
void ctl_lease_start(struct control *c);
void ctl_lease_stop(struct control *c);
void ctl_lease_gone(struct control *c); /* etcd says so */
/* The value of nodes/<name> at the end of @b. 0, negative errno. */
int ctl_node_value(struct control *c, struct buf *b) _must_check_;

int ctl_request_init(struct control *c) _must_check_;

#endif

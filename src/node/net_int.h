/* What the files of the network share. Only for src/node/net*.c and conn.c. */
#ifndef LEASH_NODE_NET_INT_H
#define LEASH_NODE_NET_INT_H

#include <event2/event.h>
#include <event2/util.h>
#include <utlist.h>

#include "front/front.h"
#include "node/net.h"
#include "wire/peer_data.h"

#define NET_READ_BYTES    (128u * 1024) /* of one read(2): what is made of it stays in the processor's caches */
#define NET_WRITE_BYTES   (1u << 20)    /* of one write(2) */
#define NET_BUF_KEEP      (2u << 20)    /* of connections to nodes and gateways: they are few, and much goes through them */
#define NET_READS_MAX     64u           /* READs under way of one connection */
#define NET_ACCEPT_TURN   64u           /* connections accepted in one turn */
#define NET_REDIAL_MIN_NS UINT64_C(20000000)
#define NET_REDIAL_MAX_NS UINT64_C(1000000000)

struct conn;

/* What a connection is. `fresh` ones are nothing yet: their first bytes decide. */
struct conn_class {
	const char *name;
	void (*feed)(struct conn *c);              /* there is new input */
	void (*turn)(struct conn *c);              /* at the end of a turn in which it was touched; may be NULL */
	bool (*wants_input)(const struct conn *c);
	void (*eof)(struct conn *c);               /* the other side sends no more; may be NULL: close */
	void (*drained)(struct conn *c);           /* the output is below half its bound; may be NULL */
	void (*connected)(struct conn *c);         /* dialled ones; may be NULL */
	void (*closed)(struct conn *c, int error); /* take it apart; the socket is closed already */
};

/* One socket. The buffers are its own, or the front's. Belongs to the loop. */
struct conn {
	struct net *net;
	const struct conn_class *class;
	void *data;                 /* the class's own */
	int fd;                     /* -1: doomed */
	struct event *ev_read, *ev_write;
	bool reading, writing;      /* which events are armed */
	bool connecting, greeted, control, touched, serving, again, doomed;
	bool closing;               /* when the output is written */
	int error;                  /* doomed: why; 0 = the other side ended it, or we did */
	struct buf own_in, own_out, *in, *out;
	char address[LEASH_ADDR_MAX + 1];
	struct conn *prev, *next;
	struct conn *next_touched, *next_doomed;
};

/* What the owner of a struct drv_waiter is: of a SUBMIT the struct conn, of the front's appends a struct submit. */
enum { NET_WAITS_CONN, NET_WAITS_FRONT };

/* An append of the front, or of whom ever when it is held back. */
struct submit {
	struct net *net;
	struct conn *conn;        /* SUBMIT of a data connection, else NULL */
	struct front_op *op;      /* of the front, else NULL */
	uint64_t token;
	uint32_t bytes;
	bool submitted;           /* the node has it */
	leash_seq waits;          /* where, of node_submit(); 0: nowhere */
	uint64_t deadline_ns;
	struct buf body;          /* while held */
	struct submit *prev, *next;
};

/* A read on its way. */
struct net_read {
	struct net *net;
	struct node_read *read;
	struct conn *conn;
	struct front_op *op;
	uint64_t token;
	bool reverse;
	struct net_read *prev, *next;
};

struct peer_link;
struct switchover;

struct net {
	struct net_conf conf;
	struct net_ops ops;
	struct event_base *base;
	struct evdns_base *dns;      /* made when first needed */
	struct node *node;           /* NULL: not attached */
	struct front *front;
	struct front_engine *engine;
	uint64_t now_ns;             /* of this turn */

	/* net_ev.c */
	struct event *ev_turn, *ev_timer, *ev_listen, *ev_control;
	int listen_fd, control_fd;
	char *control_path;          /* ours to unlink */
	bool accept_paused;
	uint64_t accept_again_ns;

	struct conn *conns, *touched, *doomed;
	uint32_t n_conns;
	bool turn_due, draining;
	uint8_t *scratch;            /* NET_READ_BYTES */

	/* net_submit.c */
	struct submit *submits;      /* of the front, with the node, in the order of submission */
	struct submit *held;         /* waiting for room, in the order of arrival */
	bool submitting;             /* inside node_submit() */
	bool hold_answer;            /* it said HOLD */
	bool invalid_answer;         /* it said INVALID to a data connection */
	bool refeed;
	size_t held_bytes;
	struct submit *spare_submits; /* by .next */

	/* net_read.c, net_admin.c */
	struct net_read *reads;
	struct switchover *switchovers;

	/* net_data.c */
	bool status_changed, status_moved;
	uint64_t status_sent_ns, status_every_ns; /* commit movement: when it was pushed last, how often it may be */

	/* net_peer.c */
	struct peer_link *links;
	uint64_t conn_no;            /* of the last connection made to a peer */
	struct peer_scratch decode;  /* arrays for incoming replica messages */
	struct drv_arena arena;      /* of records that came in */
	struct drv_rec **recs;       /* REP_BATCH_MAX */
	struct bytes *pieces;        /* REP_BATCH_MAX */

	uint64_t turns;
	struct net_counters counters;
};

/* ---- net_ev.c: the only file that makes, arms and frees events; conn_* */
int conn_new(struct net *net, int fd, const struct conn_class *class, struct conn **ret_conn) _must_check_;
void conn_become(struct conn *c, const struct conn_class *class, void *data);
void conn_bulk(struct conn *c);              /* its buffers keep their memory, and are read into */
void conn_touch(struct conn *c);             /* something to do at the end of the turn: output, other interest */
void conn_again(struct conn *c);             /* from inside turn(): it needs another one */
void conn_close(struct conn *c, int error);  /* now; ->closed and the memory go at the end of the turn */
void conn_finish(struct conn *c);            /* when the output is written */
void net_turn_due(struct net *net);
int net_ev_init(struct net *net) _must_check_;
void net_ev_deinit(struct net *net);
int net_ev_listen(struct net *net) _must_check_;
uint64_t net_deadline_ns(const struct net *net);   /* net.c: when net_tick() is due */
void net_tick(struct net *net);                    /* net.c */
void net_end_of_turn(struct net *net);             /* net.c: before the touched connections are served */

/* ---- net.c */
void net_accepted(struct net *net, int fd, bool control);

/* ---- net_resp.c: RESP clients */
int net_resp_init(struct net *net) _must_check_;
void net_resp_begin(struct conn *c); /* a fresh connection turned out to speak RESP */
void net_resp_tell(struct net *net); /* role, commit, secondaries -> front */

/* ---- net_submit.c */
int net_submit_front(struct net *net, struct front_op *op, struct bytes body) _must_check_;
void net_submit_conn(struct net *net, struct conn *conn, uint64_t token, struct bytes body);
void net_answer(void *ctx, const struct drv_waiter *w, const struct drv_answer *a);
void net_refeed(struct net *net);            /* what is held may be fed again */
void net_submit_forget(struct submit *s);    /* of the front: whoever waited is gone */
void net_submit_forget_conn(struct net *net, struct conn *conn);
void net_submit_deinit(struct net *net);
uint64_t net_submit_deadline_ns(const struct net *net);
void net_submit_tick(struct net *net);

/* ---- net_read.c */
int net_read(struct net *net, struct conn *conn, struct front_op *op, const struct peer_read *r) _must_check_;
void net_read_forget(struct net_read *r);
void net_read_forget_conn(struct net *net, struct conn *conn);

/* ---- net_peer.c: links between nodes */
int net_peer_init(struct net *net) _must_check_;
void net_peer_deinit(struct net *net);
void net_peer_begin(struct conn *c);         /* a fresh connection sent the preface */
void net_peer_view(struct net *net, const struct keys_view *v);
void net_peer_tick(struct net *net);
uint64_t net_peer_deadline_ns(const struct net *net);
void net_peer_send(void *ctx, const char *node, enum rep_link link, const struct rep_msg *m);
bool net_peer_send_records(void *ctx, const char *node, const struct rep_msg *head, struct drv_rec *const *recs,
	size_t n);

/* ---- net_data.c: gateways and tools */
void net_data_begin(struct conn *c, const struct peer_hello *hello);
void net_data_result(struct conn *c, const struct peer_result *result, size_t bytes);
void net_data_records(struct conn *c, uint64_t token, enum peer_status_code status, struct drv_rec *const *recs,
	size_t n, bool more, bool reverse);
void net_data_push_status(struct net *net);
uint64_t net_data_deadline_ns(const struct net *net);
bool net_data_unanswered(const struct conn *c); /* appends, or output */
extern const struct conn_class data_class;
extern const struct conn_class resp_class;
void net_welcome(struct net *net, struct peer_hello *ret_hello);
void net_reject(struct conn *c, enum peer_reject_code code, const char *text);

/* ---- net_admin.c */
typedef void (*net_admin_fn)(void *ctx, bool ok, struct bytes text);
void net_admin(struct net *net, const struct bytes *argv, uint32_t argc, net_admin_fn fn, void *ctx);
void net_admin_forget(struct net *net, void *ctx);
void net_admin_deinit(struct net *net); /* the node calls back no more */

#endif

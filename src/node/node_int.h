/*
 * Inside of the node: node.c life, what comes in, timers; node_open.c opening the log; node_io.c what the driver, the
 * log thread and the control plane ask for or tell; node_repair.c repair in place; node_admin.c hand-over, requests, the sick disk; node_read.c ranges;
 * node_status.c JSON.
 */
#ifndef LEASH_NODE_NODE_INT_H
#define LEASH_NODE_NODE_INT_H

#include <event2/event.h>

#include "node/control.h"
#include "node/logthread.h"
#include "node/node.h"
#include "node/repair.h"

#define NODE_ANNOUNCE_NS  (1000 * UINT64_C(1000000)) /* between announcements because our key is missing */
#define NODE_DISK_LOOK_NS (100 * UINT64_C(1000000))
#define NODE_TIMER_NS     (500 * UINT64_C(1000)) /* between two ticks, at least */
#define NODE_REQUEST_NS   (10 * UINT64_C(1000000000)) /* an operator's switchover has this long */

struct node_fetch {
	struct node *n;
	char node[LEASH_NAME_MAX + 1];
	struct logthread_read *read; /* NULL: free */
};

/* Records read for another node's repair. */
struct node_gift {
	struct node *n;
	char to[LEASH_NAME_MAX + 1];
	leash_seq first, last;
	bool again;                  /* the connection was busy: when it is not */
	struct logthread_read *read; /* NULL: none under way */
};

/* Our connection to another node, to be told again. */
struct node_link {
	char node[LEASH_NAME_MAX + 1];
	bool up, refused;
	uint64_t conn;
};

struct node {
	struct node_conf conf;
	struct node_net net;
	struct event_base *base;
	struct event *turn, *timer;
	uint64_t timer_ns; /* when the timer is due; 0: it is not armed */
	bool turn_due, dead, stopping, stopped;

	leash_id run;
	struct drv *drv;
	struct logthread *lt;
	struct control *control;
	struct keys_view view;
	bool view_known;
	leash_seq log_start;
	char damage_text[256];    /* what was found last and is not set aside; "": nothing */
	uint64_t announced_ns;

	struct repair *repair;
	bool dormant;             /* the log was damaged when it was opened and is being repaired */
	bool give_up;             /* damage is set aside when opening, under a new incarnation */
	bool reopen_due;
	leash_seq damage_first;   /* dormant: the first damaged record */
	struct node_gift gifts[REP_NODES_MAX];
	struct node_link links[REP_NODES_MAX];

	struct node_fetch fetches[REP_NODES_MAX];
	struct node_read *reads;
	uint32_t n_reads;

	struct {
		bool active;
		node_handover_fn fn;
		void *ctx;
	} hand;
	leash_id request_id;      /* the last one that was taken up */
	uint64_t request_mod;
	struct keys_request request;
	uint64_t stop_deadline_ns;

	bool disk_sick, disk_moving; /* sick: over its budget; moving: a hand-over because of it was asked for */
	uint64_t disk_looked_ns;
	struct node_counters counters;
};

void node_kick(struct node *n); /* the turn's end is due */
void node_fatal(struct node *n, int exit_status);

/* node.c: log, driver, log thread. As node_new(). */
int node_open_all(struct node *n, char reason[256]) _must_check_;

/* node_repair.c */
int node_repair_init(struct node *n) _must_check_;
void node_repair_dormant(struct node *n);   /* begins, once the log thread is there */
void node_reopen(struct node *n);           /* at the end of a repair while dormant; not from inside a callback */
bool node_repair_msg(struct node *n, const char *from, const struct rep_msg *m, struct drv_rec *const *recs);
void node_repair_link(struct node *n, const char *peer, bool up, uint64_t conn, bool refused);
void node_repair_writable(struct node *n, const char *peer);

/* node_open.c */
int node_open(struct node *n, struct rlog **ret_log, struct rlog_meta *ret_meta, char reason[256]) _must_check_;

/* node_io.c */
extern const struct drv_io node_drv_io;         /* without ctx */
extern const struct logthread_ops node_lt_ops;
extern const struct control_ops node_ctl_ops;

/* node_admin.c */
void node_admin_note(struct node *n, const struct rep_note *note);
void node_admin_changed(struct node *n);
void node_admin_view(struct node *n);
void node_admin_disk(struct node *n, uint64_t now_ns);
void node_begin_handover(struct node *n, const char *to, bool leaving, uint64_t deadline_ns, node_handover_fn fn,
	void *ctx);

/* node_read.c */
void node_reads_free(struct node *n);

#endif

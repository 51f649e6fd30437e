#include "node/node_int.h"

#include <errno.h>

#include "base/clk.h"
#include "base/ids.h"
#include "node/diag_node.h"

int node_exit_status(int error)
{
	switch (error) {
	case NODE_E_CONF:
	case NODE_E_FOREIGN: return 78;
	case NODE_E_DAMAGED: return 65;
	case NODE_E_IO: return 74;
	default: return 1;
	}
}

void node_fatal(struct node *n, int exit_status)
{
	if (n->dead)
		return;
	n->dead = true;
	n->net.fatal(n->net.ctx, exit_status);
}

/* ------------------------------------------------------------------------------------------------------------- turns */

/*
 * Each turn of a busy node comes here. The disk's time is counted from the last look, and a timer that is due early enough
 * stays as it is: put off by each turn it would never come.
 */
static void arm_timer(struct node *n)
{
	uint64_t now = clk_boot_ns(), at = MIN2(drv_wakeup_ns(n->drv), repair_wakeup_ns(n->repair)), us;
	struct timeval tv;

	at = MIN2(at, n->disk_looked_ns + NODE_DISK_LOOK_NS);
	at = MAX2(at, now + NODE_TIMER_NS);
	if (n->timer_ns && n->timer_ns <= at)
		return;
	n->timer_ns = at;
	us = (at - now) / NS_PER_US;
	tv = (struct timeval){ .tv_sec = (time_t)(us / 1000000), .tv_usec = (suseconds_t)(us % 1000000) };
	(void)event_add(n->timer, &tv);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct node *n = arg;

	(void)fd, (void)what;
	n->turn_due = false;
	if (n->dead)
		return;
	if (n->reopen_due && !n->stopping)
		node_reopen(n);
	if (n->dead)
		return;
	drv_flush(n->drv, clk_boot_ns());
	arm_timer(n);
}

void node_kick(struct node *n)
{
	if (n->turn_due || n->dead)
		return;
	n->turn_due = true;
	event_active(n->turn, 0, 0); /* behind what is already active: everything of this turn goes into one batch */
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct node *n = arg;
	uint64_t now = clk_boot_ns();

	(void)fd, (void)what;
	n->timer_ns = 0;
	if (n->dead)
		return;
	drv_event(n->drv, &(struct rep_event){ .kind = REP_EV_TICK, .now_ns = now });
	repair_tick(n->repair, now);
	if (now - n->disk_looked_ns >= NODE_DISK_LOOK_NS / 2) {
		n->disk_looked_ns = now;
		node_admin_disk(n, now);
	}
	node_kick(n);
}

/* -------------------------------------------------------------------------------------------------------------- life */

static int conf_check(const struct node_conf *c, char reason[256])
{
	const char *bad = NULL;

	if (!name_valid(c->engine) || !name_valid(c->node))
		bad = "engine or node is no valid name";
	else if (!c->address || strlen(c->address) > LEASH_ADDR_MAX || strlen(c->release) > KEYS_RELEASE_MAX)
		bad = "address or release is too long";
	else if (c->record_bytes_max <= REC_HEADER_BYTES + REC_BODY_BYTES_MIN)
		bad = "the largest record is too small";
	else if (c->lease_ttl_s == 0 || c->n_founders > REP_NODES_MAX)
		bad = "no lease time, or too many founders";
	if (!bad)
		return 0;
	memcpy(reason, bad, strlen(bad) + 1);
	return NODE_E_CONF;
}

static int make_threads(struct node *n, struct rlog *log, const struct rlog_meta *meta)
{
	struct logthread_conf conf = { .dir = n->conf.dir, .ops = n->conf.ops,
		.record_bytes_max = REC_BODY_BYTES_MAX, /* what was taken under a larger limit is good */
		.retention_bytes = n->conf.retention_bytes, .retention_time_ns = n->conf.retention_time_ns,
		.scrub_rate = n->conf.scrub_rate };
	struct logthread_ops ops = node_lt_ops;
	int r;

	ops.ctx = n;
	r = logthread_new(&conf, log, meta, n->base, &ops, &n->lt);
	if (r < 0)
		rlog_close(log);
	return r;
}

static int make_control(struct node *n)
{
	struct control_conf conf = { .engine = n->conf.engine, .node = n->conf.node, .release = n->conf.release,
		.lease_ttl_s = n->conf.lease_ttl_s, .lease_file = n->conf.lease_file };
	struct control_ops ops = node_ctl_ops;

	ops.ctx = n;
	return control_new(&conf, &n->conf.etcd, n->base, &ops, &n->control);
}

int node_open_all(struct node *n, char reason[256])
{
	struct rlog_meta meta;
	struct rlog *log;
	int r = node_open(n, &log, &meta, reason);

	return r != 0 ? r : make_threads(n, log, &meta);
}

static int make(struct node *n, char reason[256])
{
	int r;

	n->turn = event_new(n->base, -1, 0, on_turn, n);
	n->timer = event_new(n->base, -1, 0, on_timer, n);
	if (!n->turn || !n->timer)
		return -ENOMEM;
	r = node_repair_init(n);
	if (r == 0)
		r = node_open_all(n, reason);
	if (r == 0)
		r = make_control(n);
	return r;
}

int node_new(const struct node_conf *conf, struct event_base *base, const struct node_net *net, struct node **ret_node,
	char ret_reason[256])
{
	struct node *n;
	int r;

	ret_reason[0] = '\0';
	r = conf_check(conf, ret_reason);
	if (r != 0)
		return r;
	n = calloc(1, sizeof *n);
	if (!n)
		return -ENOMEM;
	n->conf = *conf;
	n->net = *net;
	n->base = base;
	n->run = id_random();
	if (!n->conf.ops)
		n->conf.ops = &rlog_posix;
	r = make(n, ret_reason);
	if (r != 0) {
		node_free(n);
		return r;
	}
	*ret_node = n;
	return 0;
}

void node_free(struct node *n)
{
	if (!n)
		return;
	n->dead = true;
	control_free(n->control);
	logthread_free(n->lt);
	node_reads_free(n);
	drv_free(n->drv);
	repair_free(n->repair);
	if (n->turn)
		event_free(n->turn);
	if (n->timer)
		event_free(n->timer);
	free(n);
}

int node_start(struct node *n)
{
	int r = control_start(n->control);

	if (r < 0)
		return r;
	if (n->dormant)
		node_repair_dormant(n);
	arm_timer(n);
	return 0;
}

static void on_leaving(void *ctx, const char *failed)
{
	struct node *n = ctx;

	(void)failed; /* told already; the lease is revoked all the same, and the others choose */
	control_stop(n->control);
}

void node_stop(struct node *n, uint64_t deadline_ns)
{
	if (n->stopping)
		return;
	n->stopping = true;
	if (n->dead || rep_role(drv_rep(n->drv)) != REP_ROLE_PRIMARY) {
		control_stop(n->control);
	} else if (n->hand.active) {
		n->hand.fn = on_leaving; /* one is under way already: its end is ours */
		n->hand.ctx = n;
	} else {
		node_begin_handover(n, NULL, true, deadline_ns, on_leaving, n);
	}
}

/* ------------------------------------------------------------------------------------------------------- what comes in */

leash_seq node_submit(struct node *n, struct bytes body, const struct drv_waiter *w, uint64_t now_ns)
{
	n->counters.append_bytes += body.len;
	node_kick(n);
	return drv_submit(n->drv, body, w, now_ns);
}

void node_forget(struct node *n, void *owner, leash_seq seq)
{
	drv_forget(n->drv, owner, seq);
}

void node_link(struct node *n, const char *peer, bool up, uint64_t conn, bool refused)
{
	struct rep_event ev = { .kind = REP_EV_LINK, .now_ns = clk_boot_ns(),
		.link = { .node = peer, .up = up, .conn = conn, .refused = refused } };

	drv_event(n->drv, &ev);
	node_repair_link(n, peer, up, conn, refused);
	node_kick(n);
}

void node_msg(struct node *n, const char *from, enum rep_link link, const struct rep_msg *m)
{
	struct rep_event ev = { .kind = REP_EV_MSG, .now_ns = clk_boot_ns(),
		.msg = { .from = from, .link = link, .msg = m } };

	if (m->n_recs > 0)
		return; /* node_records() takes those */
	if (node_repair_msg(n, from, m, NULL))
		return;
	drv_event(n->drv, &ev);
	node_kick(n);
}

void node_records(struct node *n, const char *from, enum rep_link link, const struct rep_msg *m,
	struct drv_rec *const *recs)
{
	if (node_repair_msg(n, from, m, recs))
		return;
	drv_records(n->drv, from, link, m, recs, clk_boot_ns());
	node_kick(n);
}

bool node_wants_records(const struct node *n)
{
	return drv_wants_records(n->drv);
}

void node_writable(struct node *n, const char *peer)
{
	node_repair_writable(n, peer);
	drv_writable(n->drv, peer, clk_boot_ns());
	node_kick(n);
}

void node_set_retention(struct node *n, uint64_t retention_bytes, uint64_t retention_time_ns)
{
	logthread_set_retention(n->lt, retention_bytes, retention_time_ns);
}

void node_set_scrub_rate(struct node *n, uint64_t bytes_per_s)
{
	logthread_set_scrub_rate(n->lt, bytes_per_s);
}

/* A node's process: the real node (src/node/node.h) with the simulator around it. */
#include "tests/sim/sim_int.h"

#include <inttypes.h>
#include <stdio.h>

#define NODE_RECORD_MAX 1024 /* bytes of header and body */

struct simnode *simnode_enter(struct sim *s, int i)
{
	s->running = i;
	return s->nodes[i].up ? &s->nodes[i] : NULL;
}

struct rep *simnode_rep(const struct simnode *n)
{
	return drv_rep(n->node->drv);
}

/* ------------------------------------------------------------------------------------------------ what the node asks for */

static void net_send(void *ctx, const char *node, enum rep_link link, const struct rep_msg *m)
{
	struct simnode *n = ctx;

	simnet_send(n->s, n->i, node, link, m, NULL, 0);
}

static bool net_send_records(void *ctx, const char *node, const struct rep_msg *head, struct drv_rec *const *recs,
	size_t count)
{
	struct simnode *n = ctx;

	return simnet_send_records(n->s, n->i, node, head, recs, count);
}

static void net_answer(void *ctx, const struct drv_waiter *w, const struct drv_answer *a)
{
	struct simnode *n = ctx;

	simclient_node_answer(n->s, n->i, w, a);
}

static void net_committed(void *ctx, leash_seq seq)
{
	struct simnode *n = ctx;

	simcheck_commit(n->s, n->i, seq);
}

static void net_fatal(void *ctx, int exit_status)
{
	struct simnode *n = ctx;

	sim_say(n->s, n->i, "must end with %d", exit_status);
	sim_timer(n->s, 1000, T_DIE, n->i, exit_status);
}

static void net_stopped(void *ctx)
{
	struct simnode *n = ctx;

	(void)sim_timer(n->s, 1000, T_GONE, n->i, 0);
}

static void net_room(void *ctx) { (void)ctx; } /* who was refused comes again by itself */
static void net_changed(void *ctx) { (void)ctx; }
static void net_view(void *ctx, const struct keys_view *v) { (void)ctx, (void)v; }

static const struct node_net net = { .send = net_send, .send_records = net_send_records, .answer = net_answer,
	.room = net_room, .committed = net_committed, .changed = net_changed, .view = net_view, .fatal = net_fatal,
	.stopped = net_stopped };

/* ---------------------------------------------------------------------------------------------------------- process */

/* An operator's mistake: nothing that can be run with, or not what the cluster has. The node refuses, and nothing of it is
 * touched. */
static void misconfigure(struct node_conf *c, uint32_t how)
{
	switch (how) {
	case 1: c->min_insync = c->min_insync == 1 ? 2 : 1; break;
	case 2: c->dedup_window *= 2; c->dedup_records_max *= 2; break;
	case 3: c->min_insync = 0; break;
	case 4: c->min_insync = REP_NODES_MAX + 1; break;
	case 5: c->n_founders = 0; break;
	case 6: c->n_founders = REP_NODES_MAX + 1; break;
	case 7: c->heartbeat_ns = 0; break;
	case 8: c->heartbeat_ns = c->failure_timeout_ns; break;
	case 9: c->dedup_window = 0; break;
	case 10: c->dedup_records_max = UINT64_C(1) << 40; break;
	case SIM_FOREIGN_ETCD: break; /* see sim_control.c */
	}
}

static int make_node(struct sim *s, struct simnode *n, char reason[256])
{
	static const char *founders[SIM_NODES_MAX];
	const struct sim_opts *o = &s->opts;
	struct node_conf c = { .engine = "engine", .node = n->name, .address = n->name, .release = "sim",
		.founders = founders, .n_founders = (uint32_t)s->n, .min_insync = o->min_insync,
		.dedup_window = o->dedup_window, .dedup_records_max = MAX2(o->dedup_records_max, o->dedup_window),
		.dedup_time_ns = o->dedup_time_ns, .retention_time_ns = o->retention_time_ns, .topology = o->topology, .priority = o->priorities ? (n->i * 7 + 3) % 5 : 0,
		.failure_timeout_ns = 1000 * MS, .heartbeat_ns = (o->heartbeat_ms ? o->heartbeat_ms : 50) * MS, .dir = SIM_DIR, .ops = simdisk_ops(n->disk),
		.segment_bytes = o->segment_bytes, .reserve_bytes = o->reserve_bytes,
		.retention_bytes = o->retention_bytes, .scrub_rate = o->scrub_rate, .record_bytes_max = NODE_RECORD_MAX,
		.disk_budget_ns = 2000 * MS, .cache_bytes = o->cache_bytes, .uncommitted_bytes = o->uncommitted_bytes,
		.uncommitted_max = o->uncommitted_max, .batch_bytes = o->batch_bytes, .lease_ttl_s = 5 };
	struct node_net mine = net;

	for (int k = 0; k < s->n; k++)
		founders[k] = s->nodes[k].name;
	misconfigure(&c, n->wrong_conf);
	mine.ctx = n;
	return node_new(&c, (struct event_base *)(void *)n, &mine, &n->node, reason);
}

static void meet_the_others(struct sim *s, int i)
{
	for (int k = 0; k < s->n; k++) {
		if (k == i)
			continue;
		simnet_dial(s, i, k, MS);
		simnet_dial(s, k, i, MS);
	}
}

void simnode_start(struct sim *s, int i)
{
	struct simnode *n = &s->nodes[i];
	char reason[256];
	int r;

	must(!n->up);
	n->life++;
	s->running = i;
	n->paused = n->leaving = false;
	n->dying = false;
	r = make_node(s, n, reason);
	if (r != 0) {
		sim_say(s, i, "does not start: %s", reason);
		n->node = NULL;
		simdisk_kill(n->disk);
		simfault_died(s, i, node_exit_status(r));
		return;
	}
	n->up = true;
	sim_say(s, i, "starts: log %" PRIu64 "..%" PRIu64 ", promise %" PRIu64, n->acc.start, n->acc.end, n->acc.meta.promise);
	must(node_start(n->node) == 0);
	meet_the_others(s, i);
}

/* The process is gone, and with it what was not written; with the power also what was not synced. */
void simnode_stop(struct sim *s, int i, enum sim_end how)
{
	struct simnode *n = &s->nodes[i];
	struct simrng rng = { sim_rand(s) };

	must(n->up);
	s->running = i;
	n->dying = how != SIM_END_EXIT;
	if (n->dying)
		simlog_crash(n);
	node_free(n->node);
	n->node = NULL;
	n->lt = NULL;
	if (how == SIM_END_POWER)
		simdisk_crash(n->disk, &rng);
	else
		simdisk_kill(n->disk);
	n->up = n->paused = false;
	n->life++;
	sim_unstash(s, i);
	for (int k = 0; k < s->n; k++) {
		if (k == i)
			continue;
		simnet_drop(s, k, i);
		simnet_drop(s, i, k);
	}
	sim_say(s, i, "%s: log end %" PRIu64, how == SIM_END_POWER ? "dies" : how == SIM_END_KILL ? "is killed" : "is gone",
		n->acc.end);
}

void simnode_drain(struct sim *s, int i)
{
	struct simnode *n = simnode_enter(s, i);

	if (!n || n->leaving)
		return;
	n->leaving = true;
	sim_say(s, i, "is stopped");
	node_stop(n->node, simclock_ns(n) + 5000 * MS);
}

void simnode_timer(struct sim *s, struct timer *t)
{
	struct simnode *n = simnode_enter(s, t->a);

	if (!n)
		return;
	if (t->kind == T_DIE) {
		simnode_stop(s, t->a, SIM_END_KILL);
		simfault_died(s, t->a, t->b);
	} else {
		simnode_stop(s, t->a, SIM_END_EXIT);
		simfault_died(s, t->a, 0);
	}
}

/* ------------------------------------------------------------------------------------------------- what tests call */

void sim_crash(struct sim *s, const char *node) { simnode_stop(s, sim_index(s, node), SIM_END_POWER); }
void sim_start(struct sim *s, const char *node) { simnode_start(s, sim_index(s, node)); }

void sim_pause(struct sim *s, const char *node)
{
	s->nodes[sim_index(s, node)].paused = true;
	sim_say(s, sim_index(s, node), "is paused");
}

void sim_resume(struct sim *s, const char *node)
{
	s->nodes[sim_index(s, node)].paused = false;
	sim_go_on(s, sim_index(s, node));
	sim_say(s, sim_index(s, node), "goes on");
}

static void handover_done(void *ctx, const char *failed)
{
	(void)ctx, (void)failed;
}

void sim_handover(struct sim *s, const char *node, const char *to, uint64_t within_ms)
{
	struct simnode *n = simnode_enter(s, sim_index(s, node));

	if (n)
		node_handover(n->node, to, simclock_ns(n) + within_ms * MS, handover_done, NULL);
}

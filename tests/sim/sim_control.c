/*
 * etcd as a node sees it, in place of src/node/control.c: requests that take time, are lost, take effect late; answers
 * that are lost or stale; one watch, late, never back in its own order, missing events and giving some twice; a lease and
 * its renewal.
 */
#include "tests/sim/sim_int.h"

#define CALL_LIMIT_NS (1000 * MS) /* the client's deadline */
#define RENEW_NS      (1600 * MS)
#define STUCK_LOOK_NS (100 * MS)
#define PROBE_NS      (30000 * MS)

static uint64_t trip_ns(struct sim *s)
{
	return MS / 4 + sim_below(s, 2 * MS);
}

static uint64_t slow_ns(struct sim *s)
{
	return s->swarming && sim_chance(s, 0.05) ? sim_below(s, 900 * MS) : 0;
}

/* A node without a past would believe in any cluster. */
static const struct keys_view *as_keys(struct sim *s, const struct control *c, const struct rep_view *v)
{
	s->view.view = *v;
	if (c->n->wrong_conf == SIM_FOREIGN_ETCD && c->n->acc.meta.cluster)
		s->view.view.insync.cluster ^= 1;
	return &s->view;
}

/* ------------------------------------------------------------------------------------------------------------- life */

int control_new(const struct control_conf *conf, const struct etcd_conf *etcd, struct event_base *base,
	const struct control_ops *ops, struct control **ret_control)
{
	struct control *c = calloc(1, sizeof *c);

	(void)conf, (void)etcd;
	must(c);
	c->n = (struct simnode *)(void *)base;
	c->ops = *ops;
	c->probed_ns = c->n->s->now_ns;
	c->n->control = *ret_control = c;
	return 0;
}

void control_free(struct control *c)
{
	if (!c)
		return;
	c->n->control = NULL;
	free(c);
}

int control_start(struct control *c)
{
	struct sim *s = c->n->s;

	(void)sim_timer(s, trip_ns(s), T_KEEPALIVE, c->n->i, 0);
	simcontrol_watch(s, c->n->i, 0);
	return 0;
}

/* The lease is given back at once, or runs out when etcd does not hear of it. */
void control_stop(struct control *c)
{
	struct sim *s = c->n->s;

	if (c->stopping)
		return;
	c->stopping = true;
	if (simetcd_reachable(s, c->n->i))
		simetcd_revoke(s, c->lease);
	c->lease = 0;
	(void)sim_timer(s, trip_ns(s), T_KEEPALIVE, c->n->i, 0);
}

void control_resign(struct control *c)
{
	uint64_t lease = c->lease;

	if (c->stopping || lease == 0)
		return;
	c->lease = 0;
	if (simetcd_reachable(c->n->s, c->n->i))
		simetcd_revoke(c->n->s, lease);
	c->ops.lease(c->ops.ctx, 0);
}

uint64_t control_lease(const struct control *c) { return c->lease; }
bool control_reachable(const struct control *c) { return simetcd_reachable(c->n->s, c->n->i); }

void control_answer_request(struct control *c, const struct keys_request *q, uint64_t mod_revision)
{
	(void)c, (void)q, (void)mod_revision; /* nobody asks this way here */
}

/* ----------------------------------------------------------------------------------------------------- transactions */

static enum sim_fault choose_fault(struct sim *s, struct simnode *n, uint64_t *ret_late_ns)
{
	enum sim_fault fault = n->txn_fault;

	*ret_late_ns = n->txn_late_ms * MS;
	n->txn_fault = SIM_FAULT_NONE;
	if (fault != SIM_FAULT_NONE || !s->swarming)
		return fault;
	if (sim_chance(s, s->p_lost_request))
		return SIM_FAULT_LOST_REQUEST;
	if (sim_chance(s, s->p_lost_answer))
		return SIM_FAULT_LOST_ANSWER;
	if (!sim_chance(s, s->p_late))
		return SIM_FAULT_NONE;
	*ret_late_ns = sim_below(s, 8000 * MS);
	return SIM_FAULT_LATE;
}

void control_txn(struct control *c, const struct rep_txn *txn)
{
	struct sim *s = c->n->s;
	int node = c->n->i;
	struct etcd_call *call = calloc(1, sizeof *call), *again;
	uint64_t late_ns;
	enum sim_fault fault = choose_fault(s, c->n, &late_ns);
	struct timer *t;

	must(call);
	s->stats.txn_faults += fault != SIM_FAULT_NONE;
	call->txn = *txn;
	call->outcome = REP_TXN_UNKNOWN;
	if (fault == SIM_FAULT_LOST_REQUEST || !simetcd_reachable(s, node)) {
		sim_timer(s, CALL_LIMIT_NS, T_TXN_ANSWER, node, 0)->data = call;
		return;
	}
	if (fault == SIM_FAULT_LATE || fault == SIM_FAULT_LOST_ANSWER) {
		simfault_answer_lost(s, c->n);
		again = malloc(sizeof *again);
		must(again);
		*again = *call;
		again->answer_lost = true;
		t = sim_timer(s, fault == SIM_FAULT_LATE ? late_ns : trip_ns(s), T_TXN_APPLY, node, 0);
		t->data = again;
		t->y = s->etcd.generation;
		sim_timer(s, CALL_LIMIT_NS, T_TXN_ANSWER, node, 0)->data = call;
		return;
	}
	t = sim_timer(s, trip_ns(s), T_TXN_APPLY, node, 0);
	t->data = call;
	t->y = s->etcd.generation;
}

static void on_apply(struct sim *s, struct timer *t)
{
	struct etcd_call *c = t->data;
	bool server_gone = s->etcd.down || t->y != s->etcd.generation; /* a request does not outlive its server */
	struct timer *answer;

	if (!server_gone)
		simetcd_apply(s, c);
	if (c->answer_lost)
		return;
	answer = sim_timer(s, server_gone ? CALL_LIMIT_NS : trip_ns(s) + slow_ns(s), T_TXN_ANSWER, t->a, 0);
	answer->data = TAKE(t->data);
	answer->life = t->life;
}

static void on_txn_answer(struct sim *s, struct timer *t, struct control *c)
{
	static const enum control_txn_outcome outcomes[] = { [REP_TXN_DONE] = CONTROL_TXN_DONE,
		[REP_TXN_FAILED] = CONTROL_TXN_FAILED, [REP_TXN_UNKNOWN] = CONTROL_TXN_UNKNOWN,
		[REP_TXN_UNSENT] = CONTROL_TXN_UNSENT };
	struct etcd_call *call = t->data;
	enum rep_txn_outcome outcome = simetcd_reachable(s, t->a) ? call->outcome : REP_TXN_UNKNOWN;

	if (c->stopped)
		return;
	if (outcome == REP_TXN_DONE)
		c->last_revision = MAX2(c->last_revision, call->revision);
	if (outcome == REP_TXN_FAILED)
		c->last_revision = call->view.revision;
	c->ops.txn(c->ops.ctx, call->txn.ticket, outcomes[outcome], call->revision,
		outcome == REP_TXN_FAILED ? as_keys(s, c, &call->view) : NULL);
}

/* ------------------------------------------------------------------------------------------------- reads and watches */

static void ask(struct control *c, bool probe, bool *busy)
{
	struct sim *s = c->n->s;
	struct timer *t;

	if (*busy || c->stopping)
		return;
	*busy = true;
	t = sim_timer(s, trip_ns(s), T_READ_ANSWER, c->n->i, probe);
	t->x = s->etcd.generation;
}

void control_read(struct control *c) { ask(c, false, &c->read_busy); }

void control_probe(struct control *c)
{
	c->probed_ns = c->n->s->now_ns;
	ask(c, true, &c->probe_busy);
}

static void put_key(struct sim *s, struct control *c)
{
	struct rep_node key;

	c->ops.describe(c->ops.ctx, &key);
	simetcd_put_node(s, c->n->i, &key);
}

static void give_view(struct sim *s, struct control *c, const struct rep_view *v)
{
	c->last_revision = v->authoritative ? v->revision : MAX2(c->last_revision, v->revision);
	c->ops.view(c->ops.ctx, as_keys(s, c, v));
}

/* What an answer says was true when etcd made it; a watch or a message of a new primary may overtake it on its way. */
static void on_read_answer(struct sim *s, struct timer *t, struct control *c)
{
	struct rep_view *v = t->data;
	bool *busy = t->b ? &c->probe_busy : &c->read_busy;

	if (v) {
		*busy = false;
		give_view(s, c, v);
		return;
	}
	if (!simetcd_reachable(s, t->a) || t->x != s->etcd.generation) {
		*busy = false;
		return;
	}
	v = malloc(sizeof *v);
	must(v);
	if (t->b)
		put_key(s, c);
	*v = t->b ? s->etcd.now : simetcd_picture(s);
	v->authoritative = t->b;
	sim_timer(s, trip_ns(s) + slow_ns(s), T_READ_ANSWER, t->a, t->b)->data = v;
}

void simcontrol_watch(struct sim *s, int i, uint64_t after_ns)
{
	struct control *c = s->nodes[i].control;

	if (!c || c->watch_busy)
		return;
	c->watch_busy = true;
	(void)sim_timer(s, trip_ns(s) + after_ns, T_WATCH, i, 0);
}

static void on_watch(struct sim *s, struct timer *t, struct control *c)
{
	struct rep_view v;

	if (!simetcd_reachable(s, t->a)) { /* made anew when etcd is back */
		(void)sim_timer(s, 100 * MS, T_WATCH, t->a, 0);
		return;
	}
	c->watch_busy = false;
	v = simetcd_picture(s);
	v.authoritative = false;
	if (s->swarming && sim_chance(s, 0.01)) /* missed: the next one, or a read, will tell */
		return;
	if (s->swarming && sim_chance(s, 0.02)) /* once more */
		simcontrol_watch(s, t->a, sim_below(s, 100 * MS));
	give_view(s, c, &v);
}

/* ----------------------------------------------------------------------------------------------------------- leases */

void control_announce(struct control *c)
{
	if (c->announce_busy) {
		c->announce_again = true;
		return;
	}
	c->announce_busy = true;
	(void)sim_timer(c->n->s, trip_ns(c->n->s), T_ANNOUNCE, c->n->i, 0);
}

static void on_announce(struct sim *s, struct timer *t, struct control *c)
{
	if (c->stopping)
		return;
	if (!simetcd_reachable(s, t->a) || !c->lease) {
		(void)sim_timer(s, 200 * MS, T_ANNOUNCE, t->a, 0);
		return;
	}
	c->announce_busy = false;
	put_key(s, c);
	if (c->announce_again) {
		c->announce_again = false;
		control_announce(c);
	}
}

static void tell_lease(struct control *c, uint64_t lease)
{
	c->lease = lease;
	c->ops.lease(c->ops.ctx, lease);
}

static void on_keepalive(struct sim *s, struct timer *t, struct control *c)
{
	bool there = simetcd_lease(s, c->lease) != NULL, reached = simetcd_reachable(s, t->a);

	if (c->stopping) {
		if (!c->stopped) {
			c->stopped = true;
			c->ops.stopped(c->ops.ctx);
		}
		return;
	}
	if (s->now_ns - c->probed_ns > PROBE_NS)
		control_probe(c); /* also when nobody asks */
	if (!c->ops.may_renew(c->ops.ctx)) { /* R11a */
		(void)sim_timer(s, STUCK_LOOK_NS, T_KEEPALIVE, t->a, 0);
		return;
	}
	(void)sim_timer(s, there || !reached ? RENEW_NS : 100 * MS, T_KEEPALIVE, t->a, 0);
	if (!reached)
		return;
	if (there) {
		simetcd_renew(s, c->lease);
		return;
	}
	if (c->lease)
		tell_lease(c, 0);
	tell_lease(c, simetcd_grant(s));
	control_announce(c);
}

void simcontrol_timer(struct sim *s, struct timer *t)
{
	struct simnode *n;

	if (t->kind == T_EXPIRY) {
		simetcd_expire(s);
		return;
	}
	if (t->kind == T_TXN_APPLY) { /* the request lives on without its sender */
		on_apply(s, t);
		return;
	}
	n = simnode_enter(s, t->a);
	if (!n || t->life != n->life)
		return;
	if (t->kind == T_TXN_ANSWER)
		on_txn_answer(s, t, n->control);
	else if (t->kind == T_READ_ANSWER)
		on_read_answer(s, t, n->control);
	else if (t->kind == T_WATCH)
		on_watch(s, t, n->control);
	else if (t->kind == T_KEEPALIVE)
		on_keepalive(s, t, n->control);
	else
		on_announce(s, t, n->control);
}

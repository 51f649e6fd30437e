/* Clients: append with an id, again and again, until answered. */
#include "tests/sim/sim_int.h"

#include <inttypes.h>
#include <stdio.h>

#define RETRY_NS (400 * MS)

static int new_op(struct sim *s, const char *node, const char *id, const char *value, bool once)
{
	const char *slash = strchr(id, '/');
	struct op *o = &s->ops[s->n_ops];

	must(s->n_ops < SIM_OPS_MAX && slash);
	*o = (struct op){ .once = once, .last_node = node ? sim_index(s, node) : -1, .value = hash_64(value, strlen(value), 7) };
	(void)snprintf(o->id, sizeof o->id, "%s", id);
	o->ident = (struct rec_ident){ .kind = REC_ID_OPAQUE, .key = hash_128(id, strlen(id), 1), .payload = o->value };
	if (strncmp(id, "seq-", 4) == 0) { /* IDMPSEQ: "seq-<producer>/<n>" */
		o->ident.kind = REC_ID_SEQ;
		o->ident.owner = hash_64(id, (size_t)(slash - id), 3);
		o->ident.n = strtoull(slash + 1, NULL, 10);
	}
	(void)sim_timer(s, 0, T_OP_TRY, s->n_ops, 0);
	return s->n_ops++;
}

int sim_append(struct sim *s, const char *node, const char *id, const char *value)
{
	return new_op(s, node, id, value, false);
}

int sim_append_once(struct sim *s, const char *node, const char *id, const char *value)
{
	return new_op(s, node, id, value, true);
}

leash_seq sim_answer(const struct sim *s, int op)
{
	return s->ops[op].answered ? s->ops[op].seq : 0;
}

bool sim_conflict(const struct sim *s, int op)
{
	return s->ops[op].answered && s->ops[op].conflict;
}

static void answer(struct sim *s, int node, int op, leash_seq seq, bool conflict)
{
	struct timer *t;

	simcheck_answer(s, op, seq, conflict);
	t = sim_timer(s, MS / 10 + sim_below(s, MS), T_OP_ANSWER, node, op);
	t->x = seq;
	t->y = conflict;
}

static void wait_for(struct sim *s, int node, int op, leash_seq seq, bool conflict)
{
	struct simnode *n = &s->nodes[node];

	if (seq <= rep_commit(n->rep)) {
		answer(s, node, op, seq, conflict);
		return;
	}
	if (n->n_waiters == n->cap_waiters) {
		n->cap_waiters = MAX2(2 * n->cap_waiters, (size_t)64);
		n->waiters = realloc(n->waiters, n->cap_waiters * sizeof *n->waiters);
		must(n->waiters);
	}
	n->waiters[n->n_waiters++] = (struct waiter){ .op = op, .seq = seq, .conflict = conflict };
}

void simclient_commit(struct sim *s, int node, leash_seq seq)
{
	struct simnode *n = &s->nodes[node];
	size_t k = 0;

	for (size_t i = 0; i < n->n_waiters; i++) {
		if (n->waiters[i].seq <= seq)
			answer(s, node, n->waiters[i].op, n->waiters[i].seq, n->waiters[i].conflict);
		else
			n->waiters[k++] = n->waiters[i];
	}
	n->n_waiters = k;
}

/* Unknown outcome: the clients' own retries settle it. */
void simclient_lost(struct sim *s, int node)
{
	s->nodes[node].n_waiters = 0;
}

void simclient_room(struct sim *s, int node)
{
	(void)s;
	(void)node; /* who was refused comes again by itself */
}

static void on_try(struct sim *s, struct timer *t)
{
	struct op *o = &s->ops[t->a];
	int node = o->last_node;

	if (o->answered)
		return;
	if (o->attempt++ && o->once)
		return;
	if (o->attempt > 1)
		s->stats.retries++;
	if (node < 0 || o->attempt > 1) {
		const char *p = sim_primary(s);

		node = p && sim_chance(s, 0.8) ? sim_index(s, p) : (int)sim_below(s, (uint64_t)s->n);
	}
	(void)sim_timer(s, MS / 10 + sim_below(s, MS), T_OP_ARRIVE, node, t->a);
	(void)sim_timer(s, RETRY_NS + sim_below(s, RETRY_NS), T_OP_TRY, t->a, 0);
}

static void on_arrive(struct sim *s, struct timer *t)
{
	struct simnode *n = &s->nodes[t->a];
	struct op *o = &s->ops[t->b];
	struct rep_verdict v;
	struct simrec rec;

	if (!n->up || n->life != t->life)
		return;
	v = rep_submit(n->rep, &o->ident, 100, s->now_ns);
	switch (v.kind) {
	case REP_V_NEW:
		rec = (struct simrec){ .rec = v.rec, .value = o->value };
		simnode_append(s, t->a, &rec);
		wait_for(s, t->a, t->b, v.seq, false);
		break;
	case REP_V_KNOWN:
	case REP_V_CONFLICT:
		wait_for(s, t->a, t->b, v.seq, v.kind == REP_V_CONFLICT);
		break;
	case REP_V_NOT_PRIMARY:
	case REP_V_HOLD:
	case REP_V_UNKNOWN_SESSION:
	case REP_V_SESSION_ORDER:
	case REP_V_OLD:
	case REP_V_FULL:
		break;
	}
}

static void on_answer(struct sim *s, struct timer *t)
{
	struct op *o = &s->ops[t->b];

	if (o->answered)
		return;
	o->answered = true;
	o->seq = t->x;
	o->conflict = t->y;
	s->stats.answers++;
	sim_say(s, t->a, "answers %s: %" PRIu64 "%s", o->id, o->seq, o->conflict ? ", conflict" : "");
}

void simclient_timer(struct sim *s, struct timer *t)
{
	if (t->kind == T_OP_TRY)
		on_try(s, t);
	else if (t->kind == T_OP_ARRIVE)
		on_arrive(s, t);
	else
		on_answer(s, t);
}

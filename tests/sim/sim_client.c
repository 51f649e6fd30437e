/* Clients: append with an id, again and again, until answered. */
#include "tests/sim/sim_int.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clk.h"

#define RETRY_NS    (400 * MS)
#define RETRY_GROWS UINT64_C(4) /* times that */

/* ----------------------------------------------------------------------------------------------------------- bodies */

void simclient_body(const struct op *o, struct buf *out)
{
	static const uint8_t filler[512];
	struct rec_body b = { .id_kind = o->kind, .n = o->n, .birth = o->birth };
	struct bytes pairs[4] = { { (const uint8_t *)"v", 1 }, { (const uint8_t *)o->value, strlen(o->value) },
		{ (const uint8_t *)"f", 1 }, { filler, o->filler_bytes } };

	if (o->kind == REC_ID_SESSION && o->n == 1)
		b.flags = REC_F_OPEN;
	if (o->kind == REC_ID_OPAQUE || o->kind == REC_ID_AUTO || o->kind == REC_ID_SEQ)
		b.producer = (struct bytes){ (const uint8_t *)o->producer, strlen(o->producer) };
	if (o->kind == REC_ID_OPAQUE)
		b.id = (struct bytes){ (const uint8_t *)o->name, strlen(o->name) };
	must(rec_body_encode(out, &b, o->kind == REC_ID_SESSION ? o->session : 0, pairs, o->filler_bytes ? 2 : 1) == 0);
}

static void describe(struct op *o)
{
	struct buf out = BUF_NULL;
	struct rec_body b;

	simclient_body(o, &out);
	must(rec_body_decode((struct bytes){ buf_head(&out), buf_len(&out) }, &b) == 0);
	o->body_hash = rec_body_hash((struct bytes){ buf_head(&out), buf_len(&out) });
	o->key = simcheck_key(&b);
	simhist_id(&b, o->hist_id);
	simhist_value((struct bytes){ buf_head(&out), buf_len(&out) }, o->hist_value);
	buf_deinit(&out);
}

int simclient_op(struct sim *s, struct op o)
{
	must(s->n_ops < SIM_OPS_MAX);
	describe(&o);
	o.commit_when_asked = s->committed_end;
	s->ops[s->n_ops] = o;
	s->n_open += !o.once;
	s->stats.ops++;
	return s->n_ops++;
}

static int new_op(struct sim *s, const char *node, const char *id, const char *value, bool once)
{
	const char *slash = strchr(id, '/');
	struct op o = { .once = once, .last_node = node ? sim_index(s, node) : -1, .kind = REC_ID_OPAQUE, .after = -1 };
	int k;

	must(slash && strlen(id) < sizeof o.id);
	strcpy(o.id, id);
	(void)snprintf(o.producer, sizeof o.producer, "%.*s", (int)(slash - id), id);
	(void)snprintf(o.name, sizeof o.name, "%.15s", slash + 1);
	(void)snprintf(o.value, sizeof o.value, "%.23s", value);
	if (strncmp(id, "seq-", 4) == 0) { /* IDMPSEQ: "seq-<producer>/<n>" */
		o.kind = REC_ID_SEQ;
		o.n = strtoull(slash + 1, NULL, 10);
	}
	k = simclient_op(s, o);
	(void)sim_timer(s, 0, T_OP_TRY, k, 0);
	return k;
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

/* --------------------------------------------------------------------------------------------------------- attempts */

int simclient_attempt(struct sim *s, int op, int node, int session, uint32_t hist)
{
	if (s->n_attempts == s->cap_attempts) {
		s->cap_attempts = MAX2(2 * s->cap_attempts, 1024);
		s->attempts = realloc(s->attempts, (size_t)s->cap_attempts * sizeof *s->attempts);
		must(s->attempts);
	}
	s->attempts[s->n_attempts] = (struct attempt){ .op = op, .node = node, .life = s->nodes[node].life, .pending = true,
		.session = session, .hist = hist };
	return s->n_attempts++;
}

static void on_try(struct sim *s, struct timer *t)
{
	struct op *o = &s->ops[t->a];
	int node = o->last_node;

	if (o->answered || o->given_up)
		return;
	if (o->after >= 0 && !s->ops[o->after].answered && !s->ops[o->after].given_up) {
		s->ops[o->after].wakes = t->a + 1;
		return;
	}
	if (o->attempts++ && o->once)
		return;
	if (o->attempts > 1)
		s->stats.retries++;
	if (node < 0 || o->attempts > 1) {
		const char *p = sim_primary(s);

		node = p && sim_chance(s, 0.8) ? sim_index(s, p) : (int)sim_below(s, (uint64_t)s->n);
	}
	sim_timer(s, MS / 10 + sim_below(s, MS), T_OP_ARRIVE, node, t->a)->x = simhist_sent(s, t->a, node);
	(void)sim_timer(s, (RETRY_NS + sim_below(s, RETRY_NS)) * MIN2(o->attempts, RETRY_GROWS), T_OP_TRY, t->a, 0);
}

static void on_arrive(struct sim *s, struct timer *t)
{
	struct simnode *n = simnode_enter(s, t->a);
	struct buf body = BUF_NULL;
	leash_seq waits;
	int k;

	if (!n || n->life != t->life)
		return;
	simclient_body(&s->ops[t->b], &body);
	k = simclient_attempt(s, t->b, t->a, -1, (uint32_t)t->x);
	waits = node_submit(n->node, (struct bytes){ buf_head(&body), buf_len(&body) },
		&(struct drv_waiter){ .owner = (void *)(uintptr_t)(k + 1) }, clk_boot_ns());
	if (s->swarming && s->attempts[k].pending && sim_chance(s, 0.02)) { /* the connection breaks */
		s->attempts[k].pending = false;
		node_forget(n->node, (void *)(uintptr_t)(k + 1), waits);
	}
	buf_deinit(&body);
}

/* ---------------------------------------------------------------------------------------------------------- answers */

/* It needs no more; whoever waited for that may begin. */
static void ended(struct sim *s, struct op *o)
{
	if (o->wakes)
		(void)sim_timer(s, sim_below(s, 50 * MS), T_OP_TRY, o->wakes - 1, 0);
	o->wakes = 0;
}

void simclient_give_up(struct sim *s, int op)
{
	struct op *o = &s->ops[op];

	if (o->answered || o->given_up)
		return;
	o->given_up = true;
	s->n_open -= !o->once;
	s->stats.given_up++;
	ended(s, o);
}

void simclient_done(struct sim *s, int op, leash_seq seq, bool conflict)
{
	struct op *o = &s->ops[op];

	if (o->answered)
		return;
	if (o->given_up)
		s->stats.given_up--;
	else
		s->n_open -= !o->once;
	o->given_up = false;
	o->answered = true;
	o->seq = seq;
	o->conflict = conflict;
	s->stats.answers++;
	ended(s, o);
}

void simclient_node_answer(struct sim *s, int node, const struct drv_waiter *w, const struct drv_answer *a)
{
	struct attempt *at = &s->attempts[(uintptr_t)w->owner - 1];
	struct op *o = &s->ops[at->op];
	bool there = a->kind == DRV_ANS_OK || a->kind == DRV_ANS_KNOWN || a->kind == DRV_ANS_CONFLICT;
	struct timer *t;

	must(at->pending && at->node == node);
	at->pending = false;
	if (there && a->seq > s->nodes[node].commit_seen)
		simcheck_commit(s, node, rep_commit(simnode_rep(&s->nodes[node]))); /* readers hear of it a moment later */
	if (there)
		simcheck_answer(s, at->op, a->seq, a->kind == DRV_ANS_CONFLICT);
	if (a->kind == DRV_ANS_TOO_BIG || a->kind == DRV_ANS_INVALID)
		sim_broken(s, "%s refuses %s as malformed", s->nodes[node].name, o->id);
	if (!there && a->kind != DRV_ANS_LOST)
		simhist_refused(s, at->hist);
	if (at->session >= 0) {
		if (there)
			simhist_answered(s, at->hist, a->seq, a->kind == DRV_ANS_CONFLICT);
		simsession_answer(s, at, a);
		return;
	}
	if (a->kind == DRV_ANS_OLD && o->kind == REC_ID_SEQ && !o->answered)
		sim_broken(s, "%s was sent in order and never answered, but is refused as old", o->id);
	if (!there || (s->swarming && sim_chance(s, 0.01))) /* lost */
		return;
	t = sim_timer(s, MS / 10 + sim_below(s, MS), T_OP_ANSWER, node, (int)((uintptr_t)w->owner - 1));
	t->x = a->seq;
	t->y = a->kind == DRV_ANS_CONFLICT;
}

static void on_answer(struct sim *s, struct timer *t)
{
	const struct attempt *at = &s->attempts[t->b];

	simhist_answered(s, at->hist, t->x, t->y);
	if (s->ops[at->op].answered)
		return;
	simclient_done(s, at->op, t->x, t->y);
	sim_say(s, t->a, "answers %s: %" PRIu64 "%s", s->ops[at->op].id, t->x, t->y ? ", conflict" : "");
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

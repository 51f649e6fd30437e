/*
 * Gateways: messages without an id of the client's, numbered by the gateway in a session of its own (R14). What is
 * unanswered is sent again, in order, to whoever leads; an unknown session leaves the outcome of all of it in doubt.
 */
#include "tests/sim/sim_int.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clk.h"

#define TRY_NS (300 * MS)

static void begin(struct sim *s, struct session *g)
{
	*g = (struct session){ .id = sim_random_id(s), .next = 1, .node = -1, .birth = UINT64_MAX };
}

void simsession_new(struct sim *s)
{
	must(s->n_sessions < SIM_SESSIONS_MAX);
	begin(s, &s->sessions[s->n_sessions]);
	(void)sim_timer(s, TRY_NS, T_SESSION_TRY, s->n_sessions, 0);
	s->n_sessions++;
}

static void send_soon(struct sim *s, int k)
{
	struct session *g = &s->sessions[k];

	if (g->sending || g->node < 0)
		return;
	g->sending = true;
	(void)sim_timer(s, MS / 10 + sim_below(s, MS), T_SESSION_ARRIVE, k, g->node);
}

void simsession_append(struct sim *s, int k)
{
	struct session *g = &s->sessions[k];
	struct op o = { .kind = REC_ID_SESSION, .session = g->id, .n = g->next, .after = -1, .last_node = -1,
		.filler_bytes = (uint32_t)sim_below(s, 120) };

	if (g->n == SIM_SESSION_OPS || s->n_ops == SIM_OPS_MAX || sim_now_ms(s) < g->idle_until_ms)
		return;
	if (sim_chance(s, 0.005)) { /* long enough for some to be forgotten */
		g->idle_until_ms = sim_now_ms(s) + sim_below(s, 40000);
		return;
	}
	if (g->birth == UINT64_MAX) { /* a commit index that it has seen: of any node that it asked */
		struct simnode *n = &s->nodes[sim_below(s, (uint64_t)s->n)];

		if (!n->up)
			return;
		g->birth = rep_commit(simnode_rep(n));
	}
	o.birth = g->birth;
	(void)snprintf(o.id, sizeof o.id, "g%d/%" PRIu64, k, g->next);
	(void)snprintf(o.value, sizeof o.value, "%" PRIu64, g->next);
	g->attempts[g->n] = -1;
	g->ops[g->n++] = simclient_op(s, o);
	g->next++;
	send_soon(s, k);
}

/* Its connection to the node breaks: what waits there is forgotten. */
static void leave(struct sim *s, struct session *g)
{
	struct simnode *n = g->node >= 0 ? simnode_enter(s, g->node) : NULL;

	for (uint32_t i = 0; i < g->n; i++) {
		struct attempt *at = g->attempts[i] >= 0 ? &s->attempts[g->attempts[i]] : NULL;

		if (at && at->pending && n && at->node == g->node && at->life == n->life)
			node_forget(n->node, (void *)(uintptr_t)(g->attempts[i] + 1), at->waits);
		if (at)
			at->pending = false;
		g->attempts[i] = -1;
	}
	g->hist_linked = false;
}

static void on_try(struct sim *s, int k)
{
	struct session *g = &s->sessions[k];
	const char *p = sim_primary(s);

	(void)sim_timer(s, TRY_NS + sim_below(s, TRY_NS), T_SESSION_TRY, k, 0);
	if (g->n == 0 || g->sending)
		return;
	leave(s, g);
	s->stats.retries += g->tries++ > 0;
	g->node = p && sim_chance(s, 0.8) ? sim_index(s, p) : (int)sim_below(s, (uint64_t)s->n);
	send_soon(s, k);
}

static void on_arrive(struct sim *s, struct timer *t)
{
	struct session *g = &s->sessions[t->a];
	struct simnode *n = simnode_enter(s, t->b);

	g->sending = false;
	if (!n || g->node != t->b || n->paused)
		return;
	if (g->life != n->life)
		leave(s, g); /* its connection was to a former life: all of it once more */
	g->life = n->life;
	for (uint32_t i = 0; i < g->n; i++) {
		struct buf body = BUF_NULL;
		leash_seq waits;
		int at;

		if (g->attempts[i] >= 0)
			continue; /* under way already */
		at = simclient_attempt(s, g->ops[i], t->b, t->a, simhist_session_sent(s, g, g->ops[i]));
		g->attempts[i] = at;
		simclient_body(&s->ops[g->ops[i]], &body);
		waits = node_submit(n->node, (struct bytes){ buf_head(&body), buf_len(&body) },
			&(struct drv_waiter){ .owner = (void *)(uintptr_t)(at + 1) }, clk_boot_ns());
		s->attempts[at].waits = waits;
		buf_deinit(&body);
		if (i >= g->n || g->attempts[i] != at)
			break; /* refused, or answered at once and the list has moved: the next try goes on */
	}
}

void simsession_timer(struct sim *s, struct timer *t)
{
	if (t->kind == T_SESSION_TRY)
		on_try(s, t->a);
	else
		on_arrive(s, t);
}

static void doubt_all(struct sim *s, int k)
{
	struct session *g = &s->sessions[k];

	leave(s, g);
	for (uint32_t i = 0; i < g->n; i++)
		simclient_give_up(s, g->ops[i]);
	s->stats.sessions_lost++;
	begin(s, g);
}

void simsession_answer(struct sim *s, struct attempt *at, const struct drv_answer *a)
{
	int k = at->session;
	struct session *g = &s->sessions[k];
	uint32_t i = 0;

	while (i < g->n && g->ops[i] != at->op)
		i++;
	if (i == g->n)
		return; /* of a session given up */
	g->attempts[i] = -1;
	switch (a->kind) {
	case DRV_ANS_OK:
	case DRV_ANS_KNOWN:
		if (i > 0)
			sim_broken(s, "session %d: %s is answered before what was sent before it", k, s->ops[at->op].id);
		simclient_done(s, at->op, a->seq, false);
		g->n--;
		memmove(g->ops + i, g->ops + i + 1, (g->n - i) * sizeof *g->ops);
		memmove(g->attempts + i, g->attempts + i + 1, (g->n - i) * sizeof *g->attempts);
		break;
	case DRV_ANS_CONFLICT:
		sim_broken(s, "session %d: %s is in conflict with itself", k, s->ops[at->op].id);
		break;
	case DRV_ANS_UNKNOWN_SESSION: doubt_all(s, k); break;
	case DRV_ANS_SESSION_ORDER:
	case DRV_ANS_NOT_PRIMARY:
	case DRV_ANS_HOLD:
	case DRV_ANS_OLD:
	case DRV_ANS_DEDUP_FULL:
	case DRV_ANS_DISK_FULL:
	case DRV_ANS_TOO_BIG:
	case DRV_ANS_INVALID:
	case DRV_ANS_LOST: break; /* the next try begins with the oldest */
	}
}

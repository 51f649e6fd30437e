/*
 * The node's side of repair in place (R11): which records are asked of whom is repair.c's, how they are proven the log's.
 *
 * Found while running (scrub, readers): the node goes on meanwhile; what is damaged is neither served nor replicated. Only
 * when the repair fails does the state machine hear of it, and then the node costs itself its incarnation (rep_damage.c).
 *
 * Found when opening: the node is dormant (rep.h). It takes no part, but others can take from it what it has; so nodes that
 * are all damaged mend each other. Repaired, everything is opened again and the node begins as if it had just started. Its
 * incarnation is given up only when the damage can never be proven, or when somebody leads and no node gives the
 * records, or when an operator ran `leash recover`: as long as nobody leads it may be one of those that must.
 */
#include "node/node_int.h"

#include <stdio.h>

#include "base/clk.h"
#include "node/diag_node.h"

#define REPAIR_ANSWER_NS   (2 * NS_PER_S)
#define REPAIR_AGAIN_NS    (1 * NS_PER_S)
#define REPAIR_PATIENCE_NS (20 * NS_PER_S)
#define REPAIR_SERVE_BYTES (1u << 20) /* of one answer */

/* ------------------------------------------------------------------------------------------------ what repair.c asks */

static void io_rebuild(void *ctx, leash_seq seq)
{
	logthread_rebuild(((struct node *)ctx)->lt, seq);
}

static void io_put(void *ctx, struct drv_rec *const *recs, size_t n_recs)
{
	logthread_rebuild_put(((struct node *)ctx)->lt, recs, n_recs);
}

static void io_ask(void *ctx, const char *node, leash_seq first)
{
	struct node *n = ctx;
	struct rep_msg m = { .type = REP_MSG_FETCH, .cluster = node_cluster(n), .seq = first,
		.log_end = first + REP_BATCH_MAX - 1 };

	n->net.send(n->net.ctx, node, REP_LINK_OUT, &m);
}

static void io_repaired(void *ctx, leash_seq seq, const struct rlog_rebuilt *taken, const char *from)
{
	struct node *n = ctx;
	struct rep_event ev = { .kind = REP_EV_MENDED, .now_ns = clk_boot_ns(),
		.mended = { .first = taken->segment_first, .last = taken->segment_last } };

	n->counters.scrub.repaired += taken->records;
	diag_log_repaired(seq, taken->first, taken->last, taken->records, from);
	n->damage_text[0] = '\0';
	if (n->dormant)
		n->reopen_due = true;
	else
		drv_event(n->drv, &ev);
	node_kick(n);
}

/* Somebody leads, or an operator said who shall: nobody waits for this node as it was. */
static bool others_go_on(const struct node *n)
{
	const struct rep_view *v = &n->view.view;

	return n->view_known && (v->leader.present || v->insync.recovery > n->opened_recovery);
}

static void io_failed(void *ctx, leash_seq seq, bool final, const char *why)
{
	struct node *n = ctx;

	diag_repair_failed(seq, why, n->dormant, final || !n->dormant || others_go_on(n));
	if (!n->dormant) {
		drv_event(n->drv, &(struct rep_event){ .kind = REP_EV_DAMAGE, .now_ns = clk_boot_ns(), .seq = seq });
	} else if (final || others_go_on(n)) {
		n->give_up = n->reopen_due = true;
	} else {
		repair_begin(n->repair, seq, clk_boot_ns());
	}
	node_kick(n);
}

int node_repair_init(struct node *n)
{
	static const struct repair_conf conf = { .answer_ns = REPAIR_ANSWER_NS, .again_ns = REPAIR_AGAIN_NS,
		.patience_ns = REPAIR_PATIENCE_NS };
	struct repair_io io = { .ctx = n, .rebuild = io_rebuild, .put = io_put, .ask = io_ask,
		.repaired = io_repaired, .failed = io_failed };

	for (size_t i = 0; i < ARRAY_SIZE(n->gifts); i++)
		n->gifts[i].n = n;
	return repair_new(&conf, &io, &n->repair);
}

/* -------------------------------------------------------------------------------------------------- what others ask */

static void give(struct node *n, const char *to, leash_seq first, struct drv_rec *const *recs, size_t count)
{
	struct rep_msg m = { .type = REP_MSG_FETCHED, .cluster = node_cluster(n), .seq = first,
		.n_recs = (uint32_t)count };

	if (count > 0)
		(void)n->net.send_records(n->net.ctx, to, &m, recs, count); /* lost when it is busy: it asks again */
	else
		n->net.send(n->net.ctx, to, REP_LINK_OUT, &m);
}

static void on_read(void *ctx, int error, struct drv_rec *const *recs, size_t count)
{
	struct node_gift *g = ctx;

	(void)error; /* none of them, then */
	g->read = NULL;
	give(g->n, g->to, g->first, recs, count);
}

/* One at a time for each node; a node that asks again before its answer is there has given up the first. */
static struct node_gift *gift_of(struct node *n, const char *node)
{
	for (size_t i = 0; i < ARRAY_SIZE(n->gifts); i++) {
		struct node_gift *g = &n->gifts[i];

		if (!g->to[0] || strcmp(g->to, node) == 0) {
			(void)snprintf(g->to, sizeof g->to, "%s", node);
			return g;
		}
	}
	return NULL;
}

static void serve(struct node *n, const char *from, const struct rep_msg *m)
{
	struct node_gift *g = gift_of(n, from);

	if (!g || m->seq == 0 || m->log_end < m->seq || m->cluster != node_cluster(n))
		return;
	if (g->read)
		logthread_read_cancel(g->read);
	g->first = m->seq;
	g->read = NULL;
	if (logthread_read(n->lt, m->seq, m->log_end, false, REP_BATCH_MAX, REPAIR_SERVE_BYTES, on_read, g, &g->read) < 0)
		give(n, from, m->seq, NULL, 0);
}

/* --------------------------------------------------------------------------------------------------------- what comes in */

bool node_repair_msg(struct node *n, const char *from, const struct rep_msg *m, struct drv_rec *const *recs)
{
	if (m->type == REP_MSG_FETCH)
		serve(n, from, m);
	else if (m->type == REP_MSG_FETCHED)
		repair_fetched(n->repair, from, m->seq, recs, m->n_recs, clk_boot_ns());
	return m->type == REP_MSG_FETCH || m->type == REP_MSG_FETCHED;
}

void node_repair_link(struct node *n, const char *peer, bool up, uint64_t conn)
{
	for (size_t i = 0; i < ARRAY_SIZE(n->links); i++) {
		struct node_link *l = &n->links[i];

		if (l->node[0] && strcmp(l->node, peer) != 0)
			continue;
		(void)snprintf(l->node, sizeof l->node, "%s", peer);
		l->up = up;
		l->conn = conn;
		break;
	}
	repair_link(n->repair, peer, up, clk_boot_ns());
}

/* ------------------------------------------------------------------------------------------------------ opening again */

/* What the state machine that was must be told once more to the one that is. */
static void tell_again(struct node *n)
{
	uint64_t now = clk_boot_ns();

	drv_event(n->drv, &(struct rep_event){ .kind = REP_EV_LEASE, .now_ns = now, .lease = control_lease(n->control) });
	for (size_t i = 0; i < ARRAY_SIZE(n->links); i++) {
		const struct node_link *l = &n->links[i];
		struct rep_event ev = { .kind = REP_EV_LINK, .now_ns = now,
			.link = { .node = l->node, .up = true, .conn = l->conn } };

		if (l->up)
			drv_event(n->drv, &ev);
	}
	if (n->view_known)
		drv_event(n->drv, &(struct rep_event){ .kind = REP_EV_VIEW, .now_ns = now, .view = &n->view.view });
	if (control_lease(n->control))
		control_announce(n->control);
	n->net.changed(n->net.ctx);
}

void node_reopen(struct node *n)
{
	char reason[256] = "";
	int r;

	n->reopen_due = n->dormant = false;
	logthread_free(n->lt);
	n->lt = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(n->gifts); i++)
		n->gifts[i].read = NULL;
	node_reads_free(n);
	drv_free(n->drv);
	n->drv = NULL;
	r = node_open_all(n, reason);
	if (r != 0) {
		diag_log_failed(reason[0] ? reason : "out of memory");
		node_fatal(n, node_exit_status(r));
		return;
	}
	if (n->dormant)
		node_repair_dormant(n);
	tell_again(n);
}

void node_repair_dormant(struct node *n)
{
	diag_log_dormant(n->damage_first, n->damage_text);
	repair_begin(n->repair, n->damage_first, clk_boot_ns());
}

/*
 * The node's side of repair in place (R11): which records are asked of whom is repair.c's, how they are proven the log's.
 *
 * Found while running (scrub, readers): the node goes on meanwhile; what is damaged is neither served nor replicated. Only
 * when the repair fails does the state machine hear of it, and then the node costs itself its incarnation (rep_damage.c).
 *
 * Found when opening: the node is dormant (rep.h). It takes no part, but others can take from it what it has; so nodes that
 * are all damaged mend each other. Repaired, everything is opened again and the node begins as if it had just started. Its
 * incarnation is given up only when the damage can never be proven, or when somebody leads and no node gives the
 * records: as long as nobody leads it may be one of those that must. An operator who knows that the records are lost
 * says so with `leash log set-aside`.
 */
#include "node/node_int.h"

#include <stdio.h>

#include "base/clk.h"
#include "node/diag_node.h"

/* Times, in failure timeouts. */
#define REPAIR_ANSWER      2
#define REPAIR_AGAIN       1
#define REPAIR_PATIENCE    20
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

/* Somebody leads and can be reached: nobody waits for this node as it was. */
static bool others_go_on(const struct node *n)
{
	const struct rep_leader *leader = &n->view.view.leader;

	if (!n->view_known || !leader->present)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(n->links); i++)
		if (n->links[i].up && strcmp(n->links[i].node, leader->node) == 0)
			return true;
	return false;
}

static void io_failed(void *ctx, leash_seq seq, leash_seq last, bool final, const char *why)
{
	struct node *n = ctx;

	diag_repair_failed(seq, why, n->dormant, final || !n->dormant || others_go_on(n));
	if (!n->dormant) {
		drv_event(n->drv, &(struct rep_event){ .kind = REP_EV_DAMAGE, .now_ns = clk_boot_ns(),
			.damage = { .first = seq, .last = last } });
	} else if (final || others_go_on(n)) {
		n->give_up = n->reopen_due = true;
	} else {
		repair_begin(n->repair, seq, clk_boot_ns());
	}
	node_kick(n);
}

int node_repair_init(struct node *n)
{
	uint64_t timeout_ns = n->conf.failure_timeout_ns;
	struct repair_conf conf = { .answer_ns = REPAIR_ANSWER * timeout_ns, .again_ns = REPAIR_AGAIN * timeout_ns,
		.patience_ns = REPAIR_PATIENCE * timeout_ns };
	struct repair_io io = { .ctx = n, .rebuild = io_rebuild, .put = io_put, .ask = io_ask,
		.repaired = io_repaired, .failed = io_failed };

	for (size_t i = 0; i < ARRAY_SIZE(n->gifts); i++)
		n->gifts[i].n = n;
	return repair_new(&conf, &io, &n->repair);
}

/* -------------------------------------------------------------------------------------------------- what others ask */

/* False: the connection's output is full. */
static bool give(struct node *n, const char *to, leash_seq first, struct drv_rec *const *recs, size_t count)
{
	struct rep_msg m = { .type = REP_MSG_FETCHED, .cluster = node_cluster(n), .seq = first,
		.n_recs = (uint32_t)count };

	if (count > 0)
		return n->net.send_records(n->net.ctx, to, &m, recs, count);
	n->net.send(n->net.ctx, to, REP_LINK_OUT, &m);
	return true;
}

static void on_read(void *ctx, int error, struct drv_rec *const *recs, size_t count)
{
	struct node_gift *g = ctx;

	(void)error; /* none of them, then */
	g->read = NULL;
	g->again = !give(g->n, g->to, g->first, recs, count);
}

/* One at a time for each node. */
static struct node_gift *gift_of(struct node *n, const char *node)
{
	struct node_gift *spare = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(n->gifts); i++) {
		struct node_gift *g = &n->gifts[i];

		if (strcmp(g->to, node) == 0)
			return g;
		if (!spare && !g->read)
			spare = g;
	}
	if (spare) {
		(void)snprintf(spare->to, sizeof spare->to, "%s", node);
		spare->again = false;
	}
	return spare;
}

static void read_gift(struct node_gift *g)
{
	g->again = false;
	if (logthread_read(g->n->lt, g->first, g->last, false, REP_BATCH_MAX, REPAIR_SERVE_BYTES, on_read, g, &g->read) < 0)
		(void)give(g->n, g->to, g->first, NULL, 0);
}

static void serve(struct node *n, const char *from, const struct rep_msg *m)
{
	struct node_gift *g;

	if (m->seq == 0 || m->log_end < m->seq || m->cluster != node_cluster(n))
		return;
	g = gift_of(n, from);
	if (!g || g->read)
		return; /* it asks again when no answer comes */
	g->first = m->seq;
	g->last = m->log_end;
	read_gift(g);
}

void node_repair_writable(struct node *n, const char *peer)
{
	for (size_t i = 0; i < ARRAY_SIZE(n->gifts); i++)
		if (n->gifts[i].again && !n->gifts[i].read && strcmp(n->gifts[i].to, peer) == 0)
			read_gift(&n->gifts[i]);
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

void node_repair_link(struct node *n, const char *peer, bool up, uint64_t conn, bool refused)
{
	struct node_link *place = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(n->links); i++) {
		struct node_link *l = &n->links[i];

		if (strcmp(l->node, peer) == 0) {
			place = l;
			break;
		}
		if (!place && !l->up) /* never used, or of a node that is gone */
			place = l;
	}
	if (place) {
		*place = (struct node_link){ .up = up, .refused = refused, .conn = conn };
		(void)snprintf(place->node, sizeof place->node, "%s", peer);
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
			.link = { .node = l->node, .up = l->up, .conn = l->conn, .refused = l->refused } };

		if (l->node[0])
			drv_event(n->drv, &ev);
		if (l->up)
			repair_link(n->repair, l->node, true, now);
	}
	if (n->view_known)
		drv_event(n->drv, &(struct rep_event){ .kind = REP_EV_VIEW, .now_ns = now, .view = &n->view.view });
	if (control_lease(n->control))
		control_announce(n->control);
	n->net.changed(n->net.ctx);
}

/* What was under way ends with the log thread. */
static int begin_anew(struct node *n, char reason[256])
{
	int r;

	logthread_free(TAKE(n->lt));
	node_reads_free(n);
	for (size_t i = 0; i < ARRAY_SIZE(n->gifts); i++)
		n->gifts[i] = (struct node_gift){ 0 };
	repair_free(TAKE(n->repair));
	r = node_repair_init(n);
	return r != 0 ? r : node_open_all(n, reason);
}

void node_reopen(struct node *n)
{
	struct drv *old = TAKE(n->drv);
	char reason[256] = "";
	int r;

	n->reopen_due = n->dormant = false;
	r = begin_anew(n, reason);
	if (r != 0) {
		drv_free(n->drv);
		n->drv = old; /* for those who ask before the end */
		diag_log_failed(reason[0] ? reason : "out of memory");
		node_fatal(n, node_exit_status(r));
		return;
	}
	drv_free(old);
	tell_again(n);
	if (n->dormant)
		node_repair_dormant(n);
}

void node_repair_dormant(struct node *n)
{
	diag_log_dormant(n->damage_first, n->damage_text);
	repair_begin(n->repair, n->damage_first, clk_boot_ns());
}

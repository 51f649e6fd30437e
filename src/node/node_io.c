/*
 * Between driver, log thread, control plane and network: each asks here, each is answered here.
 */
#include "node/node_int.h"

#include <stdio.h>

#include "base/clk.h"
#include "base/ids.h"
#include "node/diag_node.h"

/* ------------------------------------------------------------------------------------------- the driver asks: log */

static uint64_t io_real_ns(void *ctx)
{
	(void)ctx;
	return clk_real_ns();
}

static void io_append(void *ctx, struct drv_rec *const *recs, size_t n)
{
	logthread_append(((struct node *)ctx)->lt, recs, n);
}

static void io_truncate(void *ctx, leash_seq seq)
{
	logthread_truncate(((struct node *)ctx)->lt, seq);
}

static void io_reset(void *ctx, leash_seq start, struct leash_chain base)
{
	struct node *n = ctx;

	n->log_start = start;
	logthread_reset(n->lt, start, base);
}

static void io_meta(void *ctx, uint64_t ticket, const struct rep_meta *meta)
{
	struct node *n = ctx;
	const struct rep_insync *set = &n->view.view.insync;

	if (n->view_known && set->present && set->cluster == meta->cluster)
		logthread_meta(n->lt, ticket, meta, set->min_insync, set->dedup_window);
	else
		logthread_meta(n->lt, ticket, meta, 0, 0);
}

static void io_set_aside(void *ctx)
{
	logthread_set_aside(((struct node *)ctx)->lt, id_random());
}

static void io_mark(void *ctx, leash_seq seq)
{
	logthread_mark(((struct node *)ctx)->lt, seq);
}

static void io_retain(void *ctx, leash_seq keep_from)
{
	logthread_retain(((struct node *)ctx)->lt, keep_from);
}

static void on_fetched(void *ctx, int error, struct drv_rec *const *recs, size_t count)
{
	struct node_fetch *f = ctx;

	(void)error; /* none came: the stream stops, and the state machine looks after it */
	f->read = NULL;
	drv_fetched(f->n->drv, f->node, recs, count, clk_boot_ns());
	node_kick(f->n);
}

/* The driver asks once per node at a time; a node keeps its place. */
static struct node_fetch *fetch_of(struct node *n, const char *node)
{
	for (uint32_t i = 0; i < REP_NODES_MAX; i++) {
		struct node_fetch *f = &n->fetches[i];

		if (f->node[0] && strcmp(f->node, node) != 0)
			continue;
		f->n = n;
		memcpy(f->node, node, strlen(node) + 1);
		return f;
	}
	return NULL;
}

static void io_fetch(void *ctx, const char *node, leash_seq first, leash_seq last, size_t bytes_max)
{
	struct node *n = ctx;
	struct node_fetch *f = fetch_of(n, node);
	uint32_t count = (uint32_t)MIN2(last - first + 1, (leash_seq)REP_BATCH_MAX);

	must(f && !f->read);
	if (logthread_read(n->lt, first, last, false, count, bytes_max, on_fetched, f, &f->read) < 0)
		drv_fetched(n->drv, node, NULL, 0, clk_boot_ns());
}

/* --------------------------------------------------------------------------- the driver asks: network, etcd, clients */

static void io_send(void *ctx, const char *node, enum rep_link link, const struct rep_msg *m)
{
	struct node *n = ctx;

	n->net.send(n->net.ctx, node, link, m);
}

static bool io_send_records(void *ctx, const char *node, const struct rep_msg *head, struct drv_rec *const *recs,
	size_t count)
{
	struct node *n = ctx;

	return n->net.send_records(n->net.ctx, node, head, recs, count);
}

static void io_txn(void *ctx, const struct rep_txn *txn) { control_txn(((struct node *)ctx)->control, txn); }
static void io_read(void *ctx) { control_read(((struct node *)ctx)->control); }
static void io_probe(void *ctx) { control_probe(((struct node *)ctx)->control); }
static void io_announce(void *ctx) { control_announce(((struct node *)ctx)->control); }

static void io_answer(void *ctx, const struct drv_waiter *w, const struct drv_answer *a)
{
	struct node *n = ctx;

	switch (a->kind) {
	case DRV_ANS_OK: n->counters.appends++; break;
	case DRV_ANS_KNOWN: n->counters.retries++; break;
	case DRV_ANS_CONFLICT: n->counters.conflicts++; break;
	case DRV_ANS_NOT_PRIMARY:
	case DRV_ANS_HOLD:
	case DRV_ANS_UNKNOWN_SESSION:
	case DRV_ANS_SESSION_ORDER:
	case DRV_ANS_OLD:
	case DRV_ANS_DEDUP_FULL:
	case DRV_ANS_DISK_FULL:
	case DRV_ANS_TOO_BIG:
	case DRV_ANS_INVALID:
	case DRV_ANS_LOST: n->counters.refused++; break;
	}
	n->net.answer(n->net.ctx, w, a);
}

static void io_room(void *ctx)
{
	struct node *n = ctx;

	n->net.room(n->net.ctx);
}

static void io_committed(void *ctx, leash_seq seq)
{
	struct node *n = ctx;

	n->net.committed(n->net.ctx, seq);
}

static void io_changed(void *ctx)
{
	struct node *n = ctx;

	node_admin_changed(n);
	n->net.changed(n->net.ctx);
}

static void io_note(void *ctx, const struct rep_note *note)
{
	struct node *n = ctx;
	struct rep_status s;

	if (n->dead)
		return;
	rep_status(drv_rep(n->drv), clk_boot_ns(), &s);
	diag_note(note, n->conf.node, &s.members);
	node_admin_note(n, note);
	if (note->kind == REP_NOTE_FOREIGN || note->kind == REP_NOTE_MISCONFIGURED)
		node_fatal(n, 78);
	if (note->kind == REP_NOTE_OVERRULED || note->kind == REP_NOTE_FOUNDED_ANEW)
		node_fatal(n, 1);
}

const struct drv_io node_drv_io = { .real_ns = io_real_ns, .append = io_append, .truncate = io_truncate,
	.reset = io_reset, .meta = io_meta, .set_aside = io_set_aside, .mark = io_mark, .retain = io_retain,
	.fetch = io_fetch, .send = io_send, .send_records = io_send_records, .txn = io_txn, .read = io_read,
	.probe = io_probe, .announce = io_announce, .answer = io_answer, .room = io_room, .committed = io_committed,
	.changed = io_changed, .note = io_note };

/* --------------------------------------------------------------------------------------------- the log thread tells */

static void lt_durable(void *ctx, leash_seq seq)
{
	struct node *n = ctx;

	drv_durable(n->drv, seq, clk_boot_ns());
	node_kick(n);
}

static void lt_room_is(void *ctx, uint64_t bytes) { drv_room(((struct node *)ctx)->drv, bytes); }

static void lt_cut_done(void *ctx, leash_seq seq, struct leash_chain chain)
{
	struct node *n = ctx;

	drv_cut_done(n->drv, seq, chain, clk_boot_ns());
	node_kick(n);
}

static void lt_meta_done(void *ctx, uint64_t ticket)
{
	struct node *n = ctx;

	drv_meta_done(n->drv, ticket, clk_boot_ns());
	node_kick(n);
}

static void lt_disk_full(void *ctx, leash_seq end, struct leash_chain chain)
{
	struct node *n = ctx;

	drv_disk_full(n->drv, end, chain, clk_boot_ns());
	node_kick(n);
}

static void lt_trimmed(void *ctx, leash_seq start, struct leash_chain base)
{
	struct node *n = ctx;

	n->log_start = MAX2(n->log_start, start);
	drv_trimmed(n->drv, start, base, clk_boot_ns());
	node_kick(n);
}

static void lt_incarnation(void *ctx, leash_id incarnation, leash_seq end, struct leash_chain chain)
{
	struct node *n = ctx;

	diag_log_damaged(end, n->damage_text[0] ? n->damage_text : "a peer says so", incarnation);
	n->damage_text[0] = '\0';
	n->log_start = MIN2(n->log_start, end + 1); /* nothing is left: it starts at 1 again */
	drv_incarnation(n->drv, incarnation, end, chain, clk_boot_ns());
	node_kick(n);
}

/* R11: never served, never replicated (whoever reads verifies); what becomes of it is the state machine's to say. */
static void lt_damage(void *ctx, const struct rlog_damage *d)
{
	struct node *n = ctx;

	if (n->dead)
		return;
	n->counters.scrub.found++;
	(void)snprintf(n->damage_text, sizeof n->damage_text, "%s%s%s", d->path, d->path[0] ? ": " : "", d->reason);
	diag_damage_found(d->path, d->offset, d->first, d->last, d->reason);
	repair_begin(n->repair, d->first, clk_boot_ns());
	node_kick(n);
}

static void lt_rebuild(void *ctx, int outcome, leash_seq need, const struct rlog_rebuilt *taken)
{
	struct node *n = ctx;

	if (!n->dead)
		repair_rebuilt(n->repair, outcome, need, taken, clk_boot_ns());
}

static void lt_problem_is(void *ctx, const char *text)
{
	(void)ctx;
	diag_log_problem(text);
}

static void lt_space(void *ctx, bool full)
{
	(void)ctx;
	if (full)
		diag_disk_full();
	else
		diag_disk_room();
}

static void lt_failed(void *ctx, const char *text)
{
	diag_log_failed(text);
	node_fatal(ctx, 74);
}

const struct logthread_ops node_lt_ops = { .durable = lt_durable, .room = lt_room_is, .cut_done = lt_cut_done,
	.meta_done = lt_meta_done, .disk_full = lt_disk_full, .trimmed = lt_trimmed, .incarnation = lt_incarnation,
	.damage = lt_damage, .rebuild = lt_rebuild, .problem = lt_problem_is,
	.space = lt_space, .failed = lt_failed };

/* ------------------------------------------------------------------------------------------- the control plane tells */

/* Our own key is missing or of a former life although we have a lease: put it there again. */
static void look_for_own_key(struct node *n)
{
	const struct rep_view *v = &n->view.view;
	uint64_t now = clk_boot_ns();

	for (uint32_t i = 0; i < v->n_nodes; i++)
		if (strcmp(v->nodes[i].node, n->conf.node) == 0 && v->nodes[i].run == n->run)
			return;
	if (control_lease(n->control) == 0 || now - n->announced_ns < NODE_ANNOUNCE_NS)
		return;
	n->announced_ns = now;
	control_announce(n->control);
}

static void ctl_view(void *ctx, const struct keys_view *v)
{
	struct node *n = ctx;

	if (n->dead)
		return;
	n->view = *v;
	n->view_known = true;
	drv_event(n->drv, &(struct rep_event){ .kind = REP_EV_VIEW, .now_ns = clk_boot_ns(), .view = &n->view.view });
	look_for_own_key(n);
	node_admin_view(n);
	n->net.view(n->net.ctx, &n->view);
	node_kick(n);
}

static void ctl_txn(void *ctx, uint64_t ticket, enum control_txn_outcome outcome, uint64_t revision,
	const struct keys_view *v)
{
	static const enum rep_txn_outcome outcomes[] = { [CONTROL_TXN_DONE] = REP_TXN_DONE,
		[CONTROL_TXN_FAILED] = REP_TXN_FAILED, [CONTROL_TXN_UNKNOWN] = REP_TXN_UNKNOWN,
		[CONTROL_TXN_UNSENT] = REP_TXN_UNSENT };
	struct rep_event ev = { .kind = REP_EV_TXN, .now_ns = clk_boot_ns() };
	struct node *n = ctx;

	if (n->dead)
		return;
	if (v) {
		n->view = *v;
		n->view_known = true;
		ev.txn.view = &n->view.view;
	}
	ev.txn.ticket = ticket;
	ev.txn.outcome = outcomes[outcome];
	ev.txn.revision = revision;
	drv_event(n->drv, &ev);
	if (v)
		n->net.view(n->net.ctx, &n->view);
	node_kick(n);
}

static void ctl_lease(void *ctx, uint64_t lease)
{
	struct node *n = ctx;

	drv_event(n->drv, &(struct rep_event){ .kind = REP_EV_LEASE, .now_ns = clk_boot_ns(), .lease = lease });
	node_kick(n);
}

static void ctl_describe(void *ctx, struct rep_node *ret)
{
	struct node *n = ctx;
	struct rep_status s;

	rep_status(drv_rep(n->drv), clk_boot_ns(), &s);
	*ret = (struct rep_node){ .incarnation = s.meta.incarnation, .run = n->run, .cluster = s.meta.cluster,
		.priority = n->conf.priority, .log_epoch = n->dormant ? 0 : s.log_epoch, .log_end = s.durable };
	memcpy(ret->node, n->conf.node, strnlen(n->conf.node, LEASH_NAME_MAX));
	memcpy(ret->address, n->conf.address, strnlen(n->conf.address, LEASH_ADDR_MAX));
}

static bool ctl_may_renew(void *ctx)
{
	struct node *n = ctx;

	return !n->dead && logthread_stuck_ns(n->lt) <= n->conf.disk_budget_ns;
}

static void ctl_reachable(void *ctx, bool reachable, const char *why)
{
	(void)ctx;
	if (reachable)
		diag_etcd_back();
	else
		diag_etcd_away(why);
}

static void ctl_unreadable(void *ctx, const char *what)
{
	(void)ctx;
	diag_etcd_unreadable(what);
}

static void ctl_stopped(void *ctx)
{
	struct node *n = ctx;

	if (n->stopped)
		return;
	n->stopped = true;
	n->net.stopped(n->net.ctx);
}

const struct control_ops node_ctl_ops = { .view = ctl_view, .txn = ctl_txn, .lease = ctl_lease,
	.describe = ctl_describe, .may_renew = ctl_may_renew, .reachable = ctl_reachable,
	.unreadable = ctl_unreadable, .stopped = ctl_stopped };

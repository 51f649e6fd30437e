/*
 * Hand-over on an operator's word, at a stop, and because of a sick disk (R13, R11a).
 */
#include "node/node_int.h"

#include <stdio.h>

#include "base/clk.h"
#include "node/diag_node.h"

/* ---------------------------------------------------------------------------------------------------------- hand-over */

static void finish_handover(struct node *n, const char *failed)
{
	node_handover_fn fn = n->hand.fn;

	if (!n->hand.active)
		return;
	n->hand.active = false;
	fn(n->hand.ctx, failed);
}

void node_begin_handover(struct node *n, const char *to, bool leaving, uint64_t deadline_ns, node_handover_fn fn,
	void *ctx)
{
	struct rep_event ev = { .kind = REP_EV_HANDOVER, .now_ns = clk_boot_ns(),
		.handover = { .to = to ? to : "", .leaving = leaving, .deadline_ns = deadline_ns } };

	if (n->hand.active || n->dead) {
		fn(ctx, "another hand-over is under way");
		return;
	}
	n->hand.active = true;
	n->hand.fn = fn;
	n->hand.ctx = ctx;
	drv_event(n->drv, &ev);
	node_kick(n);
}

void node_handover(struct node *n, const char *to, uint64_t deadline_ns, node_handover_fn fn, void *ctx)
{
	node_begin_handover(n, to, false, deadline_ns, fn, ctx);
}

void node_admin_note(struct node *n, const struct rep_note *note)
{
	if (note->kind == REP_NOTE_HANDOVER_FAILED)
		finish_handover(n, note->text ? note->text : "failed");
	if (note->kind == REP_NOTE_DEPOSED)
		finish_handover(n, NULL); /* by the hand-over, or by another who took over meanwhile: the lead has moved */
}

void node_admin_changed(struct node *n)
{
	if (n->hand.active && rep_role(drv_rep(n->drv)) == REP_ROLE_HALTED)
		finish_handover(n, "this node stands aside");
}

/* ------------------------------------------------------------------------------------------------ operators' requests */

static void answer_request(struct node *n, enum keys_request_state state, const char *text)
{
	n->request.state = state;
	(void)snprintf(n->request.text, sizeof n->request.text, "%s", text);
	control_answer_request(n->control, &n->request, n->request_mod);
}

static void on_request_done(void *ctx, const char *failed)
{
	struct node *n = ctx;

	answer_request(n, failed ? KEYS_REQUEST_FAILED : KEYS_REQUEST_DONE, failed ? failed : "the lead has moved");
}

/* The primary takes up an open request, once. One that is older than its own lead was meant for its predecessor. */
void node_admin_view(struct node *n)
{
	const struct keys_view *v = &n->view;
	char text[KEYS_TEXT_MAX + 1];

	if (!v->has_request || v->request.state != KEYS_REQUEST_OPEN || v->request.id == n->request_id || n->stopping ||
		rep_role(drv_rep(n->drv)) != REP_ROLE_PRIMARY || !v->view.leader.present ||
		v->view.leader.run != n->run)
		return;
	n->request_id = v->request.id;
	n->request_mod = v->request_mod;
	n->request = v->request;
	if (strcmp(v->request.to, n->conf.node) == 0 || v->request_mod < v->view.leader.mod_revision) {
		bool done = !v->request.to[0] || strcmp(v->request.to, n->conf.node) == 0;

		(void)snprintf(text, sizeof text, "%s leads", n->conf.node);
		answer_request(n, done ? KEYS_REQUEST_DONE : KEYS_REQUEST_FAILED, text);
		return;
	}
	node_begin_handover(n, n->request.to, false, clk_boot_ns() + NODE_REQUEST_NS, on_request_done, n);
}

/* ---------------------------------------------------------------------------------------------------------- sick disk */

static void on_disk_handover(void *ctx, const char *failed)
{
	struct node *n = ctx;

	if (!n->disk_sick)
		return;
	if (failed)
		diag_resigned(failed);
	control_resign(n->control);
}

/*
 * R11a: a primary whose disk hangs hands over. Then, and when nobody can take over within the budget, it gives its lease
 * back; a secondary does so at once. Without a lease it does not stand for the lead: it could win, and could not keep
 * the promise on disk that must come before it acts (R4).
 */
void node_admin_disk(struct node *n, uint64_t now_ns)
{
	uint64_t stuck_ns = logthread_stuck_ns(n->lt);
	bool primary = rep_role(drv_rep(n->drv)) == REP_ROLE_PRIMARY;

	if (stuck_ns <= n->conf.disk_budget_ns) {
		if (n->disk_sick)
			diag_disk_well();
		n->disk_sick = n->disk_moving = false;
		return;
	}
	if (!n->disk_sick)
		diag_disk_sick(stuck_ns / NS_PER_MS, primary);
	n->disk_sick = true;
	if (n->disk_moving || n->hand.active)
		return;
	if (!primary) {
		control_resign(n->control);
		return;
	}
	n->disk_moving = true;
	node_begin_handover(n, NULL, false, now_ns + n->conf.disk_budget_ns, on_disk_handover, n);
}

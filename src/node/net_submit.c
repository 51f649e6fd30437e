/*
 * Appends on their way to the node and back. What the node holds back (a hand-over is under way, or too much is
 * uncommitted) waits here in the order it came, and everything that comes later waits behind it, until the node says
 * that there is room or what it is has changed. So order within a connection is kept, and nothing is refused while a
 * hand-over lasts. Bounded by NET_HELD_BYTES and by what each connection may have in flight.
 */
#include <errno.h>

#include "base/clk.h"
#include "node/net_int.h"

static void answer_front(struct submit *s, enum peer_status_code status, leash_seq seq)
{
	front_append_done(s->op, status, seq);
}

static void answer_data(struct submit *s, enum peer_status_code status, leash_seq seq, leash_epoch epoch)
{
	struct peer_result r = { .token = s->token, .status = status, .seq = seq, .epoch = epoch };

	net_data_result(s->conn, &r, s->bytes);
}

/* There are as many as ever were on their way at once, which each connection bounds; they are kept for the next. */
static struct submit *submit_alloc(struct net *net)
{
	struct submit *s = net->spare_submits;

	if (!s)
		return malloc(sizeof *s);
	net->spare_submits = s->next;
	return s;
}

static void submit_free(struct submit *s)
{
	buf_deinit(&s->body);
	s->next = s->net->spare_submits;
	s->net->spare_submits = s;
}

void net_submit_deinit(struct net *net)
{
	while (net->spare_submits) {
		struct submit *s = net->spare_submits;

		net->spare_submits = s->next;
		free(s);
	}
}

static void link_submitted(struct submit *s)
{
	s->submitted = true;
	DL_APPEND(s->net->submits[s->op != NULL], s);
}

static void unlink_submit(struct submit *s)
{
	if (s->submitted) {
		s->submitted = false;
		DL_DELETE(s->net->submits[s->op != NULL], s);
		return;
	}
	DL_DELETE(s->net->held, s);
	s->net->held_bytes -= s->bytes;
}

/* The end of @s: it is answered and gone. */
void net_submit_done(struct submit *s, enum peer_status_code status, leash_seq seq, leash_epoch epoch)
{
	unlink_submit(s);
	if (s->op)
		answer_front(s, status, seq);
	else
		answer_data(s, status, seq, epoch);
	submit_free(s);
}

static enum peer_status_code status_of(enum drv_answer_kind kind)
{
	switch (kind) {
	case DRV_ANS_OK: return PEER_ST_OK;
	case DRV_ANS_KNOWN: return PEER_ST_KNOWN;
	case DRV_ANS_CONFLICT: return PEER_ST_CONFLICT;
	case DRV_ANS_NOT_PRIMARY: return PEER_ST_NOT_PRIMARY;
	case DRV_ANS_HOLD: return PEER_ST_HOLD;
	case DRV_ANS_UNKNOWN_SESSION: return PEER_ST_SESSION_UNKNOWN;
	case DRV_ANS_SESSION_ORDER: return PEER_ST_SESSION_ORDER;
	case DRV_ANS_OLD: return PEER_ST_OLD;
	case DRV_ANS_DEDUP_FULL: return PEER_ST_DEDUP_FULL;
	case DRV_ANS_DISK_FULL: return PEER_ST_OOM;
	case DRV_ANS_TOO_BIG: return PEER_ST_TOO_BIG;
	case DRV_ANS_INVALID: return PEER_ST_INVALID;
	case DRV_ANS_LOST: return PEER_ST_INDOUBT;
	}
	return PEER_ST_INVALID;
}

void net_answer(void *ctx, void *waiter, const struct drv_answer *a)
{
	struct net *net = ctx;
	struct submit *s = waiter;

	if (a->kind == DRV_ANS_HOLD && net->submitting == s) {
		net->hold_answer = true; /* feed() keeps it */
		return;
	}
	if (net->submitting == s)
		net->submitting = NULL;
	net_submit_done(s, status_of(a->kind), a->seq, a->epoch);
}

/* Gives @body to the node. False: it holds it back, nothing happened. */
static bool feed(struct submit *s, struct bytes body)
{
	struct net *net = s->net;
	leash_seq seq;

	must(!net->submitting && s->submitted);
	net->submitting = s;
	net->hold_answer = false;
	seq = node_submit(net->node, body, s, net->now_ns);
	net->submitting = NULL;
	if (seq)
		s->waits = seq; /* else it was answered, and is gone, or is held back */
	return !net->hold_answer;
}

static int hold(struct submit *s, struct bytes body)
{
	struct net *net = s->net;

	if (net->held_bytes + body.len > NET_HELD_BYTES)
		return -ENOBUFS;
	if (buf_len(&s->body) == 0 && buf_put(&s->body, body.p, body.len) < 0)
		return -ENOMEM;
	unlink_submit(s);
	DL_APPEND(net->held, s);
	net->held_bytes += s->bytes;
	return 0;
}

/*
 * One append of a data connection (@conn) or of the front (@op). It is answered once, perhaps from inside. @body is
 * copied if need be. 0; -ENOMEM: not taken, no answer.
 */
int net_submit(struct net *net, struct conn *conn, struct front_op *op, uint64_t token, struct bytes body)
{
	struct submit *s = submit_alloc(net);

	if (!s)
		return -ENOMEM;
	*s = (struct submit){ .net = net, .conn = conn, .op = op, .token = token, .bytes = body.len,
		.deadline_ns = net->now_ns + net->conf.hold_timeout_ns };
	if (op)
		op->backend = s;
	link_submitted(s);
	if ((net->held || !feed(s, body)) && hold(s, body))
		net_submit_done(s, PEER_ST_HOLD, 0, 0);
	return 0;
}

/* Feeds what is held, in order, until it is held back again. From the end of the turn: callbacks of the node come here
 * only to say that it is due. */
static void refeed_now(struct net *net)
{
	struct submit *s;

	net->refeed = false;
	while ((s = net->held)) {
		struct buf body = s->body;
		bool taken;

		unlink_submit(s);
		s->body = (struct buf)BUF_NULL;
		link_submitted(s);
		taken = feed(s, (struct bytes){ buf_head(&body), buf_len(&body) });
		if (taken) {
			buf_deinit(&body);
			continue;
		}
		unlink_submit(s);
		s->body = body;
		DL_PREPEND(net->held, s);
		net->held_bytes += s->bytes;
		return;
	}
}

void net_refeed(struct net *net)
{
	net->refeed = true;
	net_turn_due(net);
}

void net_submit_forget(struct submit *s)
{
	if (s->submitted)
		node_forget(s->net->node, s, s->waits);
	unlink_submit(s);
	submit_free(s);
}

static void forget_in(struct submit *list, struct conn *conn)
{
	for (struct submit *s = list, *next; s; s = next) {
		next = s->next;
		if (s->conn == conn)
			net_submit_forget(s);
	}
}

void net_submit_forget_conn(struct net *net, struct conn *conn)
{
	forget_in(net->submits[0], conn);
	forget_in(net->held, conn);
}

/* ---------------------------------------------------------------------------------------------------------- time */

/* All wait equally long, so the lists are in order of their deadlines. */
uint64_t net_submit_deadline_ns(const struct net *net)
{
	const struct submit *a = net->submits[1], *b = net->held;

	return MIN2(a ? a->deadline_ns : UINT64_MAX, b ? b->deadline_ns : UINT64_MAX);
}

/* It has waited long enough (design 7): what never reached the state machine is certainly not in the log. A gateway's
 * append that the node has may take as long as it takes: the gateway has a time of its own. */
void net_submit_tick(struct net *net)
{
	struct rep_status status;
	struct submit *s;

	if (net->refeed)
		refeed_now(net);
	while ((s = net->held) && s->deadline_ns <= net->now_ns) {
		node_rep_status(net->node, &status);
		net_submit_done(s, status.below_min ? PEER_ST_NO_REPLICAS : PEER_ST_HOLD, 0, 0);
	}
	while ((s = net->submits[1]) && s->deadline_ns <= net->now_ns) {
		node_forget(net->node, s, s->waits);
		net_submit_done(s, PEER_ST_INDOUBT, 0, 0);
	}
}

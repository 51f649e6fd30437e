/*
 * Appends on their way to the node and back. What the node holds back (a hand-over is under way, or too much is
 * uncommitted) waits here in the order it came, and everything that comes later waits behind it, until the node says
 * that there is room or what it is has changed. So order within a connection is kept, and nothing is refused while a
 * hand-over lasts. Bounded by NET_HELD_BYTES and by what each connection may have in flight.
 */
#include <errno.h>

#include "base/clk.h"
#include "node/net_int.h"

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
	DL_APPEND(s->net->submits, s);
}

static void unlink_submit(struct submit *s)
{
	if (s->submitted) {
		s->submitted = false;
		DL_DELETE(s->net->submits, s);
		return;
	}
	DL_DELETE(s->net->held, s);
	s->net->held_bytes -= s->bytes;
}

static void answer_conn(struct conn *c, uint64_t token, uint32_t bytes, enum peer_status_code status, leash_seq seq,
	leash_epoch epoch)
{
	struct peer_result r = { .token = token, .status = status, .seq = seq, .epoch = epoch, .count = 1 };

	net_data_result(c, &r, bytes);
}

/* The end of @s: it is answered and gone. */
static void submit_done(struct submit *s, enum peer_status_code status, leash_seq seq)
{
	unlink_submit(s);
	if (s->op)
		front_append_done(s->op, status, seq);
	else
		answer_conn(s->conn, s->token, s->bytes, status, seq, 0);
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

void net_answer(void *ctx, const struct drv_waiter *w, const struct drv_answer *a)
{
	struct net *net = ctx;

	if (a->kind == DRV_ANS_HOLD && net->submitting) {
		net->hold_answer = true; /* feed() says so */
		return;
	}
	if (a->kind == DRV_ANS_INVALID && net->submitting && w->kind == NET_WAITS_CONN) {
		net->invalid_answer = true; /* feed_conn() says so */
		return;
	}
	if (w->kind == NET_WAITS_CONN)
		answer_conn(w->owner, w->token, w->bytes, status_of(a->kind), a->seq, a->epoch);
	else
		submit_done(w->owner, status_of(a->kind), a->seq);
}

/* Gives @body to the node. False: it holds it back, nothing happened. *ret_waits: where the answer is waited for; 0: nowhere,
 * it is held back, or answered and gone. */
static bool feed(struct net *net, const struct drv_waiter *w, struct bytes body, leash_seq *ret_waits)
{
	must(!net->submitting);
	net->submitting = true;
	net->hold_answer = net->invalid_answer = false;
	*ret_waits = node_submit(net->node, body, w, net->now_ns);
	net->submitting = false;
	return !net->hold_answer;
}

static bool feed_conn(struct net *net, struct conn *conn, uint64_t token, struct bytes body)
{
	struct drv_waiter w = { .owner = conn, .token = token, .bytes = (uint32_t)body.len, .kind = NET_WAITS_CONN };
	leash_seq waits;
	bool taken = feed(net, &w, body, &waits);

	if (net->invalid_answer) {
		/* Bodies bear their own checksum, the frame's does not cover them: damage ends the connection, and the
		 * gateway sends again on the next. */
		if (!rec_body_whole(body))
			conn_close(conn, EPROTO);
		answer_conn(conn, token, (uint32_t)body.len, PEER_ST_INVALID, 0, 0);
	}
	return taken;
}

static bool feed_front(struct submit *s, struct bytes body)
{
	struct drv_waiter w = { .owner = s, .kind = NET_WAITS_FRONT };
	leash_seq waits;
	bool taken;

	link_submitted(s);
	taken = feed(s->net, &w, body, &waits);
	if (waits)
		s->waits = waits;
	else if (!taken)
		unlink_submit(s);
	return taken;
}

/* Behind all that is held already. @body is copied. */
static int hold(struct submit *s, struct bytes body)
{
	struct net *net = s->net;

	if (net->held_bytes + body.len > NET_HELD_BYTES)
		return -ENOBUFS;
	if (buf_put(&s->body, body.p, body.len) < 0)
		return -ENOMEM;
	DL_APPEND(net->held, s);
	net->held_bytes += s->bytes;
	return 0;
}

/* An append of the front. It is answered once, perhaps from inside. @body is copied. 0; -ENOMEM: not taken, no answer. */
int net_submit_front(struct net *net, struct front_op *op, struct bytes body)
{
	struct submit *s = submit_alloc(net);

	if (!s)
		return -ENOMEM;
	*s = (struct submit){ .net = net, .op = op, .bytes = (uint32_t)body.len,
		.deadline_ns = net->now_ns + net->conf.hold_timeout_ns };
	op->backend = s;
	if (!net->held && feed_front(s, body))
		return 0;
	if (hold(s, body)) {
		front_append_done(op, PEER_ST_HOLD, 0);
		submit_free(s);
	}
	return 0;
}

/* Likewise of a data connection. */
void net_submit_conn(struct net *net, struct conn *conn, uint64_t token, struct bytes body)
{
	struct submit *s;

	if (!net->held && feed_conn(net, conn, token, body))
		return;
	s = submit_alloc(net);
	if (s)
		*s = (struct submit){ .net = net, .conn = conn, .token = token, .bytes = (uint32_t)body.len,
			.deadline_ns = net->now_ns + net->conf.hold_timeout_ns };
	if (s && hold(s, body) == 0)
		return;
	if (s)
		submit_free(s);
	answer_conn(conn, token, (uint32_t)body.len, PEER_ST_HOLD, 0, 0);
}

/* Feeds what is held, in order, until it is held back again. From the end of the turn: callbacks of the node come here
 * only to say that it is due. */
static void refeed_now(struct net *net)
{
	struct submit *s;

	net->refeed = false;
	while ((s = net->held)) {
		struct buf body = s->body;
		struct bytes b = { buf_head(&body), buf_len(&body) };
		struct conn *conn = s->conn;
		bool taken;

		unlink_submit(s);
		s->body = (struct buf)BUF_NULL;
		taken = conn ? feed_conn(net, conn, s->token, b) : feed_front(s, b);
		if (!taken) {
			s->body = body;
			DL_PREPEND(net->held, s);
			net->held_bytes += s->bytes;
			return;
		}
		if (conn)
			submit_free(s); /* the front's is on its way, or answered and gone */
		buf_deinit(&body);
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

void net_submit_forget_conn(struct net *net, struct conn *conn)
{
	struct submit *s, *next;

	node_forget(net->node, conn, 0);
	DL_FOREACH_SAFE(net->held, s, next) {
		if (s->conn == conn)
			net_submit_forget(s);
	}
}

/* ---------------------------------------------------------------------------------------------------------- time */

/* All wait equally long, so the lists are in order of their deadlines. */
uint64_t net_submit_deadline_ns(const struct net *net)
{
	const struct submit *a = net->submits, *b = net->held;

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
		submit_done(s, status.below_min ? PEER_ST_NO_REPLICAS : PEER_ST_HOLD, 0);
	}
	while ((s = net->submits) && s->deadline_ns <= net->now_ns) {
		node_forget(net->node, s, s->waits);
		submit_done(s, PEER_ST_INDOUBT, 0);
	}
}

/*
 * Transactions of the state machine, and the answer to an operator's request.
 *
 * Guards: the mod revisions of leader and insync, 0 = absent (R0), for bootstrap also those of the founders' nodes/
 * keys. When a guard does not hold, the other branch reads everything: a transaction that may write goes through Raft,
 * so that picture is authoritative.
 */
#include "node/ctl_int.h"

#include <errno.h>

struct call {
	struct control *c;
	uint64_t ticket;
};

static enum control_txn_outcome outcome_of(const struct etcd_answer *a)
{
	switch (a->result) {
	case ETCD_OK: return a->txn.succeeded ? CONTROL_TXN_DONE : CONTROL_TXN_FAILED;
	case ETCD_NOT_SENT:
	case ETCD_NOT_FOUND: return CONTROL_TXN_UNSENT; /* the lease that a put names is gone: nothing was applied */
	case ETCD_UNKNOWN:
	case ETCD_COMPACTED:
	case ETCD_DENIED:
	case ETCD_NOSPACE:
	case ETCD_INVALID:
	case ETCD_PRECONDITION:
	case ETCD_BAD_ANSWER:
	case ETCD_FOREIGN:
	case ETCD_CANCELLED: break;
	}
	return CONTROL_TXN_UNKNOWN;
}

static void on_txn(void *ctx, const struct etcd_answer *a)
{
	struct call *call = ctx;
	struct control *c = call->c;
	enum control_txn_outcome outcome = outcome_of(a);
	struct keys_view *v = NULL;

	ctl_result(c, a);
	if (outcome == CONTROL_TXN_FAILED &&
		(a->txn.n_responses != 1 ||
			!ctl_range_view(c, &a->txn.responses[0].range, (uint64_t)a->header.revision, true, &v)))
		outcome = CONTROL_TXN_UNKNOWN; /* a picture that nobody can read decides nothing */
	if (outcome == CONTROL_TXN_DONE)
		c->last_revision = MAX2(c->last_revision, (uint64_t)a->header.revision);
	if (v)
		c->last_revision = v->view.revision;
	if (!c->stopped)
		c->ops.txn(c->ops.ctx, call->ticket, outcome, (uint64_t)a->header.revision, v);
	if (a->result == ETCD_NOT_FOUND && !c->stopping)
		control_probe(c); /* is it our own lease? */
	free(v);
	free(call);
}

struct guards {
	struct etcd_compare cmp[2 + REP_NODES_MAX];
	char keys[2 + REP_NODES_MAX][KEYS_NAME_MAX + 1];
	size_t n;
};

static void guard(struct guards *g, uint64_t mod)
{
	g->cmp[g->n] = (struct etcd_compare){ .target = ETCD_CMP_MOD, .key = etcd_str(g->keys[g->n]),
		.number = (int64_t)mod };
	g->n++;
}

static void make_guards(const struct control *c, const struct rep_txn *t, struct guards *g)
{
	const char *e = c->conf.engine;

	g->n = 0;
	(void)keys_name(e, KEYS_LEADER, NULL, g->keys[g->n]);
	guard(g, t->leader_mod);
	(void)keys_name(e, KEYS_INSYNC, NULL, g->keys[g->n]);
	guard(g, t->insync_mod);
	for (uint32_t i = 0; i < t->n_nodes; i++) {
		(void)keys_name(e, KEYS_NODE, t->nodes[i].node, g->keys[g->n]);
		guard(g, t->nodes[i].mod_revision);
	}
}

static int send_txn(struct control *c, const struct rep_txn *t, struct call *call)
{
	_cleanup_(buf_deinit) struct buf insync = BUF_NULL;
	_cleanup_(buf_deinit) struct buf leader = BUF_NULL;
	struct etcd_op puts[2], read = { .kind = ETCD_OP_RANGE, .range = { .key = etcd_str(c->prefix), .prefix = true } };
	struct guards g;
	struct etcd_txn_req req = { .compares = g.cmp, .success = puts, .failure = &read, .n_failure = 1 };
	int r = keys_insync_encode(&t->insync, &insync);

	if (r == 0 && t->leader.present)
		r = keys_leader_encode(&t->leader, &leader);
	if (r < 0)
		return r;
	make_guards(c, t, &g);
	req.n_compares = g.n;
	puts[req.n_success++] = (struct etcd_op){ .kind = ETCD_OP_PUT,
		.put = { .key = etcd_str(g.keys[1]), .value = { buf_head(&insync), buf_len(&insync) } } };
	if (t->leader.present)
		puts[req.n_success++] = (struct etcd_op){ .kind = ETCD_OP_PUT,
			.put = { .key = etcd_str(g.keys[0]), .value = { buf_head(&leader), buf_len(&leader) },
				.lease = (int64_t)t->leader.lease } };
	return etcd_txn(c->etcd, &req, CTL_CALL_MS, on_txn, call, NULL);
}

void control_txn(struct control *c, const struct rep_txn *t)
{
	struct call *call = malloc(sizeof *call);

	if (call) {
		*call = (struct call){ c, t->ticket };
		if (send_txn(c, t, call) == 0)
			return;
	}
	free(call);
	c->ops.txn(c->ops.ctx, t->ticket, CONTROL_TXN_UNSENT, 0, NULL);
}

/* ---------------------------------------------------------------------------------------------------------- requests */

static void send_request(struct control *c);

static void on_request(void *ctx, const struct etcd_answer *a)
{
	struct control *c = ctx;
	struct timeval tv;

	c->request_call = NULL;
	ctl_result(c, a);
	if (a->result == ETCD_OK || c->stopping || ++c->request_tries >= CTL_REQUEST_TRIES)
		return; /* written, or somebody else has changed it */
	tv = ctl_ms(CTL_BACKOFF_MIN_MS << MIN2(c->request_tries, 5u));
	(void)event_add(c->request_timer, &tv);
}

static void send_request(struct control *c)
{
	_cleanup_(buf_deinit) struct buf value = BUF_NULL;
	char key[KEYS_NAME_MAX + 1];
	struct etcd_compare cmp = { .target = ETCD_CMP_MOD, .number = (int64_t)c->request_mod };
	struct etcd_op put = { .kind = ETCD_OP_PUT };
	struct etcd_txn_req req = { .compares = &cmp, .n_compares = 1, .success = &put, .n_success = 1 };

	if (c->request_call || keys_request_encode(&c->request, &value) < 0)
		return;
	cmp.key = put.put.key = etcd_str(keys_name(c->conf.engine, KEYS_REQUEST, NULL, key));
	put.put.value = (struct bytes){ buf_head(&value), buf_len(&value) };
	if (etcd_txn(c->etcd, &req, CTL_CALL_MS, on_request, c, &c->request_call) < 0)
		c->request_call = NULL;
}

static void on_request_timer(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	send_request(arg);
}

int ctl_request_init(struct control *c)
{
	c->request_timer = event_new(event_get_base(c->probe_timer), -1, 0, on_request_timer, c);
	return c->request_timer ? 0 : -ENOMEM;
}

void control_answer_request(struct control *c, const struct keys_request *q, uint64_t mod_revision)
{
	if (c->stopping)
		return;
	if (c->request_call)
		etcd_call_cancel(c->request_call);
	(void)event_del(c->request_timer);
	c->request = *q;
	c->request_mod = mod_revision;
	c->request_tries = 0;
	send_request(c);
}

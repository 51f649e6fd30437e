/* RESP clients of a node: the front end (src/front) on the node's own log. */
#include <errno.h>
#include <inttypes.h>

#include "base/clk.h"
#include "node/net_int.h"

/* ------------------------------------------------------------------------------------------------------- backend */

static void on_append(void *ctx, struct front_op *op, const struct rec_body *b, const struct bytes *pairs,
	uint32_t n_pairs)
{
	struct net *net = ctx;
	struct buf body = BUF_NULL;
	int r = rec_body_encode(&body, b, 0, pairs, n_pairs);

	if (r == 0)
		r = net_submit_front(net, op, (struct bytes){ buf_head(&body), buf_len(&body) });
	if (r)
		front_append_done(op, r == -ENOMEM ? PEER_ST_OOM : PEER_ST_INVALID, 0);
	buf_deinit(&body);
}

static void on_read(void *ctx, struct front_op *op, const struct front_read *r)
{
	struct peer_read m = { .from = r->from, .to = r->to, .count_max = r->count_max, .bytes_max = r->bytes_max,
		.reverse = r->reverse };

	if (net_read(ctx, NULL, op, &m))
		front_read_done(op, PEER_ST_OOM, NULL, 0, false);
}

static void on_stream(void *ctx, struct front_op *op)
{
	struct net *net = ctx;
	struct rep_status rs;
	struct node_counters counters;
	struct front_stream s;

	node_rep_status(net->node, &rs);
	node_counters(net->node, &counters);
	s = (struct front_stream){
		.start = rs.log_start,
		.commit = rs.readable,
		.epoch = rs.epoch,
		.segments = counters.log_segments,
		.dedup_window = rs.members.dedup_window,
		.ids_added = counters.appends,
		.duplicates = counters.retries,
	};
	front_stream_done(op, rs.serving ? PEER_ST_OK : PEER_ST_NOT_SERVING, &s);
}

/* Appends have a submit in op->backend, reads a net_read; both lists are looked through for which it is. */
static void on_cancel(void *ctx, struct front_op *op)
{
	struct net *net = ctx;
	struct net_read *r;

	net_admin_forget(net, op);
	DL_SEARCH_SCALAR(net->reads, r, op, op);
	if (r)
		net_read_forget(r);
	else if (op->backend)
		net_submit_forget(op->backend);
}

static void on_admin_done(void *ctx, bool ok, struct bytes text)
{
	front_admin_done(ctx, ok, text);
}

static void on_admin(void *ctx, struct front_op *op, const struct bytes *argv, uint32_t argc)
{
	net_admin(ctx, argv + 1, argc - 1, on_admin_done, op);
}

static const char *address_of(const struct net *net, const char *node)
{
	const struct keys_view *v = node_view(net->node);

	for (uint32_t i = 0; v && i < v->view.n_nodes; i++)
		if (strcmp(v->view.nodes[i].node, node) == 0)
			return v->view.nodes[i].address;
	return "";
}

static void add_replica(const struct net *net, struct front_role *role, const char *node, leash_seq offset)
{
	struct front_replica *r = &role->replicas[role->n_replicas++];
	const char *address = address_of(net, node);

	memcpy(r->address, address, strlen(address) + 1);
	r->offset = offset;
}

static void on_role(void *ctx, struct front_role *ret_role)
{
	struct net *net = ctx;
	struct rep_status rs;

	node_rep_status(net->node, &rs);
	ret_role->master = rs.role == REP_ROLE_PRIMARY;
	ret_role->offset = rs.readable;
	ret_role->n_replicas = 0;
	if (!ret_role->master) {
		add_replica(net, ret_role, rs.primary, rs.readable);
		return;
	}
	for (uint32_t i = 0; i < rs.n_peers && ret_role->n_replicas < FRONT_REPLICAS_MAX; i++)
		if (rs.peers[i].insync)
			add_replica(net, ret_role, rs.peers[i].node, rs.peers[i].matched);
}

static void on_info(void *ctx, const char *section, struct buf *out)
{
	struct net *net = ctx;
	struct rep_status rs;
	int r;

	if (section[0] && strcmp(section, "leash") != 0)
		return;
	node_rep_status(net->node, &rs);
	r = buf_printf(out,
		"# Leash\r\nengine:%s\r\nnode:%s\r\nrelease:%s\r\nnode_role:%s\r\nepoch:%" PRIu64
		"\r\nprimary:%s\r\n"
		"serving:%d\r\nlog_start:%" PRIu64 "\r\nlog_end:%" PRIu64 "\r\ncommit:%" PRIu64
		"\r\ninsync:%" PRIu32 "\r\nmin_insync:%" PRIu32 "\r\n\r\n",
		net->conf.engine, net->conf.node, net->conf.release, rep_role_name(rs.role), rs.epoch,
		rs.primary, rs.serving, rs.log_start, rs.log_end, rs.readable, rs.members.n_members,
		rs.members.min_insync);
	(void)r; /* an INFO without this section, if there is no memory */
}

static void on_wake(void *ctx _unused_, void *user)
{
	conn_again(user);
}

static const struct front_ops front_ops = {
	.append = on_append,
	.read = on_read,
	.stream = on_stream,
	.admin = on_admin,
	.cancel = on_cancel,
	.info = on_info,
	.role = on_role,
	.wake = on_wake,
};

int net_resp_init(struct net *net)
{
	struct front_conf conf = {
		.program = "leash-noded",
		.clients_max = net->conf.clients_max,
		.in_flight_max = net->conf.in_flight_max,
		.in_flight_bytes_max = (size_t)net->conf.in_flight_bytes_max,
		.out_bytes_max = NET_OUT_BYTES,
		.record_bytes_max = net->conf.record_bytes_max,
	};
	int r = front_new(&conf, &front_ops, net, net->now_ns, &net->front);

	return r ? r : front_engine_add(net->front, net->conf.engine, NULL, &net->engine);
}

/* What clients that wait want to know. */
void net_resp_tell(struct net *net)
{
	struct rep_status rs;
	uint32_t n = 0;

	node_rep_status(net->node, &rs);
	for (uint32_t i = 0; i < rs.n_peers; i++)
		n += rs.peers[i].insync;
	front_engine_replicas(net->engine, n);
	if (rs.serving)
		front_engine_committed(net->engine, rs.readable);
}

/* --------------------------------------------------------------------------------------------------- connections */

static void resp_feed(struct conn *c)
{
	conn_touch(c); /* commands run at the end of the turn */
}

static void resp_turn(struct conn *c)
{
	struct front_client *client = c->data;

	if (c->net->draining)
		front_client_quiesce(client);
	front_client_run(client, c->net->now_ns);
	if (front_client_closing(client))
		conn_finish(c);
}

static bool resp_wants_input(const struct conn *c)
{
	return front_client_wants_input(c->data);
}

static void resp_eof(struct conn *c)
{
	front_client_eof(c->data);
}

static void resp_drained(struct conn *c)
{
	if (front_client_wants_drain(c->data))
		conn_touch(c);
}

static void resp_closed(struct conn *c, int error _unused_)
{
	c->in = &c->own_in;
	c->out = &c->own_out;
	front_client_free(c->data);
}

const struct conn_class resp_class = {
	.name = "client",
	.feed = resp_feed,
	.turn = resp_turn,
	.wants_input = resp_wants_input,
	.eof = resp_eof,
	.drained = resp_drained,
	.closed = resp_closed,
};

void net_resp_begin(struct conn *c)
{
	struct front_peer peer = { .address = c->address, .local_address = c->net->conf.node, .fd = c->fd,
		.control = c->control };
	struct front_client *client;

	if (front_client_new(c->net->front, &peer, c, c->net->now_ns, &client)) {
		c->net->counters.refused++;
		(void)!buf_printf(c->out,
			"-ERR max number of clients reached\r\n"); /* else it is closed without a word */
		conn_finish(c);
		return;
	}
	if (buf_put(front_client_in(client), buf_head(c->in), buf_len(c->in)) < 0) {
		front_client_free(client);
		conn_close(c, ENOMEM);
		return;
	}
	buf_deinit(&c->own_in);
	c->in = front_client_in(client);
	c->out = front_client_out(client);
	conn_become(c, &resp_class, client);
	resp_feed(c);
}

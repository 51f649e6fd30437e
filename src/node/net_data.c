/*
 * Gateways and tools: SUBMIT and RESULT, READ, INFO, PING, ADMIN, and STATUS pushed (wire/peer_data.h). A connection is
 * read no further while it has as many appends or reads in flight as WELCOME allowed, or does not take its output.
 */
#include <errno.h>

#include "base/clk.h"
#include "node/net_int.h"

struct data {
	struct conn *conn;
	enum peer_kind kind;
	char name[LEASH_NAME_MAX + 1];
	uint32_t submits, reads;
	bool admin;                  /* one is under way */
	uint64_t admin_token;
	uint64_t submit_bytes;
	struct peer_result *results; /* answered in this turn, in runs */
	size_t n_results, results_max, n_answers;
	bool status_due;             /* it is new, or behind */
};

/* Output that could not be made (memory) ends the connection: the other side asks again on a new one. */
static void sent(struct conn *c, int r)
{
	if (r)
		conn_close(c, -r);
	else
		conn_touch(c);
}

/* ---------------------------------------------------------------------------------------------------------- status */

static void send_status(struct conn *c, const struct peer_status *status)
{
	struct data *d = c->data;

	d->status_due = false;
	sent(c, peer_status_encode(c->out, status));
}

uint64_t net_data_deadline_ns(const struct net *net)
{
	return net->status_moved && !net->status_changed ? net->status_sent_ns + net->status_every_ns : UINT64_MAX;
}

/* A change of role, epoch or set at once; mere movement of the commit index now and then. */
void net_data_push_status(struct net *net)
{
	struct peer_status status;

	if (!net->status_changed && (!net->status_moved || net->now_ns < net->status_sent_ns + net->status_every_ns))
		return;
	net->status_changed = net->status_moved = false;
	net->status_sent_ns = net->now_ns;
	node_peer_status(net->node, &status);
	net->status_every_ns = status.role == PEER_ROLE_PRIMARY ? NET_STATUS_NS : NET_STATUS_SLOW_NS;
	for (struct conn *c = net->conns; c; c = c->next) {
		struct data *d = c->data;

		if (c->class != &data_class || c->doomed)
			continue;
		if (buf_len(c->out) > NET_OUT_BYTES)
			d->status_due = true; /* when it takes what is there */
		else
			send_status(c, &status);
	}
}

/* ---------------------------------------------------------------------------------------------------------- appends */

static void flush_results(struct conn *c)
{
	struct data *d = c->data;

	if (d->n_results == 0)
		return;
	sent(c, peer_results_encode(c->out, d->results, d->n_results));
	d->n_results = d->n_answers = 0;
}

void net_data_result(struct conn *c, const struct peer_result *result, size_t bytes)
{
	struct data *d = c->data;

	d->submits--;
	d->submit_bytes -= bytes;
	if (c->doomed)
		return;
	if (d->n_answers == PEER_RESULTS_MAX)
		flush_results(c);
	d->n_answers++;
	if (d->n_results && peer_result_extend(&d->results[d->n_results - 1], result)) {
		conn_touch(c);
		return;
	}
	if (d->n_results == d->results_max) {
		size_t max = d->results_max ? 2 * d->results_max : 64;
		struct peer_result *results = realloc(d->results, max * sizeof *results);

		if (!results) {
			conn_close(c, ENOMEM);
			return;
		}
		d->results = results;
		d->results_max = max;
	}
	d->results[d->n_results++] = *result;
	conn_touch(c);
}

static int on_submit(struct conn *c, struct bytes payload)
{
	struct data *d = c->data;
	struct peer_submit m;

	if (peer_submit_decode(payload, &m))
		return -EPROTO;
	d->submits++;
	d->submit_bytes += m.body.len;
	net_submit_conn(c->net, c, m.token, m.body);
	return 0;
}

/* ------------------------------------------------------------------------------------------------------------ reads */

void net_data_records(struct conn *c, uint64_t token, enum peer_status_code status, struct drv_rec *const *recs,
	size_t n, bool more, bool reverse)
{
	struct data *d = c->data;
	struct peer_records m = {
		.token = token, .status = status, .more = more, .reverse = reverse, .n = (uint32_t)n};
	struct bytes *pieces = c->net->pieces;
	int r;

	d->reads--;
	if (c->doomed)
		return;
	must(n <= REP_BATCH_MAX);
	for (size_t i = 0; i < n; i++)
		pieces[i] = (struct bytes){ recs[i]->bytes, REC_HEADER_BYTES + recs[i]->body_bytes };
	r = peer_records_data_encode(c->out, &m, pieces, n);
	sent(c, r);
}

static int on_read(struct conn *c, struct bytes payload)
{
	struct data *d = c->data;
	struct peer_read m;

	if (peer_read_decode(payload, &m))
		return -EPROTO;
	m.bytes_max = MIN2(m.bytes_max, PEER_BATCH_BYTES_MAX);
	d->reads++;
	return net_read(c->net, c, NULL, &m);
}

/* ------------------------------------------------------------------------------------------------------ info, admin */

static int on_info(struct conn *c, struct bytes payload)
{
	struct peer_info m;
	struct buf json = BUF_NULL;
	int r;

	if (peer_info_decode(payload, &m))
		return -EPROTO;
	r = node_status_json(c->net->node, m.what, &json);
	if (r == 0) {
		struct peer_info_data data = { .token = m.token, .json = { buf_head(&json), buf_len(&json) } };

		r = peer_info_data_encode(c->out, &data);
	}
	buf_deinit(&json);
	return r;
}

static int on_ping(struct conn *c, struct bytes payload)
{
	uint64_t token;

	if (peer_ping_decode(payload, &token))
		return -EPROTO;
	flush_results(c);
	return peer_ping_encode(c->out, PEER_PONG, token);
}

static void admin_done(void *ctx, bool ok, struct bytes text)
{
	struct data *d = ctx;
	struct peer_admin_data m = { .token = d->admin_token, .ok = ok, .text = text };

	d->admin = false;
	if (!d->conn->doomed)
		sent(d->conn, peer_admin_data_encode(d->conn->out, &m));
}

static int on_admin(struct conn *c, struct bytes payload)
{
	static const char forbidden[] = "NOPERM only over the local control socket";
	struct data *d = c->data;
	struct peer_admin m;

	if (peer_admin_decode(payload, &m))
		return -EPROTO;
	if (!c->control) {
		struct peer_admin_data no = { .token = m.token,
			.text = { (const uint8_t *)forbidden, sizeof forbidden - 1 } };

		return peer_admin_data_encode(c->out, &no);
	}
	d->admin = true;
	d->admin_token = m.token;
	net_admin(c->net, m.argv, m.argc, admin_done, d);
	return 0;
}

/* ------------------------------------------------------------------------------------------------------- connection */

static bool data_full(const struct conn *c)
{
	const struct data *d = c->data;

	return d->submits >= c->net->conf.in_flight_max || d->submit_bytes >= c->net->conf.in_flight_bytes_max ||
	       d->reads >= NET_READS_MAX || d->admin || buf_len(c->out) >= NET_OUT_BYTES || c->net->draining;
}

bool net_data_unanswered(const struct conn *c)
{
	const struct data *d = c->data;

	return d->submits || buf_len(c->out);
}

static int on_frame(struct conn *c, const struct frame *f)
{
	switch (f->type) {
	case PEER_SUBMIT: return on_submit(c, f->payload);
	case PEER_READ: return on_read(c, f->payload);
	case PEER_INFO: return on_info(c, f->payload);
	case PEER_PING: return on_ping(c, f->payload);
	case PEER_ADMIN: return on_admin(c, f->payload);
	default: return -EPROTO; /* nothing else is for a node to hear */
	}
}

static void data_feed(struct conn *c)
{
	uint32_t max = c->net->conf.record_bytes_max + 4096;
	struct frame f;
	int r = 0;

	while (!c->doomed && !data_full(c)) {
		r = frame_next((struct bytes){ buf_head(c->in), buf_len(c->in) }, max, &f);
		if (r)
			break;
		r = on_frame(c, &f);
		if (r)
			break;
		buf_consume(c->in, f.bytes);
	}
	if (r && r != FRAME_MORE) {
		c->net->counters.protocol_errors++;
		conn_close(c, r < 0 ? -r : EPROTO);
	}
}

static void data_turn(struct conn *c)
{
	struct data *d = c->data;
	struct peer_status status;

	if (buf_len(c->in))
		data_feed(c); /* what a bound had stopped */
	if (c->doomed)
		return;
	flush_results(c);
	if (!c->doomed && d->status_due && buf_len(c->out) <= NET_OUT_BYTES) {
		node_peer_status(c->net->node, &status);
		send_status(c, &status);
	}
}

static bool data_wants_input(const struct conn *c)
{
	return !data_full(c);
}

static void data_drained(struct conn *c)
{
	conn_touch(c);
}

static void data_closed(struct conn *c, int error _unused_)
{
	struct data *d = c->data;

	c->net->counters.gateways -= d->kind == PEER_KIND_GATEWAY;
	if (d->submits)
		net_submit_forget_conn(c->net, c);
	net_read_forget_conn(c->net, c);
	net_admin_forget(c->net, d);
	free(d->results);
	free(d);
}

const struct conn_class data_class = {
	.name = "gateway",
	.feed = data_feed,
	.turn = data_turn,
	.wants_input = data_wants_input,
	.drained = data_drained,
	.closed = data_closed,
};

/* After WELCOME. */
void net_data_begin(struct conn *c, const struct peer_hello *hello)
{
	struct data *d = calloc(1, sizeof *d);

	if (!d) {
		conn_close(c, ENOMEM);
		return;
	}
	d->conn = c;
	d->kind = hello->kind;
	d->status_due = true;
	c->net->counters.gateways += d->kind == PEER_KIND_GATEWAY;
	conn_become(c, &data_class, d);
	conn_bulk(c);
	if (buf_len(c->in))
		data_feed(c);
}

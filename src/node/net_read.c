/* Reads of committed records: from the front, or of a data connection, to the node and back. */
#include <errno.h>

#include "node/net_int.h"

static struct peer_view view_of(const struct drv_rec *rec)
{
	return (struct peer_view){
		.h = rec->h,
		.header = { rec->bytes, REC_HEADER_BYTES },
		.body = { rec->bytes + REC_HEADER_BYTES, rec->body_bytes },
	};
}

static void to_front(
	struct front_op *op, enum peer_status_code status, struct drv_rec *const *recs, size_t n, bool more)
{
	struct peer_view views[FRONT_CHUNK_RECORDS];

	must(n <= ARRAY_SIZE(views));
	for (size_t i = 0; i < n; i++)
		views[i] = view_of(recs[i]);
	front_read_done(op, status, views, (uint32_t)n, more);
}

static void on_records(void *ctx, enum peer_status_code status, struct drv_rec *const *recs, size_t n, bool more)
{
	struct net_read *r = ctx;

	DL_DELETE(r->net->reads, r);
	if (r->op)
		to_front(r->op, status, recs, n, more);
	else
		net_data_records(r->conn, r->token, status, recs, n, more, r->reverse);
	free(r);
}

/* 0; -ENOMEM: no answer will come. Else one comes, perhaps from inside. */
int net_read(struct net *net, struct conn *conn, struct front_op *op, const struct peer_read *m)
{
	struct net_read *r = calloc(1, sizeof *r);
	struct node_read *read = NULL;

	if (!r)
		return -ENOMEM;
	r->net = net;
	r->conn = conn;
	r->op = op;
	r->token = m->token;
	r->reverse = m->reverse;
	if (op)
		op->backend = r;
	DL_APPEND(net->reads, r);
	node_read(net->node, m->from, m->to, m->reverse, m->count_max, m->bytes_max, on_records, r, &read);
	if (read)
		r->read = read;
	return 0;
}

void net_read_forget(struct net_read *r)
{
	node_read_cancel(r->read);
	DL_DELETE(r->net->reads, r);
	free(r);
}

void net_read_forget_conn(struct net *net, struct conn *conn)
{
	for (struct net_read *r = net->reads, *next; r; r = next) {
		next = r->next;
		if (r->conn == conn)
			net_read_forget(r);
	}
}

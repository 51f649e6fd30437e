/*
 * Queries: commands that ask the backend for more than one thing, or wait. A query is stepped by its client's run when
 * something came back (op->ready); completions only note what came, so that they may come from anywhere.
 */
#include <errno.h>

#include "front/front_int.h"

struct op *query_new(struct front_client *c, enum op_class class, const struct query_class *qclass, size_t size)
{
	struct query *q = calloc(1, size);
	struct op *op = q ? client_op(c, OP_QUERY, class) : NULL;

	if (!op) {
		free(q);
		client_abort(c);
		return NULL;
	}
	q->class = qclass;
	op->query = q;
	c->front->stats.reads++;
	return op;
}

void query_free(struct op *op)
{
	struct query *q = op->query;

	if (!q)
		return;
	if (q->class->deinit)
		q->class->deinit(q);
	buf_deinit(&q->scan.entries);
	free(q);
	op->query = NULL;
}

void query_forget(struct op *op, const struct front_engine *e)
{
	if (op->query && op->query->class->forget)
		op->query->class->forget(op, e);
	if (op->pub.engine == e)
		op->pub.engine = NULL;
}

void query_timeout(struct op *op)
{
	struct front *f = op->client->front;

	if (!op->query || !op->query->class->timeout)
		return;
	op->query->class->timeout(op);
	if (op->done && op->at_backend) {
		op->at_backend = false;
		f->ops.cancel(f->ctx, &op->pub);
	}
}

bool query_waits(const struct op *op)
{
	return op->query && op->query->class->waits && op->query->class->waits(op);
}

int query_save(const struct op *op, uint64_t now_ns, struct buf *out)
{
	must(query_waits(op));
	return op->query->class->save(op, now_ns, out);
}

void query_finish(struct op *op, struct resp_out *o)
{
	if (resp_end(o) < 0)
		client_abort(op->client);
	op_finish(op);
}

void query_reply_error(struct op *op, enum peer_status_code status)
{
	struct resp_out o = resp_begin(&op->reply, op->version);

	op->client->front->stats.errors++;
	op_write_error(&o, status, 0, false);
	query_finish(op, &o);
}

/* ---------------------------------------------------------------------------------------------------------- calls */

static void call_begin(struct op *op, struct front_engine *e)
{
	must(!op->at_backend && !op->done);
	op->pub.engine = e;
	op->pub.backend = NULL;
	op->at_backend = true;
}

static void call_end(struct op *op)
{
	must(op->kind == OP_QUERY && op->at_backend);
	op->at_backend = false;
	op->ready = true;
	client_wake(op->client);
}

void query_ask_stream(struct op *op, struct front_engine *e)
{
	struct front *f = op->client->front;

	call_begin(op, e);
	if (e)
		f->ops.stream(f->ctx, &op->pub);
	else
		front_stream_done(&op->pub, PEER_ST_NOT_SERVING, NULL); /* it was taken away meanwhile */
}

void front_stream_done(struct front_op *pub, enum peer_status_code status, const struct front_stream *s)
{
	struct op *op = (struct op *)pub;

	op->query->status = status;
	if (status == PEER_ST_OK)
		op->query->stream = *s;
	call_end(op);
	if (status == PEER_ST_OK && pub->engine)
		front_engine_committed(pub->engine, s->commit);
}

/* ---------------------------------------------------------------------------------------------------------- scans */

void scan_next(struct op *op)
{
	struct front *f = op->client->front;
	struct scan *s = &op->query->scan;
	struct front_read r = {
		.from = s->from,
		.to = s->to,
		.count_max = (uint32_t)MIN2(s->left, (uint64_t)FRONT_CHUNK_RECORDS),
		.bytes_max = FRONT_CHUNK_BYTES,
		.reverse = s->reverse,
	};

	must(s->from <= s->to && s->left > 0);
	call_begin(op, op->pub.engine);
	if (op->pub.engine)
		f->ops.read(f->ctx, &op->pub, &r);
	else
		front_read_done(&op->pub, PEER_ST_NOT_SERVING, NULL, 0, false); /* it was taken away meanwhile */
}

void scan_start(struct op *op, struct front_engine *e, leash_seq from, leash_seq to, uint64_t count, bool reverse)
{
	struct scan *s = &op->query->scan;

	buf_deinit(&s->entries);
	*s = (struct scan){
		.from = from,
		.to = to,
		.left = count ? count : UINT64_MAX,
		.bytes_max = FRONT_STREAM_BYTES,
		.reverse = reverse,
	};
	op->pub.engine = e;
	scan_next(op);
}

/* [id, [name, value ...]] */
static bool write_entry(struct resp_out *o, const struct peer_view *v)
{
	struct bytes name, value;
	struct rec_body b;
	struct cur pairs;
	char id[XCMD_ID_TEXT];

	if (rec_body_decode(v->body, &b))
		return false;
	resp_array(o, 2);
	resp_bulk(o, (struct bytes){ (const uint8_t *)id, xcmd_id_format(v->h.seq, id) });
	resp_array(o, 2 * (size_t)b.n_pairs);
	pairs = cur_of(b.pairs.p, b.pairs.len);
	while (rec_pair_next(&pairs, &name, &value)) {
		resp_bulk(o, name);
		resp_bulk(o, value);
	}
	return true;
}

/* True when @v is what may come next; then the range begins behind it. */
static bool scan_take(struct op *op, struct resp_out *o, const struct peer_view *v)
{
	struct scan *s = &op->query->scan;

	if (s->left == 0 || v->h.seq < s->from || v->h.seq > s->to || !write_entry(o, v))
		return false;
	s->n++;
	s->left--;
	s->chain = v->h.chain;
	if (s->reverse)
		s->to = v->h.seq - 1;
	else
		s->from = v->h.seq + 1;
	return true;
}

void front_read_done(struct front_op *pub, enum peer_status_code status, const struct peer_view *views, uint32_t n,
	bool more)
{
	struct op *op = (struct op *)pub;
	struct query *q = op->query;
	struct resp_out o = resp_begin(&q->scan.entries, op->version);

	q->status = status;
	q->more = more;
	q->got = status == PEER_ST_OK ? n : 0;
	for (uint32_t i = 0; i < q->got && q->status == PEER_ST_OK; i++)
		if (!scan_take(op, &o, &views[i]))
			q->status = PEER_ST_DAMAGED;
	if (resp_end(&o) < 0)
		client_abort(op->client);
	call_end(op);
}

/* `from` is gone: go on at the oldest record kept, if that lies in the range. */
static enum scan_result scan_skip(struct op *op)
{
	struct scan *s = &op->query->scan;

	s->asks_start = false;
	if (op->query->status != PEER_ST_OK)
		return SCAN_FAILED;
	if (op->query->stream.start <= s->from || op->query->stream.start > s->to ||
		op->query->stream.start > op->query->stream.commit)
		return SCAN_DONE;
	s->from = op->query->stream.start;
	scan_next(op);
	return SCAN_BUSY;
}

enum scan_result scan_step(struct op *op)
{
	struct query *q = op->query;
	struct scan *s = &q->scan;

	if (s->asks_start)
		return scan_skip(op);
	if (q->status == PEER_ST_GONE) {
		s->asks_start = true;
		query_ask_stream(op, op->pub.engine);
		return SCAN_BUSY;
	}
	if (q->status != PEER_ST_OK)
		return SCAN_FAILED;
	if (q->got == 0 || !q->more || s->left == 0 || s->from > s->to)
		return SCAN_DONE;
	if (buf_len(&s->entries) >= s->bytes_max)
		return SCAN_PAUSE;
	scan_next(op);
	return SCAN_BUSY;
}

/*
 * XRANGE, XREVRANGE. An answer of up to FRONT_STREAM_BYTES is collected and sent at once. A larger one goes out in pieces,
 * as the client reads it: sequence numbers have no gaps, so the number of entries, which must stand at its beginning, is
 * known from the log's bounds. When a piece cannot be had (its records are no longer kept, say), the connection ends:
 * there is no way to take back what was promised.
 */
#include "front/front_int.h"

struct range {
	struct query q;
	bool asks_total;
	bool reading;  /* streaming: a piece was asked for */
	uint64_t left; /* streaming: entries that are still due */
};

static void reply_whole(struct op *op)
{
	struct scan *s = &op->query->scan;
	struct resp_out o = resp_begin(&op->reply, op->version);

	resp_array(&o, s->n);
	if (o.err == 0)
		o.err = buf_put(&op->reply, buf_head(&s->entries), buf_len(&s->entries));
	query_finish(op, &o);
}

/* Moves what was collected to the reply; ends when that was all. */
static void pass_on(struct op *op)
{
	struct range *r = (struct range *)op->query;
	struct scan *s = &r->q.scan;

	must(s->n <= r->left);
	r->left -= s->n;
	s->n = 0;
	if (buf_put(&op->reply, buf_head(&s->entries), buf_len(&s->entries)) < 0)
		client_abort(op->client);
	buf_consume(&s->entries, buf_len(&s->entries));
	if (r->left == 0)
		op_finish(op);
}

/* The bounds are known: how many entries will there be? */
static void begin_streaming(struct op *op)
{
	struct range *r = (struct range *)op->query;
	struct scan *s = &r->q.scan;
	leash_seq first = s->reverse ? MAX2(s->from, r->q.stream.start) : s->from;
	leash_seq last = s->reverse ? s->to : MIN2(s->to, r->q.stream.commit);
	uint64_t more = last >= first ? last - first + 1 : 0;
	struct resp_out o = resp_begin(&op->reply, op->version);

	more = MIN2(more, s->left);
	s->from = first;
	s->to = last;
	s->left = more;
	r->left = s->n + more;
	r->q.streaming = true;
	resp_array(&o, r->left);
	if (resp_end(&o) < 0)
		client_abort(op->client);
	pass_on(op);
}

static void step_streaming(struct op *op)
{
	struct range *r = (struct range *)op->query;

	if (!r->reading) {
		r->reading = true;
		scan_next(op);
		return;
	}
	r->reading = false;
	if (r->q.status != PEER_ST_OK || r->q.scan.n == 0)
		client_abort(op->client);
	else
		pass_on(op);
}

static void range_step(struct op *op)
{
	struct range *r = (struct range *)op->query;

	if (r->q.streaming) {
		step_streaming(op);
		return;
	}
	if (r->asks_total) {
		if (r->q.status != PEER_ST_OK)
			query_reply_error(op, r->q.status);
		else
			begin_streaming(op);
		return;
	}
	switch (scan_step(op)) {
	case SCAN_BUSY:
		break;
	case SCAN_DONE:
		reply_whole(op);
		break;
	case SCAN_PAUSE:
		r->asks_total = true;
		query_ask_stream(op, op->pub.engine);
		break;
	case SCAN_FAILED:
		query_reply_error(op, r->q.status);
		break;
	}
}

static const struct query_class range_class = { .step = range_step };

void range_pause(struct op *op)
{
	struct range *r = (struct range *)op->query;
	struct front *f = op->client->front;

	must(r->q.streaming);
	if (!op->at_backend)
		return;
	op->at_backend = r->reading = false;
	f->ops.cancel(f->ctx, &op->pub);
}

void range_rest(const struct op *op, struct range_rest *ret_rest)
{
	const struct range *r = (const struct range *)op->query;

	must(r->q.streaming && !r->reading && r->left > 0);
	*ret_rest = (struct range_rest){ .engine = op->pub.engine, .from = r->q.scan.from, .to = r->q.scan.to,
		.left = r->left, .reverse = r->q.scan.reverse };
}

struct op *range_go_on(struct front_client *c, const struct range_rest *rest)
{
	struct op *op = query_new(c, CLASS_READ, &range_class, sizeof(struct range));
	struct range *r;

	if (!op)
		return NULL;
	r = (struct range *)op->query;
	op->pub.engine = rest->engine;
	r->left = rest->left;
	r->q.streaming = true;
	r->q.scan.from = rest->from;
	r->q.scan.to = rest->to;
	r->q.scan.left = rest->left;
	r->q.scan.bytes_max = FRONT_STREAM_BYTES;
	r->q.scan.reverse = rest->reverse;
	return op;
}

static bool start(struct front_client *c, const struct bytes *argv, uint32_t argc, bool reverse)
{
	struct front_engine *e;
	struct xcmd_range x;
	struct xcmd_err err;
	struct resp_out o;
	struct op *op;

	if (xcmd_xrange(argv, argc, reverse, &x, &err)) {
		client_error(c, err.text);
		return true;
	}
	e = front_engine_find(c->front, x.key);
	if (x.null || x.empty || !e) {
		client_reply_open(c, &o);
		if (x.null && e)
			resp_null_array(&o);
		else
			resp_array(&o, 0);
		client_reply_close(c, &o);
		return true;
	}
	op = query_new(c, CLASS_READ, &range_class, sizeof(struct range));
	if (op)
		scan_start(op, e, x.from, x.to, x.count, reverse);
	return true;
}

bool cmd_xrange(struct front_client *c, const struct bytes *argv, uint32_t argc)
{
	return start(c, argv, argc, false);
}

bool cmd_xrevrange(struct front_client *c, const struct bytes *argv, uint32_t argc)
{
	return start(c, argv, argc, true);
}

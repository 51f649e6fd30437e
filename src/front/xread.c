/*
 * XREAD. Its streams are looked at one after the other: first `$` and `+` are turned into positions, once; then each is
 * read behind its position. Found nothing and BLOCK: it waits in the lists of its engines until one has moved on, and reads
 * those that did. A stream whose engine is not known here never has anything.
 */
#include <errno.h>

#include "base/clk.h"
#include "front/front_int.h"

struct stream {
	struct waiter w;   /* engine set while in the engine's list; .after is the position */
	struct front_engine *engine; /* NULL: unknown */
	struct bytes key;  /* into xread.keys */
	enum xcmd_from_kind from;
	bool skip;         /* nothing can be behind .after but what comes from now on */
	leash_seq hint;    /* the engine's commit index when it was read */
	struct buf entries;
	uint64_t n;
};

struct xread {
	struct query q;
	enum { XREAD_RESOLVE, XREAD_READ, XREAD_WAIT } phase;
	uint64_t count;
	bool block;
	uint64_t deadline_ns; /* UINT64_MAX: none */
	bool late;            /* the time was up while it was reading */
	uint32_t i;           /* the stream that is looked at */
	uint32_t n_streams;
	uint8_t *keys;
	struct stream streams[];
};

static void unlink_all(struct xread *x)
{
	for (uint32_t i = 0; i < x->n_streams; i++) {
		struct stream *s = &x->streams[i];

		if (s->w.engine)
			DL_DELETE2(s->w.engine->waiters, &s->w, prev, next);
		s->w.engine = NULL;
	}
}

/* -------------------------------------------------------------------------------------------------------- answers */

static void reply_null(struct op *op)
{
	struct resp_out o = resp_begin(&op->reply, op->version);

	unlink_all((struct xread *)op->query);
	resp_null_array(&o);
	query_finish(op, &o);
}

static void reply_found(struct op *op, uint32_t n_found)
{
	struct xread *x = (struct xread *)op->query;
	struct resp_out o = resp_begin(&op->reply, op->version);

	if (op->version == 3)
		resp_map(&o, n_found);
	else
		resp_array(&o, n_found);
	for (uint32_t i = 0; i < x->n_streams; i++) {
		struct stream *s = &x->streams[i];

		if (s->n == 0)
			continue;
		if (op->version == 2)
			resp_array(&o, 2);
		resp_bulk(&o, s->key);
		resp_array(&o, s->n);
		if (o.err == 0)
			o.err = buf_put(&op->reply, buf_head(&s->entries), buf_len(&s->entries));
	}
	query_finish(op, &o);
}

static void wait_for_data(struct op *op)
{
	struct xread *x = (struct xread *)op->query;
	struct front_client *c = op->client;
	uint64_t deadline_ns = x->deadline_ns;

	x->phase = XREAD_WAIT;
	for (uint32_t i = 0; i < x->n_streams; i++) {
		struct stream *s = &x->streams[i];

		if (!s->engine)
			continue;
		s->w.op = op;
		s->w.engine = s->engine;
		DL_APPEND2(s->engine->waiters, &s->w, prev, next);
		if (s->engine->commit <= s->w.after)
			continue;
		if (s->engine->commit > s->hint) { /* it moved while it was read */
			op->ready = true;
			client_wake(c);
		} else { /* the backend has less than it announced: ask again soon */
			deadline_ns = MIN2(deadline_ns, c->front->now_ns + FRONT_RETRY_NS);
		}
	}
	timer_set(c, deadline_ns);
}

static void all_read(struct op *op)
{
	struct xread *x = (struct xread *)op->query;
	uint32_t n_found = 0;

	for (uint32_t i = 0; i < x->n_streams; i++)
		n_found += x->streams[i].n > 0;
	if (n_found)
		reply_found(op, n_found);
	else if (x->block && !op->client->eof)
		wait_for_data(op);
	else
		reply_null(op);
}

/* ---------------------------------------------------------------------------------------------------------- steps */

/* Reads the next stream that may have something. */
static void read_next(struct op *op)
{
	struct xread *x = (struct xread *)op->query;

	for (; x->i < x->n_streams; x->i++) {
		struct stream *s = &x->streams[x->i];

		if (!s->engine || s->w.after == UINT64_MAX || (s->skip && s->engine->commit <= s->w.after))
			continue;
		s->skip = true;
		s->hint = s->engine->commit;
		scan_start(op, s->engine, s->w.after + 1, UINT64_MAX, x->count, false);
		x->q.scan.bytes_max = FRONT_XREAD_BYTES;
		return;
	}
	all_read(op);
}

static void resolve_next(struct op *op)
{
	struct xread *x = (struct xread *)op->query;

	for (; x->i < x->n_streams; x->i++) {
		struct stream *s = &x->streams[x->i];

		if (s->engine && s->from != XCMD_FROM_AFTER) {
			query_ask_stream(op, s->engine);
			return;
		}
	}
	x->phase = XREAD_READ;
	x->i = 0;
	read_next(op);
}

static void resolved(struct op *op)
{
	struct xread *x = (struct xread *)op->query;
	struct stream *s = &x->streams[x->i++];

	if (x->q.status != PEER_ST_OK) {
		query_reply_error(op, x->q.status);
		return;
	}
	s->w.after = x->q.stream.commit;
	s->w.from_end = true;
	s->skip = s->from == XCMD_FROM_NEW || x->q.stream.start > x->q.stream.commit;
	if (!s->skip)
		s->w.after--;
	s->from = XCMD_FROM_AFTER;
	resolve_next(op);
}

static void collected(struct op *op)
{
	struct xread *x = (struct xread *)op->query;
	struct stream *s = &x->streams[x->i++];

	must(s->n == 0);
	s->n = x->q.scan.n;
	s->entries = x->q.scan.entries;
	x->q.scan.entries = (struct buf)BUF_NULL;
	read_next(op);
}

static void xread_step(struct op *op)
{
	struct xread *x = (struct xread *)op->query;

	switch (x->phase) {
	case XREAD_RESOLVE:
		resolved(op);
		break;
	case XREAD_READ:
		switch (scan_step(op)) {
		case SCAN_BUSY:
			break;
		case SCAN_DONE:
		case SCAN_PAUSE:
			collected(op);
			break;
		case SCAN_FAILED:
			query_reply_error(op, x->q.status);
			break;
		}
		break;
	case XREAD_WAIT:
		unlink_all(x);
		timer_set(op->client, x->deadline_ns);
		x->phase = XREAD_READ;
		x->i = 0;
		read_next(op);
		break;
	}
}

/*
 * The time is up; or it is only time to ask again. A look that is under way may end: who blocks for a millisecond gets what
 * is there, however long the way to the primary is. But a primary that is away does not keep a client beyond its time.
 */
static void xread_timeout(struct op *op)
{
	struct xread *x = (struct xread *)op->query;
	struct front *f = op->client->front;

	if (x->deadline_ns > f->now_ns) {
		op->ready = true;
		client_wake(op->client);
		return;
	}
	if (x->phase != XREAD_WAIT && !x->late) {
		x->late = true;
		timer_set(op->client, f->now_ns + FRONT_LOOK_NS);
		return;
	}
	if (op->at_backend) {
		op->at_backend = false;
		f->ops.cancel(f->ctx, &op->pub);
	}
	reply_null(op);
}

static bool xread_waits(const struct op *op)
{
	return ((const struct xread *)op->query)->phase == XREAD_WAIT;
}

static void xread_forget(struct op *op, const struct front_engine *e)
{
	struct xread *x = (struct xread *)op->query;

	for (uint32_t i = 0; i < x->n_streams; i++) {
		struct stream *s = &x->streams[i];

		if (s->engine != e)
			continue;
		if (s->w.engine)
			DL_DELETE2(s->w.engine->waiters, &s->w, prev, next);
		s->engine = s->w.engine = NULL;
	}
}

static int xread_save(const struct op *op, uint64_t now_ns, struct buf *out)
{
	const struct xread *x = (const struct xread *)op->query;
	uint64_t left_ms = 0;
	struct resp_out o = resp_begin(out, 2);

	if (x->deadline_ns != UINT64_MAX)
		left_ms = x->deadline_ns > now_ns ? (x->deadline_ns - now_ns) / NS_PER_MS + 1 : 1;
	resp_array(&o, (x->count ? 6 : 4) + 2 * (size_t)x->n_streams);
	resp_bulk_str(&o, "XREAD");
	if (x->count) {
		resp_bulk_str(&o, "COUNT");
		resp_bulkf(&o, "%llu", (unsigned long long)x->count);
	}
	resp_bulk_str(&o, "BLOCK");
	resp_bulkf(&o, "%llu", (unsigned long long)left_ms);
	resp_bulk_str(&o, "STREAMS");
	for (uint32_t i = 0; i < x->n_streams; i++)
		resp_bulk(&o, x->streams[i].key);
	for (uint32_t i = 0; i < x->n_streams; i++) {
		if (x->streams[i].from != XCMD_FROM_AFTER)
			resp_bulk_str(&o, "$");
		else
			resp_bulkf(&o, "%llu-0", (unsigned long long)x->streams[i].w.after);
	}
	return resp_end(&o);
}

static void xread_deinit(struct query *q)
{
	struct xread *x = (struct xread *)q;

	unlink_all(x);
	for (uint32_t i = 0; i < x->n_streams; i++)
		buf_deinit(&x->streams[i].entries);
	free(x->keys);
}

static const struct query_class xread_class = {
	.step = xread_step,
	.forget = xread_forget,
	.timeout = xread_timeout,
	.waits = xread_waits,
	.save = xread_save,
	.deinit = xread_deinit,
};

/* ---------------------------------------------------------------------------------------------------------- start */

/* The keys outlive the command's bytes. */
static bool copy_keys(struct xread *x, const struct bytes *keys)
{
	size_t n = 0;

	for (uint32_t i = 0; i < x->n_streams; i++)
		n += keys[i].len;
	x->keys = malloc(n + 1);
	if (!x->keys)
		return false;
	n = 0;
	for (uint32_t i = 0; i < x->n_streams; i++) {
		if (keys[i].len)
			memcpy(x->keys + n, keys[i].p, keys[i].len);
		x->streams[i].key = (struct bytes){ x->keys + n, keys[i].len };
		n += keys[i].len;
	}
	return true;
}

static void start(struct front_client *c, const struct xcmd_xread *cmd)
{
	struct op *op = query_new(c, cmd->block ? CLASS_EXCLUSIVE : CLASS_READ, &xread_class,
		sizeof(struct xread) + cmd->n_streams * sizeof(struct stream));
	struct xread *x;

	if (!op)
		return;
	x = (struct xread *)op->query;
	x->count = cmd->count;
	x->block = cmd->block;
	x->deadline_ns = UINT64_MAX;
	x->n_streams = cmd->n_streams;
	if (!copy_keys(x, cmd->keys)) {
		client_abort(c);
		return;
	}
	for (uint32_t i = 0; i < cmd->n_streams; i++) {
		x->streams[i].engine = front_engine_find(c->front, x->streams[i].key);
		x->streams[i].from = cmd->from[i].kind;
		x->streams[i].w.after = cmd->from[i].after;
	}
	if (cmd->block && cmd->block_ms && cmd->block_ms < (UINT64_MAX - c->front->now_ns) / NS_PER_MS) {
		x->deadline_ns = c->front->now_ns + cmd->block_ms * NS_PER_MS;
		timer_set(c, x->deadline_ns);
	}
	resolve_next(op);
}

bool cmd_xread(struct front_client *c, const struct bytes *argv, uint32_t argc)
{
	struct xcmd_xread cmd;
	struct xcmd_err err;

	if (xcmd_xread(argv, argc, &cmd, &err))
		client_error(c, err.text);
	else if (cmd.block && !client_may_start(c, CLASS_EXCLUSIVE))
		return false;
	else
		start(c, &cmd);
	return true;
}

/* XLEN, XINFO STREAM, WAIT, LEASH: one question and its answer. */
#include <errno.h>

#include "base/clk.h"
#include "front/front_int.h"

/* ----------------------------------------------------------------------------------------------------------- XLEN */

static uint64_t length_of(const struct front_stream *s)
{
	return s->commit >= s->start ? s->commit - s->start + 1 : 0;
}

static void xlen_step(struct op *op)
{
	struct resp_out o;

	if (op->query->status != PEER_ST_OK) {
		query_reply_error(op, op->query->status);
		return;
	}
	o = resp_begin(&op->reply, op->version);
	resp_integer(&o, (int64_t)length_of(&op->query->stream));
	query_finish(op, &o);
}

bool cmd_xlen(struct front_client *c, const struct bytes *argv, uint32_t argc _unused_)
{
	static const struct query_class xlen_class = { .step = xlen_step };
	struct front_engine *e = front_engine_find(c->front, argv[1]);
	struct resp_out o;
	struct op *op;

	if (!e) {
		client_reply_open(c, &o);
		resp_integer(&o, 0);
		client_reply_close(c, &o);
		return true;
	}
	op = query_new(c, CLASS_READ, &xlen_class, sizeof(struct query));
	if (op)
		query_ask_stream(op, e);
	return true;
}

/* --------------------------------------------------------------------------------------------------- XINFO STREAM */

struct xinfo {
	struct query q;
	enum { XINFO_NUMBERS, XINFO_FIRST, XINFO_LAST, XINFO_ENTRIES } phase;
	bool full;
	uint64_t count; /* FULL: entries, 0 = all */
	struct front_stream stream;
	struct buf first; /* the entry */
	struct leash_chain chain; /* at the last one */
};

static void field_number(struct resp_out *o, const char *name, uint64_t v)
{
	resp_bulk_str(o, name);
	resp_integer(o, (int64_t)v);
}

static void field_id(struct resp_out *o, const char *name, leash_seq seq)
{
	resp_bulk_str(o, name);
	resp_bulkf(o, "%llu-0", (unsigned long long)seq);
}

static void put_entries(struct resp_out *o, const struct buf *entries)
{
	if (o->err == 0)
		o->err = buf_put(o->out, buf_head(entries), buf_len(entries));
}

/* The fields of Redis 7.0, then those of 8.6 (idempotence), then leash's own. */
static void numbers(struct resp_out *o, const struct xinfo *x)
{
	const struct front_stream *s = &x->stream;

	field_number(o, "length", length_of(s));
	field_number(o, "radix-tree-keys", s->segments);
	field_number(o, "radix-tree-nodes", s->segments + 1);
	field_id(o, "last-generated-id", s->commit);
	field_id(o, "max-deleted-entry-id", s->start - 1);
	field_number(o, "entries-added", s->commit);
	field_id(o, "recorded-first-entry-id", length_of(s) ? s->start : 0);
	field_number(o, "idmp-duration", s->dedup_time_s);
	field_number(o, "idmp-maxsize", s->dedup_window);
	field_number(o, "pids-tracked", s->producers);
	field_number(o, "iids-tracked", s->ids);
	field_number(o, "iids-added", s->ids_added);
	field_number(o, "iids-duplicates", s->duplicates);
	field_number(o, "epoch", s->epoch);
	resp_bulk_str(o, "last-hash");
	resp_bulkf(o, "%016llx%016llx", (unsigned long long)x->chain.hi, (unsigned long long)x->chain.lo);
}

#define NUMBERS_FIELDS 15

static void xinfo_reply(struct op *op)
{
	struct xinfo *x = (struct xinfo *)op->query;
	const struct scan *last = &x->q.scan;
	struct resp_out o = resp_begin(&op->reply, op->version);

	resp_map(&o, NUMBERS_FIELDS + (x->full ? 2 : 3));
	numbers(&o, x);
	if (x->full) {
		resp_bulk_str(&o, "entries");
		resp_array(&o, last->n);
		put_entries(&o, &last->entries);
		resp_bulk_str(&o, "groups");
		resp_array(&o, 0);
	} else {
		field_number(&o, "groups", 0);
		resp_bulk_str(&o, "first-entry");
		if (buf_len(&x->first))
			put_entries(&o, &x->first);
		else
			resp_null(&o);
		resp_bulk_str(&o, "last-entry");
		if (buf_len(&last->entries))
			put_entries(&o, &last->entries);
		else
			resp_null(&o);
	}
	query_finish(op, &o);
}

/* What was read last is complete. */
static void xinfo_advance(struct op *op)
{
	struct xinfo *x = (struct xinfo *)op->query;
	struct scan *s = &x->q.scan;

	switch (x->phase) {
	case XINFO_NUMBERS:
		x->stream = x->q.stream;
		if (length_of(&x->stream) == 0) {
			xinfo_reply(op);
			return;
		}
		x->phase = XINFO_FIRST;
		scan_start(op, op->pub.engine, x->stream.start, x->stream.commit, 1, false);
		return;
	case XINFO_FIRST:
		x->first = s->entries;
		s->entries = (struct buf)BUF_NULL;
		x->phase = XINFO_LAST;
		scan_start(op, op->pub.engine, x->stream.commit, x->stream.commit, 1, false);
		return;
	case XINFO_LAST:
		x->chain = s->chain;
		if (x->full) {
			x->phase = XINFO_ENTRIES;
			scan_start(op, op->pub.engine, x->stream.start, x->stream.commit, x->count, false);
			s->bytes_max = FRONT_XREAD_BYTES;
			return;
		}
		break;
	case XINFO_ENTRIES:
		break;
	}
	xinfo_reply(op);
}

static void xinfo_step(struct op *op)
{
	struct xinfo *x = (struct xinfo *)op->query;
	enum scan_result r = x->q.status == PEER_ST_OK ? SCAN_DONE : SCAN_FAILED;

	if (x->phase != XINFO_NUMBERS)
		r = scan_step(op);
	switch (r) {
	case SCAN_BUSY:
		break;
	case SCAN_DONE:
	case SCAN_PAUSE:
		xinfo_advance(op);
		break;
	case SCAN_FAILED:
		query_reply_error(op, x->q.status);
		break;
	}
}

static void xinfo_deinit(struct query *q)
{
	buf_deinit(&((struct xinfo *)q)->first);
}

bool cmd_xinfo(struct front_client *c, const struct bytes *argv, uint32_t argc)
{
	static const struct query_class xinfo_class = { .step = xinfo_step, .deinit = xinfo_deinit };
	struct front_engine *e;
	struct xcmd_xinfo cmd;
	struct xcmd_err err;
	struct op *op;

	if (xcmd_xinfo_stream(argv, argc, &cmd, &err)) {
		client_error(c, err.text);
		return true;
	}
	e = front_engine_find(c->front, cmd.key);
	if (!e) {
		client_error(c, "ERR no such key");
		return true;
	}
	op = query_new(c, CLASS_READ, &xinfo_class, sizeof(struct xinfo));
	if (!op)
		return true;
	((struct xinfo *)op->query)->full = cmd.full;
	((struct xinfo *)op->query)->count = cmd.count;
	query_ask_stream(op, e);
	return true;
}

/* ----------------------------------------------------------------------------------------------------------- WAIT */

struct wait {
	struct query q;
	int64_t n_replicas;
	uint64_t deadline_ns;
};

/* What a client was told is committed is on all in-sync secondaries; so it only matters how many there are. */
static uint32_t replicas_now(const struct front_client *c)
{
	uint32_t n = UINT32_MAX;

	if (c->last_engine)
		return c->last_engine->n_replicas;
	for (const struct front_engine *e = c->front->engines; e; e = e->hh.next)
		n = MIN2(n, e->n_replicas);
	return n == UINT32_MAX ? 0 : n;
}

static void wait_reply(struct op *op)
{
	struct resp_out o = resp_begin(&op->reply, op->version);

	resp_integer(&o, replicas_now(op->client));
	query_finish(op, &o);
}

static void wait_step(struct op *op)
{
	struct wait *w = (struct wait *)op->query;

	if (replicas_now(op->client) >= w->n_replicas || op->client->eof)
		wait_reply(op);
}

static bool wait_waits(const struct op *op _unused_)
{
	return true;
}

static int wait_save(const struct op *op, uint64_t now_ns, struct buf *out)
{
	const struct wait *w = (const struct wait *)op->query;
	uint64_t left_ms = 0;
	struct resp_out o = resp_begin(out, 2);

	if (w->deadline_ns != UINT64_MAX)
		left_ms = w->deadline_ns > now_ns ? (w->deadline_ns - now_ns) / NS_PER_MS + 1 : 1;
	resp_array(&o, 3);
	resp_bulk_str(&o, "WAIT");
	resp_bulkf(&o, "%lld", (long long)w->n_replicas);
	resp_bulkf(&o, "%llu", (unsigned long long)left_ms);
	return resp_end(&o);
}

bool cmd_wait(struct front_client *c, const struct bytes *argv, uint32_t argc)
{
	static const struct query_class wait_class = {
		.step = wait_step, .timeout = wait_reply, .waits = wait_waits, .save = wait_save
	};
	struct xcmd_wait cmd;
	struct xcmd_err err;
	struct wait *w;
	struct op *op;

	if (xcmd_wait(argv, argc, &cmd, &err)) {
		client_error(c, err.text);
		return true;
	}
	if (!client_may_start(c, CLASS_EXCLUSIVE))
		return false;
	op = query_new(c, CLASS_EXCLUSIVE, &wait_class, sizeof *w);
	if (!op)
		return true;
	w = (struct wait *)op->query;
	w->n_replicas = cmd.n_replicas;
	w->deadline_ns = UINT64_MAX;
	if (cmd.timeout_ms && cmd.timeout_ms < (UINT64_MAX - c->front->now_ns) / NS_PER_MS) {
		w->deadline_ns = c->front->now_ns + cmd.timeout_ms * NS_PER_MS;
		timer_set(c, w->deadline_ns);
	}
	wait_step(op);
	return true;
}

/* ---------------------------------------------------------------------------------------------------------- LEASH */

static void admin_step(struct op *op)
{
	op_finish(op); /* the reply is there */
}

void front_admin_done(struct front_op *pub, bool ok, struct bytes text)
{
	struct op *op = (struct op *)pub;
	struct resp_out o = resp_begin(&op->reply, op->version);

	must(op->kind == OP_QUERY && op->at_backend);
	if (ok)
		resp_verbatim(&o, "txt", text);
	else
		resp_errorf(&o, "%.*s", (int)MIN2(text.len, (size_t)XCMD_ERR_MAX), (const char *)text.p);
	if (resp_end(&o) < 0)
		client_abort(op->client);
	op->at_backend = false;
	op->ready = true;
	client_wake(op->client);
}

bool cmd_admin(struct front_client *c, const struct bytes *argv, uint32_t argc)
{
	static const struct query_class admin_class = { .step = admin_step };
	struct front *f = c->front;
	struct op *op;

	if (!c->control || !f->ops.admin) {
		client_error(c, "NOPERM LEASH is for the local control socket only");
		return true;
	}
	op = query_new(c, CLASS_READ, &admin_class, sizeof(struct query));
	if (!op)
		return true;
	op->at_backend = true;
	f->ops.admin(f->ctx, &op->pub, argv, argc);
	return true;
}

/* XADD. */
#include <inttypes.h>
#include <stdio.h>

#include "front/front_int.h"

#define SESSION_BYTES 8

/* What the record will take, header included; a session's id is reckoned for every record without one. */
static uint64_t record_bytes(const struct xcmd_xadd *x)
{
	uint64_t n = REC_HEADER_BYTES + REC_BODY_BYTES_MIN - 8;

	n += x->kind == REC_ID_NONE ? SESSION_BYTES : x->producer.len;
	n += x->kind == REC_ID_AUTO ? REC_AUTO_ID_BYTES : x->id.len;
	for (uint32_t i = 0; i < 2 * x->n_pairs; i++)
		n += 4 + x->pairs[i].len;
	return n;
}

/* A client's appends mostly go where the last one went. */
static struct front_engine *engine_of(const struct front_client *c, struct bytes key)
{
	struct front_engine *e = c->last_engine;

	if (e && key.len == e->name_bytes && memcmp(key.p, e->name, key.len) == 0)
		return e;
	return front_engine_find(c->front, key);
}

static void unknown_engine(struct front_client *c, const struct xcmd_xadd *x)
{
	char text[512];
	struct front_engine *e;
	size_t n;

	if (x->nomkstream) {
		struct resp_out o;

		client_reply_open(c, &o);
		resp_null(&o);
		client_reply_close(c, &o);
		return;
	}
	n = (size_t)snprintf(text, sizeof text, "ERR no engine '%.*s' here; served:",
		(int)MIN2(x->key.len, (size_t)LEASH_NAME_MAX), (const char *)x->key.p);
	for (e = c->front->engines; e && n < sizeof text - LEASH_NAME_MAX - 8; e = e->hh.next)
		n += (size_t)snprintf(text + n, sizeof text - n, "%s %s", e == c->front->engines ? "" : ",", e->name);
	if (e)
		(void)snprintf(text + n, sizeof text - n, ", ...");
	client_error(c, text);
}

static void start(struct front_client *c, struct front_engine *e, const struct xcmd_xadd *x, uint64_t bytes)
{
	struct op *op = client_op(c, OP_APPEND, CLASS_APPEND);
	struct rec_body b = { .id_kind = x->kind, .n = x->n, .producer = x->producer, .id = x->id };

	if (!op) {
		client_abort(c);
		return;
	}
	op->bytes = (size_t)bytes;
	c->append_bytes += op->bytes;
	c->last_engine = e;
	c->front->stats.appends++;
	op->pub.engine = e;
	op->at_backend = true;
	c->front->ops.append(c->front->ctx, &op->pub, &b, x->pairs, x->n_pairs);
}

bool cmd_xadd(struct front_client *c, const struct bytes *argv, uint32_t argc)
{
	struct front *f = c->front;
	struct front_engine *e;
	struct xcmd_xadd x;
	struct xcmd_err err;
	uint64_t bytes;
	char text[128];

	if (xcmd_xadd(argv, argc, &x, &err)) {
		client_error(c, err.text);
		return true;
	}
	e = engine_of(c, x.key);
	if (!e) {
		unknown_engine(c, &x);
		return true;
	}
	bytes = record_bytes(&x);
	if (bytes > f->conf.record_bytes_max) {
		(void)snprintf(text, sizeof text,
			"ERR a record of %" PRIu64 " bytes is over max_record_bytes (%" PRIu32 ")", bytes,
			f->conf.record_bytes_max);
		client_error(c, text);
		return true;
	}
	if (f->ops.room && !f->ops.room(f->ctx, e)) {
		c->no_room = true;
		return false;
	}
	start(c, e, &x, bytes);
	return true;
}

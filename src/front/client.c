/*
 * One client: the queue of what it waits for, and the rules of what may start.
 *
 * Commands are parsed one at a time. One that may not start yet is held: its bytes stay in the input, which is not
 * added to meanwhile (front_client_wants_input()), so that its arguments stay where they are. What has started and is
 * not answered stands in a queue; replies leave at its head only.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "front/front_int.h"

#define OPS_SPARE_MAX 1024 /* freed operations that a front keeps */

/* -------------------------------------------------------------------------------------------------------- replies */

/* Where the reply of an instant command goes: behind what is queued, or straight to the output. */
struct buf *client_reply_open(struct front_client *c, struct resp_out *ret_o)
{
	struct buf *out = &c->out;

	if (c->muted) {
		out = &c->front->scrap;
	} else if (c->head) {
		struct op *op = client_op(c, OP_REPLY, CLASS_INSTANT);

		if (!op) {
			out = &c->front->scrap;
			client_abort(c);
		} else {
			op->done = true;
			out = &op->reply;
		}
	}
	*ret_o = resp_begin(out, c->version);
	return out;
}

void client_reply_close(struct front_client *c, struct resp_out *o)
{
	if (resp_end(o) < 0)
		client_abort(c);
	if (o->out == &c->front->scrap)
		buf_consume(o->out, buf_len(o->out));
}

void client_error(struct front_client *c, const char *error)
{
	struct resp_out o;

	c->front->stats.errors++;
	client_reply_open(c, &o);
	resp_error(&o, error);
	client_reply_close(c, &o);
}

void client_abort(struct front_client *c)
{
	if (c->aborted)
		return;
	c->closing = c->aborted = true;
	client_wake(c);
}

/* What statuses other than OK and KNOWN become (front.h). Texts are Redis's where Redis has one. */
void op_write_error(struct resp_out *o, enum peer_status_code status, leash_seq seq, bool append)
{
	switch (status) {
	case PEER_ST_CONFLICT:
		resp_errorf(o, "IDMPCONFLICT entry %" PRIu64 "-0 has this id and other content", seq);
		return;
	case PEER_ST_OLD:
		resp_error(o, "IDMPOLD the number is below the producer's highest and its position is not remembered");
		return;
	case PEER_ST_NOT_PRIMARY:
		resp_error(o, "READONLY You can't write against a read only replica.");
		return;
	case PEER_ST_HOLD:
		resp_error(o, "TRYAGAIN no primary takes messages now; this one is certainly not in the log");
		return;
	case PEER_ST_NO_REPLICAS:
		resp_error(o, "NOREPLICAS Not enough good replicas to write.");
		return;
	case PEER_ST_OOM:
		resp_error(o, "OOM no room on the primary's disk or in its memory; nothing was appended");
		return;
	case PEER_ST_DEDUP_FULL:
		resp_error(o, "OOM no room for another id: dedup_time keeps more ids than dedup_bytes can hold");
		return;
	case PEER_ST_INDOUBT:
	case PEER_ST_SESSION_UNKNOWN:
	case PEER_ST_SESSION_ORDER:
		resp_error(o, "INDOUBT the message may be in the log or not; retry it only with the same id");
		return;
	case PEER_ST_TOO_BIG:
		resp_error(o, "ERR the record is larger than the primary's max_record_bytes");
		return;
	case PEER_ST_NOT_SERVING:
		resp_error(o, append ? "TRYAGAIN not serving now; nothing was appended" :
				       "TRYAGAIN this node may not show its log now");
		return;
	case PEER_ST_GONE:
		resp_error(o, "ERR these entries are no longer kept");
		return;
	case PEER_ST_DAMAGED:
		resp_error(o, "ERR this stretch of the log is damaged here and cannot be read");
		return;
	case PEER_ST_INVALID:
	case PEER_ST_OK:
	case PEER_ST_KNOWN:
		break;
	}
	resp_error(o, "ERR the request was refused as invalid");
}

/* --------------------------------------------------------------------------------------------------------- queue */

struct op *client_op(struct front_client *c, enum op_kind kind, enum op_class class)
{
	struct front *f = c->front;
	struct op *op = f->spare;

	if (op) {
		f->spare = op->next;
		f->n_spare--;
		memset(op, 0, sizeof *op);
	} else {
		op = calloc(1, sizeof *op);
		if (!op)
			return NULL;
	}
	op->client = c;
	op->kind = kind;
	op->class = class;
	op->version = c->version;
	op->mute = c->muted;
	if (c->tail)
		c->tail->next = op;
	else
		c->head = op;
	c->tail = op;
	c->n_ops++;
	c->n_appends += class == CLASS_APPEND;
	c->n_reads += class == CLASS_READ || class == CLASS_EXCLUSIVE;
	if (class == CLASS_EXCLUSIVE)
		c->exclusive = op;
	return op;
}

void op_finish(struct op *op)
{
	struct front_client *c = op->client;

	must(!op->done && !op->at_backend);
	op->done = true;
	op->ready = false;
	query_free(op);
	c->n_appends -= op->class == CLASS_APPEND;
	c->n_reads -= op->class == CLASS_READ || op->class == CLASS_EXCLUSIVE;
	c->append_bytes -= op->bytes;
	if (c->exclusive == op) {
		c->exclusive = NULL;
		timer_set(c, UINT64_MAX);
	}
	client_wake(c);
}

static void op_free(struct front *f, struct op *op)
{
	if (op->reply.data)
		buf_deinit(&op->reply);
	if (f->n_spare >= OPS_SPARE_MAX) {
		free(op);
		return;
	}
	op->next = f->spare;
	f->spare = op;
	f->n_spare++;
}

static void write_append(struct op *op)
{
	struct front_client *c = op->client;
	struct resp_out o = resp_begin(&c->out, op->version);

	if (op->status == PEER_ST_OK || op->status == PEER_ST_KNOWN) {
		char id[XCMD_ID_TEXT];
		size_t n = xcmd_id_format(op->seq, id);

		resp_bulk(&o, (struct bytes){ (const uint8_t *)id, n });
	} else {
		c->front->stats.errors++;
		op_write_error(&o, op->status, op->seq, true);
	}
	if (resp_end(&o) < 0)
		client_abort(c);
}

/* Moves what is ready of @op's reply to the output. */
static void write_reply(struct op *op)
{
	struct front_client *c = op->client;

	if (op->mute) {
		buf_consume(&op->reply, buf_len(&op->reply));
	} else if (op->kind == OP_APPEND) {
		write_append(op);
	} else if (buf_len(&c->out) == 0 && !c->out.max) {
		struct buf empty = c->out;

		c->out = op->reply;
		op->reply = empty;
	} else if (buf_len(&op->reply)) {
		if (buf_put(&c->out, buf_head(&op->reply), buf_len(&op->reply)) < 0)
			client_abort(c);
		buf_consume(&op->reply, buf_len(&op->reply));
	}
}

static void flush(struct front_client *c)
{
	struct op *op;

	while ((op = c->head) && op->done) {
		write_reply(op);
		c->head = op->next;
		if (!c->head)
			c->tail = NULL;
		c->n_ops--;
		op_free(c->front, op);
	}
	if (op && op->query && op->query->streaming) {
		write_reply(op);
		c->again |= op->mute && !c->paused; /* no output will drain */
	}
}

void front_append_done(struct front_op *pub, enum peer_status_code status, leash_seq seq)
{
	struct op *op = (struct op *)pub;

	must(op->kind == OP_APPEND && op->at_backend);
	op->at_backend = false;
	op->status = status;
	op->seq = seq;
	if ((status == PEER_ST_OK || status == PEER_ST_KNOWN) && pub->engine)
		front_engine_committed(pub->engine, seq);
	op_finish(op);
}

/* ------------------------------------------------------------------------------------------------------- commands */

void client_wake(struct front_client *c)
{
	if (c->running) {
		c->again = true;
		return;
	}
	if (c->woken)
		return;
	c->woken = true;
	c->front->ops.wake(c->front->ctx, c->user);
}

bool client_may_start(const struct front_client *c, enum op_class class)
{
	switch (class) {
	case CLASS_INSTANT:
		return true;
	case CLASS_APPEND:
		return c->n_reads == 0 && c->append_bytes < c->front->conf.in_flight_bytes_max;
	case CLASS_READ:
		return c->n_appends == 0 && c->n_reads < FRONT_READS_MAX;
	case CLASS_EXCLUSIVE:
		return c->n_appends == 0 && c->n_reads == 0;
	}
	return false;
}

static void too_big(struct front_client *c)
{
	char text[160];

	(void)snprintf(text, sizeof text,
		"ERR command '%.32s' was larger than %zu bytes and dropped; max_record_bytes is %" PRIu32,
		c->parser.dropped, c->parser.limits.command_bytes_max, c->front->conf.record_bytes_max);
	client_error(c, text);
}

/*
 * A line of HTTP: somebody else's browser was made to speak to us, and what follows may be commands. As Redis has it
 * (securityWarningCommand() in server.c), nothing is answered and the connection ends.
 */
static bool speaks_http(struct bytes name)
{
	return xcmd_is(name, "post") || xcmd_is(name, "host:");
}

static void cut_off(struct front_client *c)
{
	buf_consume(&c->out, buf_len(&c->out));
	client_abort(c);
}

/* Gets the next command into c->held. False: there is none now. */
static bool parse(struct front_client *c)
{
	struct xcmd_err err;
	int r = resp_parse(&c->parser, &c->in, &c->held);

	c->muted = false;
	if (r == RESP_MORE)
		return false;
	if (r == RESP_E_TOO_BIG) {
		c->muted = c->reply_off;
		too_big(c);
		return true;
	}
	if (r) {
		char text[RESP_ERROR_MAX + 32];

		(void)snprintf(text, sizeof text, "ERR Protocol error: %s", r < 0 ? "out of memory" : c->parser.error);
		client_error(c, text);
		c->closing = true;
		return false;
	}
	c->front->stats.commands++;
	c->muted = c->reply_off || c->skip_next;
	c->skip_next = false;
	if (!xcmd_calls(c->held.argv, c->held.argc, c->held_info) &&
		xcmd_lookup(c->held.argv, c->held.argc, &c->held_info, &err)) {
		if (speaks_http(c->held.argv[0])) {
			cut_off(c);
			return false;
		}
		client_error(c, err.text);
		buf_consume(&c->in, c->held.bytes);
		return true;
	}
	c->has_held = true;
	return true;
}

/* One command further. False: No more at present. */
static bool turn(struct front_client *c)
{
	if (c->closing || c->quiesced || c->exclusive || client_full(c))
		return false;
	if (!c->has_held && (buf_len(&c->in) == 0 || !parse(c))) {
		c->closing |= c->eof;
		return false;
	}
	if (!c->has_held)
		return true;
	if (!cmd_start(c, c->held_info, c->held.argv, c->held.argc))
		return false;
	c->last_command = c->held_info->name;
	c->has_held = false;
	buf_consume(&c->in, c->held.bytes);
	return true;
}

static bool out_full(const struct front_client *c)
{
	return buf_len(&c->out) >= c->front->conf.out_bytes_max;
}

/* A blocking command of a client that is gone has nobody to wait for. */
static void step_queries(struct front_client *c)
{
	if (c->n_reads == 0) /* no operation has a query that goes on */
		return;
	for (struct op *op = c->head, *next; op; op = next) {
		next = op->next;
		if (op->done || !op->query)
			continue;
		if (c->paused && !op->at_backend && (query_waits(op) || (op->query->streaming && !op->ready)))
			continue;
		/* A piecewise reply goes on when it is its turn and there is room. */
		if (op->ready || (op->query->streaming && op == c->head && !op->at_backend && !out_full(c))) {
			op->ready = false;
			op->query->class->step(op);
		}
	}
	if (c->eof && c->exclusive && query_waits(c->exclusive))
		client_abort(c);
}

void front_client_run(struct front_client *c, uint64_t now_ns)
{
	uint32_t n = 0;

	c->front->now_ns = MAX2(c->front->now_ns, now_ns);
	c->active_ns = now_ns;
	c->woken = false;
	c->running = true;
	do {
		c->again = false;
		step_queries(c);
		flush(c);
		while (n < FRONT_TURN_COMMANDS && turn(c))
			n++;
		flush(c);
		n++;
	} while (c->again && n < FRONT_TURN_COMMANDS);
	c->running = false;
	if (n >= FRONT_TURN_COMMANDS)
		client_wake(c);
}

bool front_client_wants_input(const struct front_client *c)
{
	if (c->closing || c->eof || c->quiesced || c->has_held)
		return false;
	if (c->exclusive || c->woken || client_full(c))
		return buf_len(&c->in) < FRONT_INPUT_BYTES;
	return true;
}

bool front_client_wants_drain(const struct front_client *c)
{
	return c->has_held || buf_len(&c->in) || (c->head && c->head->query && c->head->query->streaming);
}

bool front_client_closing(const struct front_client *c)
{
	return c->aborted || (c->closing && !c->head);
}

void front_client_eof(struct front_client *c)
{
	c->eof = true;
	client_wake(c);
}

/*
 * A client over a restart of its process. What is unparsed stays unparsed. An open blocking command is written down as the
 * command that would go on with it, before the rest of the input. Replies that wait for their turn go as bytes; of a large
 * one that goes out in pieces, what is left of its range.
 *
 *     u8 version 2, u8 RESP version, u16 flags, u64 id, u64 boottime at which it connected, ns
 *     name, library name, library version, engine of its last append
 *     a command that is being dropped (flag): u8 what comes next, u32 arguments, u64 bytes of a bulk string, its name
 *     unsent output
 *     u32 number of replies; each: u8 flags, reply; of one that goes on (flag): u8 RESP version, u64 from, to, entries left,
 *         its engine
 *     input
 *
 * little-endian; names and other bytes as u32 length and bytes.
 */
#include <errno.h>

#include "front/front_int.h"

#define SAVE_VERSION 2

enum { SAVE_REPLY_OFF = 1, SAVE_SKIP_NEXT = 2, SAVE_NO_EVICT = 4, SAVE_NO_TOUCH = 8, SAVE_CLOSING = 16, SAVE_DROPPING = 32 };
enum { REPLY_GOES_ON = 1, REPLY_REVERSE = 2, REPLY_MUTE = 4 };

#define SAVE_FLAGS  (2 * SAVE_DROPPING - 1)
#define REPLY_FLAGS (2 * REPLY_MUTE - 1)

void front_client_quiesce(struct front_client *c)
{
	c->quiesced = true;
}

static bool goes_on(const struct op *op)
{
	return op->query && op->query->streaming && !op->done;
}

void front_client_pause(struct front_client *c)
{
	c->quiesced = c->paused = true;
	for (struct op *op = c->head; op; op = op->next)
		if (goes_on(op))
			range_pause(op);
}

/* What is done leaves with the next run, but for what stands behind a reply that goes on. */
bool front_client_quiet(const struct front_client *c)
{
	for (const struct op *op = c->head; op; op = op->next) {
		if ((op == c->exclusive && query_waits(op)) || (op->done && op != c->head))
			continue;
		if (!c->paused || !goes_on(op) || op->at_backend || op->ready)
			return false;
	}
	return true;
}

/* ------------------------------------------------------------------------------------------------------------- save */

static void put_bytes(struct enc *e, const void *p, size_t n)
{
	enc_uint_le(e, n, 4);
	enc_bytes(e, p, n);
}

static void put_buf(struct enc *e, const struct buf *b)
{
	put_bytes(e, buf_head(b), buf_len(b));
}

static void put_text(struct enc *e, const char *text)
{
	put_bytes(e, text, strlen(text));
}

/* The command that is held has used up CLIENT REPLY SKIP already, and so has the open one. */
static bool skips_next(const struct front_client *c)
{
	if (c->reply_off)
		return false;
	return c->skip_next || (c->has_held && c->muted) || (c->exclusive && c->exclusive->mute);
}

static uint16_t flags_of(const struct front_client *c)
{
	return (uint16_t)((c->reply_off ? SAVE_REPLY_OFF : 0) | (skips_next(c) ? SAVE_SKIP_NEXT : 0) |
			  (c->no_evict ? SAVE_NO_EVICT : 0) | (c->no_touch ? SAVE_NO_TOUCH : 0) |
			  (c->closing ? SAVE_CLOSING : 0) | (c->parser.dropping ? SAVE_DROPPING : 0));
}

static void put_client(struct enc *e, const struct front_client *c)
{
	enc_u8(e, SAVE_VERSION);
	enc_u8(e, (uint8_t)c->version);
	enc_u16le(e, flags_of(c));
	enc_u64le(e, c->id);
	enc_u64le(e, c->since_ns);
	put_text(e, c->name);
	put_text(e, c->lib_name);
	put_text(e, c->lib_ver);
	put_text(e, c->last_engine ? c->last_engine->name : "");
	if (!c->parser.dropping)
		return;
	enc_u8(e, (uint8_t)c->parser.at);
	enc_u32le(e, c->parser.args_left);
	enc_u64le(e, c->parser.bulk_left);
	put_text(e, c->parser.dropped);
}

static void put_reply(struct enc *e, const struct op *op)
{
	struct range_rest rest;

	must(op->kind != OP_APPEND); /* those do not start behind a read that is not answered */
	enc_u8(e, (uint8_t)((goes_on(op) ? REPLY_GOES_ON : 0) | (op->mute ? REPLY_MUTE : 0) |
			    (goes_on(op) && op->query->scan.reverse ? REPLY_REVERSE : 0)));
	put_buf(e, &op->reply);
	if (!goes_on(op))
		return;
	range_rest(op, &rest);
	enc_u8(e, (uint8_t)op->version);
	enc_u64le(e, rest.from);
	enc_u64le(e, rest.to);
	enc_u64le(e, rest.left);
	put_text(e, rest.engine->name);
}

static int put_all(const struct front_client *c, const struct buf *input, struct buf *out)
{
	size_t n = 256 + 5 * FRONT_NAME_MAX + buf_len(&c->out) + buf_len(input);
	uint32_t n_replies = 0;
	struct enc e;
	uint8_t *to;

	for (const struct op *op = c->head; op && op != c->exclusive; op = op->next) {
		n += 64 + FRONT_NAME_MAX + buf_len(&op->reply);
		n_replies++;
	}
	if (n > UINT32_MAX) /* each length fits then */
		return -EMSGSIZE;
	to = buf_reserve(out, n);
	if (!to)
		return -ENOMEM;
	e = enc_of(to, n);
	put_client(&e, c);
	put_buf(&e, &c->out);
	enc_u32le(&e, n_replies);
	for (const struct op *op = c->head; op && op != c->exclusive; op = op->next)
		put_reply(&e, op);
	put_buf(&e, input);
	must(enc_len(&e));
	buf_commit(out, enc_len(&e));
	return 0;
}

/* False: a reply goes on, and its engine was taken away. */
static bool engines_there(const struct front_client *c)
{
	for (const struct op *op = c->head; op; op = op->next)
		if (goes_on(op) && !op->pub.engine)
			return false;
	return true;
}

int front_client_save(const struct front_client *c, uint64_t now_ns, struct buf *out)
{
	struct buf input = BUF_NULL;
	int r = 0;

	if (!c->paused || !front_client_quiet(c))
		return -EBUSY;
	if (c->aborted || c->control || !engines_there(c))
		return -ECANCELED;
	if (c->exclusive)
		r = query_save(c->exclusive, now_ns, &input);
	if (r == 0)
		r = buf_put(&input, buf_head(&c->in), buf_len(&c->in));
	if (r == 0)
		r = put_all(c, &input, out);
	buf_deinit(&input);
	return r;
}

/* ------------------------------------------------------------------------------------------------------------- load */

static struct bytes get_bytes(struct cur *c)
{
	return cur_bytes(c, cur_u32le(c));
}

/* @size: of @to, the NUL included. */
static void get_text(struct cur *c, char *to, size_t size)
{
	struct bytes b = get_bytes(c);

	c->bad |= b.len >= size;
	if (c->bad)
		return;
	if (b.len)
		memcpy(to, b.p, b.len);
	to[b.len] = '\0';
}

static void get_dropping(struct cur *cur, struct resp_parser *p)
{
	uint8_t at = cur_u8(cur);

	p->dropping = true;
	p->args_left = cur_u32le(cur);
	p->bulk_left = cur_u64le(cur);
	get_text(cur, p->dropped, sizeof p->dropped);
	if (at == RESP_AT_LENGTH)
		cur->bad |= p->bulk_left != 0;
	else if (at == RESP_AT_BULK)
		cur->bad |= p->args_left == 0 || p->bulk_left < 2 || p->bulk_left > RESP_BULK_BYTES_MAX + 2;
	else
		cur->bad = true;
	cur->bad |= p->args_left > RESP_ARGS_MAX;
	p->at = at == RESP_AT_BULK ? RESP_AT_BULK : RESP_AT_LENGTH;
}

static void get_client(struct cur *cur, struct front_client *c)
{
	char engine[LEASH_NAME_MAX + 1] = "";
	uint8_t save_version = cur_u8(cur), version = cur_u8(cur);
	uint16_t flags = cur_u16le(cur);
	uint64_t since_ns;

	cur->bad |= save_version != SAVE_VERSION || (version != 2 && version != 3) || flags > SAVE_FLAGS;
	c->version = version;
	c->id = cur_u64le(cur);
	since_ns = cur_u64le(cur);
	c->since_ns = MIN2(since_ns, c->since_ns); /* never later than now */
	get_text(cur, c->name, sizeof c->name);
	get_text(cur, c->lib_name, sizeof c->lib_name);
	get_text(cur, c->lib_ver, sizeof c->lib_ver);
	get_text(cur, engine, sizeof engine);
	if (flags & SAVE_DROPPING)
		get_dropping(cur, &c->parser);
	if (cur->bad)
		return;
	c->front->next_id = MAX2(c->front->next_id, c->id);
	c->last_engine = front_engine_find(c->front, (struct bytes){ (const uint8_t *)engine, strlen(engine) });
	c->reply_off = flags & SAVE_REPLY_OFF;
	c->skip_next = flags & SAVE_SKIP_NEXT;
	c->no_evict = flags & SAVE_NO_EVICT;
	c->no_touch = flags & SAVE_NO_TOUCH;
	c->closing = flags & SAVE_CLOSING;
}

/* NULL: no memory, or @ret says what else. */
static struct op *get_rest(struct cur *cur, struct front_client *c, bool reverse, int *ret)
{
	struct range_rest rest = { .reverse = reverse };
	uint8_t version = cur_u8(cur);
	struct bytes engine;
	struct op *op;

	rest.from = cur_u64le(cur);
	rest.to = cur_u64le(cur);
	rest.left = cur_u64le(cur);
	engine = get_bytes(cur);
	cur->bad |= (version != 2 && version != 3) || rest.from == 0 || rest.to < rest.from || rest.left == 0 ||
		    rest.left - 1 > rest.to - rest.from;
	*ret = -EINVAL;
	if (cur->bad)
		return NULL;
	rest.engine = front_engine_find(c->front, engine);
	*ret = -ENOENT;
	if (!rest.engine)
		return NULL;
	*ret = -ENOMEM;
	op = range_go_on(c, &rest);
	if (op)
		op->version = version;
	return op;
}

static int get_reply(struct cur *cur, struct front_client *c)
{
	uint8_t flags = cur_u8(cur);
	struct bytes reply = get_bytes(cur);
	struct op *op;
	int r = -ENOMEM;

	cur->bad |= flags > REPLY_FLAGS;
	if (cur->bad)
		return -EINVAL;
	if (flags & REPLY_GOES_ON)
		op = get_rest(cur, c, flags & REPLY_REVERSE, &r);
	else
		op = client_op(c, OP_REPLY, CLASS_INSTANT);
	if (!op)
		return r;
	op->done = !(flags & REPLY_GOES_ON);
	op->mute = flags & REPLY_MUTE;
	return buf_put(&op->reply, reply.p, reply.len);
}

int front_client_load(struct front_client *c, struct bytes saved)
{
	struct cur cur = cur_of(saved.p, saved.len);
	struct bytes out, in;
	uint32_t n;
	int r;

	must(buf_len(&c->in) == 0 && buf_len(&c->out) == 0 && !c->head);
	get_client(&cur, c);
	out = get_bytes(&cur);
	n = cur_u32le(&cur);
	r = cur_ok(&cur) ? buf_put(&c->out, out.p, out.len) : -EINVAL;
	for (uint32_t i = 0; i < n && r == 0; i++)
		r = get_reply(&cur, c);
	in = get_bytes(&cur);
	if (r == 0 && !cur_end(&cur))
		r = -EINVAL;
	return r ? r : buf_put(&c->in, in.p, in.len);
}

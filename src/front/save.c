/*
 * A client over a restart of its process: what is unparsed stays unparsed, and an open blocking command is written down
 * as the command that would go on with it, before the rest of the input.
 *
 *     u8 version 1, u8 RESP version, u8 flags, then as u32 length and bytes: name, library name, library version,
 *     unsent output, input
 */
#include <errno.h>

#include "front/front_int.h"

#define SAVE_VERSION 1

enum { SAVE_REPLY_OFF = 1, SAVE_SKIP_NEXT = 2, SAVE_NO_EVICT = 4, SAVE_NO_TOUCH = 8 };

void front_client_quiesce(struct front_client *c)
{
	c->quiesced = true;
}

bool front_client_quiet(const struct front_client *c)
{
	return !c->head || (c->head == c->exclusive && query_waits(c->head));
}

static void put_bytes(struct enc *e, const void *p, size_t n)
{
	enc_uint_le(e, n, 4);
	enc_bytes(e, p, n);
}

static uint8_t flags_of(const struct front_client *c)
{
	return (uint8_t)((c->reply_off ? SAVE_REPLY_OFF : 0) | (c->skip_next ? SAVE_SKIP_NEXT : 0) |
			 (c->no_evict ? SAVE_NO_EVICT : 0) | (c->no_touch ? SAVE_NO_TOUCH : 0));
}

static int save_all(const struct front_client *c, struct buf *input, struct buf *out)
{
	size_t n = 3 + 5 * 4 + 3 * FRONT_NAME_MAX + buf_len(&c->out) + buf_len(input);
	uint8_t *to = buf_reserve(out, n);
	struct enc e;

	if (!to)
		return -ENOMEM;
	e = enc_of(to, n);
	enc_u8(&e, SAVE_VERSION);
	enc_u8(&e, (uint8_t)c->version);
	enc_u8(&e, flags_of(c));
	put_bytes(&e, c->name, strlen(c->name));
	put_bytes(&e, c->lib_name, strlen(c->lib_name));
	put_bytes(&e, c->lib_ver, strlen(c->lib_ver));
	put_bytes(&e, buf_head(&c->out), buf_len(&c->out));
	put_bytes(&e, buf_head(input), buf_len(input));
	must(enc_len(&e));
	buf_commit(out, enc_len(&e));
	return 0;
}

int front_client_save(const struct front_client *c, uint64_t now_ns, struct buf *out)
{
	struct buf input = BUF_NULL;
	int r = 0;

	if (!c->quiesced || !front_client_quiet(c))
		return -EBUSY;
	if (c->closing || c->eof || c->parser.dropping)
		return -EMSGSIZE;
	if (c->head && c->head->mute)
		return -EMSGSIZE;
	if (c->head)
		r = query_save(c->head, now_ns, &input);
	if (r == 0)
		r = buf_put(&input, buf_head(&c->in), buf_len(&c->in));
	if (r == 0)
		r = save_all(c, &input, out);
	buf_deinit(&input);
	return r;
}

static void get_name(struct cur *c, char to[FRONT_NAME_MAX + 1])
{
	struct bytes b = cur_bytes(c, cur_u32le(c));

	if (b.len > FRONT_NAME_MAX)
		c->bad = true;
	if (c->bad)
		return;
	if (b.len)
		memcpy(to, b.p, b.len);
	to[b.len] = '\0';
}

int front_client_load(struct front_client *c, struct bytes saved)
{
	struct cur cur = cur_of(saved.p, saved.len);
	uint8_t save_version = cur_u8(&cur), version = cur_u8(&cur), flags = cur_u8(&cur);
	struct bytes out, in;
	int r;

	must(buf_len(&c->in) == 0 && buf_len(&c->out) == 0 && !c->head);
	get_name(&cur, c->name);
	get_name(&cur, c->lib_name);
	get_name(&cur, c->lib_ver);
	out = cur_bytes(&cur, cur_u32le(&cur));
	in = cur_bytes(&cur, cur_u32le(&cur));
	if (!cur_end(&cur) || save_version != SAVE_VERSION || (version != 2 && version != 3))
		return -EINVAL;
	c->version = version;
	c->reply_off = flags & SAVE_REPLY_OFF;
	c->skip_next = flags & SAVE_SKIP_NEXT;
	c->no_evict = flags & SAVE_NO_EVICT;
	c->no_touch = flags & SAVE_NO_TOUCH;
	r = buf_put(&c->out, out.p, out.len);
	return r ? r : buf_put(&c->in, in.p, in.len);
}

/*
 * RESP: requests (resp_parse) and replies (resp_read). Invariants: bytes that come in pieces give what they give at once;
 * a reply that is read, written with our own writers and read again is the same reply.
 *
 * Byte 0: bit 0: replies; bits 1-3: args_max of requests, values_max of replies. Byte 1: how it is cut. Then the bytes.
 */
#include "fuzz.h"

#include <errno.h>

#include "base/hash.h"
#include "wire/resp.h"

/* Adds what happened to a running hash: two runs are compared by it. */
static void note(uint64_t *digest, const void *p, size_t len)
{
	*digest = hash_64(p, len, *digest + len);
}

static void note_int(uint64_t *digest, int64_t v)
{
	note(digest, &v, sizeof v);
}

/* ----------------------------------------------------------------------------------------------------- requests */

struct requests {
	struct resp_parser p;
	struct buf in;
	uint64_t digest, commands;
	bool over;
};

static void requests_turn(struct requests *q)
{
	struct resp_command c;
	int r = 0;

	while (!q->over) {
		r = resp_parse(&q->p, &q->in, &c);
		if (r == RESP_MORE)
			return;
		must(r != -ENOMEM);
		note_int(&q->digest, r);
		q->commands++;
		if (r == RESP_E_PROTO) {
			note(&q->digest, q->p.error, strlen(q->p.error));
			q->over = true;
		} else if (r == RESP_E_TOO_BIG) {
			note(&q->digest, q->p.dropped, strlen(q->p.dropped));
		} else {
			must(r == 0 && c.argc >= 1 && c.argc <= q->p.limits.args_max && c.bytes <= buf_len(&q->in));
			for (uint32_t i = 0; i < c.argc; i++)
				note(&q->digest, c.argv[i].p, c.argv[i].len);
			buf_consume(&q->in, c.bytes);
		}
	}
}

static uint64_t requests_run(const uint8_t *p, size_t len, uint32_t args_max, uint64_t cut)
{
	struct requests q = { .digest = 1 };

	resp_parser_init(&q.p, (struct resp_limits){ RESP_INLINE_BYTES_MAX, args_max });
	while (len > 0 && !q.over) {
		size_t n = cut ? fuzz_piece(&cut, len) : len;

		fuzz_put(&q.in, p, n);
		requests_turn(&q);
		p += n;
		len -= n;
	}
	resp_parser_deinit(&q.p);
	buf_deinit(&q.in);
	return q.digest + q.commands;
}

/* ------------------------------------------------------------------------------------------------------ replies */

static const struct resp_value *write_value(struct resp_out *o, const struct resp_value *v)
{
	uint32_t n = v->n;

	switch (v->type) {
	case RESP_T_SIMPLE:
	case RESP_T_ERROR:
	case RESP_T_BIG:
	case RESP_T_BLOB_ERROR:
	case RESP_T_BULK:
		resp_bulk(o, v->text);
		break;
	case RESP_T_VERBATIM:
		resp_verbatim(o, "txt", v->text);
		break;
	case RESP_T_INTEGER:
		resp_integer(o, v->integer);
		break;
	case RESP_T_NULL:
		resp_null(o);
		break;
	case RESP_T_DOUBLE:
		resp_double(o, v->number);
		break;
	case RESP_T_BOOLEAN:
		resp_boolean(o, v->integer != 0);
		break;
	case RESP_T_ARRAY:
		resp_array(o, n);
		break;
	case RESP_T_MAP:
		resp_map(o, n / 2);
		break;
	case RESP_T_SET:
		resp_set(o, n);
		break;
	case RESP_T_PUSH:
		resp_push(o, n);
		break;
	}
	v++;
	for (uint32_t i = 0; i < n; i++)
		v = write_value(o, v);
	return v;
}

static bool is_text(enum resp_type t)
{
	return t == RESP_T_SIMPLE || t == RESP_T_ERROR || t == RESP_T_BIG || t == RESP_T_BLOB_ERROR || t == RESP_T_BULK;
}

static void values_same(const struct resp_value *a, const struct resp_value *b)
{
	must(a->type == b->type || (is_text(a->type) && b->type == RESP_T_BULK));
	must(a->n == b->n && a->n_values == b->n_values && a->integer == b->integer);
	must(a->number == b->number || (a->number != a->number && b->number != b->number));
	if (a->type != RESP_T_DOUBLE)
		must(fuzz_same(a->text, b->text));
}

static void round_trip(const struct resp_value *values)
{
	struct buf b = BUF_NULL;
	struct resp_out o = resp_begin(&b, 3);
	struct resp_reader r;
	const struct resp_value *again;
	size_t bytes;
	int e;

	must(write_value(&o, values) == values + 1 + values->n_values);
	e = resp_end(&o);
	must(e == 0);
	resp_reader_init(&r, 1 + values->n_values);
	e = resp_read(&r, (struct bytes){ buf_head(&b), buf_len(&b) }, &again, &bytes);
	must(e == 0 && bytes == buf_len(&b));
	for (uint32_t i = 0; i <= values->n_values; i++)
		values_same(&values[i], &again[i]);
	resp_reader_deinit(&r);
	buf_deinit(&b);
}

static void note_values(uint64_t *digest, const struct resp_value *v)
{
	for (uint32_t i = 0; i <= v->n_values; i++) {
		note_int(digest, v[i].type);
		note_int(digest, v[i].integer);
		note_int(digest, v[i].n);
		note(digest, v[i].text.p, v[i].text.len);
	}
}

static uint64_t replies_run(const uint8_t *p, size_t len, uint32_t values_max, uint64_t cut)
{
	struct resp_reader reader;
	struct buf in = BUF_NULL;
	const struct resp_value *v;
	uint64_t digest = 1;
	size_t bytes;
	int r = 0;

	resp_reader_init(&reader, values_max);
	while (len > 0 && (r == 0 || r == RESP_MORE)) {
		size_t n = cut ? fuzz_piece(&cut, len) : len;

		fuzz_put(&in, p, n);
		p += n;
		len -= n;
		while ((r = resp_read(&reader, (struct bytes){ buf_head(&in), buf_len(&in) }, &v, &bytes)) == 0) {
			must(bytes > 0 && bytes <= buf_len(&in) && v->n_values < values_max);
			note_values(&digest, v);
			round_trip(v);
			buf_consume(&in, bytes);
		}
		must(r != -ENOMEM);
	}
	note_int(&digest, r);
	resp_reader_deinit(&reader);
	buf_deinit(&in);
	return digest;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint32_t few;
	bool replies;
	uint64_t cut;

	if (len < 2)
		return 0;
	replies = data[0] & 1;
	few = data[0] >> 1 & 7;
	cut = (uint64_t)data[1] + 1;
	data += 2;
	len -= 2;
	if (replies)
		must(replies_run(data, len, few ? 4 * few : 1024, 0) == replies_run(data, len, few ? 4 * few : 1024, cut));
	else
		must(requests_run(data, len, few ? few : 64, 0) == requests_run(data, len, few ? few : 64, cut));
	return 0;
}

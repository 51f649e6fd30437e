#include "wire/resp.h"

#include <errno.h>

void resp_reader_init(struct resp_reader *r, uint32_t values_max)
{
	must(values_max >= 1);
	*r = (struct resp_reader){ .values_max = values_max };
}

void resp_reader_deinit(struct resp_reader *r)
{
	free(r->values);
	*r = (struct resp_reader){ 0 };
}

static bool double_parse(struct bytes text, double *ret_v)
{
	char copy[64], *end;

	if (text.len == 0 || text.len >= sizeof copy || memchr(text.p, ' ', text.len))
		return false;
	memcpy(copy, text.p, text.len);
	copy[text.len] = '\0';
	*ret_v = strtod(copy, &end);
	return *end == '\0' && end == copy + text.len;
}

/* Room for one more value. */
static int value_add(struct resp_reader *r, const struct resp_value *v)
{
	if (r->n == r->values_max)
		return RESP_E_TOO_BIG;
	if (r->n == r->cap) {
		uint32_t cap = MIN2(r->cap ? 2 * (uint64_t)r->cap : 16, (uint64_t)r->values_max);
		struct resp_value *values = realloc(r->values, cap * sizeof *values);

		if (!values)
			return -ENOMEM;
		r->values = values;
		r->cap = cap;
	}
	r->values[r->n++] = *v;
	return 0;
}

/* A string of @len bytes behind its line; @at: where it begins. */
static int string_read(struct bytes in, size_t at, int64_t len, struct resp_value *v, size_t *ret_next)
{
	size_t n = (size_t)len, skip = 0;

	if (len < 0 || (uint64_t)len > RESP_BULK_BYTES_MAX)
		return len < 0 ? RESP_E_PROTO : RESP_E_TOO_BIG;
	if (in.len - at < n + 2)
		return RESP_MORE;
	if (in.p[at + n] != '\r' || in.p[at + n + 1] != '\n')
		return RESP_E_PROTO;
	if (v->type == RESP_T_VERBATIM) {
		if (n < 4 || in.p[at + 3] != ':')
			return RESP_E_PROTO;
		skip = 4;
	}
	v->at = at + skip;
	v->text.len = n - skip;
	*ret_next = at + n + 2;
	return 0;
}

static bool is_string(enum resp_type t)
{
	return t == RESP_T_BULK || t == RESP_T_VERBATIM || t == RESP_T_BLOB_ERROR;
}

static bool is_aggregate(enum resp_type t)
{
	return t == RESP_T_ARRAY || t == RESP_T_MAP || t == RESP_T_SET || t == RESP_T_PUSH;
}

/* What the line of a value says. @ret_n: the length or count of those that have one. */
static bool line_fits(struct resp_value *v, struct bytes line, int64_t *ret_n)
{
	switch (v->type) {
	case RESP_T_SIMPLE:
	case RESP_T_ERROR:
	case RESP_T_BIG:
		return true;
	case RESP_T_INTEGER:
		return resp_parse_integer(line, &v->integer);
	case RESP_T_NULL:
		return line.len == 0;
	case RESP_T_DOUBLE:
		return double_parse(line, &v->number);
	case RESP_T_BOOLEAN:
		v->integer = line.len == 1 && line.p[0] == 't';
		return line.len == 1 && (line.p[0] == 't' || line.p[0] == 'f');
	case RESP_T_BULK:
	case RESP_T_VERBATIM:
	case RESP_T_BLOB_ERROR:
	case RESP_T_ARRAY:
	case RESP_T_MAP:
	case RESP_T_SET:
	case RESP_T_PUSH:
		return resp_parse_integer(line, ret_n);
	}
	return false; /* no type of ours */
}

static int aggregate_read(const struct resp_reader *r, int64_t n, struct resp_value *v)
{
	if (n < 0)
		return RESP_E_PROTO;
	if (n > r->values_max)
		return RESP_E_TOO_BIG;
	if (v->type == RESP_T_MAP)
		n *= 2;
	if (n > r->values_max)
		return RESP_E_TOO_BIG;
	v->n = (uint32_t)n;
	return 0;
}

/* One value without what is below it, at @r->pos. 0, and the position behind it. */
static int value_read(const struct resp_reader *r, struct bytes in, struct resp_value *ret_v, size_t *ret_next)
{
	size_t left = in.len - r->pos, next;
	const uint8_t *s, *cr;
	struct resp_value v = { 0 };
	struct bytes line;
	int64_t n = 0;
	int e = 0;

	if (left == 0)
		return RESP_MORE;
	s = in.p + r->pos;
	cr = memchr(s, '\r', MIN2(left, (size_t)RESP_INLINE_BYTES_MAX));
	if (!cr)
		return left < RESP_INLINE_BYTES_MAX ? RESP_MORE : RESP_E_TOO_BIG;
	if ((size_t)(cr - s) + 2 > left)
		return RESP_MORE;
	if (cr == s || cr[1] != '\n')
		return RESP_E_PROTO;
	v.type = (enum resp_type)s[0];
	line = (struct bytes){ s + 1, (size_t)(cr - s) - 1 };
	if (!line_fits(&v, line, &n))
		return RESP_E_PROTO;
	v.at = r->pos + 1;
	next = r->pos + line.len + 3;
	if (n == -1 && (v.type == RESP_T_BULK || v.type == RESP_T_ARRAY))
		v.type = RESP_T_NULL; /* RESP2's */
	else if (is_string(v.type))
		e = string_read(in, next, n, &v, &next);
	else if (is_aggregate(v.type))
		e = aggregate_read(r, n, &v);
	else
		v.text.len = line.len;
	if (e)
		return e;
	*ret_v = v;
	*ret_next = next;
	return 0;
}

/* A value and all below it are there: closes the aggregates that end with it. */
static void close_levels(struct resp_reader *r)
{
	while (r->depth && --r->stack[r->depth - 1].left == 0) {
		uint32_t at = r->stack[--r->depth].at;

		r->values[at].n_values = r->n - at - 1;
	}
}

int resp_read(struct resp_reader *r, struct bytes in, const struct resp_value **ret_values, size_t *ret_bytes)
{
	if (r->done) {
		r->n = 0;
		r->pos = 0;
		r->done = false;
	}
	do {
		struct resp_value v;
		size_t next;
		int e = value_read(r, in, &v, &next);

		if (e == 0 && v.n && r->depth == RESP_DEPTH_MAX)
			e = RESP_E_TOO_BIG;
		if (e == 0)
			e = value_add(r, &v);
		if (e)
			return e;
		r->pos = next;
		if (v.n) {
			r->stack[r->depth].at = r->n - 1;
			r->stack[r->depth++].left = v.n;
		} else {
			close_levels(r);
		}
	} while (r->depth);
	for (uint32_t i = 0; i < r->n; i++)
		r->values[i].text.p = in.p + r->values[i].at;
	r->done = true;
	*ret_values = r->values;
	*ret_bytes = r->pos;
	return 0;
}

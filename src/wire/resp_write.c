#include "wire/resp.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/decimal.h"

#define HEAD_BYTES_MAX (1 + DECIMAL_I64_BYTES + 2)

struct resp_out resp_begin(struct buf *out, int version)
{
	must(version == 2 || version == 3);
	return (struct resp_out){ .out = out, .version = version, .mark = buf_len(out) };
}

int resp_end(struct resp_out *o)
{
	if (o->err)
		o->out->end = o->out->start + o->mark;
	return o->err;
}

static void put(struct resp_out *o, const void *p, size_t n)
{
	if (o->err == 0)
		o->err = buf_put(o->out, p, n);
}

/* A type byte, a number and CRLF. */
static size_t head_text(char type, int64_t v, char to[HEAD_BYTES_MAX])
{
	size_t n = 1 + decimal_i64(v, to + 1);

	to[0] = type;
	memcpy(to + n, "\r\n", 2);
	return n + 2;
}

static void head(struct resp_out *o, char type, int64_t v)
{
	char text[HEAD_BYTES_MAX];

	put(o, text, head_text(type, v, text));
}

/* A type byte and a line; what would end it too early becomes a blank. */
static void line(struct resp_out *o, char type, const char *text)
{
	put(o, &type, 1);
	while (*text) {
		size_t n = strcspn(text, "\r\n");

		put(o, text, n);
		text += n;
		if (*text) {
			put(o, " ", 1);
			text++;
		}
	}
	put(o, "\r\n", 2);
}

void resp_simple(struct resp_out *o, const char *text)
{
	line(o, '+', text);
}

void resp_error(struct resp_out *o, const char *error)
{
	line(o, '-', error);
}

void resp_errorf(struct resp_out *o, const char *fmt, ...)
{
	_cleanup_(freep) char *s = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&s, fmt, ap);
	va_end(ap);
	if (n < 0) {
		s = NULL;
		o->err = o->err ? o->err : -ENOMEM;
		return;
	}
	line(o, '-', s);
}

void resp_integer(struct resp_out *o, int64_t v)
{
	head(o, ':', v);
}

void resp_bulk(struct resp_out *o, struct bytes b)
{
	char text[HEAD_BYTES_MAX];
	size_t n = head_text('$', (int64_t)b.len, text), all = n + b.len + 2;
	uint8_t *to;

	if (o->err)
		return;
	to = buf_reserve(o->out, all);
	if (!to) {
		o->err = o->out->max && buf_len(o->out) + all > o->out->max ? -ENOBUFS : -ENOMEM;
		return;
	}
	memcpy(to, text, n);
	if (b.len)
		memcpy(to + n, b.p, b.len);
	memcpy(to + n + b.len, "\r\n", 2);
	buf_commit(o->out, all);
}

void resp_bulk_str(struct resp_out *o, const char *s)
{
	resp_bulk(o, (struct bytes){ (const uint8_t *)s, strlen(s) });
}

void resp_bulkf(struct resp_out *o, const char *fmt, ...)
{
	_cleanup_(freep) char *s = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&s, fmt, ap);
	va_end(ap);
	if (n < 0) {
		s = NULL;
		o->err = o->err ? o->err : -ENOMEM;
		return;
	}
	resp_bulk(o, (struct bytes){ (const uint8_t *)s, (size_t)n });
}

void resp_null(struct resp_out *o)
{
	if (o->version == 3)
		put(o, "_\r\n", 3);
	else
		put(o, "$-1\r\n", 5);
}

void resp_null_array(struct resp_out *o)
{
	if (o->version == 3)
		put(o, "_\r\n", 3);
	else
		put(o, "*-1\r\n", 5);
}

void resp_array(struct resp_out *o, size_t n)
{
	head(o, '*', (int64_t)n);
}

void resp_map(struct resp_out *o, size_t n_pairs)
{
	if (o->version == 3)
		head(o, '%', (int64_t)n_pairs);
	else
		head(o, '*', (int64_t)(2 * n_pairs));
}

void resp_set(struct resp_out *o, size_t n)
{
	head(o, o->version == 3 ? '~' : '*', (int64_t)n);
}

void resp_push(struct resp_out *o, size_t n)
{
	head(o, o->version == 3 ? '>' : '*', (int64_t)n);
}

/* The shortest text that reads back as @v. */
static void double_text(double v, char text[40])
{
	if (isnan(v)) {
		strcpy(text, "nan");
		return;
	}
	if (isinf(v)) {
		strcpy(text, v > 0 ? "inf" : "-inf");
		return;
	}
	for (int digits = 15; digits <= 17; digits++) {
		(void)snprintf(text, 40, "%.*g", digits, v);
		if (strtod(text, NULL) == v)
			return;
	}
}

void resp_double(struct resp_out *o, double v)
{
	char text[40];

	double_text(v, text);
	if (o->version == 3)
		line(o, ',', text);
	else
		resp_bulk_str(o, text);
}

void resp_boolean(struct resp_out *o, bool v)
{
	if (o->version == 3)
		put(o, v ? "#t\r\n" : "#f\r\n", 4);
	else
		resp_integer(o, v);
}

void resp_verbatim(struct resp_out *o, const char format[3], struct bytes b)
{
	if (o->version != 3) {
		resp_bulk(o, b);
		return;
	}
	head(o, '=', (int64_t)b.len + 4);
	put(o, format, 3);
	put(o, ":", 1);
	put(o, b.p, b.len);
	put(o, "\r\n", 2);
}

#include "base/buf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define BUF_CAP_MIN  256
#define BUF_CAP_KEEP (64 * 1024) /* where nothing else is said */

void buf_deinit(struct buf *b)
{
	free(b->data);
	*b = (struct buf)BUF_NULL;
}

static bool buf_grow(struct buf *b, size_t need)
{
	size_t cap = MAX2(b->cap, (size_t)BUF_CAP_MIN);
	uint8_t *data;

	while (cap < need) {
		if (cap > SIZE_MAX / 2)
			return false;
		cap *= 2;
	}
	data = malloc(cap);
	if (!data)
		return false;
	if (buf_len(b))
		memcpy(data, b->data + b->start, buf_len(b));
	free(b->data);
	b->end -= b->start;
	b->start = 0;
	b->data = data;
	b->cap = cap;
	return true;
}

uint8_t *buf_make_room(struct buf *b, size_t n)
{
	size_t len = buf_len(b);

	if (n > SIZE_MAX - len || (b->max && len + n > b->max))
		return NULL;
	if (b->data && b->cap - len >= n && b->start >= b->cap / 2) {
		memmove(b->data, b->data + b->start, len);
		b->start = 0;
		b->end = len;
	} else if (!buf_grow(b, len + n)) {
		return NULL;
	}
	return b->data + b->end;
}

int buf_put(struct buf *b, const void *p, size_t n)
{
	uint8_t *to;

	if (n == 0)
		return 0;
	if (b->max && (n > b->max || buf_len(b) > b->max - n))
		return -ENOBUFS;
	to = buf_reserve(b, n);
	if (!to)
		return -ENOMEM;
	memcpy(to, p, n);
	buf_commit(b, n);
	return 0;
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	_cleanup_(freep) char *s = NULL;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&s, fmt, ap);
	va_end(ap);
	if (n < 0) {
		s = NULL;
		return -ENOMEM;
	}
	return buf_put(b, s, (size_t)n);
}

void buf_consume(struct buf *b, size_t n)
{
	must(n <= buf_len(b));
	b->start += n;
	if (b->start < b->end)
		return;
	b->start = b->end = 0;
	if (b->cap > MAX2(b->keep, (size_t)BUF_CAP_KEEP)) {
		free(b->data);
		b->data = NULL;
		b->cap = 0;
	}
}

void buf_pull(struct buf *b)
{
	size_t len = buf_len(b);

	if (b->start == 0 || len > b->start)
		return;
	memcpy(b->data, b->data + b->start, len);
	b->start = 0;
	b->end = len;
}

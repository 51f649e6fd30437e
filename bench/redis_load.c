/*
 * bench/redis-load: XADD to a stream of a Redis server. With --wait N each connection sends --depth appends and then WAIT N:
 * its records count as acknowledged when that says that N replicas have them.
 */
#include "load.h"

static int put_append(struct buf *b, const struct load_opts *o)
{
	int r = buf_printf(b, "*5\r\n$4\r\nXADD\r\n$%zu\r\n%s\r\n$1\r\n*\r\n$4\r\ndata\r\n$%zu\r\n", strlen(o->stream), o->stream,
		(size_t)o->payload_bytes);

	if (r == 0)
		r = load_put_payload(b, o->payload_bytes);
	return r == 0 ? buf_put(b, "\r\n", 2) : r;
}

static int make(struct load *l, struct load_lane *c)
{
	const struct load_opts *o = l->o;
	int r = 0;

	for (uint64_t i = 0; i < o->depth && r == 0; i++)
		r = put_append(&c->bytes, o);
	c->append_bytes = buf_len(&c->bytes) / o->depth;
	if (r == 0 && o->wait)
		r = buf_printf(&c->bytes, "*3\r\n$4\r\nWAIT\r\n$%d\r\n%d\r\n$1\r\n0\r\n", o->wait > 9 ? 2 : 1, (int)o->wait);
	return r;
}

/*
 * One line, without its end. XADD is answered with a bulk string (two lines) or an error, WAIT with a number; c->state: the
 * next line is the text of a bulk string.
 */
static void on_line(struct load *l, struct load_lane *c, const char *line, size_t n)
{
	static const char too_few[] = "WAIT: too few replicas";
	char kind = n > 0 ? line[0] : '\0';

	if (c->state == 0 && kind == '$') {
		c->state = 1;
		return;
	}
	if (c->state == 0 && kind == ':' && l->batches) {
		if (strtoull(line + 1, NULL, 10) < l->o->wait)
			load_refused(l, too_few, sizeof too_few - 1);
		load_acknowledged(l, c, c->n);
		return;
	}
	if (c->state == 0 && kind != '-')
		report_die("it answers what nobody asked: %.*s", (int)MIN2(n, (size_t)100), line);
	if (c->state == 0)
		load_refused(l, line, n);
	c->state = 0;
	if (!l->batches)
		load_acknowledged(l, c, 1);
}

static size_t take(struct load *l, struct load_lane *c, const uint8_t *p, size_t n)
{
	const uint8_t *end;
	size_t at = 0;

	while ((end = memchr(p + at, '\n', n - at))) {
		size_t len = (size_t)(end - (p + at));

		on_line(l, c, (const char *)p + at, len > 0 ? len - 1 : 0);
		at += len + 1;
	}
	return at;
}

int main(int argc, char **argv)
{
	static const struct load_protocol redis = {
		.usage = "redis-load [OPTION]...\nAppends records to a stream of a Redis server, as leash bench does on leash.",
		.address = "127.0.0.1:6379",
		.stream = "bench",
		.takes_wait = true,
		.make = make,
		.take = take,
	};

	return load_main(argc, argv, &redis);
}

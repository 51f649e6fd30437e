/* A connection that appends: up to `depth` requests on their way; answers come in order. */
#include "cli/bench.h"

#include <errno.h>
#include <stdio.h>

#include "base/clk.h"
#include "cli/sock.h"

#define CONNECT_NS   (5 * NS_PER_S)
#define FLUSH_BYTES  (256 * 1024) /* sent before more is made */

/* id_format(), without what snprintf() costs for each request. */
static void hex16(uint8_t *p, uint64_t v)
{
	for (int i = 15; i >= 0; i--, v >>= 4)
		p[i] = (uint8_t)"0123456789abcdef"[v & 15];
}

static void digits(uint8_t *p, size_t n, uint64_t v)
{
	for (size_t i = n; i > 0; i--, v /= 10)
		p[i - 1] = (uint8_t)('0' + v % 10);
}

static void put_request(struct bench_lane *l, uint64_t meant_ns)
{
	struct bench *b = l->b;
	size_t len = buf_len(&b->request);
	uint8_t *p = buf_reserve(&l->c.out, len);

	if (!p) {
		bench_fail(b, "out of memory");
		return;
	}
	memcpy(p, buf_head(&b->request), len);
	hex16(p + b->stamp_at, meant_ns);
	if (b->o->ids) {
		digits(p + b->id_at, BENCH_ID_LANE, l->index);
		digits(p + b->id_at + BENCH_ID_LANE + 1, BENCH_ID_NUMBER, l->n_sent);
	}
	buf_commit(&l->c.out, len);
	l->meant_ns[(l->head + l->n++) % b->o->depth] = meant_ns;
	l->n_sent++;
	b->sent++;
	b->on_their_way++;
}

static void flush(struct bench_lane *l)
{
	int r = sock_send_some(l->c.fd, &l->c.out);

	if (r < 0)
		bench_fail(l->b, "the connection was lost: %s", sock_strerror(r));
	else if (buf_len(&l->c.out) > 0)
		(void)event_add(l->ev_write, NULL);
}

/* With a rate: the schedule of this connection, of which it is a part of the whole. */
static uint64_t interval_ns(const struct bench *b)
{
	return MAX2((uint64_t)((double)NS_PER_S * (double)b->o->connections / (double)b->o->rate), (uint64_t)1);
}

static void wait_due(struct bench_lane *l, uint64_t now_ns)
{
	uint64_t ns = l->due_ns > now_ns ? l->due_ns - now_ns : 0;
	struct timeval tv = { .tv_sec = (time_t)(ns / NS_PER_S), .tv_usec = (suseconds_t)(ns % NS_PER_S / NS_PER_US) };

	(void)event_add(l->ev_due, &tv);
}

static void fill(struct bench_lane *l, uint64_t now_ns)
{
	struct bench *b = l->b;

	while (l->n < b->o->depth && buf_len(&l->c.out) < FLUSH_BYTES && bench_may_send(b)) {
		if (b->o->rate && l->due_ns > now_ns) {
			wait_due(l, now_ns);
			break;
		}
		put_request(l, b->o->rate ? l->due_ns : now_ns);
		if (b->o->rate)
			l->due_ns += interval_ns(b);
	}
	if (buf_len(&l->c.out) > 0)
		flush(l);
}

static void on_due(evutil_socket_t fd _unused_, short what _unused_, void *ctx)
{
	fill(ctx, clk_boot_ns());
}

static void on_write(evutil_socket_t fd _unused_, short what _unused_, void *ctx)
{
	struct bench_lane *l = ctx;

	flush(l);
	if (buf_len(&l->c.out) == 0)
		fill(l, clk_boot_ns());
}

static void on_read(evutil_socket_t fd _unused_, short what _unused_, void *ctx)
{
	struct bench_lane *l = ctx;
	const struct resp_value *v;
	size_t n;
	int r = sock_receive_some(l->c.fd, &l->c.in, &n);

	if (r < 0) {
		bench_fail(l->b, "the connection was lost: %s", sock_strerror(r));
		return;
	}
	while ((r = respc_next(&l->c, &v)) == 0) {
		if (l->n == 0) {
			bench_fail(l->b, "it answers what nobody asked");
			return;
		}
		bench_answered(l->b, l->meant_ns[l->head], v);
		l->head = (l->head + 1) % (uint32_t)l->b->o->depth;
		l->n--;
	}
	if (r != RESP_MORE)
		bench_fail(l->b, "it does not speak the Redis protocol");
	fill(l, clk_boot_ns());
}

int bench_lane_start(struct bench *b, struct bench_lane *l, uint32_t index)
{
	uint64_t now_ns = clk_boot_ns();
	int r;

	*l = (struct bench_lane){ .b = b, .index = index, .c = RESPC_NULL, .due_ns = now_ns };
	if (b->o->rate)
		l->due_ns += interval_ns(b) * index / b->o->connections;
	r = respc_open(&l->c, &b->o->gateway, now_ns + CONNECT_NS);
	if (r < 0) {
		bench_fail(b, "%s", sock_strerror(r));
		return -1;
	}
	l->meant_ns = calloc(b->o->depth, sizeof *l->meant_ns);
	l->ev_read = event_new(b->base, l->c.fd, EV_READ | EV_PERSIST, on_read, l);
	l->ev_write = event_new(b->base, l->c.fd, EV_WRITE, on_write, l);
	l->ev_due = event_new(b->base, -1, 0, on_due, l);
	if (!l->meant_ns || !l->ev_read || !l->ev_write || !l->ev_due || event_add(l->ev_read, NULL) < 0) {
		bench_fail(b, "out of memory");
		return -1;
	}
	(void)event_add(l->ev_write, NULL); /* its callback begins */
	return 0;
}

void bench_lane_stop(struct bench_lane *l)
{
	struct event *events[] = { l->ev_read, l->ev_write, l->ev_due };

	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		if (events[i])
			event_free(events[i]);
	if (l->b)
		respc_close(&l->c);
	free(l->meant_ns);
	*l = (struct bench_lane){ 0 };
}

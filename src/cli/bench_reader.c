/* A connection that reads what is appended, blocking, as a consumer does: how old is a record when it arrives? */
#include "cli/bench.h"

#include <errno.h>
#include <stdio.h>

#include "base/clk.h"
#include "base/ids.h"
#include "cli/sock.h"

#define CONNECT_NS (5 * NS_PER_S)

static void ask(struct bench_reader *r)
{
	struct bytes argv[] = { respc_str("XREAD"), respc_str("COUNT"), respc_str("1000"), respc_str("BLOCK"), respc_str("1000"),
		respc_str("STREAMS"), respc_str(r->b->o->engine), respc_str(r->last) };
	int e = respc_put(&r->c, argv, ARRAY_SIZE(argv));

	if (e == 0)
		e = sock_send(r->c.fd, &r->c.out, clk_boot_ns() + CONNECT_NS);
	if (e < 0)
		bench_fail(r->b, "a reader's connection was lost: %s", sock_strerror(e));
}

static bool hex(const uint8_t *p, uint64_t *ret_v)
{
	char text[LEASH_ID_TEXT] = "";

	memcpy(text, p, LEASH_ID_TEXT - 1);
	return id_parse(text, ret_v);
}

/* Records of other producers are passed over. */
static void note(struct bench *b, struct bytes value, uint64_t now_ns)
{
	uint64_t meant_ns, run;

	if (value.len < BENCH_STAMP_BYTES || !hex(value.p, &meant_ns) ||
		!hex(value.p + BENCH_STAMP_BYTES / 2, &run) || run != b->run)
		return;
	b->read_records++;
	if (meant_ns >= b->measure_ns && b->measure_ns > 0 && now_ns > meant_ns)
		hdr_record(&b->read, now_ns - meant_ns);
}

/* [[engine, [[id, [field, value, ...]], ...]]]. False: something else. */
static bool take(struct bench_reader *r, const struct resp_value *v, uint64_t now_ns)
{
	const struct resp_value *entry = v + 4;

	if (v->type == RESP_T_NULL)
		return true;
	if (v->type != RESP_T_ARRAY || v->n != 1 || v->n_values < 3 || v[3].type != RESP_T_ARRAY)
		return false;
	for (uint32_t i = 0; i < v[3].n; i++, entry += 1 + entry->n_values) {
		if (entry->type != RESP_T_ARRAY || entry->n_values < 4 || entry[1].text.len >= sizeof r->last)
			return false;
		memcpy(r->last, entry[1].text.p, entry[1].text.len);
		r->last[entry[1].text.len] = '\0';
		note(r->b, entry[4].text, now_ns);
	}
	return true;
}

static void on_read(evutil_socket_t fd _unused_, short what _unused_, void *ctx)
{
	struct bench_reader *r = ctx;
	const struct resp_value *v;
	size_t n;
	int e = sock_receive_some(r->c.fd, &r->c.in, &n);

	if (e < 0) {
		bench_fail(r->b, "a reader's connection was lost: %s", sock_strerror(e));
		return;
	}
	e = respc_next(&r->c, &v);
	if (e == RESP_MORE)
		return;
	if (e != 0 || !take(r, v, clk_boot_ns())) {
		bench_fail(r->b, "a reader got what it did not ask for: %.*s",
			e == 0 && v->text.p ? (int)MIN2(v->text.len, (size_t)150) : 0, e == 0 ? (const char *)v->text.p : "");
		return;
	}
	ask(r);
}

int bench_reader_start(struct bench *b, struct bench_reader *r)
{
	int e;

	*r = (struct bench_reader){ .b = b, .c = RESPC_NULL, .last = "$" };
	e = respc_open(&r->c, &b->o->gateway, clk_boot_ns() + CONNECT_NS);
	if (e < 0) {
		bench_fail(b, "%s", sock_strerror(e));
		return -1;
	}
	r->ev_read = event_new(b->base, r->c.fd, EV_READ | EV_PERSIST, on_read, r);
	if (!r->ev_read || event_add(r->ev_read, NULL) < 0) {
		bench_fail(b, "out of memory");
		return -1;
	}
	ask(r);
	return 0;
}

void bench_reader_stop(struct bench_reader *r)
{
	if (r->ev_read)
		event_free(r->ev_read);
	if (r->b)
		respc_close(&r->c);
	*r = (struct bench_reader){ 0 };
}

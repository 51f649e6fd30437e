/* The RESP front end with a backend in memory: what a client says and what it gets, byte by byte. */
#include "front/front.h"

#include <errno.h>
#include <stdio.h>

#include "unit.h"

#define MS         UINT64_C(1000000)
#define LOG_MAX    20000
#define OPS_MAX    64
#define RECORD_MAX 4096

struct log {
	struct front_engine *engine;
	struct buf recs[LOG_MAX + 1]; /* [seq]: header and body */
	leash_seq start, end, commit;
	struct leash_chain chain;
};

struct pending {
	struct front_op *op;
	struct log *log;
	leash_seq seq;
};

static struct world {
	struct front *front;
	struct front_client *c;
	struct log a, b;
	uint64_t now_ns;
	bool manual;      /* appends complete when told */
	bool hold_reads;
	bool no_room;
	enum peer_status_code answer, read_answer; /* instead of OK */
	struct pending pending[OPS_MAX];
	uint32_t n_pending;
	struct front_read read;
	struct front_op *read_op, *stream_op;
	uint32_t n_reads, n_cancelled, n_wakes;
	bool woken;
	bool secondary;
} w;

static struct bytes str(const char *s)
{
	return (struct bytes){ (const uint8_t *)s, strlen(s) };
}

/* ------------------------------------------------------------------------------------------------------- backend */

static leash_seq log_append(struct log *l, const struct rec_body *b, const struct bytes *pairs, uint32_t n_pairs)
{
	struct buf *rec = &l->recs[++l->end], body = BUF_NULL;
	struct rec_header h = { .epoch = 1, .seq = l->end, .log_time_ns = l->end };
	uint8_t header[REC_HEADER_BYTES];

	ck_assert(l->end < LOG_MAX);
	ck_assert_int_eq(rec_body_encode(&body, b, 0, pairs, n_pairs), 0);
	h.body_bytes = (uint32_t)buf_len(&body);
	h.body_hash = rec_body_hash((struct bytes){ buf_head(&body), buf_len(&body) });
	rec_header_seal(&h, l->chain);
	l->chain = h.chain;
	rec_header_encode(&h, header);
	ck_assert_int_eq(buf_put(rec, header, sizeof header), 0);
	ck_assert_int_eq(buf_put(rec, buf_head(&body), buf_len(&body)), 0);
	buf_deinit(&body);
	return l->end;
}

static void commit(struct log *l, leash_seq seq)
{
	l->commit = MAX2(l->commit, seq);
	front_engine_committed(l->engine, l->commit);
}

static void on_append(void *ctx _unused_, struct front_op *op, const struct rec_body *b, const struct bytes *pairs,
	uint32_t n_pairs)
{
	struct log *l = front_engine_backend(op->engine);
	leash_seq seq;

	if (w.answer) {
		front_append_done(op, w.answer, 7);
		return;
	}
	seq = log_append(l, b, pairs, n_pairs);
	if (!w.manual) {
		commit(l, seq);
		front_append_done(op, PEER_ST_OK, seq);
		return;
	}
	ck_assert(w.n_pending < OPS_MAX);
	w.pending[w.n_pending++] = (struct pending){ op, l, seq };
}

static void complete(uint32_t i)
{
	struct pending *p = &w.pending[i];

	ck_assert(p->op);
	commit(p->log, p->seq);
	front_append_done(TAKE(p->op), PEER_ST_OK, p->seq);
}

static bool on_room(void *ctx _unused_, struct front_engine *e _unused_)
{
	return !w.no_room;
}

static void read_now(struct front_op *op, const struct front_read *r)
{
	struct log *l = front_engine_backend(op->engine);
	struct peer_view views[FRONT_CHUNK_RECORDS];
	leash_seq first = MAX2(r->from, l->start), last = MIN2(r->to, l->commit);
	size_t bytes = 0;
	uint32_t n = 0;

	if (w.read_answer || r->to < l->start || (!r->reverse && r->from < l->start)) {
		front_read_done(op, w.read_answer ? w.read_answer : PEER_ST_GONE, NULL, 0, false);
		return;
	}
	while (n < r->count_max && bytes < r->bytes_max && first + n <= last) {
		struct buf *rec = &l->recs[r->reverse ? last - n : first + n];
		struct peer_view *v = &views[n++];

		v->header = (struct bytes){ buf_head(rec), REC_HEADER_BYTES };
		v->body = (struct bytes){ buf_head(rec) + REC_HEADER_BYTES, buf_len(rec) - REC_HEADER_BYTES };
		ck_assert_int_eq(rec_header_decode(v->header, &v->h), 0);
		bytes += buf_len(rec);
	}
	front_read_done(op, PEER_ST_OK, views, n, first + n <= last);
}

static void on_read(void *ctx _unused_, struct front_op *op, const struct front_read *r)
{
	w.n_reads++;
	if (!w.hold_reads) {
		read_now(op, r);
		return;
	}
	w.read = *r;
	w.read_op = op;
}

static void on_stream(void *ctx _unused_, struct front_op *op)
{
	struct log *l = front_engine_backend(op->engine);
	struct front_stream s = {
		.start = l->start, .commit = l->commit, .epoch = 3, .segments = 1, .dedup_window = 10};

	if (w.hold_reads)
		w.stream_op = op;
	else
		front_stream_done(op, PEER_ST_OK, &s);
}

static void on_cancel(void *ctx _unused_, struct front_op *op)
{
	w.n_cancelled++;
	for (uint32_t i = 0; i < w.n_pending; i++)
		if (w.pending[i].op == op)
			w.pending[i].op = NULL;
	if (w.read_op == op)
		w.read_op = NULL;
	if (w.stream_op == op)
		w.stream_op = NULL;
}

static void on_admin(void *ctx _unused_, struct front_op *op, const struct bytes *argv, uint32_t argc)
{
	ck_assert_uint_ge(argc, 2);
	if (argv[1].p[0] == 'b')
		front_admin_done(op, false, str("ERR bad verb"));
	else
		front_admin_done(op, true, argv[1]);
}

static void on_info(void *ctx _unused_, const char *section, struct buf *out)
{
	if (!*section || !strcmp(section, "leash"))
		ck_assert_int_eq(buf_printf(out, "# Leash\r\nepoch:3\r\n"), 0);
}

static void on_role(void *ctx _unused_, struct front_role *ret)
{
	ret->master = !w.secondary;
	ret->offset = 5;
	ret->n_replicas = 1;
	strcpy(ret->replicas[0].address, "127.0.0.1:8082");
	ret->replicas[0].offset = 4;
}

static void on_wake(void *ctx _unused_, void *user)
{
	ck_assert_ptr_eq(user, &w);
	w.n_wakes++;
	w.woken = true;
}

static const struct front_ops ops = {
	.append = on_append,
	.room = on_room,
	.read = on_read,
	.stream = on_stream,
	.admin = on_admin,
	.cancel = on_cancel,
	.info = on_info,
	.role = on_role,
	.wake = on_wake,
};

/* -------------------------------------------------------------------------------------------------------- helpers */

static void connect_as(bool control)
{
	struct front_peer peer = {
		.address = "127.0.0.1:1", .local_address = "127.0.0.1:2", .fd = 9, .control = control};

	ck_assert_int_eq(front_client_new(w.front, &peer, &w, w.now_ns, &w.c), 0);
}

static void setup(void)
{
	struct front_conf conf = {
		.program = "test",
		.clients_max = 4,
		.in_flight_max = 16,
		.in_flight_bytes_max = 4096,
		.out_bytes_max = 256 * 1024,
		.record_bytes_max = RECORD_MAX,
	};

	memset(&w, 0, sizeof w);
	w.a.start = w.b.start = 1;
	w.now_ns = 1000 * MS;
	ck_assert_int_eq(front_new(&conf, &ops, NULL, w.now_ns, &w.front), 0);
	ck_assert_int_eq(front_engine_add(w.front, "a", &w.a, &w.a.engine), 0);
	ck_assert_int_eq(front_engine_add(w.front, "b", &w.b, &w.b.engine), 0);
	connect_as(false);
}

static void teardown(void)
{
	front_free(w.front);
	for (leash_seq i = 0; i <= LOG_MAX; i++) {
		buf_deinit(&w.a.recs[i]);
		buf_deinit(&w.b.recs[i]);
	}
}

static void run(void)
{
	do {
		w.woken = false;
		front_client_run(w.c, w.now_ns);
	} while (w.woken);
}

static void send_bytes(const char *s, size_t n)
{
	ck_assert(front_client_wants_input(w.c));
	ck_assert_int_eq(buf_put(front_client_in(w.c), s, n), 0);
	run();
}

static void say(const char *s)
{
	send_bytes(s, strlen(s));
}

static void pass(uint64_t ms)
{
	w.now_ns += ms * MS;
	front_tick(w.front, w.now_ns);
	run();
}

static void hears(const char *expected)
{
	struct buf *out = front_client_out(w.c);
	char *got = strndup(buf_len(out) ? (char *)buf_head(out) : "", buf_len(out));

	ck_assert_str_eq(got, expected);
	free(got);
	buf_consume(out, buf_len(out));
}

static void talk(const char *s, const char *expected)
{
	say(s);
	hears(expected);
}

static void hears_part(const char *part)
{
	struct buf *out = front_client_out(w.c);
	char *got = strndup(buf_len(out) ? (char *)buf_head(out) : "", buf_len(out));

	ck_assert_msg(strstr(got, part), "no '%s' in '%s'", part, got);
	free(got);
	buf_consume(out, buf_len(out));
}

#define ID(n)          "$" "3\r\n" n "-0\r\n"
#define ENTRY(n, f, v) "*2\r\n$3\r\n" n "-0\r\n*2\r\n$1\r\n" f "\r\n$1\r\n" v "\r\n"

/* ---------------------------------------------------------------------------------------------------------- tests */

START_TEST(appends_and_reads)
{
	talk("XADD a * f 1\r\n", ID("1"));
	talk("*5\r\n$4\r\nXADD\r\n$1\r\na\r\n$1\r\n*\r\n$1\r\nf\r\n$1\r\n2\r\n", ID("2"));
	talk("XLEN a\r\n", ":2\r\n");
	talk("XLEN nix\r\n", ":0\r\n");
	talk("XRANGE a - +\r\n", "*2\r\n" ENTRY("1", "f", "1") ENTRY("2", "f", "2"));
	talk("XREVRANGE a + - COUNT 1\r\n", "*1\r\n" ENTRY("2", "f", "2"));
	talk("XRANGE nix - +\r\n", "*0\r\n");
	talk("XREAD STREAMS a 1\r\n", "*1\r\n*2\r\n$1\r\na\r\n*1\r\n" ENTRY("2", "f", "2"));
	talk("XREAD COUNT 1 STREAMS a b 0 0\r\n", "*1\r\n*2\r\n$1\r\na\r\n*1\r\n" ENTRY("1", "f", "1"));
	talk("XREAD STREAMS a $\r\n", "*-1\r\n");
	talk("XREAD STREAMS a +\r\n", "*1\r\n*2\r\n$1\r\na\r\n*1\r\n" ENTRY("2", "f", "2"));
	talk("XADD nix * f 1\r\n", "-ERR no engine 'nix' here; served: a, b\r\n");
	talk("XADD nix NOMKSTREAM * f 1\r\n", "$-1\r\n");
	talk("XADD a 5-1 f 1\r\n", "-ERR explicit entry IDs are not supported: use *, entries are numbered "
				   "<sequence>-0 without a gap\r\n");
}
END_TEST

/* Replies wait for those before them. */
START_TEST(replies_keep_the_order_of_commands)
{
	w.manual = true;
	talk("XADD a * f 1\r\nXADD b * f 1\r\nPING\r\nXADD a * f 2\r\n", "");
	ck_assert_uint_eq(w.n_pending, 3);
	complete(2);
	run();
	hears("");
	complete(0);
	run();
	hears(ID("1"));
	complete(1);
	run();
	hears(ID("1") "+PONG\r\n" ID("2"));
}
END_TEST

START_TEST(read_waits_for_earlier_appends)
{
	w.manual = true;
	talk("XADD a * f 1\r\nXLEN a\r\nXADD a * f 2\r\n", "");
	ck_assert_uint_eq(w.n_pending, 1);
	ck_assert(!front_client_wants_input(w.c));
	complete(0);
	run();
	hears(ID("1") ":1\r\n");
	ck_assert_uint_eq(w.n_pending, 2);
	complete(1);
	run();
	hears(ID("2"));
}
END_TEST

START_TEST(append_waits_for_earlier_reads)
{
	talk("XADD a * f 1\r\n", ID("1"));
	w.hold_reads = true;
	talk("XRANGE a - +\r\nXADD a * f 2\r\n", "");
	ck_assert_uint_eq(w.a.end, 1);
	w.hold_reads = false;
	read_now(TAKE(w.read_op), &w.read);
	run();
	hears("*1\r\n" ENTRY("1", "f", "1") ID("2"));
}
END_TEST

START_TEST(errors_are_told_as_redis_clients_expect)
{
	static const struct {
		enum peer_status_code status;
		const char *prefix;
	} table[] = {
		{ PEER_ST_CONFLICT, "-IDMPCONFLICT entry 7-0 " },
		{ PEER_ST_NOT_PRIMARY, "-READONLY You can't write against a read only replica.\r\n" },
		{ PEER_ST_HOLD, "-TRYAGAIN " },
		{ PEER_ST_OOM, "-OOM " },
		{ PEER_ST_TOO_BIG, "-ERR " },
		{ PEER_ST_SESSION_UNKNOWN, "-INDOUBT " },
		{ PEER_ST_SESSION_ORDER, "-INDOUBT " },
		{ PEER_ST_OLD, "-IDMPOLD " },
		{ PEER_ST_DEDUP_FULL, "-OOM " },
		{ PEER_ST_NO_REPLICAS, "-NOREPLICAS Not enough good replicas to write.\r\n" },
		{ PEER_ST_INDOUBT, "-INDOUBT " },
		{ PEER_ST_INVALID, "-ERR " },
		{ PEER_ST_KNOWN, "$3\r\n7-0\r\n" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		w.answer = table[i].status;
		say("XADD a * f 1\r\n");
		ck_assert(buf_len(front_client_out(w.c)) > strlen(table[i].prefix) - 1);
		ck_assert(memcmp(buf_head(front_client_out(w.c)), table[i].prefix, strlen(table[i].prefix)) == 0);
		buf_consume(front_client_out(w.c), buf_len(front_client_out(w.c)));
	}
	w.read_answer = PEER_ST_NOT_SERVING;
	say("XRANGE a - +\r\n");
	hears_part("-TRYAGAIN ");
	talk("PING\r\n", "+PONG\r\n");
}
END_TEST

START_TEST(blocking_read_gets_data)
{
	struct front_client *reader = w.c;

	talk("XADD a * f 1\r\n", ID("1"));
	talk("XREAD BLOCK 0 STREAMS a b $ 0\r\nPING\r\n", "");
	w.woken = false;
	commit(&w.a, 1); /* nothing new */
	ck_assert(!w.woken);
	commit(&w.b, log_append(&w.b, &(struct rec_body){ 0 }, (struct bytes[]){ str("f"), str("9") }, 1));
	ck_assert(w.woken);
	run();
	hears("*1\r\n*2\r\n$1\r\nb\r\n*1\r\n" ENTRY("1", "f", "9") "+PONG\r\n");
	ck_assert_ptr_eq(reader, w.c);
	ck_assert(front_wakeup_ns(w.front) == UINT64_MAX);
}
END_TEST

START_TEST(blocking_read_times_out)
{
	talk("XREAD BLOCK 100 STREAMS a $\r\nPING\r\n", "");
	ck_assert_uint_eq(front_wakeup_ns(w.front), w.now_ns + 100 * MS);
	pass(99);
	hears("");
	pass(1);
	hears("*-1\r\n+PONG\r\n");
	talk("HELLO 3\r\nXREAD BLOCK 10 STREAMS nix $\r\n",
		"%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n$5\r\nproto\r\n:3\r\n$"
		"2\r\nid\r\n:1\r\n"
		"$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n");
	pass(10);
	hears("_\r\n");
}
END_TEST

/* Somebody who blocks for less time than a look takes gets what is there. */
START_TEST(blocking_read_gets_what_is_there_however_short)
{
	talk("XADD a * f 1\r\n", ID("1"));
	w.hold_reads = true;
	talk("XREAD BLOCK 1 STREAMS a 0\r\n", "");
	pass(5);
	hears("");
	read_now(TAKE(w.read_op), &w.read);
	run();
	hears("*1\r\n*2\r\n$1\r\na\r\n*1\r\n" ENTRY("1", "f", "1"));
	talk("XREAD BLOCK 1 STREAMS a 1\r\n", "");
	pass(5);
	read_now(TAKE(w.read_op), &w.read); /* nothing, and the time is up */
	run();
	pass(0);
	hears("*-1\r\n");
}
END_TEST

/* But while the backend keeps the read (a gateway without a primary) it ends a second after its time. */
START_TEST(blocking_read_times_out_while_it_reads)
{
	w.hold_reads = true;
	talk("XREAD BLOCK 100 STREAMS a 0\r\n", "");
	ck_assert_ptr_nonnull(w.read_op);
	pass(100);
	hears("");
	pass(1000);
	hears("*-1\r\n");
	ck_assert_ptr_null(w.read_op);
	ck_assert_uint_eq(w.n_cancelled, 1);
}
END_TEST

/* Cross-protocol scripting: a browser's request ends the connection before what it smuggles is run. */
START_TEST(http_is_cut_off)
{
	say("PING\r\nPOST / HTTP/1.1\r\nXADD a * f 1\r\n");
	hears("");
	ck_assert(front_client_closing(w.c));
	ck_assert_uint_eq(w.a.end, 0);
	front_client_free(w.c);
	connect_as(false);
	say("GET / HTTP/1.1\r\nhost: x\r\nXADD a * f 1\r\n");
	hears("");
	ck_assert(front_client_closing(w.c));
	ck_assert_uint_eq(w.a.end, 0);
}
END_TEST

START_TEST(dollar_is_resolved_once)
{
	w.hold_reads = true;
	talk("XREAD BLOCK 0 STREAMS a $\r\n", "");
	ck_assert_ptr_nonnull(w.stream_op);
	front_stream_done(TAKE(w.stream_op), PEER_ST_OK, &(struct front_stream){ .start = 1, .commit = 0 });
	run();
	w.hold_reads = false;
	for (int i = 0; i < 2; i++)
		(void)log_append(&w.a, &(struct rec_body){ 0 }, (struct bytes[]){ str("f"), str(i ? "2" : "1") }, 1);
	commit(&w.a, 2);
	run();
	hears("*1\r\n*2\r\n$1\r\na\r\n*2\r\n" ENTRY("1", "f", "1") ENTRY("2", "f", "2"));
}
END_TEST

/* Another log bears the name: `$` waits for its first record, a position that the client named stays. */
START_TEST(another_log_begins_anew_for_who_waits_for_its_end)
{
	struct log *l = &w.a;
	struct front_client *asks_end;

	for (int i = 0; i < 2; i++)
		(void)log_append(l, &(struct rec_body){ 0 }, (struct bytes[]){ str("f"), str("o") }, 1);
	commit(l, 2);
	talk("XREAD BLOCK 0 STREAMS a $\r\n", "");
	asks_end = w.c;
	connect_as(false);
	talk("XREAD BLOCK 0 STREAMS a 2\r\n", "");
	front_engine_anew(l->engine);
	for (leash_seq seq = 1; seq <= l->end; seq++)
		buf_deinit(&l->recs[seq]);
	l->end = l->commit = 0;
	l->chain = (struct leash_chain){ 0 };
	(void)log_append(l, &(struct rec_body){ 0 }, (struct bytes[]){ str("f"), str("n") }, 1);
	commit(l, 1);
	run();
	hears("");
	front_client_free(w.c);
	w.c = asks_end;
	run();
	hears("*1\r\n*2\r\n$1\r\na\r\n*1\r\n" ENTRY("1", "f", "n"));
}
END_TEST

/* The announced commit index is ahead of what the read finds: asked again, without a busy loop. */
START_TEST(blocking_read_asks_again)
{
	talk("XREAD BLOCK 0 STREAMS a $\r\n", "");
	(void)log_append(&w.a, &(struct rec_body){ 0 }, (struct bytes[]){ str("f"), str("1") }, 1);
	front_engine_committed(w.a.engine, 1);
	run();
	hears("");
	ck_assert_uint_le(w.n_reads, 2);
	w.a.commit = 1;
	pass(10);
	hears("*1\r\n*2\r\n$1\r\na\r\n*1\r\n" ENTRY("1", "f", "1"));
}
END_TEST

START_TEST(client_that_goes_takes_its_operations_along)
{
	w.manual = true;
	talk("XADD a * f 1\r\nXADD a * f 2\r\n", "");
	front_client_free(w.c);
	ck_assert_uint_eq(w.n_cancelled, 2);
	connect_as(false);
	w.manual = false;
	say("XREAD BLOCK 0 STREAMS a b $ $\r\n");
	front_client_free(w.c);
	commit(&w.a, log_append(&w.a, &(struct rec_body){ 0 }, (struct bytes[]){ str("f"), str("1") }, 1));
	w.c = NULL;
}
END_TEST

START_TEST(eof_answers_what_was_asked)
{
	w.manual = true;
	talk("XADD a * f 1\r\nPING\r\nXRANGE", "");
	front_client_eof(w.c);
	run();
	ck_assert(!front_client_closing(w.c));
	complete(0);
	run();
	ck_assert(front_client_closing(w.c));
	hears(ID("1") "+PONG\r\n");
	front_client_free(w.c);
	connect_as(false);
	say("XREAD BLOCK 0 STREAMS a $\r\n");
	front_client_eof(w.c);
	run();
	ck_assert(front_client_closing(w.c));
}
END_TEST

/* Every way to cut the input gives the same output. */
START_TEST(split_at_every_byte)
{
	static const char in[] = "*5\r\n$4\r\nXADD\r\n$1\r\na\r\n$1\r\n*\r\n$1\r\nf\r\n$1\r\n1\r\nPING\r\n"
				 "*2\r\n$4\r\nECHO\r\n$4\r\n\r\n\r\n\r\nXLEN nix\r\n*1\r\n$4\r\nQUIT\r\n";
	static const char tail[] = "-0\r\n+PONG\r\n$4\r\n\r\n\r\n\r\n:0\r\n+OK\r\n";

	for (size_t i = 1; i < sizeof in - 1; i++) {
		char expected[128];

		send_bytes(in, i);
		send_bytes(in + i, sizeof in - 1 - i);
		ck_assert(front_client_closing(w.c));
		(void)snprintf(expected, sizeof expected, "$%d\r\n%zu%s", i < 10 ? 3 : i < 100 ? 4 : 5, i, tail);
		hears(expected);
		front_client_free(w.c);
		connect_as(false);
	}
	for (size_t i = 0; i < sizeof in - 1; i++)
		send_bytes(in + i, 1);
	hears_part(tail);
}
END_TEST

START_TEST(bounds_stop_the_input)
{
	char line[128];

	w.manual = true;
	for (int i = 0; i < 16; i++)
		say("XADD a * f 1\r\n");
	ck_assert_uint_eq(w.n_pending, 16);
	say("XADD a * f 1\r\n");
	ck_assert_uint_eq(w.n_pending, 16); /* in_flight_max */
	for (uint32_t i = 0; i < 16; i++)
		complete(i);
	run();
	ck_assert_uint_eq(w.n_pending, 17);
	complete(16);
	run();
	buf_consume(front_client_out(w.c), buf_len(front_client_out(w.c)));
	w.n_pending = 0;
	/* bytes: three of 2,000 are more than 4,096 */
	for (int i = 0; i < 4; i++) {
		char value[2001];

		memset(value, 'x', 2000);
		value[2000] = '\0';
		(void)snprintf(line, sizeof line, "*5\r\n$4\r\nXADD\r\n$1\r\na\r\n$1\r\n*\r\n$1\r\nf\r\n$2000\r\n");
		ck_assert_int_eq(buf_put(front_client_in(w.c), line, strlen(line)), 0);
		ck_assert_int_eq(buf_put(front_client_in(w.c), value, 2000), 0);
		ck_assert_int_eq(buf_put(front_client_in(w.c), "\r\n", 2), 0);
	}
	run();
	ck_assert_uint_eq(w.n_pending, 2);
	ck_assert(!front_client_wants_input(w.c));
	complete(0);
	complete(1);
	run();
	ck_assert_uint_eq(w.n_pending, 4);
}
END_TEST

START_TEST(no_room_holds_the_append)
{
	w.no_room = true;
	talk("XADD a * f 1\r\nPING\r\n", "");
	run();
	hears("");
	w.no_room = false;
	front_engine_room(w.a.engine);
	ck_assert(w.woken);
	run();
	hears(ID("1") "+PONG\r\n");
}
END_TEST

/* Over the record's bound, and over the command's: the connection lives. */
START_TEST(too_big_records_are_answered)
{
	static const size_t sizes[] = { RECORD_MAX, 4 * RECORD_MAX, 100000 };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		char head[128];

		(void)snprintf(head, sizeof head,
			"*5\r\n$4\r\nXADD\r\n$1\r\na\r\n$1\r\n*\r\n$1\r\nf\r\n$%zu\r\n", sizes[i]);
		say(head);
		for (size_t n = 0; n < sizes[i]; n += 1000) {
			char part[1000];
			size_t len = MIN2(sizeof part, sizes[i] - n);

			memset(part, 'x', sizeof part);
			send_bytes(part, len);
			ck_assert_uint_le(buf_len(front_client_in(w.c)), 2 * RECORD_MAX + 70000);
		}
		say("\r\nPING\r\n");
		hears_part("max_record_bytes");
		ck_assert(!front_client_closing(w.c));
		talk("PING\r\n", "+PONG\r\n");
	}
	talk("XLEN a\r\n", ":0\r\n");
}
END_TEST

START_TEST(protocol_errors_close)
{
	say("PING\r\n*1\r\nx\r\n");
	hears_part("+PONG\r\n-ERR Protocol error: expected '$'");
	ck_assert(front_client_closing(w.c));
}
END_TEST

START_TEST(connection_commands)
{
	talk("AUTH x\r\n", "-ERR AUTH <password> called without any password configured for the default "
			   "user. Are you sure "
			   "your configuration is correct?\r\n");
	talk("SELECT 0\r\n", "+OK\r\n");
	talk("SELECT 1\r\n", "-ERR DB index is out of range\r\n");
	talk("CLIENT SETNAME joe\r\n", "+OK\r\n");
	talk("CLIENT GETNAME\r\n", "$3\r\njoe\r\n");
	talk("CLIENT ID\r\n", ":1\r\n");
	say("CLIENT LIST\r\n");
	hears_part("id=1 addr=127.0.0.1:1 laddr=127.0.0.1:2 fd=9 name=joe ");
	talk("CLIENT SETINFO lib-name x\r\n", "+OK\r\n");
	talk("CLIENT NO-EVICT on\r\n", "+OK\r\n");
	talk("CONFIG GET save\r\n", "*0\r\n");
	talk("ROLE\r\n", "*3\r\n$6\r\nmaster\r\n:5\r\n*1\r\n*3\r\n$9\r\n127.0.0.1\r\n$4\r\n8082\r\n$1\r\n4\r\n");
	w.secondary = true;
	talk("ROLE\r\n", "*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:8082\r\n$9\r\nconnected\r\n:5\r\n");
	say("INFO replication\r\n");
	hears_part("role:slave\r\nmaster_host:127.0.0.1\r\nmaster_port:8082\r\n");
	say("INFO\r\n");
	hears_part("# Leash\r\nepoch:3\r\n");
	talk("LEASH status\r\n", "-NOPERM LEASH is for the local control socket only\r\n");
	say("NIX\r\n");
	hears_part("-ERR unknown command 'NIX'");
	talk("RESET\r\n", "+RESET\r\n");
	talk("CLIENT GETNAME\r\n", "$-1\r\n");
	talk("QUIT\r\n", "+OK\r\n");
	ck_assert(front_client_closing(w.c));
}
END_TEST

START_TEST(reply_modes)
{
	talk("CLIENT REPLY SKIP\r\nPING\r\nPING\r\n", "+PONG\r\n");
	talk("CLIENT REPLY OFF\r\nPING\r\nXADD a * f 1\r\nXLEN a\r\nNIX\r\n", "");
	talk("CLIENT REPLY ON\r\nXLEN a\r\n", "+OK\r\n:1\r\n");
}
END_TEST

START_TEST(control_clients_may_administrate)
{
	front_client_free(w.c);
	connect_as(true);
	talk("LEASH status\r\n", "$6\r\nstatus\r\n");
	talk("LEASH bad\r\n", "-ERR bad verb\r\n");
	talk("PING\r\n", "+PONG\r\n");
}
END_TEST

START_TEST(wait_counts_secondaries)
{
	talk("WAIT 0 0\r\n", ":0\r\n");
	front_engine_replicas(w.a.engine, 2);
	talk("XADD a * f 1\r\nWAIT 2 0\r\n", ID("1") ":2\r\n");
	talk("WAIT 3 50\r\n", "");
	pass(50);
	hears(":2\r\n");
	talk("WAIT 3 0\r\n", "");
	front_engine_replicas(w.a.engine, 3);
	run();
	hears(":3\r\n");
}
END_TEST

START_TEST(xinfo_stream)
{
	talk("XINFO STREAM nix\r\n", "-ERR no such key\r\n");
	say("XINFO STREAM a\r\n");
	hears_part("$11\r\nfirst-entry\r\n$-1\r\n$10\r\nlast-entry\r\n$-1\r\n");
	talk("XADD a * f 1\r\nXADD a * f 2\r\n", ID("1") ID("2"));
	say("XINFO STREAM a\r\n");
	hears_part("$11\r\nfirst-entry\r\n" ENTRY("1", "f", "1") "$10\r\nlast-entry\r\n" ENTRY("2", "f", "2"));
	say("HELLO 3\r\n");
	hears_part("%7");
	say("XINFO STREAM a FULL\r\n");
	hears_part("%17\r\n$6\r\nlength\r\n:2\r\n");
	talk("XREAD STREAMS a 1\r\n", "%1\r\n$1\r\na\r\n*1\r\n" ENTRY("2", "f", "2"));
}
END_TEST

static void fill(uint32_t n)
{
	static uint8_t value[600];

	for (uint32_t i = 0; i < n; i++)
		(void)log_append(
			&w.a, &(struct rec_body){0}, (struct bytes[]){str("f"), {value, sizeof value}}, 1);
	commit(&w.a, n);
}

/* An answer larger than memory should hold goes out as the client reads it, complete and in order. */
static void large_range(const char *command, bool reverse, leash_seq first, uint32_t n)
{
	char head[64];
	uint64_t seen = 0, peak = 0;
	struct buf all = BUF_NULL, *out = front_client_out(w.c);

	say(command);
	while (buf_len(out)) {
		size_t take = MIN2(buf_len(out), (size_t)50000);

		peak = MAX2(peak, buf_len(out));
		ck_assert_int_eq(buf_put(&all, buf_head(out), take), 0);
		buf_consume(out, take);
		if (front_client_wants_drain(w.c))
			run();
	}
	ck_assert_uint_lt(peak, 3u << 20);
	(void)snprintf(head, sizeof head, "*%u\r\n", n);
	ck_assert(memcmp(buf_head(&all), head, strlen(head)) == 0);
	buf_consume(&all, strlen(head));
	for (; buf_len(&all); seen++) {
		char id[32], entry[64];
		size_t len = (size_t)snprintf(id, sizeof id, "%llu-0",
			(unsigned long long)(reverse ? first - seen : first + seen));

		len = (size_t)snprintf(entry, sizeof entry, "*2\r\n$%zu\r\n%s\r\n*2\r\n$1\r\nf\r\n$600\r\n", len, id);
		ck_assert(buf_len(&all) >= len + 602 && memcmp(buf_head(&all), entry, len) == 0);
		buf_consume(&all, len + 602);
	}
	ck_assert_uint_eq(seen, n);
	buf_deinit(&all);
	talk("PING\r\n", "+PONG\r\n");
}

START_TEST(large_answers_are_streamed)
{
	fill(10000);
	large_range("XRANGE a - +\r\n", false, 1, 10000);
	large_range("XREVRANGE a + -\r\n", true, 10000, 10000);
	large_range("XRANGE a 11 + COUNT 9000\r\n", false, 11, 9000);
	large_range("XREVRANGE a 9000 1\r\n", true, 9000, 9000);
	w.a.start = 2000;
	large_range("XRANGE a - +\r\n", false, 2000, 8001);
	large_range("XREVRANGE a + -\r\n", true, 10000, 8001);
}
END_TEST

START_TEST(broken_stream_closes)
{
	struct buf *out = front_client_out(w.c);

	fill(10000);
	say("XRANGE a - +\r\n");
	w.read_answer = PEER_ST_GONE;
	while (buf_len(out) && !front_client_closing(w.c)) {
		buf_consume(out, buf_len(out));
		run();
	}
	ck_assert(front_client_closing(w.c));
}
END_TEST

START_TEST(reads_begin_at_what_is_kept)
{
	fill(3);
	w.a.start = 3;
	say("XRANGE a 1 + COUNT 1\r\n");
	hears_part("*1\r\n*2\r\n$3\r\n3-0\r\n");
	talk("XRANGE a 1 2\r\n", "*0\r\n");
	say("XREAD COUNT 1 STREAMS a 0\r\n");
	hears_part("$3\r\n3-0\r\n");
}
END_TEST

/* Into another process: @saved is what the former wrote. */
static void hand_over(struct buf *saved)
{
	buf_consume(saved, buf_len(saved));
	front_client_pause(w.c);
	run();
	ck_assert(front_client_quiet(w.c));
	ck_assert_int_eq(front_client_save(w.c, w.now_ns, saved), 0);
	front_client_free(w.c);
	connect_as(false);
	ck_assert_int_eq(front_client_load(w.c, (struct bytes){ buf_head(saved), buf_len(saved) }), 0);
	run();
}

/* Every beginning of @saved is refused. (Of a long one, some.) */
static void beginnings_refused(const struct buf *saved)
{
	for (size_t i = 0; i < buf_len(saved); i += i > 500 && i + 500 < buf_len(saved) ? 9973 : 1) {
		front_client_free(w.c);
		connect_as(false);
		ck_assert_int_eq(front_client_load(w.c, (struct bytes){ buf_head(saved), i }), -EINVAL);
	}
}

START_TEST(saved_client_goes_on)
{
	struct buf saved = BUF_NULL;

	say("HELLO 3 SETNAME joe\r\n");
	hears_part("proto\r\n:3");
	w.manual = true;
	say("XADD a * f 1\r\n");
	ck_assert_int_eq(front_client_save(w.c, w.now_ns, &saved), -EBUSY);
	front_client_pause(w.c);
	ck_assert(!front_client_quiet(w.c));
	ck_assert_int_eq(front_client_save(w.c, w.now_ns, &saved), -EBUSY);
	complete(0);
	run();
	ck_assert(front_client_quiet(w.c));
	front_client_free(w.c);
	w.manual = false;
	connect_as(false);

	say("HELLO 3 SETNAME joe\r\nXREAD BLOCK 1000 STREAMS a $\r\nPING\r\nPI");
	buf_consume(front_client_out(w.c), buf_len(front_client_out(w.c)) - 4);
	pass(400);
	hand_over(&saved);
	hears("*0\r\n");
	say("NG\r\nCLIENT GETNAME\r\n");
	pass(500);
	hears("");
	commit(&w.a, log_append(&w.a, &(struct rec_body){ 0 }, (struct bytes[]){ str("f"), str("2") }, 1));
	run();
	hears("%1\r\n$1\r\na\r\n*1\r\n" ENTRY("2", "f", "2") "+PONG\r\n+PONG\r\n$3\r\njoe\r\n");
	beginnings_refused(&saved);
	buf_deinit(&saved);
}
END_TEST

/* What comes while it is paused waits for the next process. */
START_TEST(paused_client_stays_as_it_is)
{
	struct buf saved = BUF_NULL;

	say("XREAD BLOCK 0 STREAMS a $\r\n");
	front_client_pause(w.c);
	commit(&w.a, log_append(&w.a, &(struct rec_body){ 0 }, (struct bytes[]){ str("f"), str("1") }, 1));
	run();
	ck_assert(front_client_quiet(w.c));
	hears("");
	hand_over(&saved);
	hears("*1\r\n*2\r\n$1\r\na\r\n*1\r\n" ENTRY("1", "f", "1"));
	buf_deinit(&saved);
}
END_TEST

/* Reads a large reply, handing the client over now and then; the same bytes as of one that was left in peace. */
static void range_over_restarts(const char *command)
{
	struct buf *out = front_client_out(w.c), all = BUF_NULL, again = BUF_NULL, saved = BUF_NULL;
	size_t n = 0;

	say(command);
	while (buf_len(out)) {
		ck_assert_int_eq(buf_put(&all, buf_head(out), buf_len(out)), 0);
		buf_consume(out, buf_len(out));
		run();
	}
	say(command);
	while (buf_len(out)) {
		size_t piece = MIN2(buf_len(out), (size_t)300001);

		ck_assert_int_eq(buf_put(&again, buf_head(out), piece), 0);
		buf_consume(out, piece);
		run();
		if (++n % 3 == 0) {
			hand_over(&saved);
			out = front_client_out(w.c);
		}
	}
	ck_assert_uint_gt(n, 5);
	ck_assert_uint_eq(buf_len(&again), buf_len(&all));
	ck_assert_mem_eq(buf_head(&again), buf_head(&all), buf_len(&all));
	hears("");
	buf_deinit(&all);
	buf_deinit(&again);
	buf_deinit(&saved);
}

START_TEST(large_replies_go_on)
{
	fill(10000);
	range_over_restarts("XRANGE a - +\r\n");
	range_over_restarts("XREVRANGE a + -\r\n");
	range_over_restarts("XRANGE a - +\r\nXRANGE a 5 +\r\nXLEN a\r\nPING\r\n");
	range_over_restarts("CLIENT REPLY SKIP\r\nXRANGE a - +\r\nXRANGE a 7 +\r\nPING\r\n");
}
END_TEST

START_TEST(saved_in_the_midst_of_a_large_reply)
{
	struct buf saved = BUF_NULL;

	fill(10000);
	say("XRANGE a - +\r\nXRANGE a 5 +\r\nPING\r\n");
	hand_over(&saved);
	beginnings_refused(&saved);
	front_client_free(w.c);
	front_engine_remove(w.a.engine);
	connect_as(false);
	ck_assert_int_eq(front_client_load(w.c, (struct bytes){ buf_head(&saved), buf_len(&saved) }), -ENOENT);
	buf_deinit(&saved);
}
END_TEST

/* Nobody waits for a piece, however far the primary is. */
START_TEST(large_reply_is_paused_while_it_reads)
{
	struct buf saved = BUF_NULL, *out = front_client_out(w.c);
	size_t n;

	fill(10000);
	say("XRANGE a - +\r\n");
	w.hold_reads = true;
	while (!w.read_op) {
		ck_assert_uint_gt(buf_len(out), 0);
		buf_consume(out, buf_len(out));
		run();
	}
	n = w.read.from;
	front_client_pause(w.c);
	ck_assert_uint_eq(w.n_cancelled, 1);
	ck_assert(front_client_quiet(w.c));
	w.hold_reads = false;
	hand_over(&saved);
	out = front_client_out(w.c);
	ck_assert_uint_gt(buf_len(out), 0);
	while (buf_len(out)) {
		buf_consume(out, buf_len(out));
		run();
	}
	ck_assert_uint_gt(n, 1);
	ck_assert_uint_eq(w.read.from, n); /* no other was held */
	talk("PING\r\n", "+PONG\r\n");
	buf_deinit(&saved);
}
END_TEST

START_TEST(engine_that_goes_away_ends_a_large_reply)
{
	struct buf saved = BUF_NULL;
	struct buf *out = front_client_out(w.c);

	fill(10000);
	say("XRANGE a - +\r\n");
	ck_assert_uint_gt(buf_len(out), 0);
	front_engine_remove(w.a.engine);
	front_client_pause(w.c);
	ck_assert_int_eq(front_client_save(w.c, w.now_ns, &saved), -ECANCELED);
	front_client_free(w.c);

	ck_assert_int_eq(front_engine_add(w.front, "a", &w.a, &w.a.engine), 0);
	connect_as(false);
	out = front_client_out(w.c);
	commit(&w.a, w.a.end);
	say("XRANGE a - +\r\n");
	front_engine_remove(w.a.engine);
	while (buf_len(out) && !front_client_closing(w.c)) {
		buf_consume(out, buf_len(out));
		run();
	}
	ck_assert(front_client_closing(w.c));
	buf_deinit(&saved);
}
END_TEST

/* State of a connection that no reply shows at once. */
START_TEST(small_things_go_along)
{
	struct buf saved = BUF_NULL;

	say("CLIENT ID\r\nCLIENT REPLY SKIP\r\n");
	hears(":1\r\n");
	hand_over(&saved);
	say("PING\r\nCLIENT ID\r\n");
	hears(":1\r\n");
	say("CLIENT REPLY SKIP\r\nXREAD BLOCK 100 STREAMS a $\r\nPING\r\n");
	hand_over(&saved);
	pass(200);
	hears("+PONG\r\n");
	say("CLIENT REPLY OFF\r\nPING\r\n");
	hand_over(&saved);
	say("PING\r\nCLIENT REPLY ON\r\n");
	hears("+OK\r\n");
	say("QUIT\r\n");
	hand_over(&saved);
	ck_assert(front_client_closing(w.c));
	hears("+OK\r\n");
	buf_deinit(&saved);
}
END_TEST

/* A held command has used up the SKIP before it. */
START_TEST(held_command_stays_muted)
{
	struct buf saved = BUF_NULL;

	w.manual = true;
	say("XADD a * f 1\r\nCLIENT REPLY SKIP\r\nXLEN a\r\nPING\r\n");
	front_client_pause(w.c);
	complete(0);
	run();
	hand_over(&saved);
	hears("$3\r\n1-0\r\n+PONG\r\n");
	buf_deinit(&saved);
}
END_TEST

START_TEST(dropped_command_goes_on_being_dropped)
{
	struct buf saved = BUF_NULL;
	static char big[4 * RECORD_MAX];

	memset(big, 'x', sizeof big - 1);
	say("*5\r\n$4\r\nXADD\r\n$1\r\na\r\n$1\r\n*\r\n$1\r\nf\r\n$200000\r\nxxx");
	for (int left = 200000 - 3; left > 0; left -= (int)MIN2((size_t)left, strlen(big))) {
		char part[sizeof big];

		(void)snprintf(part, sizeof part, "%.*s", left, big);
		hand_over(&saved);
		say(part);
		hears("");
	}
	hand_over(&saved);
	say("\r");
	hand_over(&saved);
	say("\nPING\r\n");
	hears_part("-ERR command 'XADD' was larger than");
	talk("PING\r\n", "+PONG\r\n");
	beginnings_refused(&saved);
	buf_deinit(&saved);
}
END_TEST

START_TEST(engines_come_and_go)
{
	struct front_engine *e;

	ck_assert_int_eq(front_engine_add(w.front, "a", NULL, &e), -EEXIST);
	ck_assert_int_eq(front_engine_add(w.front, "/", NULL, &e), -EINVAL);
	talk("XREAD BLOCK 100 STREAMS a b 0 0\r\n", "");
	front_engine_remove(w.b.engine);
	commit(&w.a, log_append(&w.a, &(struct rec_body){ 0 }, (struct bytes[]){ str("f"), str("1") }, 1));
	run();
	hears("*1\r\n*2\r\n$1\r\na\r\n*1\r\n" ENTRY("1", "f", "1"));
	talk("XADD b * f 1\r\n", "-ERR no engine 'b' here; served: a\r\n");
}
END_TEST

START_TEST(clients_are_bounded)
{
	struct front_peer peer = { .fd = -1 };
	struct front_client *c;

	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(front_client_new(w.front, &peer, &w, 0, &c), 0);
	ck_assert_int_eq(front_client_new(w.front, &peer, &w, 0, &c), -EMFILE);
}
END_TEST

/* Many deadlines end in their order. */
START_TEST(timers_end_in_order)
{
	struct front_client *c[4] = { w.c };
	static const uint64_t ms[4] = { 30, 10, 40, 20 };

	for (int i = 1; i < 4; i++) {
		connect_as(false);
		c[i] = w.c;
	}
	for (int i = 0; i < 4; i++) {
		char line[64];

		w.c = c[i];
		(void)snprintf(line, sizeof line, "XREAD BLOCK %d STREAMS a $\r\n", (int)ms[i]);
		talk(line, "");
	}
	for (uint64_t t = 10; t <= 40; t += 10) {
		ck_assert_uint_eq(front_wakeup_ns(w.front), w.now_ns + 10 * MS);
		w.c = c[t == 10 ? 1 : t == 20 ? 3 : t == 30 ? 0 : 2];
		pass(10);
		hears("*-1\r\n");
	}
	ck_assert(front_wakeup_ns(w.front) == UINT64_MAX);
}
END_TEST

UNIT_MAIN("front", {
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, appends_and_reads);
	tcase_add_test(tc, replies_keep_the_order_of_commands);
	tcase_add_test(tc, read_waits_for_earlier_appends);
	tcase_add_test(tc, append_waits_for_earlier_reads);
	tcase_add_test(tc, errors_are_told_as_redis_clients_expect);
	tcase_add_test(tc, blocking_read_gets_data);
	tcase_add_test(tc, blocking_read_times_out);
	tcase_add_test(tc, blocking_read_times_out_while_it_reads);
	tcase_add_test(tc, blocking_read_gets_what_is_there_however_short); tcase_add_test(tc, http_is_cut_off);
	tcase_add_test(tc, dollar_is_resolved_once);
	tcase_add_test(tc, blocking_read_asks_again);
	tcase_add_test(tc, another_log_begins_anew_for_who_waits_for_its_end);
	tcase_add_test(tc, client_that_goes_takes_its_operations_along);
	tcase_add_test(tc, eof_answers_what_was_asked);
	tcase_add_test(tc, split_at_every_byte);
	tcase_add_test(tc, bounds_stop_the_input);
	tcase_add_test(tc, no_room_holds_the_append);
	tcase_add_test(tc, too_big_records_are_answered);
	tcase_add_test(tc, protocol_errors_close);
	tcase_add_test(tc, connection_commands);
	tcase_add_test(tc, reply_modes);
	tcase_add_test(tc, control_clients_may_administrate);
	tcase_add_test(tc, wait_counts_secondaries);
	tcase_add_test(tc, xinfo_stream);
	tcase_add_test(tc, large_answers_are_streamed);
	tcase_add_test(tc, broken_stream_closes);
	tcase_add_test(tc, reads_begin_at_what_is_kept);
	tcase_add_test(tc, saved_client_goes_on);
	tcase_add_test(tc, paused_client_stays_as_it_is);
	tcase_add_test(tc, large_replies_go_on);
	tcase_add_test(tc, saved_in_the_midst_of_a_large_reply);
	tcase_add_test(tc, large_reply_is_paused_while_it_reads);
	tcase_add_test(tc, engine_that_goes_away_ends_a_large_reply);
	tcase_add_test(tc, small_things_go_along);
	tcase_add_test(tc, held_command_stays_muted);
	tcase_add_test(tc, dropped_command_goes_on_being_dropped);
	tcase_add_test(tc, engines_come_and_go);
	tcase_add_test(tc, clients_are_bounded);
	tcase_add_test(tc, timers_end_in_order);
})

/*
 * The Redis front end that nodes and gateways share, over a log in memory: where the bytes of clients end. Invariants: what
 * comes out is whole RESP replies; it is the same however the bytes are cut, in whatever order the backend answers, and
 * when the client is handed from one process to the next in between; no command is left unanswered at the end.
 *
 * Byte 0: bit 0: the local control socket; bit 1: the rest is a saved client; bit 2: some appends and reads fail; bit 3: the
 * log is long, so that answers come in pieces. Byte 1: how it is cut, and the order of the
 * backend's answers. Then what the client says.
 */
#include "fuzz.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include "front/front.h"
#include "wire/resp.h"

#define LOG_MAX     512
#define PENDING_MAX 64
#define RECORD_MAX  2048
#define OUT_MAX     (8u << 20) /* of one run: more is not looked at */
#define LONG_N      180        /* records of a long log */
#define LONG_BYTES  8000       /* of each */
#define MS          UINT64_C(1000000)

struct pending {
	struct front_op *op; /* NULL: free */
	enum { ON_APPEND, ON_READ, ON_STREAM } kind;
	leash_seq seq;
	struct front_read read;
};

struct world {
	struct front *front;
	struct front_client *c;
	struct front_engine *engine;
	struct buf recs[LOG_MAX + 1]; /* [seq]: header and body */
	leash_seq end, commit;
	struct leash_chain chain;
	struct pending pending[PENDING_MAX];
	bool later;        /* the backend answers later, in an order of its own */
	uint64_t order;
	uint64_t now_ns;
	bool woken, control, saves, fails;
	uint64_t n_appends;
	bool lost;         /* it could not be handed over */
	struct buf heard;
};

/* ------------------------------------------------------------------------------------------------------ backend */

static bool log_append(struct world *w, const struct rec_body *b, const struct bytes *pairs, uint32_t n_pairs)
{
	struct buf body = BUF_NULL, *rec = &w->recs[w->end + 1];
	struct rec_header h = { .epoch = 1, .seq = w->end + 1, .log_time_ns = w->end + 1 };
	uint8_t header[REC_HEADER_BYTES];
	int r;

	if (w->end == LOG_MAX)
		return false;
	r = rec_body_encode(&body, b, 0, pairs, n_pairs);
	must(r == 0);
	h.body_bytes = (uint32_t)buf_len(&body);
	h.body_hash = rec_body_hash((struct bytes){ buf_head(&body), buf_len(&body) });
	rec_header_seal(&h, w->chain);
	w->chain = h.chain;
	rec_header_encode(&h, header);
	fuzz_put(rec, header, sizeof header);
	fuzz_put(rec, buf_head(&body), buf_len(&body));
	buf_deinit(&body);
	w->end++;
	return true;
}

/* A log that is longer than one piece of an answer. */
static void log_fill(struct world *w)
{
	static const uint8_t filler[LONG_BYTES];
	struct bytes pairs[2] = { { (const uint8_t *)"f", 1 }, { filler, sizeof filler } };

	for (int i = 0; i < LONG_N; i++)
		must(log_append(w, &(struct rec_body){ 0 }, pairs, 1));
	w->commit = w->end;
	front_engine_committed(w->engine, w->commit);
}

static void append_answer(struct world *w, struct front_op *op, leash_seq seq)
{
	w->commit = MAX2(w->commit, seq);
	front_engine_committed(w->engine, w->commit);
	front_append_done(op, PEER_ST_OK, seq);
}

static void read_answer(struct world *w, struct front_op *op, const struct front_read *r)
{
	struct peer_view views[FRONT_CHUNK_RECORDS];
	leash_seq first = r->from, last = MIN2(r->to, w->commit);
	uint32_t n = 0;
	size_t bytes = 0;

	must(r->from >= 1 && r->from <= r->to && r->count_max >= 1);
	if (w->fails && r->from % 5 == 4) {
		front_read_done(op, r->from % 2 ? PEER_ST_NOT_SERVING : PEER_ST_DAMAGED, NULL, 0, false);
		return;
	}
	while (n < MIN2(r->count_max, FRONT_CHUNK_RECORDS) && bytes < r->bytes_max && first + n <= last) {
		struct buf *rec = &w->recs[r->reverse ? last - n : first + n];
		struct peer_view *v = &views[n++];
		int e;

		v->header = (struct bytes){ buf_head(rec), REC_HEADER_BYTES };
		v->body = (struct bytes){ buf_head(rec) + REC_HEADER_BYTES, buf_len(rec) - REC_HEADER_BYTES };
		e = rec_header_decode(v->header, &v->h);
		must(e == 0);
		bytes += buf_len(rec);
	}
	front_read_done(op, PEER_ST_OK, views, n, first + n <= last);
}

static void stream_answer(struct world *w, struct front_op *op)
{
	struct front_stream s = { .start = 1, .commit = w->commit, .epoch = 3, .segments = 1, .dedup_window = 10 };

	front_stream_done(op, PEER_ST_OK, &s);
}

static void answer(struct world *w, struct pending *p)
{
	struct pending was = *p;

	p->op = NULL;
	if (was.kind == ON_APPEND)
		append_answer(w, was.op, was.seq);
	else if (was.kind == ON_READ)
		read_answer(w, was.op, &was.read);
	else
		stream_answer(w, was.op);
}

static void keep(struct world *w, struct pending p)
{
	size_t i = 0;

	if (!w->later) {
		answer(w, &p);
		return;
	}
	while (i < PENDING_MAX && w->pending[i].op)
		i++;
	must(i < PENDING_MAX); /* in_flight_max and the bound on reads are smaller */
	w->pending[i] = p;
}

/* One of those that wait is answered, or up to @n. Commits go in order, as a log's do. */
static void answer_some(struct world *w, size_t n)
{
	for (size_t k = 0; k < n; k++) {
		struct pending *p = NULL;

		for (size_t i = 0; i < PENDING_MAX; i++) {
			struct pending *q = &w->pending[(i + w->order) % PENDING_MAX];

			if (q->op && (!p || (p->kind == ON_APPEND && q->kind == ON_APPEND && q->seq < p->seq)))
				p = q;
		}
		if (!p)
			return;
		w->order = w->order * 31 + 7;
		answer(w, p);
	}
}

static void on_append(void *ctx, struct front_op *op, const struct rec_body *b, const struct bytes *pairs, uint32_t n)
{
	struct world *w = ctx;

	w->n_appends++;
	if (w->fails && w->n_appends % 3 == 2)
		front_append_done(op, (enum peer_status_code)(PEER_ST_CONFLICT + w->n_appends % 15), 7);
	else if (log_append(w, b, pairs, n))
		keep(w, (struct pending){ op, ON_APPEND, w->end, { 0 } });
	else
		front_append_done(op, PEER_ST_OOM, 0);
}

static void on_read(void *ctx, struct front_op *op, const struct front_read *r)
{
	keep(ctx, (struct pending){ op, ON_READ, 0, *r });
}

static void on_stream(void *ctx, struct front_op *op)
{
	keep(ctx, (struct pending){ op, ON_STREAM, 0, { 0 } });
}

static void on_admin(void *ctx _unused_, struct front_op *op, const struct bytes *argv, uint32_t argc)
{
	static const uint8_t error[] = "ERR bad verb";

	must(argc >= 2);
	if (argv[1].len > 0 && argv[1].p[0] == 'b')
		front_admin_done(op, false, (struct bytes){ error, sizeof error - 1 });
	else
		front_admin_done(op, true, argv[1]);
}

static void on_cancel(void *ctx, struct front_op *op)
{
	struct world *w = ctx;

	for (size_t i = 0; i < PENDING_MAX; i++)
		if (w->pending[i].op == op)
			w->pending[i].op = NULL;
}

static void on_info(void *ctx _unused_, const char *section _unused_, struct buf *out)
{
	fuzz_put(out, "# Leash\r\nepoch:3\r\n", 18);
}

static void on_role(void *ctx _unused_, struct front_role *ret)
{
	*ret = (struct front_role){ .master = true, .offset = 5, .n_replicas = 1,
		.replicas = { { "127.0.0.1:8082", 4 } } };
}

static void on_wake(void *ctx, void *user)
{
	struct world *w = ctx;

	must(user == w);
	w->woken = true;
}

static const struct front_ops ops = { .append = on_append, .read = on_read, .stream = on_stream, .admin = on_admin,
	.cancel = on_cancel, .info = on_info, .role = on_role, .wake = on_wake };

/* ------------------------------------------------------------------------------------------------------- client */

static void connect_client(struct world *w)
{
	struct front_peer peer = { .address = "127.0.0.1:1", .local_address = "127.0.0.1:2", .fd = 9,
		.control = w->control };
	int r = front_client_new(w->front, &peer, w, w->now_ns, &w->c);

	must(r == 0);
}

/* True: there was something. */
static bool hear(struct world *w)
{
	struct buf *out = front_client_out(w->c);
	size_t n = buf_len(out);

	if (buf_len(&w->heard) < OUT_MAX)
		fuzz_put(&w->heard, buf_head(out), n);
	buf_consume(out, n);
	return n > 0;
}

/* Until nothing moves but what waits for the backend or for time. */
static void turn(struct world *w)
{
	bool heard;

	do {
		w->woken = false;
		front_client_run(w->c, w->now_ns);
		heard = hear(w);
	} while (w->woken || (heard && front_client_wants_drain(w->c)));
}

static void settle(struct world *w)
{
	turn(w);
	for (;;) {
		size_t n = 0;

		for (size_t i = 0; i < PENDING_MAX; i++)
			n += w->pending[i].op != NULL;
		if (n == 0)
			break;
		answer_some(w, n);
		turn(w);
	}
}

/* Into another process: its front is a new client here. */
static void hand_over(struct world *w)
{
	struct front_client *old = w->c;
	struct buf saved = BUF_NULL;
	int r;

	front_client_pause(w->c);
	settle(w);
	r = front_client_quiet(w->c) ? front_client_save(w->c, w->now_ns, &saved) : -EBUSY;
	must(r == 0 || r == -ECANCELED);
	if (r == 0) {
		connect_client(w);
		r = front_client_load(w->c, (struct bytes){ buf_head(&saved), buf_len(&saved) });
		must(r == 0);
		front_client_free(old);
		turn(w);
	}
	w->lost = r != 0;
	buf_deinit(&saved);
}

static void say(struct world *w, struct bytes in, uint64_t cut)
{
	while (in.len > 0 && !front_client_closing(w->c) && !w->lost) {
		size_t n = cut ? fuzz_piece(&cut, in.len) : in.len;

		if (!front_client_wants_input(w->c)) {
			/* It waits for the backend, or for time. */
			settle(w);
			if (!front_client_wants_input(w->c))
				return;
		}
		fuzz_put(front_client_in(w->c), in.p, n);
		in = (struct bytes){ in.p + n, in.len - n };
		turn(w);
		if (w->later)
			answer_some(w, cut >> 40 & 3);
		turn(w);
		if (w->saves && (cut >> 20) % 8 == 0)
			hand_over(w);
	}
}

/* Every client is whole replies; the last may be cut where the run stopped to listen. */
static void replies_whole(const struct buf *heard)
{
	struct resp_reader reader;
	const struct resp_value *v;
	size_t at = 0, bytes;
	int r = 0;

	resp_reader_init(&reader, 100000);
	while (at < buf_len(heard)) {
		r = resp_read(&reader, (struct bytes){ buf_head(heard) + at, buf_len(heard) - at }, &v, &bytes);
		if (r != 0)
			break;
		at += bytes;
	}
	must(r == 0 || (r == RESP_MORE && buf_len(heard) >= OUT_MAX));
	resp_reader_deinit(&reader);
}

static void run(struct world *w, struct bytes in, uint64_t cut, bool full)
{
	struct front_conf conf = { .program = "fuzz", .clients_max = 4, .in_flight_max = 16, .in_flight_bytes_max = 4096,
		.out_bytes_max = 256 * 1024, .record_bytes_max = RECORD_MAX };
	int r;

	w->now_ns = 1000 * MS;
	r = front_new(&conf, &ops, w, w->now_ns, &w->front);
	must(r == 0);
	r = front_engine_add(w->front, "a", w, &w->engine);
	must(r == 0);
	if (full)
		log_fill(w);
	connect_client(w);
	say(w, in, cut);
	settle(w);
	w->now_ns += 10000 * MS;
	front_tick(w->front, w->now_ns);
	settle(w);
	front_client_eof(w->c);
	settle(w);
	must(buf_len(front_client_out(w->c)) == 0);
	must(front_client_closing(w->c) || w->lost); /* nothing is left unanswered */
	replies_whole(&w->heard);
}

static void world_deinit(struct world *w)
{
	front_free(w->front);
	for (size_t i = 0; i <= LOG_MAX; i++)
		buf_deinit(&w->recs[i]);
	buf_deinit(&w->heard);
}

/* ------------------------------------------------------------------------------------------------------- inputs */

static bool says(struct bytes in, const char *word)
{
	size_t n = strlen(word);

	for (size_t i = 0; i + n <= in.len; i++)
		if (strncasecmp((const char *)in.p + i, word, n) == 0)
			return true;
	return false;
}

/*
 * Not answers that tell of buffers, ids and time; what blocks, when the client says more meanwhile; and HTTP, for which
 * replies that are still here are dropped.
 */
static bool comparable(struct bytes in)
{
	static const char *const words[] = { "post", "host:", "client", "info", "hello", "block", "wait" };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (says(in, words[i]))
			return false;
	return true;
}

static void try_saved(struct bytes in)
{
	static struct world w;
	struct front_conf conf = { .program = "fuzz", .clients_max = 4, .in_flight_max = 16, .in_flight_bytes_max = 4096,
		.out_bytes_max = 256 * 1024, .record_bytes_max = RECORD_MAX };
	int r;

	memset(&w, 0, sizeof w);
	w.now_ns = 1000 * MS;
	r = front_new(&conf, &ops, &w, w.now_ns, &w.front);
	must(r == 0);
	r = front_engine_add(w.front, "a", &w, &w.engine);
	must(r == 0);
	connect_client(&w);
	r = front_client_load(w.c, in);
	must(r == 0 || r == -EINVAL || r == -ENOENT);
	if (r == 0) {
		settle(&w);
		front_client_eof(w.c);
		settle(&w);
	}
	world_deinit(&w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static struct world a, b;
	struct bytes in = { data + 2, len - 2 };

	if (len < 2)
		return 0;
	if (data[0] & 2) {
		try_saved(in);
		return 0;
	}
	memset(&a, 0, sizeof a);
	memset(&b, 0, sizeof b);
	a.control = b.control = data[0] & 1;
	a.fails = b.fails = data[0] & 4;
	run(&a, in, 0, data[0] & 8);
	b.later = true;
	b.order = data[1];
	b.saves = data[1] & 1;
	run(&b, in, (uint64_t)data[1] + 1, data[0] & 8);
	if (comparable(in) && !b.lost)
		must(fuzz_same((struct bytes){ buf_head(&a.heard), buf_len(&a.heard) },
			(struct bytes){ buf_head(&b.heard), buf_len(&b.heard) }));
	world_deinit(&a);
	world_deinit(&b);
	return 0;
}

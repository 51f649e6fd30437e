#include <check.h>
#include <errno.h>

#include "wire/peer_data.h"

#define SEED 0x5eed

static struct bytes str(const char *s)
{
	return (struct bytes){ (const uint8_t *)s, strlen(s) };
}

static struct rep_stretch history[16];
static struct rep_rec recs[16];
static struct peer_view views[16];
static const struct peer_scratch scratch = { history, ARRAY_SIZE(history), recs, views, ARRAY_SIZE(recs) };

/* ------------------------------------------------------------------------------------- messages, one of each kind */

static const struct peer_hello hello = {
	.kind = PEER_KIND_NODE,
	.engine = "engine",
	.node = "P1",
	.address = "127.0.0.1:8081",
	.release = "0.1.0+gabc",
	.cluster = 1,
	.incarnation = 2,
	.run = UINT64_MAX,
	.conn = 4,
};

static struct peer_hello welcome(void)
{
	struct peer_hello m = hello;

	m.role = PEER_ROLE_PRIMARY;
	m.epoch = 7;
	m.commit = 8;
	m.log_end = 9;
	m.in_flight_messages_max = 1024;
	m.in_flight_bytes_max = UINT64_C(1) << 33;
	return m;
}

/* Records @first.. whose chain closes; @n records behind each other into @out. */
static void make_records(struct buf *out, leash_seq first, unsigned n)
{
	struct leash_chain prev = { 3, 4 };

	for (unsigned i = 0; i < n; i++) {
		_cleanup_(buf_deinit) struct buf body = BUF_NULL;
		struct bytes pairs[] = { str("f"), str("value") };
		struct rec_body b = { .id_kind = REC_ID_SEQ, .producer = str("pay"), .n = i + 1 };
		struct rec_header h = { .epoch = 3, .seq = first + i, .log_time_ns = 100 + i };
		uint8_t header[REC_HEADER_BYTES];

		ck_assert_int_eq(rec_body_encode(&body, &b, 0, pairs, 1), 0);
		h.body_bytes = (uint32_t)buf_len(&body);
		h.body_hash = rec_body_hash((struct bytes){ buf_head(&body), buf_len(&body) });
		rec_header_seal(&h, prev);
		prev = h.chain;
		rec_header_encode(&h, header);
		ck_assert_int_eq(buf_put(out, header, sizeof header), 0);
		ck_assert_int_eq(buf_put(out, buf_head(&body), buf_len(&body)), 0);
	}
}

static struct rep_msg replica(enum rep_msg_type type)
{
	static const struct rep_stretch stretches[] = { { 1, 1 }, { 4, 10 }, { 9, 11 } };
	struct rep_msg m = { .type = type, .epoch = 7, .run = 8, .conn = 9, .cluster = 10, .incarnation = 11 };

	m.sender_run = 12;
	m.seq = 13;
	m.log_start = 14;
	m.log_end = 15;
	m.commit = 16;
	m.log_epoch = 17;
	m.log_time_ns = UINT64_MAX;
	m.lease = 18;
	m.chain = (struct leash_chain){ 19, 20 };
	strcpy(m.node, "S1");
	if (type == REP_MSG_LEAD) {
		m.history = stretches;
		m.n_history = 3;
	}
	if (type == REP_MSG_HEARS)
		m.flags = REP_F_HEARS | REP_F_MOVES;
	if (type == REP_MSG_LEAD || type == REP_MSG_BEAT || type == REP_MSG_RESET || type == REP_MSG_DAMAGED) /* a primary's */
		m.flags = REP_F_HOLDING | REP_F_SERVING;
	return m;
}

static void put_records(struct buf *out, const struct rep_msg *m, const struct buf *records)
{
	struct bytes pieces[] = { { buf_head(records), 33 }, { buf_head(records) + 33, buf_len(records) - 33 } };

	ck_assert_int_eq(peer_records_encode(out, m, pieces, 2), 0);
}

/* Each puts its message as one frame. */
static void put_hello(struct buf *out)
{
	ck_assert_int_eq(peer_hello_encode(out, PEER_HELLO, &hello), 0);
}

static void put_welcome(struct buf *out)
{
	struct peer_hello m = welcome();

	ck_assert_int_eq(peer_hello_encode(out, PEER_WELCOME, &m), 0);
}

static void put_reject(struct buf *out)
{
	struct peer_reject m = { PEER_REJECT_CLUSTER, "cluster 00ff is not mine" };

	ck_assert_int_eq(peer_reject_encode(out, &m), 0);
}

static void put_lead(struct buf *out)
{
	struct rep_msg m = replica(REP_MSG_LEAD);

	ck_assert_int_eq(peer_replica_encode(out, &m), 0);
}

static void put_replica_records(struct buf *out)
{
	_cleanup_(buf_deinit) struct buf records = BUF_NULL;
	struct rep_msg m = { .type = REP_MSG_RECORDS, .epoch = 3, .run = 4, .n_recs = 3 };

	make_records(&records, 50, 3);
	put_records(out, &m, &records);
}

static void put_submit(struct buf *out)
{
	static const uint8_t body[REC_BODY_BYTES_MIN] = { 1, 2, 3 };
	struct peer_submit m = { 77, { body, sizeof body } };

	ck_assert_int_eq(peer_submit_encode(out, &m), 0);
}

static const struct peer_result results[] = {
	{ 1, PEER_ST_OK, 10, 7, 3 },
	{ UINT64_MAX, PEER_ST_SESSION_ORDER, 3, 7, 1 },
	{ 3, PEER_ST_NOT_PRIMARY, 0, 8, 1 },
};

static void put_results(struct buf *out)
{
	ck_assert_int_eq(peer_results_encode(out, results, ARRAY_SIZE(results)), 0);
}

static const struct peer_status status = {
	.role = PEER_ROLE_SECONDARY,
	.epoch = 7,
	.leader = "P1",
	.leader_address = "[::1]:8081",
	.commit = 5,
	.log_start = 2,
	.log_end = 6,
	.serving = true,
	.holding = false,
	.n_insync = 3,
	.min_insync = 2,
};

static void put_status(struct buf *out)
{
	ck_assert_int_eq(peer_status_encode(out, &status), 0);
}

static const struct peer_read read_msg = { 9, 1, UINT64_MAX, REP_BATCH_MAX, 1 << 20, true };

static void put_read(struct buf *out)
{
	ck_assert_int_eq(peer_read_encode(out, &read_msg), 0);
}

static void put_records_data(struct buf *out)
{
	_cleanup_(buf_deinit) struct buf records = BUF_NULL;
	struct peer_records m = { .token = 4, .status = PEER_ST_OK, .more = true, .n = 2 };
	struct bytes piece;

	make_records(&records, 8, 2);
	piece = (struct bytes){ buf_head(&records), buf_len(&records) };
	ck_assert_int_eq(peer_records_data_encode(out, &m, &piece, 1), 0);
}

static void put_info(struct buf *out)
{
	ck_assert_int_eq(peer_info_encode(out, &(struct peer_info){ 5, PEER_INFO_NODE }), 0);
}

static void put_info_data(struct buf *out)
{
	ck_assert_int_eq(peer_info_data_encode(out, &(struct peer_info_data){ 5, str("{\"a\":1}") }), 0);
}

static void put_ping(struct buf *out)
{
	ck_assert_int_eq(peer_ping_encode(out, PEER_PING, 6), 0);
}

static void put_admin(struct buf *out)
{
	struct peer_admin m = { .token = 7, .argc = 3, .argv = { str("switchover"), str(""), str("S1") } };

	ck_assert_int_eq(peer_admin_encode(out, &m), 0);
}

static void put_admin_data(struct buf *out)
{
	ck_assert_int_eq(peer_admin_data_encode(out, &(struct peer_admin_data){ 7, true, str("done") }), 0);
}

/* Decodes the payload by its type; what was decoded must be the message that was put, or (garbage) any at all. */
static int decode(uint8_t type, struct bytes p)
{
	struct peer_hello h;
	struct peer_reject rj;
	struct rep_msg m;
	struct peer_submit s;
	struct cur c;
	struct peer_status st;
	struct peer_read rd;
	struct peer_records rc;
	struct peer_info in;
	struct peer_info_data id;
	struct peer_admin ad;
	struct peer_admin_data aa;
	uint64_t token;

	switch ((enum peer_type)type) {
	case PEER_HELLO:
	case PEER_WELCOME:
		return peer_hello_decode(p, (enum peer_type)type, &h);
	case PEER_REJECT:
		return peer_reject_decode(p, &rj);
	case PEER_REPLICA:
		return peer_replica_decode(p, SEED, &scratch, &m);
	case PEER_SUBMIT:
		return peer_submit_decode(p, &s);
	case PEER_RESULT:
		return peer_results_decode(p, &c);
	case PEER_STATUS:
		return peer_status_decode(p, &st);
	case PEER_READ:
		return peer_read_decode(p, &rd);
	case PEER_RECORDS_DATA:
		return peer_records_data_decode(p, views, ARRAY_SIZE(views), &rc);
	case PEER_INFO:
		return peer_info_decode(p, &in);
	case PEER_INFO_DATA:
		return peer_info_data_decode(p, &id);
	case PEER_PING:
	case PEER_PONG:
		return peer_ping_decode(p, &token);
	case PEER_ADMIN:
		return peer_admin_decode(p, &ad);
	case PEER_ADMIN_DATA:
		return peer_admin_data_decode(p, &aa);
	}
	return -1;
}

static const struct {
	const char *name;
	enum peer_type type;
	void (*put)(struct buf *out);
	bool stretchy; /* any longer payload is fine too: its end is what it is about */
} messages[] = {
	{ "hello", PEER_HELLO, put_hello, false },
	{ "welcome", PEER_WELCOME, put_welcome, false },
	{ "reject", PEER_REJECT, put_reject, false },
	{ "lead", PEER_REPLICA, put_lead, false },
	{ "records", PEER_REPLICA, put_replica_records, false },
	{ "submit", PEER_SUBMIT, put_submit, true },
	{ "results", PEER_RESULT, put_results, false },
	{ "status", PEER_STATUS, put_status, false },
	{ "read", PEER_READ, put_read, false },
	{ "records data", PEER_RECORDS_DATA, put_records_data, false },
	{ "info", PEER_INFO, put_info, false },
	{ "info data", PEER_INFO_DATA, put_info_data, false },
	{ "ping", PEER_PING, put_ping, false },
	{ "admin", PEER_ADMIN, put_admin, false },
	{ "admin data", PEER_ADMIN_DATA, put_admin_data, false },
};

/* ---------------------------------------------------------------------------------------------- for every message */

static struct frame frame_of(struct buf *out, size_t i)
{
	struct frame f;

	messages[i].put(out);
	ck_assert_int_eq(frame_next((struct bytes){ buf_head(out), buf_len(out) }, UINT32_MAX, &f), 0);
	ck_assert_int_eq(f.type, messages[i].type);
	ck_assert_uint_eq(f.bytes, buf_len(out));
	ck_assert_str_ne(peer_type_name(f.type), "?");
	return f;
}

/* Whatever is cut off or added is noticed, even where the frame's checksum would hold. */
START_TEST(every_message_cut_or_stretched)
{
	_cleanup_(buf_deinit) struct buf out = BUF_NULL;
	struct frame f = frame_of(&out, (size_t)_i);
	size_t len = f.payload.len;

	ck_assert_int_eq(decode(f.type, f.payload), 0);
	for (size_t n = 0; n < len; n++) {
		_cleanup_(freep) uint8_t *p = malloc(n + 1); /* exact but for the first: the sanitizer sees the end */

		memcpy(p + 1, f.payload.p, n);
		int r = decode(f.type, (struct bytes){ p + 1, n });
		bool whole_results = f.type == PEER_RESULT && n && n % 29 == 0;
		ck_assert_msg(whole_results ? r == 0 : r > 0, "%s cut to %zu of %zu: %d", messages[_i].name, n, len, r);
	}
	_cleanup_(freep) uint8_t *p = calloc(1, len + 1);
	memcpy(p, f.payload.p, len);
	ck_assert_int_eq(decode(f.type, (struct bytes){ p, len + 1 }), messages[_i].stretchy ? 0 : PEER_E_MALFORMED);
}
END_TEST

/* Any byte may have any value: decoders answer, and never read or write outside. */
START_TEST(every_message_with_any_byte_changed)
{
	_cleanup_(buf_deinit) struct buf out = BUF_NULL;
	struct frame f = frame_of(&out, (size_t)_i);
	_cleanup_(freep) uint8_t *p = malloc(f.payload.len);

	for (size_t at = 0; at < f.payload.len; at++) {
		for (unsigned v = 0; v < 256; v += (v < 3 || v > 250) ? 1 : 7) {
			memcpy(p, f.payload.p, f.payload.len);
			p[at] = (uint8_t)v;
			ck_assert_int_ge(decode(f.type, (struct bytes){ p, f.payload.len }), 0);
		}
	}
}
END_TEST

START_TEST(every_message_mutated_at_random)
{
	_cleanup_(buf_deinit) struct buf out = BUF_NULL;
	struct frame f = frame_of(&out, (size_t)_i);
	uint64_t x = 0x9e3779b97f4a7c15u + (uint64_t)_i;

	for (int round = 0; round < 3000; round++) {
		size_t len = f.payload.len;
		_cleanup_(freep) uint8_t *p = malloc(len);

		memcpy(p, f.payload.p, len);
		for (int k = 0; k < 4; k++) {
			x = x * 6364136223846793005u + 1442695040888963407u;
			p[(x >> 33) % len] = (uint8_t)(x >> 20);
		}
		ck_assert_int_ge(decode((uint8_t)(1 + (round & 1 ? f.type - 1u : (unsigned)round / 2 % PEER_ADMIN_DATA)),
			(struct bytes){ p, len - (x >> 50) % 3 }), 0);
	}
}
END_TEST

START_TEST(every_message_needs_room)
{
	_cleanup_(buf_deinit) struct buf full = { .max = 10 };

	ck_assert_int_eq(peer_hello_encode(&full, PEER_HELLO, &hello), -ENOBUFS);
	ck_assert_int_eq(peer_results_encode(&full, results, 3), -ENOBUFS);
	ck_assert_int_eq(peer_status_encode(&full, &status), -ENOBUFS);
	ck_assert_int_eq(peer_read_encode(&full, &read_msg), -ENOBUFS);
	ck_assert_int_eq(peer_ping_encode(&full, PEER_PONG, 1), -ENOBUFS);
	ck_assert_uint_eq(buf_len(&full), 0);
}
END_TEST

/* ------------------------------------------------------------------------------------------------------ handshake */

START_TEST(hello_round_trip)
{
	_cleanup_(buf_deinit) struct buf out = BUF_NULL;
	struct peer_hello back, want = welcome();
	struct frame f = frame_of(&out, 0);

	ck_assert_int_eq(peer_hello_decode(f.payload, PEER_HELLO, &back), 0);
	ck_assert_mem_eq(&back, &hello, sizeof back);
	buf_consume(&out, f.bytes);
	f = frame_of(&out, 1);
	ck_assert_int_eq(peer_hello_decode(f.payload, PEER_WELCOME, &back), 0);
	ck_assert_mem_eq(&back, &want, sizeof back);
}
END_TEST

START_TEST(hello_of_another_version)
{
	_cleanup_(buf_deinit) struct buf out = BUF_NULL;
	struct frame f = frame_of(&out, 0);
	uint8_t p[] = { 2, 0, 0, 0, 'w', 'h', 'a', 't' };
	struct peer_hello back;

	ck_assert_int_eq(f.payload.p[0], PEER_VERSION);
	ck_assert_int_eq(peer_hello_decode((struct bytes){ p, sizeof p }, PEER_HELLO, &back), PEER_E_VERSION);
}
END_TEST

START_TEST(hello_that_makes_no_sense)
{
	_cleanup_(buf_deinit) struct buf out = BUF_NULL;
	struct peer_hello m[7];

	for (size_t i = 0; i < ARRAY_SIZE(m); i++)
		m[i] = hello;
	m[0].engine[0] = '\0';
	strcpy(m[1].engine, "a/b");
	m[2].node[0] = '\0';              /* a node has a name */
	m[3].kind = PEER_KIND_GATEWAY;    /* a gateway has none */
	m[4].kind = (enum peer_kind)0;
	m[5].epoch = 1;                   /* only WELCOME has */
	strcpy(m[6].node, ".hidden");
	for (size_t i = 0; i < ARRAY_SIZE(m); i++)
		ck_assert_int_eq(peer_hello_encode(&out, PEER_HELLO, &m[i]), -EINVAL);
	m[0] = welcome();
	m[0].role = (enum peer_role)9;
	ck_assert_int_eq(peer_hello_encode(&out, PEER_WELCOME, &m[0]), -EINVAL);
	ck_assert_uint_eq(buf_len(&out), 0);

	struct peer_hello gateway = { .kind = PEER_KIND_GATEWAY, .engine = "engine" }, back;
	struct frame f;
	ck_assert_int_eq(peer_hello_encode(&out, PEER_HELLO, &gateway), 0);
	ck_assert_int_eq(frame_next((struct bytes){ buf_head(&out), buf_len(&out) }, 1000, &f), 0);
	ck_assert_int_eq(peer_hello_decode(f.payload, PEER_HELLO, &back), 0);
	ck_assert_mem_eq(&back, &gateway, sizeof back);
}
END_TEST

START_TEST(hello_with_strings_at_their_bound)
{
	for (size_t over = 0; over < 2; over++) {
		uint8_t p[300];
		struct enc e = enc_of(p, sizeof p);
		struct peer_hello back;

		enc_u32le(&e, PEER_VERSION);
		enc_u8(&e, PEER_KIND_TOOL);
		enc_u8(&e, LEASH_NAME_MAX); /* engine */
		for (size_t i = 0; i < LEASH_NAME_MAX; i++)
			enc_u8(&e, 'e');
		enc_u8(&e, 0); /* node */
		enc_u8(&e, (uint8_t)(LEASH_ADDR_MAX + over)); /* address */
		for (size_t i = 0; i < LEASH_ADDR_MAX + over; i++)
			enc_u8(&e, 'a');
		enc_u8(&e, 0); /* release */
		for (int i = 0; i < 4; i++)
			enc_u64le(&e, 0);
		ck_assert_int_eq(peer_hello_decode((struct bytes){ p, enc_len(&e) }, PEER_HELLO, &back),
			over ? PEER_E_MALFORMED : 0);
	}
}
END_TEST

START_TEST(reject_round_trip)
{
	_cleanup_(buf_deinit) struct buf out = BUF_NULL;
	struct frame f = frame_of(&out, 2);
	struct peer_reject back, bad = { (enum peer_reject_code)77, "" };

	ck_assert_int_eq(peer_reject_decode(f.payload, &back), 0);
	ck_assert_int_eq(back.code, PEER_REJECT_CLUSTER);
	ck_assert_str_eq(back.text, "cluster 00ff is not mine");
	ck_assert_int_eq(peer_reject_encode(&out, &bad), -EINVAL);
}
END_TEST

/* ---------------------------------------------------------------------------------------------------- replication */

START_TEST(replica_round_trip)
{
	_cleanup_(buf_deinit) struct buf out = BUF_NULL;
	struct rep_msg m = replica((enum rep_msg_type)_i), back;
	struct frame f;

	ck_assert_int_eq(peer_replica_encode(&out, &m), 0);
	ck_assert_int_eq(frame_next((struct bytes){ buf_head(&out), buf_len(&out) }, 100000, &f), 0);
	ck_assert_int_eq(peer_replica_decode(f.payload, SEED, &scratch, &back), 0);
	ck_assert_uint_eq(back.n_history, m.n_history);
	for (uint32_t i = 0; i < m.n_history; i++)
		ck_assert(back.history[i].epoch == m.history[i].epoch && back.history[i].first == m.history[i].first);
	back.history = m.history;
	ck_assert_mem_eq(&back, &m, sizeof m);
}
END_TEST

/* Each number travels by itself, and 0 is 0. */
START_TEST(replica_single_fields)
{
	for (size_t at = offsetof(struct rep_msg, run); at < offsetof(struct rep_msg, node); at += 8) {
		_cleanup_(buf_deinit) struct buf out = BUF_NULL;
		struct rep_msg m = { .type = REP_MSG_ACK, .epoch = 1 }, back;
		struct frame f;

		*(uint64_t *)((char *)&m + at) = 0x1122334455667788;
		ck_assert_int_eq(peer_replica_encode(&out, &m), 0);
		ck_assert_uint_eq(buf_len(&out), 16 + 6 + 16);
		ck_assert_int_eq(frame_next((struct bytes){ buf_head(&out), buf_len(&out) }, 1000, &f), 0);
		ck_assert_int_eq(peer_replica_decode(f.payload, SEED, &scratch, &back), 0);
		ck_assert_mem_eq(&back, &m, sizeof m);
	}
}
END_TEST

START_TEST(replica_that_makes_no_sense)
{
	_cleanup_(buf_deinit) struct buf out = BUF_NULL;
	struct rep_msg m[7];

	for (size_t i = 0; i < ARRAY_SIZE(m); i++)
		m[i] = replica(REP_MSG_ACK);
	m[0].type = (enum rep_msg_type)0;
	m[1].type = (enum rep_msg_type)(REP_MSG_FETCHED + 1);
	m[2].flags = REP_F_HEARS;      /* not an ACK's */
	m[3].epoch = 0;
	m[4].history = history;        /* not an ACK's */
	m[4].n_history = 1;
	strcpy(m[5].node, "not a name");
	m[6].type = REP_MSG_RECORDS;   /* records, but no pieces */
	m[6].n_recs = 1;
	for (size_t i = 0; i < ARRAY_SIZE(m); i++)
		ck_assert_int_eq(peer_replica_encode(&out, &m[i]), -EINVAL);
	m[6].n_recs = REP_BATCH_MAX + 1;
	ck_assert_int_eq(peer_records_encode(&out, &m[6], &(struct bytes){ (const uint8_t *)"", 1 }, 1), -EINVAL);
	ck_assert_uint_eq(buf_len(&out), 0);
}
END_TEST

START_TEST(replica_hostile)
{
	/* type, flags, mask, then what the mask says */
	static const struct {
		const char *bytes;
		size_t n;
		int result;
	} cases[] = {
		{ "\12\0\0\0\0\0", 6, 0 },                                /* LOOK, nothing */
		{ "\12\0\0\0\0\0\0", 7, PEER_E_MALFORMED },
		{ "\12\0\0\200\0\0", 6, PEER_E_MALFORMED },               /* a field that is none */
		{ "\12\0\1\0\0\0\0\0\0\0\0\0\0\0", 14, PEER_E_MALFORMED }, /* a field that is there and 0 */
		{ "\12\0\0\0\0\40\0", 7, PEER_E_MALFORMED },              /* an empty node name that is there */
		{ "\0\0\0\0\0\0", 6, PEER_E_FIELDS },
		{ "\377\0\0\0\0\0", 6, PEER_E_FIELDS },
		{ "\12\1\0\0\0\0", 6, PEER_E_FIELDS },                    /* a flag of another type */
		{ "\5\0\0\0\0\0", 6, PEER_E_FIELDS },                     /* ACK without epoch */
		{ "\12\0\0\0\0\200\1\0\0\0", 10, PEER_E_FIELDS },         /* LOOK with records */
		{ "\12\0\0\0\0\100\1\0\0\0", 10, PEER_E_FIELDS },         /* LOOK with history */
		{ "\1\0\1\0\0\100\1\0\0\0\0\0\0\0\377\377\377\377", 18, PEER_E_MALFORMED }, /* 2^32 - 1 stretches */
		{ "\1\0\1\0\0\100\1\0\0\0\0\0\0\0\0\0\0\0", 18, PEER_E_MALFORMED },         /* no stretch */
		{ "\3\0\1\0\0\200\1\0\0\0\0\0\0\0\377\377\377\377", 18, PEER_E_TOO_MANY },
		{ "\3\0\1\0\0\200\1\0\0\0\0\0\0\0\0\0\0\0", 18, PEER_E_MALFORMED },
		{ "\3\0\1\0\0\200\1\0\0\0\0\0\0\0\1\0\0\0", 18, PEER_E_RECORD },
	};
	struct rep_msg back;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct bytes p = { (const uint8_t *)cases[i].bytes, cases[i].n };

		ck_assert_msg(peer_replica_decode(p, SEED, &scratch, &back) == cases[i].result, "case %zu", i);
	}
}
END_TEST

START_TEST(history_must_rise)
{
	static const struct {
		struct rep_stretch s[2];
		int result;
	} cases[] = {
		{ { { 1, 1 }, { 2, 2 } }, 0 },
		{ { { 1, 1 }, { 1, 2 } }, PEER_E_ORDER },
		{ { { 1, 2 }, { 2, 2 } }, PEER_E_ORDER },
		{ { { 1, 2 }, { 2, 1 } }, PEER_E_ORDER },
		{ { { 0, 1 }, { 2, 2 } }, PEER_E_MALFORMED },
		{ { { 1, 0 }, { 2, 2 } }, PEER_E_MALFORMED },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(buf_deinit) struct buf out = BUF_NULL;
		struct rep_msg m = { .type = REP_MSG_LEAD, .epoch = 5, .history = cases[i].s, .n_history = 2 }, back;
		struct peer_scratch small = scratch;
		struct frame f;

		ck_assert_int_eq(peer_replica_encode(&out, &m), 0);
		ck_assert_int_eq(frame_next((struct bytes){ buf_head(&out), buf_len(&out) }, 1000, &f), 0);
		ck_assert_int_eq(peer_replica_decode(f.payload, SEED, &scratch, &back), cases[i].result);
		small.history_max = 1;
		ck_assert_int_eq(peer_replica_decode(f.payload, SEED, &small, &back), PEER_E_TOO_MANY);
	}
}
END_TEST

START_TEST(records_round_trip)
{
	_cleanup_(buf_deinit) struct buf out = BUF_NULL, records = BUF_NULL;
	struct frame f = frame_of(&out, 4);
	struct rec_body body;
	struct rep_msg back;
	size_t at = 0;

	make_records(&records, 50, 3);
	ck_assert_int_eq(peer_replica_decode(f.payload, SEED, &scratch, &back), 0);
	ck_assert(back.type == REP_MSG_RECORDS && back.epoch == 3 && back.run == 4);
	ck_assert_uint_eq(back.n_recs, 3);
	ck_assert_ptr_eq(back.recs, recs);
	for (uint32_t i = 0; i < 3; i++) {
		struct peer_view *v = &views[i];

		ck_assert_uint_eq(v->h.seq, 50 + i);
		ck_assert_mem_eq(v->header.p, buf_head(&records) + at, REC_HEADER_BYTES);
		ck_assert_mem_eq(v->body.p, buf_head(&records) + at + REC_HEADER_BYTES, v->body.len);
		at += REC_HEADER_BYTES + v->body.len;
		ck_assert(recs[i].seq == 50 + i && recs[i].epoch == 3 && recs[i].log_time_ns == 100 + i);
		ck_assert_uint_eq(recs[i].bytes, REC_HEADER_BYTES + v->body.len);
		ck_assert_int_eq(rec_body_decode(v->body, &body), 0);
		struct rec_ident ident = rec_identify(&body, SEED);
		ck_assert(hash128_eq(ident.key, recs[i].ident.key) && recs[i].ident.n == i + 1);
		ck_assert(recs[i].ident.kind == REC_ID_SEQ && recs[i].ident.payload == ident.payload);
	}
	ck_assert_uint_eq(at, buf_len(&records));
}
END_TEST

/* Records that are whole each, but do not belong together. */
START_TEST(records_out_of_order)
{
	_cleanup_(buf_deinit) struct buf three = BUF_NULL, other = BUF_NULL;
	size_t one;
	struct rep_msg m = { .type = REP_MSG_RECORDS, .epoch = 3, .n_recs = 2 }, back;
	struct peer_scratch small = scratch;

	make_records(&three, 50, 3);
	make_records(&other, 51, 1);
	one = buf_len(&other);
	ck_assert_uint_eq(buf_len(&three), 3 * one);
	const uint8_t *p = buf_head(&three);
	const struct {
		struct bytes a, b;
		int result;
	} cases[] = {
		{ { p, one }, { p + one, one }, 0 },
		{ { p, one }, { p + 2 * one, one }, PEER_E_ORDER },
		{ { p + one, one }, { p, one }, PEER_E_ORDER },
		{ { p, one }, { p, one }, PEER_E_ORDER },
		{ { p, one }, { buf_head(&other), one }, PEER_E_CHAIN }, /* the next number, of another log */
		{ { p, one }, { p + one, one - 1 }, PEER_E_RECORD },
	};

	small.recs_max = 1;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_(buf_deinit) struct buf out = BUF_NULL;
		const struct bytes pieces[] = { cases[i].a, cases[i].b };
		struct frame f;

		ck_assert_int_eq(peer_records_encode(&out, &m, pieces, 2), 0);
		ck_assert_int_eq(frame_next((struct bytes){ buf_head(&out), buf_len(&out) }, 10000, &f), 0);
		ck_assert_int_eq(peer_replica_decode(f.payload, SEED, &scratch, &back), cases[i].result);
		ck_assert_int_eq(peer_replica_decode(f.payload, SEED, &small, &back), PEER_E_TOO_MANY);
	}
}
END_TEST

/* A header whose body was taken from another record, both whole by themselves. */
START_TEST(records_with_foreign_bodies)
{
	_cleanup_(buf_deinit) struct buf two = BUF_NULL;

	make_records(&two, 50, 2);
	size_t one = buf_len(&two) / 2;
	const struct bytes pieces[] = { { buf_head(&two), REC_HEADER_BYTES },
		{ buf_head(&two) + one + REC_HEADER_BYTES, one - REC_HEADER_BYTES } };
	const struct rep_msg m = { .type = REP_MSG_RECORDS, .epoch = 3, .n_recs = 1 };
	const struct peer_records data = { .status = PEER_ST_OK, .n = 1 };
	for (int i = 0; i < 2; i++) {
		_cleanup_(buf_deinit) struct buf out = BUF_NULL;
		struct peer_records back_data;
		struct rep_msg back;
		struct frame f;

		ck_assert_int_eq(i ? peer_records_data_encode(&out, &data, pieces, 2) :
				     peer_records_encode(&out, &m, pieces, 2), 0);
		ck_assert_int_eq(frame_next((struct bytes){ buf_head(&out), buf_len(&out) }, 10000, &f), 0);
		ck_assert_int_eq(i ? peer_records_data_decode(f.payload, views, 16, &back_data) :
				     peer_replica_decode(f.payload, SEED, &scratch, &back), PEER_E_RECORD);
	}
}
END_TEST

/* A bit that flips inside a record is found even where the frame's checksum was made after it. */
START_TEST(records_flipped_bits)
{
	_cleanup_(buf_deinit) struct buf out = BUF_NULL;
	struct frame f = frame_of(&out, 4);
	size_t start = 6 + 8 + 8 + 4;
	uint8_t *p = buf_head(&out) + FRAME_HEADER_BYTES;
	struct rep_msg back;

	for (size_t bit = 8 * start; bit < 8 * f.payload.len; bit++) {
		p[bit / 8] ^= (uint8_t)(1 << bit % 8);
		ck_assert_int_eq(peer_replica_decode(f.payload, SEED, &scratch, &back), PEER_E_RECORD);
		p[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}
END_TEST

/* ------------------------------------------------------------------------------------------------------ data path */

START_TEST(data_round_trips)
{
	_cleanup_(buf_deinit) struct buf out = BUF_NULL;
	struct peer_submit submit;
	struct peer_status st;
	struct peer_read rd;
	struct peer_info info;
	struct peer_info_data info_data;
	struct peer_admin admin;
	struct peer_admin_data admin_data;
	struct peer_result r;
	struct frame f;
	struct cur c;
	uint64_t token;

	f = frame_of(&out, 5);
	ck_assert_int_eq(peer_submit_decode(f.payload, &submit), 0);
	ck_assert(submit.token == 77 && submit.body.len == REC_BODY_BYTES_MIN && submit.body.p[2] == 3);
	buf_consume(&out, f.bytes);
	f = frame_of(&out, 6);
	ck_assert_int_eq(peer_results_decode(f.payload, &c), 0);
	for (size_t i = 0; i < ARRAY_SIZE(results); i++) {
		ck_assert(peer_result_next(&c, &r));
		ck_assert(r.token == results[i].token && r.status == results[i].status && r.seq == results[i].seq &&
			r.epoch == results[i].epoch && r.count == results[i].count);
	}
	ck_assert(!peer_result_next(&c, &r));
	buf_consume(&out, f.bytes);
	f = frame_of(&out, 7);
	ck_assert_int_eq(peer_status_decode(f.payload, &st), 0);
	ck_assert_str_eq(st.leader, status.leader);
	ck_assert_str_eq(st.leader_address, status.leader_address);
	ck_assert(st.role == status.role && st.epoch == 7 && st.commit == 5 && st.log_start == 2 && st.log_end == 6);
	ck_assert(st.serving && !st.holding && st.n_insync == 3 && st.min_insync == 2);
	buf_consume(&out, f.bytes);
	f = frame_of(&out, 8);
	ck_assert_int_eq(peer_read_decode(f.payload, &rd), 0);
	ck_assert(rd.token == 9 && rd.from == 1 && rd.to == UINT64_MAX && rd.count_max == REP_BATCH_MAX);
	ck_assert(rd.bytes_max == 1 << 20 && rd.reverse);
	buf_consume(&out, f.bytes);
	f = frame_of(&out, 10);
	ck_assert_int_eq(peer_info_decode(f.payload, &info), 0);
	ck_assert(info.token == 5 && info.what == PEER_INFO_NODE);
	buf_consume(&out, f.bytes);
	f = frame_of(&out, 11);
	ck_assert_int_eq(peer_info_data_decode(f.payload, &info_data), 0);
	ck_assert(info_data.token == 5 && info_data.json.len == 7 && memcmp(info_data.json.p, "{\"a\":1}", 7) == 0);
	buf_consume(&out, f.bytes);
	f = frame_of(&out, 12);
	ck_assert_int_eq(peer_ping_decode(f.payload, &token), 0);
	ck_assert_uint_eq(token, 6);
	buf_consume(&out, f.bytes);
	f = frame_of(&out, 13);
	ck_assert_int_eq(peer_admin_decode(f.payload, &admin), 0);
	ck_assert(admin.token == 7 && admin.argc == 3 && admin.argv[1].len == 0 && admin.argv[2].len == 2);
	ck_assert_mem_eq(admin.argv[0].p, "switchover", 10);
	buf_consume(&out, f.bytes);
	f = frame_of(&out, 14);
	ck_assert_int_eq(peer_admin_data_decode(f.payload, &admin_data), 0);
	ck_assert(admin_data.token == 7 && admin_data.ok && admin_data.text.len == 4);
}
END_TEST

START_TEST(data_that_makes_no_sense)
{
	_cleanup_(buf_deinit) struct buf out = BUF_NULL;
	struct peer_admin *admin = calloc(1, sizeof *admin);
	struct peer_status st = status;
	struct peer_read rd = read_msg;
	struct peer_result r = results[0];
	struct bytes piece = str("x");

	ck_assert_int_eq(peer_submit_encode(&out, &(struct peer_submit){ 1, str("short") }), -EINVAL);
	ck_assert_int_eq(peer_results_encode(&out, &r, 0), -EINVAL);
	r.status = (enum peer_status_code)0;
	ck_assert_int_eq(peer_results_encode(&out, &r, 1), -EINVAL);
	r.status = (enum peer_status_code)(PEER_ST_DAMAGED + 1);
	ck_assert_int_eq(peer_results_encode(&out, &r, 1), -EINVAL);
	r.status = PEER_ST_OK;
	r.count = 0;
	ck_assert_int_eq(peer_results_encode(&out, &r, 1), -EINVAL);
	r.count = 2;
	r.token = UINT64_MAX;
	ck_assert_int_eq(peer_results_encode(&out, &r, 1), -EINVAL);
	r.token = 1;
	r.seq = UINT64_MAX;
	ck_assert_int_eq(peer_results_encode(&out, &r, 1), -EINVAL);
	st.role = (enum peer_role)(PEER_ROLE_HALTED + 1);
	ck_assert_int_eq(peer_status_encode(&out, &st), -EINVAL);
	rd.from = 2;
	rd.to = 1;
	ck_assert_int_eq(peer_read_encode(&out, &rd), -EINVAL);
	rd = read_msg;
	rd.count_max = 0;
	ck_assert_int_eq(peer_read_encode(&out, &rd), -EINVAL);
	rd.count_max = REP_BATCH_MAX + 1;
	ck_assert_int_eq(peer_read_encode(&out, &rd), -EINVAL);
	ck_assert_int_eq(peer_records_data_encode(&out,
		&(struct peer_records){ .status = PEER_ST_GONE, .n = 1 }, &piece, 1), -EINVAL);
	ck_assert_int_eq(peer_records_data_encode(&out,
		&(struct peer_records){ .status = PEER_ST_OK, .n = 1 }, NULL, 0), -EINVAL);
	ck_assert_int_eq(peer_info_encode(&out, &(struct peer_info){ 1, (enum peer_info_what)0 }), -EINVAL);
	ck_assert_int_eq(peer_ping_encode(&out, PEER_HELLO, 1), -EINVAL);
	ck_assert_int_eq(peer_admin_encode(&out, admin), -EINVAL);
	admin->argc = PEER_ADMIN_ARGS_MAX + 1;
	ck_assert_int_eq(peer_admin_encode(&out, admin), -EINVAL);
	admin->argc = PEER_ADMIN_ARGS_MAX;
	ck_assert_int_eq(peer_admin_encode(&out, admin), 0);
	free(admin);
}
END_TEST

START_TEST(answers_in_a_row_are_one)
{
	struct peer_result run = { 7, PEER_ST_OK, 100, 3, 1 };
	const struct peer_result next = { 8, PEER_ST_OK, 101, 3, 1 };
	struct peer_result others[] = { next, next, next, next, next };
	_cleanup_(buf_deinit) struct buf out = BUF_NULL;
	struct frame f;
	struct cur c;

	others[0].token = 9;
	others[1].status = PEER_ST_KNOWN;
	others[2].seq = 102;
	others[3].epoch = 4;
	others[4].count = 2;
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		ck_assert(!peer_result_extend(&run, &others[i]));
	ck_assert(peer_result_extend(&run, &next) && run.count == 2 && !peer_result_extend(&run, &next));
	run.count = PEER_RESULTS_MAX;
	ck_assert_int_eq(peer_results_encode(&out, &run, 1), 0);
	ck_assert_int_eq(frame_next((struct bytes){ buf_head(&out), buf_len(&out) }, UINT32_MAX, &f), 0);
	ck_assert_int_eq(peer_results_decode(f.payload, &c), 0);
	buf_consume(&out, f.bytes);
	run.count++;
	ck_assert_int_eq(peer_results_encode(&out, &run, 1), 0);
	ck_assert_int_eq(frame_next((struct bytes){ buf_head(&out), buf_len(&out) }, UINT32_MAX, &f), 0);
	ck_assert_int_eq(peer_results_decode(f.payload, &c), PEER_E_MALFORMED);
}
END_TEST

START_TEST(records_data_both_ways)
{
	_cleanup_(buf_deinit) struct buf two = BUF_NULL;
	struct peer_records m = { .token = 4, .status = PEER_ST_OK, .more = true, .n = 2 }, back;

	make_records(&two, 8, 2);
	size_t one = buf_len(&two) / 2;
	const struct bytes a = { buf_head(&two), one }, b = { buf_head(&two) + one, one };
	for (int reverse = 0; reverse < 2; reverse++) {
		for (int swap = 0; swap < 2; swap++) {
			_cleanup_(buf_deinit) struct buf out = BUF_NULL;
			const struct bytes pieces[] = { swap ? b : a, swap ? a : b };
			struct frame f;

			m.reverse = reverse;
			ck_assert_int_eq(peer_records_data_encode(&out, &m, pieces, 2), 0);
			ck_assert_int_eq(frame_next((struct bytes){ buf_head(&out), buf_len(&out) }, 10000, &f), 0);
			ck_assert_int_eq(peer_records_data_decode(f.payload, views, 1, &back), PEER_E_TOO_MANY);
			ck_assert_int_eq(peer_records_data_decode(f.payload, views, 2, &back),
				swap == reverse ? 0 : PEER_E_ORDER);
			if (swap != reverse)
				continue;
			ck_assert(back.token == 4 && back.more && back.reverse == reverse && back.n == 2);
			ck_assert_uint_eq(views[0].h.seq, reverse ? 9 : 8);
			ck_assert_uint_eq(views[1].h.seq, reverse ? 8 : 9);
		}
	}
}
END_TEST

START_TEST(every_name_is_there)
{
	for (int e = PEER_E_MALFORMED; e <= PEER_E_TOO_MANY; e++)
		ck_assert_str_ne(peer_strerror(e), "unknown error");
	for (uint8_t t = PEER_HELLO; t <= PEER_ADMIN_DATA; t++)
		ck_assert_str_ne(peer_type_name(t), "?");
	for (int st = PEER_ST_OK; st <= PEER_ST_DAMAGED; st++)
		ck_assert_str_ne(peer_status_code_name((enum peer_status_code)st), "?");
	for (int r = PEER_ROLE_NONE; r <= PEER_ROLE_HALTED; r++)
		ck_assert_str_ne(peer_role_name((enum peer_role)r), "?");
	ck_assert_str_eq(peer_type_name(0), "?");
	ck_assert_str_eq(peer_type_name(200), "?");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("peer");
	TCase *t = tcase_create("peer");
	SRunner *sr = srunner_create(s);
	int n = (int)ARRAY_SIZE(messages), failed;

	suite_add_tcase(s, t);
	tcase_set_timeout(t, 120);
	tcase_add_loop_test(t, every_message_cut_or_stretched, 0, n);
	tcase_add_loop_test(t, every_message_with_any_byte_changed, 0, n);
	tcase_add_loop_test(t, every_message_mutated_at_random, 0, n);
	tcase_add_test(t, every_message_needs_room);
	tcase_add_test(t, hello_round_trip);
	tcase_add_test(t, hello_of_another_version);
	tcase_add_test(t, hello_that_makes_no_sense);
	tcase_add_test(t, hello_with_strings_at_their_bound);
	tcase_add_test(t, reject_round_trip);
	tcase_add_loop_test(t, replica_round_trip, REP_MSG_LEAD, REP_MSG_FETCHED + 1);
	tcase_add_test(t, replica_single_fields);
	tcase_add_test(t, replica_that_makes_no_sense);
	tcase_add_test(t, replica_hostile);
	tcase_add_test(t, history_must_rise);
	tcase_add_test(t, records_round_trip);
	tcase_add_test(t, records_out_of_order);
	tcase_add_test(t, records_with_foreign_bodies);
	tcase_add_test(t, records_flipped_bits);
	tcase_add_test(t, data_round_trips);
	tcase_add_test(t, data_that_makes_no_sense);
	tcase_add_test(t, records_data_both_ways);
	tcase_add_test(t, answers_in_a_row_are_one);
	tcase_add_test(t, every_name_is_there);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

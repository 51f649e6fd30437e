/*
 * The peer protocol: preface and frames, every message of peer.h and peer_data.h, record bodies. Invariants: what is
 * decoded is encoded to the bytes that came (the coding has one form only); of a frame's beginnings each says "more" or
 * what the whole says.
 *
 * Byte 0: the type of the message that follows, or 0: frames; or above the types: a record's body. Byte 1: bit 0: the
 * checksums of records are made right, bit 1: those of frames.
 */
#include "fuzz.h"

#include <errno.h>

#include "seal.h"
#include "wire/peer_data.h"

#define SCRATCH_MAX 256
#define FRAME_MAX   (1u << 20)

static struct rep_stretch history[SCRATCH_MAX];
static struct rep_rec recs[SCRATCH_MAX];
static struct peer_view views[SCRATCH_MAX];

/* @frame: one frame that was just encoded, its payload perhaps cut short: the records of @m follow it as they came. */
static void same_frame(const struct buf *frame, uint8_t type, struct bytes payload)
{
	struct frame f;
	int r = frame_next((struct bytes){ buf_head(frame), buf_len(frame) }, FRAME_MAX, &f);

	must(r == 0 && f.type == type && f.bytes == buf_len(frame) && fuzz_same(f.payload, payload));
}

/* Both names of a message's decoder and encoder, and the round trip between them. */
#define ROUND_TRIP(name, type_)                                                                              \
	static void try_##name(struct bytes payload, struct buf *out)                                        \
	{                                                                                                    \
		struct peer_##name m;                                                                        \
		int r = peer_##name##_decode(payload, &m);                                                   \
                                                                                                             \
		if (r != 0) {                                                                                \
			must(r > 0 && peer_strerror(r));                                                     \
			return;                                                                              \
		}                                                                                            \
		r = peer_##name##_encode(out, &m);                                                           \
		must(r == 0);                                                                                \
		same_frame(out, type_, payload);                                                             \
	}

ROUND_TRIP(reject, PEER_REJECT)
ROUND_TRIP(submit, PEER_SUBMIT)
ROUND_TRIP(status, PEER_STATUS)
ROUND_TRIP(read, PEER_READ)
ROUND_TRIP(info, PEER_INFO)
ROUND_TRIP(info_data, PEER_INFO_DATA)
ROUND_TRIP(admin, PEER_ADMIN)
ROUND_TRIP(admin_data, PEER_ADMIN_DATA)

static void try_hello(struct bytes payload, enum peer_type type, struct buf *out)
{
	struct peer_hello m;
	int r = peer_hello_decode(payload, type, &m);

	if (r != 0)
		return;
	r = peer_hello_encode(out, type, &m);
	must(r == 0);
	same_frame(out, (uint8_t)type, payload);
}

static void try_ping(struct bytes payload, enum peer_type type, struct buf *out)
{
	uint64_t token;
	int r = peer_ping_decode(payload, &token);

	if (r != 0)
		return;
	r = peer_ping_encode(out, type, token);
	must(r == 0);
	same_frame(out, (uint8_t)type, payload);
}

static void try_results(struct bytes payload, struct buf *out)
{
	struct peer_result all[SCRATCH_MAX];
	struct cur c;
	size_t n = 0;
	int r = peer_results_decode(payload, &c);

	if (r != 0)
		return;
	while (n < SCRATCH_MAX && peer_result_next(&c, &all[n])) {
		must(peer_status_code_name(all[n].status));
		n++;
	}
	must(n > 0);
	if (n == SCRATCH_MAX)
		return;
	r = peer_results_encode(out, all, n);
	must(r == 0);
	same_frame(out, PEER_RESULT, payload);
}

static void records_good(const struct rep_msg *m)
{
	for (uint32_t i = 0; i < m->n_recs; i++) {
		must(rec_body_matches(&views[i].h, views[i].body) && recs[i].seq == views[i].h.seq);
		must(recs[i].bytes == REC_HEADER_BYTES + views[i].body.len);
		must(i == 0 || rec_chain_follows(&views[i].h, views[i - 1].h.chain));
	}
}

static void try_replica(struct bytes payload, struct buf *out)
{
	const struct peer_scratch scratch = { history, SCRATCH_MAX, recs, views, SCRATCH_MAX };
	struct rep_msg m;
	struct bytes piece = { 0 };
	int r = peer_replica_decode(payload, 7, &scratch, &m);

	if (r != 0) {
		must(r > 0 && peer_strerror(r));
		return;
	}
	records_good(&m);
	if (m.n_recs > 0)
		piece = (struct bytes){ views[0].header.p, (size_t)(payload.p + payload.len - views[0].header.p) };
	r = m.n_recs ? peer_records_encode(out, &m, &piece, 1) : peer_replica_encode(out, &m);
	must(r == 0);
	same_frame(out, PEER_REPLICA, payload);
}

static void try_records_data(struct bytes payload, struct buf *out)
{
	struct peer_records m;
	struct bytes piece = { 0 };
	int r = peer_records_data_decode(payload, views, SCRATCH_MAX, &m);

	if (r != 0)
		return;
	must(m.n <= SCRATCH_MAX);
	for (uint32_t i = 0; i < m.n; i++) {
		must(rec_body_matches(&views[i].h, views[i].body));
		must(i == 0 || views[i].h.seq == (m.reverse ? views[i - 1].h.seq - 1 : views[i - 1].h.seq + 1));
	}
	if (m.n > 0)
		piece = (struct bytes){ views[0].header.p, (size_t)(payload.p + payload.len - views[0].header.p) };
	r = peer_records_data_encode(out, &m, &piece, m.n > 0);
	must(r == 0);
	same_frame(out, PEER_RECORDS_DATA, payload);
}

static void try_body(struct bytes in, struct buf *out)
{
	struct bytes pairs[2 * SCRATCH_MAX];
	struct rec_body b;
	struct rec_ident ident;
	struct cur c;
	uint32_t n = 0;
	leash_id session = 0;
	int r = rec_body_decode(in, &b);

	if (r != 0)
		return;
	c = cur_of(b.pairs.p, b.pairs.len);
	while (n < SCRATCH_MAX && rec_pair_next(&c, &pairs[2 * n], &pairs[2 * n + 1]))
		n++;
	if (n == SCRATCH_MAX)
		return;
	must(n == b.n_pairs && cur_left(&c) == 0);
	ident = rec_identify(&b, 7);
	if (b.id_kind == REC_ID_SESSION)
		session = ident.owner;
	r = rec_body_encode(out, &b, session, pairs, n);
	must(r == 0);
	/* An auto id that came may be any; the one that is written is right. */
	must(b.id_kind == REC_ID_AUTO || fuzz_same(in, (struct bytes){ buf_head(out), buf_len(out) }));
}

static void try_message(uint8_t type, struct bytes payload)
{
	struct buf out = BUF_NULL;

	switch ((enum peer_type)type) {
	case PEER_HELLO:
	case PEER_WELCOME:
		try_hello(payload, (enum peer_type)type, &out);
		break;
	case PEER_REJECT:
		try_reject(payload, &out);
		break;
	case PEER_REPLICA:
		try_replica(payload, &out);
		break;
	case PEER_SUBMIT:
		try_submit(payload, &out);
		break;
	case PEER_RESULT:
		try_results(payload, &out);
		break;
	case PEER_STATUS:
		try_status(payload, &out);
		break;
	case PEER_READ:
		try_read(payload, &out);
		break;
	case PEER_RECORDS_DATA:
		try_records_data(payload, &out);
		break;
	case PEER_INFO:
		try_info(payload, &out);
		break;
	case PEER_INFO_DATA:
		try_info_data(payload, &out);
		break;
	case PEER_PING:
	case PEER_PONG:
		try_ping(payload, (enum peer_type)type, &out);
		break;
	case PEER_ADMIN:
		try_admin(payload, &out);
		break;
	case PEER_ADMIN_DATA:
		try_admin_data(payload, &out);
		break;
	}
	if (type > PEER_ADMIN_DATA)
		try_body(payload, &out);
	must(peer_type_name(type));
	buf_deinit(&out);
}

/* Makes the checks of the frames in @p right, as far as their lengths let them follow each other. */
static void seal_frames(uint8_t *p, size_t len)
{
	while (len >= FRAME_HEADER_BYTES) {
		struct cur c = cur_of(p, len);
		size_t n = cur_u32le(&c);
		struct enc check = enc_of(p + 6, 2);
		uint8_t *whole;

		enc_u16le(&check, (uint16_t)hash_64(p, 6, 0));
		if (n > len - FRAME_HEADER_BYTES)
			return;
		whole = fuzz_copy(p, 8 + n);
		memcpy(whole + 8, p + FRAME_HEADER_BYTES, n);
		fuzz_u64le(p + 8, hash_64(whole, 8 + n, 0));
		free(whole);
		p += FRAME_HEADER_BYTES + n;
		len -= FRAME_HEADER_BYTES + n;
	}
}

static void try_frames(struct bytes in)
{
	struct frame f, g;
	size_t len;
	int r, q;

	(void)frame_preface_check(in);
	do {
		r = frame_next(in, FRAME_MAX, &f);
		must(r >= 0 && r <= FRAME_E_CHECKSUM);
		len = r == 0 ? f.bytes : in.len;
		for (size_t n = 0; n < len; n += 1 + n / 8) {
			q = frame_next((struct bytes){ in.p, n }, FRAME_MAX, &g);
			must(q == FRAME_MORE || (q == r && r != 0));
		}
		if (r != 0) {
			must(r == FRAME_MORE || frame_strerror(r));
			return;
		}
		must(f.bytes <= in.len && f.payload.len == f.bytes - FRAME_HEADER_BYTES);
		try_message(f.type, f.payload);
		in = (struct bytes){ in.p + f.bytes, in.len - f.bytes };
	} while (in.len > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	uint8_t type, *copy;

	if (len < 2)
		return 0;
	type = data[0] % 17;
	copy = fuzz_copy(data + 2, len - 2);
	if (data[1] & 1)
		seal_records(copy, len - 2);
	if ((data[1] & 1) && type == 16)
		seal_body(copy, len - 2);
	if (type == 0 && (data[1] & 2))
		seal_frames(copy, len - 2);
	if (type == 0)
		try_frames((struct bytes){ copy, len - 2 });
	else
		try_message(type, (struct bytes){ copy, len - 2 });
	free(copy);
	return 0;
}

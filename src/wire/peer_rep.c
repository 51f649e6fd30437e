/*
 * REPLICA: one struct rep_msg.
 *
 *      0  u8   enum rep_msg_type
 *      1  u8   flags (REP_F_*)
 *      2  u32  which of the fields below follow, bit i = entry i of `fields`; a field that follows is not 0
 *      6  u64  each, in the order of the table
 *         str  node, if bit NODE_BIT
 *         u32  number of stretches, then per stretch u64 epoch, u64 first, if bit HISTORY_BIT
 *         u32  number of records, then the records up to the end, if bit RECS_BIT
 */
#include "wire/peer.h"

#include <errno.h>

#include "wire/peer_str.h"

static const size_t fields[] = {
	offsetof(struct rep_msg, epoch),
	offsetof(struct rep_msg, run),
	offsetof(struct rep_msg, conn),
	offsetof(struct rep_msg, cluster),
	offsetof(struct rep_msg, incarnation),
	offsetof(struct rep_msg, sender_run),
	offsetof(struct rep_msg, seq),
	offsetof(struct rep_msg, log_start),
	offsetof(struct rep_msg, log_end),
	offsetof(struct rep_msg, commit),
	offsetof(struct rep_msg, log_epoch),
	offsetof(struct rep_msg, log_time_ns),
	offsetof(struct rep_msg, lease),
	offsetof(struct rep_msg, chain.lo),
	offsetof(struct rep_msg, chain.hi),
};
#define N_FIELDS    ((unsigned)ARRAY_SIZE(fields))
#define NODE_BIT    (1u << 29)
#define HISTORY_BIT (1u << 30)
#define RECS_BIT    (1u << 31)

/* A field added to struct rep_msg must be added to `fields`: all but type, flags, node, history and recs are u64. */
_Static_assert(sizeof(struct rep_msg) ==
		2 * 4 + 8 * ARRAY_SIZE(fields) + LEASH_NAME_MAX + 1 + 4 * sizeof(void *),
	"struct rep_msg has changed");

/* What each type carries besides numbers, which flags, and whether it makes sense without an epoch. */
static const struct {
	bool known, epoch;
	uint32_t flags;
	uint32_t parts; /* of NODE_BIT, HISTORY_BIT, RECS_BIT: may be there */
} types[] = {
	[REP_MSG_LEAD] = { true, true, REP_F_HOLDING | REP_F_SERVING, NODE_BIT | HISTORY_BIT },
	[REP_MSG_JOINED] = { true, true, 0, NODE_BIT | HISTORY_BIT },
	[REP_MSG_RECORDS] = { true, true, REP_F_HOLDING | REP_F_SERVING, NODE_BIT | RECS_BIT },
	[REP_MSG_BEAT] = { true, true, REP_F_HOLDING | REP_F_SERVING, NODE_BIT },
	[REP_MSG_ACK] = { true, true, 0, NODE_BIT },
	[REP_MSG_REFUSE] = { true, true, 0, NODE_BIT },
	[REP_MSG_ASK] = { true, false, 0, NODE_BIT },
	[REP_MSG_HEARS] = { true, false, REP_F_HEARS | REP_F_MOVES, NODE_BIT },
	[REP_MSG_RELAY] = { true, true, 0, NODE_BIT },
	[REP_MSG_LOOK] = { true, false, 0, NODE_BIT },
	[REP_MSG_RESET] = { true, true, REP_F_HOLDING | REP_F_SERVING, NODE_BIT | HISTORY_BIT },
	[REP_MSG_DAMAGED] = { true, true, REP_F_HOLDING | REP_F_SERVING, NODE_BIT },
	[REP_MSG_FETCH] = { true, false, 0, NODE_BIT },
	[REP_MSG_FETCHED] = { true, false, 0, NODE_BIT | RECS_BIT },
};

static uint64_t *field_of(struct rep_msg *m, unsigned i)
{
	return (uint64_t *)((char *)m + fields[i]);
}

static uint64_t field_get(const struct rep_msg *m, unsigned i)
{
	return *(const uint64_t *)((const char *)m + fields[i]);
}

static uint32_t present(const struct rep_msg *m)
{
	uint32_t bits = 0;

	for (unsigned i = 0; i < N_FIELDS; i++)
		if (field_get(m, i))
			bits |= 1u << i;
	if (m->node[0])
		bits |= NODE_BIT;
	if (m->n_history)
		bits |= HISTORY_BIT;
	if (m->n_recs)
		bits |= RECS_BIT;
	return bits;
}

static bool fields_fit(const struct rep_msg *m)
{
	const uint32_t parts = NODE_BIT | HISTORY_BIT | RECS_BIT;

	if ((unsigned)m->type >= ARRAY_SIZE(types) || !types[m->type].known)
		return false;
	if ((m->flags & ~types[m->type].flags) || (types[m->type].epoch && m->epoch == 0))
		return false;
	return !(present(m) & parts & ~types[m->type].parts) && name_fits(m->node) &&
		m->n_history <= REP_HISTORY_MAX && m->n_recs <= REP_BATCH_MAX;
}

static void replica_write(struct enc *e, const struct rep_msg *m)
{
	uint32_t bits = present(m);

	enc_u8(e, (uint8_t)m->type);
	enc_u8(e, (uint8_t)m->flags);
	enc_u32le(e, bits);
	for (unsigned i = 0; i < N_FIELDS; i++)
		if (bits & 1u << i)
			enc_u64le(e, field_get(m, i));
	if (bits & NODE_BIT)
		enc_str(e, m->node);
	if (bits & HISTORY_BIT)
		enc_u32le(e, m->n_history);
	for (uint32_t i = 0; i < m->n_history; i++) {
		enc_u64le(e, m->history[i].epoch);
		enc_u64le(e, m->history[i].first);
	}
	if (bits & RECS_BIT)
		enc_u32le(e, m->n_recs);
}

int peer_records_encode(struct buf *out, const struct rep_msg *m, const struct bytes *pieces, size_t n_pieces)
{
	size_t size = pieces_bytes(pieces, n_pieces), covered;
	struct enc e;
	int r;

	if (!fields_fit(m) || (m->n_recs == 0) != (n_pieces == 0))
		return -EINVAL;
	size += 6 + 8 * N_FIELDS + 1 + LEASH_NAME_MAX + 4 + 16 * (size_t)m->n_history + 4;
	r = frame_open(out, size, &e);
	if (r < 0)
		return r;
	replica_write(&e, m);
	if (n_pieces == 0) {
		frame_close(out, &e, PEER_REPLICA);
		return 0;
	}
	covered = enc_len(&e);
	enc_pieces(&e, pieces, n_pieces);
	frame_close_covered(out, &e, PEER_REPLICA, covered); /* records have their own checksums */
	return 0;
}

int peer_replica_encode(struct buf *out, const struct rep_msg *m)
{
	return peer_records_encode(out, m, NULL, 0);
}

/* -------------------------------------------------------------------------------------------------------- decode */

static int history_read(struct cur *c, const struct peer_scratch *scratch, struct rep_msg *m)
{
	uint32_t n = cur_u32le(c);

	if (!cur_ok(c) || n == 0 || cur_left(c) / 16 < n)
		return PEER_E_MALFORMED;
	if (n > REP_HISTORY_MAX || n > scratch->history_max)
		return PEER_E_TOO_MANY;
	for (uint32_t i = 0; i < n; i++) {
		struct rep_stretch *s = &scratch->history[i];

		s->epoch = cur_u64le(c);
		s->first = cur_u64le(c);
		if (s->epoch == 0 || s->first == 0)
			return PEER_E_MALFORMED;
		if (i && (s->first <= s[-1].first || s->epoch <= s[-1].epoch))
			return PEER_E_ORDER;
	}
	m->history = scratch->history;
	m->n_history = n;
	return 0;
}

static int record_read(struct cur *c, leash_id seed, struct peer_view *v, struct rep_rec *rec)
{
	struct rec_body body;
	struct cur at = *c;

	/* As peer_view_next(), but the body's checksum is computed once, by rec_body_decode(). */
	v->header = cur_bytes(&at, REC_HEADER_BYTES);
	if (!cur_ok(&at) || rec_header_decode(v->header, &v->h) != 0)
		return PEER_E_RECORD;
	v->body = cur_bytes(&at, v->h.body_bytes);
	if (!cur_ok(&at) || rec_body_decode(v->body, &body) != 0 || rec_body_hash(v->body) != v->h.body_hash)
		return PEER_E_RECORD;
	*rec = (struct rep_rec){
		.seq = v->h.seq,
		.epoch = v->h.epoch,
		.log_time_ns = v->h.log_time_ns,
		.bytes = REC_HEADER_BYTES + v->h.body_bytes,
		.ident = rec_identify(&body, seed),
	};
	*c = at;
	return 0;
}

static int records_read(struct cur *c, leash_id seed, const struct peer_scratch *scratch, struct rep_msg *m)
{
	uint32_t n = cur_u32le(c);

	if (!cur_ok(c) || n == 0)
		return PEER_E_MALFORMED;
	if (n > REP_BATCH_MAX || n > scratch->recs_max)
		return PEER_E_TOO_MANY;
	for (uint32_t i = 0; i < n; i++) {
		struct peer_view *v = &scratch->views[i];
		int r = record_read(c, seed, v, &scratch->recs[i]);

		if (r)
			return r;
		if (i && v->h.seq != v[-1].h.seq + 1)
			return PEER_E_ORDER;
		if (i && !rec_bytes_follow(v->header.p, &v->h, v[-1].h.chain))
			return PEER_E_CHAIN;
	}
	m->recs = scratch->recs;
	m->n_recs = n;
	return 0;
}

int peer_replica_decode(struct bytes payload, leash_id seed, const struct peer_scratch *scratch,
	struct rep_msg *ret_m)
{
	struct cur c = cur_of(payload.p, payload.len);
	struct rep_msg m = { 0 };
	uint32_t bits;
	int r = 0;

	m.type = (enum rep_msg_type)cur_u8(&c);
	m.flags = cur_u8(&c);
	bits = cur_u32le(&c);
	if (!cur_ok(&c) || (bits & ~(NODE_BIT | HISTORY_BIT | RECS_BIT)) >> N_FIELDS)
		return PEER_E_MALFORMED;
	for (unsigned i = 0; i < N_FIELDS; i++)
		if (bits & 1u << i)
			*field_of(&m, i) = cur_u64le(&c);
	if (bits & NODE_BIT)
		cur_str(&c, m.node, LEASH_NAME_MAX);
	if (!cur_ok(&c))
		return PEER_E_MALFORMED;
	/* Only what the type may have is taken apart at all. */
	if (!fields_fit(&m) || (bits & (HISTORY_BIT | RECS_BIT) & ~types[m.type].parts))
		return PEER_E_FIELDS;
	if (bits & HISTORY_BIT)
		r = history_read(&c, scratch, &m);
	if (r == 0 && (bits & RECS_BIT))
		r = records_read(&c, seed, scratch, &m);
	if (r)
		return r;
	if (!cur_end(&c) || bits != present(&m))
		return PEER_E_MALFORMED;
	*ret_m = m;
	return 0;
}

#include "wire/record.h"

#include <errno.h>

#define REC_MAGIC          0x3143524cu /* "LRC1" */
#define REC_CHAINED_BYTES  48          /* what the chain covers of a header */
#define REC_CHECKED_BYTES  72          /* what the checksum covers of a header */
#define REC_BODY_VERSION   1
#define REC_BODY_FIXED     32          /* bytes of a body before the producer */
#define REC_SUM_BYTES      8

const char *rec_strerror(int rec_error)
{
	switch ((enum rec_error)rec_error) {
	case REC_E_SHORT:
		return "the record is cut short";
	case REC_E_MAGIC:
		return "no record begins here";
	case REC_E_CHECKSUM:
		return "the record's checksum is wrong";
	case REC_E_MALFORMED:
		return "the record's fields make no sense";
	}
	return "unknown error";
}

/* ------------------------------------------------------------------------------------------------------- header */

/* The bytes that the chain covers; a header goes on with chain, reserved and checksum. */
static struct enc header_start(const struct rec_header *h, uint8_t *out, size_t size)
{
	struct enc e = enc_of(out, size);

	enc_u32le(&e, REC_MAGIC);
	enc_u32le(&e, h->body_bytes);
	enc_u64le(&e, h->epoch);
	enc_u64le(&e, h->seq);
	enc_u64le(&e, h->log_time_ns);
	enc_u64le(&e, h->real_time_ns);
	enc_u64le(&e, h->body_hash);
	must(enc_len(&e) == REC_CHAINED_BYTES);
	return e;
}

/* @start: the first REC_CHAINED_BYTES of an encoded header. */
static struct leash_chain chain_of(const uint8_t *start, struct leash_chain prev)
{
	uint8_t in[16 + REC_CHAINED_BYTES];
	struct enc e = enc_of(in, sizeof in);
	struct hash128 sum;

	enc_u64le(&e, prev.lo);
	enc_u64le(&e, prev.hi);
	enc_bytes(&e, start, REC_CHAINED_BYTES);
	sum = hash_128(in, sizeof in, 0);
	return (struct leash_chain){ .lo = sum.lo, .hi = sum.hi };
}

static struct leash_chain chain_next(const struct rec_header *h, struct leash_chain prev)
{
	uint8_t start[REC_CHAINED_BYTES];

	(void)header_start(h, start, sizeof start);
	return chain_of(start, prev);
}

void rec_header_seal(struct rec_header *h, struct leash_chain prev)
{
	h->chain = chain_next(h, prev);
}

bool rec_chain_follows(const struct rec_header *h, struct leash_chain prev)
{
	return leash_chain_eq(h->chain, chain_next(h, prev));
}

bool rec_bytes_follow(const uint8_t header[REC_HEADER_BYTES], const struct rec_header *h, struct leash_chain prev)
{
	return leash_chain_eq(h->chain, chain_of(header, prev));
}

static void header_end(struct enc *e, const struct rec_header *h, const uint8_t *out)
{
	enc_u64le(e, h->chain.lo);
	enc_u64le(e, h->chain.hi);
	enc_u64le(e, 0);
	must(enc_len(e) == REC_CHECKED_BYTES);
	enc_u64le(e, hash_64(out, REC_CHECKED_BYTES, 0));
}

void rec_header_encode(const struct rec_header *h, uint8_t out[REC_HEADER_BYTES])
{
	struct enc e = header_start(h, out, REC_HEADER_BYTES);

	header_end(&e, h, out);
}

void rec_header_make(struct rec_header *h, struct leash_chain prev, uint8_t out[REC_HEADER_BYTES])
{
	struct enc e = header_start(h, out, REC_HEADER_BYTES);

	h->chain = chain_of(out, prev);
	header_end(&e, h, out);
}

int rec_header_decode(struct bytes in, struct rec_header *ret_h)
{
	struct rec_header h;
	uint64_t reserved, sum;
	uint32_t magic;
	struct cur c;

	if (in.len < REC_HEADER_BYTES)
		return REC_E_SHORT;
	c = cur_of(in.p, REC_HEADER_BYTES); /* a length that the compiler knows: it leaves out the checks */
	magic = cur_u32le(&c);
	h.body_bytes = cur_u32le(&c);
	h.epoch = cur_u64le(&c);
	h.seq = cur_u64le(&c);
	h.log_time_ns = cur_u64le(&c);
	h.real_time_ns = cur_u64le(&c);
	h.body_hash = cur_u64le(&c);
	h.chain.lo = cur_u64le(&c);
	h.chain.hi = cur_u64le(&c);
	reserved = cur_u64le(&c);
	sum = cur_u64le(&c);
	if (magic != REC_MAGIC)
		return REC_E_MAGIC;
	if (sum != hash_64(in.p, REC_CHECKED_BYTES, 0))
		return REC_E_CHECKSUM;
	if (reserved != 0 || h.seq == 0 || h.epoch == 0 || h.body_bytes < REC_BODY_BYTES_MIN ||
		h.body_bytes > REC_BODY_BYTES_MAX)
		return REC_E_MALFORMED;
	*ret_h = h;
	return 0;
}

/* --------------------------------------------------------------------------------------------------------- body */

/* The table in the header: which fields go with which kind. */
static bool body_fields_fit(const struct rec_body *b)
{
	size_t producer = b->producer.len, id = b->id.len;

	if ((b->flags & ~REC_F_OPEN) || b->n_pairs == 0)
		return false;
	if (b->id_kind != REC_ID_SESSION && (b->flags || b->birth))
		return false;
	switch (b->id_kind) {
	case REC_ID_NONE:
		return producer == 0 && id == 0 && b->n == 0;
	case REC_ID_OPAQUE:
		return producer > 0 && id > 0 && b->n == 0;
	case REC_ID_AUTO:
		return producer > 0 && id == REC_AUTO_ID_BYTES && b->n == 0;
	case REC_ID_SEQ:
		return producer > 0 && id == 0 && b->n > 0;
	case REC_ID_SESSION:
		return producer == sizeof(leash_id) && id == 0 && b->n > 0 &&
			(!(b->flags & REC_F_OPEN) || b->n == 1);
	}
	return false;
}

static leash_id session_of(struct bytes producer)
{
	struct cur c = cur_of(producer.p, producer.len);

	return cur_u64le(&c);
}

/* True when @pairs holds exactly @n pairs. */
static bool pairs_whole(struct bytes pairs, uint32_t n)
{
	struct cur c = cur_of(pairs.p, pairs.len);

	for (uint32_t i = 0; i < n && cur_ok(&c); i++) {
		(void)cur_bytes(&c, cur_u32le(&c));
		(void)cur_bytes(&c, cur_u32le(&c));
	}
	return cur_end(&c);
}

uint64_t rec_body_hash(struct bytes body)
{
	struct cur c;

	must(body.len >= REC_BODY_BYTES_MIN);
	c = cur_of(body.p + body.len - REC_SUM_BYTES, REC_SUM_BYTES);
	return cur_u64le(&c);
}

bool rec_body_whole(struct bytes body)
{
	return body.len >= REC_BODY_BYTES_MIN && rec_body_hash(body) == hash_64(body.p, body.len - REC_SUM_BYTES, 0);
}

bool rec_body_matches(const struct rec_header *h, struct bytes body)
{
	return body.len == h->body_bytes && rec_body_whole(body) && rec_body_hash(body) == h->body_hash;
}

int rec_body_decode(struct bytes body, struct rec_body *ret_body)
{
	struct rec_body b;
	uint32_t producer_bytes, id_bytes;
	uint8_t version, kind;
	struct cur c;

	if (body.len < REC_BODY_BYTES_MIN)
		return REC_E_SHORT;
	if (!rec_body_whole(body))
		return REC_E_CHECKSUM;
	b.sum = rec_body_hash(body);
	c = cur_of(body.p, REC_BODY_FIXED);
	version = cur_u8(&c);
	kind = cur_u8(&c);
	b.flags = cur_u16le(&c);
	b.n_pairs = cur_u32le(&c);
	b.n = cur_u64le(&c);
	b.birth = cur_u64le(&c);
	producer_bytes = cur_u32le(&c);
	id_bytes = cur_u32le(&c);
	c = cur_of(body.p + REC_BODY_FIXED, body.len - REC_BODY_FIXED - REC_SUM_BYTES);
	b.producer = cur_bytes(&c, producer_bytes);
	b.id = cur_bytes(&c, id_bytes);
	b.pairs = cur_bytes(&c, cur_left(&c));
	if (!cur_end(&c) || version != REC_BODY_VERSION || kind > REC_ID_SESSION)
		return REC_E_MALFORMED;
	b.id_kind = (enum rec_id_kind)kind;
	if (!body_fields_fit(&b) || !pairs_whole(b.pairs, b.n_pairs))
		return REC_E_MALFORMED;
	if (b.id_kind == REC_ID_SESSION && session_of(b.producer) == 0)
		return REC_E_MALFORMED;
	*ret_body = b;
	return 0;
}

bool rec_pair_next(struct cur *pairs, struct bytes *ret_name, struct bytes *ret_value)
{
	struct cur c = *pairs;
	struct bytes name = cur_bytes(&c, cur_u32le(&c));
	struct bytes value = cur_bytes(&c, cur_u32le(&c));

	if (!cur_ok(&c))
		return false;
	*pairs = c;
	*ret_name = name;
	*ret_value = value;
	return true;
}

/* Bytes of the body, or 0 when it would be too large. */
static size_t body_size(const struct rec_body *b, const struct bytes *pairs)
{
	uint64_t size = REC_BODY_FIXED + REC_SUM_BYTES;

	if (b->producer.len > REC_BODY_BYTES_MAX || b->id.len > REC_BODY_BYTES_MAX)
		return 0;
	size += b->producer.len + b->id.len;
	for (uint64_t i = 0; i < 2 * (uint64_t)b->n_pairs; i++) {
		if (pairs[i].len > REC_BODY_BYTES_MAX)
			return 0;
		size += 4 + pairs[i].len; /* at most 2^33 times 2^29 + 4: no overflow */
	}
	return size <= REC_BODY_BYTES_MAX ? (size_t)size : 0;
}

static void body_write(uint8_t *out, size_t size, const struct rec_body *b, const struct bytes *pairs)
{
	struct enc e = enc_of(out, size);

	enc_u8(&e, REC_BODY_VERSION);
	enc_u8(&e, (uint8_t)b->id_kind);
	enc_u16le(&e, b->flags);
	enc_u32le(&e, b->n_pairs);
	enc_u64le(&e, b->n);
	enc_u64le(&e, b->birth);
	enc_u32le(&e, (uint32_t)b->producer.len);
	enc_u32le(&e, (uint32_t)b->id.len);
	enc_bytes(&e, b->producer.p, b->producer.len);
	enc_bytes(&e, b->id.p, b->id.len);
	for (uint64_t i = 0; i < 2 * (uint64_t)b->n_pairs; i++) {
		enc_u32le(&e, (uint32_t)pairs[i].len);
		enc_bytes(&e, pairs[i].p, pairs[i].len);
	}
	enc_u64le(&e, hash_64(out, size - REC_SUM_BYTES, 0));
	must(enc_len(&e) == size);
}

int rec_body_encode(struct buf *out, const struct rec_body *b, leash_id session, const struct bytes *pairs,
	uint32_t n_pairs)
{
	struct rec_body full = *b;
	uint8_t own[REC_AUTO_ID_BYTES]; /* the session, or the auto id */
	struct enc e = enc_of(own, sizeof own);
	uint8_t *to;
	size_t size;

	if ((session != 0) != (b->id_kind == REC_ID_SESSION))
		return -EINVAL;
	full.n_pairs = n_pairs;
	if (b->id_kind == REC_ID_SESSION) {
		enc_u64le(&e, session);
		full.producer = (struct bytes){ own, sizeof session };
	} else if (b->id_kind == REC_ID_AUTO) {
		struct hash128 id = rec_auto_id(pairs, n_pairs);

		enc_u64le(&e, id.lo);
		enc_u64le(&e, id.hi);
		full.id = (struct bytes){ own, sizeof own };
	}
	if (!body_fields_fit(&full))
		return -EINVAL;
	size = body_size(&full, pairs);
	if (size == 0)
		return -EMSGSIZE;
	if (out->max && (size > out->max || buf_len(out) > out->max - size))
		return -ENOBUFS;
	to = buf_reserve(out, size);
	if (!to)
		return -ENOMEM;
	body_write(to, size, &full, pairs);
	buf_commit(out, size);
	return 0;
}

/* ----------------------------------------------------------------------------------------------------- identity */

/*
 * Hashes two strings, a number and a kind as one value. Each string is hashed by itself first, so that where one ends and the
 * next begins counts too.
 */
static struct hash128 hash_parts(struct bytes a, struct bytes b, uint64_t n, enum rec_id_kind kind, uint64_t seed)
{
	struct hash128 ha = hash_128(a.p, a.len, seed), hb = hash_128(b.p, b.len, seed);
	uint8_t in[41];
	struct enc e = enc_of(in, sizeof in);

	enc_u64le(&e, ha.lo);
	enc_u64le(&e, ha.hi);
	enc_u64le(&e, hb.lo);
	enc_u64le(&e, hb.hi);
	enc_u64le(&e, n);
	enc_u8(&e, (uint8_t)kind);
	return hash_128(in, sizeof in, seed);
}

struct hash128 rec_auto_id(const struct bytes *pairs, uint32_t n_pairs)
{
	struct hash128 sum = { 0 };
	uint8_t in[24];
	struct enc e = enc_of(in, sizeof in);

	for (uint64_t i = 0; i < n_pairs; i++) {
		struct hash128 h = hash_parts(pairs[2 * i], pairs[2 * i + 1], 0, REC_ID_AUTO, 0);

		sum.lo += h.lo;
		sum.hi += h.hi;
	}
	enc_u64le(&e, sum.lo);
	enc_u64le(&e, sum.hi);
	enc_u64le(&e, n_pairs);
	return hash_128(in, sizeof in, 0);
}

/* A session's id is random and its messages are sent again byte for byte, so nothing is left to be hashed. */
static struct rec_ident session_identity(const struct rec_body *b)
{
	struct rec_ident ident = { .kind = REC_ID_SESSION, .n = b->n, .payload = b->sum };

	ident.owner = session_of(b->producer);
	ident.key = (struct hash128){ .lo = ident.owner, .hi = b->n };
	ident.open = (b->flags & REC_F_OPEN) != 0;
	ident.birth = ident.open ? b->birth : 0;
	return ident;
}

struct rec_ident rec_identify(const struct rec_body *b, leash_id seed)
{
	struct rec_ident ident = { .kind = b->id_kind };
	uint64_t owner;

	if (b->id_kind == REC_ID_NONE)
		return ident;
	if (b->id_kind == REC_ID_SESSION)
		return session_identity(b);
	ident.key = hash_parts(b->producer, b->id, b->n, b->id_kind, seed);
	ident.n = b->n;
	ident.payload = hash_64(b->pairs.p, b->pairs.len, seed);
	if (b->id_kind == REC_ID_AUTO)
		ident.payload = ident.key.lo;
	if (b->id_kind == REC_ID_SEQ) {
		owner = hash_parts(b->producer, b->id, 0, REC_ID_SEQ, seed).lo;
		ident.owner = owner ? owner : 1; /* 0 means none */
	}
	return ident;
}

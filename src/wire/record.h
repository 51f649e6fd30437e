/*
 * Records: the unit of the log, of replication and of what clients append. Pure: bytes in, structs out.
 *
 * A record is a header, made by the primary, and a body, made once by whoever took it from the client (gateway or
 * node) and never encoded again. All integers are little-endian. This page is the format; log and peer protocol
 * carry exactly these bytes.
 *
 * Header, REC_HEADER_BYTES = 80:
 *
 *      0  u32  magic "LRC1"
 *      4  u32  body length in bytes
 *      8  u64  epoch in which the record was first appended
 *     16  u64  sequence number (1, 2, 3 ... without a gap)
 *     24  u64  log time, ns (R14: the last record's plus the primary's boottime since; never jumps, never goes back)
 *     32  u64  CLOCK_REALTIME at the primary, ns: information only
 *     40  u64  body hash: the body's own checksum, repeated
 *     48  u64  chain, low   chain = XXH3-128 over (previous chain, bytes 0..47 of this header); of the empty log: 0
 *     56  u64  chain, high
 *     64  u64  reserved, 0
 *     72  u64  checksum: XXH3-64 over bytes 0..71
 *
 * The chain covers the header, and through the body hash the body, of this and every earlier record: two nodes (or a
 * consumer) compare whole logs by comparing one value. It detects accidents, not forgery.
 *
 * Body:
 *
 *      0  u8   version, 1
 *      1  u8   enum rec_id_kind
 *      2  u16  flags (REC_F_*)
 *      4  u32  number of field/value pairs, at least 1
 *      8  u64  n: REC_ID_SEQ: the producer's number; REC_ID_SESSION: the message counter (1, 2, 3 ...); else 0
 *     16  u64  birth: REC_ID_SESSION: a commit index that the opener had seen when it opened the session; else 0
 *     24  u32  producer length in bytes (REC_ID_SESSION: 8, the session's id, little-endian)
 *     28  u32  id length in bytes (only REC_ID_OPAQUE, REC_ID_AUTO)
 *     32  producer, id, then per pair: u32 length, field name, u32 length, value
 *    end  u64  checksum: XXH3-64 over all before it
 */
#ifndef LEASH_WIRE_RECORD_H
#define LEASH_WIRE_RECORD_H

#include "base/buf.h"
#include "base/hash.h"
#include "base/repmsg.h"
#include "base/types.h"

#define REC_HEADER_BYTES    80
#define REC_BODY_BYTES_MIN  (32 + 8 + 8) /* one pair, both empty */
#define REC_BODY_BYTES_MAX  (512u * 1024 * 1024) /* what a length field may claim at all; max_record_bytes is far less */

struct rec_header {
	uint32_t body_bytes;
	leash_epoch epoch;
	leash_seq seq;
	uint64_t log_time_ns, real_time_ns;
	uint64_t body_hash;
	struct leash_chain chain;
};

/* Outcomes of decoding; positive, each has one sentence in rec_strerror(). */
enum rec_error {
	REC_E_SHORT = 1,  /* not all bytes are there (yet) */
	REC_E_MAGIC,      /* does not start like a record */
	REC_E_CHECKSUM,   /* header or body checksum is wrong */
	REC_E_MALFORMED,  /* checksums hold, but the fields make no sense */
};
const char *rec_strerror(int rec_error);

/* chain = hash(previous, header, body hash). Fills @h->chain from @prev and the other fields. */
void rec_header_seal(struct rec_header *h, struct leash_chain prev);

/* True when @h->chain follows from @prev. */
bool rec_chain_follows(const struct rec_header *h, struct leash_chain prev);

void rec_header_encode(const struct rec_header *h, uint8_t out[REC_HEADER_BYTES]);
int rec_header_decode(struct bytes in, struct rec_header *ret_h) _must_check_;

/* A body taken apart. All bytes point into the encoded body and live as long as it. */
struct rec_body {
	enum rec_id_kind id_kind; /* base/repmsg.h */
	uint16_t flags;           /* REC_F_* of base/repmsg.h */
	uint64_t n;
	leash_seq birth;
	struct bytes producer, id;
	uint32_t n_pairs;
	struct bytes pairs;       /* the encoded pairs; walk them with rec_pair_next() */
};

/* The body's own checksum (its last 8 bytes), without verifying it. @body must be at least REC_BODY_BYTES_MIN long. */
uint64_t rec_body_hash(struct bytes body);

/*
 * Verifies checksum, version, lengths and flags, and takes the body apart. 0, or enum rec_error. Every pair has been
 * checked to lie inside, so rec_pair_next() cannot fail after it.
 */
int rec_body_decode(struct bytes body, struct rec_body *ret_body) _must_check_;

/* One pair of @pairs (a cursor over rec_body.pairs). False: no more. */
bool rec_pair_next(struct cur *pairs, struct bytes *ret_name, struct bytes *ret_value);

/*
 * Builds a body at the end of @out. @pairs: 2 * n_pairs strings, name, value, name, value ...
 * Session ids: producer NULL, @b->producer is ignored and @session is written instead.
 * 0; -ENOBUFS, -ENOMEM of the buffer; -EINVAL: no pair, or ids that do not fit the kind (nothing appended).
 */
int rec_body_encode(struct buf *out, const struct rec_body *b, leash_id session, const struct bytes *pairs,
	uint32_t n_pairs) _must_check_;

/* The id that IDMPAUTO gives a message: a 128-bit hash of its pairs, independent of their order (pair hashes are
 * combined by XOR and count), as Redis 8.6 has it. */
struct hash128 rec_auto_id(const struct bytes *pairs, uint32_t n_pairs);

/*
 * What deduplication needs to know of a decoded body (R14). @seed: the cluster id, so that nobody can prepare
 * colliding ids without knowing the cluster. The payload hash covers the pairs in their order.
 */
struct rec_ident rec_identify(const struct rec_body *b, leash_id seed);

#endif

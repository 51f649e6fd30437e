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
 *
 * Which fields of a body go together (a body that breaks this is REC_E_MALFORMED):
 *
 *     kind      producer       id              n     birth  flags
 *     NONE      empty          empty           0     0      -
 *     OPAQUE    >= 1 byte      >= 1 byte       0     0      -
 *     AUTO      >= 1 byte      16, auto id     0     0      -
 *     SEQ       >= 1 byte      empty           >= 1  0      -
 *     SESSION   8, not zero    empty           >= 1  any    REC_F_OPEN only with n = 1
 *
 * Duties of a reader: check the header's checksum before believing its length, the body's checksum before believing
 * any of its fields, and that the body's hash is the one in the header. Duties of a writer: reserved bytes are 0, flags
 * without a name are 0; a later version of the body raises its version number.
 */
#ifndef LEASH_WIRE_RECORD_H
#define LEASH_WIRE_RECORD_H

#include "base/buf.h"
#include "base/hash.h"
#include "base/repmsg.h"
#include "base/types.h"

#define REC_HEADER_BYTES    80
#define REC_BODY_BYTES_MIN  (32 + 8 + 8) /* one pair, both empty */
#define REC_AUTO_ID_BYTES   16
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

/* Likewise, with the bytes that @h was decoded from. */
bool rec_bytes_follow(const uint8_t header[REC_HEADER_BYTES], const struct rec_header *h, struct leash_chain prev);

/* Writes the header with its checksum. The chain must have been set (rec_header_seal()). */
void rec_header_encode(const struct rec_header *h, uint8_t out[REC_HEADER_BYTES]);

/* rec_header_seal() and rec_header_encode() at once. */
void rec_header_make(struct rec_header *h, struct leash_chain prev, uint8_t out[REC_HEADER_BYTES]);

/* Reads the first REC_HEADER_BYTES of @in, which may go on. 0, or enum rec_error. The chain is not looked at. */
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
	uint64_t sum;             /* the body's checksum; set by rec_body_decode() */
};

/* The body's own checksum (its last 8 bytes), without verifying it. @body must be at least REC_BODY_BYTES_MIN long. */
uint64_t rec_body_hash(struct bytes body);

/* True when the body's own checksum holds: no byte of it was damaged on its way. */
bool rec_body_whole(struct bytes body);

/* True when @body is the one that @h speaks of, and whole: length, checksum, and the hash in the header. */
bool rec_body_matches(const struct rec_header *h, struct bytes body);

/*
 * Verifies checksum, version, lengths and flags, and takes the body apart. 0, or enum rec_error. Every pair has been
 * checked to lie inside, so rec_pair_next() cannot fail after it.
 */
int rec_body_decode(struct bytes body, struct rec_body *ret_body) _must_check_;

/* One pair of @pairs (a cursor over rec_body.pairs). False: no more. */
bool rec_pair_next(struct cur *pairs, struct bytes *ret_name, struct bytes *ret_value);

/*
 * Builds a body at the end of @out. @pairs: 2 * n_pairs strings, name, value, name, value ...
 * REC_ID_SESSION: @b->producer is ignored, @session (not 0) is written instead; other kinds: @session is 0.
 * REC_ID_AUTO: @b->id is ignored, rec_auto_id() of the pairs is written instead. @b->n_pairs, @b->pairs are ignored.
 * 0; -ENOBUFS, -ENOMEM of the buffer; -EMSGSIZE: more than REC_BODY_BYTES_MAX; -EINVAL: no pair, or fields that do not
 * go together (table above). On error nothing was appended.
 */
int rec_body_encode(struct buf *out, const struct rec_body *b, leash_id session, const struct bytes *pairs,
	uint32_t n_pairs) _must_check_;

/*
 * The id that IDMPAUTO gives a message: a 128-bit hash of its pairs, independent of their order, as Redis 8.6 has it.
 * The hashes of the pairs are added up and hashed again with their count. (Redis combines them by XOR; then two equal
 * pairs cancel out, and "a 1 a 1" would be taken for a retry of "b 2 b 2".)
 */
struct hash128 rec_auto_id(const struct bytes *pairs, uint32_t n_pairs);

/*
 * What deduplication needs to know of a decoded body (R14). @seed: the cluster id, so that nobody can prepare
 * colliding ids without knowing the cluster. The payload hash covers the pairs in their order, but for REC_ID_AUTO,
 * whose id is the payload in any order: there it follows from the id, so the same id never conflicts; for REC_ID_SESSION
 * it is the body's checksum, and the key is session and counter themselves: neighbours stay neighbours in the table of
 * ids. The kinds do not share keys. REC_ID_NONE: all 0.
 */
struct rec_ident rec_identify(const struct rec_body *b, leash_id seed);

#endif

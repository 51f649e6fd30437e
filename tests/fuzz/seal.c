#include "seal.h"

#define MAGIC_BYTES 4

void fuzz_u64le(uint8_t *p, uint64_t v)
{
	struct enc e = enc_of(p, 8);

	enc_u64le(&e, v);
}

void seal_body(uint8_t *body, size_t len)
{
	if (len >= 8)
		fuzz_u64le(body + len - 8, hash_64(body, len - 8, 0));
}

size_t seal_record(uint8_t *p, size_t len, struct leash_chain *prev)
{
	struct cur c = cur_of(p, len);
	struct rec_header h = { 0 };

	if (len < REC_HEADER_BYTES || memcmp(p, "LRC1", MAGIC_BYTES) != 0)
		return 0;
	(void)cur_u32le(&c);
	h.body_bytes = cur_u32le(&c);
	h.epoch = cur_u64le(&c);
	h.seq = cur_u64le(&c);
	h.log_time_ns = cur_u64le(&c);
	h.real_time_ns = cur_u64le(&c);
	if (h.body_bytes < REC_BODY_BYTES_MIN || h.body_bytes > len - REC_HEADER_BYTES)
		return 0;
	seal_body(p + REC_HEADER_BYTES, h.body_bytes);
	h.body_hash = rec_body_hash((struct bytes){ p + REC_HEADER_BYTES, h.body_bytes });
	rec_header_seal(&h, *prev);
	rec_header_encode(&h, p);
	*prev = h.chain;
	return REC_HEADER_BYTES + (size_t)h.body_bytes;
}

void seal_records(uint8_t *p, size_t len)
{
	struct leash_chain chain = { 0 };
	size_t at = 0, n;

	while (at + REC_HEADER_BYTES <= len) {
		n = seal_record(p + at, len - at, &chain);
		at += n ? n : 1;
	}
}

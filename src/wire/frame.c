#include "wire/frame.h"

#include <errno.h>

#include "base/hash.h"

#define FRAME_CHECKED_BYTES 6 /* of the header, by the header check */
#define FRAME_SUMMED_BYTES  8 /* of the header, by the checksum */

const char *frame_strerror(int frame_error)
{
	switch ((enum frame_error)frame_error) {
	case FRAME_MORE:
		return "the frame is not complete";
	case FRAME_E_HEADER:
		return "the frame's header is damaged";
	case FRAME_E_COVERED:
		return "the frame is shorter than what its checksum covers";
	case FRAME_E_TYPE:
		return "the frame's type is unknown";
	case FRAME_E_TOO_BIG:
		return "the frame is too big";
	case FRAME_E_CHECKSUM:
		return "the frame's checksum is wrong";
	}
	return "unknown error";
}

enum frame_preface frame_preface_check(struct bytes in)
{
	size_t n = MIN2(in.len, (size_t)FRAME_PREFACE_BYTES);

	if (n && memcmp(in.p, FRAME_PREFACE, n) != 0)
		return FRAME_PREFACE_NO;
	return n == FRAME_PREFACE_BYTES ? FRAME_PREFACE_YES : FRAME_PREFACE_MORE;
}

static uint16_t header_check(const uint8_t *header)
{
	return (uint16_t)hash_64(header, FRAME_CHECKED_BYTES, 0);
}

/* The header's first half is the seed: the payload lies in one piece, and the checksum between the two is left out. */
static uint64_t frame_sum(const uint8_t *header, struct bytes payload, size_t covered)
{
	struct cur c = cur_of(header, FRAME_SUMMED_BYTES);

	return hash_64(payload.p, covered ? covered : payload.len, cur_u64le(&c));
}

int frame_next(struct bytes in, uint32_t payload_bytes_max, struct frame *ret_frame)
{
	struct cur c;
	uint32_t len;
	uint8_t type, covered;
	uint16_t check;
	uint64_t sum;
	struct bytes payload;

	if (in.len < FRAME_HEADER_BYTES)
		return FRAME_MORE;
	c = cur_of(in.p, FRAME_HEADER_BYTES);
	len = cur_u32le(&c);
	type = cur_u8(&c);
	covered = cur_u8(&c);
	check = cur_u16le(&c);
	sum = cur_u64le(&c);
	if (check != header_check(in.p))
		return FRAME_E_HEADER;
	if (covered > len)
		return FRAME_E_COVERED;
	if (type == 0 || type > FRAME_TYPE_MAX)
		return FRAME_E_TYPE;
	if (len > payload_bytes_max)
		return FRAME_E_TOO_BIG;
	if (len > in.len - FRAME_HEADER_BYTES)
		return FRAME_MORE;
	payload = (struct bytes){ in.p + FRAME_HEADER_BYTES, len };
	if (sum != frame_sum(in.p, payload, covered))
		return FRAME_E_CHECKSUM;
	*ret_frame = (struct frame){ .type = type, .payload = payload, .bytes = FRAME_HEADER_BYTES + (size_t)len };
	return 0;
}

int frame_open(struct buf *out, size_t payload_bytes_max, struct enc *ret_payload)
{
	uint8_t *to;

	if (payload_bytes_max > UINT32_MAX - FRAME_HEADER_BYTES)
		return -EMSGSIZE;
	to = buf_reserve(out, FRAME_HEADER_BYTES + payload_bytes_max);
	if (!to)
		return out->max && buf_len(out) + FRAME_HEADER_BYTES + payload_bytes_max > out->max ? -ENOBUFS :
													  -ENOMEM;
	*ret_payload = enc_of(to + FRAME_HEADER_BYTES, payload_bytes_max);
	return 0;
}

static void close_frame(struct buf *out, const struct enc *payload, uint8_t type, size_t covered)
{
	uint8_t *header = payload->start - FRAME_HEADER_BYTES;
	struct bytes own = { payload->start, (size_t)(payload->p - payload->start) };
	struct enc e = enc_of(header, FRAME_HEADER_BYTES);

	must(!payload->bad && covered <= UINT8_MAX && covered <= own.len);
	must(type >= 1 && type <= FRAME_TYPE_MAX);
	must(header == out->data + out->end);
	enc_u32le(&e, (uint32_t)own.len);
	enc_u8(&e, type);
	enc_u8(&e, (uint8_t)covered);
	enc_u16le(&e, header_check(header));
	enc_u64le(&e, frame_sum(header, own, covered));
	must(enc_len(&e) == FRAME_HEADER_BYTES);
	buf_commit(out, FRAME_HEADER_BYTES + own.len);
}

void frame_close(struct buf *out, const struct enc *payload, uint8_t type)
{
	close_frame(out, payload, type, 0);
}

void frame_close_covered(struct buf *out, const struct enc *payload, uint8_t type, size_t covered)
{
	must(covered > 0);
	close_frame(out, payload, type, covered);
}

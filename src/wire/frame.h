/*
 * Framing of the peer protocol. One listening port serves RESP and the peer protocol: a peer connection begins with
 * the preface "LEASH/1\n", which no RESP client sends (each side sends it, once); frames follow:
 *
 *      0  u32  payload length in bytes
 *      4  u8   type (enum peer_type, wire/peer.h)
 *      5  u8   covered: 0, or how many bytes at the beginning of the payload the checksum covers when it is not all of it:
 *              what follows them (records, a body) bears checksums of its own, and need not be read twice
 *      6  u16  header check: low 16 bits of XXH3-64 over bytes 0..5, so that a damaged length is seen at once and not
 *              after waiting for bytes that never come
 *      8  u64  checksum: XXH3-64 over the payload, or what is covered of it, seeded with bytes 0..7
 *     16  payload
 *
 * All integers are little-endian. A frame that fails a check says nothing about where the next one begins: the
 * connection is to be closed. The checksum detects accidents, not forgery.
 */
#ifndef LEASH_WIRE_FRAME_H
#define LEASH_WIRE_FRAME_H

#include "base/buf.h"

#define FRAME_PREFACE       "LEASH/1\n"
#define FRAME_PREFACE_BYTES 8
#define FRAME_HEADER_BYTES  16
#define FRAME_TYPE_MAX      63 /* types are 1..FRAME_TYPE_MAX */

enum frame_preface { FRAME_PREFACE_NO, FRAME_PREFACE_YES, FRAME_PREFACE_MORE };

/* What the first bytes of a connection say: not a peer, a peer (consume FRAME_PREFACE_BYTES), more bytes are needed. */
enum frame_preface frame_preface_check(struct bytes in);

struct frame {
	uint8_t type;
	struct bytes payload; /* in place: valid until the buffer changes */
	size_t bytes;         /* of the whole frame: consume them when the payload is done with */
};

enum frame_error {
	FRAME_MORE = 1,    /* no error: the frame is not complete yet */
	FRAME_E_HEADER,    /* the header check fails */
	FRAME_E_COVERED,   /* more is covered than there is */
	FRAME_E_TYPE,      /* type 0 or above FRAME_TYPE_MAX */
	FRAME_E_TOO_BIG,   /* longer than the caller allows */
	FRAME_E_CHECKSUM,  /* complete, and damaged */
};
const char *frame_strerror(int frame_error);

/* The frame at the beginning of @in. 0, or enum frame_error. Looks at nothing twice but the header. */
int frame_next(struct bytes in, uint32_t payload_bytes_max, struct frame *ret_frame) _must_check_;

/*
 * Writing: open, write the payload through the cursor, close. Nothing is in @out before the close, so there is nothing
 * to undo. @payload_bytes_max: room for the payload; it may turn out shorter.
 * 0; -EMSGSIZE: does not fit a frame; -ENOBUFS, -ENOMEM of the buffer.
 */
int frame_open(struct buf *out, size_t payload_bytes_max, struct enc *ret_payload) _must_check_;
void frame_close(struct buf *out, const struct enc *payload, uint8_t type);

/* As frame_close(), but the checksum covers the first @covered bytes only (1..255). Whoever reads the rest must verify it. */
void frame_close_covered(struct buf *out, const struct enc *payload, uint8_t type, size_t covered);

#endif

/*
 * Segments: the format, and walking through one. Internal to src/log.
 *
 * A segment file has a fixed size, zeroed and synced (with its directory) before its first record, so that later syncs
 * write no metadata. It begins with a page:
 *
 *      0  u32  magic "LSG1"        4  u32  format version, 1
 *      8  u64  file size in bytes
 *     16  u64  sequence number of its first record (also its name)
 *     24  u64  chain before it, low, high
 *     40  u64  epoch of the record before it, 0 = none
 *     48  u64  log time of the record before it, ns
 *     56  u64  nonce
 *     64  64 bytes engine, 64 bytes node, zero-padded
 *   4088  u64  XXH3-64 over all before it
 *
 * Then records back to back, zero behind the last. Each is a frame of this disk's own, and the record as everybody has
 * it (wire/record.h):
 *
 *      0  u64  every record up to this number was durable when this one was written
 *      8  u64  XXH3-64 over the above, the record's sequence number and its header checksum, seeded with the nonce
 *     16  header, body
 *
 * Why a frame. A crash may keep any part of what was not synced: the second record of a batch without the first. That
 * is a torn tail. A rotten record that had been synced, with good ones behind it, is damage. Looking at the records
 * alone these are the same; the frames of the good ones behind tell them apart. And the nonce binds a record to its
 * segment: blocks of another file, or of a former use of this one, cannot pass for its records.
 *
 * A segment is finished when the next record does not fit. The next one is only made after that one is synced: what
 * lies in any but the last segment was durable, and a later segment proves it.
 */
#ifndef LEASH_LOG_RLOG_SEG_H
#define LEASH_LOG_RLOG_SEG_H

#include "log/rlog.h"
#include "log/rlog_file.h"

#define RLOG_SEG_HEADER  4096
#define RLOG_FRAME_BYTES 16
#define RLOG_LEAD_BYTES  (RLOG_FRAME_BYTES + REC_HEADER_BYTES) /* on disk before a body */
#define RLOG_SEG_MAX     UINT32_MAX                            /* bytes: offsets fit into 32 bits */

struct rlog_seg_header {
	uint64_t bytes;
	leash_seq first;
	struct leash_chain base;
	leash_epoch prev_epoch;
	uint64_t prev_log_time_ns;
	uint64_t nonce;
	char engine[LEASH_NAME_MAX + 1], node[LEASH_NAME_MAX + 1];
};

void rlog_seg_header_encode(const struct rlog_seg_header *h, uint8_t page[RLOG_SEG_HEADER]);
bool rlog_seg_header_decode(const uint8_t page[RLOG_SEG_HEADER], struct rlog_seg_header *ret_h);

/* Reads and checks the header page of segment @first. 0; RLOG_E_DAMAGED; negative errno. */
int rlog_seg_header_read(struct rlog_win *w, leash_seq first, struct rlog_seg_header *ret_h) _must_check_;

void rlog_frame_encode(uint8_t frame[RLOG_FRAME_BYTES], leash_seq durable, leash_seq seq, const uint8_t *header,
	uint64_t nonce);

/* A record where it lies. Bytes are valid until the window moves. */
struct rlog_item {
	struct rec_header h;
	struct bytes header, body;
	uint64_t offset;   /* of its frame in the file */
	leash_seq durable; /* of its frame */
};

static inline uint64_t rlog_item_bytes(const struct rlog_item *i)
{
	return RLOG_LEAD_BYTES + (uint64_t)i->h.body_bytes;
}

enum rlog_at {
	RLOG_AT_GOOD,   /* all checksums hold */
	RLOG_AT_HEADER, /* no frame and header here */
	RLOG_AT_BODY,   /* the body does not belong to the header */
};

/*
 * What lies at @offset of a segment of @bytes with @nonce. Zero or more, enum rlog_at (ret_item is set for GOOD; for
 * BODY all but its body); negative errno.
 */
int rlog_item_at(struct rlog_win *w, uint64_t offset, uint64_t bytes, uint64_t nonce, uint32_t record_bytes_max,
	struct rlog_item *ret_item) _must_check_;

/* Frame and header only: GOOD (ret_item without body) or HEADER; the body lies inside the segment. */
int rlog_lead_at(struct rlog_win *w, uint64_t offset, uint64_t bytes, uint64_t nonce, uint32_t record_bytes_max,
	struct rlog_item *ret_item) _must_check_;

/* Walks through one segment. Fill all fields; the window is the caller's. */
struct rlog_scan {
	struct rlog_win *win;
	uint64_t nonce, bytes, offset;
	leash_seq next; /* expected at offset */
	struct leash_chain chain;
	leash_epoch epoch;
	uint32_t record_bytes_max;
	bool adrift; /* the chain before the next record is not known (behind damage) */
};

void rlog_scan_start(struct rlog_scan *s, struct rlog_win *w, const struct rlog_seg_header *h,
	uint32_t record_bytes_max);

/* Outcomes of a step that found no next record. */
enum rlog_scan_end {
	RLOG_SCAN_HEADER = 1, /* as rlog_at, or not the expected sequence number */
	RLOG_SCAN_BODY,
	RLOG_SCAN_CHAIN,      /* a whole record that does not follow, or an epoch that goes back */
	RLOG_SCAN_UNREADABLE, /* the device gave an error */
};

/* 0 and the next record, and the scan stands behind it; enum rlog_scan_end: it stays; negative errno. */
int rlog_scan_next(struct rlog_scan *s, struct rlog_item *ret_item) _must_check_;

/* What lies from the scan's position to the end of the segment. */
struct rlog_tail {
	bool zeroes;        /* nothing but zero */
	bool unreadable;
	leash_seq proof;    /* the highest number that a frame found there says was durable */
	leash_seq next_seq; /* the lowest sequence number, above the expected one, of a header found there; 0 = none */
	uint64_t next_offset; /* of its frame */
};

int rlog_scan_tail(const struct rlog_scan *s, struct rlog_tail *ret_tail) _must_check_;

#endif

#include "log/rlog_seg.h"

#include <errno.h>

#define SEG_MAGIC   0x3147534cu /* "LSG1" */
#define SEG_VERSION 1
#define SEG_NAMES   (LEASH_NAME_MAX + 1)
#define SUM_BYTES   8
#define REC_SUM_AT  72 /* of the checksum in a record's header (wire/record.h) */
#define TAIL_CHUNK  (64 * 1024)

void rlog_seg_header_encode(const struct rlog_seg_header *h, uint8_t page[RLOG_SEG_HEADER])
{
	struct enc e = enc_of(page, RLOG_SEG_HEADER), sum = enc_of(page + RLOG_SEG_HEADER - SUM_BYTES, SUM_BYTES);

	memset(page, 0, RLOG_SEG_HEADER);
	enc_u32le(&e, SEG_MAGIC);
	enc_u32le(&e, SEG_VERSION);
	enc_u64le(&e, h->bytes);
	enc_u64le(&e, h->first);
	enc_u64le(&e, h->base.lo);
	enc_u64le(&e, h->base.hi);
	enc_u64le(&e, h->prev_epoch);
	enc_u64le(&e, h->prev_log_time_ns);
	enc_u64le(&e, h->nonce);
	enc_bytes(&e, h->engine, SEG_NAMES);
	enc_bytes(&e, h->node, SEG_NAMES);
	must(enc_len(&e) > 0);
	enc_u64le(&sum, hash_64(page, RLOG_SEG_HEADER - SUM_BYTES, 0));
}

bool rlog_seg_header_decode(const uint8_t page[RLOG_SEG_HEADER], struct rlog_seg_header *ret_h)
{
	struct cur c = cur_of(page, RLOG_SEG_HEADER), sum = cur_of(page + RLOG_SEG_HEADER - SUM_BYTES, SUM_BYTES);
	struct rlog_seg_header h = { 0 };

	if (cur_u64le(&sum) != hash_64(page, RLOG_SEG_HEADER - SUM_BYTES, 0) || cur_u32le(&c) != SEG_MAGIC ||
		cur_u32le(&c) != SEG_VERSION)
		return false;
	h.bytes = cur_u64le(&c);
	h.first = cur_u64le(&c);
	h.base.lo = cur_u64le(&c);
	h.base.hi = cur_u64le(&c);
	h.prev_epoch = cur_u64le(&c);
	h.prev_log_time_ns = cur_u64le(&c);
	h.nonce = cur_u64le(&c);
	memcpy(h.engine, cur_take(&c, SEG_NAMES), SEG_NAMES);
	memcpy(h.node, cur_take(&c, SEG_NAMES), SEG_NAMES);
	if (h.engine[LEASH_NAME_MAX] != '\0' || h.node[LEASH_NAME_MAX] != '\0' || h.bytes < RLOG_SEG_HEADER ||
		h.bytes > RLOG_SEG_MAX || h.first == 0)
		return false;
	*ret_h = h;
	return true;
}

int rlog_seg_header_read(struct rlog_win *w, leash_seq first, struct rlog_seg_header *ret_h)
{
	struct rlog_seg_header h;
	const uint8_t *page;
	int r = rlog_win_get(w, 0, RLOG_SEG_HEADER, &page);

	if (r == -EIO || r == RLOG_WIN_E_END)
		return RLOG_E_DAMAGED;
	if (r < 0)
		return r;
	if (!rlog_seg_header_decode(page, &h) || h.first != first)
		return RLOG_E_DAMAGED;
	*ret_h = h;
	return 0;
}

/* ------------------------------------------------------------------------------------------------------ records */

static uint64_t frame_sum(leash_seq durable, leash_seq seq, const uint8_t *header, uint64_t nonce)
{
	uint8_t in[24];
	struct enc e = enc_of(in, sizeof in);

	enc_u64le(&e, durable);
	enc_u64le(&e, seq);
	enc_bytes(&e, header + REC_SUM_AT, SUM_BYTES);
	must(enc_len(&e) == sizeof in);
	return hash_64(in, sizeof in, nonce);
}

void rlog_frame_encode(uint8_t frame[RLOG_FRAME_BYTES], leash_seq durable, leash_seq seq, const uint8_t *header,
	uint64_t nonce)
{
	struct enc e = enc_of(frame, RLOG_FRAME_BYTES);

	enc_u64le(&e, durable);
	enc_u64le(&e, frame_sum(durable, seq, header, nonce));
}

/* Frame and header from RLOG_LEAD_BYTES at @p. */
static bool lead_decode(const uint8_t *p, uint64_t nonce, struct rlog_item *ret_item)
{
	struct bytes header = { p + RLOG_FRAME_BYTES, REC_HEADER_BYTES };
	struct cur c = cur_of(p, RLOG_FRAME_BYTES);
	struct rec_header h;
	leash_seq durable = cur_u64le(&c);

	if (rec_header_decode(header, &h) != 0 || cur_u64le(&c) != frame_sum(durable, h.seq, header.p, nonce))
		return false;
	*ret_item = (struct rlog_item){ .h = h, .header = header, .durable = durable };
	return true;
}

int rlog_lead_at(struct rlog_win *w, uint64_t offset, uint64_t bytes, uint64_t nonce, uint32_t record_bytes_max,
	struct rlog_item *ret_item)
{
	struct rlog_item item;
	const uint8_t *p;
	int r;

	if (offset > bytes || bytes - offset < RLOG_LEAD_BYTES)
		return RLOG_AT_HEADER;
	r = rlog_win_get(w, offset, RLOG_LEAD_BYTES, &p);
	if (r != 0)
		return r < 0 ? r : RLOG_AT_HEADER;
	if (!lead_decode(p, nonce, &item) || item.h.body_bytes > record_bytes_max ||
		item.h.body_bytes > bytes - offset - RLOG_LEAD_BYTES)
		return RLOG_AT_HEADER;
	item.offset = offset;
	*ret_item = item;
	return RLOG_AT_GOOD;
}

int rlog_item_at(struct rlog_win *w, uint64_t offset, uint64_t bytes, uint64_t nonce, uint32_t record_bytes_max,
	struct rlog_item *ret_item)
{
	struct rlog_item item;
	const uint8_t *p;
	int r = rlog_lead_at(w, offset, bytes, nonce, record_bytes_max, &item);

	if (r != RLOG_AT_GOOD)
		return r;
	*ret_item = item;
	r = rlog_win_get(w, offset, (size_t)rlog_item_bytes(&item), &p); /* may move what item.header points to */
	if (r != 0)
		return r < 0 ? r : RLOG_AT_BODY;
	item.header.p = p + RLOG_FRAME_BYTES;
	item.body = (struct bytes){ p + RLOG_LEAD_BYTES, item.h.body_bytes };
	*ret_item = item;
	return rec_body_matches(&item.h, item.body) ? RLOG_AT_GOOD : RLOG_AT_BODY;
}

void rlog_scan_start(struct rlog_scan *s, struct rlog_win *w, const struct rlog_seg_header *h,
	uint32_t record_bytes_max)
{
	*s = (struct rlog_scan){
		.win = w,
		.nonce = h->nonce,
		.bytes = h->bytes,
		.offset = RLOG_SEG_HEADER,
		.next = h->first,
		.chain = h->base,
		.epoch = h->prev_epoch,
		.record_bytes_max = record_bytes_max,
	};
}

int rlog_scan_next(struct rlog_scan *s, struct rlog_item *ret_item)
{
	struct rlog_item item;
	int r = rlog_item_at(s->win, s->offset, s->bytes, s->nonce, s->record_bytes_max, &item);

	if (r == -EIO)
		return RLOG_SCAN_UNREADABLE;
	if (r < 0)
		return r;
	if (r == RLOG_AT_HEADER || item.h.seq != s->next)
		return RLOG_SCAN_HEADER;
	if (r == RLOG_AT_BODY)
		return RLOG_SCAN_BODY;
	if (item.h.epoch < s->epoch || (!s->adrift && !rec_chain_follows(&item.h, s->chain)))
		return RLOG_SCAN_CHAIN;
	s->adrift = false;
	s->offset += rlog_item_bytes(&item);
	s->next++;
	s->chain = item.h.chain;
	s->epoch = item.h.epoch;
	*ret_item = item;
	return 0;
}

/* Looks for frames with headers that begin within the first @n of @len bytes at @p, which lie at @offset. */
static void tail_search(const struct rlog_scan *s, const uint8_t *p, size_t n, size_t len, uint64_t offset,
	struct rlog_tail *t)
{
	static const uint8_t magic[4] = { 'L', 'R', 'C', '1' }; /* wire/record.h */
	const uint8_t *end = p + len, *at = p + RLOG_FRAME_BYTES;
	struct rlog_item item;

	while (at < end && (at = memmem(at, (size_t)(end - at), magic, sizeof magic)) != NULL) {
		const uint8_t *lead = at++ - RLOG_FRAME_BYTES;

		if ((size_t)(lead - p) >= n || (size_t)(end - lead) < RLOG_LEAD_BYTES)
			return;
		if (!lead_decode(lead, s->nonce, &item) || item.h.seq <= s->next)
			continue;
		if (t->next_seq == 0 || item.h.seq < t->next_seq) {
			t->next_seq = item.h.seq;
			t->next_offset = offset + (uint64_t)(lead - p);
		}
		t->proof = MAX2(t->proof, item.durable);
	}
}

static bool all_zero(const uint8_t *p, size_t len)
{
	return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

int rlog_scan_tail(const struct rlog_scan *s, struct rlog_tail *ret_tail)
{
	struct rlog_tail t = { .zeroes = true };
	const uint8_t *p;

	for (uint64_t at = s->offset; at < s->bytes; at += TAIL_CHUNK) {
		size_t n = (size_t)MIN2(s->bytes - at, (uint64_t)TAIL_CHUNK);
		size_t len = (size_t)MIN2(s->bytes - at, (uint64_t)TAIL_CHUNK + RLOG_LEAD_BYTES);
		int r = rlog_win_get(s->win, at, len, &p);

		if (r == -EIO || r == RLOG_WIN_E_END) { /* a file shorter than it says is as bad as a bad sector */
			t.unreadable = true;
			t.zeroes = false;
			continue;
		}
		if (r < 0)
			return r;
		if (!all_zero(p, n))
			t.zeroes = false;
		tail_search(s, p, n, len, at, &t);
	}
	*ret_tail = t;
	return 0;
}

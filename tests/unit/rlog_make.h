/*
 * Records for tests of the log: a book holds what was appended, so that what is read can be compared byte by byte.
 * The body of a record is a function of its number and of the book's `flavour`, which differs between lives of a number.
 */
#ifndef LEASH_TESTS_RLOG_MAKE_H
#define LEASH_TESTS_RLOG_MAKE_H

#include <check.h>

#include "log/rlog.h"

#ifndef BOOK_RECORDS
#define BOOK_RECORDS   10000
#endif
#define BOOK_BODY_MAX  4096
#define BOOK_SEED      UINT64_C(0x5eed)

/* As ck_assert(), which writes a file each time that it is passed: too slow where a million things are checked. */
#define NEED(cond) do { if (!(cond)) ck_abort_msg("%s:%d: %s", __FILE__, __LINE__, #cond); } while (0)

struct page {
	uint8_t header[REC_HEADER_BYTES];
	uint8_t *body;
	struct rec_header h;
	struct rec_ident ident;
};

struct book {
	struct page *pages; /* by sequence number */
	leash_seq start, end; /* as the log's */
	struct leash_chain base;
	leash_epoch epoch;
	uint64_t log_time_ns, flavour;
};

static inline void book_init(struct book *b)
{
	*b = (struct book){ .start = 1, .epoch = 1, .flavour = 1 };
	b->pages = calloc(BOOK_RECORDS, sizeof *b->pages);
	ck_assert_ptr_nonnull(b->pages);
}

static inline void book_deinit(struct book *b)
{
	for (size_t i = 0; i < BOOK_RECORDS; i++)
		free(b->pages[i].body);
	free(b->pages);
}

static inline struct leash_chain book_chain(const struct book *b, leash_seq seq)
{
	return seq < b->start ? b->base : b->pages[seq].h.chain;
}

/* Writes the record behind the end with about @bytes of value. */
static inline struct page *book_next(struct book *b, size_t bytes)
{
	leash_seq seq = b->end + 1;
	char producer[16], id[32];
	static const char filler[BOOK_BODY_MAX] = "payload";
	struct rec_body body = { .id_kind = REC_ID_OPAQUE };
	struct bytes pairs[2] = { { (const uint8_t *)"f", 1 }, { (const uint8_t *)filler, bytes } };
	struct buf out = BUF_NULL;
	struct page *p = &b->pages[seq];
	struct rec_body decoded;

	NEED(seq < BOOK_RECORDS);
	NEED(bytes <= sizeof filler);
	body.producer = (struct bytes){ (const uint8_t *)producer, (size_t)snprintf(producer, sizeof producer, "p") };
	body.id = (struct bytes){ (const uint8_t *)id,
		(size_t)snprintf(id, sizeof id, "%llu/%llu", (unsigned long long)seq, (unsigned long long)b->flavour) };
	NEED(rec_body_encode(&out, &body, 0, pairs, 1) == 0);
	free(p->body);
	p->body = out.data;
	p->h = (struct rec_header){ .body_bytes = (uint32_t)buf_len(&out), .epoch = b->epoch, .seq = seq,
		.log_time_ns = b->log_time_ns += 1000, .real_time_ns = 7,
		.body_hash = rec_body_hash((struct bytes){ out.data, buf_len(&out) }) };
	rec_header_seal(&p->h, book_chain(b, b->end));
	rec_header_encode(&p->h, p->header);
	NEED(rec_body_decode((struct bytes){ p->body, p->h.body_bytes }, &decoded) == 0);
	p->ident = rec_identify(&decoded, BOOK_SEED);
	b->end = seq;
	return p;
}

static inline struct rlog_rec book_rec(const struct book *b, leash_seq seq)
{
	const struct page *p = &b->pages[seq];

	return (struct rlog_rec){ .h = p->h, .header = p->header, .body = { p->body, p->h.body_bytes },
		.ident = p->ident };
}

/* Writes @n records of @bytes and appends them. What rlog_append() said; the book ends where the log does. */
static inline int book_append(struct book *b, struct rlog *l, size_t n, size_t bytes)
{
	struct rlog_rec recs[64];
	leash_seq from = b->end + 1;
	size_t done;
	int r;

	NEED(n <= 64);
	for (size_t i = 0; i < n; i++) {
		(void)book_next(b, bytes);
		recs[i] = book_rec(b, from + i);
	}
	r = rlog_append(l, recs, n, &done);
	b->end = from + done - 1;
	return r;
}

/* The same record as in the book? */
static inline bool book_has(const struct book *b, const struct rlog_view *v)
{
	const struct page *p = &b->pages[v->h.seq];

	return v->h.seq >= b->start && p->body && v->body.len == p->h.body_bytes &&
		memcmp(v->header.p, p->header, REC_HEADER_BYTES) == 0 &&
		memcmp(v->body.p, p->body, v->body.len) == 0;
}

struct ident_check {
	const struct book *b;
	leash_seq next;
	size_t wrong;
};

static inline bool ident_one(const struct rep_rec *rec, void *arg)
{
	struct ident_check *c = arg;
	const struct page *p = &c->b->pages[c->next];

	c->wrong += rec->seq != c->next || rec->epoch != p->h.epoch || rec->log_time_ns != p->h.log_time_ns ||
		rec->bytes != REC_HEADER_BYTES + p->h.body_bytes || rec->ident.kind != p->ident.kind ||
		!hash128_eq(rec->ident.key, p->ident.key) || rec->ident.payload != p->ident.payload;
	c->next++;
	return true;
}

/* Compares all that a log says with the book up to @end. */
static inline void book_compare(const struct book *b, const char *dir, const struct rlog_ops *ops, struct rlog *l,
	leash_seq end)
{
	struct rlog_reader *reader;
	struct rlog_state st;
	struct rlog_view v;
	struct ident_check c = { .b = b, .next = rlog_start(l) };
	leash_epoch epoch = 0;
	uint32_t h = 0;

	rlog_state_get(l, &st);
	NEED(st.end == end);
	NEED(leash_chain_eq(st.chain, book_chain(b, end)));
	NEED(rlog_reader_open(dir, ops, BOOK_BODY_MAX, &reader) == 0);
	for (leash_seq seq = st.start; seq <= end; seq++) {
		NEED(rlog_read(reader, seq, &v) == 0);
		NEED(book_has(b, &v));
		if (v.h.epoch != epoch) {
			NEED(h < st.n_history);
			NEED(st.history[h].epoch == v.h.epoch && st.history[h].first == seq);
			epoch = v.h.epoch;
			h++;
		}
	}
	NEED(h == st.n_history);
	rlog_reader_close(reader);
	NEED(rlog_identities(l, st.start, ident_one, &c) == 0);
	NEED(c.wrong == 0);
	NEED(c.next == end + 1);
}

#endif

/*
 * A growable byte queue with a bound: bytes are appended at the end and consumed at the front.
 *
 * Valid from BUF_NULL on; buf_deinit() accepts that and any later state.
 */
#ifndef LEASH_BASE_BUF_H
#define LEASH_BASE_BUF_H

#include "base/cur.h"

struct buf {
	uint8_t *data;
	size_t start, end, cap; /* the content is data[start..end) */
	size_t max;             /* bytes the content may reach; 0 = no bound of its own */
	size_t keep;            /* memory that stays when the buffer is emptied, bytes; 0 = some */
};

#define BUF_NULL { 0 }

void buf_deinit(struct buf *b);

static inline size_t buf_len(const struct buf *b) { return b->end - b->start; }
static inline uint8_t *buf_head(const struct buf *b) { return b->data ? b->data + b->start : NULL; }

/*
 * Makes room for @n more bytes and returns where to write them; buf_commit() adds what was written.
 * NULL: out of memory, or @max would be passed. Pointers into the content become invalid.
 */
static inline uint8_t *buf_reserve(struct buf *b, size_t n) _must_check_;
uint8_t *buf_make_room(struct buf *b, size_t n) _must_check_; /* buf_reserve() when there is none */

static inline uint8_t *buf_reserve(struct buf *b, size_t n)
{
	if (b->data && n <= b->cap - b->end && (!b->max || buf_len(b) + n <= b->max))
		return b->data + b->end;
	return buf_make_room(b, n);
}

static inline void buf_commit(struct buf *b, size_t n)
{
	must(b->cap - b->end >= n);
	b->end += n;
}

/* What can be written at buf_end() and committed without a buf_reserve(), for a buffer without a bound. */
static inline size_t buf_room(const struct buf *b) { return b->cap - b->end; }
static inline uint8_t *buf_end(struct buf *b) { return b->data ? b->data + b->end : NULL; }

/* Appends a copy. 0, or -ENOBUFS (the bound), -ENOMEM; on error nothing was appended. */
int buf_put(struct buf *b, const void *p, size_t n) _must_check_;
int buf_printf(struct buf *b, const char *fmt, ...) _must_check_ _printf_(2, 3);

/* Drops @n bytes (at most the content) at the front. Memory of an emptied buffer that is larger than .keep goes back. */
void buf_consume(struct buf *b, size_t n);

/*
 * Moves what is left to the beginning, when no more is left than was consumed before it: what comes next lands in memory
 * that the processor's caches have. Pointers into the content become invalid.
 */
void buf_pull(struct buf *b);

#endif

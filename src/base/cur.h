/*
 * Cursors over bytes: `cur` reads and `enc` writes little-endian fields. Pure.
 *
 * Both keep their first error and go on as a no-op, so that a codec reads as a list of fields with one check
 * at the end (after knot's wire_ctx).
 */
#ifndef LEASH_BASE_CUR_H
#define LEASH_BASE_CUR_H

#include <endian.h>

#include "base/util.h"

struct bytes {
	const uint8_t *p;
	size_t len; /* bytes */
};

struct cur {
	const uint8_t *p, *end;
	bool bad;
};

static inline struct cur cur_of(const void *p, size_t len)
{
	return (struct cur){ .p = p, .end = (const uint8_t *)p + len };
}

static inline size_t cur_left(const struct cur *c)
{
	return c->bad ? 0 : (size_t)(c->end - c->p);
}

static inline const uint8_t *cur_take(struct cur *c, size_t n)
{
	const uint8_t *p = c->p;

	if (c->bad || (size_t)(c->end - c->p) < n) {
		c->bad = true;
		return NULL;
	}
	c->p += n;
	return p;
}

/* Copied as a whole and then turned: a loop over the bytes stays one, and codecs are most of what a record costs. */
static inline uint64_t cur_uint_le(struct cur *c, size_t n)
{
	const uint8_t *p = cur_take(c, n);
	uint64_t v = 0;

	if (!c->bad) /* not of the pointer: of a cursor of known length the compiler knows this */
		memcpy(&v, p, n);
	return le64toh(v);
}

static inline uint8_t cur_u8(struct cur *c) { return (uint8_t)cur_uint_le(c, 1); }
static inline uint16_t cur_u16le(struct cur *c) { return (uint16_t)cur_uint_le(c, 2); }
static inline uint32_t cur_u32le(struct cur *c) { return (uint32_t)cur_uint_le(c, 4); }
static inline uint64_t cur_u64le(struct cur *c) { return cur_uint_le(c, 8); }

/* @n bytes in place; they live as long as the input. */
static inline struct bytes cur_bytes(struct cur *c, size_t n)
{
	const uint8_t *p = cur_take(c, n);

	return (struct bytes){ .p = p, .len = p ? n : 0 };
}

/* True when all fields were there; the input may go on. */
static inline bool cur_ok(const struct cur *c) { return !c->bad; }

/* True when all fields were there and nothing is left over. */
static inline bool cur_end(const struct cur *c) { return !c->bad && c->p == c->end; }

/* The writer. It never writes past @end; a field that does not fit makes it bad. */
struct enc {
	uint8_t *start, *p, *end;
	bool bad;
};

static inline struct enc enc_of(void *p, size_t size)
{
	return (struct enc){ .start = p, .p = p, .end = (uint8_t *)p + size };
}

static inline void enc_bytes(struct enc *e, const void *p, size_t n)
{
	if (e->bad || (size_t)(e->end - e->p) < n) {
		e->bad = true;
		return;
	}
	if (n)
		memcpy(e->p, p, n);
	e->p += n;
}

static inline void enc_uint_le(struct enc *e, uint64_t v, size_t n)
{
	const uint64_t le = htole64(v);

	enc_bytes(e, &le, n);
}

static inline void enc_u8(struct enc *e, uint8_t v) { enc_uint_le(e, v, 1); }
static inline void enc_u16le(struct enc *e, uint16_t v) { enc_uint_le(e, v, 2); }
static inline void enc_u32le(struct enc *e, uint32_t v) { enc_uint_le(e, v, 4); }
static inline void enc_u64le(struct enc *e, uint64_t v) { enc_uint_le(e, v, 8); }

/* Bytes written, or 0 when something did not fit. */
static inline size_t enc_len(const struct enc *e) { return e->bad ? 0 : (size_t)(e->p - e->start); }

#endif

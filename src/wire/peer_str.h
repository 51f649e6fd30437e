/*
 * What the files of the peer protocol share. Only for src/wire. Strings: u8 length and bytes, printable ASCII, into fixed
 * arrays. Pieces: bytes that lie in several places and travel as one run.
 */
#ifndef LEASH_WIRE_PEER_STR_H
#define LEASH_WIRE_PEER_STR_H

#include "base/ids.h"

static inline void enc_str(struct enc *e, const char *s)
{
	size_t n = strlen(s);

	if (n > UINT8_MAX) {
		e->bad = true;
		return;
	}
	enc_u8(e, (uint8_t)n);
	enc_bytes(e, s, n);
}

/* @to has room for @max bytes and the NUL. */
static inline void cur_str(struct cur *c, char *to, size_t max)
{
	struct bytes b = cur_bytes(c, cur_u8(c));

	if (b.len > max)
		c->bad = true;
	for (size_t i = 0; i < b.len; i++)
		if (b.p[i] < 0x20 || b.p[i] > 0x7e)
			c->bad = true;
	if (c->bad)
		return;
	if (b.len)
		memcpy(to, b.p, b.len);
	to[b.len] = '\0';
}

static inline size_t pieces_bytes(const struct bytes *pieces, size_t n)
{
	size_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += MIN2(pieces[i].len, (size_t)UINT32_MAX); /* more does not fit a frame, which frame_open() says */
	return sum;
}

static inline void enc_pieces(struct enc *e, const struct bytes *pieces, size_t n)
{
	for (size_t i = 0; i < n; i++)
		enc_bytes(e, pieces[i].p, pieces[i].len);
}

/* A name, or nothing at all. */
static inline bool name_fits(const char *name)
{
	return name[0] == '\0' || name_valid(name);
}

#endif

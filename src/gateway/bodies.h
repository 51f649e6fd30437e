/*
 * Memory for the bodies of a pipeline's messages. They are made in order and given up in nearly the same order, so they lie
 * one behind the other in chunks, and a chunk is used again when none of its bodies is left. A body that does not fit a
 * chunk has memory of its own. A body never moves.
 *
 * Bounded by what the caller keeps: a chunk with a body in it stays.
 */
#ifndef LEASH_GATEWAY_BODIES_H
#define LEASH_GATEWAY_BODIES_H

#include "wire/record.h"

#define BODIES_CHUNK_BYTES (32u * 1024)
#define BODIES_SPARE_MAX   8 /* empty chunks that are kept for later */

struct bodies_chunk;

struct body {
	const uint8_t *p; /* NULL: there is none */
	uint32_t bytes;
	struct bodies_chunk *in;
};

struct bodies {
	struct bodies_chunk *current, *spare;
	uint32_t n_spare;
};

#define BODIES_NULL { 0 }

/* All bodies must have been freed. */
void bodies_deinit(struct bodies *s);

/* rec_body_encode() with the same arguments. On error nothing was made. */
int bodies_make(struct bodies *s, const struct rec_body *b, leash_id session, const struct bytes *pairs, uint32_t n_pairs,
	struct body *ret_body) _must_check_;

void bodies_free(struct bodies *s, struct body *body); /* leaves none behind; none is fine */

/* Gives spare chunks back: nothing is under way at present. */
void bodies_trim(struct bodies *s);

#endif
